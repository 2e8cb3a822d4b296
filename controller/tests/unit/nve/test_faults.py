# SPDX-License-Identifier: Apache-2.0
"""An agent whose switch or NVA misbehaves: it says so, stays closed, and recovers by itself."""

from __future__ import annotations

import asyncio
import dataclasses

import grpc
from finsy.proto import U128, p4r, p4r_grpc
from nvo3sec.domain.messages.session import Registration
from nvo3sec.errors import AuthorizationError, NvaUnreachable
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.nve.reconcile import TENANT_TABLES
from nvo3sec.p4runtime import Operation, Table, Update, load_artifacts
from nvo3sec.p4runtime.connection import ELECTION_ID
from nvo3sec.program import generated as p4
from structlog.testing import capture_logs
from working_agent import working


class TestSwitch:
    def test_not_there_yet(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            switch.kill()
            async with working(switch) as one:
                await one.until(
                    lambda: "UNAVAILABLE" in one.agent.status().fault or "no answer" in one.agent.status().fault
                )
                assert not one.agent.status().connected
                switch.start()
                await one.until(one.is_ready)
                assert one.agent.status().fault == ""

        asyncio.run(run())

    def test_refused_pipeline_needs_a_new_process(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch, device_config=b"not JSON") as one:
                await one.until(lambda: "restart the switch" in one.agent.status().fault)
                one.agent._artifacts = load_artifacts()
                await asyncio.sleep(0)
                assert not one.agent.status().connected, "this process of the switch is not used any more"
                switch.kill()
                switch.start()
                await one.until(one.is_ready)

        asyncio.run(run())

    def test_another_client_takes_over(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                async with grpc.aio.insecure_channel(switch.target) as channel:
                    stream = p4r_grpc.P4RuntimeStub(channel).StreamChannel()
                    claim = p4r.MasterArbitrationUpdate(
                        device_id=switch.device_id, election_id=U128.encode(ELECTION_ID + 1)
                    )
                    await stream.write(p4r.StreamMessageRequest(arbitration=claim))
                    await stream.read()
                    await one.until(lambda: "can read the keys" in one.agent.status().fault)
                    assert not one.agent.status().connected
                    stream.cancel()
                await one.until(one.is_ready)

        asyncio.run(run())

    def test_registers_that_were_reset(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                before = one.agent.status().incarnation
                # Whatever resets the registers: the entry and they disagree. Here another value in the registers.
                await one.agent._serving.driver.set_incarnation(bytes(15) + b"\x01")
                await one.until(lambda: one.agent.status().incarnation not in ("", before) and one.is_ready())
                assert not one.agent.status().adopted
                assert [r.report.event for r in one.nva.state.reports] == ["incarnation-lost"]

        asyncio.run(run())

    def test_refused_updates_are_named_and_tried_again(self, start_switch, monkeypatch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                client = serving.driver.client
                # Somebody inserts an entry between reading and writing.
                entry = p4.neighbor_answer(vni=5001, ip=0x0A010002, mac=1)
                await client.write([Update(Operation.DELETE, p4.neighbor_answer(vni=5001, ip=0x0A010002, mac=0))])
                read = client.read
                intruded = False

                async def read_then_intrude(*arguments, **named):
                    nonlocal intruded
                    state = await read(*arguments, **named)
                    if not intruded:
                        intruded = True
                        await client.write([Update(Operation.INSERT, entry)])
                    return state

                monkeypatch.setattr(client, "read", read_then_intrude)
                serving._dirty.mark((Table.BRIDGE, Table.VAP))
                await one.until(lambda: any(r.report.event == "updates-refused" for r in one.nva.state.reports))
                report = next(r for r in one.nva.state.reports if r.report.event == "updates-refused")
                assert "neighbor[vni=5001, ip=167837698]" in report.report.detail
                assert "ALREADY_EXISTS" in report.report.detail
                await one.until(lambda: one.is_ready() and one.agent.status().fault == "")
                state = await read((Table.NEIGHBOR,))
                assert [e["mac"] for e in state.of_table(Table.NEIGHBOR)] == [0x02AA00000002]

        asyncio.run(run())


class TestNva:
    def test_the_switch_stays_in_hand_while_the_nva_is_away(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                one.reachable = False
                await one.until(lambda: "does not answer" in one.agent.status().fault)
                status = one.agent.status()
                assert status.connected
                assert not status.nva
                assert status.lease_left_s is None
                one.reachable = True
                await one.until(one.is_ready)
                assert one.agent.status().incarnation == status.incarnation

        asyncio.run(run())

    def test_a_lost_session_is_taken_up_again(self, start_switch):
        async def run():
            switch = start_switch("leaf2", 2)
            async with working(switch) as one:
                await one.until(one.is_ready)
                first = one.agent._serving
                one.nva.agents.register(one.nva.agents.open_session("leaf2"), Registration(first._incarnation))
                await one.until(lambda: one.agent._serving not in (None, first) and one.is_ready())
                assert one.agent.status().adopted is False
                assert one.agent.status().entries_expected == one.agent.status().entries_actual

        asyncio.run(run())

    def test_why_it_is_not_served_is_said_once_however_often_it_tries(self, start_switch, monkeypatch):
        """One that is shut out comes back for ever."""
        monkeypatch.setattr("nvo3sec.nve.agent.RETRY_LAST_S", 0.05)

        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                tried, shut_out = 0, True
                open_session = one.nva.agents.open_session

                def opened(nve: str) -> NvaSession:
                    session = open_session(nve)
                    register = session.register

                    async def refused(registration: Registration) -> None:
                        nonlocal tried
                        tried += 1
                        if shut_out and tried % 2:  # two causes that take turns are not news either
                            raise NvaUnreachable("nobody answers")
                        if shut_out:
                            raise AuthorizationError("leaf2 is shut out")
                        await register(registration)

                    session.register = refused
                    return session

                one.nva.agents.open_session = opened
                with capture_logs() as lines:

                    async def said_after_five() -> int:
                        first = tried
                        await one.until(lambda: tried >= first + 5)
                        assert one.agent.status().fault in ("", "leaf2 is shut out", "nobody answers")
                        return sum(line["event"] == "not serving" and "shut out" in line["error"] for line in lines)

                    assert await said_after_five() == 1
                    shut_out = False
                    await one.until(one.is_ready)
                    shut_out = True
                    one.nva.agents.register(open_session("leaf2"), Registration(one.agent._serving._incarnation))
                    assert await said_after_five() == 2, "what is over is news when it comes back"

        asyncio.run(run())


class TestCorrectOperation:
    def test_what_the_agent_put_there_itself_is_never_foreign(self, start_switch):
        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                one.nva.administration.configure(without_blue(one.nva.state.domain))
                await one.until(lambda: serving.view is not None and not serving.view.vns)
                await one.until(one.is_ready)
                state = await serving.driver.client.read((Table.FLOOD, Table.VAP))
                assert not state.entries
                assert [
                    record.report.detail for record in one.nva.state.reports if "foreign" in record.report.event
                ] == []
                assert serving.reconciler.foreign == ()

                # What really is somebody else's is still found.
                stranger = p4.authorized_nve_permit(
                    source=0x0A000001, destination=0xC0000202, peer=9, tag=1, zero_checksum=0
                )
                await serving.driver.client.write([Update(Operation.INSERT, stranger)])
                await serving.reconcile()
                assert ["authorized_nve" in text for text in serving.reconciler.foreign] == [True]

        asyncio.run(run())

    def test_nor_is_what_waits_to_be_removed(self, start_switch):
        """Of a VN that is no more, tenant systems may be looked at before the rest: that rest is still the agent's."""

        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                reconciler, client = serving.reconciler, serving.driver.client
                async with serving._lock:
                    whole = serving._wanted()
                    await reconciler.apply(whole)
                    peers = tuple(dataclasses.replace(peer, vnis=()) for peer in whole.view.peers)
                    view = dataclasses.replace(whole.view, vns=(), vaps=(), tenant_systems=(), peers=peers)
                    wanted = dataclasses.replace(whole, view=view, learned=())
                    await reconciler.apply(wanted, TENANT_TABLES)
                    assert (await client.read((Table.FLOOD,))).entries
                    await reconciler.apply(wanted)
                    assert reconciler.foreign == ()
                    assert not (await client.read((Table.FLOOD,))).entries

        asyncio.run(run())


def without_blue(domain):
    """The domain without its VN blue, and without what depends on it."""
    return dataclasses.replace(
        domain,
        vns=tuple(vn for vn in domain.vns if vn.name != "blue"),
        nves=tuple(
            dataclasses.replace(nve, vaps=tuple(vap for vap in nve.vaps if vap.vn != "blue")) for nve in domain.nves
        ),
        tenant_systems=tuple(system for system in domain.tenant_systems if system.vn != "blue"),
        reservations=(),
    )
