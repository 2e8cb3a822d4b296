# SPDX-License-Identifier: Apache-2.0
"""Life of the security associations of one direction of one tunnel, as a function (state, event) -> (state, effects).

    PLANNED ---- read back at the receiver ---> SENDING ---- a newer one is SENDING ---> DRAINING ---> gone
    derived, being installed                    the sender     receive only, until the sender has
    for reception                               uses it        been read back and the grace time is over

Make before break: a sender is told of a key only after its receiver has confirmed it by reading its switch, and the old
key still receives until the sender's switch has been read back too. An NVE that does not answer stays on its old key
until that one's hard limit, and is then off. A new incarnation at either end ends every key at once.

At most one key of a phase exists at a time: a newer generation in the same replay ring would close the older's window.
Times are seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from nvo3sec.domain.membership import Tunnel
from nvo3sec.domain.spi import phase_of

ROTATION_INTERVAL_S = 1.0
"""Never more than one rotation of a key in this time, whoever asks."""


class SaState(StrEnum):
    """Where an SA is in its life; one that is gone is not there."""

    PLANNED = "planned"
    SENDING = "sending"
    DRAINING = "draining"


@dataclass(frozen=True)
class Sa:
    """One key. `inherited`: found in the switches by an NVA that cannot derive it any more."""

    spi: int
    generation: int
    state: SaState
    planned_at: float
    soft_at: float
    hard_at: float
    inherited: bool = False
    drain_until: float | None = None
    confirmed: bool = False
    """The sender's switch has been read back with it."""
    reported_late: bool = False

    @property
    def phase(self) -> int:
        """Which replay ring it uses."""
        return phase_of(self.spi)


@dataclass(frozen=True)
class End:
    """What is known of one end: its incarnation (empty: it never registered), whether its agent is connected, and the
    SPIs of this direction that its switch holds by the last read-back (None: it has not been read back)."""

    incarnation: bytes = b""
    present: bool = False
    holds: frozenset[int] | None = None


@dataclass(frozen=True)
class Direction:
    """The keys of one direction of one tunnel. `waiting`: a key has been asked for and is not planned yet."""

    tunnel: Tunnel
    grace_s: float
    confirm_s: float
    sender: End = End()
    receiver: End = End()
    sas: tuple[Sa, ...] = ()
    rotation_wanted: bool = False
    waiting: bool = False
    last_planned_at: float | None = None

    @property
    def current(self) -> Sa | None:
        """The SA that the sender uses or has been told to use."""
        return next((sa for sa in self.sas if sa.state is SaState.SENDING), None)

    @property
    def planned(self) -> Sa | None:
        """The SA that is being installed at the receiver."""
        return next((sa for sa in self.sas if sa.state is SaState.PLANNED), None)

    @property
    def is_established(self) -> bool:
        """Both switches have been read back with the current key."""
        current = self.current
        return current is not None and all(
            end.present and end.holds is not None and current.spi in end.holds for end in (self.sender, self.receiver)
        )


@dataclass(frozen=True)
class Held:
    """An SA found in a switch: SPI, generation (0 on the sending side, which has none), seconds to its hard limit."""

    spi: int
    generation: int
    remaining_s: float


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SenderUp:
    """The sender's agent registered; its switch sends with `held`, if with anything."""

    incarnation: bytes
    held: Held | None = None


@dataclass(frozen=True)
class ReceiverUp:
    """The receiver's agent registered; its switch receives `held`."""

    incarnation: bytes
    held: tuple[Held, ...] = ()


@dataclass(frozen=True)
class SenderDown:
    """The sender's agent is gone. Its switch goes on until its lease or the hard limit ends it."""


@dataclass(frozen=True)
class ReceiverDown:
    """The receiver's agent is gone."""


@dataclass(frozen=True)
class SenderRead:
    """The sender's switch was read back: it sends with `spi`, or with none."""

    spi: int | None


@dataclass(frozen=True)
class ReceiverRead:
    """The receiver's switch was read back: it receives `spis`."""

    spis: frozenset[int]


@dataclass(frozen=True)
class Planned:
    """The key that was asked for exists now."""

    spi: int
    generation: int
    soft_at: float
    hard_at: float


@dataclass(frozen=True)
class Rotate:
    """The operator wants a new key."""


@dataclass(frozen=True)
class Tick:
    """Time went by."""


Event: TypeAlias = (
    SenderUp | ReceiverUp | SenderDown | ReceiverDown | SenderRead | ReceiverRead | Planned | Rotate | Tick
)


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NeedKey:
    """Derive a key for `phase` and answer with Planned."""

    phase: int


@dataclass(frozen=True)
class Changed:
    """What the switches at both ends should hold has changed."""


@dataclass(frozen=True)
class Switched:
    """The sender is to use `spi` now."""

    spi: int


@dataclass(frozen=True)
class Late:
    """`spi` has not been confirmed in time by the `end` ("sender" or "receiver")."""

    spi: int
    end: str


@dataclass(frozen=True)
class Expired:
    """The key in use reached its hard limit without a successor: the direction is closed."""

    spi: int


@dataclass(frozen=True)
class Dropped:
    """Every key ended because an end has a new incarnation."""

    end: str


Effect: TypeAlias = NeedKey | Changed | Switched | Late | Expired | Dropped


@dataclass
class _Step:
    """One step in the making."""

    now: float
    direction: Direction
    effects: list[Effect] = field(default_factory=list)

    def put(self, sa: Sa) -> None:
        sas = tuple(sa if old.spi == sa.spi else old for old in self.direction.sas)
        self.direction = replace(self.direction, sas=sas)

    def keep(self, sas: tuple[Sa, ...]) -> None:
        if sas != self.direction.sas:
            self.direction = replace(self.direction, sas=sas)
            self.effects.append(Changed())


def step(direction: Direction, event: Event, now: float) -> tuple[Direction, tuple[Effect, ...]]:
    """The next state, and what has to be done about it."""
    doing = _Step(now, direction)
    _take(doing, event)
    _expire(doing)
    _switch_over(doing)
    _drain(doing)
    _report_late(doing)
    _ask_for_key(doing)
    return doing.direction, tuple(doing.effects)


def _take(doing: _Step, event: Event) -> None:
    d = doing.direction
    match event:
        case SenderUp(incarnation=incarnation, held=held):
            holds = frozenset() if held is None else frozenset({held.spi})
            _end_up(doing, "sender", End(incarnation, True, holds), () if held is None else (held,))
        case ReceiverUp(incarnation=incarnation, held=received):
            holds = frozenset(one.spi for one in received)
            _end_up(doing, "receiver", End(incarnation, True, holds), received)
        case SenderDown():
            doing.direction = replace(d, sender=replace(d.sender, present=False, holds=None))
        case ReceiverDown():
            doing.direction = replace(d, receiver=replace(d.receiver, present=False, holds=None))
        case SenderRead(spi=spi):
            sends = frozenset() if spi is None else frozenset({spi})
            doing.direction = replace(d, sender=replace(d.sender, holds=sends))
        case ReceiverRead(spis=spis):
            doing.direction = replace(d, receiver=replace(d.receiver, holds=spis))
        case Planned():
            if d.waiting:
                sa = Sa(event.spi, event.generation, SaState.PLANNED, doing.now, event.soft_at, event.hard_at)
                doing.direction = replace(d, waiting=False, rotation_wanted=False, last_planned_at=doing.now)
                doing.keep((*doing.direction.sas, sa))
        case Rotate():
            doing.direction = replace(d, rotation_wanted=True)
        case Tick():
            pass


def _end_up(doing: _Step, name: str, end: End, held: tuple[Held, ...]) -> None:
    known: End = getattr(doing.direction, name)
    if known.incarnation and known.incarnation != end.incarnation:
        # Whatever the keys were derived for is gone. A key asked for under the old incarnation must not come either.
        if doing.direction.sas:
            doing.effects.append(Dropped(name))
        doing.keep(())
        doing.direction = replace(doing.direction, waiting=False)
    if name == "sender":
        doing.direction = replace(doing.direction, sender=end)
    else:
        doing.direction = replace(doing.direction, receiver=end)
    if not known.incarnation:
        _inherit(doing, name, held)


def _inherit(doing: _Step, name: str, held: tuple[Held, ...]) -> None:
    """Take over what the switches still hold, so that an NVA that restarts interrupts nothing.

    Each end brings its half when it registers, in either order. A sending half that the receiver turns out not to hold
    is worth nothing: its receiver has lost its windows.
    """
    d = doing.direction
    if name == "receiver":
        sends = d.sender.holds or frozenset()
        found = [
            Sa(
                one.spi,
                one.generation,
                SaState.SENDING if one.spi in sends else SaState.DRAINING,
                doing.now,
                doing.now,
                doing.now + one.remaining_s,
                inherited=True,
            )
            for one in held
        ]
        doing.keep(_one_of_each_phase(tuple(found)))
    elif held and not d.receiver.incarnation:
        one = held[0]
        sa = Sa(one.spi, 0, SaState.SENDING, doing.now, doing.now, doing.now + one.remaining_s, inherited=True)
        doing.keep((sa,))
    elif held:
        spi = held[0].spi
        sas = tuple(
            replace(sa, state=SaState.SENDING, drain_until=None) if sa.spi == spi and sa.inherited else sa
            for sa in d.sas
        )
        if sum(sa.state is SaState.SENDING for sa in sas) <= 1:
            doing.keep(sas)


def _one_of_each_phase(sas: tuple[Sa, ...]) -> tuple[Sa, ...]:
    newest: dict[int, Sa] = {}
    for sa in sas:
        other = newest.get(sa.phase)
        if other is None or sa.generation > other.generation:
            newest[sa.phase] = sa
    return tuple(newest.values())


def _expire(doing: _Step) -> None:
    d = doing.direction
    current = d.current
    if current is not None and current.hard_at <= doing.now:
        doing.effects.append(Expired(current.spi))
    doing.keep(tuple(sa for sa in d.sas if sa.hard_at > doing.now))


def _switch_over(doing: _Step) -> None:
    d = doing.direction
    planned = d.planned
    if planned is None or not d.receiver.present or planned.spi not in (d.receiver.holds or ()):
        return
    current = d.current
    if current is not None:
        doing.put(replace(current, state=SaState.DRAINING, drain_until=None))
    # The age of a key counts from its making, but a sender has not been late before it was told.
    doing.put(replace(planned, state=SaState.SENDING, reported_late=False))
    doing.effects += [Switched(planned.spi), Changed()]


def _drain(doing: _Step) -> None:
    d = doing.direction
    current = d.current
    if current is None:
        return
    if current.spi in (d.sender.holds or ()):
        doing.put(replace(current, confirmed=True))
        for sa in d.sas:
            if sa.state is SaState.DRAINING and sa.drain_until is None:
                doing.put(replace(sa, drain_until=doing.now + d.grace_s))
    doing.keep(tuple(sa for sa in doing.direction.sas if sa.drain_until is None or sa.drain_until > doing.now))


def _report_late(doing: _Step) -> None:
    d = doing.direction
    for sa in d.sas:
        if sa.reported_late or sa.inherited or doing.now < sa.planned_at + d.confirm_s:
            continue
        if sa.state is SaState.PLANNED:
            doing.effects.append(Late(sa.spi, "receiver"))
        elif sa.state is SaState.SENDING and not sa.confirmed:
            doing.effects.append(Late(sa.spi, "sender"))
        else:
            continue
        doing.put(replace(sa, reported_late=True))


def _ask_for_key(doing: _Step) -> None:
    d = doing.direction
    if d.waiting or d.planned is not None or not (d.sender.present and d.receiver.present):
        return
    current = d.current
    if current is not None and not d.rotation_wanted and doing.now < current.soft_at:
        return
    if d.last_planned_at is not None and doing.now < d.last_planned_at + ROTATION_INTERVAL_S:
        return
    phase = 0 if current is None else 1 - current.phase
    if current is None:
        # Nothing is being sent, so nothing has to be drained.
        occupied = {sa.phase for sa in d.sas}
        phase = 0 if 0 not in occupied else 1
        if len(occupied) == 2:
            doing.keep(tuple(sa for sa in d.sas if sa.phase != phase))
    elif any(sa.phase == phase for sa in d.sas):
        if not any(sa.phase == phase and sa.inherited and sa.drain_until is None for sa in d.sas):
            return  # the ring is still draining; a later tick will find it free
        doing.keep(tuple(sa for sa in d.sas if sa.phase != phase))
    doing.direction = replace(doing.direction, waiting=True)
    doing.effects.append(NeedKey(phase))


def receiver_sas(direction: Direction) -> tuple[Sa, ...]:
    """What the receiver's switch should hold."""
    return direction.sas


def sender_sa(direction: Direction) -> Sa | None:
    """What the sender's switch should send with."""
    return direction.current


def next_deadline(direction: Direction, now: float) -> float | None:
    """When a Tick will next change something, if no other event comes first. Never in the past."""
    d = direction
    times: list[float] = []
    for sa in d.sas:
        times.append(sa.hard_at)
        if sa.drain_until is not None:
            times.append(sa.drain_until)
        if not (sa.reported_late or sa.inherited or sa.confirmed or sa.state is SaState.DRAINING):
            times.append(sa.planned_at + d.confirm_s)
    if d.sender.present and d.receiver.present and d.planned is None:
        current = d.current
        if current is not None and not d.rotation_wanted:
            times.append(current.soft_at)
        if d.last_planned_at is not None:
            times.append(d.last_planned_at + ROTATION_INTERVAL_S)
    return min((time for time in times if time > now), default=None)
