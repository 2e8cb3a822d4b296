# SPDX-License-Identifier: Apache-2.0
"""Who calls: from the security context of a gRPC call to an identity, checked anew at every call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from nvo3sec.identity.certificate import Identity, Purpose, identity_of, parse_pem
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.live_peers import LivePeers

CACHE_ENTRIES = 4096
"""Certificates whose names are remembered. Only what cannot change is: never whether one is still good."""


class Authenticator:
    """Turns what TLS verified into an identity."""

    def __init__(self, domain: str, live: LivePeers) -> None:
        self._domain = domain
        self._live = live
        self._parsed: OrderedDict[bytes, Identity] = OrderedDict()

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> Identity:
        """The client that made a call, from its `auth_context()`. Raises PeerRefused."""
        if _only(auth_context, "transport_security_type") not in (b"ssl", b"tls"):
            raise PeerRefused(Reason.NO_CERTIFICATE, "the connection is not one of TLS")
        if _only(auth_context, "ssl_tls_version") != b"TLSv1.3":
            raise PeerRefused(Reason.PROTOCOL_VERSION, "the connection is not one of TLS 1.3")
        if _only(auth_context, "ssl_session_reused") != b"false":
            # The chain of a resumed session was verified in the past, against the trust anchors of then.
            raise PeerRefused(Reason.RESUMED, "the connection resumed an earlier session")
        pem = _only(auth_context, "x509_pem_cert")
        if pem is None:
            raise PeerRefused(Reason.NO_CERTIFICATE, "the peer showed no certificate")
        identity = self._parse(pem)
        self._live.check(identity)
        return identity

    def _parse(self, pem: bytes) -> Identity:
        identity = self._parsed.get(pem)
        if identity is None:
            identity = identity_of(parse_pem(pem), self._domain, Purpose.CLIENT)
            self._parsed[pem] = identity
            if len(self._parsed) > CACHE_ENTRIES:
                self._parsed.popitem(last=False)
        return identity


def _only(auth_context: Mapping[str, Iterable[bytes]], key: str) -> bytes | None:
    values = list(auth_context.get(key, ()))
    return values[0] if len(values) == 1 else None


def authenticated_identity(context: Any) -> Identity:
    """The caller's identity, in a handler behind the gate. Raises PeerRefused if the call did not come through it."""
    identity = getattr(context, "identity", None)
    if not isinstance(identity, Identity):
        raise PeerRefused(Reason.NO_CERTIFICATE, "the call was not authenticated")
    return identity
