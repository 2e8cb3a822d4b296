# SPDX-License-Identifier: Apache-2.0
"""What an agent keeps of the keys that a switch was found with."""

from __future__ import annotations

from ipaddress import IPv4Address

from nvo3sec.domain.messages import KeyState, NveView, PeerView, SendSa
from nvo3sec.domain.model import Rate, Suite
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.keyring import Keyring
from nvo3sec.p4runtime import SwitchState
from nvo3sec.p4runtime import generated as p4

PEER = PeerView("leaf2", IPv4Address("0.0.0.2"), 256, 1, 2, Rate(1, 1), ((10, Suite.ASCON_AEAD128),))
VIEW = NveView(1, "leaf1", IPv4Address("0.0.0.1"), 1500, (), (), (), (PEER,), (), 30.0, 10.0)


def test_a_key_that_waits_for_the_next_stays_under_its_own_suite():
    """A pair of NVEs that demands the stronger suite: the entry of the VN's level has a key of that suite."""
    entries = [
        p4.tunnel_encapsulate(
            port=256, interface=0x8003, source_mac=1, next_hop_mac=1, source=1, destination=2, underlay_mtu=1
        ),
        p4.sa_tx_protect(interface=0x8003, level=1, suite=2, key=5, spi=99, not_after=5_000_000, incarnation=7),
    ]
    keyring = Keyring(SwitchState({entry.key: entry for entry in entries}, {}, {}))
    not_yet = SendSa("leaf2", Suite.ASCON_AEAD128, 100, None, 60.0)
    keyring.take(KeyState(1, b"i" * 16, (), (not_yet,)), VIEW, ClockReading(1_000_000, 10.0, 10.0), 10.0)
    ((kept),) = keyring.send
    assert (kept.suite, kept.spi, kept.not_after_us) == (Suite.ASCON_AEAD128, 99, 5_000_000)
