# SPDX-License-Identifier: Apache-2.0
"""A gRPC server for peers with identities: mutual TLS 1.3, the gate in front of every handler, the front before all.

server = SecureServer(device, live, table, membership)
add_SomeServicer_to_server(servicer, server.grpc)
port = await server.start("0.0.0.0", 7443)
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import structlog

from nvo3sec.identity import tls13
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Credentials, Device
from nvo3sec.identity.errors import CredentialsError
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.front.front import Front
from nvo3sec.identity.front.scratch import ScratchDirectory
from nvo3sec.identity.gate.authenticate import Authenticator
from nvo3sec.identity.gate.authorization import AccessTable, Membership
from nvo3sec.identity.gate.gate import WORD_S, Gate
from nvo3sec.identity.live_peers import LivePeers

KEEPALIVE_MS = 20_000
"""Between signs of life on an idle connection: a peer that vanished is noticed after this and KEEPALIVE_TIMEOUT_MS."""
KEEPALIVE_TIMEOUT_MS = 10_000
STREAMS_PER_CONNECTION = 16
"""So many calls of one peer can stand in front of those of another; whoever has more to ask waits at its own end."""
METADATA_BYTES = 8192
CONCURRENT_CALLS = 16384

PAUSE_S = 0.2
"""Many times longer than a thread needs from asking for credentials to the beginning of its handshake."""

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


def server_credentials(device: Device) -> grpc.ServerCredentials:
    """TLS credentials that demand a client certificate, and follow `device` when its files change.

    Connections that exist keep what they were made with. Raises CredentialsError.
    """
    if not tls13.hold():
        structlog.get_logger("identity").warning(
            "gRPC was imported before nvo3sec.identity: TLS 1.2 is refused by the front and at each call only"
        )

    following = _CredentialsSource(device)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(following.credentials), following.fetch, require_client_authentication=True
    )


class _CredentialsSource:
    """What gRPC asks before each handshake: whether it is to begin with other credentials.

    gRPC frees what handshakes began with as soon as it has something else, also for one that is about to begin in
    another thread (grpc/grpc issue 36693), and the process dies of it: who opens enough connections at the right moment
    ends the server. So it gets something else only when the device's files have changed, and then no other handshake
    begins within PAUSE_S before and after.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self.credentials = device.current()
        self._lock = threading.Lock()
        self._begun_at = self._changed_at = float("-inf")

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """None: as before. Called in threads of gRPC's; must not raise."""
        with self._lock:
            self._pause(self._changed_at)
            credentials = self._device.current()
            if _shown(credentials) == _shown(self.credentials):
                self._begun_at = time.monotonic()
                return None
            self._pause(self._begun_at)
            self.credentials = credentials
            self._changed_at = time.monotonic()
            return _configuration(credentials)

    def _pause(self, since: float) -> None:
        left = since + PAUSE_S - time.monotonic()
        if left > 0:
            time.sleep(left)


def _shown(credentials: Credentials) -> tuple[bytes, bytes, bytes]:
    return credentials.key_pem.reveal(), credentials.chain_pem, credentials.anchors_pem


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    key, chain, anchors = _shown(credentials)
    return grpc.ssl_server_certificate_configuration([(key, chain)], anchors)


class SecureServer:
    """A server on one address. Add servicers to `grpc` before `start`."""

    def __init__(
        self,
        device: Device,
        live: LivePeers,
        table: AccessTable,
        membership: Membership,
        *,
        front: FrontLimits | None = None,
        remember: Path | None = None,
    ) -> None:
        """device: loaded for Purpose.SERVER. live: the process has one. remember: as for `Front`.

        Raises CredentialsError.
        """
        if device.purpose is not Purpose.SERVER:
            raise CredentialsError(f"{device.identity}: its credentials were not loaded for a server")
        self._live = live
        self._directory = ScratchDirectory()
        socket = self._directory.path / "grpc"
        try:
            roles = {rule.role for rule in table.rules}
            self.front = Front(socket, live, front, remember=remember, roles=roles)
            self.gate = Gate(Authenticator(device.domain, live), live, table, membership, connections=self.front)
            longest = max((method.limits.message_bytes for method in table.methods), default=0)
            self.grpc = grpc.aio.server(
                interceptors=[self.gate],
                options=[
                    *_OPTIONS,
                    ("grpc.max_receive_message_length", longest),
                ],
                maximum_concurrent_rpcs=CONCURRENT_CALLS,
            )
            self.grpc.add_secure_port(f"unix:{socket}", server_credentials(device))
        except BaseException:
            self._directory.close()
            raise

    async def start(self, host: str, port: int) -> int:
        """Serve; returns the port. Raises OSError."""
        await self._live.start()
        await self.grpc.start()
        return await self.front.start(host, port)

    def admission_report(self) -> dict[str, Any]:
        """What was let in and what was refused since the start, as a JSON value."""
        front, gate = self.front, self.gate
        calls: dict[str, dict[str, int]] = {}
        for (name, outcome), count in sorted(gate.outcomes.items()):
            calls.setdefault(name, {})[outcome] = count
        return {
            "connections": {
                "open": front.admission.open,
                "unfinished": front.admission.unfinished,
                "accepted": front.accepted,
                "opened": front.opened,
                "held": front.held,
                "known_sources": len(front.memory.known),
                "ended": front.endings.report(),
                "refused": {reason.value: count for reason, count in sorted(front.refused.items())},
            },
            "calls": calls,
            "refused_by_identity": dict(gate.refused_by),
            "messages_paced": gate.paced,
            "refusals_unlogged": gate.unlogged,
        }

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop taking calls, give those that run `grace_s` seconds, end them with a word, then all connections."""
        self.front.close()
        # Not gRPC first: it tells its peers to call somewhere else, and who does hears that nobody listens, not why.
        await self.gate.stop(grace_s)
        # It cancels what the gate has not ended.
        await self.grpc.stop(WORD_S)
        await self.front.stop()
        await self._live.stop()
        self._directory.close()
