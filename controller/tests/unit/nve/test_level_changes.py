# SPDX-License-Identifier: Apache-2.0
"""Within one switch: a level of a VN and the keys for it change in an order in which every frame finds a key."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from nvo3sec.domain.overlay.model import Level
from nvo3sec.nve.plan import Stage, make_plan
from nvo3sec.nve.reconcile import KEY_TABLES
from nvo3sec.p4runtime import Entry, SwitchState, Table
from nvo3sec.program import generated as p4
from nvo3sec.program.entry import Meter
from working_agent import working

TUNNELS = (0x8001, 0x8002)


def state(items: list[Entry]) -> SwitchState:
    return SwitchState({item.key: item for item in items}, {}, {})


def vap(level: int, vlan: int = 0) -> Entry:
    meter = Meter(1, 1)
    return p4.vap_attach(port=1, link=0, vlan=vlan, interface=1, vni=1, level=level, link_level=0, meter=meter)


def key(tunnel: int, level: int, suite: int) -> Entry:
    return p4.sa_tx_protect(
        interface=tunnel, level=level, suite=suite, to_level=suite, key=1, spi=1, not_after=1, incarnation=1
    )


def keys(*levels: int) -> list[Entry]:
    return [key(tunnel, level, level) for tunnel in TUNNELS for level in levels]


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Level, 2)))
def test_every_frame_finds_a_key_after_every_update(before, after):
    """Also where the keys of the new level come, and those of the old one go, at the same time."""
    held = {item.key: item for item in [vap(before), *keys(before)]}
    for update in make_plan([vap(after), *keys(after)], state(list(held.values()))).updates:
        if update.operation == "delete":
            del held[update.item.key]
        else:
            held[update.item.key] = update.item
        (level,) = {e["level"] for e in held.values() if e.table == Table.VAP}
        found = {e["interface"] for e in held.values() if e.table == Table.SA_TX and e["level"] == level}
        assert found == set(TUNNELS), update
    assert held == {item.key: item for item in [vap(after), *keys(after)]}


def test_keys_of_a_level_that_nobody_leaves_go_first():
    """As ever: who is not to be sent to any more is not, whatever becomes of the rest."""
    gone = key(TUNNELS[0], 1, 1)
    plan = make_plan([vap(1), vap(2, vlan=5)], state([vap(1), vap(2, vlan=5), gone]))
    assert [update.item for update in plan.stages[Stage.BLOCK]] == [gone]
    # A peer that is shut out while a VAP leaves the level: its copies end before anything else happens.
    plan = make_plan([vap(2), *keys(2)[1:]], state([vap(1), *keys(1)]))
    assert [update.item for update in plan.stages[Stage.BLOCK]] == [gone]
    assert keys(1)[1] in [update.item for update in plan.stages[Stage.REMOVE]]
    slower = replace(vap(1), meter=Meter(2, 2))
    plan = make_plan([vap(1), vap(1, vlan=5)], state([slower, vap(2, vlan=5), gone]))
    assert [update.item for update in plan.stages[Stage.BLOCK]] == [gone]


def test_an_agent_goes_by_what_its_switch_has(start_switch):
    """Until the switch has a view, what the agent sends is of the level of the one before; and keys are not put where
    the new one wants them, without the rest of it."""

    async def run():
        async with working(start_switch("leaf2", 2)) as one:
            await one.has_peers()
            serving = one.agent._serving

            def in_switch() -> dict[int, int]:
                return {e["vni"]: e["level"] for e in serving.outcome.actual.of_table(Table.VAP)}

            view, _ = serving.context()
            assert {vn.level for vn in view.vns} == {Level.INTEGRITY}
            async with serving._lock:  # nothing reconciles meanwhile
                raised = tuple(replace(vn, level=Level.CONFIDENTIALITY) for vn in view.vns)
                serving.told.view = replace(view, version=view.version + 1, vns=raised)
                assert {vn.level for vn in serving.context()[0].vns} == {Level.INTEGRITY}
            await serving.reconcile(KEY_TABLES)
            assert set(in_switch().values()) == {Level.CONFIDENTIALITY}
            assert {vn.level for vn in serving.context()[0].vns} == {Level.CONFIDENTIALITY}

    asyncio.run(run())
