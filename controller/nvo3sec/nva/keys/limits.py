# SPDX-License-Identifier: Apache-2.0
"""From a domain file to the limits of keys."""

from __future__ import annotations

from nvo3sec.domain.keys.sa import KeyLimits
from nvo3sec.domain.keys.suite_limits import allowed_share
from nvo3sec.domain.overlay.model import Lifetimes, Suite


def limits_of(life: Lifetimes, suite: Suite) -> KeyLimits:
    """The limits of keys of a suite that a domain file sets. Never more than the suite allows: while a level changes
    there are keys of one that the file does not speak of."""
    of, per = allowed_share(suite, life.key_hard_packets, life.key_hard_bytes)
    return KeyLimits(
        soft_s=life.key_soft_s,
        hard_s=life.key_hard_s,
        jitter_s=life.key_jitter_s,
        grace_s=life.grace_s,
        confirm_s=life.confirm_s,
        rollout_s=life.rollout_s,
        soft_packets=life.key_soft_packets * of // per,
        soft_bytes=life.key_soft_bytes * of // per,
        hard_packets=life.key_hard_packets * of // per,
        hard_bytes=life.key_hard_bytes * of // per,
    )
