# SPDX-License-Identifier: Apache-2.0
"""The requests of the controller library of p4lang's tutorials against each target, written as that library writes
them: one election id for everything, the program within the message that targets had before P4Runtime 1.0, values of
packet-outs with as many bytes as the field has bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from finsy.proto import p4r
from p4softswitch.server.deviceconfig import program_of
from server_harness import Controller, DataPort, Insert, Modify, Program, Target, update

MAC = b"\x02\x00\x00\x00\x00\x01"
FRAME = MAC + b"\x02\x00\x00\x00\x00\x02\x08\x00" + bytes(range(50))


def varint(number: int) -> bytes:
    low = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(part | 0x80 for part in low[:-1]), low[-1]])


def device_config(program: bytes, *, reassign: bool = True, extras: bytes = b"") -> bytes:
    """p4.tmp.P4DeviceConfig: reassign 1, extras 2, device_data 3."""
    parts = [b"\x08\x01"] if reassign else []
    if extras:
        parts.append(b"\x12" + varint(len(extras)) + extras)
    return b"".join([*parts, b"\x1a", varint(len(program)), program])


@pytest.fixture
def connection(fresh_target: Target) -> Iterator[Controller]:
    with fresh_target.controller() as controller:
        arbitration = controller.arbitrate(election_id=1)
        assert arbitration.status.code == 0
        yield controller


def push(connection: Controller, program: Program, **rest: Any) -> None:
    config = p4r.ForwardingPipelineConfig(
        p4info=program.p4info, p4_device_config=device_config(program.device_config, **rest)
    )
    connection.push_config(config, p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)


def test_exercise(fresh_target: Target, connection: Controller, program: Program) -> None:
    """What the controllers of the exercises do: push, rules, a group, counters, packets to and fro."""
    push(connection, program)
    assert connection.get_config().p4_device_config == device_config(program.device_config)
    group = p4r.MulticastGroupEntry(multicast_group_id=1)
    group.replicas.add(egress_port=4, instance=1)
    default = p4r.TableEntry(table_id=program.id("forward"), is_default_action=True, action=program.action("miss"))
    session = p4r.CloneSessionEntry(session_id=500)
    session.replicas.add(egress_port=6, instance=1)
    connection.write(update(Modify, table_entry=default))
    connection.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
    for entry in ({"multicast_group_entry": group}, {"clone_session_entry": session}):
        connection.write(update(Insert, packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(**entry)))
    found = [e.table_entry for e in connection.read(table_entry=p4r.TableEntry())]
    assert [e for e in found if e.table_id != program.id("fixed")] == [program.forward(MAC, program.action("to_cpu"))]
    data = DataPort(fresh_target.data_address)
    try:
        data.send(3, FRAME)
        assert connection.packet_in().payload == FRAME
        counter = p4r.CounterEntry(counter_id=program.id("port_counter"))
        counter.index.index = 3
        counted = 0 if fresh_target.name == "fake" else 1  # which does not run the program
        assert [e.counter_entry.data.packet_count for e in connection.read(counter_entry=counter)] == [counted]
        packet = p4r.PacketOut(payload=FRAME)
        for number, (value, bits) in enumerate(((5, 9), (0, 3), (0, 4)), 1):
            packet.metadata.add(metadata_id=number, value=value.to_bytes(bits, "big"))
        connection.send(packet=packet)
        assert data.receive() == (5, FRAME)
    finally:
        data.close()


def test_program_is_pushed_again(connection: Controller, program: Program) -> None:
    """Wrapped, plain, wrapped otherwise: each push begins with empty tables."""
    entry = update(Insert, table_entry=program.forward(MAC, program.action("to_cpu")))
    push(connection, program)
    connection.write(entry)
    connection.push(program)
    connection.write(entry)
    push(connection, program, reassign=False, extras=b"\x0a\x06\x0a\x01k\x12\x01v")
    connection.write(entry)


def test_damage_is_refused(fake: Target, program: Program) -> None:
    """The running program stays."""
    with fake.controller() as controller:
        controller.arbitrate(election_id=1)
        push(controller, program)
        for damaged in (b"\x08\x01", device_config(b"{}"), device_config(program.device_config)[:-1], b"\x1a\x00"):
            config = p4r.ForwardingPipelineConfig(p4info=program.p4info, p4_device_config=damaged)
            with pytest.raises(grpc.RpcError, match="first phase of device update"):
                controller.push_config(config, p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
        controller.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))


def test_plain_bytes_stay() -> None:
    for plain in (b"", b"{}", b" \n{", b"\xff\xff", b"\x08\x01", b"x" * 100):
        assert program_of(plain) == plain
    assert program_of(device_config(b"\xff")) == b"\xff"
