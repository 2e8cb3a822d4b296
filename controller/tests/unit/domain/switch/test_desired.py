# SPDX-License-Identifier: Apache-2.0
"""What a switch should hold, from the example domain."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.mapping import Configured, MappingState, scope_of, statics_of, step
from nvo3sec.domain.messages.session import ClaimPlace, Guard
from nvo3sec.domain.overlay.addresses import link_local
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import REPLICAS_PER_PORT_LIMIT, Level, Suite, TunnelLevel
from nvo3sec.domain.switch.desired import InstalledReceive, InstalledSend, Learned, desired_state, number_everything
from nvo3sec.domain.switch.entries import (
    Adjacency,
    AuthorizedNve,
    BridgeToTunnel,
    BridgeToVap,
    Flood,
    IpKind,
    Neighbor,
    PeerFloor,
    PeerMeter,
    PortRole,
    ReceiveEntry,
    SendEntry,
    Service,
    SourceGuard,
    TargetGuard,
    TunnelEntry,
    TunnelRoute,
    UnderlayMember,
    VapEgress,
    VapEntry,
    VnAuthorization,
)
from nvo3sec.domain.switch.numbers import GROUPS, Numbers, Reserved, allocate
from nvo3sec.nva.updates.views import view_of

DOMAIN = load_domain(example_path())
MEMBERSHIP = Membership(DOMAIN)
SUITE = Suite.CHASKEY12
WEAK, STRONG = Suite
INCARNATION = b"i" * 16
RECEIVE = InstalledReceive("leaf2", SUITE, 0x80000001, 5, Secret(b"r" * 16), 0xFFFF, 1000)
SEND = InstalledSend("leaf2", SUITE, 0x00000009, Secret(b"s" * 16), 2000)


def stated(domain):
    """The mappings that a domain file states, and no others."""
    scope = scope_of(domain)
    return step(MappingState(), Configured(scope, statics_of(domain, scope)), 0.0).state


def desired(nve: str, receive=(), send=(), learned=()):
    view = view_of(DOMAIN, MEMBERSHIP, stated(DOMAIN), nve, 1)
    numbers = number_everything(view, [(sa.peer, sa.suite) for sa in receive], Numbers(), Reserved())
    return desired_state(view, numbers, INCARNATION, receive, send, learned), numbers


def of(state, kind) -> set:
    return {entry for entry in state.entries if isinstance(entry, kind)}


class TestMembership:
    def test_tunnels_only_between_nves_with_a_common_vn(self):
        tunnels = MEMBERSHIP.tunnels()
        assert Tunnel("leaf1", "leaf2", SUITE) in tunnels
        assert len(tunnels) == 6

    def test_a_revoked_nve_has_nothing(self):
        without = Membership(DOMAIN, revoked=["leaf2"])
        assert {tunnel.sender for tunnel in without.tunnels()} == {"leaf1", "leaf3"}
        assert without.vns_of("leaf2") == ()
        assert not without.serves("leaf2", "blue")

    @pytest.mark.parametrize("revoked", [(), ("leaf1",), ("leaf2", "leaf3")])
    def test_the_vns_of_each_are_in_the_order_of_the_domain(self, revoked):
        domain = replace(DOMAIN, vns=DOMAIN.vns[::-1])
        membership = Membership(domain, revoked)
        for nve in domain.nves:
            served = [vn for vn in domain.vns if vn.name in nve.vn_names and nve.name not in revoked]
            assert list(membership.vns_of(nve.name)) == served
            for other in domain.nves:
                shared = [vn for vn in served if vn.name in other.vn_names and other.name not in revoked]
                assert list(membership.shared(nve.name, other.name)) == shared

    def test_nobody_learns_of_what_it_does_not_serve(self):
        view = view_of(DOMAIN, MEMBERSHIP, stated(DOMAIN), "leaf2", 1)
        assert [vn.name for vn in view.vns] == ["blue"]
        assert all(vnis == ((5001, SUITE),) for vnis in (peer.vnis for peer in view.peers))
        assert {system.name for system in view.tenant_systems} == {"blue2"}
        assert "red" not in repr(view)


class TestLevels:
    """What a VN demands, what a pair demands, and the stronger of both."""

    RED = replace(DOMAIN.vn_by_name["red"], level=Level.CONFIDENTIALITY)
    BLUE = DOMAIN.vn_by_name["blue"]
    MIXED = replace(DOMAIN, vns=(BLUE, RED), tunnels=())
    STRICT = replace(MIXED, tunnels=(TunnelLevel(("leaf1", "leaf2"), Level.CONFIDENTIALITY),))

    @staticmethod
    def suites(domain, sender: str, receiver: str) -> set[Suite]:
        tunnels = Membership(domain).tunnels()
        return {tunnel.suite for tunnel in tunnels if (tunnel.sender, tunnel.receiver) == (sender, receiver)}

    def test_the_stronger_of_both_in_both_directions(self):
        membership = Membership(self.STRICT)
        assert membership.level_between("leaf1", "leaf2", self.BLUE) is Level.CONFIDENTIALITY
        assert membership.level_between("leaf2", "leaf1", self.BLUE) is Level.CONFIDENTIALITY
        assert membership.level_between("leaf1", "leaf3", self.BLUE) is Level.INTEGRITY
        assert membership.level_between("leaf1", "leaf3", self.RED) is Level.CONFIDENTIALITY

    def test_a_weak_pair_takes_nothing_from_a_strict_vn(self):
        weak = replace(self.MIXED, tunnels=(TunnelLevel(("leaf1", "leaf3"), Level.INTEGRITY),))
        assert Membership(weak).level_between("leaf1", "leaf3", self.RED) is Level.CONFIDENTIALITY

    def test_tunnels(self):
        assert self.suites(self.MIXED, "leaf1", "leaf2") == {Suite.CHASKEY12}
        assert self.suites(self.STRICT, "leaf1", "leaf2") == {Suite.ASCON_AEAD128}
        assert self.suites(self.STRICT, "leaf2", "leaf1") == {Suite.ASCON_AEAD128}
        assert self.suites(self.STRICT, "leaf1", "leaf3") == {Suite.CHASKEY12, Suite.ASCON_AEAD128}
        assert self.suites(self.STRICT, "leaf2", "leaf3") == {Suite.CHASKEY12}

    def test_both_ends_are_told(self):
        for name, other in (("leaf1", "leaf2"), ("leaf2", "leaf1")):
            view = view_of(self.STRICT, Membership(self.STRICT), stated(self.STRICT), name, 1)
            peer = next(peer for peer in view.peers if peer.name == other)
            assert peer.vnis == ((5001, Level.CONFIDENTIALITY),)

    def test_a_vn_finds_the_key_of_the_pair_and_no_weaker_one(self):
        view = view_of(self.STRICT, Membership(self.STRICT), stated(self.STRICT), "leaf1", 1)
        numbers = number_everything(view, [], Numbers(), Reserved())
        send = [
            InstalledSend(peer, suite, 1, Secret(b"s" * 16), 2000)
            for peer in ("leaf2", "leaf3")
            for suite in (Suite.CHASKEY12, Suite.ASCON_AEAD128)
        ]
        entries = of(desired_state(view, numbers, INCARNATION, send=send), SendEntry)
        found = {(entry.interface, entry.level): entry.suite for entry in entries}
        leaf2, leaf3 = (numbers.tunnels[IPv4Address(text)] for text in ("192.0.2.2", "192.0.2.3"))
        assert found == {
            (leaf2, Level.INTEGRITY): Suite.ASCON_AEAD128,
            (leaf2, Level.CONFIDENTIALITY): Suite.ASCON_AEAD128,
            (leaf3, Level.INTEGRITY): Suite.CHASKEY12,
            (leaf3, Level.CONFIDENTIALITY): Suite.ASCON_AEAD128,
        }
        assert len(entries) == len(found)

    @pytest.mark.parametrize(
        ("at_hand", "expected"),
        [
            ((WEAK,), {(2, WEAK): None, (3, WEAK): WEAK, (3, STRONG): None}),
            ((STRONG,), {(2, WEAK): STRONG, (3, WEAK): STRONG, (3, STRONG): STRONG}),
        ],
    )
    def test_a_key_that_is_not_there_is_replaced_by_a_stronger_one_only(self, at_hand, expected):
        view = view_of(self.STRICT, Membership(self.STRICT), stated(self.STRICT), "leaf1", 1)
        numbers = number_everything(view, [], Numbers(), Reserved())
        send = [InstalledSend(f"leaf{n}", suite, 1, Secret(b"s" * 16), 2000) for n in (2, 3) for suite in at_hand]
        entries = of(desired_state(view, numbers, INCARNATION, send=send), SendEntry)
        found = {(entry.interface, entry.level): entry.suite for entry in entries}
        for (leaf, suite), used in expected.items():
            tunnel = numbers.tunnels[IPv4Address(f"192.0.2.{leaf}")]
            assert found.get((tunnel, suite.level)) == used

    def test_a_key_is_there_before_a_vn_comes_to_its_level(self):
        view = view_of(self.MIXED, Membership(self.MIXED), stated(self.MIXED), "leaf1", 1)
        numbers = number_everything(view, [], Numbers(), Reserved())
        send = [InstalledSend("leaf2", suite, 1, Secret(b"s" * 16), 2000) for suite in (WEAK, STRONG)]
        entries = of(desired_state(view, numbers, INCARNATION, send=send), SendEntry)
        assert {(entry.level, entry.suite) for entry in entries} == {(one.level, one) for one in (WEAK, STRONG)}

    def test_what_is_sent_may_be_more_than_what_is_demanded(self):
        view = view_of(self.MIXED, Membership(self.MIXED), stated(self.MIXED), "leaf1", 1)
        peers = tuple(replace(peer, sends=Level.CONFIDENTIALITY) for peer in view.peers)
        numbers = number_everything(view, [], Numbers(), Reserved())
        send = [InstalledSend("leaf2", suite, 1, Secret(b"s" * 16), 2000) for suite in (WEAK, STRONG)]
        state = desired_state(replace(view, peers=peers), numbers, INCARNATION, send=send)
        assert {(entry.level, entry.suite) for entry in of(state, SendEntry)} == {(one.level, STRONG) for one in Suite}
        assert {one.level for one in of(state, VnAuthorization) if one.vni == 5001} == {Level.INTEGRITY}

    def test_every_suite_gives_a_level_and_every_level_has_a_suite_that_gives_it(self):
        assert {suite.level for suite in Suite} == set(Level)
        assert all(level.suite.level is level for level in Level)


class TestAccess:
    def test_ports_and_vaps(self):
        state, numbers = desired("leaf1")
        assert of(state, PortRole) == {
            PortRole(1, None),
            PortRole(2, None),
            PortRole(3, None),
            PortRole(256, 0x020000000100),
            PortRole(257, 0x020000000101),
        }
        interface = numbers.vaps[3, 100, 5002]
        assert {entry.vni for entry in of(state, VapEntry) if entry.interface == interface} == {5002}
        assert VapEgress(3, interface, 100) in state.entries

    def test_source_guard_is_exactly_what_the_systems_may_do(self):
        state, numbers = desired("leaf1")
        mac = 0x02AA00000001
        blue = numbers.vaps[1, 0, 5001]
        assert {entry for entry in of(state, SourceGuard) if entry.interface == blue} == {
            SourceGuard(blue, mac, IpKind.IPV4, int(IPv4Address("10.1.0.1"))),
            SourceGuard(blue, mac, IpKind.ARP, int(IPv4Address("10.1.0.1"))),
            SourceGuard(blue, mac, IpKind.IPV6, int(IPv6Address("fd00:1::1"))),
            SourceGuard(blue, mac, IpKind.IPV6, int(IPv6Address("fe80::aa:ff:fe00:1"))),
        }
        assert {entry for entry in of(state, TargetGuard) if entry.interface == blue} == {
            TargetGuard(blue, mac, int(IPv6Address("fd00:1::1"))),
            TargetGuard(blue, mac, int(IPv6Address("fe80::aa:ff:fe00:1"))),
        }
        other = numbers.vaps[2, 0, 5001]
        unspecified = {entry.ip_kind for entry in of(state, SourceGuard) if entry.interface == other and entry.ip == 0}
        assert unspecified == {IpKind.IPV4, IpKind.IPV6}
        assert not any(entry.ip_kind is IpKind.OTHER for entry in of(state, SourceGuard))

    def test_link_local_addresses_unless_switched_off(self):
        without = replace(DOMAIN, vns=tuple(replace(vn, allow_link_local=False) for vn in DOMAIN.vns))
        for domain, own in ((DOMAIN, 1), (without, 0)):
            view = view_of(domain, Membership(domain), stated(domain), "leaf1", 1)
            state = desired_state(view, number_everything(view, [], Numbers(), Reserved()), INCARNATION)
            local = {entry.ip for kind in (SourceGuard, TargetGuard) for entry in of(state, kind) if entry.ip >> 118}
            assert len({ip for ip in local if ip >> 118 == 0xFE80 >> 6}) == own * len(
                {system.mac for system in view.tenant_systems}
            )
            # Nobody is told where such an address is: it is on one link alone, and its owner is asked.
            assert not [entry for entry in of(state, Neighbor) if entry.ip.is_link_local]

    def test_services_where_allowed(self):
        one, *others = DOMAIN.tenant_systems
        for fields, services in (
            ({}, set()),
            ({"allow_router": True}, {Service.ROUTER}),
            ({"allow_dhcp_server": True}, {Service.DHCP_SERVER}),
            ({"allow_router": True, "allow_dhcp_server": True}, {Service.ROUTER, Service.DHCP_SERVER}),
        ):
            system = replace(one, allow_unspecified_source=True, allow_other_ethertypes=True, **fields)
            domain = replace(DOMAIN, tenant_systems=(system, *others))
            view = view_of(domain, MEMBERSHIP, stated(domain), "leaf1", 1)
            numbers = number_everything(view, [], Numbers(), Reserved())
            place = numbers.vaps[one.port, one.vlan, 5001]
            for entry in of(desired_state(view, numbers, INCARNATION), SourceGuard):
                assert entry.services == (services if entry.interface == place else set())

    def test_services_are_of_the_system_from_each_of_its_addresses(self):
        """Also from what it has as a member of a set, its own link-local address among it: one entry for each."""
        one, *others = DOMAIN.tenant_systems
        system = replace(one, allow_router=True)
        domain = replace(DOMAIN, tenant_systems=(system, *others))
        view = view_of(domain, MEMBERSHIP, stated(domain), "leaf1", 1)
        beside = (link_local(one.mac), IPv6Address("fe80::53"))
        view = replace(
            view,
            guards=(Guard(one.port, one.vlan, one.mac, beside),),
            claim_places=(ClaimPlace(one.port, one.vlan, one.mac, (IPv6Address("fe80::53"),)),),
        )
        numbers = number_everything(view, [], Numbers(), Reserved())
        place = numbers.vaps[one.port, one.vlan, 5001]
        found = [
            entry for entry in of(desired_state(view, numbers, INCARNATION), SourceGuard) if entry.interface == place
        ]
        assert {entry.ip for entry in found} >= {int(ip) for ip in beside}
        assert len({(entry.ip_kind, entry.ip) for entry in found}) == len(found)
        for entry in found:
            assert (entry.services, entry.is_announcer) == ({Service.ROUTER}, True)

    def test_other_ethertypes_where_allowed(self):
        state, numbers = desired("leaf3")
        interface = numbers.vaps[2, 100, 5002]
        assert SourceGuard(interface, 0x02AA00000003, IpKind.OTHER, 0) in state.entries

    def test_local_bridging(self):
        state, numbers = desired("leaf2")
        assert of(state, BridgeToVap) == {
            BridgeToVap(5001, 0x02AA00000002, from_underlay, 1, numbers.vaps[1, 0, 5001])
            for from_underlay in (False, True)
        }
        assert of(state, Neighbor) == {
            Neighbor(5001, IPv4Address("10.1.0.2"), 0x02AA00000002),
            Neighbor(5001, IPv6Address("fd00:1::2"), 0x02AA00000002),
        }
        assert of(state, BridgeToTunnel) == set()


class TestPeers:
    def test_a_peer_gets_everything_or_nothing(self):
        state, numbers = desired("leaf1")
        own, leaf3 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.3")
        tunnel = numbers.tunnels[leaf3]
        assert tunnel & 0x8000
        number, hop = numbers.peers[leaf3], numbers.hops[257, 0x020000000301]
        tag = peer_tag(Purpose.TUNNEL, leaf3, own)
        assert AuthorizedNve(leaf3, own, number, tag) in state.entries
        (route,) = (entry for entry in of(state, TunnelRoute) if entry.interface == tunnel)
        ways = [entry for entry in of(state, UnderlayMember) if entry.group == route.group]
        assert {(way.port, way.hop) for way in ways} == {(257, hop)}
        assert sorted(way.bucket for way in ways) == list(range(64))
        assert Adjacency(257, hop, 0x020000000101, 0x020000000301) in state.entries
        assert TunnelEntry(257, tunnel, own, leaf3, 1500, hop) in state.entries
        for kind in (PeerMeter, PeerFloor):
            assert len([entry for entry in of(state, kind) if entry.peer == number]) == 1
        assert {entry.vni for entry in of(state, VnAuthorization) if entry.peer == number} == {5001, 5002}

    def test_a_peer_may_send_only_into_common_vns(self):
        state, numbers = desired("leaf1")
        leaf2 = numbers.peers[IPv4Address("192.0.2.2")]
        assert {entry.vni for entry in of(state, VnAuthorization) if entry.peer == leaf2} == {5001}

    def test_ways_are_those_of_a_next_hop(self):
        """Of a peer's own, as here, or of all that are behind the same: as many entries as there are next hops."""
        state, numbers = desired("leaf1")
        groups = {entry.interface: entry.group for entry in of(state, TunnelRoute)}
        hops = {entry.interface: (entry.port, entry.hop) for entry in of(state, TunnelEntry)}
        assert groups.keys() == hops.keys() == set(numbers.tunnels.values())
        for one, other in combinations(groups, 2):
            assert (groups[one] == groups[other]) == (hops[one] == hops[other])
        ways = of(state, UnderlayMember)
        assert {(way.group, way.port, way.hop) for way in ways} == {(groups[one], *hops[one]) for one in groups}


def test_a_tag_is_of_both_addresses_and_of_what_it_is_for():
    """The first 32 bits of SHA-256 over 'tunnel' and two IPv4-mapped addresses, computed elsewhere."""
    one, other = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
    text = b"tunnel" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + bytes(10) + b"\xff\xff\xc0\x00\x02\x02"
    assert peer_tag(Purpose.TUNNEL, one, other) == int(hashlib.sha256(text).hexdigest()[:8], 16)
    tags = {peer_tag(purpose, *ends) for purpose in Purpose for ends in ((one, other), (other, one))}
    assert len(tags) == 2 * len(Purpose)


class TestKeys:
    def test_entries(self):
        state, numbers = desired("leaf1", [RECEIVE], [SEND])
        address = IPv4Address("192.0.2.2")
        (receive,), (send,) = of(state, ReceiveEntry), of(state, SendEntry)
        assert (receive.peer, receive.spi, receive.generation) == (numbers.peers[address], 0x80000001, 5)
        (permit,) = (entry for entry in of(state, AuthorizedNve) if entry.source == address)
        assert (receive.peer, receive.tag) == (permit.peer, permit.tag)
        assert receive.pair == numbers.pairs[address, SUITE]
        assert receive.incarnation == send.incarnation == INCARNATION
        assert (send.interface, send.spi, send.not_after_us) == (numbers.tunnels[address], 9, 2000)

    def test_no_peer_no_key(self):
        strange = InstalledReceive("leaf9", SUITE, 1, 1, Secret(b"x" * 16), 0xFFFF, 1)
        state, _ = desired("leaf1", [strange])
        assert of(state, ReceiveEntry) == set()

    def test_nothing_shows_a_key(self):
        state, _ = desired("leaf1", [RECEIVE], [SEND])
        text = repr(state) + repr(RECEIVE) + repr(SEND)
        assert "rrrr" not in text
        assert "ssss" not in text


class TestFlood:
    def test_from_access_to_everybody_from_a_tunnel_to_nobody_but_vaps(self):
        state, numbers = desired("leaf1")
        groups = {group.group: group.replicas for group in state.groups}
        tunnels = numbers.tunnels
        blue = [(1, numbers.vaps[1, 0, 5001]), (2, numbers.vaps[2, 0, 5001])]
        remote = [(256, tunnels[IPv4Address("192.0.2.2")]), (257, tunnels[IPv4Address("192.0.2.3")])]
        assert groups[numbers.groups[5001, False]] == tuple(sorted(blue + remote))
        assert groups[numbers.groups[5001, True]] == tuple(sorted(blue))
        assert {(flood.vni, flood.from_underlay) for flood in of(state, Flood)} == set(numbers.groups)

    def test_nothing_beyond_what_a_port_can_queue(self):
        state, _ = desired("leaf1")
        for group in state.groups:
            ports = [port for port, _ in group.replicas]
            assert all(ports.count(port) <= REPLICAS_PER_PORT_LIMIT for port in ports)


class TestLearned:
    REMOTE = Learned(5001, 0x02AA00000002, "leaf2", (IPv4Address("10.1.0.2"), IPv6Address("fd00:1::2")))

    def test_a_remote_system(self):
        state, numbers = desired("leaf1", learned=[self.REMOTE])
        tunnel = numbers.tunnels[IPv4Address("192.0.2.2")]
        assert of(state, BridgeToTunnel) == {BridgeToTunnel(5001, 0x02AA00000002, tunnel)}
        assert Neighbor(5001, IPv4Address("10.1.0.2"), 0x02AA00000002) in state.entries

    @pytest.mark.parametrize(
        "answer",
        [
            Learned(5002, 0x02AA00000002, "leaf2", ()),
            Learned(5001, 0x02AA00000002, "leaf9", ()),
            Learned(5001, 0x02AA00000001, "leaf2", ()),
            Learned(5009, 0x02AA00000002, "leaf2", ()),
        ],
        ids=["the peer does not serve the VN", "no peer", "a system of our own", "no VN of ours"],
    )
    def test_an_answer_that_contradicts_the_view_counts_for_nothing(self, answer):
        state, _ = desired("leaf1", learned=[answer])
        assert of(state, BridgeToTunnel) == set()


def test_group_numbers_begin_elsewhere_in_each_incarnation() -> None:
    # BMv2 keeps the members of groups over a pipeline push: a number must not come back soon.
    assert allocate("ab", {}, GROUPS, first=7) == {"a": 8, "b": 9}
    assert allocate("ab", {}, GROUPS, first=len(GROUPS) - 1) == {"a": len(GROUPS), "b": 1}
    assert allocate("ab", {"b": 8}, GROUPS, first=7) == {"a": 9, "b": 8}
