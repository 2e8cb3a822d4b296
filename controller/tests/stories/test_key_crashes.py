# SPDX-License-Identifier: Apache-2.0
"""The NVA dies at every moment at which something of a key's life reaches the disk, and another goes on from there.

Enumerated, not sampled: the story is told once to count the moments (`Point` of the SQLite store), and then once for
each, with a death at that one. The switches live on, and so does the ledger of what was handed out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from key_world import LIFE, SUITE, World, nves
from nvo3sec.domain.keys.sa import Used
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.nva.keys import generations
from nvo3sec.nva.store import Point, StoreError, StoreUnavailable, open_store


class Died(Exception):
    """The process is gone."""


NAMES = nves(3)


def begin(world: World) -> None:
    world.settle(world.register(*NAMES))


def rotate(world: World) -> None:
    world.after(2)
    world.keys.rotate(world.keys.directions, world.now)
    world.settle()
    world.after(LIFE.grace_s + 2)


def boot(world: World) -> None:
    world.boot("nve1")
    world.settle(world.register("nve1"))
    world.after(LIFE.grace_s + 2)


def use_up(world: World) -> None:
    world.after(2)
    tunnel = Tunnel("nve0", "nve1", SUITE)
    current = world.keys.directions[tunnel].current
    world.keys.feed(tunnel, Used(current.spi, LIFE.key_hard_packets, 0), world.now)
    world.settle()
    world.after(LIFE.grace_s + 2)


def grow_old(world: World) -> None:
    world.after(LIFE.key_hard_s)


def revoke(world: World) -> None:
    world.membership = Membership(world.domain, ["nve2"])
    world.keys.reconfigure(world.domain, world.membership, world.now)
    world.settle()
    world.after(LIFE.grace_s + 2)


STORY: tuple[Callable[[World], None], ...] = (begin, rotate, boot, use_up, grow_old, revoke, rotate)


def live(world: World, directory: Path, at: Callable[[Point], None], chapters: list[int]) -> None:
    """A process from its start until it dies or has done everything; `chapters`: what is still to be told."""
    store = open_store(directory / "db" / "nva.sqlite", directory / "keys", "test", at=at)
    try:
        world.start(store)
        world.settle(world.register(*NAMES))
        while chapters:
            STORY[chapters[0]](world)
            del chapters[0]
    finally:
        store.close()


def tell(directory: Path, deaths: list[int]) -> tuple[World, list[Point]]:
    """The whole story, with a death at each of the moments `deaths` (numbers of moments, each counted from the last
    death on); returns the moments that were passed."""
    world, chapters, passed = World(NAMES), list(range(len(STORY))), []
    for number in range(len(deaths) + 1):
        count = 0

        def at(point: Point, limit: int | None = deaths[number] if number < len(deaths) else None) -> None:
            nonlocal count
            passed.append(point)
            if count == limit:
                raise Died
            count += 1

        try:
            live(world, directory, at, chapters)
        except Died:
            world.now += 1
            world.wall += 1
    return world, passed


def check(world: World) -> None:
    """All that is durable fits what switches have, and traffic flows between those that belong together."""
    world.assert_traffic(NAMES[:2])
    living = {sa.epoch for d in world.keys.directions.values() for sa in d.sas if not sa.inherited}
    assert set(world.store.epochs) <= living | {world.keys._epochs.current}
    for (receiver, generation), (_, _) in world.ledger.by_generation.items():
        assert generation <= world.store.marks[receiver]


@pytest.fixture(params=[generations.BLOCK, 1], ids=["blocks", "no blocks"])
def _reserved(request, monkeypatch):
    """Without blocks there is a commit for nearly every key, and so many more moments."""
    monkeypatch.setattr(generations, "BLOCK", request.param)


@pytest.mark.usefixtures("_reserved")
def test_every_moment(memory_path):
    world, passed = tell(memory_path / "whole", [])
    check(world)
    assert {Point.WRAPPING_KEYS_MADE, Point.INTENDED, Point.COMMITTED, Point.WRAPPING_KEYS_DESTROYED} <= set(passed)
    assert len(passed) > 30
    issued = len(world.ledger.by_generation)
    for moment in range(len(passed)):
        world, again = tell(memory_path / f"{moment}", [moment])
        assert len(again) > moment
        try:
            check(world)
        except AssertionError as error:
            error.add_note(f"died at moment {moment} of {len(passed)}: {passed[moment].value}")
            raise
        assert len(world.ledger.by_generation) >= issued - len(NAMES) * 4


@pytest.mark.usefixtures("_reserved")
@pytest.mark.parametrize("second", [0, 1, 2, 3, 5, 8, 13])
def test_it_may_die_again_while_it_goes_on(memory_path, second):
    _, passed = tell(memory_path / "whole", [])
    for moment in range(0, len(passed), 1 + len(passed) // 15):
        world, _ = tell(memory_path / f"{moment}", [moment, second, second])
        check(world)


@pytest.mark.usefixtures("_reserved")
def test_a_disk_that_fails_at_any_moment_hands_out_nothing_new(memory_path):
    """After a failed commit nobody knows what is stored: what may not be is never handed out, however often asked."""
    _, passed = tell(memory_path / "whole", [])
    failed = 0
    for moment in range(len(passed)):
        world, count = World(NAMES), 0

        def at(point: Point, limit: int = moment) -> None:
            nonlocal count
            count += 1
            if count > limit:
                raise StoreUnavailable("the disk is gone")

        directory = memory_path / f"failing-{moment}"
        try:
            live(world, directory, at, list(range(len(STORY))))
        except StoreError:
            if not hasattr(world, "keys"):
                continue  # not even opened
        known = set(world.ledger.by_key)
        for name in NAMES:
            try:
                receive, send = world.keys.for_nve(name, world.now)
            except StoreError:
                failed += 1
                continue
            # Nothing was new for it; then the keys are the old ones.
            assert {sa.key for sa in (*receive, *send) if sa.key is not None} <= known
    assert failed > len(passed)
