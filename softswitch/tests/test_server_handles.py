# SPDX-License-Identifier: Apache-2.0
"""Handles of action profiles: which are given out, and what a large profile costs."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from engine_scenarios import PROGRAMS
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from p4softswitch.server import Device, P4Error, Ports
from p4softswitch.server import handles as handles_of
from p4softswitch.server.handles import Handles, Weights
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Delete, Insert, Program, Push, update


class TestHandles:
    @given(st.lists(st.one_of(st.integers(0, 4), st.sets(st.integers(0, 30), max_size=5)), max_size=40))
    def test_the_lowest_that_are_free(self, steps: list[Any]) -> None:
        """Against a search from 0 on, which is what BMv2 does."""
        handles, taken = Handles("it"), set[int]()
        for step in steps:
            if isinstance(step, int):
                wanted = [number for number in range(100) if number not in taken][:step]
                assert handles.take(step) == wanted
                taken.update(wanted)
            else:
                handles.give([number for number in step if number in taken])
                taken -= step

    def test_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is refused has taken nothing."""
        monkeypatch.setattr(handles_of, "MAX_HANDLES", 8)
        handles = Handles("it")
        assert handles.take(7) == list(range(7))
        handles.give([3])
        with pytest.raises(P4Error, match=r"it is full \(8\)"):
            handles.take(3)
        assert handles.take(2) == [3, 7]


class TestWeights:
    @given(st.lists(st.integers(-8, 8).filter(bool), max_size=60))
    def test_the_largest(self, steps: list[int]) -> None:
        weights, groups = Weights(), Counter[int]()
        for step in steps:
            if step > 0:
                weights.add(step)
                groups[step] += 1
            elif groups[-step]:
                weights.remove(-step)
                groups[-step] -= 1
            there = [weight for weight, count in groups.items() if count]
            assert weights.largest() == max(there, default=0)
            assert bool(weights) == bool(there)
            assert len(weights._heap) == len(set(weights._heap))


class Work:
    """Lines of the server's modules that are executed meanwhile, each round of a comprehension included."""

    def __init__(self) -> None:
        self.lines = 0

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(("/server/profiles.py", "/server/profile.py", "/server/handles.py")):
            return None
        self.lines += 1
        return self._trace

    def __enter__(self) -> Work:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


class TestLargeProfiles:
    """Eight times as many members and groups are eight times as much work, and not sixty-four times."""

    @pytest.fixture
    def profiles(self) -> Program:
        text = (PROGRAMS / "profiles.p4info.txtpb").read_text()
        return Program(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / "profiles.json").read_bytes())

    @staticmethod
    def work(program: Program, count: int) -> int:
        """To fill an action profile, and to empty it: members, and groups of the same one and of two others."""
        device = Device(DEVICE_ID, FakeEngine, Ports(()), send_digest=lambda message: None)
        device.set_config(Push.VERIFY_AND_COMMIT, program.config())
        [profile] = [p.preamble.id for p in program.p4info.action_profiles if p.preamble.alias == "selector"]
        action = program.action("send", b"\x07").action
        members = [
            {"action_profile_member": p4r.ActionProfileMember(action_profile_id=profile, member_id=n, action=action)}
            for n in range(1, count + 1)
        ]
        groups: list[dict[str, Any]] = []
        for n in range(1, count + 1):
            group = p4r.ActionProfileGroup(action_profile_id=profile, group_id=n)
            for number, weight in {1: 1 + n % 3, 2 + n % (count - 2): 2, count: 1}.items():
                group.members.add(member_id=number, weight=weight)
            groups.append({"action_profile_group": group})
        updates = [update(Insert, **entity) for entity in members + groups]
        updates += [update(Delete, **entity) for entity in groups + members]
        with Work() as work:
            assert device.write(updates) == [None] * len(updates)
        engine = device._running and device._running.engine
        assert isinstance(engine, FakeEngine)
        assert (engine.members, engine.member_groups) == ({}, {})
        device.stop()
        return work.lines

    def test_fill_and_empty(self, profiles: Program) -> None:
        assert self.work(profiles, 320) < 2 * 8 * self.work(profiles, 40)
