# SPDX-License-Identifier: Apache-2.0
"""This device's own credentials: key, chain, trust anchors; checked as a whole, reloaded when they change."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from nvo3sec.domain.secret import Secret
from nvo3sec.identity.certificate import PARSE_ERRORS, Identity, Purpose, identity_of
from nvo3sec.identity.errors import CredentialsError, PeerRefused
from nvo3sec.identity.revocation import issued_by, load_anchors, wall_clock
from nvo3sec.identity.storage import FileStamp, StorageError, read

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


@dataclass(frozen=True)
class Credentials:
    """Credentials that fit together. The key shows itself nowhere."""

    identity: Identity
    chain_pem: bytes = field(repr=False)
    key_pem: Secret = field(repr=False)
    anchors_pem: bytes = field(repr=False)
    anchors: tuple[x509.Certificate, ...] = field(repr=False)


def load_credentials(files: DeviceFiles, domain: str, purpose: Purpose) -> Credentials:
    """Read the files and check that they fit together. Time is not asked. Raises CredentialsError."""
    try:
        chain_pem = _blocks(read(files.certificate), (b"CERTIFICATE",))
        key_pem = Secret(_blocks(read(files.key, private=True), _KEY_LABELS))
        anchors_pem = _blocks(read(files.anchors), (b"CERTIFICATE",))
    except StorageError as error:
        raise CredentialsError(str(error)) from None
    anchors = load_anchors(anchors_pem)
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
    if not _leads_to(chain, anchors):
        raise CredentialsError(f"{files.certificate}: its chain does not end at a trust anchor of {files.anchors}")
    return Credentials(identity, chain_pem, key_pem, anchors_pem, anchors)


def _blocks(pem: bytes, labels: Sequence[bytes]) -> bytes:
    return b"".join(match.group(0).rstrip() + b"\n" for match in _PEM_BLOCK.finditer(pem) if match.group(1) in labels)


def _public_bytes(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    return bytes(
        holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _leads_to(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> bool:
    for index, certificate in enumerate(chain):
        if any(issued_by(anchor, certificate) for anchor in anchors):
            return True
        if index + 1 == len(chain) or not issued_by(chain[index + 1], certificate):
            return False
    return False


class Device:
    """A device's credentials over time.

    A change of the files is seen by `current`; what does not fit together is not taken, and the credentials before stay
    in use until they expire. `current` may be called from any thread: gRPC does.
    """

    def __init__(
        self,
        files: DeviceFiles,
        domain: str,
        purpose: Purpose,
        *,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        """Load the credentials. Raises CredentialsError, among others if they are not valid now."""
        self._files = files
        self._domain = domain
        self._purpose = purpose
        self._clock = clock
        self._log = structlog.get_logger("identity")
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._credentials = load_credentials(files, domain, purpose)
        try:
            self._credentials.identity.check_time(clock())
        except PeerRefused as error:
            raise CredentialsError(f"{files.certificate}: {error}") from None
        self.reloads = 0
        self.rejected = 0
        """How often changed files were not taken."""

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
            if stamps != self._stamps:
                self._stamps = stamps
                self._reload()
            return self._credentials

    def _reload(self) -> None:
        try:
            new = load_credentials(self._files, self._domain, self._purpose)
            if new.identity.device != self.identity.device:
                raise CredentialsError(f"{self._files.certificate}: it names {new.identity}, this is {self.identity}")
            new.identity.check_time(self._clock())
        except (CredentialsError, PeerRefused) as error:
            self.rejected += 1
            self._log.error("credentials not taken", device=str(self.identity), why=str(error))
            return
        self._credentials = new
        self.reloads += 1
        self._log.info("credentials taken", device=str(new.identity), not_after=new.identity.not_after.isoformat())

    def _look(self) -> tuple[FileStamp | None, ...]:
        return tuple(FileStamp.of(path) for path in (self._files.certificate, self._files.key, self._files.anchors))
