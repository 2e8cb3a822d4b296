# SPDX-License-Identifier: Apache-2.0
"""Takes every check out of the P4 program, one at a time, and runs the packet tests: one of them must fail.

    python ptf-tests/run_mutants.py [--only TEXT] [--jobs 2] [--target embedded|bmv2] [--json OUT] [--list]

Needs p4c-bm2-ss on PATH. Exit status: 0 if every mutant was killed or is on the list of those that nobody can tell
from the program, 1 if one survived (or one of that list was killed), 2 if tests fail without any mutation, or something
is missing. --tolerate leaves out, and names, tests that fail without any mutation.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

from mutants import tests
from mutants.semantic import EQUIVALENT, semantic_mutants
from mutants.sources import PLACEHOLDER, AllInOne, Mutant, Sources
from mutants.tests import Extent

TESTS = Path(__file__).resolve().parent
P4SRC = TESTS.parent / "p4src"
COMPILER = "p4c-bm2-ss"
SECONDS = 900
# What the harness says of a program that lets its first packet not pass, and has two minutes for it.
NOTHING_PASSES = "no answer (the switch is alive)"
# Where to look first for mutants of a file that name no drop reason.
HINTS = {
    "ecn_decapsulation": ("test_ecn", "ECN_NOT_CAPABLE"),
    "flow_block": ("flow", "entropy"),
    "source_validation": ("ROGUE_SERVER", "ROGUE_ROUTER", "HIDDEN_PROTOCOL", "MALFORMED_ND"),
    "announcement_view": ("Told", "Announcements"),
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
            by = self.failed[0] if self.failed else "the harness, whose first packet does not pass"
            text += f"   by {by} ({self.seconds:.0f} s)"
            if not self.expected:
                text += f"\n           but not as foreseen: {self.message[:300]}"
            if self.name in EQUIVALENT:
                text += "\n           although it is listed as equivalent"
        elif self.message:
            text += f"\n           {self.message[:600]}"
        return text


class CompilationFailed(Exception):
    """The text is p4c's."""


def _compile(program: Path, output: Path) -> None:
    outputs = ["-o", str(output / "nve.json"), "--p4runtime-files", str(output / "nve.p4info.txtpb")]
    answer = subprocess.run(
        [COMPILER, "--std", "p4-16", "-I", "v1model", "v1model/nve.p4", *outputs],
        cwd=program,
        # p4c collects garbage for a third of its time unless it may use memory instead.
        env=os.environ | {"GC_INITIAL_HEAP_SIZE": "2000000000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise CompilationFailed(answer.stderr[-2000:])


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
    """Compiles mutants and has them tested, each on a switch of its own."""

    def __init__(self, sources: Sources, target: str, cache: Path, thorough: bool) -> None:
        self._thorough = thorough
        self._sources = sources
        self._all_in_one = AllInOne(sources)
        self._target = target
        self._cache = cache
        self.left_out: list[str] = []  # names of tests that do not count

    def run(self, mutant: Mutant | None) -> Result:
        """None: the program as it is, and all tests although some fail."""
        started = time.monotonic()
        result = Result(mutant.name if mutant else "no mutation", "broken")
        try:
            pipeline = self._compiled(mutant)
        except (CompilationFailed, subprocess.TimeoutExpired) as error:
            result.message = str(error)
            return result
        hints = mutant.hints + HINTS.get(mutant.name.split()[0], ()) if mutant else ()
        extent = Extent.UNTIL_ONE_FAILS if mutant else Extent.ALL
        if result.name in EQUIVALENT and not self._thorough:
            extent = Extent.ABOUT_IT
        outcome = tests.run(TESTS, pipeline, self._target, hints, self.left_out, extent)
        result.message, result.failed = outcome.message, outcome.failed
        if outcome.started:
            result.status = "killed" if outcome.failed else "survived"
        elif mutant is not None and NOTHING_PASSES in outcome.message and self._passes_without():
            result.status = "killed"
        if mutant is not None:
            result.expected = bool(re.search(mutant.expected, result.message, re.DOTALL))
        if result.status == "survived" and result.name in EQUIVALENT:
            result.status, result.message = "equivalent", EQUIVALENT[result.name]
        result.seconds = time.monotonic() - started
        return result

    def _passes_without(self) -> bool:
        """Whether the program as it is lets the harness's first packet pass, on this machine and now."""
        about = Extent.ABOUT_IT
        return tests.run(TESTS, self._compiled(None), self._target, ("StateReports",), self.left_out, about).started

    def _compiled(self, mutant: Mutant | None) -> Path:
        """Where p4c's output is: for mutants with edits of their own, or of the program that holds all the others."""
        if mutant is not None and mutant.edits:
            return self._compiled_texts(self._sources.edited(mutant.edits))
        whole = self._compiled_texts(self._sources.edited(self._all_in_one.edits))
        number = mutant.number if mutant else 0
        target = whole.with_name(f"{whole.name}-{number}")
        if not target.exists():
            text = (whole / "nve.json").read_text()
            if text.count(f'"{PLACEHOLDER:#06x}"') != 1:
                raise CompilationFailed("the number of the mutant is not in p4c's output exactly once")
            target.mkdir()
            shutil.copy(whole / "nve.p4info.txtpb", target)
            (target / "nve.json").write_text(text.replace(f'"{PLACEHOLDER:#06x}"', f'"{number:#06x}"'))
        return target

    def _compiled_texts(self, texts: dict[str, str]) -> Path:
        """A program that was compiled before is found by the hash of its text."""
        target = self._cache / hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        if target.exists():
            return target
        with tempfile.TemporaryDirectory(prefix="program-", dir=self._cache) as made:
            program = Path(made)
            for file, text in texts.items():
                (program / file).parent.mkdir(parents=True, exist_ok=True)
                (program / file).write_text(text)
            output = program / "output"
            output.mkdir()
            _compile(program, output)
            # Another process may have been quicker with the same program.
            with contextlib.suppress(OSError):
                output.rename(target)
        return target


# One of each worker process: a test run wants a process for itself, but not a new one each time.
_worker: list[Runner] = []


def _start_worker(target: str, cache: Path, thorough: bool, left_out: list[str]) -> None:
    runner = Runner(Sources(P4SRC), target, cache, thorough)
    runner.left_out = left_out
    _worker[:] = [runner]
    logging.getLogger("dataplane").setLevel(logging.ERROR)  # PTF's, of short packets
    os.environ["XDG_CACHE_HOME"] = str(cache)
    compiler = _quick_compiler(cache)
    if compiler is not None:
        os.environ["P4SOFTSWITCH_CC"] = str(compiler)


def _work(mutant: Mutant | None) -> Result:
    return _worker[0].run(mutant)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutants of the P4 program against the packet tests.")
    parser.add_argument("--only", action="append", default=[], help="mutants whose name contains this text; repeatable")
    parser.add_argument("--target", default="embedded", choices=["embedded", "bmv2"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--list", action="store_true", help="print the names of the mutants and end")
    parser.add_argument("--cache", type=Path, help="keep what was compiled there, for the next run")
    parser.add_argument("--thorough", action="store_true", help="all tests for those listed as equivalent, too")
    parser.add_argument("--tolerate", action="store_true", help="go on although tests fail without any mutation")
    return parser.parse_args()


def _pool(arguments: argparse.Namespace, cache: Path, jobs: int, left_out: list[str]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(arguments.target, cache, arguments.thorough, left_out),
    )


def _baseline(arguments: argparse.Namespace, cache: Path) -> list[str] | None:
    """Names of tests that fail without any mutation; None if the others would not mean anything either."""
    with _pool(arguments, cache, 1, []) as pool:
        result = pool.submit(_work, None).result()
    if result.status != "survived":
        print(f"without any mutation: {result.message[:2000]}\nfailed: {result.failed}", file=sys.stderr)
    return result.failed if result.status == "survived" or (arguments.tolerate and result.failed) else None


def _run_all(arguments: argparse.Namespace, mutants: list[Mutant], cache: Path, left_out: list[str]) -> list[Result]:
    results = []
    with _pool(arguments, cache, arguments.jobs, left_out) as pool:
        for future in as_completed([pool.submit(_work, mutant) for mutant in mutants]):
            results.append(future.result())
            print(f"[{len(results)}/{len(mutants)}] {results[-1].describe()}", flush=True)
    return results


def main() -> int:
    arguments = _arguments()
    sources = Sources(P4SRC)
    mutants = sorted([*AllInOne(sources).mutants, *semantic_mutants(sources)], key=lambda one: one.name in EQUIVALENT)
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
    with tempfile.TemporaryDirectory(prefix="nve-mutants-") as made:
        cache = (arguments.cache or Path(made)).resolve()
        cache.mkdir(parents=True, exist_ok=True)
        left_out = _baseline(arguments, cache)
        if left_out is None:
            return 2
        started = time.monotonic()
        results = _run_all(arguments, mutants, cache, left_out)
    bad = [result for result in results if not result.is_good()]
    counts = Counter(one.status for one in results)
    print(f"\n{len(results)} mutants on {arguments.target}: {dict(counts)}, {time.monotonic() - started:.0f} s")
    for result in bad:
        print("NOT AS IT SHOULD BE: " + result.describe())
    if left_out:
        print(f"left out, since they fail without any mutation: {left_out}")
    if arguments.json is not None:
        listed = [asdict(one) for one in sorted(results, key=lambda one: one.name)]
        document = {"target": arguments.target, "counts": counts, "left_out": left_out, "results": listed}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if bad or left_out else 0


if __name__ == "__main__":
    sys.exit(main())
