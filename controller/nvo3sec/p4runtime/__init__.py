# SPDX-License-Identifier: Apache-2.0
"""The one package that speaks to a switch. It knows P4Runtime and the names of the NVE program, and nothing of NVO3."""

from __future__ import annotations

from nvo3sec.p4runtime.client import SwitchClient
from nvo3sec.program.artifacts import Artifacts, load_artifacts
from nvo3sec.program.entry import CounterValue, Entry, Group, Meter, Operation, PacketIn, SwitchState, Update
from nvo3sec.program.generated import DropReason, PacketOutOp, PuntReason, Table

__all__ = [
    "Artifacts",
    "CounterValue",
    "DropReason",
    "Entry",
    "Group",
    "Meter",
    "Operation",
    "PacketIn",
    "PacketOutOp",
    "PuntReason",
    "SwitchClient",
    "SwitchState",
    "Table",
    "Update",
    "load_artifacts",
]
