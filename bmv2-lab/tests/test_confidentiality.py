# SPDX-License-Identifier: Apache-2.0
"""Who reads on the underlay finds what is in clear, and a drill says so; who would have it in clear gets nowhere."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nvo3lab.drill.confidentiality import Said, captured, verdict
from nvo3lab.drill.run import ATTACKS
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.processes import preflight
from nvo3lab.topology import CONFIDENTIALITY, INTEGRITY, reference
from nvo3lab.view import View
from nvo3lab.wires.pcap import PcapWriter

from .conftest import lab_process
from .processes import finished

SHORT, LONG = bytes(range(16)), bytes(range(16, 40))


def said(tenant: str) -> Said:
    topology = reference()
    one, other = topology.members(tenant)[:2]
    return Said(topology.tenant(tenant), [(one, other), (other, one)], [SHORT, LONG])


def seen(found: set[bytes], packets: int = 10) -> dict[str, Any]:
    return {"packets": packets, "found": {one.hex(): 1 for one in found}}


class TestVerdict:
    def test_each_level_has_its_own(self) -> None:
        assert verdict(said("blue"), seen(set()), 0) == []
        assert verdict(said("red"), seen(said("red").shown()), 1) == []

    def test_anything_in_clear_is_a_fault_where_nobody_may_read(self) -> None:
        for one in said("blue").shown():
            assert verdict(said("blue"), seen({one}), 0) == [f"VN blue: {one.hex()} was in 1 frames in clear"]
        assert verdict(said("blue"), seen(set()), 1) == ["VN blue: 1 texts are in captures in clear"]

    def test_a_search_that_does_not_find_what_is_in_clear_is_a_fault(self) -> None:
        shown = said("red").shown()
        for one in shown:
            assert verdict(said("red"), seen(shown - {one}), 1) == [
                f"VN red: {one.hex()} was sent in clear, and not found"
            ]
        assert verdict(said("red"), seen(shown), 0) == ["VN red: only 0 of 1 texts are in captures"]

    @pytest.mark.parametrize("tenant", ["red", "blue"])
    def test_silence_is_a_fault(self, tenant: str) -> None:
        assert verdict(said(tenant), seen(set(), packets=0), 0) == [f"no packet of VN {tenant} was looked at"]

    def test_captures(self, tmp_path: Path) -> None:
        for name, frames in (("a", [bytes(60)]), ("b", [bytes(20) + SHORT + bytes(20), bytes(20) + LONG])):
            with PcapWriter(tmp_path / name) as capture:
                for frame in frames:
                    capture.write(frame)
        assert captured([str(tmp_path / "a")], said("red")) == 0
        assert captured([str(tmp_path / "a"), str(tmp_path / "b")], said("red")) == 1
        with pytest.raises(LabError, match="cannot be read"):
            captured([str(tmp_path / "none")], said("red"))


def test_what_is_played_at_each_level() -> None:
    assert {"read", "downgrade", "level-change"} <= {attack.name for attack in ATTACKS}
    assert {tenant.level for tenant in reference().tenants} == {INTEGRITY, CONFIDENTIALITY}
    shared = set.intersection(
        *({leaf.name for leaf in reference().leaves if _serves(leaf, vn)} for vn in ("red", "blue"))
    )
    assert len(shared) == 2, "two NVEs have keys of both levels at the same time"


def _serves(leaf: Any, vn: str) -> bool:
    return any(host.tenant == vn for host in leaf.hosts)


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    base = Path("/tmp") / f"nvo3lab-test-{os.getpid()}-levels"
    with lab_process(base):
        yield base


def drill(base: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [preflight.executable("nvo3sec"), "drill", "-o", "json", *arguments]
    done = finished(command, os.environ | {"NVO3LAB_RUN": str(base)})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


class TestAgainstALab:
    def test_the_levels_hold(self, running: Path) -> None:
        status, report = drill(running, "read", "downgrade", "level-change")
        assert status == 0, report
        read, downgrade, _ = report["attacks"]
        assert read["arrived"] > read["sent"] > 40, "broadcasts have several copies"
        assert downgrade["caught"] == {"SUITE_MISMATCH": 50, "COVERAGE": 30, "BAD_ICV": 20, "VN_SUITE": 10}

    def test_keys_are_of_the_levels_that_two_share(self, running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NVO3LAB_RUN", str(running))

        async def run() -> None:
            view = await View.of_running("lab")
            try:
                world = World(view)
                both = [await world.steal("leaf1", "leaf2", level) for level in (INTEGRITY, CONFIDENTIALITY)]
                assert [one.suite for one in both] == [1, 2]
                assert (await world.steal("leaf3", "leaf1")).suite == 2
                with pytest.raises(LabError, match="leaf3 has no key of level integrity for leaf1"):
                    await world.steal("leaf3", "leaf1", INTEGRITY)
            finally:
                await view.close()

        asyncio.run(run())

    def test_a_vn_in_clear_is_found(self, running: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An operator has taken the level of blue back, and nobody told the lab."""
        monkeypatch.setenv("NVO3LAB_RUN", str(running))

        async def lower() -> None:
            view = await View.of_running("lab")
            try:
                assert view.control is not None
                document = yaml.safe_load((await view.control.ask("domain", "show"))["text"])
                for vn in document["vns"]:
                    vn["level"] = INTEGRITY
                (tmp_path / "lower.yaml").write_text(yaml.safe_dump(document))
                await view.control.ask("domain", "apply", str(tmp_path / "lower.yaml"), "--yes", "--wait", "120")
            finally:
                await view.close()

        asyncio.run(lower())
        status, report = drill(running, "read")
        assert status == 1
        attack = report["attacks"][0]
        assert attack["through"] == 0
        assert any(fault.startswith("VN blue: ") and fault.endswith("in clear") for fault in attack["faults"])
        assert not any(fault.startswith("VN red") for fault in attack["faults"])
