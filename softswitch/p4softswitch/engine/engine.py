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
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from p4softswitch.bmv2json import Program, load_program
from p4softswitch.codegen import translate
from p4softswitch.engine import binding, cache, prebuilt
from p4softswitch.engine.artifact import Recipe
from p4softswitch.engine.codec import format_message
from p4softswitch.engine.command import Interrupt
from p4softswitch.engine.ports import EnginePorts, port_counts
from p4softswitch.engine.profiles import ProfileCalls
from p4softswitch.engine.state import EngineState, check, named
from p4softswitch.engine_api import EngineError, ReleasedPort, Replica
from p4softswitch.runtime.names import STATISTICS

_LOG = logging.getLogger(__name__)

_WAIT_MS = 500


@dataclass(frozen=True)
class EngineConfig:
    """How to build and run a program.

    cpu_port: where packet-ins leave and packet-outs enter; an ordinary port for the engine. cache: directory of
    compiled programs, by default in XDG_CACHE_HOME. programs: directory of programs that were compiled elsewhere; with
    it nothing is compiled. extra_cflags: for instance ("-fsanitize=address,undefined", "-g").
    output_limit: bytes of frames that in-process ports hold for a reader that is late; beyond it they are lost and
    counted. clock_start_ns: what the timestamps count from, in nanoseconds of CLOCK_BOOTTIME; by default the
    moment of loading. A switch passes the start of its process: a pipeline push must not set its clock back.
    interrupt: ends a compilation that runs.
    """

    cpu_port: int | None = None
    drop_port: int = 511
    cache: Path | None = None
    programs: Path | None = None
    extra_cflags: tuple[str, ...] = ()
    output_limit: int = 64 << 20
    log_messages: bool = False
    clock_start_ns: int | None = None
    interrupt: Interrupt | None = None


def load(json_bytes: bytes, *, config: EngineConfig) -> CompiledEngine:
    """Translate, compile (unless that was done before) and load the JSON that p4c wrote for BMv2.

    Raises UnsupportedProgram, naming construct and place; CompilerError without a C compiler; UnsafePath where others
    could have put a compiled program; EngineError where the system does not load what the compiler made.
    """
    program = load_program(json_bytes)
    translation = translate(program)
    recipe = Recipe.of(translation.source, config.extra_cflags)
    built = prebuilt.find(recipe, config.programs)
    if built is not None:
        library = binding.load_library(built.library, built.path)
    else:
        built = cache.build(translation.source, recipe, cache=config.cache, interrupt=config.interrupt)
        try:
            library = binding.load_library(built.library, built.path)
        except EngineError:
            cache.discard(built)
            raise
    return CompiledEngine(program, library, translation.messages, config)


def compile_for_others(json_bytes: bytes, output: Path, *, interrupt: Interrupt | None = None) -> Path:
    """Compile the JSON that p4c wrote for BMv2, for hosts without a compiler; the file that was made in `output`.

    Raises UnsupportedProgram, CompilerError, OSError.
    """
    return prebuilt.compile_into(translate(load_program(json_bytes)).source, output, interrupt=interrupt)


class CompiledEngine(EngineState):
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
        self._registers = {r.name: r for r in program.registers}
        profiles = ProfileCalls(program, library, self._handle, check)
        self.profile_members_set = profiles.members_set
        self.profile_member_delete = profiles.member_delete
        self.profile_group_set = profiles.group_set
        self.profile_group_delete = profiles.group_delete
        self._sinks: dict[int, Callable[[bytes], None]] = {}
        self._digest_sink: Callable[[str, bytes], None] | None = None
        self._ports = EnginePorts(library, self._handle, config.drop_port)
        self._dispatcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._open_tables(program)

    # Registers -------------------------------------------------------------------------------------------------------

    def register_read(self, register: str, index: int) -> int:
        """Value of a register cell: for tests and debugging, P4Runtime on BMv2 cannot do it."""
        array = named(self._registers, register, "register")
        buffer = ctypes.create_string_buffer(16)
        check(self._lib.p4_register(self._handle, array.index, index, 0, buffer), f"{register}[{index}]")
        return int.from_bytes(buffer.raw, "little")

    def register_write(self, register: str, index: int, value: int) -> None:
        """See register_read."""
        array = named(self._registers, register, "register")
        if not 0 <= value < 1 << array.width:
            raise EngineError(f"{register}: {value} does not fit into {array.width} bits")
        data = ctypes.create_string_buffer(value.to_bytes(16, "little"), 16)
        check(self._lib.p4_register(self._handle, array.index, index, 1, data), f"{register}[{index}]")

    # Replication -----------------------------------------------------------------------------------------------------

    def multicast_group_set(self, group_id: int, replicas: Sequence[Replica]) -> None:
        """Create or replace. Group ids 1..65535."""
        result = self._lib.p4_group(self._handle, group_id, _replicas(replicas), len(replicas), 1)
        check(result, f"multicast group {group_id}")

    def multicast_group_delete(self, group_id: int) -> None:
        """Raises NoSuchEntry."""
        check(self._lib.p4_group(self._handle, group_id, b"", 0, 0), f"multicast group {group_id}")

    def clone_session_set(self, session_id: int, replicas: Sequence[Replica], truncate_bytes: int) -> None:
        """Create or replace. Session ids 0..32767. truncate_bytes 0: clones are sent whole."""
        result = self._lib.p4_session(self._handle, session_id, _replicas(replicas), len(replicas), truncate_bytes, 1)
        check(result, f"clone session {session_id}")

    def clone_session_delete(self, session_id: int) -> None:
        """Raises NoSuchEntry."""
        check(self._lib.p4_session(self._handle, session_id, b"", 0, 0, 0), f"clone session {session_id}")

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
                self._ports.losses.tell(number, port_counts(binding.numbers(body)))
            elif kind == binding.RECORD_MISSED:
                self._ports.losses.missed(number, binding.numbers(body)[0])
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

    def attach_interface(self, port: int, interface: str, pcap: str | None = None, *, opened: bool = True) -> None:
        """Frames of a network interface, promiscuous. Needs CAP_NET_RAW; raises PermissionError without.

        opened: False leaves the port without it, until `open_port`.
        """
        self._attach(port, binding.PORT_INTERFACE, interface, "", pcap, opened)

    def mark_port(self, port: int, mark: int) -> None:
        """What the port sends has this mark from now on (SO_MARK of socket(7)). Needs CAP_NET_ADMIN; raises OSError."""
        result = self._lib.p4_port_mark(self._handle, port, mark)
        if result < 0:
            raise OSError(-result, f"port {port}: {os.strerror(-result)}")

    def attach_socket(
        self, port: int, local_path: str, peer_path: str, pcap: str | None = None, *, opened: bool = True
    ) -> None:
        """UNIX datagram socket: receives at local_path, one frame a datagram, sends to peer_path."""
        self._attach(port, binding.PORT_SOCKET, local_path, peer_path, pcap, opened)

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        """In-process port: `inject` and `set_packet_sink` only."""
        self._attach(port, binding.PORT_SINK, "", "", pcap, opened=False)

    def _attach(self, port: int, kind: int, first: str, second: str, pcap: str | None, opened: bool) -> None:
        self._ports.attach(port, kind, first, second, pcap)
        if opened:
            try:
                self._ports.open(port)
            except OSError:
                self._ports.detach(port, unused=True)
                raise

    def open_port(self, port: int, released: ReleasedPort | None = None) -> None:
        """Give a port its interface or socket: a new one, or what `release_port` of another engine gave.

        Raises OSError: the port stays without it, and what was released is still whoever's who called.
        """
        self._ports.open(port, released)

    def close_port(self, port: int) -> None:
        """Take interface or socket away from a port: frames for it are lost, and counted there. Idempotent."""
        self._ports.close(port)

    def release_port(self, port: int) -> ReleasedPort | None:
        """As `close_port`, but leaves it open for another engine; None where the port has none."""
        return self._ports.release(port)

    def port_bound(self, port: int) -> int:
        """See `EnginePorts.bound`."""
        return self._ports.bound(port)

    def detach(self, port: int, *, unused: bool = False) -> dict[str, int]:
        """End the port; frames for it are lost, and counted, from now on. Its last statistics.

        unused: what it was for has failed. A capture without a frame does not stay.
        """
        return self._ports.detach(port, unused=unused)

    def missed_ports(self) -> dict[int, int]:
        """How many frames were for ports that there are not, by number of the port."""
        return self._ports.missed()

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
        for port in self._ports.attached():
            with contextlib.suppress(EngineError):
                self.detach(port)

    # State -----------------------------------------------------------------------------------------------------------

    def reset_state(self, keep_entries: bool) -> None:
        """What a pipeline push does on BMv2: registers to zero; entries, groups, counters, meters too unless kept."""
        check(self._lib.p4_reset(self._handle, int(keep_entries)), "the reset of the tables")

    def statistics(self) -> dict[str, int]:
        """Counters of the engine itself: what came, went, was dropped, and what was undefined or lost."""
        values = (ctypes.c_uint64 * len(STATISTICS))()
        self._lib.p4_statistics(self._handle, values, len(STATISTICS))
        return dict(zip(STATISTICS, values, strict=True))

    def port_statistics(self, port: int) -> dict[str, int]:
        """What passed through a port, what it lost, by cause, and what came unfinished; see p4softswitch.losses."""
        return self._ports.statistics(port)

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


def _replicas(replicas: Sequence[Replica]) -> bytes:
    return b"".join(r.port.to_bytes(4, "little") + r.instance.to_bytes(4, "little") for r in replicas)
