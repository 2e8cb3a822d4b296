# SPDX-License-Identifier: Apache-2.0
"""SPIs and generations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.keys.spi import LAST_GENERATION, LAST_GENERATION_BY_TIME, choose_spi, next_generation, phase_of
from nvo3sec.errors import DerivationError

WORDS = st.integers(0, 2**32 - 1)


class TestSpi:
    @given(st.sampled_from([0, 1]), st.lists(WORDS, min_size=4), st.sets(WORDS, max_size=3))
    def test_phase_unique_and_not_zero(self, phase, draws, taken):
        draws = [*draws, 1, 2, 3, 4]
        spi = choose_spi(phase, draws, taken)
        assert phase_of(spi) == phase
        assert spi & 0x7FFFFFFF
        assert spi not in taken

    def test_taken_and_zero_are_passed_over(self):
        assert choose_spi(1, [0, 0x80000000, 5, 6], {0x80000005}) == 0x80000006

    def test_no_draw_left(self):
        with pytest.raises(DerivationError):
            choose_spi(0, [0, 7], {7})


class TestGeneration:
    @given(WORDS, st.integers(0, 2**31))
    def test_grows(self, last, seconds):
        if last < LAST_GENERATION:
            assert next_generation(last, seconds) > last
            assert next_generation(last, seconds) >= seconds

    def test_a_wild_clock_uses_up_no_more_than_half(self):
        assert next_generation(5, 2**40) == LAST_GENERATION_BY_TIME
        assert next_generation(LAST_GENERATION_BY_TIME, 2**40) == LAST_GENERATION_BY_TIME + 1

    def test_ends(self):
        with pytest.raises(DerivationError):
            next_generation(LAST_GENERATION, 0)
