# SPDX-License-Identifier: Apache-2.0
"""The NVE program on both targets, in one run: encapsulate + protect, and verify + decapsulate.

    PYTHONPATH=ptf-tests python bench/pipeline.py [--no-bmv2] [--suite 1|2] [C compiler flag...]

Both suites, one after the other.

Embedded switch: in memory, one thread, packets handed over in-process, no input or output; the floor is the bare
cipher (same bytes, same compiler flags, same run) plus bridging of the same frame between two local VAPs of the same
program. The mark is 1.3 times their sum. BMv2: over its data-plane gRPC service with 32 packets in flight, where the
service costs little beside the pipeline. Verified packets are all different, made by another instance of the switch:
the replay window is real.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness.p4runtime import P4Runtime
from harness.ports import PacketStream
from harness.schema import Entry, Schema, entry, update
from harness.session import FOREVER, SET_INCARNATION
from harness.switches import Switch, available
from harness.world import BUCKETS, derived, mapped, to_tunnel, to_vap
from nvo3ref.frames import ip4, ip4_frame, mac
from p4softswitch.engine.artifact import FLAGS
from p4softswitch.engine.compiler import find_compiler
from p4softswitch.engine.engine import CompiledEngine, EngineConfig, load
from p4softswitch.engine_api import ActionCall, KeyPart

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "p4src" / "nvo3sec_p4"
SIZES = (64, 128, 512, 1024, 1500)
MARK = 1.3
BATCH = 32
REPEATS = 30
VERIFIED = 512
BMV2_PACKETS = {64: 3000, 128: 2500, 512: 1500, 1024: 1000, 1500: 800}
IN_FLIGHT = 32

VNI = 5001
ACCESS, OTHER_ACCESS, UNDERLAY, CPU = 1, 2, 256, 510
TUNNEL = 0x8001
HOST, NEIGHBOR, REMOTE, DELIVERED = mac(1), mac(2), mac(3), mac(4)
HOST_IP, NEIGHBOR_IP, REMOTE_IP = ip4("10.0.0.1"), ip4("10.0.0.2"), ip4("10.0.0.3")
NEAR, FAR = ip4("192.0.2.1"), ip4("192.0.2.2")
PORT_MAC = mac(0x5600)
KEY, SPI = derived("bench", "key"), 0x1234
INCARNATION = derived("bench", "incarnation")


def entries(local: bytes, peer: bytes, suite: int, *, delivers: bool) -> list[Entry]:
    """A switch at `local` with a tunnel to `peer`; both directions use one key, so that two switches can talk.

    REMOTE is behind the tunnel. DELIVERED is too, unless the switch is the one that delivers to it.
    """
    delivery = (
        to_vap(VNI, DELIVERED, port=OTHER_ACCESS, interface=2) if delivers else [to_tunnel(VNI, DELIVERED, TUNNEL)]
    )
    guard = {"interface": 1, "mac": HOST, "ip_kind": 1, "ip": HOST_IP}
    return [
        entry("incarnation", {}, "set_incarnation", incarnation=INCARNATION),
        entry("lease", {}, "grant", not_after=FOREVER),
        entry("flow_entropy", {}, "keyed", key=derived("bench", "entropy")),
        entry("port_role", {"port": ACCESS}, "access"),
        entry("port_role", {"port": UNDERLAY}, "underlay", mac=PORT_MAC),
        entry("authorized_nve", {"source": mapped(peer), "destination": mapped(local)}, "permit", peer=1, tag=1,
              zero_checksum=0),
        entry("sa_rx", {"peer": 1, "spi": SPI}, "accept", suite=suite, level=suite, kind=1, key=KEY,
              min_coverage=0xFFFF, pair=1, tag=1, generation=1, not_after=FOREVER, incarnation=INCARNATION,
              link=0, vlan=0),
        entry("peer_meter", {"peer": 1}, "police"),
        entry("peer_floor", {"peer": 1}, "police_floor"),
        entry("vn_ingress_authorization", {"peer": 1, "vni": VNI}, "authorize", level=1),
        entry("vap", {"port": ACCESS, "link": 0, "vlan": 0}, "attach", interface=1, vni=VNI, level=1, link_level=0),
        entry("source_guard", guard, "permit_source"),
        *to_vap(VNI, NEIGHBOR, port=OTHER_ACCESS, interface=2),
        to_tunnel(VNI, REMOTE, TUNNEL),
        *delivery,
        entry("vap_egress", {"port": OTHER_ACCESS, "interface": 2}, "untagged"),
        entry("tunnel_route", {"interface": TUNNEL}, "spread", group=1, frame_limit=0xFFFF),
        *(entry("underlay_member", {"group": 1, "bucket": n}, "via", port=UNDERLAY, hop=1) for n in range(BUCKETS)),
        entry("tunnel", {"port": UNDERLAY, "interface": TUNNEL}, "encapsulate", source=local, destination=peer,
              underlay_mtu=9000, hop=1),
        entry("adjacency", {"egress_port": UNDERLAY, "hop": 1}, "towards", source_mac=mac(9), next_hop_mac=PORT_MAC),
        entry("sa_tx", {"interface": TUNNEL, "level": 1}, "protect", suite=suite, level=suite, key=KEY, spi=SPI,
              not_after=FOREVER, incarnation=INCARNATION),
    ]  # fmt: skip


def packet_out(schema: Schema) -> bytes:
    """SET_INCARNATION as it enters the CPU port."""
    widths = {"operation": 1, "egress_port": 2, "interface": 2, "vni": 3, "level": 1}
    values = {m.metadata_id: m.value for m in schema.packet_out(b"", operation=SET_INCARNATION).metadata}
    return b"".join(values[n].rjust(w, b"\0") for n, w in enumerate(widths.values(), start=1)) + INCARNATION


class InMemory:
    """The embedded switch without ports."""

    def __init__(
        self, schema: Schema, config: EngineConfig, local: bytes, peer: bytes, suite: int, *, delivers: bool
    ) -> None:
        self.engine: CompiledEngine = load((PROGRAM / "nve.json").read_bytes(), config=config)
        self._incarnate = packet_out(schema)
        tables = {t.preamble.alias: t for t in schema.p4info.tables}
        actions = {a.preamble.alias: a for a in schema.p4info.actions}
        for one in entries(local, peer, suite, delivers=delivers):
            table, action = tables[one.table], actions[one.action]
            params = dict(one.params)
            call = ActionCall(action.preamble.name, tuple(_bytes(params[p.name], p.bitwidth) for p in action.params))
            if not one.key:
                self.engine.table_set_default(table.preamble.name, call)
                continue
            key = dict(one.key)
            parts = tuple(KeyPart(_bytes(key[m.name], m.bitwidth)) for m in table.match_fields)
            self.engine.table_insert(table.preamble.name, parts, 0, call)
        self.restart()

    def restart(self) -> None:
        """Registers as new: an empty replay window, sequence numbers from 1."""
        self.engine.reset_state(keep_entries=True)
        self.engine.process(CPU, self._incarnate)

    def protected(self, inner: bytes) -> bytes:
        ((_, packet),) = self.engine.process(ACCESS, inner)
        return packet


def _bytes(value: int | bytes, bits: int) -> bytes:
    number = value if isinstance(value, int) else int.from_bytes(value, "big")
    return number.to_bytes((bits + 7) // 8, "big")


def frame(destination: bytes, destination_ip: bytes, size: int) -> bytes:
    return ip4_frame(destination, HOST, HOST_IP, destination_ip, size)


def best_ns(engine: CompiledEngine, port: int, packet: bytes) -> float:
    rounds = max(1, 200_000 // (BATCH * len(packet)))
    results = [engine.bench(port, [packet] * BATCH, rounds) for _ in range(REPEATS)]
    if any(sent != BATCH * rounds for _, sent in results):
        sys.exit(f"of {BATCH * rounds} frames of {len(packet)} bytes not all came out")
    return min(ns for ns, _ in results) / (BATCH * rounds)


def verify_ns(receiver: InMemory, packets: list[bytes]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        receiver.restart()
        ns, sent = receiver.engine.bench(UNDERLAY, packets, 1)
        if sent != len(packets):
            sys.exit(f"of {len(packets)} protected packets {sent} came out")
        best = min(best, ns / len(packets))
    return best


@dataclass(frozen=True)
class Suite:
    """Number, name, file and function of the bare cipher, and how many bytes it takes in besides those of a frame."""

    number: int
    name: str
    source: str
    function: str
    in_front: int


SUITES = (
    Suite(1, "Chaskey-12", "chaskey.c", "chaskey12_bench", 32),
    Suite(2, "Ascon-AEAD128", "ascon.c", "ascon128_bench", 0),  # 28 of associated data, which the function brings along
)


class Cipher:
    """The bare cipher of a suite, with the compiler and the flags of the switch."""

    def __init__(self, suite: Suite, directory: Path, flags: tuple[str, ...]) -> None:
        compiler = find_compiler()
        path = directory / f"{suite.name}.so"
        source = ROOT / "softswitch" / "bench" / suite.source
        subprocess.run([*compiler.command, *FLAGS, *compiler.extra, *flags, "-o", str(path), str(source)], check=True)
        self._suite = suite
        self._timed = ctypes.CDLL(str(path))[suite.function]
        self._timed.restype = ctypes.c_uint64

    def ns(self, size: int) -> float:
        length = self._suite.in_front + size
        text, tag = ctypes.create_string_buffer(length), ctypes.create_string_buffer(16)
        rounds = max(20, 200_000 // length)
        return min(self._timed(text, length, rounds, tag) for _ in range(REPEATS)) / rounds


class OverGrpc:
    """BMv2 with the same entries."""

    def __init__(self, schema: Schema, local: bytes, peer: bytes, suite: int) -> None:
        self.switch = Switch("bmv2")
        self.runtime = P4Runtime(self.switch.p4runtime_path)
        self.runtime.push_pipeline("VERIFY_AND_COMMIT", schema.p4info, (PROGRAM / "nve.json").read_bytes())
        self.runtime.packet_out(schema.packet_out(INCARNATION, operation=SET_INCARNATION))
        self.runtime.next_packet_in()
        self.runtime.write([update("INSERT" if one.key else "MODIFY", table_entry=schema.table_entry(one))
                            for one in entries(local, peer, suite, delivers=True)])  # fmt: skip
        self._stream = PacketStream(self.switch.dataplane_path, self.switch.is_alive)
        bridged = frame(NEIGHBOR, NEIGHBOR_IP, SIZES[0])
        self._stream.open((ACCESS, bridged), (OTHER_ACCESS, bridged))
        self._room = threading.Semaphore(IN_FLIGHT)
        self._came = 0
        for port in (OTHER_ACCESS, UNDERLAY):
            self._stream.attach(port, self)

    def arrived(self, packet: bytes) -> None:
        del packet
        self._came += 1
        self._room.release()

    def rate(self, port: int, packets: list[bytes]) -> float:
        """Packets a second, all of which came out."""
        start = time.perf_counter()
        for packet in packets:
            if not self._room.acquire(timeout=10):
                sys.exit(f"BMv2: of {len(packets)} packets only {self._came} came out")
            self._stream.send(port, packet)
        for _ in range(IN_FLIGHT):
            if not self._room.acquire(timeout=10):
                sys.exit("BMv2: not all packets came out")
        taken = time.perf_counter() - start
        self._room = threading.Semaphore(IN_FLIGHT)
        return len(packets) / taken

    def close(self) -> None:
        self._stream.close()
        self.runtime.close()
        self.switch.stop()


def mbit(rate: float, size: int) -> float:
    return rate * size * 8 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-bmv2", action="store_true")
    parser.add_argument("--suite", type=int, choices=[suite.number for suite in SUITES])
    options, flags = parser.parse_known_args()
    schema = Schema(PROGRAM / "nve.p4info.txtpb")
    found, missing = available()
    for line in missing:
        sys.stdout.write(line + "\n")
    worst: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        config = EngineConfig(cpu_port=CPU, cache=Path(directory), extra_cflags=tuple(flags))
        sys.stdout.write(f"flags: {' '.join([*FLAGS, *flags])}\n")
        sys.stdout.write(f"ns a packet, best of {REPEATS}; in brackets: to the sum of cipher and bridge\n")
        for suite in SUITES:
            if options.suite in (None, suite.number):
                with_bmv2 = not options.no_bmv2 and "bmv2" in found
                bare = Cipher(suite, Path(directory), tuple(flags))
                worst.append(measure(schema, suite, bare, config, with_bmv2=with_bmv2))
    sys.stdout.write(f"worst {max(worst):.2f}, mark {MARK}\n")
    return int(max(worst) > MARK)


def measure(schema: Schema, suite: Suite, cipher: Cipher, config: EngineConfig, *, with_bmv2: bool) -> float:
    """Prints the rows of a suite. Returns the worst ratio to cipher and bridge."""
    near = InMemory(schema, config, NEAR, FAR, suite.number, delivers=False)
    far = InMemory(schema, config, FAR, NEAR, suite.number, delivers=True)
    bmv2 = OverGrpc(schema, FAR, NEAR, suite.number) if with_bmv2 else None
    sys.stdout.write(f"suite {suite.number}, {suite.name}\n"
                     f"{'bytes':>6}{'cipher':>8}{'bridge':>8}{'protect':>16}{'verify':>16}"
                     f"{'protect Mbit/s':>16}{'BMv2 protect/s':>16}{'verify/s':>10}{'ratios':>16}\n")  # fmt: skip
    worst: list[float] = []
    for size in SIZES:
        remote, local = frame(REMOTE, REMOTE_IP, size), frame(NEIGHBOR, NEIGHBOR_IP, size)
        verified = [near.protected(frame(DELIVERED, REMOTE_IP, size)) for _ in range(VERIFIED)]
        bare, bridge = cipher.ns(size), best_ns(near.engine, ACCESS, local)
        floor = bare + bridge
        protect, verify = best_ns(far.engine, ACCESS, remote), verify_ns(far, verified)
        worst += [protect / floor, verify / floor]
        row = (f"{size:>6}{bare:>8.0f}{bridge:>8.0f}{protect:>9.0f} ({protect / floor:.2f})"
               f"{verify:>9.0f} ({verify / floor:.2f}){mbit(1e9 / protect, size):>16.0f}")  # fmt: skip
        if bmv2 is not None:
            count = BMV2_PACKETS[size]
            sent = statistics.median(bmv2.rate(ACCESS, [remote] * count) for _ in range(3))
            received = bmv2.rate(UNDERLAY, verified[:count])
            row += f"{sent:>16.0f}{received:>10.0f}{1e9 / protect / sent:>8.0f}{1e9 / verify / received:>8.0f}"
        sys.stdout.write(row + "\n")
        sys.stdout.flush()
    if bmv2 is not None:
        bmv2.close()
    return max(worst)


if __name__ == "__main__":
    sys.exit(main())
