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

A key that cannot be made yet is `Postponed`: its direction waits for nothing, and for no turn, until it is `Resumed`.

At most one key of a phase exists at a time: a newer generation in the same replay ring would close the older's window.
Times are seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.keys.sa.events import (
    Changed,
    Dropped,
    Effect,
    Event,
    Expired,
    Late,
    NeedKey,
    NeedTurn,
    Planned,
    Postponed,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    Resumed,
    Rotate,
    SenderDown,
    SenderRead,
    SenderUp,
    Switched,
    Tick,
    TurnGiven,
    Unusable,
    Used,
    UsedUp,
)
from nvo3sec.domain.keys.sa.model import Direction, End, Held, Sa, SaState, Turn, in_state

ROTATION_INTERVAL_S = 1.0
"""Never more than one rotation of a key in this time, whoever asks."""


class _Draft:
    """A direction in the making: the fields of `Direction`, to be changed, and what has to be done."""

    __slots__ = (
        "before",
        "effects",
        "last_planned_at",
        "limits",
        "now",
        "postponed",
        "receiver",
        "rotation_wanted",
        "sas",
        "sender",
        "turn",
        "waiting",
    )

    def __init__(self, before: Direction, now: float) -> None:
        self.before = before
        self.now = now
        self.limits = before.limits
        self.sender = before.sender
        self.receiver = before.receiver
        self.sas = before.sas
        self.rotation_wanted = before.rotation_wanted
        self.waiting = before.waiting
        self.postponed = before.postponed
        self.turn = before.turn
        self.last_planned_at = before.last_planned_at
        self.effects: list[Effect] = []

    def done(self) -> Direction:
        """The direction as it is now; the same one if nothing has changed."""
        old = self.before
        if (
            self.sas is old.sas
            and self.sender is old.sender
            and self.receiver is old.receiver
            and self.turn is old.turn
            and self.waiting is old.waiting
            and self.postponed is old.postponed
            and self.rotation_wanted is old.rotation_wanted
        ):
            return old
        return Direction(
            old.tunnel,
            self.limits,
            self.sender,
            self.receiver,
            self.sas,
            self.rotation_wanted,
            self.waiting,
            self.postponed,
            self.turn,
            self.last_planned_at,
        )

    @property
    def current(self) -> Sa | None:
        return in_state(self.sas, SaState.SENDING)

    @property
    def planned(self) -> Sa | None:
        return in_state(self.sas, SaState.PLANNED)

    def put(self, sa: Sa) -> None:
        self.sas = tuple([sa if old.spi == sa.spi else old for old in self.sas])

    def keep(self, sas: Iterable[Sa]) -> None:
        kept = tuple(sas)
        if kept != self.sas:
            self.sas = kept
            self.effects.append(Changed())


def step(direction: Direction, event: Event, now: float) -> tuple[Direction, tuple[Effect, ...]]:
    """The next state, and what has to be done about it."""
    d = _Draft(direction, now)
    _take(d, event)
    _expire(d)
    _switch_over(d)
    _drain(d)
    _report_late(d)
    _replace(d)
    _end_turn(d)
    return d.done(), tuple(d.effects)


def _take(d: _Draft, event: Event) -> None:
    match event:
        case ReceiverRead(spis=spis):
            d.receiver = _holding(d.receiver, tuple(sorted(spis)))
        case SenderRead(spi=spi):
            d.sender = _holding(d.sender, () if spi is None else (spi,))
        case Tick():
            pass
        case TurnGiven():
            if d.turn is Turn.ASKED:
                d.turn = Turn.TAKEN
        case Planned():
            _plan(d, event)
        case Postponed():
            d.waiting, d.postponed = False, d.waiting
        case Resumed():
            d.postponed = False
        case Unusable(spi=spi):
            _give_up(d, spi)
        case Used():
            _use(d, event)
        case Rotate():
            d.rotation_wanted = True
        case SenderUp(incarnation=incarnation, held=held):
            sends = () if held is None else (held,)
            before, d.sender = d.sender, End(incarnation, True, tuple(one.spi for one in sends))
            if _is_new(d, "sender", before, incarnation):
                _inherit_sending(d, sends, event.jitter_s)
        case ReceiverUp(incarnation=incarnation, held=received):
            before, d.receiver = d.receiver, End(incarnation, True, tuple(sorted(one.spi for one in received)))
            if _is_new(d, "receiver", before, incarnation):
                _inherit_receiving(d, received, event.jitter_s)
        case SenderDown():
            d.sender = End(d.sender.incarnation)
        case ReceiverDown():
            d.receiver = End(d.receiver.incarnation)


def _holding(end: End, spis: tuple[int, ...]) -> End:
    return end if end.holds == spis else End(end.incarnation, end.present, spis)


def _plan(d: _Draft, planned: Planned) -> None:
    if not d.waiting:
        return
    sa = Sa(
        planned.spi,
        planned.generation,
        SaState.PLANNED,
        planned_at=d.now,
        soft_at=planned.soft_at,
        hard_at=planned.hard_at,
        epoch=planned.epoch,
        told_at=d.now,
    )
    d.waiting, d.rotation_wanted, d.last_planned_at = False, False, d.now
    d.keep((*d.sas, sa))


def _is_new(d: _Draft, name: str, before: End, incarnation: bytes) -> bool:
    """Is this the first that is heard of the end? If it was another switch before, its keys end."""
    if before.incarnation and before.incarnation != incarnation:
        # Whatever the keys were derived for is gone. A key asked for under the old incarnation must not come either.
        if d.sas:
            d.effects.append(Dropped(name))
        d.keep(())
        d.waiting = False
    return not before.incarnation


# What the switches still hold is taken over, so that an NVA that restarts interrupts nothing. Each end brings its half
# when it registers, in either order. A sending half that the receiver turns out not to hold is worth nothing: its
# receiver has lost its windows. A receiving half that nobody sends with drains: it was of a rotation that the restart
# has cut off.


def _inherit_receiving(d: _Draft, held: Iterable[Held], jitter_s: float) -> None:
    sends = d.sender.holds
    if sends is None:  # it may have been there and gone again; its switch goes on with what it had
        sends = () if d.current is None else (d.current.spi,)
    states = {True: SaState.SENDING, False: SaState.DRAINING}
    d.keep(_one_of_each_phase(_inherited(d, one, states[one.spi in sends], jitter_s) for one in held))


def _inherit_sending(d: _Draft, held: tuple[Held, ...], jitter_s: float) -> None:
    if not held:
        return
    if not d.receiver.incarnation:
        d.keep((_inherited(d, held[0], SaState.SENDING, jitter_s),))
        return
    spi = held[0].spi
    sas = tuple(
        sa._replace(state=SaState.SENDING, drain_until=None) if sa.spi == spi and sa.inherited else sa for sa in d.sas
    )
    if sum(sa.state is SaState.SENDING for sa in sas) <= 1:
        d.keep(sas)


def _inherited(d: _Draft, held: Held, state: SaState, jitter_s: float) -> Sa:
    """As old as it is, and not older: or else everything would be replaced at once after every restart.

    No key lives longer than one that is made now, whatever a switch says of it.
    """
    hard_at = d.now + min(held.remaining_s, d.limits.hard_s)
    return Sa(
        held.spi,
        held.generation,
        state,
        planned_at=hard_at - d.limits.hard_s,
        soft_at=hard_at - (d.limits.hard_s - d.limits.soft_s) - jitter_s,
        hard_at=hard_at,
        epoch=0,
        told_at=d.now,
    )


def _one_of_each_phase(sas: Iterable[Sa]) -> Iterable[Sa]:
    newest: dict[int, Sa] = {}
    for sa in sas:
        other = newest.get(sa.phase)
        if other is None or sa.generation > other.generation:
            newest[sa.phase] = sa
    return newest.values()


def _use(d: _Draft, used: Used) -> None:
    sa = next((sa for sa in d.sas if sa.spi == used.spi), None)
    if sa is None or sa.state is SaState.PLANNED:
        return
    used_up = d.limits.is_used_up(used.packets, used.octets)
    # What is not known to be too much is replaced without a gap; but not waited for longer than a rotation takes.
    if used_up and not (used.at_most and d.now < sa.soft_at + d.limits.rollout_s):
        # The receiving half stays for what is on the way, but no longer: a sender that goes on is not heard.
        until = d.now + d.limits.grace_s
        if sa.drain_until is None or sa.drain_until > until:
            d.put(sa._replace(state=SaState.DRAINING, drain_until=until))
            d.effects += [UsedUp(sa.spi), Changed()]
    elif (used_up or d.limits.is_worn(used.packets, used.octets)) and sa.soft_at > d.now:
        d.put(sa._replace(soft_at=d.now))


def _give_up(d: _Draft, spi: int) -> None:
    """A key that an end cannot have. Its predecessor, if the sender still uses that, goes on until there is another."""
    sa = next((sa for sa in d.sas if sa.spi == spi), None)
    if sa is None or sa.confirmed:
        return
    sends = (d.sender.holds or ()) if sa.state is SaState.SENDING else ()
    d.keep(
        other._replace(state=SaState.SENDING, drain_until=None) if other.spi in sends else other
        for other in d.sas
        if other.spi != spi
    )
    d.rotation_wanted = True


def _expire(d: _Draft) -> None:
    for sa in d.sas:
        if sa.hard_at <= d.now:
            break
    else:
        return
    current = d.current
    if current is not None and current.hard_at <= d.now:
        d.effects.append(Expired(current.spi))
    d.keep(sa for sa in d.sas if sa.hard_at > d.now)


def _switch_over(d: _Draft) -> None:
    planned = d.planned
    if planned is None or not d.receiver.present or planned.spi not in (d.receiver.holds or ()):
        return
    current = d.current
    if current is not None:
        d.put(current._replace(state=SaState.DRAINING, drain_until=None))
    # The age of a key counts from its making, but a sender has not been late before it was told.
    d.put(planned._replace(state=SaState.SENDING, told_at=d.now, reported_late=False))
    d.effects += [Switched(planned.spi), Changed()]


def _drain(d: _Draft) -> None:
    current = d.current
    if current is not None and current.spi in (d.sender.holds or ()):
        if not current.confirmed:
            d.put(current._replace(confirmed=True))
        for sa in d.sas:
            if sa.state is SaState.DRAINING and sa.drain_until is None:
                d.put(sa._replace(drain_until=d.now + d.limits.grace_s))
    for sa in d.sas:
        if sa.drain_until is not None and sa.drain_until <= d.now:
            d.keep(sa for sa in d.sas if sa.drain_until is None or sa.drain_until > d.now)
            return


def _report_late(d: _Draft) -> None:
    for sa in d.sas:
        if sa.reported_late or sa.confirmed or sa.inherited or d.now < sa.told_at + d.limits.confirm_s:
            continue
        if sa.state is SaState.PLANNED:
            d.effects.append(Late(sa.spi, "receiver"))
        elif sa.state is SaState.SENDING:
            d.effects.append(Late(sa.spi, "sender"))
        else:
            continue
        d.put(sa._replace(reported_late=True))


def _replace(d: _Draft) -> None:
    """Ask for a key, or first for the turn to have one."""
    if d.waiting:
        return
    phase = _phase_of_next(d)
    if phase is None:
        if d.turn is Turn.ASKED:
            d.turn = Turn.NONE
        return
    current = d.current
    if current is not None and d.turn is not Turn.TAKEN:
        if d.turn is Turn.NONE:
            d.turn = Turn.ASKED
            d.effects.append(NeedTurn(min(current.soft_at, d.now)))
        return
    d.keep(sa for sa in d.sas if sa.phase != phase)
    d.waiting = True
    d.effects.append(NeedKey(phase))


def _phase_of_next(d: _Draft) -> int | None:
    """The phase of the key that is due; None if none is, or if it cannot be made now."""
    if d.postponed or not (d.sender.present and d.receiver.present) or d.planned is not None:
        return None
    if d.last_planned_at is not None and d.now < d.last_planned_at + ROTATION_INTERVAL_S:
        return None
    current = d.current
    if current is None:
        # Nothing is being sent, so nothing has to be drained.
        return 1 if any(sa.phase == 0 for sa in d.sas) else 0
    if not d.rotation_wanted and d.now < current.soft_at:
        return None
    # While the ring is still draining there is no room; a later tick will find it free.
    return None if any(sa.phase != current.phase for sa in d.sas) else 1 - current.phase


def _end_turn(d: _Draft) -> None:
    if d.turn is not Turn.TAKEN or d.waiting:
        return
    sa = d.planned or d.current
    if sa is None or sa.confirmed or d.now >= sa.planned_at + d.limits.rollout_s:
        d.turn = Turn.NONE


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
    current: Sa | None = None
    planned = False
    for sa in d.sas:
        times.append(sa.hard_at)
        if sa.drain_until is not None:
            times.append(sa.drain_until)
        if sa.state is SaState.DRAINING:
            continue
        if not (sa.reported_late or sa.inherited or sa.confirmed):
            times.append(sa.told_at + d.limits.confirm_s)
        if d.turn is Turn.TAKEN and not sa.confirmed:
            times.append(sa.planned_at + d.limits.rollout_s)
        if sa.state is SaState.PLANNED:
            planned = True
        else:
            current = sa
    if not planned and d.sender.present and d.receiver.present:
        if current is not None and not d.rotation_wanted and current.soft_at > now:
            times.append(current.soft_at)
        elif d.last_planned_at is not None:
            times.append(d.last_planned_at + ROTATION_INTERVAL_S)
    return min([time for time in times if time > now], default=None)
