# SPDX-License-Identifier: Apache-2.0
"""Why a peer's contribution or confirmation is refused."""

from __future__ import annotations

from enum import StrEnum, unique

from nvo3sec.errors import Nvo3secError


@unique
class Fault(StrEnum):
    """Why something of a peer is refused. The values are labels of counters and log lines; there are no others."""

    SIZE = "size"
    """Some part is longer than it may be, or there are too many parts."""
    MALFORMED = "malformed"
    DOMAIN = "domain"
    DEVICE = "device"
    """The statement is that of another device."""
    ADDRESSES = "addresses"
    INCARNATION = "incarnation"
    EPOCH = "epoch"
    EXPIRED = "expired"
    EXPIRES_TOO_LATE = "expires-too-late"
    LOW_ORDER = "low-order"
    OWN_KEY = "own-key"
    """The public key is one of ours: what we say comes back as what a peer said."""
    SIGNATURE = "signature"
    CHAIN = "chain"
    """The certificate does not lead to a trust anchor."""
    CERTIFICATE = "certificate"
    """A certificate that this system does not take."""
    CERTIFICATE_DOMAIN = "certificate-domain"
    CERTIFICATE_ROLE = "certificate-role"
    CERTIFICATE_NAME = "certificate-name"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"
    CONFIRMATION = "confirmation"
    """A confirmation that whoever holds the key would not have made."""
    KEY_CHANGED = "key-changed"
    """The same SPI with another key, another pair of contributions, or another generation."""
    LIMIT = "limit"
    """More peers or keys than are kept."""


class ContributionRefused(Nvo3secError):
    """Something of a peer is not taken: `fault`, and `detail` for people. No secret is in either."""

    def __init__(self, fault: Fault, detail: str) -> None:
        self.fault = fault
        self.detail = detail
        super().__init__(f"{fault.value}: {detail}")

    def of(self, peer: str) -> ContributionRefused:
        """The same, with the name of the NVE whose it was first: whoever looks at a signature does not know it."""
        is_named = self.detail.startswith((f"{peer}: ", f"{peer} "))
        return self if is_named else ContributionRefused(self.fault, f"{peer}: {self.detail}")
