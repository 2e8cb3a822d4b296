# SPDX-License-Identifier: Apache-2.0
"""What operators are told about keys: who should hold which, who does, and every way in which the two can differ."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.keys.sa import Direction, End, KeyLimits, Sa, SaState
from nvo3sec.domain.messages.holdings import HeldSa, Holdings, holdings_from_json
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import OperatorError
from nvo3sec.nva.intent.tunnel_choice import choose_tunnels, some_tunnels
from nvo3sec.operator.key_views import differences, key_list

NOW = 1000.0
LIMITS = KeyLimits(soft_s=3600, hard_s=3960, jitter_s=0, grace_s=5, confirm_s=10, rollout_s=30)
ONE, TWO = b"\x11" * 16, b"\x22" * 16
SPI = 0x80000001
SUITE = Suite.CHASKEY12.name


def sa(spi: int = SPI, state: SaState = SaState.SENDING, generation: int = 7) -> Sa:
    return Sa(
        spi=spi,
        generation=generation,
        state=state,
        planned_at=NOW - 60,
        soft_at=NOW + 3540,
        hard_at=NOW + 3900,
        epoch=1,
        told_at=NOW - 60,
        confirmed=True,
    )


def direction(*sas: Sa, known: bool = True) -> Direction:
    """From leaf1 to leaf2."""
    spis = tuple(one.spi for one in sas) if known else ()
    return Direction(
        Tunnel("leaf1", "leaf2", Suite.CHASKEY12),
        LIMITS,
        sender=End(ONE, True, spis),
        receiver=End(TWO, True, spis),
        sas=sas,
    )


def held(peer: str, spi: int = SPI, generation: int = 0, remaining_s: float = 3899.0, packets: int = 0) -> HeldSa:
    return HeldSa(peer, SUITE, spi, generation, remaining_s, True, packets, packets * 100)


SENDER = Holdings("leaf1", ONE[:4].hex(), True, 50.0, 20.0, (), (held("leaf2", packets=3),))
RECEIVER = Holdings("leaf2", TWO[:4].hex(), True, 60.0, 20.0, (held("leaf1", generation=7, packets=3),), ())


def at_receiver(answer: Holdings | str, *sas: Sa, known: bool = True) -> list[str]:
    return differences("leaf2", [direction(*(sas or (sa(),)), known=known)], answer, NOW)


class TestDifferences:
    def test_none_where_all_is_as_it_should_be(self):
        assert at_receiver(RECEIVER) == []
        assert differences("leaf1", [direction(sa())], SENDER, NOW) == []
        assert differences("leaf3", [direction(sa())], Holdings("leaf3", "", True, 1.0, 1.0, (), ()), NOW) == []

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("it is not connected", "is not known: it is not connected"),
            (replace(RECEIVER, incarnation="33333333"), "has incarnation 33333333, and the NVA knows another"),
            (replace(RECEIVER, incarnation=""), "has incarnation none, and the NVA knows another"),
            (replace(RECEIVER, agrees=False), "its registers and its incarnation entry disagree"),
            (replace(RECEIVER, lease_left_s=None), "has no lease"),
            (replace(RECEIVER, lease_left_s=-0.1), "has no lease"),
            (replace(RECEIVER, receive=()), "lacks the SA 80000001 from leaf1 (CHASKEY12)"),
            (
                replace(RECEIVER, receive=(*RECEIVER.receive, held("leaf1", 5))),
                "holds the SA 00000005 from leaf1 (CHASKEY12), which nobody wants",
            ),
            (
                replace(RECEIVER, send=(held("192.0.2.9", 5),)),
                "holds the SA 00000005 to 192.0.2.9 (CHASKEY12), which nobody wants",
            ),
            (
                replace(RECEIVER, receive=(held("leaf1", generation=8),)),
                "the SA 80000001 from leaf1 (CHASKEY12): generation 8 instead of 7",
            ),
            (
                replace(RECEIVER, receive=(replace(held("leaf1", generation=7), own=False),)),
                "the SA 80000001 from leaf1 (CHASKEY12): it was made for another incarnation",
            ),
            (
                replace(RECEIVER, receive=(held("leaf1", generation=7, remaining_s=3903.0),)),
                "the SA 80000001 from leaf1 (CHASKEY12): it ends later than the NVA wants",
            ),
        ],
    )
    def test_each_has_its_words(self, answer, words):
        assert at_receiver(answer) == [words]

    def test_what_is_on_its_way_is_no_difference(self):
        planned = sa(0x00000002, SaState.PLANNED, generation=8)
        assert at_receiver(replace(RECEIVER, receive=()), planned, known=False) == []
        there = replace(RECEIVER, receive=(held("leaf1", 2, generation=8),))
        assert at_receiver(there, planned, known=False) == []


def no_peer(_tunnel: Tunnel, _spi: int) -> bool:
    return False


class TestList:
    def test_who_made_it(self):
        def only_the_second(tunnel: Tunnel, spi: int) -> bool:
            return spi == 2 and tunnel == direction().tunnel

        inherited = sa(3)._replace(epoch=0)
        of_both = sa(2, SaState.DRAINING)
        rows = key_list([direction(sa(), of_both, inherited)], {}, NOW, only_the_second)
        assert [row.tunnel_keys for row in rows] == ["nva", "nva+peer", None]

    def test_use_comes_from_the_sender_and_both_ends_are_told(self):
        draining = sa(0x00000002, SaState.DRAINING, generation=6)
        (first, second) = key_list([direction(sa(), draining)], {"leaf1": SENDER, "leaf2": RECEIVER}, NOW, no_peer)
        assert (first.spi, first.state, first.age_s, first.to_hard_s) == ("80000001", "sending", 60, 3900)
        assert (first.sender_should, first.sender_has) == (True, True)
        assert (first.receiver_should, first.receiver_has) == (True, True)
        assert (first.sent_packets, first.sent_bytes, first.received_packets) == (3, 300, 3)
        assert (second.sent_packets, second.sent_bytes) == (None, None), "who sent with it has forgotten"
        assert (second.sender_should, second.sender_has) == (False, False)
        assert (second.receiver_should, second.receiver_has) == (True, False)

    def test_who_does_not_answer_is_unknown(self):
        (row,) = key_list([direction(sa())], {"leaf1": "gone"}, NOW, no_peer)
        assert (row.sender_has, row.receiver_has) == (None, None)
        assert row.idle_s is None


class TestChoice:
    DOMAIN = load_domain(example_path())
    MEMBERSHIP = Membership(DOMAIN)

    def choose(self, *nves: str, vn: str | None = None) -> set[tuple[str, str]]:
        tunnels = self.MEMBERSHIP.tunnels()
        found = choose_tunnels(self.DOMAIN, self.MEMBERSHIP, tunnels, nves, vn)
        return {(one.sender, one.receiver) for one in found}

    def test_all_one_between_several_and_those_of_a_vn(self):
        assert len(self.choose()) == 6
        assert self.choose("leaf2") == {
            ("leaf1", "leaf2"), ("leaf2", "leaf1"), ("leaf2", "leaf3"), ("leaf3", "leaf2")
        }  # fmt: skip
        assert self.choose("leaf1", "leaf3") == {("leaf1", "leaf3"), ("leaf3", "leaf1")}
        assert self.choose(vn="red") == {("leaf1", "leaf3"), ("leaf3", "leaf1")}
        assert self.choose("leaf2", vn="red") == set()

    def test_names_that_do_not_exist(self):
        with pytest.raises(OperatorError, match="no such NVE: leaf9; there are: leaf1"):
            self.choose("leaf9")
        with pytest.raises(OperatorError, match="no such VN: green; there are: blue, red"):
            self.choose(vn="green")

    @pytest.mark.parametrize(
        ("nves", "vn", "said"),
        [
            (("leaf1", "leaf2"), "red", "no tunnel between leaf1 and leaf2 carries red"),
            (("leaf2",), "red", "no tunnel of leaf2 carries red"),
            ((), "red", "no tunnel carries red"),
            (("leaf3", "leaf1", "leaf2"), None, "there is no tunnel between leaf1, leaf2 and leaf3"),
            (("leaf1",), None, "there is no tunnel of leaf1"),
        ],
    )
    def test_none_at_all_is_an_error_for_who_wants_to_change_some(self, nves, vn, said):
        tunnels = [one for one in self.MEMBERSHIP.tunnels() if vn and "leaf2" in (one.sender, one.receiver)]
        with pytest.raises(OperatorError) as refused:
            some_tunnels(self.DOMAIN, self.MEMBERSHIP, tunnels, nves, vn)
        assert str(refused.value) == said

    def test_those_that_there_are(self):
        tunnels = self.MEMBERSHIP.tunnels()
        assert len(some_tunnels(self.DOMAIN, self.MEMBERSHIP, tunnels, (), None)) == 6


class TestAnswers:
    def test_there_and_back(self):
        assert holdings_from_json("leaf2", json.loads(json.dumps(RECEIVER.to_json()))) == RECEIVER

    @pytest.mark.parametrize(
        "change",
        [
            {"incarnation": 5},
            {"incarnation": "x" * 65},
            {"agrees": "yes"},
            {"clock_s": None},
            {"clock_s": 1e300},
            {"clock_s": True},
            {"lease_left_s": "long"},
            {"receive": None},
            {"receive": [5]},
            {"receive": [{}]},
            {"send": [{**RECEIVER.to_json()["receive"][0], "spi": -1}]},
            {"send": [{**RECEIVER.to_json()["receive"][0], "packets": True}]},
            {"send": [{**RECEIVER.to_json()["receive"][0], "own": 1}]},
        ],
    )
    def test_what_is_no_answer_is_refused(self, change):
        with pytest.raises(ValueError):  # noqa: PT011  # any of it: what is said about it is for people
            holdings_from_json("leaf2", RECEIVER.to_json() | change)
        with pytest.raises(ValueError, match="object"):
            holdings_from_json("leaf2", [])
