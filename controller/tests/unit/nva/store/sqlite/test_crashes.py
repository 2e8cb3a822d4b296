# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a real process at every moment between two things that reach the disk: nothing acknowledged is lost.

Enumerated, not sampled: every `Point` of the code, and every single call that changes a file (with a preloaded
library), before the call and in the middle of a write. What a killed process has written survives it, synced or not, so
that this says nothing about the loss of power.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nvo3sec.nva.store import Point, SqliteStore, StoreRolledBack
from nvo3sec.nva.store.records import Revoke
from nvo3sec.nva.store.tables import stored
from places import SUPPORT
from store_scenarios import COMMITS, MIGRATED, SECRETS, commit_all, contents, expected, open_at

EXPECTED = expected()


@dataclass
class Death:
    """What a process said before it ended, and how it ended. acknowledged: -1 if not even the opening was."""

    acknowledged: int
    points: list[str]
    end: str
    count: int


class Mortals:
    """Runs `store_dying.py`."""

    def __init__(self, library: Path | None) -> None:
        environment = os.environ | ({"LD_PRELOAD": str(library)} if library else {})
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "store_dying.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def run(self, directory: Path, scenario: str, how: str, where: int) -> Death:
        self._process.stdin.write(f"{directory} {scenario} {how} {where}\n")
        self._process.stdin.flush()
        death = Death(-1, [], "", 0)
        while not death.end:
            word, value = self._process.stdout.readline().split()
            match word:
                case "ack":
                    death.acknowledged = int(value)
                case "point":
                    death.points.append(value)
                case "count":
                    death.count = int(value)
                case "end":
                    death.end = value
        return death

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux")
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", made, SUPPORT / "store_faults.c", "-ldl"], check=True, timeout=60
    )
    return made


@pytest.fixture(scope="module")
def mortals():
    one = Mortals(None)
    yield one
    one.close()


@pytest.fixture(scope="module")
def faulty_mortals(library):
    one = Mortals(library)
    yield one
    one.close()


def prepare(scenario: str, directory: Path) -> None:
    """What the scenario finds."""
    if scenario == "fresh":
        return
    store = open_at(directory)
    if scenario == "migrate":
        commit_all(store, lambda _: None)
        store.close()
        return
    for commit in COMMITS[:3]:
        store.commit(commit)
    store.close()
    backup = directory / "backup"
    shutil.copytree(directory / "db", backup)
    store = open_at(directory)
    commit_all(store, lambda _: None, first=3)
    store.close()
    shutil.rmtree(directory / "db")
    backup.rename(directory / "db")


def check_opened(store: SqliteStore, acknowledged: int) -> None:
    """What was acknowledged is there; the next commit is there whole or not at all."""
    found = contents(store.load())
    allowed = EXPECTED[max(acknowledged, 0) : acknowledged + 2]
    if 0 <= acknowledged < len(COMMITS):
        # A revocation is the one thing that may come true without its commit: it was asked for, and it fails safe.
        revoked = [change.revocation for change in COMMITS[acknowledged] if isinstance(change, Revoke)]
        known = EXPECTED[acknowledged].revocations
        both = sorted({*known, *revoked}, key=lambda one: (one.identity, one.serial))
        allowed.append(replace(EXPECTED[acknowledged], revocations=tuple(both)))
    assert found in allowed


def check_keys(directory: Path, store: SqliteStore) -> None:
    """There is a wrapping key for each epoch that there is, and none for any other."""
    epochs = {f"epoch-{number}.key" for number, *_ in store.load().epochs}
    assert {path.name for path in (directory / "keys").glob("epoch-*")} == epochs
    assert not list((directory / "keys").glob("*.draft"))


def survive_fresh(directory: Path, death: Death) -> None:
    store = open_at(directory)
    check_opened(store, death.acknowledged)
    check_keys(directory, store)
    done = EXPECTED.index(replace(contents(store.load()))) if contents(store.load()) in EXPECTED else None
    if done is not None:  # and it goes on from there
        commit_all(store, lambda _: None, first=done)
        assert contents(store.load()) == EXPECTED[-1]
    store.close()
    open_at(directory).close()


def survive_migrate(directory: Path, death: Death) -> None:
    store = open_at(directory, migrations=MIGRATED)
    rows = store._database.verify()
    assert all(row[-1] == "none" for row in rows["hold"])
    rows["hold"] = [row[:-1] for row in rows["hold"]]
    rows["epoch"] = [(number, SECRETS[1], began) for number, _, began in rows["epoch"]]
    assert contents(stored(b"", 1, 1, rows)) == EXPECTED[-1]
    assert [path.name for path in (directory / "keys").glob("epoch-*")] == ["epoch-2.key"]
    store.close()


def survive_new_term(directory: Path, death: Death) -> None:
    """The decision was carried out, or the old database is refused as before; in no case is it opened as it is."""
    try:
        store = open_at(directory)
    except StoreRolledBack:
        assert death.acknowledged == -1
        store = open_at(directory, start_new_term=True)
    loaded = store.load()
    assert loaded.term in (2, 3)  # 3: a first decision had been made, and was not carried out
    assert loaded.version > len(COMMITS)
    assert loaded.revocations == EXPECTED[-1].revocations, "somebody is trusted again"
    assert loaded.epochs == ()
    assert loaded.last_epoch >= loaded.term << 20
    assert loaded.vaps == ()
    assert all(version >= loaded.term << 40 for _, version in loaded.versions)
    assert not list((directory / "keys").glob("epoch-*"))
    store.close()


SURVIVE = {"fresh": survive_fresh, "migrate": survive_migrate, "new_term": survive_new_term}


def die_everywhere(mortals: Mortals, tmp_path: Path, scenario: str, how: str) -> tuple[int, set[str]]:
    """Runs the scenario once for each place where it can die; returns how many, and the points that were passed."""
    template = tmp_path / "template"
    template.mkdir()
    prepare(scenario, template)
    whole = shutil.copytree(template, tmp_path / "whole")
    alive = mortals.run(whole, scenario, how, -1)
    assert alive.end == "done"
    assert alive.count > 3
    for where in range(alive.count):
        directory = shutil.copytree(template, tmp_path / f"{where}")
        death = mortals.run(directory, scenario, how, where)
        assert death.end == "killed", f"{where} of {alive.count}"
        try:
            SURVIVE[scenario](directory, death)
        except Exception as error:
            error.add_note(f"{scenario}, {how} {where} of {alive.count}, after {death}")
            raise
        shutil.rmtree(directory)
    return alive.count, set(alive.points)


class TestKilled:
    def test_at_every_point(self, mortals, memory_path):
        passed: set[str] = set()
        for scenario in SURVIVE:
            (memory_path / scenario).mkdir()
            _, points = die_everywhere(mortals, memory_path / scenario, scenario, "point")
            passed |= points
        assert passed == {point.value for point in Point}, "a point that no process died at"

    @pytest.mark.parametrize("scenario", SURVIVE)
    @pytest.mark.parametrize("how", ["call", "torn"])
    def test_at_every_call_that_changes_a_file(self, faulty_mortals, memory_path, scenario, how):
        count, _ = die_everywhere(faulty_mortals, memory_path, scenario, how)
        assert count > 15

    def test_the_opening_after_a_crash_can_crash_too(self, mortals, faulty_mortals, memory_path):
        """Between the intent and the end of a commit, and then at every call of the recovery."""
        for point in (Point.INTENDED, Point.COMMITTED, Point.REVOCATIONS_LISTED, Point.SETTLED):
            base = memory_path / point.value
            base.mkdir()
            probe = mortals.run(base / "probe", "fresh", "point", -1)
            last = len(probe.points) - 1 - probe.points[::-1].index(point.value)
            death = mortals.run(base / "crashed", "fresh", "point", last)
            assert death.end == "killed"
            whole = shutil.copytree(base / "crashed", base / "whole")
            count = faulty_mortals.run(whole, "fresh_again", "call", -1).count
            for where in range(count):
                directory = shutil.copytree(base / "crashed", base / f"{where}")
                faulty_mortals.run(directory, "fresh_again", "torn", where)
                survive_fresh(directory, death)
                shutil.rmtree(directory)
