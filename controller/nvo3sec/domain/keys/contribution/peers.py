# SPDX-License-Identifier: Apache-2.0
"""The keys that one NVE shares with its peers, for one incarnation of its switch.

    begin(epoch, now)       an ephemeral key of ours is made and signed; the NVA is to publish it
    take(peer, ...)         a peer's contribution is checked and kept
    key(sa, NVA's key)      the mixed key, as soon as both contributions of the SA are here
    proof(sa)               what the NVA is to carry to the peer
    take_proof(sa, proof)   the peer's; from then on `is_confirmed`, and only then may a sender use the SA
    keep(sas, now)          everything else is forgotten, and private keys that nothing needs are erased

The NVA names the pair of contributions of each SA by their hashes; a pair that is not one of ours and one of that peer,
both verified and of one epoch, gives no key. A key belongs to the generation that it was mixed with, and one that has
ended is not made again: either would open its replay window anew, and the NVA does not have to know the key to ask for
it. Nothing here asks the time or makes randomness: both are passed in. `now`: seconds, monotonic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from nvo3sec.domain.keys.contribution.faults import ContributionRefused, Fault
from nvo3sec.domain.keys.contribution.mixing import PRIVATE_KEY_BYTES, PROOF_BYTES, End, Mixed, PrivateHalf, Transcript
from nvo3sec.domain.keys.contribution.statement import (
    LONGEST_LIFE_S,
    PURPOSE,
    Contribution,
    Expected,
    Statement,
    Verifier,
    nve_uri,
    verify,
)
from nvo3sec.domain.keys.derivation import Purpose
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.addresses import IpAddress
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import DerivationError

PEERS_LIMIT = 4096
"""Peers of which contributions are kept."""
CONTRIBUTIONS_PER_PEER = 4
"""The newest, and some before: keys that were planned with them may still have to be mixed."""
SAS_PER_PEER = 16
"""Two directions, two suites, two phases; and as many again that are on their way out."""
PAIRS_PER_PEER = 64
"""What is remembered of keys that have ended, of each peer and private key: directions, suites, contributions of it."""
HALVES_LIMIT = 3
"""Ephemeral keys of ours: the newest, the one before, and one that an unfinished key needs."""
HALF_GRACE_S = 60.0
"""How long a private key is kept after there is a newer one: the NVA may have planned with it before it knew."""
LIFE_S = 86400
"""How long a statement of ours may be taken. Half of it later there is a new one, whatever the epoch."""


class Signer(Protocol):
    """Signs with this device's key."""

    def sign(self, purpose: str, message: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """The signature, and the certificates (DER, the device's own first) that it leads to."""

    def chain(self) -> tuple[bytes, ...]:
        """The certificates that `sign` would give now."""


@dataclass(frozen=True)
class Own:
    """This NVE: its domain, its name, its outer addresses, the incarnation of its switch."""

    domain: str
    name: str
    addresses: tuple[IpAddress, ...]
    incarnation: bytes


@dataclass(frozen=True)
class Peer:
    """What the NVA says of a peer: name, outer addresses, the incarnation of its switch."""

    name: str
    addresses: tuple[IpAddress, ...]
    incarnation: bytes


@dataclass(frozen=True)
class KeyName:
    """One key as the two ends call it. `end`: which end of the direction this NVE is."""

    peer: str
    suite: Suite
    spi: int
    end: End


@dataclass(frozen=True)
class PeerSa:
    """A key that the NVA planned: `ours` and `theirs` are the names of the contributions it is to be mixed of."""

    name: KeyName
    generation: int
    ours: bytes
    theirs: bytes


@dataclass
class _Half:
    """ended: by peer, and by end, suite and contribution of it, the highest generation of the keys that have ended."""

    private: PrivateHalf
    statement: Statement
    contribution: Contribution
    began: float
    ended: dict[str, dict[tuple[End, Suite, bytes], int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Theirs:
    peer: Peer
    statement: Statement
    contribution: Contribution


@dataclass
class _Known:
    sa: PeerSa
    nva_key: Secret
    mixed: Mixed
    confirmed: bool = False


class PeerKeys:
    """See the module. Raises ContributionRefused for what a peer, or the NVA in its name, must not say."""

    def __init__(
        self,
        own: Own,
        *,
        signer: Signer,
        verifier: Verifier,
        random_bytes: Callable[[int], bytes],
        wall_seconds: Callable[[], float],
        life_s: int = LIFE_S,
    ) -> None:
        if not 0 < life_s <= LONGEST_LIFE_S:
            raise DerivationError(f"a statement lives for at most {LONGEST_LIFE_S} s")
        self._own = own
        self._signer = signer
        self._verifier = verifier
        self._random_bytes = random_bytes
        self._wall_seconds = wall_seconds
        self._life_s = life_s
        self._halves: dict[bytes, _Half] = {}
        self._theirs: dict[str, dict[bytes, _Theirs]] = {}
        self._known: dict[KeyName, _Known] = {}
        self._count: Counter[str] = Counter()
        """Of `_known`, by peer."""
        self._refused: set[KeyName] = set()
        """Keys that are named otherwise than they were mixed, as long as they are named."""

    # --- ours -------------------------------------------------------------------------------------------------------

    def begin(self, epoch: int, now: float) -> bool:
        """Have an ephemeral key for `epoch`; returns whether there is something new to publish.

        Epochs are told apart, and not ordered: an NVA that remembers nothing counts from 1 again.
        """
        newest = self._newest
        wall = self._wall_seconds()
        is_fresh = newest is not None and wall < newest.statement.expiry - self._life_s / 2
        if newest is not None and is_fresh and newest.statement.epoch == epoch:
            return self._sign_again()
        private = PrivateHalf(Secret(self._random_bytes(PRIVATE_KEY_BYTES)))
        statement = Statement(
            domain=self._own.domain,
            device=nve_uri(self._own.domain, self._own.name),
            addresses=self._own.addresses,
            incarnation=self._own.incarnation,
            epoch=epoch,
            expiry=int(wall) + self._life_s,
            public_key=private.public_key,
        )
        encoded = statement.encode()
        contribution = Contribution(encoded, *self._signer.sign(PURPOSE, encoded))
        self._halves[contribution.name] = _Half(private, statement, contribution, now)
        while len(self._halves) > HALVES_LIMIT:
            self._erase(next(iter(self._halves)))
        return True

    def _sign_again(self) -> bool:
        # A renewed certificate: the old one, with which the statement was signed, will not be taken for much longer.
        chain = self._signer.chain()
        stale = [half for half in self._halves.values() if half.contribution.chain != chain]
        for half in stale:
            statement = half.contribution.statement
            half.contribution = Contribution(statement, *self._signer.sign(PURPOSE, statement))
        return bool(stale)

    @property
    def _newest(self) -> _Half | None:
        return next(reversed(self._halves.values()), None)

    def contributions(self) -> tuple[Contribution, ...]:
        """Those of ours that can still be mixed with, the newest last. This is what the NVA is to know."""
        return tuple(half.contribution for half in self._halves.values())

    # --- theirs -----------------------------------------------------------------------------------------------------

    def take(self, peer: Peer, epoch: int, contribution: Contribution) -> bool:
        """Check a contribution that the NVA relays, and keep it; returns whether it is new.

        Raises ContributionRefused.
        """
        if peer.name == self._own.name:
            raise ContributionRefused(Fault.DEVICE, "it is called one of a peer, and is our own")
        known = self._theirs.get(peer.name, {})
        before = known.get(contribution.name)
        if before is not None and (before.peer, before.statement.epoch, before.contribution) == (
            peer,
            epoch,
            contribution,
        ):
            return False
        if before is None and not known and len(self._theirs) >= PEERS_LIMIT:
            raise ContributionRefused(Fault.LIMIT, f"{peer.name}: contributions of {PEERS_LIMIT} peers are kept")
        expected = Expected(self._own.domain, peer.name, peer.addresses, peer.incarnation, epoch)
        statement = verify(contribution, expected, self._verifier, self._wall_seconds())
        if any(statement.public_key == half.private.public_key for half in self._halves.values()):
            raise ContributionRefused(Fault.OWN_KEY, f"{peer.name}: its public key is one of ours")
        if before is None:
            while len(known) >= CONTRIBUTIONS_PER_PEER:
                del known[next(iter(known))]
        self._theirs.setdefault(peer.name, known)[contribution.name] = _Theirs(peer, statement, contribution)
        return before is None

    def has(self, peer: str, name: bytes) -> bool:
        """Whether the contribution `name` of `peer` has been taken."""
        return name in self._theirs.get(peer, {})

    # --- keys -------------------------------------------------------------------------------------------------------

    def key(self, sa: PeerSa, nva_key: Secret | None) -> Secret | None:
        """The mixed key of `sa`, or None: not yet, or never (a half of the pair is erased).

        nva_key: what the NVA derived, 16 bytes; None if it no longer can. Raises ContributionRefused.
        """
        known = self._known.get(sa.name)
        if sa.name in self._refused or (known is not None and _differs(sa, nva_key, known)):
            self.refuse(sa.name)
            raise ContributionRefused(
                Fault.KEY_CHANGED,
                f"{sa.name.peer}: SPI {sa.name.spi:08x} is to have another key, pair or generation ({sa.generation})"
                " than it was mixed with; it is not used any more",
            )
        if known is not None:
            return known.mixed.key
        half = self._halves.get(sa.ours)
        theirs = self._theirs.get(sa.name.peer, {}).get(sa.theirs)
        if nva_key is None or half is None or theirs is None:
            return None
        self._check_fresh(sa, half)
        ours_of, theirs_of = half.statement.epoch, theirs.statement.epoch
        if ours_of != theirs_of:
            raise ContributionRefused(
                Fault.EPOCH, f"{sa.name.peer}: a key of epochs {ours_of} (ours) and {theirs_of} (the peer's)"
            )
        if self._count[sa.name.peer] >= SAS_PER_PEER:
            raise ContributionRefused(Fault.LIMIT, f"{sa.name.peer}: there are {SAS_PER_PEER} keys with it")
        shared = half.private.exchange(theirs.statement.public_key)
        mixed = Mixed(nva_key, shared, self._transcript(sa, half.contribution, theirs.contribution))
        self._known[sa.name] = _Known(sa, nva_key, mixed)
        self._count[sa.name.peer] += 1
        return mixed.key

    def _check_fresh(self, sa: PeerSa, half: _Half) -> None:
        """A key that has ended would be the same again, with whatever was recorded under it."""
        ended = half.ended.get(sa.name.peer, {})
        before = ended.get((sa.name.end, sa.name.suite, sa.theirs), 0)
        if sa.generation <= before:
            raise ContributionRefused(
                Fault.KEY_CHANGED,
                f"{sa.name.peer}: SPI {sa.name.spi:08x} is to have generation {sa.generation} of a pair whose keys up"
                f" to {before} have ended",
            )
        if len(ended) >= PAIRS_PER_PEER:
            raise ContributionRefused(Fault.LIMIT, f"{sa.name.peer}: keys of {PAIRS_PER_PEER} pairs have ended")

    def _end(self, name: KeyName) -> None:
        known = self._known.pop(name, None)
        if known is None:
            return
        self._count[name.peer] -= 1
        half = self._halves.get(known.sa.ours)
        if half is not None:
            ended = half.ended.setdefault(name.peer, {})
            place = (name.end, name.suite, known.sa.theirs)
            ended[place] = max(ended.get(place, 0), known.sa.generation)

    def refuse(self, name: KeyName) -> None:
        """This key is not used any more, nor another of this name, as long as that is named."""
        self._end(name)
        self._refused.add(name)

    def end_peers(self, peers: Collection[str]) -> None:
        """These peers have left the tunnels that their keys were for: no key of these is used, or made, again."""
        for name in [name for name in self._known if name.peer in peers]:
            self._end(name)

    def _transcript(self, sa: PeerSa, ours: Contribution, theirs: Contribution) -> Transcript:
        sending = sa.name.end is End.SENDER
        return Transcript(
            sender_statement=(ours if sending else theirs).statement,
            receiver_statement=(theirs if sending else ours).statement,
            sender=self._own.name if sending else sa.name.peer,
            receiver=sa.name.peer if sending else self._own.name,
            purpose=Purpose.TUNNEL,
            suite=sa.name.suite,
            spi=sa.name.spi,
            generation=sa.generation,
        )

    def has_key(self, name: KeyName) -> bool:
        """Whether the key has been mixed."""
        return name in self._known

    # --- proofs -----------------------------------------------------------------------------------------------------

    def proof(self, name: KeyName) -> bytes | None:
        """Our proof for the peer, 32 bytes; None if there is no key yet."""
        known = self._known.get(name)
        return None if known is None else known.mixed.proof(name.end)

    def take_proof(self, name: KeyName, proof: bytes) -> bool:
        """Check the peer's proof; returns whether the key is confirmed. False: there is no key yet, ask again.

        Raises ContributionRefused (SIZE, CONFIRMATION); what was confirmed stays so.
        """
        if len(proof) != PROOF_BYTES:
            raise ContributionRefused(Fault.SIZE, f"{name.peer}: a proof of {len(proof)} bytes; it has {PROOF_BYTES}")
        known = self._known.get(name)
        if known is None:
            return False
        if not known.mixed.is_proof(name.end.other, proof):
            raise ContributionRefused(
                Fault.CONFIRMATION, f"{name.peer}: the proof for SPI {name.spi:08x} is not one of this key"
            )
        known.confirmed = True
        return True

    def is_confirmed(self, name: KeyName) -> bool:
        """Whether the peer has proved that it holds the key."""
        known = self._known.get(name)
        return known is not None and known.confirmed

    # --- forgetting -------------------------------------------------------------------------------------------------

    def keep(self, sas: Collection[PeerSa], now: float) -> bool:
        """Forget every key but those of `sas`; returns whether private keys were erased.

        Kept are the newest, those of `sas` that could not be mixed yet, and for HALF_GRACE_S the one before.
        """
        names = {sa.name for sa in sas}
        self._refused &= names
        for name in self._known.keys() - names:
            if name.end is End.RECEIVER:
                self._end(name)
            else:
                # A sender may be told to go back to the key before: its numbers go on where they were.
                del self._known[name]
                self._count[name.peer] -= 1
        needed = {sa.ours for sa in sas if sa.name not in self._known}
        newest = self._newest
        if newest is None or now < newest.began + HALF_GRACE_S:
            return False
        gone = [ours for ours, half in self._halves.items() if half is not newest and ours not in needed]
        for ours in gone:
            self._erase(ours)
        return bool(gone)

    def forget_peers(self, others: Collection[str]) -> None:
        """Forget what was taken of every peer that is not among `others`."""
        self._theirs = {peer: known for peer, known in self._theirs.items() if peer in others}

    def _erase(self, name: bytes) -> None:
        self._halves.pop(name).private.erase()

    def erase(self) -> None:
        """End: the incarnation is over."""
        for half in list(self._halves):
            self._erase(half)
        self._known.clear()
        self._count.clear()
        self._refused.clear()
        self._theirs.clear()


def _differs(sa: PeerSa, nva_key: Secret | None, known: _Known) -> bool:
    """Whether a key is named otherwise than it was mixed.

    An NVA that has restarted knows neither the key nor the pair any more, nor what generation a sender's key has.
    """
    if sa.generation != known.sa.generation and (sa.generation or sa.name.end is End.RECEIVER):
        return True
    return bool(nva_key is not None and sa.ours and (known.sa != sa or known.nva_key != nva_key))
