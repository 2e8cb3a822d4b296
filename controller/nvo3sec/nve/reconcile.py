# SPDX-License-Identifier: Apache-2.0
"""Makes a switch equal to what it should be, and proves it by reading it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.switch.desired import InstalledReceive, InstalledSend, Learned, desired_state, number_everything
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.errors import IncarnationLost, WriteRefused
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.plan import MANAGED_TABLES, Plan, Stage, make_plan
from nvo3sec.nve.translate import incarnation_of, numbers_of, to_items
from nvo3sec.p4runtime import Group, Operation, SwitchState, Table
from nvo3sec.program.entry import Entry, Item

KEY_TABLES = (Table.SA_RX, Table.SA_TX)
MAPPING_TABLES = (Table.BRIDGE, Table.NEIGHBOR, Table.NEIGHBOR_IPV6)
TENANT_TABLES = (*MAPPING_TABLES, Table.SOURCE_GUARD, Table.TARGET_GUARD)
"""What depends on which tenant systems are behind the NVE."""
FLOOR_TABLES = (Table.PEER_FLOOR,)
"""What depends on what peers send."""


@dataclass(frozen=True)
class Wanted:
    """Everything that the state of a switch follows from."""

    view: NveView
    incarnation: bytes
    receive: tuple[InstalledReceive, ...]
    send: tuple[InstalledSend, ...]
    learned: tuple[Learned, ...]
    floors: Mapping[UnderlayAddress, Rate] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """After a reconciliation: the numbers in use, the items wanted, the switch as read back, what was done, and what is
    still different (nothing, unless somebody else writes, or the switch has refused something)."""

    numbers: Numbers
    desired: tuple[Item, ...]
    actual: SwitchState
    done: Plan
    left: Plan
    refused: WriteRefused | None = None


def compute(wanted: Wanted, actual: SwitchState, own: Numbers | None) -> tuple[Numbers, tuple[Item, ...]]:
    """Numbers and items for `wanted`, given what the switch holds. `own`: the numbers that the agent has given out; if
    it has not given out any yet, those that it finds are taken over."""
    found, reserved = numbers_of(actual)
    known = found if own is None else own
    suites = [(sa.peer, sa.suite) for sa in wanted.receive]
    numbers = number_everything(wanted.view, suites, known, reserved)
    desired = desired_state(
        wanted.view, numbers, wanted.incarnation, wanted.receive, wanted.send, wanted.learned, wanted.floors
    )
    return numbers, tuple(to_items(desired))


class Reconciler:
    """Reconciles one switch. It remembers what it installed, so that it can tell what is not its own."""

    def __init__(self, driver: SwitchDriver) -> None:
        self._driver = driver
        self._actual: SwitchState | None = None
        self._numbers: Numbers | None = None
        self._own: dict[object, tuple[Item, ...]] = {}
        """By what makes it one item, everything that may be in the switch because this agent wanted it there."""
        self._is_first = True
        self.foreign: tuple[str, ...] = ()
        """What the last reconciliation found changed in the switch that this agent had not changed."""

    def differs(self, tables: Iterable[Table], state: SwitchState) -> bool:
        """Whether `tables`, as they were read just now, are not as they were read back last.

        False if that is not known: then they are to be reconciled anyway."""
        return self._actual is not None and _of(state, tables) != _of(self._actual, tables)

    async def preview(self, wanted: Wanted) -> Plan:
        """The updates that `apply` would make; nothing is written."""
        actual = await self._driver.client.read()
        self._check_incarnation(wanted, actual)
        return make_plan(compute(wanted, actual, self._numbers)[1], actual)

    async def apply(self, wanted: Wanted, tables: Iterable[Table] = MANAGED_TABLES) -> Outcome:
        """Reconcile `tables` (and groups, if it is all of them). Raises IncarnationLost, SwitchError.

        What the switch refuses is in the outcome, and is nothing to what it has taken: the keys that were read back are
        those that it holds, however full its tables are of what is behind others.
        """
        looked_at = tuple(tables)
        whole = set(looked_at) >= set(MANAGED_TABLES)
        if self._actual is None or whole:
            looked_at, whole = MANAGED_TABLES, True
        as_left, before = self._actual, await self._read(looked_at, whole)
        self._check_incarnation(wanted, before)
        known = numbers_of(before)[0] if self._numbers is None else self._numbers
        numbers, desired = compute(wanted, before, known)
        # Given out before they can be in the switch, and until it is seen that they are not, whatever becomes of the
        # writes: a key in another tunnel would meet another sequence counter there, and repeat its numbers.
        self._numbers = known.with_all(numbers)
        plan = make_plan(desired, before, looked_at)
        self.foreign = self._foreign(plan) + _missing(as_left, before)
        for update in plan.updates:
            if update.operation is not Operation.DELETE:
                # Whatever becomes of the writes: what may be there from now on is no intruder's.
                key = _key(update.item)
                if update.item not in (own := self._own.get(key, ())):
                    self._own[key] = (*own, update.item)
        self._actual = None  # until it has been read back, nothing is known
        refused = await self._write(plan)
        self._actual = before
        after = await self._read(looked_at, whole) if not plan.is_empty else before
        self._actual = after
        self._check_incarnation(wanted, after)
        if refused is None:
            self._remember(desired, looked_at, whole)
        left = make_plan(desired, after, looked_at)
        if whole and left.is_empty:
            self._numbers = numbers
        return Outcome(numbers, desired, after, plan, left, refused)

    async def _write(self, plan: Plan) -> WriteRefused | None:
        """Stage by stage; after a refusal nothing opens, but what nothing leads to any more still goes."""
        refused: WriteRefused | None = None
        for stage in Stage:
            if not plan.stages[stage] or (refused is not None and stage is not Stage.REMOVE):
                continue
            try:
                await self._driver.client.write(plan.stages[stage])
            except WriteRefused as error:
                refused = refused or error
                if stage is not Stage.OPEN:
                    break
        return refused

    async def _read(self, tables: tuple[Table, ...], whole: bool) -> SwitchState:
        read = await self._driver.client.read((*tables, Table.INCARNATION), groups=whole)
        if whole or self._actual is None:
            return read
        looked_at = set(tables)
        entries = {key: entry for key, entry in self._actual.entries.items() if entry.table not in looked_at}
        return SwitchState({**entries, **read.entries}, {**self._actual.defaults, **read.defaults}, self._actual.groups)

    def _check_incarnation(self, wanted: Wanted, actual: SwitchState) -> None:
        if incarnation_of(actual) != wanted.incarnation:
            raise IncarnationLost(f"{self._driver.client.name}: the incarnation entry is not the agent's any more")

    def _remember(self, desired: Iterable[Item], tables: Iterable[Table], whole: bool) -> None:
        """After a success: of `tables` (and groups, if `whole`) the switch has what is desired, and nothing else.

        Of all other tables it still has what it had, also where that is not desired any more.
        """
        looked_at = set(tables)

        def was_looked_at(item: Item) -> bool:
            return whole if isinstance(item, Group) else item.table in looked_at

        others = {key: items for key, items in self._own.items() if not was_looked_at(items[0])}
        self._own = others | {_key(item): (item,) for item in desired if was_looked_at(item)}
        self._is_first = False

    def _foreign(self, plan: Plan) -> tuple[str, ...]:
        if self._is_first:
            return ()  # what is left over from before is not an intruder
        strange = [f"unknown {item.describe()}" for item in plan.removed if _key(item) not in self._own]
        strange += [
            f"altered {item.describe()}"
            for item in plan.altered
            if _key(item) in self._own and item not in self._own[_key(item)]
        ]
        return tuple(strange)


def _of(state: SwitchState, tables: Iterable[Table]) -> dict[object, Entry]:
    chosen = set(tables)
    return {
        key: entry for key, entry in state.entries.items() if entry.table in chosen and entry.table in MANAGED_TABLES
    }


def _missing(left: SwitchState | None, found: SwitchState) -> tuple[str, ...]:
    """What was in a switch when it was read back last and is not any more. left: None if that is not known."""
    if left is None:
        return ()
    gone: list[Item] = [entry for key, entry in left.entries.items() if key not in found.entries]
    gone += [group for number, group in left.groups.items() if number not in found.groups]
    return tuple(f"missing {item.describe()}" for item in gone)


def _key(item: Item) -> object:
    return item.group if isinstance(item, Group) else item.key
