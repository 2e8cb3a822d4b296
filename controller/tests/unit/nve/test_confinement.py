# SPDX-License-Identifier: Apache-2.0
"""An agent confines what goes wrong: one message, one entry, one VAP; its process and its other tunnels go on."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from ipaddress import IPv4Address

import pytest
from nva_agents import Agents
from nvo3sec.domain.messages.consistency import consistent
from nvo3sec.domain.messages.session import ClaimPlace, NveView, Registration, Report, StoreMark
from nvo3sec.domain.overlay.model import Level, TenantSystem, Vap
from nvo3sec.domain.switch.status import stands_no_more
from nvo3sec.errors import OperatorError, RefusedUpdate, WriteRefused
from nvo3sec.nve import AgentMemory
from nvo3sec.nve.agent_memory import RINGS_BLOCK
from nvo3sec.nve.drops import ALARM_S, CAUSES, DropWatch
from nvo3sec.nve.memory_file import LAST_GENERATION
from nvo3sec.nve.plan import MANAGED_TABLES
from nvo3sec.p4runtime import Entry, Operation, Table, Update
from nvo3sec.program.entry import CounterValue
from nvo3sec.program.generated import Counter, DropReason
from places import ROOT
from working_agent import working

INCARNATION, OTHER = b"i" * 16, b"o" * 16


def events(one) -> list[str]:
    return [record.report.event for record in one.nva.state.reports]


class TestNewIncarnation:
    def test_it_is_taken_when_the_nva_has_no_keys_for_the_present_one(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                before = one.agent.status().incarnation
                epoch = one.nva.state.keys.epoch
                assert one.nva.administration.reset_marks("leaf2").startswith(before)
                await one.until(lambda: one.agent.status().incarnation not in ("", before) and one.is_ready())
                assert not one.agent.status().adopted
                assert one.nva.state.keys.epoch >= epoch
                assert not one.nva.state.accounts.alarms(["leaf2"])

        asyncio.run(run())

    def test_it_is_taken_when_nobody_knows_what_the_rings_have_seen(self, start_switch):
        """An agent without its memory finds a switch that holds no key which would show it."""

        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                before = one.agent.status().incarnation
            async with working(switch) as one:
                await one.until(one.is_ready)
                assert not one.agent.status().adopted
                assert one.agent.status().incarnation != before

        asyncio.run(run())


class TestMessages:
    def test_one_that_cannot_be_taken_is_told_and_the_session_goes_on(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                with monkeypatch.context() as patch:
                    patch.setattr(serving.keyring, "follow", lambda _view: 1 // 0)
                    one.nva.sessions["leaf2"].push_view()
                    await one.until(lambda: "confined" in events(one))
                assert one.agent._serving is serving
                one.nva.sessions["leaf2"].push_view()
                await one.until(one.is_ready)
                (told,) = [r.report.detail for r in one.nva.state.reports if r.report.event == "confined"]
                assert told.startswith("message NveView: ZeroDivisionError")

        asyncio.run(run())

    def test_one_that_adds_up_is_asked_for_anew(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                with monkeypatch.context() as patch:
                    patch.setattr(serving.learning, "apply", lambda _update: 1 // 0)
                    one.nva.sessions["leaf2"].positions.clear()
                    one.nva.sessions["leaf2"].push_mappings(5001)
                    await one.until(lambda: one.agent._serving not in (None, serving))
                await one.until(one.is_ready)
                assert one.agent.broken == 0

        asyncio.run(run())

    def test_a_reconciliation_that_breaks_is_tried_again(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving, lease = one.agent._serving, one.agent._serving.lease.not_after_us
                with monkeypatch.context() as patch:
                    patch.setattr(serving.reconciler, "apply", lambda *_: 1 // 0)
                    serving._dirty.mark((Table.BRIDGE,))
                    await one.until(lambda: "ZeroDivisionError" in one.agent.status().fault)
                    await one.until(lambda: serving.lease.not_after_us > lease)
                await one.until(lambda: one.is_ready() and one.agent.status().fault == "")
                assert one.agent._serving is serving

        asyncio.run(run())

    def test_a_session_that_breaks_begins_anew_with_the_switch_in_hand(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving, incarnation = one.agent._serving, one.agent.status().incarnation
                monkeypatch.setattr(serving.driver, "ask_state", lambda *_: 1 // 0)
                await one.until(lambda: one.agent.broken > 0)
                assert one.agent.status().connected
                monkeypatch.undo()
                await one.until(one.is_ready)
                assert one.agent.status().incarnation == incarnation

        asyncio.run(run())

    def test_the_process_outlives_a_switch_that_nobody_thought_of(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            monkeypatch.setattr("nvo3sec.nve.agent.bring_up", lambda *_: 1 // 0)
            async with working(switch) as one:
                await one.until(lambda: one.agent.broken > 1)
                assert one.agent.status().fault.startswith("ZeroDivisionError")
                monkeypatch.undo()
                await one.until(one.is_ready)

        asyncio.run(run())


class TestEntries:
    def test_a_full_table_of_what_is_behind_others_keeps_no_key_from_being_confirmed(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                client = serving.driver.client
                write, said = client.write, []

                async def full(updates):
                    kept = [u for u in updates if not (isinstance(u.item, Entry) and u.item.table == Table.BRIDGE)]
                    await write(kept)
                    if len(kept) < len(updates):
                        raise WriteRefused("leaf2", [RefusedUpdate("bridge", "RESOURCE_EXHAUSTED")], len(kept))

                real = one.nva.agents.read_back

                def read_back(session, report):
                    said.append(report)
                    return real(session, report)

                monkeypatch.setattr(one.nva.agents, "read_back", read_back)
                # Somebody has removed what bridges to the tenants, and now there is no room for it.
                state = await client.read((Table.BRIDGE,), groups=False)
                await write([Update(Operation.DELETE, entry) for entry in state.of_table(Table.BRIDGE)])
                monkeypatch.setattr(client, "write", full)
                serving._dirty.mark(MANAGED_TABLES)
                await one.until(lambda: "updates-refused" in events(one))
                one.nva.administration.revoke("leaf3")
                await one.until(
                    lambda: not one.nva.administration.not_yet_without("leaf3")
                )  # its switch has let go, and says so
                await one.nva.agents.open_session("leaf1").register(Registration(OTHER))
                await one.until(lambda: any(report.receive for report in said))
                assert not one.agent.status().in_sync, "and it is told that it is not as it should be"

        asyncio.run(run())


class TestConsistent:
    def view(self, nve: str = "leaf1") -> NveView:
        agents = Agents()
        asyncio.run(agents.join("leaf1", "leaf2", "leaf3"))
        return agents.views[nve]

    def test_a_good_view_stays_as_it_is(self):
        for nve in ("leaf1", "leaf2", "leaf3"):
            view = self.view(nve)
            assert view.tenant_systems
            assert consistent(view) == (view, ())

    def test_shared_addresses_at_no_vap_and_twice(self):
        good = self.view()
        place = ClaimPlace(*good.vaps[0].place, 0x0200_0000_0001, (IPv4Address("10.1.0.250"),))
        others = [place, dataclasses.replace(place, ips=(IPv4Address("10.1.0.251"),))]
        stray = dataclasses.replace(place, port=99)
        view, left_out = consistent(dataclasses.replace(good, claim_places=(*others, stray, place)))
        assert view == dataclasses.replace(good, claim_places=tuple(others))
        assert left_out == (f"shared address {stray}", f"shared address {place}")

    def test_one_of_each_kind_is_left_out_and_the_others_stay(self):
        good = self.view()
        vap, peer = good.vaps[0], good.peers[0]
        stray = TenantSystem("stray", good.vns[0].name, "leaf1", 99, 0, 0x0200_0000_0001, (), False, False)
        bad = dataclasses.replace(
            good,
            vns=(*good.vns, dataclasses.replace(good.vns[0], vni=77)),
            vaps=(*good.vaps, Vap(9, 9, "nowhere", vap.meter), vap),
            peers=(
                *good.peers,
                dataclasses.replace(peer, name="leaf8", address=good.address),
                dataclasses.replace(peer, name="leaf9"),
                dataclasses.replace(peer, name="leaf7", address=good.address + 77, vnis=((77, Level.INTEGRITY),)),
            ),
            tenant_systems=(*good.tenant_systems, stray),
        )
        view, left_out = consistent(bad)
        assert view == good
        assert left_out == (
            f"VN {good.vns[0].name}",
            "VAP (9, 9)",
            f"VAP {vap.place}",
            "peer leaf8",
            "peer leaf9",
            "peer leaf7",
            f"tenant system {(good.vns[0].name, stray.mac)}",
        )


class Switch:
    """Counts drops."""

    def __init__(self) -> None:
        self.packets = dict.fromkeys(DropReason, 0)

    async def drop_counters(self):
        cells = {reason: CounterValue(count, 0) for reason, count in self.packets.items() if count}
        return {Counter.DROPS_INGRESS: cells, Counter.DROPS_EGRESS: {}}


class TestDropWatch:
    def test_frames_below_the_rings_are_an_alarm_as_long_as_they_come(self):
        async def run():
            switch = Switch()
            switch.packets[DropReason.REPLAY_GENERATION] = 3
            watch = DropWatch(switch)
            assert await watch.look(0.0) == (), "what was before is nothing new"
            switch.packets[DropReason.REPLAYED] = 9
            assert await watch.look(5.0) == ()
            assert not watch.alarms(5.0)
            switch.packets[DropReason.REPLAY_GENERATION] = 13
            (report,) = await watch.look(10.0)
            assert report == Report("replay-generation", watch.alarms(10.0)[0])
            assert report.detail.startswith("10 frames dropped since keys towards this switch are older")
            switch.packets[DropReason.REPLAY_GENERATION] = 20
            assert await watch.look(15.0) == (), "told already"
            assert watch.alarms(15.0)[0].startswith("17 frames")
            assert watch.alarms(14.9 + ALARM_S)
            assert not watch.alarms(15.0 + ALARM_S)
            switch.packets[DropReason.REPLAY_GENERATION] = 21
            (again,) = await watch.look(200.0)
            assert again.detail.startswith("1 frames")

        asyncio.run(run())

    @pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.event)
    def test_what_is_said_names_all_that_is_counted(self, cause):
        assert [one.name for one in cause.reasons if not re.search(rf"\b{one.name}\b", cause.what)] == []

    @pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.event)
    def test_each_cause_is_reported_and_over_when_no_more_comes(self, cause):
        async def run():
            for reason in cause.reasons:
                switch = Switch()
                watch = DropWatch(switch)
                await watch.look(0.0)
                switch.packets[reason] = 4
                (report,) = await watch.look(5.0)
                assert (report.event, report.detail.split()[0]) == (cause.event, "4")
                told = f"{report.event}: {report.detail}"
                assert not stands_no_more(told, watch.standing(5.0))
                assert bool(watch.alarms(5.0)) == cause.is_alarm
                assert stands_no_more(told, watch.standing(5.0 + ALARM_S))
                assert not watch.alarms(5.0 + ALARM_S)

        asyncio.run(run())

    def test_what_strangers_can_bring_about_is_no_alarm(self):
        """Whoever has copied one packet of a peer can have its forged ones counted, and nobody's switch called ill."""
        assert [cause.event for cause in CAUSES if not cause.is_alarm] == ["peer-penalty"]

    def test_each_event_is_in_the_documents(self):
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        assert [cause.event for cause in CAUSES if f"`{cause.event}`" not in text] == []


class TestMemoryOfRings:
    def test_what_was_installed_is_known_after_a_restart_with_a_little_more(self, tmp_path):
        path = tmp_path / "agent.json"
        memory = AgentMemory("leaf1", path)
        assert memory.generation(INCARNATION) is None
        memory.rings(INCARNATION, 0)
        assert memory.generation(INCARNATION) == 0
        memory.rings(INCARNATION, 7)
        written = path.read_bytes()
        for generation in (8, RINGS_BLOCK, 3):
            memory.rings(INCARNATION, generation)
        assert path.read_bytes() == written, "a rotation must not cost a write for each key"
        again = AgentMemory("leaf1", path)
        assert again.generation(INCARNATION) == RINGS_BLOCK
        assert again.generation(OTHER) is None
        again.rings(OTHER, LAST_GENERATION)
        assert AgentMemory("leaf1", path).generation(OTHER) == LAST_GENERATION

    def test_a_file_from_before_knows_nothing(self, tmp_path):
        path = tmp_path / "agent.json"
        AgentMemory("leaf1", path).rings(INCARNATION, 7)
        content = json.loads(path.read_text())
        del content["incarnation"], content["generation"]
        path.write_text(json.dumps(content))
        assert AgentMemory("leaf1", path).generation(INCARNATION) is None

    @pytest.mark.parametrize("generation", [-1, LAST_GENERATION + 1, "many"])
    def test_a_generation_that_there_is_not(self, tmp_path, generation):
        path = tmp_path / "agent.json"
        AgentMemory("leaf1", path).rings(INCARNATION, 7)
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"generation": generation}))
        with pytest.raises(OperatorError, match="is not what an agent writes"):
            AgentMemory("leaf1", path)

    def test_a_disk_that_is_full_lets_them_go_on_as_far_as_is_remembered(self, tmp_path):
        path = tmp_path / "agent.json"
        memory = AgentMemory("leaf1", path)
        (tmp_path / "agent.json.new").mkdir()
        assert memory.rings(INCARNATION, 7) == 0
        assert memory.generation(INCARNATION) is None
        assert str(path) in memory.fault
        (tmp_path / "agent.json.new").rmdir()
        assert memory.rings(INCARNATION, 7) == RINGS_BLOCK
        assert memory.fault == ""
        (tmp_path / "agent.json.new").mkdir()
        assert memory.rings(INCARNATION, 8) == memory.rings(INCARNATION, RINGS_BLOCK + 1) == RINGS_BLOCK
        assert memory.generation(INCARNATION) == AgentMemory("leaf1", path).generation(INCARNATION) == RINGS_BLOCK

    def test_that_it_can_be_written_again_is_found_out(self, tmp_path):
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        (tmp_path / "agent.json.new").mkdir()
        memory.see(StoreMark(1, 7))
        memory.see(StoreMark(1, 7))
        assert memory.fault
        (tmp_path / "agent.json.new").rmdir()
        memory.see(StoreMark(1, 7))
        assert memory.fault == ""
