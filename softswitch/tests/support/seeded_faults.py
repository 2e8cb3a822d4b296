# SPDX-License-Identifier: Apache-2.0
"""Faults planted into translator and runtime, one at a time; the traces and the random expressions must find each.

    python softswitch/tests/support/seeded_faults.py [--only TEXT]

Exits with 1 if one survives. It works on a copy of the package; every fault costs a few seconds of compilation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "p4softswitch"


@dataclass(frozen=True)
class Fault:
    name: str
    file: str
    old: str
    new: str


FAULTS = (
    Fault("key of an invalid header", "codegen/control.py", '? {text} : 0)"', '? {text} : {text})"'),
    Fault(
        "store without cutting",
        "codegen/writer.py",
        "convert(masked(value, width), c_bits(width))",
        "convert(value, c_bits(width))",
    ),
    Fault("comparison without a sign", "codegen/values.py", "if min(a.lo, b.lo) >= 0 and max", "if max"),
    Fault(
        "dirty high bits", "codegen/values.py", "masked(value, inner.width) if inner.width < width else value", "value"
    ),
    Fault(
        "rotation the wrong way",
        "codegen/values.py",
        '{piece.width})", width, width)',
        '{width - piece.width})", width, width)',
    ),
    Fault("any bytes are a byte swap", "codegen/pieces.py", "and p.src == first.src - 8 * i", ""),
    Fault(
        "shift right without sign",
        "codegen/values.py",
        "if node.left.lo >= 0:\n            left = self.exact",
        "if True:\n            left = self.low(node.left, inner)\n            left = masked(left, inner) if True else "
        "self.exact",
    ),
    Fault(
        "shift left beyond the type",
        "codegen/values.py",
        "({amount.text} < {bits}u ? {left.text} << {amount.text} : 0)",
        "({left.text} << ({amount.text} & {bits - 1}))",
    ),
    Fault(
        "signed saturation as unsigned",
        "runtime/base.h",
        "const type bottom = with_sign ? -top - 1 : 0;",
        "const type bottom = 0;",
    ),
    Fault("add_header keeps the bytes", "codegen/writer.py", "memset({pointer}, 0, {size}); valid_set", "valid_set"),
    Fault("packet length stays", "codegen/writer.py", "P->packet_length -= {size};", ""),
    Fault("drop keeps the group", "codegen/actions.py", "if group is not None:", "if False:"),
    Fault("stack overrun is accepted", "codegen/parser.py", "{self._fail('StackOutOfBounds')}", "goto end;"),
    Fault("loop takes a turn too many", "codegen/loops.py", 'test.op == "<"', 'test.op in ("<", "<=")'),
    Fault("counter continues unmasked", "codegen/actions.py", '{counter}++) {{"', '{counter} += 2) {{"'),
    Fault(
        "push leaves validity",
        "runtime/packet.h",
        "for (uint32_t i = 0; i < n; i++) valid_clear(&P->phv, first + i);",
        "",
    ),
    Fault(
        "pop shifts too far",
        "runtime/packet.h",
        "P->phv.h + base + n * size, (size_t)(count - n) * size);\n  for (uint32_t i = 0; i < count - n",
        "P->phv.h + base + (n - 1) * size, (size_t)(count - n) * size);\n  for (uint32_t i = 0; i < count - n",
    ),
    Fault(
        "lowest priority first", "runtime/tables.h", "before->priority < priority ||", "before->priority > priority ||"
    ),
    Fault(
        "later entry of equal priority",
        "runtime/tables.h",
        "before->slot < slot)) break;",
        "before->slot > slot)) break;",
    ),
    Fault(
        "shortest prefix first",
        "runtime/tables.h",
        "T->groups[at].prefix > prefix) at++",
        "T->groups[at].prefix < prefix) at++",
    ),
    Fault(
        "open upper end of ranges",
        "runtime/tables.h",
        "if (v < a || v > b) return 0;",
        "if (v < a || v >= b) return 0;",
    ),
    Fault("peak rate asked last", "runtime/switch.h", "color = i == 0 ? 2 : 1;", "color = i == 0 ? 1 : 2;"),
    Fault("clone after ingress", "runtime/traffic.h", "parse(S, copy, data, len);\n", ""),
    Fault(
        "clone keeps metadata",
        "runtime/traffic.h",
        "    memset(&copy->phv.m, 0, sizeof copy->phv.m); /* all",
        "    /* all",
    ),
    Fault(
        "multicast before resubmission",
        "runtime/traffic.h",
        "if (unlikely(P->resubmit)) {",
        "if (unlikely(P->resubmit) && !get_mcast_grp(P)) {",
    ),
    Fault(
        "truncation survives replication",
        "runtime/traffic.h",
        "    flags_clear(copy);\n    if (g->truncate)",
        "    { uint64_t t = copy->truncated; flags_clear(copy); copy->truncated = t; }\n    if (g->truncate)",
    ),
    Fault("instance type of unicast", "runtime/traffic.h", "  set_instance_type(P, TYPE_NORMAL);\n", ""),
    Fault(
        "checksum of the odd byte",
        "runtime/hashes.h",
        "if (len) {\n    uint64_t v = 0;",
        "if (len & ~1) {\n    uint64_t v = 0;",
    ),
    Fault("crc of the wrong polynomial", "runtime/hashes.h", "0xa001", "0x8408"),
    Fault(
        "bytes counted at the end",
        "runtime/packet.h",
        "c->bytes += P->ingress_length;",
        "c->bytes += P->packet_length;",
    ),
    Fault(
        "a local that is read first",
        "codegen/liveness.py",
        "if any(read == ref for part",
        "if False and any(read == ref for part",
    ),
)

_CHECK = """
import json, sys
from engine_random import random_packets, random_program
from engine_scenarios import apply
from engine_support import load_bytes, load_program
from engine_traces import TRACES, decode
for path in sorted(TRACES.glob("*.json")):
    trace = json.loads(path.read_text())
    engine = load_program(trace["program"])
    apply(engine, [decode(step) for step in trace["setup"]])
    for exchange in trace["exchanges"]:
        outputs = sorted(engine.process(exchange["port"], bytes.fromhex(exchange["packet"])))
        if outputs != [(port, bytes.fromhex(frame)) for port, frame in exchange["outputs"]]:
            sys.exit(3)
    for name, cells in trace["counters"].items():
        counted = [engine.counter_read(name, i) for i in range(len(cells))]
        if [[c.packets, c.bytes] for c in counted] != cells:
            sys.exit(3)
for seed in range(6):
    program = random_program(seed)
    engine = load_bytes(program.json_bytes)
    for packet in random_packets(program, seed, 60):
        if engine.process(1, packet) != [(2, program.expected(packet))]:
            sys.exit(3)
"""


def check(root: Path) -> int:
    """Exit status of the comparison with the package under root: 0 if it finds nothing."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}
    command = [sys.executable, "-c", _CHECK]
    result = subprocess.run(command, env=environment, capture_output=True, timeout=600, check=False)
    return result.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name has it")
    wanted = parser.parse_args().only
    survivors = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shutil.copytree(PACKAGE, root / "p4softswitch")
        if not wanted and check(root) != 0:
            sys.exit("the comparison fails without any fault")
        for fault in FAULTS:
            if wanted not in fault.name:
                continue
            path = root / "p4softswitch" / fault.file
            original = path.read_text()
            if original.count(fault.old) < 1:
                sys.exit(f"{fault.name}: the place in {fault.file} is gone")
            path.write_text(original.replace(fault.old, fault.new, 1))
            found = check(root)
            path.write_text(original)
            sys.stdout.write(f"{'found' if found else 'SURVIVED':9} {fault.name}\n")
            sys.stdout.flush()
            if not found:
                survivors.append(fault.name)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
