# SPDX-License-Identifier: Apache-2.0
"""A lookup for a punted packet that is cancelled, without a switch."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from nvo3sec.domain.mapping.lookups import Wanted
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult
from nvo3sec.nve.punts import PuntHandler


def test_a_lookup_that_is_cancelled_ends_also_if_its_answer_is_there():
    async def check() -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        installed = []

        async def look_up(_lookup: Lookup) -> tuple[LookupAnswer, Any]:
            await answered
            return LookupAnswer(LookupResult.FOUND, 0.0), SimpleNamespace(mac=0)

        async def install() -> None:
            installed.append(True)

        driver: Any = SimpleNamespace(client=SimpleNamespace(name="leaf1"))
        handler = PuntHandler(driver, look_up, install, lambda: None, announce=lambda *_: None)
        vn: Any = SimpleNamespace(negative_quota=1)
        packet: Any = {"reason": 0}
        task = asyncio.create_task(handler._look_up(Wanted(10, 0x020000000001, None), packet, SimpleNamespace(), vn))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answered.set_result(None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not installed

    asyncio.run(check())
