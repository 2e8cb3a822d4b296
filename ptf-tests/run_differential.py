# SPDX-License-Identifier: Apache-2.0
"""Differential runs of the NVE program on two targets.

    python ptf-tests/run_differential.py --packets 100000 --seed 1 --jobs 2 --json report.json
    python ptf-tests/run_differential.py --replay finding.json

Exit status: 0 without a difference, 1 with one, 2 if a target is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from differential.campaign import Campaign, Report
from differential.pair import Pair
from differential.steps import from_json
from harness import switches
from harness.session import pipeline_directory


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare two targets, packet for packet.")
    parser.add_argument("--packets", type=int, default=10_000, help="how many to compare (default 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", type=int, help="only the world of this number (the part of a seed behind the slash)")
    parser.add_argument("--jobs", type=int, default=1, help="pairs of switches that run at the same time")
    parser.add_argument("--findings", type=int, default=10, help="stop after so many differences (default 10)")
    parser.add_argument("--targets", nargs=2, default=["bmv2", "embedded"], choices=list(switches.EXECUTABLES))
    parser.add_argument("--json", type=Path, help="write the report there")
    parser.add_argument("--replay", type=Path, help="run the steps of a finding, or of a whole report")
    return parser.parse_args()


def _work(arguments: argparse.Namespace, pipeline: Path, job: int) -> Report:
    """One pair of switches. The worlds of all jobs together are those of one job."""
    started = time.monotonic()

    def progress(report: Report) -> None:
        rate = report.packets / (time.monotonic() - started)
        print(
            f"[{job}] {report.worlds} worlds, {report.packets} packets ({rate:.0f}/s), {report.updates} updates, "
            f"{len(report.findings)} differences",
            flush=True,
        )

    campaign = Campaign(tuple(arguments.targets), pipeline, progress)
    try:
        numbers = itertools.count(job, arguments.jobs) if arguments.world is None else iter([arguments.world])
        campaign.run(arguments.seed, numbers, arguments.packets // arguments.jobs, arguments.findings)
    finally:
        campaign.close()
    return campaign.report


def _replay(arguments: argparse.Namespace) -> int:
    stored = json.loads(arguments.replay.read_text())
    findings = stored.get("findings", [stored])
    pair = Pair(tuple(arguments.targets), pipeline_directory())
    differing = 0
    try:
        for finding in findings:
            pair.ordered = finding["ordered"]
            answer = pair.replay(from_json(finding["steps"]), with_entries=True)
            differing += answer is not None
            print(f"{finding['seed']}: " + ("no difference" if answer is None else answer[1].describe(pair.names)))
    finally:
        pair.close()
    return 1 if differing else 0


def main() -> int:
    arguments = _arguments()
    missing = [target for target in arguments.targets if switches.find(target) is None]
    if missing:
        print(f"not installed: {', '.join(switches.EXECUTABLES[target] for target in missing)}", file=sys.stderr)
        return 2
    if arguments.replay is not None:
        return _replay(arguments)
    # A copy, so that a program that is compiled anew in the meantime does not change half of the run.
    with tempfile.TemporaryDirectory(prefix="differential-") as copied:
        pipeline = Path(copied)
        for name in ("nve.json", "nve.p4info.txtpb"):
            shutil.copy(pipeline_directory() / name, pipeline)
        return _run(arguments, pipeline)


def _run(arguments: argparse.Namespace, pipeline: Path) -> int:
    started = time.monotonic()
    pair = Pair(tuple(arguments.targets), pipeline)
    versions = pair.versions()
    pair.close()
    whole = Report()
    if arguments.jobs == 1:
        whole.merge(_work(arguments, pipeline, 0))
    else:
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            jobs = range(arguments.jobs)
            for report in pool.map(_work, [arguments] * arguments.jobs, [pipeline] * arguments.jobs, jobs):
                whole.merge(report)
    seconds = time.monotonic() - started
    for finding in whole.findings:
        print("\n" + finding.describe())
    print(
        f"\n{whole.packets} packets and {whole.updates} updates in {whole.worlds} worlds ({whole.batches} batches): "
        f"{whole.outputs} packets and {whole.packet_ins} packet-ins came out, {sum(whole.drops.values())} were dropped "
        f"for {len(whole.drops)} reasons; {len(whole.findings)} differences. {seconds:.0f} s, targets {versions}, "
        f"seed {arguments.seed}"
    )
    if arguments.json is not None:
        program = hashlib.sha256((pipeline / "nve.json").read_bytes()).hexdigest()
        document = {
            "targets": versions,
            "program": program,
            "seed": arguments.seed,
            "jobs": arguments.jobs,
            "seconds": round(seconds),
            "packets": whole.packets,
            "worlds": whole.worlds,
            "batches": whole.batches,
            "updates": whole.updates,
            "outputs": whole.outputs,
            "packet_ins": whole.packet_ins,
            "codes": dict(whole.codes),
            "drops": dict(sorted(whole.drops.items())),
            "findings": [one.as_json() for one in whole.findings],
        }
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if whole.findings else 0


if __name__ == "__main__":
    sys.exit(main())
