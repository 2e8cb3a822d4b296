# SPDX-License-Identifier: Apache-2.0
"""Outsiders (section 4.1): they see, keep back and send packets on the underlay, and have no key."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps

from nvo3ref import protection
from nvo3ref import tenant_frames as frames

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World

_FORGED = 100
_REPLAYED = 40
_COPIES = 5
_FLOOD_SECONDS = 1.5
_STRANGER = "192.0.2.99"
_IP = frames.ETHERNET_LENGTH
_UDP = _IP + frames.IPV4_LENGTH
_FREE_BYTES = {*range(6, 12), _IP + 1, _IP + 4, _IP + 5, _IP + 8, _IP + 10, _IP + 11, _UDP, _UDP + 1}
"""Bits that routers may change, or that nothing depends on: what flip leaves alone. Source MAC, DSCP and ECN,
identification, the flags "reserved" and "do not fragment", TTL, the header checksum (made right again), the UDP source
port."""
_FREE_BITS = {(_IP + 6, 7), (_IP + 6, 6)}


def _with_right_checksum(frame: bytes) -> bytes:
    head = bytearray(frame[_IP:_UDP])
    head[10:12] = b"\x00\x00"
    head[10:12] = struct.pack("!H", frames.checksum(bytes(head)))
    return frame[:_IP] + bytes(head) + frame[_UDP:]


_PAIRS = (("red1", "red2"), ("blue1", "blue2"))
"""Who is attacked: packets from leaf1 to leaf2, in a VN of each level."""


def _at_each_level(play: Callable[[World, str, str], Awaitable[Shot]]) -> Callable[[World], Awaitable[Shot]]:
    """The same attack on real packets of each level, one after the other."""

    @wraps(play)
    async def launch(world: World) -> Shot:
        shots = [await play(world, source, destination) for source, destination in _PAIRS]
        return Shot(
            sum(shot.sent for shot in shots),
            sum(shot.drops for shot in shots),
            bait=sum(shot.bait for shot in shots),
            note="; ".join(dict.fromkeys(shot.note for shot in shots)),
            faults=tuple(fault for shot in shots for fault in shot.faults),
        )

    return launch


async def plain(world: World) -> Shot:
    """Everything but a protected packet: ARP, IPv6, ICMP, VXLAN, Geneve without the option, garbage."""
    leaf, other, victim = world.leaf("leaf2"), world.leaf("leaf1"), world.host("red2")
    inner = world.marked_frame("red1", victim)
    vni = world.vni("red")

    def ipv4(protocol: int, payload: bytes) -> bytes:
        return frames.ethernet(
            leaf.mac, other.mac, frames.ETHERTYPE_IPV4, frames.ipv4(other.address, leaf.address, protocol, payload)
        )

    def udp(port: int, payload: bytes) -> bytes:
        return ipv4(frames.PROTOCOL_UDP, struct.pack("!HHHH", 49152, port, 8 + len(payload), 0) + payload)

    request = frames.arp(frames.ARP_REQUEST, other.mac, other.address, "00:00:00:00:00:00", leaf.address)
    packets = [
        frames.ethernet(leaf.mac, other.mac, frames.ETHERTYPE_ARP, request + bytes(80)),
        frames.ethernet(leaf.mac, other.mac, 0x86DD, bytes(120)),
        frames.ethernet(leaf.mac, other.mac, 0x88B5, inner),
        ipv4(frames.PROTOCOL_ICMP, frames.icmp_echo(frames.ICMP_ECHO_REQUEST, 1, 1, inner)),
        ipv4(frames.PROTOCOL_TCP, inner),
        udp(4789, struct.pack("!II", 0x08000000, vni << 8) + inner),  # VXLAN (RFC 7348)
        udp(protection.UDP_PORT_GENEVE, struct.pack("!HHI", 0, protection.PROTOCOL_ETHERNET, vni << 8) + inner),
        udp(protection.UDP_PORT_GENEVE, os.urandom(len(inner))),
    ]
    packets[-1] = packets[-1][: _UDP + 8] + b"\x3f" + packets[-1][_UDP + 9 :]  # never OptLen 9 by chance
    sent = await world.into_underlay("leaf2", packets, repeat=10)
    return Shot(sent, sent)


@_at_each_level
async def forge(world: World, source: str, destination: str) -> Shot:
    """Packets in the right format with a guessed ICV: under a real SPI, under an invented one, from an invented NVE."""
    real = await world.catch_one(source, destination)
    victim = world.host(destination)
    packets = []
    for number in range(_FORGED):
        inner = world.marked_frame(source, victim, number)
        guess = world.guess(real, inner, number)
        packets += [
            guess,
            replace(guess, spi=(real.spi & 0x80000000) | (os.urandom(1)[0] + 1)),
            replace(guess, source=_STRANGER),
        ]
    sent = await world.into_underlay("leaf2", packets)
    await world.into_underlay("leaf2", [real])
    return Shot(sent, sent, bait=1, note="the real packet, sent last, arrived")


@_at_each_level
async def flip(world: World, source: str, destination: str) -> Shot:
    """Every single bit of a real packet, one at a time; then the packet itself, which must still be good."""
    real = (await world.catch_one(source, destination)).build()
    packets = []
    for byte in range(len(real)):
        if byte in _FREE_BYTES:
            continue
        for bit in range(8):
            if (byte, bit) in _FREE_BITS:
                continue
            flipped = real[:byte] + bytes([real[byte] ^ (1 << bit)]) + real[byte + 1 :]
            packets.append(_with_right_checksum(flipped) if _IP <= byte < _UDP else flipped)
    sent = await world.into_underlay("leaf2", packets)
    await world.into_underlay("leaf2", [real])
    return Shot(sent, sent, bait=1, note="each bit; the unchanged packet, sent last, arrived")


@_at_each_level
async def replay(world: World, source: str, destination: str) -> Shot:
    """Real packets again: such that have arrived, and such that the attacker let arrive late."""
    passed = await world.catch(source, destination, _REPLAYED, withhold=False)
    late = await world.catch(source, destination, _REPLAYED, withhold=True)
    await world.into_underlay("leaf2", late)
    sent = await world.into_underlay("leaf2", passed + late, repeat=_COPIES)
    return Shot(sent, sent, bait=2 * _REPLAYED, note="all originals arrived once each")


@_at_each_level
async def resource(world: World, source: str, destination: str) -> Shot:
    """Real packets under another source address: another NVE, the receiver itself, a stranger."""
    real = await world.catch_packets(source, destination, 10)
    sources = (world.leaf("leaf3").address, world.leaf("leaf2").address, _STRANGER)
    changed = [replace(packet, source=address) for packet in real for address in sources]
    sent = await world.into_underlay("leaf2", changed)
    await world.into_underlay("leaf2", real)
    return Shot(sent, sent, bait=len(real))


@_at_each_level
async def redirect(world: World, source: str, destination: str) -> Shot:
    """Real packets to another NVE: with its address, and just onto its link."""
    real = await world.catch_packets(source, destination, 10)
    sent = 0
    for name in ("leaf1", "leaf3"):
        leaf = world.leaf(name)
        readdressed = [replace(packet, destination=leaf.address, destination_mac=leaf.mac) for packet in real]
        misrouted = [replace(packet, destination_mac=leaf.mac) for packet in real]
        sent += await world.into_underlay(name, readdressed + misrouted)
    await world.into_underlay("leaf2", real)
    return Shot(sent, sent, bait=len(real))


@_at_each_level
async def append(world: World, source: str, destination: str) -> Shot:
    """Bytes behind a real packet: within its lengths, within lengths and coverage, and behind the end of IPv4.

    The last one may pass, without the bytes: what follows the IPv4 length is no part of the packet.
    """
    real = await world.catch_one(source, destination)
    packets = []
    for extra in (1, 2, 4, 8, 15, 16, 17, 64):
        longer = replace(real, inner=real.inner + (world.marker * 4)[:extra])
        packets += [replace(longer, coverage=len(real.inner)), longer]
    sent = await world.into_underlay("leaf2", packets)
    trailing = await world.into_underlay("leaf2", [real.build() + world.marker + bytes(48)])
    return Shot(sent + trailing, sent, bait=1, note="bytes behind the IPv4 packet were cut off")


async def reflect(world: World) -> Shot:
    """A flood that claims to come from another NVE, under its real SPI and under an invented one.

    It must not reach the tenants, not take that NVE's share, and bring the victim nothing: no answer goes anywhere.
    """
    real = await world.catch_one("red1", "red2")
    inner = world.marked_frame("red1", world.host("red2"))
    packets = []
    for number in range(256):
        guess = world.guess(real, inner, number)
        packets += [guess, replace(guess, spi=(real.spi & 0x80000000) | (number + 1))]
    repeat = max(1, int(_FLOOD_SECONDS * world.flood_rate / len(packets)))
    before = await world.uninvited_from("leaf2")
    sent = await world.into_underlay("leaf2", packets, rate=world.flood_rate, repeat=repeat)
    after = await world.uninvited_from("leaf2")
    faults = () if after == before else (f"leaf2 sent {after - before} packets that no host had asked for",)
    await world.into_underlay("leaf2", [real])
    return Shot(sent, sent, bait=1, note=f"{world.flood_rate:.0f} packets/s; nothing was sent in answer", faults=faults)


ATTACKS = (
    Attack(
        "plain",
        "outsider",
        "frames without protection on the underlay",
        frozenset({"UNDERLAY_CONTROL", "IPV6_HEADER", "GENEVE_OPTIONS_LENGTH"}),
        plain,
    ),
    Attack(
        "forge",
        "outsider",
        "well-formed packets without the key",
        frozenset({"BAD_ICV", "NO_SA", "UNAUTHORIZED_NVE"}),
        forge,
    ),
    Attack(
        "flip",
        "outsider",
        "every single bit of a real packet",
        frozenset(
            {
                "UNDERLAY_MAC",
                "UNDERLAY_CONTROL",
                "IPV4_OPTIONS",
                "IPV4_FRAGMENT",
                "UDP_LENGTH_MISMATCH",
                "UDP_CHECKSUM_PRESENT",
                "GENEVE_OPTIONS_LENGTH",
                "GENEVE_VERSION",
                "GENEVE_CONTROL",
                "GENEVE_NOT_CRITICAL",
                "GENEVE_PROTOCOL",
                "OPTION_UNKNOWN",
                "OPTION_FLAGS",
                "UNAUTHORIZED_NVE",
                "NO_SA",
                "SUITE_MISMATCH",
                "COVERAGE",
                "REPLAYED",
                "REPLAY_TOO_LATE",
                "BAD_ICV",
            }
        ),
        flip,
    ),
    Attack("replay", "outsider", "real packets a second time", frozenset({"REPLAYED", "REPLAY_TOO_LATE"}), replay),
    Attack(
        "re-source",
        "outsider",
        "real packets under another source address",
        frozenset({"NO_SA", "UNAUTHORIZED_NVE"}),
        resource,
    ),
    Attack("redirect", "outsider", "real packets to another NVE", frozenset({"NO_SA", "UNAUTHORIZED_NVE"}), redirect),
    Attack("append", "outsider", "bytes added to a real packet", frozenset({"COVERAGE", "BAD_ICV"}), append),
    Attack("reflect", "outsider", "a flood in the name of another NVE", frozenset({"BAD_ICV", "NO_SA"}), reflect),
)
