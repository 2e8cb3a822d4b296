# SPDX-License-Identifier: Apache-2.0
"""This device's own credentials: key, chain, trust anchors; reloaded when they change.

Whom a device trusts does not wait for its own certificate: anchors that changed count at once, also where its own chain
no longer leads to one of them. A certificate that is not taken (yet) is looked at again when it, the key, the anchors
or the time make it another matter.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.identity.anchors import Issuer, chain_fault, load_anchors
from nvo3sec.identity.authority import requests
from nvo3sec.identity.certificate import PARSE_ERRORS, Identity, Purpose, identity_of, name_of_san
from nvo3sec.identity.errors import CredentialsError, PeerRefused
from nvo3sec.identity.revocation_lists import AGAIN_S, wall_clock
from nvo3sec.identity.storage import FileStamp, StorageError, read
from nvo3sec.system.uptime import uptime_s

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\n?", re.DOTALL)
_KEY_LABELS = (b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY")


@dataclass(frozen=True)
class DeviceFiles:
    """Where a device keeps its credentials.

    certificate: the chain in PEM, leaf first. key: the private key in PEM, mode 0600. One file may be both: then a
    renewal replaces both in one step, which is what the lab's authority does. anchors: the authorities that are
    trusted, in PEM.
    """

    certificate: Path
    key: Path
    anchors: Path
    issued: Path | None = None
    """Where the authority puts a new certificate, without a key: it is put into `certificate` with the key that it is
    for, once it counts. Only where key and certificate are one file."""


@dataclass(frozen=True)
class Credentials:
    """Credentials that fit together. The key shows itself nowhere."""

    identity: Identity
    chain_pem: bytes = field(repr=False)
    key_pem: Secret = field(repr=False)
    anchors_pem: bytes = field(repr=False)
    anchors: tuple[x509.Certificate, ...] = field(repr=False)


def load_credentials(files: DeviceFiles, domain: str, purpose: Purpose, now: datetime | None = None) -> Credentials:
    """Read the files and check that they fit together (`now`: is the chain valid). Raises CredentialsError."""
    anchors_pem, anchors = load_trust(files)
    credentials = _load_own(files, domain, purpose, anchors_pem, anchors)
    if fault := _fault(credentials, now or wall_clock()):
        raise CredentialsError(f"{files.certificate}: its chain is not taken with {files.anchors}: {fault}")
    return credentials


def load_trust(files: DeviceFiles) -> tuple[bytes, tuple[x509.Certificate, ...]]:
    """The anchors, in PEM and parsed. Raises CredentialsError."""
    try:
        anchors_pem = _blocks(read(files.anchors), (b"CERTIFICATE",))
    except StorageError as error:
        raise CredentialsError(str(error)) from None
    try:
        return anchors_pem, load_anchors(anchors_pem)
    except CredentialsError as error:
        raise CredentialsError(f"{files.anchors}: {error}") from None


def name_in(path: Path, domain: str) -> str:
    """The name of the device whose certificate is at `path`; empty if there is none that can be read."""
    try:
        certificate = x509.load_pem_x509_certificate(_blocks(read(path), (b"CERTIFICATE",)))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return name_of_san(names, domain).name
    except (StorageError, PeerRefused, x509.ExtensionNotFound, *PARSE_ERRORS):
        return ""


def _load_own(
    files: DeviceFiles, domain: str, purpose: Purpose, anchors_pem: bytes, anchors: tuple[x509.Certificate, ...]
) -> Credentials:
    """Key and chain, with anchors of which nothing is asked. Raises CredentialsError."""
    try:
        chain_pem = _blocks(read(files.certificate), (b"CERTIFICATE",))
        key_pem = Secret(_blocks(read(files.key, private=True), _KEY_LABELS))
    except StorageError as error:
        raise CredentialsError(str(error)) from None
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        identity = identity_of(chain[0], domain, purpose)
    except PARSE_ERRORS:
        raise CredentialsError(f"{files.certificate}: there is no certificate in it that can be parsed") from None
    except PeerRefused as error:
        raise CredentialsError(f"{files.certificate}: no peer would take this certificate: {error}") from None
    try:
        key = serialization.load_pem_private_key(key_pem.reveal(), password=None)
    except PARSE_ERRORS:
        # Neither the cause nor its text goes on: they could quote what was parsed.
        raise CredentialsError(f"{files.key}: there is no unencrypted private key in it that can be parsed") from None
    if _public_bytes(key) != _public_bytes(chain[0]):
        raise CredentialsError(f"{files.key} is not the key of {files.certificate}")
    return Credentials(identity, chain_pem, key_pem, anchors_pem, anchors)


def _fault(credentials: Credentials, now: datetime) -> str:
    """Why the chain does not lead to the anchors; empty if it does."""
    return chain_fault(x509.load_pem_x509_certificates(credentials.chain_pem), credentials.anchors, now)


def _blocks(pem: bytes, labels: Sequence[bytes]) -> bytes:
    return b"".join(match.group(0).rstrip() + b"\n" for match in _PEM_BLOCK.finditer(pem) if match.group(1) in labels)


def _public_bytes(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    return bytes(
        holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


class Device:
    """A device's credentials over time.

    A change of the files is seen by `current`. Anchors are taken if they can be read; key and chain if they fit
    together and to the anchors, and the ones before stay in use until they expire. `current` may be called from any
    thread: gRPC does.
    """

    def __init__(
        self,
        files: DeviceFiles,
        domain: str,
        purpose: Purpose,
        *,
        clock: Callable[[], datetime] = wall_clock,
        monotonic: Callable[[], float] = uptime_s,
    ) -> None:
        """Load the credentials. Raises CredentialsError, among others if they are not valid now."""
        self._files = files
        self._domain = domain
        self._purpose = purpose
        self._clock = clock
        self._monotonic = monotonic
        self._log = structlog.get_logger("identity")
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._begins_at: datetime | None = None
        faults = self._install()
        self._credentials = load_credentials(files, domain, purpose, clock())
        try:
            self._credentials.identity.check_time(clock())
        except PeerRefused as error:
            raise CredentialsError(f"{files.certificate}: {error}") from None
        self._again_at = float("inf")
        self.reloads = 0
        """How often another key or chain was taken."""
        self.rejected = 0
        """How often changed files were not taken, or not all of them."""
        self.faults: tuple[str, ...] = ()
        """What is wrong with the files now."""
        self._tell(tuple(faults))

    @property
    def domain(self) -> str:
        """The domain that it is a device of."""
        return self._domain

    @property
    def purpose(self) -> Purpose:
        """The side of a connection that its certificate was checked for."""
        return self._purpose

    @property
    def identity(self) -> Identity:
        """Who this device is."""
        return self._credentials.identity

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The authorities that are trusted now."""
        return self.current().anchors

    def current(self) -> Credentials:
        """The credentials to use for the next connection. Three `stat`s if nothing has changed; never raises."""
        with self._lock:
            stamps = self._look()
            if stamps != self._stamps or self._is_due():
                is_new, self._stamps = stamps != self._stamps, stamps
                self._reload(is_new=is_new)
            return self._credentials

    def _is_due(self) -> bool:
        return self._monotonic() >= self._again_at or (self._begins_at is not None and self._clock() >= self._begins_at)

    def _reload(self, *, is_new: bool) -> None:
        faults = []
        try:
            self._trust(*load_trust(self._files))
        except CredentialsError as error:
            faults.append(str(error))
        self._begins_at = None
        faults += self._install()
        try:
            self._take_own()
        except (CredentialsError, PeerRefused) as error:
            faults.append(str(error))
        if fault := _fault(self._credentials, self._clock()):
            faults.append(f"the chain of the certificate in use is not taken with {self._files.anchors}: {fault}")
        self.rejected += bool(is_new and faults)
        self._tell(tuple(dict.fromkeys(faults)))

    def _trust(self, pem: bytes, anchors: tuple[x509.Certificate, ...]) -> None:
        before = self._credentials.anchors
        if anchors == before:
            return
        self._credentials = replace(self._credentials, anchors_pem=pem, anchors=anchors)
        names = [{str(Issuer.of(one)) for one in some} for some in (anchors, before)]
        self._log.warning(
            "trust anchors taken",
            device=str(self.identity),
            now=sorted(names[0]),
            gone=sorted(names[1] - names[0]),
        )

    def _take_own(self) -> None:
        """Take key and chain, if they are other ones. Raises CredentialsError, PeerRefused."""
        used = self._credentials
        new = _load_own(self._files, self._domain, self._purpose, used.anchors_pem, used.anchors)
        if new.chain_pem == used.chain_pem and new.key_pem == used.key_pem:
            return
        if new.identity.device != self.identity.device:
            raise CredentialsError(f"{self._files.certificate}: it names {new.identity}, this is {self.identity}")
        now = self._clock()
        self._wait_for(new.identity, now)
        new.identity.check_time(now)
        if fault := _fault(new, now):
            raise CredentialsError(
                f"{self._files.certificate}: its chain is not taken with {self._files.anchors}: {fault}"
            )
        self._credentials = new
        self.reloads += 1
        self._log.info("credentials taken", device=str(new.identity), not_after=new.identity.not_after.isoformat())

    def _wait_for(self, identity: Identity, now: datetime) -> None:
        """Look again when a certificate that is not valid yet is."""
        if now < identity.not_before and (self._begins_at is None or identity.not_before < self._begins_at):
            self._begins_at = identity.not_before

    def _install(self) -> list[str]:
        """Put what the authority has issued into place; returns what is wrong with it."""
        path = self._files.issued
        if path is None or FileStamp.of(path) is None:
            return []
        try:
            self._install_from(path)
        except (CredentialsError, PeerRefused, StorageError, *PARSE_ERRORS) as error:
            what = "it cannot be parsed" if isinstance(error, PARSE_ERRORS) else str(error)
            return [f"{path}: the certificate that was issued is not taken: {what}"]
        return []

    def _install_from(self, path: Path) -> None:
        pem = read(path)
        if any(label in pem for label in _KEY_LABELS):
            raise CredentialsError("there is a private key in it; only its device may have that")
        chain_pem = _blocks(pem, (b"CERTIFICATE",))
        chain = x509.load_pem_x509_certificates(chain_pem)
        new = identity_of(chain[0], self._domain, self._purpose)
        used = self._in_place()
        if used is not None and new.device != used.device:
            raise CredentialsError(f"it names {new}, this is {used}")
        if used is not None and new.not_after <= used.not_after:
            return  # it is the one that is there, or came before it
        now = self._clock()
        self._wait_for(new, now)
        new.check_time(now)
        if fault := chain_fault(chain, load_trust(self._files)[1], now):
            raise CredentialsError(f"its chain is not taken with {self._files.anchors}: {fault}")
        requests.place(self._files.certificate, chain_pem)
        self._stamps = self._look()

    def _in_place(self) -> Identity | None:
        """Whose certificate is where new ones are put; None if there is none."""
        try:
            pem = _blocks(read(self._files.certificate), (b"CERTIFICATE",))
            return identity_of(x509.load_pem_x509_certificates(pem)[0], self._domain, self._purpose)
        except (StorageError, PeerRefused, *PARSE_ERRORS):
            return None

    def _tell(self, faults: tuple[str, ...]) -> None:
        """Say what is wrong when that changes; look again after a while, as long as something is."""
        self._again_at = self._monotonic() + AGAIN_S if faults else float("inf")
        if faults == self.faults:
            return
        self.faults = faults
        if faults:
            self._log.error("credentials not taken", device=str(self.identity), why="; ".join(faults))
        else:
            self._log.info("credentials complete", device=str(self.identity))

    def _look(self) -> tuple[FileStamp | None, ...]:
        files = self._files
        paths = [files.certificate, files.key, files.anchors, *([files.issued] if files.issued else [])]
        return tuple(FileStamp.of(path) for path in paths)
