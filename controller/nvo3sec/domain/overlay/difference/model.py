# SPDX-License-Identifier: Apache-2.0
"""The words in which a difference is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | list[str]
"""As JSON has it."""
Fields: TypeAlias = dict[str, Value]


class Kind(StrEnum):
    """What differs, in the order in which it is shown."""

    DOMAIN = "domain"
    LIFETIMES = "lifetimes"
    MAPPING_LIMITS = "mapping-limits"
    VN = "vn"
    NVE = "nve"
    UNDERLAY_PORT = "underlay-port"
    ROUTE = "route"
    VAP = "vap"
    TUNNEL = "tunnel"
    TENANT_SYSTEM = "tenant-system"
    RESERVATION = "reservation"
    SHARED_ADDRESS = "shared-address"


class Action(StrEnum):
    """What happens to it, by the sign that is shown."""

    ADDED = "+"
    CHANGED = "~"
    REMOVED = "-"


class Effect(StrEnum):
    """What has to happen for it to take effect."""

    NVA = "nva"
    """The NVA decides otherwise from now on; no switch is written."""
    SWITCHES = "switches"
    """The switches of the NVEs that it touches get other entries."""
    KEYS = "keys"
    """Tunnels begin, end, or get keys of another kind; those that begin carry nothing before their keys are there."""
    AGENT = "agent"
    """Nothing, until the agent of the NVE is started with it: the NVA does not use it."""


Key: TypeAlias = tuple[Kind, tuple[str | int, ...]]
"""Kind, and what names a thing among those of its kind."""


@dataclass(frozen=True)
class Change:
    """One thing that was added or removed, or one field of one thing that has another value.

    field: "" for what was added or removed; `old` or `new` then has its fields. Values are as JSON has them, in the
    words of the domain file. nves, vns: names of those that it touches, sorted. refusal: why it cannot be done while
    the domain lives, or "". startable: an NVA that starts with it can do it all the same. weaker: it takes a protection
    away. note: what becomes of announced tenant systems, or "".
    """

    kind: Kind
    name: str
    action: Action
    field: str
    old: Value | Fields | None
    new: Value | Fields | None
    effect: Effect
    nves: tuple[str, ...] = ()
    vns: tuple[str, ...] = ()
    refusal: str = ""
    startable: bool = False
    weaker: bool = False
    note: str = ""

    @property
    def what(self) -> str:
        """The thing: `vn blue`."""
        return f"{self.kind.value.replace('-', ' ')} {self.name}".rstrip()

    def __str__(self) -> str:
        """One line: `~ vn blue: mtu 1400 -> 1300`."""
        text = f"{self.action.value} {self.what}"
        if self.action is Action.CHANGED:
            text += f": {self.field} {_shown(self.old)} -> {_shown(self.new)}"
        elif self.action is Action.ADDED and isinstance(self.new, dict) and self.new:
            text += ": " + ", ".join(f"{name} {_shown(value)}" for name, value in self.new.items())
        if self.weaker:
            text += "  (takes protection away)"
        return text


@dataclass(frozen=True)
class Difference:
    """Everything that differs, in a fixed order: by kind, then by name, then by field."""

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the two say the same."""
        return not self.changes

    @cached_property
    def nves(self) -> tuple[str, ...]:
        """Names of the NVEs that are touched, sorted."""
        return tuple(sorted({nve for change in self.changes for nve in change.nves}))

    @cached_property
    def vns(self) -> tuple[str, ...]:
        """Names of the VNs that are touched, sorted."""
        return tuple(sorted({vn for change in self.changes for vn in change.vns}))

    @property
    def refused(self) -> tuple[Change, ...]:
        """What cannot be done while the domain lives. If there is any, nothing of the rest is done either."""
        return tuple(change for change in self.changes if change.refusal)

    @property
    def refused_at_start(self) -> tuple[Change, ...]:
        """What not even an NVA that starts with it can do: its switches live."""
        return tuple(change for change in self.refused if not change.startable)

    @property
    def shown(self) -> tuple[Change, ...]:
        """What `lines` shows: routes that come or go with their NVE are not."""
        return tuple(one for one in self.changes if one.kind is not Kind.ROUTE or one.action is Action.CHANGED)

    def lines(self) -> Iterator[str]:
        """For people."""
        for change in self.shown:
            yield str(change)
            if change.refusal:
                yield f"    refused: {change.refusal}"
            if change.note:
                yield f"    note: {change.note}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.15g}"  # what is derived is 3961, not 3961.0000000000005
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
