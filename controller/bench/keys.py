# SPDX-License-Identifier: Apache-2.0
"""Keys derived per second against bare HMAC-SHA256, and full rotations of a VN: time, messages, memory.

    python controller/bench/keys.py [--nves 10 100 1000] [--at-once 64] [--whole] [--profile] [--json]

A rotation is measured at the key service, with agents that do at once as they are told: they fetch what changed, and
read it back. Everything else (TLS, protobuf, switches) is somebody else's time. --whole: agents fetch all of their keys
whenever one changes. Every size runs in a process of its own. Seconds are of the process's CPU; bytes are the growth of
its resident memory.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import hmac
import json
import logging
import os
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address

import structlog
from nvo3sec.domain.keys.derivation import EpochKey, KeyContext, Party, Purpose, derive_key, tunnel_info
from nvo3sec.domain.keys.sa import ReceiverRead, ReceiverUp, SenderRead, SenderUp
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain, Level, Lifetimes, Nve, Rate, Route, Suite, Vap, Vn
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.store import MemoryStore

SUITE = Suite.CHASKEY12
RATE = Rate(1, 1)
DERIVATIONS = 50_000


def domain_of(count: int, at_once: int) -> Domain:
    """`count` NVEs in one VN."""
    life = Lifetimes(30, 10, 3600, 3960, 300, 5, 10, 1 << 32, 1 << 42, 1 << 33, 1 << 43, 30, at_once)
    nves = tuple(
        Nve(
            f"nve{number}",
            number + 1,
            "unix:none",
            IPv4Address(0x0A000001 + number),
            1500,
            ((256, 1),),
            (Route("any", 256, 1, 1, RATE),),
            (Vap(1, 0, "vn", RATE),),
        )
        for number in range(count)
    )
    return Domain("bench", life, (Vn("vn", 1, Level.INTEGRITY, 1400, RATE, 1),), nves, ())


def fastest_s(call: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def derivations(count: int = DERIVATIONS) -> dict[str, float]:
    """Keys per second: as the key service makes them, step by step from a context, and the HMACs alone."""
    secret = Secret(os.urandom(32))
    epoch, raw = EpochKey(secret), secret.reveal()
    here, there = (Party(f"nve{n}", IPv4Address(0x0A000001 + n), os.urandom(16)) for n in (1, 2))
    addresses = [IPv4Address(0x0A000001 + n) for n in (1, 2)]
    message = tunnel_info(SUITE, here, there, 1, 1) + b"\x01"
    keyed = hmac.new(raw, digestmod="sha256")

    def bare() -> None:
        for _ in range(count):
            hmac.digest(raw, message, "sha256")

    def bare_copied() -> None:
        for _ in range(count):
            one = keyed.copy()
            one.update(message)
            one.digest()

    def service() -> None:
        for number in range(1, count + 1):
            epoch.expand(tunnel_info(SUITE, here, there, number, number))

    def context() -> None:
        for number in range(1, count + 1):
            ends = (addresses[0], addresses[1], here.incarnation, there.incarnation)
            derive_key(secret, KeyContext(Purpose.TUNNEL, SUITE, "nve1", "nve2", *ends, number, number))

    seconds = {name: fastest_s(call) for name, call in locals().items() if callable(call) and name in _MEASURED}
    figures = {f"{name}_per_s": count / seconds[name] for name in _MEASURED}
    figures["ratio_to_bare"] = seconds["service"] / seconds["bare"]
    figures["ratio_to_bare_copied"] = seconds["service"] / seconds["bare_copied"]
    return figures


_MEASURED = ("bare", "bare_copied", "service", "context")


class Fleet:
    """Agents that obey, with what their switches hold."""

    def __init__(self, count: int, at_once: int, *, whole: bool) -> None:
        domain = domain_of(count, at_once)
        store = MemoryStore(bytes(16))
        self.whole = whole
        self.now = 1000.0
        self.names = [nve.name for nve in domain.nves]
        self.keys = KeyService(
            domain,
            Membership(domain),
            store,
            store.load(),
            random_bytes=os.urandom,
            wall_seconds=lambda: 1_700_000_000 + self.now,
            now=self.now,
            tell=lambda nve, tunnel: self.changed.setdefault(nve, {}).update({tunnel: None}),
        )
        self.changed: dict[str, dict[Tunnel, None]] = {}
        self.store = store
        self.messages = 0
        self.handed_out = 0
        self.events = 0

    def join(self) -> None:
        """All agents register."""
        incarnations = {name: os.urandom(16) for name in self.names}
        for name in self.names:
            for tunnel in self.keys.tunnels_of(name):
                up = ReceiverUp if tunnel.receiver == name else SenderUp
                self.keys.feed(tunnel, up(incarnations[name]), self.now)

    def settle(self) -> None:
        """Until nothing is new."""
        while self.changed:
            for name in list(self.changed):
                self.fetch(name)

    def fetch(self, name: str) -> None:
        """One message to an agent, and its answer."""
        new = self.changed.pop(name, {})
        self.messages += 2
        if self.whole:
            tunnels: tuple[Tunnel, ...] = self.keys.tunnels_of(name)
            receive, send = self.keys.for_nve(name, self.now)
        else:
            changes = self.keys.changes_for(name, new, self.now)
            tunnels, receive, send = changes.tunnels, changes.receive, changes.send
        self.handed_out += len(receive) + len(send)
        receives: dict[str, list[int]] = {}
        for sa in receive:
            receives.setdefault(sa.peer, []).append(sa.spi)
        sends = {sa.peer: sa.spi for sa in send}
        self.events += len(tunnels)
        for tunnel in tunnels:
            if tunnel.receiver == name:
                read = ReceiverRead(frozenset(receives.get(tunnel.sender, ())))
                self.keys.feed(tunnel, read, self.now)
            else:
                self.keys.feed(tunnel, SenderRead(sends.get(tunnel.receiver)), self.now)

    def rotate(self) -> None:
        """A new key in every direction, and every old one gone."""
        self.now += 2
        asked = self.now
        self.keys.rotate(list(self.keys.directions), asked)
        self.settle()
        while not all(
            len(d.sas) == 1 and d.sas[0].confirmed and d.sas[0].planned_at >= asked
            for d in self.keys.directions.values()
        ):
            self.now += 1
            self.keys.tick(self.now)
            self.settle()


def resident_bytes() -> int:
    """Memory of this process now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def rotation(count: int, at_once: int, *, whole: bool, profile: bool) -> dict[str, float]:
    """A full rotation of `count` NVEs of one VN, in this process."""
    gc.collect()
    before = resident_bytes()
    began = time.process_time()
    fleet = Fleet(count, at_once, whole=whole)
    fleet.join()
    fleet.settle()
    joined = time.process_time() - began
    directions = count * (count - 1)
    assert all(direction.is_established for direction in fleet.keys.directions.values())
    gc.collect()
    settled = resident_bytes()
    fleet.messages = fleet.handed_out = fleet.events = 0
    commits = fleet.store.version
    began, profiler = time.process_time(), cProfile.Profile()
    if profile:
        profiler.enable()
    fleet.rotate()
    profiler.disable()
    seconds = time.process_time() - began
    raw, message = os.urandom(32), os.urandom(171)
    bare = fastest_s(lambda: [hmac.digest(raw, message, "sha256") for _ in range(DERIVATIONS)]) / DERIVATIONS
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    return {
        "directions": directions,
        "first_keys_s": joined,
        "rotation_s": seconds,
        "rotations_per_s": directions / seconds,
        "ratio_to_bare_hmacs": seconds / (bare * directions),
        "messages": fleet.messages,
        "keys_in_messages": fleet.handed_out,
        "events": fleet.events,
        "commits": fleet.store.version - commits,
        "bytes_per_direction": (settled - before) / directions,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="keys derived per second, and rotations of many")
    parser.add_argument("--nves", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--whole", action="store_true", help="whole states instead of what changed")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # As in the processes: what is not shown costs nothing.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if options.only:
        figures = rotation(options.only, options.at_once, whole=options.whole, profile=options.profile)
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    shown: dict[str, dict[str, float]] = {"derivation": derivations()}
    for count in options.nves:
        arguments = [sys.executable, __file__, "--only", str(count), "--at-once", str(options.at_once)]
        arguments += ["--whole"] * options.whole + ["--profile"] * options.profile
        result = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
        shown[f"{count} NVEs"] = json.loads(result.stdout)
    if options.json:
        sys.stdout.write(json.dumps(shown, indent=1) + "\n")
        return
    for name, values in shown.items():
        sys.stdout.write(f"{name}\n")
        for label, value in values.items():
            sys.stdout.write(f"  {label:22} {value:14,.2f}\n")


if __name__ == "__main__":
    main()
