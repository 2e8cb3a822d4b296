# SPDX-License-Identifier: Apache-2.0
"""A p4info that is pushed without a program: it is for the program that runs, and nothing that is there is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine_scenarios import PROGRAMS
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from p4softswitch.server import Device, P4Error, Ports
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Delete, Insert, Modify, Program, Push, update

MAC, OTHER = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
HOUR_NS = 3600 * 10**9


def load(name: str) -> Program:
    text = (PROGRAMS / f"{name}.p4info.txtpb").read_text()
    return Program(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / f"{name}.json").read_bytes())


class Adopting:
    """A device with a program, and what there is to be written."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.engines: list[FakeEngine] = []
        self.device = Device(DEVICE_ID, self._load, Ports(()), send_digest=lambda message: None)
        self.device.set_config(Push.VERIFY_AND_COMMIT, program.config(1))

    def _load(self, data: bytes) -> FakeEngine:
        self.engines.append(FakeEngine(data))
        return self.engines[-1]

    @property
    def engine(self) -> FakeEngine:
        [engine] = self.engines
        return engine

    def adopt(self, p4info: Any, cookie: int = 2) -> None:
        config = p4r.ForwardingPipelineConfig(p4info=p4info)
        config.cookie.cookie = cookie
        self.device.set_config(Push.VERIFY_AND_COMMIT, config)

    def cookie(self) -> int:
        config = p4r.ForwardingPipelineConfig()
        self.device.get_config(p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY, config)
        return int(config.cookie.cookie)

    def write(self, kind: Any, **entity: Any) -> None:
        assert self.device.write([update(kind, **entity)]) == [None]

    def state(self) -> list[Any]:
        """All that can be read, except arrays."""
        entities = [p4r.Entity() for _ in range(3)]
        for entity, kind in zip(
            entities, ("table_entry", "action_profile_member", "action_profile_group"), strict=True
        ):
            getattr(entity, kind).SetInParent()
        for kind in ("multicast_group_entry", "clone_session_entry"):
            entities.append(p4r.Entity())
            getattr(entities[-1].packet_replication_engine_entry, kind).SetInParent()
        entities += [p4r.Entity(digest_entry={"digest_id": d.preamble.id}) for d in self.program.p4info.digests]
        found: list[Any] = []
        for entity in entities:
            try:
                found += [e for response in self.device.read([entity]) for e in response.entities]
            except P4Error as error:
                found.append(error.message)
        return found

    # What is written.

    def default(self, action: Any = None) -> Any:
        entry = p4r.TableEntry(table_id=self.program.id("forward"), is_default_action=True)
        if action is not None:
            entry.action.CopyFrom(action)
        return entry

    def member(self, number: int, port: int = 7) -> Any:
        action = self.program.action("send", bytes([port])).action
        return p4r.ActionProfileMember(action_profile_id=self._selector, member_id=number, action=action)

    def group(self, number: int, *members: int) -> Any:
        group = p4r.ActionProfileGroup(action_profile_id=self._selector, group_id=number)
        for member in members:
            group.members.add(member_id=member, weight=2)
        return group

    @property
    def _selector(self) -> int:
        return next(int(p.preamble.id) for p in self.program.p4info.action_profiles if p.preamble.alias == "selector")

    def balance(self, mac: bytes, **action: Any) -> Any:
        match = {1: {"exact": {"value": mac}}}
        return self.program.entry("balance", match, p4r.TableAction(**action) if action else None)

    def digest(self) -> Any:
        number = self.program.p4info.digests[0].preamble.id
        return p4r.DigestEntry(digest_id=number, config=p4r.DigestEntry.Config(max_list_size=2))


def replicated(**kind: Any) -> dict[str, Any]:
    return {"packet_replication_engine_entry": p4r.PacketReplicationEngineEntry(**kind)}


GROUP = replicated(
    multicast_group_entry=p4r.MulticastGroupEntry(multicast_group_id=3, replicas=[p4r.Replica(egress_port=1)])
)
SESSION = replicated(clone_session_entry=p4r.CloneSessionEntry(session_id=4, replicas=[p4r.Replica(egress_port=1)]))


@pytest.fixture
def forwarding(program: Program) -> Iterator[Adopting]:
    found = Adopting(program)
    yield found
    found.device.stop()


@pytest.fixture
def balancing() -> Iterator[Adopting]:
    found = Adopting(load("profiles"))
    yield found
    found.device.stop()


@pytest.fixture
def ageing() -> Iterator[Adopting]:
    found = Adopting(load("ageing"))
    yield found
    found.device.stop()


def another(p4info: Any) -> Any:
    """It says of one thing more that it is there: other p4info, same tables."""
    found = p4i.P4Info()
    found.CopyFrom(p4info)
    found.controller_packet_metadata.add().preamble.name = "packet_in"
    return found


def otherwise(p4info: Any, table: str) -> Any:
    """Of one action of the table it says that it is for entries only."""
    found = p4i.P4Info()
    found.CopyFrom(p4info)
    [described] = [t for t in found.tables if t.preamble.alias == table]
    described.action_refs[0].scope = p4i.ActionRef.TABLE_ONLY
    return found


class TestTheSameP4info:
    """Everything goes on."""

    def test_members_and_groups(self, balancing: Adopting) -> None:
        for number in (1, 2):
            balancing.write(Insert, action_profile_member=balancing.member(number))
        balancing.write(Insert, action_profile_group=balancing.group(5, 1, 2))
        balancing.write(Insert, table_entry=balancing.balance(MAC, action_profile_member_id=1))
        balancing.write(Insert, table_entry=balancing.balance(OTHER, action_profile_group_id=5))
        before, in_engine = balancing.state(), (dict(balancing.engine.members), dict(balancing.engine.member_groups))
        balancing.adopt(balancing.program.p4info)
        assert balancing.cookie() == 2
        assert balancing.state() == before
        balancing.write(Insert, action_profile_member=balancing.member(3, 9))
        assert balancing.engine.members.items() > in_engine[0].items()  # nobody's handle was given away
        assert balancing.engine.member_groups == in_engine[1]
        still = balancing.device.write([update(Delete, action_profile_member=balancing.member(1))])
        assert still[0] is not None  # an entry and a group refer to it

    def test_action_sets(self, balancing: Adopting) -> None:
        action = p4r.TableAction()
        item = action.action_profile_action_set.action_profile_actions.add(weight=2)
        item.action.CopyFrom(balancing.member(1).action)
        entry = balancing.balance(MAC)
        entry.action.CopyFrom(action)
        balancing.write(Insert, table_entry=entry)
        before = balancing.state()
        balancing.adopt(balancing.program.p4info)
        assert balancing.state() == before
        balancing.write(Delete, table_entry=balancing.balance(MAC))
        assert (balancing.engine.members, balancing.engine.member_groups) == ({}, {})

    def test_notes_replication_and_digests(self, forwarding: Adopting) -> None:
        action = forwarding.program.action("set_port", b"\x05")
        noted = forwarding.program.forward(MAC, action, metadata=b"note", controller_metadata=7)
        forwarding.write(Insert, table_entry=noted)
        forwarding.write(Modify, table_entry=forwarding.default(action))
        forwarding.write(Insert, digest_entry=forwarding.digest())
        for entity in (GROUP, SESSION):
            forwarding.write(Insert, **entity)
        before = forwarding.state()
        forwarding.adopt(forwarding.program.p4info)
        assert forwarding.state() == before
        for entity in (GROUP, SESSION):
            forwarding.write(Delete, **entity)

    def test_timeouts(self, ageing: Adopting) -> None:
        aged = ageing.program.forward(MAC, ageing.program.action("send", b"\x07"), idle_timeout_ns=HOUR_NS)
        ageing.write(Insert, table_entry=aged)
        before = ageing.state()
        ageing.adopt(ageing.program.p4info)
        assert ageing.state() == before
        assert len(ageing.device._view()._ageing._timeouts) == 1


class TestAnotherP4info:
    """It is not taken while something would be lost, and nothing is changed then."""

    @staticmethod
    def refused(adopting: Adopting, p4info: Any, held: str) -> None:
        before = adopting.state()
        with pytest.raises(P4Error, match=f"first phase.* would lose {held}$"):
            adopting.adopt(p4info)
        assert adopting.cookie() == 1
        assert adopting.state() == before

    def test_entries_stay(self, forwarding: Adopting) -> None:
        forwarding.write(Insert, table_entry=forwarding.program.forward(MAC, forwarding.program.action("to_cpu")))
        before = forwarding.state()
        other = another(forwarding.program.p4info)
        del other.controller_packet_metadata[:]
        forwarding.adopt(other)
        assert forwarding.cookie() == 2
        assert forwarding.state() == before
        forwarding.write(Delete, table_entry=forwarding.program.forward(MAC))

    @pytest.mark.parametrize("of_default", [False, True], ids=["an entry", "the default action"])
    def test_a_table_that_is_described_otherwise(self, forwarding: Adopting, of_default: bool) -> None:
        action = forwarding.program.action("to_cpu")
        entry = forwarding.default(action) if of_default else forwarding.program.forward(MAC, action)
        forwarding.write(Modify if of_default else Insert, table_entry=entry)
        other = otherwise(forwarding.program.p4info, "forward")
        self.refused(forwarding, other, "what is written to table .*forward, which it describes otherwise")
        forwarding.adopt(otherwise(forwarding.program.p4info, "acl"))
        if not of_default:
            forwarding.write(Delete, table_entry=entry)
            forwarding.adopt(other)

    def test_the_default_action_through_several(self, forwarding: Adopting) -> None:
        """What is refused in one step is in two, and what is the program's own again is nobody's to lose."""
        other = otherwise(forwarding.program.p4info, "forward")
        forwarding.write(Modify, table_entry=forwarding.default(forwarding.program.action("to_cpu")))
        forwarding.adopt(otherwise(forwarding.program.p4info, "acl"), 1)
        self.refused(forwarding, other, "what is written to table .*forward, which it describes otherwise")
        forwarding.write(Modify, table_entry=forwarding.default())
        forwarding.adopt(other)
        assert forwarding.cookie() == 2

    @pytest.mark.parametrize("rest", [{"metadata": b"note"}, {"controller_metadata": 7}], ids=str)
    def test_notes(self, forwarding: Adopting, rest: dict[str, Any]) -> None:
        other = otherwise(forwarding.program.p4info, "acl")
        entry = forwarding.program.forward(MAC, forwarding.program.action("to_cpu"), **rest)
        forwarding.write(Insert, table_entry=entry)
        self.refused(forwarding, other, "metadata or timeouts of entries of table .*forward")
        forwarding.write(Delete, table_entry=entry)
        noted = forwarding.default(forwarding.program.action("to_cpu"))
        noted.metadata = b"note"
        forwarding.write(Modify, table_entry=noted)
        self.refused(forwarding, other, "metadata or timeouts of entries of table .*forward")
        forwarding.write(Modify, table_entry=forwarding.default())
        forwarding.adopt(other)

    def test_timeouts(self, ageing: Adopting) -> None:
        aged = ageing.program.forward(MAC, ageing.program.action("send", b"\x07"), idle_timeout_ns=HOUR_NS)
        ageing.write(Insert, table_entry=aged)
        other = otherwise(ageing.program.p4info, "learned")
        self.refused(ageing, other, "metadata or timeouts of entries of table .*forward")
        ageing.write(Delete, table_entry=aged)
        ageing.adopt(other)

    def test_members(self, balancing: Adopting) -> None:
        other = otherwise(balancing.program.p4info, "label")
        balancing.write(Insert, action_profile_member=balancing.member(1))
        self.refused(balancing, other, "what is in action profile .*selector")
        balancing.write(Delete, action_profile_member=balancing.member(1))
        balancing.adopt(other)

    def test_replication_and_digests(self, forwarding: Adopting) -> None:
        other = otherwise(forwarding.program.p4info, "acl")
        digest = {"digest_entry": forwarding.digest()}
        for entity, held in (
            (GROUP, "multicast group 3"),
            (SESSION, "clone session 4"),
            (digest, "the .* of digest .*"),
        ):
            forwarding.write(Insert, **entity)
            self.refused(forwarding, other, held)
            forwarding.write(Delete, **entity)
        forwarding.adopt(other)
