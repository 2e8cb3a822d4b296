# SPDX-License-Identifier: Apache-2.0
"""What goes wrong again and again in the same words: told once, and with its number once it comes back."""

from __future__ import annotations

AGAIN_S = 600.0
"""What has not gone wrong for so long is over: if it comes back, it is told again."""
KEPT = 64
"""Texts that are known. Beyond that the oldest is news again."""


class Repeats:
    """The texts that were told, and how often each had cause to be."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, int]] = {}

    def again(self, text: str, now: float) -> str | None:
        """What to add to `text` if it is to be told, nothing the first time; None if it is known.

        now: seconds, monotonic.
        """
        last, count = self._known.pop(text, (float("-inf"), 0))
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[text] = now, count + 1
        if now < last + AGAIN_S:
            return None
        return f" (again, {count + 1} times in all)" if count else ""
