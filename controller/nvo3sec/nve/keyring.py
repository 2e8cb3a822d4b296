# SPDX-License-Identifier: Apache-2.0
"""The keys of one switch, with their ends in switch time. An end is decided once, and never moved later.

A key that cannot be made any more (the NVA or the agent restarted) is taken from the switch itself, or from what was
installed before, and kept as it is there. A key to send with that cannot be used yet leaves the one before it in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from nvo3sec.domain.desired import InstalledReceive, InstalledSend
from nvo3sec.domain.messages import KeyState, NveView
from nvo3sec.domain.model import Suite
from nvo3sec.domain.secret import Secret
from nvo3sec.nve.clock import ClockReading
from nvo3sec.p4runtime import Entry, SwitchState, Table

KEY_BYTES = 16
TOLERANCE_US = 1_000_000


class Keyring:
    """Keys of one incarnation of one switch. `found`: what the switch held when the agent adopted it."""

    def __init__(self, found: SwitchState | None) -> None:
        self._found_receive: dict[tuple[IPv4Address, int], Entry] = {}
        self._found_send: dict[tuple[IPv4Address, int], Entry] = {}
        if found is not None:
            peers = {e["interface"]: IPv4Address(e["destination"]) for e in found.of_table(Table.TUNNEL)}
            for entry in found.of_table(Table.SA_RX):
                self._found_receive[IPv4Address(entry["source"]), entry["spi"]] = entry
            for entry in found.of_table(Table.SA_TX):
                if entry["interface"] in peers:
                    self._found_send[peers[entry["interface"]], entry["spi"]] = entry
        self._ends: dict[tuple[str, str, int], int] = {}
        self._began = False
        self._last: dict[tuple[str, str, int], Secret] = {}
        self._places: dict[str, tuple[IPv4Address, IPv4Address, int]] = {}  # both addresses, and since which version
        self._followed = -1
        self.receive: tuple[InstalledReceive, ...] = ()
        self.send: tuple[InstalledSend, ...] = ()

    def follow(self, view: NveView) -> None:
        """Take note of a view; every one, in their order. Keys of peers that left or moved ended with that.

        The message that says so comes later. A key that went with its peer to another tunnel would meet another
        sequence counter there, and repeat its numbers: NEVER USE A KEY IN TWO TUNNELS.
        """
        before, self._places = self._places, {}
        for peer in view.peers:
            known = before.get(peer.name)
            stays = known is not None and known[:2] == (view.address, peer.address)
            self._places[peer.name] = known if known and stays else (view.address, peer.address, view.version)
        self._followed = view.version
        if not before:
            return
        stay = {name for name, place in self._places.items() if before.get(name) == place}
        self.receive = tuple(sa for sa in self.receive if sa.peer in stay)
        self.send = tuple(sa for sa in self.send if sa.peer in stay)

    def take(self, keys: KeyState, view: NveView, reading: ClockReading, now: float) -> None:
        """Replace what should be held by what the NVA says, received at local time `now`; see `follow`."""
        if view.version != self._followed:
            self.follow(view)
        address = {peer.name: peer.address for peer in view.peers if keys.version > self._places[peer.name][2]}
        if not self._began:
            self._began, self.send = True, tuple(self._found_before(address))
        before = {(sa.peer, sa.suite): sa for sa in self.send}
        self._last = {("receive", sa.peer, sa.spi): sa.key for sa in self.receive}
        self._last |= {("send", sa.peer, sa.spi): sa.key for sa in self.send}
        receive: list[InstalledReceive] = []
        for sa in keys.receive:
            if sa.peer not in address:
                continue
            found = self._found_receive.get((address[sa.peer], sa.spi))
            key, end = self._resolve(
                "receive", sa.peer, sa.spi, sa.key, reading.deadline_us(now, sa.remaining_s), found
            )
            if key is not None:
                receive.append(InstalledReceive(sa.peer, sa.suite, sa.spi, sa.generation, key, sa.min_coverage, end))
        send: list[InstalledSend] = []
        for out in keys.send:
            if out.peer not in address:
                continue
            found = self._found_send.get((address[out.peer], out.spi))
            key, end = self._resolve(
                "send", out.peer, out.spi, out.key, reading.deadline_us(now, out.remaining_s), found
            )
            if key is not None:
                send.append(InstalledSend(out.peer, out.suite, out.spi, key, end))
            elif (out.peer, out.suite) in before:
                send.append(before[out.peer, out.suite])
        self.receive, self.send = tuple(receive), tuple(send)
        living = {("receive", sa.peer, sa.spi) for sa in keys.receive} | {("send", sa.peer, sa.spi) for sa in keys.send}
        self._ends = {name: end for name, end in self._ends.items() if name in living}

    def _found_before(self, address: Mapping[str, IPv4Address]) -> Iterator[InstalledSend]:
        names = {place: name for name, place in address.items()}
        for (place, spi), entry in self._found_send.items():
            if place in names and entry["suite"] in set(Suite):
                key = Secret(entry["key"].to_bytes(KEY_BYTES, "big"))
                yield InstalledSend(names[place], Suite(entry["suite"]), spi, key, entry["not_after"])

    def _resolve(
        self, direction: str, peer: str, spi: int, key: Secret | None, end: int, found: Entry | None
    ) -> tuple[Secret | None, int]:
        name = (direction, peer, spi)
        known = self._ends.get(name, end if found is None else found["not_after"])
        # Each message counts the same end from another moment; only one that brings it clearly nearer means something.
        self._ends[name] = end if end < known - TOLERANCE_US else known
        if key is None and found is not None:
            key = Secret(found["key"].to_bytes(KEY_BYTES, "big"))
        return key or self._last.get(name), self._ends[name]
