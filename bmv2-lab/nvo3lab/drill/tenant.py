# SPDX-License-Identifier: Apache-2.0
"""Malicious tenant systems (section 4.3): they send what they like into their own port."""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any

from nvo3ref import tenant_frames as frames

from nvo3lab import domain_file
from nvo3lab.drill.careless_host import PORT
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World

_COPIES = 20
_FLOOD_SECONDS = 1.5
_SLOW_MACHINE_SECONDS = 1.0
"""Frames of a flood beyond which the agent's share ends: the meter's burst, its rate while the flood lasts, and what
one more second of a slow machine adds."""


async def vlan_hop(world: World) -> Shot:
    """Tags of another tenant's VLAN, double ones, service tags, from an untagged and from a tagged VAP."""
    blue, red = world.host("blue2"), world.host("red2")
    to_blue, to_red = world.marked_frame("red3", blue), world.marked_frame("red3", red)
    outside = frames.tagged(world.marked_frame("red1", blue), 20)
    from_untagged = [
        outside,
        frames.tagged(world.marked_frame("red1", blue), 10),
        frames.tagged(outside, 0),
        frames.tagged(outside, 20),
        frames.tagged(outside, 20, frames.ETHERTYPE_STAG),
        frames.tagged(world.marked_frame("red1", red), 4095),
    ]
    # Behind the trunk each of these gets the tag of its own VLAN (10) in front.
    from_tagged = [
        frames.tagged(to_blue, 20),
        frames.tagged(to_red, 0),
        frames.tagged(to_red, 10),
        frames.tagged(to_blue, 20, frames.ETHERTYPE_STAG),
    ]
    sent = await world.from_host("red1", from_untagged * _COPIES)
    sent += await world.from_host("red3", from_tagged * _COPIES)
    return Shot(sent, sent)


async def spoof(world: World) -> Shot:
    """Another's MAC, another's IP, both, ARP lies in every form, group addresses as source; caches must stay right."""
    own, other, victim = world.host("red1"), world.host("red3"), world.host("red2")
    as_other = frames.silent(other.ip, victim.ip, world.marker)
    as_own = frames.silent(own.ip, victim.ip, world.marker)

    def arp(source: str, sender_mac: str, sender_ip: str, operation: int, target: str = frames.BROADCAST) -> bytes:
        lie = frames.arp(operation, sender_mac, sender_ip, victim.mac, victim.ip)
        return frames.ethernet(target, source, frames.ETHERTYPE_ARP, lie + world.marker)

    packets = [
        frames.ethernet(victim.mac, other.mac, frames.ETHERTYPE_IPV4, as_other),
        frames.ethernet(victim.mac, own.mac, frames.ETHERTYPE_IPV4, as_other),
        frames.ethernet(victim.mac, other.mac, frames.ETHERTYPE_IPV4, as_own),
        frames.ethernet(frames.BROADCAST, own.mac, frames.ETHERTYPE_IPV4, as_other),
        frames.ethernet(victim.mac, "03:00:00:00:01:01", frames.ETHERTYPE_IPV4, as_own),
        frames.ethernet(victim.mac, own.mac, frames.ETHERTYPE_EXPERIMENTAL, world.marker + bytes(40)),
        arp(own.mac, own.mac, other.ip, frames.ARP_REPLY, victim.mac),
        arp(own.mac, own.mac, other.ip, frames.ARP_REPLY),
        arp(own.mac, own.mac, other.ip, frames.ARP_REQUEST),
        arp(other.mac, other.mac, other.ip, frames.ARP_REPLY, victim.mac),
        arp(own.mac, other.mac, other.ip, frames.ARP_REPLY, victim.mac),
        arp(own.mac, other.mac, own.ip, frames.ARP_REQUEST),
        frames.ethernet(frames.BROADCAST, own.mac, frames.ETHERTYPE_ARP, b"\x00\x01\x86\xdd" + bytes(40)),
    ]
    sent = await world.from_host("red1", packets * _COPIES)
    believed = await world.view.hosts["red2"].call("resolve", ip=other.ip)
    faults = () if believed == other.mac else (f"red2 believes that {other.ip} is at {believed}",)
    return Shot(sent, sent, note=f"red2 still finds {other.name} at its own address", faults=faults)


async def host_stack(world: World) -> Shot:
    """At the machine of its own NVE: who are you, serve me, forward this; and that machine sends by itself.

    That the kernel would do all of it is for the switch's own tests to show, on an interface that is shared with it.
    """
    host = world.view.careless
    if host is None:
        why = "its ports are sockets" if world.view.target == "embedded" else "BMv2 leaves that to its operator"
        return Shot(0, 0, note=f"not played: {why}")
    own = world.host("red1")
    address, beyond, router = "10.0.0.254", "198.51.100.9", world.leaf("leaf2").mac
    before = await world.uninvited_from("leaf1")
    place: dict[str, Any] = {"address": address, "prefix_length": 24, "beyond": beyond}
    world.owes("the machine of leaf1 is exposed", lambda: host.call("withdraw", **place))
    mac = await host.call("expose", **place, router=router, marker=world.marker.hex())
    question = frames.arp(frames.ARP_REQUEST, own.mac, own.ip, "00:00:00:00:00:00", address)
    datagram = struct.pack(">HHHH", PORT, PORT, 8 + len(world.marker), 0) + world.marker
    serve = frames.ipv4(own.ip, address, socket.IPPROTO_UDP, datagram)
    forward = frames.ipv4(own.ip, beyond, socket.IPPROTO_UDP, datagram)
    packets = [
        frames.ethernet(frames.BROADCAST, own.mac, frames.ETHERTYPE_ARP, question),
        frames.ethernet(mac, own.mac, frames.ETHERTYPE_IPV4, serve),
        frames.ethernet(mac, own.mac, frames.ETHERTYPE_IPV4, forward),
    ]
    sent = await world.from_host("red1", packets * _COPIES)
    sent += await host.call("speak", address=own.ip, mac=own.mac, count=_COPIES)
    await world.reach("red1", "red2")  # what was sent before has had its time
    heard, left = await host.call("heard"), await world.uninvited_from("leaf1") - before
    await host.call("withdraw", **place)
    world.settled("the machine of leaf1 is exposed")
    faults = [
        *([f"the machine of leaf1 served {heard} datagrams of a tenant's"] if heard else []),
        *([f"{left} packets went from leaf1 into the underlay"] if left else []),
    ]
    return Shot(sent, 0, note="the machine of leaf1 heard, forwarded and sent nothing", faults=tuple(faults))


async def unknown_flood(world: World) -> Shot:
    """Frames to ever new destinations that nobody has: they cost the agent no more than this VAP's share of it."""
    own = world.host("red1")
    body = frames.silent(own.ip, "10.0.0.200", world.marker)
    count = int(_FLOOD_SECONDS * world.flood_rate)
    packets = [b"\x02\x00\x77" + os.urandom(3) + frames.mac_bytes(own.mac) + b"\x08\x00" + body for _ in range(count)]
    return await _punted(world, "red1", packets)


async def arp_flood(world: World) -> Shot:
    """ARP requests for ever new addresses that nobody has."""
    own = world.host("red1")
    count = int(_FLOOD_SECONDS * world.flood_rate)
    nobody = "00:00:00:00:00:00"
    packets = [
        frames.ethernet(
            frames.BROADCAST,
            own.mac,
            frames.ETHERTYPE_ARP,
            frames.arp(
                frames.ARP_REQUEST,
                own.mac,
                own.ip,
                nobody,
                f"10.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}",
            )
            + world.marker,
        )
        for number in range(1 << 16, (1 << 16) + count)
    ]
    return await _punted(world, "red1", packets)


async def _punted(world: World, host: str, packets: list[bytes]) -> Shot:
    """Send, and say how many may at most have reached the agent; every other one must have been dropped."""
    start = time.monotonic()
    sent = await world.from_host(host, packets, rate=world.flood_rate)
    seconds = time.monotonic() - start + _SLOW_MACHINE_SECONDS
    share = int(domain_file.PUNT["burst"] + domain_file.PUNT["rate"] * seconds)
    rate = sent / (seconds - _SLOW_MACHINE_SECONDS)
    return Shot(sent, max(sent - share, 0), note=f"{rate:.0f} packets/s; the agent's share is {share}")


ATTACKS = (
    Attack("vlan-hop", "tenant", "tags of others, and two of them", frozenset({"VAP_UNKNOWN", "SECOND_TAG"}), vlan_hop),
    Attack(
        "spoof",
        "tenant",
        "another's MAC, IP, ARP",
        frozenset({"SOURCE_GUARD", "MALFORMED_ARP", "SOURCE_ADDRESS"}),
        spoof,
    ),
    Attack(
        "host-stack",
        "tenant",
        "the machine of the NVE itself: its addresses, services, forwarding",
        frozenset({"PUNT_RATE"}),
        host_stack,
    ),
    Attack("unknown-flood", "tenant", "a flood to unknown destinations", frozenset({"PUNT_RATE"}), unknown_flood),
    Attack("arp-flood", "tenant", "a flood of ARP for unknown addresses", frozenset({"PUNT_RATE"}), arp_flood),
)
