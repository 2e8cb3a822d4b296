# SPDX-License-Identifier: Apache-2.0
"""MTUs of a domain file: what is too small for what it has to carry, and what fits into each tunnel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from nvo3sec.cli import mtu as command
from nvo3sec.cli.operate import Where
from nvo3sec.config import example_path, parse_domain, parse_tunnel_fits
from nvo3sec.errors import ConfigError
from nvo3sec.operator.documents import AppliedFile
from nvo3sec.operator.json_form import to_json

EXAMPLE = example_path().read_text(encoding="utf-8")
IPV4_ALONE: dict[str, Any] = {"subnets": ["10.1.0.0/24"]}


def text(vn: dict[str, Any], *underlay: int, **more: Any) -> str:
    """One VN, and NVEs leaf1, leaf2, ... in it whose underlays carry packets so long."""
    document = yaml.safe_load(EXAMPLE)
    document["nves"] = [
        {
            "name": f"leaf{number}",
            "device_id": number,
            "p4runtime": f"unix:leaf{number}.sock",
            "underlay": {
                "address": f"192.0.2.{number}",
                "port": 256,
                "mac": f"02:00:00:00:00:{number:02x}",
                "mtu": mtu,
            },
            "vaps": [{"port": 1, "vn": "blue"}],
        }
        for number, mtu in enumerate(underlay, start=1)
    ]
    document["vns"] = [{"name": "blue", "vni": 5001} | vn]
    document |= {"tenant_systems": [], "tunnels": [], "reservations": []} | more
    return yaml.safe_dump(document)


def faults(written: str) -> list[tuple[str, str]]:
    try:
        parse_domain(written, "test.yaml", Path("/srv"))
    except ConfigError as error:
        return [(finding.field, finding.message) for finding in error.findings]
    return []


class TestTooSmall:
    def test_the_least_that_serves_ipv6(self):
        assert faults(text({"mtu": 1280}, 1366, 1366)) == []
        assert faults(text({"mtu": 1280}, 1366, 1365)) == [
            (
                "nves[1].underlay.mtu",
                "1365 is too small for VN blue: its MTU 1280 + 86 bytes of protection need 1366",
            )
        ]

    def test_a_vn_that_is_too_small_for_ipv6(self):
        assert faults(text({"mtu": 1279}, 1600, 1600)) == [
            (
                "vns[0].mtu",
                "1279 is too small for tenant systems with IPv6, which need 1280 (RFC 8200); a VN whose subnets are of"
                " IPv4 alone may have less",
            )
        ]

    def test_an_underlay_that_is_too_small_for_ipv6(self):
        found = dict(faults(text({"mtu": 1000}, 1365, 1600)))
        assert found.keys() == {"vns[0].mtu", "nves[0].underlay.mtu"}
        assert found["nves[0].underlay.mtu"] == (
            "1365 is too small for VN blue: 1280 of tenant systems with IPv6 + 86 bytes of protection need 1366"
        )

    def test_a_vn_of_ipv4_alone_may_have_less(self):
        assert faults(text({"mtu": 1000} | IPV4_ALONE, 1086, 1600)) == []
        assert [where for where, _ in faults(text({"mtu": 1000} | IPV4_ALONE, 1085, 1600))] == ["nves[0].underlay.mtu"]

    @pytest.mark.parametrize(
        ("vn", "more"),
        [
            ({"subnets": []}, {}),
            ({"subnets": ["10.1.0.0/24", "fd00:1::/64"]}, {}),
            (IPV4_ALONE, {"reservations": [{"vn": "blue", "ip": "fd00::1", "nves": ["leaf1"]}]}),
            (
                IPV4_ALONE,
                {
                    "tenant_systems": [
                        {"name": "a", "vn": "blue", "nve": "leaf1", "port": 1, "mac": "02:aa:00:00:00:01"}
                        | {"ips": ["10.1.0.1", "fd00::1"]}
                    ]
                },
            ),
            (
                IPV4_ALONE,
                {
                    "shared_addresses": [
                        {"name": "gw", "vn": "blue", "mac": "00:00:5e:00:02:01", "ips": ["fd00::1"]}
                        | {"members": [{"nve": "leaf1", "port": 1}, {"nve": "leaf2", "port": 1}]}
                    ]
                },
            ),
        ],
        ids=["nothing-said", "subnet", "reservation", "tenant-system", "shared-address"],
    )
    def test_whatever_says_that_there_can_be_ipv6(self, vn, more):
        assert [where for where, _ in faults(text({"mtu": 1279} | vn, 1600, 1600, **more))] == ["vns[0].mtu"]
        assert faults(text({"mtu": 1280} | vn, 1600, 1600, **more)) == []

    def test_nothing_is_too_small_without_a_tunnel(self):
        assert faults(text({"mtu": 576}, 700)) == []


class TestFits:
    def test_a_tunnel_is_as_narrow_as_its_narrower_end(self):
        first, second, third = parse_tunnel_fits(text({"mtu": 1400}, 1500, 1486, 9000), "test.yaml")
        assert [one.between for one in (first, second, third)] == [
            ("leaf1", "leaf2"),
            ("leaf1", "leaf3"),
            ("leaf2", "leaf3"),
        ]
        assert [one.underlay_mtu for one in (first, second, third)] == [1486, 1500, 1486]
        assert (first.overhead, first.packet, first.frame, first.underlay) == (86, 1400, 1414, "IPv4")
        assert (second.packet, second.frame) == (1414, 1428)
        assert all(one.fits for one in (first, second, third))

    def test_what_does_not_fit_is_said_and_by_how_much(self):
        (only,) = parse_tunnel_fits(text({"mtu": 1400}, 1500, 1485), "test.yaml")
        (vn,) = only.vns
        assert (only.fits, vn.fits, vn.why) == (False, False, "1 too long")
        (only,) = parse_tunnel_fits(text({"mtu": 1279}, 1500, 1500), "test.yaml")
        assert only.vns[0].why == "IPv6 needs 1280 in the VN"

    def test_everything_else_has_to_be_right(self):
        with pytest.raises(ConfigError) as caught:
            parse_tunnel_fits(EXAMPLE.replace("vn: red", "vn: green", 1), "test.yaml")
        assert "there is no VN green" in str(caught.value.findings[0])

    def test_it_says_of_no_file_that_it_fits_which_is_refused(self):
        """Both read the same: no tunnel is wider in the table than in the check."""
        for vn in ({"mtu": 1400}, {"mtu": 1280}, {"mtu": 1279}, {"mtu": 1000} | IPV4_ALONE):
            for mtu in (1085, 1086, 1364, 1365, 1366, 1485, 1486):
                written = text(vn, 1600, mtu)
                (only,) = parse_tunnel_fits(written, "test.yaml")
                assert only.fits == (faults(written) == []), (vn, mtu)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", "mtu", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class TestCommand:
    def test_what_fits(self):
        done = run(str(example_path()))
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[2].split() == ["leaf1", "leaf2", "1500", "IPv4", "86", "1414", "1428", "blue", "1400", "fits"]
        assert len(lines) == 6

    def test_what_does_not_fit(self, tmp_path):
        file = tmp_path / "domain.yaml"
        file.write_text(text({"mtu": 1415}, 1500, 1500))
        done = run(str(file))
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1].split()[-3:] == ["1", "too", "long"]
        told = json.loads(run(str(file), "-o", "json").stdout)
        assert told["fits"] is False
        assert told["tunnels"][0]["vns"] == [{"vn": "blue", "mtu": 1415, "fits": False, "why": "1 too long"}]

    def test_some_of_them(self):
        file = str(example_path())
        assert len(json.loads(run(file, "-o", "json").stdout)["tunnels"]) == 3
        (tunnel,) = json.loads(run(file, "--vn", "red", "-o", "json").stdout)["tunnels"]
        assert [vn["vn"] for vn in tunnel["vns"]] == ["red"]
        assert len(json.loads(run(file, "--nve", "leaf2", "-o", "json").stdout)["tunnels"]) == 2
        for words in (("--vn", "green"), ("--nve", "leaf9")):
            done = run(file, *words)
            assert done.returncode == 1
            assert "there are: " in done.stderr

    def test_of_what_the_nva_runs(self, monkeypatch, capsys):
        """By the text that it gives, so an older NVA can be asked too."""
        asked = []

        def answer(where: Where, method: str) -> Any:
            asked.append((where.nva, method))
            return to_json(AppliedFile("lab.example", "", text({"mtu": 1400}, 1500, 1486)))

        monkeypatch.setattr(Where, "ask_exactly", answer)
        command.mtu(nva="nva1.nva.a.example:1")
        assert asked == [("nva1.nva.a.example:1", "domain_show")]
        assert "1486" in capsys.readouterr().out
