# SPDX-License-Identifier: Apache-2.0
"""Peer contributions on the wire: sizes and forms are checked here, signatures and proofs by those they are for."""

from __future__ import annotations

from typing import Any

from nvo3sec.domain.keys.contribution import (
    Contribution,
    End,
    KeyName,
    Pair,
    PeerContribution,
    PeerNews,
    PeerProof,
    PeerUpdate,
)
from nvo3sec.domain.keys.contribution.mixing import PROOF_BYTES
from nvo3sec.domain.keys.contribution.peers import HALVES_LIMIT
from nvo3sec.domain.keys.contribution.statement import CERTIFICATE_BYTES, CHAIN_LIMIT, SIGNATURE_BYTES, STATEMENT_BYTES
from nvo3sec.domain.overlay.model import TunnelKeys
from nvo3sec.errors import WireError
from nvo3sec.wire import checks
from nvo3sec.wire import nva_pb2 as pb

NAME_BYTES = 32

ENDS = {End.SENDER: pb.END_SENDER, End.RECEIVER: pb.END_RECEIVER}
TUNNEL_KEYS = {
    TunnelKeys.NVA: pb.TUNNEL_KEYS_NVA,
    TunnelKeys.NVA_AND_PEER: pb.TUNNEL_KEYS_NVA_AND_PEER,
}


def pair_out(pair: Pair | None) -> Any:
    """A pair, or nothing."""
    return None if pair is None else pb.Pair(ours=pair.ours, theirs=pair.theirs)


def pair_in(message: Any, field: str) -> Pair | None:
    """The pair of an SA, or None where there is none."""
    if not message.HasField("pair"):
        return None
    return Pair(
        checks.exactly(message.pair.ours, f"{field}.ours", NAME_BYTES),
        checks.exactly(message.pair.theirs, f"{field}.theirs", NAME_BYTES),
    )


def news_out(news: PeerNews) -> Any:
    """What an agent has to say."""
    contributions = None
    if news.contributions is not None:
        contributions = pb.Contributions(all=[_contribution_out(one) for one in news.contributions])
    return pb.PeerNews(
        incarnation=news.incarnation, contributions=contributions, proofs=[_proof_out(one) for one in news.proofs]
    )


def news_in(message: Any) -> PeerNews:
    """Raises WireError."""
    contributions = None
    if message.HasField("contributions"):
        if len(message.contributions.all) > HALVES_LIMIT:
            raise WireError("peer_news.contributions", f"must have at most {HALVES_LIMIT} entries")
        contributions = checks.items(message.contributions.all, "peer_news.contributions", _contribution_in)
    return PeerNews(
        checks.incarnation(message.incarnation, "peer_news.incarnation"),
        contributions,
        checks.items(message.proofs, "peer_news.proofs", _proof_in),
    )


def update_out(update: PeerUpdate) -> Any:
    """What the NVA relays."""
    return pb.PeerUpdate(
        epoch=update.epoch,
        contributions=[
            pb.PeerContribution(
                peer=one.peer,
                incarnation=one.incarnation,
                epoch=one.epoch,
                contribution=_contribution_out(one.contribution),
            )
            for one in update.contributions
        ],
        proofs=[_proof_out(one) for one in update.proofs],
    )


def update_in(message: Any) -> PeerUpdate:
    """Raises WireError."""
    return PeerUpdate(
        checks.number(message.epoch, "peers.epoch", 1, checks.VERSION_LIMIT),
        checks.items(message.contributions, "peers.contributions", _peer_contribution_in),
        checks.items(message.proofs, "peers.proofs", _proof_in),
    )


def _peer_contribution_in(message: Any, field: str) -> PeerContribution:
    return PeerContribution(
        peer=checks.label(message.peer, f"{field}.peer"),
        incarnation=checks.incarnation(message.incarnation, f"{field}.incarnation"),
        epoch=checks.number(message.epoch, f"{field}.epoch", 1, checks.VERSION_LIMIT),
        contribution=_contribution_in(
            checks.required(message, "contribution", f"{field}.contribution"), f"{field}.contribution"
        ),
    )


def _contribution_out(contribution: Contribution) -> Any:
    return pb.Contribution(
        statement=contribution.statement, signature=contribution.signature, chain=list(contribution.chain)
    )


def _contribution_in(message: Any, field: str) -> Contribution:
    if not 1 <= len(message.chain) <= CHAIN_LIMIT:
        raise WireError(f"{field}.chain", f"must have 1 to {CHAIN_LIMIT} entries")
    return Contribution(
        _at_most(message.statement, f"{field}.statement", STATEMENT_BYTES),
        _at_most(message.signature, f"{field}.signature", SIGNATURE_BYTES),
        checks.items(message.chain, f"{field}.chain", lambda der, name: _at_most(der, name, CERTIFICATE_BYTES)),
    )


def _at_most(value: bytes, field: str, length: int) -> bytes:
    if not 0 < len(value) <= length:
        raise WireError(field, f"must have 1 to {length} bytes")
    return bytes(value)


def _proof_out(proof: PeerProof) -> Any:
    name = proof.name
    return pb.Proof(
        peer=name.peer, suite=checks.SUITES[name.suite], spi=name.spi, end=ENDS[name.end], proof=proof.proof
    )


def _proof_in(message: Any, field: str) -> PeerProof:
    return PeerProof(
        KeyName(
            checks.label(message.peer, f"{field}.peer"),
            checks.suite(message.suite, f"{field}.suite"),
            checks.number(message.spi, f"{field}.spi", 1, checks.UINT32),
            checks.chosen(message.end, f"{field}.end", ENDS),
        ),
        checks.exactly(message.proof, f"{field}.proof", PROOF_BYTES),
    )
