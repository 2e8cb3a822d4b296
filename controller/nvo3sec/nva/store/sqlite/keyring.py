# SPDX-License-Identifier: Apache-2.0
"""The keys of a store, in a directory of their own outside of the database's: one that wraps the secret of each epoch,
and one that authenticates the rows, the floor and the list of revocations.

A backup of the database alone opens nothing, and what was sealed for an epoch that is over opens with nothing at all.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Collection
from hashlib import blake2b
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.nva.store.errors import StoreCorrupt
from nvo3sec.nva.store.sqlite import files

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 32
_LABEL = b"nvo3sec store v1"
_PURPOSE = b"epoch-secret"
_INTEGRITY = "integrity.key"
_EPOCH = re.compile(r"epoch-([1-9][0-9]*)\.key")


class Keyring:
    """The key directory of the store of `domain`. random_bytes: a cryptographic source."""

    def __init__(self, path: Path, domain: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.path = path
        self._domain = domain
        self._random_bytes = random_bytes
        self._integrity: bytes | None = None

    def load(self) -> bool:
        """Read the integrity key; False if there is none. Raises StoreCorrupt for one that cannot be right."""
        key = files.read_private(self.path / _INTEGRITY, KEY_BYTES)
        if key is not None and len(key) != KEY_BYTES:
            raise StoreCorrupt(f"{self.path / _INTEGRITY} does not hold a key")
        self._integrity = key
        return key is not None

    def create(self) -> None:
        """Draw the integrity key."""
        files.create_private(self.path / _INTEGRITY, self._random_bytes(KEY_BYTES))
        self.load()

    def tag(self, purpose: bytes, data: bytes) -> bytes:
        """32 bytes that nobody without the integrity key can make (keyed BLAKE2b, RFC 7693)."""
        assert self._integrity is not None
        return blake2b(data, digest_size=TAG_BYTES, key=self._integrity, person=purpose.ljust(16, b"\0")).digest()

    def is_tag(self, purpose: bytes, data: bytes, tag: bytes) -> bool:
        """Whether `tag` is the one of `data`."""
        return hmac.compare_digest(self.tag(purpose, data), tag)

    def _wrapping_path(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch}.key"

    def _associated(self, epoch: int) -> bytes:
        """What a sealed secret belongs to; sealed bytes that were moved elsewhere do not open."""
        fields = (_LABEL, self._domain.encode(), str(epoch).encode(), _PURPOSE)
        return b"".join(len(field).to_bytes(2, "big") + field for field in fields)

    def seal(self, epoch: int, secret: Secret) -> bytes:
        """Draw a wrapping key for `epoch`, put it on the disk, and seal `secret` under it (AES-256-GCM-SIV, RFC 8452).

        The key is used for this one message, so its nonce cannot repeat.
        """
        key = self._random_bytes(KEY_BYTES)
        files.create_private(self._wrapping_path(epoch), key)
        nonce = self._random_bytes(NONCE_BYTES)
        return nonce + AESGCMSIV(key).encrypt(nonce, secret.reveal(), self._associated(epoch))

    def unseal(self, epoch: int, sealed: bytes) -> Secret:
        """Open what `seal` made for this epoch. Raises StoreCorrupt."""
        key = files.read_private(self._wrapping_path(epoch), KEY_BYTES)
        if key is None or len(key) != KEY_BYTES:
            raise StoreCorrupt(f"the wrapping key of epoch {epoch} is missing from {self.path}")
        try:
            opened = AESGCMSIV(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._associated(epoch))
        except (InvalidTag, ValueError):
            raise StoreCorrupt(f"the secret of epoch {epoch} does not open with its wrapping key") from None
        return Secret(opened)

    def destroy_all_but(self, epochs: Collection[int]) -> None:
        """Destroy the wrapping keys of all other epochs: those that are over, and those that never came to be."""
        for path in sorted(self.path.glob("epoch-*.key")):
            match = _EPOCH.fullmatch(path.name)
            if match and int(match[1]) not in epochs:
                files.destroy(path)

    def destroy(self, epoch: int) -> None:
        """Destroy the wrapping key of an epoch that is over."""
        files.destroy(self._wrapping_path(epoch))
