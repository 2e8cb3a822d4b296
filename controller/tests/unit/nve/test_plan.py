# SPDX-License-Identifier: Apache-2.0
"""From desired and actual to updates: completeness, and an order that is safe at every point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.domain.switch.entries import AGENT_REPLICA
from nvo3sec.domain.switch.numbers import RING_PAIRS, TUNNEL_INTERFACES, VAP_INTERFACES, NumbersExhausted, allocate
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.plan import MANAGED_TABLES, Stage, make_plan
from nvo3sec.nve.translate import held_keys, numbers_of
from nvo3sec.p4runtime import Entry, Group, Meter, Operation, SwitchState, Table
from nvo3sec.program import generated as p4
from places import P4SRC

SMALL = st.integers(0, 2)
THERE = int(IPv4Address("192.0.2.2"))
METERS = st.builds(Meter, st.integers(1, 2), st.integers(1, 2))
ENTRIES = st.one_of(
    st.builds(p4.port_role_access, port=SMALL),
    st.builds(
        p4.authorized_nve_permit, source=SMALL, destination=SMALL, peer=SMALL, tag=SMALL, zero_checksum=st.just(0)
    ),
    st.builds(p4.vn_ingress_authorization_authorize, peer=SMALL, vni=SMALL, level=SMALL),
    st.builds(
        p4.vap_attach,
        port=SMALL,
        link=st.just(0),
        vlan=SMALL,
        interface=SMALL,
        vni=SMALL,
        level=SMALL,
        link_level=st.just(0),
        meter=METERS,
    ),
    st.builds(p4.source_guard_permit_source, interface=SMALL, mac=SMALL, ip_kind=SMALL, ip=SMALL),
    st.builds(p4.source_guard_permit_announcer, interface=SMALL, mac=SMALL, ip_kind=SMALL, ip=SMALL),
    st.builds(p4.announcement_tell, vni=SMALL, group=SMALL),
    st.builds(p4.bridge_to_vap, vni=SMALL, mac=SMALL, from_underlay=st.integers(0, 1), port=SMALL, interface=SMALL),
    st.builds(p4.bridge_to_tunnel, vni=SMALL, mac=SMALL, from_underlay=st.just(0), interface=SMALL),
    st.builds(p4.flood_replicate, vni=SMALL, from_underlay=st.integers(0, 1), group=SMALL, meter=METERS),
    st.builds(p4.vap_flood_police_flood, interface=SMALL, meter=METERS),
    st.builds(p4.tunnel_route_spread, interface=SMALL, group=SMALL, frame_limit=st.just(0xFFFF)),
    st.builds(p4.underlay_member_via, group=SMALL, bucket=st.just(0), port=SMALL, hop=SMALL),
    st.builds(p4.adjacency_towards, egress_port=SMALL, hop=SMALL, source_mac=SMALL, next_hop_mac=SMALL),
    st.builds(p4.outer_dscp_pipe_dscp, port=SMALL, dscp=SMALL),
    st.builds(p4.outer_dscp_copy_dscp, port=SMALL, otherwise=SMALL),
    st.builds(p4.peer_meter_police, peer=SMALL, meter=METERS),
    st.builds(p4.peer_floor_police_floor, peer=SMALL, meter=METERS),
    st.builds(
        p4.sa_tx_protect,
        interface=SMALL,
        level=SMALL,
        suite=SMALL,
        to_level=SMALL,
        key=SMALL,
        spi=SMALL,
        not_after=SMALL,
        incarnation=SMALL,
    ),
    st.builds(
        p4.sa_rx_accept,
        peer=SMALL,
        spi=SMALL,
        suite=SMALL,
        level=SMALL,
        kind=SMALL,
        key=SMALL,
        min_coverage=SMALL,
        pair=SMALL,
        tag=SMALL,
        generation=SMALL,
        not_after=SMALL,
        incarnation=SMALL,
        link=st.just(0),
        vlan=st.just(0),
    ),
)
GROUPS = st.builds(lambda number, copies: Group(number, tuple(sorted(copies))), SMALL, st.sets(st.tuples(SMALL, SMALL)))


def unique(items) -> list:
    return list({item.name(): item for item in items}.values())


ITEMS = st.lists(st.one_of(ENTRIES, GROUPS), max_size=20).map(unique)


def state(items) -> SwitchState:
    entries = {item.key: item for item in items if isinstance(item, Entry)}
    groups = {item.group: item for item in items if isinstance(item, Group)}
    return SwitchState(entries, {}, groups)


def apply(actual, updates) -> set:
    held = {item.name(): item for item in actual}
    for update in updates:
        name = update.item.name()
        if update.operation is Operation.INSERT:
            assert name not in held
            held[name] = update.item
        elif update.operation is Operation.MODIFY:
            assert name in held
            held[name] = update.item
        else:
            del held[name]
    return set(held.values())


class TestDifference:
    @given(ITEMS, ITEMS)
    def test_leads_from_actual_to_desired(self, desired, actual):
        plan = make_plan(desired, state(actual))
        assert apply(actual, plan.updates) == set(desired)

    @given(ITEMS)
    def test_nothing_to_do(self, items):
        assert make_plan(items, state(items)).is_empty

    @given(ITEMS, ITEMS)
    def test_never_touches_what_is_right(self, desired, actual):
        right = {item.name() for item in desired if item in actual}
        assert not right & {update.item.name() for update in make_plan(desired, state(actual)).updates}

    @given(ITEMS, ITEMS, st.sets(st.sampled_from(MANAGED_TABLES), max_size=3))
    def test_only_the_tables_asked_for(self, desired, actual, tables):
        for update in make_plan(desired, state(actual), tables).updates:
            assert isinstance(update.item, Entry)
            assert update.item.table in tables

    def test_every_table_of_the_program_is_managed(self):
        assert set(MANAGED_TABLES) | {Table.INCARNATION, Table.LEASE, Table.FLOW_ENTROPY} == set(Table)


class TestOrder:
    @given(ITEMS, ITEMS)
    def test_stages(self, desired, actual):
        plan = make_plan(desired, state(actual))
        opening = {Table.AUTHORIZED_NVE, Table.VN_INGRESS_AUTHORIZATION, Table.SOURCE_GUARD, Table.VAP, Table.BRIDGE}
        order = {update: number for number, update in enumerate(plan.updates)}
        for first, second in itertools.product(plan.updates, repeat=2):
            if isinstance(first.item, Group) or isinstance(second.item, Group):
                continue
            tables = (first.item.table, second.item.table)
            blocks = first.operation is Operation.DELETE and tables[0] in opening
            opens = second.operation is not Operation.DELETE and tables[1] in opening
            if blocks and opens:
                assert order[first] < order[second], "block before allow"
            if second.operation is not Operation.DELETE and first.operation is not Operation.DELETE:
                if tables == (Table.SA_RX, Table.SA_TX):
                    assert order[first] < order[second], "receive before send"
                if tables == (Table.TUNNEL_ROUTE, Table.BRIDGE):
                    assert order[first] < order[second], "carry before open"
                if tables[1] == Table.VAP and tables[0] != Table.VAP:
                    assert order[first] < order[second], "the tenant's packets come in last"
            elif first.operation is not Operation.DELETE and tables[1] in (Table.SA_RX, Table.TUNNEL_ROUTE):
                assert order[first] < order[second], "remove last"

    @given(ITEMS, ITEMS)
    def test_groups_exist_while_flood_leads_to_them(self, desired, actual):
        plan = make_plan(desired, state(actual))
        for stage in (Stage.BLOCK, Stage.OPEN):
            assert not [u for u in plan.stages[stage] if isinstance(u.item, Group)]

    @given(ITEMS, ITEMS)
    def test_deterministic(self, desired, actual):
        assert make_plan(desired, state(actual)) == make_plan(desired[::-1], state(actual[::-1])) or (
            make_plan(desired, state(actual)).updates == make_plan(desired[::-1], state(actual[::-1])).updates
        )


class TestRatesOfFloodedFrames:
    """At no point of a plan does a group have more members than the rates allow for."""

    @staticmethod
    def items(members: int) -> list[Entry | Group]:
        rate = Meter(1200 // members, 120 // members)
        return [
            Group(7, tuple((1, number) for number in range(members))),
            p4.flood_replicate(vni=1, from_underlay=0, group=7, meter=rate),
            p4.vap_flood_police_flood(interface=1, meter=rate),
        ]

    @staticmethod
    def walk(desired: list[Entry | Group], actual: list[Entry | Group]) -> Iterator[dict[object, Entry | Group]]:
        """The switch after each update."""
        held = {item.group if isinstance(item, Group) else item.key: item for item in actual}
        for update in make_plan(desired, state(actual)).updates:
            item = update.item
            held[item.group if isinstance(item, Group) else item.key] = item
            yield dict(held)

    @pytest.mark.parametrize(("before", "after"), [(3, 4), (4, 3), (1, 12), (12, 1)])
    def test_lowered_before_a_group_grows_and_raised_after_it_has_shrunk(self, before, after):
        steps = list(self.walk(self.items(after), self.items(before)))
        assert len(steps) == 3
        for held in steps:
            for item in held.values():
                if isinstance(item, Entry):
                    assert item.meter.rate * len(held[7].replicas) <= 1200
                    assert item.meter.burst * len(held[7].replicas) <= 120
        assert set(steps[-1].values()) == set(self.items(after))

    def test_what_is_lowered_and_raised_at_once_is_lowered_first(self):
        """As with another budget, of which the burst is larger and the rate smaller."""
        found, wanted = (p4.vap_flood_police_flood(interface=1, meter=Meter(*both)) for both in ((9, 1), (3, 4)))
        plan = make_plan([wanted], state([found]))
        assert [update.item.meter for update in plan.stages[Stage.BLOCK]] == [Meter(3, 1)]
        assert [update.item for update in plan.stages[Stage.OPEN]] == [wanted]
        assert plan.altered == (found,)

    def test_another_group_is_led_to_only_when_it_is_there(self):
        flood = [p4.flood_replicate(vni=1, from_underlay=0, group=g, meter=Meter(9 // g, 1)) for g in (1, 2)]
        plan = make_plan([flood[1], Group(2, ((1, 1), (1, 2)))], state([flood[0], Group(1, ((1, 1),))]))
        assert [update.item for update in plan.stages[Stage.OPEN]] == [flood[1]]
        assert not plan.stages[Stage.BLOCK]

    def test_without_a_meter_it_is_given_one_first(self):
        """As somebody else may have left it."""
        wanted = p4.vap_flood_police_flood(interface=1, meter=Meter(1, 1))
        plan = make_plan([wanted], state([replace(wanted, meter=None)]))
        assert [update.item for update in plan.stages[Stage.BLOCK]] == [wanted]
        assert len(plan.updates) == 1

    def test_a_vap_comes_behind_its_meter_and_goes_before_it(self):
        meter = p4.vap_flood_police_flood(interface=1, meter=Meter(1, 1))
        vap = p4.vap_attach(port=1, link=0, vlan=0, interface=1, vni=1, level=1, link_level=0, meter=Meter(1, 1))
        assert [update.item for update in make_plan([vap, meter], state([])).updates] == [meter, vap]
        assert [update.item for update in make_plan([], state([vap, meter])).updates] == [vap, meter]


def test_a_key_for_two_levels_is_one_key():
    """Of a pair of NVEs that demands the stronger suite, whatever its VNs ask."""

    def sends(level: int, suite: int, spi: int) -> Entry:
        return p4.sa_tx_protect(
            interface=0x8003,
            level=level,
            suite=suite,
            to_level=suite,
            key=1,
            spi=spi,
            not_after=5_000_000,
            incarnation=7,
        )

    tunnel = p4.tunnel_encapsulate(port=256, interface=0x8003, source=1, destination=THERE, underlay_mtu=1, hop=1)
    found = state([tunnel, sends(1, 2, 99), sends(2, 2, 99)])
    reading = ClockReading(1_000_000, 10.0, 10.0)
    receive, send = held_keys(found, (7).to_bytes(16, "big"), reading, 10.0)
    assert receive == ()
    assert [(one.destination, one.suite, one.held.spi) for one in send] == [
        (IPv4Address(THERE), Suite.ASCON_AEAD128, 99)
    ]


class TestNumbers:
    @given(st.lists(st.integers(0, 20), unique=True), st.dictionaries(st.integers(0, 20), st.integers(0, 40)))
    def test_stable_and_never_shared(self, wanted, known):
        known = {key: number for key, number in known.items() if list(known.values()).count(number) == 1}
        result = allocate(wanted, known, range(100))
        assert set(result) == set(wanted)
        assert len(set(result.values())) == len(result)
        for key, number in result.items():
            if key in known:
                assert number == known[key]
            else:
                assert number not in known.values()

    def test_reserved_are_left_alone(self):
        assert allocate(["a"], {}, range(5), reserved=[0, 1]) == {"a": 2}

    def test_exhausted(self):
        with pytest.raises(NumbersExhausted):
            allocate(["a", "b"], {}, range(1))

    def test_groups_of_announcements_are_taken_over(self):
        flood = [p4.flood_replicate(vni=5, from_underlay=way, group=way + 1, meter=Meter(1, 1)) for way in (0, 1)]
        found = state([*flood, p4.announcement_tell(vni=5, group=3), p4.announcement_tell(vni=6, group=1)])
        known, _ = numbers_of(found)
        assert known.groups == {(5, True): 2, (5, None): 3}, "a number for two things is not taken over"

    def test_no_tunnel_has_the_number_of_the_agents_replica(self):
        arch, metadata = ((P4SRC / name).read_text() for name in ("v1model/arch.p4", "common/metadata.p4"))
        port, interface = AGENT_REPLICA
        assert f"PORT_CPU = {port};" in arch
        assert f"INTERFACE_AGENT = 0x{interface:X};" in metadata
        assert interface not in TUNNEL_INTERFACES
        assert interface not in VAP_INTERFACES

    def test_taken_over_from_a_switch(self):
        def vap(port: int, interface: int) -> Entry:
            return p4.vap_attach(
                port=port, link=0, vlan=0, interface=interface, vni=5, level=1, link_level=0, meter=Meter(1, 1)
            )

        def permit(source: int, peer: int) -> Entry:
            mapped = 0xFFFF << 32 | source
            return p4.authorized_nve_permit(source=mapped, destination=mapped, peer=peer, tag=1, zero_checksum=0)

        found = state(
            [
                vap(port=1, interface=7),
                vap(port=2, interface=8),
                vap(port=3, interface=8),
                vap(port=4, interface=0x8001),
                p4.tunnel_encapsulate(port=256, interface=0x8003, source=1, destination=2, underlay_mtu=1, hop=1),
                permit(1, 11),
                permit(2, 12),
                permit(3, 12),
                p4.vn_ingress_authorization_authorize(peer=13, vni=1, level=1),
                p4.peer_floor_police_floor(peer=14, meter=Meter(1, 1)),
                p4.adjacency_towards(egress_port=256, hop=3, source_mac=1, next_hop_mac=7),
                p4.underlay_member_via(group=1, bucket=0, port=256, hop=4),
                Group(9, ((1, 0x8009),)),
            ]
        )
        known, reserved = numbers_of(found)
        assert known.vaps == {(1, 0, 5): 7}, "a number for two things, or of another kind, is not taken over"
        assert known.tunnels == {IPv4Address("0.0.0.2"): 0x8003}
        assert reserved.interfaces == {7, 8, 0x8001, 0x8003, 0x8009}
        assert reserved.groups == {9}
        assert known.peers == {IPv4Address("0.0.0.1"): 11}
        assert reserved.peers == {11, 12, 13, 14}, "a number is free only when no row has it"
        assert known.hops == {(256, 7): 3}
        assert reserved.hops == {1, 3, 4}
        assert 0x8000 in TUNNEL_INTERFACES
        assert len(RING_PAIRS) == 3072
