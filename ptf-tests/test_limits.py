# SPDX-License-Identifier: Apache-2.0
"""Sizes: as many entries as are promised and not one more, and the highest index of every register."""

from __future__ import annotations

from collections.abc import Callable

from harness.base import NveTest
from harness.p4runtime import WriteRefused
from harness.schema import Entry, entry, update
from harness.session import FOREVER
from harness.world import BLUE, KIND_TUNNEL, LOCAL, PAIRS, PEERS, A, B, C, D, derived, permit, vap
from nvo3ref.reasons import Reason
from nvo3ref.window import RING_SLOTS, SLOT_PACKETS

CHUNK = 2048

PROMISED = {
    "port_role": 512,
    "vap": 8192,
    "announcement": 16384,
    "source_guard": 65536,
    "target_guard": 65536,
    "neighbor": 131072,
    "neighbor_ipv6": 131072,
    "bridge": 131072,
    "flood": 32768,
    "punt_meter": 8192,
    "authorized_nve": 32768,
    "peer_meter": 32768,
    "peer_floor": 32768,
    "vn_ingress_authorization": 65536,
    "tunnel_route": 16384,
    "underlay_member": 65536,
    "tunnel": 16384,
    "adjacency": 4096,
    "outer_dscp": 256,
    "own_address": 1024,
    "underlay_punt_meter": 4096,
    "sa_rx": 65536,
    "sa_tx": 65536,
    "vap_egress": 8192,
    "vap_flood": 8192,
}


class PromisedSizes(NveTest):
    """The program declares what the documentation promises."""

    def runTest(self) -> None:
        schema = self.session.schema
        declared = {table: schema.table_size(table) for table in schema.tables() if not schema.is_keyless(table)}
        self.assertEqual(declared, PROMISED)


def ip(number: int) -> bytes:
    return number.to_bytes(4, "big")


class _Full(NveTest):
    recordable = False
    """What a table that is full says is not the same on both switches; see below."""

    def fill(self, table: str, make: Callable[[int], Entry]) -> None:
        """Up to the last entry; the next one is refused, and nothing that is there is harmed by it."""
        schema = self.session.schema
        there = sum(one.table == table for one in self._present.values()) + self.session.own_entries[table]
        free = schema.table_size(table) - there
        for start in range(0, free, CHUNK):
            self.insert(*(make(number) for number in range(start, min(free, start + CHUNK))))
        with self.assertRaises(WriteRefused) as refusal:
            self.session.write([update("INSERT", table_entry=schema.table_entry(make(free)))])
        # P4Runtime (9.1) says RESOURCE_EXHAUSTED; BMv2's library of it has UNKNOWN for what it does not translate.
        self.assertIn(refusal.exception.codes, (["RESOURCE_EXHAUSTED"], ["UNKNOWN"]))
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))
        frame = self.world.far1.frame_to(B)
        self.passes(256, self.world.peer1.packet(frame).encode(), (B.port, B.on_wire(frame)))
        # One out, one in.
        self.delete(make(0))
        self.insert(make(free))


class AuthorizedNveFull(_Full):
    """Peers."""

    def runTest(self) -> None:
        self.fill(
            "authorized_nve",
            lambda n: permit(ip(0x0A000000 + n), LOCAL, peer=n % PEERS, tag=derived(n)[:4]),
        )


class TunnelFull(_Full):
    """Tunnels."""

    def runTest(self) -> None:
        params = dict(self.world.peer1.tunnel().params)
        self.fill("tunnel", lambda n: entry("tunnel", {"port": 300, "interface": 0x8000 + n}, "encapsulate", **params))


class OuterDscpFull(_Full):
    """Ports of the underlay."""

    def runTest(self) -> None:
        self.fill("outer_dscp", lambda n: entry("outer_dscp", {"port": n}, "pipe_dscp", dscp=n & 63))


class VapFull(_Full):
    """Attachment points."""

    def runTest(self) -> None:
        self.fill(
            "vap",
            lambda n: vap(10 + n // 4096, n % 4096, interface=1 + n % 0x7E00, vni=n),
        )


class FloodMetersFull(_Full):
    """A meter for each attachment point's floods."""

    def runTest(self) -> None:
        self.fill("vap_flood", lambda n: entry("vap_flood", {"interface": 0x1000 + n}, "police_flood"))


class ReceivingAssociationsFull(_Full):
    """Keys for reception: four for every pair of the largest fabric."""

    def runTest(self) -> None:
        self.fill(
            "sa_rx",
            lambda n: entry(
                "sa_rx",
                {"peer": 0x4000 + n // 4, "spi": 1000 + n % 4},
                "accept",
                suite=1,
                level=1,
                kind=KIND_TUNNEL,
                key=derived(n),
                min_coverage=0xFFFF,
                pair=n % PAIRS,
                tag=n,
                generation=1,
                not_after=FOREVER,
                incarnation=0,
                link=0,
                vlan=0,
            ),
        )


class SendingAssociationsFull(_Full):
    """Keys for sending."""

    def runTest(self) -> None:
        self.fill(
            "sa_tx",
            lambda n: entry(
                "sa_tx",
                {"interface": 0x8000 + n % 0x7000, "level": 200 + n // 0x7000},
                "protect",
                suite=1,
                level=1,
                key=derived(n),
                spi=n,
                not_after=FOREVER,
                incarnation=0,
            ),
        )


class SameKeyTwice(NveTest):
    """A second entry under a key that is taken is refused, and changes nothing; what is not there cannot go or
    change."""

    def runTest(self) -> None:
        peer = self.world.peer1
        schema = self.session.schema
        absent = peer.sa_rx(spi=4711)
        attempts = (
            ("INSERT", peer.sa_rx(key=derived("another")), "ALREADY_EXISTS"),
            ("MODIFY", absent, "NOT_FOUND"),
            ("DELETE", absent, "NOT_FOUND"),
        )
        for kind, wanted, code in attempts:
            with self.assertRaises(WriteRefused) as refusal:
                self.session.write([update(kind, table_entry=schema.table_entry(wanted))])
            self.assertEqual(refusal.exception.codes, [code])
        frame = self.world.far1.frame_to(B)
        self.passes(256, peer.packet(frame).encode(), (B.port, B.on_wire(frame)))


class LastReplayRing(NveTest):
    """The highest pair, both phases, every slot at the end of its ring; and the lowest pair beside it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        generation = 1000 + self.session.fresh("generation of the last ring", 1 << 30)
        ring = RING_SLOTS * SLOT_PACKETS
        for pair in (4095, 0, 4094):
            for phase in (0, 0x80000000):
                spi = 0x00FFFFFF | phase
                key = derived(pair, phase)
                wanted = peer.sa_rx(spi=spi, key=key, pair=pair, generation=generation)
                self.insert(wanted)
                for sequence in (1, ring - 1, ring, ring + 1, 5 * ring - 1, 5 * ring - SLOT_PACKETS):
                    frame = self.world.far1.frame_to(B, seed=sequence & 0xFFF)
                    packet = peer.packet(frame, sequence=sequence, spi=spi, key=key).encode()
                    self.passes(256, packet, (B.port, B.on_wire(frame)))
                    self.dropped(256, packet, Reason.REPLAYED)
                self.delete(wanted)


class LastTunnelInterface(NveTest):
    """The tunnel with the highest number: its counter is its own, not that of the first one."""

    def runTest(self) -> None:
        peer = self.world.peer1
        peer.interface = 0xFFFF
        peer.tx_sequence = self.session.last_sequence(peer.interface)
        first = self.session.last_sequence(0x8000)
        target = self.world.far_blue
        peer.group = 0x7FFF
        self.insert(*(one for one in peer.tx_entries() if one.table != "adjacency"))
        self.modify(peer.bridge_entry(target))
        for _ in range(3):
            frame = C.frame_to(target)
            self.passes(C.port, frame, (256, peer.sent(frame, BLUE)))
        self.assertEqual(self.session.last_sequence(peer.interface), peer.tx_sequence)
        self.assertEqual(self.session.last_sequence(0x8000), first)


class LastVapInterface(NveTest):
    """A VAP with the highest number, as source and as destination."""

    def runTest(self) -> None:
        last = 0x7FFF
        self.modify(C.vap(interface=last))
        self.insert(
            entry("vap_egress", {"port": C.port, "interface": last}, "untagged"),
            *(entry("source_guard", dict(one.key) | {"interface": last}, "permit_source") for one in C.guard_entries()),
        )
        self.modify(*C.bridge_entries(interface=last))
        self.passes(C.port, C.frame_to(D), (D.port, D.on_wire(C.frame_to(D))))
        self.passes(D.port, D.on_wire(D.frame_to(C)), (C.port, D.frame_to(C)))
        self.dropped(C.port, C.frame_to(C), Reason.SOURCE_PRUNED)
