# SPDX-License-Identifier: Apache-2.0
"""What agents say about their switches: judged by what is known here, and given to the life of the keys.

Whatever an agent says about its switch counts for that switch, and for no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from nvo3sec.domain.membership import Tunnel
from nvo3sec.domain.messages import ReadBack, Registration, Report, Use
from nvo3sec.domain.model import Nve
from nvo3sec.domain.sa import Event
from nvo3sec.nva import switches
from nvo3sec.nva.cutoffs import CutOffs
from nvo3sec.nva.held import HeldNumbers
from nvo3sec.nva.keys import KeyService

RETIRED = "incarnation-retired"
"""The report of a switch that has to take another incarnation."""

Note = Callable[[str, Report], None]


class SwitchAccounts:
    """Of one NVA. feed: gives an event to a direction. note: tells operators something about an NVE."""

    def __init__(
        self,
        keys: KeyService,
        cut_offs: CutOffs,
        held: HeldNumbers,
        feed: Callable[[Tunnel, Event, float], None],
        note: Note,
    ) -> None:
        self._keys = keys
        self._cut_offs = cut_offs
        self._held = held
        self._feed = feed
        self._note = note
        self.incarnations: dict[str, bytes] = {}
        """Of every NVE that has registered, with an incarnation that there are keys for."""
        self.retired: dict[str, bytes] = {}
        """Of every NVE that is to take another incarnation, and gets no keys until it has."""

    def judge(self, nve: str, registration: Registration, now: float) -> bool:
        """Whether there are keys for the switch that an agent introduces. If not, it has to take a new incarnation."""
        seen = max([registration.generation, *(one.held.generation for one in registration.receive)])
        why = self._keys.judge(nve, registration.incarnation, seen)
        if why:
            self.gone(nve, now)
            self.incarnations.pop(nve, None)
            self.retired[nve] = registration.incarnation
            self._note(nve, Report(RETIRED, f"{why}: its switch has to take another incarnation, and has no keys yet"))
            return False
        self.retired.pop(nve, None)
        self.incarnations[nve] = registration.incarnation
        self._keys.arrived(nve, registration.incarnation)
        return True

    def registered(self, nve: str, registration: Registration, nves: Mapping[str, Nve], now: float) -> None:
        """What an agent introduced, which `judge` has taken, is given to the keys."""
        self._give(switches.registered(nve, self._keys.tunnels_of(nve), registration, nves), now)

    def gone(self, nve: str, now: float) -> None:
        """The agent is gone."""
        self._keys.departed(nve)
        self._give(switches.gone(nve, self._keys.tunnels_of(nve)), now)

    def read_back(self, nve: str, report: ReadBack, last_view: int, now: float) -> bool:
        """A switch was read; returns whether it is the one that is known. last_view: the newest that was made."""
        if report.incarnation != self.incarnations.get(nve):
            return False
        if report.view > last_view:
            self._note(nve, Report("view-unknown", "says that its switch equals a view that was never made"))
        else:
            self._cut_offs.confirmed(nve, report.view)
            self._held.confirmed(nve, report.view)
        self._give(switches.read_back(nve, self._keys.tunnels_of(nve), report), now)
        return True

    def used(self, nve: str, use: Use, now: float) -> None:
        """How much keys have protected, by the sender's own counters. Only the sender's account counts."""
        if use.incarnation == self.incarnations.get(nve):
            self._give(switches.used(nve, self._keys.directions, use), now)

    def reset_mark(self, nve: str, now: float) -> bytes:
        """Begin anew with the generations of what `nve` receives. Returns the incarnation that it has to give up, b""
        if none is known. Raises StoreError."""
        self.gone(nve, now)
        before = self.incarnations.pop(nve, b"") or self.retired.get(nve, b"")
        self._keys.reset_mark(nve, before, now)
        if before:
            self.retired[nve] = before
        return before

    def alarms(self, nves: Collection[str]) -> list[str]:
        """What is wrong with the generations of `nves`, for operators."""
        starved = [(nve, f"no key can be made for it: {why}") for nve, why in self._keys.starved.items()]
        waiting = [(nve, "its switch has not taken another incarnation yet") for nve in self.retired]
        return [f"{nve}: {what}" for nve, what in sorted(starved + waiting) if nve in nves]

    def _give(self, events: Iterable[tuple[Tunnel, Event]], now: float) -> None:
        for tunnel, event in events:
            self._feed(tunnel, event, now)
