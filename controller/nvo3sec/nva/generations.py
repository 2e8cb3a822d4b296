# SPDX-License-Identifier: Apache-2.0
"""Generations: a number for each key of a receiver that no other key of it ever has, whatever is restarted."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.spi import LAST_GENERATION, next_generation
from nvo3sec.nva.store.records import SetGeneration

BLOCK = 4096
"""Generations that are reserved at once. As they follow wall time, this is also about how often (seconds) a receiver
whose keys are replaced one by one costs a commit; and it is how many a restart wastes."""

TRUSTED_LEAD = 1 << 24
"""How far above what is known here a generation found in a switch is believed: a receiver that names higher ones would
use up its own."""


class Generations:
    """High-water marks of receivers, in blocks. stored: the marks of the store, all of which count as given out."""

    def __init__(self, stored: Iterable[tuple[str, int]]) -> None:
        self._last = dict(stored)
        self._reserved = dict(self._last)
        self._unstored: set[str] = set()

    def next(self, receiver: str, seconds: int) -> int:
        """A generation for a key towards `receiver`; see `next_generation`. Store `changes` before the key is used."""
        generation = next_generation(self._last.get(receiver, 0), seconds)
        self._last[receiver] = generation
        if generation > self._reserved.get(receiver, 0):
            self._reserved[receiver] = min(generation + BLOCK - 1, LAST_GENERATION)
            self._unstored.add(receiver)
        return generation

    def found(self, receiver: str, generation: int, seconds: int) -> bool:
        """A switch of the receiver has a key of `generation`: later ones are above. False: too high to be believed."""
        last = self._last.get(receiver, 0)
        if generation > max(last, seconds) + TRUSTED_LEAD:
            return False
        self._last[receiver] = max(last, generation)
        return True

    @property
    def changes(self) -> tuple[SetGeneration, ...]:
        """What is to be stored."""
        return tuple(SetGeneration(receiver, self._reserved[receiver]) for receiver in sorted(self._unstored))

    def stored(self) -> None:
        """`changes` are durable."""
        self._unstored.clear()
