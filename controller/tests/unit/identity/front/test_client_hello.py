# SPDX-License-Identifier: Apache-2.0
"""What can be read of TLS from in between: with real hellos, cut everywhere, and with anything else."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import DOMAIN, ForeignAuthority, key_pem, pem
from nvo3sec.identity.front.client_hello import (
    HELLO_BYTES,
    HandshakeProgress,
    HelloReader,
    NotAHello,
    Stage,
    VersionTooLow,
)
from nvo3sec.identity.names import DeviceName, Role


def hello(lowest: ssl.TLSVersion, highest: ssl.TLSVersion, name: str = "nva1.nva.lab.example") -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = lowest, highest
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


HELLO13 = hello(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
HELLO12 = hello(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
HELLO_BOTH = hello(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def feed(*pieces: bytes) -> HelloReader:
    reader = HelloReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def records(message: bytes, size: int) -> bytes:
    """The same message in records of `size` bytes."""
    body = message[5:]
    cut = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(one).to_bytes(2, "big") + one for one in cut)


class TestHello:
    @pytest.mark.parametrize("message", [HELLO13, HELLO_BOTH], ids=["1.3", "1.2 and 1.3"])
    def test_complete_with_its_last_byte(self, message: bytes):
        assert not feed(message[:-1]).complete
        assert feed(message).complete
        assert feed(message + b"more").complete
        assert feed(*(bytes([one]) for one in message)).complete

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 50, 200])
    def test_in_any_records(self, size: int):
        message = records(HELLO13, size)
        assert feed(message).complete
        assert feed(*(bytes([one]) for one in message)).complete

    def test_without_tls13(self):
        with pytest.raises(VersionTooLow):
            feed(HELLO12)

    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x80\x2e\x01\x00\x02",  # SSL 2.0
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"\x16\x02\x00\x00\x05\x01",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\xff\xff\x01",
            b"\x16\x03\x01\x00\x05\x02",
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
        ],
    )
    def test_what_is_none(self, data: bytes):
        with pytest.raises(NotAHello):
            feed(data)

    def test_never_more_memory_than_a_hello(self):
        reader = HelloReader()
        start = b"\x16\x03\x01\x40\x00\x01\x00" + (HELLO_BYTES).to_bytes(2, "big")
        reader.feed(start + b"\0" * (0x4000 - 4))
        with pytest.raises(NotAHello):
            reader.feed(start)
        assert len(reader._pending) + len(reader._body) <= 3 * HELLO_BYTES

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, data: bytes):
        with contextlib.suppress(NotAHello):
            feed(data)

    @settings(deadline=None)
    @given(st.integers(0, len(HELLO13) - 1), st.integers(1, 255))
    def test_nor_for_a_broken_hello(self, at: int, flip: int):
        broken = bytearray(HELLO13)
        broken[at] ^= flip
        with contextlib.suppress(NotAHello):
            feed(bytes(broken))


class TestProgress:
    def handshake(self, tmp_path: Path, *, show: bool, size: int) -> list[Stage]:
        """A real handshake through memory, with what passes cut into pieces; returns the stages that were seen."""
        authority = ForeignAuthority()
        (tmp_path / "ca.pem").write_bytes(pem(authority.certificate))
        for name, role in (("server", Role.NVA), ("client", Role.NVE)):
            certificate, key = authority.device(
                DeviceName(DOMAIN, role, name),
                purposes=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
            )
            (tmp_path / f"{name}.pem").write_bytes(key_pem(key) + pem(certificate))
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(tmp_path / "server.pem")
        server_context.load_verify_locations(tmp_path / "ca.pem")
        server_context.verify_mode = ssl.CERT_REQUIRED
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.load_verify_locations(tmp_path / "ca.pem")
        if show:
            client_context.load_cert_chain(tmp_path / "client.pem")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(
            to_client, to_server_out := ssl.MemoryBIO(), server_hostname="server.nva.lab.example"
        )
        server = server_context.wrap_bio(to_server, to_client_out := ssl.MemoryBIO(), server_side=True)
        progress, seen = HandshakeProgress(), [Stage.HELLO]

        def carry() -> None:
            for source, sink, tell in (
                (to_server_out, to_server, progress.from_client),
                (to_client_out, to_client, progress.from_server),
            ):
                data = source.read()
                for at in range(0, len(data), size):
                    tell(data[at : at + size])
                    if seen[-1] is not progress.stage:
                        seen.append(progress.stage)
                sink.write(data)

        def step(one: ssl.SSLObject) -> None:
            with contextlib.suppress(ssl.SSLWantReadError):
                one.do_handshake()

        step(client)
        carry()
        step(server)
        carry()
        step(client)
        carry()
        try:
            step(server)
        except ssl.SSLError:
            carry()
            return seen
        server.write(b"SETTINGS")
        carry()
        client.write(b"ACK")
        carry()
        return seen

    @pytest.mark.parametrize("size", [1, 7, 100_000])
    def test_each_stage_in_its_order(self, tmp_path: Path, size: int):
        assert self.handshake(tmp_path, show=True, size=size) == list(Stage)

    def test_without_a_certificate_it_does_not_open(self, tmp_path: Path):
        assert Stage.OPEN not in self.handshake(tmp_path, show=False, size=100_000)

    def test_a_client_alone_gets_nowhere(self):
        progress = HandshakeProgress()
        for _ in range(10):
            progress.from_client(b"\x17\x03\x03\x00\x01x" * 5)
        assert progress.stage is Stage.HELLO
