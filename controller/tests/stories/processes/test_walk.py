# SPDX-License-Identifier: Apache-2.0
"""Correct operations, one after the other, as processes: none of them alarms anybody, but for what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from nvo3sec.identity.authority import requests
from nvo3sec.identity.names import Role
from nvo3sec.identity.storage import put_public
from overlay_world import LEAVES
from switches import EXECUTABLES
from tenant_traffic import BLUE1, BLUE2, BLUE3, frame
from walk_world import (
    NEW_INCARNATION,
    SESSION_ENDS,
    WITHOUT_NVA,
    WITHOUT_SWITCH,
    Due,
    Walk,
    reported,
    shut_out,
    walk,
)

BLUE = {"leaf1": (BLUE1, "10.1.0.1"), "leaf2": (BLUE2, "10.1.0.2"), "leaf3": (BLUE3, "10.1.0.3")}
RENEWED = "credentials taken"
LISTED = "revocation lists taken"
WAITS = Due("status", "warning", "a list whose authority is no trust anchor is not taken", ".*no trust anchor signed.*")
TRUSTED = Due(".*", "trust anchors taken", "whom a process trusts is worth telling")


@pytest.fixture
def switch_executable() -> str:
    """What other switches log is not ours."""
    executable = EXECUTABLES["embedded"]
    assert executable is not None
    return executable


@pytest.fixture
def walking(identities: Any, start_switch: Any) -> Any:
    """Takes a walk in an overlay that is ready, whose tenant systems have talked."""

    def take(steps: Callable[[Walk], Coroutine[Any, Any, None]], **lifetimes: float) -> None:
        async def work() -> None:
            async with walk(identities, start_switch, **lifetimes) as world:
                async with world.step("tenant systems talk"):
                    await talk(world)
                await steps(world)

        asyncio.run(work())

    return take


async def talk(world: Walk) -> None:
    """Everybody in blue to everybody: agents look up, switches learn."""
    for one, (source, source_ip) in BLUE.items():
        for other, (destination, destination_ip) in BLUE.items():
            if one != other:
                await carries(world, one, other, frame(source, destination, source_ip, destination_ip, 1))


async def carries(world: Walk, one: str, other: str, sent: bytes, port: int = 1) -> None:
    await world.ports[one].send(port, sent)
    assert await world.ports[other].receive(port) == sent


class TestDomain:
    """Another domain file. What is announced and loses its place by it is reported; nothing else is."""

    def test_vns_and_vaps(self, walking):
        green = {"vn": "green", "port": 9}

        def comes(document: Any) -> None:
            document["vns"].append({"name": "green", "vni": 5003})
            for nve in document["nves"][:2]:
                nve["vaps"].append(dict(green))
            ends = {"nve": "leaf2", "mac": "02:aa:00:00:09:02", "ips": ["10.9.0.2"]}
            document["tenant_systems"].append(green | ends | {"name": "green2"})

        def goes(document: Any, name: str) -> None:
            document["vns"] = [one for one in document["vns"] if one["name"] != name]
            document["tenant_systems"] = [one for one in document["tenant_systems"] if one["vn"] != name]
            for nve in document["nves"]:
                nve["vaps"] = [one for one in nve["vaps"] if one["vn"] != name]

        async def steps(world: Walk) -> None:
            async with world.step("a VN is added"):
                await world.apply(comes)
            async with world.step("its tenant systems talk"):
                where = ("--vn", "green", "--port", "9")
                await world.agent("leaf1", "attach", *where, "--mac", "02:aa:00:00:09:01", "--ip", "10.9.0.1")
                sent = frame(0x02AA00000901, 0x02AA00000902, "10.9.0.1", "10.9.0.2", 1)
                await carries(world, "leaf1", "leaf2", sent, port=9)
            gone = reported(
                "mapping-withdrawn", "what an agent announced is not served any more, and is not in the file"
            )
            async with world.step("a VN is removed, with a tenant system that was announced", *gone):
                await world.apply(lambda document: goes(document, "green"))
            async with world.step("a VN is removed whose tenant systems are all in the file"):
                await world.apply(lambda document: goes(document, "red"))
            async with world.step("a VAP is added"):
                await world.apply(lambda document: document["nves"][1]["vaps"].append({"port": 2, "vn": "blue"}))
            async with world.step("a VAP is removed"):
                await world.apply(lambda document: document["nves"][1]["vaps"].pop())

        walking(steps)

    def test_nves(self, walking, identities, start_switch):
        leaf4 = {
            "name": "leaf4",
            "device_id": 4,
            "p4runtime": "unix:leaf4.sock",
            "underlay": {"address": "192.0.2.4", "port": 256, "mac": "02:00:00:00:04:00"},
            "vaps": [{"port": 1, "vn": "blue"}],
        }

        async def steps(world: Walk) -> None:
            identities.issue(Role.NVE, "leaf4")
            async with world.step("an NVE is added, then its agent is started"):
                await world.apply(lambda document: document["nves"].append(leaf4))
                world.switches["leaf4"] = start_switch("leaf4", 4)
                world.start("leaf4")
            async with world.step("an NVE is removed", *shut_out("leaf4")):
                await world.apply(lambda document: document["nves"].pop())
            async with world.step("its agent and its switch are stopped"):
                await world.stop("leaf4")
                await world.stop_switch("leaf4")

        walking(steps, lease_s=5.0, lease_renew_s=1.0)

    CHANGES: ClassVar[dict[str, Callable[[Any], object]]] = {
        "a level of a tunnel": lambda d: d["tunnels"].append({"between": ["leaf1", "leaf2"], "level": "integrity"}),
        "a higher level of a tunnel": lambda d: d["tunnels"][-1].update(level="confidentiality"),
        "a higher level of a VN": lambda d: d["vns"][0].update(level="confidentiality"),
        "a level of a tunnel less": lambda d: d["tunnels"].pop(),
        "a lower level of a VN": lambda d: d["vns"][0].update(level="integrity"),
        "a longer lease": lambda d: d["lifetimes"].update(lease_s=60),
        "a shorter lease": lambda d: d["lifetimes"].update(lease_s=30, lease_renew_s=5),
        "the age of keys": lambda d: d["lifetimes"].update(key_soft_s=3000, key_hard_s=3300),
        "the use of keys": lambda d: d["lifetimes"].update(key_soft_packets=2**31, key_hard_packets=2**31 + 2**28),
        "rotations": lambda d: d["lifetimes"].update(rotations_at_once=2, rollout_s=20, grace_s=1, confirm_s=9),
        "limits of mappings": lambda d: d["mapping_limits"].update(claims_per_vap=128, handover_s=5),
        "limits of a VN": lambda d: d["vns"][0].update(punt={"rate": 30, "burst": 30}, negative_quota=64),
        "mtu": lambda d: d["vns"][0].update(mtu=1300),
        "subnets": lambda d: d["vns"][0].update(subnets=["10.1.0.0/16"]),
        "meters": lambda d: d["nves"][0]["underlay"].update(peer_meter={"rate": 90000, "burst": 9000}),
        "a meter of a VAP": lambda d: d["nves"][0]["vaps"][0].update(meter={"rate": 90000, "burst": 9000}),
        "routes": lambda d: [nve["underlay"].update(routes=[]) for nve in d["nves"]],
        "a tenant system more": lambda d: d["tenant_systems"].append(
            {"name": "b9", "vn": "blue", "nve": "leaf2", "port": 1, "mac": "02:aa:00:00:00:09", "ips": ["10.1.0.9"]}
        ),
        "a tenant system less": lambda d: d["tenant_systems"].pop(),
        "a reservation": lambda d: d["reservations"].append({"vn": "blue", "ip": "10.1.0.99", "nves": ["leaf2"]}),
        "another VNI": lambda d: d["vns"][1].update(vni=5999),
        "another address of an NVE": lambda d: d["nves"][1]["underlay"].update(address="192.0.2.22"),
        "another MAC address of an NVE": lambda d: d["nves"][1]["underlay"].update(mac="02:00:00:00:02:22"),
    }

    def test_everything_else(self, walking):
        async def steps(world: Walk) -> None:
            for name, change in self.CHANGES.items():
                async with world.step(f"domain apply: {name}"):
                    await world.apply(change)

        walking(steps)


class TestTenants:
    MAC = "02:aa:00:00:00:77"
    WHERE = ("--vn", "blue", "--port", "1", "--mac", MAC)
    WAITS = reported("mapping-frozen", "somebody else has the address; whether that is a migration nobody knows yet")

    def test_they_come_move_and_go(self, walking):
        async def steps(world: Walk) -> None:
            sent = frame(BLUE1, 0x02AA00000077, "10.1.0.1", "10.1.0.77", 1)
            async with world.step("nve attach"):
                await world.agent("leaf2", "attach", *self.WHERE, "--ip", "10.1.0.77")
                await carries(world, "leaf1", "leaf2", sent)
            async with world.step("a live migration begins: nve attach elsewhere", *self.WAITS):
                await world.agent("leaf3", "attach", *self.WHERE, "--ip", "10.1.0.77")
            thawed = Due("leaf3", "report mapping-thawed", "it has got its address: shown, and no warning")
            async with world.step("a live migration ends: nve detach --successor", thawed):
                await world.agent("leaf2", "detach", *self.WHERE, "--successor", "leaf3")
            async with world.step("it is spoken to"):
                await carries(world, "leaf1", "leaf3", sent)
            async with world.step("nve detach"):
                await world.agent("leaf3", "detach", *self.WHERE)
            async with world.step("nve move"):
                await world.agent("leaf1", "attach", *self.WHERE, "--ip", "10.1.0.77")
                await world.agent("leaf1", "move", *self.WHERE, "--to-port", "2")
            async with world.step("nve attach, where another one has the address", *self.WAITS):
                await world.agent("leaf3", "attach", *self.WHERE, "--ip", "10.1.0.77")
            demoted = reported("mapping-demoted", "the operator has taken an address from whoever announced it")
            async with world.step("map admit", *demoted):
                await world.operated("map", "admit", self.MAC, "--nve", "leaf3", "--yes")
            thawed = Due("leaf1", "report mapping-thawed", "it has got its address: shown, and no warning")
            async with world.step("map evict", thawed):
                await world.operated("map", "evict", self.MAC, "--nve", "leaf3", "--yes")

        walking(steps)

    def test_shared_addresses(self, walking):
        members = [{"nve": "leaf1", "port": 1}, {"nve": "leaf2", "port": 1}]
        gateway = {
            "name": "gateway",
            "vn": "blue",
            "mac": "00:00:5e:00:01:01",
            "ips": ["10.1.0.250"],
            "members": members,
        }
        claim = ("claim", "--vn", "blue", "--port", "1", "--mac", "00:00:5e:00:01:01", "--ip", "10.1.0.250")

        async def steps(world: Walk) -> None:
            async with world.step("shared addresses are stated"):
                await world.apply(lambda document: document.update(shared_addresses=[gateway]))
            moved = Due("leaf2", "report mapping-moved", "it has the address now: shown, and no warning")
            async with world.step("nve claim", moved):
                await world.agent("leaf2", *claim)
            async with world.step("they are not stated any more"):
                await world.apply(lambda document: document.update(shared_addresses=[]))

        walking(steps)


class TestKeys:
    NOTHING_IS_DUE = (
        "keys list",
        "keys audit",
        "counters",
        "reconcile",
        "reconcile --dry-run",
        "vn show red",
        "map list",
        "authz probe --as nve/leaf1 LookUp",
        "domain show",
        "keys rotate",
        "keys rotate leaf1 leaf2",
        "keys rotate --vn red",
    )

    def test_commands(self, walking):
        async def steps(world: Walk) -> None:
            for words in self.NOTHING_IS_DUE:
                async with world.step(words):
                    await world.operated(*words.split())
            reset = (
                Due("nva", "marks reset", "said with the name of the NVE"),
                Due("leaf2", "not serving", "its incarnation ends", ".*IncarnationRetired.*"),
                Due("leaf2", "the switch begins anew, with its pipeline", "nothing else empties its replay rings"),
            )
            async with world.step("keys reset-marks leaf2", *reset, SESSION_ENDS, NEW_INCARNATION):
                await world.operated("keys", "reset-marks", "leaf2", "--yes")
            revoked = Due("nva", "nve revoked", "said with the name of the NVE", ".*leaf3.*")
            async with world.step("keys revoke leaf3", revoked, *shut_out("leaf3")):
                await world.operated("keys", "revoke", "leaf3", "--yes")
                await world.is_shut_out("leaf3")
            async with world.step("its agent is stopped"):
                await world.stop("leaf3")
            async with world.step("keys rotate without it"):
                await world.operated("keys", "rotate")

        walking(steps, grace_s=1.0)

    def test_keys_that_have_protected_enough(self, walking):
        async def steps(world: Walk) -> None:
            async with world.step("keys are replaced for their use"):
                before = {one["spi"] for one in (await world.settled())["keys"]}
                while before <= {one["spi"] for one in (await world.settled())["keys"]}:
                    for number in range(20):
                        await world.ports["leaf1"].send(1, frame(BLUE1, BLUE2, "10.1.0.1", "10.1.0.2", number))

        walking(steps, grace_s=1.0, key_soft_packets=100)

    def test_those_that_peers_mix(self, walking, identities):
        async def steps(world: Walk) -> None:
            async with world.step("tunnel_keys: nva+peer", SESSION_ENDS, *WITHOUT_NVA):
                await world.restart_with(tunnel_keys="nva+peer")
            async with world.step("keys rotate"):
                await world.operated("keys", "rotate")
            async with world.step("an agent is restarted", SESSION_ENDS):
                await world.stop("leaf1")
                world.start("leaf1")
            async with world.step("keys rotate, after that"):
                await world.operated("keys", "rotate")
            async with world.step("the NVA is restarted", SESSION_ENDS, *WITHOUT_NVA):
                await world.stop("nva")
                world.start("nva")
            async with world.step("a switch is restarted", SESSION_ENDS, WITHOUT_SWITCH, NEW_INCARNATION):
                await world.stop_switch("leaf1")
                await world.begin_switch("leaf1")
            async with world.step("a certificate is renewed"), world.takes(RENEWED, "leaf2"):
                identities.authority.issue(identities.name(Role.NVE, "leaf2"), renew=True)
            async with world.step("keys rotate, after all of that"):
                await world.operated("keys", "rotate")
            downgraded = reported("tunnel-keys-downgraded", "whoever can have an NVA do so weakens the keys")
            said = Due("leaf.", "peer refused", "the same, at the agents", ".*tunnel-keys-downgraded.*")
            async with world.step("tunnel_keys: nva", SESSION_ENDS, *WITHOUT_NVA, *downgraded, said):
                await world.restart_with(tunnel_keys="nva")

        walking(steps, grace_s=1.0)


class TestRestarts:
    @pytest.mark.parametrize("orderly", [True, False], ids=["stop", "kill"])
    def test_in_every_order(self, walking, orderly):
        async def steps(world: Walk) -> None:
            async def end(name: str) -> None:
                if orderly:
                    await world.stop(name)
                else:
                    world.kill(name)

            async def end_switch() -> None:
                if orderly:
                    await world.stop_switch("leaf1")
                else:
                    world.switches["leaf1"].kill()

            async with world.step("an agent", SESSION_ENDS):
                await end("leaf1")
                world.start("leaf1")
            async with world.step("the NVA", SESSION_ENDS, *WITHOUT_NVA):
                await end("nva")
                world.start("nva")
            async with world.step("a switch", SESSION_ENDS, WITHOUT_SWITCH, NEW_INCARNATION):
                await end_switch()
                await world.begin_switch("leaf1")
            async with world.step("an agent, then its switch", SESSION_ENDS, NEW_INCARNATION):
                await end("leaf1")
                await end_switch()
                world.start("leaf1")
                await world.begin_switch("leaf1")
            async with world.step("a switch, then its agent", SESSION_ENDS, WITHOUT_SWITCH, NEW_INCARNATION):
                await end_switch()
                await end("leaf1")
                world.start("leaf1")
                await world.begin_switch("leaf1")
            async with world.step("all agents, then the NVA", SESSION_ENDS, *WITHOUT_NVA):
                for name in (*LEAVES, "nva"):
                    await end(name)
                for name in ("nva", *LEAVES):
                    world.start(name)
            async with world.step("the NVA, then all agents", SESSION_ENDS, *WITHOUT_NVA):
                for name in ("nva", *LEAVES):
                    await end(name)
                for name in (*LEAVES, "nva"):
                    world.start(name)
            async with world.step("tenant systems talk"):
                await talk(world)

        walking(steps)


class TestCredentials:
    def test_certificates_and_lists(self, walking, identities):
        authority, name = identities.authority, identities.name

        async def steps(world: Walk) -> None:
            for role, device, process in ((Role.NVE, "leaf1", "leaf1"), (Role.NVA, "nva1", "nva")):
                async with world.step(f"pki renew {role.value} {device}"), world.takes(RENEWED, process):
                    authority.issue(name(role, device), renew=True)
            async with world.step("pki renew operator op"):
                authority.issue(name(Role.OPERATOR, "op"), renew=True)
                await world.operated("vn", "list")
            async with world.step("pki publish"), world.takes(LISTED, "nva", *LEAVES):
                authority.publish()
            async with world.step("pki revoke operator former"), world.takes(LISTED, "nva", *LEAVES):
                identities.issue(Role.OPERATOR, "former")
                authority.revoke(name(Role.OPERATOR, "former"))
            suspended = Due("nva", "nve suspended", "said with the name of the NVE", ".*leaf3.*")
            told = reported("nve-suspended", "operators see it until the NVE has another certificate")
            lacks = Due("status", "not ready", "until it has another certificate", "leaf3: suspended: .* was revoked")
            async with world.step("pki revoke nve leaf3", suspended, lacks, *told, *shut_out("leaf3")):
                authority.revoke(name(Role.NVE, "leaf3"))
                world.suspended.add("leaf3")
                await world.is_shut_out("leaf3")
            again = "it asks with the certificate of before until it has the new one"
            refused = Due("nva", "call refused", again, ".*leaf3.*revoked.*", again=True)
            unknown = Due(
                "leaf3", "not serving", "it was writing when it was refused", ".*something was being written.*"
            )
            async with (
                world.step("pki renew nve leaf3", refused, unknown),
                world.takes("nve is no longer suspended", "nva"),
            ):
                world.suspended.clear()
                authority.issue(name(Role.NVE, "leaf3"), renew=True)

        walking(steps)

    def test_keys_that_stay_where_they_are(self, walking, identities):
        """`pki request`, `pki sign --issued`, and a process that takes the certificate from there."""
        issued = identities.directory / "issued"

        async def steps(world: Walk) -> None:
            for process, role, device in (("nva", Role.NVA, "nva1"), ("leaf1", Role.NVE, "leaf1")):
                async with world.step(f"{process} is restarted with --issued", SESSION_ENDS, *WITHOUT_NVA):
                    await world.stop(process)
                    world.start(process, more=["--issued", str(issued)])
                path = identities.place(role, device) / "device.pem"
                path.parent.chmod(0o700)
                async with world.step(f"pki request for {process}"):
                    request = requests.begin(path, identities.name(role, device))
                async with world.step(f"pki sign for {process}"), world.takes(RENEWED, process):
                    chain, _ = identities.authority.sign(request, identities.name(role, device), timedelta(hours=48))
                    put_public(issued / role.value / f"{device}.pem", chain)

        walking(steps)

    def test_rollover(self, walking, identities):
        """In the order that interrupts nobody, file by file: docs/operating.md says what is due."""
        devices = {
            "nva": (Role.NVA, "nva1"),
            **{leaf: (Role.NVE, leaf) for leaf in LEAVES},
            "op": (Role.OPERATOR, "op"),
        }
        places = {process: own_files(identities.place(*device)) for process, device in devices.items()}
        directory = identities.directory
        ends = (
            SESSION_ENDS,
            Due("nva", "peer closed", "a session was begun with a certificate of the old authority", ".*untrusted.*"),
            Due("nva", "call refused", "an agent asks anew over the connection of before", ".*untrusted.*"),
            Due("nva", "connection ended", "the same"),
            Due("leaf.", "not serving", "the same", ".*(no trust anchor signed|NvaUnreachable).*"),
            Due("leaf.", "peer closed", "the same, of the NVA's certificate", ".*untrusted.*"),
        )

        async def steps(world: Walk) -> None:
            async def give(what: str, source: Path, event: str, *due: Due) -> None:
                for process, place in places.items():
                    if process == "op":
                        put(place / what, (source / what).read_bytes())
                        continue
                    async with world.step(f"{what} for {process}", *due), world.takes(event, process):
                        put(place / what, (source / what).read_bytes())

            world.run("pki", "init", identities.domain.name, "--dir", str(directory / "new"))
            world.run(
                "pki", "bundle", *(str(directory / one) for one in ("pki", "new")), "--out", str(directory / "both")
            )
            await give("revoked.pem", directory / "both", "revocation list waits for its trust anchor", WAITS)
            await give("anchors.pem", directory / "both", LISTED, TRUSTED, WAITS)
            await all_well(world)
            for process, (role, device) in devices.items():
                made = Path(world.run("pki", "issue", role.value, device, "--dir", str(directory / "new")).strip())
                if process == "op":
                    put(places[process] / "device.pem", made.read_bytes())
                    continue
                async with world.step(f"a new certificate for {process}"), world.takes(RENEWED, process):
                    put(places[process] / "device.pem", made.read_bytes())
            world.run("pki", "bundle", str(directory / "new"), "--out", str(directory / "last"))
            await give("anchors.pem", directory / "last", "trust anchors taken", TRUSTED, WAITS, *ends)
            await give("revoked.pem", directory / "last", "revocation lists complete", WAITS, *ends)
            await all_well(world)
            async with world.step("an operator asks"):
                await world.operated("vn", "list")

        walking(steps)


async def all_well(world: Walk) -> None:
    """Until nothing is missing any more, as far as the NVA has been told."""
    while (await world.settled())["warnings"]:
        await asyncio.sleep(0.05)


def put(path: Path, content: bytes) -> None:
    """As docs/operating.md says: another one beside it, and rename it."""
    draft = path.with_suffix(".new")
    draft.touch(0o600)
    draft.write_bytes(content)
    draft.rename(path)


def own_files(place: Path) -> Path:
    """Credentials as files of their own, instead of links into the authority's directory."""
    for path in list(place.iterdir()):
        content = path.read_bytes()
        path.unlink()
        put(path, content)
    return place
