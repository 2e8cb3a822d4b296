# SPDX-License-Identifier: Apache-2.0
"""What has changed in each VN, kept for a while: who says which version it has gets the difference, if it is known.

A VN's versions are consecutive (`domain.mapping`), so a log that still has everything after the version that an agent
has is an exact difference. Memory is bounded for each VN and for all together: the oldest changes are forgotten first,
and whoever would have needed them has to ask again for what it has. A busy VN can only push out its own history and, at
the total bound, what is older than its own: that costs questions, never correctness.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from nvo3sec.domain.mapping.events import Effect, MappingSet, MappingWithdrawn
from nvo3sec.domain.messages.session import Position

CHANGES_PER_VN = 1024
CHANGES_IN_ALL = 262_144

MappingChange: TypeAlias = MappingSet | MappingWithdrawn


@dataclass(frozen=True)
class Increment:
    """The last change of each MAC address after `base`, up to `version`. Apply it to exactly `base`."""

    vni: int
    base: int
    version: int
    changes: tuple[MappingChange, ...]


class ChangeLog:
    """The last changes of every VN. `history`: of the store that the versions come from."""

    def __init__(self, history: bytes, per_vn: int = CHANGES_PER_VN, in_all: int = CHANGES_IN_ALL) -> None:
        if per_vn < 1 or in_all < 1:
            raise ValueError("a change log keeps at least one change")
        self._history = history
        self._per_vn = per_vn
        self._in_all = in_all
        self._changes: OrderedDict[int, deque[MappingChange]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def record(self, effects: Iterable[Effect]) -> frozenset[int]:
        """Note the mapping changes among `effects`; returns the VNs that have changed.

        Raises ValueError if a version is not the next of its VN: a log with a gap would be a wrong difference.
        """
        touched: set[int] = set()
        for effect in effects:
            if isinstance(effect, MappingSet | MappingWithdrawn):
                self._append(_vni(effect), effect)
                touched.add(_vni(effect))
        return frozenset(touched)

    def _append(self, vni: int, change: MappingChange) -> None:
        log = self._changes.get(vni)
        if log is None:
            log = self._changes[vni] = deque()
        elif change.version != log[-1].version + 1:
            raise ValueError(f"VNI {vni}: version {change.version} does not follow {log[-1].version}")
        log.append(change)
        self._count += 1
        self._changes.move_to_end(vni)
        if len(log) > self._per_vn:
            self._forget(vni)
        while self._count > self._in_all:
            self._forget(next(iter(self._changes)))

    def _forget(self, vni: int) -> None:
        """Forget the oldest change of a VN. The first VN is the one that has been quiet for longest."""
        log = self._changes[vni]
        log.popleft()
        self._count -= 1
        if not log:
            del self._changes[vni]

    def increment(self, vni: int, have: Position, version: int) -> Increment | None:
        """What leads from `have` to `version`, which the VN is at now; perhaps nothing.

        None for a position in the future, of another history, or older than the log.
        """
        if have.history != self._history or have.version > version:
            return None
        if have.version == version:
            return Increment(vni, version, version, ())
        log = self._changes.get(vni)
        if log is None or log[0].version > have.version + 1 or log[-1].version != version:
            return None
        return Increment(vni, have.version, version, _last_of_each(log, have.version))


def _vni(change: MappingChange) -> int:
    return change.mapping.vni if isinstance(change, MappingSet) else change.vni


def _mac(change: MappingChange) -> int:
    return change.mapping.mac if isinstance(change, MappingSet) else change.mac


def _last_of_each(log: Iterable[MappingChange], base: int) -> tuple[MappingChange, ...]:
    last: dict[int, MappingChange] = {}
    for change in log:
        if change.version > base:
            last.pop(_mac(change), None)
            last[_mac(change)] = change
    return tuple(last.values())
