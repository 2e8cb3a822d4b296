# SPDX-License-Identifier: Apache-2.0
"""Life of the security associations of one direction of one tunnel, as a function (state, event) -> (state, effects).

    PLANNED ---- read back at the receiver ---> SENDING ---- a newer one is SENDING ---> DRAINING ---> gone
    derived, being installed                    the sender     receive only, until the sender has
    for reception                               uses it        been read back and the grace time is over

Make before break: a sender is told of a key only after its receiver has confirmed it by reading its switch, and the old
key still receives until the sender's switch has been read back too. An NVE that does not answer stays on its old key
until that one's hard limit, and is then off. A new incarnation at either end ends every key at once, and so does, for
the sender, a key that has sent as much as it may.

A first key is made at once. One that replaces a key in use waits for its turn (`NeedTurn`, `TurnGiven`), which it keeps
until it is confirmed at both ends, or `rollout_s` have passed.

At most one key of a phase exists at a time: a newer generation in the same replay ring would close the older's window.
Times are seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from nvo3sec.domain.sa.events import (
    Changed,
    Dropped,
    Effect,
    Event,
    Expired,
    Late,
    NeedKey,
    NeedTurn,
    Planned,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    Rotate,
    SenderDown,
    SenderRead,
    SenderUp,
    Switched,
    Tick,
    TurnGiven,
    Used,
    UsedUp,
)
from nvo3sec.domain.sa.model import Direction, End, Held, Sa, SaState, Turn

ROTATION_INTERVAL_S = 1.0
"""Never more than one rotation of a key in this time, whoever asks."""


@dataclass
class _Step:
    """One step in the making."""

    now: float
    direction: Direction
    effects: list[Effect] = field(default_factory=list)

    def put(self, sa: Sa) -> None:
        sas = tuple(sa if old.spi == sa.spi else old for old in self.direction.sas)
        self.direction = replace(self.direction, sas=sas)

    def keep(self, sas: Iterable[Sa]) -> None:
        kept = tuple(sas)
        if kept != self.direction.sas:
            self.direction = replace(self.direction, sas=kept)
            self.effects.append(Changed())

    def turn(self, turn: Turn) -> None:
        if turn is not self.direction.turn:
            self.direction = replace(self.direction, turn=turn)


def step(direction: Direction, event: Event, now: float) -> tuple[Direction, tuple[Effect, ...]]:
    """The next state, and what has to be done about it."""
    doing = _Step(now, direction)
    _take(doing, event)
    _expire(doing)
    _switch_over(doing)
    _drain(doing)
    _report_late(doing)
    _replace(doing)
    _end_turn(doing)
    return doing.direction, tuple(doing.effects)


def _take(doing: _Step, event: Event) -> None:
    d = doing.direction
    match event:
        case ReceiverRead(spis=spis):
            doing.direction = replace(d, receiver=replace(d.receiver, holds=tuple(sorted(spis))))
        case SenderRead(spi=spi):
            doing.direction = replace(d, sender=replace(d.sender, holds=() if spi is None else (spi,)))
        case Tick():
            pass
        case Used():
            _use(doing, event)
        case Planned():
            if d.waiting:
                sa = Sa(
                    event.spi,
                    event.generation,
                    SaState.PLANNED,
                    planned_at=doing.now,
                    soft_at=event.soft_at,
                    hard_at=event.hard_at,
                    epoch=event.epoch,
                    told_at=doing.now,
                )
                doing.direction = replace(d, waiting=False, rotation_wanted=False, last_planned_at=doing.now)
                doing.keep((*d.sas, sa))
        case TurnGiven():
            if d.turn is Turn.ASKED:
                doing.turn(Turn.TAKEN)
        case Rotate():
            doing.direction = replace(d, rotation_wanted=True)
        case SenderUp(incarnation=incarnation, held=held):
            sends = () if held is None else (held,)
            _end_up(doing, "sender", End(incarnation, True, tuple(one.spi for one in sends)), sends, event.jitter_s)
        case ReceiverUp(incarnation=incarnation, held=received):
            receives = tuple(sorted(one.spi for one in received))
            _end_up(doing, "receiver", End(incarnation, True, receives), received, event.jitter_s)
        case SenderDown():
            doing.direction = replace(d, sender=replace(d.sender, present=False, holds=None))
        case ReceiverDown():
            doing.direction = replace(d, receiver=replace(d.receiver, present=False, holds=None))


def _end_up(doing: _Step, name: str, end: End, held: tuple[Held, ...], jitter_s: float) -> None:
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
        _inherit(doing, name, held, jitter_s)


def _inherit(doing: _Step, name: str, held: tuple[Held, ...], jitter_s: float) -> None:
    """Take over what the switches still hold, so that an NVA that restarts interrupts nothing.

    Each end brings its half when it registers, in either order. A sending half that the receiver turns out not to hold
    is worth nothing: its receiver has lost its windows. A receiving half that nobody sends with drains: it was of a
    rotation that the restart has cut off.
    """
    d = doing.direction
    if name == "receiver":
        sends = d.sender.holds or ()
        states = {True: SaState.SENDING, False: SaState.DRAINING}
        doing.keep(_one_of_each_phase(_inherited(doing, one, states[one.spi in sends], jitter_s) for one in held))
    elif held and not d.receiver.incarnation:
        doing.keep((_inherited(doing, held[0], SaState.SENDING, jitter_s),))
    elif held:
        spi = held[0].spi
        sas = tuple(
            replace(sa, state=SaState.SENDING, drain_until=None) if sa.spi == spi and sa.inherited else sa
            for sa in d.sas
        )
        if sum(sa.state is SaState.SENDING for sa in sas) <= 1:
            doing.keep(sas)


def _inherited(doing: _Step, held: Held, state: SaState, jitter_s: float) -> Sa:
    """As old as it is, and not older: or else everything would be replaced at once after every restart."""
    limits = doing.direction.limits
    hard_at = doing.now + held.remaining_s
    return Sa(
        held.spi,
        held.generation,
        state,
        planned_at=hard_at - limits.hard_s,
        soft_at=hard_at - (limits.hard_s - limits.soft_s) - jitter_s,
        hard_at=hard_at,
        epoch=0,
        told_at=doing.now,
    )


def _one_of_each_phase(sas: Iterable[Sa]) -> Iterable[Sa]:
    newest: dict[int, Sa] = {}
    for sa in sas:
        other = newest.get(sa.phase)
        if other is None or sa.generation > other.generation:
            newest[sa.phase] = sa
    return newest.values()


def _use(doing: _Step, used: Used) -> None:
    d = doing.direction
    sa = next((sa for sa in d.sas if sa.spi == used.spi), None)
    if sa is None or sa.state is SaState.PLANNED:
        return
    if d.limits.is_used_up(used.packets, used.octets):
        # The receiving half stays for what is on the way, but no longer: a sender that goes on is not heard.
        until = doing.now + d.limits.grace_s
        if sa.drain_until is None or sa.drain_until > until:
            doing.put(replace(sa, state=SaState.DRAINING, drain_until=until))
            doing.effects += [UsedUp(sa.spi), Changed()]
    elif d.limits.is_worn(used.packets, used.octets) and sa.soft_at > doing.now:
        doing.put(replace(sa, soft_at=doing.now))


def _expire(doing: _Step) -> None:
    sas = doing.direction.sas
    if all(sa.hard_at > doing.now for sa in sas):
        return
    current = doing.direction.current
    if current is not None and current.hard_at <= doing.now:
        doing.effects.append(Expired(current.spi))
    doing.keep(sa for sa in sas if sa.hard_at > doing.now)


def _switch_over(doing: _Step) -> None:
    d = doing.direction
    planned = d.planned
    if planned is None or not d.receiver.present or planned.spi not in (d.receiver.holds or ()):
        return
    current = d.current
    if current is not None:
        doing.put(replace(current, state=SaState.DRAINING, drain_until=None))
    # The age of a key counts from its making, but a sender has not been late before it was told.
    doing.put(replace(planned, state=SaState.SENDING, told_at=doing.now, reported_late=False))
    doing.effects += [Switched(planned.spi), Changed()]


def _drain(doing: _Step) -> None:
    d = doing.direction
    current = d.current
    if current is not None and current.spi in (d.sender.holds or ()):
        if not current.confirmed:
            doing.put(replace(current, confirmed=True))
        for sa in d.sas:
            if sa.state is SaState.DRAINING and sa.drain_until is None:
                doing.put(replace(sa, drain_until=doing.now + d.limits.grace_s))
    if any(sa.drain_until is not None and sa.drain_until <= doing.now for sa in doing.direction.sas):
        doing.keep(sa for sa in doing.direction.sas if sa.drain_until is None or sa.drain_until > doing.now)


def _report_late(doing: _Step) -> None:
    d = doing.direction
    for sa in d.sas:
        if sa.reported_late or sa.inherited or doing.now < sa.told_at + d.limits.confirm_s:
            continue
        if sa.state is SaState.PLANNED:
            doing.effects.append(Late(sa.spi, "receiver"))
        elif sa.state is SaState.SENDING and not sa.confirmed:
            doing.effects.append(Late(sa.spi, "sender"))
        else:
            continue
        doing.put(replace(sa, reported_late=True))


def _replace(doing: _Step) -> None:
    """Ask for a key, or first for the turn to have one."""
    d = doing.direction
    if d.waiting:
        return
    phase = _phase_of_next(d, doing.now)
    if phase is None:
        if d.turn is Turn.ASKED:
            doing.turn(Turn.NONE)
        return
    current = d.current
    if current is not None and d.turn is not Turn.TAKEN:
        if d.turn is Turn.NONE:
            doing.turn(Turn.ASKED)
            doing.effects.append(NeedTurn(min(current.soft_at, doing.now)))
        return
    if d.turn is Turn.ASKED:
        doing.turn(Turn.NONE)  # the key in use ended meanwhile: this is a first key again
    doing.keep(sa for sa in d.sas if sa.phase != phase)
    doing.direction = replace(doing.direction, waiting=True)
    doing.effects.append(NeedKey(phase))


def _phase_of_next(d: Direction, now: float) -> int | None:
    """The phase of the key that is due; None if none is, or if it cannot be made now."""
    if d.planned is not None or not (d.sender.present and d.receiver.present):
        return None
    if d.last_planned_at is not None and now < d.last_planned_at + ROTATION_INTERVAL_S:
        return None
    current = d.current
    if current is None:
        # Nothing is being sent, so nothing has to be drained.
        return 1 if any(sa.phase == 0 for sa in d.sas) else 0
    if not d.rotation_wanted and now < current.soft_at:
        return None
    # While the ring is still draining there is no room; a later tick will find it free.
    return None if any(sa.phase != current.phase for sa in d.sas) else 1 - current.phase


def _end_turn(doing: _Step) -> None:
    d = doing.direction
    if d.turn is not Turn.TAKEN or d.waiting:
        return
    sa = d.planned or d.current
    if sa is None or sa.confirmed or doing.now >= sa.planned_at + d.limits.rollout_s:
        doing.turn(Turn.NONE)


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
            times.append(sa.told_at + d.limits.confirm_s)
        if d.turn is Turn.TAKEN and not sa.confirmed:
            times.append(sa.planned_at + d.limits.rollout_s)
    if d.sender.present and d.receiver.present and d.planned is None:
        current = d.current
        if current is not None and not d.rotation_wanted:
            times.append(current.soft_at)
        if d.last_planned_at is not None:
            times.append(d.last_planned_at + ROTATION_INTERVAL_S)
    return min((time for time in times if time > now), default=None)
