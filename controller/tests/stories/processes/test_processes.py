# SPDX-License-Identifier: Apache-2.0
"""NVA and agents as real processes with real TLS: killed, revoked, impersonated, with packets between tenants."""

from __future__ import annotations

import asyncio
import json
import subprocess
from ipaddress import IPv4Address

from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.identity.names import Role
from nvo3sec.p4runtime import DropReason
from overlay_world import LEAVES, READY_S, Overlay, command, overlay, until
from raw_switch import RawSwitch
from tenant_traffic import BLUE1, BLUE3, Traffic, frame

NAMING_NVES = ("authorized_nve", "sa_rx", "peer_meter", "peer_floor", "vn_ingress_authorization", "tunnel")
"""Tables whose entries name other NVEs, by their addresses or by the numbers that addresses lead to."""


class TestKilled:
    def test_nobody_is_missed_while_traffic_goes_on(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch) as world:
                before = {one["nve"]: one["incarnation"] for one in (await world.ready())["switches"]}
                async with Traffic(world) as traffic:
                    for name in ("nva", "leaf1", "nva", "leaf2", "nva"):
                        seen = traffic.sent
                        world.kill(name)
                        await until(lambda seen=seen: traffic.sent > seen + 40)
                        world.start(name)
                        after = (await world.ready())["switches"]
                        assert {one["nve"]: one["incarnation"] for one in after} == before
                    adopted = {one["nve"]: one["adopted"] for one in after}
                    assert adopted == {"leaf1": True, "leaf2": True, "leaf3": False}, "leaf3 still has its first agent"

        asyncio.run(run())


class TestUse:
    def test_a_key_that_has_protected_enough_is_replaced_under_traffic(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch, key_soft_packets=200, key_hard_packets=100_000) as world:

                def spis(status) -> set[str]:
                    keys = [one for one in status["keys"] if (one["sender"], one["receiver"]) == ("leaf1", "leaf2")]
                    return {one["spi"] for one in keys if one["state"] == "sending"}

                first = spis(await world.ready())
                seen = set(first)
                async with Traffic(world) as traffic:
                    while len(seen) < 3:
                        seen |= spis(await world.ready())
                    assert traffic.sent > 200

        asyncio.run(run())


class TestRevoked:
    def test_out_within_seconds_and_closed_with_its_lease(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch, lease_s=8.0, lease_renew_s=1.0) as world:
                ports = world.ports
                await ports["leaf3"].send(1, frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 1))
                assert await ports["leaf1"].receive(1) == frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 1)
                watch = Watch(world, "leaf1", "192.0.2.3")
                assert set(watch.look()) == set(NAMING_NVES)
                identities.authority.revoke(identities.name(Role.NVE, "leaf3"))
                async with asyncio.timeout(READY_S):
                    while "leaf3" in await world.registered():
                        await asyncio.sleep(0.02)
                    assert "certificate was revoked" in world.log("nva")
                    # Its peers let go of it, whatever its switch does.
                    while await asyncio.to_thread(watch.look):
                        await asyncio.sleep(0.02)
                assert Watch(world, "leaf1", "192.0.2.2").look(), "and of nobody else"
                async with Traffic(world), asyncio.timeout(READY_S):
                    while not await asyncio.to_thread(lease_expired, world, "leaf3"):
                        await ports["leaf3"].send(1, frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 2))
                        await asyncio.sleep(0.2)
                assert ports["leaf1"].waiting(1) == 0, "and nothing of what it sent meanwhile arrived"
                assert await world.registered() == {"leaf1", "leaf2"}
                identities.authority.issue(identities.name(Role.NVE, "leaf3"), renew=True)
                async with asyncio.timeout(READY_S):
                    while "leaf3" not in await world.registered():
                        await asyncio.sleep(0.02)
                await world.ready()
                await ports["leaf3"].send(1, frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 3))
                assert await ports["leaf1"].receive(1) == frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 3)

        asyncio.run(run())


def lease_expired(world: Overlay, leaf: str) -> bool:
    """Whether the switch of an NVE has refused to send something because its lease had ended."""
    switch = world.switches[leaf]
    with RawSwitch(switch.target, switch.device_id) as raw:
        return raw.counter("drops_egress", DropReason.TX_LEASE_EXPIRED) > 0


class Watch:
    """Looks at the switch of an NVE all the time, as long as the context lasts: does anything in it name `peer`?"""

    def __init__(self, world: Overlay, leaf: str, peer: str) -> None:
        self._switch, self._peer = world.switches[leaf], IPv4Address(peer)
        self._tag = peer_tag(Purpose.TUNNEL, self._peer, IPv4Address(f"192.0.2.{leaf.removeprefix('leaf')}"))
        self._numbers: set[bytes] = set()
        self._stopping = False
        self.looks = 0
        self.seen: list[str] = []

    def look(self) -> list[str]:
        """The tables that name it, by its address or by a number that it was seen to have."""
        with RawSwitch(self._switch.target, self._switch.device_id) as raw:
            rows = {table: raw.entries(table) for table in NAMING_NVES}
            tagged = [
                (entry, table)
                for table in ("authorized_nve", "sa_rx")
                for entry in rows[table]
                if int.from_bytes(raw.parameter(entry, "tag"), "big") == self._tag
            ]
            for entry, table in tagged:
                self._numbers.add(raw.parameter(entry, "peer") if table == "authorized_nve" else raw.key(entry, "peer"))
            found = [
                table
                for table in NAMING_NVES
                if any(self._peer.packed in entry.SerializeToString() for entry in rows[table])
                or any(raw.key(entry, "peer") in self._numbers for entry in rows[table])
            ]
        self.looks += 1
        return found

    def _watch(self) -> None:
        while not self._stopping:
            self.seen += self.look()

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(asyncio.to_thread(self._watch))
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._stopping = True
        await self._task


class TestSuspended:
    """An NVE whose certificate is in the revocation list, and an NVA that dies."""

    def test_it_stays_out_through_a_restart_and_comes_back_with_a_new_certificate(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch, lease_renew_s=1.0) as world:
                ports = world.ports
                identities.authority.revoke(identities.name(Role.NVE, "leaf3"))
                await until(lambda: "nve suspended" in world.log("nva"))
                world.suspended.add("leaf3")
                watch = Watch(world, "leaf1", "192.0.2.3")
                async with asyncio.timeout(READY_S):
                    while await asyncio.to_thread(watch.look):
                        await asyncio.sleep(0.02)
                world.kill("nva")
                world.start("nva")
                async with watch:
                    async with asyncio.timeout(READY_S):
                        while await world.registered() != {"leaf1", "leaf2"}:
                            await asyncio.sleep(0.05)
                    # What they were told first is in their switches by then, and is looked at.
                    await world.ready()
                    looks = watch.looks
                    await until(lambda: watch.looks > looks + 5)
                assert not set(watch.seen), "it was back in the switch of a peer"
                await world.ready()
                assert watch.look() == []
                status = await asyncio.to_thread(world.status)
                assert [one["nve"] for one in status["switches"] if one["excluded"]] == ["leaf3"]
                assert status["not_ready"] == ["leaf3: suspended: its certificate was revoked"]
                world.suspended.clear()
                identities.authority.issue(identities.name(Role.NVE, "leaf3"), renew=True)
                async with asyncio.timeout(READY_S):
                    while "leaf3" not in await world.registered():
                        await asyncio.sleep(0.05)
                await world.ready()
                assert watch.look(), "it is there again, and would have been seen"
                await ports["leaf3"].send(1, frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 3))
                assert await ports["leaf1"].receive(1) == frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 3)
                world.kill("nva")
                world.start("nva")
                async with asyncio.timeout(READY_S):
                    while await world.registered() != set(LEAVES):
                        await asyncio.sleep(0.05)

        asyncio.run(run())

    def test_it_is_out_from_the_start_if_its_certificate_was_revoked_while_no_nva_ran(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch, lease_renew_s=1.0) as world:
                world.kill("nva")
                identities.authority.revoke(identities.name(Role.NVE, "leaf3"))
                revoked = identities.authority.revocation_file
                lists = revoked.read_bytes()
                revoked.write_bytes(b"nobody can read this")
                world.start("nva")
                assert await asyncio.to_thread(world.processes.pop("nva").wait, READY_S) == 1
                assert "there is no revocation list" in world.log("nva")
                assert await world.registered() == set()
                revoked.write_bytes(lists)
                served = len(world.log("nva"))
                world.start("nva")
                async with asyncio.timeout(READY_S):
                    while await world.registered() != {"leaf1", "leaf2"}:
                        await asyncio.sleep(0.05)
                log = world.log("nva")[served:]
                assert log.index("nve suspended") < log.index("NVA running") < log.index("nve registered")
                world.suspended.add("leaf3")
                await world.ready()
                assert Watch(world, "leaf1", "192.0.2.3").look() == []

        asyncio.run(run())


class TestIdentities:
    def test_operators_operate_and_nobody_else(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch) as world:
                status = await asyncio.to_thread(world.operate, "status", "--wait", "60", "-o", "json")
                assert status.returncode == 0, status.stderr
                assert json.loads(status.stdout)["ready"]
                rotated = await asyncio.to_thread(world.operate, "keys", "rotate", "leaf1")
                assert rotated.stdout == "new keys asked for in 4 directions\n"
                (said,) = [line for line in world.log("nva").splitlines() if "method=rotate" in line]
                assert "{'nves': ['leaf1']}" in said, "who asked for what can be told afterwards"
                assert "operator/op" in said
                counters = await asyncio.to_thread(world.operate, "counters", "leaf2", "-o", "json")
                assert [one["nve"] for one in json.loads(counters.stdout)] == ["leaf2"]
                dry = await asyncio.to_thread(world.operate, "reconcile", "--dry-run", "-o", "json")
                assert set(json.loads(dry.stdout)) == set(LEAVES)
                unknown = await asyncio.to_thread(world.operate, "counters", "leaf9")
                assert (unknown.returncode, unknown.stderr[:25]) == (1, "nvo3sec: no such NVE: lea")
                thief = await asyncio.to_thread(lambda: world.operate("keys", "rotate", role=Role.NVE, name="leaf3"))
                assert thief.returncode == 1
                assert "not of a device of role operator" in thief.stderr
                # One that is away hides nothing of the others, and is missed.
                world.kill("leaf3")
                while "leaf3" in await world.registered():
                    await asyncio.sleep(0.02)
                for words in (("counters",), ("reconcile", "--dry-run")):
                    partial = await asyncio.to_thread(world.operate, *words, "-o", "json")
                    assert partial.returncode == 1
                    found = json.loads(partial.stdout)
                    by_name = found if isinstance(found, dict) else {one["nve"]: one for one in found}
                    assert set(by_name) == set(LEAVES)
                    missing = [name for name, one in by_name.items() if "unavailable" in one]
                    assert missing == ["leaf3"]
                    table = await asyncio.to_thread(world.operate, *words)
                    assert "leaf3: not available: leaf3 is not connected" in table.stdout
                alone = await asyncio.to_thread(world.operate, "counters", "leaf3")
                assert (alone.returncode, alone.stdout) == (1, "")
                for name in ("nva", *LEAVES):
                    assert "Traceback" not in world.log(name)

        asyncio.run(run())

    def test_who_was_shut_out_on_purpose_is_not_missed_among_all(self, identities, start_switch):
        """Who is suspended is: it is to come back. Asked by name, either is an error, and why is said."""
        all_of_them = (("counters",), ("reconcile", "--dry-run"), ("keys", "audit"))

        async def run():
            async with overlay(identities, start_switch) as world:

                async def answers(status: int, audited: int, why: str) -> list[bool]:
                    found = []
                    for words in all_of_them:
                        table = await asyncio.to_thread(world.operate, *words)
                        assert table.returncode == (audited if "audit" in words else status), words
                        assert f"leaf3 is shut out: {why}" in table.stdout or f"leaf3: {why}" in table.stdout
                        alone = await asyncio.to_thread(world.operate, *words, "leaf3")
                        assert (alone.returncode, alone.stdout) == (1, ""), words
                        assert alone.stderr.startswith(f"nvo3sec: leaf3 is shut out: {why}")
                        if "audit" not in words:
                            told = json.loads((await asyncio.to_thread(world.operate, *words, "-o", "json")).stdout)
                            rows = told if isinstance(told, dict) else {one["nve"]: one for one in told}
                            assert [name for name, one in rows.items() if "unavailable" in one] == ["leaf3"]
                            found.append(rows["leaf3"]["revoked"])
                    return found

                identities.authority.revoke(identities.name(Role.NVE, "leaf3"))
                await until(lambda: "nve suspended" in world.log("nva"))
                assert await answers(1, 0, "its certificate was revoked") == [False, False]
                revoked = await asyncio.to_thread(world.operate, "keys", "revoke", "leaf3", "--yes")
                assert revoked.returncode == 0, revoked.stderr
                assert await answers(0, 0, "revoked") == [True, True]

        asyncio.run(run())

    def test_an_agent_talks_to_the_nva_that_was_named_and_to_no_other(self, identities, start_switch):
        async def run():
            world = Overlay(identities, start_switch)
            try:
                world.start("nva", identities.issue(Role.NVA, "nva2"))
                world.start("leaf1")
                await until(lambda: "handshake" in world.log("leaf1"))
                assert "nva1" in world.log("leaf1")
                assert await world.registered() == set()
            finally:
                world.end()

        asyncio.run(run())

    def test_credentials_of_another_device_start_nothing(self, identities, tmp_path):
        leaf2 = str(identities.place(Role.NVE, "leaf2"))
        nva = command("nva", "run", "--domain", str(identities.domain_file), "--credentials", leaf2, "--in-memory")
        nve = command("nve", "run", "--name", "leaf1", "--p4runtime", "unix:/nowhere", "--credentials", leaf2)
        nve += ["--nva", f"nva1.nva.{identities.domain.name}:7443"]
        tcp = [word.replace("unix:/nowhere", "127.0.0.1:9559") for word in nve]
        for words, status, complaint in (
            (nva, 1, "not of a device of role nva"),
            (nve, 1, "not of nve/leaf1"),
            (tcp, 2, "P4Runtime must be unix:PATH"),
        ):
            run_dir = str(tmp_path / "run")
            done = subprocess.run(
                [*words, "--run-dir", run_dir], capture_output=True, text=True, timeout=READY_S, check=False
            )
            assert done.returncode == status
            assert complaint in done.stderr.replace("\n", " ")
