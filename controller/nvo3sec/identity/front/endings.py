# SPDX-License-Identifier: Apache-2.0
"""Who hung up, and how far the connection had got: said in the same words at both ends, and counted at a server's.

What keeps a client from connecting is said once, however often it tries.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from enum import StrEnum, unique
from typing import Any

import structlog

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.front.client_hello import HandshakeProgress, Stage
from nvo3sec.identity.gate.limits import Bucket
from nvo3sec.system.uptime import uptime_s

LOG_RATE = Rate(10, 50)
"""Endings that are logged a second, and at once: a flood must not become a flood of the disk. All are counted."""


@unique
class ConnectionStage(StrEnum):
    """How far a connection had got when it ended. The values are labels of counters and log lines."""

    CONNECTING = "connecting"
    """TCP; at a server until the ClientHello is complete."""
    TLS_HANDSHAKE = "tls-handshake"
    """Until the server has shown its certificate."""
    CERTIFICATE_CHECK = "certificate-check"
    """One side looks at the other's. In TLS 1.3 a server does so after the client's side of the handshake."""
    SPLICE = "splice"
    """TLS stands and is joined with gRPC, which has not been answered yet."""
    SESSION = "session"
    """HTTP/2, in both directions."""


@unique
class EndedBy(StrEnum):
    """Who ended a connection that was not refused here. The values are labels of counters and log lines."""

    PEER = "peer"
    """The other side, or the network."""
    GRPC = "grpc"
    """gRPC in this process."""
    TLS = "tls"
    """TLS in this process: what came is not what the other side can have sent."""


WHO = {EndedBy.PEER: "the peer", EndedBy.GRPC: "gRPC in this process", EndedBy.TLS: "TLS in this process"}
_OF_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
"""Words in OpenSSL's names of the alerts with which a peer does not take a certificate (RFC 8446 6.2)."""


def _alert(error: Exception | None) -> str:
    """OpenSSL's name of the alert that the peer has sent; empty if it sent none."""
    reason = str(error.reason or "") if isinstance(error, ssl.SSLError) else ""
    return reason if "_ALERT_" in reason else ""


def ended_by(error: Exception | None) -> EndedBy:
    """Who ended the half towards the peer: what TLS finds wrong without an alert it has found itself."""
    ours = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return EndedBy.TLS if ours and not _alert(error) else EndedBy.PEER


def may_be_of_our_certificate(error: Exception | None) -> bool:
    """Whether a server that ends it before it has said anything may have looked at our certificate."""
    alert = _alert(error)
    return not alert or any(word in alert for word in _OF_CERTIFICATES)


def said_of(error: Exception | None) -> str:
    """What is known of why a connection ended."""
    if error is None:
        return "without a word"
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


_STAGES = {
    Stage.HELLO: ConnectionStage.TLS_HANDSHAKE,
    # A client that does not take the server's certificate goes without a word, or says so encrypted, which looks as if
    # it showed its own.
    Stage.SERVER_FLIGHT: ConnectionStage.CERTIFICATE_CHECK,
    Stage.CLIENT_FLIGHT: ConnectionStage.CERTIFICATE_CHECK,
    Stage.SERVER_ACCEPTED: ConnectionStage.SPLICE,
    Stage.OPEN: ConnectionStage.SESSION,
}


def stage_between(progress: HandshakeProgress | None) -> ConnectionStage:
    """What can be told of a connection from between its two sides. None: its handshake is behind it."""
    return ConnectionStage.SESSION if progress is None else _STAGES[progress.stage]


REASONS_KNOWN = 64
"""Ways in which attempts at one peer failed that are told before one succeeds."""


class Attempts:
    """Attempts to connect to one peer, since one succeeded last: each way in which they fail is told once."""

    def __init__(self) -> None:
        self._told: Counter[tuple[ConnectionStage, str]] = Counter()

    def failed(self, log: Any, stage: ConnectionStage, reason: str, detail: str) -> None:
        """One has failed. log: of structlog."""
        way = stage, detail
        if way not in self._told and len(self._told) >= REASONS_KNOWN:
            return
        self._told[way] += 1
        if self._told[way] == 1:
            log.warning("no connection", stage=stage.value, reason=reason, detail=detail)

    def succeeded(self, log: Any) -> None:
        """One has succeeded. log: of structlog."""
        if self._told:
            log.info("connected", failed=self._told.total())
        self._told.clear()


class Endings:
    """The connections of a server that ended without being refused."""

    def __init__(self, clock: Callable[[], float] = uptime_s) -> None:
        self.counts: Counter[tuple[ConnectionStage, EndedBy]] = Counter()
        self._clock = clock
        self._log = structlog.get_logger("identity")
        self._bucket = Bucket.full(LOG_RATE, clock())

    def tell(
        self, stage: ConnectionStage, by: EndedBy, error: Exception | None, *, source: str, identity: str = ""
    ) -> None:
        """Count one, and log it if there are not too many. error: of the transport; its text is not shown."""
        self.counts[stage, by] += 1
        if self._bucket.take(self._clock()):
            return
        # That one is a refusal. Whoever else has gone may have had enough.
        refused = by is EndedBy.GRPC and stage is ConnectionStage.CERTIFICATE_CHECK
        (self._log.warning if refused else self._log.info)(
            "connection ended",
            source=source,
            stage=stage.value,
            by=by.value,
            identity=identity or "unknown",
            detail=type(error).__name__ if error is not None else "closed",
        )

    def report(self) -> dict[str, dict[str, int]]:
        """How many, as {stage: {who ended them: number}}."""
        found: dict[str, dict[str, int]] = {}
        for (stage, by), count in sorted(self.counts.items()):
            found.setdefault(stage.value, {})[by.value] = count
        return found
