# SPDX-License-Identifier: Apache-2.0
"""Trust anchors: the authorities that are trusted, each told from the others by its name and its key.

An authority that renews its key keeps its name, and two authorities can have one name by accident: who issued a
certificate is decided by the key that verifies its signature, never by what it says. Key identifiers (RFC 5280 4.2.1.1,
4.2.1.2) only spare attempts: where both sides have one and they differ, the key is another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from nvo3sec.identity.certificate import PARSE_ERRORS, check_public_key, stamp
from nvo3sec.identity.errors import CredentialsError, PeerRefused

CACHE_ENTRIES = 4096
"""Certificates of which is remembered who issued them."""

_UNDERSTOOD = (x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid)
"""Critical extensions of an authority between device and anchor that may be there; with another, it is not taken."""


def load_anchors(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of the authorities that are trusted. Raises CredentialsError: all of them, or none."""
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
class Issuer:
    """An authority: its name (RFC 4514 text), and the SHA-256 of its public key (SubjectPublicKeyInfo in DER)."""

    name: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, anchor: x509.Certificate) -> Issuer:
        """The authority that has this certificate. A certificate that was renewed with its key is the same one's."""
        spki = anchor.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(anchor.subject.rfc4514_string(), hashlib.sha256(spki).digest())

    def __str__(self) -> str:
        return f"{self.name} (key {self.key.hex()[:16]})"


class Anchors:
    """The authorities of some anchors."""

    def __init__(self, certificates: Sequence[x509.Certificate] = ()) -> None:
        self.certificates = tuple(certificates)
        self._issuers: dict[x509.Certificate, Issuer | None] = {}

    @cached_property
    def by_issuer(self) -> Mapping[Issuer, tuple[x509.Certificate, ...]]:
        """The certificates of each authority."""
        found: dict[Issuer, tuple[x509.Certificate, ...]] = {}
        for one in self.certificates:
            issuer = Issuer.of(one)
            found[issuer] = (*found.get(issuer, ()), one)
        return found

    def issuer(self, certificate: x509.Certificate | None) -> Issuer | None:
        """The authority that signed a device's certificate itself; None if it is none of these."""
        if certificate is None:
            return None
        if certificate not in self._issuers:
            if len(self._issuers) >= CACHE_ENTRIES:
                self._issuers.clear()
            self._issuers[certificate] = self._find(certificate)
        return self._issuers[certificate]

    def _find(self, certificate: x509.Certificate) -> Issuer | None:
        hint = authority_key_identifier(certificate)
        for issuer, anchors in self.by_issuer.items():
            if any(may_be_of(one, hint) and _signs(one) and issued_by(one, certificate) for one in anchors):
                return issuer
        return None

    def check_time(self, issuer: Issuer, now: datetime) -> str:
        """Why nothing of an authority is valid at `now`; empty if something is."""
        anchors = self.by_issuer.get(issuer, ())
        if any(is_valid(one, now) for one in anchors):
            return ""
        begins = [one.not_valid_before_utc for one in anchors if one.not_valid_before_utc > now]
        if begins:
            return f"the trust anchor {issuer} begins at {stamp(min(begins))}"
        ended = max((one.not_valid_after_utc for one in anchors), default=None)
        return f"the trust anchor {issuer} ended at {stamp(ended)}" if ended else f"{issuer} is no trust anchor"


def authority_key_identifier(holder: x509.Certificate | x509.CertificateRevocationList) -> bytes | None:
    """The key with which it says it was signed; None if it does not say."""
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        return holder.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return None


def may_be_of(anchor: x509.Certificate, hint: bytes | None) -> bool:
    """Whether an anchor can have the key of this identifier; None: nothing is known of it."""
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        identifier = anchor.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        return hint is None or hint == identifier
    return True


def _signs(anchor: x509.Certificate) -> bool:
    with contextlib.suppress(x509.ExtensionNotFound):
        return anchor.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    return True


# --- chains ----------------------------------------------------------------------------------------------------------


def is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a certificate is within its validity."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _span(certificate: x509.Certificate) -> str:
    """Whether it is the clock or the certificate that is wrong, is the reader's to see."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"


def chain_fault(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime) -> str:
    """Why a chain, the device's certificate first, does not lead to an anchor over authorities only; empty if it does.

    As RFC 5280 section 6.1.4 has it, and for the anchors too: an anchor that allows no authority below itself, or that
    has ended, is taken at its word, as TLS libraries do. What comes after an anchor is reached is not read.
    """
    # `cryptography.x509.verification` would do this, but takes web servers' certificates only: it refuses a critical
    # extended key usage, which RFC 5280 4.2.1.12 allows and the lab's authority writes.
    fault = "it does not lead to a trust anchor"
    for index, certificate in enumerate(chain):
        for anchor in (one for one in anchors if issued_by(one, certificate)):
            if not is_valid(anchor, now):
                fault = f"the trust anchor {anchor.subject.rfc4514_string()} is valid {_span(anchor)} only"
            elif not _allows(anchor, below=index):
                fault = f"it is longer than the trust anchor {anchor.subject.rfc4514_string()} allows"
            elif not _signs(anchor):
                fault = f"the trust anchor {anchor.subject.rfc4514_string()} may not sign certificates"
            else:
                return ""
        if index + 1 == len(chain) or not issued_by(chain[index + 1], certificate):
            break
        if wrong := _authority_fault(chain[index + 1], below=index, now=now):
            return wrong
    return fault


def _allows(authority: x509.Certificate, *, below: int) -> bool:
    """Whether so many other authorities may stand between it and the device (RFC 5280 4.2.1.9)."""
    length = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    return length is None or below <= length


def _authority_fault(certificate: x509.Certificate, *, below: int, now: datetime) -> str:
    """What is wrong with an authority between device and anchor, with so many others `below` it (RFC 5280 6.1.4)."""
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        check_public_key(certificate.public_key())
        strange = [one for one in extensions if one.critical and one.oid not in _UNDERSTOOD]
    except (*PARSE_ERRORS, x509.ExtensionNotFound, PeerRefused):
        return "a certificate of it is not that of an authority"
    if not constraints.ca or not usage.key_cert_sign:
        return "a certificate of it is not that of an authority"
    if not _allows(certificate, below=below):
        return "it is longer than one of its authorities allows"
    if strange:
        return "an authority of it has a constraint that is not known here"
    if not is_valid(certificate, now):
        return f"a certificate of it is valid {_span(certificate)} only"
    return ""
