# SPDX-License-Identifier: Apache-2.0
"""Generations: a number for each key of a receiver that no other key of it ever has, whatever is restarted."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.keys.sa import Direction
from nvo3sec.domain.keys.spi import LAST_GENERATION, LAST_GENERATION_BY_TIME, next_generation
from nvo3sec.nva.store.records import DropGeneration, SetGeneration

BLOCK = 4096
"""Generations that are reserved at once. As they follow wall time, this is also about how often (seconds) a receiver
whose keys are replaced one by one costs a commit; and it is how many a restart wastes."""

TRUSTED_LEAD = 1 << 24
"""How far above wall time a generation that is unknown here is believed to be in a switch. That does not move with what
was believed before: else a receiver that climbs would use up its own."""

TERM_LEAD = TRUSTED_LEAD
"""How far the generations of a term are above those of the one before. The marks of a lost database are not in its
backup, and the replay rings of switches know them: so far may the clock have been wrong (seconds: half a year)."""


def inherited_from_before(direction: Direction, seconds: int) -> bool:
    """Whether the key that a direction was found to send with is of an earlier term. seconds: as in `Generations.next`.

    Generations say it, and not the store: so it is also true after a restart that comes before all are replaced. A key
    lives for hours, and terms are `TERM_LEAD` apart; the clock may have been wrong by half of that. Only the receiver
    knows the generation of a key: before it was heard, nothing is said.
    """
    current = direction.current
    if current is None or not current.inherited or not direction.receiver.incarnation:
        return False
    return current.generation < min(seconds, LAST_GENERATION_BY_TIME) - TERM_LEAD // 2


class Generations:
    """High-water marks of receivers, in blocks. stored: the marks of the store, all of which count as given out."""

    def __init__(self, stored: Iterable[tuple[str, int]]) -> None:
        self._last = dict(stored)
        self._reserved = dict(self._last)
        self._unstored: set[str] = set()
        self._forgotten: set[str] = set()

    def next(self, receiver: str, seconds: int) -> int:
        """A generation for a key towards `receiver`; see `next_generation`. Store `changes` before the key is used.

        Raises DerivationError when there is none left: see `forget`.
        """
        generation = next_generation(self._last.get(receiver, 0), seconds)
        self._last[receiver] = generation
        if generation > self._reserved.get(receiver, 0):
            self._reserved[receiver] = min(generation + BLOCK - 1, LAST_GENERATION)
            self._unstored.add(receiver)
        return generation

    def found(self, receiver: str, generation: int, seconds: int) -> bool:
        """The rings of the receiver's switch have seen `generation`: later ones are above. One call for each message.

        What is known here is no news. What is not, after the loss of a store, is believed as far as wall time explains
        it; the receiver says it of itself, and only what it receives itself depends on it. False: it is not believed,
        and nothing has changed; the rings have to be new ones.
        """
        if generation <= self._last.get(receiver, 0):
            return True
        if generation > min(seconds, LAST_GENERATION_BY_TIME) + TRUSTED_LEAD:
            return False
        self._last[receiver] = generation
        return True

    def forget(self, receiver: str) -> None:
        """Begin anew with a receiver whose rings will be new ones, and whose keys come from a secret that is new.

        NEVER FOR KEYS OF AN EPOCH OR AN INCARNATION THAT HAD SOME ALREADY. Store `changes` before the next key.
        """
        self._last.pop(receiver, None)
        self._reserved.pop(receiver, None)
        self._unstored.discard(receiver)
        self._forgotten.add(receiver)

    @property
    def changes(self) -> tuple[DropGeneration | SetGeneration, ...]:
        """What is to be stored, in this order."""
        return (
            *map(DropGeneration, sorted(self._forgotten)),
            *(SetGeneration(receiver, self._reserved[receiver]) for receiver in sorted(self._unstored)),
        )

    def stored(self) -> None:
        """`changes` are durable."""
        self._unstored.clear()
        self._forgotten.clear()
