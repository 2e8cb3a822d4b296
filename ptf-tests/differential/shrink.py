# SPDX-License-Identifier: Apache-2.0
"""Reduces a list of steps in which two switches differ to one from which nothing can be left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from differential.pair import Pair
from differential.steps import Difference, Step

T = TypeVar("T")


def shrink(pair: Pair, steps: Sequence[Step], deadline: float) -> tuple[list[Step], Difference] | None:
    """The smallest list found until the deadline, with its difference; None if the difference does not come again.

    Whole steps go first, then parts of steps, then bytes at the end of frames.
    """
    found: list[tuple[list[Step], Difference]] = []

    def differs(candidate: Sequence[Step]) -> bool:
        candidate = [step for step in candidate if step.parts() or step is candidate[-1]]
        entries_too = not candidate[-1].parts()
        answer = pair.replay(candidate, with_entries=entries_too)
        if answer is None:
            return False
        index, difference = answer
        found.append((list(candidate[: index + 1]), difference))
        return True

    if not differs(list(steps)):
        return None
    current = found[-1][0]
    current = _fewer(current, lambda kept: differs(kept), deadline)
    for _ in range(2):
        for at in reversed(range(len(current))):
            if at >= len(current):
                continue
            before, after = current[:at], current[at + 1 :]
            step = current[at]

            def with_parts(
                parts: Sequence[object], before: list[Step] = before, after: list[Step] = after, step: Step = step
            ) -> bool:
                return differs([*before, step.of(parts), *after])

            parts = _fewer(list(step.parts()), with_parts, deadline)
            current = [*before, *([step.of(parts)] if parts or not after else []), *after]
    # What was kept last is what differed last, with its own difference.
    differs(current)
    return found[-1]


def _fewer(items: Sequence[T], still: Callable[[Sequence[T]], bool], deadline: float) -> list[T]:
    """Delta debugging: leaves out ever smaller pieces as long as `still` holds."""
    current = list(items)
    size = max(1, len(current) // 2)
    while True:
        at = 0
        removed = False
        while at < len(current):
            if time.monotonic() > deadline:
                return current
            candidate = current[:at] + current[at + size :]
            if candidate and still(candidate):
                current = candidate
                removed = True
            else:
                at += size
        if size == 1 and not removed:
            return current
        size = max(1, size // 2)
