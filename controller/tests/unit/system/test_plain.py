# SPDX-License-Identifier: Apache-2.0
"""What others have made is shown as text: in logs, in tables, in JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from filled import filled
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.cli import operate, render, tell
from nvo3sec.cli.options import Output
from nvo3sec.operator.documents import NotDone, Status
from nvo3sec.system.plain import plain, plain_file, plain_lines, plain_value

CLEAR = "\x1b[2J"
LINK = "\x1b]8;;https://mallory.example\x07click here\x1b]8;;\x07"
TURNED = "\u202egnp.exe"
EVENT = "\n2026-01-01T00:00:00Z [info     ] NVA running"
HOSTILE = [CLEAR, LINK, TURNED, EVENT, "\x9b31m", "\r", "\x00", "\u2028", "\ud800", "a\tb"]
MARKUP = "[link=https://mallory.example][bold red]all is well[/] :skull: [/"


class TestPlain:
    @pytest.mark.parametrize("text", HOSTILE, ids=ascii)
    def test_steers_nothing(self, text):
        assert plain(text).isprintable()
        assert plain(text) != text
        assert plain(text).encode()

    def test_what_is_harmless_stays(self):
        for text in ("", "leaf1: insert bridge[vni=5001] -> local(port=1)", "größer", MARKUP):
            assert plain(text) == text
        assert plain(CLEAR) == "\\x1b[2J"
        assert plain_lines(f"one\n\t{CLEAR}") == "one\n\t\\x1b[2J"

    def test_a_file_stays_what_it_is_but_for_what_steers(self):
        for text in ("", "a:\n\tb: größer\n", "a: 1\r\nb: 2\r\n", "\ufeffa: 1\n", "no line feed"):
            assert plain_file(text) == text
        assert plain_file(f"# {TURNED}\r\nb: \r2\r") == "# \\u202egnp.exe\r\nb: \\r2\\r"
        assert plain_file("a\ufeff\n") == "a\\ufeff\n"

    @given(st.text())
    def test_any_text(self, text):
        assert plain(text).isprintable()
        assert plain(plain(text)) == plain(text)

    def test_values(self):
        told = plain_value({CLEAR: [CLEAR, float("nan"), 1, None, True, ("x",)]})
        assert told == {"\\x1b[2J": ["\\x1b[2J", "nan", 1, None, True, ["x"]]}


LOGGING = """
import sys, json, logging, structlog
from nvo3sec.system import logs
logs.configure(json_lines=sys.argv[1] == "json")
hostile = json.loads(sys.argv[2])
class Odd:
    def __repr__(self):
        return hostile
log = structlog.get_logger("x").bind(nve="leaf1")
log.warning("report", detail=hostile, inner=[hostile, {hostile: hostile}], number=float("nan"), odd=Odd())
log.warning(hostile, **{hostile: 1})
try:
    raise ValueError(hostile)
except ValueError:
    log.exception("failed")
    logging.getLogger("library").exception("failed %s", hostile)
"""


class TestLogs:
    @staticmethod
    def logged(form: str, hostile: str) -> str:
        words = [sys.executable, "-c", LOGGING, form, json.dumps(hostile)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == ""
        return done.stderr

    @pytest.mark.parametrize("form", ["text", "json"])
    @pytest.mark.parametrize("hostile", [one for one in HOSTILE if one != "\ud800"], ids=ascii)
    def test_no_event_is_forged_and_nothing_is_steered(self, form, hostile):
        text = self.logged(form, hostile)
        lines = text.split("\n")
        assert all(line.replace("\t", "").isprintable() for line in lines), ascii(text)
        assert not any(line.startswith("2026-01-01") for line in lines)
        if form == "json":
            events = [line for line in lines if line]  # of libraries, too
            assert [json.loads(line, parse_constant=pytest.fail)["level"] for line in events] == [
                "warning",
                "warning",
                "error",
                "error",
            ]


class TestShown:
    STATUS: ClassVar[dict[str, Any]] = {
        "domain": "lab.example",
        "switches": [
            {
                "nve": "leaf1",
                "connected": True,
                "incarnation": "",
                "incarnation_agrees": True,
                "lease_left_s": 1.0,
                "in_sync": False,
                "entries_expected": 1,
                "entries_actual": 1,
                "learned": 0,
                "fault": MARKUP,
                "differences": [MARKUP],
                "foreign": [MARKUP],
            }
        ],
        "keys": [],
        "reports": [{"nve": "leaf1", "age_s": 1.0, "event": "strange", "detail": MARKUP}],
        "not_ready": [MARKUP],
    }

    def test_no_markup_and_no_link(self, monkeypatch):
        """On a terminal: as it was written, and with no escape sequence of anybody but us."""
        for value, tables in (
            (self.STATUS, render.status(filled(Status, self.STATUS))),
            ([], [MARKUP]),
            ([], render.updates({"leaf1": (MARKUP,), "leaf2": NotDone(MARKUP)}, dry_run=True)),
        ):
            out = io.StringIO()
            out.isatty = lambda: True  # type: ignore[method-assign]
            monkeypatch.setattr(sys, "stdout", out)
            monkeypatch.setenv("TERM", "xterm-256color")
            monkeypatch.setenv("COLUMNS", "500")
            operate.show(value, Output.TABLE, *tables)
            assert MARKUP in out.getvalue()
            assert "\x1b]8" not in out.getvalue()

    def test_json_is_of_no_use_in_a_page(self, capsys):
        value = {"fault": "</script><script>alert(1)</script>&", CLEAR: LINK}
        operate.show(value, Output.JSON)
        text = capsys.readouterr().out
        assert not set(text) & set("<>&\x1b")
        assert json.loads(text) == value

    @pytest.mark.parametrize("text", HOSTILE, ids=ascii)
    def test_errors(self, text, capsys):
        tell.error(f"leaf1: {text}")
        said = capsys.readouterr().err
        assert all(line.isprintable() for line in said.split("\n"))
        assert all(line.startswith(tell.PREFIX) for line in said.rstrip("\n").split("\n"))
