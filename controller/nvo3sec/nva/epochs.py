# SPDX-License-Identifier: Apache-2.0
"""Epoch secrets: what all keys of an epoch are derived from. Each is fresh randomness, and dies with its last key."""

from __future__ import annotations

from collections.abc import Callable, Collection

from nvo3sec.domain.derivation import EPOCH_SECRET_BYTES
from nvo3sec.domain.secret import Secret
from nvo3sec.errors import DerivationError


class Epochs:
    """The epochs of a domain, in memory. `random_bytes` must be a cryptographic source."""

    def __init__(self, random_bytes: Callable[[int], bytes], now: float, life_s: float) -> None:
        self._random_bytes = random_bytes
        self._life_s = life_s
        self._secrets: dict[int, Secret] = {}
        self._current = 0
        self._began = now
        self.advance(now)

    @property
    def current(self) -> int:
        """Number of the epoch that new keys belong to."""
        return self._current

    def advance(self, now: float) -> int:
        """Begin a new epoch; returns its number."""
        self._current += 1
        self._began = now
        self._secrets[self._current] = Secret(self._random_bytes(EPOCH_SECRET_BYTES))
        return self._current

    def tick(self, now: float, living: Collection[int]) -> None:
        """Begin a new epoch if this one is old, and destroy those that no `living` key belongs to."""
        if now >= self._began + self._life_s:
            self.advance(now)
        for epoch in [number for number in self._secrets if number != self._current and number not in living]:
            del self._secrets[epoch]

    def secret(self, epoch: int) -> Secret:
        """The secret of `epoch`. Raises DerivationError if it has been destroyed."""
        try:
            return self._secrets[epoch]
        except KeyError:
            raise DerivationError(f"the secret of epoch {epoch} no longer exists") from None
