# SPDX-License-Identifier: Apache-2.0
"""Whether the history of an NVA's store passes through what an agent remembers of it.

A store that was put back together with its keys is behind at first, and then grows: soon its numbers say nothing. So
what is compared is the digest, which a store has of nothing but its own past. The NVA asks, before it serves; and
the agent asks, before it believes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nvo3sec.domain.messages.session import StoreMark


def not_in_history(seen: Iterable[StoreMark], now: StoreMark, known: Collection[StoreMark]) -> StoreMark | None:
    """What of `seen` a store does not have in its history, or None.

    now: how far the store has come. known: what the store says that it has told the one who remembers. What was told in
    an earlier term needs not be there: an operator has decided to go on without. A mark without a digest is of an agent
    that knew none; of that only the numbers can be compared.
    """
    for one in seen:
        if one.term < now.term or one in known:
            continue
        if one.digest or now.is_before(one):
            return one
    return None
