# SPDX-License-Identifier: Apache-2.0
"""The key service: runs the state machine of every direction, names keys, and derives them when they are handed out.

Nothing is handed out before what must never be repeated is stored: the epoch that a key is derived from, and a mark
above its generation. That is enforced in one place, at the door (`door`), for everything that has come up since the
last time. Keys themselves exist only in what leaves.

docs/keys.md says why no more than that has to be stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import structlog

from nvo3sec.domain.keys.sa import (
    Direction,
    Event,
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
    Sa,
    SenderDown,
    SenderRead,
    SenderUp,
    Tick,
    Turn,
    TurnGiven,
    Unusable,
    next_deadline,
    receiver_sas,
    sender_sa,
    step,
)
from nvo3sec.domain.keys.spi import choose_spi
from nvo3sec.domain.keys.turns import Turns
from nvo3sec.domain.messages.session import ReceiveSa, SendSa
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain, Suite
from nvo3sec.errors import DerivationError
from nvo3sec.nva.keys import mixed
from nvo3sec.nva.keys.contribution_relay import PeerRelay
from nvo3sec.nva.keys.deadlines import Deadlines
from nvo3sec.nva.keys.delivery import Door
from nvo3sec.nva.keys.epochs import Epochs
from nvo3sec.nva.keys.generations import TERM_LEAD, Generations, inherited_from_before
from nvo3sec.nva.keys.limits import limits_of
from nvo3sec.nva.keys.log import log_effect
from nvo3sec.nva.keys.messages import KeyChanges
from nvo3sec.nva.reports.confinement import Confinement
from nvo3sec.nva.store.records import Store, Stored

GENERATION_ZERO_S = 1_700_000_000
"""Generations follow wall time from here on (seconds since 1970): 32 bits last until 2160."""
RETRY_S = 30.0
"""Until a direction in which something went wrong is looked at again, if nothing happens to it before."""
PICKED_AT_ONCE = 1000
"""Directions whose turn it may become in one call, so that a call takes milliseconds whatever an operator asks for."""


class KeyService:
    """The keys of all tunnels of a domain.

    stored: what `store.load()` gave. random_bytes: a cryptographic source. wall_seconds: coarse wall time, seconds
    since 1970. now: seconds, monotonic, as in every call. After a StoreError nothing new is handed out any more. relay:
    knows what the NVEs contribute to keys; None where the NVA always makes them alone. confinement: around each
    direction. tell: hears of each NVE whose keys have changed, and in which direction; it remembers that until it has
    fetched them, with `changes_for`.
    """

    def __init__(
        self,
        domain: Domain,
        membership: Membership,
        store: Store,
        stored: Stored,
        *,
        random_bytes: Callable[[int], bytes],
        wall_seconds: Callable[[], float],
        now: float,
        relay: PeerRelay | None = None,
        confinement: Confinement | None = None,
        tell: Callable[[str, Tunnel], None] = lambda _nve, _tunnel: None,
    ) -> None:
        self._domain = domain
        self._relay = relay
        self._confinement = confinement or Confinement(domain.name)
        self._tell = tell
        self._random_bytes = random_bytes
        self._wall_seconds = wall_seconds
        self._lead = (stored.term - 1) * TERM_LEAD
        self._log = structlog.get_logger("nva.keys").bind(domain=domain.name)
        self._limits = {suite: limits_of(domain.lifetimes, suite) for suite in Suite}
        self._life = domain.lifetimes
        wall = wall_seconds()
        self._epochs = Epochs(random_bytes, stored, now=now, wall=wall, life_s=self._life.key_soft_s)
        self._epochs.tick(now, wall)
        self._generations = Generations(stored.generations)
        self._door = Door(domain, store, self._epochs, self._generations, relay, self._confinement)
        self._retired: dict[str, bytes] = {}  # incarnations that are to end; b"": whatever it comes with first
        self.starved: dict[str, str] = {}
        """Receivers for which no key can be made, and why."""
        self._turns = Turns(domain.lifetimes.rotations_at_once)
        self._directions: dict[Tunnel, Direction] = {}
        self._of_nve: dict[str, dict[Tunnel, None]] = {}
        self._incarnations: dict[str, bytes] = {}
        self._deadlines = Deadlines()
        for tunnel in sorted(membership.tunnels()):
            self._add(tunnel)

    # --- directions -------------------------------------------------------------------------------------------------

    @property
    def directions(self) -> Mapping[Tunnel, Direction]:
        """Every direction by its tunnel."""
        return self._directions

    def tunnels_of(self, nve: str) -> tuple[Tunnel, ...]:
        """Every direction that `nve` is an end of."""
        return tuple(self._of_nve.get(nve, ()))

    def _add(self, tunnel: Tunnel) -> None:
        self._directions[tunnel] = Direction(tunnel, self._limits[tunnel.suite])
        for nve in (tunnel.sender, tunnel.receiver):
            self._of_nve.setdefault(nve, {})[tunnel] = None

    def _remove(self, tunnel: Tunnel) -> None:
        direction = self._directions.pop(tunnel)
        for nve in (tunnel.sender, tunnel.receiver):
            del self._of_nve[nve][tunnel]
            self._tell(nve, tunnel)
        self._deadlines.forget(tunnel)
        self._turns.leave(tunnel)
        self._let_go(tunnel, direction.sas, ())

    def arrived(self, nve: str, incarnation: bytes) -> None:
        """The agent of `nve` is there, also if no direction begins or ends at it yet."""
        self._incarnations[nve] = incarnation

    def departed(self, nve: str) -> None:
        """The agent of `nve` is gone."""
        self._incarnations.pop(nve, None)

    def judge(self, nve: str, incarnation: bytes, seen: int) -> str:
        """Why the switch of `nve` has to take another incarnation; "" if it need not.

        seen: the highest generation that its replay rings can have seen, by all that it says in one message. What it
        says counts for what it receives itself: if that cannot be believed, or is to begin anew, its rings have to.
        """
        retired = self._retired.get(nve)
        if retired == incarnation or (retired == b"" and seen):
            self._retired[nve] = incarnation
            return "its generations begin anew"
        if not self._generations.found(nve, seen, self._seconds()):
            return f"generation {seen} is not one that this NVA can have given out"
        self._retired.pop(nve, None)
        return ""

    def reset_mark(self, nve: str, incarnation: bytes, now: float) -> None:
        """Begin anew with the generations of what `nve` receives: from a fresh epoch, under another incarnation of it.

        incarnation: its present one, which gets no key any more; b"" if that is not known. Its directions are to hear
        first that it is gone. Raises StoreError.
        """
        self._retired[nve] = incarnation
        self._generations.forget(nve)
        self._epochs.begin(now, self._wall_seconds())
        self.starved.pop(nve, None)
        self._door.commit()

    def reconfigure(self, domain: Domain, membership: Membership, now: float) -> None:
        """The domain or its membership has changed: by a new domain file, or because an NVE was revoked.

        Directions that are no more end at once at both ends, without grace, and so do those whose outer addresses
        changed. If there are any, later keys come from a fresh epoch: nothing that a removed NVE held has a secret in
        common with them. New directions begin; all others go on undisturbed, under the limits of the new file.
        """
        wanted = membership.tunnels()
        old = self._domain.nve_by_name
        changed = {nve.name for nve in domain.nves if nve.name in old and nve.addresses != old[nve.name].addresses}

        def has_moved(tunnel: Tunnel) -> bool:
            if changed.isdisjoint((tunnel.sender, tunnel.receiver)):
                return False
            was, will = (
                one.nve_by_name[tunnel.sender].ends_with(one.nve_by_name[tunnel.receiver])
                for one in (self._domain, domain)
            )
            return was != will

        ended = [tunnel for tunnel in self._directions if tunnel not in wanted or has_moved(tunnel)]
        for tunnel in ended:
            self._remove(tunnel)
        if ended:
            self._epochs.begin(now, self._wall_seconds())
        self._domain = domain
        self._door.configure(domain)
        self._turns.places = domain.lifetimes.rotations_at_once
        limits = {suite: limits_of(domain.lifetimes, suite) for suite in Suite}
        self._life = domain.lifetimes
        if limits != self._limits:
            self._limits = limits
            self._epochs.life_s = self._life.key_soft_s
            for tunnel, direction in self._directions.items():
                self._directions[tunnel] = direction._replace(limits=limits[tunnel.suite])
                self._schedule(tunnel, now)
        for tunnel in sorted(wanted - self._directions.keys()):
            self._add(tunnel)
            if tunnel.sender in self._incarnations:
                self._feed(tunnel, SenderUp(self._incarnations[tunnel.sender]), now)
            if tunnel.receiver in self._incarnations:
                self._feed(tunnel, ReceiverUp(self._incarnations[tunnel.receiver]), now)
        self._give_turns(now)

    # --- events -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time go by. Raises StoreError when the secret of an epoch that is over cannot be destroyed."""
        self._epochs.tick(now, self._wall_seconds())
        for tunnel in self._deadlines.passed(now):
            self._feed(tunnel, Tick(), now)
        self._give_turns(now)
        if self._epochs.has_ended:
            self._door.commit()

    def feed(self, tunnel: Tunnel, event: Event, now: float) -> None:
        """Give an event to a direction; to one that is no more, nothing happens."""
        if tunnel not in self._directions:
            return
        if self._relay is not None:
            event = mixed.as_proved(self._relay, self._directions[tunnel], event)
        match event:
            case SenderUp(incarnation=incarnation, held=sends):
                self._incarnations[tunnel.sender] = incarnation
                if sends is not None:
                    event = replace(event, jitter_s=self._jitter())
            case ReceiverUp(incarnation=incarnation, held=held):
                self._incarnations[tunnel.receiver] = incarnation
                if held:
                    event = replace(event, jitter_s=self._jitter())
            case ReceiverRead(spis=spis):
                if self._directions[tunnel].receiver.holds == tuple(sorted(spis)):
                    return  # of an agent that reads everything back, nearly everything is as it was
            case SenderRead(spi=spi):
                if self._directions[tunnel].sender.holds == (() if spi is None else (spi,)):
                    return
            case SenderDown():
                self._incarnations.pop(tunnel.sender, None)
            case ReceiverDown():
                self._incarnations.pop(tunnel.receiver, None)
            case _:
                pass
        self._feed(tunnel, event, now)
        if isinstance(event, SenderUp | ReceiverUp):
            if self._directions[tunnel].postponed:
                self._feed(tunnel, Resumed(), now)
            if self._lead and inherited_from_before(self._directions[tunnel], self._seconds()):
                self._feed(tunnel, Rotate(), now)
        self._give_turns(now)

    def contributed(self, nve: str, now: float) -> None:
        """What `nve` can mix keys with has changed."""
        if self._relay is None:
            return
        for tunnel in self.tunnels_of(nve):
            direction = self._directions[tunnel]
            for sa in direction.sas:
                if mixed.is_lost(self._relay, nve, direction, sa):
                    self._feed(tunnel, Unusable(sa.spi), now)
            if direction.postponed and self._relay.pair(tunnel, self._epochs.current) is not None:
                self._feed(tunnel, Resumed(), now)
        self._give_turns(now)

    def other_makers(self, now: float) -> None:
        """Who makes the keys has changed: every key is replaced."""
        for tunnel, direction in self._directions.items():
            if direction.postponed:
                self._feed(tunnel, Resumed(), now)
        self.rotate(self._directions, now)

    def rotate(self, tunnels: Iterable[Tunnel], now: float) -> None:
        """An operator wants new keys in these directions, from a secret that no earlier key came from.

        Each rotates when it is its turn and both its ends are there, unless it has had a new key by then.
        """
        self._epochs.begin(now, self._wall_seconds())
        self._turns.want((tunnel for tunnel in tunnels if tunnel in self._directions), now)
        self._give_turns(now)

    def _give_turns(self, now: float) -> None:
        for _ in range(PICKED_AT_ONCE):
            picked = self._turns.pick()
            if picked is None:
                break
            tunnel, wanted_at = picked
            direction = self._directions.get(tunnel)
            if direction is None:
                continue
            if wanted_at is None:
                self._feed(tunnel, TurnGiven(), now)
            elif direction.last_planned_at is None or direction.last_planned_at <= wanted_at:
                self._feed(tunnel, Rotate(), now)

    def _feed(self, tunnel: Tunnel, event: Event, now: float) -> None:
        """Let an event happen to a direction; if that goes wrong the direction stays as it was, and no other does."""
        try:
            self._step(tunnel, event, now)
        except Exception as error:  # noqa: BLE001  # nothing is stored in here
            self._confinement.note("keys", tunnel.receiver, str(tunnel), error)
            self._deadlines.set(tunnel, now + RETRY_S)

    def _step(self, tunnel: Tunnel, event: Event, now: float) -> None:
        before = after = self._directions[tunnel]
        pending: list[Event] = [event]
        while pending:
            after, effects = step(after, pending.pop(), now)
            for effect in effects:
                if isinstance(effect, NeedKey):
                    pending.append(self._plan(after, effect.phase, now))
                elif isinstance(effect, NeedTurn):
                    self._turns.ask(tunnel, effect.due_at)
                else:
                    log_effect(self._log, tunnel, effect)
                if isinstance(effect, Late) and self._relay and mixed.is_unproved(self._relay, tunnel, effect):
                    pending.append(Unusable(effect.spi))
        self._directions[tunnel] = after
        self._schedule(tunnel, now)
        if after.turn is not before.turn:
            if after.turn is Turn.TAKEN:
                self._turns.take(tunnel)
            elif before.turn is Turn.TAKEN:
                self._turns.leave(tunnel)
        if after.sas is before.sas:
            return
        if [sa.spi for sa in receiver_sas(before)] != [sa.spi for sa in receiver_sas(after)]:
            self._let_go(tunnel, before.sas, after.sas)
            self._tell(tunnel.receiver, tunnel)
        old, new = sender_sa(before), sender_sa(after)
        if (None if old is None else old.spi) != (None if new is None else new.spi):
            self._tell(tunnel.sender, tunnel)

    def _schedule(self, tunnel: Tunnel, now: float) -> None:
        at = next_deadline(self._directions[tunnel], now)
        if at is not None:
            self._deadlines.set(tunnel, at)

    # --- keys -------------------------------------------------------------------------------------------------------

    def _let_go(self, tunnel: Tunnel, before: tuple[Sa, ...], after: tuple[Sa, ...]) -> None:
        left = {sa.spi for sa in after}
        for sa in before:
            if sa.spi not in left and not sa.inherited:
                self._epochs.drop_key(sa.epoch)
                if self._relay is not None:
                    self._relay.forget(tunnel, sa.spi)

    @property
    def epoch(self) -> int:
        """The epoch that new keys belong to."""
        return self._epochs.current

    def _plan(self, direction: Direction, phase: int, now: float) -> Planned | Postponed:
        tunnel = direction.tunnel
        relay = self._relay if self._relay is not None and self._relay.is_asking else None
        pair = None if relay is None else relay.pair(tunnel, self._epochs.current)
        if relay is not None and pair is None:
            return Postponed()
        try:
            generation = self._generations.next(tunnel.receiver, self._seconds())
        except DerivationError as error:
            self.starved[tunnel.receiver] = str(error)
            self._confinement.note("generations", tunnel.receiver, "", error)
            return Postponed()
        taken: set[int] = set()
        for suite in Suite:
            at_level = tunnel if suite is tunnel.suite else Tunnel(tunnel.sender, tunnel.receiver, suite)
            other = self._directions.get(at_level)
            if other is not None:
                taken.update(sa.spi for sa in other.sas)
                taken.update(other.receiver.holds or (), other.sender.holds or ())
        spi = choose_spi(phase, itertools.islice(self._draws(), 64), taken)
        if relay is not None and pair is not None:
            relay.plan(tunnel, spi, pair)
        soft_at = now + self._life.key_soft_s - self._jitter()
        return Planned(spi, generation, soft_at, now + self._life.key_hard_s, self._epochs.add_key())

    def _seconds(self) -> int:
        return max(0, int(self._wall_seconds()) - GENERATION_ZERO_S) + self._lead

    def _jitter(self) -> float:
        return self._life.key_jitter_s * int.from_bytes(self._random_bytes(4), "big") / 2**32

    def _draws(self) -> Iterator[int]:
        while True:
            yield int.from_bytes(self._random_bytes(4), "big")

    def for_nve(self, nve: str, now: float) -> tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]:
        """Every key that the switch of `nve` should hold, and no other. Raises StoreError, and hands out nothing."""
        return self._door.hand_out(nve, (self._directions[tunnel] for tunnel in self._of_nve.get(nve, ())), now)

    def changes_for(self, nve: str, tunnels: Collection[Tunnel], now: float) -> KeyChanges:
        """The same in those directions in which something changed since `nve` was told. Raises StoreError, as
        `for_nve`."""
        left = (self._directions[tunnel] for tunnel in tunnels if tunnel in self._directions)
        return KeyChanges(tuple(tunnels), *self._door.hand_out(nve, left, now))
