# SPDX-License-Identifier: Apache-2.0
"""Expressions: the compiled program against Python's unbounded integers."""

from __future__ import annotations

import pytest
from engine_random import random_packets, random_program
from engine_support import load_bytes


@pytest.mark.parametrize("seed", range(20))
def test_random_expressions(seed: int) -> None:
    """Forty random expressions, on inputs that are rich in zeros and ones."""
    program = random_program(seed)
    engine = load_bytes(program.json_bytes)
    for packet in random_packets(program, seed, 100):
        assert engine.process(1, packet) == [(2, program.expected(packet))]
