# SPDX-License-Identifier: Apache-2.0
"""Who joins a VN or leaves it changes what its floods cost, and so how many frames there may be. On a real switch."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable

from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.model import FLOOD, VAP_FLOOD
from nvo3sec.p4runtime import Entry, Group, Meter, Operation, Table, Update
from working_agent import working

BLUE = 5001


def rates(entries: Iterable[Entry], table: Table) -> dict[int, Meter | None]:
    """By their last match field: the direction, or the interface."""
    return {entry.match[-1][1]: entry.meter for entry in entries if entry.table == table}


def per_frame(members: int) -> tuple[Meter, Meter]:
    """Of a VN, and of a VAP."""
    vn, vap = FLOOD, VAP_FLOOD
    return Meter(vn.per_second // members, vn.burst // members), Meter(vap.per_second // members, vap.burst // members)


def lasting(held: dict[object, Entry | Group], updates: Iterable[Update]) -> None:
    """The rates allow for every member of the group, after each update."""
    for update in updates:
        item = update.item
        held[item.group if isinstance(item, Group) else item.key] = item
        groups = {one.group: one for one in held.values() if isinstance(one, Group)}
        entries = [one for one in held.values() if isinstance(one, Entry)]
        flood = next(one for one in entries if one.table == Table.FLOOD and not one["from_underlay"])
        members = len(groups[flood["group"]].replicas)
        assert flood.meter.rate * members <= FLOOD.per_second, update
        for one in entries:
            if one.table == Table.VAP_FLOOD:
                assert one.meter.rate * members <= VAP_FLOOD.per_second, update


def test_joining_and_leaving(start_switch, monkeypatch):
    async def run():
        async with working(start_switch("leaf2", 2)) as one:
            await one.has_peers()
            serving = one.agent._serving
            client = serving.driver.client
            write, written = client.write, []

            async def spy(updates):
                written.extend(updates)
                await write(updates)

            monkeypatch.setattr(client, "write", spy)

            async def follow(view: NveView) -> list[Update]:
                state = await client.read()
                held = {**state.entries, **state.groups}
                written.clear()
                serving._take(view)
                number = view.version
                await one.until(lambda: serving._confirmed_view == number and one.is_ready())
                of_floods = [
                    update
                    for update in written
                    if isinstance(update.item, Group) or update.item.table in (Table.FLOOD, Table.VAP_FLOOD)
                ]
                lasting(held, of_floods)
                return of_floods

            async def have(members: int) -> None:
                entries = (await client.read((Table.FLOOD, Table.VAP_FLOOD), groups=False)).entries.values()
                vn, vap = per_frame(members)
                assert rates(entries, Table.FLOOD)[0] == vn
                assert set(rates(entries, Table.VAP_FLOOD).values()) == {vap}

            whole = serving.view
            await have(3)  # one VAP, and two other NVEs
            left = await follow(dataclasses.replace(whole, version=whole.version + 1, peers=whole.peers[:1]))
            await have(2)
            assert isinstance(left[0].item, Group)
            assert len(left) == 3
            joined = await follow(dataclasses.replace(whole, version=whole.version + 2))
            await have(3)
            assert isinstance(joined[-1].item, Group)
            assert len(joined) == 3

    asyncio.run(run())


def test_a_rate_that_somebody_has_raised_is_put_right(start_switch):
    async def run():
        async with working(start_switch("leaf2", 2)) as one:
            await one.until(one.is_ready)
            client = one.agent._serving.driver.client
            for table in (Table.FLOOD, Table.VAP_FLOOD):
                (entry, *_) = (await client.read((table,), groups=False)).entries.values()
                raised = dataclasses.replace(entry, meter=Meter(10**6, 10**6))
                done = await one.agent.reconcile(dry_run=True)
                assert done == ()
                await client.write([Update(Operation.MODIFY, raised)])
                await one.agent.reconcile(dry_run=False)
                assert (await client.read((table,), groups=False)).entries[entry.key] == entry
                told = [record.report.detail for record in one.nva.state.reports]
                assert f"altered {raised.describe()}" in told

    asyncio.run(run())
