# SPDX-License-Identifier: Apache-2.0
"""Leases of an NVA that starts, before it has loaded the domain file and everything else that takes long.

A lease that runs may be prolonged then, by EARLY_LEASE_S at most, and none is opened. What that needs is in the store
as small tables, in the same transactions as what it follows from: who serves a VN by the file that is applied (its
VAPs), who is shut out, with which certificate each NVE came last, what each was told of the store, and which NVEs have
not let go yet of a number or a peer that is gone. Whatever of it is in doubt, there is no lease until all is loaded:

- An NVE that has something to let go of is told so by its view only. It gets none.
- Where an NVE was being shut out when the process before ended, or is to be shut out by the lists of now, its peers
  have still to be told: nobody gets one.
- An NVE whose history is disputed, or that comes with another certificate than last time, gets none.
- A start that does not come to its end must not keep tunnels open again and again: each start uses up the right to
  prolong leases, durably, and only one that has loaded everything gives it back (`SetEarlyLease`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from nvo3sec.domain.keys.contribution import nve_uri
from nvo3sec.domain.messages.history import not_in_history
from nvo3sec.domain.messages.session import LeaseGrant, StoreMark
from nvo3sec.errors import AuthorizationError, HistoryDisputed
from nvo3sec.nva.store.records import Certificate, Revocation, SetEarlyLease, Store, Stored
from nvo3sec.system.uptime import uptime_s

EARLY_LEASE_S = 60.0
"""Longer than loading takes, much shorter than most leases: what was not told in time is not told that much later."""
LOADING_S = 300.0
"""After so long leases are no longer prolonged: something is wrong with this start."""

ShutOut = Callable[[Collection[Certificate]], Sequence[str]]
"""The NVEs among these whose certificate is no good any more by what is known now."""


class EarlyLeases:
    """Of the NVA of `domain`. granted: by NVE, when it got one last (seconds, monotonic)."""

    def __init__(
        self, domain: str, store: Store, stored: Stored, shut_out: ShutOut, clock: Callable[[], float] = uptime_s
    ) -> None:
        self.granted: dict[str, float] = {}
        self._domain = domain
        self._shut_out = shut_out
        self._clock = clock
        self._until = clock() + LOADING_S
        self._lease_s = min(EARLY_LEASE_S, stored.early_lease_s)
        self._vnis: dict[str, frozenset[int]] = {}
        for place, vni in stored.vaps:
            self._vnis[place.nve] = self._vnis.get(place.nve, frozenset()) | {vni}
        self._certificates = {one.nve: one for one in stored.certificates}
        self._revoked = frozenset(one for one in stored.revocations if one.serial)
        self._holding = frozenset(nve for _, nves in stored.held for nve in nves)
        self._disputed = frozenset(nve for nve, _, _ in stored.disputes)
        self._now = StoreMark(stored.term, store.version, store.digest)
        self._told: dict[str, dict[int, StoreMark]] = {}
        for nve, version, digest in stored.told:
            self._told.setdefault(nve, {})[version] = StoreMark(stored.term, version, digest)

    @classmethod
    def begin(
        cls, domain: str, store: Store, shut_out: ShutOut, clock: Callable[[], float] = uptime_s
    ) -> EarlyLeases | str:
        """What may be given, or why nothing may. Uses up the right of this start. Raises StoreError."""
        stored = store.load()
        if not (store.durable and stored.early_lease_s):
            return "the start before has not come to its end"
        revoked = {one.identity for one in stored.revocations if not one.serial}
        suspended = {one.nve for one in stored.certificates if one.suspended}
        serving = {place.nve for place, _ in stored.vaps}
        between = sorted(nve for nve in serving if nve_uri(domain, nve) in revoked or nve in suspended)
        if between:
            return f"{', '.join(between)} were being shut out when the NVA ended"
        store.commit([SetEarlyLease(0.0)])
        return cls(domain, store, stored, shut_out, clock)

    def vnis_of(self, nve: str) -> frozenset[int]:
        """The VNs that an NVE serves by the domain file that is applied; none for one that is shut out of it."""
        return self._vnis.get(nve, frozenset())

    def check(self, nve: str, certificate: Certificate) -> None:
        """Raises AuthorizationError unless an NVE may wait here for the rest."""
        if nve not in self._vnis:
            raise AuthorizationError(f"{nve} serves nothing in {self._domain}, as far as the NVA has loaded")
        if Revocation(nve_uri(self._domain, nve), certificate.serial) in self._revoked:
            raise AuthorizationError(f"{nve} was suspended with this certificate, and needs another certificate")

    def mark_of(self, nve: str) -> StoreMark:
        """What `nve` may be told of how far the store has come: what it was told before, for nothing is stored now."""
        told = self._told.get(nve)
        return told[max(told)] if told else StoreMark(self._now.term, self._now.version)

    def known(self, nve: str, seen: Sequence[StoreMark]) -> tuple[StoreMark, ...]:
        """What of `seen` was told to `nve`."""
        return tuple(one for one in seen if self._told.get(nve, {}).get(one.version) == one)

    def compare(self, nve: str, seen: Sequence[StoreMark]) -> None:
        """Raises HistoryDisputed if `nve` remembers what this store has not in its history."""
        if (strange := not_in_history(seen, self._now, self.known(nve, seen))) is not None:
            raise HistoryDisputed(
                f"{nve} remembers version {strange.version} of term {strange.term} of this NVA's store, which has no"
                f" such version in its history and is at version {self._now.version} of term {self._now.term}"
            )

    def withheld(self, nve: str, certificate: Certificate) -> str:
        """Why `nve` gets no lease before everything is loaded; empty if it gets one."""
        known = self._certificates.get(nve, Certificate(nve))
        if nve not in self._vnis:
            return "it serves nothing"
        if nve in self._holding:
            return "it has not confirmed yet that something is gone"
        if nve in self._disputed:
            return "it has disputed the history of the store"
        if not known.serial or (known.issuer, known.serial) != (certificate.issuer, certificate.serial):
            return "it comes with another certificate than last time"
        if out := self._shut_out([self._certificates[one] for one in self._vnis if one in self._certificates]):
            return f"{', '.join(out)} are to be shut out first"
        if self._clock() >= self._until:
            return f"this start takes longer than {LOADING_S:g} s"
        return ""

    def renew(self, nve: str, certificate: Certificate, seen: Sequence[StoreMark]) -> LeaseGrant:
        """Time for a lease that runs, or none. Raises AuthorizationError, HistoryDisputed."""
        self.check(nve, certificate)
        self.compare(nve, seen)
        if self.withheld(nve, certificate):
            return LeaseGrant(0.0, self.mark_of(nve), early=True)
        self.granted[nve] = self._clock()
        return LeaseGrant(self._lease_s, self.mark_of(nve), early=True)

    def hand_over(self, granted_before: Callable[[Mapping[str, float], float], None]) -> None:
        """The NVA is there: `granted_before` takes into account what was given. Nothing is given any more. Raises
        StoreError."""
        self._until = float("-inf")
        granted_before(self.granted, self._lease_s)
