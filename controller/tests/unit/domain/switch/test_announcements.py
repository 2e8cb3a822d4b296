# SPDX-License-Identifier: Apache-2.0
"""What frames of tenants announce: read as strictly as it can be, and never more out of them than is there."""

from __future__ import annotations

import random
from ipaddress import IPv6Address
from ipaddress import ip_address as ip

import pytest
from frames_of_tenants import advertisement, gratuitous_arp, vrrp
from nvo3sec.domain.switch.announcements import Announced, parse_announcement

MAC, VMAC, VMAC6 = 0x02AA_0000_0001, 0x0000_5E00_0107, 0x0000_5E00_0207
CUT = 128
LINK_LOCAL = "fe80::1"
NONCE = b"\x0e\x01abcdef"
GOOD = [
    (gratuitous_arp(MAC, "10.1.0.250"), MAC, ["10.1.0.250"]),
    (gratuitous_arp(MAC, "10.1.0.250", 2), MAC, ["10.1.0.250"]),
    (gratuitous_arp(MAC, "10.1.0.250") + bytes(18), MAC, ["10.1.0.250"]),
    (advertisement(MAC, "fd00:1::250"), MAC, ["fd00:1::250"]),
    (advertisement(MAC, "fd00:1::250", flags=0xA0, option=False), MAC, ["fd00:1::250"]),
    (advertisement(MAC, LINK_LOCAL, about="fd00:1::250"), MAC, ["fd00:1::250"]),
    (advertisement(MAC, "fd00:1::250", more=NONCE + bytes((12, 2)) + bytes(14)), MAC, ["fd00:1::250"]),
    (advertisement(MAC, "fd00:1::250", option=False, more=NONCE), MAC, ["fd00:1::250"]),
    (vrrp(VMAC, "10.1.0.251", "10.1.0.250", router=7), VMAC, ["10.1.0.250"]),
    (vrrp(VMAC, "10.1.0.251", "10.1.0.250", router=7) + bytes(14), VMAC, ["10.1.0.250"]),
    (vrrp(MAC, "10.1.0.251", "10.1.0.250", "10.1.0.249", router=9), MAC, ["10.1.0.250", "10.1.0.249"]),
    (vrrp(MAC, "10.1.0.251", "10.1.0.250", version=2), MAC, ["10.1.0.250"]),
    (vrrp(MAC, "10.1.0.251", "10.1.0.250", pseudo=False), MAC, ["10.1.0.250"]),
    (vrrp(MAC, "10.1.0.251", "10.1.0.250", priority=255), MAC, ["10.1.0.250"]),
    (vrrp(MAC, "10.1.0.251", "10.1.0.250", priority=0), MAC, []),
    (vrrp(VMAC6, LINK_LOCAL, LINK_LOCAL, "fd00:1::250", router=7), VMAC6, [LINK_LOCAL, "fd00:1::250"]),
]


def parsed(frame: bytes, length: int | None = None) -> Announced | None:
    return parse_announcement(frame, len(frame) if length is None else length)


@pytest.mark.parametrize(("frame", "mac", "ips"), GOOD)
def test_what_is_announced(frame, mac, ips):
    assert parsed(frame) == Announced(mac, tuple(ip(one) for one in ips))


BAD = {
    "to one host": b"\x02" + gratuitous_arp(MAC, "10.1.0.250")[1:],
    "from a group": gratuitous_arp(MAC, "10.1.0.250")[:6] + b"\x03" + gratuitous_arp(MAC, "10.1.0.250")[7:],
    "another's MAC address": gratuitous_arp(MAC, "10.1.0.250").replace(b"\x02\xaa", b"\x02\xab", 1),
    "a question": gratuitous_arp(MAC, "10.1.0.250", target="10.1.0.1"),
    "a probe": gratuitous_arp(MAC, "0.0.0.0", target="10.1.0.250"),  # noqa: S104
    "another operation": gratuitous_arp(MAC, "10.1.0.250", 3),
    "an answer": advertisement(MAC, "fd00:1::250", flags=0x60),
    "to one address": advertisement(MAC, "fd00:1::250", target=IPv6Address("fd00:1::1")),
    "of another system among options": advertisement(MAC, "fd00:1::250", more=NONCE + b"\x02\x01" + bytes(6)),
    "with a source's option": advertisement(MAC, "fd00:1::250", more=b"\x01\x01" + MAC.to_bytes(6, "big")),
    "with an option of no length": advertisement(MAC, "fd00:1::250", more=bytes(8)),
    "with an option that goes on": advertisement(MAC, "fd00:1::250", more=b"\x0e\x02" + bytes(6)),
    "with half an option": advertisement(MAC, "fd00:1::250", more=b"\x0e"),
    "another router's MAC address": vrrp(VMAC, "10.1.0.251", "10.1.0.250", router=8),
    "a MAC address for IPv6": vrrp(VMAC6, "10.1.0.251", "10.1.0.250", router=7),
    "a MAC address for IPv4": vrrp(VMAC, LINK_LOCAL, LINK_LOCAL, router=7),
    "routed": vrrp(MAC, "10.1.0.251", "10.1.0.250", ttl=254),
    "no router": vrrp(MAC, "10.1.0.251", "10.1.0.250", router=0),
    "no address": vrrp(MAC, "10.1.0.251"),
    "version 4": vrrp(MAC, "10.1.0.251", "10.1.0.250", version=4),
    "version 2 of IPv6": vrrp(MAC, LINK_LOCAL, LINK_LOCAL, version=2),
    "nothing": b"",
    "less than a header": gratuitous_arp(MAC, "10.1.0.250")[:13],
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD)
def test_what_is_nothing(frame):
    assert parsed(frame) is None


@pytest.mark.parametrize(("frame", "mac", "ips"), GOOD)
def test_each_bit_that_is_wrong_leaves_nothing_else_in_it(frame, mac, ips):
    """A checksum, or a check of its own, is over all that is read: no single bit makes it announce something else.
    Whose MAC address it is, the source guard has checked."""
    said = parsed(frame)
    for bit in range(8 * len(frame)):
        at = bit // 8
        changed = frame[:at] + bytes((frame[at] ^ 1 << bit % 8,)) + frame[at + 1 :]
        found = parsed(changed)
        assert found is None or found.ips == said.ips


@pytest.mark.parametrize(("frame", "mac", "ips"), GOOD)
def test_every_length(frame, mac, ips):
    for length in range(len(frame)):
        found = parsed(frame[:length])
        assert found is None or found == parsed(frame)  # without its padding
        assert parsed(frame, length) is None  # longer than it was


def test_one_that_was_cut():
    """Of many addresses the first ones count: each of a set stands for all of it."""
    many = [f"fd00:1::{number:x}" for number in range(1, 9)]
    whole = vrrp(VMAC6, LINK_LOCAL, LINK_LOCAL, *many, router=7)
    assert parsed(whole[:CUT], len(whole)) == Announced(VMAC6, tuple(ip(one) for one in (LINK_LOCAL, *many[:3])))
    many = [f"10.1.0.{number}" for number in range(1, 31)]
    whole = vrrp(VMAC, "10.1.0.251", *many, router=7)
    assert parsed(whole[:CUT], len(whole)) == Announced(VMAC, tuple(ip(one) for one in many[:21]))
    assert parsed(whole[:46], len(whole)) == Announced(VMAC, (ip(many[0]),))
    assert parsed(whole[:45], len(whole)) is None
    assert parsed(whole[:40], len(whole)) is None


def test_noise():
    """Whatever comes, an answer."""
    chooser = random.Random(14)
    for _ in range(5000):
        frame, _, _ = chooser.choice(GOOD)
        for _ in range(chooser.randint(1, 4)):
            at = chooser.randrange(len(frame))
            frame = frame[:at] + chooser.randbytes(1) + frame[at + 1 :]
        frame = frame[: chooser.randint(0, len(frame))]
        parsed(frame, len(frame) + chooser.choice((0, 0, 1, 1400)))
