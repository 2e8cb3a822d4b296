# SPDX-License-Identifier: Apache-2.0
"""What the NVA relays between agents: contributions and proofs. It can lose, repeat and change them, to no avail."""

from __future__ import annotations

from dataclasses import dataclass

from nvo3sec.domain.keys.contribution.peers import KeyName
from nvo3sec.domain.keys.contribution.statement import Contribution


@dataclass(frozen=True)
class Pair:
    """Of which contributions a key is mixed, by their names: that of the NVE that is told, and that of its peer."""

    ours: bytes
    theirs: bytes


@dataclass(frozen=True)
class PeerProof:
    """An end's proof for one key. `name`: as the NVE calls the key that says it, or that is told of it."""

    name: KeyName
    proof: bytes


@dataclass(frozen=True)
class PeerNews:
    """Up. contributions: all that the agent can mix with now, the newest last, or None if that has not changed.

    proofs: those that were not sent in this session yet.
    """

    incarnation: bytes
    contributions: tuple[Contribution, ...] | None = None
    proofs: tuple[PeerProof, ...] = ()


@dataclass(frozen=True)
class PeerContribution:
    """A contribution of `peer`, with the incarnation of its switch and the epoch that it has to be of."""

    peer: str
    incarnation: bytes
    epoch: int
    contribution: Contribution


@dataclass(frozen=True)
class PeerUpdate:
    """Down. epoch: the one that a contribution is needed for. The others: those that are new since the last update."""

    epoch: int
    contributions: tuple[PeerContribution, ...] = ()
    proofs: tuple[PeerProof, ...] = ()
