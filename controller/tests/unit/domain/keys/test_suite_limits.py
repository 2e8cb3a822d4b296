# SPDX-License-Identifier: Apache-2.0
"""What one key may process, by its suite, and what of a domain file's limits follows from that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.keys.suite_limits import SUITE_LIMITS
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.nva.keys.limits import limits_of

LIFE = load_domain(example_path()).lifetimes
suites = st.sampled_from(Suite)


def blocks_of(length: int) -> int:
    """Counted anew: 28 bytes of headers are two blocks, and a frame as many as it fills or begins."""
    return 2 + (length + 15) // 16


def test_the_numbers():
    assert SUITE_LIMITS[Suite.CHASKEY12].describe() == "2^38 blocks of 16 bytes"
    assert SUITE_LIMITS[Suite.ASCON_AEAD128].describe() == "2^50 bytes"
    assert set(SUITE_LIMITS) == set(Suite)


@given(suites, st.lists(st.integers(14, 1567), max_size=30))
def test_no_packets_process_more_than_is_counted(suite, lengths):
    limit = SUITE_LIMITS[suite]
    really = sum(map(blocks_of, lengths)) * 16 // limit.unit
    assert really <= limit.processed(len(lengths), sum(lengths))


@given(suites, st.integers(1, 2**60), st.integers(1, 2**60))
def test_a_key_has_no_more_than_its_suite_allows(suite, packets, octets):
    """Whatever the file says of another suite."""
    limits = limits_of(replace(LIFE, key_hard_packets=packets, key_hard_bytes=octets), suite)
    limit = SUITE_LIMITS[suite]
    assert limit.processed(limits.hard_packets, limits.hard_bytes) <= limit.most
    if limit.processed(packets, octets) <= limit.most:
        assert (limits.hard_packets, limits.hard_bytes) == (packets, octets)


@pytest.mark.parametrize("suite", Suite)
def test_what_is_cut_keeps_its_order(suite):
    life = replace(LIFE, key_soft_packets=2**45, key_hard_packets=2**46, key_soft_bytes=2**54, key_hard_bytes=2**55)
    limits = limits_of(life, suite)
    assert limits.soft_packets < limits.hard_packets
    assert limits.soft_bytes < limits.hard_bytes
    assert SUITE_LIMITS[suite].processed(limits.hard_packets, limits.hard_bytes) > SUITE_LIMITS[suite].most * 0.99
    assert limits.soft_s == life.key_soft_s


@pytest.mark.parametrize("suite", Suite)
def test_the_example_is_below_all_of_them(suite):
    assert limits_of(LIFE, suite).hard_bytes == LIFE.key_hard_bytes
