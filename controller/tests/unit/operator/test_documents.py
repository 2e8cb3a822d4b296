# SPDX-License-Identifier: Apache-2.0
"""What operators are told: the JSON of each document, byte for byte as it was recorded, and back from JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from console_world import serving
from documents_world import documents
from nvo3sec.cli.domain import ESCAPED
from nvo3sec.cli.main import app
from nvo3sec.cli.operate import document
from nvo3sec.config import example_path
from nvo3sec.errors import OperatorError
from nvo3sec.operator import documents as d
from nvo3sec.operator.json_form import UNSAID, from_json, to_json
from nvo3sec.system.plain import plain_value
from places import DATA
from typer.testing import CliRunner

RECORDED = json.loads((DATA / "operator_documents.json").read_text(encoding="utf-8"))
KINDS = {
    "authz_probe": d.Verdict,
    "counters": d.SwitchCounters,
    "counters of an agent": d.OwnCounters,
    "difference": d.FileDifference,
    "domain_diff": d.FileDifference,
    "domain_show": d.AppliedFile,
    "key_audit": d.KeyAudit,
    "key_list": tuple[d.KeyAtEnds, ...],
    "map_admit": d.Decided,
    "map_evict": d.Decided,
    "map_list": d.Mappings,
    "reset_marks": d.MarksReset,
    "rotate": d.Rotated,
    "status": d.Status,
    "vn_list": tuple[d.VnLine, ...],
    "vn_show": d.VnShown,
}
"""By what was asked, or its first words."""


def kind_of(name: str) -> Any:
    return KINDS.get(name) or KINDS[name.split()[0]]


def test_the_json_is_what_it_was(monkeypatch):
    found = asyncio.run(asyncio.wait_for(documents(monkeypatch), 60))
    assert json.dumps(to_json(found), indent=1) == json.dumps(RECORDED, indent=1)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_there_and_back(name):
    document = from_json(kind_of(name), RECORDED[name])
    assert json.dumps(to_json(document)) == json.dumps(RECORDED[name])
    assert from_json(kind_of(name), to_json(document)) == document


def test_an_agent_alone_has_an_order_of_its_own():
    own = d.OwnStatus("lab.example", True, (), switches=(d.Switch("leaf1", registered=True),), ends=(), warnings=())
    told = to_json(own)
    assert list(told) == ["domain", "ready", "not_ready", "switches", "keys", "reports", "ends", "warnings"]
    assert list(told["switches"][0])[-3:] == ["registered", "p4runtime", "device_id"]
    status = from_json(d.Status, told)
    assert status.held is UNSAID
    assert not status.held
    assert status.switches == own.switches


def test_what_is_new_is_left_out_and_what_may_miss_is_unsaid():
    told = {"nve": "leaf1", "age_s": 1, "event": "e", "detail": "d", "colour": "red"}
    assert from_json(d.SaidReport, told) == d.SaidReport("leaf1", 1, "e", "d", UNSAID)


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("status", {"ready": 1}, "ready: must be true or false"),
        ("status", {"not_ready": "no"}, "not_ready: must be a list"),
        ("status", {"keys": [{}]}, r"keys\[0\]\.sender: is missing"),
        ("status", {"speaks": 7}, "speaks: must be an object"),
        (
            "counters",
            {"drops": {"ingress": {"X": {"packets": True, "bytes": 1}}}},
            r"drops\.ingress\.X\.packets: must be",
        ),
        ("map_list", {"total": 1.0}, "total: must be a whole number"),
        ("authz_probe", {"vn": 5}, "vn: must be a text"),
    ],
)
def test_what_is_something_else_is_refused(kind, change, why):
    with pytest.raises(OperatorError, match=f"the answer is not understood: {why}"):
        from_json(KINDS[kind], RECORDED[kind] | change)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_nothing_may_be_missing_that_is_not_said_to(name):
    if isinstance(RECORDED[name], dict):
        for field in dataclasses.fields(kind_of(name)):
            without = {one: value for one, value in RECORDED[name].items() if one != field.name}
            if "Unsaid" in str(field.type):
                assert getattr(from_json(kind_of(name), without), field.name) is UNSAID
            else:
                with pytest.raises(OperatorError, match=f"{field.name}: is missing"):
                    from_json(kind_of(name), without)


@pytest.mark.usefixtures("_silent")
def test_a_file_that_is_shown_steers_no_terminal_not_later_either(tmp_path):
    """It goes through a pipe or a file first, and may come back from there."""
    text = "name: lab.example  # größer\r\n# \u202egnp.exe \x1b[2J\n"

    async def domain_show():
        return RECORDED["domain_show"] | {"text": text}

    where = ("--run-dir", str(tmp_path / "run"))
    with serving(tmp_path / "run", {"domain_show": domain_show}):
        run = CliRunner().invoke(app, ["domain", "show", *where])
        assert run.stdout_bytes.decode() == "name: lab.example  # größer\r\n# \\u202egnp.exe \\x1b[2J\n"
        assert run.stderr == ESCAPED + "\n"
        exact = CliRunner().invoke(app, ["domain", "show", "-o", "json", *where])
        assert (json.loads(exact.stdout)["text"], exact.stderr) == (text, "")


@pytest.mark.usefixtures("_silent")
def test_keys_of_a_switch_that_is_not_known_are_not_all_there_is(tmp_path):
    """A program must not take them for the whole."""
    rows = [row | {"sender_has": True, "receiver_has": True} for row in RECORDED["key_list"]]
    told = [row | ({"sender_has": None} if row["sender"] == "leaf1" else {}) for row in rows]
    assert any(row["sender"] == "leaf1" for row in rows)
    for answered, status, said in (
        (rows, 0, ""),
        (told, 1, "what the switches of leaf1 hold is not known; `nvo3sec keys audit` says why\n"),
    ):

        async def key_list(_told=answered, **_parameters):
            return _told

        with serving(tmp_path / str(status), {"key_list": key_list}):
            for more in ((), ("-o", "json")):
                run = CliRunner().invoke(app, ["keys", "list", "--run-dir", str(tmp_path / str(status)), *more])
                assert (run.exit_code, run.stderr) == (status, said)
                assert "leaf1" in run.stdout


COMMANDS = {
    ("vn", "list"): "vn_list",
    ("vn", "show", "blue"): "vn_show",
    ("map", "list"): "map_list",
    ("map", "admit", "02:00:00:00:77:77", "--nve", "leaf2", "--yes"): "map_admit",
    ("map", "evict", "02:00:00:00:77:77", "--nve", "leaf2", "--yes"): "map_evict",
    ("keys", "list"): "key_list",
    ("keys", "rotate"): "rotate",
    ("keys", "audit"): "key_audit",
    ("keys", "reset-marks", "leaf2", "--yes"): "reset_marks",
    ("status",): "status",
    ("domain", "show"): "domain_show",
    ("domain", "diff", str(example_path())): "domain_diff",
    ("authz", "probe", "LookUp", "--as", "nve/leaf2", "--vn", "red"): "authz_probe",
}
"""What each command prints, by what it asks."""


@pytest.fixture
def _silent() -> Iterator[None]:
    """The server is in this process, and its log would be in the output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_silent")
def test_commands_print_what_is_answered(tmp_path):
    """Whoever answers, and with what that a later version has besides: programs see all of it as it is."""

    def answer(name):
        async def method(**_parameters):
            told = RECORDED[name]
            return told | {"later": [1]} if isinstance(told, dict) else told

        return method

    with serving(tmp_path / "run", {name: answer(name) for name in COMMANDS.values()}):
        for words, name in COMMANDS.items():
            run = CliRunner().invoke(app, [*words, "--run-dir", str(tmp_path / "run"), "-o", "json"])
            assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
            told = RECORDED[name] | {"later": [1]} if isinstance(RECORDED[name], dict) else RECORDED[name]
            exact = told if name == "domain_show" else plain_value(told)
            assert run.stdout == document(exact) + "\n", words
            shown = CliRunner().invoke(app, [*words, "--run-dir", str(tmp_path / "run")])
            assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exception
            assert shown.output.strip(), words
