# SPDX-License-Identifier: Apache-2.0
"""Epoch secrets: what all keys of an epoch are derived from. Each is fresh randomness, and dies with its last key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from nvo3sec.domain.keys.derivation import EPOCH_SECRET_BYTES, EpochKey
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.errors import DerivationError
from nvo3sec.nva.store.records import DropEpoch, PutEpoch, StoreChange, Stored


class Epochs:
    """The epochs of a domain. A secret is of no use before it is stored, and is destroyed when no key needs it.

    The last epoch of a store goes on: its keys have generations that no earlier process gave out. Older ones end at
    once: their keys live on in the switches, which alone have them, and nothing is derived from them any more.

    random_bytes: a cryptographic source. now: seconds, monotonic. wall: seconds since 1970, only for the age of an
    epoch across a restart. life_s: after this time an epoch takes no new keys.
    """

    def __init__(
        self, random_bytes: Callable[[int], bytes], stored: Stored, *, now: float, wall: float, life_s: float
    ) -> None:
        self._random_bytes = random_bytes
        self.life_s = life_s
        self._keys = {number: EpochKey(secret) for number, secret, _ in stored.epochs}
        self._living: Counter[int] = Counter()
        self._last = max([stored.last_epoch, *self._keys])
        self._new: dict[int, PutEpoch] = {}
        self._ended: list[int] = []
        self._current = 0
        self._began = now
        self._is_fresh = False
        for number, _, began in stored.epochs:
            if self._current:
                self._end(self._current)
            self._current = number
            age = wall - began
            # A clock that has been put back says nothing about the age: the epoch is taken for an old one.
            self._began = now - (age if age >= 0 else life_s)
        if not self._current:
            self.begin(now, wall)

    @property
    def current(self) -> int:
        """Number of the epoch that new keys belong to."""
        return self._current

    def begin(self, now: float, wall: float) -> None:
        """Later keys come from a secret that no earlier key came from."""
        if self._is_fresh:
            return
        before = self._current
        self._last += 1
        self._current = self._last
        secret = Secret(self._random_bytes(EPOCH_SECRET_BYTES))
        self._new[self._current] = PutEpoch(self._current, secret, max(0, int(wall)))
        self._keys[self._current] = EpochKey(secret)
        self._began = now
        self._is_fresh = True
        if before and not self._living[before]:
            self._end(before)

    def tick(self, now: float, wall: float) -> None:
        """Begin a new epoch if this one is old."""
        if now >= self._began + self.life_s:
            self.begin(now, wall)

    def add_key(self) -> int:
        """A key of the current epoch comes to life; returns the epoch."""
        self._is_fresh = False
        self._living[self._current] += 1
        return self._current

    def drop_key(self, epoch: int) -> None:
        """A key of `epoch` is gone. With the last one, the epoch goes too, unless it is the current one."""
        self._living[epoch] -= 1
        if not self._living[epoch]:
            del self._living[epoch]
            if epoch != self._current:
                self._end(epoch)

    def _end(self, epoch: int) -> None:
        del self._keys[epoch]
        if self._new.pop(epoch, None) is None:
            self._ended.append(epoch)

    def key(self, epoch: int) -> EpochKey:
        """What keys of `epoch` are derived with. Raises DerivationError if it is not stored, or has been destroyed."""
        if epoch in self._new:
            raise DerivationError(f"epoch {epoch} is not stored yet")
        try:
            return self._keys[epoch]
        except KeyError:
            raise DerivationError(f"the secret of epoch {epoch} no longer exists") from None

    @property
    def changes(self) -> tuple[StoreChange, ...]:
        """What is to be stored."""
        return (*self._new.values(), *map(DropEpoch, self._ended))

    @property
    def has_ended(self) -> bool:
        """Whether there is a secret to destroy."""
        return bool(self._ended)

    def stored(self) -> None:
        """`changes` are durable."""
        self._new.clear()
        self._ended.clear()
