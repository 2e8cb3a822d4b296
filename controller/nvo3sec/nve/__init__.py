# SPDX-License-Identifier: Apache-2.0
"""The agent of an NVE: it turns the state it is given into the state of its switch, and keeps it so."""

from nvo3sec.nve.agent import NveAgent, SwitchAddress
from nvo3sec.nve.memory import CANNOT, AgentMemory
from nvo3sec.nve.nva import NvaSession
from nvo3sec.nve.status import AgentStatus, SwitchCounters
from nvo3sec.nve.tenants import tenant_methods

__all__ = [
    "CANNOT",
    "AgentMemory",
    "AgentStatus",
    "NvaSession",
    "NveAgent",
    "SwitchAddress",
    "SwitchCounters",
    "tenant_methods",
]
