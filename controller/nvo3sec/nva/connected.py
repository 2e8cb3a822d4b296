# SPDX-License-Identifier: Apache-2.0
"""Who is connected, and is to be told."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.nva.agent_session import NvaSideSession


class Connected(dict[str, NvaSideSession]):
    """The session of each NVE that is registered."""

    def push_keys(self, nves: Iterable[str]) -> None:
        """Tell those of `nves` who are connected that their keys have changed."""
        for nve in nves:
            if (session := self.get(nve)) is not None:
                session.push_keys()
