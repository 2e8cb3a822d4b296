# SPDX-License-Identifier: Apache-2.0
"""How the level of a VN, or of a pair of NVEs, changes while frames go on: make before break, one step at a time.

A sender is never below what any of its receivers demands. To raise a level, senders change first, as soon as the keys
are there, and then receivers demand it; to lower one, receivers demand less first, and then senders change:

    raised     keys there -> senders send it -> receivers demand it, the keys before end
    lowered    receivers demand it -> keys there -> senders send it -> the keys before end

No step begins before everybody has confirmed the one before, also if the level is changed again in the middle. VNs and
pairs go their ways each by itself: what is sent is the higher of what both say, and so is what is demanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from nvo3sec.domain.overlay.model import Domain, Level

Subject: TypeAlias = tuple[str, ...]
"""What has a level: a VN, by its name; a pair of NVEs, by both names, sorted."""

LOWEST = min(Level)
"""What a pair demands of which the domain file says nothing."""


class LevelChange(NamedTuple):
    """Where a change is. sends: at which level senders were told to send. was: at which some may still do so; the same,
    once all have confirmed. demands: what receivers were told to demand."""

    was: Level
    sends: Level
    demands: Level


def steady(level: Level) -> LevelChange:
    """Nothing is under way."""
    return LevelChange(level, level, level)


def wanted_levels(domain: Domain) -> dict[Subject, Level]:
    """What the domain file says, of VNs and of pairs."""
    found: dict[Subject, Level] = {(vn.name,): vn.level for vn in domain.vns}
    return found | {tunnel.ends: tunnel.level for tunnel in domain.tunnels}


def described(subject: Subject) -> str:
    """For operators: `vn blue`, `tunnel leaf1 - leaf2`."""
    return f"vn {subject[0]}" if len(subject) == 1 else f"tunnel {' - '.join(subject)}"


def begun(old: Domain, new: Domain, changes: Mapping[Subject, LevelChange]) -> dict[Subject, LevelChange]:
    """The changes that are under way once `old` has become `new`. changes: those that are under way in `old`.

    What begins to exist has no change, and what ceases to exist has none any more.
    """
    was, will = wanted_levels(old), wanted_levels(new)
    found = {}
    for subject in sorted(was.keys() | will.keys() | changes.keys()):
        if len(subject) == 1:
            if subject not in was or subject not in will:
                continue
        elif not all(end in old.nve_by_name and end in new.nve_by_name for end in subject):
            continue
        under_way = changes.get(subject)
        change = steady(was.get(subject, LOWEST)) if under_way is None else under_way
        if under_way is not None or change != steady(will.get(subject, LOWEST)):
            found[subject] = change
    return found


def kept_levels(change: LevelChange, wanted: Level) -> frozenset[Level]:
    """The levels of which there are keys: what is sent, what may still be, and what is to be as soon as receivers take
    it."""
    coming = {wanted} if change.demands <= wanted else set()
    return frozenset({change.was, change.sends, *coming})


def following(change: LevelChange, wanted: Level, *, has_keys: bool) -> LevelChange:
    """The next step, once everybody has confirmed the one before; the same as before if it waits for keys.

    has_keys: whether the keys of `wanted` are where they have to be.
    """
    settled = change._replace(was=change.sends)
    if wanted < settled.demands:
        return settled._replace(demands=wanted)
    if settled.sends != wanted:
        return settled._replace(sends=wanted) if has_keys else settled
    return settled._replace(demands=wanted)
