# SPDX-License-Identifier: Apache-2.0
"""A small synchronous P4Runtime client: one primary, blocking calls, packet-ins in a queue."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

import grpc
from finsy.proto import p4r, p4r_grpc, rpc_code, rpc_status

Message = TypeVar("Message")

ELECTION_ID = 1
ANSWER_SECONDS = 30.0  # no call takes a tenth of it; what takes longer is broken


class WriteRefused(Exception):
    """A write that failed in part or whole. `codes`: one gRPC status code name for each update, "OK" included."""

    def __init__(self, codes: list[str], text: str) -> None:
        super().__init__(f"{codes}: {text}")
        self.codes = codes


def unix_channel(path: str) -> grpc.Channel:
    """A channel to a UNIX socket, for messages as large as a compiled program."""
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(f"unix:{path}", options=unlimited)


class P4Runtime:
    """A session with one switch. Raises grpc.RpcError for refused calls, WriteRefused for refused updates."""

    def __init__(self, path: str, device_id: int = 1) -> None:
        self.device_id = device_id
        self._channel = unix_channel(path)
        self._stub = p4r_grpc.P4RuntimeStub(self._channel)
        self._requests: queue.SimpleQueue[p4r.StreamMessageRequest | None] = queue.SimpleQueue()
        self._arrived = threading.Condition()
        self._packet_ins: deque[p4r.PacketIn] = deque()
        self._other: deque[p4r.StreamMessageResponse] = deque()
        self._ended: str | None = None
        self._stream = self._stub.StreamChannel(self._outgoing())
        self._reader = threading.Thread(target=self._read_stream, name="p4runtime-stream", daemon=True)
        self._reader.start()
        arbitration = p4r.StreamMessageRequest()
        arbitration.arbitration.device_id = device_id
        arbitration.arbitration.election_id.low = ELECTION_ID
        self._requests.put(arbitration)
        answer = self._next(self._other)
        if answer.arbitration.status.code != rpc_code.OK:
            raise RuntimeError(f"not the primary: {answer}")

    def close(self) -> None:
        self._requests.put(None)
        self._stream.cancel()
        self._reader.join(ANSWER_SECONDS)
        self._channel.close()

    # Pipeline

    def push_pipeline(self, action: str, p4info: Any, device_config: bytes) -> None:
        """action: VERIFY, VERIFY_AND_SAVE, VERIFY_AND_COMMIT, COMMIT or RECONCILE_AND_COMMIT."""
        request = p4r.SetForwardingPipelineConfigRequest(
            device_id=self.device_id, action=p4r.SetForwardingPipelineConfigRequest.Action.Value(action)
        )
        request.election_id.low = ELECTION_ID
        if p4info is not None:
            request.config.p4info.CopyFrom(p4info)
            request.config.p4_device_config = device_config
        self._stub.SetForwardingPipelineConfig(request, timeout=60.0)

    # Entities

    def write(self, updates: list[p4r.Update]) -> None:
        request = p4r.WriteRequest(device_id=self.device_id, updates=updates)
        request.election_id.low = ELECTION_ID
        try:
            self._stub.Write(request, timeout=60.0)
        except grpc.RpcError as error:
            raise WriteRefused(_update_codes(error, len(updates)), error.details()) from error

    def read(self, entities: list[p4r.Entity]) -> list[p4r.Entity]:
        request = p4r.ReadRequest(device_id=self.device_id, entities=entities)
        return [entity for answer in self._stub.Read(request, timeout=60.0) for entity in answer.entities]

    # Packets

    def packet_out(self, packet: p4r.PacketOut) -> None:
        self._requests.put(p4r.StreamMessageRequest(packet=packet))

    def next_packet_in(self, timeout: float = ANSWER_SECONDS) -> p4r.PacketIn:
        return self._next(self._packet_ins, timeout)

    def stream_errors(self) -> list[p4r.StreamMessageResponse]:
        """What else came on the stream, for instance a refused packet-out; taken out of the queue."""
        with self._arrived:
            found = list(self._other)
            self._other.clear()
        return found

    def _next(self, source: deque[Message], timeout: float = ANSWER_SECONDS) -> Message:
        deadline = time.monotonic() + timeout
        with self._arrived:
            while not source:
                if self._ended is not None:
                    raise RuntimeError(f"the P4Runtime stream ended: {self._ended}")
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"nothing on the P4Runtime stream for {timeout} s")
            return source.popleft()

    def _outgoing(self) -> Iterator[p4r.StreamMessageRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read_stream(self) -> None:
        try:
            for message in self._stream:
                with self._arrived:
                    if message.HasField("packet"):
                        self._packet_ins.append(message.packet)
                    else:
                        self._other.append(message)
                    self._arrived.notify_all()
            reason = "the server closed it"
        except grpc.RpcError as error:
            reason = str(error)
        with self._arrived:
            self._ended = reason
            self._arrived.notify_all()


def _update_codes(error: grpc.RpcError, count: int) -> list[str]:
    """The status of each update, out of the details that P4Runtime sends along (specification 12.3)."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = rpc_status.Status.FromString(value).details
            parsed = [p4r.Error.FromString(detail.value) for detail in details]
            if len(parsed) == count:
                return [rpc_code.Code.Name(one.canonical_code) for one in parsed]
    return [error.code().name] * count
