# SPDX-License-Identifier: Apache-2.0
"""An engine in memory for the tests of the P4Runtime server.

Stores everything that `engine_api.Engine` stores, from any BMv2 JSON. Packets it treats as
`server_program/server_test.p4` does, by a few lines of Python that know that program: enough to see which state the
data plane is in.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from p4softswitch.engine_api import (
    Action,
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
    UnsupportedProgram,
)

CPU_PORT = 510
_ZERO = CounterValue(packets=0, bytes=0)


@dataclass
class _Entry:
    action: Action
    count: CounterValue = _ZERO
    rates: MeterRates | None = None
    since: int = field(default_factory=time.monotonic_ns)


@dataclass
class _Table:
    size: int
    default: ActionCall
    entries: dict[tuple[tuple[KeyPart, ...], int], _Entry] = field(default_factory=dict)
    initial: dict[tuple[tuple[KeyPart, ...], int], _Entry] = field(default_factory=dict)
    current_default: ActionCall | None = None


def _hex(text: str, bits: int) -> bytes:
    return int(text, 16).to_bytes((bits + 7) // 8, "big")


class FakeEngine:
    """See the module. `fail_start` and `fail_attach` make the next start or attachment fail."""

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
        self.running = False
        self.stopped = False
        self.fail_start = False
        self.fail_attach = False
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

    def table_insert(self, table: str, key: Sequence[KeyPart], priority: int, action: Action) -> None:
        with self._lock:
            found = self._tables[table]
            if (tuple(key), priority) in found.entries:
                raise EntryExists(table)
            if len(found.entries) >= found.size:
                raise TableFull(table)
            found.entries[tuple(key), priority] = _Entry(action)

    def table_modify(self, table: str, key: Sequence[KeyPart], priority: int, action: Action) -> None:
        with self._lock:
            entry = self._entry(table, key, priority)
            entry.action, entry.since = action, time.monotonic_ns()

    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None:
        with self._lock:
            self._entry(table, key, priority)
            del self._tables[table].entries[tuple(key), priority]

    def table_entries(self, table: str) -> list[TableEntry]:
        with self._lock:
            return [TableEntry(key, prio, e.action) for (key, prio), e in self._tables[table].entries.items()]

    def table_get_default(self, table: str) -> ActionCall:
        with self._lock:
            return self._tables[table].current_default or self._tables[table].default

    def table_set_default(self, table: str, action: ActionCall | None) -> None:
        with self._lock:
            self._tables[table].current_default = action

    def entry_idle_us(self, table: str, key: Sequence[KeyPart], priority: int) -> int:
        with self._lock:
            return (time.monotonic_ns() - self._entry(table, key, priority).since) // 1000

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

    def direct_counter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> CounterValue:
        with self._lock:
            return self._entry(table, key, priority).count

    def direct_counter_write(self, table: str, key: Sequence[KeyPart], priority: int, value: CounterValue) -> None:
        with self._lock:
            self._entry(table, key, priority).count = value

    def direct_meter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> MeterRates | None:
        with self._lock:
            return self._entry(table, key, priority).rates

    def direct_meter_write(self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None) -> None:
        with self._lock:
            self._entry(table, key, priority).rates = rates

    def counter_size(self, counter: str) -> int:
        return len(self._counters[counter])

    def counter_read(self, counter: str, index: int) -> CounterValue:
        with self._lock:
            return self._counters[counter][index]

    def counter_write(self, counter: str, index: int, value: CounterValue) -> None:
        with self._lock:
            self._counters[counter][index] = value

    def meter_size(self, meter: str) -> int:
        return len(self._meters[meter])

    def meter_read(self, meter: str, index: int) -> MeterRates | None:
        with self._lock:
            return self._meters[meter][index]

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

    def attach_interface(self, port: int, interface: str, pcap: str | None = None) -> None:
        self._attach(port, interface)

    def attach_socket(self, port: int, local_path: str, peer_path: str, pcap: str | None = None) -> None:
        self._attach(port, local_path, peer_path)

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        self._attach(port)

    def _attach(self, port: int, *names: str) -> None:
        if self.fail_attach:
            raise EngineError("no such interface")
        assert port not in self.attached
        self.attached[port] = names

    def detach(self, port: int) -> None:
        del self.attached[port]

    def port_statistics(self, port: int) -> dict[str, int]:
        assert port in self.attached
        return {"checksum_unfinished": 0, "beyond_mtu": 0}

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
