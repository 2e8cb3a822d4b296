# SPDX-License-Identifier: Apache-2.0
"""What becomes of an NVA whose store fails: it ends, because nobody knows what is stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from nvo3sec.nva.store import ChangeRefused, StoreError


class StoreGuard:
    """Stands around everything that is stored. failure: why nothing can be stored any more, once that is so."""

    def __init__(self, domain: str) -> None:
        self.failure: StoreError | None = None
        self._failed = asyncio.Event()
        self._log = structlog.get_logger("nva").bind(domain=domain)

    @contextlib.contextmanager
    def must_not_fail(self) -> Iterator[None]:
        """Around what is stored. If that fails, what was asked for has not happened, and the NVA is to end."""
        try:
            yield
        except StoreError as error:
            if not isinstance(error, ChangeRefused) and self.failure is None:
                self._log.error("the store has failed; this NVA ends", error=str(error))
                self.failure = error
                self._failed.set()
            raise

    async def wait(self, seconds: float) -> None:
        """So long, or until the store has failed. Raises StoreError then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._failed.wait()
        if self.failure is not None:
            raise self.failure
