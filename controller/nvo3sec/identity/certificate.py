# SPDX-License-Identifier: Apache-2.0
"""From a certificate to an identity (RFC 5280): strict, and the same for every certificate authority.

The chain has been verified by TLS when this is asked; what is decided here is who the certificate names, and whether
it is one that this system takes at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, unique

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.names import DeviceName, Role

RSA_BITS = 2048
"""Shortest RSA modulus (NIST SP 800-57 part 1, table 2: 112 bits of security)."""

CERTIFICATE_BYTES = 16384
"""Longest certificate that is parsed."""

CURVES = (ec.SECP256R1, ec.SECP384R1)
"""Curves that every TLS library here signs with; BoringSSL offers neither P-521 nor Ed25519 unless it is told to."""

PARSE_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the cryptography library raises for something malformed, sooner or later: it parses lazily."""

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_PURE_EDDSA = (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448)


@unique
class Purpose(Enum):
    """What a certificate is shown for: the side of the connection that shows it."""

    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Identity:
    """A device that has proved who it is.

    serial and issuer (RFC 4514 text) name its certificate in a revocation list; not_before and not_after are UTC.
    certificate: by its signature is decided whose it is; an identity without one is nobody's who is trusted.
    """

    domain: str
    role: Role
    name: str
    serial: int
    not_after: datetime
    not_before: datetime
    issuer: str
    certificate: x509.Certificate | None = field(default=None, repr=False)

    @property
    def device(self) -> DeviceName:
        """Who it is, whatever the certificate."""
        return DeviceName(self.domain, self.role, self.name)

    def check_time(self, now: datetime) -> None:
        """Raises PeerRefused (NOT_YET_VALID, EXPIRED) outside of the certificate's validity. `now` is aware."""
        if now < self.not_before:
            raise PeerRefused(Reason.NOT_YET_VALID, f"{self}: valid from {stamp(self.not_before)}")
        if now > self.not_after:
            raise PeerRefused(Reason.EXPIRED, f"{self}: expired at {stamp(self.not_after)}")

    def __str__(self) -> str:
        return f"{self.role.value}/{self.name}"


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_pem(pem: bytes) -> x509.Certificate:
    """The first certificate in `pem`. Raises PeerRefused (NO_CERTIFICATE, MALFORMED)."""
    if not pem:
        raise PeerRefused(Reason.NO_CERTIFICATE, "the peer showed no certificate")
    if len(pem) > CERTIFICATE_BYTES:
        raise PeerRefused(Reason.MALFORMED, f"a certificate of {len(pem)} bytes; at most {CERTIFICATE_BYTES}")
    try:
        return x509.load_pem_x509_certificate(pem)
    except PARSE_ERRORS:
        raise PeerRefused(Reason.MALFORMED, "the certificate cannot be parsed") from None


def parse_der(der: bytes) -> x509.Certificate:
    """A certificate in DER. Raises PeerRefused (NO_CERTIFICATE, MALFORMED)."""
    if not der:
        raise PeerRefused(Reason.NO_CERTIFICATE, "the peer showed no certificate")
    if len(der) > CERTIFICATE_BYTES:
        raise PeerRefused(Reason.MALFORMED, f"a certificate of {len(der)} bytes; at most {CERTIFICATE_BYTES}")
    try:
        return x509.load_der_x509_certificate(der)
    except PARSE_ERRORS:
        raise PeerRefused(Reason.MALFORMED, "the certificate cannot be parsed") from None


def identity_of(certificate: x509.Certificate, domain: str, purpose: Purpose) -> Identity:
    """Whom a certificate names, if it is one for `purpose` in `domain`. Time and revocation are not asked here.

    Raises PeerRefused with the reason.
    """
    try:
        extensions = certificate.extensions
        _check_leaf(extensions, purpose)
        _check_signature(certificate)
        check_public_key(certificate.public_key())
        name = _name_of(extensions, domain)
        return Identity(
            domain=name.domain,
            role=name.role,
            name=name.name,
            serial=certificate.serial_number,
            not_after=certificate.not_valid_after_utc,
            not_before=certificate.not_valid_before_utc,
            issuer=certificate.issuer.rfc4514_string(),
            certificate=certificate,
        )
    except PARSE_ERRORS:
        # Parsing is lazy: what is malformed inside shows only when it is asked for.
        raise PeerRefused(Reason.MALFORMED, "the certificate's contents cannot be parsed") from None


def _check_leaf(extensions: x509.Extensions, purpose: Purpose) -> None:
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise PeerRefused(Reason.CA_CERTIFICATE, "a certificate of an authority, not of a device")
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        pass
    else:
        if usage.key_cert_sign or usage.crl_sign:
            raise PeerRefused(Reason.CA_CERTIFICATE, "its key may sign certificates or revocation lists")
        if not usage.digital_signature:
            raise PeerRefused(Reason.KEY_USAGE, "its key may not sign, which TLS 1.3 needs")
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise PeerRefused(Reason.EXTENDED_KEY_USAGE, "the certificate has no extended key usage") from None
    if purpose.value not in purposes:
        raise PeerRefused(Reason.EXTENDED_KEY_USAGE, f"the certificate is not for TLS {purpose.name.lower()}s")


def _check_signature(certificate: x509.Certificate) -> None:
    if certificate.signature_algorithm_oid in _PURE_EDDSA:
        return
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise PeerRefused(Reason.WEAK_SIGNATURE, "signed with a hash other than SHA-256, SHA-384 or SHA-512")


def check_public_key(key: object) -> None:
    """Raises PeerRefused (WEAK_KEY) for a key that is too weak, or that TLS here does not take."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, CURVES):
            raise PeerRefused(Reason.WEAK_KEY, f"a key on the curve {key.curve.name}; P-256 or P-384 are taken")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS:
            raise PeerRefused(Reason.WEAK_KEY, f"an RSA key of {key.key_size} bits; {RSA_BITS} are the least")
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise PeerRefused(Reason.WEAK_KEY, "an EdDSA key, which gRPC's TLS library does not take; use ECDSA P-256")
    else:
        raise PeerRefused(Reason.WEAK_KEY, "neither an ECDSA nor an RSA key")


def _name_of(extensions: x509.Extensions, domain: str) -> DeviceName:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise PeerRefused(Reason.SAN_MISSING, "the certificate has no subject alternative name") from None
    return name_of_san(names, domain)


def name_of_san(names: x509.SubjectAlternativeName, domain: str) -> DeviceName:
    """The one device of `domain` that `names` names. Raises PeerRefused."""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    dns_names = names.get_values_for_type(x509.DNSName)
    if len(uris) != 1:
        raise PeerRefused(Reason.SAN_URI_COUNT, f"{len(uris)} URIs in the subject alternative name; there must be one")
    if len(dns_names) != 1:
        raise PeerRefused(
            Reason.SAN_DNS_COUNT, f"{len(dns_names)} DNS names in the subject alternative name; there must be one"
        )
    if len(list(names)) != 2:
        # A name that nobody here checks could still be one that somebody elsewhere believes.
        raise PeerRefused(Reason.SAN_OTHER, "the subject alternative name holds more than a URI and a DNS name")
    name = DeviceName.from_uri(uris[0])
    if name.domain != domain:
        raise PeerRefused(Reason.DOMAIN, f"{name.uri} is not of the domain {domain}")
    if dns_names[0] != name.dns:
        raise PeerRefused(Reason.URI_DNS_DISAGREE, f"the URI says {name.dns}, the DNS name says something else")
    return name
