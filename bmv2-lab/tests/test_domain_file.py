# SPDX-License-Identifier: Apache-2.0
"""The domain file of a lab is one that the controller takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nvo3lab.domain_file import domain
from nvo3lab.topology import Topology, reference


def test_tunnels_are_over_both_families():
    """Of leaf1 and leaf2 over IPv6, in VNs of both levels; of leaf3, which has one of IPv4 alone, over that."""
    topology = reference()
    ends = {leaf.name: set(topology.ends_of(leaf)) for leaf in topology.leaves}
    four, six = {name: f"192.0.2.{name[-1]}" for name in ends}, {name: f"2001:db8::{name[-1]}" for name in ends}
    assert ends == {
        "leaf1": {(six["leaf1"], six["leaf2"]), (four["leaf1"], four["leaf3"])},
        "leaf2": {(six["leaf2"], six["leaf1"]), (four["leaf2"], four["leaf3"])},
        "leaf3": {(four["leaf3"], four["leaf1"]), (four["leaf3"], four["leaf2"])},
    }
    assert {leaf.name: leaf.addresses for leaf in topology.leaves} == {
        "leaf1": (four["leaf1"], six["leaf1"]),
        "leaf2": (four["leaf2"], six["leaf2"]),
        "leaf3": (four["leaf3"],),
    }
    found = domain(topology, {leaf.name: Path("/nowhere") for leaf in topology.leaves})
    assert [nve["underlay"]["address"] for nve in found["nves"]] == [
        [four["leaf1"], six["leaf1"]],
        [four["leaf2"], six["leaf2"]],
        four["leaf3"],
    ]


def test_who_shares_no_tenant_has_no_tunnel():
    topology = reference()
    (red,) = (leaf for leaf in topology.leaves if leaf.name == "leaf1")
    alone = replace(red, name="leaf4", ports=red.ports[:1], ipv6=None, address="192.0.2.4")
    with_it = Topology(topology.tenants, (topology.leaf("leaf3"), alone))
    assert [with_it.ends_of(leaf) for leaf in with_it.leaves] == [[], []]


def test_sockets_have_one_spelling(tmp_path):
    (tmp_path / "run").mkdir()
    topology = reference()
    for place, named in ((tmp_path / "run", tmp_path / "run"), (tmp_path / "run" / ".." / "other", tmp_path / "other")):
        found = domain(topology, {leaf.name: place / f"{leaf.name}.sock" for leaf in topology.leaves})
        assert [nve["p4runtime"] for nve in found["nves"]] == [
            f"unix:{named}/{nve['name']}.sock" for nve in found["nves"]
        ]
        assert Path(found["nves"][0]["p4runtime"].removeprefix("unix:")).is_absolute()
