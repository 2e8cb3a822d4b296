# SPDX-License-Identifier: Apache-2.0
"""What the NVA relays of peers and is not looked at yet: little of each, and looked at in turns.

A signature costs half a millisecond. Peers get one each in a turn, and each has a budget of its own: who sends many
that are wrong is looked at less often than he sends, and nobody else waits for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from nvo3sec.domain.keys.contribution import Fault, KeyName, PeerContribution
from nvo3sec.domain.keys.contribution.peers import CONTRIBUTIONS_PER_PEER, PEERS_LIMIT, SAS_PER_PEER

LOOKED_AT_ONCE = 8.0
"""Contributions of one peer that are looked at without a pause, and then one in each `LOOK_EVERY_S`."""
LOOK_EVERY_S = 1.0
RETRY_S = 30.0
"""What may become good is looked at again after this time: a list that was too old has perhaps been renewed."""
PASSING = frozenset(
    {
        Fault.ADDRESSES,
        Fault.CERTIFICATE_NOT_YET_VALID,
        Fault.CHAIN,
        Fault.EXPIRES_TOO_LATE,
        Fault.LIMIT,
        Fault.REVOCATION_UNKNOWN,
    }
)
"""Faults that pass: with another view, list, anchor, or later. Everything else stays wrong."""


@dataclass
class _OfPeer:
    """contributions, not_before: by name, the newest last. left: of the budget, at the time `at`."""

    contributions: dict[bytes, PeerContribution] = field(default_factory=dict)
    not_before: dict[bytes, float] = field(default_factory=dict)
    proofs: dict[KeyName, bytes] = field(default_factory=dict)
    left: float = LOOKED_AT_ONCE
    at: float = 0.0

    def refill(self, now: float) -> float:
        self.left = min(LOOKED_AT_ONCE, self.left + max(0.0, now - self.at) / LOOK_EVERY_S)
        self.at = now
        return self.left

    def ready(self, epoch: int, now: float) -> bytes | None:
        """The one to look at first: the newest of the current epoch, else the newest."""
        names = [name for name in self.contributions if now >= self.not_before.get(name, now)]
        current = [name for name in names if self.contributions[name].epoch == epoch]
        return (current or names)[-1] if names else None


class Relayed:
    """By peer, the longest not looked at first. epoch: the current one. now: seconds, monotonic."""

    def __init__(self) -> None:
        self.epoch = 0
        self._peers: dict[str, _OfPeer] = {}

    def put(self, one: PeerContribution) -> None:
        """Keep it, as the newest of its peer; what goes if there are too many is of an earlier epoch, or the oldest."""
        kept, name = self._of(one.peer), one.contribution.name
        kept.contributions.pop(name, None)
        kept.not_before.pop(name, None)
        kept.contributions[name] = one
        while len(kept.contributions) > CONTRIBUTIONS_PER_PEER:
            past = [key for key, other in kept.contributions.items() if other.epoch != self.epoch]
            gone = (past or list(kept.contributions))[0]
            del kept.contributions[gone]
            kept.not_before.pop(gone, None)

    def put_proof(self, name: KeyName, proof: bytes) -> None:
        """Keep a proof until its key is known."""
        kept = self._of(name.peer)
        kept.proofs.pop(name, None)
        while len(kept.proofs) >= SAS_PER_PEER:
            del kept.proofs[next(iter(kept.proofs))]
        kept.proofs[name] = proof

    def _of(self, peer: str) -> _OfPeer:
        if peer not in self._peers and len(self._peers) >= PEERS_LIMIT:
            del self._peers[next(iter(self._peers))]
        return self._peers.setdefault(peer, _OfPeer())

    def proofs_of(self, names: Collection[KeyName]) -> list[tuple[KeyName, bytes]]:
        """The proofs for keys of these names."""
        known = ((name, self._peers[name.peer].proofs.get(name)) for name in names if name.peer in self._peers)
        return [(name, proof) for name, proof in known if proof is not None]

    def drop_proof(self, name: KeyName) -> None:
        """This one was looked at."""
        self._peers[name.peer].proofs.pop(name, None)

    def next(self, peers: Collection[str], now: float) -> PeerContribution | None:
        """What to look at next, of one of `peers`; it is not kept any more. None: nothing, for now."""
        for peer, kept in self._peers.items():
            # Another may be named by a view that is on its way.
            if peer not in peers or not kept.contributions or kept.refill(now) < 1:
                continue
            name = kept.ready(self.epoch, now)
            if name is None:
                continue
            kept.left -= 1
            kept.not_before.pop(name, None)
            self._peers[peer] = self._peers.pop(peer)  # behind all others
            return kept.contributions.pop(name)
        return None

    def later(self, one: PeerContribution, now: float) -> None:
        """It was refused for what may pass: look at it again, unless there are newer ones enough."""
        kept, name = self._of(one.peer), one.contribution.name
        if len(kept.contributions) < CONTRIBUTIONS_PER_PEER:
            kept.contributions = {name: one, **kept.contributions}
            kept.not_before[name] = now + RETRY_S
