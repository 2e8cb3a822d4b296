# SPDX-License-Identifier: Apache-2.0
"""Changes of levels, step by step: who has to confirm what, and for how long that is waited for.

What the steps are says `domain.overlay.level_changes`. A step is confirmed when the switch of every member was read
back equal to a view with it. A switch whose agent is away is waited for until its lease has run out; then it carries
nothing, and an agent that comes again changes its switch before it asks for time. One that is connected and does not
confirm gets no lease any more after a while, until it does. Keys that cannot be made are waited for as long as a lease
lasts; then the others go on, and these two NVEs have nothing to say to each other in what demands that level. So nobody
holds up a change for ever, and who cannot follow is closed, not let through lower.

How far a change is, is stored before anybody is told. Who has confirmed is not: after a restart all do so anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple

from nvo3sec.domain.keys.sa import Direction
from nvo3sec.domain.overlay.level_changes import (
    LOWEST,
    LevelChange,
    Subject,
    described,
    following,
    steady,
    wanted_levels,
)
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain, Level, Lifetimes
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.store.records import DropLevelChange, PutLevelChange, StoreChange, Stored

LOOKED_AT_ONCE = 20_000
"""Directions of which it is asked in one go whether their keys are there, of all changes together; the others' turn is
the next time."""


class LevelProgress(NamedTuple):
    """What operators are told of one change. waits_for: NVEs, or what has no key yet; late: longer than is due."""

    subject: str
    change: LevelChange
    wanted: Level
    waits_for: tuple[str, ...]
    late: bool


@dataclass
class _Step:
    """version: of the newest message before the step. until: by when members confirm; keys_until: by when there are
    keys. confirmed_at: since when all have. lacks: a direction without a key; left: those that were not looked at."""

    until: float
    keys_until: float
    confirmed_at: float | None = None
    lacks: Tunnel | None = None
    left: Iterator[Tunnel] | None = None


class _Owed(NamedTuple):
    version: int
    until: float


@dataclass(frozen=True)
class Surroundings:
    """What the steps depend on, at one moment. lease_until: when the last lease of an NVE ends."""

    domain: Domain
    membership: Membership
    directions: Mapping[Tunnel, Direction]
    connected: Collection[str]
    lease_until: Callable[[str], float]
    now: float

    def members(self, subject: Subject) -> tuple[str, ...]:
        """The NVEs that a change is for."""
        if len(subject) == 1:
            return self.membership.members(subject[0])
        return subject if self.membership.shared(*subject) else ()

    def may_speak(self, nve: str) -> bool:
        """Whether the tunnels of an NVE may be open."""
        return nve in self.connected or self.lease_until(nve) > self.now


@dataclass
class LevelSteps:
    """Of one NVA. stored: what `store.load()` gave. patience_s: so long everybody has to confirm after a restart."""

    stored: Stored
    patience_s: float
    _steps: dict[Subject, _Step] = field(default_factory=dict)
    _owed: dict[Subject, dict[str, _Owed]] = field(default_factory=dict)
    _budget: int = 0

    def __post_init__(self) -> None:
        self._written = dict(self.stored.level_changes)

    # --- what is stored -----------------------------------------------------------------------------------------------

    def written(self, changes: Mapping[Subject, LevelChange]) -> tuple[StoreChange, ...]:
        """What has to be stored for these to be the changes that are under way. Say `note` once it is."""
        gone = [DropLevelChange(subject) for subject in self._written if subject not in changes]
        put = [PutLevelChange(*one) for one in changes.items() if self._written.get(one[0]) != one[1]]
        return (*gone, *put)

    def note(self, changes: Mapping[Subject, LevelChange]) -> None:
        """These are stored."""
        self._written = dict(changes)

    # --- steps --------------------------------------------------------------------------------------------------------

    def configured(self, changes: Mapping[Subject, LevelChange], before: Domain, domain: Domain, now: float) -> None:
        """What is to be has changed. What begins has nothing to be confirmed yet; what is under way goes on."""
        was, will = wanted_levels(before), wanted_levels(domain)
        begun = {subject: _begin(now, domain.lifetimes) for subject in changes}
        for subject, step in self._steps.items():
            if subject not in changes:
                continue
            if was.get(subject, LOWEST) == will.get(subject, LOWEST):
                begun[subject].keys_until = step.keys_until
            begun[subject].until, begun[subject].confirmed_at = step.until, step.confirmed_at
        self._steps = begun

    def restarted(self, around: Surroundings, changes: Mapping[Subject, LevelChange]) -> None:
        """Whatever was told was told by another process: all members confirm anew."""
        for subject in changes:
            self._tell(subject, around, 0, self.patience_s)

    def told(self, subject: Subject, around: Surroundings, version: int) -> None:
        """Views with a higher version than this have the next step of a change."""
        self._tell(subject, around, version, DEADLINE_S)

    def _tell(self, subject: Subject, around: Surroundings, version: int, patience_s: float) -> None:
        before = self._owed.get(subject, {})
        self._steps[subject] = _begin(around.now, around.domain.lifetimes)
        self._steps[subject].until = around.now + patience_s
        # Who is late with the step before has had its time.
        until = around.now + patience_s
        self._owed[subject] = {
            nve: _Owed(version, min(until, before[nve].until) if nve in before else until)
            for nve in around.members(subject)
        }

    def confirmed(self, nve: str, view: int) -> None:
        """The switch of `nve` was read back equal to a view of this version."""
        for owing in self._owed.values():
            if nve in owing and view > owing[nve].version:
                del owing[nve]

    def due(self, changes: Mapping[Subject, LevelChange], around: Surroundings) -> dict[Subject, LevelChange]:
        """The changes that are under way, each one step further if the step before is confirmed."""
        wanted = wanted_levels(around.domain)
        self._budget = LOOKED_AT_ONCE
        found = {}
        for subject, change in changes.items():
            after = self._after(subject, change, wanted.get(subject, LOWEST), around)
            if after is not None:
                found[subject] = after
        return found

    def _after(self, subject: Subject, change: LevelChange, wanted: Level, around: Surroundings) -> LevelChange | None:
        """None: it has come to its end."""
        step = self._steps[subject]
        if self._awaited(subject, around):
            return change
        if step.confirmed_at is None:
            step.confirmed_at = around.now
        if change == steady(wanted):
            # Whose lease is withheld is remembered, also by the next process, until it has confirmed.
            return change if self._owing(subject, around) else None
        late = around.now >= step.keys_until
        if change.was != change.sends:
            # What was sent before the last of them has changed is still on its way.
            if around.now < step.confirmed_at + around.domain.lifetimes.grace_s:
                return change
            if not late and self._lacks(subject, change, change.sends, around):
                return change
            change = change._replace(was=change.sends)
        has_keys = change.sends == wanted or late or not self._lacks(subject, change, wanted, around)
        return following(change, wanted, has_keys=has_keys)

    # --- who has to do what -------------------------------------------------------------------------------------------

    def _owing(self, subject: Subject, around: Surroundings) -> list[str]:
        """The members that have not confirmed, and could."""
        members = set(around.members(subject))
        return [nve for nve in self._owed.get(subject, {}) if nve in members and around.may_speak(nve)]

    def _awaited(self, subject: Subject, around: Surroundings) -> list[str]:
        """Those of them whose tunnels may still be open."""
        owed, now = self._owed.get(subject, {}), around.now
        return [nve for nve in self._owing(subject, around) if now < owed[nve].until or around.lease_until(nve) > now]

    def left_behind(self, nve: str, now: float) -> tuple[str, ...]:
        """Of which changes the switch of `nve` should have confirmed a step by now, and has not: it gets no lease."""
        return tuple(
            f"the former level of {described(subject)}"
            for subject, owing in sorted(self._owed.items())
            if nve in owing and now >= owing[nve].until
        )

    def _lacks(self, subject: Subject, change: LevelChange, level: Level, around: Surroundings) -> bool:
        """Whether a direction has no key of a level yet, as far as that has been looked at by now.

        Before senders come to a higher level, and before the keys that they have left end, the new ones have to be at
        both ends. Before they come to a lower one it is enough that the receiver has it: until a sender has it too, it
        goes on with the higher one.
        """
        step, settles = self._steps[subject], change.was != change.sends
        if step.left is None:
            step.left = _directions(subject, level, around, settles=settles)
        while self._budget > 0:
            self._budget -= 1
            step.lacks = step.lacks or next(step.left, None)
            if step.lacks is None:
                step.left = None
                return False
            if not _is_there(step.lacks, around, both=settles or level > change.sends):
                return True
            step.lacks = None
        return True

    # --- what operators are told --------------------------------------------------------------------------------------

    def progress(self, changes: Mapping[Subject, LevelChange], around: Surroundings) -> Iterator[LevelProgress]:
        """Every change that is under way, and what it waits for."""
        wanted = wanted_levels(around.domain)
        for subject, change in changes.items():
            step, owed, now = self._steps[subject], self._owed.get(subject, {}), around.now
            owing = self._owing(subject, around)
            late = [nve for nve in owing if now >= owed[nve].until]
            lacks = [f"a key of {step.lacks}"] if step.lacks is not None and not owing else []
            is_late = bool(late) or (bool(lacks) and now >= step.until)
            waits_for = (*sorted(owing), *lacks)
            yield LevelProgress(described(subject), change, wanted.get(subject, LOWEST), waits_for, is_late)


def _begin(now: float, lifetimes: Lifetimes) -> _Step:
    return _Step(now + DEADLINE_S, now + max(DEADLINE_S, lifetimes.lease_s))


def _directions(subject: Subject, level: Level, around: Surroundings, *, settles: bool) -> Iterator[Tunnel]:
    """The directions that have to have keys of a level, or of what the other side of the bargain makes of it: for a VN
    its pairs, for a pair its VNs."""
    membership = around.membership
    vns = [around.domain.vn_by_name[subject[0]]] if len(subject) == 1 else membership.shared(*subject)
    for sender, receiver in permutations(around.members(subject), 2):
        for vn in vns:
            if len(subject) == 1:
                others = membership.pair_levels(sender, receiver, sent_only=settles)
            else:
                others = membership.vn_levels(vn, sent_only=settles)
            for other in others:
                yield Tunnel(sender, receiver, max(level, other).suite)


def _is_there(tunnel: Tunnel, around: Surroundings, *, both: bool) -> bool:
    """Whether a direction has a key, at both ends or at its receiver, or needs none since it is closed."""
    if not (around.may_speak(tunnel.sender) and around.may_speak(tunnel.receiver)):
        return True
    direction = around.directions.get(tunnel)
    if direction is None:
        return False
    current = direction.current
    return direction.is_established if both else current is not None and current.spi in (direction.receiver.holds or ())
