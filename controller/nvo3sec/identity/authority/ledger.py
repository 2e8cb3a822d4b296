# SPDX-License-Identifier: Apache-2.0
"""What the lab's authority remembers: certificates it issued, revocations, enrolment tokens (hashed). One JSON file.

Changes happen under a lock file and replace the whole file atomically: two commands at once cannot lose each other's
work, and a crash leaves the state before or the state after.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nvo3sec.identity.errors import AuthorityError, PeerRefused
from nvo3sec.identity.names import DeviceName
from nvo3sec.identity.storage import StorageError, read, write

VERSION = 1
REMEMBERED = timedelta(days=7)
"""How long after its end a certificate is remembered, and listed if it was revoked, for clocks that are behind."""


@dataclass(frozen=True)
class Issued:
    """A certificate that was issued. Times are UTC; revoked is when it was revoked, None if it was not."""

    serial: int
    device: DeviceName
    not_after: datetime
    revoked: datetime | None = None


@dataclass(frozen=True)
class EnrolmentToken:
    """Permission to get one certificate for `device`, once, until `expires`. Only the hash of the token is kept."""

    sha256: str
    device: DeviceName
    expires: datetime


@dataclass(frozen=True)
class Ledger:
    """The state. Functions on it return a new one."""

    domain: str
    crl_number: int = 0
    issued: tuple[Issued, ...] = ()
    tokens: tuple[EnrolmentToken, ...] = ()

    def with_issued(self, one: Issued, now: datetime) -> Ledger:
        """Remember a certificate; forget those that ended so long ago that no list needs them."""
        return replace(self, issued=(*(old for old in self.issued if old.not_after >= now - REMEMBERED), one))

    def with_token(self, token: EnrolmentToken, now: datetime) -> Ledger:
        """Remember a token. There is one for a device: a new one voids the one before."""
        kept = (old for old in self.tokens if old.expires >= now and old.device != token.device)
        return replace(self, tokens=(*kept, token))

    def redeem(self, token: str, now: datetime) -> tuple[Ledger, DeviceName]:
        """Use up a token. Raises AuthorityError if it is unknown, was used, or has expired: which one is not said."""
        digest = hash_token(token)
        for one in self.tokens:
            if hmac.compare_digest(one.sha256, digest):
                if one.expires < now:
                    break
                return replace(self, tokens=tuple(other for other in self.tokens if other is not one)), one.device
        raise AuthorityError("the enrolment token is not valid: unknown, used, or expired")

    def revoke(self, device: DeviceName | None, serial: int | None, now: datetime) -> tuple[Ledger, tuple[Issued, ...]]:
        """Revoke a certificate by `serial`, or all of a device that still run, with its token; returns which ones."""
        chosen = [
            one
            for one in self.issued
            if one.revoked is None and (one.serial == serial if serial is not None else one.device == device)
        ]
        revoked = tuple(replace(one, revoked=now) for one in chosen)
        by_serial = {one.serial: one for one in revoked}
        kept_tokens = tuple(token for token in self.tokens if serial is not None or token.device != device)
        issued = tuple(by_serial.get(one.serial, one) for one in self.issued)
        return replace(self, issued=issued, tokens=kept_tokens), revoked

    @property
    def revoked(self) -> tuple[Issued, ...]:
        """Certificates that a list has to name."""
        return tuple(one for one in self.issued if one.revoked is not None)


def hash_token(token: str) -> str:
    """SHA-256 in hexadecimal. A token is 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the ledger at `path`; waits for whoever has it. Raises StorageError."""
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def load(path: Path) -> Ledger:
    """Read the ledger. Raises StorageError, AuthorityError."""
    try:
        data: Any = json.loads(read(path, private=True))
        if data["version"] != VERSION:
            raise AuthorityError(f"{path}: version {data['version']!r} of the ledger is not known")
        return Ledger(
            domain=data["domain"],
            crl_number=int(data["crl_number"]),
            issued=tuple(
                Issued(
                    int(one["serial"], 16),
                    DeviceName.from_uri(one["device"]),
                    _time(one["not_after"]),
                    None if one["revoked"] is None else _time(one["revoked"]),
                )
                for one in data["issued"]
            ),
            tokens=tuple(
                EnrolmentToken(one["sha256"], DeviceName.from_uri(one["device"]), _time(one["expires"]))
                for one in data["tokens"]
            ),
        )
    except (ValueError, KeyError, TypeError, PeerRefused):
        raise AuthorityError(f"{path}: the ledger cannot be parsed; restore it, or revocations are lost") from None


def save(path: Path, ledger: Ledger, *, fresh: bool = False) -> None:
    """Write the ledger; `fresh` refuses to replace one. Raises StorageError."""
    data = {
        "version": VERSION,
        "domain": ledger.domain,
        "crl_number": ledger.crl_number,
        "issued": [
            {
                "serial": f"{one.serial:x}",
                "device": one.device.uri,
                "not_after": one.not_after.isoformat(),
                "revoked": one.revoked.isoformat() if one.revoked else None,
            }
            for one in ledger.issued
        ],
        "tokens": [
            {"sha256": one.sha256, "device": one.device.uri, "expires": one.expires.isoformat()}
            for one in ledger.tokens
        ],
    }
    write(path, (json.dumps(data, indent=1) + "\n").encode(), replace=not fresh)


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)
