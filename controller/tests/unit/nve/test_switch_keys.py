# SPDX-License-Identifier: Apache-2.0
"""What an agent keeps of the keys that a switch was found with, and of those whose peers have moved."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import KeyState, NveView, PeerView, ReceiveSa, SendSa
from nvo3sec.domain.overlay.model import Rate, Suite
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.switch_keys import SwitchKeys
from nvo3sec.p4runtime import SwitchState
from nvo3sec.program import generated as p4

SUITE = Suite.CHASKEY12
INCARNATION = int.from_bytes(b"i" * 16, "big")
READING = ClockReading(0, 0.0, 0.0)
HERE, THERE, ELSEWHERE, OTHER = (IPv4Address(f"192.0.2.{number}") for number in range(1, 5))

PEER = PeerView("leaf2", IPv4Address("0.0.0.2"), 256, 1, 2, Rate(1, 1), ((10, Suite.ASCON_AEAD128),))
VIEW = NveView(1, "leaf1", IPv4Address("0.0.0.1"), 1500, (), (), (), (PEER,), (), 30.0, 10.0)


def view(version: int, own: IPv4Address = HERE, **peers: IPv4Address) -> NveView:
    seen = tuple(PeerView(name, address, 256, 1, 2, Rate(1, 1), ((1, SUITE),)) for name, address in peers.items())
    return NveView(version, "leaf1", own, 1500, (), (), (), seen, (), 30.0, 10.0)


def keys(version: int, *peers: str, spi: int = 7, key: bytes | None = b"k" * 16) -> KeyState:
    secret = None if key is None else Secret(key)
    receive = tuple(ReceiveSa(peer, SUITE, spi, 1, secret, 60.0) for peer in peers)
    send = tuple(SendSa(peer, SUITE, spi, secret, 60.0) for peer in peers)
    return KeyState(version, b"i" * 16, receive, send)


class Held:
    """A keyring, and what it holds after each thing that comes from the NVA."""

    def __init__(self) -> None:
        self.ring = SwitchKeys(None)

    def told(self, last: NveView, state: KeyState, *before: NveView) -> tuple[set[str], set[str]]:
        """Peers to receive from and to send to."""
        for one in (*before, last):
            self.ring.follow(one)
        self.ring.take(state, last, READING, 0.0)
        return {sa.peer for sa in self.ring.receive}, {sa.peer for sa in self.ring.send}


BOTH = {"leaf2", "leaf3"}


class TestPeersThatMove:
    def setup_method(self):
        self.held = Held()
        self.first = view(1, leaf2=THERE, leaf3=OTHER)
        self.keys = keys(2, "leaf2", "leaf3")
        assert self.held.told(self.first, self.keys) == (BOTH, BOTH)

    def test_a_view_that_changes_nothing(self):
        assert self.held.told(replace(self.first, version=3), self.keys) == (BOTH, BOTH)

    def test_another_address_ends_the_keys_at_once(self):
        moved = view(3, leaf2=ELSEWHERE, leaf3=OTHER)
        assert self.held.told(moved, self.keys) == ({"leaf3"}, {"leaf3"})
        assert self.held.told(moved, keys(4, "leaf2", "leaf3")) == (BOTH, BOTH)

    def test_also_if_it_comes_back_before_anybody_looked(self):
        back = view(4, leaf2=THERE, leaf3=OTHER)
        for between in (view(3, leaf3=OTHER), view(3, leaf2=ELSEWHERE, leaf3=OTHER)):
            held = Held()
            held.told(self.first, self.keys)
            assert held.told(back, self.keys, between) == ({"leaf3"}, {"leaf3"})
            assert held.told(back, keys(5, "leaf2", "leaf3")) == (BOTH, BOTH)

    def test_a_key_that_is_not_there_yet_does_not_keep_the_one_of_another_tunnel(self):
        pending = keys(4, "leaf2", spi=8, key=None)
        assert self.held.told(view(3, leaf2=THERE), pending)[1] == {"leaf2"}, "the one before stays"
        assert self.held.told(view(5, leaf2=ELSEWHERE), replace(pending, version=6))[1] == set()

    def test_another_address_of_its_own_ends_them_all(self):
        assert self.held.told(view(3, own=ELSEWHERE, leaf2=THERE, leaf3=OTHER), self.keys) == (set(), set())


def test_a_key_that_waits_for_the_next_stays_under_its_own_suite():
    """A pair of NVEs that demands the stronger suite: the entry of the VN's level has a key of that suite."""
    entries = [
        p4.tunnel_encapsulate(port=256, interface=0x8003, source=1, destination=2, underlay_mtu=1, hop=1),
        p4.sa_tx_protect(
            interface=0x8003, level=1, suite=2, to_level=2, key=5, spi=99, not_after=5_000_000, incarnation=INCARNATION
        ),
    ]
    keyring = SwitchKeys(SwitchState({entry.key: entry for entry in entries}, {}, {}))
    not_yet = SendSa("leaf2", Suite.ASCON_AEAD128, 100, None, 60.0)
    keyring.follow(VIEW)
    keyring.take(KeyState(2, b"i" * 16, (), (not_yet,)), VIEW, ClockReading(1_000_000, 10.0, 10.0), 10.0)
    ((kept),) = keyring.send
    assert (kept.suite, kept.spi, kept.not_after_us) == (Suite.ASCON_AEAD128, 99, 5_000_000)
