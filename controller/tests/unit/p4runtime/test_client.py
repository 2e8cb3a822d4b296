# SPDX-License-Identifier: Apache-2.0
"""The P4Runtime client against real switches."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json

import pytest
from nvo3sec.errors import NotPrimary, PipelineRefused, SwitchUnreachable, WriteRefused
from nvo3sec.p4runtime import (
    Group,
    Meter,
    Operation,
    PacketOutOp,
    PuntReason,
    SwitchClient,
    Table,
    Update,
    load_artifacts,
)
from nvo3sec.p4runtime.statistics import PortStatistics, parse_statistics
from nvo3sec.program import generated as p4
from nvo3sec.program.generated import Counter, DropReason

SECRET_KEY = 0x00112233445566778899AABBCCDDEEFF


def insert(item) -> Update:
    return Update(Operation.INSERT, item)


def example_sa(spi: int = 5):
    return p4.sa_rx_accept(
        peer=1,
        spi=spi,
        suite=1,
        level=1,
        kind=p4.SaKind.TUNNEL,
        key=SECRET_KEY,
        min_coverage=0xFFFF,
        pair=0x3FFF,
        tag=2**32 - 1,
        generation=2**32 - 1,
        not_after=2**48 - 1,
        incarnation=2**128 - 1,
        link=2**16 - 1,
        vlan=4095,
    )


async def connected(switch, **changes) -> SwitchClient:
    artifacts = dataclasses.replace(load_artifacts(), **changes)
    client = await SwitchClient.connect(switch.name, switch.target, switch.device_id, artifacts)
    return client


async def connected_next(switch, **changes) -> SwitchClient:
    """As soon as the switch has noticed that the client before is gone."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(NotPrimary):
                return await connected(switch, **changes)
            await asyncio.sleep(0.02)


async def loaded(switch) -> SwitchClient:
    client = await connected(switch)
    await client.push_pipeline()
    return client


class TestConnection:
    def test_nobody_there(self, tmp_path):
        async def run():
            with pytest.raises(SwitchUnreachable, match="leaf9"):
                await SwitchClient.connect("leaf9", f"unix:{tmp_path}/none.sock", 1, load_artifacts(), timeout_s=2)

        asyncio.run(run())

    def test_second_client_is_refused(self, start_switch):
        async def run():
            switch = start_switch()
            client = await connected(switch)
            with pytest.raises(
                NotPrimary, match=r"does another controller run on this switch\?"
            ):  # as operating.md says
                await connected(switch)
            await client.close()

        asyncio.run(run())

    def test_loss_is_noticed(self, start_switch):
        async def run():
            switch = start_switch()
            client = await loaded(switch)
            switch.kill()
            assert isinstance(await asyncio.wait_for(client.until_broken(), 60), SwitchUnreachable)
            with pytest.raises(SwitchUnreachable):
                await client.read()
            await client.close()

        asyncio.run(run())


class TestPipeline:
    def test_pushed_only_once(self, start_switch):
        async def run():
            switch = start_switch()
            client = await connected(switch)
            assert not await client.has_pipeline()
            await client.push_pipeline()
            assert await client.has_pipeline()
            await client.close()
            other = await connected_next(switch, cookie=1234)
            assert not await other.has_pipeline()
            await other.close()

        asyncio.run(run())

    def test_refused(self, start_switch):
        async def run():
            client = await connected(start_switch(), device_config=b"not JSON")
            with pytest.raises(PipelineRefused, match="restart the switch"):
                await client.push_pipeline()
            await client.close()

        asyncio.run(run())


class TestEntries:
    def test_every_kind_is_read_back_as_written(self, start_switch):
        items = [
            p4.port_role_access(port=1),
            p4.port_role_underlay(port=256, mac=2**48 - 1),
            p4.vap_attach(
                port=1,
                link=2,
                vlan=4094,
                interface=0x7FFF,
                vni=2**24 - 1,
                level=1,
                link_level=2,
                meter=Meter(100, 10),
            ),
            p4.peer_meter_police(peer=2**15 - 1, meter=Meter(2_000_000, 5)),
            p4.peer_floor_police_floor(peer=2**15 - 1, meter=Meter(7, 5)),
            p4.punt_meter_police_punt(interface=1, meter=Meter(1, 1)),
            p4.source_guard_permit_source(interface=1, mac=1, ip_kind=2, ip=2**128 - 1),
            p4.source_guard_permit_source(interface=1, mac=1, ip_kind=0, ip=0),
            p4.neighbor_answer(vni=0, ip=0, mac=0),
            p4.bridge_to_vap(vni=1, mac=2, from_underlay=1, port=255, interface=3),
            p4.bridge_to_tunnel(vni=1, mac=3, from_underlay=0, interface=0x8000),
            p4.flood_replicate(vni=1, from_underlay=1, group=7, meter=Meter(1, 1)),
            p4.tunnel_route_spread(interface=0x8000, group=5, frame_limit=0xFFFF),
            p4.underlay_member_via(group=5, bucket=63, port=256, hop=1),
            p4.adjacency_towards(egress_port=256, hop=1, source_mac=1, next_hop_mac=2),
            p4.tunnel_encapsulate(port=256, interface=0x8000, source=3, destination=4, underlay_mtu=65535, hop=1),
            p4.sa_tx_protect(
                interface=0x8000,
                level=1,
                suite=1,
                to_level=2,
                key=SECRET_KEY,
                spi=2**32 - 1,
                not_after=0,
                incarnation=1,
            ),
            example_sa(),
            p4.authorized_nve_permit(source=0, destination=2**128 - 1, peer=1, tag=7, zero_checksum=1),
            p4.vn_ingress_authorization_authorize(peer=1, vni=1, level=2),
            p4.vap_egress_untagged(port=1, interface=1),
            p4.vap_egress_tagged(port=2, interface=1, vlan=4094),
        ]
        groups = [Group(7, ((1, 1), (2, 1), (256, 0x8000), (256, 0xFFFF))), Group(8, ())]

        async def run():
            client = await loaded(start_switch())
            await client.write([insert(item) for item in (*items, *groups)])
            state = await client.read()
            assert set(state.entries.values()) == set(items)
            assert set(state.groups.values()) == set(groups)
            assert state.defaults[Table.INCARNATION] == p4.incarnation_no_incarnation()
            await client.write([Update(Operation.DELETE, item) for item in (*items, *groups)])
            state = await client.read()
            assert not state.entries
            assert not state.groups
            await client.close()

        asyncio.run(run())

    def test_default_entries(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            wanted = [p4.incarnation_set_incarnation(incarnation=2**127), p4.lease_grant(not_after=5)]
            await client.write([Update(Operation.MODIFY, entry) for entry in wanted])
            state = await client.read((Table.INCARNATION, Table.LEASE), groups=False)
            assert state.defaults == {entry.table: entry for entry in wanted}
            await client.close()

        asyncio.run(run())

    def test_modify_keeps_the_rest(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            old, other = example_sa(5), example_sa(6)
            await client.write([insert(old), insert(other)])
            new = dataclasses.replace(
                old, params=tuple((name, 7 if name == "incarnation" else value) for name, value in old.params)
            )
            await client.write([Update(Operation.MODIFY, new)])
            assert set((await client.read()).entries.values()) == {new, other}
            await client.close()

        asyncio.run(run())

    def test_more_than_a_batch(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            items = [p4.neighbor_answer(vni=1, ip=number, mac=number) for number in range(1201)]
            await client.write([insert(item) for item in items])
            assert set((await client.read((Table.NEIGHBOR,))).entries.values()) == set(items)
            await client.close()

        asyncio.run(run())


class TestRefusedWrite:
    def test_each_refusal_is_named_and_the_rest_applied(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            sa = example_sa()
            await client.write([insert(sa)])
            updates = [
                insert(p4.port_role_access(port=1)),
                insert(sa),
                Update(Operation.DELETE, p4.port_role_access(port=9)),
                insert(p4.port_role_access(port=2)),
            ]
            with pytest.raises(WriteRefused) as caught:
                await client.write(updates)
            refusal = caught.value
            assert refusal.complete
            assert refusal.applied == 2
            assert [one.entry.split("[")[0] for one in refusal.refused] == ["insert sa_rx", "delete port_role"]
            assert refusal.refused[0].reason.startswith("ALREADY_EXISTS")
            assert refusal.refused[1].reason.startswith("NOT_FOUND")
            assert len((await client.read((Table.PORT_ROLE,))).entries) == 2
            for text in (str(refusal), repr(refusal), repr(refusal.refused)):
                assert str(SECRET_KEY) not in text
                assert f"{SECRET_KEY:x}" not in text.lower()
            assert refusal.__cause__ is None
            assert refusal.__suppress_context__
            await client.close()

        asyncio.run(run())


class TestPackets:
    def test_state_is_asked_and_answered(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            await client.packet_out(PacketOutOp.REPORT_STATE, interface=0x8005)
            packet = await asyncio.wait_for(client.packet_in(), 60)
            assert (packet["reason"], packet["agreement"], packet["interface"]) == (PuntReason.STATE, 0, 0x8005)

            incarnation = bytes(range(16))
            entry = p4.incarnation_set_incarnation(incarnation=int.from_bytes(incarnation, "big"))
            await client.write([Update(Operation.MODIFY, entry)])
            await client.packet_out(PacketOutOp.REPORT_STATE)
            assert (await asyncio.wait_for(client.packet_in(), 60))["agreement"] == 0, "the registers are still empty"
            await client.packet_out(PacketOutOp.SET_INCARNATION, incarnation)
            assert (await asyncio.wait_for(client.packet_in(), 60))["agreement"] == 3
            await client.close()

        asyncio.run(run())

    def test_many_at_once(self, start_switch):
        """Whoever sends does not know of the others: tenants' packets, questions to the pipeline, frames in clear."""

        async def run():
            client = await connected(start_switch("s", 1))
            await client.push_pipeline()
            frame = bytes(1400)
            await asyncio.gather(*(client.packet_out(PacketOutOp.FORWARD, frame, egress_port=1) for _ in range(500)))
            await client.packet_out(PacketOutOp.REPORT_STATE, interface=7)
            while (packet := await client.packet_in())["reason"] != PuntReason.STATE:
                pass
            assert packet["interface"] == 7
            await client.close()

        asyncio.run(run())

    def test_drops_are_counted_by_name(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            assert await client.drop_counters() == {Counter.DROPS_INGRESS: {}, Counter.DROPS_EGRESS: {}}
            # Operation 0 does not exist; the answer to the question behind it shows that the pipeline is through.
            await client.packet_out(0, b"")
            await client.packet_out(PacketOutOp.REPORT_STATE)
            await asyncio.wait_for(client.packet_in(), 60)
            drops = await client.drop_counters()
            assert {r: v.packets for r, v in drops[Counter.DROPS_INGRESS].items()} == {
                DropReason.PACKET_OUT_OPERATION: 1
            }
            await client.close()

        asyncio.run(run())

    def test_statistics(self, start_switch, switch_executable):
        async def run():
            client = await loaded(start_switch())
            found = await client.statistics()
            if "simple_switch" in switch_executable:
                assert found is None  # it has no such service
            else:
                assert found.engine["packets_in"] == 0
                assert found.ports == {}  # of those of the command line; these come with the stream of the tests
            await client.close()

        asyncio.run(run())

    @pytest.mark.parametrize(
        "answer",
        [b"", b"[]", b"{}", b'{"ports": {"one": {}}}', b'{"engine": {}, "ports": {"1": {"checksum_unfinished": 1}}}',
         b'{"engine": {}, "ports": {"1": {"interface": "a"}}, "states": {"1": {"state": "up"}}}',
         b'{"engine": {}, "ports": {}, "states": []}',
         b'{"engine": {"packets_in": "7"}, "ports": {}}', b'{"engine": {"packets_in": -1}, "ports": {}}',
         b"\xff", b"[" * 100_000],
    )  # fmt: skip
    def test_statistics_of_another_form(self, answer):
        with pytest.raises(ValueError, match="not the statistics"):
            parse_statistics(answer)

    def test_statistics_with_states(self):
        """Of a switch that tells them, of one from before, and of a port that there is not."""
        state = {"interface": "veth1", "state": "down", "reason": "no carrier"}
        ports = {"1": {"interface": "veth1", "send_down": 2}, "9": {"interface": "", "no_port": 3}}
        answer = {"engine": {}, "ports": ports, "states": {"1": state}}
        found = parse_statistics(json.dumps(answer).encode()).ports
        assert found[1] == PortStatistics("veth1", {"send_down": 2}, "down", "no carrier")
        assert found[9] == PortStatistics("", {"no_port": 3})
        del answer["states"]
        assert parse_statistics(json.dumps(answer).encode()).ports[1] == PortStatistics("veth1", {"send_down": 2})

    def test_direct_counters(self, start_switch):
        async def run():
            client = await loaded(start_switch())
            entry = p4.vap_attach(
                port=1, link=0, vlan=0, interface=1, vni=1, level=1, link_level=0, meter=Meter(100, 10)
            )
            await client.write([insert(entry)])
            counters = await client.direct_counters(Table.VAP)
            assert {match: value.packets for match, value in counters.items()} == {
                (("port", 1), ("link", 0), ("vlan", 0)): 0
            }
            with pytest.raises(ValueError, match="no counters"):
                await client.direct_counters(Table.BRIDGE)
            await client.close()

        asyncio.run(run())
