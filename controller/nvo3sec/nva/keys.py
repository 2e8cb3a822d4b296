# SPDX-License-Identifier: Apache-2.0
"""Runs the state machine of every direction: draws SPIs, counts generations, derives keys when they are handed out."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog

from nvo3sec.domain.derivation import KeyContext, Purpose, derive_key
from nvo3sec.domain.membership import Tunnel
from nvo3sec.domain.messages import ReceiveSa, SendSa
from nvo3sec.domain.model import Domain
from nvo3sec.domain.sa import (
    Direction,
    Dropped,
    Effect,
    Event,
    Expired,
    Late,
    NeedKey,
    Planned,
    ReceiverUp,
    Sa,
    Switched,
    Tick,
    next_deadline,
    receiver_sas,
    sender_sa,
    step,
)
from nvo3sec.domain.secret import Secret
from nvo3sec.domain.spi import choose_spi, next_generation
from nvo3sec.nva.epochs import Epochs

GENERATION_ZERO_S = 1_700_000_000
"""Generations follow wall time from here on (seconds since 1970): 32 bits last until 2160."""


class KeyService:
    """The keys of all tunnels of a domain. Keys themselves exist only in what `for_nve` returns."""

    def __init__(
        self,
        domain: Domain,
        tunnels: Iterable[Tunnel],
        *,
        random_bytes: Callable[[int], bytes],
        wall_seconds: Callable[[], float],
        now: float,
    ) -> None:
        self._domain = domain
        self._random_bytes = random_bytes
        self._wall_seconds = wall_seconds
        self._log = structlog.get_logger("nva.keys").bind(domain=domain.name)
        life = domain.lifetimes
        self._epochs = Epochs(random_bytes, now, life.key_soft_s)
        self._directions = {tunnel: Direction(tunnel, life.grace_s, life.confirm_s) for tunnel in tunnels}
        self._contexts: dict[tuple[Tunnel, int], tuple[int, KeyContext]] = {}
        self._of_nve: dict[str, list[Tunnel]] = {}
        self._of_pair: dict[tuple[str, str], list[Tunnel]] = {}
        for tunnel in sorted(self._directions):
            self._of_nve.setdefault(tunnel.sender, []).append(tunnel)
            self._of_nve.setdefault(tunnel.receiver, []).append(tunnel)
            self._of_pair.setdefault((tunnel.sender, tunnel.receiver), []).append(tunnel)
        self._generations: dict[str, int] = {}
        self._deadline: dict[Tunnel, float] = {}
        self._deadlines: list[tuple[float, Tunnel]] = []

    @property
    def directions(self) -> Mapping[Tunnel, Direction]:
        """Every direction by its tunnel."""
        return self._directions

    def tunnels_of(self, nve: str) -> tuple[Tunnel, ...]:
        """Every direction that `nve` is an end of."""
        return tuple(self._of_nve.get(nve, ()))

    def new_epoch(self, now: float) -> None:
        """Later keys come from a fresh secret."""
        self._epochs.advance(now)

    def tick(self, now: float) -> set[str]:
        """Let time go by; returns the NVEs whose keys changed."""
        living = {epoch for epoch, _ in self._contexts.values()}
        self._epochs.tick(now, living)
        changed: set[str] = set()
        while self._deadlines and self._deadlines[0][0] <= now:
            at, tunnel = heapq.heappop(self._deadlines)
            if self._deadline.get(tunnel) == at:
                del self._deadline[tunnel]
                changed |= self.feed(tunnel, Tick(), now)
        return changed

    def _schedule(self, tunnel: Tunnel, now: float) -> None:
        at = next_deadline(self._directions[tunnel], now)
        if at == self._deadline.get(tunnel):
            return
        if at is None:
            del self._deadline[tunnel]  # what is in the heap for it means nothing any more
        else:
            self._deadline[tunnel] = at
            heapq.heappush(self._deadlines, (at, tunnel))

    def feed(self, tunnel: Tunnel, event: Event, now: float) -> set[str]:
        """Give an event to a direction; returns the NVEs whose keys changed."""
        if isinstance(event, ReceiverUp):
            floor = max((held.generation for held in event.held), default=0)
            self._generations[tunnel.receiver] = max(self._generations.get(tunnel.receiver, 0), floor)
        before = self._directions[tunnel]
        pending: list[Event] = [event]
        while pending:
            direction, effects = step(self._directions[tunnel], pending.pop(0), now)
            self._directions[tunnel] = direction
            for effect in effects:
                match effect:
                    case NeedKey(phase=phase):
                        pending.append(self._plan(direction, phase, now))
                    case _:
                        self._note(tunnel, effect)
        self._schedule(tunnel, now)
        after = self._directions[tunnel]
        if after.sas == before.sas:
            return set()
        self._forget(tunnel, before, after)
        return {tunnel.sender, tunnel.receiver}

    def _note(self, tunnel: Tunnel, effect: Effect) -> None:
        log = self._log.bind(sender=tunnel.sender, receiver=tunnel.receiver)
        match effect:
            case Switched(spi=spi):
                log.info("sender switches to new key", spi=f"{spi:08x}")
            case Late(spi=spi, end=end):
                log.warning("key not confirmed in time", late=end, spi=f"{spi:08x}")
            case Expired(spi=spi):
                log.error("key expired without successor", spi=f"{spi:08x}")
            case Dropped(end=end):
                log.warning("keys dropped, new incarnation", at=end)
            case _:
                pass

    def _forget(self, tunnel: Tunnel, before: Direction, after: Direction) -> None:
        for spi in {sa.spi for sa in before.sas} - {sa.spi for sa in after.sas}:
            self._contexts.pop((tunnel, spi), None)

    def _plan(self, direction: Direction, phase: int, now: float) -> Planned:
        tunnel = direction.tunnel
        taken = {
            spi
            for state in (self._directions[other] for other in self._of_pair[tunnel.sender, tunnel.receiver])
            for spi in (*(sa.spi for sa in state.sas), *(state.receiver.holds or ()), *(state.sender.holds or ()))
        }
        spi = choose_spi(phase, itertools.islice(self._draws(), 64), taken)
        generation = next_generation(
            self._generations.get(tunnel.receiver, 0), max(0, int(self._wall_seconds()) - GENERATION_ZERO_S)
        )
        self._generations[tunnel.receiver] = generation
        sender, receiver = (self._domain.nve_by_name[name] for name in (tunnel.sender, tunnel.receiver))
        context = KeyContext(
            purpose=Purpose.TUNNEL,
            suite=tunnel.suite,
            sender=tunnel.sender,
            receiver=tunnel.receiver,
            outer_source=sender.address,
            outer_destination=receiver.address,
            sender_incarnation=direction.sender.incarnation,
            receiver_incarnation=direction.receiver.incarnation,
            spi=spi,
            generation=generation,
        )
        self._contexts[tunnel, spi] = (self._epochs.current, context)
        life = self._domain.lifetimes
        jitter = life.key_jitter_s * int.from_bytes(self._random_bytes(4), "big") / 2**32
        return Planned(spi, generation, now + life.key_soft_s - jitter, now + life.key_hard_s)

    def _draws(self) -> Iterator[int]:
        while True:
            yield int.from_bytes(self._random_bytes(4), "big")

    def _key(self, tunnel: Tunnel, sa: Sa) -> Secret | None:
        if sa.inherited:
            return None
        epoch, context = self._contexts[tunnel, sa.spi]
        return derive_key(self._epochs.secret(epoch), context)

    def for_nve(self, nve: str, now: float) -> tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]:
        """Every key that the switch of `nve` should hold, and no other."""
        receive: list[ReceiveSa] = []
        send: list[SendSa] = []
        for tunnel in self.tunnels_of(nve):
            direction = self._directions[tunnel]
            if tunnel.receiver == nve:
                receive += [
                    ReceiveSa(
                        peer=tunnel.sender,
                        suite=tunnel.suite,
                        spi=sa.spi,
                        generation=sa.generation,
                        key=self._key(tunnel, sa),
                        remaining_s=sa.hard_at - now,
                    )
                    for sa in receiver_sas(direction)
                ]
                continue
            sa = sender_sa(direction)
            if sa is not None:
                key = self._key(tunnel, sa)
                send.append(SendSa(tunnel.receiver, tunnel.suite, sa.spi, key, sa.hard_at - now))
        return tuple(receive), tuple(send)
