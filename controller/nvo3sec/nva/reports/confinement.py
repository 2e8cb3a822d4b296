# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with one NVE, one direction, one VN or one question stays there: counted, logged, told to operators.

What one peer says must not be able to hurt another's tunnels, nor to end a process. The one exception is a store that
has failed: nobody knows then what is durable, and the NVA ends (`guard`).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import structlog

from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import cause_of
from nvo3sec.nva.store.errors import ChangeRefused, StoreError

EVENT = "confined"
"""The report of what went wrong."""
CAUSES_KNOWN = 4096
"""Causes that are told apart: what is told once is counted from then on."""

Tell = Callable[[str, Report], None]
"""Tells operators something about an NVE ("" for none)."""


class Confinement:
    """Walls around the parts of one NVA's work. counts: what went wrong how often, by part."""

    def __init__(self, domain: str, tell: Tell = lambda _nve, _report: None) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell
        self._known: set[tuple[str, str, str, str]] = set()
        self._log = structlog.get_logger("nva").bind(domain=domain)

    @contextlib.contextmanager
    def around(self, part: str, nve: str = "", name: str = "") -> Iterator[None]:
        """Around what is done for one. part: which work; nve: whose; name: with what of it. Raises StoreError."""
        try:
            yield
        except StoreError as error:
            if not isinstance(error, ChangeRefused):
                raise
            self.note(part, nve, name, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is not for the others to bear
            self.note(part, nve, name, error)

    def note(self, part: str, nve: str, name: str, error: Exception) -> None:
        """Something went wrong. Each cause is told once."""
        self.counts[part] += 1
        why = cause_of(error)
        cause = (part, nve, name, why)
        if cause in self._known or len(self._known) >= CAUSES_KNOWN:
            return
        self._known.add(cause)
        self._log.error("confined", part=part, nve=nve, name=name, error=why)
        self._tell(nve, Report(EVENT, f"{part}{' of ' + name if name else ''}: {why}"))
