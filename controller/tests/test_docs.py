# SPDX-License-Identifier: Apache-2.0
"""What the documents say is complete, and what they tell a reader to run runs. What they name: `test_docs_names`.

Every fenced block says in its first line for what it is: `run` is for a shell in the directory of the project, `run
stays` for another one beside it that is ended with Ctrl-C, `root` for root on a machine that has what the text says,
`show` is to be looked at.
"""

from __future__ import annotations

import ast
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import DOCUMENTS, FILES, ROOT, Block, blocks_of, name_of, prose_of, spans_of
from nvo3sec.config import example_path, parse_domain
from nvo3sec.config.schema import SharedAddressSection, SharedMemberSection
from nvo3sec.wire import nva_pb2

THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
ATTACKS = sorted(
    {
        name
        for names in re.findall(r"drill ((?:`[\w-]+`(?:, )?)+)", THREATS)
        for name in re.findall(r"`([\w-]+)`", names)
    }
)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_is_named_exists(name):
    text = "".join(path.read_text() for path in (ROOT / "bmv2-lab" / "nvo3lab" / "drill").glob("*.py"))
    assert f'"{name}"' in text or re.search(rf'_attack\(\s*"{re.escape(name.removeprefix("control-"))}"', text)


def test_there_is_a_row_for_each_requirement():
    rows = re.findall(r"^\| (\d+[ab]?)(?: to (\d+))?[: ]", THREATS, flags=re.MULTILINE)
    named = set()
    for first, last in rows:
        named |= {first} if not last else {str(n) for n in range(int(first), int(last) + 1)}
    assert named >= {str(n) for n in range(1, 19)} | {"7a", "7b"}


def test_every_field_of_every_message_has_a_row():
    """And each row names fields that there are."""
    rows = THREATS.partition("## How far each field reaches")[2].partition("## Requirement")[0]
    named: set[tuple[str, str]] = set()
    for first in re.findall(r"^\| (`[A-Z][^|]*)\|", rows, flags=re.MULTILINE):
        for message, several, one in re.findall(r"`(\w+)\.(?:\{([\w,]+)\}|(\w+))`", first):
            named |= {(message, field) for field in (several or one).split(",")}
    messages = nva_pb2.DESCRIPTOR.message_types_by_name
    assert named == {(name, field.name) for name, message in messages.items() for field in message.fields}


def test_each_decision_is_in_the_index_and_has_its_parts():
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    titles = dict(re.findall(r"^\| \[\d{4}\]\(([\w.-]+)\) \| (.*) \|$", index, flags=re.MULTILINE))
    assert list(titles) == [record.name for record in records]
    for number, record in enumerate(records, 1):
        text = record.read_text(encoding="utf-8")
        assert record.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number:04d} {titles[record.name]}\n\nStatus: ")
        assert re.findall("^## (.*)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences", "Rejected"]


# --- fenced blocks --------------------------------------------------------------------------------------------------

MARKS = ("run", "run stays", "root", "show")
UP_S, END_S = 300, 900


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_each_block_says_for_what_it_is(document):
    for block in blocks_of(document):
        assert block.mark in MARKS, f"{document.name}:{block.line}: ```LANGUAGE MARK, with one of: {', '.join(MARKS)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_command_hides_in_an_indented_block(document):
    """Blocks that are indented have no mark."""
    commands = r"^(?: {4}|\t)(?:nvo3sec|make|sudo|python3?|pip|apt-get|\$) .*"
    assert not re.findall(commands, prose_of(document), flags=re.MULTILINE)


def test_the_marks_are_explained_and_used():
    marks = {block.mark for document in DOCUMENTS for block in blocks_of(document)}
    assert {"run", "run stays", "show"} <= marks


def test_the_shared_addresses_that_are_shown_are_right_and_all_their_fields_are_told():
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").partition("### Shared addresses")[2]
    shown = text.partition("```yaml show\n")[2].partition("```")[0]
    domain = parse_domain(example_path().read_text(encoding="utf-8") + shown, "operating.md", Path("/srv"))
    assert [one.name for one in domain.shared_addresses] == ["gateway"]
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for section in (SharedAddressSection, SharedMemberSection):
        assert {name for name in section.model_fields if f"`{name}`" not in table} == set()


# --- what a reader runs ----------------------------------------------------------------------------------------------


def free_port() -> int:
    """Of the loopback interface, below those that the kernel takes by itself for who connects."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def reader() -> Iterator[dict[str, object]]:
    """A shell like a reader's: a home of its own, in a directory that is the project's, and nothing in the environment
    but a port that is free: other tests run on this machine."""
    place = Path(tempfile.mkdtemp(prefix="nvo3-"))  # short, for UNIX sockets
    for name in ("home", "project", "run", "tmp"):
        (place / name).mkdir(mode=0o700)
    for one in ROOT.iterdir():
        if one.name != ".venv":
            (place / "project" / one.name).symlink_to(one)
    # What `make setup` makes; the tests may run in another environment than that.
    (place / "project" / ".venv").symlink_to(sys.prefix)
    environment = {
        "HOME": str(place / "home"),
        "PORT": str(free_port()),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "dumb",
        "TMPDIR": str(place / "tmp"),
        "XDG_RUNTIME_DIR": str(place / "run"),
    }
    yield {"cwd": place / "project", "env": environment, "stdin": subprocess.DEVNULL, "text": True}
    shutil.rmtree(place, ignore_errors=True)


def script(block: Block) -> list[str]:
    return ["bash", "-e", "-u", "-o", "pipefail", "-x", "-c", block.text]


@contextlib.contextmanager
def staying(document: Path, block: Block, shell: dict[str, object]) -> Iterator[None]:
    """A block that stays is up when it says how it is ended, and is ended in that way."""
    where = f"{document.name}:{block.line}"
    process = subprocess.Popen(
        script(block), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, **shell
    )
    said: list[str] = []
    up = threading.Event()

    def listen() -> None:
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C ends" in line:
                up.set()
        up.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert up.wait(UP_S), f"{where}: not up\n{''.join(said)}"
        assert process.poll() is None, f"{where}: ended\n{''.join(said)}"
        yield
        os.killpg(process.pid, signal.SIGINT)
        process.wait(END_S)
        assert process.returncode == 0, f"{where}: status {process.returncode}\n{''.join(said)}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        listener.join()
        process.stderr.close()


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if any(block.mark.startswith("run") for block in blocks_of(document))],
    ids=name_of,
)
def test_what_a_reader_is_told_to_run_runs(document, reader):
    with contextlib.ExitStack() as shells:
        for block in blocks_of(document):
            if block.mark == "run stays":
                shells.enter_context(staying(document, block, reader))
            elif block.mark == "run":
                done = subprocess.run(script(block), capture_output=True, check=False, timeout=END_S, **reader)
                where = f"{document.name}:{block.line}"
                assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stdout}\n{done.stderr}"


# --- scripts ---------------------------------------------------------------------------------------------------------

SCRIPT = re.compile(r"^\W*((?:[A-Z]+=\S+ )?python3? [\w./-]+\.py)\b(.*)")


def script_lines() -> dict[str, set[str]]:
    """Commands that run a file of the repository, as documents and the docstrings of such files have them; with each
    the options that are told."""
    lines = [line for document in DOCUMENTS for line in spans_of(document)]
    lines += [line for document in DOCUMENTS for block in blocks_of(document) for line in block.text.splitlines()]
    for path in FILES:
        if path.suffix == ".py":
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            lines += re.findall(r"^ {4}\S.*", said, flags=re.MULTILINE)
    found: dict[str, set[str]] = {}
    for match in filter(None, map(SCRIPT.match, lines)):
        found.setdefault(match[1], set()).update(re.findall(r"(?<![\w-])--[a-z][\w-]*", match[2]))
    return found


SCRIPTS = script_lines()


def test_each_benchmark_says_how_it_is_run():
    benchmarks = {name_of(path) for path in FILES if path.parent.name == "bench" and path.suffix == ".py"}
    assert len(benchmarks) > 8
    assert benchmarks <= {command.split()[-1] for command in SCRIPTS}
    listed = re.findall(r"^\| `(.*?\.py)` \|", (ROOT / "bench" / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert set(listed) == benchmarks - {"bmv2-lab/bench/stream.py"}, "which is a part of overlay.py"


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_scripts_run_as_they_are_written(command, reader):
    """In the directory of the project, with `.venv/bin` on `PATH`; they know the options that are told."""
    reader["env"]["PATH"] = f"{reader['cwd']}/.venv/bin:{reader['env']['PATH']}"
    asked = ["bash", "-c", f"{command} --help"]
    done = subprocess.run(asked, capture_output=True, check=False, timeout=END_S, **reader)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert {option for option in SCRIPTS[command] if f"[{option}" not in done.stdout} == set()
