# SPDX-License-Identifier: Apache-2.0
"""What an agent may answer to an operator's question, and what is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.cli import render, render_keys
from nvo3sec.domain.messages.answers import LINES_SHOWN, STATUS, TEXT_LIMIT, judged
from nvo3sec.domain.messages.holdings import HeldSa, Holdings
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.switch.status import AgentStatus, status_from_json
from nvo3sec.errors import OperatorError
from nvo3sec.nve.status import lines_to_json, status_to_json
from nvo3sec.operator.documents import Counters, KeyAudit, Reconciled, Status, Switch
from nvo3sec.operator.fair_share import without_the_longest
from nvo3sec.operator.json_form import from_json

AMOUNT = {"packets": 3, "bytes": 300}
ROW_RX = {"source": "192.0.2.2", "destination": "192.0.2.1", "spi": "80000001"} | AMOUNT
GOOD: dict[QuestionKind, Any] = {
    QuestionKind.STATUS: {
        "connected": True,
        "nva": True,
        "adopted": False,
        "incarnation": "0123abcd",
        "incarnation_agrees": True,
        "lease_left_s": 29.5,
        "in_sync": True,
        "entries_expected": 10,
        "entries_actual": 10,
        "differences": ["insert bridge[vni=5001]"],
        "foreign": [],
        "learned": 2,
        "punts": {"answer-found": 4},
        "packets_lost": 0,
        "fault": "",
        "alarms": ["a direction drops everything"],
        "limits_s": {"receive leaf2 80000001": 3600.0},
    },
    QuestionKind.COUNTERS: {
        "nve": "leaf1",
        "drops": {"ingress": {"TRUNCATED": AMOUNT}},
        "sa_rx": [ROW_RX],
        "sa_tx": [{"interface": 3, "towards": "leaf2", "level": 1} | AMOUNT],
        "sa_sent": [{"towards": "leaf2", "suite": "CHASKEY12", "spi": "00000005", "at_most": True} | AMOUNT],
        "vap": [{"port": 1, "vlan": 0} | AMOUNT],
        "vn": [{"source": "192.0.2.2", "vni": 5001} | AMOUNT],
        "last_sequence": {"leaf2": 7},
        "switch": {
            "engine": {"packets_in": 7},
            "ports": {"2": {"interface": "access2", "state": "down", "reason": "no carrier", "beyond_mtu": 1}},
        },
    },
    QuestionKind.RECONCILE: ["insert bridge[vni=5001]"],
    QuestionKind.PREVIEW: [],
    QuestionKind.KEYS: Holdings(
        "leaf1", "0123abcd", True, 1.5, 29.0, (HeldSa("leaf2", "CHASKEY12", 5, 1, 30.0, True, 1, 2, 3.0),), ()
    ).to_json(),
}
KINDS = list(QuestionKind)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in inner for place in places(one, (*path, name)))]


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = deepcopy(value)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = new
    return changed


def said(kind: QuestionKind) -> Any:
    """A good answer, as it comes over the wire."""
    return json.loads(json.dumps(GOOD[kind]))


class TestTaken:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_good_one(self, kind):
        assert json.loads(json.dumps(judged("leaf1", kind, said(kind)))) == said(kind)

    def test_what_an_agent_says_of_itself_is_known_here(self):
        """A field that the status has got has its rule."""
        assert set(STATUS) == {field.name for field in fields(AgentStatus)} - {"nve"}

    def test_there_and_back(self):
        status = AgentStatus("leaf1", connected=True, differences=("a",), lease_left_s=1.0, punts={"failed": 2})
        answer = json.loads(json.dumps(status_to_json(status)))
        assert status_from_json("leaf1", judged("leaf1", QuestionKind.STATUS, answer)) == status

    @pytest.mark.parametrize("kind", KINDS)
    def test_fields_that_nobody_knows_are_not_passed_on(self, kind):
        value = said(kind)
        if isinstance(value, dict):
            told = judged("leaf1", kind, value | {"[link=https://mallory.example]": "x", "later": 1})
            assert set(told) <= set(value)

    def test_a_status_is_short(self):
        lines = [f"delete bridge[{number}]" for number in range(LINES_SHOWN + 10)]
        told = judged("leaf1", QuestionKind.STATUS, {"differences": lines})
        assert told["differences"] == [*lines[:LINES_SHOWN], "and 10 more"]

    def test_what_an_honest_agent_reads_from_a_strange_switch(self):
        strange = "group[1] -> " + "\x1b[2J256#1, " * 1000
        status = AgentStatus("leaf1", differences=(strange,), foreign=(strange,), fault=strange)
        told = judged("leaf1", QuestionKind.STATUS, status_to_json(status))
        assert told["fault"].startswith("group[1] -> \\x1b[2J256#1")
        assert len(told["fault"]) == TEXT_LIMIT
        assert judged("leaf1", QuestionKind.PREVIEW, lines_to_json([strange])) == [told["fault"]]


WRONG = [
    None,
    [],
    {},
    5,
    -1,
    1 << 64,
    True,
    1.5,
    float("nan"),
    float("inf"),
    "\x1b]8;;https://mallory.example\x07click\x1b]8;;\x07",
    "two\nlines",
    "\u202edlrow",
    "x" * (TEXT_LIMIT + 1),
    [["x"]],
    {"\x1b[2J": 1},
    {"[bold]": {"packets": 1}},
]


def shown(kind: QuestionKind, value: Any) -> None:
    """Have an answer that was taken printed, as the operators' commands do."""
    match kind:
        case QuestionKind.COUNTERS:
            list(render.counters(from_json(Counters, [value])))
        case QuestionKind.RECONCILE | QuestionKind.PREVIEW:
            list(render.updates(from_json(Reconciled, {"leaf1": value}), dry_run=True))
        case QuestionKind.STATUS:
            switch = Switch(**vars(status_from_json("leaf1", value)))
            list(render.status(Status("d", True, (), switches=(switch,))))
        case QuestionKind.KEYS:
            list(render_keys.audit(KeyAudit(True, (), ())))


def tried(kind: QuestionKind, value: Any) -> tuple[Any, str]:
    """What is told of an answer, and why it is refused."""
    try:
        return judged("leaf1", kind, value), ""
    except ValueError as error:
        return None, str(error)


class TestRefused:
    @pytest.mark.parametrize("kind", KINDS)
    def test_anything_anywhere(self, kind):
        """Whatever stands in whatever place: it is refused, or is as it must be and can be shown."""
        for path in places(said(kind)):
            for wrong in WRONG:
                value = with_value(said(kind), path, wrong)
                told, why = tried(kind, value)
                text = json.dumps([told, why], allow_nan=False, ensure_ascii=False)
                assert text.isprintable()
                assert "mallory" not in text
                if not why:
                    shown(kind, told)

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_missing(self, kind):
        for path in places(said(kind)):
            if not path or isinstance(path[-1], int):
                continue
            value = said(kind)
            inner = value
            for name in path[:-1]:
                inner = inner[name]
            del inner[path[-1]]
            told, why = tried(kind, value)
            if why:
                assert "is missing" in why
            else:
                shown(kind, told)

    @pytest.mark.parametrize("kind", KINDS)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
            max_leaves=20,
        )
    )
    def test_any_value(self, kind, value):
        told, why = tried(kind, value)
        assert json.dumps([told, why], allow_nan=False, ensure_ascii=False).isprintable()
        if not why:
            shown(kind, told)

    def test_one_nve_does_not_speak_for_another(self):
        with pytest.raises(ValueError, match="nve: must be leaf2"):
            judged("leaf2", QuestionKind.COUNTERS, said(QuestionKind.COUNTERS))

    @pytest.mark.parametrize(
        ("path", "value", "why"),
        [
            (("sa_rx", 0, "packets"), -1, "sa_rx[0].packets: must be a whole number from 0 to 18446744073709551615"),
            (("sa_rx", 0, "source"), "192.0.2.02", "sa_rx[0].source: must be an IP address"),
            (("sa_rx", 0, "source"), "2001:db8::1%eth0", "sa_rx[0].source: must be an IP address"),
            (("switch", "ports"), {"02": {}}, "switch.ports: has a name that is none"),
            (("switch", "ports", "2", "interface"), "a\x07", "switch.ports.2.interface: must be printable"),
            (("drops", "ingress"), {"[red]": AMOUNT}, "drops.ingress: has a name that is none"),
        ],
    )
    def test_says_where_and_what_would_be_right(self, path, value, why):
        with pytest.raises(ValueError) as refused:  # noqa: PT011  # compared as a whole
            judged("leaf1", QuestionKind.COUNTERS, with_value(said(QuestionKind.COUNTERS), path, value))
        assert str(refused.value) == why


class TestRoom:
    def test_who_talks_much_hides_nobody(self):
        answers = {"leaf1": ["x"], "leaf2": ["y" * 1000] * 50, "leaf3": OperatorError("gone"), "leaf4": ["z"] * 10}
        kept = without_the_longest(answers, 10_000)
        assert {name: one for name, one in kept.items() if name != "leaf2"} == {
            name: one for name, one in answers.items() if name != "leaf2"
        }
        assert "ask about it alone" in str(kept["leaf2"])
        assert without_the_longest(answers, 100_000) == answers
