# SPDX-License-Identifier: Apache-2.0
"""Which two ends can speak with each other, and which of them is said to be behind."""

from __future__ import annotations

import pytest
from nvo3sec.domain.messages.versions import Feature, Speaks, differences, mismatch, missing
from nvo3sec.errors import WireError
from nvo3sec.wire import nva_pb2 as pb
from nvo3sec.wire import up, versions

HERE = versions.here()
SILENT = Speaks()


class TestHere:
    def test_the_last_two_versions_are_served(self):
        assert HERE.oldest <= max(0, HERE.protocol - 1)
        assert HERE.features == {one.value for one in Feature}
        assert HERE.software.startswith("nvo3sec ")

    def test_who_says_nothing_sends_what_was_sent_before(self):
        message = pb.AgentMessage.FromString(up.encode_up(up.Registration(b"i" * 16)))
        assert not message.registration.HasField("speaks")
        assert up.decode_up(message.SerializeToString()).speaks == SILENT


class TestMismatch:
    @pytest.mark.parametrize("theirs", [SILENT, HERE, Speaks(7, 0), Speaks(HERE.protocol + 1, HERE.protocol)])
    def test_none(self, theirs):
        assert mismatch(HERE, theirs, "the NVA", "the agent") == ""
        assert mismatch(theirs, HERE, "the agent", "the NVA") == ""

    def test_the_side_that_is_behind_is_named_by_both(self):
        new = Speaks(9, 8, software="nvo3sec 9.0")
        for said in (mismatch(new, HERE, "the NVA", "the agent"), mismatch(HERE, new, "the agent", "the NVA")):
            assert said.endswith("the agent is to be upgraded")
            assert "speaks protocol 8 to 9" in said
            assert HERE.software in said

    def test_of_a_peer_from_before(self):
        said = mismatch(Speaks(2, 1), SILENT, "the NVA", "the agent")
        assert said.startswith("the agent is of an unknown version (protocol 0)")


class TestDifferences:
    def test_both_ways(self):
        newer = Speaks(2, 0, HERE.features | {"something"}, "nvo3sec 2")
        said = differences(HERE, [("leaf1", SILENT), ("leaf2", HERE), ("leaf3", newer)])
        assert len(said) == 2
        assert said[0].startswith(
            "the agent of leaf1 is of an unknown version (protocol 0) and lacks announced-again, announcements, "
            "credential-terms, "
        )
        assert said[1].startswith("the NVA is nvo3sec ")
        assert said[1].endswith("lacks something of the agent of leaf3: it is to be upgraded")

    def test_a_feature_that_cannot_be_done_without(self):
        said = missing(Feature.SHARED_ADDRESSES, SILENT, "the NVA")
        assert "does not know 'shared-addresses'" in said
        assert said.endswith("the NVA is to be upgraded")


class TestRefused:
    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("oldest", {"protocol": 1, "oldest": 2}),
            ("features", {"features": [f"f{number}" for number in range(65)]}),
            (r"features\[0\]", {"features": ["\x1b[31m"]}),
            ("software", {"software": "x" * 65}),
            ("software", {"software": "\n"}),
        ],
    )
    def test_what_is_no_version(self, field, changes):
        registration = pb.Registration(incarnation=b"i" * 16, speaks=pb.Speaks(**changes))
        with pytest.raises(WireError, match=f"registration.speaks.{field}: "):
            up.decode_up(pb.AgentMessage(registration=registration).SerializeToString())
