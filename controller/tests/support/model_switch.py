# SPDX-License-Identifier: Apache-2.0
"""What the data plane does with keys, written a second time, from docs/tables.md: tiny, and without any cryptography.

A packet carries the key that it was protected with; it verifies under that key and under no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nvo3sec.p4runtime import Entry, Group, Operation, Table, Update
from nvo3sec.program import generated as p4
from nvo3sec.program.entry import Pairs
from nvo3sec.program.generated import SaKind

MAPPED = 0xFFFF << 32
"""An IPv4 address where there is room for IPv6: ::ffff:0:0/96."""
WINDOW = 8160
"""Packets behind the highest accepted that may still be accepted."""

NOTHING = (p4.incarnation_no_incarnation(), p4.lease_no_lease(), p4.flow_entropy_not_keyed())
"""What keyless tables do before anybody has said anything."""

_serial = itertools.count(1)


@dataclass(frozen=True)
class Packet:
    """One copy of a frame in one tunnel. author: the switch that made it. life: which life of that switch. forged: made
    by somebody who has the keys of `author`."""

    source: int
    destination: int
    spi: int
    sequence: int
    suite: int
    key: int = field(repr=False)
    vni: int
    author: str
    life: int
    made_at: float
    forged: bool = False
    serial: int = field(default_factory=lambda: next(_serial))


@dataclass
class Ring:
    """A replay window: the generation that it belongs to, and what has been accepted of it."""

    generation: int = 0
    highest: int = 0
    seen: set[int] = field(default_factory=set)


class Switch:
    """One switch. life: counts how often its registers were reset. on_update: called after each single update.

    full: tables that take no more entries.
    """

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self.now = now
        self.running = True
        self.life = 0
        self.on_update: Callable[[Switch, Update], None] = lambda *_: None
        self.on_push: Callable[[Switch], None] = lambda _: None
        self.drops: dict[str, int] = {}
        self.full: set[str] = set()
        self._boot()

    def _boot(self) -> None:
        self.booted_at = self.now()
        self.has_pipeline = False
        self._clear_entries()
        self._clear_registers()

    def _clear_entries(self) -> None:
        self.entries: dict[tuple[str, Pairs], Entry] = {}
        self.defaults = {entry.table: entry for entry in NOTHING}
        self.groups: dict[int, Group] = {}
        self.used: dict[tuple[str, Pairs], int] = {}

    def _clear_registers(self) -> None:
        self.life += 1
        self.ingress_incarnation = 0
        self.egress_incarnation = 0
        self.sequence: dict[int, int] = {}
        self.rings: dict[tuple[int, int], Ring] = {}

    # --- what happens to it ------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """A new process: nothing of the old one is left."""
        self._boot()
        self.running = True

    def push(self, *, keeps_entries: bool) -> None:
        """A pipeline is loaded. RECONCILE_AND_COMMIT keeps entries; no action keeps a register."""
        self.on_push(self)
        if not keeps_entries:
            self._clear_entries()
        self.groups = {}
        self._clear_registers()
        self.has_pipeline = True

    @property
    def clock_us(self) -> int:
        """Microseconds of the switch's own clock."""
        return int((self.now() - self.booted_at) * 1e6)

    def write(self, update: Update) -> str:
        """Apply one update; returns why not, or nothing."""
        item = update.item
        if isinstance(item, Group):
            exists = item.group in self.groups
        elif item.is_default:
            self.defaults[item.table] = item
            self.on_update(self, update)
            return ""
        else:
            exists = item.key in self.entries
        if update.operation is Operation.INSERT and isinstance(item, Entry) and item.table in self.full:
            return "RESOURCE_EXHAUSTED"
        if exists is (update.operation is Operation.INSERT):
            return "ALREADY_EXISTS" if exists else "NOT_FOUND"
        if isinstance(item, Group):
            if update.operation is Operation.DELETE:
                del self.groups[item.group]
            else:
                self.groups[item.group] = item
        elif update.operation is Operation.DELETE:
            del self.entries[item.key]
            self.used.pop(item.key, None)
        else:
            self.entries[item.key] = item
            if update.operation is Operation.INSERT:
                self.used[item.key] = 0
        self.on_update(self, update)
        return ""

    def set_incarnation(self, incarnation: int) -> None:
        """The packet-out that writes both registers."""
        self.ingress_incarnation = self.egress_incarnation = incarnation

    @property
    def incarnation(self) -> int:
        """What the entry says; 0: there is none."""
        return dict(self.defaults[Table.INCARNATION].params).get("incarnation", 0)

    @property
    def agreement(self) -> int:
        """Bit 0: the ingress register is what the entry says and not zero; bit 1: the egress register."""
        own = self.incarnation
        return int(own != 0 and self.ingress_incarnation == own) | int(own != 0 and self.egress_incarnation == own) << 1

    # --- packets -----------------------------------------------------------------------------------------------------

    def _get(self, table: Table, *match: tuple[str, int]) -> Entry | None:
        return self.entries.get((table.value, match))

    def _peer(self, packet: Packet) -> Entry | None:
        """Who sent a packet, from its addresses."""
        source, destination = (MAPPED | address for address in (packet.source, packet.destination))
        return self._get(Table.AUTHORIZED_NVE, ("source", source), ("destination", destination))

    def _lease(self) -> str:
        lease = self.defaults[Table.LEASE]
        if lease.action != "grant":
            return "LEASE_ABSENT"
        return "" if self.clock_us < lease["not_after"] else "LEASE_EXPIRED"

    def broadcast(self, port: int, vlan: int) -> Iterator[Packet | str]:
        """A tenant's broadcast frame: for each tunnel of its VN a packet, or why there is none."""
        vap = self._get(Table.VAP, ("port", port), ("link", 0), ("vlan", vlan)) if self.running else None
        if vap is None:
            return
        flood = self._get(Table.FLOOD, ("vni", vap["vni"]), ("from_underlay", 0))
        group = self.groups.get(flood["group"]) if flood else None
        for out, interface in group.replicas if group else ():
            if interface >> 15:
                yield self._protect(out, interface, vap["vni"], vap["level"])

    def _protect(self, port: int, interface: int, vni: int, level: int) -> Packet | str:
        if self.agreement != 3:
            return self._drop("TX_INCARNATION")
        if refusal := self._lease():
            return self._drop(f"TX_{refusal}")
        tunnel = self._get(Table.TUNNEL, ("port", port), ("interface", interface))
        if tunnel is None:
            return self._drop("TUNNEL_UNKNOWN")
        if self._get(Table.ADJACENCY, ("egress_port", port), ("hop", tunnel["hop"])) is None:
            return self._drop("NO_ADJACENCY")
        sa = self._get(Table.SA_TX, ("interface", interface), ("level", level))
        if sa is None:
            return self._drop("TX_NO_SA")
        register = interface & 0x7FFF
        self.sequence[register] = sequence = self.sequence.get(register, 0) + 1
        if sa["incarnation"] != self.incarnation:
            return self._drop("TX_SA_INCARNATION")
        if self.clock_us >= sa["not_after"]:
            return self._drop("TX_SA_EXPIRED")
        if dict(sa.params)["level"] < level:
            return self._drop("TX_SUITE_TOO_WEAK")
        self.used[sa.key] = self.used.get(sa.key, 0) + 1
        return Packet(
            source=tunnel["source"],
            destination=tunnel["destination"],
            spi=sa["spi"],
            sequence=sequence,
            suite=sa["suite"],
            key=sa["key"],
            vni=vni,
            author=self.name,
            life=self.life,
            made_at=self.now(),
        )

    def receive(self, packet: Packet) -> str:
        """Why the packet is dropped before it is verified, or with it; nothing: it is accepted."""
        if not self.running or not self.has_pipeline:
            return "down"
        if not self.agreement & 1:
            return self._drop("INCARNATION")
        peer = self._peer(packet)
        if peer is None:
            return self._drop("UNAUTHORIZED_NVE")
        if refusal := self._lease():
            return self._drop(refusal)
        sa = self._get(Table.SA_RX, ("peer", peer["peer"]), ("spi", packet.spi))
        if sa is None:
            return self._drop("NO_SA")
        if sa["incarnation"] != self.incarnation:
            return self._drop("SA_INCARNATION")
        if self.clock_us >= sa["not_after"]:
            return self._drop("SA_EXPIRED")
        if sa["tag"] != peer["tag"]:
            return self._drop("SA_PEER")
        if sa["kind"] != SaKind.TUNNEL:
            return self._drop("SA_KIND")
        if packet.suite != sa["suite"]:
            return self._drop("SUITE_MISMATCH")
        ring = self.rings.setdefault((sa["pair"], packet.spi >> 31), Ring())
        if refusal := self._look(ring, sa["generation"], packet.sequence):
            return self._drop(refusal)
        if packet.key != sa["key"]:
            return self._drop("BAD_ICV")
        if packet.forged:
            return ""  # only asked about: it would leave a window that is of no use to the owner of the key
        if sa["generation"] != ring.generation:
            ring.generation, ring.highest, ring.seen = sa["generation"], 0, set()
        ring.seen.add(packet.sequence)
        ring.highest = max(ring.highest, packet.sequence)
        return ""

    @staticmethod
    def _look(ring: Ring, generation: int, sequence: int) -> str:
        if generation < ring.generation:
            return "REPLAY_GENERATION"
        if generation > ring.generation:
            return "" if sequence > 0 else "REPLAY_TOO_LATE"
        if sequence <= max(0, ring.highest - WINDOW):
            return "REPLAY_TOO_LATE"
        return "REPLAYED" if sequence in ring.seen else ""

    def demands(self, source: int, destination: int, vni: int) -> int | None:
        """The level that packets of a peer must have in a VN, while tunnels are open; None if none are taken."""
        match = ("source", MAPPED | source), ("destination", MAPPED | destination)
        peer = self._get(Table.AUTHORIZED_NVE, *match) if self.running and self.agreement == 3 else None
        lease = self.defaults[Table.LEASE]
        if peer is None or lease.action != "grant" or self.clock_us >= lease["not_after"]:
            return None
        allowed = self._get(Table.VN_INGRESS_AUTHORIZATION, ("peer", peer["peer"]), ("vni", vni))
        return None if allowed is None else allowed["level"]

    def deliver(self, packet: Packet) -> str:
        """Why a packet that was accepted reaches no tenant; nothing: it does."""
        peer = self._peer(packet)
        sa = None if peer is None else self._get(Table.SA_RX, ("peer", peer["peer"]), ("spi", packet.spi))
        if peer is None or sa is None:
            raise AssertionError("a packet was accepted without an entry that accepts it")
        allowed = self._get(Table.VN_INGRESS_AUTHORIZATION, ("peer", peer["peer"]), ("vni", packet.vni))
        if allowed is None:
            return self._drop("VN_UNAUTHORIZED")
        if sa["level"] < allowed["level"]:
            return self._drop("VN_SUITE")
        flood = self._get(Table.FLOOD, ("vni", packet.vni), ("from_underlay", 1))
        return "" if flood is not None and flood["group"] in self.groups else self._drop("NO_FLOOD_GROUP")

    def _drop(self, reason: str) -> str:
        self.drops[reason] = self.drops.get(reason, 0) + 1
        return reason
