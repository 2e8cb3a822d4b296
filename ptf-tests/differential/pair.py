# SPDX-License-Identifier: Apache-2.0
"""Two switches side by side, each with the same program, doing the same steps.

How the end of a step is known without waiting: behind its frames go frames of the CPU port that leave on access ports
1 to 4 and come back as a packet-in. simple_switch has four egress threads, one for all ports with the same remainder
modulo four, each of them first in, first out; what leaves is queued once more, for all ports together. So when these
frames are back, every frame before them has left or been counted. If that were wrong, it would show as a difference,
not hide one.
"""

from __future__ import annotations

import queue
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from finsy.proto import p4r
from harness.p4runtime import P4Runtime, WriteRefused
from harness.ports import PacketStream, StreamFailed
from harness.schema import Entry, Schema, cpu_header, entry, update
from harness.session import FORWARD, REPORT_STATE, STATE
from harness.switches import CPU_PORT, Switch, SwitchFailed
from nvo3ref.frames import ETHERTYPE_LOCAL, ethernet, mac

from differential.steps import Difference, Frames, Outcome, PacketOuts, Step, Write, compare

BARRIER_PORTS = (1, 2, 3, 4)
BARRIER_INTERFACE = 0x7F00  # + port; no world uses it
BARRIER_QUESTION = 0xFFFF  # the tunnel that the last packet-in of a step asks about; no world asks about it
PATIENCE_SECONDS = 20.0  # without any packet
POLL_SECONDS = 0.2  # between two looks at whether the packet stream still stands


class _Port:
    """One port of the data-plane stream: everything goes into the queue of its target."""

    def __init__(self, number: int, arrivals: queue.SimpleQueue[tuple[int, bytes]]) -> None:
        self._number = number
        self._arrivals = arrivals

    def arrived(self, packet: bytes) -> None:
        self._arrivals.put((self._number, packet))


class Target:
    """One switch of the pair."""

    def __init__(self, name: str, pipeline: Path) -> None:
        self.name = name
        self.schema = Schema(pipeline / "nve.p4info.txtpb")
        self._device_config = (pipeline / "nve.json").read_bytes()
        self._arrivals: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._stream: PacketStream | None = None
        self._barriers = 0
        self.switch = Switch(name)
        try:
            self.runtime = P4Runtime(self.switch.p4runtime_path)
        except BaseException:
            self.switch.stop()
            raise
        self._counted_tables = [table for table in self.schema.tables() if self.schema.has_direct_counter(table)]
        self._counter_ids = {c.preamble.id: c.preamble.alias for c in self.schema.p4info.counters}
        self._counter_reads = [self.schema.counter(name) for name in ("drops_ingress", "drops_egress")]
        for table in self._counted_tables:
            read = p4r.Entity()
            read.direct_counter_entry.table_entry.table_id = self.schema.all_entries(table).table_entry.table_id
            self._counter_reads.append(read)

    def close(self) -> None:
        self.runtime.close()
        if self._stream is not None:
            self._stream.close()
        self.switch.stop()

    def reset(self) -> None:
        """As after a start: entries, groups, counters and registers gone; only what the barriers need is there."""
        if self._stream is not None:
            self._delete_groups()
        self.runtime.push_pipeline("VERIFY_AND_COMMIT", self.schema.p4info, self._device_config)
        self.runtime.write([update("INSERT", table_entry=self.schema.table_entry(one)) for one in self.own_entries()])
        if self._stream is None:  # BMv2 refuses it before there is a program
            self._stream = PacketStream(self.switch.dataplane_path, self.switch.is_alive)
            for number in range(512):
                self._stream.attach(number, _Port(number, self._arrivals))  # type: ignore[arg-type]
            port = BARRIER_PORTS[0]
            probe = ethernet(mac(0xBA0000 | port), mac(0xBA), ETHERTYPE_LOCAL, b"probe")
            header = cpu_header(FORWARD, port, BARRIER_INTERFACE + port)
            self._stream.open((CPU_PORT, header + probe), (port, probe))

    def _delete_groups(self) -> None:
        """Before a push: on BMv2 its P4Runtime server forgets the groups, but their replicas stay in the traffic
        manager, and are there again, beside the new ones, when a group of that number is made."""
        groups = [one.packet_replication_engine_entry for one in self.runtime.read([_all_groups()])]
        if groups:
            self.runtime.write([update("DELETE", packet_replication_engine_entry=group) for group in groups])

    @staticmethod
    def own_entries() -> list[Entry]:
        return [
            entry("vap_egress", {"port": port, "interface": BARRIER_INTERFACE + port}, "untagged")
            for port in BARRIER_PORTS
        ]

    # A step in two halves, so that both switches work at the same time

    def begin(self, step: Step) -> None:
        self._codes: list[str] = []
        self._failure = ""
        try:
            if isinstance(step, Write):
                self._write(step)
                return
            assert self._stream is not None, "reset() comes first"
            self._barriers += 1
            self._note = b"barrier " + self._barriers.to_bytes(8, "big")
            if isinstance(step, Frames):
                for port, frame in step.frames:
                    self._stream.send(port, frame)
            else:
                self._packet_outs(step)
            for port in BARRIER_PORTS:
                header = cpu_header(FORWARD, port, BARRIER_INTERFACE + port)
                self._stream.send(CPU_PORT, header + self._barrier_frame(port))
            self._stream.send(CPU_PORT, cpu_header(REPORT_STATE, interface=BARRIER_QUESTION))
        except (grpc.RpcError, RuntimeError, StreamFailed, TimeoutError) as error:
            self._failure = self._describe_failure(error)

    def _write(self, step: Write) -> None:
        try:
            self.runtime.write(step.messages())
            self._codes = ["OK"] * len(step.updates)
        except WriteRefused as refused:
            self._codes = refused.codes

    def _packet_outs(self, step: PacketOuts) -> None:
        """They travel on another stream than the barriers, so their way through ingress is awaited here."""
        for fields, payload in step.packets:
            self.runtime.packet_out(self.schema.packet_out(payload, **dict(fields)))
        self.runtime.packet_out(self.schema.packet_out(b"", operation=REPORT_STATE, interface=BARRIER_QUESTION))
        self._early = self._packet_ins()

    def end(self, step: Step, with_entries: bool = False) -> Outcome:
        outcome = Outcome(codes=self._codes, failure=self._failure)
        if outcome.failure:
            return outcome
        try:
            if not isinstance(step, Write):
                if isinstance(step, PacketOuts):
                    outcome.packet_ins += self._early
                self._collect(outcome)
            self._count(outcome)
            if with_entries:
                outcome.entries = self._entries()
        except (grpc.RpcError, RuntimeError, StreamFailed, TimeoutError) as error:
            outcome.failure = self._describe_failure(error)
        return outcome

    def _describe_failure(self, error: Exception) -> str:
        alive = "alive" if self.switch.is_alive() else "DEAD"
        return f"{type(error).__name__}: {error} (the switch is {alive})\n{self.switch.output()[-1500:]}"

    def _barrier_frame(self, port: int) -> bytes:
        return ethernet(mac(0xBA0000 | port), mac(0xBA), ETHERTYPE_LOCAL, self._note)

    def _collect(self, outcome: Outcome) -> None:
        waiting = {(port, self._barrier_frame(port)) for port in BARRIER_PORTS}
        while waiting:
            arrived = self._next_arrival()
            if arrived is None:
                raise TimeoutError(f"no barrier on ports {sorted(port for port, _ in waiting)}")
            if arrived in waiting:
                waiting.remove(arrived)
            else:
                outcome.outputs.setdefault(arrived[0], []).append(arrived[1])
        outcome.packet_ins += self._packet_ins()

    def _next_arrival(self) -> tuple[int, bytes] | None:
        """The next packet on any port; None if nothing comes. Raises StreamFailed as soon as nothing can come."""
        assert self._stream is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                return self._arrivals.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._stream.check()
        return None

    def _packet_ins(self) -> list[tuple[tuple[tuple[str, int], ...], bytes]]:
        """Up to the answer to the last question. The time of the switch's clock is left out."""
        found: list[tuple[tuple[tuple[str, int], ...], bytes]] = []
        while True:
            packet = self.runtime.next_packet_in(PATIENCE_SECONDS)
            fields = self.schema.packet_in_fields(packet)
            if fields["reason"] == STATE and fields["interface"] == BARRIER_QUESTION:
                return found
            del fields["timestamp"]
            found.append((tuple(sorted(fields.items())), packet.payload))

    def _count(self, outcome: Outcome) -> None:
        for one in self.runtime.read(self._counter_reads):
            if one.HasField("counter_entry"):
                cell, data = one.counter_entry, one.counter_entry.data
                if data.packet_count or data.byte_count:
                    name = f"{self._counter_ids[cell.counter_id]}[{cell.index.index}]"
                    outcome.drops[name] = data.packet_count, data.byte_count
            else:
                table_entry, data = one.direct_counter_entry.table_entry, one.direct_counter_entry.data
                if data.packet_count or data.byte_count:
                    outcome.direct[_key(table_entry)] = data.packet_count, data.byte_count

    def _entries(self) -> frozenset[bytes]:
        """All entries, default actions and groups, in a form that does not depend on the order of their parts."""
        questions = [self.schema.all_entries(table) for table in self.schema.tables()]
        defaults = [p4r.Entity.FromString(one.SerializeToString()) for one in questions]
        for one in defaults:
            one.table_entry.is_default_action = True
        found = set()
        for one in self.runtime.read([*questions, *defaults, _all_groups()]):
            if one.HasField("table_entry"):
                one.table_entry.match.sort(key=lambda match: match.field_id)
                one.table_entry.action.action.params.sort(key=lambda param: param.param_id)
            else:
                group = one.packet_replication_engine_entry.multicast_group_entry
                group.replicas.sort(key=lambda replica: (replica.egress_port, replica.port, replica.instance))
            found.add(one.SerializeToString(deterministic=True))
        return frozenset(found)


def _all_groups() -> p4r.Entity:
    question = p4r.Entity()
    question.packet_replication_engine_entry.multicast_group_entry.multicast_group_id = 0
    return question


def _key(table_entry: Any) -> str:
    fields = sorted((match.field_id, match.exact.value.hex()) for match in table_entry.match)
    return f"{table_entry.table_id:#x}{fields}"


def _version(target: Target) -> str:
    try:
        return target.switch.version()
    except subprocess.CalledProcessError:
        return "says no version"


class Pair:
    """Both switches, and the comparison."""

    def __init__(self, names: tuple[str, str], pipeline: Path) -> None:
        self.names = names
        self.ordered = True  # whether the order of packets on a port counts
        self._pipeline = pipeline
        self._targets: list[Target] = []
        self._start()

    def _start(self) -> None:
        try:
            for name in self.names:
                self._targets.append(Target(name, self._pipeline))
        except BaseException:
            self.close()
            raise

    @property
    def schema(self) -> Schema:
        return self._targets[0].schema

    def versions(self) -> dict[str, str]:
        return {target.name: _version(target) for target in self._targets}

    def close(self) -> None:
        for target in self._targets:
            target.close()
        self._targets.clear()

    def reset(self) -> None:
        """Both as after a start. A switch that has died or hangs is started anew."""
        try:
            for target in self._targets:
                target.reset()
        except (grpc.RpcError, RuntimeError, StreamFailed, TimeoutError, WriteRefused):
            self.restart()
            for target in self._targets:
                target.reset()

    def restart(self) -> None:
        self.close()
        self._start()

    def run(self, step: Step, with_entries: bool = False) -> tuple[Outcome, Difference | None]:
        """The outcome of the first switch, and the difference to the second. What a switch does raises nothing."""
        for target in self._targets:
            target.begin(step)
        outcomes = [target.end(step, with_entries) for target in self._targets]
        return outcomes[0], compare(outcomes[0], outcomes[1], self.ordered)

    def replay(self, steps: Sequence[Step], with_entries: bool = False) -> tuple[int, Difference] | None:
        """The index of the first step in which they differ, and in what. From a fresh start."""
        self.reset()
        for index, step in enumerate(steps):
            _, difference = self.run(step, with_entries and index == len(steps) - 1)
            if difference is not None:
                if difference.what == "a switch failed":
                    self.restart()
                return index, difference
        return None


__all__ = ["Pair", "SwitchFailed", "Target"]
