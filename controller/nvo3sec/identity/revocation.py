# SPDX-License-Identifier: Apache-2.0
"""Revocation lists (RFC 5280 section 5): which certificates are no longer good, and how old that knowledge is.

Fail closed: without a current list of its issuer, a certificate counts as revoked. A list never goes back: one with a
lower number than the one before (a restored backup) is refused, so that nothing is un-revoked by accident.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from nvo3sec.identity.certificate import PARSE_ERRORS, Identity, stamp
from nvo3sec.identity.errors import CredentialsError, PeerRefused, Reason, RevocationUnknown
from nvo3sec.identity.storage import FileStamp, StorageError, read

CLOCK_SKEW = timedelta(minutes=5)
"""How far in the future a list may have been made."""

_SIGNERS = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_PEM_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def load_anchors(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of the authorities that are trusted. Raises CredentialsError."""
    try:
        anchors = tuple(x509.load_pem_x509_certificates(pem))
        for anchor in anchors:
            if not anchor.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                raise CredentialsError(
                    f"{anchor.subject.rfc4514_string()} is no authority; it cannot be a trust anchor"
                )
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        raise CredentialsError("the trust anchors cannot be parsed") from None
    if not anchors:
        raise CredentialsError("there are no trust anchors")
    return anchors


def issued_by(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether `issuer`'s key signed `certificate`, and the names agree."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True


@dataclass(frozen=True)
class IssuerList:
    """What one authority has revoked: serial numbers; number as in RFC 5280 section 5.2.3."""

    issuer: str
    number: int
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]


@dataclass(frozen=True)
class Revocations:
    """The lists of all authorities, by the issuer's name."""

    lists: Mapping[str, IssuerList]

    @classmethod
    def from_pem(cls, pem: bytes, anchors: Sequence[x509.Certificate]) -> Revocations:
        """Parse and verify lists in PEM. Raises RevocationUnknown if one of them is no full list of an anchor."""
        blocks = _PEM_LIST.findall(pem)
        if not blocks:
            raise RevocationUnknown("there is no revocation list")
        lists: dict[str, IssuerList] = {}
        for block in blocks:
            one = _parse_list(block, anchors)
            if one.issuer in lists:
                raise RevocationUnknown(f"there are two lists of {one.issuer}")
            lists[one.issuer] = one
        return cls(lists)

    def check_newer(self, before: Revocations) -> None:
        """Raises RevocationUnknown if a list is missing, or is older than it was in `before`."""
        for issuer, old in before.lists.items():
            new = self.lists.get(issuer)
            if new is None:
                raise RevocationUnknown(f"the list of {issuer} has gone")
            if new.number < old.number or new.this_update < old.this_update:
                raise RevocationUnknown(f"list {new.number} of {issuer} is older than list {old.number}, seen before")

    def is_revoked(self, issuer: str, serial: int) -> bool:
        """Whether a list names this certificate. Of one whose issuer has no list nothing is known, and it is no good
        either: see `check`."""
        known = self.lists.get(issuer)
        return known is not None and serial in known.serials

    def check(self, identity: Identity, now: datetime) -> None:
        """Raises PeerRefused (REVOKED, REVOCATION_UNKNOWN) unless the certificate is known to be good at `now`."""
        known = self.lists.get(identity.issuer)
        if known is None:
            raise PeerRefused(Reason.REVOCATION_UNKNOWN, f"{identity}: there is no revocation list of its issuer")
        if identity.serial in known.serials:
            raise PeerRefused(Reason.REVOKED, f"{identity}: its certificate was revoked")
        if now > known.next_update:
            raise PeerRefused(
                Reason.REVOCATION_UNKNOWN, f"{identity}: the revocation list ended at {stamp(known.next_update)}"
            )
        if now < known.this_update - CLOCK_SKEW:
            raise PeerRefused(
                Reason.REVOCATION_UNKNOWN, f"{identity}: the revocation list begins at {stamp(known.this_update)}"
            )


def _parse_list(pem: bytes, anchors: Sequence[x509.Certificate]) -> IssuerList:
    try:
        crl = x509.load_pem_x509_crl(pem)
        issuer = crl.issuer.rfc4514_string()
        if not any(_signed(anchor, crl) for anchor in anchors):
            raise RevocationUnknown(f"no trust anchor signed the list of {issuer}")
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


def _signed(anchor: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    if anchor.subject != crl.issuer:
        return False
    with contextlib.suppress(x509.ExtensionNotFound):
        if not anchor.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
            return False
    key = anchor.public_key()
    return isinstance(key, _SIGNERS) and crl.is_signature_valid(key)


def wall_clock() -> datetime:
    """Now, in UTC: certificates are checked against wall time."""
    return datetime.now(UTC)


class RevocationFile:
    """The revocation lists in a file that somebody else replaces.

    What cannot be taken (unreadable, wrongly signed, older) changes nothing: the lists before stay until they end, and
    then everything is refused. Not thread-safe.
    """

    def __init__(self, path: Path, anchors: Callable[[], Sequence[x509.Certificate]]) -> None:
        """Read the file. Raises RevocationUnknown, StorageError: nothing starts without a list."""
        self._path = path
        self._anchors = anchors
        self._log = structlog.get_logger("identity")
        self._stamp = FileStamp.of(path)
        self._current = Revocations.from_pem(read(path), anchors())
        self.rejected = 0
        """How often a new file was not taken."""

    @property
    def current(self) -> Revocations:
        """What is known."""
        return self._current

    def refresh(self) -> bool:
        """Read the file again if it has changed; returns whether there are new lists. One `stat` if it has not."""
        stamp_now = FileStamp.of(self._path)
        if stamp_now == self._stamp:
            return False
        self._stamp = stamp_now
        try:
            new = Revocations.from_pem(read(self._path), self._anchors())
            new.check_newer(self._current)
        except (RevocationUnknown, StorageError, CredentialsError) as error:
            self.rejected += 1
            self._log.error("revocation list not taken", file=str(self._path), why=str(error))
            return False
        if new == self._current:
            return False
        self._current = new
        self._log.info("revocation list taken", revoked=sum(len(one.serials) for one in new.lists.values()))
        return True
