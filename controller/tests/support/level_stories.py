# SPDX-License-Identifier: Apache-2.0
"""Stories in which levels change while frames go on, none of which is lost, and none below what is demanded."""

from __future__ import annotations

from model_domain import LIFE, VNS
from model_scene import SETTLE_S
from model_world import World
from nvo3sec.domain.overlay.level_changes import steady
from nvo3sec.domain.overlay.model import Level
from nvo3sec.p4runtime import Table

WEAK, STRONG = Level
PAIR = ("leaf0", "leaf1")
STEPS_S = 3 * LIFE.grace_s
"""A change in which everybody answers is over after this."""


def _slow(world: World) -> None:
    """Everybody hears of everything at another time."""
    for number, name in enumerate(world.names):
        world.sites[name].link.delay_s = 0.15 * number


def settled(world: World) -> None:
    """Everybody is at the level that the operator wants, in every VN, and demands it; nothing is under way."""
    assert not world.host.nva.state.intent.level_changes
    for vn, vni in VNS:
        for sender in world.names:
            for packet in world.sites[sender].switch.broadcast(1, vni):
                world.observer.sent(packet)
                receiver = world.observer.name_of[packet.destination]
                level = world.wanted_level(sender, receiver, vn)
                assert packet.suite == level.suite, (sender, receiver)
                assert world.carry(packet) == ""
                assert world.sites[receiver].switch.demands(packet.source, packet.destination, vni) == level


def _up_and_down(world: World, *subject: str) -> None:
    _slow(world)
    for level in (STRONG, WEAK):
        world.set_level(*subject, level=level)
        world.pass_time(STEPS_S)
        settled(world)


def a_vn(world: World) -> None:
    """A VN is raised and lowered, beside another that stays."""
    _up_and_down(world, "blue")


def a_pair(world: World) -> None:
    """A pair is raised and lowered; what goes between others stays as it is."""
    _up_and_down(world, *PAIR)


def both(world: World) -> None:
    """A VN and a pair, in every order of up and down, the one in the middle of the other."""
    _slow(world)
    for pause in (0.0, 0.4, LIFE.grace_s + 0.5):
        for level in (STRONG, WEAK):
            for other in (STRONG, WEAK):
                world.set_level("blue", level=level)
                world.pass_time(pause)
                world.set_level(*PAIR, level=other)
                world.pass_time(STEPS_S)
                settled(world)
    world.set_level("red", level=STRONG)
    world.pass_time(STEPS_S)
    settled(world)


def changed_again(world: World) -> None:
    """Up, and down again while it is under way; down, and up again."""
    _slow(world)
    for first in (STRONG, WEAK):
        for pause in (0.0, 0.3, 0.8, 1.5, LIFE.grace_s + 1):
            for subject in (("blue",), PAIR):
                world.set_level(*subject, level=first)
                world.pass_time(pause)
                world.set_level(*subject, level=WEAK if first is STRONG else STRONG)
                world.pass_time(2 * STEPS_S)
                settled(world)


def one_is_slow(world: World) -> None:
    """One of them hears of everything seconds later, in whatever order."""
    for slow in ("leaf0", "leaf1"):
        for delay_s in (0.7, 2.5):
            world.sites[slow].link.delay_s = delay_s
            world.sites["leaf2"].link.delay_s = 0.3
            world.pass_time(SETTLE_S)
            for subject in (("blue",), PAIR):
                for level in (STRONG, WEAK):
                    world.set_level(*subject, level=level)
                    world.pass_time(3 * STEPS_S)
                    settled(world)
        world.sites[slow].link.delay_s = 0.0


def with_a_crash(world: World) -> None:
    """The NVA ends in the middle, at every step; and so does an agent."""
    _slow(world)
    for level in (STRONG, WEAK):
        for pause in (0.05, 0.5, 1.0, 3.0, LIFE.grace_s + 0.7):
            for subject in (("blue",), PAIR):
                world.set_level(*subject, level=level)
                world.pass_time(pause)
                world.kill_nva()
                world.pass_time(0.3)
                world.ensure_nva()
                world.pass_time(pause)
                world.kill_agent("leaf1")
                world.pass_time(0.3)
                world.start_agent("leaf1")
                world.pass_time(SETTLE_S)
                settled(world)
                world.set_level(*subject, level=WEAK if level is STRONG else STRONG)
                world.pass_time(2 * STEPS_S)
        for subject in (("blue",), PAIR):
            world.set_level(*subject, level=level)
            world.pass_time(2 * STEPS_S)


def with_another_file_at_the_start(world: World) -> None:
    """The domain file changes while no NVA runs."""
    for level in (STRONG, WEAK):
        world.kill_nva()
        world.set_level("blue", level=level)
        world.set_level(*PAIR, level=level)
        world.pass_time(1)
        world.ensure_nva()
        world.pass_time(SETTLE_S)
        settled(world)


def away(world: World) -> None:
    """An agent is away for less than its lease: nobody goes on without it."""
    world.sites["leaf2"].link.part()
    world.set_level("blue", level=STRONG)
    world.pass_time(14)
    assert world.host.nva.state.intent.level_changes[("blue",)].demands is WEAK
    world.sites["leaf2"].link.heal()
    world.pass_time(SETTLE_S)
    settled(world)


def away_for_long(world: World) -> None:
    """An agent is away for longer: the others go on, and nobody takes anything lower of it when it comes back."""
    world.sites["leaf2"].link.part()
    world.set_level("blue", level=STRONG)
    world.pass_time(3 * LIFE.lease_s)
    assert not world.host.nva.state.intent.level_changes
    world.sites["leaf2"].link.heal()
    world.pass_time(2 * SETTLE_S)
    settled(world)


def somebody_joins(world: World) -> None:
    """An NVE comes into the VN in the middle, and leaves it again."""
    _slow(world)
    world.toggle_membership("leaf2", "blue")
    world.pass_time(SETTLE_S)
    for level in (STRONG, WEAK):
        for pause in (0.0, 0.3, 1.0, LIFE.grace_s + 0.5):
            world.set_level("blue", level=level)
            world.pass_time(pause)
            world.toggle_membership("leaf2", "blue")
            world.pass_time(2 * SETTLE_S)
            settled(world)
            world.toggle_membership("leaf2", "blue")
            world.set_level("blue", level=WEAK if level is STRONG else STRONG)
            world.pass_time(2 * SETTLE_S)
        world.set_level("blue", level=level)
        world.pass_time(2 * STEPS_S)


def under_way(world: World) -> None:
    """Frames are on their way for a second when receivers begin to demand more."""
    world.pass_time(1)
    for level in (STRONG, WEAK):
        world.set_level("blue", level=level)
        for _ in range(20):
            world.pass_time(0.37)


def full(world: World, table: Table = Table.SA_RX) -> None:
    """A switch has no room for the keys of the new level. The others go on after a while, and it is closed to them in
    that VN; once there is room it is well."""
    world.fill("leaf2", table)
    world.set_level("blue", level=STRONG)
    world.pass_time(5)
    (one,) = world.host.nva.state.level_progress()
    assert one.waits_for
    assert one.change == steady(WEAK)
    world.pass_time(4 * LIFE.lease_s)
    assert world.host.nva.state.intent.level_changes.get(("blue",), steady(STRONG)).demands is STRONG
    world.fill("leaf2")
    world.pass_time(2 * SETTLE_S)
    settled(world)


def full_of_what_it_sends(world: World) -> None:
    full(world, Table.SA_TX)


LEVEL_STORIES = (
    a_vn,
    a_pair,
    both,
    changed_again,
    one_is_slow,
    with_a_crash,
    with_another_file_at_the_start,
    away,
    away_for_long,
    somebody_joins,
    under_way,
    full,
    full_of_what_it_sends,
)
