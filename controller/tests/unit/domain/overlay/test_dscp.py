# SPDX-License-Identifier: Apache-2.0
"""The DSCP of outer headers: as a file says it, and what its changes are to whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from nvo3sec.config import copied_dscps, example_path, load_domain, parse_domain
from nvo3sec.domain.overlay.difference import Effect, difference
from nvo3sec.domain.overlay.dscp import DSCP_NAMES, DscpModel, OuterDscp, parse_dscp
from nvo3sec.domain.overlay.model import Domain, Level, TunnelLevel
from nvo3sec.errors import ConfigError

DOMAIN = load_domain(example_path())


def with_dscp(written: object) -> str:
    """The example, and this at leaf1."""
    document = yaml.safe_load(example_path().read_text(encoding="utf-8"))
    document["nves"][0]["underlay"]["dscp"] = written
    return yaml.safe_dump(document)


def said(written: object) -> OuterDscp:
    return parse_domain(with_dscp(written), "test.yaml", Path("/srv")).nves[0].dscp


def copying(domain: Domain, *names: str) -> Domain:
    copies = OuterDscp(DscpModel.COPY, 0)
    return replace(domain, nves=tuple(replace(n, dscp=copies) if n.name in names else n for n in domain.nves))


class TestNames:
    def test_they_are_those_of_the_registry(self):
        """IANA's, typed once more: class selectors, assured forwarding, expedited forwarding and the single ones."""
        classes = {"CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56}
        assured = {"AF11": 10, "AF12": 12, "AF13": 14, "AF21": 18, "AF22": 20, "AF23": 22}
        assured |= {"AF31": 26, "AF32": 28, "AF33": 30, "AF41": 34, "AF42": 36, "AF43": 38}
        single = {"DF": 0, "LE": 1, "VOICE-ADMIT": 44, "EF": 46}
        assert classes | assured | single == DSCP_NAMES

    def test_numbers(self):
        assert [parse_dscp(number) for number in range(64)] == list(range(64))

    @pytest.mark.parametrize("wrong", [-1, 64, True, False, 1.0, "1", "ef", "AF14", "AF51", "CS8", "", None, [], {}])
    def test_nothing_else(self, wrong):
        with pytest.raises(ValueError, match=r"a number from 0 to 63, or one of: .*EF"):
            parse_dscp(wrong)


class TestFile:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ({}, OuterDscp(DscpModel.PIPE, 0)),
            ({"value": "EF"}, OuterDscp(DscpModel.PIPE, 46)),
            ({"model": "pipe", "value": 63}, OuterDscp(DscpModel.PIPE, 63)),
            ({"model": "copy"}, OuterDscp(DscpModel.COPY, 0)),
            ({"model": "copy", "value": "CS6"}, OuterDscp(DscpModel.COPY, 48)),
        ],
    )
    def test_what_is_said(self, written, meant):
        assert said(written) == meant

    def test_what_is_not_said(self):
        assert [nve.dscp for nve in DOMAIN.nves] == [OuterDscp()] * 3
        assert OuterDscp() == OuterDscp(DscpModel.PIPE, 0)

    @pytest.mark.parametrize(
        ("written", "field", "why"),
        [
            ({"value": 64}, "dscp.value", "must be a number from 0 to 63, or one of: DF, LE, CS0"),
            ({"value": "AF44"}, "dscp.value", "one of: DF, LE, CS0"),
            ({"value": True}, "dscp.value", "one of: DF, LE, CS0"),
            ({"model": "uniform"}, "dscp.model", "'pipe' or 'copy'"),
            ({"modle": "copy"}, "dscp.modle", ""),
            (46, "dscp", ""),
        ],
    )
    def test_what_is_wrong(self, written, field, why):
        with pytest.raises(ConfigError) as caught:
            said(written)
        (finding,) = caught.value.findings
        assert finding.field == f"nves[0].underlay.{field}"
        assert why in finding.message


class TestDifference:
    def test_it_is_the_switch_alone(self):
        (change,) = difference(DOMAIN, replace_dscp(OuterDscp(DscpModel.PIPE, 46))).changes
        assert (change.field, change.old, change.new) == ("dscp.value", 0, 46)
        assert (change.effect, change.nves, change.weaker) == (Effect.SWITCHES, ("leaf1",), False)

    def test_a_copy_shows_what_was_not_shown(self):
        (change,) = difference(DOMAIN, copying(DOMAIN, "leaf1")).changes
        assert str(change) == "~ nve leaf1: dscp.model pipe -> copy  (takes protection away)"
        (back,) = difference(copying(DOMAIN, "leaf1"), DOMAIN).changes
        assert not back.weaker


def replace_dscp(dscp: OuterDscp) -> Domain:
    return replace(DOMAIN, nves=(replace(DOMAIN.nves[0], dscp=dscp), *DOMAIN.nves[1:]))


class TestExposure:
    def test_of_what_is_encrypted(self):
        secret = tuple(replace(vn, level=Level.CONFIDENTIALITY) if vn.name == "blue" else vn for vn in DOMAIN.vns)
        confidential = replace(DOMAIN, vns=secret)
        assert list(copied_dscps(confidential)) == []
        assert list(copied_dscps(copying(DOMAIN, "leaf1", "leaf2"))) == []
        assert list(copied_dscps(copying(confidential, "leaf1", "leaf2"))) == [("leaf1", "blue"), ("leaf2", "blue")]

    def test_of_what_a_pair_encrypts(self):
        pair = replace(DOMAIN, tunnels=(TunnelLevel(("leaf1", "leaf3"), Level.CONFIDENTIALITY),))
        assert list(copied_dscps(copying(pair, "leaf2"))) == []
        assert list(copied_dscps(copying(pair, "leaf3"))) == [("leaf3", "blue"), ("leaf3", "red")]
