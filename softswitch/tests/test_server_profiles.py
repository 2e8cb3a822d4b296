# SPDX-License-Identifier: Apache-2.0
"""Action profiles: members, groups, one-shot action sets, and which member a packet meets."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from engine_scenarios import PROGRAMS
from finsy.proto import p4i, p4r, rpc_code
from google.protobuf import text_format
from server_harness import (
    OTHER,
    Controller,
    DataPort,
    Delete,
    Insert,
    Modify,
    Program,
    Push,
    Target,
    connected_data_port,
    update,
)

MACS = [bytes([2, 0, 0, 0, 0, number]) for number in range(1, 5)]
PORT = b"\x07"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def profiles() -> Program:
    text = (PROGRAMS / "profiles.p4info.txtpb").read_text()
    return Program(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / "profiles.json").read_bytes())


@pytest.fixture
def pushed(target: Target, profiles: Program) -> Iterator[Controller]:
    with target.controller(election_id=1000 + next(_NUMBERS)) as controller:
        assert controller.arbitrate().status.code == 0
        controller.push(profiles)
        yield controller


def profile_id(program: Program, name: str = "selector") -> int:
    return next(int(p.preamble.id) for p in program.p4info.action_profiles if p.preamble.alias == name)


def member(program: Program, number: int, port: int = 7, profile: str = "selector", **rest: Any) -> Any:
    action = rest.get("action") or program.action("send", bytes([port])).action
    return p4r.ActionProfileMember(action_profile_id=profile_id(program, profile), member_id=number, action=action)


def group(program: Program, number: int, weights: dict[int, int], profile: str = "selector", **rest: Any) -> Any:
    message = p4r.ActionProfileGroup(action_profile_id=profile_id(program, profile), group_id=number, **rest)
    for item, weight in weights.items():
        message.members.add(member_id=item, weight=weight)
    return message


def action_set(program: Program, *ports: tuple[int, int]) -> Any:
    action = p4r.TableAction()
    for port, weight in ports:
        item = action.action_profile_action_set.action_profile_actions.add(weight=weight)
        item.action.CopyFrom(program.action("send", bytes([port])).action)
    return action


def balance(program: Program, mac: bytes, action: Any = None, **rest: Any) -> Any:
    if rest:
        action = p4r.TableAction(**rest)
    return program.entry("balance", {1: {"exact": {"value": mac.lstrip(b"\0")}}}, action)


def profile_state(ctl: Controller) -> tuple[list[Any], list[Any]]:
    members = [e.action_profile_member for e in ctl.read(action_profile_member=p4r.ActionProfileMember())]
    groups = [e.action_profile_group for e in ctl.read(action_profile_group=p4r.ActionProfileGroup())]
    return members, groups


def frame(rng: random.Random, dst: bytes, src: bytes = MACS[3]) -> bytes:
    """A packet of few flows, so that members meet again."""
    flow = rng.choice((b"\0" * 4, b"\xff" * 4)) + rng.randbytes(4) + rng.randbytes(2) + rng.randbytes(16)
    return dst + src + rng.choice((b"\x08\x00", b"\x12\x34")) + flow + b"\0" + rng.randbytes(8)


class TestMembers:
    def test_life(self, pushed: Controller, profiles: Program) -> None:
        one = member(profiles, 5)
        assert pushed.code(Modify, action_profile_member=one) == rpc_code.NOT_FOUND
        assert pushed.code(Delete, action_profile_member=one) == rpc_code.NOT_FOUND
        assert pushed.code(Insert, action_profile_member=one) == rpc_code.OK
        assert pushed.code(Insert, action_profile_member=one) == rpc_code.ALREADY_EXISTS
        changed = member(profiles, 5, 8)
        assert pushed.code(Modify, action_profile_member=changed) == rpc_code.OK
        assert profile_state(pushed) == ([changed], [])
        exact = [e.action_profile_member for e in pushed.read(action_profile_member=changed)]
        assert exact == [changed]
        assert pushed.read(action_profile_member=member(profiles, 6)) == []
        assert pushed.code(p4r.Update.UNSPECIFIED, action_profile_member=one) == rpc_code.INVALID_ARGUMENT
        assert pushed.code(Delete, action_profile_member=one) == rpc_code.OK
        assert profile_state(pushed) == ([], [])

    def test_what_is_refused(self, pushed: Controller, profiles: Program) -> None:
        foreign = member(profiles, 1, action=profiles.action("mark", b"\x01").action)
        assert pushed.code(Insert, action_profile_member=foreign) == rpc_code.INVALID_ARGUMENT
        unknown = member(profiles, 1)
        unknown.action_profile_id += 1
        assert pushed.code(Insert, action_profile_member=unknown) == rpc_code.INVALID_ARGUMENT
        assert pushed.read_code(action_profile_member=unknown) is grpc.StatusCode.INVALID_ARGUMENT
        wide = member(profiles, 1, action=profiles.action("send", b"\x02\x00").action)
        assert pushed.code(Insert, action_profile_member=wide) == rpc_code.INVALID_ARGUMENT
        assert profile_state(pushed) == ([], [])

    def test_a_member_that_is_used_stays(self, pushed: Controller, profiles: Program) -> None:
        pushed.write(*(update(Insert, action_profile_member=member(profiles, n)) for n in (1, 2)))
        pushed.write(update(Insert, action_profile_group=group(profiles, 1, {1: 2})))
        pushed.write(update(Insert, table_entry=balance(profiles, MACS[0], action_profile_member_id=2)))
        for number in (1, 2):
            assert pushed.code(Delete, action_profile_member=member(profiles, number)) == rpc_code.UNKNOWN
        pushed.write(update(Delete, table_entry=balance(profiles, MACS[0])))
        pushed.write(update(Delete, action_profile_group=group(profiles, 1, {})))
        pushed.write(*(update(Delete, action_profile_member=member(profiles, n)) for n in (1, 2)))
        assert profile_state(pushed) == ([], [])


class TestActionsOfTheTables:
    """A member has an action that the entries of every table of its profile may have."""

    @pytest.fixture
    def narrowed(self, profiles: Program) -> Program:
        """One of the two tables that share the selector has `drop` for a default action alone; the other has no
        `rewrite`; the only one of `plain` has NoAction as the compiler adds it."""
        p4info = p4i.P4Info()
        p4info.CopyFrom(profiles.p4info)
        refs = {t.preamble.alias: t.action_refs for t in p4info.tables}
        ids = {a.preamble.alias: a.preamble.id for a in p4info.actions}
        for table, action in (("balance", "drop"), ("label", "NoAction")):
            [ref] = [ref for ref in refs[table] if ref.id == ids[action]]
            ref.scope = p4i.ActionRef.DEFAULT_ONLY
        [place] = [n for n, ref in enumerate(refs["balance_more"]) if ref.id == ids["rewrite"]]
        del refs["balance_more"][place]
        return Program(p4info, profiles.device_config)

    @pytest.mark.parametrize(
        ("profile", "action", "params", "code", "on_bmv2"),
        [
            ("selector", "drop", (), rpc_code.PERMISSION_DENIED, rpc_code.OK),
            ("plain", "NoAction", (), rpc_code.PERMISSION_DENIED, rpc_code.OK),
            ("selector", "rewrite", (b"\x01", b"\x07", b"\x02"), rpc_code.INVALID_ARGUMENT, rpc_code.OK),
            ("selector", "send", (b"\x07",), rpc_code.OK, rpc_code.OK),
            ("selector", "NoAction", (), rpc_code.OK, rpc_code.OK),
            ("plain", "send", (b"\x07",), rpc_code.INVALID_ARGUMENT, rpc_code.INVALID_ARGUMENT),
        ],
    )
    def test_scope(
        self, pushed: Controller, target: Target, narrowed: Program, profile: str, action: str,
        params: tuple[bytes, ...], code: int, on_bmv2: int,
    ) -> None:  # fmt: skip
        code = on_bmv2 if target.name == "bmv2" else code
        pushed.push(narrowed)
        call = narrowed.action(action, *params)
        made = member(narrowed, 1, profile=profile, action=call.action)
        assert pushed.code(Insert, action_profile_member=made) == code
        if code:
            assert profile_state(pushed) == ([], [])
        else:
            pushed.write(update(Delete, action_profile_member=made))
        other = {"selector": ("send", b"\x01"), "plain": ("mark", b"\x01")}[profile]
        member_of = member(narrowed, 1, profile=profile, action=narrowed.action(*other).action)
        pushed.write(update(Insert, action_profile_member=member_of))
        assert pushed.code(Modify, action_profile_member=made) == code
        pushed.write(update(Delete, action_profile_member=member_of))
        if profile == "selector":
            actions = p4r.TableAction()
            item = actions.action_profile_action_set.action_profile_actions.add(weight=1)
            item.action.CopyFrom(call.action)
            assert pushed.code(Insert, table_entry=balance(narrowed, MACS[0], actions)) == code


class TestGroups:
    @pytest.fixture(autouse=True)
    def members(self, pushed: Controller, profiles: Program) -> None:
        pushed.write(*(update(Insert, action_profile_member=member(profiles, n, n)) for n in (1, 2, 3)))

    def test_life(self, pushed: Controller, profiles: Program) -> None:
        first = group(profiles, 9, {1: 1, 2: 3}, max_size=8)
        assert pushed.code(Modify, action_profile_group=first) == rpc_code.NOT_FOUND
        assert pushed.code(Delete, action_profile_group=first) == rpc_code.NOT_FOUND
        assert pushed.code(Insert, action_profile_group=first) == rpc_code.OK
        assert pushed.code(Insert, action_profile_group=first) == rpc_code.ALREADY_EXISTS
        assert profile_state(pushed)[1] == [first]
        second = group(profiles, 9, {3: 2, 2: 1}, max_size=8)
        assert pushed.code(Modify, action_profile_group=second) == rpc_code.OK
        assert profile_state(pushed)[1] == [group(profiles, 9, {2: 1, 3: 2}, max_size=8)]
        assert pushed.read(action_profile_group=group(profiles, 10, {})) == []
        entry = balance(profiles, MACS[0], action_profile_group_id=9)
        pushed.write(update(Insert, table_entry=entry))
        assert [e.table_entry.action for e in pushed.read(table_entry=balance(profiles, MACS[0]))] == [entry.action]
        assert pushed.code(Delete, action_profile_group=second) == rpc_code.UNKNOWN
        pushed.write(update(Modify, table_entry=balance(profiles, MACS[0], action_profile_member_id=1)))
        assert pushed.code(Delete, action_profile_group=second) == rpc_code.OK
        assert profile_state(pushed)[1] == []

    def test_what_is_refused(self, pushed: Controller, profiles: Program, target: Target) -> None:
        def code(number: int, weights: dict[int, int], kind: Any = Insert, **rest: Any) -> int:
            return pushed.code(kind, action_profile_group=group(profiles, number, weights, **rest))

        assert code(1, {}, max_size=17) == rpc_code.INVALID_ARGUMENT
        assert code(1, {}, max_size=-1) == rpc_code.INVALID_ARGUMENT
        assert code(2, {1: 0}) == rpc_code.INVALID_ARGUMENT
        assert code(3, {8: 1}) == rpc_code.NOT_FOUND
        assert code(4, {1: 17}) == rpc_code.RESOURCE_EXHAUSTED
        assert code(5, {1: 2, 2: 2}, max_size=3) == rpc_code.RESOURCE_EXHAUSTED
        twice = group(profiles, 6, {1: 1})
        twice.members.add(member_id=1, weight=1)
        assert pushed.code(Insert, action_profile_group=twice) == rpc_code.INVALID_ARGUMENT
        assert code(7, {1: 1}, max_size=4) == rpc_code.OK
        assert code(7, {1: 1}, Modify, max_size=5) == rpc_code.INVALID_ARGUMENT
        if target.name != "bmv2":  # which has a group that it has refused for its members
            assert [g.group_id for g in profile_state(pushed)[1]] == [7]

    def test_entries_name_what_is_there(self, pushed: Controller, profiles: Program) -> None:
        for wrong in ({"action_profile_member_id": 8}, {"action_profile_group_id": 8}):
            entry = balance(profiles, MACS[0], **wrong)
            assert pushed.code(Insert, table_entry=entry) == rpc_code.INVALID_ARGUMENT
        direct = balance(profiles, MACS[0], profiles.action("send", PORT))
        assert pushed.code(Insert, table_entry=direct) == rpc_code.INVALID_ARGUMENT
        default = p4r.TableEntry(table_id=profiles.id("balance"), is_default_action=True)
        assert pushed.code(Modify, table_entry=default) == rpc_code.INVALID_ARGUMENT
        pushed.write(update(Insert, table_entry=balance(profiles, MACS[0], action_profile_member_id=1)))
        assert pushed.code(Insert, table_entry=balance(profiles, MACS[0], action_profile_member_id=2)) == 6

    def test_a_profile_without_a_selector(self, pushed: Controller, profiles: Program, target: Target) -> None:
        if target.name == "bmv2":
            pytest.skip("BMv2 makes a group that nothing chooses from")
        plain = member(profiles, 1, profile="plain", action=profiles.action("mark", b"\x01").action)
        pushed.write(update(Insert, action_profile_member=plain))
        assert pushed.code(Insert, action_profile_group=group(profiles, 1, {1: 1}, "plain")) != rpc_code.OK

    def test_the_two_ways_are_not_mixed(self, pushed: Controller, profiles: Program) -> None:
        entry = balance(profiles, MACS[0], action_set(profiles, (1, 1)))
        assert pushed.code(Insert, table_entry=entry) == rpc_code.INVALID_ARGUMENT
        pushed.write(*(update(Delete, action_profile_member=member(profiles, n)) for n in (1, 2, 3)))
        assert pushed.code(Insert, table_entry=entry) == rpc_code.OK
        assert pushed.code(Insert, action_profile_member=member(profiles, 1)) == rpc_code.INVALID_ARGUMENT
        pushed.write(update(Delete, table_entry=entry))
        assert pushed.code(Insert, action_profile_member=member(profiles, 1)) == rpc_code.OK


class TestOneShot:
    def test_life(self, pushed: Controller, profiles: Program, target: Target) -> None:
        first = balance(profiles, MACS[0], action_set(profiles, (1, 2), (2, 1)))
        pushed.write(update(Insert, table_entry=first))
        assert [e.table_entry.action for e in pushed.read(table_entry=balance(profiles, MACS[0]))] == [first.action]
        assert pushed.code(Insert, table_entry=first) == rpc_code.ALREADY_EXISTS
        missing = balance(profiles, MACS[1], action_set(profiles, (1, 1)))
        assert pushed.code(Modify, table_entry=missing) == rpc_code.NOT_FOUND
        second = balance(profiles, MACS[0], action_set(profiles, (3, 1)))
        pushed.write(update(Modify, table_entry=second))
        found = [e.table_entry.action for e in pushed.read(table_entry=p4r.TableEntry(table_id=profiles.id("balance")))]
        assert found == [second.action]
        for weights in (((1, 0),), ((1, -1),)):
            entry = balance(profiles, MACS[1], action_set(profiles, *weights))
            assert pushed.code(Insert, table_entry=entry) == rpc_code.INVALID_ARGUMENT
        entry = balance(profiles, MACS[1], action_set(profiles, (1, 16), (2, 1)))
        assert pushed.code(Insert, table_entry=entry) == rpc_code.RESOURCE_EXHAUSTED
        pushed.write(update(Delete, table_entry=second))
        assert profile_state(pushed) == ([], [])
        if target.name == "fake":  # nothing is left in the engine
            engine = target.engines[-1]
            assert (engine.members, engine.member_groups) == ({}, {})

    def test_watch_ports(self, pushed: Controller, profiles: Program, target: Target) -> None:
        if target.name == "bmv2":
            pytest.skip("BMv2 has them")
        entry = balance(profiles, MACS[0], action_set(profiles, (1, 1)))
        entry.action.action_profile_action_set.action_profile_actions[0].watch_port = b"\x01"
        assert pushed.code(Insert, table_entry=entry) == rpc_code.UNIMPLEMENTED


def test_reconcile_keeps_members(target: Target, pushed: Controller, profiles: Program) -> None:
    if target.name == "bmv2":
        pytest.skip("BMv2 refuses to reconcile what has groups")
    pushed.write(*(update(Insert, action_profile_member=member(profiles, n, n)) for n in (2, 1)))
    pushed.write(update(Insert, action_profile_group=group(profiles, 4, {1: 2, 2: 1})))
    pushed.write(update(Insert, table_entry=balance(profiles, MACS[0], action_profile_group_id=4)))
    before = profile_state(pushed)
    pushed.push(profiles, Push.RECONCILE_AND_COMMIT)
    assert profile_state(pushed) == before
    assert len(pushed.read(table_entry=p4r.TableEntry(table_id=profiles.id("balance")))) == 1
    pushed.push(profiles)
    assert profile_state(pushed) == ([], [])


def test_a_p4info_alone_keeps_them(target: Target, pushed: Controller, profiles: Program) -> None:
    """An entry goes on to refer to its member, whatever is inserted behind it."""
    if target.name == "bmv2":
        pytest.skip("BMv2 cannot read the entries then")
    pushed.write(update(Insert, action_profile_member=member(profiles, 1, 11)))
    pushed.write(update(Insert, table_entry=balance(profiles, MACS[0], action_profile_member_id=1)))
    entries = pushed.read(table_entry=p4r.TableEntry(table_id=profiles.id("balance")))
    pushed.push_config(p4r.ForwardingPipelineConfig(p4info=profiles.p4info), Push.VERIFY_AND_COMMIT)
    assert pushed.read(table_entry=p4r.TableEntry(table_id=profiles.id("balance"))) == entries
    pushed.write(update(Insert, action_profile_member=member(profiles, 2, 12)))
    assert profile_state(pushed) == ([member(profiles, 1, 11), member(profiles, 2, 12)], [])
    assert pushed.code(Delete, action_profile_member=member(profiles, 1)) == rpc_code.UNKNOWN
    if target.name == "fake":
        return  # it does not run the program
    pushed.write(update(Insert, table_entry=balance(profiles, OTHER, action_profile_member_id=2)))
    data = connected_data_port(target.data_address)
    try:
        data.send(1, frame(random.Random(5), MACS[0]))
        assert data.receive()[0] == 11
    finally:
        data.close()


class TestPackets:
    """Which member a packet meets is the same here as on BMv2, for which the expected ports were computed."""

    @pytest.fixture
    def port(self, target: Target, pushed: Controller, profiles: Program) -> Iterator[DataPort]:
        if target.name == "fake":
            pytest.skip("it does not run the program")
        pushed.write(update(Insert, action_profile_member=member(profiles, 99, 1)))
        pushed.write(update(Insert, table_entry=balance(profiles, OTHER, action_profile_member_id=99)))
        data = connected_data_port(target.data_address)
        yield data
        data.close()

    @staticmethod
    def chosen(packet: bytes, members: list[int]) -> int:
        """crc32 over a, b, c, d and the salt; the members stand in the order of their handles."""
        salt = int.from_bytes(packet[12:14], "big") ^ 0x5A5A
        return members[zlib.crc32(packet[14:40] + salt.to_bytes(2, "big")) % len(members)]

    def test_members_and_groups(self, pushed: Controller, profiles: Program, port: DataPort) -> None:
        # Handles: 99 has 0; 1, 2 and 3 get 1, 2, 3; copies for the weights follow, in the order of ids: 2 4, 3 5 6.
        pushed.write(*(update(Insert, action_profile_member=member(profiles, n, 10 + n)) for n in (1, 2, 3)))
        pushed.write(update(Insert, action_profile_group=group(profiles, 1, {3: 3, 1: 1, 2: 2})))
        pushed.write(update(Insert, table_entry=balance(profiles, MACS[0], action_profile_group_id=1)))
        rng = random.Random(3)
        for members in ([11, 12, 13, 12, 13, 13], [12, 12]):
            for _ in range(40):
                packet = frame(rng, MACS[0])
                port.send(1, packet)
                received = port.receive()
                assert received[0] == self.chosen(packet, members)
                assert received[1] == packet[:40] + b"\x40" + packet[41:]
            pushed.write(update(Modify, action_profile_group=group(profiles, 1, {2: 2})))
        pushed.write(update(Modify, action_profile_member=member(profiles, 2, 77)))
        port.send(1, frame(rng, MACS[0]))
        assert port.receive()[0] == 77

    def test_one_shot_and_a_second_table(self, target: Target, profiles: Program, pushed: Controller) -> None:
        if target.name == "fake":
            pytest.skip("it does not run the program")
        pushed.write(update(Insert, table_entry=balance(profiles, OTHER, action_set(profiles, (1, 1)))))
        wanted = {1: {"ternary": {"value": MACS[2], "mask": b"\xff" * 6}}}
        more = profiles.entry("balance_more", wanted, action_set(profiles, (21, 1), (22, 2)), priority=1)
        pushed.write(update(Insert, table_entry=more))
        data = connected_data_port(target.data_address)
        try:
            rng = random.Random(4)
            for _ in range(40):
                packet = frame(rng, MACS[1], MACS[2])
                data.send(1, packet)
                assert data.receive() == (self.chosen(packet, [21, 22, 22]), packet)
            actions = [profiles.action("mark", bytes([number])).action for number in (1, 2)]
            members = [member(profiles, n, profile="plain", action=action) for n, action in enumerate(actions, 1)]
            pushed.write(*(update(Insert, action_profile_member=item) for item in members))
            label = profiles.entry("label", {1: {"lpm": {"value": b"\x80\x00", "prefix_len": 1}}})
            label.action.action_profile_member_id = 2
            pushed.write(update(Insert, table_entry=label))
            packet = MACS[1] + MACS[2] + b"\x08\x00" + bytes(8) + b"\x80\x01" + bytes(20)
            data.send(1, packet)
            assert data.receive()[1] == packet[:40] + b"\x02" + packet[41:]
        finally:
            data.close()
