# SPDX-License-Identifier: Apache-2.0
"""Questions of NVEs about mappings: as many as one of them may ask."""

from __future__ import annotations

from nvo3sec.domain.limits import TokenBucket
from nvo3sec.domain.messages import Lookup, LookupAnswer, LookupResult
from nvo3sec.domain.model import Rate
from nvo3sec.nva.attachments import Attachments

LOOKUP_RATE = Rate(200, 1000)
"""Lookups that one NVE may make."""


class Questions:
    """Answered from the mappings of one NVA. now: seconds, monotonic."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._buckets: dict[str, TokenBucket] = {}

    def answer(self, nve: str, query: Lookup, now: float) -> LookupAnswer:
        """The answer for `nve`, which is known to be one of the domain."""
        if not self._buckets.setdefault(nve, TokenBucket(LOOKUP_RATE, now)).take(now):
            return LookupAnswer(LookupResult.BUSY, 1.0)
        return self._attachments.look_up(nve, query)
