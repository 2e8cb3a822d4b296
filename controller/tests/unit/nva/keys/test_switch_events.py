# SPDX-License-Identifier: Apache-2.0
"""From what agents say to events: each direction gets its own, and only its own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from key_world import make_domain, nves
from nvo3sec.domain.keys.sa import Held, ReceiverDown, ReceiverRead, ReceiverUp, SenderDown, SenderRead, SenderUp
from nvo3sec.domain.messages.session import HeldReceive, HeldSend, ReadBack, Registration
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.nva.keys import switch_events as switches

DOMAIN = make_domain(nves(3))
WEAK, STRONG = Suite
INCARNATION = b"i" * 16
ADDRESS = {nve.name: nve.address for nve in DOMAIN.nves}
TUNNELS = sorted(t for t in Membership(DOMAIN).tunnels() if "nve0" in (t.sender, t.receiver))


def held(spi: int) -> Held:
    return Held(spi, spi, 60.0)


def test_registration():
    registration = Registration(
        INCARNATION,
        (
            HeldReceive(ADDRESS["nve1"], WEAK, held(1)),
            HeldReceive(ADDRESS["nve1"], STRONG, held(2)),
            HeldReceive(ADDRESS["nve1"], WEAK, held(3)),
            HeldReceive(ADDRESS["nve0"], WEAK, held(4)),
        ),
        (HeldSend(ADDRESS["nve2"], WEAK, held(5)), HeldSend(ADDRESS["nve2"], STRONG, held(6))),
    )
    assert dict(switches.registered("nve0", TUNNELS, registration, DOMAIN.nve_by_name)) == {
        Tunnel("nve0", "nve1", WEAK): SenderUp(INCARNATION, None),
        Tunnel("nve0", "nve2", WEAK): SenderUp(INCARNATION, held(5)),
        Tunnel("nve1", "nve0", WEAK): ReceiverUp(INCARNATION, (held(1), held(3))),
        Tunnel("nve2", "nve0", WEAK): ReceiverUp(INCARNATION, ()),
    }


def test_keys_are_those_of_the_addresses_between_which_the_tunnel_is():
    """A switch that holds what it had over IPv4 holds nothing of the tunnel over IPv6."""
    four = ADDRESS["nve1"]
    six = {name: IPv6Address(f"2001:db8::{number}") for number, name in enumerate(("nve0", "nve1"), 1)}
    both = {name: replace(nve, other_address=six.get(name)) for name, nve in DOMAIN.nve_by_name.items()}
    for address, spi in ((four, None), (six["nve1"], 1)):
        said = Registration(INCARNATION, (HeldReceive(address, WEAK, held(1)),), (HeldSend(address, WEAK, held(1)),))
        events = dict(switches.registered("nve0", TUNNELS, said, both))
        kept = None if spi is None else held(spi)
        assert events[Tunnel("nve0", "nve1", WEAK)] == SenderUp(INCARNATION, kept)
        assert events[Tunnel("nve1", "nve0", WEAK)] == ReceiverUp(INCARNATION, () if kept is None else (kept,))


def test_read_back():
    report = ReadBack(
        INCARNATION,
        (("nve1", WEAK, 1), ("nve1", STRONG, 2), ("nve1", WEAK, 3), ("nve9", WEAK, 4)),
        (("nve2", WEAK, 5), ("nve2", STRONG, 6)),
    )
    assert dict(switches.read_back("nve0", TUNNELS, report)) == {
        Tunnel("nve0", "nve1", WEAK): SenderRead(None),
        Tunnel("nve0", "nve2", WEAK): SenderRead(5),
        Tunnel("nve1", "nve0", WEAK): ReceiverRead(frozenset({1, 3})),
        Tunnel("nve2", "nve0", WEAK): ReceiverRead(frozenset()),
    }


def test_gone():
    assert dict(switches.gone("nve0", TUNNELS)) == {
        Tunnel("nve0", "nve1", WEAK): SenderDown(),
        Tunnel("nve0", "nve2", WEAK): SenderDown(),
        Tunnel("nve1", "nve0", WEAK): ReceiverDown(),
        Tunnel("nve2", "nve0", WEAK): ReceiverDown(),
    }
