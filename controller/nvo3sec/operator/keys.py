# SPDX-License-Identifier: Apache-2.0
"""What operators may ask an NVA about keys, and have it do with them: by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from nvo3sec.domain.messages.holdings import Holdings, holdings_from_json
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.nva.administration import Administration
from nvo3sec.nva.intent.tunnel_choice import choose_tunnels
from nvo3sec.operator.calls import Method, answered_by
from nvo3sec.operator.documents import (
    KeyAtEnds,
    KeyAudit,
    MarksReset,
    Rotated,
    SwitchDiffers,
    SwitchRead,
    SwitchUnread,
)
from nvo3sec.operator.key_views import differences, key_list
from nvo3sec.system.uptime import uptime_s

LOOKS = 3
LOOK_S = 1.0
"""What differs in each of so many looks, so far apart, is a difference; what does not is a change under way."""

Ask = Callable[[str, QuestionKind], Awaitable[Any]]
"""Asks the agent of an NVE. Raises OperatorError."""


class KeyOperations:
    """Of one NVA. Every coroutine raises OperatorError for what does not exist."""

    def __init__(self, nva: Administration, ask: Ask) -> None:
        self._nva = nva
        self._ask = ask

    @property
    def methods(self) -> dict[str, Method]:
        """By name."""
        return answered_by(self)

    async def rotate(self, nves: list[str] | None = None, vn: str | None = None) -> Rotated:
        """New keys, make before break."""
        return Rotated(self._nva.rotate(nves or (), vn))

    async def reset_marks(self, nve: str) -> MarksReset:
        """Begin anew with the generations of what an NVE receives; its switch takes another incarnation."""
        return MarksReset(nve, self._nva.reset_marks(nve))

    async def key_list(self, nves: list[str] | None = None, vn: str | None = None) -> tuple[KeyAtEnds, ...]:
        """Keys, with what is expected and what is there at both ends."""
        chosen = self._chosen(nves or (), vn)
        ends = sorted({nve for tunnel in chosen for nve in (tunnel.sender, tunnel.receiver)})
        answers = dict(zip(ends, await asyncio.gather(*(self._holdings(nve) for nve in ends)), strict=True))
        wanted = set(chosen)
        directions = [one for one in self._nva.directions() if one.tunnel in wanted]
        return key_list(directions, answers, uptime_s(), self._nva.is_mixed)

    async def key_audit(self, nve: str | None = None) -> KeyAudit:
        """What every switch holds, read by its agent now, against what the NVA wants there.

        An agent says what it likes about its own switch: this finds what is broken, and no liars.
        """
        names = [one.name for one in self._nva.domain.nves]
        if nve is not None and nve not in names:
            raise no_such("NVE", nve, names)
        self._nva.must_be_in([] if nve is None else [nve])
        asked = names if nve is None else [nve]
        answers, left = await self._look(asked)
        for _ in range(LOOKS - 1):
            if not left:
                break
            await asyncio.sleep(LOOK_S)
            answers, again = await self._look(asked)
            left = [one for one in left if one in again]
        return KeyAudit(
            held=not left,
            differences=tuple(SwitchDiffers(name, what) for name, what in left),
            switches=tuple(_switch(name, answers[name]) for name in asked),
        )

    async def _look(self, nves: Iterable[str]) -> tuple[dict[str, Holdings | str], list[tuple[str, str]]]:
        asked_at = uptime_s()
        names = list(nves)
        found = await asyncio.gather(*(self._holdings(nve) for nve in names))
        answers = dict(zip(names, found, strict=True))
        directions = self._nva.directions()
        return answers, [
            (nve, what)
            for nve, answer in answers.items()
            if nve not in self._nva.excluded
            for what in differences(nve, directions, answer, asked_at)
        ]

    async def _holdings(self, nve: str) -> Holdings | str:
        if (why := self._nva.excluded.get(nve)) is not None:
            return why
        try:
            return holdings_from_json(nve, await self._ask(nve, QuestionKind.KEYS))
        except OperatorError as error:
            return str(error)
        except ValueError as error:
            return f"its answer is not understood: {error}"

    def _chosen(self, nves: Iterable[str], vn: str | None) -> list[Any]:
        tunnels = [one.tunnel for one in self._nva.directions()]
        return choose_tunnels(self._nva.domain, self._nva.membership, tunnels, nves, vn)


def _switch(nve: str, answer: Holdings | str) -> SwitchRead | SwitchUnread:
    if isinstance(answer, str):
        return SwitchUnread(nve, answer)
    return SwitchRead(
        nve=nve,
        fault="",
        incarnation=answer.incarnation,
        agrees=answer.agrees,
        clock_s=answer.clock_s,
        lease_left_s=answer.lease_left_s,
        receive=len(answer.receive),
        send=len(answer.send),
    )
