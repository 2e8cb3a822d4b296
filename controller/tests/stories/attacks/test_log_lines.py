# SPDX-License-Identifier: Apache-2.0
"""A log for programs stays one, whatever strangers send: each of its lines is JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl

from attack_world import fleet_of, run, served


def hello(context: ssl.SSLContext, name: str) -> bytes:
    """The first message of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def is_event(line: str) -> bool:
    try:
        return {"event", "level", "timestamp"} <= json.loads(line).keys()
    except ValueError:
        return False


def junk(port: int, name: str, context: ssl.SSLContext) -> None:
    """Handshakes that fail in gRPC, behind the front: no certificate, garbage, and nothing more."""
    for more in (b"", b"\x17\x03\x03\x00\x20" + bytes(32), b"\x15\x03\x03\x00\x02\x02\x28", b"GET / HTTP/1.1\r\n\r\n"):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as raw:
            raw.sendall(hello(context, name))
            raw.recv(1)  # the front has let it through, and gRPC has answered
            raw.sendall(more)
            if more:
                while raw.recv(65536):
                    pass
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 60) as raw,
        context.wrap_socket(raw, server_hostname=name) as client,
    ):
        while client.recv(65536):
            pass


def test_every_line_is_json(identities):
    async def go() -> None:
        async with fleet_of(identities, 3, "--log-json") as fleet, fleet.agents(fleet.leaves) as agents:
            context = ssl.create_default_context(cafile=str(fleet.identities.authority.anchors_file))
            context.set_alpn_protocols(["h2"])
            for _ in range(3):
                await asyncio.to_thread(junk, fleet.port, fleet.name.dns, context)
            await fleet.until_counted(lambda now: now["connections"]["open"] == len(agents))
            await served(agents)
            lines = fleet.log().splitlines()
            assert [line for line in lines if not is_event(line)] == []
            assert any("certificate-check" in line for line in lines), "it is said all the same"

    run(go())
