# SPDX-License-Identifier: Apache-2.0
"""Requirement 7b at the NVA's port: bytes that come back for bytes that were sent, counted at the socket.

Nothing of this answers an address that was not proven: before the first byte of a peer is read, TCP's handshake has
shown that it receives what is sent to its address. What a forged source address gets is the kernel's SYN-ACK, as long
as its SYN. So the one answer here that is longer than its question, the certificate of a TLS server, cannot be aimed at
anybody; it comes once for each connection, and connections of a source are limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl

import pytest
from attack_world import Fleet, fleet_of, run, served

SOURCE = "127.0.8.1"
TLS_TIMES = 8.0
"""At most so many bytes for each of a client that finishes its side of the handshake without a certificate."""


def client_hello(version: ssl.TLSVersion) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="nva1.nva.lab.example").do_handshake()
    return out.read()


async def exchange(fleet: Fleet, data: bytes) -> tuple[int, int]:
    """Bytes sent and received until the NVA ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port, local_addr=(SOURCE, 0))
    got = 0
    with contextlib.suppress(OSError):
        writer.write(data)
        while more := await asyncio.wait_for(reader.read(65536), 60):
            got += len(more)
    writer.transport.abort()
    return len(data), got


async def without_certificate(fleet: Fleet) -> tuple[int, int]:
    """The same for a whole handshake of nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(fleet.identities.authority.anchors_file)
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=fleet.name.dns)
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port, local_addr=(SOURCE, 0))
    sent = got = 0
    with contextlib.suppress(OSError, ssl.SSLError):
        while True:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            data = outgoing.read()
            sent += len(data)
            writer.write(data)
            more = await asyncio.wait_for(reader.read(65536), 60)
            got += len(more)
            if not more:
                break
            if not done:
                incoming.write(more)
    writer.transport.abort()
    return sent, got


def test_bytes_out_for_bytes_in(identities, record_property):
    async def go() -> None:
        noise = random.Random(5).randbytes(1500)
        stimuli = {
            "nothing": b"",
            "one byte": b"\x16",
            "noise": noise,
            "HTTP": b"GET / HTTP/1.1\r\n\r\n",
            "half a ClientHello": client_hello(ssl.TLSVersion.TLSv1_3)[:100],
            "a ClientHello of TLS 1.2": client_hello(ssl.TLSVersion.TLSv1_2),
            "a record too long": b"\x16\x03\x01\xff\xff" + noise,
        }
        async with fleet_of(identities, 10, "--limit", "hello-s=1") as fleet, fleet.agents(fleet.leaves[:3]) as agents:
            for what, data in stimuli.items():
                sent, got = await exchange(fleet, data)
                record_property(what, f"{got} for {sent}")
                assert got <= sent, (what, sent, got)
            sent, got = await without_certificate(fleet)
            record_property("TLS without a certificate", f"{got} for {sent}")
            print(f"TLS without a certificate: {got} bytes for {sent}, {got / sent:.2f}")
            assert 0 < got <= TLS_TIMES * sent
            await served(agents)

    run(go())
