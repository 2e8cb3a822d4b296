# SPDX-License-Identifier: Apache-2.0
"""The network virtualization authority (RFC 8014): mappings, VN membership, authorization, keys."""

from __future__ import annotations

from nvo3sec.nva.nva import Nva
from nvo3sec.nva.sessions.agent_session import NvaSideSession

__all__ = ["Nva", "NvaSideSession"]
