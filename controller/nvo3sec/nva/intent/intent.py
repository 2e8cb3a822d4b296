# SPDX-License-Identifier: Apache-2.0
"""What the operator wants: the domain, and who is shut out of it. Everything that anybody is told follows from here.

An NVE is shut out for good when the operator revokes it: that is stored before it takes effect, outlives backups, and
nothing takes it back; a device that was repaired gets another name. It is suspended when its certificate is revoked,
until it comes with one that is not. That is stored as well, and so is with which certificate each NVE came last: an NVA
that starts can ask about every one of them before it tells anybody anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nvo3sec.domain.keys.contribution import nve_uri
from nvo3sec.domain.overlay.level_changes import LevelChange, Subject, begun
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Vn
from nvo3sec.errors import AuthorizationError, OperatorError, no_such
from nvo3sec.nva.store.records import Certificate, PutCertificate, Revocation, Revoke, Store, Stored


class Intent:
    """The domain of an NVA, without those who are shut out. `stored`: what `store.load()` gave. before: the domain that
    ran last."""

    def __init__(self, domain: Domain, store: Store, stored: Stored, before: Domain) -> None:
        self._store = store
        self._revoked = {one.identity for one in stored.revocations if not one.serial}
        self._revoked_serials = {one for one in stored.revocations if one.serial}
        self._certificates = {one.nve: one for one in stored.certificates}
        self.level_changes: Mapping[Subject, LevelChange] = begun(before, domain, dict(stored.level_changes))
        """Changes of levels that are under way."""
        self._take(domain)

    def _take(self, domain: Domain) -> None:
        self.domain = domain
        self._suspended = {one.nve: one.suspended for one in self._certificates.values() if one.suspended}
        self.membership = Membership(domain, self.excluded, self.level_changes)
        self._members = {vn.vni: self.membership.members(vn.name) for vn in domain.vns}

    @property
    def revoked(self) -> frozenset[str]:
        """NVEs of the domain that are revoked for good."""
        return frozenset(nve.name for nve in self.domain.nves if self.is_revoked(nve.name))

    @property
    def suspended(self) -> dict[str, str]:
        """NVEs that are shut out until they come with a good certificate, and why."""
        return dict(self._suspended)

    def is_revoked(self, nve: str) -> bool:
        """Whether an NVE is revoked for good."""
        return self._identity(nve) in self._revoked

    def is_excluded(self, nve: str) -> bool:
        """Whether an NVE serves nothing, whatever the domain file says."""
        return self.is_revoked(nve) or nve in self._suspended

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """With which certificate each NVE came last, of those that are not shut out."""
        out = self.excluded
        return tuple(one for one in self._certificates.values() if one.serial and one.nve not in out)

    @property
    def excluded(self) -> frozenset[str]:
        """NVEs that serve nothing, whatever the domain file says."""
        return self.revoked | frozenset(self._suspended)

    def excluded_of(self, domain: Domain) -> frozenset[str]:
        """NVEs that would serve nothing if this were the domain. Raises OperatorError for another domain."""
        if domain.name != self.domain.name:
            raise OperatorError(f"this is the NVA of {self.domain.name}, and the file is of {domain.name}")
        revoked = (nve.name for nve in domain.nves if self._identity(nve.name) in self._revoked)
        return frozenset((*revoked, *self._suspended))

    def members(self, vni: int) -> tuple[str, ...]:
        """The NVEs that serve a VN, sorted; none for one that does not exist."""
        return self._members.get(vni, ())

    def would_be_peers(self, nve: str) -> tuple[str, ...]:
        """All that would be peers of an NVE if it were not shut out; it may be."""
        return Membership(self.domain, self.excluded - {nve}).peers_of(nve)

    def vn(self, vni: int) -> Vn | None:
        """The VN of this number."""
        return self.domain.vn_by_number.get(vni)

    def _identity(self, nve: str) -> str:
        return nve_uri(self.domain.name, nve)

    @property
    def shut_out(self) -> dict[str, str]:
        """NVEs that are shut out, and why."""
        return self.suspended | dict.fromkeys(self.revoked, "revoked")

    @property
    def awaited(self) -> frozenset[str]:
        """NVEs of the domain that are suspended and not revoked for good: they are to come with a good certificate."""
        return frozenset(nve for nve in self._suspended if nve in self.domain.nve_by_name and not self.is_revoked(nve))

    def must_be_in(self, nves: Iterable[str]) -> None:
        """Raises OperatorError for an NVE that is shut out: nothing can be done for it."""
        why = self.shut_out
        if out := [f"{nve} is shut out: {why[nve]}" for nve in sorted({*nves} & why.keys())]:
            raise OperatorError(f"{'; '.join(out)}; it has no keys and no tenant systems")

    # --- changes: whoever makes one tells everybody what follows ------------------------------------------------------

    def configure(self, domain: Domain) -> None:
        """Take another domain file. Raises OperatorError for one of another domain."""
        self.excluded_of(domain)
        self.level_changes = self.level_changes_of(domain)
        self._take(domain)

    def level_changes_of(self, domain: Domain) -> dict[Subject, LevelChange]:
        """The changes of levels that would be under way if this were the domain."""
        return begun(self.domain, domain, self.level_changes)

    def change_levels(self, changes: Mapping[Subject, LevelChange]) -> None:
        """These are under way now. They are stored."""
        self.level_changes = changes
        self._take(self.domain)

    def revoke(self, nve: str) -> None:
        """Shut an NVE out for good; durable when this returns. Raises OperatorError, StoreError."""
        self._require(nve)
        if self.is_revoked(nve):
            return
        self._store.commit([Revoke(Revocation(self._identity(nve)))])
        self._revoked.add(self._identity(nve))
        self._take(self.domain)

    def suspend(self, nves: Iterable[str], why: str, *, for_good: bool = True) -> tuple[str, ...]:
        """Shut NVEs out until `admit`, and `for_good` their certificates; durable when this returns.

        Returns those that were in. Raises StoreError.
        """
        were_in = tuple(one for one in nves if one in self.domain.nve_by_name and not self.is_excluded(one))
        known = [replace(self._certificates.get(nve, Certificate(nve)), suspended=why) for nve in were_in]
        serials = [Revocation(self._identity(one.nve), one.serial) for one in known if one.serial and for_good]
        if known:
            self._store.commit([*map(PutCertificate, known), *map(Revoke, serials)])
            self._certificates |= {one.nve: one for one in known}
            self._revoked_serials |= set(serials)
            self._take(self.domain)
        return were_in

    def check(self, nve: str, certificate: Certificate | None) -> None:
        """Raises AuthorizationError unless the NVE may come with this certificate, which is good by the lists of now.

        A list that was put back from a backup may have forgotten about it; what is stored here has not.
        """
        if nve not in self.domain.nve_by_name:
            raise AuthorizationError(f"{nve} is not an NVE of {self.domain.name}")
        if self.is_revoked(nve):
            raise AuthorizationError(f"{nve} is revoked for good; the device needs another name")
        serial = "" if certificate is None else certificate.serial
        if serial and Revocation(self._identity(nve), serial) in self._revoked_serials:
            raise AuthorizationError(f"{nve} was suspended with this certificate, and needs another certificate")

    def admit(self, nve: str, certificate: Certificate | None) -> bool:
        """An NVE has come with a certificate that `check` has nothing against; returns whether it was suspended.

        certificate: None if it needs none. It is durable when this returns. Raises StoreError.
        """
        known = self._certificates.get(nve)
        if certificate is None and known is not None:
            certificate = Certificate(nve)
        if certificate is not None and certificate != known:
            self._know(certificate)
        return known is not None and bool(known.suspended)

    def _know(self, certificate: Certificate) -> None:
        before = self._certificates.get(certificate.nve)
        self._store.commit([PutCertificate(certificate)])
        self._certificates[certificate.nve] = certificate
        if (before.suspended if before else "") != certificate.suspended:
            self._take(self.domain)

    def _require(self, nve: str) -> None:
        if nve not in self.domain.nve_by_name:
            raise no_such("NVE", nve, self.domain.nve_by_name)
