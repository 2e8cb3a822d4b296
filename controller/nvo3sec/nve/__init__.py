# SPDX-License-Identifier: Apache-2.0
"""The agent of an NVE: it turns the state it is given into the state of its switch, and keeps it so."""

from __future__ import annotations

from nvo3sec.nve.agent import NveAgent, SwitchAddress
from nvo3sec.nve.agent_memory import CANNOT, AgentMemory
from nvo3sec.nve.attachments import tenant_methods
from nvo3sec.nve.nva_session import NvaSession

__all__ = [
    "CANNOT",
    "AgentMemory",
    "NvaSession",
    "NveAgent",
    "SwitchAddress",
    "tenant_methods",
]
