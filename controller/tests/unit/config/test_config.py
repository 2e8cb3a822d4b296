# SPDX-License-Identifier: Apache-2.0
"""Domain files: the example, every contradiction, and where errors point."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from nvo3sec.config import example_path, load_domain, parse_domain, parse_tunnel_fits, yaml_lines
from nvo3sec.config.schema import DomainFile, hard_limit
from nvo3sec.config.yaml_lines import FINDINGS_LIMIT
from nvo3sec.domain.mapping import scope_of
from nvo3sec.domain.overlay.model import Level, MappingLimits, Reservation, TunnelKeys, TunnelLevel
from nvo3sec.errors import ConfigError
from pydantic import BaseModel

EXAMPLE = example_path().read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()


class WrittenOut(yaml.SafeDumper):
    """Without aliases for what is there twice."""

    def ignore_aliases(self, data):
        return True


def parse(text: str):
    return parse_domain(text, "test.yaml", Path("/srv"))


def findings(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [(finding.line, finding.field, finding.message) for finding in caught.value.findings]


def changed(old: str, new: str, count: int = 1) -> str:
    assert old in EXAMPLE
    return EXAMPLE.replace(old, new, count)


def with_value(path: list, value) -> str:
    """The example as generated YAML with one value replaced; a list index -1 appends."""
    document = yaml.safe_load(EXAMPLE)
    place = document
    for part in path[:-1]:
        place = place[part]
    if path[-1] == -1:
        place.append(value)
    else:
        place[path[-1]] = value
    return yaml.dump(document, Dumper=WrittenOut, sort_keys=False)


class TestExample:
    def test_loads(self):
        domain = load_domain(example_path())
        assert domain.name == "lab.example"
        assert [nve.name for nve in domain.nves] == ["leaf1", "leaf2", "leaf3"]
        assert domain.nve_by_name["leaf1"].vn_names == {"blue", "red"}

    def test_routes_and_defaults(self):
        domain = parse(EXAMPLE)
        route = domain.nve_by_name["leaf1"].routes_to(["leaf3"])["leaf3"]
        assert (route.port, route.mac, route.next_hop_mac) == (257, 0x020000000101, 0x020000000301)
        assert route.meter.per_second == 50000
        default = domain.nve_by_name["leaf2"].routes_to(["leaf1"])["leaf1"]
        assert (default.port, default.mac, default.next_hop_mac) == (256, 0x020000000200, 0x020000000100)
        assert domain.nve_by_name["leaf1"].underlay_ports == ((256, 0x020000000100), (257, 0x020000000101))
        assert domain.nve_by_name["leaf1"].address == IPv4Address("192.0.2.1")

    def test_an_underlay_of_ipv6(self):
        text = EXAMPLE.replace("mtu: 1400 ", "mtu: 1394 ").replace("  - name: red\n", "  - name: red\n    mtu: 1394\n")
        for number in (1, 2, 3):
            text = text.replace(f"address: 192.0.2.{number}", f'address: "2001:DB8:0::{number}"')
        domain = parse(text)
        assert [nve.address for nve in domain.nves] == [IPv6Address(f"2001:db8::{number}") for number in (1, 2, 3)]

    def test_families_side_by_side_where_no_tunnel_is_between_them(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"][2]["underlay"] |= {"address": "2001:db8::3", "mtu": 1600}
        wrong = yaml.dump(document, Dumper=WrittenOut)
        assert [(field, message.partition(":")[0]) for _, field, message in findings(wrong)] == [
            ("nves[2].underlay.address", "2001")
        ] * 2, "of each VN that they share"
        document["nves"][2]["vaps"] = [{"port": 1, "vn": "green"}]
        document["vns"].append({"name": "green", "vni": 5003})
        document["tenant_systems"] = document["reservations"] = document["tunnels"] = []
        assert parse(yaml.dump(document, Dumper=WrittenOut))

    def test_an_address_of_each_family(self):
        """In whichever order they are written."""
        four, six = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
        for written in (["192.0.2.1", "2001:db8::1"], ["2001:db8::1", "192.0.2.1"]):
            nve = parse(with_value(["nves", 0, "underlay", "address"], written)).nve_by_name["leaf1"]
            assert nve.addresses == (four, six)
        assert parse(with_value(["nves", 0, "underlay", "address"], ["192.0.2.1"])) == parse(EXAMPLE)

    def test_no_checksum_is_left_out_of_tunnels_over_ipv4(self):
        document = yaml.safe_load(EXAMPLE)
        underlay = document["nves"][1]["underlay"]
        underlay["zero_checksum"] = True
        ((_, field, message),) = findings(yaml.dump(document, Dumper=WrittenOut))
        assert field == "nves[1].underlay.zero_checksum"
        assert message == "is of tunnels over IPv6; this NVE has no address of that"
        underlay["address"] = [underlay["address"], "2001:db8::2"]
        domain = parse(yaml.dump(document, Dumper=WrittenOut))
        assert [nve.zero_checksum for nve in domain.nves] == [False, True, False]

    def test_what_fits_follows_from_the_tunnels(self):
        """A second address costs nothing until there is a tunnel between two of that family."""
        document = yaml.safe_load(EXAMPLE)
        for index, number in ((0, 1), (1, 2)):
            assert parse(yaml.dump(document, Dumper=WrittenOut))
            document["nves"][index]["underlay"]["address"] = [f"192.0.2.{number}", f"2001:db8::{number}"]
        found = findings(yaml.dump(document, Dumper=WrittenOut))
        assert {field for _, field, _ in found} == {"nves[0].underlay.mtu", "nves[1].underlay.mtu"}
        assert all("1400 + 106" in message for _, _, message in found)

    def test_each_tunnel_is_told_by_its_own_family(self):
        document = yaml.safe_load(EXAMPLE)
        for index in (0, 1):
            document["nves"][index]["underlay"]["address"] = [f"192.0.2.{index + 1}", f"2001:db8::{index + 1}"]
        fits = parse_tunnel_fits(yaml.dump(document, Dumper=WrittenOut), "test.yaml")
        assert {one.between: (one.underlay, one.overhead) for one in fits} == {
            ("leaf1", "leaf2"): ("IPv6", 106),
            ("leaf1", "leaf3"): ("IPv4", 86),
            ("leaf2", "leaf3"): ("IPv4", 86),
        }

    def test_either_family_beside_one_that_has_both(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"][0]["underlay"]["address"] = ["192.0.2.1", "2001:db8::1"]
        document["nves"][2]["underlay"]["address"] = "2001:db8::3"
        for nve in document["nves"]:
            nve["underlay"]["mtu"] = 1600
        ((_, field, message),) = findings(yaml.dump(document, Dumper=WrittenOut))
        assert field == "nves[2].underlay.address"
        assert "leaf2, which serves VN blue as well, has 192.0.2.2 of IPv4" in message
        document["nves"][2]["vaps"] = [vap for vap in document["nves"][2]["vaps"] if vap["vn"] == "red"]
        document["tenant_systems"] = document["reservations"] = []
        assert parse(yaml.dump(document, Dumper=WrittenOut))

    def test_what_fits_depends_on_the_family(self):
        text = EXAMPLE.replace("mtu: 1500", "mtu: 1486")
        assert parse(text)
        for number in (1, 2, 3):
            text = text.replace(f"address: 192.0.2.{number}", f'address: "2001:db8::{number}"')
        expected = "1486 is too small for VN blue: its MTU 1400 + 106 bytes of protection need 1506"
        assert ("nves[0].underlay.mtu", expected) in [(field, message) for _, field, message in findings(text)]

    def test_routes_to_some_peers_only(self):
        nve = parse(EXAMPLE).nve_by_name["leaf1"]
        assert nve.routes_to(["leaf3", "leaf9"]) == {"leaf3": nve.routes[1]}
        assert list(nve.routes_to(["leaf3", "leaf2"])) == ["leaf2", "leaf3"]

    def test_vns_by_number(self):
        domain = parse(EXAMPLE)
        assert {vni: vn.name for vni, vn in domain.vn_by_number.items()} == {5001: "blue", 5002: "red"}
        assert replace(domain, vns=domain.vns[:1]).vn_by_number == {5001: domain.vns[0]}

    def test_tenant_systems_of_each_nve(self):
        domain = parse(EXAMPLE)
        for name in ("leaf1", "leaf2", "leaf3", "leaf9"):
            stated = tuple(one for one in domain.tenant_systems if one.nve == name)
            assert domain.tenant_systems_of(name) == stated
        fewer = replace(domain, tenant_systems=domain.tenant_systems[1:])
        assert fewer.tenant_systems_of("leaf1") == domain.tenant_systems_of("leaf1")[1:]

    def test_relative_sockets_start_at_the_file(self):
        assert parse(EXAMPLE).nve_by_name["leaf1"].p4runtime == "unix:/srv/leaf1.sock"
        assert parse(changed("unix:leaf1.sock", "unix:/run/leaf1.sock")).nves[0].p4runtime == "unix:/run/leaf1.sock"

    def test_lifetimes_follow_from_each_other(self):
        text = changed("lease_renew_s: 10", "").replace("  key_hard_s: 3960", "").replace("  key_jitter_s: 300", "")
        lifetimes = parse(text).lifetimes
        assert lifetimes.lease_renew_s == 10
        assert lifetimes.key_hard_s > lifetimes.key_soft_s + lifetimes.grace_s
        assert lifetimes.key_jitter_s == 360

    @pytest.mark.parametrize(
        ("said", "lease_s", "lease_renew_s"),
        [("", 300, 30), ("lease_s: 45", 45, 15), ("lease_s: 3600", 3600, 30), ("lease_renew_s: 100", 300, 100)],
    )
    def test_a_lease_outlasts_a_restart_unless_told(self, said, lease_s, lease_renew_s):
        text = changed("  lease_s: 30 ", f"  {said} #").replace("  lease_renew_s: 10\n", "")
        lifetimes = parse(text).lifetimes
        assert (lifetimes.lease_s, lifetimes.lease_renew_s) == (lease_s, lease_renew_s)
        assert parse(text).mapping_limits.lease_s == lease_s

    def test_every_field_is_shown(self):
        def names(section: type[BaseModel]) -> Iterator[str]:
            for name, field in section.model_fields.items():
                yield name
                for part in [field.annotation, *get_args(field.annotation)]:
                    if isinstance(part, type) and issubclass(part, BaseModel):
                        yield from names(part)

        assert {name for name in names(DomainFile) if not re.search(rf"\b{name}:", EXAMPLE)} == set()

    def test_use_limits_follow_from_each_other(self):
        text = changed("  key_hard_packets: 4724464025", "").replace("  key_hard_bytes: 2418925581107", "")
        assert parse(text).lifetimes == parse(EXAMPLE).lifetimes
        few = parse(text.replace("key_soft_packets: 4294967296", "key_soft_packets: 109"))
        assert few.lifetimes.key_hard_packets == 119
        assert hard_limit(1, None) == 2

    def test_each_suite_has_limits_of_its_own(self):
        """A file that demands confidentiality everywhere may say more of its keys."""
        document = yaml.safe_load(EXAMPLE)
        document["lifetimes"] |= {"key_hard_bytes": 2**49}
        for one in (*document["vns"], *document["tunnels"]):
            one["level"] = "confidentiality"
        assert parse(yaml.dump(document, Dumper=WrittenOut)).lifetimes.key_hard_bytes == 2**49
        document["tunnels"][0]["level"] = "integrity"
        ((_, field, said),) = findings(yaml.dump(document, Dumper=WrittenOut))
        assert field == "lifetimes.key_hard_bytes"
        assert said.startswith("a key of Chaskey-12, which tunnel leaf1 - leaf3 has for integrity, may process 2^38")
        document["tunnels"][0]["level"] = "confidentiality"
        document["lifetimes"] |= {"key_hard_bytes": 2**51}
        ((_, _, said),) = findings(yaml.dump(document, Dumper=WrittenOut))
        assert "Ascon-AEAD128" in said
        assert "2^50 bytes" in said

    def test_what_is_not_said(self):
        document = yaml.safe_load(EXAMPLE)
        for name in ("tunnel_keys", "tunnels", "reservations", "mapping_limits"):
            del document[name]
        for name in list(document["lifetimes"]):
            if name.startswith(("key_soft_p", "key_soft_b", "key_hard_", "rot", "roll")):
                del document["lifetimes"][name]
        domain = parse(yaml.dump(document, Dumper=WrittenOut))
        assert (domain.tunnel_keys, domain.tunnels, domain.reservations) == (TunnelKeys.NVA, (), ())
        assert domain.mapping_limits == MappingLimits() == parse(EXAMPLE).mapping_limits
        assert domain.lifetimes.key_hard_s > domain.lifetimes.key_soft_s
        assert replace(domain.lifetimes, key_hard_s=0) == replace(parse(EXAMPLE).lifetimes, key_hard_s=0)

    def test_limits_take_the_lease(self):
        text = changed("lease_s: 30", "lease_s: 60").replace("claims_per_vap: 256", "claims_per_vap: 7")
        assert parse(text).mapping_limits == MappingLimits(claims_per_vap=7, lease_s=60)

    def test_peers_contribute(self):
        assert parse(changed("tunnel_keys: nva ", "tunnel_keys: nva+peer ")).tunnel_keys is TunnelKeys.NVA_AND_PEER

    def test_levels_of_tunnels(self):
        expected = (TunnelLevel(("leaf1", "leaf3"), Level.INTEGRITY),)
        assert parse(EXAMPLE).tunnels == expected
        assert parse(changed("between: [leaf1, leaf3]", "between: [leaf3, leaf1]")).tunnels == expected

    def test_reservations(self):
        both = frozenset({"leaf1", "leaf3"})
        domain = parse(EXAMPLE)
        assert domain.reservations == (
            Reservation("blue", IPv4Address("10.1.0.254"), both),
            Reservation("blue", 0x02AA000000FE, both),
        )
        assert scope_of(domain).reserved == {
            (5001, IPv4Address("10.1.0.254")): both,
            (5001, 0x02AA000000FE): both,
        }
        assert scope_of(domain, reserved={}).reserved == {}

    def test_a_tenant_system_where_its_address_is_reserved(self):
        assert parse(with_value(["reservations", 0, "ip"], "10.1.0.1"))
        assert parse(with_value(["reservations", 0], {"vn": "red", "ip": "10.1.0.2", "nves": ["leaf1"]}))


class TestWhere:
    def test_line_of_a_value(self):
        line = next(number for number, text in enumerate(LINES, 1) if "vni: 5002" in text)
        assert findings(changed("vni: 5002", "vni: 16777216"))[0][:2] == (line, "vns[1].vni")

    def test_line_of_a_missing_field_is_that_of_its_section(self):
        line = next(number for number, text in enumerate(LINES, 1) if "name: red" in text)
        assert findings(changed("    vni: 5002\n", "")) == [(line, "vns[1].vni", "is missing")]

    def test_unknown_field(self):
        assert findings(changed("mtu: 1500", "mut: 1500"))[0][1:] == ("nves[0].underlay.mut", "is not a field here")

    def test_twice(self):
        assert findings("domain: a\ndomain: b\n") == [(2, "domain", "is given twice")]

    def test_no_more_than_anybody_reads(self):
        assert len(findings("domain: a\nvns: [" + "x," * 5000 + "]\nnves: []\n")) == FINDINGS_LIMIT

    def test_several_at_once_in_order_of_lines(self):
        text = changed("vni: 5001", "vni: 0").replace("vni: 5002", "vni: x")
        assert [field for _, field, _ in findings(text)] == ["vns[0].vni", "vns[1].vni"]

    @pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_lines._Loader], ids=lambda loader: loader.__name__)
    def test_nested_too_deeply(self, monkeypatch, loader):
        monkeypatch.setattr(yaml_lines, "_Loader", loader)
        assert re.search("nest", findings("a: " + "[" * 50_000 + "]" * 50_000)[0][2])

    @pytest.mark.parametrize("text", ["", "[]", "a: [", "a: *b", "- 1", "\x00"], ids=repr)
    def test_not_a_domain_file_at_all(self, text):
        assert findings(text)

    def test_aliases_are_not_taken(self):
        text = changed("meter: {rate: 100000, burst: 10000}}", "meter: &m {rate: 100000, burst: 10000}}")
        ((line, field, message),) = findings(text)
        assert "&m" in text.splitlines()[line - 1]
        assert (field, message) == ("(YAML)", "&m is an anchor, and aliases are not taken; leave it out")

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match="No such file"):
            load_domain(tmp_path / "none.yaml")


WRONG_FIELDS = [
    (["nves", 0, "underlay", "port"], 255, "256"),
    (["nves", 0, "underlay", "port"], 510, "509"),
    (["nves", 0, "underlay", "address"], "224.0.0.1", "multicast"),
    (["nves", 0, "underlay", "address"], "0.0.0.0", "unspecified"),  # noqa: S104  # nothing is bound
    (["nves", 0, "underlay", "address"], "127.0.0.1", "loopback"),
    (["nves", 0, "underlay", "address"], "255.255.255.255", "reserved"),
    (["nves", 0, "underlay", "address"], "169.254.1.1", "link-local address, which stays on one link"),
    (["nves", 0, "underlay", "address"], "fe80::1", "link-local address, which stays on one link"),
    (["nves", 0, "underlay", "address"], "ff02::1", "multicast"),
    (["nves", 0, "underlay", "address"], "::", "unspecified"),
    (["nves", 0, "underlay", "address"], "::1", "loopback"),
    (["nves", 0, "underlay", "address"], "::192.0.2.1", "IPv4-compatible"),
    (["nves", 0, "underlay", "address"], "2001:db8::1%eth0", "has a zone"),
    (["nves", 0, "underlay", "address"], "2001:db8::1/64", "not an IP address"),
    (["nves", 0, "underlay", "address"], [], "one address, or one of IPv4 and one of IPv6"),
    (["nves", 0, "underlay", "address"], ["192.0.2.1", "192.0.2.9"], "one address, or one of IPv4 and one of IPv6"),
    (["nves", 0, "underlay", "address"], ["192.0.2.1", "192.0.2.1"], "one address, or one of IPv4 and one of IPv6"),
    (["nves", 0, "underlay", "address"], ["192.0.2.1", "fe80::1"], "link-local address, which stays on one link"),
    (["nves", 0, "underlay", "address"], ["192.0.2.1", ["2001:db8::1"]], "quote the address"),
    (["nves", 0, "underlay", "address"], {"192.0.2.1": 1}, "quote the address"),
    (["nves", 0, "underlay", "mac"], "01:00:5e:00:00:01", "group"),
    (["nves", 0, "underlay", "mac"], "00:00:00:00:00:00", "nobody"),
    (["nves", 0, "underlay", "mac"], "02-00-00-00-00-01", "six bytes"),
    (["nves", 0, "underlay", "mac"], 123, "quote"),
    (["nves", 0, "p4runtime"], "127.0.0.1:9559", "unix:PATH"),
    (["nves", 0, "p4runtime"], "unix:", "unix:PATH"),
    (["nves", 0, "p4runtime"], "unix:" + "x" * 108, "107"),
    (["nves", 0, "device_id"], 0, "1"),
    (["nves", 0, "name"], "Leaf_1", "'Leaf_1' has '_'; a name has letters a to z, digits and hyphens"),
    (["nves", 0, "name"], "Leaf1", "write leaf1"),
    (["nves", 0, "name"], "leaf1.dc1.example.com", "names are one label here, without the domain: write leaf1"),
    (["nves", 0, "name"], "leaf\uff11", "not ASCII"),
    (["nves", 0, "name"], True, "quote the name"),
    (["domain"], "Lab.Example.", "write lab.example"),
    (["domain"], "lab..example", "between two dots must be a name"),
    (["tenant_systems", 0, "ips"], ["fe80::1%eth0"], "has a zone"),
    (["tenant_systems", 0, "ips"], ["::10.1.0.1"], "IPv4-compatible"),
    (["tenant_systems", 0, "ips"], [167837697], "quote the address"),
    (["tenant_systems", 0, "ips"], ["10.1.0.01"], "not an IP address"),
    (["tenant_systems", 0, "mac"], "02-aa-00-00-00-01", "with colons: 02:aa:00:00:00:01"),
    (["reservations", 0, "ip"], "fe80::1%1", "has a zone"),
    (["nves", 0, "underlay", "address"], "::ffff:192.0.2.1", "in the form of IPv6"),
    (["nves", 0, "p4runtime"], "unix:./leaf1.sock", "write unix:leaf1.sock"),
    (["nves", 0, "p4runtime"], "unix:a//leaf1.sock", "write unix:a/leaf1.sock"),
    (["nves", 0, "p4runtime"], "unix:leaf%31.sock", "without %"),
    (["vns", 0, "subnets"], ["10.1.0.5/24"], "write 10.1.0.0/24"),
    (["vns", 0, "subnets"], ["10.1.0.0/255.255.255.0"], "not a subnet"),
    (["nves", 0, "vaps", 0, "vlan"], 4095, "4094"),
    (["nves", 0, "vaps", 0, "port"], 256, "255"),
    (["nves", 0, "vaps", 0, "meter"], {"rate": 0, "burst": 1}, "1"),
    (["vns", 0, "level"], "secrecy", "confidentiality"),
    (["vns", 0, "level"], "none", "integrity"),
    (["vns", 0, "mtu"], 1554, "1553"),
    (["lifetimes", "lease_s"], 0, "0"),
    (["lifetimes", "lease_s"], float("inf"), "finite"),
    (["lifetimes", "lease_renew_s"], 16, "half"),
    (["lifetimes", "key_hard_s"], 3605, "key_soft_s"),
    (["lifetimes", "key_jitter_s"], 3600, "below"),
    (["lifetimes", "key_soft_packets"], 0, "1"),
    (["lifetimes", "key_hard_packets"], 2**32, "key_soft_packets"),
    (["lifetimes", "key_hard_bytes"], 2**41, "key_soft_bytes"),
    (
        ["lifetimes", "key_hard_packets"],
        2**38,
        "a key of Chaskey-12, which VN blue has for integrity, may process 2^38",
    ),
    (["lifetimes", "key_hard_bytes"], 2**42, "blocks of 16 bytes; with key_hard_packets 4724464025"),
    (["lifetimes", "rollout_s"], 0, "0"),
    (["lifetimes", "lease_s"], 1e-9, "must be 1 or more: the tunnels of a switch close with it"),
    (["lifetimes", "lease_renew_s"], 1e-9, "must be 0.1 or more: the NVA stores"),
    (["lifetimes", "key_soft_s"], 0.5, "must be 1 or more: each key is made"),
    (["lifetimes", "key_soft_packets"], 99, "must be 100 or more: each key"),
    (["lifetimes", "key_soft_bytes"], 9999, "must be 10000 or more: a frame"),
    (["mapping_limits", "handover_s"], 0.05, "must be 0.1 or more: a successor"),
    (["lifetimes", "confirm_s"], 0.05, "must be 0.1 or more: an agent has to write"),
    (["lifetimes", "rollout_s"], 0.5, "must be 1 or more: both ends"),
    (["lifetimes", "rotations_at_once"], 0, "1"),
    (["tunnel_keys"], "peer", "'nva+peer'"),
    (["mapping_limits", "claims_per_vap"], 0, "1"),
    (["mapping_limits", "handover_s"], 0, "0"),
    (["mapping_limits", "lease_s"], 30, "not a field"),
    (["tunnels", 0, "between"], ["leaf1"], "is missing"),
    (["tunnels", 0, "between"], ["leaf1", "leaf2", "leaf3"], "at most 2"),
    (["tunnels", 0, "level"], "secrecy", "confidentiality"),
    (["reservations", 0, "nves"], [], "at least 1"),
    (["reservations", 0, "mac"], "02:aa:00:00:00:fe", "either a mac or an ip"),
    (["reservations", 0], {"vn": "blue", "nves": ["leaf1"]}, "either a mac or an ip"),
    (["tenant_systems", 0, "ips"], ["10.0.0.300"], "IPv4"),
    (["tenant_systems", 0, "ips"], ["::ffff:10.1.0.9"], "the IPv4 address 10.1.0.9 in the form of IPv6"),
    (["tenant_systems", 0, "ips"], ["::ffff:127.0.0.1"], "the IPv4 address 127.0.0.1 in the form of IPv6"),
    (["vns"], [], "at least 1"),
]


def section_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field of the schema holds, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for part in get_args(annotation):
        section, _ = section_of(part)
        if section is not None:
            return section, get_origin(annotation) is tuple
    return None, False


def kinds_of(annotation: Any) -> set[Any]:
    """The plain types in an annotation."""
    parts = get_args(annotation)
    return set().union(*map(kinds_of, parts)) if parts else {annotation}


def filled(section: type[BaseModel], leaf: Any, replaced: type[BaseModel] | None = None) -> dict[str, Any]:
    """A section with all its fields, each of them `leaf`, and so is what should be a section of type `replaced`."""
    made = {}
    for name, field in section.model_fields.items():
        inner, is_list = section_of(field.annotation)
        value = leaf if inner in (None, replaced) else filled(inner, leaf, replaced)
        made[name] = [value] if is_list and inner is not replaced else value
        if is_list and inner is replaced:
            made[name] = [leaf, leaf] if name in ("vns", "members") else leaf
    return made


def all_sections(section: type[BaseModel] = DomainFile) -> set[type[BaseModel]]:
    inner = {section_of(field.annotation)[0] for field in section.model_fields.values()} - {None}
    return inner.union(*map(all_sections, inner))


WRONG_VALUES = [None, "x", "9" * 5000, 1.5, -1, 10**30, float("inf"), float("nan"), True, [], ["x"], list(range(40))]
WRONG_VALUES += [{}, {"x": 1}]


class TestWords:
    """What is wrong is said of the file, not of the Python behind it."""

    PYTHON = re.compile(
        r"Section|tuple|dict|[Ii]nput|instance|pars|validat|ydantic|\b(str|int|float|bool|model)\b|wrong kind"
    )

    @pytest.mark.parametrize("replaced", [None, *sorted(all_sections(), key=str)], ids=str)
    def test_no_words_of_the_library(self, replaced):
        said = set()
        for wrong in WRONG_VALUES:
            text = yaml.dump(filled(DomainFile, wrong, replaced), Dumper=WrittenOut)
            said |= {message for _, _, message in findings(text)}
        assert {message for message in said if self.PYTHON.search(message)} == set()
        if replaced is not None:
            assert "must be a mapping: names of fields, and their values" in said

    @pytest.mark.parametrize("wrong", [True, False, "7", "0x7", "true"], ids=repr)
    def test_a_number_is_written_as_one(self, wrong):
        """Whatever the field: nothing else becomes one, neither a boolean nor text. And nothing becomes a boolean."""

        def numbers(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, bool]]:
            for name, field in section.model_fields.items():
                inner, is_list = section_of(field.annotation)
                if inner is not None:
                    yield from numbers(inner, f"{path}{name}{'[0]' if is_list else ''}.")
                elif any(kind in kinds_of(field.annotation) for kind in (int, float)) and "mac" not in name:
                    yield f"{path}{name}", False
                elif bool in kinds_of(field.annotation):
                    yield f"{path}{name}", True

        said = {field: message for _, field, message in findings(yaml.safe_dump(filled(DomainFile, wrong)))}
        fields = dict(numbers(DomainFile))
        assert len(fields) > 40
        for field, is_flag in fields.items():
            if not is_flag:
                assert re.match("must be a (whole )?number", said[field]), field
            elif isinstance(wrong, str):
                assert said[field] == "must be true or false"

    def test_examples(self):
        for path, value, message in (
            (["vns", 0], 7, "must be a mapping: names of fields, and their values"),
            (["vns"], 7, "must be a list"),
            (["vns"], [], "must hold at least 1, and holds 0"),
            (["vns", 0, "vni"], "x", "must be a whole number"),
            (["vns", 0, "vni"], 2**24, "must be 16777215 or less"),
            (["vns", 0, "level"], "none", "must be 'integrity' or 'confidentiality'"),
            (["lifetimes", "lease_s"], 0, "must be above 0"),
            (["lifetimes", "lease_s"], "x", "must be a number"),
            (["tenant_systems", 0, "allow_other_ethertypes"], "x", "must be true or false"),
            (["nves", 0, "p4runtime"], 7, "must be text; quote it"),
        ):
            assert message in [said for _, _, said in findings(with_value(path, value))]


NOBODYS = {
    "name": "gateway",
    "vn": "blue",
    "mac": "02:00:00:00:01:00",
    "ips": ["10.1.0.255"],
    "members": [{"nve": "leaf1", "port": 1, "sources": ["10.1.0.0"]}, {"nve": "leaf2", "port": 1}],
}

CONTRADICTIONS = [
    (["vns", 1, "name"], "blue", "already used"),
    (["vns", 1, "vni"], 5001, "VNI 5001"),
    (["nves", 1, "name"], "leaf1", "already used"),
    (["nves", 1, "p4runtime"], "unix:leaf1.sock", "already used"),
    (["nves", 1, "underlay", "address"], "192.0.2.1", "already used"),
    (["nves", 1, "underlay", "address"], ["2001:db8::2", "192.0.2.1"], "already used"),
    (
        ["nves", 1, "underlay", "address"],
        "2001:db8::2",
        "2001:db8::2 is of IPv6, and leaf1, which serves VN blue as well, has 192.0.2.1 of IPv4",
    ),
    (["nves", 1, "underlay", "mac"], "02:00:00:00:01:00", "already that of leaf1"),
    (["nves", 0, "underlay", "routes", 0, "mac"], "02:00:00:00:01:00", "already that of leaf1"),
    (["nves", 0, "underlay", "routes", 0, "port"], 256, "has the MAC address"),
    (["nves", 0, "underlay", "routes", 0], {"peer": "leaf3", "port": 300}, "mac of its own"),
    (["nves", 0, "underlay", "routes", 0, "peer"], "leaf9", "leaf2, leaf3"),
    (["nves", 0, "underlay", "routes", 0, "peer"], "leaf1", "not another NVE"),
    (["nves", 0, "underlay", "routes", -1], {"peer": "leaf3"}, "has a route already"),
    (["nves", 0, "underlay", "mtu"], 1485, "1486"),
    (["nves", 0, "vaps", 0, "vn"], "green", "blue, red"),
    (["nves", 0, "vaps", -1], {"port": 1, "vlan": 0, "vn": "red"}, "already"),
    (["tenant_systems", 0, "vn"], "green", "blue, red"),
    (["tenant_systems", 0, "nve"], "leaf9", "leaf1"),
    (["tenant_systems", 0, "port"], 7, "has no VAP"),
    (["tenant_systems", 0, "vn"], "red", "belongs to VN blue"),
    (["tenant_systems", 1, "mac"], "02:aa:00:00:00:01", "blue1's"),
    (["tenant_systems", 1, "ips"], ["10.1.0.1"], "blue1's"),
    (["tenant_systems", 1, "ips"], ["10.1.0.9", "10.1.0.9"], "twice"),
    (["tenant_systems", 1, "name"], "blue1", "already used"),
    (["tunnels", 0, "between"], ["leaf1", "leaf9"], "leaf1, leaf2, leaf3"),
    (["tunnels", 0, "between"], ["leaf1", "leaf1"], "two ends"),
    (["tunnels", -1], {"between": ["leaf3", "leaf1"], "level": "integrity"}, "tunnels[0] is already"),
    (["reservations", 0, "vn"], "green", "blue, red"),
    (["reservations", 0, "nves", 1], "leaf9", "leaf1, leaf2, leaf3"),
    (
        ["reservations", 0],
        {"vn": "red", "ip": "10.1.0.9", "nves": ["leaf2"]},
        "does not serve VN red; one of: leaf1, leaf3",
    ),
    (["reservations", 0, "nves", 1], "leaf1", "named already"),
    (["reservations", -1], {"vn": "blue", "ip": "10.1.0.254", "nves": ["leaf2"]}, "reserved by reservations[0]"),
    (
        ["reservations", -1],
        {"vn": "blue", "mac": "02:aa:00:00:00:fe", "nves": ["leaf2"]},
        "reserved by reservations[1]",
    ),
    (["reservations", 0, "ip"], "10.1.0.2", "blue2's, which stands behind leaf2"),
    (["reservations", 1, "mac"], "02:aa:00:00:00:02", "blue2's, which stands behind leaf2"),
    (["tenant_systems", 0, "mac"], "02:00:00:00:01:00", "is on the underlay; no tenant system has it"),
    (["reservations", 1, "mac"], "02:00:00:00:02:00", "is on the underlay; no tenant system has it"),
    (["shared_addresses"], [NOBODYS], "02:00:00:00:01:00 is on the underlay; no tenant system has it"),
    (["shared_addresses"], [NOBODYS], "10.1.0.255 is the address of all or none in 10.1.0.0/24"),
    (["shared_addresses"], [NOBODYS], "10.1.0.0 is the address of all or none in 10.1.0.0/24"),
    (["vns", 0, "subnets"], ["10.1.0.0/30"], "10.1.0.3 is the address of all or none in 10.1.0.0/30"),
    (["vns", 0, "subnets"], ["10.1.0.4/30"], "10.1.0.4 is the address of all or none in 10.1.0.4/30"),
    (
        ["vns", 0, "subnets"],
        ["fd00:1::1/128", "fd00:1::/120", "10.1.0.128/25", "10.1.0.0/29", "10.1.0.4/30"],
        "10.1.0.4",
    ),
]


def test_subnets_that_fit():
    """Where a prefix leaves one bit or none, every address is somebody's."""
    subnets = ["10.1.0.0/24", "10.1.0.2/31", "10.1.0.4/32", "fd00:1::/64", "fd00:1::2/127"]
    assert [str(one) for one in parse(with_value(["vns", 0, "subnets"], subnets)).vns[0].subnets] == sorted(subnets)


class TestRefused:
    @pytest.mark.parametrize(("path", "value", "text"), WRONG_FIELDS, ids=str)
    def test_field(self, path, value, text):
        found = findings(with_value(path, value))
        assert any(text in message for _, _, message in found), found
        assert all(line > 0 for line, _, _ in found)

    @pytest.mark.parametrize(("path", "value", "text"), CONTRADICTIONS, ids=str)
    def test_contradiction(self, path, value, text):
        found = findings(with_value(path, value))
        assert any(text in message for _, _, message in found), found

    def test_too_many_copies_to_one_port(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"][1]["vaps"] = [{"port": 1, "vlan": vlan, "vn": "blue"} for vlan in range(61)]
        document["tenant_systems"] = []
        found = findings(yaml.dump(document, Dumper=WrittenOut))
        assert any("61 copies to port 1" in message for _, _, message in found)

    def test_too_many_copies_where_nobody_else_serves_the_vn(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"] = [document["nves"][1]]
        document["tenant_systems"] = document["tunnels"] = document["reservations"] = []
        document["nves"][0]["vaps"] = [{"port": 1, "vlan": vlan, "vn": "blue"} for vlan in range(60)]
        assert parse(yaml.dump(document, Dumper=WrittenOut))
        document["nves"][0]["vaps"].append({"port": 1, "vlan": 60, "vn": "blue"})
        assert [
            "61 copies to port 1" in message for _, _, message in findings(yaml.dump(document, Dumper=WrittenOut))
        ] == [True]

    def test_mtu_does_not_matter_without_a_tunnel(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"] = [document["nves"][1]]
        document["nves"][0]["underlay"]["mtu"] = 700
        document["tenant_systems"] = document["tunnels"] = document["reservations"] = []
        assert parse(yaml.dump(document, Dumper=WrittenOut))

    def test_copies_of_many_nves_to_one_port(self):
        """59 peers behind one underlay port and an access port are as many as it takes; one more is too many."""

        def with_members(count: int) -> str:
            document = yaml.safe_load(EXAMPLE)
            document["tenant_systems"] = document["tunnels"] = document["reservations"] = []
            one = document["nves"][1]
            document["nves"] = [
                {
                    **one,
                    "name": f"leaf{number}",
                    "p4runtime": f"unix:leaf{number}.sock",
                    "underlay": {"address": f"192.0.2.{number}", "port": 256, "mac": f"02:00:00:00:00:{number:02x}"},
                    "vaps": [{"port": 1, "vn": "blue"}],
                }
                for number in range(1, count + 1)
            ]
            return yaml.dump(document, Dumper=WrittenOut)

        assert parse(with_members(61))
        found = findings(with_members(62))
        assert len(found) == 62
        assert all("61 copies to port 256" in message for _, _, message in found)

    def test_the_first_of_two_routes_and_of_two_vaps_is_what_others_are_compared_with(self):
        document = yaml.safe_load(EXAMPLE)
        document["nves"][0]["underlay"]["routes"].append({"peer": "leaf3", "port": 256, "mac": "02:00:00:00:01:77"})
        document["nves"][0]["vaps"].append({"port": 1, "vlan": 0, "vn": "red"})
        found = {(field, message) for _, field, message in findings(yaml.dump(document, Dumper=WrittenOut))}
        assert found == {
            ("nves[0].underlay.routes[1].peer", "leaf3 has a route already"),
            (f"nves[0].vaps[{len(document['nves'][0]['vaps']) - 1}]", "port 1 VLAN 0 is a VAP of leaf1 already"),
        }

    def test_every_holder_of_a_reserved_address_elsewhere(self):
        document = yaml.safe_load(EXAMPLE)
        document["reservations"] = [
            {"vn": "blue", "ip": "10.1.0.2", "nves": ["leaf1"]},
            {"vn": "blue", "mac": "02:aa:00:00:00:02", "nves": ["leaf3"]},
            {"vn": "blue", "ip": "10.1.0.1", "nves": ["leaf2"]},
            {"vn": "red", "ip": "10.1.0.1", "nves": ["leaf1", "leaf3"]},
        ]
        assert [(field, message) for _, field, message in findings(yaml.dump(document, Dumper=WrittenOut))] == [
            ("reservations[0]", "10.1.0.2 is blue2's, which stands behind leaf2"),
            ("reservations[1]", "02:aa:00:00:00:02 is blue2's, which stands behind leaf2"),
            ("reservations[2]", "10.1.0.1 is blue1's, which stands behind leaf1"),
        ]


class TestCommand:
    @staticmethod
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def test_a_wrong_file_is_status_2(self, tmp_path):
        path = tmp_path / "domain.yaml"
        path.write_text(changed("vni: 5002", "vni: 5001"))
        for command in (["controller", "check", str(path)], ["controller", "run", "--domain", str(path)]):
            result = self.run(*command)
            assert result.returncode == 2
            assert result.stdout == ""
            line = next(number for number, text in enumerate(LINES, 1) if "vni: 5002" in text)
            assert result.stderr == f"{path}:{line}: vns[1].vni: VNI 5001 is already used by vns[0]\n"

    def test_a_right_file(self):
        result = self.run("controller", "check", str(example_path()))
        assert (result.returncode, result.stderr) == (0, "")
        assert "3 NVEs, 2 VNs, 6 tenant systems" in result.stdout
