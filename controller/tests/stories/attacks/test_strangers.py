# SPDX-License-Identifier: Apache-2.0
"""Devices at methods that are not theirs, with names that are not theirs, and an NVE that poses as the NVA."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter

import grpc
import http2
import pytest
from attack_world import Agent, Fleet, fleet_of, run, served
from attackers import key_and_chain, look_up
from nvo3sec.identity.authority.authority import Authority
from nvo3sec.identity.names import Role
from nvo3sec.wire import nva_pb2 as pb
from overlay_world import until

RED = 5002


def methods() -> list[tuple[str, str, bool]]:
    """Every method of the interface: its service, its path, and whether it is a stream."""
    return [
        (service.name, f"/{service.full_name}/{method.name}", method.client_streaming)
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


async def outcomes(fleet: Fleet, device: str, service: str, body: bytes = b"") -> Counter[str]:
    """What a device is told at every method of a service."""
    anchors = fleet.identities.authority.anchors_file.read_bytes()
    credentials = grpc.ssl_channel_credentials(anchors, *key_and_chain(device))
    options = [("grpc.ssl_target_name_override", fleet.name.dns), ("grpc.use_local_subchannel_pool", 1)]
    told: Counter[str] = Counter()
    async with grpc.aio.secure_channel(f"127.0.0.1:{fleet.port}", credentials, options) as channel:
        for name, path, is_stream in methods():
            if name != service or (body and is_stream):
                continue
            call = channel.stream_stream(path)(timeout=60) if is_stream else channel.unary_unary(path)(body, timeout=60)
            told[(await call.code()).name] += 1
    return told


class TestRoles:
    def test_every_method_of_another_role(self, identities):
        async def go() -> None:
            hypervisor, nva = (
                identities.issue(role, name) for role, name in ((Role.HYPERVISOR, "hv1"), (Role.NVA, "nva2"))
            )
            strangers = {
                "Nva": [str(hypervisor / "device.pem"), str(nva / "device.pem")],
                "Operator": [str(hypervisor / "device.pem"), str(nva / "device.pem")],
            }
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
                strangers["Nva"].append(fleet.device_file(Role.OPERATOR, "op"))
                strangers["Operator"].append(fleet.device_file(Role.NVE, "leaf10"))
                for service, devices in strangers.items():
                    count = sum(name == service for name, _, _ in methods())
                    for device in devices:
                        assert await outcomes(fleet, device, service) == {"PERMISSION_DENIED": count}, (service, device)
                refused = (await fleet.ask("admission"))["refused_by_identity"]
                assert set(refused) == {"hypervisor/hv1", "nva/nva2", "operator/op", "nve/leaf10"}
                await served(agents)

        run(go())

    def test_the_right_role_and_another_vn(self, identities):
        """leaf10 does not serve red: it may not ask about it, with its own session or any other."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
                device = fleet.device_file(Role.NVE, "leaf10")
                told = await outcomes(fleet, device, "Nva", look_up(bytes(16), RED))
                assert "OK" not in told
                assert (await fleet.calls("/nvo3sec.v1.Nva/LookUp"))["permission"] == 1
                await served(agents)

        run(go())


class TestForeignAuthority:
    def test_the_right_name_and_another_key(self, identities, tmp_path):
        """An authority of the same name, devices of the same names: neither side takes the other."""

        async def go() -> None:
            forged = Authority.create(tmp_path / "forged", identities.domain.name)
            thief, _ = forged.issue(identities.name(Role.NVE, "leaf1"))
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:

                def attempt() -> bytes:
                    anchors = str(identities.authority.anchors_file)
                    connection = http2.Connection(fleet.port, fleet.name.dns, anchors, str(thief), "127.0.0.44")
                    try:
                        with contextlib.suppress(OSError):
                            connection.hello()
                        return connection.until_closed(limit=1)
                    finally:
                        connection.close()

                assert await asyncio.to_thread(attempt) == b""
                assert (await fleet.ask("admission"))["refused_by_identity"] == {}
                await served(agents)

        run(go())


class TestNveAsNva:
    @pytest.mark.parametrize("whose", ["an NVE", "an NVA of another authority"])
    def test_its_agent_tells_it_nothing(self, identities, tmp_path, whose):
        async def go() -> None:
            async with fleet_of(identities) as fleet:
                if whose == "an NVE":
                    certificate = fleet.device_file(Role.NVE, "leaf9")
                else:
                    forged = Authority.create(tmp_path / "forged", identities.domain.name)
                    certificate = str(forged.issue(fleet.name)[0])
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                context.set_alpn_protocols(["h2"])
                heard = bytearray()

                async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    with contextlib.suppress(OSError):
                        heard.extend(await reader.read())
                    writer.close()

                server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
                port = server.sockets[0].getsockname()[1]
                agent = Agent(fleet, "leaf10", reconnects=True, port=port)
                task = asyncio.create_task(agent.run())
                await until(lambda: len(agent.lost) >= 3, timeout_s=120)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                server.close()
                assert not heard, "nothing of the session, not even its beginning"
                assert agent.grants == agent.views == 0
                assert all("nva/nva1" in why for why in agent.lost)

        run(go())
