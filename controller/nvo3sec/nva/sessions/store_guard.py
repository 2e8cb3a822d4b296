# SPDX-License-Identifier: Apache-2.0
"""What becomes of an NVA whose store fails: it ends, because nobody knows what is stored. And of an NVE that remembers
another history than the store has: it is not served, and everybody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Protocol

import structlog

from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import HistoryDisputed
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.nva.sessions.history_marks import Marks
from nvo3sec.nva.store import ChangeRefused, StoreError


class Note(Protocol):
    """Tells operators something about an NVE; always: also if it has said much."""

    def __call__(self, nve: str, report: Report, *, always: bool = False) -> None: ...


@contextlib.contextmanager
def disputes_said(nve: str, marks: Marks, note: Note, session: NvaSideSession | None) -> Iterator[None]:
    """Around what an NVE remembers of the store. session: its present one, which ends with a dispute."""
    known = nve in marks.disputes
    try:
        yield
    except HistoryDisputed as dispute:
        note(nve, Report("store-disputed", str(dispute)), always=not known)
        if session is not None:
            session.end(str(dispute))
        raise


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
