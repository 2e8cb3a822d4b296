# SPDX-License-Identifier: Apache-2.0
"""Which unknown addresses become questions, and the frames around them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.mapping.lookups import LookupPolicy, Verdict, Wanted
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.domain.switch.frames import Question, destination_of, neighbor_reply, parse_question, untagged

RATE = Rate(10, 5)
A, B = 1, 2


def wanted(number: int) -> Wanted:
    return Wanted(5001, mac=number)


class TestPolicy:
    def test_one_question_at_a_time(self):
        policy = LookupPolicy()
        assert policy.ask(wanted(1), A, RATE, 0.0) is Verdict.ASK
        assert policy.ask(wanted(1), A, RATE, 0.0) is Verdict.WAIT
        assert policy.ask(wanted(1), B, RATE, 0.0) is Verdict.WAIT
        policy.answered(wanted(1), None, 10)
        assert policy.ask(wanted(1), A, RATE, 0.0) is Verdict.ASK

    def test_a_negative_answer_lasts(self):
        policy = LookupPolicy()
        policy.ask(wanted(1), A, RATE, 0.0)
        policy.answered(wanted(1), 10.0, 10)
        assert policy.ask(wanted(1), A, RATE, 9.9) is Verdict.NEGATIVE
        assert policy.ask(wanted(1), A, RATE, 10.0) is Verdict.ASK

    def test_a_negative_answer_ends_when_the_address_appears(self):
        policy = LookupPolicy()
        policy.ask(wanted(1), A, RATE, 0.0)
        policy.answered(wanted(1), 10.0, 10)
        policy.forget(wanted(1))
        assert policy.ask(wanted(1), A, RATE, 1.0) is Verdict.ASK

    def test_negative_answers_end_when_anything_may_have_appeared(self):
        policy = LookupPolicy()
        policy.ask(wanted(1), A, RATE, 0.0)
        policy.answered(wanted(1), 10.0, 10)
        policy.forget_vn(wanted(1).vni + 1)
        assert policy.negatives(A) == 1
        policy.forget_vn(wanted(1).vni)
        assert policy.ask(wanted(1), A, RATE, 1.0) is Verdict.ASK

    def test_one_vap_cannot_use_up_anothers_share(self):
        policy = LookupPolicy(pending_limit=3)
        assert [policy.ask(wanted(n), A, RATE, 0.0) for n in range(4)] == [Verdict.ASK] * 3 + [Verdict.LIMITED]
        assert policy.ask(wanted(9), B, RATE, 0.0) is Verdict.ASK

    def test_quota_of_negative_answers(self):
        policy = LookupPolicy()
        for number in range(100):
            assert policy.ask(wanted(number), A, RATE, float(number)) is Verdict.ASK
            policy.answered(wanted(number), 1000.0, 7)
        assert policy.negatives(A) == 7
        assert policy.ask(wanted(99), A, RATE, 200.0) is Verdict.NEGATIVE
        assert policy.ask(wanted(1), A, RATE, 200.0) is Verdict.ASK, "the oldest went first"

    @given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([A, B]), st.floats(0, 1), st.booleans()), max_size=80))
    def test_bounded_whatever_a_tenant_does(self, script):
        policy = LookupPolicy(pending_limit=4)
        now, asked, pending = 0.0, {A: 0, B: 0}, {}
        for number, vap, wait, answered in script:
            now += wait
            if policy.ask(wanted(number), vap, RATE, now) is Verdict.ASK:
                assert wanted(number) not in pending
                asked[vap] += 1
                pending[wanted(number)] = vap
            if answered and pending:
                policy.answered(pending.popitem()[0], now + 1.0, 3)
            for one in (A, B):
                assert policy.negatives(one) <= 3
                assert list(pending.values()).count(one) <= 4
                assert asked[one] <= RATE.burst + now * RATE.per_second + 1


class TestTokenBucket:
    @given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 20), st.integers(1, 10))
    def test_never_more_than_rate_and_burst(self, waits, per_second, burst):
        bucket, now, taken = TokenBucket(Rate(per_second, burst), 0.0), 0.0, 0
        for wait in waits:
            now += wait
            taken += bucket.take(now)
            assert taken <= burst + now * per_second + 1e-6

    def test_time_that_goes_backwards_gives_nothing(self):
        bucket = TokenBucket(Rate(1, 1), 100.0)
        assert bucket.take(100.0)
        assert not bucket.take(50.0)
        assert not bucket.take(100.5)
        assert bucket.take(101.0)


ARP = Question(0x020000000001, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))
ARP_FRAME = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
)
ND_FRAME = bytes.fromhex(
    "3333ff000002 020000000001 86dd 60000000 0020 3a ff"
    "20010db8000000000000000000000001 ff0200000000000000000001ff000002"
    "8700 76d4 00000000 20010db8000000000000000000000002 0101 020000000001"
)
ND = Question(0x020000000001, IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))


class TestFrames:
    def test_arp(self):
        assert parse_question(ARP_FRAME) == ARP
        assert parse_question(ARP_FRAME + bytes(18)) == ARP, "padding"
        reply = neighbor_reply(ARP, 0x020000000002)
        assert reply == bytes.fromhex(
            "020000000001 020000000002 0806 0001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001"
        )

    def test_neighbor_discovery_against_scapy(self):
        from scapy.layers.inet6 import (
            Ether,
            ICMPv6ND_NA,
            ICMPv6ND_NS,
            ICMPv6NDOptDstLLAddr,
            ICMPv6NDOptSrcLLAddr,
            IPv6,
        )

        one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
        question = (
            Ether(src=one, dst="33:33:ff:00:00:02")
            / IPv6(src="2001:db8::1", dst="ff02::1:ff00:2", hlim=255)
            / ICMPv6ND_NS(tgt="2001:db8::2")
            / ICMPv6NDOptSrcLLAddr(lladdr=one)
        )
        assert parse_question(bytes(question)) == ND
        answer = (
            Ether(src=two, dst=one)
            / IPv6(src="2001:db8::2", dst="2001:db8::1", hlim=255)
            / ICMPv6ND_NA(tgt="2001:db8::2", R=0, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=two)
        )
        assert neighbor_reply(ND, 0x020000000002) == bytes(answer)

    @pytest.mark.parametrize("frame", [ARP_FRAME, ND_FRAME], ids=["ARP", "ND"])
    def test_anything_cut_short_is_no_question(self, frame):
        for length in range(len(frame)):
            assert parse_question(frame[:length]) is None

    @pytest.mark.parametrize("position", [*range(6, 22), 31], ids=str)
    def test_a_request_that_contradicts_itself_is_none(self, position):
        altered = bytearray(ARP_FRAME)
        altered[position] ^= 1
        question = parse_question(bytes(altered))
        assert question is None or question.sender_ip != ARP.sender_ip

    def test_every_changed_bit_of_a_solicitation_is_noticed(self):
        good = neighbor_reply(ND, 2)  # an advertisement is no question
        assert parse_question(good) is None

    @given(st.binary(max_size=128))
    def test_never_fails(self, frame):
        parse_question(frame)
        destination_of(frame)
        assert len(untagged(frame)) <= len(frame)

    def test_tag(self):
        tagged = ARP_FRAME[:12] + b"\x81\x00\x00\x64" + ARP_FRAME[12:]
        assert untagged(tagged) == ARP_FRAME
        assert untagged(ARP_FRAME) == ARP_FRAME
        assert destination_of(ARP_FRAME) == 2**48 - 1
        assert destination_of(b"short") is None
