# SPDX-License-Identifier: Apache-2.0
"""An engine in memory for the tests of the P4Runtime server.

Stores everything that `engine_api.Engine` stores, from any BMv2 JSON. Packets it treats as
`server_program/server_test.p4` does, by a few lines of Python that know that program: enough to see which state the
data plane is in.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from p4softswitch.engine_api import (
    Action,
    ActionCall,
    CounterFields,
    CounterValue,
    DirectState,
    EngineError,
    EntryExists,
    EntryPage,
    EntryState,
    KeyPart,
    MeterRates,
    NoSuchEntry,
    ReleasedPort,
    Replica,
    TableEntry,
    TableFull,
    UnsupportedProgram,
)
from p4softswitch.runtime.names import PORT_STATISTICS

CPU_PORT = 510
_DESCRIPTORS = itertools.count(1000)
PAGE = 4
"""Entries of a page."""
_ZERO = CounterValue(packets=0, bytes=0)


@dataclass
class _Entry:
    action: Action
    count: CounterValue = _ZERO
    rates: MeterRates | None = None
    place: int = 0
    since: int = field(default_factory=time.monotonic_ns)

    def set(self, action: Action, direct: DirectState | None) -> None:
        self.action, self.since = action, time.monotonic_ns()
        if direct is not None and direct.count is not None:
            self.count = direct.count
        if direct is not None and direct.metered:
            self.rates = direct.rates

    def state(self, key: tuple[KeyPart, ...], priority: int) -> EntryState:
        idle = (time.monotonic_ns() - self.since) // 1000
        return EntryState(TableEntry(key, priority, self.action), self.count, self.rates, idle)


def _counted(old: CounterValue, new: CounterValue, fields: CounterFields) -> CounterValue:
    return CounterValue(
        packets=new.packets if CounterFields.PACKETS in fields else old.packets,
        bytes=new.bytes if CounterFields.BYTES in fields else old.bytes,
    )


@dataclass
class _Table:
    size: int
    default: ActionCall
    entries: dict[tuple[tuple[KeyPart, ...], int], _Entry] = field(default_factory=dict)
    initial: dict[tuple[tuple[KeyPart, ...], int], _Entry] = field(default_factory=dict)
    current_default: ActionCall | None = None
    places: int = 0


def _hex(text: str, bits: int) -> bytes:
    return int(text, 16).to_bytes((bits + 7) // 8, "big")


class FakeEngine:
    """See the module. `fail_start` and `fail_attach` make the next start or attachment fail, `fail_open` the
    opening of a port, with that error. `on_entry` is called with each entry of a page, after the page was copied and
    before the server has the entry."""

    def __init__(self, program: bytes) -> None:
        self._lock = threading.RLock()
        self._json: dict[str, Any] = json.loads(program)
        if any(p.get("name") == "unsupported" for p in self._json["pipelines"]):
            raise UnsupportedProgram("pipeline 'unsupported'")
        self._widths = {
            action["id"]: [p["bitwidth"] for p in action["runtime_data"]] for action in self._json["actions"]
        }
        self._names = {action["id"]: action["name"] for action in self._json["actions"]}
        self._tables = {t["name"]: self._table(t) for p in self._json["pipelines"] for t in p["tables"]}
        self._sinks: dict[int, Callable[[bytes], None] | None] = {}
        self.digest_sink: Callable[[str, bytes], None] | None = None
        self.attached: dict[int, tuple[str, ...]] = {}
        self.captures: dict[int, str | None] = {}
        self.opened: dict[int, ReleasedPort] = {}
        self.counts: defaultdict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PORT_STATISTICS, 0))
        self.missed: dict[int, int] = {}
        self.fail_open: dict[int, int] = {}
        self.running = False
        self.stopped = False
        self.fail_start = False
        self.fail_attach = False
        self.pages_read = 0
        self.on_entry: Callable[[EntryState], None] = lambda state: None
        self.reset_state(keep_entries=False)

    def _call(self, action_id: int, data: Sequence[str]) -> ActionCall:
        widths = self._widths[action_id]
        return ActionCall(self._names[action_id], tuple(_hex(d, w) for d, w in zip(data, widths, strict=True)))

    def _table(self, proto: dict[str, Any]) -> _Table:
        default = proto.get("default_entry")
        call = self._call(default["action_id"], default["action_data"]) if default else ActionCall("NoAction")
        table = _Table(size=proto["max_size"], default=call)
        for entry in proto.get("entries", ()):
            key = tuple(KeyPart(bytes.fromhex(part["key"][2:])) for part in entry["match_key"])
            action = entry["action_entry"]
            table.initial[key, 0] = _Entry(self._call(action["action_id"], action["action_data"]))
        return table

    # ------------------------------------------------------------------ tables

    def _entry(self, table: str, key: Sequence[KeyPart], priority: int) -> _Entry:
        entry = self._tables[table].entries.get((tuple(key), priority))
        if entry is None:
            raise NoSuchEntry(table)
        return entry

    def table_insert(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None:
        with self._lock:
            found = self._tables[table]
            if (tuple(key), priority) in found.entries:
                raise EntryExists(table)
            if len(found.entries) >= found.size:
                raise TableFull(table)
            found.places += 1
            entry = found.entries[tuple(key), priority] = _Entry(action, place=found.places)
            entry.set(action, direct)

    def table_modify(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None:
        with self._lock:
            self._entry(table, key, priority).set(action, direct)

    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None:
        with self._lock:
            self._entry(table, key, priority)
            del self._tables[table].entries[tuple(key), priority]

    def table_entry(self, table: str, key: Sequence[KeyPart], priority: int) -> EntryState:
        with self._lock:
            return self._entry(table, key, priority).state(tuple(key), priority)

    def table_page(self, table: str, start: int = 0) -> EntryPage:
        """A place is never used again, unlike the engine's."""
        with self._lock:
            self.pages_read += 1
            there = [(key, e) for key, e in self._tables[table].entries.items() if e.place >= start]
            page = [e.state(*key) for key, e in there[:PAGE]]
            return EntryPage(self._told(page), there[PAGE][1].place if len(there) > PAGE else None)

    def _told(self, page: list[EntryState]) -> Iterator[EntryState]:
        for state in page:
            self.on_entry(state)
            yield state

    def table_get_default(self, table: str) -> ActionCall:
        with self._lock:
            return self._tables[table].current_default or self._tables[table].default

    def table_program_default(self, table: str) -> ActionCall:
        return self._tables[table].default

    def table_set_default(self, table: str, action: ActionCall | None) -> None:
        with self._lock:
            self._tables[table].current_default = action

    # ---------------------------------------------------------- action profiles

    def profile_members_set(self, profile: str, handles: Sequence[int], action: ActionCall) -> None:
        with self._lock:
            self.members.update({(profile, handle): action for handle in handles})

    def profile_member_delete(self, profile: str, handle: int) -> None:
        with self._lock:
            del self.members[profile, handle]

    def profile_group_set(self, profile: str, handle: int, members: Sequence[int]) -> None:
        with self._lock:
            self.member_groups[profile, handle] = tuple(sorted(members))

    def profile_group_delete(self, profile: str, handle: int) -> None:
        with self._lock:
            del self.member_groups[profile, handle]

    # --------------------------------------------------------------- resources

    def direct_counter_write(
        self,
        table: str,
        key: Sequence[KeyPart],
        priority: int,
        value: CounterValue,
        fields: CounterFields = CounterFields.BOTH,
    ) -> None:
        with self._lock:
            entry = self._entry(table, key, priority)
            entry.count = _counted(entry.count, value, fields)

    def direct_meter_write(self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None) -> None:
        with self._lock:
            self._entry(table, key, priority).rates = rates

    def counter_size(self, counter: str) -> int:
        return len(self._counters[counter])

    def counter_values(self, counter: str, start: int, count: int) -> list[CounterValue]:
        with self._lock:
            return self._counters[counter][start : start + count]

    def counter_write(
        self, counter: str, index: int, value: CounterValue, fields: CounterFields = CounterFields.BOTH
    ) -> None:
        with self._lock:
            cells = self._counters[counter]
            cells[index] = _counted(cells[index], value, fields)

    def meter_size(self, meter: str) -> int:
        return len(self._meters[meter])

    def meter_values(self, meter: str, start: int, count: int) -> list[MeterRates | None]:
        with self._lock:
            return self._meters[meter][start : start + count]

    def meter_write(self, meter: str, index: int, rates: MeterRates | None) -> None:
        with self._lock:
            self._meters[meter][index] = rates

    # ------------------------------------------------------------- replication

    def multicast_group_set(self, group_id: int, replicas: Sequence[Replica]) -> None:
        with self._lock:
            self.groups[group_id] = tuple(replicas)

    def multicast_group_delete(self, group_id: int) -> None:
        with self._lock:
            del self.groups[group_id]

    def clone_session_set(self, session_id: int, replicas: Sequence[Replica], truncate_bytes: int) -> None:
        with self._lock:
            self.sessions[session_id] = tuple(replicas)

    def clone_session_delete(self, session_id: int) -> None:
        with self._lock:
            del self.sessions[session_id]

    # ------------------------------------------------------------------ packets

    def inject(self, port: int, packet: bytes) -> None:
        with self._lock:
            if not self.running:
                return
            out = self._forward(port, packet)
        for egress_port, data in out:
            sink = self._sinks.get(egress_port)
            if sink is not None:
                sink(data)

    def _forward(self, port: int, packet: bytes) -> list[tuple[int, bytes]]:
        self.seen += 1
        if port == CPU_PORT:
            return self._egress(port, [int.from_bytes(packet[:2], "big") >> 7], packet[2:])
        if any(e.action.name == "TestIngress.learn" for e in self._tables["TestIngress.acl"].entries.values()):
            assert self.digest_sink is not None
            self.digest_sink("learn_t", packet[6:12] + port.to_bytes(2, "big"))
        found = self._tables["TestIngress.forward"]
        entry = found.entries.get(((KeyPart(packet[:6]),), 0))
        if entry is None:
            return []
        entry.count = CounterValue(entry.count.packets + 1, entry.count.bytes + len(packet))
        if entry.action.name == "TestIngress.to_cpu":
            return self._egress(port, [CPU_PORT], packet)
        value = int.from_bytes(entry.action.params[0], "big")
        if entry.action.name == "TestIngress.flood":
            return self._egress(port, [r.port for r in self.groups.get(value, ())], packet)
        return self._egress(port, [value], packet)

    def _egress(self, ingress_port: int, ports: Sequence[int], packet: bytes) -> list[tuple[int, bytes]]:
        header = (ingress_port << 7).to_bytes(2, "big") + self.seen.to_bytes(4, "big")
        return [(port, header + packet if port == CPU_PORT else packet) for port in ports if port != 511]

    # -------------------------------------------------------------------- ports

    def set_packet_sink(self, port: int, sink: Callable[[bytes], None] | None) -> None:
        self._sinks[port] = sink

    def set_digest_sink(self, sink: Callable[[str, bytes], None] | None) -> None:
        self.digest_sink = sink

    def attach_interface(self, port: int, interface: str, pcap: str | None = None, *, opened: bool = True) -> None:
        self._attach(port, interface)
        self.captures[port] = pcap
        self._open(port, opened)

    def attach_socket(
        self, port: int, local_path: str, peer_path: str, pcap: str | None = None, *, opened: bool = True
    ) -> None:
        self._attach(port, local_path, peer_path)
        self.captures[port] = pcap
        self._open(port, opened)

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        self._attach(port)

    def _attach(self, port: int, *names: str) -> None:
        if self.fail_attach:
            raise EngineError("no such interface")
        assert port not in self.attached
        self.attached[port] = names

    def _open(self, port: int, opened: bool) -> None:
        if opened:
            self.open_port(port)

    def open_port(self, port: int, released: ReleasedPort | None = None) -> None:
        if port in self.fail_open:
            raise OSError(self.fail_open[port], "as the test wants it")
        assert port in self.attached
        assert port not in self.opened
        self.opened[port] = released or ReleasedPort(next(_DESCRIPTORS))

    def close_port(self, port: int) -> None:
        self.opened.pop(port, None)

    def release_port(self, port: int) -> ReleasedPort | None:
        return self.opened.pop(port, None)

    def port_bound(self, port: int) -> int:
        return 1 if port in self.opened else 0  # 1: the index of lo

    def detach(self, port: int, *, unused: bool = False) -> dict[str, int]:
        del self.attached[port]
        self.opened.pop(port, None)
        return dict(self.counts[port])

    def port_statistics(self, port: int) -> dict[str, int]:
        assert port in self.attached
        return dict(self.counts[port])

    def missed_ports(self) -> dict[int, int]:
        return dict(self.missed)

    def statistics(self) -> dict[str, int]:
        return {"packets_in": self.seen}

    def start(self) -> None:
        assert not self.stopped
        if self.fail_start:
            raise EngineError("no threads")
        self.running = True

    def stop(self) -> None:
        self.running = False
        self.stopped = True

    def reset_state(self, keep_entries: bool) -> None:
        with self._lock:
            self.seen = 0
            if keep_entries:
                return
            for table in self._tables.values():
                table.entries = {key: _Entry(entry.action) for key, entry in table.initial.items()}
                table.current_default = None
            self._counters = {
                c["name"]: [_ZERO] * c["size"] for c in self._json["counter_arrays"] if not c["is_direct"]
            }
            self._meters: dict[str, list[MeterRates | None]] = {
                m["name"]: [None] * m["size"] for m in self._json["meter_arrays"] if not m["is_direct"]
            }
            self.members: dict[tuple[str, int], ActionCall] = {}
            self.member_groups: dict[tuple[str, int], tuple[int, ...]] = {}
            self.groups: dict[int, tuple[Replica, ...]] = {}
            self.sessions: dict[int, tuple[Replica, ...]] = {}
