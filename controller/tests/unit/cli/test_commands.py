# SPDX-License-Identifier: Apache-2.0
"""Every command: what all of them promise."""

from __future__ import annotations

import importlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from filled import filled
from nvo3sec.cli import tell
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.operator.documents import Status
from nvo3sec.operator.json_form import to_json
from places import ROOT

cli: Any = importlib.import_module("nvo3sec.cli.main")
NO_RESULT = {"nva run", "nve run", "controller run", "shell", "lab shell"}
"""They run until they are told to stop, or become another program: there is nothing to print in the end."""
HEEDS_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from nvo3sec.cli import main; main()"
)
"""Also if these tests run in the background, where Ctrl-C is ignored and children inherit that."""
ASK_FIRST = {"keys revoke", "map admit", "map evict", "keys reset-marks", "pki revoke", "domain apply", "shell"}
MAC = "02:00:00:00:00:01"
NVA_RUN = ("nva", "run", "--domain", "d", "--credentials", "c", "--in-memory")
NVE_RUN = ("nve", "run", "--name", "leaf1", "--credentials", "c", "--nva", "nva1.nva.a.example:1")
ATTACH = ("nve", "attach", "--vn", "red")


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def all_commands() -> dict[str, Any]:
    cli.mount_all()
    return dict(commands(typer.main.get_command(cli.app)))


COMMANDS = all_commands()


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", *words]
    where = os.environ | {"XDG_RUNTIME_DIR": "/nonexistent"} | environment
    for name in {"NVO3SEC_RUN_DIR", "NVO3SEC_NVA", "NVO3SEC_CREDENTIALS"} - environment.keys():
        where.pop(name, None)
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60, env=where
    )


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - NO_RESULT))
def test_each_has_a_form_for_programs(name):
    assert {"-o", "--output"} <= options(COMMANDS[name])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_what_cannot_be_taken_back_asks_and_can_be_told_not_to(name):
    assert ("--yes" in options(COMMANDS[name])) == (name in ASK_FIRST)


@pytest.mark.parametrize("name", sorted(ASK_FIRST))
def test_what_asks_says_so(name):
    assert "Asks first." in COMMANDS[name].help
    document = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    listed = document.partition("What cannot be taken back (")[2].partition(")")[0]
    assert f"`{name}`" in " ".join(listed.split()) or name == "shell", "there it shows keys, and takes nothing away"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_says_what_it_is_for(name):
    text = (COMMANDS[name].help or "").strip()
    assert text
    assert all("\n" not in paragraph for paragraph in text.split("\n\n")), "the terminal breaks lines"


def registered(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for one in group.registered_commands:
        yield " ".join((*words, one.name or one.callback.__name__)), one.callback
    for inner in group.registered_groups:
        yield from registered(inner.typer_instance, (*words, inner.name))


def paths() -> Iterator[tuple[str, Any]]:
    """Every parameter of every command that is a path, or several, and what is said of it."""
    for command, callback in registered(cli.app):
        for name, hint in get_type_hints(callback, include_extras=True).items():
            if Path in (shape := get_args(hint)) or any(Path in get_args(one) for one in shape):
                yield f"{command}: {name}", get_args(hint)[1]


PATHS = dict(paths())


@pytest.mark.parametrize("name", sorted(PATHS))
def test_no_empty_path_is_taken_for_the_current_directory(name):
    assert PATHS[name].parser is not None, "made by path_option or path_argument"
    with pytest.raises(typer.BadParameter, match=r"an empty path; write \. for the current directory"):
        PATHS[name].parser("")
    assert PATHS[name].parser("a/b") == Path("a/b")


def numbers() -> Iterator[tuple[str, Any]]:
    """Every parameter of every command that is a number."""
    for command, callback in registered(cli.app):
        for name, hint in get_type_hints(callback, include_extras=True).items():
            shape = get_args(hint)
            if {int, float} & {*shape, *(kind for one in shape for kind in get_args(one))}:
                yield f"{command}: {name}", shape[1]


NUMBERS = dict(numbers())


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_number_that_is_none_is_said_with_what_is_allowed(name):
    parse = NUMBERS[name].parser
    low, high = map(int, NUMBERS[name].metavar.split(".."))
    allowed = rf"is no (whole )?number from {low} to {high}( \(seconds\))?$"
    for text in ("abc", "", "nan", "1_0", str(low - 1), str(high + 1), "9" * 5000):
        with pytest.raises(typer.BadParameter, match=rf"^{re.escape(repr(text)[:40])}.* {allowed}"):
            parse(text)
    assert (parse(str(low)), parse(high)) == (low, high), "as it is written, and as a default"


def test_those_numbers_are_all_that_there_are():
    assert {
        "status: wait",
        "domain apply: wait",
        "map list: limit",
        "nva run: port",
        "lab ping: count",
    } <= NUMBERS.keys()
    assert len(NUMBERS) > 15


def test_those_paths_are_all_that_there_are():
    assert len(PATHS) > 40
    assert {"nva run: domain", "domain check: file", "pki bundle: authorities", "lab run: captures"} <= PATHS.keys()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--version",), 0, ""),
        (("domain", "check", "{example}"), 0, ""),
        (("status",), 1, "nvo3sec: no NVA is running in /nonexistent/nvo3sec;"),
        (("status", "--run-dir", "/nonexistent"), 1, "nvo3sec: no such run directory: /nonexistent"),
        (("nve", "attachments"), 1, "nvo3sec: no agent is running in /nonexistent/nvo3sec;"),
        (("pki", "list", "--dir", "/nonexistent"), 1, "nvo3sec: there is no authority in /nonexistent; "),
        (("keys", "revoke", "leaf1"), 1, "nvo3sec: no NVA is running in"),
        (("status", "--nva", "nva1.nva.x:1"), 2, "nvo3sec: an NVA asks who you are"),
        (("map", "evict", "02:00:00:00:00:01", "--nve", "leaf1"), 1, "nvo3sec: no NVA is running in"),
        (("lab", "ps", "--name", "none"), 1, "nvo3sec: no lab named none is up"),
        (("domain", "check", "/nonexistent"), 2, "/nonexistent: No such file or directory"),
        (("status", "--run-dir", "/a\n\x1b[2J"), 1, "nvo3sec: no such run directory: /a\\n\\x1b[2J"),
        (("x\n\x1b]0;x\x07",), 2, "nvo3sec: No such command 'x\\n\\x1b]0;x\\x07'"),
        (("drill", "a\nb\x1b[2J"), 2, "nvo3sec: no attack named a\\nb\\x1b[2J; there are"),
        (("lab", "up", "--name", "a\n\x1b[2J"), 2, "nvo3sec: --name a\\n\\x1b[2J: "),
        (
            ("status", "--wait", "inf"),
            2,
            "nvo3sec: Invalid value for '--wait': 'inf' is no number from 0 to 86400 (seconds)",
        ),
        (
            ("status", "--wait", "nan"),
            2,
            "nvo3sec: Invalid value for '--wait': 'nan' is no number from 0 to 86400 (seconds)",
        ),
        (
            ("status", "--wait", "-5"),
            2,
            "nvo3sec: Invalid value for '--wait': '-5' is no number from 0 to 86400 (seconds)",
        ),
        (("domain", "apply", "/nonexistent", "--wait", "nan"), 2, "nvo3sec: Invalid value for '--wait': 'nan' is no"),
        (("status", "--nva", "x y:9"), 2, "nvo3sec: Invalid value for '--nva' (env var: 'NVO3SEC_NVA'): 'x y:9' is no"),
        (("status", "--run-dir", "/" + "a/" * 3000), 1, "nvo3sec: no such run directory: /a/a/"),
        (("pki", "list", "--dir", "a" * 300), 1, "nvo3sec: there is no authority in aaa"),
        (("domain", "check", "/" + "a/" * 3000), 2, "/a/a/"),
        (
            ("status", "--run-dir", ""),
            2,
            "nvo3sec: Invalid value for '--run-dir' (env var: 'NVO3SEC_RUN_DIR'): an empty",
        ),
        (("pki", "list", "--dir", ""), 2, "nvo3sec: Invalid value for '--dir' (env var: 'NVO3SEC_PKI_DIR'): an empty"),
        (("domain", "check", ""), 2, "nvo3sec: Invalid value for 'FILE': an empty path; write . for the current"),
        (("domain", "diff", "a", "--from", ""), 2, "nvo3sec: Invalid value for '--from': an empty path; write ."),
        (("controller", "run", "--domain", ""), 2, "nvo3sec: Invalid value for '--domain': an empty path; write ."),
        (("pki", "bundle", "a", "", "--out", "b"), 2, "nvo3sec: Invalid value for 'AUTHORITY...': an empty path;"),
        (("lab", "run", "--captures", ""), 2, "nvo3sec: Invalid value for '--captures': an empty path; write ."),
        (("pki", "init", ""), 2, "nvo3sec: Invalid value for 'DOMAIN': '' is empty"),
        (("pki", "issue", "nve", "LEAF_1"), 2, "nvo3sec: Invalid value for 'NAME': 'LEAF_1' has '_'; a name has"),
        (("pki", "issue", "nve", "a", "--lifetime", "0h"), 2, "nvo3sec: Invalid value for '--lifetime': '0h' is no"),
        (
            (*ATTACH, "--port", "1", "--mac", "zz"),
            2,
            "nvo3sec: Invalid value for '--mac': 'zz' is no MAC address; write",
        ),
        (
            (*ATTACH, "--port", "99999999", "--mac", MAC),
            2,
            "nvo3sec: Invalid value for '--port': '99999999' is no whole number from 1 to 255; see",
        ),
        (
            ("lab", "ping", "a", "b", "-c", "0"),
            2,
            "nvo3sec: Invalid value for '--count' / '-c': '0' is no whole number from 1 to 10000; see",
        ),
        (
            ("status", "-o", "x"),
            2,
            "nvo3sec: Invalid value for '--output' / '-o': 'x' is not one of 'table', 'json'; see",
        ),
        (
            ("lab", "ps", "-o", "x"),
            2,
            "nvo3sec: Invalid value for '--output' / '-o': 'x' is not one of 'table', 'json';",
        ),
        (
            (*ATTACH, "--port", "1", "--mac", MAC, "--ip", "10.0.0.300"),
            2,
            "nvo3sec: Invalid value for '--ip': '10.0.0.300' is no",
        ),
        (("map", "admit", "zz", "--nve", "a", "--yes"), 2, "nvo3sec: Invalid value for 'MAC': 'zz' is no MAC address"),
        (("authz", "probe", "LookUp", "--as", ""), 2, "nvo3sec: Invalid value for '--as': '' is no device; write ROLE"),
        ((*NVA_RUN, "--limit", "rate"), 2, "nvo3sec: Invalid value for '--limit': 'rate' is no limit; write rate=PER_"),
        ((*NVA_RUN, "--limit", "total=5", "--limit", "x=1"), 2, "nvo3sec: Invalid value for '--limit': no such limit:"),
        ((*NVA_RUN, "--limit", "total=nan"), 2, "nvo3sec: Invalid value for '--limit': 'total=nan' is no limit; write"),
        (
            ("nva", "run", "--domain", "d", "--credentials", "c", "--database", "a", "--keys", "a/k"),
            2,
            "nvo3sec: Invalid value for --keys: a/k is inside of a: a backup of the database would hold its keys",
        ),
        ((*NVE_RUN, "--p4runtime", "x:1"), 2, "nvo3sec: Invalid value for '--p4runtime': 'x:1': P4Runtime must be"),
        ((*NVE_RUN, "--p4runtime", "unix:"), 2, "nvo3sec: Invalid value for '--p4runtime': 'unix:': P4Runtime must"),
        (
            (*NVE_RUN, "--p4runtime", "unix:a", "--nva", "nva1.nva.b.example:1"),
            2,
            "nvo3sec: Invalid value for --nva: all of one domain, not of a.example and b.example",
        ),
        (("pki", "issue"), 2, "nvo3sec: Missing argument 'ROLE'. Choose from: nva, nve, hypervisor, operator; see"),
        (("nonsense",), 2, "nvo3sec: No such command 'nonsense'; see nvo3sec --help"),
        (("status", "--nonsense"), 2, "nvo3sec: No such option: --nonsense; see nvo3sec status --help"),
        (("vn", "show"), 2, "nvo3sec: Missing argument 'VN'; see nvo3sec vn show --help"),
        (("pki", "issue", "root", "x"), 2, "nvo3sec: Invalid value for 'ROLE': 'root' is not one of 'nva', 'nve', "),
        (("controller", "run", "--domain", "x", "--log-level", "loud"), 2, "nvo3sec: Invalid value for '--log-level'"),
        (("drill", "no-such-attack"), 2, "nvo3sec: no attack named no-such-attack; there are plain, "),
        (("lab", "up", "--name", "../x"), 2, "nvo3sec: --name ../x: "),
        ((), 2, ""),
        (("vn",), 2, ""),
    ],
)
def test_one_table_of_exit_statuses_and_one_prefix(words, status, said):
    """`docs/operating.md` has the table."""
    from nvo3sec.config import example_path

    done = run(*(word.format(example=example_path()) for word in words))
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr
    if said:
        assert done.stdout == ""
    if said:
        assert len(done.stderr.splitlines()) == 1, "said once, in one line"


ASK_AN_NVA = {
    name: command
    for name, command in COMMANDS.items()
    if "NVO3SEC_NVA" in map(str, (one.envvar for one in command.params))
}
NVA_THERE, DIRECTORY = "nva1.nva.x.example=127.0.0.1:1", "/nonexistent"
NEEDS = {
    "vn show": ("red",),
    "keys revoke": ("leaf1", "--yes"),
    "keys reset-marks": ("leaf1", "--yes"),
    "map admit": (MAC, "--nve", "leaf1", "--yes"),
    "map evict": (MAC, "--nve", "leaf1", "--yes"),
    "authz probe": ("LookUp", "--as", "nve/leaf1"),
    "domain diff": ("{example}",),
    "domain apply": ("{example}", "--yes"),
}
"""What commands need to be told beside whom to ask."""


def asked(name: str, *words: str) -> tuple[str, ...]:
    from nvo3sec.config import example_path

    return (*name.split(), *(word.format(example=example_path()) for word in NEEDS.get(name, ())), *words)


def test_those_that_ask_an_nva_are_all_that_there_are():
    assert {"status", "counters", "keys rotate", *NEEDS} <= ASK_AN_NVA.keys()
    assert all("--run-dir" in options(command) for command in ASK_AN_NVA.values())


@pytest.fixture
def here(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """A command in this process: its exit status, and what it says on either stream."""

    def ran(*words: str, **environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name in ("NVO3SEC_RUN_DIR", "NVO3SEC_NVA", "NVO3SEC_CREDENTIALS", "NVO3SEC_PKI_DIR"):
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["nvo3sec", *words])
            status = cli._run()
        return status, *capsys.readouterr()

    return ran


@pytest.mark.parametrize("name", sorted(ASK_AN_NVA))
class TestWhoIsAsked:
    """One process, and the one that was meant: it is never another domain that an operator acts on."""

    def test_a_given_directory_comes_before_the_environment(self, name, here):
        for nva in (NVA_THERE, "no NVA"):
            done = here(*asked(name, "--run-dir", DIRECTORY), NVO3SEC_NVA=nva, NVO3SEC_CREDENTIALS="/nonexistent")
            assert done[:2] == (1, "")
            assert done[2].startswith(f"nvo3sec: no such run directory: {DIRECTORY}")

    def test_both_given_are_refused(self, name, here):
        ways = ("--run-dir", DIRECTORY), ("--nva", NVA_THERE)
        for first, second in (ways, ways[::-1]):
            done = here(*asked(name, *first, *second))
            assert done[:2] == (2, "")
            assert done[2].startswith("nvo3sec: --run-dir and --nva say two different things about who is asked;")


def test_who_is_asked_by_the_environment(here):
    both = {"NVO3SEC_RUN_DIR": DIRECTORY, "NVO3SEC_NVA": NVA_THERE}
    status, _, said = here("status", **both)
    assert status == 2
    assert said.startswith("nvo3sec: NVO3SEC_RUN_DIR and NVO3SEC_NVA say two different things")
    assert here("status", "--run-dir", "/other", **both)[2].startswith("nvo3sec: no such run directory: /other")
    assert "an NVA asks who you are" in here("status", "--nva", NVA_THERE, **both)[2]
    assert here("nve", "attachments", **both)[2].startswith("nvo3sec: no such run directory: /nonexistent")
    for directory in ((), ("--run-dir", DIRECTORY)):
        status, _, said = here("status", "--credentials", "c", *directory)
        assert (status, said.partition(",")[0]) == (2, "nvo3sec: --credentials are shown to an NVA over the network")


@pytest.mark.parametrize("words", [(), ("vn",), ("pki",)])
def test_a_command_that_is_not_whole_is_no_result(words, here):
    status, stdout, stderr = here(*words)
    assert (status, stdout) == (2, "")
    assert "Usage: nvo3sec" in stderr


def test_what_is_empty_or_no_directory_is_said_as_it_is(here, tmp_path):
    words = ("nve", "detach", "--vn", "red", "--port", "1", "--mac", MAC, "--successor", "")
    status, _, said = here(*words)
    assert (status, said[:57]) == (2, "nvo3sec: Invalid value for '--successor': '' is empty; a n"[:57])
    (file := tmp_path / "file").write_text("")
    assert here("status", "--run-dir", str(file))[2].startswith(f"nvo3sec: not a directory: {file}")
    assert str(no_such("NVE", "", ["leaf1"])) == "no such NVE: ''; there are: leaf1"


def test_interrupted(answering):
    """Ctrl-D at a question."""
    ours, theirs = pty.openpty()
    words = ["keys", "revoke", "leaf1", "--run-dir", str(answering)]
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", *words]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        os.close(theirs)
        os.write(ours, b"\x04")  # the end of what can be typed
        stdout, stderr = asked.communicate(timeout=60)
    os.close(ours)
    assert (asked.returncode, stdout.strip()) == (1, "")
    assert stderr.endswith("nvo3sec: nothing was done\n")


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Path]:
    """The run directory of a process whose only NVE is leaf1, and that is asked for nothing else."""
    place = tmp_path / "nva"
    place.mkdir(mode=0o700)
    told = to_json(filled(Status, {"switches": [{"nve": "leaf1"}]}))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "controller.sock"))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, connection.makefile("rwb") as stream:
                    stream.readline()
                    stream.write(json.dumps({"result": told}).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield place
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_question_is_interrupted(answering):
    """Ctrl-C at a question, as at any other place."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", HEEDS_CTRL_C, "keys", "revoke", "leaf1", "--run-dir", str(answering)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        os.close(theirs)
        assert asked.stderr is not None
        said = b""
        while b"[y/N]" not in said:
            said += os.read(asked.stderr.fileno(), 1000)
        asked.send_signal(signal.SIGINT)
        _, stderr = asked.communicate(timeout=60)
    os.close(ours)
    assert asked.returncode == 130
    assert (said + stderr).decode().endswith("nvo3sec: nothing was done\n")


def test_a_question_to_nobody(answering):
    """Standard input is closed: there is not even a file that is no terminal."""
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", "keys", "revoke", "leaf1"]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *command, "--run-dir", str(answering)]
    done = subprocess.run(closed, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "nvo3sec: nothing was done: there is nobody to ask; use --yes\n")


def test_interrupted_while_it_is_imported(tmp_path):
    """Whatever is imported at that moment: a module of typer's stands for all of them."""
    (tmp_path / "typer.py").write_text("print(flush=True)\nwhile True:\n    pass\n")
    command = [sys.executable, "-c", HEEDS_CTRL_C, "status"]
    where = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.pathsep.join(filter(None, sys.path))}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=where) as importing:
        assert importing.stdout is not None
        importing.stdout.readline()
        importing.send_signal(signal.SIGINT)
        _, stderr = importing.communicate(timeout=60)
    assert (importing.returncode, stderr) == (130, b"")


def test_what_is_asked_about_a_wrong_directory_does_not_make_it(tmp_path):
    wrong = tmp_path / "wrong"
    for words in (("pki", "list", "--dir"), ("pki", "issue", "nve", "leaf1", "--dir"), ("status", "--run-dir")):
        assert run(*words, str(wrong)).returncode == 1
        assert not wrong.exists()


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "nvo3sec")


def test_plurals():
    assert [tell.counted(number, "VN") for number in (0, 1, 2)] == ["0 VNs", "1 VN", "2 VNs"]
    assert tell.counted(2, "identity", "identities") == "2 identities"


class TestConfirm:
    def test_nobody_to_ask(self, monkeypatch):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        with pytest.raises(OperatorError, match="nobody to ask; use --yes"):
            tell.confirm("Really?", yes=False)
        tell.confirm("Really?", yes=True)


def test_pki_in_the_form_for_programs(tmp_path):
    """From the authority to the end of a certificate."""
    at = ("--dir", str(tmp_path / "pki"), "-o", "json")

    def said(*words: str) -> Any:
        done = run("pki", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert said("init", "example.test", *at)["domain"] == "example.test"
    issued = said("issue", "nve", "leaf1", *at)
    assert {"role": "nve", "name": "leaf1", "state": "valid"}.items() <= said("list", *at)[0].items()
    assert said("renew", "nve", "leaf1", *at)["file"] == issued["file"]
    assert said("token", "nve", "leaf2", *at)["token"]
    out = ("--out", str(tmp_path / "leaf3.pem"))
    (tmp_path / "request").write_text(said("request", "example.test", "nve", "leaf3", *out, "-o", "json")["request"])
    (tmp_path / "chain").write_text(said("sign", "nve", "leaf3", str(tmp_path / "request"), *at)["certificate"])
    assert said("install", str(tmp_path / "chain"), *out, "-o", "json") == {"file": str(tmp_path / "leaf3.pem")}
    again = run("pki", "install", str(tmp_path / "chain"), *out)
    assert again.stderr.startswith(f"nvo3sec: no key waits for a certificate at {tmp_path / 'leaf3.pem'} (was it inst")
    absent = "nvo3sec: there is nothing to revoke: "
    assert run("pki", "revoke", "nve", "leaf9", *at[:2]).stderr.startswith(absent)
    assert run("pki", "revoke", "--serial", "1", *at[:2]).stderr.startswith(absent)
    refused = run("pki", "revoke", "nve", "leaf1", *at[:2])
    assert (refused.returncode, refused.stderr) == (1, "nvo3sec: nothing was done: there is nobody to ask; use --yes\n")
    assert issued["serial"] in {one["serial"] for one in said("revoke", "nve", "leaf1", "--yes", *at)}
    assert said("publish", *at)["file"].endswith("revoked.pem")


class TestPkiRefuses:
    """What it refuses has changed nothing, and is said with the path or the option that it is about."""

    @pytest.fixture
    def authority(self, tmp_path, here) -> Path:
        place = tmp_path / "the authority"
        assert here("pki", "init", "example.test", "--dir", str(place))[0] == 0
        return place

    def test_to_sign_what_cannot_be_put_where_its_device_takes_it_from(self, authority, tmp_path, here):
        out, at = tmp_path / "leaf1.pem", ("--dir", str(authority))
        _, request, _ = here("pki", "request", "example.test", "nve", "leaf1", "--out", str(out))
        (tmp_path / "request").write_text(request)
        ledger = (authority / "ledger.json").read_bytes()
        (issued := tmp_path / "issued").write_text("a file")
        words = ("pki", "sign", "nve", "leaf1", str(tmp_path / "request"), *at)
        assert here(*words, "--issued", str(issued)) == (1, "", f"nvo3sec: {issued} is no directory\n")
        place = tmp_path / "other"
        (place / "nve" / "leaf1.pem").mkdir(parents=True)
        status, _, said = here(*words, "--issued", str(place))
        assert (status, said) == (1, f"nvo3sec: {place}/nve/leaf1.pem: Is a directory\n")
        assert (authority / "ledger.json").read_bytes() == ledger
        assert here(*words, "--issued", str(tmp_path / "there"))[0] == 0
        assert (authority / "ledger.json").read_bytes() != ledger

    def test_and_what_would_go_is_said_with_the_directory(self, authority, here):
        at = ("--dir", str(authority))
        _, _, said = here("pki", "renew", "nve", "leaf1", *at)
        assert said.endswith(f"to make it: nvo3sec pki issue nve leaf1 --dir '{authority}'\n")
        assert here("pki", "issue", "nve", "leaf1", *at)[0] == 0
        _, _, said = here("pki", "issue", "nve", "leaf1", *at)
        assert said.endswith(f"to replace it: nvo3sec pki renew nve leaf1 --dir '{authority}'\n")

    @pytest.mark.parametrize("command", ["issue", "renew", "token"])
    def test_a_life_that_is_too_long(self, authority, here, command):
        status, _, said = here("pki", command, "nve", "leaf1", "--dir", str(authority), "--lifetime", "99999d")
        longest = 7 if command == "token" else 90
        assert (status, said.partition(";")[0]) == (
            2,
            f"nvo3sec: Invalid value for '--lifetime': 99999d is more than {longest}d",
        )

    def test_a_number_that_is_none(self, authority, here):
        status, _, said = here("pki", "revoke", "--serial", "xyz", "--dir", str(authority))
        why = "'xyz' is no number of up to 40 digits in hexadecimal, as pki list shows it"
        assert (status, said.partition(";")[0]) == (2, f"nvo3sec: Invalid value for --serial: {why}")

    def test_what_may_not_be_looked_at(self, authority, here, monkeypatch):
        def stat(path: Path, **_: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "stat", stat)  # who is root may look at everything
        status, _, said = here("pki", "list", "--dir", str(authority))
        assert (status, said) == (1, f"nvo3sec: {authority}: Permission denied\n")

    @pytest.mark.parametrize("words", [("init", "example.test", "--dir"), ("bundle", "{pki}", "--out")])
    def test_a_file_in_the_place_of_a_directory(self, authority, tmp_path, here, words):
        (file := tmp_path / "file").write_text("")
        for given in (file, file / "inner"):
            status, _, said = here("pki", *(word.format(pki=authority) for word in words), str(given))
            assert (status, said) == (1, f"nvo3sec: {file} is no directory\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_argument_and_option_says_what_it_is(name):
    silent = [one.name for one in COMMANDS[name].params if not getattr(one, "help", None)]
    assert silent in ([], ["help"])


def test_no_name_of_a_file_steers_the_terminal(tmp_path, here):
    """Whoever makes a file names it; what succeeds shows the name as well."""
    from nvo3sec.config import example_path

    place = tmp_path / "x\x1b[31m\u202e\ny"
    place.mkdir()
    (file := place / "a.yaml").write_bytes(example_path().read_bytes())
    pki, device, made = str(place / "pki"), str(place / "device" / "d.pem"), str(tmp_path / "made")
    for words in (
        ("domain", "check", str(file)),
        ("pki", "init", "example.test", "--dir", pki),
        ("pki", "issue", "nve", "leaf1", "--dir", pki),
        ("pki", "renew", "nve", "leaf1", "--dir", pki),
        ("pki", "publish", "--dir", pki),
        ("pki", "bundle", pki, "--out", str(place / "bundle")),
        ("pki", "request", "example.test", "nve", "leaf2", "--out", device),
        ("pki", "sign", "nve", "leaf2", made, "--dir", pki, "--issued", str(place / "issued")),
        ("pki", "install", str(place / "issued" / "nve" / "leaf2.pem"), "--out", device),
    ):
        status, stdout, stderr = here(*words)
        assert status == 0, stderr
        assert all(line.isprintable() for said in (stdout, stderr) for line in said.split("\n"))
        if words[1] != "request":
            assert "x\\x1b[31m\\u202e\\ny" in stdout, "in one line"
        else:
            (tmp_path / "made").write_text(stdout)


def test_what_a_copied_dscp_shows_is_said(tmp_path, here):
    """Beside the answer, which stays as it is, and of the VNs that are encrypted alone."""
    from nvo3sec.config import example_path

    text = example_path().read_text(encoding="utf-8").replace("model: pipe", "model: copy")
    (file := tmp_path / "a.yaml").write_text(text)
    status, plain, stderr = here("domain", "check", str(file))
    assert (status, stderr) == (0, "")
    file.write_text(text.replace("level: integrity\n    mtu", "level: confidentiality\n    mtu"))
    sight = "the underlay sees the DSCP of each packet that leaf1 encrypts of blue: its dscp.model is copy\n"
    assert here("domain", "check", str(file)) == (0, plain, sight)


def test_a_bundle_has_each_anchor_once_and_is_replaced_by_its_owner_alone(tmp_path):
    authority, place = str(tmp_path / "pki"), tmp_path / "made" / "bundle"
    assert run("pki", "init", "example.test", "--dir", authority).returncode == 0
    before = os.umask(0)
    try:
        assert run("pki", "bundle", authority, authority, "--out", str(place)).returncode == 0
    finally:
        os.umask(before)
    assert (place / "anchors.pem").read_text().count("BEGIN CERTIFICATE") == 1
    assert (place / "revoked.pem").read_text().count("BEGIN X509 CRL") == 1
    assert [one.stat().st_mode & 0o777 for one in (place.parent, place)] == [0o755, 0o755]


def test_a_request_says_which_directory_it_has_made(tmp_path):
    wanted = tmp_path / "device" / "device.pem"
    done = run("pki", "request", "example.test", "nve", "leaf1", "--out", str(wanted))
    assert (done.returncode, done.stderr) == (0, f"made the directory {wanted.parent}, for its owner alone\n")
    assert run("pki", "request", "example.test", "nve", "leaf1", "--out", str(wanted)).stderr == ""
