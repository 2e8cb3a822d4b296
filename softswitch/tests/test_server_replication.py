# SPDX-License-Identifier: Apache-2.0
"""Multicast groups and clone sessions."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from p4softswitch.server import Limits, P4Error, replication
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID as DEVICE
from server_harness import Controller, Delete, Insert, Modify, Program, Target, fake_switch

INVALID = rpc_code.INVALID_ARGUMENT


def group(number: int, *replicas: tuple[int, int]) -> Any:
    entry = p4r.MulticastGroupEntry(multicast_group_id=number)
    for port, instance in replicas:
        entry.replicas.add(egress_port=port, instance=instance)
    return p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)


def session(number: int, *replicas: tuple[int, int], **rest: Any) -> Any:
    entry = p4r.CloneSessionEntry(session_id=number, **rest)
    for port, instance in replicas:
        entry.replicas.add(egress_port=port, instance=instance)
    return p4r.PacketReplicationEngineEntry(clone_session_entry=entry)


def read(ctl: Controller, entry: Any) -> list[Any]:
    """Entries found, in the order of their ids; the order of replicas is not defined, so they are sorted."""
    found = [e.packet_replication_engine_entry for e in ctl.read(packet_replication_engine_entry=entry)]
    for item in found:
        getattr(item, item.WhichOneof("type")).replicas.sort(key=lambda r: (r.instance, r.egress_port))
    return sorted(found, key=str)


def code(ctl: Controller, kind: Any, entry: Any) -> int:
    return ctl.code(kind, packet_replication_engine_entry=entry)


@pytest.mark.parametrize("make", [group, session])
class TestBoth:
    def test_life(self, ctl: Controller, make: Any) -> None:
        assert code(ctl, Modify, make(1, (1, 1))) == rpc_code.NOT_FOUND
        assert code(ctl, Delete, make(1)) == rpc_code.NOT_FOUND
        assert code(ctl, Insert, make(1, (2, 1), (1, 1), (1, 0))) == rpc_code.OK
        assert read(ctl, make(1)) == [make(1, (1, 0), (1, 1), (2, 1))]
        assert code(ctl, Insert, make(1)) == rpc_code.ALREADY_EXISTS
        assert code(ctl, Modify, make(1, (3, 1), (4, 7))) == rpc_code.OK
        assert code(ctl, Insert, make(2)) == rpc_code.OK
        assert read(ctl, make(0)) == [make(1, (3, 1), (4, 7)), make(2)]
        assert code(ctl, Delete, make(1)) == rpc_code.OK
        assert read(ctl, make(0)) == [make(2)]
        assert code(ctl, Delete, make(2)) == rpc_code.OK

    def test_port_zero(self, ctl: Controller, make: Any) -> None:
        assert code(ctl, Insert, make(3, (0, 1))) == rpc_code.OK
        assert read(ctl, make(3)) == [make(3, (0, 1))]

    def test_update_type(self, ctl: Controller, make: Any) -> None:
        assert code(ctl, p4r.Update.UNSPECIFIED, make(1)) == INVALID

    def test_missing_is_not_found(self, ctl: Controller, make: Any) -> None:
        assert ctl.read_code(packet_replication_engine_entry=make(9)) is grpc.StatusCode.NOT_FOUND

    def test_duplicate_replica(self, ctl: Controller, make: Any) -> None:
        assert code(ctl, Insert, make(4, (1, 1), (1, 1))) == INVALID
        assert code(ctl, Insert, make(4, (1, 1), (1, 2))) == rpc_code.OK
        assert code(ctl, Modify, make(4, (1, 1), (1, 1))) == INVALID
        assert read(ctl, make(4)) == [make(4, (1, 1), (1, 2))]

    def test_port_as_bytes(self, ctl: Controller, make: Any) -> None:
        def bytes_group(port: bytes) -> Any:
            entry = make(5, (1, 1))
            kind = getattr(entry, entry.WhichOneof("type"))
            kind.replicas[0].port = port
            return entry

        assert code(ctl, Insert, bytes_group(b"\x00\x07")) == rpc_code.OK
        assert read(ctl, make(5)) == [bytes_group(b"\x00\x07")]
        assert code(ctl, Modify, bytes_group(b"")) == INVALID
        assert code(ctl, Modify, bytes_group(b"\x00")) == INVALID
        assert code(ctl, Modify, bytes_group(b"\x00\x00\x00\x00\x01")) == rpc_code.UNIMPLEMENTED
        assert read(ctl, make(5)) == [bytes_group(b"\x00\x07")]

    def test_no_port(self, ctl: Controller, make: Any) -> None:
        entry = make(6)
        getattr(entry, entry.WhichOneof("type")).replicas.add(instance=1)
        assert code(ctl, Insert, entry) == INVALID

    def test_port_too_high(self, ctl: Controller, target: Target, make: Any) -> None:
        high = code(ctl, Insert, make(7, (512, 1)))
        assert high == (rpc_code.OK if target.name == "bmv2" else INVALID)  # BMv2 forgets the replica


class TestGroupIds:
    def test_range(self, ctl: Controller) -> None:
        assert code(ctl, Insert, group(0)) == INVALID
        assert code(ctl, Insert, group(32768)) == rpc_code.OUT_OF_RANGE
        assert code(ctl, Insert, group(2**32 - 1)) == rpc_code.OUT_OF_RANGE
        assert code(ctl, Insert, group(32767)) == rpc_code.OK
        assert ctl.read_code(packet_replication_engine_entry=group(32768)) is grpc.StatusCode.OUT_OF_RANGE

    def test_neither_kind(self, ctl: Controller) -> None:
        entry = p4r.PacketReplicationEngineEntry()
        assert ctl.read_code(packet_replication_engine_entry=entry) is grpc.StatusCode.INVALID_ARGUMENT


class TestSessions:
    def test_range(self, ctl: Controller) -> None:
        assert code(ctl, Insert, session(0)) == INVALID
        assert code(ctl, Insert, session(32768)) == INVALID
        assert code(ctl, Insert, session(32767)) == rpc_code.OK

    def test_not_offered(self, ctl: Controller) -> None:
        assert code(ctl, Insert, session(8, (1, 1), class_of_service=1)) == rpc_code.UNIMPLEMENTED
        assert code(ctl, Insert, session(8, (1, 1), packet_length_bytes=64)) == rpc_code.UNKNOWN
        assert ctl.read_code(packet_replication_engine_entry=session(8)) is grpc.StatusCode.NOT_FOUND

    def test_groups_of_sessions_are_not_seen(self, ctl: Controller) -> None:
        assert code(ctl, Insert, session(9, (1, 1))) == rpc_code.OK
        assert read(ctl, group(0)) == []


def test_room(tmp_path: Any) -> None:
    """Nodes are counted as BMv2 counts them: one per group and replication id."""
    from p4softswitch.server import Limits, SwitchOptions
    from server_harness import Program

    options = SwitchOptions(grpc_address=f"unix:{tmp_path / 's'}", device_id=DEVICE, limits=Limits(3, 4, 8))
    with fake_switch(tmp_path, options) as switch, switch.controller() as ctl:
        ctl.arbitrate()
        ctl.push(Program.load("with_arrays"))
        full = rpc_code.RESOURCE_EXHAUSTED
        assert code(ctl, Insert, group(1, (1, 1), (2, 1), (3, 1))) == 0  # one node
        assert code(ctl, Insert, group(2, (1, 1), (1, 2), (1, 3), (1, 4))) == full
        assert code(ctl, Insert, group(2, (1, 1), (1, 2), (1, 3))) == 0
        assert code(ctl, Modify, group(1, (1, 1), (1, 2))) == full
        assert code(ctl, Insert, session(1)) == 0
        assert code(ctl, Insert, group(4)) == full
        assert code(ctl, Delete, session(1)) == 0
        assert code(ctl, Insert, group(4)) == 0


class TestNodes:
    """Against what a sum over all groups and sessions gives, as BMv2 counts."""

    def test_through_many_changes(self, program: Program) -> None:
        rng = random.Random(7)
        engine = replication.Replication(FakeEngine(program.device_config), Limits(8, 12, 20))
        held: dict[tuple[Any, int], int] = {}
        refused = 0
        for _ in range(3000):
            make, number = rng.choice((group, session)), rng.randrange(1, 8)
            replicas = [(port, rng.randrange(1, 4)) for port in range(rng.randrange(5))]
            name, instances = (make, number), len({instance for _, instance in replicas})
            kind = rng.choice((Insert, Modify, Delete))
            fits = instances + sum(n for other, n in held.items() if other != name) <= 12
            if kind == Delete:
                admitted = name in held
            else:
                admitted = (name in held) == (kind == Modify) and fits and (kind == Modify or len(held) < 8)
            refused += not fits
            try:
                engine.write(kind, make(number, *replicas))
            except P4Error:
                assert not admitted
            else:
                assert admitted
                held.pop(name, None)
                if kind != Delete:
                    held[name] = instances
        assert refused > 100

    def test_a_write_looks_at_its_own_group(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last of many groups costs what the first one does."""
        looked_at: list[int] = []

        def nodes(replicas: Any) -> int:
            looked_at.append(len(replicas))
            return len({replica.instance for replica in replicas})

        monkeypatch.setattr(replication, "_nodes", nodes)
        engine = replication.Replication(FakeEngine(program.device_config), Limits())
        costs = []
        for number in range(1, 500):
            looked_at.clear()
            engine.write(Insert, group(number, (1, 1), (2, 1), (3, 2)))
            costs.append(sum(looked_at))
        assert set(costs) == {costs[0]}
