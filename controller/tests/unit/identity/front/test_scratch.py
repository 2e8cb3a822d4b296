# SPDX-License-Identifier: Apache-2.0
"""What a process that was killed left among the temporary files goes with the next one, and nothing else does."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest
from nvo3sec.identity.front.scratch import PREFIX, ScratchDirectory

HOLDER = """
import sys, time
from nvo3sec.identity.front.scratch import ScratchDirectory
one = ScratchDirectory()
(one.path / "socket").touch()
print(one.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_goes_when_it_is_closed(base):
    one = ScratchDirectory()
    assert one.path.stat().st_mode & 0o777 == 0o700
    one.close()
    one.close()
    assert list(base.iterdir()) == []


def test_of_a_process_that_was_killed_and_of_no_other(base):
    (base / f"{PREFIX}of-somebody-else").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        left = holder.stdout.readline().strip()
        ScratchDirectory().close()
        assert left in map(str, base.iterdir()), "it lives"
        holder.kill()
        holder.wait()
    assert left in map(str, base.iterdir())
    mine = ScratchDirectory()
    assert {one.name for one in base.iterdir()} == {f"{PREFIX}of-somebody-else", mine.path.name}
    mine.close()
