# SPDX-License-Identifier: Apache-2.0
"""What BMv2 did, replayed on the embedded switch: a machine without BMv2 still tests against BMv2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import collect
from harness.session import Session
from harness.trace import TRACES, Replay, TraceDiffers

RECORDED = sorted(TRACES.glob("*.jsonl"))


@pytest.fixture(scope="module")
def fresh_switch() -> Iterator[Session]:
    """Of its own: recordings count on registers that nobody has used."""
    with collect.extra_session("embedded") as session:
        yield session


def test_there_are_traces() -> None:
    assert len(RECORDED) > 50, "the recordings of BMv2 are gone"


# PTF logs frames below 15 bytes with a method that Python has deprecated.
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_replay(path: Path, fresh_switch: Session) -> None:
    replay = Replay(fresh_switch, path)
    assert replay.header["target"] == "bmv2"
    with collect.active(fresh_switch):
        replay.play()


def test_difference_is_noticed(fresh_switch: Session, tmp_path: Path) -> None:
    """A replay that cannot fail would prove nothing: one byte of a recorded output is changed."""
    path = next(path for path in RECORDED if path.stem.endswith(".BridgeOutOfTunnel"))
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"out":[[' in line)
    head, _, tail = lines[number].partition('"out":[[')
    port, _, frame = tail.partition(',"')
    lines[number] = f'{head}"out":[[{port},"{"ff" if frame[:2] != "ff" else "00"}{frame[2:]}'
    changed = tmp_path / path.name
    changed.write_text("\n".join(lines) + "\n")
    with collect.active(fresh_switch), pytest.raises(TraceDiffers, match="out differs"):
        Replay(fresh_switch, changed).play()
