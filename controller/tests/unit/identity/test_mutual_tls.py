# SPDX-License-Identifier: Apache-2.0
"""Who gets through TLS and authentication, and who does not: real servers, real certificates, real attackers.

Each attack is made while a legitimate neighbor is connected, and the neighbor is served before and after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc.experimental import session_cache
from identity_world import (
    DOMAIN,
    ECHO,
    FakeClock,
    ForeignAuthority,
    Running,
    World,
    call,
    connected,
    grpc_channel,
    key_pem,
    make_key,
    pem,
    refusal,
    run,
    san,
    serving,
    tls_context,
)
from nvo3sec.identity import tls13
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import DeviceFiles
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.gate.authenticate import Authenticator, authenticated_identity
from nvo3sec.identity.names import DeviceName, Role
from places import SUPPORT

LEAF1 = DeviceName(DOMAIN, Role.NVE, "leaf1")


@contextlib.asynccontextmanager
async def neighborhood(world: World) -> AsyncIterator[Running]:
    """A server with a neighbor that is served before and after whatever happens."""
    async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf2")) as neighbor:
        assert await call(neighbor.channel, ECHO, {"vnis": [20]}) == {"vnis": [20]}
        yield running
        assert await call(neighbor.channel, ECHO, {"vnis": [20]}) == {"vnis": [20]}


async def attempt(running: Running, files: DeviceFiles | None, **options: object) -> grpc.aio.AioRpcError:
    """A call with whatever credentials, by a client of gRPC's own; it has to be refused."""
    if files is None:
        options["anchors"] = running.world.authority.anchors_file.read_bytes()
    async with grpc_channel(running.port, files, running.name, **options) as channel:
        return await refusal(channel, ECHO, {})


def refused_by_tls(world: World, files: DeviceFiles | None) -> None:
    async def go() -> None:
        async with neighborhood(world) as running:
            error = await attempt(running, files)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert running.service.callers == ["nve/leaf2"]
            assert sum(running.server.gate.outcomes.values()) == 1

    run(go())


def refused_by_the_gate(world: World, files: DeviceFiles, reason: Reason) -> None:
    async def go() -> None:
        async with neighborhood(world) as running:
            error = await attempt(running, files)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            assert (error.details() or "").startswith(f"{reason.value}: ")
            assert running.service.callers == ["nve/leaf2"]
            assert running.service.parsed == [{"vnis": [20]}]
            assert running.server.gate.outcomes[ECHO, reason.value] == 1

    run(go())


class TestLetIn:
    @pytest.mark.parametrize("role", [Role.NVE, Role.OPERATOR, Role.NVA])
    def test_who_may(self, world: World, role: Role):
        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(role, "one")) as peer:
                await call(peer.channel, ECHO, {})
                assert running.service.callers == [f"{role.value}/one"]
                assert running.server.front.opened == 1

        run(go())

    def test_with_certificates_of_another_authority(self, tmp_path: Path):
        """Only chain and names count: an authority that has never heard of this system does as well."""
        foreign = ForeignAuthority("rsa2048")
        world = World(tmp_path)
        anchors = pem(foreign.certificate)
        server = world.store(*foreign.device(world.name(Role.NVA, "nva1")), "nva1", anchors)
        client = world.store(*foreign.device(LEAF1, make_key("rsa2048")), "leaf1", anchors)
        revoked = tmp_path / "pki" / "revoked.pem"
        revoked.write_bytes(foreign.revocations())
        world.authority.anchors_file.write_bytes(anchors)

        async def go() -> None:
            async with (
                serving(world, device=world.device(server, Purpose.SERVER)) as running,
                connected(running, client) as peer,
            ):
                await call(peer.channel, ECHO, {"vnis": [10]})

        run(go())


class TestRefusedByTls:
    def test_no_certificate(self, world: World):
        refused_by_tls(world, None)

    def test_a_foreign_authority(self, world: World):
        certificate, key = ForeignAuthority().device(LEAF1)
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_an_authority_of_the_same_name(self, world: World):
        foreign = ForeignAuthority()
        foreign.name = world.signing().name
        certificate, key = foreign.device(LEAF1)
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_signed_by_a_device(self, world: World):
        """A device's key signs a certificate: only authorities may."""
        careless = world.signing()
        inner, inner_key = careless.device(world.name(Role.NVE, "leaf3"))
        rogue = ForeignAuthority()
        rogue.key, rogue.name = inner_key, inner.subject
        certificate, key = rogue.device(LEAF1)
        files = world.store(certificate, key, "attacker")
        files.certificate.write_bytes(key_pem(key) + pem(certificate) + pem(inner))
        refused_by_tls(world, files)

    def test_expired(self, world: World):
        certificate, key = world.signing().device(LEAF1, begins=timedelta(hours=-2), ends=timedelta(hours=-1))
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_not_yet_valid(self, world: World):
        certificate, key = world.signing().device(LEAF1, begins=timedelta(hours=1), ends=timedelta(hours=2))
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_not_for_clients(self, world: World):
        certificate, key = world.signing().device(LEAF1, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_an_ed25519_certificate(self, world: World):
        """What was measured, and why devices have ECDSA keys: gRPC's TLS library takes no Ed25519 certificate."""
        certificate, key = world.signing().device(LEAF1, make_key("ed25519"))
        refused_by_tls(world, world.store(certificate, key, "attacker"))

    def test_the_right_certificate_with_the_wrong_key(self, world: World):
        """Somebody has the certificate of a device, which is no secret, and not its key."""
        certificate = world.issue(Role.NVE, "leaf1").certificate.read_bytes()
        files = world.store(*world.signing().device(LEAF1), "attacker")
        chain = certificate[certificate.index(b"-----BEGIN CERTIFICATE") :]

        async def go() -> None:
            async with neighborhood(world) as running:
                files.certificate.write_bytes(key_pem(make_key()) + chain)
                error = await attempt(running, files)
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert running.service.callers == ["nve/leaf2"]

        run(go())


class TestRefusedByTheGate:
    def test_revoked(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        world.authority.revoke(LEAF1)
        refused_by_the_gate(world, files, Reason.REVOKED)

    def test_two_uris(self, world: World):
        names = san(LEAF1.uri, "nvo3://lab.example/nva/nva1", LEAF1.dns)
        refused_by_the_gate(world, world.store(*world.signing().device(LEAF1, names=names), "x"), Reason.SAN_URI_COUNT)

    def test_two_dns_names(self, world: World):
        names = san(LEAF1.uri, LEAF1.dns, "nva1.nva.lab.example")
        refused_by_the_gate(world, world.store(*world.signing().device(LEAF1, names=names), "x"), Reason.SAN_DNS_COUNT)

    def test_no_names(self, world: World):
        files = world.store(*world.signing().device(LEAF1, names=()), "x")
        refused_by_the_gate(world, files, Reason.SAN_MISSING)

    def test_names_that_disagree(self, world: World):
        names = san(LEAF1.uri, "nva1.nva.lab.example")
        files = world.store(*world.signing().device(LEAF1, names=names), "x")
        refused_by_the_gate(world, files, Reason.URI_DNS_DISAGREE)

    def test_another_domain_of_the_same_authority(self, world: World):
        other = DeviceName("other.example", Role.NVE, "leaf1")
        refused_by_the_gate(world, world.store(*world.signing().device(other), "x"), Reason.DOMAIN)

    def test_a_certificate_without_purpose(self, world: World):
        files = world.store(*world.signing().device(LEAF1, purposes=None), "x")
        refused_by_the_gate(world, files, Reason.EXTENDED_KEY_USAGE)

    def test_the_authority_itself(self, world: World):
        """Something that may issue certificates is no device, whatever its names."""
        files = world.store(*world.signing().device(LEAF1, ca=True), "x")
        refused_by_the_gate(world, files, Reason.CA_CERTIFICATE)

    def test_an_issuer_without_a_revocation_list(self, world: World):
        """A second authority is trusted, and nobody says what it has revoked: fail closed."""
        foreign = ForeignAuthority()
        with world.authority.anchors_file.open("ab") as file:
            file.write(pem(foreign.certificate))
        refused_by_the_gate(world, world.store(*foreign.device(LEAF1), "x"), Reason.REVOCATION_UNKNOWN)

    def test_a_stale_revocation_list(self, tmp_path: Path):
        world, clock = World(tmp_path), FakeClock()

        async def go() -> None:
            live = world.live(clock=clock)
            async with (
                serving(world, live=live) as running,
                grpc_channel(running.port, world.issue(Role.NVE, "leaf1"), running.name) as channel,
            ):
                await call(channel, ECHO, {})
                clock.advance(days=8)
                error = await refusal(channel, ECHO, {})
                # The certificate has expired by then as well, which is looked at first.
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED

        run(go())

    def test_expired_while_connected(self, tmp_path: Path):
        world, clock = World(tmp_path), FakeClock()

        async def go() -> None:
            async with (
                serving(world, live=world.live(clock=clock)) as running,
                grpc_channel(running.port, world.issue(Role.NVE, "leaf1"), running.name) as channel,
            ):
                await call(channel, ECHO, {})
                clock.advance(hours=25)
                error = await refusal(channel, ECHO, {})
                assert (error.details() or "").startswith("expired: ")

        run(go())

    def test_the_wrong_role(self, world: World):
        async def go() -> None:
            async with neighborhood(world) as running:
                error = await attempt(running, world.issue(Role.HYPERVISOR, "host1"))
                assert error.code() is grpc.StatusCode.PERMISSION_DENIED
                assert running.service.parsed == [{"vnis": [20]}]

        run(go())

    def test_a_ticket_opens_nothing(self, world: World):
        """A ticket of an earlier connection would save the proof of identity. Whoever comes without one gets in."""
        cache = session_cache.ssl_session_cache_lru(8)
        options = [("grpc.ssl_session_cache", cache)]

        async def go() -> None:
            async with neighborhood(world) as running:
                files = world.issue(Role.NVE, "leaf1")
                async with grpc_channel(running.port, files, running.name, options=options) as channel:
                    await call(channel, ECHO, {})
                for _ in range(3):
                    async with grpc_channel(running.port, files, running.name, options=options) as channel:
                        with pytest.raises(grpc.aio.AioRpcError, match="resumed"):
                            await call(channel, ECHO, {})
                async with grpc_channel(running.port, files, running.name) as channel:
                    await call(channel, ECHO, {})
                assert running.server.gate.outcomes == {(ECHO, "ok"): 3, (ECHO, "resumed"): 3}

        run(go())


class TestTls13Only:
    async def version(self, running: Running, files: DeviceFiles, version: ssl.TLSVersion) -> str:
        context = tls_context(files, files.anchors, version)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", running.port, ssl=context, server_hostname=running.name.dns
        )
        try:
            return str(writer.get_extra_info("ssl_object").version())
        finally:
            writer.transport.abort()

    def test_the_front_refuses_tls12_with_an_alert(self, world: World):
        async def go() -> None:
            async with neighborhood(world) as running:
                files = world.issue(Role.NVE, "leaf1")
                assert await self.version(running, files, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
                with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
                    await self.version(running, files, ssl.TLSVersion.TLSv1_2)
                assert running.server.front.refused["protocol-version"] == 1

        run(go())

    @pytest.mark.parametrize("held", [True, False], ids=["held by gRPC itself", "refused at the call"])
    def test_past_the_front(self, world: World, held: bool):
        """gRPC reads its variable when it is imported, so this needs a process of its own.

        Without the variable it negotiates TLS 1.2, and then every call is refused.
        """
        client, server = world.issue(Role.NVE, "leaf1"), world.issue(Role.NVA, "nva1")
        result = subprocess.run(
            [sys.executable, str(SUPPORT / "tls12_probe.py"), "held" if held else "free"]
            + [str(path) for path in (client.certificate, server.certificate, client.anchors)]
            + [str(world.authority.revocation_file)],
            env={name: value for name, value in os.environ.items() if name != tls13.VARIABLE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr.decode()
        answer = json.loads(result.stdout.splitlines()[-1])
        if held:
            assert answer == {"in_time": True, "version": None, "code": "UNAVAILABLE", "details": answer["details"]}
        else:
            assert answer["in_time"] is False
            assert answer["version"] == "TLSv1.2"
            assert answer["code"] == "UNAUTHENTICATED"
            assert answer["details"].startswith("protocol-version: ")

    def context(self, world: World, **changes: bytes) -> dict[str, list[bytes]]:
        certificate = world.issue(Role.NVE, "leaf1").certificate.read_bytes()
        context = {
            "transport_security_type": b"ssl",
            "ssl_tls_version": b"TLSv1.3",
            "ssl_session_reused": b"false",
            "x509_pem_cert": certificate[certificate.index(b"-----BEGIN CERTIFICATE") :],
        }
        return {name: [value] for name, value in (context | changes).items() if value}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"ssl_tls_version": b"TLSv1.2"}, Reason.PROTOCOL_VERSION),
            ({"ssl_tls_version": b""}, Reason.PROTOCOL_VERSION),
            ({"transport_security_type": b"insecure"}, Reason.NO_CERTIFICATE),
            ({"transport_security_type": b""}, Reason.NO_CERTIFICATE),
            ({"ssl_session_reused": b"true"}, Reason.RESUMED),
            ({"ssl_session_reused": b""}, Reason.RESUMED),
            ({"x509_pem_cert": b""}, Reason.NO_CERTIFICATE),
            ({"x509_pem_cert": b"garbage"}, Reason.MALFORMED),
        ],
    )
    def test_whatever_grpc_does_not_say_is_refused(self, world: World, changes: dict[str, bytes], reason: Reason):
        authenticator = Authenticator(DOMAIN, world.live())
        context = self.context(world)
        assert str(authenticator.identify(context)) == "nve/leaf1"
        values = {name: [value] for name, value in changes.items() if value}
        with pytest.raises(PeerRefused) as caught:
            authenticator.identify({name: value for name, value in context.items() if name not in changes} | values)
        assert caught.value.reason is reason
        with pytest.raises(PeerRefused):
            authenticator.identify(context | {"x509_pem_cert": context["x509_pem_cert"] * 2})

    def test_a_handler_without_a_gate_knows_nobody(self):
        with pytest.raises(PeerRefused):
            authenticated_identity(object())


class TestHotReload:
    def test_new_connections_see_the_new_certificate_and_old_ones_go_on(self, world: World):
        async def served(running: Running, files: DeviceFiles) -> int:
            context = tls_context(files, files.anchors)
            _, writer = await asyncio.open_connection(
                "127.0.0.1", running.port, ssl=context, server_hostname=running.name.dns
            )
            try:
                return int(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)
            finally:
                writer.transport.abort()

        async def go() -> None:
            nva1 = world.name(Role.NVA, "nva1")
            async with serving(world) as running:
                files = world.issue(Role.NVE, "leaf1")
                async with connected(running, files) as peer:
                    from identity_world import SESSION, method

                    stream = method(peer.channel, SESSION, "stream_stream")()
                    assert await stream.read() == {"hello": "nve/leaf1"}
                    before = await served(running, files)
                    _, issued = world.authority.issue(nva1, renew=True)
                    world.authority.issue(LEAF1, renew=True)
                    after = await served(running, files)
                    assert before != after == issued.serial
                    await stream.write({"vnis": [10]})
                    assert await stream.read() == {"vnis": [10]}
                    assert running.service.ended == 0
                    await stream.done_writing()
                    assert await stream.read() is grpc.aio.EOF
                # The renewed client connects with its new certificate.
                async with connected(running, files) as peer:
                    await call(peer.channel, ECHO, {})

        run(go())

    def test_a_broken_renewal_does_not_stop_the_service(self, world: World):
        async def go() -> None:
            files = world.issue(Role.NVA, "nva1")
            device = world.device(files, Purpose.SERVER)
            async with serving(world, device=device) as running:
                files.certificate.write_bytes(b"garbage")
                async with connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                    await call(peer.channel, ECHO, {})
                assert device.rejected >= 1

        run(go())
