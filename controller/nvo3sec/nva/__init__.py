# SPDX-License-Identifier: Apache-2.0
"""The network virtualization authority (RFC 8014): mappings, VN membership, authorization, keys."""

from nvo3sec.nva.agent_session import NvaSideSession
from nvo3sec.nva.nva import Nva

__all__ = ["Nva", "NvaSideSession"]
