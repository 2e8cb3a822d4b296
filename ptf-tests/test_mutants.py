# SPDX-License-Identifier: Apache-2.0
"""The list of mutants is one of the program as it is: a run takes hours, and is not to end in its first second."""

from __future__ import annotations

from pathlib import Path

from mutants.semantic import EQUIVALENT, semantic_mutants
from mutants.sources import AllInOne, Sources


def test_every_text_is_there_once_and_every_exception_is_a_mutant() -> None:
    sources = Sources(Path(__file__).parents[1] / "p4src")
    names = [one.name for one in (*AllInOne(sources).mutants, *semantic_mutants(sources))]
    assert len(names) == len(set(names)) > 400
    assert set(EQUIVALENT) - set(names) == set()
