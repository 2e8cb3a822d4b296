# SPDX-License-Identifier: Apache-2.0
"""What of this process's credentials ends, and when it is said: in logs once at each step, in `status` all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from cryptography import x509

from nvo3sec.domain.messages.credential_terms import SAID, CredentialTerms, Term, TermKind, Urgency
from nvo3sec.errors import whereabouts
from nvo3sec.identity.device import Device
from nvo3sec.identity.errors import PeerRefused
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.revocation_lists import wall_clock

LOOK_S = 10.0
"""How often is looked whether something has come to its next step."""


def terms_of(device: Device, live: LivePeers) -> CredentialTerms:
    """Own certificate, lists and anchors. A chain ends with the first of its certificates."""
    credentials = device.current()
    identity = credentials.identity
    chain = x509.load_pem_x509_certificates(credentials.chain_pem)
    ends = min(one.not_valid_after_utc for one in chain)
    # Who is to be given a new one before an authority is taken out is seen by the name of its authority.
    name = f"{identity}, signed by {identity.issuer}"
    terms = [_term(TermKind.CERTIFICATE, name, identity.not_before, ends)]
    faults = [*device.faults, *live.faults]
    try:
        live.check(identity)
    except PeerRefused as error:
        faults.append(f"nobody who has our lists and anchors takes our own certificate: {error}")
    known = live.revocations
    for issuer, anchors in known.anchors.by_issuer.items():
        last = max(anchors, key=lambda one: one.not_valid_after_utc)
        terms.append(_term(TermKind.TRUST_ANCHOR, str(issuer), last.not_valid_before_utc, last.not_valid_after_utc))
        # A newer list that only begins is what takes over.
        one = known.upcoming.get(issuer) or known.lists.get(issuer)
        if one is not None:
            terms.append(_term(TermKind.REVOCATION_LIST, str(issuer), one.this_update, one.next_update))
    return CredentialTerms(tuple(terms[:SAID]), tuple(dict.fromkeys(faults))[:SAID])


def _term(kind: TermKind, name: str, begins: datetime, ends: datetime) -> Term:
    return Term(kind, name, begins.timestamp(), ends.timestamp())


class TermLog:
    """Logs what comes to its end: once at a third, once at a tenth of its life, and once when it has ended."""

    def __init__(self, terms: Callable[[], CredentialTerms], *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._terms = terms
        self._clock = clock
        self._said: dict[Term, Urgency] = {}
        self._log = structlog.get_logger("identity")

    def look(self) -> None:
        """Say what has come to its next step since the last look."""
        now = self._clock().timestamp()
        said = self._said
        self._said = {}
        for one in self._terms().terms:
            urgency = one.urgency(now)
            self._said[one] = urgency
            if urgency <= said.get(one, Urgency.NONE):
                continue
            tell = self._log.warning if urgency is Urgency.WARNING else self._log.error
            tell("replace it in time", what=one.describe(now))

    async def run(self) -> None:
        """Look for as long as the process runs."""
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  # a warning must not end a process
                self._log.error("cannot look what ends", error=whereabouts(error))
            await asyncio.sleep(LOOK_S)
