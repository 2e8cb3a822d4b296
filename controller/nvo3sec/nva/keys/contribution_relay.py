# SPDX-License-Identifier: Apache-2.0
"""The NVA's part of peer contributions: it relays them between NVEs that share a VN, and says which make up a key.

Nothing of it is stored: agents say it again in each session. What is refused here is only what would burden others, a
wrong signature among it (`contribution_verification`); who believes a contribution checks it, and this NVA is not
believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from nvo3sec.domain.keys.contribution import (
    Contribution,
    ContributionRefused,
    End,
    Fault,
    KeyName,
    Pair,
    PeerContribution,
    PeerProof,
    PeerUpdate,
    Statement,
    nve_uri,
)
from nvo3sec.domain.keys.contribution.mixing import PROOF_BYTES
from nvo3sec.domain.keys.contribution.peers import HALVES_LIMIT
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.system.uptime import uptime_s

CONTRIBUTIONS_AT_ONCE = 128
PROOFS_AT_ONCE = 4096
"""In one update: some hundred kilobytes."""
PUBLISHED_AT_ONCE = 16.0
"""How often an NVE may say what it can mix with without a pause: epochs, renewals and sessions that begin at once."""
PUBLISH_EVERY_S = 2.0
"""And then. Each time every peer has a signature to check."""


Check = Callable[[str, bytes, int, Contribution], None]
"""Verifies a contribution of an NVE to an epoch, for an incarnation of its switch. Raises ContributionRefused."""


@dataclass(frozen=True)
class PlannedPair:
    """The names of the contributions of a key, by the end that they are of."""

    sender: bytes
    receiver: bytes


@dataclass
class _Published:
    """contributions: by name, with their epochs; the newest last. is_current: said in the session that there is.

    kept: what the agent cannot mix with any more, but peers may still have to.
    """

    incarnation: bytes
    contributions: dict[bytes, tuple[int, Contribution]] = field(default_factory=dict)
    kept: dict[bytes, tuple[int, Contribution]] = field(default_factory=dict)
    is_current: bool = False


@dataclass
class _News:
    epoch: bool = True
    contributions: dict[tuple[str, bytes], None] = field(default_factory=dict)
    proofs: dict[tuple[Tunnel, int], None] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.epoch or self.contributions or self.proofs)


class PeerRelay:
    """Contributions and proofs of the NVEs of `domain` that are registered. In memory only.

    Methods that return names name the NVEs that have something to `fetch`.
    """

    def __init__(self, domain: str, clock: Callable[[], float] = uptime_s) -> None:
        self.is_asking = True
        """Whether keys are to be mixed. Those that are go on being relayed for in any case."""
        self.check: Check | None = None
        """Verifies each contribution before it is relayed, once."""
        self.refused: dict[str, ContributionRefused] = {}
        """By NVE: why something of what it said last is not relayed."""
        self._domain = domain
        self._clock = clock
        self._budgets: dict[str, tuple[float, float]] = {}
        """By NVE: how often it may say what it can mix with, and as of when."""
        self._surplus: dict[str, tuple[Contribution, ...]] = {}
        self._epoch = 0
        self._published: dict[str, _Published] = {}
        self._pairs: dict[Tunnel, dict[int, PlannedPair]] = {}
        self._uses: Counter[bytes] = Counter()
        self._proofs: dict[tuple[Tunnel, int, End], bytes] = {}
        self._peers: dict[str, frozenset[str]] = {}
        self._news: dict[str, _News] = {}

    # --- NVEs -------------------------------------------------------------------------------------------------------

    def set_epoch(self, epoch: int) -> set[str]:
        """Contributions of `epoch` are needed from now on."""
        if epoch == self._epoch:
            return set()
        self._epoch = epoch
        for news in self._news.values():
            news.epoch = True
        for nve, published in self._published.items():
            current = [(nve, name) for name, (found, _) in published.contributions.items() if found == epoch]
            for peer in self._peers.get(nve, ()) if current else ():
                if peer in self._news:
                    self._news[peer].contributions.update(dict.fromkeys(current))
        return set(self._news)

    def joined(self, nve: str, incarnation: bytes, peers: Collection[str], tunnels: Iterable[Tunnel]) -> None:
        """An agent has registered: it is to hear everything again, and will say everything again."""
        before = self._published.get(nve)
        if before is None or before.incarnation != incarnation:
            self._published[nve] = _Published(incarnation)
        else:
            before.is_current = False
        self._surplus.pop(nve, None)
        news = self._news[nve] = _News()
        self._peers.pop(nve, None)
        self.meets(nve, peers)
        for tunnel, spi in [(one, spi) for one in tunnels for spi in self._pairs.get(one, ())]:
            end = _end_of(nve, tunnel)
            if end is End.SENDER:
                # Whether this process has mixed the key it has to say itself. A receiver's proof outlives it: the key
                # is in its switch.
                self._proofs.pop((tunnel, spi, end), None)
            if (tunnel, spi, end.other) in self._proofs:
                news.proofs[tunnel, spi] = None

    def _offer(self, news: _News, peer: str) -> None:
        published = self._published.get(peer)
        if published is not None:
            every = {**published.kept, **published.contributions}
            news.contributions.update(
                dict.fromkeys((peer, name) for name, (epoch, _) in every.items() if self._is_of_use(name, epoch))
            )

    def _is_of_use(self, name: bytes, epoch: int) -> bool:
        """Whether keys are, or will be, mixed of this contribution: no peer is bothered with others."""
        return epoch == self._epoch or self._uses[name] > 0

    def left(self, nve: str) -> None:
        """An agent is gone; what it published is still good for those who have it."""
        self._news.pop(nve, None)

    def removed(self, nve: str) -> None:
        """An NVE is shut out: nothing of it is relayed any more, nor to it."""
        self._news.pop(nve, None)
        self._peers.pop(nve, None)
        self._published.pop(nve, None)
        self._surplus.pop(nve, None)
        self._budgets.pop(nve, None)

    def meets(self, nve: str, peers: Collection[str]) -> bool:
        """With whom an NVE shares a VN has changed; returns whether there is something to fetch."""
        news = self._news.get(nve)
        if news is None:
            return False
        fresh = set(peers) - self._peers.get(nve, frozenset())
        self._peers[nve] = frozenset(peers)
        for peer in fresh:
            self._offer(news, peer)
        return not news.is_empty

    # --- from agents ------------------------------------------------------------------------------------------------

    def publish(self, nve: str, contributions: Collection[Contribution], peers: Iterable[str]) -> set[str]:
        """Take the contributions that `nve` can mix with now, all of them; but for those that do not pass `check`,
        which are `refused`, each by itself.

        Raises ContributionRefused, and changes nothing.
        """
        published = self._published.get(nve)
        if published is None:
            raise ContributionRefused(Fault.INCARNATION, f"{nve} is not registered")
        if len(contributions) > HALVES_LIMIT:
            raise ContributionRefused(Fault.LIMIT, f"{len(contributions)} contributions; at most {HALVES_LIMIT}")
        if not self._may_publish(nve):
            self._surplus[nve] = tuple(contributions)
            raise ContributionRefused(
                Fault.LIMIT,
                f"{nve} contributes more often than once in {PUBLISH_EVERY_S:g} s; only the last is relayed",
            )
        self._surplus.pop(nve, None)
        taken: dict[bytes, tuple[int, Contribution]] = {}
        found_all = [(self._check(nve, published.incarnation, one), one) for one in contributions]
        for found in found_all:
            if self._passes(nve, published, found):
                taken[found[1].name] = found
        changed = [name for name, found in taken.items() if published.contributions.get(name) != found]
        fresh = [name for name in changed if self._is_of_use(name, taken[name][0])]
        stale = []
        for name, found in published.contributions.items():
            if name not in taken and self._uses[name]:
                published.kept[name] = found
            elif name not in taken:
                stale.append(name)
        published.contributions, published.is_current = taken, True
        told = set()
        for peer in peers:
            news = self._news.get(peer)
            if news is None:
                continue
            for name in stale:
                news.contributions.pop((nve, name), None)
            if fresh:
                news.contributions.update(dict.fromkeys((nve, name) for name in fresh))
                told.add(peer)
        return told

    def _passes(self, nve: str, published: _Published, found: tuple[int, Contribution]) -> bool:
        """Whether it is relayed. What was before, signature and chain included, has been looked at."""
        epoch, one = found
        if self.check is None or found in (published.contributions.get(one.name), published.kept.get(one.name)):
            return True
        try:
            self.check(nve, published.incarnation, epoch, one)
        except ContributionRefused as error:
            self.refused[nve] = error
            return False
        return True

    def _may_publish(self, nve: str) -> bool:
        now = self._clock()
        left, at = self._budgets.get(nve, (PUBLISHED_AT_ONCE, now))
        left = min(PUBLISHED_AT_ONCE, left + (now - at) / PUBLISH_EVERY_S)
        self._budgets[nve] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def surplus(self) -> dict[str, tuple[Contribution, ...]]:
        """What was refused as too often, of NVEs that may be heard again: the last of each, to be published now."""
        now = self._clock()
        due = [
            nve for nve in self._surplus if self._budgets[nve][0] + (now - self._budgets[nve][1]) / PUBLISH_EVERY_S >= 1
        ]
        return {nve: self._surplus.pop(nve) for nve in due}

    def _check(self, nve: str, incarnation: bytes, contribution: Contribution) -> int:
        contribution.check_size()
        statement = Statement.decode(contribution.statement)
        if statement.device != nve_uri(self._domain, nve):
            raise ContributionRefused(Fault.DEVICE, f"{nve}: the statement is that of another device")
        if statement.domain != self._domain:
            raise ContributionRefused(Fault.DOMAIN, f"{nve}: its statement is for another domain")
        if statement.incarnation != incarnation:
            raise ContributionRefused(Fault.INCARNATION, f"{nve}: its statement is of another incarnation")
        return statement.epoch

    def prove(self, nve: str, proof: PeerProof) -> set[str]:
        """Take a proof of `nve` for the other end of a key. A proof for a key that is no more is of no interest.

        Raises ContributionRefused (SIZE).
        """
        if len(proof.proof) != PROOF_BYTES:
            raise ContributionRefused(Fault.SIZE, f"{nve}: a proof of {len(proof.proof)} bytes")
        name = proof.name
        sending = name.end is End.SENDER
        tunnel = Tunnel(nve, name.peer, name.suite) if sending else Tunnel(name.peer, nve, name.suite)
        place = (tunnel, name.spi, name.end)
        before = self._proofs.get(place)
        if self._pair(tunnel, name.spi) is None or before == proof.proof:
            return set()
        if before is not None:
            raise ContributionRefused(Fault.CONFIRMATION, f"{nve}: another proof for SPI {name.spi:08x} than before")
        self._proofs[place] = proof.proof
        news = self._news.get(name.peer)
        if news is None:
            return set()
        news.proofs[tunnel, name.spi] = None
        return {name.peer}

    def _pair(self, tunnel: Tunnel, spi: int) -> PlannedPair | None:
        return self._pairs.get(tunnel, {}).get(spi)

    # --- for the keys -----------------------------------------------------------------------------------------------

    def pair(self, tunnel: Tunnel, epoch: int) -> PlannedPair | None:
        """The contributions of both ends to `epoch`; None as long as one of them is missing."""
        sender, receiver = (self._newest(nve, epoch) for nve in (tunnel.sender, tunnel.receiver))
        return None if sender is None or receiver is None else PlannedPair(sender, receiver)

    def _newest(self, nve: str, epoch: int) -> bytes | None:
        published = self._published.get(nve)
        if published is None or not published.is_current:
            return None
        named = [name for name, (found, _) in published.contributions.items() if found == epoch]
        return named[-1] if named else None

    def plan(self, tunnel: Tunnel, spi: int, pair: PlannedPair) -> None:
        """A key is made of `pair`."""
        self._pairs.setdefault(tunnel, {})[spi] = pair
        self._uses.update((pair.sender, pair.receiver))

    def pair_of(self, nve: str, tunnel: Tunnel, spi: int) -> Pair | None:
        """What a key is made of, as `nve` calls it; None for a key of which this NVA does not know it."""
        pair = self._pair(tunnel, spi)
        if pair is None:
            return None
        sending = _end_of(nve, tunnel) is End.SENDER
        return Pair(pair.sender, pair.receiver) if sending else Pair(pair.receiver, pair.sender)

    def has_proved(self, tunnel: Tunnel, spi: int, end: End) -> bool:
        """Whether this end has said that it holds the key. Only the other end can tell whether that is true."""
        return (tunnel, spi, end) in self._proofs

    def is_mixed(self, tunnel: Tunnel, spi: int) -> bool:
        """Whether the key is one that its two ends mix."""
        return self._pair(tunnel, spi) is not None

    def can_mix(self, nve: str, tunnel: Tunnel, spi: int) -> bool:
        """Whether `nve` has, by what it says, mixed this key, or still can."""
        pair = self._pair(tunnel, spi)
        published = self._published.get(nve)
        end = _end_of(nve, tunnel)
        if pair is None or published is None or self.has_proved(tunnel, spi, end):
            return True
        return (pair.sender if end is End.SENDER else pair.receiver) in published.contributions

    def forget(self, tunnel: Tunnel, spi: int) -> None:
        """A key is gone."""
        pairs = self._pairs.get(tunnel, {})
        pair = pairs.pop(spi, None)
        if not pairs:
            self._pairs.pop(tunnel, None)
        if pair is not None:
            self._unused(tunnel.sender, pair.sender)
            self._unused(tunnel.receiver, pair.receiver)
        for end in End:
            self._proofs.pop((tunnel, spi, end), None)

    def _unused(self, nve: str, name: bytes) -> None:
        self._uses[name] -= 1
        if self._uses[name]:
            return
        del self._uses[name]
        published = self._published.get(nve)
        if published is not None:
            published.kept.pop(name, None)

    # --- to agents --------------------------------------------------------------------------------------------------

    def fetch(self, nve: str) -> PeerUpdate | None:
        """What `nve` has not been told yet, as much as fits; None if that is nothing."""
        news = self._news.get(nve)
        if news is None or news.is_empty or not (self.is_asking or news.proofs):
            return None
        news.epoch = False
        contributions: list[PeerContribution] = []
        while news.contributions and len(contributions) < CONTRIBUTIONS_AT_ONCE:
            peer, name = next(iter(news.contributions))
            del news.contributions[peer, name]
            published = self._published.get(peer)
            found = published and (published.contributions.get(name) or published.kept.get(name))
            if published and found:
                epoch, contribution = found
                contributions.append(PeerContribution(peer, published.incarnation, epoch, contribution))
        proofs: list[PeerProof] = []
        while news.proofs and len(proofs) < PROOFS_AT_ONCE:
            tunnel, spi = next(iter(news.proofs))
            del news.proofs[tunnel, spi]
            end = _end_of(nve, tunnel)
            proof = self._proofs.get((tunnel, spi, end.other))
            if proof is not None:
                peer = tunnel.receiver if end is End.SENDER else tunnel.sender
                proofs.append(PeerProof(KeyName(peer, tunnel.suite, spi, end), proof))
        return PeerUpdate(self._epoch, tuple(contributions), tuple(proofs))


def _end_of(nve: str, tunnel: Tunnel) -> End:
    return End.SENDER if nve == tunnel.sender else End.RECEIVER
