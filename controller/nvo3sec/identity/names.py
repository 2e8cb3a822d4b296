# SPDX-License-Identifier: Apache-2.0
"""Names of devices: `nvo3://<domain>/<role>/<name>` as URI, `<name>.<role>.<domain>` as DNS name.

The DNS name carries the role because TLS clients verify DNS names: who asks for `nva1.nva.<domain>` cannot be answered
by an NVE, whatever that NVE is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Self

from nvo3sec.domain.overlay.names import DNS_NAME_BYTES, dns_name_fault, label_fault
from nvo3sec.identity.errors import PeerRefused, Reason

SCHEME = "nvo3"

_SHOWN = 120


def shown(text: str) -> str:
    """What a peer wrote, fit for a log line: printable ASCII, and not long."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


@unique
class Role(StrEnum):
    """What a device is."""

    NVA = "nva"
    NVE = "nve"
    HYPERVISOR = "hypervisor"
    OPERATOR = "operator"


def parse_role(text: str) -> Role:
    """Raises PeerRefused (ROLE) for what is no role."""
    try:
        return Role(text)
    except ValueError:
        roles = ", ".join(Role)
        raise PeerRefused(Reason.ROLE, f"{shown(text)} is no role; there are: {roles}") from None


@dataclass(frozen=True, order=True)
class DeviceName:
    """Who a device is. Raises PeerRefused (DOMAIN, NAME) for what cannot be a name."""

    domain: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        if (fault := dns_name_fault(self.domain)) is not None:
            raise PeerRefused(Reason.DOMAIN, f"{shown(self.domain)} {fault}")
        if (fault := label_fault(self.name)) is not None:
            raise PeerRefused(Reason.NAME, f"{shown(self.name)} {fault}")
        if len(self.dns) > DNS_NAME_BYTES:
            raise PeerRefused(Reason.NAME, f"{shown(self.dns)} is longer than {DNS_NAME_BYTES} bytes")

    @property
    def uri(self) -> str:
        """The SAN URI."""
        return f"{SCHEME}://{self.domain}/{self.role.value}/{self.name}"

    @property
    def dns(self) -> str:
        """The SAN DNS name."""
        return f"{self.name}.{self.role.value}.{self.domain}"

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Parse a SAN URI. Raises PeerRefused (URI_SYNTAX, DOMAIN, ROLE, NAME)."""
        prefix = f"{SCHEME}://"
        parts = uri[len(prefix) :].split("/") if uri.startswith(prefix) else []
        if len(parts) != 3:
            raise PeerRefused(Reason.URI_SYNTAX, f"{shown(uri)} is not {prefix}DOMAIN/ROLE/NAME")
        return cls(parts[0], parse_role(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.role.value}/{self.name}"
