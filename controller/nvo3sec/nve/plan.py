# SPDX-License-Identifier: Apache-2.0
"""The updates between what a switch holds and what it should hold, in an order that is safe at every point.

    block        what forwards or permits and should not, goes first; so do rates of flooded frames that are lowered
    carry        port roles, meters, tunnels, groups: what an opening will need
    receive      keys to receive with, before anybody sends
    allow        who may send to us, and into what
    send         keys to send with
    open         bridging, source guard, VAPs; rates of flooded frames that are raised
    remove       what only carried or received, goes last; so do keys to send with of a level that a VAP has just left

If a stage fails, those after it are not tried: what should be blocked is, and nothing opens on half a foundation. Only
`remove` is, after `open`: what could not be opened keeps nothing that has to go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from nvo3sec.p4runtime import Entry, Group, Meter, Operation, SwitchState, Table, Update
from nvo3sec.program.entry import Item


class Stage(IntEnum):
    """When an update is applied."""

    BLOCK = 0
    CARRY = 1
    RECEIVE = 2
    ALLOW = 3
    SEND = 4
    OPEN = 5
    REMOVE = 6


_STAGE_OF_TABLE = {
    Table.PORT_ROLE: Stage.CARRY,
    Table.AUTHORIZED_NVE: Stage.ALLOW,
    Table.SA_RX: Stage.RECEIVE,
    Table.PEER_METER: Stage.CARRY,
    Table.PEER_FLOOR: Stage.CARRY,
    Table.VN_INGRESS_AUTHORIZATION: Stage.ALLOW,
    Table.VAP: Stage.OPEN,
    Table.SOURCE_GUARD: Stage.OPEN,
    Table.TARGET_GUARD: Stage.OPEN,
    Table.NEIGHBOR: Stage.OPEN,
    Table.NEIGHBOR_IPV6: Stage.OPEN,
    Table.BRIDGE: Stage.OPEN,
    Table.FLOOD: Stage.OPEN,
    Table.ANNOUNCEMENT: Stage.OPEN,
    Table.PUNT_METER: Stage.CARRY,
    Table.TUNNEL_ROUTE: Stage.CARRY,
    Table.UNDERLAY_MEMBER: Stage.CARRY,
    Table.ADJACENCY: Stage.CARRY,
    Table.OUTER_DSCP: Stage.CARRY,
    Table.TUNNEL: Stage.CARRY,
    Table.SA_TX: Stage.SEND,
    Table.VAP_EGRESS: Stage.CARRY,
    Table.VAP_FLOOD: Stage.CARRY,
    # Nobody wants these yet: what stands there is somebody else's, and goes first.
    Table.OWN_ADDRESS: Stage.ALLOW,
    Table.UNDERLAY_PUNT_METER: Stage.ALLOW,
}
_REMOVED_LAST = {
    Table.SA_RX,
    Table.PEER_METER,
    Table.PEER_FLOOR,
    Table.PUNT_METER,
    Table.TUNNEL_ROUTE,
    Table.UNDERLAY_MEMBER,
    Table.ADJACENCY,
    Table.TUNNEL,
    Table.VAP_EGRESS,
    Table.VAP_FLOOD,
}
"""Removing one of these permits nothing and may interrupt something; everything else is removed first."""

_OF_TUNNELS = {Table.TUNNEL, Table.SA_TX}
_FLOOD_TABLES = {Table.FLOOD, Table.VAP_FLOOD}
"""Their rates follow from how many copies a frame costs. It never costs more than it is allowed for: a group that grows
does so behind the rates, in `carry`, and one that shrinks before them."""

MANAGED_TABLES = tuple(_STAGE_OF_TABLE)
"""Tables that are kept equal to the desired state; the keyless ones have their own ways."""


@dataclass(frozen=True)
class Plan:
    """Updates in order, stage by stage; `removed` and `altered` are what the switch holds that has to go or change."""

    stages: tuple[tuple[Update, ...], ...]
    removed: tuple[Item, ...]
    altered: tuple[Item, ...]

    @property
    def updates(self) -> tuple[Update, ...]:
        """All updates in order."""
        return tuple(update for stage in self.stages for update in stage)

    @property
    def is_empty(self) -> bool:
        """Is the switch as it should be?"""
        return not any(self.stages)


def make_plan(desired: Collection[Item], actual: SwitchState, tables: Iterable[Table] = MANAGED_TABLES) -> Plan:
    """The difference between `desired` and `actual`, looking only at `tables`, and at groups if all are looked at."""
    looked_at = set(tables)
    groups_too = looked_at.issuperset(MANAGED_TABLES)
    stages: list[list[Update]] = [[] for _ in Stage]
    altered: list[Item] = []
    wanted: set[object] = set()
    for item in desired:
        if isinstance(item, Group):
            if not groups_too:
                continue
            wanted.add(item.group)
            found: Item | None = actual.groups.get(item.group)
        else:
            if item.table not in looked_at:
                continue
            wanted.add(item.key)
            found = actual.entries.get(item.key)
        if found == item:
            continue
        if found is not None:
            altered.append(found)
        operation = Operation.INSERT if found is None else Operation.MODIFY
        lowered = _lowered(item, found)
        if lowered is not None and lowered != found:
            stages[Stage.BLOCK].append(Update(operation, lowered))
        if lowered != item:
            stages[_stage(item, found)].append(Update(operation, item))
    removed: list[Item] = [e for e in actual.entries.values() if e.table in looked_at and e.key not in wanted]
    if groups_too:
        removed += [group for group in actual.groups.values() if group.group not in wanted]
    left = _left_levels(altered, desired)
    kept = {e["interface"] for e in desired if isinstance(e, Entry) and e.table in _OF_TUNNELS}
    for item in removed:
        late = isinstance(item, Group) or item.table in _REMOVED_LAST
        if isinstance(item, Entry) and item.table == Table.SA_TX:
            # Of a tunnel that stays; one to a peer that is shut out is closed first of all.
            late = item["level"] in left and item["interface"] in kept
        stages[Stage.REMOVE if late else Stage.BLOCK].append(Update(Operation.DELETE, item))
    return Plan(tuple(tuple(_ordered(stage)) for stage in stages), tuple(removed), tuple(altered))


def _left_levels(altered: Iterable[Item], desired: Iterable[Item]) -> set[int]:
    """The levels that VAPs have and are to have no more. Until they have changed they need the keys of these."""
    before = {e.key: e["level"] for e in altered if isinstance(e, Entry) and e.table == Table.VAP}
    after = {e.key: e["level"] for e in desired if isinstance(e, Entry) and e.key in before}
    return {level for key, level in before.items() if after[key] != level}


def _stage(item: Item, found: Item | None) -> Stage:
    if isinstance(item, Group):
        return Stage.CARRY
    table = Table(item.table)
    return Stage.OPEN if table in _FLOOD_TABLES and found is not None else _STAGE_OF_TABLE[table]


def _lowered(item: Item, found: Item | None) -> Entry | None:
    """What is `found`, with no more let through than either it or `item` does; None where more than a rate of flooded
    frames changes."""
    if isinstance(item, Group) or not isinstance(found, Entry) or Table(item.table) not in _FLOOD_TABLES:
        return None
    new, old = item.meter, found.meter
    if new is None or replace(item, meter=old) != found:
        return None
    return item if old is None else replace(item, meter=Meter(min(new.rate, old.rate), min(new.burst, old.burst)))


def _ordered(updates: list[Update]) -> list[Update]:
    """Deterministic, and VAPs behind everything else that opens: they let the tenant's packets in."""

    def rank(update: Update) -> tuple[bool, bool, str]:
        item = update.item
        is_vap = isinstance(item, Entry) and item.table == Table.VAP
        # A group is removed after the entries that lead to it, in an earlier stage; added before, in an earlier stage.
        return is_vap, isinstance(item, Group), item.name()

    return sorted(updates, key=rank)
