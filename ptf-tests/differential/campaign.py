# SPDX-License-Identifier: Apache-2.0
"""Worlds one after the other, until enough packets were compared. A difference ends its world and is reduced."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.schema import Schema

from differential.frames import Traffic
from differential.pair import Pair
from differential.shrink import shrink
from differential.steps import Difference, Outcome, Step, Write, to_json
from differential.updates import Updates
from differential.worlds import World

ROUNDS = 60  # batches of a world, before the replays
SHRINK_AT_MOST = 6  # differences of one run; what comes after them is counted and stored as it is


@dataclass
class Finding:
    """A difference: where it was found, and the shortest list of steps that shows it."""

    seed: str
    step: int
    difference: Difference
    steps: list[Step]
    names: tuple[str, str]
    ordered: bool
    reduced: bool

    def describe(self) -> str:
        lines = [f"seed {self.seed}, step {self.step}: {self.difference.describe(self.names)}"]
        if self.reduced:
            lines += [f"  {text}" for step in self.steps for text in step.describe()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "step": self.step,
            "what": self.difference.what,
            "outcomes": [self.difference.first, self.difference.second],
            "ordered": self.ordered,
            "reduced": self.reduced,
            "steps": to_json(self.steps),
        }


@dataclass
class Report:
    packets: int = 0
    worlds: int = 0
    batches: int = 0
    updates: int = 0
    outputs: int = 0
    packet_ins: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def merge(self, other: Report) -> None:
        for name in ("packets", "worlds", "batches", "updates", "outputs", "packet_ins"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.codes += other.codes
        self.drops += other.drops
        self.findings += other.findings


def steps_of(world: World, schema: Schema) -> Iterator[Step]:
    """What is installed, then batches with changes in between, then questions and replays."""
    chooser = world.chooser
    traffic = Traffic(world, chooser)
    updates = Updates(world, schema, chooser)
    yield updates.initial()
    yield traffic.registers()
    for _ in range(ROUNDS):
        yield traffic.batch()
        if chooser.random() < 0.5:
            yield updates.next()
        if chooser.random() < 0.05:
            yield traffic.state_questions()
            yield traffic.batch()
            yield traffic.registers()
        if chooser.random() < 0.05:
            yield traffic.packet_outs()
        if chooser.random() < 0.25:
            yield updates.healing()
    yield updates.healing()
    yield traffic.registers()
    yield from traffic.replays()
    yield traffic.registers()


def world_seed(seed: int, number: int) -> str:
    return f"{seed}/{number}"


class Campaign:
    """`progress` is called after each world."""

    def __init__(self, names: tuple[str, str], pipeline: Path, progress: Callable[[Report], None]) -> None:
        self._pair = Pair(names, pipeline)
        self._names = names
        self._progress = progress
        self.report = Report()

    def close(self) -> None:
        self._pair.close()

    def versions(self) -> dict[str, str]:
        return self._pair.versions()

    def run(self, seed: int, numbers: Iterator[int], packets: int, findings: int) -> None:
        """Ends after `packets` packets, or when `findings` differences were found."""
        for number in numbers:
            if self.report.packets >= packets or len(self.report.findings) >= findings:
                return
            self.run_world(world_seed(seed, number))
            self._progress(self.report)

    def run_world(self, seed: str) -> None:
        self._pair.reset()
        self.report.worlds += 1
        done: list[Step] = []
        outcome = Outcome()
        world = World(random.Random(seed))
        self._pair.ordered = world.ordered
        for step in steps_of(world, self._pair.schema):
            done.append(step)
            outcome, difference = self._pair.run(step)
            self._note(step, outcome)
            if difference is not None:
                self._found(seed, done, difference)
                return
        self.report.drops.update({name: packets for name, (packets, _) in outcome.drops.items()})
        final, difference = self._pair.run(Write(()), with_entries=True)
        del final
        if difference is not None:
            self._found(seed, [*done, Write(())], difference)

    def _note(self, step: Step, outcome: Outcome) -> None:
        report = self.report
        if isinstance(step, Write):
            report.updates += len(step.updates)
            report.codes.update(outcome.codes)
        else:
            report.batches += 1
            report.packets += len(step.parts())
            report.outputs += sum(map(len, outcome.outputs.values()))
            report.packet_ins += len(outcome.packet_ins)

    def _found(self, seed: str, done: list[Step], difference: Difference) -> None:
        at = len(done) - 1
        if difference.what == "a switch failed":
            self._pair.restart()
        steps, reduced = done, False
        if len(self.report.findings) < SHRINK_AT_MOST:
            smaller = shrink(self._pair, done, deadline=time.monotonic() + 300.0)
            if smaller is not None:
                steps, difference, reduced = *smaller, True
        self.report.findings.append(Finding(seed, at, difference, steps, self._names, self._pair.ordered, reduced))
