# SPDX-License-Identifier: Apache-2.0
"""Takes every check out of the P4 program, one at a time, and runs the packet tests: one of them must fail.

    python ptf-tests/mutants/run.py [--only TEXT] [--jobs 2] [--target embedded|bmv2] [--json OUT] [--list]

Needs p4c-bm2-ss on PATH. Exit status: 0 if every mutant was killed or is on the list of those that nobody can tell
from the program, 1 if one survived (or one of that list was killed), 2 if tests fail without any mutation, or something
is missing. --tolerate leaves out, and names, tests that fail without any mutation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutants.semantic import EQUIVALENT, semantic_mutants
from mutants.sources import Mutant, Sources, enumerate_mutants

TESTS = Path(__file__).resolve().parents[1]
P4SRC = TESTS.parent / "p4src"
COMPILER = "p4c-bm2-ss"
SECONDS = 900
# Where to look first for mutants of a file that name no drop reason.
HINTS = {
    "ecn_decapsulation": ("test_ecn", "ECN_NOT_CAPABLE"),
    "flow_block": ("entropy", "flow"),
    "inner_view": ("MALFORMED_ARP", "SOURCE_GUARD", "ip6"),
    "nd_view": ("MALFORMED_ND", "ROGUE_ROUTER", "neighbor"),
    "bridging": ("neighbor", "arp"),
    "replay_window": ("REPLAYED", "REPLAY_TOO_LATE", "REPLAY_GENERATION"),
    "switch_self": ("INCARNATION",),
    "egress_self": ("TX_INCARNATION",),
}


@dataclass
class Result:
    name: str
    status: str  # killed, survived, equivalent, broken
    test: str = ""
    message: str = ""
    seconds: float = 0.0
    expected: bool = True
    failed: list[str] = field(default_factory=list)

    def is_good(self) -> bool:
        """As it should be: killed, in the way that was foreseen, or listed as equivalent and not killed."""
        if self.name in EQUIVALENT:
            return self.status == "equivalent"
        return self.status == "killed" and self.expected

    def describe(self) -> str:
        text = f"{self.status:10} {self.name}"
        if self.status == "killed":
            text += f"   by {self.test.split('/')[-1]} ({self.seconds:.0f} s)"
            if not self.expected:
                text += f"\n           but not as foreseen: {self.message[:300]}"
            if self.name in EQUIVALENT:
                text += "\n           although it is listed as equivalent"
        elif self.message:
            text += f"\n           {self.message[:600]}"
        return text


def _compile(program: Path, output: Path) -> str:
    """Empty, or what the compiler says."""
    output.mkdir()
    outputs = ["-o", str(output / "nve.json"), "--p4runtime-files", str(output / "nve.p4info.txtpb")]
    answer = subprocess.run(
        [COMPILER, "--std", "p4-16", "v1model/nve.p4", *outputs],
        cwd=program,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return "" if answer.returncode == 0 else answer.stderr[-2000:]


def _quick_compiler(directory: Path) -> Path | None:
    """The embedded switch compiles C; for a program that lives for seconds, optimizing it is time lost."""
    usual = shutil.which("cc") or shutil.which("gcc")
    if usual is None:
        return None
    script = directory / "cc"
    script.write_text(f'#!/bin/sh\nexec {usual} "$@" -O0\n')
    script.chmod(0o700)
    return script


class Runner:
    """Compiles and tests mutants, each in a directory of its own."""

    def __init__(self, sources: Sources, target: str) -> None:
        self._sources = sources
        self._target = target
        self.left_out: list[str] = []  # ids of tests that do not count

    def run(self, mutant: Mutant | None) -> Result:
        """None: the program as it is, and all tests although some fail."""
        started = time.monotonic()
        result = Result(mutant.name if mutant else "no mutation", "broken")
        with tempfile.TemporaryDirectory(prefix="nve-mutant-") as made:
            directory = Path(made)
            self._sources.written(mutant, directory / "program")
            try:
                result.message = _compile(directory / "program", directory / "pipeline")
                if not result.message:
                    self._test(directory, mutant, result)
            except subprocess.TimeoutExpired as error:
                result.message = str(error)
        result.seconds = time.monotonic() - started
        if mutant is not None:
            result.expected = bool(re.search(mutant.expected, result.message, re.DOTALL))
        if result.status == "survived" and result.name in EQUIVALENT:
            result.status, result.message = "equivalent", EQUIVALENT[result.name]
        return result

    def _test(self, directory: Path, mutant: Mutant | None, result: Result) -> None:
        outcome = directory / "outcome.json"
        hints = mutant.hints + HINTS.get(mutant.name.split()[0], ()) if mutant else ()
        environment = os.environ | {
            "NVE_PIPELINE": str(directory / "pipeline"),
            "NVE_MUTANT_HINTS": ",".join(hints),
            "NVE_MUTANT_RESULT": str(outcome),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            "XDG_CACHE_HOME": str(directory / "cache"),
        }
        compiler = _quick_compiler(directory)
        if compiler is not None:
            environment["P4SOFTSWITCH_CC"] = str(compiler)
        command = [sys.executable, "-m", "pytest", str(TESTS), "-q", "--target", self._target]
        command += ["-p", "mutants.order", "-p", "no:cacheprovider"]
        command += [f"--deselect={test}" for test in self.left_out]
        if mutant is not None:
            command.append("-x")
        with open(directory / "output", "wb") as log:
            subprocess.run(
                command,
                cwd=TESTS.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
        if outcome.exists():
            found = json.loads(outcome.read_text())
            result.status, result.test, result.message = found["status"], found["test"], found["message"]
            result.failed = found["failed"]
        if result.status == "broken":
            result.message += "\n" + (directory / "output").read_text(errors="replace")[-2000:]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutants of the P4 program against the packet tests.")
    parser.add_argument("--only", action="append", default=[], help="mutants whose name contains this text; repeatable")
    parser.add_argument("--target", default="embedded", choices=["embedded", "bmv2"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--list", action="store_true", help="print the names of the mutants and end")
    parser.add_argument("--tolerate", action="store_true", help="go on although tests fail without any mutation")
    return parser.parse_args()


def _baseline(runner: Runner, tolerate: bool) -> bool:
    """Whether the tests mean anything."""
    result = runner.run(None)
    if result.status == "survived":
        return True
    print(f"without any mutation: {result.describe()}\n{result.message[:2000]}", file=sys.stderr)
    print("".join(f"  {test}\n" for test in result.failed), file=sys.stderr)
    runner.left_out = result.failed
    return tolerate and result.status == "killed"


def _run_all(runner: Runner, mutants: list[Mutant], jobs: int) -> list[Result]:
    results = []
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(runner.run, mutant) for mutant in mutants]):
            results.append(future.result())
            print(f"[{len(results)}/{len(mutants)}] {results[-1].describe()}", flush=True)
    return results


def main() -> int:
    arguments = _arguments()
    sources = Sources(P4SRC)
    mutants = [*enumerate_mutants(sources), *semantic_mutants(sources)]
    unknown = EQUIVALENT.keys() - {mutant.name for mutant in mutants}
    if unknown:
        print(f"listed as equivalent, but not among the mutants: {sorted(unknown)}", file=sys.stderr)
        return 2
    if arguments.only:
        mutants = [one for one in mutants if any(text in one.name for text in arguments.only)]
    if arguments.list:
        print("\n".join(one.name for one in mutants))
        return 0
    if shutil.which(COMPILER) is None:
        print(f"{COMPILER} is not on PATH", file=sys.stderr)
        return 2
    runner = Runner(sources, arguments.target)
    if not _baseline(runner, arguments.tolerate):
        return 2
    started = time.monotonic()
    results = _run_all(runner, mutants, arguments.jobs)
    bad = [result for result in results if not result.is_good()]
    counts = Counter(one.status for one in results)
    print(f"\n{len(results)} mutants on {arguments.target}: {dict(counts)}, {time.monotonic() - started:.0f} s")
    for result in bad:
        print("NOT AS IT SHOULD BE: " + result.describe())
    if runner.left_out:
        print(f"left out, since they fail without any mutation: {runner.left_out}")
    if arguments.json is not None:
        listed = [asdict(one) for one in sorted(results, key=lambda one: one.name)]
        document = {"target": arguments.target, "counts": counts, "left_out": runner.left_out, "results": listed}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if bad or runner.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
