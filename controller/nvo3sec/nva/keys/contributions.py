# SPDX-License-Identifier: Apache-2.0
"""What an NVA does about peer contributions, as long as the domain file asks for them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from nvo3sec.domain.keys.contribution import ContributionRefused, PeerNews
from nvo3sec.domain.messages.session import Report
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, TunnelKeys
from nvo3sec.nva.keys.contribution_relay import PeerRelay
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.system.repeats import Repeats
from nvo3sec.system.uptime import uptime_s

REFUSED = "peer-contribution-refused"


class ContributionExchange:
    """Between the sessions of agents (`sessions`, by NVE), the relay, and the keys."""

    def __init__(
        self,
        domain: Domain,
        sessions: Mapping[str, NvaSideSession],
        clock: Callable[[], float] = uptime_s,
        note: Callable[[str, Report], None] = lambda _nve, _report: None,
    ) -> None:
        """note: tells operators something about an NVE."""
        self.relay = PeerRelay(domain.name, clock)
        self._clock = clock
        self._note = note
        self.relay.is_asking = domain.tunnel_keys is TunnelKeys.NVA_AND_PEER
        self._sessions = sessions
        self._refused: defaultdict[str, Repeats] = defaultdict(Repeats)

    def joined(self, nve: str, incarnation: bytes, membership: Membership, keys: KeyService) -> None:
        """An agent has registered: before its keys hear of it."""
        self.relay.joined(nve, incarnation, membership.peers_of(nve), keys.tunnels_of(nve))
        self.follow(keys)
        self._push([nve])

    def take(self, nve: str, news: PeerNews, membership: Membership) -> Report | None:
        """What an agent has to say; returns a report if it was refused."""
        try:
            # First the proofs: what an NVE has mixed it holds, whatever it can still mix with.
            for proof in news.proofs:
                self._push(self.relay.prove(nve, proof))
            if news.contributions is not None:
                self._push(self.relay.publish(nve, news.contributions, membership.peers_of(nve)))
        except ContributionRefused as error:
            return Report(REFUSED, str(error.of(nve)))
        self._tell_refused(nve)
        return None

    def tell(self, nve: str, refusal: Report) -> None:
        """Note a refusal, unless it is known: an agent says the same in each session, and whenever it likes."""
        again = self._refused[nve].again(refusal.detail, self._clock())
        if again is not None:
            self._note(nve, Report(refusal.event, refusal.detail + again))

    def _tell_refused(self, nve: str) -> None:
        """Of the NVE that said it: it is not relayed, and no other hears of it."""
        if (refusal := self.relay.refused.pop(nve, None)) is not None:
            self.tell(nve, Report(REFUSED, f"not relayed: {refusal.of(nve)}"))

    def follow(self, keys: KeyService) -> None:
        """There may be a new epoch."""
        self._push(self.relay.set_epoch(keys.epoch))

    def tick(self, keys: KeyService, membership: Membership) -> None:
        """Time has gone by: what came too often is heard again."""
        for nve, contributions in self.relay.surplus().items():
            with contextlib.suppress(
                ContributionRefused
            ):  # it was reported when it came, or is reported when it is sent
                self._push(self.relay.publish(nve, contributions, membership.peers_of(nve)))
            self._tell_refused(nve)
            keys.contributed(nve, self._clock())
        self.follow(keys)

    def configured(
        self, domain: Domain, excluded: Iterable[str], membership: Membership, keys: KeyService, now: float
    ) -> None:
        """Who shares a VN with whom has changed, or who makes the keys."""
        for nve in excluded:
            self.relay.removed(nve)
        is_asking = domain.tunnel_keys is TunnelKeys.NVA_AND_PEER
        if is_asking is not self.relay.is_asking:
            self.relay.is_asking = is_asking
            self._push(self._sessions)
            keys.other_makers(now)
        self._push([nve for nve in self._sessions if self.relay.meets(nve, membership.peers_of(nve))])
        self.follow(keys)

    def _push(self, nves: Iterable[str]) -> None:
        for nve in nves:
            session = self._sessions.get(nve)
            if session is not None:
                session.push_peers()
