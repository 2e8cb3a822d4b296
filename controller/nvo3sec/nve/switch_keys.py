# SPDX-License-Identifier: Apache-2.0
"""The keys of one switch, with their ends in switch time. An end is decided once, and never moved later.

A key that cannot be made any more (the NVA or the agent restarted) is taken from the switch itself, or from what was
installed before, and kept as it is there: under the same SPI, suite, generation and coverage, as long as it is named
without a gap. A higher generation would open a fresh replay window for it, another suite another ring. A key to send
with that cannot be used yet leaves the one before it in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import KeyState, NveView, ReceiveSa, SendSa
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.domain.switch.desired import InstalledReceive, InstalledSend
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.places import Places
from nvo3sec.nve.translate import ends_of, peers_of
from nvo3sec.p4runtime import Entry, SwitchState, Table

KEY_BYTES = 16
TOLERANCE_US = 1_000_000
ENDS_KEPT = 64
"""Ends of keys that are no more, of each peer and direction: a key that is named again has the end that it had."""


@dataclass(frozen=True)
class _Made:
    """What a key was made for, and where it ends (switch time). A sender knows neither generation nor coverage."""

    key: Secret
    suite: int
    not_after_us: int
    generation: int | None = None
    min_coverage: int | None = None


class SwitchKeys:
    """Keys of one incarnation of one switch. `found`: what the switch held when the agent adopted it."""

    def __init__(self, found: SwitchState | None) -> None:
        self._found_receive: dict[tuple[UnderlayAddress, int], Entry] = {}
        self._found_send: dict[tuple[UnderlayAddress, int], Entry] = {}
        if found is not None:
            peers = ends_of(found)
            addresses = peers_of(found)
            for entry in found.of_table(Table.SA_RX):
                if entry["peer"] in addresses:
                    self._found_receive[addresses[entry["peer"]], entry["spi"]] = entry
            for entry in found.of_table(Table.SA_TX):
                if entry["interface"] in peers:
                    self._found_send[peers[entry["interface"]], entry["spi"]] = entry
        self._ends: dict[tuple[str, str, int], int] = {}
        self._began = False
        self._made: dict[tuple[str, str, int], _Made] = {}
        self._places = Places()
        self.receive: tuple[InstalledReceive, ...] = ()
        self.send: tuple[InstalledSend, ...] = ()

    def follow(self, view: NveView) -> None:
        """Take note of a view; every one, in their order. Keys of peers that left or moved ended with that.

        The message that says so comes later.
        """
        before = self._places.everywhere
        gone = self._places.follow(view)
        for found in (self._found_receive, self._found_send):
            for place in [place for place in found if place[0] in {before[name] for name in gone}]:
                del found[place]
        self.receive = tuple(sa for sa in self.receive if sa.peer not in gone)
        self.send = tuple(sa for sa in self.send if sa.peer not in gone)
        self._made = {name: made for name, made in self._made.items() if name[1] not in gone}

    def take(self, keys: KeyState, view: NveView, reading: ClockReading, now: float) -> tuple[str, ...]:
        """Replace what should be held by what the NVA says, received at local time `now`; see `follow`.

        Returns what of it was refused, for the operator: such a key is not held any more.
        """
        if view.version != self._places.version:
            self.follow(view)
        address = self._places.addresses(keys.version)
        if not self._began:
            self._adopt(keys, view, address)
        before = {(sa.peer, sa.suite): sa for sa in self.send}
        refused: list[str] = []
        receive: dict[tuple[str, int], InstalledReceive] = {}
        for sa in keys.receive:
            if sa.peer not in address:
                continue
            key, end = self._resolve("receive", sa, reading.deadline_us(now, sa.remaining_s), refused)
            if key is not None and (sa.peer, sa.spi) in receive:
                refused.append(f"receive {sa.peer} SPI {sa.spi:08x}: it is named twice")
            elif key is not None:
                receive[sa.peer, sa.spi] = InstalledReceive(
                    sa.peer, sa.suite, sa.spi, sa.generation, key, sa.min_coverage, end
                )
        send: list[InstalledSend] = []
        for out in keys.send:
            if out.peer not in address:
                continue
            count = len(refused)
            key, end = self._resolve("send", out, reading.deadline_us(now, out.remaining_s), refused)
            if key is not None:
                send.append(InstalledSend(out.peer, out.suite, out.spi, key, end))
            elif len(refused) == count and (out.peer, out.suite) in before:
                send.append(before[out.peer, out.suite])
        self.receive, self.send = tuple(receive.values()), tuple(send)
        # What is not named now, or not held, is not taken from before again: it has left the switch.
        self._made = {
            ("receive", sa.peer, sa.spi): _Made(sa.key, sa.suite, sa.not_after_us, sa.generation, sa.min_coverage)
            for sa in self.receive
        } | {("send", sa.peer, sa.spi): _Made(sa.key, sa.suite, sa.not_after_us) for sa in self.send}
        self._forget_ends()
        return tuple(refused)

    def _adopt(self, keys: KeyState, view: NveView, address: Mapping[str, UnderlayAddress]) -> None:
        """Once: what the switch was found with, of this incarnation and between these addresses."""
        self._began = True
        names = {place: name for name, place in address.items()}
        own = int.from_bytes(keys.incarnation, "big")
        for (place, spi), entry in self._found_receive.items():
            tag = peer_tag(Purpose.TUNNEL, place, view.towards(place))
            if place in names and entry["incarnation"] == own and entry["tag"] == tag:
                self._made["receive", names[place], spi] = _Made(
                    _key_of(entry), entry["suite"], entry["not_after"], entry["generation"], entry["min_coverage"]
                )
        self.send = self.send or tuple(self._found_before(names, own))
        for (place, spi), entry in self._found_send.items():
            if place in names and entry["incarnation"] == own:
                self._made["send", names[place], spi] = _Made(_key_of(entry), entry["suite"], entry["not_after"])
        self._found_receive, self._found_send = {}, {}

    def _found_before(self, names: Mapping[UnderlayAddress, str], own: int) -> Iterator[InstalledSend]:
        for (place, spi), entry in self._found_send.items():
            if place in names and entry["incarnation"] == own and entry["suite"] in set(Suite):
                yield InstalledSend(names[place], Suite(entry["suite"]), spi, _key_of(entry), entry["not_after"])

    def _resolve(
        self, direction: str, sa: ReceiveSa | SendSa, end: int, refused: list[str]
    ) -> tuple[Secret | None, int]:
        name = (direction, sa.peer, sa.spi)
        made = self._made.get(name)
        key = sa.key
        if made is not None and key in (None, made.key):
            if (other := _otherwise(sa, made)) is not None:
                refused.append(f"{direction} {sa.peer} SPI {sa.spi:08x}: {other}")
                return None, 0
            key = made.key
        known = self._ends.get(name, end if made is None else made.not_after_us)
        # Each message counts the same end from another moment; only one that brings it clearly nearer means something.
        ends = end if end < known - TOLERANCE_US else known
        if key is not None:
            self._ends.pop(name, None)
            self._ends[name] = ends  # as the newest
        return key, ends

    def _forget_ends(self) -> None:
        count: dict[tuple[str, str], int] = {}
        kept = {}
        for name, end in reversed(self._ends.items()):
            left = count[name[:2]] = count.get(name[:2], 0) + 1
            if name in self._made or left <= ENDS_KEPT:
                kept[name] = end
        self._ends = dict(reversed(kept.items()))


def highest_generation(state: SwitchState, incarnation: bytes) -> int:
    """The highest generation of the keys that a switch receives with under this incarnation; 0: there is none."""
    own = int.from_bytes(incarnation, "big")
    return max((one["generation"] for one in state.of_table(Table.SA_RX) if one["incarnation"] == own), default=0)


def _key_of(entry: Entry) -> Secret:
    return Secret(entry["key"].to_bytes(KEY_BYTES, "big"))


def _otherwise(sa: ReceiveSa | SendSa, made: _Made) -> str | None:
    """What is said of a key that it was not made for."""
    said: list[tuple[str, int, int | None]] = [("suite", int(sa.suite), made.suite)]
    if isinstance(sa, ReceiveSa):
        said += [("generation", sa.generation, made.generation), ("coverage", sa.min_coverage, made.min_coverage)]
    for what, now, then in said:
        if now != then:
            return f"it is to be of {what} {now}, and its key was made for {what} {then}"
    return None
