# SPDX-License-Identifier: Apache-2.0
"""One switch process, programmed and connected, for as many tests as use it.

Ports: 1 to 4 access, 256 and 257 underlay, 200 for sentinels; 5, 6, 258 and 259 are there to be wrong about.

A sentinel is a frame of a VN of its own that is flooded to every port and punted once: when all its copies are back,
everything that entered the switch before it has left, or never will. What it needs is installed for the whole session.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ptf
from finsy.proto import p4r
from nvo3ref.frames import BROADCAST, ETHERTYPE_LOCAL, ethernet, ip4, mac, tagged
from nvo3ref.reasons import FIRST_EGRESS_REASON, Reason
from nvo3ref.tunnel import INNER_AT

from harness.p4runtime import P4Runtime, WriteRefused
from harness.ports import DEVICE, DataPlane, PacketStream
from harness.schema import Entry, Schema, Value, cpu_header, entry, multicast_group, update
from harness.switches import CPU_PORT, Switch

ACCESS_PORTS = (1, 2, 3, 4)
UNDERLAY_PORTS = (256, 257)
SENTINEL_PORT = 200
UNCONFIGURED_PORTS = (5, 258)
MISMATCHED_PORTS = (6, 259)
ALL_PORTS = (*ACCESS_PORTS, *UNDERLAY_PORTS, SENTINEL_PORT, *UNCONFIGURED_PORTS, *MISMATCHED_PORTS)
PORT_MAC = {256: mac(0x5600), 257: mac(0x5700), 258: mac(0x5800), 259: mac(0x5900)}

FOREVER = (1 << 48) - 1  # of the switch clock
SENTINEL_VNI = 0xFFFFF0
SENTINEL_VLAN = 4001
SENTINEL_MAC = mac(0xFEFEFE)
SENTINEL_INTERFACE = 0x7F00
SENTINEL_GROUP = 0x7F00
SENTINEL_HOP = 0xFF
PATIENCE_SECONDS = 30.0  # everything takes milliseconds; what takes this long has failed
POLL_SECONDS = 0.2  # between two looks at whether the packet stream still stands
DROP_SECONDS = 5.0  # the same for a counter: only a test that fails waits so long

FORWARD, SET_INCARNATION, REPORT_STATE, CONTROL_OUT = 1, 2, 3, 4
UNKNOWN_DESTINATION, UNKNOWN_NEIGHBOR, STATE, ANNOUNCEMENT, REFUSED_ANNOUNCEMENT, FRAME_TOO_BIG = 1, 2, 3, 4, 5, 6
CONTROL_IN = 7


@dataclass
class Observed:
    """What one exchange brought about, sentinels left out."""

    outputs: list[tuple[int, bytes]] = field(default_factory=list)
    packet_ins: list[tuple[dict[str, int], bytes]] = field(default_factory=list)
    drops: Counter[Reason] = field(default_factory=Counter)


class Session:
    """The only one of its target. `recorder`, when set, is told everything that a replay needs."""

    def __init__(self, target: str, pipeline: Path, extra_flags: tuple[str, ...] = ()) -> None:
        self.target = target
        self.schema = Schema(pipeline / "nve.p4info.txtpb")
        self.device_config = (pipeline / "nve.json").read_bytes()
        self.switch = Switch(target, extra_flags)
        self.recorder: Any = None
        self.drop_seconds = DROP_SECONDS
        self._sentinels = 0
        self._sentinel_group = SENTINEL_GROUP
        self._drops_seen: Counter[Reason] = Counter()  # when the last exchange was over: nothing else causes any
        self._allocated: Counter[str] = Counter()
        try:
            self.runtime = P4Runtime(self.switch.p4runtime_path)
            self.push("VERIFY_AND_COMMIT")
            self.install()
            self.stream = self._open_stream()
        except BaseException:
            self.switch.stop()
            raise

    def _open_stream(self) -> PacketStream:
        """BMv2 refuses it before there is a program. The probe goes into the CPU port and out of an access port."""
        port = ACCESS_PORTS[0]
        frame = ethernet(mac(0xFEFEFF), SENTINEL_MAC, ETHERTYPE_LOCAL, b"probe")
        header = cpu_header(FORWARD, port, SENTINEL_INTERFACE + port)
        stream = PacketStream(self.switch.dataplane_path, self.switch.is_alive)
        try:
            stream.open((CPU_PORT, header + frame), (port, tagged(frame, SENTINEL_VLAN)))
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        self.runtime.close()
        self.stream.close()
        self.switch.stop()

    # State that outlives tests, and must never be met twice

    def fresh(self, kind: str, limit: int) -> int:
        """The next number of its kind that no test has had: registers cannot be cleared."""
        self._allocated[kind] += 1
        number = self._allocated[kind]
        if number >= limit:
            raise RuntimeError(f"no {kind} is left that no test has used")
        return number

    # Programming

    def push(self, action: str, device_config: bytes | None = None) -> None:
        self._drops_seen = Counter()
        config = None if action == "COMMIT" else self.schema.p4info
        self.runtime.push_pipeline(action, config, self.device_config if device_config is None else device_config)

    def write(self, updates: list[p4r.Update], record: bool = True) -> None:
        refused: list[str] | None = None
        try:
            self.runtime.write(updates)
        except WriteRefused as refusal:
            refused = refusal.codes
            raise
        finally:
            if record:
                self.record(event="write", updates=updates, refused=refused)

    def set_default(self, wanted: Entry, record: bool = True) -> None:
        self.write([update("MODIFY", table_entry=self.schema.table_entry(wanted))], record)

    def set_lease(self, not_after: int = FOREVER) -> None:
        self.set_default(entry("lease", {}, "grant", not_after=not_after))

    def set_incarnation(self, incarnation: bytes) -> None:
        """Entry and both registers, as an agent does after a pipeline load; sentinels follow."""
        self.record(event="incarnation", value=incarnation)
        self.set_default(entry("incarnation", {}, "set_incarnation", incarnation=incarnation), record=False)
        state = self.ask(SET_INCARNATION, payload=incarnation, record=False)
        if state["agreement"] != 3:
            raise AssertionError(f"the registers did not take the incarnation: {state}")
        associations = [self._sentinel_sa(port, incarnation) for port in UNDERLAY_PORTS]
        self.write([update("MODIFY", table_entry=self.schema.table_entry(sa)) for sa in associations], record=False)

    def ask(self, operation: int, interface: int = 0, payload: bytes = b"", record: bool = True) -> dict[str, int]:
        """A packet-out that is answered by a STATE packet-in; its fields."""
        self.runtime.packet_out(self.schema.packet_out(payload, operation=operation, interface=interface))
        packet = self.runtime.next_packet_in()
        fields = self.schema.packet_in_fields(packet)
        if fields["reason"] != STATE or packet.payload:
            raise AssertionError(f"not a report of the switch's state: {fields}, {packet.payload.hex()}")
        if record:
            self.record(event="ask", operation=operation, interface=interface, payload=payload, answer=fields)
        return fields

    def last_sequence(self, interface: int) -> int:
        return self.ask(REPORT_STATE, interface)["sequence"]

    def clock(self) -> int:
        """The switch's own clock, microseconds."""
        return self.ask(REPORT_STATE, record=False)["timestamp"]

    def wait_for_clock(self, moment: int) -> None:
        """Asks the switch for the time until it is later than `moment`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.clock() <= moment:
            if time.monotonic() > deadline:
                raise AssertionError("the clock of the switch does not move")

    # Counters

    def drops(self) -> Counter[Reason]:
        return self._counted(
            self.runtime.read([self.schema.counter(name) for name in ("drops_ingress", "drops_egress")])
        )

    def forget_drops(self) -> None:
        """Drops that were caused otherwise than by `run` are no concern of the next one."""
        self._drops_seen = self.drops()

    def _counted(self, entities: list[p4r.Entity]) -> Counter[Reason]:
        found: Counter[Reason] = Counter()
        for one in entities:
            packets = one.counter_entry.data.packet_count
            if packets:
                found[Reason(one.counter_entry.index.index)] += packets
        return found

    # Packets

    def run(
        self,
        sends: list[tuple[int, bytes]],
        packet_outs: list[tuple[dict[str, int], bytes]],
        expected_drops: Counter[Reason],
        closed: Reason | None,
    ) -> Observed:
        """Sends, waits until the switch has dealt with everything, and says what it did.

        closed: the reason for which tunnels carry nothing at the moment, sentinels included.
        """
        self.stream.check()
        before = self._drops_seen.copy()
        for port, frame in sends:
            ptf.dataplane_instance.send(DEVICE, port, frame)
        for fields, payload in packet_outs:
            self.runtime.packet_out(self.schema.packet_out(payload, **fields))
        observed = Observed()
        if packet_outs:
            self._await_packet_outs(observed)
        self._await_drops(before + expected_drops, set(expected_drops))
        self._sentinel(observed, closed)
        if closed is not None:
            before[closed] += len(UNDERLAY_PORTS)
            self._await_drops(before + expected_drops, {*expected_drops, closed})
        after = self._drops_seen = self.drops()
        after = after.copy()
        after.subtract(before)
        observed.drops = Counter({reason: count for reason, count in after.items() if count})
        if self.stream.strays:
            raise AssertionError(f"packets on ports that nobody uses: {self.stream.strays}")
        return observed

    def _await_packet_outs(self, observed: Observed) -> None:
        """They come another way than frames: a question behind them, once answered, says that they are in the
        pipeline."""
        marker = 0x8000  # no tunnel of any test
        self.runtime.packet_out(self.schema.packet_out(b"", operation=REPORT_STATE, interface=marker))
        while True:
            packet_in = self.runtime.next_packet_in(PATIENCE_SECONDS)
            fields = self.schema.packet_in_fields(packet_in)
            if (fields["reason"], fields["interface"]) == (STATE, marker):
                return
            observed.packet_ins.append((fields, packet_in.payload))

    def _await_drops(self, totals: Counter[Reason], reasons: set[Reason]) -> None:
        """Until the counters are there, or it is clear that they will not come: the comparison then says what is
        missing."""
        wanted = Counter({reason: totals[reason] for reason in reasons})
        cells = [
            self.schema.counter("drops_ingress" if reason < FIRST_EGRESS_REASON else "drops_egress", int(reason))
            for reason in reasons
        ]
        deadline = time.monotonic() + self.drop_seconds
        while cells and wanted - self._counted(self.runtime.read(cells)) and time.monotonic() < deadline:
            pass

    def _sentinel(self, observed: Observed, closed: Reason | None) -> None:
        self._sentinels += 1
        note = b"sentinel" + self._sentinels.to_bytes(8, "big")
        flooded = ethernet(BROADCAST, SENTINEL_MAC, ETHERTYPE_LOCAL, note)
        punted = ethernet(mac(0xFEFEFF), SENTINEL_MAC, ETHERTYPE_LOCAL, note)
        for frame in (flooded, punted):
            ptf.dataplane_instance.send(DEVICE, SENTINEL_PORT, tagged(frame, SENTINEL_VLAN))
        missing = set(ACCESS_PORTS if closed is not None else (*ACCESS_PORTS, *UNDERLAY_PORTS))
        while missing:
            result = self._next_output()
            if result is None:
                raise AssertionError(
                    f"the sentinel did not come out of ports {sorted(missing)}; "
                    f"alive: {self.switch.is_alive()}, drops: {self.drops()}\n{self.switch.output()[-2000:]}"
                )
            port, packet = result.port, bytes(result.packet)
            inner = packet[INNER_AT:] if port in UNDERLAY_PORTS else packet
            if inner == (flooded if port in UNDERLAY_PORTS else tagged(flooded, SENTINEL_VLAN)) and port in missing:
                missing.remove(port)
            else:
                observed.outputs.append((port, packet))
        while True:
            packet_in = self.runtime.next_packet_in(PATIENCE_SECONDS)
            if packet_in.payload == punted:
                return
            observed.packet_ins.append((self.schema.packet_in_fields(packet_in), packet_in.payload))

    def _next_output(self) -> DataPlane.PollSuccess | None:
        """The next packet on any port; None if nothing comes. Raises StreamFailed as soon as nothing can come."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            result = ptf.dataplane_instance.poll(device_number=DEVICE, timeout=POLL_SECONDS)
            if isinstance(result, DataPlane.PollSuccess):
                return result
            self.stream.check()
        return None

    def record(self, **event: Any) -> None:
        if self.recorder is not None:
            self.recorder.add(event)

    # The session's own entries

    def install(self) -> None:
        """After a pipeline push that left nothing.

        Nothing but, on BMv2, the members of multicast groups: a group of the same number would have them twice.
        """
        self._sentinel_group += 1
        entries = [*self.port_roles(), *self._sentinel_entries()]
        updates = [update("INSERT", table_entry=self.schema.table_entry(one)) for one in entries]
        replicas = [(port, SENTINEL_INTERFACE + port) for port in ACCESS_PORTS]
        replicas += [(port, _sentinel_tunnel(port)) for port in UNDERLAY_PORTS]
        updates.append(
            update("INSERT", packet_replication_engine_entry=multicast_group(self._sentinel_group, replicas))
        )
        self.write(updates, record=False)
        self.own_entries = Counter(one.table for one in entries)

    @staticmethod
    def port_roles() -> list[Entry]:
        roles = [entry("port_role", {"port": port}, "access") for port in (*ACCESS_PORTS, SENTINEL_PORT)]
        return roles + [entry("port_role", {"port": port}, "underlay", mac=PORT_MAC[port]) for port in UNDERLAY_PORTS]

    def _sentinel_entries(self) -> list[Entry]:
        vap = {"port": SENTINEL_PORT, "link": 0, "vlan": SENTINEL_VLAN}
        guard: dict[str, Value] = {"interface": SENTINEL_INTERFACE, "mac": SENTINEL_MAC, "ip_kind": 0, "ip": 0}
        flood = {"vni": SENTINEL_VNI, "from_underlay": 0}
        found = [
            entry("vap", vap, "attach", interface=SENTINEL_INTERFACE, vni=SENTINEL_VNI, level=1, link_level=0),
            entry("source_guard", guard, "permit_source"),
            entry("flood", flood, "replicate", group=self._sentinel_group),
            entry("punt_meter", {"interface": SENTINEL_INTERFACE}, "police_punt"),
            entry("vap_flood", {"interface": SENTINEL_INTERFACE}, "police_flood"),
        ]
        for port in ACCESS_PORTS:
            found.append(
                entry(
                    "vap_egress", {"port": port, "interface": SENTINEL_INTERFACE + port}, "tagged", vlan=SENTINEL_VLAN
                )
            )
        for port in UNDERLAY_PORTS:
            found.append(
                entry(
                    "tunnel",
                    {"port": port, "interface": _sentinel_tunnel(port)},
                    "encapsulate",
                    source=ip4("198.51.100.1"),
                    destination=ip4("198.51.100.2"),
                    underlay_mtu=1500,
                    hop=SENTINEL_HOP,
                )
            )
            found.append(
                entry(
                    "adjacency",
                    {"egress_port": port, "hop": SENTINEL_HOP},
                    "towards",
                    source_mac=PORT_MAC[port],
                    next_hop_mac=SENTINEL_MAC,
                )
            )
            found.append(self._sentinel_sa(port, bytes(16)))
        return found

    @staticmethod
    def _sentinel_sa(port: int, incarnation: bytes) -> Entry:
        key = hashlib.sha256(b"sentinel" + bytes([port & 0xFF])).digest()[:16]
        return entry(
            "sa_tx",
            {"interface": _sentinel_tunnel(port), "level": 1},
            "protect",
            suite=1,
            level=1,
            key=key,
            spi=1,
            not_after=FOREVER,
            incarnation=incarnation,
        )


def _sentinel_tunnel(port: int) -> int:
    return 0xFE00 + (port & 0xFF)


_current: list[Session] = []


def activate(session: Session) -> None:
    """Makes it the session of the tests that run next."""
    _current[:] = [session]


def current() -> Session:
    if not _current:
        raise RuntimeError("no switch: run with pytest, or with ptf --platform embedded or bmv2")
    return _current[0]


def pipeline_directory() -> Path:
    """Where p4c's output is: NVE_PIPELINE names another one than the project's."""
    default = Path(__file__).parents[2] / "p4src" / "nvo3sec_p4"
    return Path(os.environ.get("NVE_PIPELINE", default))
