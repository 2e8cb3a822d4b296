# SPDX-License-Identifier: Apache-2.0
"""The drill tells a switch that holds from one that does not, by its report and by its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nvo3lab import domain_file, report, rundir
from nvo3lab.drill.drops import reason_names
from nvo3lab.drill.model import Attack, Result, Shot, Traffic, judge
from nvo3lab.drill.run import ATTACKS, Drill, launched, select
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError, SwitchError, UsageError
from nvo3lab.p4rt import Entry, SwitchReader
from nvo3lab.processes import preflight
from nvo3lab.topology import reference
from nvo3lab.view import View
from nvo3ref.protection import Protected

from .conftest import lab_process
from .processes import finished

LEAF3 = IPv4Address("192.0.2.3")
RED = 5001
_TRIES = 5
CALM = Traffic(100, 0, 1.0, 2.0)


async def _nothing(_world: World) -> Shot:
    return Shot(0, 0)


ATTACK = Attack("test", "outsider", "", frozenset({"BAD_ICV", "NO_SA"}), _nothing)


def verdict(
    shot: Shot = Shot(10, 10),  # noqa: B008
    caught: dict[str, int] | None = None,
    beside: Traffic = CALM,
    **arrived: int,
) -> tuple[int, list[str]]:
    counts = dict.fromkeys(("explained", "bait", "duplicate", "marked", "other"), 0) | arrived
    return judge(ATTACK, shot, {"BAD_ICV": 10} if caught is None else caught, counts, CALM, beside)


class TestJudge:
    def test_all_caught_and_nothing_disturbed_holds(self) -> None:
        assert verdict() == (0, [])
        assert verdict(caught={"BAD_ICV": 4, "NO_SA": 6}) == (0, [])

    @pytest.mark.parametrize("kind", ["marked", "other", "duplicate", "bait"])
    def test_anything_unexplained_at_a_host_got_through(self, kind: str) -> None:
        through, faults = verdict(**{kind: 3})
        assert through == 3
        assert "3 packets got through" in faults[0]

    def test_bait_arrives_exactly_once(self) -> None:
        assert verdict(Shot(10, 10, bait=2), bait=2) == (0, [])
        assert verdict(Shot(10, 10, bait=2), bait=3)[0] == 1
        assert "1 of 2 legitimate" in verdict(Shot(10, 10, bait=2), bait=1)[1][0]

    def test_a_packet_that_nobody_counted_is_a_fault(self) -> None:
        assert "9 of 10" in verdict(caught={"BAD_ICV": 9})[1][0]

    def test_what_hosts_say_by_themselves_catches_nothing(self) -> None:
        attack = replace(ATTACK, own=frozenset({"TX_LEASE_ABSENT"}))
        counts = dict.fromkeys(("explained", "bait", "duplicate", "marked", "other"), 0)
        for caught, faults in (({"BAD_ICV": 10, "TX_LEASE_ABSENT": 2}, 0), ({"BAD_ICV": 8, "TX_LEASE_ABSENT": 2}, 1)):
            assert len(judge(attack, Shot(10, 10), caught, counts, CALM, CALM)[1]) == faults

    def test_nobody_attacks_with_what_was_not_protected(self) -> None:
        """What an attack makes of it would be refused for another reason, and prove nothing."""
        real = Protected("02:00:00:00:00:01", "02:00:00:00:00:02", "192.0.2.1", "192.0.2.2", 1, 2, 3, bytes(60))
        real = real.sealed(bytes(16))
        world = World.__new__(World)

        async def check() -> None:
            frames = [real.build()]
            world.catch = lambda *_: asyncio.sleep(0, frames)  # type: ignore[method-assign]
            assert await world.catch_packets("a", "b", 1) == [await world.catch_one("a", "b")] == [real]
            frames.append(b"\0" * 200)
            with pytest.raises(LabError, match="what crossed the underlay is not protected: neither"):
                await world.catch_packets("a", "b", 2)

        asyncio.run(check())

    def test_a_drop_for_another_reason_is_a_fault(self) -> None:
        faults = verdict(caught={"BAD_ICV": 9, "UNDERLAY_CONTROL": 1})[1]
        assert any("UNDERLAY_CONTROL 1" in fault for fault in faults)

    def test_more_drops_than_packets_is_a_fault(self) -> None:
        assert "11 drops" in verdict(caught={"BAD_ICV": 11})[1][0]

    def test_loss_beside_it_is_a_fault(self) -> None:
        assert "lost 1 of 100" in verdict(beside=Traffic(100, 1, 1.0, 2.0))[1][0]

    def test_a_lease_that_ended_while_the_nva_was_away_explains_loss_and_nothing_else(self) -> None:
        lost, closed = Traffic(100, 40, 1.0, 2.0), {"BAD_ICV": 4, "LEASE_EXPIRED": 6, "TX_LEASE_EXPIRED": 40}
        assert verdict(Shot(10, 10, lapsed=True), closed, lost) == (0, [])
        assert len(verdict(Shot(10, 10), closed, lost)[1]) == 3
        assert "UNDERLAY_CONTROL 1" in verdict(Shot(10, 10, lapsed=True), closed | {"UNDERLAY_CONTROL": 1}, lost)[1][0]
        assert verdict(Shot(10, 10, lapsed=True), closed, lost, other=1)[0] == 1
        assert "9 of 10" in verdict(Shot(10, 10, lapsed=True), {"BAD_ICV": 9})[1][0]

    def test_delay_beside_it_is_shown_and_not_judged(self) -> None:
        assert verdict(beside=Traffic(100, 0, 900.0, 2000.0))[1] == []

    def test_no_traffic_beside_it_is_a_fault(self) -> None:
        assert verdict(beside=Traffic(0, 0, None, None))[1]


class _FakeLab:
    """The lab's side of killing and starting: what was asked for. broken: what it cannot do."""

    def __init__(self, broken: str = "") -> None:
        self.asked: list[str] = []
        self._broken = broken

    async def call(self, method: str, name: str) -> None:
        self.asked.append(f"{method} {name}")
        if self.asked[-1] == self._broken:
            raise LabError(f"cannot {method}")
        if self.asked[-1] == "kill half":
            await asyncio.Event().wait()


def _world_with(lab: _FakeLab) -> World:
    return World(cast(View, SimpleNamespace(lab=lab, topology=reference(), switches={})))


class TestTable:
    """What became of all that was sent adds up."""

    @staticmethod
    def shown(**fields: Any) -> list[str]:
        return report._caught(
            Result("test", "outsider", "", through=0, baseline=CALM, beside=CALM, seconds=1, **fields)
        )

    def test_attempts_are_no_packets(self) -> None:
        lines = self.shown(sent=240, caught={"VN_UNAUTHORIZED": 240, "held": 21}, refused={"held": 21})
        assert lines == ["VN_UNAUTHORIZED 240", "attempts held 21"]

    def test_what_must_arrive_is_said_to(self) -> None:
        assert self.shown(sent=5, caught={}, arrived=5) == ["5 arrived, as they must"]

    def test_what_met_no_switch(self) -> None:
        caught = {"NO_SA": 500, "A": 30, "B": 12, "C": 6}
        assert self.shown(sent=2160, caught=caught)[-2:] == ["1 more reason: 6", "met no switch 1612"]


class TestWarmUp:
    def test_an_echo_that_is_late_is_waited_for(self) -> None:
        async def run() -> None:
            topology, said, asked = reference(), [], []

            class Host:
                async def call(self, _method: str, destination: str, count: int) -> dict[str, int]:
                    asked.append(destination)
                    return {"received": 0 if len(asked) == 1 else count}

            hosts = dict.fromkeys((host.name for host in topology.hosts), Host())
            view = SimpleNamespace(target="embedded", topology=topology, hosts=hosts, control=None)
            await Drill(cast(View, view), on_progress=said.append)._warm_up()
            source, destination = next(iter(topology.pairs()))
            assert said == [f"waiting until {source.name} reaches {destination.name}"]

        asyncio.run(run())


class TestPutBack:
    """Whatever ends an attack early, the lab is as it was, or it is said what is left."""

    def test_what_an_attack_did_not_put_back(self) -> None:
        async def run() -> None:
            lab = _FakeLab()
            world = _world_with(lab)
            await world.kill("nve-leaf3")
            await world.kill("nva")
            await world.start("nva")
            await world.pause("nve-leaf1")
            killing = asyncio.create_task(world.kill("half"))
            await asyncio.sleep(0)
            killing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killing
            del lab.asked[:]
            assert await world.put_back() == []
            assert lab.asked == ["start half", "resume nve-leaf1", "start nve-leaf3"]
            assert await world.put_back() == []

        asyncio.run(run())

    def test_what_cannot_be_put_back_is_said(self) -> None:
        async def run() -> None:
            world = _world_with(_FakeLab("start nva"))
            await world.kill("nva")
            assert await world.put_back() == ["nva is not running: cannot start"]

        asyncio.run(run())

    def test_an_attack_that_is_interrupted_puts_back(self) -> None:
        async def run() -> None:
            lab = _FakeLab()
            world = _world_with(lab)
            under_way = asyncio.Event()

            async def launch(world: World) -> Shot:
                await world.kill("nva")
                under_way.set()
                await asyncio.Event().wait()
                return Shot(0, 0)

            task = asyncio.create_task(launched(world, replace(ATTACK, launch=launch), pytest.fail))
            await under_way.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert lab.asked == ["kill nva", "start nva"]

        asyncio.run(run())


class TestAttacks:
    def test_every_reason_is_one_of_the_program(self) -> None:
        known = set(reason_names().values())
        for attack in ATTACKS:
            assert attack.reasons <= known, attack.name

    def test_names_are_unique_and_selectable(self) -> None:
        names = [attack.name for attack in ATTACKS]
        assert len(set(names)) == len(names)
        assert [attack.name for attack in select(["replay", "forge"])] == ["replay", "forge"]
        assert select([]) == ATTACKS[:-1], "what changes the lab for good is played if it is named"
        assert [attack.name for attack in select(["revocation", "forge"])] == ["forge", "revocation"]
        with pytest.raises(UsageError, match="no attack named nothing"):
            select(["nothing"])


def test_the_controller_accepts_the_domain_file(tmp_path: Path) -> None:
    topology = reference()
    domain_file.write(topology, {leaf.name: tmp_path / leaf.name for leaf in topology.leaves}, tmp_path / "domain.yaml")
    done = finished([preflight.executable("nvo3sec"), "controller", "check", str(tmp_path / "domain.yaml")])
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One lab for all tests of this module."""
    base = Path("/tmp") / f"nvo3lab-test-{os.getpid()}"
    with lab_process(base):
        yield base
    assert not base.exists()


def lab(base: Path, *arguments: str) -> tuple[int, str]:
    done = finished([preflight.executable("nvo3sec"), "lab", *arguments], os.environ | {"NVO3LAB_RUN": str(base)})
    return done.returncode, done.stdout


def drill(base: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [preflight.executable("nvo3sec"), "drill", "-o", "json", *arguments]
    done = finished(command, os.environ | {"NVO3LAB_RUN": str(base)})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@contextlib.contextmanager
def hanging(base: Path, process: str) -> Iterator[None]:
    """A process of the lab does nothing meanwhile."""
    pid = rundir.load_state("lab", base)["pids"][process]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def weakened_drill(base: Path, entry: Entry, *arguments: str) -> tuple[int, dict[str, Any]]:
    """A drill while an entry that the controller knows nothing of stands in leaf1's switch.

    Its agent, which would remove such an entry within seconds, hangs meanwhile. So a drill counts only if the lease of
    leaf1, which nobody renews, outlasted it.
    """
    with SwitchReader(base / "lab" / "control" / "leaf1.sock", 1) as switch:
        for _ in range(_TRIES):
            for source, destination in reference().pairs():  # what leaf1 has to ask for, it has to ask for now
                lab(base, "ping", "-c", "1", source.name, destination.name)
            with hanging(base, "nve-leaf1"):
                with contextlib.suppress(SwitchError):  # it is still there
                    switch.write(switch.primary_election_id(), switch.table_update(entry))
                status, report = drill(base, *arguments)
                assert any(each.key == entry.key for each in switch.entries(entry.table))
            caught = {reason for attack in report["attacks"] for reason in attack["caught"]}
            lost = sum(attack["beside"]["lost"] for attack in report["attacks"])
            if not lost and not any("LEASE" in reason for reason in caught):
                return status, report
            controller = str(base / "lab" / "controller")
            finished([preflight.executable("nvo3sec"), "status", "--run-dir", controller, "--wait", "120"])
    raise AssertionError("the lease ran out during every drill")


class TestCommands:
    """Against the same lab."""

    def test_ping(self, running: Path) -> None:
        assert lab(running, "ping", "blue3", "blue2", "-o", "json")[0] == 0
        assert lab(running, "ping", "red1", "10.0.0.2")[0] == 0
        status, output = lab(running, "ping", "red1", "10.0.0.99", "-c", "1", "-o", "json")
        assert status == 1
        assert json.loads(output)["received"] == 0
        assert lab(running, "ping", "green1", "red2")[0] == 1

    def test_ps(self, running: Path) -> None:
        status, output = lab(running, "ps", "-o", "json")
        assert status == 0
        processes = json.loads(output)
        assert {"leaf1", "leaf3", "nva", "nve-leaf1", "nve-leaf3", "underlay", "red1", "blue3"} <= processes.keys()
        assert all(process["alive"] for process in processes.values())

    def test_a_second_one_is_refused(self, running: Path) -> None:
        assert lab(running, "up")[0] == 1


class TestDrill:
    def test_a_sound_switch_holds(self, running: Path) -> None:
        names = ["flip", "replay", "cross-vn", "inner-tag", "spoof"]
        status, report = drill(running, *names)
        assert status == 0, report
        assert report["held"] is True
        assert [attack["name"] for attack in report["attacks"]] == names
        for attack in report["attacks"]:
            assert attack["through"] == 0
            assert sum(attack["caught"].values()) == attack["sent"] > 0
            assert attack["beside"]["sent"] > 20
            assert attack["beside"]["lost"] == 0

    def test_one_that_cannot_be_played_has_not_held_and_stops_no_other(
        self, running: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NVO3LAB_RUN", str(running))

        async def fails(_world: World) -> Shot:
            raise LabError("there is no thief")

        async def play() -> list[Result]:
            view = await View.of_running("lab")
            try:
                broken = Attack("broken", "outsider", "", frozenset(), fails)
                return await Drill(view).run([broken, *select(["flip"])])
            finally:
                await view.close()

        broken, flip = asyncio.run(play())
        assert broken.faults == ["could not be played to its end: there is no thief"]
        assert flip.held, flip.faults

    def test_recordings_are_worth_nothing_after_a_restart(self, running: Path) -> None:
        status, report = drill(running, "restart-replay")
        assert status == 0, report
        attack = report["attacks"][0]
        assert attack["through"] == 0
        assert attack["caught"]["NO_SA"] >= 80
        assert lab(running, "ping", "blue1", "blue3", "-o", "json")[0] == 0

    def test_an_authorization_too_many_is_found(self, running: Path) -> None:
        """Somebody lets leaf3 into the red VN at leaf1; the packets for leaf2 are still caught."""
        with SwitchReader(running / "lab" / "control" / "leaf1.sock", 1) as switch:
            (peer,) = (
                entry.parameters["peer"]
                for entry in switch.entries("authorized_nve")
                if IPv6Address(entry.key["source"]).ipv4_mapped == LEAF3
            )
        entry = Entry("vn_ingress_authorization", {"peer": peer, "vni": RED}, "authorize", {"level": 1})
        status, report = weakened_drill(running, entry, "cross-vn")
        assert status == 1
        attack = report["attacks"][0]
        assert attack["held"] is False
        assert attack["through"] == 40
        assert attack["caught"] == {"VN_UNAUTHORIZED": 40}
        assert any("got through" in fault for fault in attack["faults"])

    def test_a_source_guard_too_wide_is_found(self, running: Path) -> None:
        """red1 may speak as red3."""
        red3 = reference().host("red3")
        with SwitchReader(running / "lab" / "control" / "leaf1.sock", 1) as switch:
            own = next(
                entry
                for entry in switch.entries("source_guard")
                if entry.key["ip_kind"] == 1
                and entry.key["ip"] == int(IPv4Address("10.0.0.1"))
                and entry.key["mac"] & 0xFF00 == 0x0100
            )
        entry = Entry(
            "source_guard",
            {**own.key, "mac": int(red3.mac.replace(":", ""), 16), "ip": int(IPv4Address(red3.ip))},
            own.action,
            {},
        )
        status, report = weakened_drill(running, entry, "spoof")
        assert status == 1
        assert report["attacks"][0]["through"] == 20

    def test_who_is_not_primary_writes_nothing(self, running: Path) -> None:
        with SwitchReader(running / "lab" / "control" / "leaf1.sock", 1) as switch:
            entry = Entry(
                "authorized_nve", {"source": 1, "destination": 2}, "permit", {"peer": 1, "tag": 0, "zero_checksum": 0}
            )
            with pytest.raises(SwitchError, match="PERMISSION_DENIED"):
                switch.write(switch.primary_election_id() - 1, switch.table_update(entry))

    def test_keys_do_not_show(self, running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NVO3LAB_RUN", str(running))

        async def run() -> None:
            view = await View.of_running("lab")
            try:
                stolen = await World(view).steal("leaf3", "leaf1")
                assert len(stolen.key) == 16
                assert stolen.key.hex() not in repr(stolen)
                assert str(stolen.key) not in repr(stolen)
                with SwitchReader(view.switches["leaf3"], 3) as switch:
                    for entry in switch.entries("sa_tx"):
                        assert str(entry.parameters["key"]) not in repr(entry)
            finally:
                await view.close()

        asyncio.run(run())
