# SPDX-License-Identifier: Apache-2.0
"""Insiders (section 4.2): the owner of leaf3, an NVE that serves only the tenant blue, with its switch's keys."""

from __future__ import annotations

import os
from dataclasses import replace

from nvo3ref import tenant_frames as frames

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import STRANGERS, World

_PACKETS = 40
_INSIDER = "leaf3"


async def cross_vn(world: World) -> Shot:
    """Correctly keyed, correctly numbered packets for a VN that the sender does not serve (requirement 14)."""
    sent = 0
    for leaf, victim, source in (("leaf1", "red1", "red2"), ("leaf2", "red2", "red1")):
        stolen = await world.steal(_INSIDER, leaf)
        inner = [world.marked_frame(source, world.host(victim), number) for number in range(_PACKETS)]
        packets = await world.forge(stolen, world.vni("red"), inner)
        sent += await world.into_underlay(leaf, packets)
    return Shot(sent, sent, note="keys of leaf3, read out of its switch")


async def control(world: World) -> Shot:
    """The same packets for the VN that leaf3 does serve: they must arrive, or the other attacks prove nothing."""
    stolen = await world.steal(_INSIDER, "leaf1")
    sender, victim = world.host("blue3"), world.host("blue1")
    packets = await world.forge(stolen, world.vni("blue"), [world.bait_frame(sender, victim)] * 5)
    sent = await world.into_underlay("leaf1", packets)
    return Shot(sent, 0, bait=sent, note="what leaf3 may send arrives: key, format and numbers are right")


async def impersonate(world: World) -> Shot:
    """With its own keys in the name of others: of leaf2, of an NVE that does not exist, and towards a third one.

    Its own tunnels are over IPv4; what it sends in the name of others is of either family.
    """
    stolen = await world.steal(_INSIDER, "leaf1")
    real, packets = [], []
    for source, destination in (("red2", "red1"), ("blue2", "blue1")):
        real.append(await world.catch_one(source, destination))
        for number in range(_PACKETS):
            inner = world.marked_frame(source, world.host(destination), number)
            # Under leaf2's SPI of either level, as seen on the wire, and with the only key there is.
            packets.append(world.guess(real[-1], inner, number).sealed(stolen.key))
    inside = [world.marked_frame("blue2", world.host("blue1"), number) for number in range(_PACKETS)]
    leaf2 = world.leaf("leaf2")
    others, own = leaf2.ends_with(world.leaf("leaf1"))
    for packet in await world.forge(stolen, world.vni("blue"), inside):
        packets.append(replace(packet, source=leaf2.address))
        packets.append(replace(packet, source=others, destination=own))
        packets.append(replace(packet, source=STRANGERS["IPv4"]))
        packets.append(replace(packet, source=STRANGERS["IPv6"], destination=own))
    sent = await world.into_underlay("leaf1", packets)
    other = [
        replace(packet, destination=leaf2.address, destination_mac=leaf2.mac)
        for packet in await world.forge(stolen, world.vni("blue"), inside)
    ]
    sent += await world.into_underlay("leaf2", other)
    await world.into_underlay("leaf1", real)
    return Shot(sent, sent, bait=len(real))


async def inner_tag(world: World) -> Shot:
    """Correctly keyed packets whose inner frame has a VLAN tag, to come out on a trunk in another tenant's VLAN."""
    stolen = await world.steal(_INSIDER, "leaf2")
    plain = world.marked_frame("blue3", world.host("blue2"))
    inner = [
        frames.tagged(plain, 10),
        frames.tagged(plain, 20),
        frames.tagged(plain, 0),
        frames.tagged(plain, 10, frames.ETHERTYPE_STAG),
        frames.tagged(frames.tagged(plain, 10), 20),
    ]
    packets = await world.forge(stolen, world.vni("blue"), inner * 8)
    sent = await world.into_underlay("leaf2", packets)
    return Shot(sent, sent)


async def relay(world: World) -> Shot:
    """Packets for tenant systems behind another NVE, and for nobody: an NVE relays nothing from tunnel to tunnel."""
    stolen = await world.steal(_INSIDER, "leaf1")
    behind_other = [world.marked_frame("blue3", world.host("blue2"), number) for number in range(_PACKETS)]
    nobody = world.marked_frame("blue3", world.host("blue1"))
    unknown = [b"\x02\x00\x66" + os.urandom(3) + nobody[6:] for _ in range(_PACKETS)]
    packets = await world.forge(stolen, world.vni("blue"), behind_other + unknown)
    sent = await world.into_underlay("leaf1", packets)
    return Shot(sent, sent)


ATTACKS = (
    Attack("insider-control", "insider", "what the insider may send", frozenset(), control),
    Attack(
        "cross-vn",
        "insider",
        "correctly keyed, for a VN that leaf3 does not serve",
        frozenset({"VN_UNAUTHORIZED"}),
        cross_vn,
    ),
    Attack(
        "impersonate",
        "insider",
        "its own keys in the name of others",
        frozenset({"BAD_ICV", "NO_SA", "UNAUTHORIZED_NVE"}),
        impersonate,
    ),
    Attack("inner-tag", "insider", "correctly keyed, with a VLAN tag inside", frozenset({"INNER_VLAN"}), inner_tag),
    Attack(
        "relay",
        "insider",
        "correctly keyed, for systems elsewhere",
        frozenset({"TUNNEL_TO_TUNNEL", "UNKNOWN_DESTINATION"}),
        relay,
    ),
)
