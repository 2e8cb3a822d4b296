# SPDX-License-Identifier: Apache-2.0
"""A P4 program, compiled and loaded, with its tables, state and ports.

State and threads: one data-plane thread a switch runs every packet to completion, batch by batch, and holds the
switch's lock for one batch. Calls of the control plane take the same lock: packets see each change whole, between two
batches. So whatever an action reads and writes, or two actions of one pipeline, is atomic, and two packets of one flow
are committed in the order in which they came. `process` runs a packet in the calling thread under the same lock.

Where BMv2 is undefined or ends the process, this engine goes on, and counts (see STATISTICS): an index outside of a
register, counter or meter is ignored and leaves the destination of a read alone; a header stack index out of range
reads zero and writes nothing; a division by zero gives zero; a failed assert or assume drops the packet; a lookahead
behind the end is PacketTooShort.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from p4softswitch.bmv2json import Program, load_program
from p4softswitch.bmv2json.program import Action, Table
from p4softswitch.codegen import translate
from p4softswitch.engine import binding
from p4softswitch.engine.codec import TableCodec, format_message
from p4softswitch.engine.compiler import build
from p4softswitch.engine.profiles import ProfileCalls
from p4softswitch.engine_api import (
    Action as EntryAction,
)
from p4softswitch.engine_api import (
    ActionCall,
    CounterValue,
    EngineError,
    EntryExists,
    KeyPart,
    MeterRates,
    NoSuchEntry,
    Replica,
    TableEntry,
    TableFull,
)
from p4softswitch.runtime.names import PORT_STATISTICS, STATISTICS
from p4softswitch.unfinished import UnfinishedFrames

_LOG = logging.getLogger(__name__)

_WAIT_MS = 500
_T = TypeVar("_T")


@dataclass(frozen=True)
class EngineConfig:
    """How to build and run a program.

    cpu_port: where packet-ins leave and packet-outs enter; an ordinary port for the engine. cache: directory of
    compiled programs, by default in XDG_CACHE_HOME. extra_cflags: for instance ("-fsanitize=address,undefined", "-g").
    output_limit: bytes of frames that in-process ports hold for a reader that is late; beyond it they are lost and
    counted. clock_start_ns: what the timestamps count from, in nanoseconds of CLOCK_BOOTTIME; by default the
    moment of loading. A switch passes the start of its process: a pipeline push must not set its clock back.
    """

    cpu_port: int | None = None
    drop_port: int = 511
    cache: Path | None = None
    extra_cflags: tuple[str, ...] = ()
    output_limit: int = 64 << 20
    log_messages: bool = False
    clock_start_ns: int | None = None


def load(json_bytes: bytes, *, config: EngineConfig) -> CompiledEngine:
    """Translate, compile (unless cached) and load the JSON that p4c wrote for BMv2.

    Raises UnsupportedProgram, naming construct and place; CompilerError without a C compiler; EngineError where the
    system does not load what the compiler made.
    """
    program = load_program(json_bytes)
    translation = translate(program)
    path = build(translation.source, cache=config.cache, extra_flags=config.extra_cflags)
    try:
        library = binding.load_library(path)
    except EngineError:
        path.unlink(missing_ok=True)  # else it would be found again, also by who has mended the compiler
        raise
    return CompiledEngine(program, library, translation.messages, config)


class CompiledEngine:
    """Implements engine_api.Engine. Thread-safe, except that start and stop belong to one owner."""

    def __init__(self, program: Program, library: ctypes.CDLL, messages: tuple[str, ...], config: EngineConfig) -> None:
        self.program = program
        self.config = config
        self._lib = library
        self._messages = messages
        self._handle = library.p4_create(
            config.drop_port, config.output_limit, secrets.randbits(64), int(config.log_messages)
        )
        if not self._handle:
            raise EngineError("not enough memory for the program's tables and registers")
        if config.clock_start_ns is not None:
            library.p4_clock_start(self._handle, config.clock_start_ns)
        self._finalizer = weakref.finalize(self, library.p4_destroy, self._handle)
        self._codecs = {t.name: TableCodec(t, program.actions) for t in program.tables}
        self._counters = {c.name: c for c in program.counters}
        self._meters = {m.name: m for m in program.meters}
        self._registers = {r.name: r for r in program.registers}
        profiles = ProfileCalls(program, library, self._handle, self._check)
        self.profile_members_set = profiles.members_set
        self.profile_member_delete = profiles.member_delete
        self.profile_group_set = profiles.group_set
        self.profile_group_delete = profiles.group_delete
        self._sinks: dict[int, Callable[[bytes], None]] = {}
        self._digest_sink: Callable[[str, bytes], None] | None = None
        self._ports: set[int] = set()
        self._unfinished = UnfinishedFrames()
        self._dispatcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._insert_const_entries()

    # Tables ----------------------------------------------------------------------------------------------------------

    def _codec(self, table: str) -> TableCodec:
        try:
            return self._codecs[table]
        except KeyError:
            raise EngineError(f"there is no table {table}") from None

    def _insert_const_entries(self) -> None:
        for codec in self._codecs.values():
            for entry in codec.table.entries:
                self._change("p4_table_insert", codec, *codec.const_entry(entry))

    def _change(
        self, function: str, codec: TableCodec, key: Sequence[KeyPart], priority: int, action: EntryAction | None
    ) -> None:
        arguments = list(codec.key(key, priority))
        if action is not None:
            arguments += codec.entry_content(action, self.now())
        result = getattr(self._lib, function)(self._handle, codec.table.index, *arguments)
        self._check(result, codec.table.name)

    @staticmethod
    def _check(result: int, name: str) -> None:
        if result == binding.FULL:
            raise TableFull(f"{name} is full")
        if result == binding.EXISTS:
            raise EntryExists(f"{name} has that entry already")
        if result == binding.NONE:
            raise NoSuchEntry(f"{name} has no such entry")
        if result < 0:
            raise EngineError(f"{name}: not enough memory")

    def _mutable(self, table: str) -> TableCodec:
        codec = self._codec(table)
        if codec.table.immutable:
            raise EngineError(f"the entries of {table} are constant")
        if not codec.table.key:
            raise EngineError(f"{table} has no key, only a default action")
        return codec

    def table_insert(self, table: str, key: Sequence[KeyPart], priority: int, action: EntryAction) -> None:
        """Add an entry. Raises EntryExists, TableFull."""
        self._change("p4_table_insert", self._mutable(table), key, priority, action)

    def table_modify(self, table: str, key: Sequence[KeyPart], priority: int, action: EntryAction) -> None:
        """Change action and parameters of an entry; its counter and meter stay. Raises NoSuchEntry."""
        self._change("p4_table_modify", self._mutable(table), key, priority, action)

    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None:
        """Remove an entry, and its counter and meter with it. Raises NoSuchEntry."""
        self._change("p4_table_delete", self._mutable(table), key, priority, None)

    def table_entries(self, table: str) -> list[TableEntry]:
        """All entries, constant ones too, in the order of the table's slots."""
        codec = self._codec(table)
        index = codec.table.index
        stride = self._lib.p4_table_stride(self._handle, index)
        room = self._lib.p4_table_count(self._handle, index) + 64
        while True:
            buffer = ctypes.create_string_buffer(int(room * stride))
            count = self._lib.p4_table_dump(self._handle, index, buffer, room)
            if count < room:
                data = buffer.raw
                return [codec.entry(data, i * stride) for i in range(count)]
            room *= 2

    def table_get_default(self, table: str) -> ActionCall:
        """The default action. A table for which p4c wrote none runs NoAction."""
        codec = self._codec(table)
        buffer = ctypes.create_string_buffer(int(self._lib.p4_table_stride(self._handle, codec.table.index)))
        self._lib.p4_table_default_get(self._handle, codec.table.index, buffer)
        return codec.entry_action(buffer.raw, 0)

    def table_set_default(self, table: str, action: ActionCall | None) -> None:
        """Change the default action; None restores that of the program."""
        codec = self._codec(table)
        default = codec.table.default
        if action is None:
            action = codec.program_default()
        elif default is not None and default.const_entry:
            raise EngineError(f"the default action of {table} is constant")
        elif default is not None and default.const_action and self._action_of(codec.table, action) != default.action:
            raise EngineError(f"the default action of {table} is constant, only its parameters are not")
        number, words, count = codec.action(action)
        self._lib.p4_table_default_set(self._handle, codec.table.index, number, words, count)

    def _action_of(self, table: Table, call: ActionCall) -> int | None:
        actions: list[Action] = [self.program.actions[a] for a in table.actions]
        return next((a.id for a in actions if a.name == call.name), None)

    # Direct counters and meters --------------------------------------------------------------------------------------

    def direct_counter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> CounterValue:
        """Raises NoSuchEntry."""
        return self._direct_counter(table, key, priority, None)

    def direct_counter_write(self, table: str, key: Sequence[KeyPart], priority: int, value: CounterValue) -> None:
        """Raises NoSuchEntry."""
        self._direct_counter(table, key, priority, value)

    def _direct_counter(
        self, table: str, key: Sequence[KeyPart], priority: int, value: CounterValue | None
    ) -> CounterValue:
        codec = self._codec(table)
        if not codec.table.with_counters:
            raise EngineError(f"{table} has no direct counter")
        pair = (ctypes.c_uint64 * 2)(*((value.packets, value.bytes) if value is not None else (0, 0)))
        arguments = codec.key(key, priority)
        result = self._lib.p4_entry_counter(self._handle, codec.table.index, *arguments, int(value is not None), pair)
        self._check(result, table)
        return CounterValue(pair[0], pair[1])

    def entry_idle_us(self, table: str, key: Sequence[KeyPart], priority: int) -> int:
        """Microseconds since an entry of a table with idle timeouts was hit, or written. Raises NoSuchEntry."""
        codec = self._codec(table)
        if not codec.table.idle_timeout:
            raise EngineError(f"{table} has no idle timeouts")
        idle = ctypes.c_uint64()
        arguments = codec.key(key, priority)
        self._check(self._lib.p4_entry_idle(self._handle, codec.table.index, *arguments, ctypes.byref(idle)), table)
        return idle.value

    def direct_meter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> MeterRates | None:
        """None: not configured, every packet is green. Raises NoSuchEntry."""
        return self._direct_meter(table, key, priority, 0, None)

    def direct_meter_write(self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None) -> None:
        """None removes the configuration. Raises NoSuchEntry."""
        self._direct_meter(table, key, priority, 2 if rates is None else 1, rates)

    def _direct_meter(
        self, table: str, key: Sequence[KeyPart], priority: int, mode: int, rates: MeterRates | None
    ) -> MeterRates | None:
        codec = self._codec(table)
        if codec.table.meter is None:
            raise EngineError(f"{table} has no direct meter")
        four = _rates_array(rates)
        arguments = codec.key(key, priority)
        result = self._lib.p4_entry_meter(self._handle, codec.table.index, *arguments, mode, four)
        self._check(result, table)
        return _rates(four) if result == 1 else None

    # Arrays ----------------------------------------------------------------------------------------------------------

    def counter_size(self, counter: str) -> int:
        return _named(self._counters, counter, "counter").size

    def counter_read(self, counter: str, index: int) -> CounterValue:
        return self._counter(counter, index, None)

    def counter_write(self, counter: str, index: int, value: CounterValue) -> None:
        self._counter(counter, index, value)

    def _counter(self, counter: str, index: int, value: CounterValue | None) -> CounterValue:
        array = _named(self._counters, counter, "counter")
        pair = (ctypes.c_uint64 * 2)(*((value.packets, value.bytes) if value is not None else (0, 0)))
        if index < 0:
            raise NoSuchEntry(f"{counter} has no cell {index}")
        result = self._lib.p4_counter(self._handle, array.index, index, int(value is not None), pair)
        self._check(result, f"{counter}[{index}]")
        return CounterValue(pair[0], pair[1])

    def meter_size(self, meter: str) -> int:
        return _named(self._meters, meter, "meter").size

    def meter_read(self, meter: str, index: int) -> MeterRates | None:
        return self._meter(meter, index, 0, None)

    def meter_write(self, meter: str, index: int, rates: MeterRates | None) -> None:
        self._meter(meter, index, 2 if rates is None else 1, rates)

    def _meter(self, meter: str, index: int, mode: int, rates: MeterRates | None) -> MeterRates | None:
        array = _named(self._meters, meter, "meter")
        if index < 0:
            raise NoSuchEntry(f"{meter} has no cell {index}")
        four = _rates_array(rates)
        result = self._lib.p4_meter(self._handle, array.index, index, mode, four)
        self._check(result, f"{meter}[{index}]")
        return _rates(four) if result == 1 else None

    def register_read(self, register: str, index: int) -> int:
        """Value of a register cell: for tests and debugging, P4Runtime on BMv2 cannot do it."""
        array = _named(self._registers, register, "register")
        buffer = ctypes.create_string_buffer(16)
        self._check(self._lib.p4_register(self._handle, array.index, index, 0, buffer), f"{register}[{index}]")
        return int.from_bytes(buffer.raw, "little")

    def register_write(self, register: str, index: int, value: int) -> None:
        """See register_read."""
        array = _named(self._registers, register, "register")
        if not 0 <= value < 1 << array.width:
            raise EngineError(f"{register}: {value} does not fit into {array.width} bits")
        data = ctypes.create_string_buffer(value.to_bytes(16, "little"), 16)
        self._check(self._lib.p4_register(self._handle, array.index, index, 1, data), f"{register}[{index}]")

    # Replication -----------------------------------------------------------------------------------------------------

    def multicast_group_set(self, group_id: int, replicas: Sequence[Replica]) -> None:
        """Create or replace. Group ids 1..65535."""
        result = self._lib.p4_group(self._handle, group_id, _replicas(replicas), len(replicas), 1)
        self._check(result, f"multicast group {group_id}")

    def multicast_group_delete(self, group_id: int) -> None:
        """Raises NoSuchEntry."""
        self._check(self._lib.p4_group(self._handle, group_id, b"", 0, 0), f"multicast group {group_id}")

    def clone_session_set(self, session_id: int, replicas: Sequence[Replica], truncate_bytes: int) -> None:
        """Create or replace. Session ids 0..32767. truncate_bytes 0: clones are sent whole."""
        result = self._lib.p4_session(self._handle, session_id, _replicas(replicas), len(replicas), truncate_bytes, 1)
        self._check(result, f"clone session {session_id}")

    def clone_session_delete(self, session_id: int) -> None:
        """Raises NoSuchEntry."""
        self._check(self._lib.p4_session(self._handle, session_id, b"", 0, 0, 0), f"clone session {session_id}")

    # Packets ---------------------------------------------------------------------------------------------------------

    def inject(self, port: int, packet: bytes) -> None:
        """Hand a packet to the ingress pipeline as if it had arrived on the port. Waits while the queue is full."""
        result = self._lib.p4_inject(self._handle, port, packet, len(packet))
        if result == binding.FULL:
            raise EngineError("the input queue is full and the engine does not run")
        if result < 0:
            raise EngineError(f"port {port}: no such port, or a frame of {len(packet)} bytes is too long")

    def process(self, port: int, packet: bytes) -> list[tuple[int, bytes]]:
        """Run one packet to its end in the calling thread: (port, frame) of everything that came out, in order.

        Frames go to no sink and no interface, whatever is attached. Digests go to the digest sink.
        """
        out = ctypes.c_void_p()
        used = self._lib.p4_process(self._handle, port, packet, len(packet), ctypes.byref(out))
        data = ctypes.string_at(out.value, used) if used and out.value else b""
        frames = []
        for kind, number, body in binding.records(data):
            if kind == binding.RECORD_PACKET:
                frames.append((number, body))
            else:
                self._dispatch(kind, number, body)
        return frames

    def set_packet_sink(self, port: int, sink: Callable[[bytes], None] | None) -> None:
        """Frames sent to the (in-process) port go to the callable, from a thread of the engine's."""
        if sink is None:
            self._sinks.pop(port, None)
        else:
            self._sinks[port] = sink

    def set_digest_sink(self, sink: Callable[[str, bytes], None] | None) -> None:
        """Digests go to the callable as (name of the list, its fields, each in whole bytes, big-endian)."""
        self._digest_sink = sink

    def _dispatch(self, kind: int, number: int, body: bytes) -> None:
        """A sink that fails must not stop the others."""
        try:
            if kind == binding.RECORD_PACKET:
                sink = self._sinks.get(number)
                if sink is not None:
                    sink(body)
            elif kind == binding.RECORD_DIGEST:
                learn = self.program.learn_lists.get(number)
                if self._digest_sink is not None and learn is not None:
                    self._digest_sink(learn.name, body)
            elif kind == binding.RECORD_PORT:
                self._unfinished.tell(number, _port_counts(binding.numbers(body)))
            else:
                _LOG.info("%s", format_message(self._messages[number], body))
        except Exception:  # noqa: BLE001  (whatever the host's callable raises)
            _LOG.exception("a sink of port or digest %d failed", number)

    def _dispatch_loop(self) -> None:
        out = ctypes.c_void_p()
        while True:
            last = self._stopping.is_set()
            used = self._lib.p4_wait(self._handle, 0 if last else _WAIT_MS, ctypes.byref(out))
            data = ctypes.string_at(out.value, used) if used and out.value else b""
            for record in binding.records(data):
                self._dispatch(*record)
            if last and not used:
                return

    # Ports -----------------------------------------------------------------------------------------------------------

    def attach_interface(self, port: int, interface: str, pcap: str | None = None) -> None:
        """Frames of a network interface, promiscuous. Needs CAP_NET_RAW; raises PermissionError without."""
        self._attach(port, binding.PORT_INTERFACE, interface, "", pcap)

    def mark_port(self, port: int, mark: int) -> None:
        """What the port sends has this mark from now on (SO_MARK of socket(7)). Needs CAP_NET_ADMIN; raises OSError."""
        result = self._lib.p4_port_mark(self._handle, port, mark)
        if result < 0:
            raise OSError(-result, f"port {port}: {os.strerror(-result)}")

    def attach_socket(self, port: int, local_path: str, peer_path: str, pcap: str | None = None) -> None:
        """UNIX datagram socket: receives at local_path, one frame a datagram, sends to peer_path."""
        self._attach(port, binding.PORT_SOCKET, local_path, peer_path, pcap)

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        """In-process port: `inject` and `set_packet_sink` only."""
        self._attach(port, binding.PORT_SINK, "", "", pcap)

    def _attach(self, port: int, kind: int, first: str, second: str, pcap: str | None) -> None:
        encoded = [os.fsencode(text) for text in (first, second, pcap or "")]
        if port < 0:
            raise EngineError(f"there is no port {port}")
        if port not in self._ports:
            self._unfinished.opened(port, first)  # before frames can come
        result = self._lib.p4_attach(self._handle, port, kind, *encoded)
        if result == -errno.EINVAL and (port == self.config.drop_port or port > 65535):
            raise EngineError(f"{port} is the drop port, or no port")
        if result < 0:
            raise OSError(-result, f"port {port}: {os.strerror(-result)}", first or None)
        self._ports.add(port)

    def detach(self, port: int) -> None:
        """Close the port; frames for it are lost, and counted, from now on."""
        if port not in self._ports:
            raise EngineError(f"port {port} is not attached")
        self._unfinished.closed(port, self.port_statistics(port))
        self._ports.discard(port)
        self._lib.p4_detach(self._handle, port)

    def start(self) -> None:
        """Start the data-plane thread and the one that calls the sinks."""
        if self._dispatcher is not None:
            return
        result = self._lib.p4_start(self._handle)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        self._stopping.clear()
        self._dispatcher = threading.Thread(target=self._dispatch_loop, name="p4-sinks", daemon=True)
        self._dispatcher.start()

    def stop(self) -> None:
        """Stop the threads and close the ports. Idempotent. Tables and counters stay readable."""
        self._lib.p4_stop(self._handle)
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            self._stopping.set()
            self._lib.p4_stop(self._handle)  # wakes it: what packets have left behind is still delivered
            if dispatcher is not threading.current_thread():
                dispatcher.join()
        for port in sorted(self._ports):
            with contextlib.suppress(EngineError):
                self.detach(port)

    # State -----------------------------------------------------------------------------------------------------------

    def reset_state(self, keep_entries: bool) -> None:
        """What a pipeline push does on BMv2: registers to zero; entries, groups, counters, meters too unless kept."""
        self._lib.p4_reset(self._handle, int(keep_entries))
        if not keep_entries:
            self._insert_const_entries()

    def statistics(self) -> dict[str, int]:
        """Counters of the engine itself: what came, went, was dropped, and what was undefined or lost."""
        values = (ctypes.c_uint64 * len(STATISTICS))()
        self._lib.p4_statistics(self._handle, values, len(STATISTICS))
        return dict(zip(STATISTICS, values, strict=True))

    def port_statistics(self, port: int) -> dict[str, int]:
        """Frames that came to a port unfinished, by what they lacked; see p4softswitch.unfinished."""
        values = (ctypes.c_uint64 * len(PORT_STATISTICS))()
        if self._lib.p4_port_statistics(self._handle, port, values, len(PORT_STATISTICS)) < 0:
            raise EngineError(f"port {port} is not attached")
        return _port_counts(values)

    def now(self) -> int:
        """Microseconds since the engine was made: the clock of the timestamps."""
        return int(self._lib.p4_now(self._handle))

    def set_clock(self, microseconds: int | None) -> None:
        """For tests: stop the clock at a time; None lets it run again."""
        self._lib.p4_clock(self._handle, int(microseconds is not None), microseconds or 0)

    def bench(self, port: int, packets: Sequence[bytes], rounds: int) -> tuple[int, int]:
        """Run all packets `rounds` times, in memory, outputs thrown away: (nanoseconds, frames that came out)."""
        frames = (ctypes.c_char_p * len(packets))(*packets)
        lengths = (ctypes.c_uint32 * len(packets))(*(len(p) for p in packets))
        sent = ctypes.c_uint64()
        taken = self._lib.p4_bench(self._handle, port, frames, lengths, len(packets), rounds, ctypes.byref(sent))
        return int(taken), sent.value


def _named(known: dict[str, _T], name: str, kind: str) -> _T:
    try:
        return known[name]
    except KeyError:
        raise EngineError(f"there is no {kind} {name}") from None


def _port_counts(values: Iterable[int]) -> dict[str, int]:
    return dict(zip(PORT_STATISTICS, values, strict=True))


def _rates_array(rates: MeterRates | None) -> ctypes.Array[ctypes.c_uint64]:
    if rates is None:
        return (ctypes.c_uint64 * 4)()
    if rates.pir < rates.cir:
        raise EngineError("the peak rate is below the committed rate")
    if min(rates.cir, rates.cburst, rates.pburst) < 0:
        raise EngineError("a negative rate or burst")
    return (ctypes.c_uint64 * 4)(rates.cir, rates.pir, rates.cburst, rates.pburst)


def _rates(four: ctypes.Array[ctypes.c_uint64]) -> MeterRates:
    return MeterRates(cir=four[0], cburst=four[2], pir=four[1], pburst=four[3])


def _replicas(replicas: Sequence[Replica]) -> bytes:
    return b"".join(r.port.to_bytes(4, "little") + r.instance.to_bytes(4, "little") for r in replicas)
