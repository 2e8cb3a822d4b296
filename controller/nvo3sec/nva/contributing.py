# SPDX-License-Identifier: Apache-2.0
"""What an NVA does about peer contributions; nothing, if it makes the keys alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nvo3sec.domain.contribution import ContributionRefused, PeerNews, PeerUpdate
from nvo3sec.domain.membership import Membership
from nvo3sec.domain.messages import Report
from nvo3sec.domain.model import Domain, TunnelKeys
from nvo3sec.nva.keys import KeyService
from nvo3sec.nva.peering import PeerRelay
from nvo3sec.nva.session import NvaSideSession


class Contributing:
    """Between the sessions of agents (`sessions`, by NVE), the relay, and the keys.

    relay: None if the NVA makes the keys alone. Which it is, is decided when it starts: it restarts to change that.
    """

    def __init__(self, domain: Domain, sessions: Mapping[str, NvaSideSession]) -> None:
        self.tunnel_keys = domain.tunnel_keys
        self.relay = PeerRelay(domain.name) if domain.tunnel_keys is TunnelKeys.NVA_AND_PEER else None
        self._sessions = sessions

    def joined(self, nve: str, incarnation: bytes, membership: Membership, keys: KeyService) -> None:
        """An agent has registered: before its keys hear of it."""
        if self.relay is not None:
            self.relay.joined(nve, incarnation, membership.peers_of(nve), keys.tunnels_of(nve))
            self.follow(keys)
            self._push([nve])

    def left(self, nve: str) -> None:
        """An agent is gone."""
        if self.relay is not None:
            self.relay.left(nve)

    def take(self, nve: str, news: PeerNews, membership: Membership) -> Report | None:
        """What an agent has to say; returns a report if it was refused."""
        if self.relay is None:
            return None
        try:
            # First the proofs: what an NVE has mixed it holds, whatever it can still mix with.
            for proof in news.proofs:
                self._push(self.relay.prove(nve, proof))
            if news.contributions is not None:
                self._push(self.relay.publish(nve, news.contributions, membership.peers_of(nve)))
        except ContributionRefused as error:
            return Report("peer-contribution-refused", str(error))
        return None

    def fetch(self, nve: str) -> PeerUpdate | None:
        """What an agent has not been told yet."""
        return None if self.relay is None else self.relay.fetch(nve)

    def follow(self, keys: KeyService) -> None:
        """There may be a new epoch."""
        if self.relay is not None:
            self._push(self.relay.set_epoch(keys.epoch))

    def reconfigured(self, excluded: Iterable[str], membership: Membership, keys: KeyService) -> None:
        """Who shares a VN with whom has changed."""
        if self.relay is None:
            return
        for nve in excluded:
            self.relay.removed(nve)
        self._push([nve for nve in self._sessions if self.relay.meets(nve, membership.peers_of(nve))])
        self.follow(keys)

    def _push(self, nves: Iterable[str]) -> None:
        for nve in nves:
            session = self._sessions.get(nve)
            if session is not None:
                session.push_peers()
