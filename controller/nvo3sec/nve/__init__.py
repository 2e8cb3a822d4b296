# SPDX-License-Identifier: Apache-2.0
"""The agent of an NVE: it turns the state it is given into the state of its switch, and keeps it so."""

from nvo3sec.nve.agent import AgentStatus, NveAgent
from nvo3sec.nve.nva import NvaSession

__all__ = ["AgentStatus", "NvaSession", "NveAgent"]
