# SPDX-License-Identifier: Apache-2.0
"""Switches under test and a small synchronous P4Runtime client.

Three targets behind one interface: the server in this process with an engine in memory, the command `p4softswitch` with
its compiled engine, and BMv2's simple_switch_grpc. Each listens on UNIX sockets in a directory of its own; readiness is
the first answer on the socket.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from finsy.proto import p4i, p4r, p4r_grpc, rpc_status
from google.protobuf import text_format
from p4softswitch.engine_api import Engine
from p4softswitch.server import Switch, SwitchOptions
from p4softswitch.server.dataplane import PacketStreamRequest, PacketStreamResponse
from server_fake_engine import CPU_PORT, FakeEngine

PROGRAMS = Path(__file__).parent / "server_program"
DEVICE_ID = 1
TIMEOUT = 60.0
"""Seconds after which a switch that does not answer has failed the test; nothing waits for it to pass."""

Insert, Modify, Delete = p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE
Push = p4r.SetForwardingPipelineConfigRequest


@dataclass(frozen=True)
class Program:
    """A compiled program, and its ids by the last part of the name."""

    p4info: Any
    device_config: bytes

    @classmethod
    def load(cls, name: str) -> Program:
        """From `server_program`."""
        text = (PROGRAMS / f"{name}.p4info.txtpb").read_text()
        return cls(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / f"{name}.json").read_bytes())

    def id(self, name: str) -> int:
        """Id of a table, action, counter or meter."""
        kinds = ("tables", "actions", "counters", "direct_counters", "meters", "direct_meters")
        for kind in kinds:
            for item in getattr(self.p4info, kind):
                if item.preamble.name.rpartition(".")[2] == name:
                    return int(item.preamble.id)
        raise KeyError(name)

    def config(self, cookie: int | None = None) -> Any:
        """As p4.v1.ForwardingPipelineConfig."""
        config = p4r.ForwardingPipelineConfig(p4info=self.p4info, p4_device_config=self.device_config)
        if cookie is not None:
            config.cookie.cookie = cookie
        return config

    # Building entries: keys are (field id, {oneof: {...}}), see the tests.

    def action(self, name: str, *params: bytes) -> Any:
        """p4.v1.TableAction."""
        action = p4r.TableAction()
        action.action.action_id = self.id(name)
        for number, value in enumerate(params, 1):
            action.action.params.add(param_id=number, value=value)
        return action

    def entry(self, table: str, match: dict[int, dict[str, Any]], action: Any = None, **rest: Any) -> Any:
        """p4.v1.TableEntry."""
        entry = p4r.TableEntry(table_id=self.id(table), action=action, **rest)
        for number, kind in match.items():
            entry.match.add(field_id=number, **kind)
        return entry

    def forward(self, mac: bytes, action: Any = None, **rest: Any) -> Any:
        """An entry of the table `forward`."""
        return self.entry("forward", {1: {"exact": {"value": mac}}}, action, **rest)


def without_constant_table(program: Program) -> Program:
    """The p4info without the table of constant entries: what P4Runtime does not know is not reconciled."""
    p4info = p4i.P4Info()
    p4info.CopyFrom(program.p4info)
    kept = [table for table in p4info.tables if not table.is_const_table]
    del p4info.tables[:]
    p4info.tables.extend(kept)
    return Program(p4info, program.device_config)


def update(kind: Any, **entity: Any) -> Any:
    """p4.v1.Update of one entity, by its field name."""
    return p4r.Update(type=kind, entity=p4r.Entity(**entity))


def details(error: grpc.RpcError) -> Any:
    """google.rpc.Status of an error."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            return rpc_status.Status.FromString(value)
    raise AssertionError("the error has no details")


def update_codes(error: grpc.RpcError) -> list[int]:
    """Code of each update of a Write that failed."""
    codes = []
    for detail in details(error).details:
        item = p4r.Error()
        assert detail.Unpack(item)
        codes.append(item.canonical_code)
    return codes


def _channel(address: str) -> grpc.Channel:
    """Tries often to connect, since the switch may just be starting."""
    options = [("grpc.max_receive_message_length", -1)]
    options += [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]
    return grpc.insecure_channel(address, options=options)


class Controller:
    """One connection; a StreamChannel once `arbitrate` was called."""

    def __init__(self, address: str, device_id: int = DEVICE_ID, election_id: int = 1) -> None:
        self.device_id = device_id
        self.election_id: int | None = election_id
        self._channel = _channel(address)
        self.stub = p4r_grpc.P4RuntimeStub(self._channel)
        self.stub.Capabilities(p4r.CapabilitiesRequest(), wait_for_ready=True, timeout=TIMEOUT)
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stream: Any = None

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._out.put(None)
            self._stream.cancel()
        self._channel.close()

    # ------------------------------------------------------------------- stream

    def open(self) -> None:
        """Open the StreamChannel without saying anything."""
        self._stream = self.stub.StreamChannel(iter(self._out.get, None))
        threading.Thread(target=self._receive, args=(self._stream,), daemon=True).start()

    def _receive(self, stream: Any) -> None:
        try:
            for message in stream:
                self._in.put(message)
        except grpc.RpcError as error:
            self._in.put(error)
        else:
            self._in.put(None)

    def send(self, **message: Any) -> None:
        """A StreamMessageRequest."""
        self._out.put(p4r.StreamMessageRequest(**message))

    def end(self) -> None:
        """Stop sending: the stream ends, the connection stays."""
        self._out.put(None)

    def receive(self) -> Any:
        """The next StreamMessageResponse, or the error that ended the stream, or None at its end."""
        return self._in.get(timeout=TIMEOUT)

    def send_arbitration(self, election_id: int | None = None, device_id: int | None = None, **rest: Any) -> None:
        if election_id is not None:
            self.election_id = election_id
        assert self.election_id is not None
        number = p4r.Uint128(high=self.election_id >> 64, low=self.election_id & (2**64 - 1))
        device = self.device_id if device_id is None else device_id
        self.send(arbitration=p4r.MasterArbitrationUpdate(device_id=device, election_id=number, **rest))

    def arbitrate(self, election_id: int | None = None) -> Any:
        """Open the stream if needed, ask to be primary, and return the answer."""
        if self._stream is None:
            self.open()
        self.send_arbitration(election_id)
        message = self.receive()
        assert isinstance(message, p4r.StreamMessageResponse), message
        return message.arbitration

    def packet_in(self) -> Any:
        """The next message, which must be a packet-in."""
        message = self.receive()
        assert message.WhichOneof("update") == "packet", message
        return message.packet

    # -------------------------------------------------------------------- unary

    def _number(self) -> Any:
        if self.election_id is None:
            return None
        return p4r.Uint128(high=self.election_id >> 64, low=self.election_id & (2**64 - 1))

    def push(self, program: Program | None, action: Any = Push.VERIFY_AND_COMMIT, cookie: int | None = None) -> None:
        config = None if program is None else program.config(cookie)
        self.push_config(config, action)

    def push_config(self, config: Any, action: Any) -> None:
        self.stub.SetForwardingPipelineConfig(
            Push(device_id=self.device_id, election_id=self._number(), action=action, config=config), timeout=TIMEOUT
        )

    def get_config(self, response_type: Any = 0) -> Any:
        request = p4r.GetForwardingPipelineConfigRequest(device_id=self.device_id, response_type=response_type)
        return self.stub.GetForwardingPipelineConfig(request, timeout=TIMEOUT).config

    def write(self, *updates: Any, **rest: Any) -> None:
        self.stub.Write(
            p4r.WriteRequest(device_id=self.device_id, election_id=self._number(), updates=updates, **rest),
            timeout=TIMEOUT,
        )

    def codes(self, *updates: Any) -> list[int]:
        """Write, and the code of each update."""
        try:
            self.write(*updates)
        except grpc.RpcError as error:
            failed = error
        else:
            return [0] * len(updates)
        assert failed.code() is grpc.StatusCode.UNKNOWN, failed
        codes = update_codes(failed)
        assert len(codes) == len(updates)
        return codes

    def code(self, kind: Any, **entity: Any) -> int:
        """Write one update, and its code."""
        return self.codes(update(kind, **entity))[0]

    def read(self, **entity: Any) -> list[Any]:
        """Read one entity, by its field name; the entities found."""
        request = p4r.ReadRequest(device_id=self.device_id, entities=[p4r.Entity(**entity)])
        return [e for response in self.stub.Read(request, timeout=TIMEOUT) for e in response.entities]

    def read_code(self, **entity: Any) -> grpc.StatusCode:
        """The code with which a read fails."""
        try:
            self.read(**entity)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


class DataPort:
    """Client of the data-plane service."""

    def __init__(self, address: str) -> None:
        self._channel = _channel(address)
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in: queue.SimpleQueue[Any] = queue.SimpleQueue()
        call = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            PacketStreamRequest.SerializeToString,
            PacketStreamResponse.FromString,
        )
        self._stream = call(iter(self._out.get, None), wait_for_ready=True)
        self.ended: str | None = None
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            for message in self._stream:
                self._in.put(message)
            self.ended = "the switch closed it"
        except grpc.RpcError as error:
            self.ended = f"{error.code().name}: {error.details()}"
        self._in.put(None)

    def send(self, port: int, packet: bytes, device_id: int = DEVICE_ID) -> None:
        self._out.put(PacketStreamRequest(device_id=device_id, port=port, packet=packet))

    def receive(self) -> tuple[int, bytes]:
        """Port and bytes of the next packet."""
        message = self._in.get(timeout=TIMEOUT)
        assert message is not None, f"the stream has ended: {self.ended}"
        return message.port, message.packet

    def in_service(self) -> bool:
        """Wait for the first packet, and drop it; False if the stream ends instead."""
        return self._in.get(timeout=TIMEOUT) is not None

    def close(self) -> None:
        self._out.put(None)
        self._stream.cancel()
        self._channel.close()


OTHER = b"\x02\x00\x00\x00\x00\x99"
"""A destination that no test uses for anything else."""

MARKER = OTHER + b"\x02\x00\x00\x00\x00\x02" + b"\x08\x00" + bytes(50)


def connected_data_port(address: str) -> DataPort:
    """A stream that carries packets; OTHER must be forwarded to port 1."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        port = DataPort(address)
        port.send(2, MARKER)
        if port.in_service():
            return port
        port.close()
        assert time.monotonic() < deadline, f"the data-plane stream did not stand within {TIMEOUT:g} s: {port.ended}"
        time.sleep(0.02)


@dataclass
class Target:
    """A running switch."""

    name: str
    address: str
    data_address: str
    engines: list[FakeEngine]

    def controller(self, **rest: Any) -> Controller:
        return Controller(self.address, **rest)


def options_in(directory: Path) -> SwitchOptions:
    return SwitchOptions(
        grpc_address=f"unix:{directory / 'p4rt'}",
        dataplane_address=f"unix:{directory / 'data'}",
        device_id=DEVICE_ID,
        cpu_port=CPU_PORT,
    )


@contextlib.contextmanager
def fake_switch(
    directory: Path, options: SwitchOptions | None = None, program: bytes | None = None
) -> Iterator[Target]:
    """The server in this process, with an engine in memory."""
    engines: list[FakeEngine] = []

    def load(data: bytes) -> Engine:
        engine = FakeEngine(data)
        engines.append(engine)
        return engine

    options = options or options_in(directory)
    with Switch(load, options) as switch:
        switch.start(program)
        yield Target("fake", options.grpc_address, options.dataplane_address or "", engines)


@contextlib.contextmanager
def said_by(logger: str) -> Iterator[queue.SimpleQueue[str]]:
    """What a logger of the server says from now on, whichever thread of it does."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: said.put(record.getMessage())  # type: ignore[method-assign]
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.INFO)
    found.addHandler(handler)
    try:
        yield said
    finally:
        found.removeHandler(handler)
        found.setLevel(level)


@contextlib.contextmanager
def _process(name: str, command: Sequence[str], directory: Path) -> Iterator[Target]:
    arguments = ["--device-id", str(DEVICE_ID), "--no-p4", "--", "--grpc-server-addr", f"unix:{directory / 'p4rt'}"]
    arguments += ["--dp-grpc-server-addr", f"unix:{directory / 'data'}", "--cpu-port", str(CPU_PORT)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield Target(name, f"unix:{directory / 'p4rt'}", f"unix:{directory / 'data'}", [])
        assert process.poll() is None, f"{name} died ({process.poll()}): {(directory / 'log').read_text()}"
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def engine_missing() -> str | None:
    """Why the compiled engine cannot be tested, if it cannot."""
    try:
        import p4softswitch.engine.engine  # noqa: F401
    except ImportError as error:
        return f"no engine: {error}"
    return None


def start(name: str, directory: Path) -> contextlib.AbstractContextManager[Target]:
    """A target by name: fake, engine or bmv2."""
    if name == "fake":
        return fake_switch(directory)
    if name == "engine":
        return _process(name, [sys.executable, "-m", "p4softswitch.cli"], directory)
    path = shutil.which("simple_switch_grpc")
    assert path is not None
    return _process(name, [path], directory)


def missing(name: str) -> str | None:
    """Why a target cannot be tested here, if it cannot."""
    if name == "engine":
        return engine_missing()
    if name == "bmv2" and shutil.which("simple_switch_grpc") is None:
        return "simple_switch_grpc is not on PATH"
    return None
