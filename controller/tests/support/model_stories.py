# SPDX-License-Identifier: Apache-2.0
"""Stories that end well, and each of which would not, with one thing or another left out of the product."""

from __future__ import annotations

from model_domain import LIFE
from model_liar import KINDS
from model_scene import SETTLE_S
from model_world import World
from nvo3sec.domain.messages.session import StoreMark
from nvo3sec.p4runtime import Table

DAY_S = 86400.0


def rotation(world: World) -> None:
    """Everything is rotated while an agent hears of it late, and what was recorded comes again."""
    world.sites["leaf1"].link.delay_s = 0.4
    world.holds_packets = True
    world.pass_time(2)
    world.holds_packets = False
    world.rotate()
    world.pass_time(LIFE.grace_s + SETTLE_S + 5)
    world.replay()
    world.release(backwards=True, twice=True)


def boot(world: World) -> None:
    """A switch restarts, and sends and receives again."""
    world.restart_switch("leaf1", 1.0)
    world.pass_time(2 * SETTLE_S)
    world.replay()


def push(world: World) -> None:
    """Somebody loads a pipeline, and the entries stay."""
    world.push_pipeline("leaf1", keeps_entries=True)
    world.pass_time(0.1)
    world.replay()
    world.pass_time(2 * SETTLE_S)
    world.replay()


def revocation(world: World) -> None:
    """One is revoked, who goes on sending, and uses every key that it ever had."""
    world.revoke("leaf2")
    world.pass_time(SETTLE_S + 1)
    world.forge("leaf2")


def revocation_and_restart(world: World) -> None:
    world.revoke("leaf2")
    world.pass_time(1)
    world.kill_nva()
    world.ensure_nva()
    world.pass_time(2 * SETTLE_S)
    world.forge("leaf2")


def clock_goes_back(world: World) -> None:
    """NVAs that know of each other only through the store, and a clock that helps nobody."""
    world.pass_time(LIFE.key_soft_s)
    world.wall_jump_s -= 30 * DAY_S
    world.kill_nva()
    world.ensure_nva()
    for name in world.names:  # and nothing that the switches hold says how far it had come
        world.restart_switch(name, 0)
    world.pass_time(2 * SETTLE_S)
    world.rotate()
    world.pass_time(SETTLE_S)
    world.rotate()
    world.pass_time(SETTLE_S)


def clock_goes_back_and_keys_end(world: World) -> None:
    """The switches run on, but their keys end before there is an NVA again."""
    world.rotate()
    world.pass_time(LIFE.grace_s + 5)
    world.rotate()
    world.kill_nva()
    world.pass_time(LIFE.key_hard_s + 5)
    world.wall_jump_s -= 30 * DAY_S
    world.ensure_nva()
    world.pass_time(2 * SETTLE_S)


def old_age(world: World) -> None:
    """There is no NVA for longer than a key may live."""
    world.kill_nva()
    world.pass_time(LIFE.key_hard_s + 2 * SETTLE_S)


def old_database(world: World) -> None:
    """A backup is put back, after no more than a tenant system has come."""
    world.back_up()
    world.pass_time(SETTLE_S)
    world.announce("leaf0", 0x020000000001, 1, comes=True)
    world.pass_time(1)
    world.restore()
    world.pass_time(2 * SETTLE_S)


def old_database_from_before_a_revocation(world: World) -> None:
    world.back_up()
    world.revoke("leaf2")
    world.pass_time(1)
    world.restore()
    world.pass_time(2 * SETTLE_S)
    world.forge("leaf2")


def old_database_and_old_clock(world: World) -> None:
    """The clock was wrong while the lost database was made, and no switch still has a key that says how far it came."""
    world.back_up()
    world.pass_time(SETTLE_S)
    world.wall_jump_s += 30 * DAY_S
    for _ in range(2):
        world.rotate()
        world.pass_time(LIFE.grace_s + 5)
    world.kill_nva()
    world.pass_time(LIFE.key_hard_s + 5)
    world.wall_jump_s -= 30 * DAY_S
    world.restore()
    world.pass_time(2 * SETTLE_S)


def old_machine(world: World) -> None:
    """The whole machine of the NVA goes back, with all that would know better. The agents do know."""
    world.back_up(everything=True)
    world.pass_time(SETTLE_S)
    world.revoke("leaf2")
    world.pass_time(1)
    world.restore_everything()
    world.sites["leaf2"].memory.mark = StoreMark(0, 0)  # who is compromised remembers what he likes
    for _ in range(6):  # the old one gets further than the lost one had come
        world.rotate()
        world.pass_time(LIFE.grace_s + 2)
    world.pass_time(LIFE.lease_s + SETTLE_S)
    world.forge("leaf2")


def membership(world: World) -> None:
    """An NVE leaves a VN and comes back, faster than its keys reach those who are told."""
    world.sites["leaf0"].link.delay_s = 0.4
    world.toggle_membership("leaf2", "red")
    world.pass_time(SETTLE_S)
    for pause in (0.0, 0.2, 0.5):
        for _ in range(2):
            world.toggle_membership("leaf2", "blue")
            world.pass_time(pause)
    world.pass_time(2 * SETTLE_S)


def another_address(world: World) -> None:
    """An NVE gets another outer address, and then its old one again."""
    world.sites["leaf0"].link.delay_s = 0.4
    world.sites["leaf1"].link.delay_s = 0.01
    for _ in range(2):
        world.readdress("leaf2")
        world.pass_time(2 * SETTLE_S)


def alone(world: World) -> None:
    """An NVE has nobody to talk to when it comes, and somebody later."""
    for name in world.names:
        world.suspend(name)
    world.pass_time(1)
    for name in world.names:
        world.readmit(name)
        world.pass_time(2 * SETTLE_S)


def full_table(world: World) -> None:
    """What a new peer needs finds its place in the switch, but for the last of it."""
    for vn in ("red", "blue"):
        world.toggle_membership("leaf2", vn)
    world.pass_time(SETTLE_S)
    world.fill("leaf0", Table.BRIDGE)
    for number in range(3):
        world.announce("leaf0", 0x020000000001 + number, 1, comes=True)
    world.pass_time(0.1)
    world.toggle_membership("leaf2", "blue")
    world.pass_time(2 * SETTLE_S)
    world.fill("leaf0")
    world.pass_time(2 * SETTLE_S)


def shut_out_for_a_moment(world: World) -> None:
    """An NVE is shut out, and let in again by another process of the NVA, before others have done what they were
    told.

    The moments lie closely where the others are about to act, and one of those comes first: how far each has come at a
    later one depends on the order in which sets of names are walked, which differs between processes.
    """
    for moment in 2 * (2.5, 2.75, 3, 3.25, 3.5, 3.75, 2, 2.25, 1, 4.5, 6.5):
        world.suspend("leaf1")
        world.pass_time(moment / 1000)
        world.kill_nva()
        world.ensure_nva()
        world.readmit("leaf1")
        world.pass_time(2 * SETTLE_S)


def liar(world: World) -> None:
    """An NVE says everything wrong, again and again; keys of the others are replaced meanwhile, and hers afterwards."""
    for own in (False, True):
        for kind in KINDS:
            world.lie("leaf2", kind, own=own)
            world.pass_time(1)
            world.rotate()
            world.pass_time(3)
    world.pass_time(2 * SETTLE_S)
    world.reset_marks("leaf2")
    world.pass_time(2 * SETTLE_S)
    world.rotate()
    world.pass_time(LIFE.grace_s + SETTLE_S)


STORIES = (
    liar,
    shut_out_for_a_moment,
    rotation,
    boot,
    push,
    revocation,
    revocation_and_restart,
    clock_goes_back,
    clock_goes_back_and_keys_end,
    old_age,
    old_database,
    old_database_from_before_a_revocation,
    old_database_and_old_clock,
    old_machine,
    membership,
    another_address,
    alone,
    full_table,
)
