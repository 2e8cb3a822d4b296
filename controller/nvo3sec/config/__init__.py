# SPDX-License-Identifier: Apache-2.0
"""The declarative domain file: its schema, its cross-checks, and errors that name the line."""

from __future__ import annotations

from nvo3sec.config.exposure import copied_dscps
from nvo3sec.config.load import (
    DomainText,
    example_path,
    load_domain,
    parse_domain,
    parse_tunnel_fits,
    read_domain,
)
from nvo3sec.config.mtu import TunnelFit
from nvo3sec.config.schema import DomainFile

__all__ = [
    "DomainFile",
    "DomainText",
    "TunnelFit",
    "copied_dscps",
    "example_path",
    "load_domain",
    "parse_domain",
    "parse_tunnel_fits",
    "read_domain",
]
