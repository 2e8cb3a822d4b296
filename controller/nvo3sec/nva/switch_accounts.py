# SPDX-License-Identifier: Apache-2.0
"""What agents say about their switches: judged by what is known here, and given to the life of the keys.

Whatever an agent says about its switch counts for that switch, and for no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from nvo3sec.domain.keys.sa import Event
from nvo3sec.domain.messages.session import ReadBack, Registration, Report, Use
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Nve
from nvo3sec.nva.intent.cutoffs import DEADLINE_S, CutOffs
from nvo3sec.nva.intent.level_steps import LevelSteps
from nvo3sec.nva.keys import switch_events
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.mappings.held import HeldNumbers

RETIRED = "incarnation-retired"
"""The report of a switch that has to take another incarnation."""

WITHHELD = "lease-withheld"
"""The report of a switch that has not let go in time of what it was told to let go of."""

NAMED_AT_ONCE = 8
"""Of what it has not let go of, in one report."""


class Note(Protocol):
    """Tells operators something about an NVE. always: also if it has caused too much to be told already."""

    def __call__(self, nve: str, report: Report, *, always: bool = False) -> None: ...


class SwitchAccounts:
    """Of one NVA. note: tells operators something about an NVE."""

    def __init__(
        self,
        keys: KeyService,
        cut_offs: CutOffs,
        held: HeldNumbers,
        levels: LevelSteps,
        note: Note,
    ) -> None:
        self._keys = keys
        self._cut_offs = cut_offs
        self._held = held
        self._levels = levels
        self._note = note
        self.incarnations: dict[str, bytes] = {}
        """Of every NVE that has registered, with an incarnation that there are keys for."""
        self.retired: dict[str, bytes] = {}
        """Of every NVE that is to take another incarnation, and gets no keys until it has."""
        self._withheld_since: dict[str, float] = {}
        """Of every NVE that gets no lease."""
        self._withheld: dict[str, str] = {}
        """And what is told of it. By what is known here, whatever else it says of itself."""

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
        self._give(switch_events.registered(nve, self._keys.tunnels_of(nve), registration, nves), now)

    def gone(self, nve: str, now: float) -> None:
        """The agent is gone."""
        self._keys.departed(nve)
        self._give(switch_events.gone(nve, self._keys.tunnels_of(nve)), now)

    def read_back(self, nve: str, report: ReadBack, last_view: int, now: float) -> bool:
        """A switch was read; returns whether it is the one that is known. last_view: the newest that was made."""
        if report.incarnation != self.incarnations.get(nve):
            return False
        if report.view > last_view:
            self._note(nve, Report("view-unknown", "says that its switch equals a view that was never made"))
        else:
            self._cut_offs.confirmed(nve, report.view)
            self._held.confirmed(nve, report.view)
            self._levels.confirmed(nve, report.view)
        self._give(switch_events.read_back(nve, self._keys.tunnels_of(nve), report), now)
        return True

    def may_have_lease(self, nve: str, has_read: bool, now: float) -> bool:
        """Whether `nve` has let go of what it had to, or still has time to. has_read: it has been read in its session.

        An agent that comes back may ask before it has read its switch, which is nothing to be told. But for ever, in
        however many sessions, it is.
        """
        of = (self._cut_offs, self._held, self._levels)
        left = tuple(one for owed in of for one in owed.left_behind(nve, now))
        if not left:
            self._withheld_since.pop(nve, None)
            self._withheld.pop(nve, None)
            return True
        since = self._withheld_since.setdefault(nve, now)
        if has_read or now >= since + DEADLINE_S:
            more = f" and {len(left) - NAMED_AT_ONCE} more" if len(left) > NAMED_AT_ONCE else ""
            named = ", ".join(left[:NAMED_AT_ONCE])
            before, why = self._withheld.get(nve), f"its switch has not let go of {named}{more}"
            if why != before:  # and not at each renewal: `alarms` has it as long as it is so
                self._withheld[nve] = why
                self._note(nve, Report(WITHHELD, why), always=before is None)
        return False

    def used(self, nve: str, use: Use, now: float) -> None:
        """How much keys have protected, by the sender's own counters. Only the sender's account counts."""
        if use.incarnation == self.incarnations.get(nve):
            self._give(switch_events.used(nve, self._keys.directions, use), now)

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
        """What is wrong with the generations of `nves`, and whose lease is withheld, for operators."""
        starved = [(nve, f"no key can be made for it: {why}") for nve, why in self._keys.starved.items()]
        waiting = [(nve, "its switch has not taken another incarnation yet") for nve in self.retired]
        withheld = [(nve, f"its lease is withheld: {why}") for nve, why in self._withheld.items()]
        return [f"{nve}: {what}" for nve, what in sorted(starved + waiting + withheld) if nve in nves]

    def _give(self, events: Iterable[tuple[Tunnel, Event]], now: float) -> None:
        for tunnel, event in events:
            self._keys.feed(tunnel, event, now)
