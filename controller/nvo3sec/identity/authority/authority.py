# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority for labs. In production any other does: only the chain and the names count.

Layout of its directory (0700):

    authority.pem      the authority's key and certificate (0600)
    ledger.json        what was issued and revoked, and the hashes of enrolment tokens (0600)
    anchors.pem        the authority's certificate: what every device trusts (0644)
    revoked.pem        the revocation list, for every device (0644)
    devices/ROLE/NAME.pem   key and certificate of a device whose key was made here (0600)

The authority decides what stands in a certificate: of a signing request it takes the key, and compares the name.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nvo3sec.domain.overlay.names import dns_name_fault
from nvo3sec.identity.authority import ledger as ledgers
from nvo3sec.identity.authority.ledger import EnrolmentToken, Issued, Ledger
from nvo3sec.identity.authority.requests import DeviceKey, parse_request, subject_alternative_name
from nvo3sec.identity.certificate import PARSE_ERRORS
from nvo3sec.identity.errors import AuthorityError
from nvo3sec.identity.names import DeviceName, Role, shown
from nvo3sec.identity.revocation_lists import wall_clock
from nvo3sec.identity.storage import PUBLIC_FILE, StorageError, private_directory, put_public, read, write

CERTIFICATE_LIFETIME = timedelta(hours=24)
"""Of a device, unless told. What was stolen and not noticed is worth no more than this."""
LONGEST_LIFETIME = timedelta(days=90)
AUTHORITY_LIFETIME = timedelta(days=3650)
LIST_LIFETIME = timedelta(days=7)
"""Of a revocation list: after that, nobody accepts anybody. Every command that changes something makes a new one."""
TOKEN_LIFETIME = timedelta(hours=1)
LONGEST_TOKEN_LIFETIME = timedelta(days=7)
BACKDATED = timedelta(minutes=1)
"""How far before its making a certificate begins, for clocks that are behind."""

_BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
PURPOSES = {Role.NVA: _BOTH, Role.NVE: _BOTH, Role.HYPERVISOR: _CLIENT, Role.OPERATOR: _CLIENT}
"""NVAs serve NVEs and each other, NVEs serve hypervisors; nobody connects to the rest."""


class Authority:
    """The lab's authority, in a directory."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = wall_clock) -> None:
        """Open the authority in `directory`. Raises AuthorityError, StorageError."""
        self._directory = directory
        self._clock = clock
        self._ledger = directory / "ledger.json"
        try:  # before the directory is made: it may be the wrong one
            self._ledger.stat()
        except PermissionError as error:
            raise StorageError(f"{directory}: {error.strerror}") from None
        except OSError:
            raise AuthorityError(
                f"there is no authority in {directory}; make one with:"
                f" nvo3sec pki init DOMAIN --dir {shlex.quote(str(directory))}"
            ) from None
        private_directory(directory)
        pem = read(directory / "authority.pem", private=True)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
            self._certificate = x509.load_pem_x509_certificate(pem)
        except PARSE_ERRORS:
            raise AuthorityError(f"{directory / 'authority.pem'} cannot be parsed") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise AuthorityError(f"{directory / 'authority.pem'}: the key is not the one of the certificate")
        self._key = key
        self.domain = ledgers.load(self._ledger).domain

    @classmethod
    def create(cls, directory: Path, domain: str, *, clock: Callable[[], datetime] = wall_clock) -> Authority:
        """Make a new authority for `domain` in `directory`. Raises AuthorityError if there is one; StorageError."""
        if (fault := dns_name_fault(domain)) is not None:
            raise AuthorityError(f"{shown(domain)} {fault}")
        private_directory(directory)
        if (directory / "authority.pem").exists():
            raise AuthorityError(f"there is an authority in {directory}; a new one would void all its certificates")
        now = clock()
        key = ec.generate_private_key(ec.SECP384R1())
        # Two authorities of one domain must not share a name: revocation lists find their issuer by it.
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain),
                x509.NameAttribute(NameOID.COMMON_NAME, f"nvo3sec authority {secrets.token_hex(8)}"),
            ]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA384())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        ledger = directory / "ledger.json"
        with ledgers.locked(ledger):
            write(directory / "authority.pem", key_pem + pem)
            ledgers.save(ledger, Ledger(domain), fresh=True)
            write(directory / "anchors.pem", pem, mode=PUBLIC_FILE, replace=True)
        authority = cls(directory, clock=clock)
        authority.publish()
        return authority

    # --- what others need -------------------------------------------------------------------------------------------

    @property
    def anchors_file(self) -> Path:
        """What every device trusts."""
        return self._directory / "anchors.pem"

    @property
    def revocation_file(self) -> Path:
        """The revocation list."""
        return self._directory / "revoked.pem"

    def device_file(self, device: DeviceName) -> Path:
        """Where key and certificate of a device are, if its key was made here."""
        return self._directory / "devices" / device.role.value / f"{device.name}.pem"

    def device(self, role: Role, name: str) -> DeviceName:
        """A name in this authority's domain. Raises PeerRefused."""
        return DeviceName(self.domain, role, name)

    # --- certificates -----------------------------------------------------------------------------------------------

    def issue(
        self, device: DeviceName, lifetime: timedelta = CERTIFICATE_LIFETIME, *, renew: bool = False
    ) -> tuple[Path, Issued]:
        """Make key and certificate for a device here; returns the file that holds both.

        A file that exists is replaced, in one step, only with `renew`. Raises AuthorityError, StorageError.
        """
        path = self.device_file(device)
        if path.exists() and not renew:
            raise AuthorityError(f"{path} exists; to replace it: {self._command('renew', device)}")
        if renew and not path.exists():
            raise AuthorityError(f"{path} does not exist; to make it: {self._command('issue', device)}")
        for directory in (path.parent.parent, path.parent):
            private_directory(directory)
        key = DeviceKey.generate()
        with ledgers.locked(self._ledger):
            before = ledgers.load(self._ledger)
            chain, issued, ledger = self._certify(before, device, key.private.public_key(), lifetime)
            ledgers.save(self._ledger, ledger)
            whole = key.pem().reveal() + chain
            try:
                write(path, whole, replace=renew)
            except StorageError:
                self._forget(before, path, whole)
                raise
        return path, issued

    def _command(self, what: str, device: DeviceName) -> str:
        return f"nvo3sec pki {what} {device.role.value} {device.name} --dir {shlex.quote(str(self._directory))}"

    def sign(
        self,
        request_pem: bytes,
        device: DeviceName,
        lifetime: timedelta = CERTIFICATE_LIFETIME,
        place: Path | None = None,
    ) -> tuple[bytes, Issued]:
        """A certificate (PEM) for the key in a signing request, which has to name `device`: the operator's decision.

        place: file into which it is put as well; what cannot be put there is not signed. Raises AuthorityError,
        StorageError.
        """
        named, request = parse_request(request_pem, self.domain)
        if named != device:
            raise AuthorityError(f"the signing request names {named}, not {device}")
        with ledgers.locked(self._ledger):
            before = ledgers.load(self._ledger)
            chain, issued, ledger = self._certify(before, device, request.public_key(), lifetime)
            # First the ledger: there is never a certificate that cannot be revoked.
            ledgers.save(self._ledger, ledger)
            if place is not None:
                try:
                    put_public(place, chain)
                except StorageError:
                    self._forget(before, place, chain)
                    raise
        return chain, issued

    def _forget(self, before: Ledger, path: Path, written: bytes) -> None:
        """Forget what was signed last, unless it may be at `path` all the same."""
        with contextlib.suppress(StorageError):
            if not path.is_file() or read(path) != written:
                ledgers.save(self._ledger, before)

    def token(self, device: DeviceName, lifetime: timedelta = TOKEN_LIFETIME) -> str:
        """A one-time enrolment token for `device`. It is shown once: only its hash is kept. Raises AuthorityError."""
        if not timedelta(0) < lifetime <= LONGEST_TOKEN_LIFETIME:
            raise AuthorityError(f"a token lives for more than 0 s and at most {LONGEST_TOKEN_LIFETIME.days} days")
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with ledgers.locked(self._ledger):
            one = EnrolmentToken(ledgers.hash_token(token), device, now + lifetime)
            ledgers.save(self._ledger, ledgers.load(self._ledger).with_token(one, now))
        return token

    def enroll(
        self, request_pem: bytes, token: str, lifetime: timedelta = CERTIFICATE_LIFETIME
    ) -> tuple[bytes, Issued]:
        """A certificate (PEM) for whoever holds the token of the device that the request names; uses the token up.

        An expired certificate is neither needed nor asked for. A wrong request leaves the token as it is; raises
        AuthorityError, StorageError.
        """
        named, request = parse_request(request_pem, self.domain)
        with ledgers.locked(self._ledger):
            ledger, device = ledgers.load(self._ledger).redeem(token, self._clock())
            if named != device:
                raise AuthorityError("the enrolment token is not valid for the device that the request names")
            chain, issued, ledger = self._certify(ledger, device, request.public_key(), lifetime)
            ledgers.save(self._ledger, ledger)
        return chain, issued

    def revoke(self, device: DeviceName | None, serial: int | None = None) -> tuple[Issued, ...]:
        """Revoke all certificates of a device, or one by its serial number, and publish; returns which ones.

        A device's token is voided with them. Raises AuthorityError if there is nothing to revoke; StorageError.
        """
        with ledgers.locked(self._ledger):
            ledger, revoked = self._revoked(device, serial)
            self._publish(ledger)
        return revoked

    def could_revoke(self, device: DeviceName | None, serial: int | None = None) -> tuple[Issued, ...]:
        """What `revoke` would revoke as things are. Raises AuthorityError if that is nothing; StorageError."""
        return self._revoked(device, serial)[1]

    def _revoked(self, device: DeviceName | None, serial: int | None) -> tuple[Ledger, tuple[Issued, ...]]:
        what = f"serial number {serial:x}" if serial is not None else str(device)
        ledger, revoked = ledgers.load(self._ledger).revoke(device, serial, self._clock())
        if not revoked:
            raise AuthorityError(f"there is nothing to revoke: {what} has no certificate that is valid")
        return ledger, revoked

    def issued(self) -> tuple[Issued, ...]:
        """What was issued and has not been forgotten."""
        return ledgers.load(self._ledger).issued

    def publish(self) -> None:
        """Make a new revocation list: do it before the one before ends. Raises StorageError."""
        with ledgers.locked(self._ledger):
            self._publish(ledgers.load(self._ledger))

    def _publish(self, ledger: Ledger) -> None:
        now = self._clock()
        ledger = replace(ledger, crl_number=ledger.crl_number + 1)
        # First the ledger: a number is never used twice, whatever happens in between.
        ledgers.save(self._ledger, ledger)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now)
            .next_update(now + LIST_LIFETIME)
            .add_extension(x509.CRLNumber(ledger.crl_number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for one in ledger.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.revoked or now)
            builder = builder.add_revoked_certificate(entry.build())
        crl = builder.sign(self._key, hashes.SHA384())
        write(self.revocation_file, crl.public_bytes(serialization.Encoding.PEM), mode=PUBLIC_FILE, replace=True)

    def _certify(
        self,
        ledger: Ledger,
        device: DeviceName,
        key: CertificatePublicKeyTypes,
        lifetime: timedelta,
    ) -> tuple[bytes, Issued, Ledger]:
        if device.domain != self.domain:
            raise AuthorityError(f"{device.uri} is not of the domain {self.domain}")
        if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
            raise AuthorityError(f"a certificate lives for more than 0 s and at most {LONGEST_LIFETIME.days} days")
        now = self._clock()
        serial = x509.random_serial_number()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(device))]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(PURPOSES[device.role]), critical=True)
            .add_extension(subject_alternative_name(device), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA384())
        )
        issued = Issued(serial, device, certificate.not_valid_after_utc)
        return certificate.public_bytes(serialization.Encoding.PEM), issued, ledger.with_issued(issued, now)


def bundle(authorities: Sequence[Authority], place: Path) -> tuple[Path, Path]:
    """The anchors and the lists of authorities of one domain, in two files of `place`; returns those.

    Raises AuthorityError for authorities of several domains, StorageError.
    """
    domains = {one.domain for one in authorities}
    if len(domains) != 1:
        raise AuthorityError(f"the authorities must be of one domain, and are of: {', '.join(sorted(domains))}")
    anchors, lists = place / "anchors.pem", place / "revoked.pem"
    # Before their list, new anchors let nobody in; a list without its anchor is only said to be one too many.
    # Each once, also if an authority was named twice.
    put_public(lists, b"".join(dict.fromkeys(read(one.revocation_file) for one in authorities)))
    put_public(anchors, b"".join(dict.fromkeys(read(one.anchors_file) for one in authorities)))
    return anchors, lists


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
