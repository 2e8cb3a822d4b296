# SPDX-License-Identifier: Apache-2.0
"""Packet-in, packet-out, and data packets over gRPC."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from p4softswitch.server.dataplane import (
    OPER_STATUS_DOWN,
    OPER_STATUS_UP,
    SetPortOperStatusRequest,
    SetPortOperStatusResponse,
)
from p4softswitch.server.streamconfig import ErrorReporting, GetRequest, GetResponse, SetRequest, SetResponse
from server_harness import (
    DEVICE_ID,
    MARKER,
    OTHER,
    TIMEOUT,
    Controller,
    DataPort,
    Delete,
    Insert,
    Modify,
    Program,
    Target,
    update,
)

MAC = b"\x02\x00\x00\x00\x00\x01"
FRAME = MAC + b"\x02\x00\x00\x00\x00\x02" + b"\x08\x00" + bytes(range(50))


def expect_nothing(ctl: Controller, program: Program, data: DataPort) -> None:
    """What was sent before on the data stream has not come out: the next thing that does is sent now."""
    ctl.write(update(Insert, table_entry=program.forward(OTHER, program.action("set_port", b"\x01"))))
    data.send(2, MARKER)
    assert data.receive() == (1, MARKER)
    ctl.write(update(Delete, table_entry=program.forward(OTHER)))


def packet_out(payload: bytes, port: int, **rest: Any) -> Any:
    packet = p4r.PacketOut(payload=payload, **rest)
    packet.metadata.add(metadata_id=1, value=port.to_bytes(2, "big").lstrip(b"\0") or b"\0")
    packet.metadata.add(metadata_id=2, value=b"\0")
    packet.metadata.add(metadata_id=3, value=b"\x0f")
    return packet


class TestDataPackets:
    def test_forwarded(self, ctl: Controller, program: Program, data: DataPort) -> None:
        data.send(3, FRAME)
        expect_nothing(ctl, program, data)
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x07"))))
        data.send(3, FRAME)
        assert data.receive() == (7, FRAME)

    def test_other_device_and_empty_packets_are_ignored(
        self, ctl: Controller, program: Program, data: DataPort
    ) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x07"))))
        data.send(3, FRAME, device_id=99)
        data.send(3, b"")
        data.send(3, FRAME + b"last")
        assert data.receive() == (7, FRAME + b"last")

    def test_one_client(self, target: Target, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x07"))))
        data.send(3, FRAME)
        data.receive()  # it is served
        other = DataPort(target.data_address)
        try:
            with pytest.raises(AssertionError, match="ended"):
                other.receive()
        finally:
            other.close()

    def test_flood(self, ctl: Controller, program: Program, data: DataPort) -> None:
        entry = p4r.MulticastGroupEntry(multicast_group_id=100)
        for port in (1, 2, 9):
            entry.replicas.add(egress_port=port, instance=1)
        group = p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)
        ctl.write(
            update(Insert, packet_replication_engine_entry=group),
            update(Insert, table_entry=program.forward(MAC, program.action("flood", b"\x64"))),
        )
        data.send(3, FRAME)
        assert sorted(data.receive() for _ in range(3)) == [(1, FRAME), (2, FRAME), (9, FRAME)]
        del entry.replicas[:]
        entry.replicas.add(egress_port=4, instance=2)
        group = p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)
        ctl.write(update(Modify, packet_replication_engine_entry=group))
        data.send(3, FRAME)
        assert data.receive() == (4, FRAME)
        ctl.write(update(Delete, packet_replication_engine_entry=group))

    def test_direct_counter(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x07"))))
        for _ in range(3):
            data.send(3, FRAME)
            data.receive()
        wanted = p4r.DirectCounterEntry(table_entry=program.forward(MAC))
        count = ctl.read(direct_counter_entry=wanted)[0].direct_counter_entry.data
        assert (count.packet_count, count.byte_count) == (3, 3 * len(FRAME))

    def test_a_stream_that_stands_is_told_of(self, fake: Target) -> None:
        """What comes out of a port before it does is lost. BMv2 says nothing before its first packet."""
        with grpc.insecure_channel(fake.data_address) as channel:
            call = channel.stream_stream("/p4.bm.DataplaneInterface/PacketStream")
            outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            stream = call(iter(outgoing.get, None), wait_for_ready=True, timeout=TIMEOUT)
            assert stream.initial_metadata() is not None
            assert stream.is_active(), "it has not waited for the end"
            outgoing.put(None)
            stream.cancel()

    def test_port_status(self, target: Target) -> None:
        with grpc.insecure_channel(target.data_address) as channel:
            call = channel.unary_unary(
                "/p4.bm.DataplaneInterface/SetPortOperStatus",
                SetPortOperStatusRequest.SerializeToString,
                SetPortOperStatusResponse.FromString,
            )
            for status in (OPER_STATUS_DOWN, OPER_STATUS_UP):
                request = SetPortOperStatusRequest(device_id=DEVICE_ID, port=1, oper_status=status)
                call(request, wait_for_ready=True, timeout=TIMEOUT)
            for request in (
                SetPortOperStatusRequest(device_id=99, port=1, oper_status=OPER_STATUS_UP),
                SetPortOperStatusRequest(device_id=DEVICE_ID, port=1),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    call(request)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestPacketIo:
    def test_packet_in(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        for seen, port in ((b"\x01", 3), (b"\x02", 256)):
            data.send(port, FRAME)
            packet = ctl.packet_in()
            assert packet.payload == FRAME
            number = port.to_bytes(2, "big").lstrip(b"\0")
            assert [(m.metadata_id, m.value) for m in packet.metadata] == [(1, number), (2, b"\0"), (3, seen)]

    def test_packet_out(self, ctl: Controller, data: DataPort) -> None:
        for port in (1, 300):
            ctl.send(packet=packet_out(FRAME, port))
            assert data.receive() == (port, FRAME)

    def test_packet_out_and_back(self, ctl: Controller) -> None:
        ctl.send(packet=packet_out(FRAME, 510))
        packet = ctl.packet_in()
        assert packet.payload == FRAME
        assert packet.metadata[0].value == b"\x01\xfe"

    def test_missing_metadata_is_zero(self, ctl: Controller, data: DataPort) -> None:
        ctl.send(packet=p4r.PacketOut(payload=FRAME))
        assert data.receive() == (0, FRAME)

    def test_order_of_metadata_and_the_last_of_two(self, ctl: Controller, data: DataPort) -> None:
        packet = p4r.PacketOut(payload=FRAME)
        for number, value in ((3, b"\x00\x0f"), (1, b"\x07"), (1, b"\x01\x00")):
            packet.metadata.add(metadata_id=number, value=value)
        ctl.send(packet=packet)
        assert data.receive() == (256, FRAME)

    def test_bad_packet_outs_are_dropped_silently(self, ctl: Controller, data: DataPort) -> None:
        unknown, wide = packet_out(b"unknown" + FRAME, 1), packet_out(b"wide" + FRAME, 1)
        unknown.metadata.add(metadata_id=9, value=b"\x01")
        wide.metadata[0].value = b"\x02\x00"
        for packet in (unknown, wide, packet_out(b"good" + FRAME, 1)):
            ctl.send(packet=packet)
        assert data.receive() == (1, b"good" + FRAME)

    def test_backup_cannot_send_and_does_not_receive(
        self, target: Target, ctl: Controller, program: Program, data: DataPort
    ) -> None:
        with target.controller(election_id=0) as backup:
            assert backup.arbitrate().status.code == rpc_code.ALREADY_EXISTS
            backup.send(packet=packet_out(b"backup" + FRAME, 1))
            ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
            data.send(1, FRAME)
            assert ctl.packet_in().payload == FRAME
            ctl.send(packet=packet_out(FRAME, 2))
            assert data.receive() == (2, FRAME)

    def test_before_arbitration_nothing_is_sent(self, target: Target, ctl: Controller, data: DataPort) -> None:
        with target.controller(election_id=0) as stranger:
            stranger.open()
            stranger.send(packet=packet_out(b"stranger" + FRAME, 1))
            stranger.send(digest_ack=p4r.DigestListAck())
            stranger.send()
            assert stranger.arbitrate().status.code == rpc_code.ALREADY_EXISTS
            ctl.send(packet=packet_out(FRAME, 2))
            assert data.receive() == (2, FRAME)


class TestErrorReports:
    @pytest.fixture
    def configure(self, target: Target) -> Iterator[Any]:
        with grpc.insecure_channel(target.address) as channel:
            call = channel.unary_unary(
                "/p4.server.v1.ServerConfig/Set", SetRequest.SerializeToString, SetResponse.FromString
            )
            read = channel.unary_unary(
                "/p4.server.v1.ServerConfig/Get", GetRequest.SerializeToString, GetResponse.FromString
            )

            def configure(level: ErrorReporting) -> None:
                request = SetRequest(device_id=DEVICE_ID)
                request.config.stream.error_reporting = level
                call(request)
                assert read(GetRequest(device_id=DEVICE_ID)).config.stream.error_reporting == level

            yield configure
            configure(ErrorReporting.DISABLED)

    def test_reported_when_asked_for(self, ctl: Controller, configure: Any) -> None:
        bad = packet_out(FRAME, 1)
        bad.metadata.add(metadata_id=9, value=b"\x01")
        for level in (ErrorReporting.ENABLED, ErrorReporting.DETAILED):
            configure(level)
            ctl.send(packet=bad)
            error = ctl.receive().error
            assert error.canonical_code == rpc_code.INVALID_ARGUMENT
            assert error.space == "ALL-sswitch-p4org"
            assert error.HasField("packet_out")
            assert error.packet_out.packet_out == (bad if level is ErrorReporting.DETAILED else p4r.PacketOut())


def test_without_pipeline_packets_are_lost(fake: Target, program: Program) -> None:
    with fake.controller() as ctl:
        ctl.arbitrate()
        ctl.send(packet=packet_out(FRAME, 1))
        data = DataPort(fake.data_address)
        data.send(1, FRAME)
        ctl.push(program)
        ctl.send(packet=packet_out(b"good" + FRAME, 1))
        assert data.receive() == (1, b"good" + FRAME)
        data.close()


def test_slow_client_loses_packet_ins_and_holds_up_nobody(fake: Target, program: Program) -> None:
    """The stream is opened and not read: packets back up to the bound, and the thread that injects never waits."""
    with fake.controller() as ctl:
        ctl.arbitrate()
        ctl.push(program)
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        with fake.controller(election_id=2) as slow:
            requests = iter([p4r.StreamMessageRequest(arbitration=_arbitration(2))])
            import threading

            done = threading.Event()

            def keep_open() -> Iterator[Any]:
                yield from requests
                done.wait(60)

            stream = slow.stub.StreamChannel(keep_open())
            assert next(stream).arbitration.status.code == rpc_code.OK
            big = FRAME + bytes(60000)
            for _ in range(3000):
                fake.engines[-1].inject(1, big)
            # What was kept is still in order, and starts at the beginning.
            seen = [int.from_bytes(next(stream).packet.metadata[2].value, "big") for _ in range(100)]
            assert seen == list(range(1, 101))
            done.set()
            stream.cancel()


def _arbitration(number: int) -> Any:
    return p4r.MasterArbitrationUpdate(device_id=DEVICE_ID, election_id=p4r.Uint128(low=number))
