# SPDX-License-Identifier: Apache-2.0
"""Peers that take their time: each byte of theirs is progress, and none of it keeps a place for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import http2
from attack_world import Fleet, fleet_of, run, served
from nvo3sec.identity.names import Role

CONNECT = "/nvo3sec.v1.Nva/Connect"
BETWEEN_BYTES_S = 0.05


async def hello_by_the_byte(fleet: Fleet, source: str) -> None:
    """The beginning of a ClientHello, until the NVA ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port, local_addr=(source, 0))
    ended = asyncio.create_task(reader.read())
    with contextlib.suppress(ConnectionError):
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500):
            if ended.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(BETWEEN_BYTES_S)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(ended, 60) == b""
    writer.transport.abort()


def certified(fleet: Fleet, source: str) -> http2.Connection:
    """TLS with a valid certificate."""
    device = fleet.device_file(Role.NVE, "leaf10")
    return http2.Connection(fleet.port, fleet.name.dns, str(fleet.identities.authority.anchors_file), device, source)


def drip(connection: http2.Connection, data: bytes, between_s: float) -> None:
    """Byte by byte, until the NVA ends it."""
    connection.tls.settimeout(between_s)
    for byte in data:
        try:
            connection.tls.sendall(bytes([byte]))
            while connection.tls.recv(65536):
                pass
            return
        except TimeoutError:
            continue
        except OSError:
            return
    connection.until_closed()


def preface_by_the_byte(fleet: Fleet, source: str) -> None:
    """HTTP/2 begins, and does not get on."""
    connection = certified(fleet, source)
    drip(connection, http2.PREFACE, 1.0)
    connection.close()


def message_by_the_byte(fleet: Fleet, source: str) -> list[bytes]:
    """Streams of a session whose registration does not get on; what the NVA says to each."""
    connection = certified(fleet, source)
    connection.hello()
    streams = [connection.begin(CONNECT) for _ in range(5)]
    got = bytearray()
    connection.tls.settimeout(BETWEEN_BYTES_S)
    body = http2.message(bytes(4000))
    for byte in body:
        with contextlib.suppress(TimeoutError):
            for stream in streams:
                connection.tls.sendall(http2.frame(http2.DATA, 0, stream, bytes([byte])))
            while data := connection.tls.recv(65536):
                got += data
        ended = {stream for kind, flags, stream, _ in http2.frames(bytes(got)) if stream and flags & http2.END_STREAM}
        if ended >= set(streams):
            break
    connection.close()
    return [payload for kind, _, _, payload in http2.frames(bytes(got)) if kind == http2.HEADERS]


def no_preface_at_all(fleet: Fleet, source: str) -> None:
    """A handshake, and then silence."""
    connection = certified(fleet, source)
    with contextlib.suppress(OSError):
        connection.until_closed()
    connection.close()


def test_slow_peers(identities):
    async def go() -> None:
        words = ("--limit", "hello-s=2", "--limit", "handshake-s=4", "--limit", "claim-s=6")
        async with fleet_of(identities, 10, *words) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
            slow = [asyncio.create_task(hello_by_the_byte(fleet, f"127.0.5.{number}")) for number in range(1, 13)]
            slow += [
                asyncio.create_task(asyncio.to_thread(attack, fleet, f"127.0.6.{number}"))
                for number, attack in enumerate([preface_by_the_byte, no_preface_at_all] * 3, start=1)
            ]
            messages = asyncio.create_task(asyncio.to_thread(message_by_the_byte, fleet, "127.0.6.99"))
            await served(agents)
            await asyncio.gather(*slow)
            found = await fleet.until_counted(lambda now: now["connections"]["unfinished"] == 0)
            refused = found["connections"]["refused"]
            assert refused["hello-timeout"] == 12
            assert refused["handshake-timeout"] + refused.get("claim-timeout", 0) == 6
            # The streams: one too many at once, the others without a registration in time.
            assert await messages
            ended = await fleet.calls(CONNECT)
            assert ended["concurrency"] == 1, ended
            assert ended["permission"] == 4, ended
            assert "no registration within" in fleet.log()
            await served(agents)

    run(go())


def test_a_connection_left_open_by_a_peer_that_is_gone(identities):
    """Nothing is ever said again, not even that it ends: keepalive is what notices. Here only that it costs a place."""

    async def go() -> None:
        async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
            with contextlib.ExitStack() as kept:
                for _ in range(30):
                    # One that is refused may be reset before it is known here that it was made.
                    with contextlib.suppress(ConnectionResetError):
                        kept.enter_context(socket.create_connection(("127.0.0.1", fleet.port), 30, ("127.0.7.1", 0)))
                found = await fleet.until_counted(
                    lambda now: now["connections"]["refused"].get("hello-timeout", 0) >= 16
                )
                refused = found["connections"]["refused"]
                # Beyond its places by one of its own that went for it, or by the rate of strangers.
                assert refused["unfinished-per-source"] + refused.get("rate", 0) == 14
            await served(agents)

    run(go())
