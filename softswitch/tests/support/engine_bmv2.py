# SPDX-License-Identifier: Apache-2.0
"""BMv2's simple_switch_grpc as the other side of a comparison: same program, entries, packets, over UNIX sockets."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from engine_scenarios import Clone, Default, Group, Insert, Meter, Setup
from finsy.proto import p4i, p4r, p4r_grpc
from google.protobuf import text_format
from p4softswitch.engine_api import ActionCall, CounterValue
from p4softswitch.server.dataplane import PacketStreamRequest, PacketStreamResponse

DEVICE = 1
CPU_PORT = 510
READY_S = 120.0
ANSWER_S = 60.0
"""A comparison that waits so long for the next output has failed."""
PAUSE_S = 0.02
"""Before a stream that was turned away is opened again: the switch may need this very core."""


def simple_switch() -> str | None:
    """Path of simple_switch_grpc, or None."""
    return os.environ.get("P4SOFTSWITCH_BMV2") or shutil.which("simple_switch_grpc")


def _canonical(value: bytes) -> bytes:
    return value.lstrip(b"\0") or b"\0"


class Bmv2:
    """A running switch with one program. A context manager."""

    def __init__(self, json_path: Path, p4info_path: Path | None = None, log: bool = False) -> None:
        self._json = json_path
        text = p4info_path.read_text() if p4info_path is not None else ""
        self.p4info = text_format.Parse(text, p4i.P4Info())
        self._log = log
        self._outputs: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self._inputs: queue.Queue[Any] = queue.Queue()
        self._sending = threading.Lock()
        self._early: list[Any] | None = []
        self._ended: str | None = None
        self._streams: list[Any] = []

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory()
        base = self._directory.name
        command = [
            simple_switch() or "simple_switch_grpc", "--device-id", str(DEVICE), "--no-p4",
            *(["--log-file", f"{base}/log", "--log-flush"] if self._log else []),
            "--", "--grpc-server-addr", f"unix:{base}/p4rt", "--dp-grpc-server-addr", f"unix:{base}/packets",
            "--cpu-port", str(CPU_PORT),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=base)
        try:
            self._connect(base)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._inputs.put(None)
        for stream in self._streams:
            stream.cancel()
        self._process.terminate()
        self._process.wait(timeout=READY_S)
        self._directory.cleanup()

    @property
    def log(self) -> str:
        return Path(self._directory.name, "log.txt").read_text()

    def _connect(self, base: str) -> None:
        channel = grpc.insecure_channel(f"unix:{base}/p4rt")
        grpc.channel_ready_future(channel).result(timeout=READY_S)
        self._stub = p4r_grpc.P4RuntimeStub(channel)
        self._election = p4r.Uint128(low=1)
        hello = p4r.StreamMessageRequest()
        hello.arbitration.device_id = DEVICE
        hello.arbitration.election_id.CopyFrom(self._election)
        self._p4rt_inputs: queue.Queue[Any] = queue.Queue()
        self._p4rt_inputs.put(hello)
        stream = self._stub.StreamChannel(iter(self._p4rt_inputs.get, None))
        self._streams.append(stream)
        next(stream)
        self._stub.SetForwardingPipelineConfig(
            p4r.SetForwardingPipelineConfigRequest(
                device_id=DEVICE,
                election_id=self._election,
                action=p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
                config=p4r.ForwardingPipelineConfig(p4info=self.p4info, p4_device_config=self._json.read_bytes()),
            )
        )
        packets = grpc.insecure_channel(f"unix:{base}/packets")
        grpc.channel_ready_future(packets).result(timeout=READY_S)
        call = packets.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=PacketStreamResponse.FromString,
        )
        threading.Thread(target=self._receive, args=(call,), daemon=True).start()

    def _receive(self, call: Any) -> None:
        """Reads outputs from a stream that is opened until it stands.

        BMv2 turns it away, and reads nothing of it, until its main thread has noticed the program: what was sent is
        kept until something has come out, and sent again on the next stream.
        """
        while True:
            with self._sending:
                self._inputs = queue.Queue()
                for request in self._early or []:
                    self._inputs.put(request)
                stream = call(iter(self._inputs.get, None))
            self._streams.append(stream)
            try:
                for message in stream:
                    self._early = None
                    self._outputs.put((message.port, message.packet))
                self._ended = "the switch closed it"
            except grpc.RpcError as error:
                self._inputs.put(None)
                if self._early is not None and error.code() is grpc.StatusCode.UNAVAILABLE and self._runs():
                    time.sleep(PAUSE_S)
                    continue
                self._ended = f"{error.code().name}: {error.details()}"
            return

    def _runs(self) -> bool:
        return self._process.poll() is None

    # Packets ---------------------------------------------------------------------------------------------------------

    def send(self, port: int, packet: bytes) -> None:
        request = PacketStreamRequest(device_id=DEVICE, port=port, packet=packet)
        with self._sending:
            if self._early is not None:
                self._early.append(request)
            self._inputs.put(request)

    def collect(self, count: int, linger_s: float = 0.004) -> list[tuple[int, bytes]]:
        """`count` outputs, or fewer if they do not come, and what follows them immediately."""
        result: list[tuple[int, bytes]] = []
        while len(result) < count:
            try:
                result.append(self._outputs.get(timeout=ANSWER_S))
            except queue.Empty:
                assert self._ended is None, f"the packet stream has ended: {self._ended}"
                return result
        while True:
            try:
                result.append(self._outputs.get(timeout=linger_s))
            except queue.Empty:
                return result

    # Control plane ---------------------------------------------------------------------------------------------------

    def apply(self, setup: Sequence[Setup]) -> None:
        for step in setup:
            request = p4r.WriteRequest(device_id=DEVICE, election_id=self._election)
            update = request.updates.add(type=p4r.Update.INSERT)
            if isinstance(step, Insert):
                self._table_entry(update.entity.table_entry, step)
            elif isinstance(step, Default):
                update.type = p4r.Update.MODIFY
                entry = update.entity.table_entry
                entry.table_id = self._id("tables", step.table)
                entry.is_default_action = True
                self._action(entry.action.action, step.action)
            elif isinstance(step, Group):
                group = update.entity.packet_replication_engine_entry.multicast_group_entry
                group.multicast_group_id = step.id
                for port, instance in step.replicas:
                    group.replicas.add(egress_port=port, instance=instance)
            elif isinstance(step, Clone):
                session = update.entity.packet_replication_engine_entry.clone_session_entry
                session.session_id = step.id
                for port, instance in step.replicas:
                    session.replicas.add(egress_port=port, instance=instance)
            elif isinstance(step, Meter):
                update.type = p4r.Update.MODIFY
                meter = update.entity.meter_entry
                meter.meter_id = self._id("meters", step.meter)
                meter.index.index = step.index
                for name in ("cir", "cburst", "pir", "pburst"):
                    setattr(meter.config, name, getattr(step, name))
            self._stub.Write(request)

    def _id(self, kind: str, name: str) -> int:
        return next(i.preamble.id for i in getattr(self.p4info, kind) if i.preamble.name == name)

    def _action(self, message: Any, action: ActionCall) -> None:
        message.action_id = self._id("actions", action.name)
        for number, value in enumerate(action.params, 1):
            message.params.add(param_id=number, value=_canonical(value))

    def _table_entry(self, entry: Any, step: Insert) -> None:
        entry.table_id = self._id("tables", step.table)
        entry.priority = step.priority
        table = next(t for t in self.p4info.tables if t.preamble.name == step.table)
        for field, part in zip(table.match_fields, step.key, strict=True):
            ones = (1 << field.bitwidth) - 1
            mask = int.from_bytes(part.mask, "big") if part.mask is not None else 0
            value = _canonical(part.value)
            kind = field.match_type
            if kind == p4i.MatchField.EXACT:
                entry.match.add(field_id=field.id).exact.value = value
            elif kind == p4i.MatchField.LPM and part.prefix_len:
                match = entry.match.add(field_id=field.id).lpm
                match.value, match.prefix_len = value, part.prefix_len
            elif kind == p4i.MatchField.TERNARY and mask:
                match = entry.match.add(field_id=field.id).ternary
                match.value, match.mask = value, _canonical(part.mask or b"")
            elif kind == p4i.MatchField.OPTIONAL and mask:
                entry.match.add(field_id=field.id).optional.value = value
            elif kind == p4i.MatchField.RANGE and (mask != ones or int.from_bytes(part.value, "big")):
                match = entry.match.add(field_id=field.id).range
                match.low, match.high = value, _canonical(part.mask or b"")
        self._action(entry.action.action, step.action)
        if step.meter is not None:
            for name in ("cir", "cburst", "pir", "pburst"):
                setattr(entry.meter_config, name, getattr(step.meter, name))

    def counter(self, name: str) -> list[CounterValue]:
        """All cells of an indexed counter."""
        request = p4r.ReadRequest(device_id=DEVICE)
        request.entities.add().counter_entry.counter_id = self._id("counters", name)
        cells = [e.counter_entry for r in self._stub.Read(request) for e in r.entities]
        cells.sort(key=lambda c: c.index.index)
        return [CounterValue(c.data.packet_count, c.data.byte_count) for c in cells]
