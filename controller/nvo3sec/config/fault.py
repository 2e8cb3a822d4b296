# SPDX-License-Identifier: Apache-2.0
"""One contradiction of a domain file."""

from __future__ import annotations

from dataclasses import dataclass

from nvo3sec.config.yaml_lines import Path


@dataclass(frozen=True)
class Fault:
    """One contradiction: where, and what would be right."""

    path: Path
    message: str
