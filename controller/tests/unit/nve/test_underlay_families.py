# SPDX-License-Identifier: Apache-2.0
"""Tunnels over IPv4 and IPv6 in one switch: as entries, and as they are found again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from nvo3sec.domain.messages.consistency import consistent
from nvo3sec.domain.messages.session import NveView, PeerView
from nvo3sec.domain.overlay.addresses import mapped_ipv6, tunnel_ends, underlay_fault, unmapped_ip
from nvo3sec.domain.overlay.model import Rate, Suite
from nvo3sec.domain.switch.desired import desired_state, number_everything
from nvo3sec.domain.switch.entries import AuthorizedNve, TunnelEntry
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.places import Places
from nvo3sec.nve.translate import ends_of, held_keys, numbers_of, peers_of, sending_entries, to_entry
from nvo3sec.p4runtime import Entry, SwitchState
from nvo3sec.program import generated as p4

FOUR, SIX = IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")
OWN = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
ALIKE = IPv6Address(int(FOUR))
"""The same number as that of IPv4, and nobody's address."""
MAPPED = IPv6Address(f"::ffff:{FOUR}")
INCARNATION = bytes(15) + b"\7"


def state(entries: list[Entry]) -> SwitchState:
    return SwitchState({entry.key: entry for entry in entries}, {}, {})


def tunnel(interface: int, end: IPv4Address | IPv6Address) -> Entry:
    return to_entry(TunnelEntry(256, interface, OWN[end.version], end, 1500, 1))


def permit(peer: int, end: IPv4Address | IPv6Address) -> Entry:
    return to_entry(AuthorizedNve(end, OWN[end.version], peer, 1))


def receives(peer: int) -> Entry:
    return p4.sa_rx_accept(
        peer=peer,
        spi=peer,
        suite=1,
        level=1,
        kind=p4.SaKind.TUNNEL,
        key=1,
        min_coverage=0xFFFF,
        pair=peer,
        tag=1,
        generation=1,
        not_after=5_000_000,
        incarnation=7,
        link=0,
        vlan=0,
    )


def sends(interface: int) -> Entry:
    return p4.sa_tx_protect(
        interface=interface,
        level=1,
        suite=1,
        to_level=1,
        key=1,
        spi=interface,
        not_after=5_000_000,
        incarnation=7,
    )


FOUND = state(
    [
        tunnel(0x8001, FOUR),
        tunnel(0x8002, SIX),
        permit(11, FOUR),
        permit(12, SIX),
        *map(receives, (11, 12)),
        *map(sends, (0x8001, 0x8002)),
    ]
)


def test_each_family_has_its_action():
    four, six = dict(tunnel(1, FOUR).params), dict(tunnel(1, SIX).params)
    assert (tunnel(1, FOUR).action, tunnel(1, SIX).action) == ("encapsulate", "encapsulate_ipv6")
    assert (four["source"], four["destination"]) == (int(OWN[4]), int(FOUR))
    assert (six["source"], six["destination"]) == (int(OWN[6]), int(SIX))


def test_packets_are_looked_up_with_128_bits():
    four, six = dict(permit(1, FOUR).match), dict(permit(1, SIX).match)
    assert four == {"source": 0xFFFF << 32 | int(FOUR), "destination": 0xFFFF << 32 | int(OWN[4])}
    assert six == {"source": int(SIX), "destination": int(OWN[6])}


def test_each_is_found_again():
    known, reserved = numbers_of(FOUND)
    assert known.tunnels == {FOUR: 0x8001, SIX: 0x8002}
    assert known.peers == {FOUR: 11, SIX: 12}
    assert known.pairs == {(FOUR, Suite.CHASKEY12): 11, (SIX, Suite.CHASKEY12): 12}
    assert peers_of(FOUND) == {11: FOUR, 12: SIX}
    assert ends_of(FOUND) == {0x8001: FOUR, 0x8002: SIX}
    assert reserved.peers == {11, 12}


def test_its_keys_are_told():
    receive, send = held_keys(FOUND, INCARNATION, ClockReading(1_000_000, 10.0, 10.0), 10.0)
    assert {(one.source, one.held.spi) for one in receive} == {(FOUR, 11), (SIX, 12)}
    assert {(one.destination, one.held.spi) for one in send} == {(FOUR, 0x8001), (SIX, 0x8002)}


@pytest.mark.parametrize("stray", [ALIKE, MAPPED], ids=["the same number", "mapped"])
def test_one_family_is_not_taken_for_the_other(stray):
    """A tunnel over IPv6 to what looks like an address of IPv4 leads to nobody, and its keys are told to nobody."""
    entry = p4.tunnel_encapsulate_ipv6(
        port=256, interface=0x8003, source=1, destination=int(stray), underlay_mtu=1500, hop=1
    )
    found = state([entry, sends(0x8003)])
    known, reserved = numbers_of(found)
    assert known.tunnels.get(FOUR) is None
    assert 0x8003 in reserved.interfaces
    peer = PeerView("leaf2", FOUR, 256, 1, 2, Rate(1, 1), ())
    view = NveView(1, "leaf1", OWN[4], 1500, (), (), (), (peer,), (), 30.0, 10.0)
    assert sending_entries(found, view) == {}
    assert held_keys(found, INCARNATION, ClockReading(1_000_000, 10.0, 10.0), 10.0) == ((), ())


def test_peers_that_look_alike_are_two():
    found = state([permit(11, FOUR), permit(12, ALIKE)])
    assert peers_of(found) == {11: FOUR, 12: ALIKE}


def test_a_peer_of_the_other_family_is_left_out():
    peers = tuple(
        PeerView(name, address, 256, 1, 2, Rate(1, 1), ()) for name, address in (("leaf2", FOUR), ("leaf3", SIX))
    )
    view = NveView(1, "leaf1", OWN[6], 1500, (), (), (), peers, (), 30.0, 10.0)
    kept, left_out = consistent(view)
    assert [peer.name for peer in kept.peers] == ["leaf3"]
    assert left_out == ("peer leaf2",)


FAR_FOUR, FAR_SIX = IPv4Address("192.0.2.3"), IPv6Address("2001:db8::3")


@pytest.mark.parametrize(
    ("one", "other", "ends"),
    [
        ((FOUR,), (FAR_FOUR,), (FOUR, FAR_FOUR)),
        ((SIX,), (FAR_SIX,), (SIX, FAR_SIX)),
        ((FOUR, SIX), (FAR_SIX,), (SIX, FAR_SIX)),
        ((FOUR, SIX), (FAR_FOUR,), (FOUR, FAR_FOUR)),
        ((FOUR, SIX), (FAR_FOUR, FAR_SIX), (SIX, FAR_SIX)),
        ((FOUR,), (FAR_SIX,), None),
        ((SIX,), (FAR_FOUR,), None),
    ],
)
def test_a_tunnel_is_over_ipv6_where_both_have_it(one, other, ends):
    assert tunnel_ends(one, other) == tunnel_ends(one[::-1], other[::-1]) == ends
    assert tunnel_ends(other, one) == (ends and ends[::-1])


def peer_view(name: str, address: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address | None) -> PeerView:
    return PeerView(name, address, 256, 1, 2, Rate(1, 1), (), other_address=other)


BOTH = NveView(1, "leaf1", OWN[4], 1500, (), (), (), (), (), 30.0, 10.0, other_address=OWN[6])


@pytest.mark.parametrize(
    ("address", "other", "fits"),
    [
        (FOUR, None, True),
        (SIX, None, True),
        (SIX, FOUR, True),
        (FOUR, SIX, False),  # they would have it over IPv6
        (OWN[6], None, False),
        (SIX, OWN[4], False),
    ],
)
def test_an_agent_knows_where_its_tunnels_lead(address, other, fits):
    """What an NVA says is believed as far as it is what follows from the addresses of both ends."""
    kept, left_out = consistent(replace(BOTH, peers=(peer_view("leaf2", address, other),)))
    assert (len(kept.peers), left_out) == ((1, ()) if fits else (0, ("peer leaf2",)))


def test_each_tunnel_has_its_own_source():
    view = replace(BOTH, peers=(peer_view("leaf2", SIX, FOUR), peer_view("leaf3", FAR_FOUR, None)))
    numbers = number_everything(view, (("leaf2", Suite.CHASKEY12), ("leaf3", Suite.CHASKEY12)), Numbers(), Reserved())
    entries = desired_state(view, numbers, INCARNATION).entries
    tunnels = {(one.source, one.destination) for one in entries if isinstance(one, TunnelEntry)}
    permits = {(one.source, one.destination) for one in entries if isinstance(one, AuthorizedNve)}
    assert tunnels == {(OWN[6], SIX), (OWN[4], FAR_FOUR)}
    assert permits == {(end, own) for own, end in tunnels}
    known, _ = numbers_of(state([to_entry(one) for one in entries]))
    assert (known.tunnels, known.peers) == (numbers.tunnels, numbers.peers)
    assert set(numbers.pairs) == {(SIX, Suite.CHASKEY12), (FAR_FOUR, Suite.CHASKEY12)}


def test_who_may_leave_the_checksum_out():
    """Over IPv6 alone, where there is one; and nobody else."""
    sums_not = (replace(peer_view("leaf2", SIX, FOUR), zero_checksum=True), peer_view("leaf3", FAR_SIX, None))
    four = replace(peer_view("leaf4", FAR_FOUR, None), zero_checksum=True)
    view = replace(BOTH, peers=(*sums_not, four))
    keys = tuple((peer.name, Suite.CHASKEY12) for peer in view.peers)
    numbers = number_everything(view, keys, Numbers(), Reserved())
    entries = desired_state(view, numbers, INCARNATION).entries
    permits = {one.source: dict(to_entry(one).params) for one in entries if isinstance(one, AuthorizedNve)}
    assert {source: params["zero_checksum"] for source, params in permits.items()} == {
        SIX: 1,
        FAR_SIX: 0,
        FAR_FOUR: 0,
    }


def test_a_second_address_moves_only_what_leads_there():
    places = Places()
    before = replace(
        BOTH, other_address=None, peers=(peer_view("leaf2", FOUR, None), peer_view("leaf3", FAR_FOUR, None))
    )
    places.follow(before)
    after = replace(BOTH, version=2, peers=(peer_view("leaf2", SIX, FOUR), peer_view("leaf3", FAR_FOUR, None)))
    assert places.follow(after) == {"leaf2"}
    assert places.addresses(2) == {"leaf3": FAR_FOUR}
    assert places.addresses(3) == {"leaf2": SIX, "leaf3": FAR_FOUR}


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "fd00::1", "::ffff:0:192.0.2.1"])
def test_to_128_bits_and_back(text):
    address = ip_address(text)
    assert unmapped_ip(int.from_bytes(mapped_ipv6(address), "big")) == address
    assert underlay_fault(address) is None
