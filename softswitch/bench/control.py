# SPDX-License-Identifier: Apache-2.0
"""What a small Write waits for while something long is done: reads of all tables, a large Write, a reconciliation.

    python softswitch/bench/control.py [--entries N] [--seconds S]

A switch of its own with a table of N entries, over a UNIX socket; clients in processes of their own. The small Write is
what the agent does for a lease: a MODIFY of a default action. Times are ratios to its median on the idle switch, which
is given once; its worst there says how busy the machine is. Processor time is the switch's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from finsy.proto import p4i, p4r, p4r_grpc
from google.protobuf import text_format

PROGRAM = Path(__file__).parents[1] / "tests" / "support" / "server_program" / "without_arrays"
DEVICE_ID = 1
PER_WRITE = 1000
LARGE = 20_000
"""Updates of a large Write."""
TICK = os.sysconf("SC_CLK_TCK")


def config(entries: int) -> Any:
    """The test program with a table of that size, and without the constant entries that nobody can carry over."""
    p4info = text_format.Parse(PROGRAM.with_suffix(".p4info.txtpb").read_text(), p4i.P4Info())
    program = json.loads(PROGRAM.with_suffix(".json").read_text())
    for pipeline in program["pipelines"]:
        for table in pipeline["tables"]:
            if table["name"] == "TestIngress.forward":
                table["max_size"] = entries
    kept = [table for table in p4info.tables if not table.is_const_table]
    del p4info.tables[:]
    p4info.tables.extend(kept)
    for table in p4info.tables:
        if table.preamble.name == "TestIngress.forward":
            table.size = entries
    return p4r.ForwardingPipelineConfig(p4info=p4info, p4_device_config=json.dumps(program).encode())


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.stub = p4r_grpc.P4RuntimeStub(grpc.insecure_channel(address, options=options))
        self.stub.Capabilities(p4r.CapabilitiesRequest(), wait_for_ready=True, timeout=120)
        self._ids = {
            item.preamble.name.rpartition(".")[2]: item.preamble.id
            for kind in (config(1).p4info.tables, config(1).p4info.actions)
            for item in kind
        }

    def push(self, entries: int, action: Any) -> None:
        request = p4r.SetForwardingPipelineConfigRequest(device_id=DEVICE_ID, action=action, config=config(entries))
        self.stub.SetForwardingPipelineConfig(request)

    def write(self, *updates: Any) -> None:
        self.stub.Write(p4r.WriteRequest(device_id=DEVICE_ID, updates=updates))

    def entry(self, number: int) -> Any:
        entry = p4r.TableEntry(table_id=self._ids["forward"])
        entry.match.add(field_id=1).exact.value = b"\x02" + number.to_bytes(5, "big")
        entry.action.action.action_id = self._ids["set_port"]
        entry.action.action.params.add(param_id=1, value=b"\x01")
        return entry

    def update(self, kind: Any, entry: Any) -> Any:
        return p4r.Update(type=kind, entity=p4r.Entity(table_entry=entry))

    def lease(self) -> None:
        """The small Write."""
        entry = p4r.TableEntry(table_id=self._ids["acl"], is_default_action=True)
        entry.action.action.action_id = self._ids["drop"]
        self.write(self.update(p4r.Update.MODIFY, entry))

    def read(self, entry: Any) -> int:
        entry.counter_data.SetInParent()
        entry.meter_config.SetInParent()
        request = p4r.ReadRequest(device_id=DEVICE_ID, entities=[p4r.Entity(table_entry=entry)])
        return sum(len(response.entities) for response in self.stub.Read(request))

    def many(self, kind: Any, count: int) -> None:
        self.write(*(self.update(kind, self.entry(number)) for number in range(count)))


def work(kind: str, address: str, entries: int) -> None:
    """What the other processes do, again and again, with a line for each time."""
    client = Client(address)
    while True:
        if kind == "reads":
            client.read(p4r.TableEntry())
        elif kind == "write":
            client.many(p4r.Update.MODIFY, min(LARGE, entries))
        else:
            client.push(entries, p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
        sys.stdout.write("done\n")
        sys.stdout.flush()


@contextlib.contextmanager
def switch(directory: Path) -> Iterator[tuple[int, str]]:
    """Process id and address."""
    address = f"unix:{directory / 'p4rt'}"
    command = [sys.executable, "-m", "p4softswitch.cli", "--no-p4", "--device-id", str(DEVICE_ID), "--cache-dir"]
    process = subprocess.Popen(
        [*command, str(directory / "cache"), "--", "--grpc-server-addr", address], stdout=subprocess.DEVNULL
    )
    try:
        yield process.pid, address
    finally:
        process.terminate()
        process.wait()


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def leases(client: Client, seconds: float) -> list[float]:
    """How long each small Write took, in seconds; one every ten milliseconds."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        client.lease()
        taken.append(time.perf_counter() - start)
        time.sleep(0.01)
    return sorted(taken)


def while_busy(client: Client, arguments: list[str], count: int, seconds: float) -> list[float]:
    """Small Writes meanwhile; that the long thing has been done once is waited for."""
    others = [
        subprocess.Popen([sys.executable, __file__, "--as", *arguments], stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for other in others:
            assert other.stdout is not None
            if not other.stdout.readline():
                sys.exit(f"{arguments[0]}: the client has failed")
        return leases(client, seconds)
    finally:
        for other in others:
            other.kill()
            other.wait()


def row(name: str, taken: list[float], unit: float) -> None:
    middle, most = taken[len(taken) // 2] / unit, taken[-1] / unit
    late = taken[int(len(taken) * 0.99)] / unit
    sys.stdout.write(f"{name:<24}{len(taken):>7}{middle:>10.1f}{late:>10.1f}{most:>10.1f}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=131_072)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--as", dest="role", choices=("reads", "write", "push"), help=argparse.SUPPRESS)
    parser.add_argument("address", nargs="?", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role is not None:
        work(args.role, args.address, args.entries)
    with tempfile.TemporaryDirectory() as name, switch(Path(name)) as (pid, address):
        client = Client(address)
        client.push(args.entries, p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
        for start in range(0, args.entries, PER_WRITE):
            numbers = range(start, min(args.entries, start + PER_WRITE))
            client.write(*(client.update(p4r.Update.INSERT, client.entry(number)) for number in numbers))
        idle = leases(client, args.seconds / 3)
        unit = idle[len(idle) // 2]
        sys.stdout.write(f"{args.entries} entries; an idle Write takes {unit * 1e3:.2f} ms, which is 1.0\n")
        singles = sorted(single(client, number * 997 % args.entries) for number in range(100))
        sys.stdout.write(f"a Read of one entry: {singles[len(singles) // 2] / unit:.1f}\n")
        before, start = processor_s(pid), time.perf_counter()
        found = client.read(p4r.TableEntry())
        taken, used = time.perf_counter() - start, processor_s(pid) - before
        sys.stdout.write(f"a Read of everything ({found}): {taken / unit:.0f}; {used:.2f} s of processor time\n")
        sys.stdout.write(f"{'small Writes':<24}{'number':>7}{'median':>10}{'99 %':>10}{'worst':>10}\n")
        row("idle", idle, unit)
        for title, role, count in (
            ("one reads everything", "reads", 1), ("four read everything", "reads", 4),
            ("a large Write", "write", 1), ("RECONCILE_AND_COMMIT", "push", 1),
        ):  # fmt: skip
            arguments = [role, address, "--entries", str(args.entries)]
            row(title, while_busy(client, arguments, count, args.seconds), unit)


def single(client: Client, number: int) -> float:
    start = time.perf_counter()
    client.read(client.entry(number))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
