# SPDX-License-Identifier: Apache-2.0
"""Outsiders (section 4.1): they see, keep back and send packets on the underlay, and have no key."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import wraps
from ipaddress import IPv6Address

from nvo3ref import protection
from nvo3ref import tenant_frames as frames
from nvo3ref.protection import Protected

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import STRANGERS, World
from nvo3lab.wires.observer import family_of

_FORGED = 100
_REPLAYED = 40
_COPIES = 5
_FLOOD_SECONDS = 1.5
_IP = frames.ETHERNET_LENGTH
_UDP = _IP + frames.IPV4_LENGTH
_UDP_IPV6 = _IP + protection.IPV6_LENGTH
_FREE = {*range(6, 12)}
_FREE_IPV4 = {_IP + 1, _IP + 4, _IP + 5, _IP + 8, _IP + 10, _IP + 11, _UDP, _UDP + 1}
_FREE_BITS_IPV4 = {(_IP + 6, 7), (_IP + 6, 6)}
_FREE_IPV6 = {_IP + 1, _IP + 2, _IP + 3, _IP + 7, _UDP_IPV6, _UDP_IPV6 + 1}
_FREE_BITS_IPV6 = {(_IP, bit) for bit in range(4)}
"""Bits that routers may change, or that nothing depends on: what flip leaves alone. Source MAC, DSCP and ECN,
identification, the flags "reserved" and "do not fragment", TTL, the header checksum (made right again), the UDP source
port; over IPv6 traffic class, flow label, hop limit, and the UDP source port."""


def _with_right_checksum(frame: bytes) -> bytes:
    """Over IPv4 of the header, over IPv6 of the UDP datagram: what is changed on purpose is not found by that."""
    if _is_ipv6(frame):
        value = protection.ipv6_udp_checksum(frame[_IP + 8 : _IP + 24], frame[_IP + 24 : _UDP_IPV6], frame[_UDP_IPV6:])
        return frame[: _UDP_IPV6 + 6] + struct.pack("!H", value) + frame[_UDP_IPV6 + 8 :]
    head = bytearray(frame[_IP:_UDP])
    head[10:12] = b"\x00\x00"
    head[10:12] = struct.pack("!H", frames.checksum(bytes(head)))
    return frame[:_IP] + bytes(head) + frame[_UDP:]


def _is_ipv6(frame: bytes) -> bool:
    return int.from_bytes(frame[12:14]) == protection.ETHERTYPE_IPV6


def _stranger(packet: Protected) -> str:
    return STRANGERS[family_of(packet)]


_PAIRS = (("red1", "red2"), ("blue1", "blue2"), ("blue3", "blue1"))
"""Who is attacked: packets from leaf1 to leaf2 over IPv6, in a VN of each level, and from leaf3 to leaf1 over IPv4."""
_PAIRS_IPV6 = _PAIRS[:2]


def _one_after_the_other(play: Callable[[World, str, str], Awaitable[Shot]]) -> Callable[[World], Awaitable[Shot]]:
    """The same attack on real packets of each level, over each family."""

    @wraps(play)
    async def launch(world: World) -> Shot:
        return await _on(_PAIRS, world, play)

    return launch


async def _on(
    pairs: Sequence[tuple[str, str]], world: World, play: Callable[[World, str, str], Awaitable[Shot]]
) -> Shot:
    shots = [await play(world, source, destination) for source, destination in pairs]
    return Shot(
        sum(shot.sent for shot in shots),
        sum(shot.drops for shot in shots),
        bait=sum(shot.bait for shot in shots),
        note="; ".join(dict.fromkeys(shot.note for shot in shots)),
        faults=tuple(fault for shot in shots for fault in shot.faults),
    )


async def plain(world: World) -> Shot:
    """Everything but a protected packet, over both families: ARP, ICMP, VXLAN, Geneve without the option, garbage."""
    leaf, other, victim = world.leaf("leaf2"), world.leaf("leaf1"), world.host("red2")
    inner = world.marked_frame("red1", victim)
    vni = world.vni("red")

    def ipv4(protocol: int, payload: bytes) -> bytes:
        return frames.ethernet(
            leaf.mac, other.mac, frames.ETHERTYPE_IPV4, frames.ipv4(other.address, leaf.address, protocol, payload)
        )

    def udp(port: int, payload: bytes) -> bytes:
        return ipv4(frames.PROTOCOL_UDP, struct.pack("!HHHH", 49152, port, 8 + len(payload), 0) + payload)

    own, others = leaf.ends_with(other)

    def ipv6(following: int, payload: bytes) -> bytes:
        ends = IPv6Address(others).packed + IPv6Address(own).packed
        head = struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + ends
        return frames.ethernet(leaf.mac, other.mac, protection.ETHERTYPE_IPV6, head + payload)

    def udp_ipv6(port: int, payload: bytes) -> bytes:
        datagram = struct.pack("!HHHH", 49152, port, 8 + len(payload), 0) + payload
        return _with_right_checksum(ipv6(frames.PROTOCOL_UDP, datagram))

    geneve = struct.pack("!HHI", 0, protection.PROTOCOL_ETHERNET, vni << 8) + inner
    request = frames.arp(frames.ARP_REQUEST, other.mac, other.address, "00:00:00:00:00:00", leaf.address)
    packets = [
        frames.ethernet(leaf.mac, other.mac, frames.ETHERTYPE_ARP, request + bytes(80)),
        frames.ethernet(leaf.mac, other.mac, protection.ETHERTYPE_IPV6, bytes(120)),
        ipv6(58, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + inner),  # ICMPv6 echo
        ipv6(frames.PROTOCOL_TCP, inner),
        udp_ipv6(4789, struct.pack("!II", 0x08000000, vni << 8) + inner),
        udp_ipv6(protection.UDP_PORT_GENEVE, geneve),
        frames.ethernet(leaf.mac, other.mac, 0x88B5, inner),
        ipv4(frames.PROTOCOL_ICMP, frames.icmp_echo(frames.ICMP_ECHO_REQUEST, 1, 1, inner)),
        ipv4(frames.PROTOCOL_TCP, inner),
        udp(4789, struct.pack("!II", 0x08000000, vni << 8) + inner),  # VXLAN (RFC 7348)
        udp(protection.UDP_PORT_GENEVE, geneve),
        udp(protection.UDP_PORT_GENEVE, os.urandom(len(inner))),
    ]
    packets[-1] = packets[-1][: _UDP + 8] + b"\x3f" + packets[-1][_UDP + 9 :]  # never OptLen 9 by chance
    sent = await world.into_underlay("leaf2", packets, repeat=10)
    return Shot(sent, sent)


@_one_after_the_other
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
            replace(guess, source=_stranger(guess)),
        ]
    receiver = world.at(destination).name
    sent = await world.into_underlay(receiver, packets)
    await world.into_underlay(receiver, [real])
    return Shot(sent, sent, bait=1, note="the real packet, sent last, arrived")


@_one_after_the_other
async def flip(world: World, source: str, destination: str) -> Shot:
    """Every single bit of a real packet, one at a time; then the packet itself, which must still be good."""
    real = (await world.catch_one(source, destination)).build()
    packets = []
    if _is_ipv6(real):
        free, free_bits = _FREE | _FREE_IPV6, _FREE_BITS_IPV6
        summed = {*range(_IP, len(real))} - {_UDP_IPV6 + 6, _UDP_IPV6 + 7}
    else:
        free, free_bits, summed = _FREE | _FREE_IPV4, _FREE_BITS_IPV4, {*range(_IP, _UDP)}
    for byte in range(len(real)):
        if byte in free:
            continue
        for bit in range(8):
            if (byte, bit) in free_bits:
                continue
            flipped = real[:byte] + bytes([real[byte] ^ (1 << bit)]) + real[byte + 1 :]
            packets.append(_with_right_checksum(flipped) if byte in summed else flipped)
    receiver = world.at(destination).name
    sent = await world.into_underlay(receiver, packets)
    await world.into_underlay(receiver, [real])
    return Shot(sent, sent, bait=1, note="each bit; the unchanged packet, sent last, arrived")


@_one_after_the_other
async def replay(world: World, source: str, destination: str) -> Shot:
    """Real packets again: such that have arrived, and such that the attacker let arrive late."""
    passed = await world.catch(source, destination, _REPLAYED, withhold=False)
    late = await world.catch(source, destination, _REPLAYED, withhold=True)
    receiver = world.at(destination).name
    await world.into_underlay(receiver, late)
    sent = await world.into_underlay(receiver, passed + late, repeat=_COPIES)
    return Shot(sent, sent, bait=2 * _REPLAYED, note="all originals arrived once each")


@_one_after_the_other
async def resource(world: World, source: str, destination: str) -> Shot:
    """Real packets under other addresses: another NVE's, the receiver's own, a stranger's, those of another tunnel."""
    real = await world.catch_packets(source, destination, 10)
    receiver, sender = world.at(destination), world.at(source)
    changed = []
    for packet in real:
        sources = {one for leaf in world.topology.leaves for one in leaf.addresses} - {packet.source}
        sources = {one for one in sources if (":" in one) == packet.is_ipv6} | {_stranger(packet)}
        ends = {(one, packet.destination) for one in sources}
        # What is right between two others, or between the same two in the other family.
        ends |= {other.ends_with(receiver) for other in world.topology.leaves if other not in (receiver, sender)}
        ends.add((sender.address, receiver.address))
        ends.discard((packet.source, packet.destination))
        changed += [replace(packet, source=one, destination=other) for one, other in sorted(ends)]
    sent = await world.into_underlay(receiver.name, changed)
    await world.into_underlay(receiver.name, real)
    return Shot(sent, sent, bait=len(real))


@_one_after_the_other
async def redirect(world: World, source: str, destination: str) -> Shot:
    """Real packets to another NVE: with its addresses, and just onto its link."""
    real = await world.catch_packets(source, destination, 10)
    sent, sender, receiver = 0, world.at(source), world.at(destination)
    for leaf in world.topology.leaves:
        if leaf != receiver:
            one, other = sender.ends_with(leaf)
            readdressed = [replace(packet, source=one, destination=other, destination_mac=leaf.mac) for packet in real]
            misrouted = [replace(packet, destination_mac=leaf.mac) for packet in real]
            sent += await world.into_underlay(leaf.name, readdressed + misrouted)
    await world.into_underlay(receiver.name, real)
    return Shot(sent, sent, bait=len(real))


@_one_after_the_other
async def append(world: World, source: str, destination: str) -> Shot:
    """Bytes behind a real packet: within its lengths, within lengths and coverage, and behind the end of IP.

    The last one may pass, without the bytes: what follows the length that IP says is no part of the packet.
    """
    real = await world.catch_one(source, destination)
    packets = []
    for extra in (1, 2, 4, 8, 15, 16, 17, 64):
        longer = replace(real, inner=real.inner + (world.marker * 4)[:extra])
        packets += [replace(longer, coverage=len(real.inner)), longer]
    receiver = world.at(destination).name
    sent = await world.into_underlay(receiver, packets)
    trailing = await world.into_underlay(receiver, [real.build() + world.marker + bytes(48)])
    return Shot(sent + trailing, sent, bait=1, note="bytes behind the IP packet were cut off")


async def ipv6_forms(world: World) -> Shot:
    """Real packets in each form that none over IPv6 has, with nothing else wrong; then the packets themselves."""
    return await _on(_PAIRS_IPV6, world, _ipv6_forms)


async def _ipv6_forms(world: World, source: str, destination: str) -> Shot:
    real = await world.catch_one(source, destination)
    frame, receiver = real.build(), world.at(destination)
    length = int.from_bytes(frame[_IP + 4 : _IP + 6])

    def behind(kind: int, header: bytes) -> bytes:
        """The same UDP datagram behind an extension header, which changes no checksum (RFC 8200 8.1)."""
        words = struct.pack("!HB", length + len(header), kind)
        return frame[: _IP + 4] + words + frame[_IP + 7 : _UDP_IPV6] + header + frame[_UDP_IPV6:]

    def summed(value: int) -> bytes:
        return frame[: _UDP_IPV6 + 6] + struct.pack("!H", value) + frame[_UDP_IPV6 + 8 :]

    padding = bytes((frames.PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0))
    right = int.from_bytes(frame[_UDP_IPV6 + 6 : _UDP_IPV6 + 8])
    one, other = world.at(source).address, receiver.address
    packets = [
        summed(0),
        summed(right ^ 1),
        *(behind(kind, padding) for kind in (0, 43, 60)),  # hop-by-hop options, routing, destination options
        *(behind(44, struct.pack("!BBHI", frames.PROTOCOL_UDP, 0, offset, 7)) for offset in (0, 1, 8)),  # fragments
        behind(51, struct.pack("!BBHII", frames.PROTOCOL_UDP, 1, 0, 1, 1)),  # authentication
        *(frame[:_IP] + bytes((version << 4,)) + frame[_IP + 1 :] for version in (0, 4, 5, 7)),
        replace(real, source=f"::ffff:{one}", destination=f"::ffff:{other}").build(),
        replace(real, source=one, destination=other).build(),
    ]
    sent = await world.into_underlay(receiver.name, packets, repeat=_COPIES)
    await world.into_underlay(receiver.name, [frame])
    return Shot(sent, sent, bait=1, note=f"{len(packets)} forms; the real packets, sent last, arrived")


@_one_after_the_other
async def reflect(world: World, source: str, destination: str) -> Shot:
    """A flood that claims to come from another NVE, under its real SPI and under an invented one.

    It must not reach the tenants, not take that NVE's share, and bring the victim nothing: no answer goes anywhere.
    """
    real, receiver = await world.catch_one(source, destination), world.at(destination).name
    inner = world.marked_frame(source, world.host(destination))
    packets = []
    for number in range(256):
        guess = world.guess(real, inner, number)
        packets += [guess, replace(guess, spi=(real.spi & 0x80000000) | (number + 1))]
    repeat = max(1, int(_FLOOD_SECONDS * world.flood_rate / len(packets)))
    before = await world.uninvited_from(receiver)
    sent = await world.into_underlay(receiver, packets, rate=world.flood_rate, repeat=repeat)
    after = await world.uninvited_from(receiver)
    faults = () if after == before else (f"{receiver} sent {after - before} packets that no host had asked for",)
    await world.into_underlay(receiver, [real])
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
                "IPV6_HEADER",
                "UDP_LENGTH_MISMATCH",
                "UDP_CHECKSUM",
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
        "real packets under other addresses",
        frozenset({"NO_SA", "UNAUTHORIZED_NVE"}),
        resource,
    ),
    Attack("redirect", "outsider", "real packets to another NVE", frozenset({"NO_SA", "UNAUTHORIZED_NVE"}), redirect),
    Attack("append", "outsider", "bytes added to a real packet", frozenset({"COVERAGE", "BAD_ICV"}), append),
    Attack(
        "ipv6-forms",
        "outsider",
        "real packets over IPv6 in forms that none has",
        frozenset({"UDP_CHECKSUM", "IPV6_EXTENSION", "IPV6_HEADER", "UNAUTHORIZED_NVE"}),
        ipv6_forms,
    ),
    Attack("reflect", "outsider", "a flood in the name of another NVE", frozenset({"BAD_ICV", "NO_SA"}), reflect),
)
