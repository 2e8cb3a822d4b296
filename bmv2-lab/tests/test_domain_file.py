# SPDX-License-Identifier: Apache-2.0
"""The domain file of a lab is one that the controller takes."""

from __future__ import annotations

from pathlib import Path

from nvo3lab.domain_file import domain
from nvo3lab.topology import reference


def test_sockets_have_one_spelling(tmp_path):
    (tmp_path / "run").mkdir()
    topology = reference()
    for place, named in ((tmp_path / "run", tmp_path / "run"), (tmp_path / "run" / ".." / "other", tmp_path / "other")):
        found = domain(topology, {leaf.name: place / f"{leaf.name}.sock" for leaf in topology.leaves})
        assert [nve["p4runtime"] for nve in found["nves"]] == [
            f"unix:{named}/{nve['name']}.sock" for nve in found["nves"]
        ]
        assert Path(found["nves"][0]["p4runtime"].removeprefix("unix:")).is_absolute()
