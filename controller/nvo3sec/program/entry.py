# SPDX-License-Identifier: Apache-2.0
"""What P4Runtime moves, as plain values: table entries, replication groups, updates, packets, counters.

Numbers are unsigned integers in the width of their field. A parameter named `key` is key material: it never shows in a
repr or a description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

SECRET_PARAMETERS = frozenset({"key"})

Pairs: TypeAlias = tuple[tuple[str, int], ...]


def bits(name: str, value: int, width: int) -> int:
    """`value` if it fits into `width` bits. Raises ValueError, which names the field and not the value."""
    if not 0 <= value < 1 << width:
        raise ValueError(f"{name} does not fit into {width} bits")
    return int(value)  # True is 1, but has another name: what is wanted would not be named as what is read back


@dataclass(frozen=True)
class Meter:
    """Configuration of a direct meter: packets a second, and packets at once."""

    rate: int
    burst: int


@dataclass(frozen=True)
class Entry:
    """One table entry; one without `match` is the default entry of a keyless table.

    `meter` is None exactly if the table has no direct meter, or the meter is not configured.
    """

    table: str
    match: Pairs
    action: str
    params: Pairs = field(repr=False)
    meter: Meter | None = None

    @property
    def key(self) -> tuple[str, Pairs]:
        """What makes it one entry: table and match fields."""
        return self.table, self.match

    @property
    def is_default(self) -> bool:
        """Is it the default entry of a keyless table?"""
        return not self.match

    def __getitem__(self, name: str) -> int:
        """Value of the match field or action parameter `name`. Raises KeyError."""
        for field_name, value in (*self.match, *self.params):
            if field_name == name:
                return value
        raise KeyError(name)

    def describe(self) -> str:
        """One line for people, without key material."""
        params = ", ".join(f"{k}={'(secret)' if k in SECRET_PARAMETERS else v}" for k, v in self.params)
        return f"{self.name()} -> {self.action}({params})"

    def name(self) -> str:
        """One line that names the entry: table and match fields."""
        return f"{self.table}[{', '.join(f'{k}={v}' for k, v in self.match)}]"


@dataclass(frozen=True)
class Group:
    """A replication group: copies as (port, instance), sorted."""

    group: int
    replicas: tuple[tuple[int, int], ...]

    def describe(self) -> str:
        """One line for people."""
        copies = ", ".join(f"{port}#{instance}" for port, instance in self.replicas)
        return f"{self.name()} -> {copies}"

    def name(self) -> str:
        """One line that names the group."""
        return f"group[{self.group}]"


Item: TypeAlias = Entry | Group


class Operation(StrEnum):
    """Kind of an update."""

    INSERT = "insert"
    MODIFY = "modify"
    DELETE = "delete"


@dataclass(frozen=True)
class Update:
    """One change of a switch."""

    operation: Operation
    item: Item

    def describe(self) -> str:
        """One line for people, without key material."""
        what = self.item.name() if self.operation is Operation.DELETE else self.item.describe()
        return f"{self.operation} {what}"


@dataclass(frozen=True)
class SwitchState:
    """What a switch was read back with: entries by key, default entries by table, groups by number."""

    entries: Mapping[tuple[str, Pairs], Entry]
    defaults: Mapping[str, Entry]
    groups: Mapping[int, Group]

    def of_table(self, table: str) -> tuple[Entry, ...]:
        """The entries of one table."""
        return tuple(entry for entry in self.entries.values() if entry.table == table)


@dataclass(frozen=True)
class CounterValue:
    """A counter: packets and bytes."""

    packets: int
    bytes: int


@dataclass(frozen=True)
class PacketIn:
    """A packet from the pipeline to the agent: its metadata by name, the frame (bytes, maybe cut), and when it was read
    (seconds of the local monotonic clock)."""

    metadata: Mapping[str, int]
    frame: bytes = field(repr=False)
    received_at: float

    def __getitem__(self, name: str) -> int:
        return self.metadata[name]
