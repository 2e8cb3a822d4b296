# SPDX-License-Identifier: Apache-2.0
"""Sees every packet that is made and every one that is accepted, and every key that enters a switch. It knows what the
operator asked for and what was done to the machines, and nothing of what the NVA or an agent thinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address

from model_switch import Packet, Switch
from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.domain.overlay.level_changes import LOWEST
from nvo3sec.domain.overlay.model import Level, Suite
from nvo3sec.p4runtime import Entry, Operation, Table, Update

CLOCK_SLACK_S = 2.0
"""An agent's idea of its switch's clock, and the time that a message takes, may move an end by this much."""


@cache
def _tag(source: int, destination: int) -> int:
    return peer_tag(Purpose.TUNNEL, IPv4Address(source), IPv4Address(destination))


class Violation(AssertionError):
    """Something that must never be has been. `name`: which invariant."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(f"{name}: {text}")


PAIR_TWICE = "a pair (key, sequence) was used twice"
ACCEPTED_TWICE = "a packet was accepted twice"
FOREIGN = "a foreign key"
RETIRED = "a retired key"
REVOKED = "a key of an NVE that is shut out"
STOPPED = "traffic between healthy NVEs stopped"
UNREVOKED = "a revocation was taken back"
ROLLED_BACK = "an old database was believed"
BELOW = "a frame below the level that everybody has confirmed"


@dataclass
class KeyRecord:
    """What is known of a key (16 bytes): whose it is, and what became of it.

    lives: of the sender's and the receiver's switch, when the key first entered them. left_sender_at: when the sender's
    switch ceased to send with it.
    """

    sender: str
    receiver: str
    spi: int
    suite: int
    entered_at: float
    sender_life: int | None = None
    receiver_life: int | None = None
    left_sender_at: float | None = None


@dataclass
class Bounds:
    """How long something may still be accepted. cut_off_s: from a decision on, by a receiver that is told of it.
    lease_s: by one that is not."""

    lease_s: float
    hard_s: float
    grace_s: float
    cut_off_s: float


class Observer:
    """told_since: since when a NVE has been in touch with its NVA and its switch without a break; None if it is not."""

    def __init__(
        self, names: Iterable[str], now: Callable[[], float], told_since: Callable[[str], float | None], bounds: Bounds
    ) -> None:
        self._now = now
        self._told_since = told_since
        self._bounds = bounds
        self.name_of: dict[int, str] = {}
        """NVEs by every outer address that they ever have."""
        self.keys: dict[int, KeyRecord] = {}
        self.seen_by: dict[str, set[int]] = {name: set() for name in names}
        """Every key that a switch ever held."""
        self.shut_out: dict[str, float] = {}
        """NVEs that are revoked or suspended, and since when."""
        self.left_vn: dict[tuple[str, str, int], float] = {}
        """(sender, receiver, VNI) that must not be delivered any more, and since when."""
        self.floors: dict[tuple[str, str, int], Level] = {}
        """By sender, receiver and VNI: a level that the operator wants and the receiver demands."""
        self._used: set[tuple[int, int]] = set()
        self._accepted: set[int] = set()
        self.only: frozenset[str] | None = None
        """The invariants that are looked at; None: all of them."""
        self.packets_seen = 0
        self.accepted_count = 0

    def fail(self, name: str, text: str) -> None:
        """An invariant does not hold. Raises Violation."""
        if self.only is None or name in self.only:
            raise Violation(name, text)

    # --- keys --------------------------------------------------------------------------------------------------------

    def updated(self, switch: Switch, update: Update, before: Entry | None) -> None:
        """An entry of a switch has changed."""
        item = update.item
        if not isinstance(item, Entry) or item.table not in (Table.SA_RX, Table.SA_TX):
            return
        if before is not None and item.table == Table.SA_TX:
            key = before["key"]
            # One that makes room for a key of another level can come back: it is not replaced, and its VNs may.
            replaced = update.operation is Operation.DELETE or (item["key"] != key and item["suite"] == before["suite"])
            if replaced and not any(e["key"] == key for e in switch.entries.values() if e.table == Table.SA_TX):
                self._left_sender(key)
        if update.operation is Operation.DELETE:
            return
        if item.table == Table.SA_RX:
            # It comes before the addresses that lead to its peer number: whose it is, its tag says.
            (sender,) = {self.name_of[source] for source in self._sources(switch, item["tag"])}
            self._entered(switch, item, sender, switch.name, is_sender=False)
        else:
            peers = [
                self.name_of[e["destination"]]
                for e in switch.entries.values()
                if e.table == Table.TUNNEL and e["interface"] == item["interface"]
            ]
            for peer in peers:
                self._entered(switch, item, switch.name, peer, is_sender=True)

    def _sources(self, switch: Switch, tag: int) -> Iterator[int]:
        """The addresses that packets to `switch` come from with this tag."""
        for own in (address for address, name in self.name_of.items() if name == switch.name):
            yield from (address for address in self.name_of if _tag(address, own) == tag)

    def _entered(self, switch: Switch, entry: Entry, sender: str, receiver: str, *, is_sender: bool) -> None:
        key = entry["key"]
        self.seen_by[switch.name].add(key)
        record = self.keys.setdefault(key, KeyRecord(sender, receiver, entry["spi"], entry["suite"], self._now()))
        named = sender, receiver, entry["spi"], entry["suite"]
        if (record.sender, record.receiver, record.spi, record.suite) != named:
            self.fail(FOREIGN, f"the key of {record} is in {switch.name} for {sender} to {receiver}")
        # One may come back into a later life, if the pipeline is loaded between two calls of the agent; without use.
        if is_sender and record.sender_life is None:
            record.sender_life = switch.life
        elif not is_sender and record.receiver_life is None:
            record.receiver_life = switch.life

    def _left_sender(self, key: int) -> None:
        record = self.keys[key]
        if record.left_sender_at is None:
            record.left_sender_at = self._now()

    def registers_reset(self, switch: Switch) -> None:
        """The keys of a switch have ended, wherever they are."""
        for key in self.seen_by[switch.name]:
            if self.keys[key].sender == switch.name:
                self._left_sender(key)

    # --- packets -----------------------------------------------------------------------------------------------------

    def sent(self, packet: Packet) -> None:
        """A switch has made a packet."""
        self.packets_seen += 1
        pair = packet.key, packet.sequence
        if pair in self._used:
            self.fail(PAIR_TWICE, f"sequence {packet.sequence} of {self.keys.get(packet.key)}")
        self._used.add(pair)
        record = self.keys[packet.key]
        floor = self.floors.get((record.sender, record.receiver, packet.vni), LOWEST)
        if Suite(packet.suite).level < floor:
            self.fail(BELOW, f"{packet} to {record.receiver}, which demands {floor.word}")
        if record.sender != packet.author or record.sender_life != packet.life:
            self.fail(RETIRED, f"{packet.author} sends under {record} of an earlier life")

    def accepted(self, receiver: Switch, packet: Packet, *, delivered: bool) -> None:
        """A switch has verified a packet, and its window has taken it. delivered: to the tenants of the VN."""
        self.accepted_count += 1
        if packet.serial in self._accepted:
            self.fail(ACCEPTED_TWICE, f"{packet} by {receiver.name}")
        self._accepted.add(packet.serial)
        now, record = self._now(), self.keys[packet.key]
        sender = self.name_of[packet.source]
        if (sender, receiver.name) != (record.sender, record.receiver):
            self.fail(FOREIGN, f"{receiver.name} took a packet of {sender} under {record}")
        if record.receiver_life != receiver.life:
            self.fail(RETIRED, f"{receiver.name} took a packet of an earlier life of its own: {record}")
        if now > record.entered_at + self._bounds.hard_s + CLOCK_SLACK_S:
            self.fail(RETIRED, f"{receiver.name} took a packet under {record}, {now - record.entered_at:.1f} s old")
        self._check_rotated(receiver, record, now)
        self._check_shut_out(receiver, record, now)
        if delivered:
            self._check_vn(receiver, record, packet.vni, now)

    def _check_rotated(self, receiver: Switch, record: KeyRecord, now: float) -> None:
        """Its sender has another key now: once everybody knows, the old one has only its grace."""
        since = record.left_sender_at
        if since is None:
            return
        told = [self._told_since(record.sender), self._told_since(record.receiver)]
        if None in told:
            return
        limit = max(since, *(one for one in told if one is not None)) + self._bounds.grace_s + self._bounds.cut_off_s
        if now > limit:
            self.fail(RETIRED, f"{receiver.name} still takes {record}, which nobody sends with")

    def _limit(self, receiver: str, since: float) -> float:
        told = self._told_since(receiver)
        lease = since + self._bounds.lease_s + CLOCK_SLACK_S
        return lease if told is None else min(lease, max(since, told) + self._bounds.cut_off_s)

    def _check_shut_out(self, receiver: Switch, record: KeyRecord, now: float) -> None:
        since = self.shut_out.get(record.sender)
        if since is not None and now > self._limit(record.receiver, since):
            self.fail(REVOKED, f"{receiver.name} takes {record} {now - since:.1f} s after")

    def _check_vn(self, receiver: Switch, record: KeyRecord, vni: int, now: float) -> None:
        since = self.left_vn.get((record.sender, receiver.name, vni))
        if since is not None and now > self._limit(receiver.name, since):
            self.fail(FOREIGN, f"{receiver.name} takes packets of VNI {vni}, in which {record.sender} is not")
