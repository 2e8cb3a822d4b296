# SPDX-License-Identifier: Apache-2.0
"""Who is connected, and is to be told. What somebody has not been told yet is in the session, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva.mappings.service import Handled
from nvo3sec.nva.sessions.agent_session import NvaSideSession


class Sessions(Mapping[str, NvaSideSession]):
    """The session of each NVE that is registered. version: of the newest message that was made for any of them."""

    def __init__(self) -> None:
        self.version = 0
        self._present: dict[str, NvaSideSession] = {}

    def __getitem__(self, nve: str) -> NvaSideSession:
        return self._present[nve]

    def __iter__(self) -> Iterator[str]:
        return iter(self._present)

    def __len__(self) -> int:
        return len(self._present)

    def next_version(self) -> int:
        """Of a message that is made now."""
        self.version += 1
        return self.version

    # --- who is connected -------------------------------------------------------------------------------------------

    def enter(self, session: NvaSideSession) -> None:
        """It is the one of its NVE from now on; an older one of the same NVE is ended."""
        before = self._present.get(session.nve)
        self._present[session.nve] = session
        if before is not None and before is not session:
            before.end(f"a newer session of {session.nve} has taken over")

    def leave(self, session: NvaSideSession) -> bool:
        """It has ended; returns whether its NVE is gone with it, and has no newer one."""
        if not self.has(session):
            return False
        del self._present[session.nve]
        return True

    def has(self, session: NvaSideSession) -> bool:
        """Whether this is the session of its NVE."""
        return self._present.get(session.nve) is session

    def require(self, session: NvaSideSession) -> None:
        """Raises AuthorizationError unless this is the session of its NVE."""
        if not self.has(session):
            raise AuthorizationError(f"{session.nve} is not registered through this session")

    # --- who is to be told ------------------------------------------------------------------------------------------

    def tell_keys(self, nve: str, tunnel: Tunnel) -> None:
        """The keys of `nve` have changed in one direction. One that comes later is told all of them."""
        if (session := self._present.get(nve)) is not None:
            session.push_keys(tunnel)

    def tell_incarnation(self, nve: str) -> None:
        """The switch of `nve` is to take another incarnation."""
        if (session := self._present.get(nve)) is not None:
            session.push_incarnation()

    def tell_peers(self, nves: Iterable[str]) -> None:
        """There is something new of what peers of `nves` contribute to keys."""
        for nve in nves:
            if (session := self._present.get(nve)) is not None:
                session.push_peers()

    def tell_mappings(self, handled: Handled, members: Callable[[int], Iterable[str]]) -> None:
        """What changed behind NVEs, for these; and in VNs, for their members."""
        for nve in handled.nves:
            if (session := self._present.get(nve)) is not None:
                session.push_tenants()
        for vni in handled.changed:
            for nve in members(vni):
                if (session := self._present.get(nve)) is not None:
                    session.push_mappings(vni)
