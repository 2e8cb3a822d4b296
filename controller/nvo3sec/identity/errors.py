# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with an identity, as exceptions.

    Nvo3secError
    ├── IdentityError            something about identities
    │   ├── StorageError         a file cannot be read or written as it must be
    │   ├── CredentialsError     this device's own key, certificate or trust anchors cannot be used
    │   ├── RevocationUnknown    it cannot be said whether a certificate is revoked: treated as revoked
    │   ├── PeerUnreachable      no connection to the other side
    │   └── PeerRefused          the other side is not who it must be; carries the reason
    └── OperatorError
        └── AuthorityError       the certificate authority cannot do what it was asked

No message contains key material or a token.
"""

from __future__ import annotations

from enum import StrEnum, unique

from nvo3sec.errors import Nvo3secError, OperatorError


@unique
class Reason(StrEnum):
    """Why a peer is refused. The values are labels of counters and log lines; there are no others."""

    NO_CERTIFICATE = "no-certificate"
    PROTOCOL_VERSION = "protocol-version"
    RESUMED = "resumed"
    MALFORMED = "malformed"
    CA_CERTIFICATE = "ca-certificate"
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    WEAK_KEY = "weak-key"
    WEAK_SIGNATURE = "weak-signature"
    SAN_MISSING = "san-missing"
    SAN_URI_COUNT = "san-uri-count"
    SAN_DNS_COUNT = "san-dns-count"
    SAN_OTHER = "san-other"
    URI_SYNTAX = "uri-syntax"
    DOMAIN = "domain"
    ROLE = "role"
    NAME = "name"
    URI_DNS_DISAGREE = "uri-dns-disagree"
    UNEXPECTED_PEER = "unexpected-peer"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    UNTRUSTED = "untrusted"
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"
    HANDSHAKE = "handshake"


STOPPING = "the server stops"
"""What is said to the caller of a call that ends with the server."""


class IdentityError(Nvo3secError):
    """Something about identities."""


class CredentialsError(IdentityError):
    """This device's own key, certificate or trust anchors cannot be used."""


class RevocationUnknown(IdentityError):
    """It cannot be said whether a certificate is revoked: no list, a stale one, or one that nobody trusted signed."""


class PeerUnreachable(IdentityError):
    """No connection to the other side, or it ended before anything was said."""


class PeerRefused(IdentityError):
    """The other side is not who it must be: `reason`, and `detail` for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}")


class AuthorityError(OperatorError):
    """The certificate authority cannot do what it was asked."""
