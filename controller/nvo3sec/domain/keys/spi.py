# SPDX-License-Identifier: Apache-2.0
"""Names of keys: the SPI on the wire (RFC 4301 4.1) with its phase, and the generation that orders a replay ring."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nvo3sec.errors import DerivationError

PHASE_BIT = 1 << 31
RANDOM_MASK = PHASE_BIT - 1
LAST_GENERATION = (1 << 32) - 1
LAST_GENERATION_BY_TIME = 1 << 31
"""As far as wall time is followed (seconds): a clock that goes wild cannot use up the generations of a receiver."""


def phase_of(spi: int) -> int:
    """0 or 1: which of the two replay rings of its peer and level the SPI uses."""
    return spi >> 31


def choose_spi(phase: int, draws: Iterable[int], taken: Collection[int]) -> int:
    """The first usable of the random numbers `draws` as an SPI of `phase`.

    The low 31 bits are random and not zero; `taken` are the SPIs of every key of the address pair that still exists.
    Raises DerivationError if no draw is usable.
    """
    for draw in draws:
        low = draw & RANDOM_MASK
        spi = phase << 31 | low
        if low and spi not in taken:
            return spi
    raise DerivationError("no SPI is free among those drawn")


def next_generation(last: int, seconds: int) -> int:
    """A generation above `last`, and at least `seconds`.

    `seconds` is coarse wall time since a fixed date. The counter follows it so that one that was lost, or put back with
    an old backup, continues above everything it gave out before, and the replay rings of switches are open for it: in
    the long run a receiver gets less than one key a second. Raises DerivationError when there is none left.
    """
    generation = max(last + 1, min(seconds, LAST_GENERATION_BY_TIME))
    if generation > LAST_GENERATION:
        raise DerivationError("generations have run out")
    return generation
