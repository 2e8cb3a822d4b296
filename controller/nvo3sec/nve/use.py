# SPDX-License-Identifier: Apache-2.0
"""How much each sending key has protected, from the counters of a switch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nvo3sec.domain.keys.usage import Amount, UseMeter
from nvo3sec.domain.messages.session import KeyUse, NveView, Use
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.nve.translate import SaName, sending_entries
from nvo3sec.p4runtime import Entry, Operation, SwitchState, Table, Update
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.system.uptime import uptime_s

USE_S = 2.0
"""How often is read how much each key has protected."""


@dataclass
class KeptUse:
    """What is known of the use of keys beyond one session."""

    meter: UseMeter[tuple[int, int], SaName] = field(default_factory=UseMeter)
    last: dict[SaName, float] = field(default_factory=dict)
    """When each key was last seen to send (seconds, monotonic)."""


class SendingUse:
    """Of one switch, in one session. The caller sees to it that no entry gets another key meanwhile."""

    def __init__(self, driver: SwitchDriver, kept: KeptUse) -> None:
        self._driver = driver
        self._meter = kept.meter
        self._last = kept.last
        self._told: dict[SaName, Amount] = {}

    @property
    def last(self) -> Mapping[SaName, float]:
        """When each key was last seen to send (seconds, monotonic)."""
        return self._last

    def written(self, updates: Iterable[Update]) -> None:
        """The switch has taken these: the counter of an entry that was inserted begins anew."""
        for update in updates:
            item = update.item
            if update.operation is Operation.INSERT and isinstance(item, Entry) and item.table == Table.SA_TX:
                self._meter.made_anew((item["interface"], item["level"]))

    async def read(self, state: SwitchState, view: NveView) -> dict[SaName, Amount]:
        """What each sending key in `state` has protected. Raises SwitchError."""
        if not sending_entries(state, view):
            return {}
        return self.of(state, view, await self._driver.client.direct_counters(Table.SA_TX))

    def of(
        self, state: SwitchState, view: NveView | None, counters: Mapping[Pairs, CounterValue]
    ) -> dict[SaName, Amount]:
        """What each sending key has protected, from its entry in `state` and the counter of that."""
        entries = sending_entries(state, view) if view else {}
        named = ((slot, name, counters.get(match)) for slot, (match, name) in entries.items())
        known = {slot: (name, Amount(one.packets, one.bytes)) for slot, name, one in named if one is not None}
        return self._meter.read(known) if known else {}

    def changed(self, used: Mapping[SaName, Amount], now: float) -> tuple[KeyUse, ...]:
        """What of `used` is news since the last call. now: seconds, monotonic."""
        changed = {name: amount for name, amount in used.items() if self._told.get(name) != amount}
        for name in changed:
            # Of what was there when the session began nobody knows when it was sent.
            if name in self._told:
                self._last[name] = now
        for name in self._last.keys() - used.keys():
            del self._last[name]
        self._told = dict(used)
        return tuple(KeyUse(*name, one.packets, one.octets, one.at_most) for name, one in changed.items())

    async def report(
        self,
        session: NvaSession,
        incarnation: bytes,
        lock: asyncio.Lock,
        current: Callable[[], tuple[SwitchState, NveView] | None],
    ) -> None:
        """Tell the NVA how much each sending key has protected, for ever, when that has changed. Raises SwitchError.

        lock: is held while the switch is written. current: what the switch was read back with last, and the view of it.
        """
        while True:
            await asyncio.sleep(USE_S)
            async with lock:  # no entry gets another key between the entry and its counter
                known = current()
                used = await self.read(*known) if known is not None else {}
            if changed := self.changed(used, uptime_s()):
                await session.used(Use(incarnation, changed))
