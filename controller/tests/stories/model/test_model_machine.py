# SPDX-License-Identifier: Apache-2.0
"""Whatever happens, in whatever order: no pair (key, sequence) twice, no packet accepted twice or under a key that is
not to be believed any more, and traffic between those who are well never stops.

NVO3SEC_MODEL_EXAMPLES and NVO3SEC_MODEL_STEPS make it look longer, each time elsewhere; NVO3SEC_MODEL_SHRINK makes it
look for the shortest story once it has found one, which takes minutes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from model_domain import LIFE
from model_liar import KINDS
from model_scene import SETTLE_S
from model_world import World
from nvo3sec.domain.overlay.model import Level
from nvo3sec.p4runtime import Table

LONG = "NVO3SEC_MODEL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("NVO3SEC_MODEL_EXAMPLES", "25"))
STEPS = int(os.environ.get("NVO3SEC_MODEL_STEPS", "25"))

NAMES = ("leaf0", "leaf1", "leaf2")
a_name = st.sampled_from(NAMES)
SUBJECTS = (("blue",), ("red",), ("leaf0", "leaf1"), ("leaf1", "leaf2"))
CAN_BE_FULL = (Table.TUNNEL, Table.SA_RX, Table.SA_TX, Table.AUTHORIZED_NVE, Table.BRIDGE, Table.VAP)
moments = st.sampled_from([0.001, 0.003, 0.01, 0.1, 0.5, 1.0, 3.0])
"""Before the next thing happens: during a call, a rollout, or after it."""


class Machine(RuleBasedStateMachine):
    """The world, and everything that is done to it."""

    parent: Path

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.directory = Path(tempfile.mkdtemp(dir=self.parent))
        self.world = World(self.directory / "world", seed)
        self.world.begin()

    # --- time and traffic --------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.05, 1.0, 6.0, 12.0, SETTLE_S + 2]))
    def time_passes(self, seconds):
        self.world.pass_time(seconds)

    @rule()
    def keys_grow_old(self):
        self.world.pass_time(LIFE.key_soft_s)

    @rule(holds=st.booleans())
    def packets_are_held_back(self, holds):
        self.world.holds_packets = holds

    @rule(backwards=st.booleans(), twice=st.booleans())
    def what_was_held_back_arrives(self, backwards, twice):
        self.world.release(backwards=backwards, twice=twice)
        self.world.pass_time(0.001)

    @rule()
    def recorded_packets_are_replayed(self):
        self.world.replay()

    @rule(by=a_name)
    def keys_of_one_that_is_shut_out_are_used(self, by):
        if by in self.world.observer.shut_out:
            self.world.forge(by)

    # --- the NVA -----------------------------------------------------------------------------------------------------

    @rule(point=st.integers(0, 12), wait=moments)
    def the_nva_will_die_at_a_point(self, point, wait):
        self.world.host.die_in = point
        self.world.pass_time(wait)

    @rule(down_s=st.sampled_from([0.0, 0.3, 5.0, 16.0, 50.0]))
    def the_nva_dies(self, down_s):
        self.world.kill_nva()
        self.world.pass_time(down_s)
        self.world.ensure_nva()
        self.world.pass_time(0.01)

    @rule()
    def the_nva_is_started(self):
        self.world.ensure_nva()
        self.world.pass_time(0.01)

    @rule(jump=st.sampled_from([-86400.0 * 30, -3600.0, -60.0, 60.0, 3600.0, 86400.0 * 30]))
    def the_clock_of_the_nva_jumps(self, jump):
        self.world.wall_jump_s += jump

    @rule()
    def a_backup_is_made(self):
        self.world.back_up()
        self.world.pass_time(0.01)

    @rule()
    def the_backup_is_restored(self):
        self.world.restore()
        self.world.pass_time(0.01)

    # --- operators ---------------------------------------------------------------------------------------------------

    @rule(names=st.sampled_from([(), ("leaf0",), ("leaf0", "leaf1"), ("leaf1", "leaf2")]), wait=moments)
    def keys_are_rotated(self, names, wait):
        self.world.rotate(*names)
        self.world.pass_time(wait)

    @rule(wait=moments)
    def one_is_revoked(self, wait):
        """Always the same, so that two are left."""
        self.world.revoke("leaf2")
        self.world.pass_time(wait)

    @rule(kind=st.sampled_from(KINDS), own=st.booleans(), wait=moments)
    def one_lies_in_every_field(self, kind, own, wait):
        """Always the same, so that two are left."""
        self.world.lie("leaf2", kind, own=own)
        self.world.pass_time(wait)

    @rule(name=a_name, wait=moments)
    def marks_are_reset(self, name, wait):
        self.world.reset_marks(name)
        self.world.pass_time(wait)

    @rule(name=a_name, wait=moments)
    def one_is_suspended(self, name, wait):
        self.world.suspend(name)
        self.world.pass_time(wait)

    @rule(name=a_name, wait=moments)
    def one_is_readmitted(self, name, wait):
        if name in self.world.suspended:
            self.world.readmit(name)
            self.world.pass_time(wait)

    @rule(name=a_name, vn=st.sampled_from(["red", "blue"]), wait=moments)
    def a_membership_changes(self, name, vn, wait):
        self.world.toggle_membership(name, vn)
        self.world.pass_time(wait)

    @rule(subject=st.sampled_from(SUBJECTS), level=st.sampled_from(Level), wait=moments)
    def a_level_changes(self, subject, level, wait):
        self.world.set_level(*subject, level=level)
        self.world.pass_time(wait)

    @rule(name=a_name, wait=moments)
    def an_address_changes(self, name, wait):
        self.world.readdress(name)
        self.world.pass_time(wait)

    @rule(ends=st.permutations(NAMES), packets=st.sampled_from([LIFE.key_soft_packets, LIFE.key_hard_packets]))
    def a_key_is_used_much(self, ends, packets):
        self.world.use(ends[0], ends[1], packets)
        self.world.pass_time(0.01)

    # --- agents and switches -----------------------------------------------------------------------------------------

    @rule(name=a_name, down_s=st.sampled_from([0.0, 0.3, 5.0, 16.0, 50.0]))
    def an_agent_dies(self, name, down_s):
        self.world.kill_agent(name)
        self.world.pass_time(down_s)
        self.world.start_agent(name)
        self.world.pass_time(0.01)

    @rule(name=a_name, call=st.integers(0, 8), wait=moments)
    def an_agent_will_die_at_a_call(self, name, call, wait):
        self.world.sites[name].die_in = call
        self.world.pass_time(wait)

    @rule(name=a_name)
    def an_agent_is_started(self, name):
        self.world.start_agent(name)
        self.world.pass_time(0.01)

    @rule(name=a_name, off_s=st.sampled_from([0.0, 1.0, 20.0]), wait=moments)
    def a_switch_restarts(self, name, off_s, wait):
        self.world.restart_switch(name, off_s)
        self.world.pass_time(wait)

    @rule(name=a_name, keeps_entries=st.booleans(), wait=moments)
    def somebody_pushes_a_pipeline(self, name, keeps_entries, wait):
        self.world.push_pipeline(name, keeps_entries=keeps_entries)
        self.world.pass_time(wait)

    @rule(name=a_name, is_open=st.booleans())
    def a_way_to_the_nva_is_cut_or_mended(self, name, is_open):
        link = self.world.sites[name].link
        link.heal() if is_open else link.part()
        self.world.pass_time(0.01)

    @rule(name=a_name, delay_s=st.sampled_from([0.0, 0.01, 0.4]))
    def a_way_to_the_nva_is_slow(self, name, delay_s):
        self.world.sites[name].link.delay_s = delay_s

    @rule(name=a_name, number=st.integers(1, 3), vni=st.sampled_from([1, 2]), comes=st.booleans())
    def a_tenant_system_comes_or_goes(self, name, number, vni, comes):
        self.world.announce(name, 0x020000000000 | number, vni, comes=comes)
        self.world.pass_time(0.01)

    @rule(name=a_name, tables=st.sets(st.sampled_from(CAN_BE_FULL), max_size=2), wait=moments)
    def tables_are_full(self, name, tables, wait):
        self.world.fill(name, *sorted(tables))
        self.world.pass_time(wait)

    # --- in the end --------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "world"))
    @rule()
    def everything_is_mended(self):
        mend(self.world)

    def teardown(self):
        if hasattr(self, "world"):
            try:
                mend(self.world)
            finally:
                self.world.close()
                shutil.rmtree(self.directory, ignore_errors=True)


LEVELS_S = 4 * (LIFE.lease_s + LIFE.grace_s)
"""After this time without a break, every level is what it is to be: one change has three steps."""


def mend(world: World) -> None:
    """Everything that can come back does, and then everybody that is left is well, and stays so."""
    world.host.die_in = None
    world.ensure_nva()
    for name, site in world.sites.items():
        site.die_in = None
        site.link.heal()
        world.fill(name)
        world.start_agent(name)
        if name in world.suspended:
            world.readmit(name)
    for name in sorted(world.being_revoked):
        assert world.revoke(name)
    world.pass_time(2 * SETTLE_S)
    world.pass_time(LEVELS_S)
    assert not world.host.nva.state.intent.level_changes
    assert world.healthy() == set(world.names) - world.revoked
    world.replay()
    world.release(backwards=False, twice=True)
    for name in world.observer.shut_out:
        world.forge(name)
    world.pass_time(1.0)


def profile(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not LONG,
        phases={Phase.generate, *([Phase.shrink] if "NVO3SEC_MODEL_SHRINK" in os.environ else [])},
        database=None,
        print_blob=True,
    )


@pytest.mark.usefixtures("_simulated")
def test_whatever_happens(memory_path):
    Machine.parent = memory_path
    run_state_machine_as_test(Machine, settings=profile(EXAMPLES, STEPS))
