# SPDX-License-Identifier: Apache-2.0
"""What ends is in `status` before it does, of every process; renewed certificates are taken without a restart."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from nvo3sec.identity.authority import requests
from nvo3sec.identity.authority.authority import Authority
from nvo3sec.identity.names import Role
from nvo3sec.identity.storage import put_public
from overlay_world import LEAVES, Overlay, overlay, until


async def status(world: Overlay) -> tuple[int, dict[str, Any]]:
    done = await asyncio.to_thread(world.operate, "status", "-o", "json")
    return done.returncode, json.loads(done.stdout)


async def warned(world: Overlay, wanted: int) -> list[str]:
    """The warnings as soon as `status` ends with this exit status."""
    async with asyncio.timeout(60):
        while True:
            code, found = await status(world)
            if code == wanted:
                return list(found["warnings"])


class TestEnds:
    def test_a_certificate_of_an_agent(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch) as world:
                assert await warned(world, 0) == []
                _, found = await status(world)
                assert {one["process"] for one in found["ends"]} == {"nva/nva1", *(f"nve/{leaf}" for leaf in LEAVES)}
                # One that was issued twenty hours ago, and lives for a day.
                late = Authority(identities.directory / "pki", clock=lambda: datetime.now(UTC) - timedelta(hours=20))
                late.issue(identities.name(Role.NVE, "leaf2"), renew=True)
                (warning,) = await warned(world, 3)
                assert warning.startswith("nve/leaf2: the certificate of nve/leaf2, signed by CN=nvo3sec authority ")
                assert " ends in 3 h 5" in warning
                await until(lambda: "replace it in time" in world.log("leaf2"))
                identities.authority.issue(identities.name(Role.NVE, "leaf2"), renew=True)
                assert await warned(world, 0) == []

        asyncio.run(run())

    def test_certificates_are_taken_from_a_directory(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch) as world:
                issued = identities.directory / "issued"
                for name, role, device in (("nva", Role.NVA, "nva1"), ("leaf1", Role.NVE, "leaf1")):
                    world.kill(name)
                    world.start(name, more=["--issued", str(issued)])
                    await world.ready()
                    path = identities.place(role, device) / "device.pem"
                    path.parent.chmod(0o700)
                    request = requests.begin(path, identities.name(role, device))
                    chain, one = identities.authority.sign(request, identities.name(role, device), timedelta(hours=48))
                    stranger = requests.make_request(identities.name(role, device), requests.DeviceKey.generate())
                    wrong, _ = identities.authority.sign(stranger, identities.name(role, device), timedelta(hours=48))
                    where = issued / role.value / f"{device}.pem"
                    put_public(where, wrong)
                    warnings = await warned(world, 3)
                    assert any("neither the key of" in warning for warning in warnings)
                    put_public(where, chain)
                    assert await warned(world, 0) == []
                    await until(lambda name=name: "credentials taken" in world.log(name))
                    _, found = await status(world)
                    left = [
                        row["left_s"]
                        for row in found["ends"]
                        if row["process"] == f"{role.value}/{device}" and row["kind"] == "certificate"
                    ]
                    assert left[0] > 47 * 3600
                    assert one.serial in {known.serial for known in identities.authority.issued()}

        asyncio.run(run())


class TestMemory:
    def test_an_agent_that_cannot_remember_installs_no_new_keys(self, identities, start_switch):
        async def run() -> None:
            async with overlay(identities, start_switch) as world:
                (state,) = (path.parent for path in identities.directory.rglob("agent.json") if "leaf2" in str(path))
                before = {one["spi"] for one in (await world.ready())["keys"]}
                (state / "agent.json.new").mkdir()
                # Under another incarnation of its switch nothing is remembered yet.
                done = await asyncio.to_thread(world.operate, "keys", "reset-marks", "leaf2", "--yes")
                assert done.returncode == 0, done.stderr

                def told() -> bool:
                    found = world.status() or {"warnings": [], "reports": [], "ready": True}
                    return (
                        any("nve/leaf2: the agent cannot write down" in one for one in found["warnings"])
                        and any(
                            "new keys to receive with are not installed" in one["detail"] for one in found["reports"]
                        )
                        and not found["ready"]
                    )

                await until(told)
                status = world.status()
                assert status is not None
                assert not any(one["over"] for one in status["reports"] if one["event"] == "confined")
                assert not [one for one in status["keys"] if one["receiver"] == "leaf2" and one["state"] == "sending"]
                assert [one for one in status["keys"] if one["receiver"] == "leaf3" and one["sender"] == "leaf1"]
                (state / "agent.json.new").rmdir()
                assert await warned(world, 0) == []
                found = await world.ready()
                assert all(one["over"] for one in found["reports"] if one["event"] == "confined")
                now = {one["spi"] for one in (await world.ready())["keys"] if one["receiver"] == "leaf2"}
                assert now
                assert not now & before

        asyncio.run(run())
