# SPDX-License-Identifier: Apache-2.0
"""Peer contribution: two NVEs authenticate each other before a tunnel carries data (docs/keys.md).

statement   what an NVE says about its ephemeral key; checking what a peer said
mixing      the key of one direction, and the proofs of holding it
peers       the keys of one NVE with its peers
messages    what the NVA relays between agents
faults      why something is refused
"""

from __future__ import annotations

from nvo3sec.domain.keys.contribution.faults import ContributionRefused, Fault
from nvo3sec.domain.keys.contribution.messages import Pair, PeerContribution, PeerNews, PeerProof, PeerUpdate
from nvo3sec.domain.keys.contribution.mixing import End, Mixed, PrivateHalf, Transcript
from nvo3sec.domain.keys.contribution.peers import KeyName, Own, Peer, PeerKeys, PeerSa, Signer
from nvo3sec.domain.keys.contribution.statement import Contribution, Expected, Statement, Verifier, nve_uri, verify

__all__ = [
    "Contribution",
    "ContributionRefused",
    "End",
    "Expected",
    "Fault",
    "KeyName",
    "Mixed",
    "Own",
    "Pair",
    "Peer",
    "PeerContribution",
    "PeerKeys",
    "PeerNews",
    "PeerProof",
    "PeerSa",
    "PeerUpdate",
    "PrivateHalf",
    "Signer",
    "Statement",
    "Transcript",
    "Verifier",
    "nve_uri",
    "verify",
]
