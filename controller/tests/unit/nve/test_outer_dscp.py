# SPDX-License-Identifier: Apache-2.0
"""The DSCP of outer headers as entries of a switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.mapping import MappingState
from nvo3sec.domain.overlay.dscp import DscpModel, OuterDscp
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.switch.desired import desired_state, number_everything
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.nva.updates.views import view_of
from nvo3sec.nve.plan import Stage, make_plan
from nvo3sec.nve.translate import to_items
from nvo3sec.p4runtime import Entry, SwitchState, Table
from nvo3sec.program import generated as p4
from nvo3sec.program.entry import Item

DOMAIN = load_domain(example_path())


def items(dscp: OuterDscp) -> tuple[Item, ...]:
    """All that leaf1 should hold: it has the underlay ports 256 and 257."""
    domain = replace(DOMAIN, nves=(replace(DOMAIN.nves[0], dscp=dscp), *DOMAIN.nves[1:]))
    view = view_of(domain, Membership(domain), MappingState(), "leaf1", 1)
    numbers = number_everything(view, (), Numbers(), Reserved())
    return tuple(to_items(desired_state(view, numbers, bytes(16))))


def marking(dscp: OuterDscp) -> set[Entry]:
    return {one for one in items(dscp) if isinstance(one, Entry) and one.table == Table.OUTER_DSCP}


@pytest.mark.parametrize(
    ("dscp", "entries"),
    [
        (OuterDscp(), set()),
        (
            OuterDscp(DscpModel.PIPE, 46),
            {p4.outer_dscp_pipe_dscp(port=256, dscp=46), p4.outer_dscp_pipe_dscp(port=257, dscp=46)},
        ),
        (
            OuterDscp(DscpModel.COPY, 0),
            {p4.outer_dscp_copy_dscp(port=256, otherwise=0), p4.outer_dscp_copy_dscp(port=257, otherwise=0)},
        ),
        (
            OuterDscp(DscpModel.COPY, 48),
            {p4.outer_dscp_copy_dscp(port=256, otherwise=48), p4.outer_dscp_copy_dscp(port=257, otherwise=48)},
        ),
    ],
)
def test_every_underlay_port_has_it(dscp, entries):
    assert marking(dscp) == entries


def state_of(found: tuple[Item, ...]) -> SwitchState:
    return SwitchState({one.key: one for one in found if isinstance(one, Entry)}, {}, {})


def test_a_copy_ends_before_anything_else_changes():
    """As it is with what shows or permits something: at the beginning, whatever stands in the rest of the plan."""
    before = state_of(items(OuterDscp(DscpModel.COPY, 0)))
    plan = make_plan(items(OuterDscp()), before)
    assert {update.item for update in plan.stages[Stage.BLOCK]} == marking(OuterDscp(DscpModel.COPY, 0))
    plan = make_plan(items(OuterDscp(DscpModel.PIPE, 8)), before)
    assert marking(OuterDscp(DscpModel.PIPE, 8)) <= {update.item for update in plan.stages[Stage.CARRY]}


def test_what_somebody_else_wrote_goes():
    wanted = items(OuterDscp())
    foreign = p4.outer_dscp_copy_dscp(port=300, otherwise=0)
    plan = make_plan(wanted, state_of((*wanted, foreign)))
    assert foreign in plan.removed
