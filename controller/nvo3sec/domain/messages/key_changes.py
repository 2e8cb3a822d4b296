# SPDX-License-Identifier: Apache-2.0
"""Changes of an NVE's keys, put together with what they change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from nvo3sec.domain.messages.session import KeyState, KeyUpdate, ReceiveSa, SendSa
from nvo3sec.domain.overlay.model import Suite

T = TypeVar("T", bound=KeyState | KeyUpdate)
SaT = TypeVar("SaT", ReceiveSa, SendSa)


def after(earlier: T, update: KeyUpdate, age_s: float) -> T:
    """`earlier`, which came `age_s` seconds before, and then `update`, as one message of the time of `update`.

    Raises ValueError if `update` does not follow `earlier`, or is about another incarnation.
    """
    if update.base != earlier.version:
        raise ValueError(f"a change of keys of version {update.base}, where version {earlier.version} is known")
    if update.incarnation != earlier.incarnation:
        raise ValueError("a change of the keys of another incarnation")
    both = replace(
        earlier,
        version=update.version,
        receive=(*_left(earlier.receive, set(update.receives), age_s), *update.receive),
        send=(*_left(earlier.send, set(update.sends), age_s), *update.send),
    )
    if not isinstance(both, KeyUpdate):
        return both
    return replace(
        both,
        receives=tuple(dict.fromkeys((*both.receives, *update.receives))),
        sends=tuple(dict.fromkeys((*both.sends, *update.sends))),
    )


def _left(sas: Iterable[SaT], changed: set[tuple[str, Suite]], age_s: float) -> Iterator[SaT]:
    for sa in sas:
        if (sa.peer, sa.suite) not in changed:
            yield replace(sa, remaining_s=sa.remaining_s - age_s)
