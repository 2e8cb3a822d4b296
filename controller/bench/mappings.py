# SPDX-License-Identifier: Apache-2.0
"""Mappings applied per second, in memory and on disk, against bare SQLite; and the memory of many mappings.

    python controller/bench/mappings.py [--mappings 100000] [--commits 300] [--directory DIR] [--json]

Figures are of one process on one core: of its CPU time where there is no disk, so that other load does not count. The
disk's part depends on how long it takes to sync: the bare figures are its floor, measured in the same place at the same
time, with the same settings (WAL, synchronous=FULL). A commit of the store syncs three times, a bare one once.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from nvo3sec.domain.mapping import (
    Attach,
    Configured,
    Detach,
    LeaseRenewed,
    Limits,
    MappingState,
    Place,
    Scope,
    step,
)
from nvo3sec.domain.messages.session import Lookup
from nvo3sec.nva.mappings.service import MappingService
from nvo3sec.nva.store import MemoryStore, PutVap, Store, open_store

NVES = 1000
VNS = 1000
BATCH = 100
LEASE_S = 1e9
LIMITS = Limits(claims_per_nve=1 << 20, claims_per_vap=1 << 20)


def place(number: int) -> Place:
    """Where mapping `number` is: each NVE serves one VAP for each of ten VNs."""
    return Place(f"leaf{number % NVES}", 1, number // NVES % 10)


def vni_of(where: Place) -> int:
    """The VN of a VAP."""
    return 1 + (int(where.nve[4:]) * 10 + where.vlan) % VNS


def announcements(count: int, start: int = 0) -> Iterator[Attach]:
    """`count` tenant systems with one IP address each."""
    for number in range(start, start + count):
        where = place(number)
        address = IPv4Address((10 << 24) + number)
        yield Attach(where.nve, where.port, where.vlan, vni_of(where), 0x0200_0000_0000 + number * 2, (address,))


def scope() -> Scope:
    """1,000 NVEs with ten VAPs each."""
    return Scope({place(number): vni_of(place(number)) for number in range(10 * NVES)})


def memory_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def pure(count: int) -> dict[str, float]:
    """The state machine alone."""
    state = step(MappingState(limits=LIMITS), Configured(scope()), 0.0).state
    for number in range(NVES):
        state = step(state, LeaseRenewed(f"leaf{number}", LEASE_S), 0.0).state
    events = list(announcements(count))
    gc.collect()
    before = memory_bytes()
    began = time.process_time()
    for event in events:
        state = step(state, event, 1.0).state
    attach_s = time.process_time() - began
    gc.collect()
    grown = memory_bytes() - before
    moved = events[: count // 10]
    began = time.process_time()
    for event in moved:
        state = step(state, Detach(event.nve, event.port, event.vlan, event.mac), 1.0).state
        state = step(state, event, 1.0).state
    move_s = time.process_time() - began
    began = time.process_time()
    for event in moved:
        assert state.find((event.vni, event.mac)) is not None
    find_s = time.process_time() - began
    return {
        "attach_per_s": count / attach_s,
        "move_per_s": len(moved) / move_s,
        "find_per_s": len(moved) / find_s,
        "bytes_per_mapping": grown / count,
        "memory_mib": grown / 2**20,
    }


def service(store: Store) -> MappingService:
    """A mapping service whose NVEs all have leases."""
    store.commit([PutVap(where, vni) for where, vni in scope().vaps.items()])
    made = MappingService(store, store.load(), 0.0, LIMITS)
    made.handle([Configured(scope())], 0.0)
    made.handle([LeaseRenewed(f"leaf{number}", LEASE_S) for number in range(NVES)], 0.0)
    return made


def served(made: MappingService, commits: int, batch: int, *, durable: bool) -> float:
    """Mappings per second through the service, `batch` in a commit: of wall time if there is a disk."""
    clock = time.perf_counter if durable else time.process_time
    events = list(announcements(commits * batch, start=1_000_000 * batch))
    began = clock()
    for at in range(0, len(events), batch):
        made.handle(events[at : at + batch], 1.0)
    seconds = clock() - began
    assert made.look_up(events[-1].nve, Lookup(events[-1].vni, events[-1].mac)).nve == events[-1].nve
    return len(events) / seconds


def bare(directory: Path, commits: int, batch: int) -> float:
    """Rows per second into one table of SQLite, `batch` in a transaction."""
    connection = sqlite3.connect(directory / f"bare-{batch}.sqlite", isolation_level=None)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE claim (nve TEXT, vlan INTEGER, mac INTEGER PRIMARY KEY, vni INTEGER, ips TEXT)")
    rows = [(e.nve, e.vlan, e.mac, e.vni, str(e.ips[0])) for e in announcements(commits * batch)]
    began = time.perf_counter()
    for at in range(0, len(rows), batch):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", rows[at : at + batch])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return len(rows) / seconds


def sync_s(directory: Path, count: int = 100) -> float:
    """Seconds of one fdatasync of a small write."""
    descriptor = os.open(directory / "sync", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(descriptor, bytes(512), 0)
    os.fsync(descriptor)
    began = time.perf_counter()
    for number in range(count):
        os.pwrite(descriptor, number.to_bytes(512, "big"), 0)
        os.fdatasync(descriptor)
    seconds = (time.perf_counter() - began) / count
    os.close(descriptor)
    return seconds


def opening_s(directory: Path) -> tuple[float, float, int]:
    """CPU seconds to open and verify the database, to make the state from it, and how many mappings there are."""
    began = time.process_time()
    store = open_store(directory / "db" / "nva.sqlite", directory / "keys", "bench")
    stored = store.load()
    opened = time.process_time()
    MappingService(store, stored, 0.0, LIMITS)
    done = time.process_time()
    store.close()
    return opened - began, done - opened, len(stored.claims)


def on_disk(directory: Path, commits: int, mappings: int) -> dict[str, float]:
    """Everything that syncs."""
    result = {"sync_ms": sync_s(directory) * 1000}
    store = open_store(directory / "db" / "nva.sqlite", directory / "keys", "bench")
    made = service(store)
    for batch in (1, BATCH):
        result[f"bare_per_s_{batch}"] = bare(directory, commits, batch)
        result[f"store_per_s_{batch}"] = served(made, commits, batch, durable=True)
        result[f"ratio_{batch}"] = result[f"store_per_s_{batch}"] / result[f"bare_per_s_{batch}"]
    rest = list(announcements(mappings))
    for at in range(0, len(rest), 1000):
        made.handle(rest[at : at + 1000], 1.0)
    store.close()
    result["open_s"], result["restore_s"], result["open_mappings"] = opening_s(directory)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="mappings per second, and their memory")
    parser.add_argument("--mappings", type=int, default=100_000)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; a temporary one unless told")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {"state machine": pure(options.mappings)}
    volatile = service(MemoryStore(bytes(16)))
    figures["service, memory store"] = {
        f"per_s_{batch}": served(volatile, options.commits, batch, durable=False) for batch in (1, BATCH)
    }
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        figures["service, SQLite store"] = on_disk(Path(directory), options.commits, options.mappings)
    show: Callable[[str], int] = sys.stdout.write
    if options.json:
        show(json.dumps(figures, indent=1) + "\n")
        return
    for name, values in figures.items():
        show(f"{name}\n")
        for label, value in values.items():
            show(f"  {label:20} {value:12,.2f}\n")


if __name__ == "__main__":
    main()
