# SPDX-License-Identifier: Apache-2.0
"""The NVA for operators: another domain file, NVEs that are shut out, new keys, and decisions about mappings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nvo3sec.domain.keys.sa import Direction
from nvo3sec.domain.mapping import Event as MappingEvent
from nvo3sec.domain.mapping import MappingState, Outcome
from nvo3sec.domain.messages.session import Report
from nvo3sec.domain.overlay.meanings import Meaning, obstacles
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import OperatorError
from nvo3sec.nva.intent.level_steps import LevelProgress
from nvo3sec.nva.intent.tunnel_choice import choose_tunnels, some_tunnels
from nvo3sec.nva.reports.journal import ReportRecord
from nvo3sec.nva.state import State


class Administration:
    """Of one NVA."""

    def __init__(self, state: State) -> None:
        self._state = state

    # --- what operators have done -----------------------------------------------------------------------------------

    def configure(self, domain: Domain, file: str = "") -> None:
        """Apply another domain file as a whole; it is durable, with its text `file`, when this returns.

        Raises OperatorError for another domain, or for numbers that may still stand for something else, and nothing has
        changed then; StoreError, and then this NVA ends: what runs after its restart is either file, whole.
        """
        state = self._state
        now, excluded = state.clock(), state.intent.excluded_of(domain)
        if refused := obstacles(state.domain, domain, state.held.waiting):
            raise OperatorError("; ".join(refused.values()))
        handled = state.configure(domain, now, excluded, file)
        state.intent.configure(domain)
        with state.guard.must_not_fail():
            state.marks.only(domain.nve_by_name)
        state.follow(handled, now)

    def revoke(self, nve: str) -> None:
        """Shut an NVE out for good: everywhere, at once, without its help. Raises OperatorError, StoreError."""
        state = self._state
        with state.guard.must_not_fail():
            state.intent.revoke(nve)
            state.marks.forget(nve)
        state.log.warning("nve revoked", nve=nve)
        state.cut_off([nve])

    def not_yet_without(self, nve: str) -> tuple[str, ...]:
        """The peers of an NVE that was revoked whose switches may still take something from it.

        One that is connected has to confirm what it was told; of one that is not, the lease has to end.
        """
        return self._state.not_yet_without(nve)

    def suspend(self, nves: Iterable[str], why: str, *, for_good: bool = True) -> None:
        """Shut NVEs out until they register with a good certificate; `for_good`: another one. Raises StoreError.

        What follows is done once: with many NVEs it takes seconds, and a revocation list can name many.
        """
        state = self._state
        with state.guard.must_not_fail():
            were_in = state.intent.suspend(nves, why, for_good=for_good)
        for nve in were_in:
            state.log.warning("nve suspended", nve=nve, why=why)
            state.note(nve, Report("nve-suspended", why), always=True)
        if were_in:
            state.cut_off(were_in)

    def rotate(self, nves: Iterable[str] = (), vn: str | None = None) -> int:
        """Ask for new keys in all directions, or in those that `some_tunnels` chooses; returns how many directions.

        Raises OperatorError for a name that does not exist, one that is shut out, and where no tunnel is chosen.
        """
        state = self._state
        choose_tunnels(state.domain, state.membership, (), nves, vn)
        state.intent.must_be_in(nves)
        chosen = some_tunnels(state.domain, state.membership, state.keys.directions, nves, vn)
        state.keys.rotate(chosen, state.clock())
        state.contributing.follow(state.keys)
        return len(chosen)

    def reset_marks(self, nve: str) -> str:
        """Begin anew with the generations of what an NVE receives: in a fresh epoch, under another incarnation of it.

        Returns the incarnation that it gives up, "" if none is known. Raises OperatorError, StoreError.
        """
        state = self._state
        choose_tunnels(state.domain, state.membership, (), [nve], None)  # there is one of this name
        state.intent.must_be_in([nve])
        with state.guard.must_not_fail():
            before = state.accounts.reset_mark(nve, state.clock())
        state.log.warning("marks reset", nve=nve)
        state.contributing.follow(state.keys)
        if before:
            state.sessions.tell_incarnation(nve)
        return before.hex()

    def decide(self, event: MappingEvent) -> Outcome:
        """An operator decides about a mapping (`Admit`, `Evict`). Raises StoreError."""
        return self._state.handle([event])[0]

    def must_be_in(self, nves: Iterable[str]) -> None:
        """Raises OperatorError for an NVE that is shut out: nothing can be done for it."""
        self._state.intent.must_be_in(nves)

    # --- what operators are told ------------------------------------------------------------------------------------

    @property
    def domain(self) -> Domain:
        """The domain as it is configured."""
        return self._state.domain

    @property
    def membership(self) -> Membership:
        """Who serves which VN, without those who are shut out."""
        return self._state.membership

    @property
    def mappings(self) -> MappingState:
        """The mappings as they are durable."""
        return self._state.mappings

    @property
    def registered(self) -> tuple[str, ...]:
        """NVEs that are connected."""
        return tuple(sorted(self._state.sessions))

    @property
    def excluded(self) -> dict[str, str]:
        """NVEs that are shut out, and why."""
        return self._state.intent.shut_out

    @property
    def awaited(self) -> frozenset[str]:
        """NVEs of the domain that are suspended and not revoked for good."""
        return self._state.intent.awaited

    @property
    def held(self) -> Mapping[Meaning, Collection[str]]:
        """Numbers that may still stand for what they stood for, and the NVEs where they may."""
        return self._state.held.waiting

    def level_changes(self) -> tuple[LevelProgress, ...]:
        """The changes of levels that are under way, and what they wait for."""
        return self._state.level_progress()

    @property
    def reports(self) -> list[ReportRecord]:
        """The newest reports of each NVE, in the order in which they came."""
        return list(self._state.reports)

    @property
    def disputes(self) -> dict[str, str]:
        """NVEs that remember what is not in the history of the store, and what they remember."""
        return self._state.marks.disputes

    def alarms(self) -> list[str]:
        """What this NVA itself knows to be wrong with NVEs that are not shut out."""
        state = self._state
        return state.accounts.alarms(state.domain.nve_by_name.keys() - state.intent.excluded)

    def directions(self) -> tuple[Direction, ...]:
        """The life of every key, for the status."""
        directions = self._state.keys.directions
        return tuple(directions[tunnel] for tunnel in sorted(directions))

    def is_mixed(self, tunnel: Tunnel, spi: int) -> bool:
        """Whether the key of an SPI is mixed with what its two ends contribute."""
        return self._state.contributing.relay.is_mixed(tunnel, spi)
