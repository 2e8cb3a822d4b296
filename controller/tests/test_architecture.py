# SPDX-License-Identifier: Apache-2.0
"""Who may know whom. An arrow that is not drawn here does not exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nvo3sec
import pytest
from documents import FILES, name_of
from nvo3sec.cli import options
from nvo3sec.domain.overlay import model
from places import ROOT as REPOSITORY
from places import UNIT

ROOT = Path(nvo3sec.__file__).parent
FOREIGN = ("p4softswitch", "nvo3lab", "nvo3ref", "scapy", "ptf", "harness")

ARROWS = {
    "__init__": set(),
    "errors": set(),
    "examples": set(),
    "domain": {"errors"},
    "program": {"errors"},
    "system": {"errors"},
    "config": {"domain", "errors", "system"},
    "identity": {"domain", "errors", "system"},
    "nva": {"domain", "errors", "system"},
    "p4runtime": {"errors", "program", "system"},
    "wire": {"domain", "errors"},
    "nve": {"domain", "errors", "p4runtime", "program", "system"},
    "operator": {"config", "domain", "errors", "identity", "nva", "system", "wire"},
    "transport": {"domain", "errors", "identity", "nva", "operator", "system", "wire"},
    "processes": {
        "config",
        "domain",
        "errors",
        "identity",
        "nva",
        "nve",
        "operator",
        "p4runtime",
        "system",
        "transport",
    },
    "cli": {"config", "errors", "identity", "operator", "processes", "program", "system", "transport"},
}

DOMAIN_MAY_IMPORT = {
    "__future__",
    "collections",
    "cryptography",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "nvo3sec",
    "re",
    "typing",
}
"""No clock, no randomness, no I/O."""

ONLY_P4RUNTIME_MAY_IMPORT = ("grpc", "finsy")


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from nvo3sec.system import logs` is an import of nvo3sec.system.logs
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "nvo3sec" else (module,)


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestModule:
    def test_arrows(self, path):
        part = part_of(path)
        for name in imports(path):
            if name.startswith("nvo3sec."):
                target = name.split(".")[1]
                assert target == part or target in ARROWS[part], f"{part} may not know {name}"

    def test_no_stranger(self, path):
        for name in imports(path):
            assert not name.startswith(FOREIGN), name

    def test_wire_libraries_only_at_the_edge(self, path):
        if part_of(path) in ("p4runtime", "program", "identity", "transport"):
            return  # program reads the text form of a P4Info; identity and transport are about connections
        for name in imports(path):
            assert name.split(".")[0] not in ONLY_P4RUNTIME_MAY_IMPORT, name

    def test_domain_is_pure(self, path):
        if part_of(path) == "domain":
            assert {name.split(".")[0] for name in imports(path)} <= DOMAIN_MAY_IMPORT

    def test_only_the_command_line_exits_and_prints(self, path):
        if part_of(path) == "cli":
            return
        names = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if is_named_call(node)}
        assert not names & {"print", "exit", "quit", "input"}
        assert "sys.exit" not in path.read_text()

    def test_files_of_others_are_opened_at_one_place(self, path):
        """What is there instead of a file, a FIFO for one, would hold a process up for ever."""
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        found = {name for call in calls if (name := opening(call))}
        assert found <= MAY_OPEN.get(path.relative_to(ROOT).as_posix(), set()), "read it with nvo3sec.system.files"

    def test_licence(self, path):
        assert path.read_text(encoding="utf-8").startswith("# SPDX-License-Identifier: Apache-2.0\n")

    def test_no_class_does_everything(self, path):
        """What a class is asked, and what it remembers, is what has to be in a reader's head; lines are not."""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods, attributes = members_of(node)
                most = LARGER.get(node.name, (MOST_METHODS, MOST_ATTRIBUTES))
                assert (len(methods) <= most[0], len(attributes) <= most[1]) == (True, True), f"{node.name}: split it"


MAY_OPEN = {
    "system/files.py": {"os.open"},
    # Files of this package, and what a developer's compiler has made.
    "program/build.py": {"read_bytes", "read_text"},
    "program/artifacts.py": {"read_bytes"},
    "wire/generate.py": {"read_text"},
    # New files, locks and directories in a place of the process's own, with flags that do not wait.
    "identity/authority/ledger.py": {"os.open"},
    "identity/front/scratch.py": {"os.open"},
    "identity/storage.py": {"os.open"},
    "nva/store/sqlite/database.py": {"os.open"},
    "nva/store/sqlite/files.py": {"os.open"},
    "nva/store/sqlite/floor.py": {"os.open"},
    "nve/agent_memory.py": {"os.open"},
    "cli/written.py": {"os.open"},  # /dev/null
}
"""Where else files are opened, and how."""


def opening(call: ast.Call) -> str:
    """How a call opens a file; empty if it does not."""
    match call.func:
        case ast.Name(id="open"):
            return "open"
        case ast.Attribute(value=ast.Name(id="os" | "io" as module), attr="open"):
            return f"{module}.open"
        case ast.Attribute(attr="read_text" | "read_bytes" as name):
            return name
        case ast.Attribute(attr="open") if any(
            isinstance(one, ast.Constant) and one.value in MODES for one in call.args
        ):
            return "Path.open"
    return ""


MODES = {f"{mode}{kind}" for mode in ("r", "w", "a", "x", "r+") for kind in ("", "b", "t")}

MOST_METHODS, MOST_ATTRIBUTES = 30, 24
LARGER = {
    "Draft": (30, 26),  # a measured million steps of the mapping machine go through its slots
}
"""Classes that are larger, and how large: no more than today."""


def members_of(node: ast.ClassDef) -> tuple[set[str], set[str]]:
    """Names of the methods of a class, and of what these set on `self`."""
    bodies = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    stored = {
        one.attr
        for body in bodies
        for one in ast.walk(body)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
    }
    return {one.name for one in bodies}, stored


def is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def test_what_does_not_exist_is_said_in_one_place():
    said = re.compile(r"no such (NVE|VN|\{)")
    assert [path for path in SOURCES if said.search(path.read_text(encoding="utf-8"))] == [ROOT / "errors.py"]


NOUNS_IN_ING = {
    "ClockReading",
    "Finding",
    "Keyring",
    "Listing",
    "Meaning",
    "NvaLoading",
    "PipelineMissing",
    "RemoteMapping",
    "Standing",
    "StaticMapping",
    "_Reading",
    "_StoreOpening",
    "_Stopping",
}
"""Classes whose names end in -ing and are things, or what an error is about."""


def test_classes_are_called_by_nouns():
    """What a gerund does, and to what, only its author knows."""
    named = {
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("ing")
    }
    assert named == NOUNS_IN_ING


def test_the_command_line_knows_the_same_limits():
    """It loads nothing of the domain: its commands are quick."""
    assert (options.LAST_ACCESS_PORT, options.LAST_VLAN) == (model.LAST_ACCESS_PORT, model.LAST_VLAN)


def test_every_part_is_drawn():
    assert {part_of(path) for path in SOURCES} == set(ARROWS)


def test_arrows_have_no_circle():
    seen: dict[str, int] = {}

    def depth(part: str, above: tuple[str, ...] = ()) -> int:
        assert part not in above, f"circle: {' -> '.join((*above, part))}"
        if part not in seen:
            seen[part] = 1 + max((depth(below, (*above, part)) for below in ARROWS[part]), default=0)
        return seen[part]

    assert all(depth(part) for part in ARROWS)


def needed_by(path: Path) -> set[Path]:
    """The modules that a module loads; what it only names in types is not loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = [one for one in ast.walk(tree) if isinstance(one, ast.If) and "TYPE_CHECKING" in ast.unparse(one.test)]
    unneeded = {inner for one in types for inner in ast.walk(one)}
    needed = {one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)} - unneeded
    names = [f"{one.module}.{alias.name}" for one in needed for alias in one.names] + [
        str(one.module) for one in needed
    ]
    paths = (ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py") for name in names if name.startswith("nvo3sec."))
    return {one for one in paths if one.exists()}


def test_no_modules_need_each_other():
    left = {path: needed_by(path) for path in SOURCES}
    while ready := [path for path, needed in left.items() if not needed & left.keys()]:
        for path in ready:
            del left[path]
    assert not left, "a circle is among these"


PROCESSES = {
    "nvo3sec.processes.nva": ("nvo3sec.nve", "nvo3sec.p4runtime", "nvo3sec.program", "finsy"),
    "nvo3sec.processes.nve": ("nvo3sec.nva", "nvo3sec.config", "sqlite3", "yaml"),
    "nvo3sec.transport.operator_client": ("nvo3sec.nva", "nvo3sec.nve", "nvo3sec.p4runtime", "finsy", "sqlite3"),
    "nvo3sec.cli": ("nvo3sec.nva", "nvo3sec.nve", "nvo3sec.p4runtime", "grpc", "finsy", "sqlite3", "yaml"),
}
"""What each process must not load: walls that are checked one step deep leak at the second."""


@pytest.mark.parametrize("module", sorted(PROCESSES))
def test_a_process_loads_only_what_is_its_own(module):
    """In an interpreter of its own, where nothing has been loaded before."""
    names = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in names
    strangers = PROCESSES[module]
    assert not [name for name in names if any(name == one or name.startswith(f"{one}.") for one in strangers)]


def folders_of_units() -> list[Path]:
    return sorted(path for path in UNIT.rglob("*") if path.is_dir() and path.name != "__pycache__")


def test_units_stand_where_their_modules_stand():
    """A folder of unit tests is a package of the product; what takes several parts is in `stories`."""
    folders = folders_of_units()
    assert len(folders) > 20
    assert [path for path in folders if not (ROOT / path.relative_to(UNIT) / "__init__.py").is_file()] == []


PATH_EDIT = re.compile(r"\bsys\.path(?:\.\w+\(|\[[^]]*\]\s*=(?!=)|\s*\+?=(?!=))|\bsyspath_prepend\(|\baddsitedir\(")


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".py"], ids=name_of)
def test_nobody_edits_the_path_of_imports(path):
    """It is set from outside, once: by the installation, by pytest's `pythonpath`, by `make bench`."""
    assert not PATH_EDIT.search(path.read_text(encoding="utf-8")), (
        "what it imports belongs beside it, or into `pythonpath`"
    )


def test_no_two_helpers_have_one_name():
    """All that tests import from folders is on one path, before what Python itself has."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    places = settings["tool"]["pytest"]["ini_options"]["pythonpath"]
    names = [
        path.stem for place in places for path in FILES if path.parent == REPOSITORY / place and path.suffix == ".py"
    ]
    assert len(names) > 60
    assert {name for name in names if names.count(name) > 1 or name in sys.stdlib_module_names} == set()
