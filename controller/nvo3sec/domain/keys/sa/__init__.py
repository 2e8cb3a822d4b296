# SPDX-License-Identifier: Apache-2.0
"""The life of the security associations of one direction of one tunnel (RFC 4301 4.1).

`machine` has the rules; `events` what happens and what follows; `model` the nouns.
"""

from __future__ import annotations

from nvo3sec.domain.keys.sa.events import (
    Changed,
    Dropped,
    Effect,
    Event,
    Expired,
    Late,
    NeedKey,
    NeedTurn,
    Planned,
    Postponed,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    Resumed,
    Rotate,
    SenderDown,
    SenderRead,
    SenderUp,
    Switched,
    Tick,
    TurnGiven,
    Unusable,
    Used,
    UsedUp,
)
from nvo3sec.domain.keys.sa.machine import ROTATION_INTERVAL_S, next_deadline, receiver_sas, sender_sa, step
from nvo3sec.domain.keys.sa.model import Direction, End, Held, KeyLimits, Sa, SaState, Turn

__all__ = [
    "ROTATION_INTERVAL_S",
    "Changed",
    "Direction",
    "Dropped",
    "Effect",
    "End",
    "Event",
    "Expired",
    "Held",
    "KeyLimits",
    "Late",
    "NeedKey",
    "NeedTurn",
    "Planned",
    "Postponed",
    "ReceiverDown",
    "ReceiverRead",
    "ReceiverUp",
    "Resumed",
    "Rotate",
    "Sa",
    "SaState",
    "SenderDown",
    "SenderRead",
    "SenderUp",
    "Switched",
    "Tick",
    "Turn",
    "TurnGiven",
    "Unusable",
    "Used",
    "UsedUp",
    "next_deadline",
    "receiver_sas",
    "sender_sa",
    "step",
]
