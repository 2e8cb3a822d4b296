# SPDX-License-Identifier: Apache-2.0
"""Revocation lists (RFC 5280 section 5): which certificates are no longer good, and how old that knowledge is.

Fail closed, for each authority by itself: without a current list of its own nobody of it is taken, and what is wrong
with the list of one keeps no list of another from having its effect. A list never goes back: one with a lower number
than the one before (a restored backup) is refused, so that nothing is un-revoked by accident; also after a restart,
where a process remembers it (`seen_lists`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from nvo3sec.identity.anchors import Anchors, Issuer, authority_key_identifier, may_be_of
from nvo3sec.identity.certificate import PARSE_ERRORS, Identity, stamp
from nvo3sec.identity.errors import PeerRefused, Reason, RevocationUnknown
from nvo3sec.identity.seen_lists import ListMark, Numbered, SeenLists, is_before
from nvo3sec.identity.storage import FileStamp, StorageError, read
from nvo3sec.system.uptime import uptime_s

CLOCK_SKEW = timedelta(minutes=5)
"""How far in the future a list may have been made."""

AGAIN_S = 30.0
"""After so long a file of which something was not taken is read again, also if it seems to be the same: a disk can fail
for a while, and two changes within one tick of a file system's clock look like one."""

_SIGNERS = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_PEM_LIST = re.compile(rb"-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----")
_PEM_BEGIN = b"-----BEGIN"


@dataclass(frozen=True)
class IssuerList:
    """What one authority has revoked: serial numbers; number as in RFC 5280 section 5.2.3."""

    issuer: Issuer
    number: int
    this_update: datetime
    next_update: datetime
    serials: frozenset[int] = field(repr=False)

    def begins_after(self, now: datetime) -> bool:
        """Whether it is one of the future."""
        return now < self.this_update - CLOCK_SKEW

    def is_before(self, other: Numbered) -> bool:
        """Whether it was made before `other`."""
        return is_before(self, other)

    @property
    def mark(self) -> tuple[bytes, ListMark]:
        """What is remembered of it, and by which key."""
        return self.issuer.key, ListMark(self.number, self.this_update, self.issuer.name)


class ListWithoutAnchor(str):
    """Said of a list whose authority is no trust anchor. In a rollover lists come before their anchors and leave after
    them, so that it is no fault."""

    __slots__ = ()


class _NoAnchor(RevocationUnknown):
    pass


def parse_lists(pem: bytes, anchors: Anchors) -> tuple[dict[Issuer, IssuerList], tuple[str, ...]]:
    """The newest full list of each anchor in `pem`, and what else is in there and why it is not taken:
    `ListWithoutAnchor` of each that is as it should be, for all that can be told without its authority."""
    lists: dict[Issuer, IssuerList] = {}
    faults: list[str] = []
    blocks = _PEM_LIST.findall(pem)
    for block in blocks:
        try:
            one = _parse_list(block, anchors)
        except _NoAnchor as error:
            faults.append(ListWithoutAnchor(error))
            continue
        except RevocationUnknown as error:
            faults.append(str(error))
            continue
        before = lists.get(one.issuer)
        if before is not None:
            faults.append(f"there are two lists of {one.issuer}; the newer one is taken")
        if before is None or before.is_before(one):
            lists[one.issuer] = one
    if pem.count(_PEM_BEGIN) != len(blocks):
        faults.append("something in the file is no whole revocation list")
    if not blocks:
        faults.append("there is no revocation list")
    return lists, tuple(dict.fromkeys(faults))


@dataclass(frozen=True)
class Revocations:
    """What is known: who is trusted, and what each authority has revoked.

    lists: of each authority the list that counts, also of those that are no longer trusted. upcoming: newer ones that
    only begin: what they revoke is revoked already, what they no longer name counts on.
    """

    anchors: Anchors
    lists: Mapping[Issuer, IssuerList]
    upcoming: Mapping[Issuer, IssuerList] = field(default_factory=dict)

    @classmethod
    def from_pem(cls, pem: bytes, anchors: Sequence[x509.Certificate]) -> Revocations:
        """The lists in PEM that can be taken. Raises RevocationUnknown if there are none."""
        trusted = Anchors(anchors)
        lists, faults = parse_lists(pem, trusted)
        if not lists:
            raise RevocationUnknown("; ".join(faults))
        return cls(trusted, lists)

    def with_lists(
        self, anchors: Anchors, found: Iterable[IssuerList], now: datetime, seen: SeenLists | None = None
    ) -> tuple[Revocations, list[str]]:
        """What is known with lists that were found now, and what is wrong with them. None of them goes back.

        seen: what is remembered of those that came before, also in earlier processes.
        """
        lists, upcoming, faults = dict(self.lists), dict(self.upcoming), []
        for new in found:
            newest: Numbered | None = upcoming.get(new.issuer) or lists.get(new.issuer)
            if newest is None and seen is not None:
                newest = seen.of(new.issuer.key)
            if newest is not None and new.is_before(newest):
                stays = "which stays" if new.issuer in lists else "which is not there"
                faults.append(
                    f"list {new.number} of {new.issuer} is older than list {newest.number}, seen before, {stays}"
                )
                continue
            current = lists.get(new.issuer)
            if current is not None and current != new and new.begins_after(now) and now <= current.next_update:
                upcoming[new.issuer] = new
            else:
                lists[new.issuer] = new
                upcoming.pop(new.issuer, None)
        for issuer, one in list(upcoming.items()):
            if not one.begins_after(now):
                lists[issuer] = upcoming.pop(issuer)
        return Revocations(anchors, lists, upcoming), faults

    def begins_at(self) -> datetime | None:
        """When the next list begins to count; None if none waits."""
        return min((one.this_update - CLOCK_SKEW for one in self.upcoming.values()), default=None)

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[frozenset[int], ...]]:
        found: dict[str, tuple[frozenset[int], ...]] = {}
        for one in (*self.lists.values(), *self.upcoming.values()):
            found[one.issuer.name] = (*found.get(one.issuer.name, ()), one.serials)
        return found

    def is_revoked(self, issuer: str, serial: int) -> bool:
        """Whether a list names this certificate. Of one whose issuer has no list nothing is known, and it is no good
        either: see `check`.

        `issuer` is a name. A serial number is unique for a name (RFC 5280 4.1.2.2), and an authority with a new key may
        revoke with it what it signed with the one before: whichever list of the name says so, it is revoked.
        """
        return any(serial in serials for serials in self._by_name.get(issuer, ()))

    def check(self, identity: Identity, now: datetime) -> None:
        """Raises PeerRefused (REVOKED, UNTRUSTED, REVOCATION_UNKNOWN) unless the certificate is known to be good at
        `now`: signed by an anchor of now, and not in that anchor's current list."""
        if self.is_revoked(identity.issuer, identity.serial):
            raise PeerRefused(Reason.REVOKED, f"{identity}: its certificate was revoked")
        issuer = self.anchors.issuer(identity.certificate)
        if issuer is None:
            raise PeerRefused(Reason.UNTRUSTED, f"{identity}: no trust anchor signed its certificate")
        if fault := self.anchors.check_time(issuer, now):
            raise PeerRefused(Reason.UNTRUSTED, f"{identity}: {fault}")
        known = self.lists.get(issuer)
        if known is None:
            raise PeerRefused(Reason.REVOCATION_UNKNOWN, f"{identity}: there is no revocation list of its issuer")
        if now > known.next_update:
            raise PeerRefused(
                Reason.REVOCATION_UNKNOWN, f"{identity}: the revocation list ended at {stamp(known.next_update)}"
            )
        if known.begins_after(now):
            raise PeerRefused(
                Reason.REVOCATION_UNKNOWN, f"{identity}: the revocation list begins at {stamp(known.this_update)}"
            )


def _parse_list(pem: bytes, anchors: Anchors) -> IssuerList:
    try:
        crl = x509.load_pem_x509_crl(pem)
        name = crl.issuer.rfc4514_string()
        issuer = next((one for one, certificates in anchors.by_issuer.items() if _signed(certificates, crl)), None)
        if issuer is None:
            if _claims(anchors, crl):
                raise RevocationUnknown(f"no trust anchor signed the list of {name}, and one has its name and key")
            raise _NoAnchor(f"no trust anchor signed the list of {name}; it is taken as soon as its authority is one")
        for extension in crl.extensions:
            # A delta list, or one that covers only some certificates: taken for a full one, it would forgive.
            if extension.critical:
                raise RevocationUnknown(f"the list of {issuer} is not a full one ({extension.oid.dotted_string})")
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if crl.next_update_utc is None:
            raise RevocationUnknown(f"the list of {issuer} does not say when it ends")
        serials = set()
        for entry in crl:
            if any(extension.critical for extension in entry.extensions):
                raise RevocationUnknown(f"the list of {issuer} names certificates of others")
            serials.add(entry.serial_number)
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        raise RevocationUnknown("a revocation list cannot be parsed") from None
    return IssuerList(issuer, number, crl.last_update_utc, crl.next_update_utc, frozenset(serials))


def _claims(anchors: Anchors, crl: x509.CertificateRevocationList) -> bool:
    """Whether it says that it is of one of these: by its name and, if both say that, by its key (RFC 5280 5.2.1)."""
    hint = authority_key_identifier(crl)
    return any(anchor.subject == crl.issuer and may_be_of(anchor, hint) for anchor in anchors.certificates)


def _signed(anchors: Iterable[x509.Certificate], crl: x509.CertificateRevocationList) -> bool:
    for anchor in anchors:
        try:
            may_sign = anchor.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
        except x509.ExtensionNotFound:
            may_sign = True
        key = anchor.public_key()
        if may_sign and anchor.subject == crl.issuer and isinstance(key, _SIGNERS) and crl.is_signature_valid(key):
            return True
    return False


def wall_clock() -> datetime:
    """Now, in UTC: certificates are checked against wall time."""
    return datetime.now(UTC)


class RevocationFile:
    """The revocation lists in a file that somebody else replaces, judged by the anchors of now.

    What cannot be taken (unreadable, of nobody who is trusted, older) changes nothing: the list before of that
    authority stays until it ends, and then everybody of it is refused. It is looked at again when the file, the anchors
    or the time make it another matter. Not thread-safe.
    """

    def __init__(
        self,
        path: Path,
        anchors: Callable[[], Sequence[x509.Certificate]],
        *,
        clock: Callable[[], datetime] = wall_clock,
        monotonic: Callable[[], float] = uptime_s,
        seen: SeenLists | None = None,
    ) -> None:
        """Read the file. Raises RevocationUnknown, StorageError: nothing starts without a list.

        seen: what is remembered of lists of earlier processes.
        """
        self._seen = seen or SeenLists()
        self._path = path
        self._anchors = anchors
        self._clock = clock
        self._monotonic = monotonic
        self._log = structlog.get_logger("identity")
        self._stamp = FileStamp.of(path)
        pem = read(path)
        self._digest = hashlib.sha256(pem).digest()
        trusted = Anchors(anchors())
        lists, faults = parse_lists(pem, trusted)
        self._current, stale = Revocations(trusted, {}).with_lists(trusted, lists.values(), clock(), self._seen)
        if not self._current.lists:
            raise RevocationUnknown("; ".join([*faults, *stale]))
        stale += self._remember()
        self._begins_at: datetime | None = None
        self._again_at = float("inf")
        self.rejected = 0
        """How often a new file was not taken, or not all of it."""
        self.faults: tuple[str, ...] = ()
        """What is not taken of the file now, or missing in it."""
        self._tell([*faults, *stale, *self._missing(lists)])

    def _remember(self) -> list[str]:
        """What counts now is remembered before anybody is judged by it; returns what is wrong with that.

        Where it cannot be written it counts all the same: to revoke is the safe side.
        """
        lists = (*self._current.lists.values(), *self._current.upcoming.values())
        try:
            self._seen.note(one.mark for one in lists)
        except StorageError as error:
            return [f"after a restart an older revocation list would be believed: {error}"]
        return []

    @property
    def current(self) -> Revocations:
        """What is known."""
        return self._current

    def refresh(self) -> bool:
        """Look again if the file, the anchors or the time ask for it; returns whether something else is known now.

        One `stat` if not, and what `anchors` costs.
        """
        anchors, stamp_now = tuple(self._anchors()), FileStamp.of(self._path)
        is_new = stamp_now != self._stamp or anchors != self._current.anchors.certificates
        if not is_new and not self._is_due():
            return False
        self._stamp = stamp_now
        before = self._current
        trusted = before.anchors if anchors == before.anchors.certificates else Anchors(anchors)
        found: dict[Issuer, IssuerList] = {}
        faults: tuple[str, ...]
        try:
            pem = read(self._path)
        except StorageError as error:
            self._digest = b""
            faults = (str(error),)
        else:
            digest, digest_before = hashlib.sha256(pem).digest(), self._digest
            self._digest = digest
            same = digest == digest_before and trusted is before.anchors and self._seen.is_written
            if same and not self._begins(self._clock()):
                self._again_at = self._monotonic() + AGAIN_S if self.faults else float("inf")
                return False
            found, faults = parse_lists(pem, trusted)
        self._current, stale = before.with_lists(trusted, found.values(), self._clock(), self._seen)
        stale += self._remember()
        self._begins_at = self._current.begins_at()
        all_faults = [*faults, *stale, *self._missing(found)]
        self.rejected += bool(is_new and not all(isinstance(one, ListWithoutAnchor) for one in all_faults))
        self._tell(all_faults)
        if self._current == before:
            return False
        self._log.info(
            "revocation lists taken",
            lists=[f"{one.number} of {one.issuer}" for one in self._current.lists.values()],
            revoked=sum(len(one.serials) for one in self._current.lists.values()),
        )
        return True

    def _is_due(self) -> bool:
        return self._monotonic() >= self._again_at or self._begins(self._clock())

    def _begins(self, now: datetime) -> bool:
        """Whether a list that waited counts from now on."""
        return self._begins_at is not None and now >= self._begins_at

    def _missing(self, found: Mapping[Issuer, IssuerList]) -> list[str]:
        """Authorities that are trusted and have no list in the file."""
        faults = []
        for issuer in self._current.anchors.by_issuer:
            known = self._current.lists.get(issuer)
            if known is None:
                faults.append(f"there is no list of {issuer}, so nobody of it is let in")
            elif issuer not in found:
                until = stamp(known.next_update)
                faults.append(f"there is no list of {issuer}; list {known.number} stays until {until}")
        return faults

    def _tell(self, faults: Sequence[str]) -> None:
        """Say what is wrong when that changes; look again after a while, as long as something is."""
        self._again_at = self._monotonic() + AGAIN_S if faults else float("inf")
        fresh = tuple(dict.fromkeys(faults))
        if fresh == self.faults:
            return
        self.faults = fresh
        wrong = [one for one in fresh if not isinstance(one, ListWithoutAnchor)]
        if wrong:
            self._log.error("revocation list not taken", file=str(self._path), why="; ".join(wrong))
        elif fresh:
            self._log.info("revocation list waits for its trust anchor", file=str(self._path), why="; ".join(fresh))
        else:
            self._log.info("revocation lists complete", file=str(self._path))
