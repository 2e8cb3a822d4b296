# SPDX-License-Identifier: Apache-2.0
"""Names of devices: `nvo3://<domain>/<role>/<name>` as URI, `<name>.<role>.<domain>` as DNS name.

The DNS name carries the role because TLS clients verify DNS names: who asks for `nva1.nva.<domain>` cannot be answered
by an NVE, whatever that NVE is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Self

from nvo3sec.identity.errors import PeerRefused, Reason

SCHEME = "nvo3"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1035 section 2.3.1, RFC 1123 section 2.1), lower case only: one name has one spelling."""

DNS_NAME_BYTES = 253
"""Longest DNS name without the root's dot (RFC 1035 section 2.3.4)."""

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


def is_label(text: str) -> bool:
    """Whether `text` is a DNS label in lower case."""
    return _LABEL.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether `text` is a DNS name in lower case, without a final dot."""
    return len(text) <= DNS_NAME_BYTES and all(is_label(label) for label in text.split("."))


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
        if not is_domain(self.domain):
            raise PeerRefused(Reason.DOMAIN, f"{shown(self.domain)} is not a DNS name in lower case")
        if not is_label(self.name):
            raise PeerRefused(Reason.NAME, f"{shown(self.name)} is not a DNS label in lower case")
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
