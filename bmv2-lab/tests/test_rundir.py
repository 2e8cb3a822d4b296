# SPDX-License-Identifier: Apache-2.0
"""A lab removes what labs have made, and nothing else."""

from __future__ import annotations

import pytest
from nvo3lab import rundir
from nvo3lab.errors import LabError
from nvo3lab.rundir import RunDirectory


class TestBase:
    def test_of_an_operator_stays(self, short_directory):
        base = short_directory / "mine"
        base.mkdir(mode=0o700)
        RunDirectory.claim("one", base).clean()
        assert list(short_directory.iterdir()) == [base]
        assert list(base.iterdir()) == []

    def test_of_a_lab_goes_with_the_last_one(self, short_directory):
        base = short_directory / "made"
        first, second = RunDirectory.claim("one", base), RunDirectory.claim("two", base)
        first.clean()
        assert base.exists()
        second.clean()
        assert not base.exists()


class TestStrangeDirectory:
    def test_is_not_removed(self, short_directory):
        """Of the lab's name, and of somebody who wants to keep it."""
        (short_directory / "base").mkdir(mode=0o700)
        precious = short_directory / "base" / "one" / "precious"
        precious.parent.mkdir()
        precious.touch()
        with pytest.raises(LabError, match="no lab has made it"):
            RunDirectory.claim("one", short_directory / "base")
        assert precious.exists()
        assert list(precious.parent.parent.iterdir()) == [precious.parent]

    def test_what_a_killed_lab_left_is(self, short_directory):
        base = short_directory / "base"
        left = RunDirectory.claim("one", base)
        left.configure("leaf1", {})
        left.release()
        again = RunDirectory.claim("one", base)
        assert not (again.path / "leaf1.json").exists()
        rundir.remove(again.path)
        again.release()
        assert not base.exists()
