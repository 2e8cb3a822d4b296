# SPDX-License-Identifier: Apache-2.0
"""Rates of flooded frames: a budget of copies, divided by what one frame costs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.messages.session import NveView, PeerView
from nvo3sec.domain.overlay.model import FLOOD, VAP_FLOOD, Level, Rate, Vap, Vn
from nvo3sec.domain.switch.desired import desired_state, number_everything
from nvo3sec.domain.switch.entries import DesiredState, Flood, ReplicationGroup, VapFlood
from nvo3sec.domain.switch.flood_rates import VAP_AT_LEAST, VN_AT_LEAST, frame_rate
from nvo3sec.domain.switch.numbers import Numbers, Reserved

RATE = Rate(1, 1)
BLUE = Vn("blue", 5001, Level.INTEGRITY, 1400, RATE, 1, flood=Rate(9_000, 900), vap_flood=Rate(3_000, 300))
RED = Vn("red", 5002, Level.INTEGRITY, 1400, RATE, 1)
RATES = st.builds(Rate, st.integers(1, 10**8), st.integers(1, 10**7))


@pytest.mark.parametrize(
    ("budget", "copies", "frames"),
    [
        (Rate(25_000, 5_000), 1, Rate(25_000, 5_000)),
        (Rate(25_000, 5_000), 4, Rate(6_250, 1_250)),
        (Rate(25_000, 5_000), 1_000, Rate(25, 10)),
        (Rate(25_000, 5_000), 32_767, Rate(10, 10)),
        (Rate(25_000, 5_000), 0, Rate(25_000, 5_000)),
        (Rate(1, 1), 1, Rate(10, 10)),
    ],
)
def test_a_budget_is_divided_and_something_is_left_of_it(budget, copies, frames):
    assert frame_rate(budget, copies, Rate(10, 10)) == frames


@given(RATES, st.integers(1, 40_000), RATES)
def test_no_more_copies_than_the_budget_or_the_least(budget, copies, least):
    found = frame_rate(budget, copies, least)
    assert found.per_second * copies <= max(budget.per_second, least.per_second * copies)
    assert found.burst * copies <= max(budget.burst, least.burst * copies)
    assert (found.per_second + 1) * copies > budget.per_second, "and no less"
    assert found.per_second >= least.per_second
    assert found.burst >= least.burst


def peer(number: int, *vnis: int) -> PeerView:
    address = IPv4Address(f"192.0.2.{number}")
    return PeerView(f"leaf{number}", address, 256, number, number, RATE, tuple((vni, Level.INTEGRITY) for vni in vnis))


def view(peers: int = 2, vaps: tuple[tuple[int, str], ...] = ((1, "blue"), (2, "blue"), (3, "red"))) -> NveView:
    return NveView(
        version=1,
        name="leaf1",
        address=IPv4Address("192.0.2.1"),
        mtu=1500,
        underlay_ports=((256, 1),),
        vns=(BLUE, RED),
        vaps=tuple(Vap(port, 0, vn, RATE) for port, vn in vaps),
        peers=tuple(peer(number, BLUE.vni) for number in range(2, 2 + peers)),
        tenant_systems=(),
        lease_s=300,
        lease_renew_s=30,
    )


def desired(seen: NveView) -> tuple[DesiredState, Numbers]:
    numbers = number_everything(seen, (), Numbers(), Reserved())
    return desired_state(seen, numbers, bytes(16)), numbers


def vaps(seen: NveView) -> dict[int, Rate]:
    """By port."""
    state, numbers = desired(seen)
    ports = {interface: port for (port, _, _), interface in numbers.vaps.items()}
    return {ports[one.interface]: one.rate for one in state.entries if isinstance(one, VapFlood)}


def vns(seen: NveView) -> dict[tuple[int, bool], Rate]:
    state, _ = desired(seen)
    return {(one.vni, one.from_underlay): one.rate for one in state.entries if isinstance(one, Flood)}


class TestDesired:
    def test_a_frame_costs_what_its_group_has(self):
        """Two VAPs and two other NVEs of blue; of red there is one VAP and nobody else."""
        assert vns(view()) == {
            (BLUE.vni, False): Rate(9_000 // 4, 900 // 4),
            (BLUE.vni, True): Rate(9_000 // 2, 900 // 2),
            (RED.vni, False): FLOOD,
            (RED.vni, True): FLOOD,
        }
        assert vaps(view()) == {1: Rate(750, 75), 2: Rate(750, 75), 3: VAP_FLOOD}

    def test_every_vap_has_a_meter_and_every_group_a_rate(self):
        seen = view()
        state, numbers = desired(seen)
        assert {one.interface for one in state.entries if isinstance(one, VapFlood)} == set(numbers.vaps.values())
        flooded = {one.group for one in state.entries if isinstance(one, Flood)}
        assert flooded == {one.group for one in state.groups if isinstance(one, ReplicationGroup)}

    def test_who_joins_makes_frames_dearer_for_all(self):
        assert vaps(view(peers=3))[1] == Rate(600, 60)
        assert vaps(view(vaps=((1, "blue"), (2, "blue"), (4, "blue"))))[1] == Rate(600, 60)
        assert vns(view(peers=3))[BLUE.vni, True] == vns(view())[BLUE.vni, True], "copies of theirs are made here alone"

    def test_in_the_largest_network_a_host_can_still_come_up(self):
        seen = replace(view(), peers=tuple(peer(number, BLUE.vni) for number in range(2, 250)))
        assert vaps(seen)[1] == Rate(3_000 // 250, VAP_AT_LEAST.burst)
        assert vns(seen)[BLUE.vni, False] == VN_AT_LEAST

    def test_a_network_without_a_vap_here_has_a_rate_for_what_it_has(self):
        assert set(vns(view(vaps=((1, "blue"),)))) == {(BLUE.vni, False), (BLUE.vni, True), (RED.vni, False)}
