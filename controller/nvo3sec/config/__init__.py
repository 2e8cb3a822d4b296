# SPDX-License-Identifier: Apache-2.0
"""The declarative domain file: its schema, its cross-checks, and errors that name the line."""

from __future__ import annotations

from nvo3sec.config.load import DomainText, example_path, load_domain, parse_domain, read_domain
from nvo3sec.config.schema import DomainFile

__all__ = ["DomainFile", "DomainText", "example_path", "load_domain", "parse_domain", "read_domain"]
