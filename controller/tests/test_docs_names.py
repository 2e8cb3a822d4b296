# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there: files, tests, commands, options, tables, drop reasons, numbers.

A name is what stands between backticks.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import DOCUMENTS, FILES, ROOT, blocks_of, name_of, prose_of, spans_of
from finsy.proto import p4i
from nvo3sec.config.convert import RENEW_AT_LEAST_S
from nvo3sec.config.schema import LifetimesSection
from nvo3sec.domain.keys.contribution import statement
from nvo3sec.domain.mapping import change_log as changes
from nvo3sec.domain.overlay import constants, mtu
from nvo3sec.domain.switch import numbers
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.gate import gate
from nvo3sec.nva.keys import generations
from nvo3sec.nve import agent_memory as memory
from nvo3sec.operator import calls as operators
from nvo3sec.program.artifacts import load_artifacts
from nvo3sec.wire import nva_pb2


def names_in(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node.body for node in body if isinstance(node, kinds)}


# --- what is named ---------------------------------------------------------------------------------------------------

MADE = {"device.pem", "anchors.pem", "revoked.pem", "agent.json", "revocation-lists.json", "known-sources.json"}
"""Files that processes have, and not the repository. Each stands in the sources."""
SUFFIX = r"(?:py|p4|md|h|c|yaml|jsonl?|txtpb|proto|toml|txt|in|pem)"
SOURCES = {
    path: path.read_text(encoding="utf-8", errors="replace")  # what somebody left there may be anything
    for path in FILES
    if path.suffix not in {".md", ".jsonl", ".json"}
}
WORDS = {
    word
    for words in [*(text for path, text in SOURCES.items() if path != Path(__file__)), *(path.stem for path in FILES)]
    for word in re.findall(r"\w+", words)
}
OTHERS = {
    "CacheDirectory": "systemd",
    "CacheDirectoryMode": "systemd",
    "DNDEBUG": "gcc",
    "LimitCORE": "systemd",
    "MaxRetentionSec": "systemd",
    "SystemMaxUse": "systemd",
    "TcpInCsumErrors": "Linux",
    "host_tso4": "QEMU",
    "host_tso6": "QEMU",
    "host_ufo": "QEMU",
    "memfd_noexec": "Linux",
    "notify_master": "keepalived",
    "tx-checksumming": "ethtool",
    "vrrp_garp_master_refresh": "keepalived",
}
"""Names of other programs, which stand in no source."""


def meant(document: Path, name: str) -> list[Path]:
    """The files that a document can mean: beside it, or any whose path ends so."""
    beside = document.parent / name
    return [path for path in FILES if path == beside or f"/{path.relative_to(ROOT)}".endswith(f"/{name}")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_that_are_named_exist(document):
    folders = {parent for path in FILES for parent in path.parents}
    tops = {path.name for path in folders if path.parent == ROOT}
    for span in spans_of(document):
        for name in re.findall(rf"(?<![\w$/*<>~.-])[\w.-]+(?:/[\w.-]+)*\.{SUFFIX}(?![\w/.])", span):
            if any(part.isupper() for part in name.split("/")[:-1]):
                continue  # `DIR/device.pem` is the reader's
            if name.split(".")[0] in nva_pb2.DESCRIPTOR.message_types_by_name:
                continue  # a field
            in_sources = name in MADE and any(f'"{name}"' in text for text in SOURCES.values())
            assert meant(document, name) or in_sources, f"{name_of(document)} names {name}"
        for name in re.findall(r"(?<![\w$/~.-])\.?[\w-]+(?:/[\w.-]+)*/?(?![\w/.:*])", span):
            if name.split("/")[0] in tops and "/" in name:
                assert (ROOT / name).exists(), f"{name_of(document)} names {name}"
            elif name.endswith("/"):
                assert any(f"{path}/".endswith(f"/{name}") for path in folders), f"{name_of(document)} names {name}"


def test_every_folder_of_code_is_in_the_table_of_folders():
    told = [row[0].strip("`/") for row in rows_of("docs/architecture.md", "| folder | what it is |")]
    folders = {path.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    assert set(told) == folders - {"LICENSES", "docs", "locks", ".ci", ".github"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_test_that_is_named_exists(document):
    for span in spans_of(document):
        for path, names in re.findall(r"([\w/.-]+\.py)::([\w:]+)", span):
            (file,) = meant(document, path)
            body = ast.parse(file.read_text(encoding="utf-8")).body
            for name in names.split("::"):
                assert name in names_in(body), f"{name_of(document)}: {path} has no {name}"
                body = names_in(body)[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(document)):
        path, _, anchor = target.partition("#")
        if "://" not in path:
            other = document.parent / path if path else document
            assert other.exists(), f"{name_of(document)} links to {target}"
            assert not anchor or anchor in anchors_of(other), f"{name_of(document)} links to {target}"


def anchors_of(document: Path) -> set[str]:
    """Of its headings, as hosts of repositories make them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_open(word: str, span: str, document: Path) -> bool:
    """Whether it is for the reader to fill in, as in `nvo3sec-UID`, `PKI/NAME.pem`, or a command that is shown."""
    shown = (block.text for block in blocks_of(document))
    return word.isupper() and any(re.search(rf"[-/ ]{word}\b|\b{word}[/.]", one) for one in (span, *shown))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_names_stand_in_the_sources(document):
    """Tables, drop reasons, messages, classes, reports, settings: whatever between backticks is written as a name."""
    for span in spans_of(document):
        for name in re.findall(r"(?<!\w)[^\W\d]\w*(?:-[^\W\d]\w*)*", span):
            is_name = "_" in name.strip("_") or "-" in name or (name[1:] != name[1:].lower() and len(name) > 2)
            if is_name and name not in OTHERS:
                missing = [word for word in name.split("-") if word not in WORDS and not is_open(word, span, document)]
                assert not missing, f"{name_of(document)}: no source has {missing[0]} ({span})"


@pytest.mark.parametrize("path", [path for path in SOURCES if "docs/" in SOURCES[path]], ids=name_of)
def test_documents_that_sources_name_exist(path):
    for name in re.findall(r"\bdocs/[\w/-]+\.md\b", SOURCES[path]):
        assert (ROOT / name).exists(), f"{name_of(path)} names {name}"


# --- commands --------------------------------------------------------------------------------------------------------

cli: Any = importlib.import_module("nvo3sec.cli.main")
cli.mount_all()
COMMANDS: Any = typer.main.get_command(cli.app)
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def lines_of(document: Path) -> list[str]:
    """What may be a command: lines of fenced blocks, and what stands between backticks."""
    blocks = [block.text.replace("\\\n", " ") for block in blocks_of(document)]
    return [line for text in blocks for line in text.splitlines()] + spans_of(document)


def command_of(words: list[str]) -> tuple[str, set[str]]:
    """The command that `words` begin with, and its options. Raises KeyError if there is none."""
    command, path = COMMANDS, ["nvo3sec"]
    while hasattr(command, "commands") and words and re.fullmatch(r"[a-z][a-z0-9-]*", words[0]):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return " ".join(path), {name for one in command.params for name in one.opts} | {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_that_are_named_exist(document):
    """With their options. `nvo3sec vn list | show VN` names two."""
    for line in lines_of(document):
        where = f"{name_of(document)}: {line.strip()}"
        for said in re.findall(r"(?:^|[\s(/])nvo3sec ([a-z](?:[^#&|`;]|\| (?=[a-z]+ ))*)", line.replace("\\|", "&")):
            first, *others = re.split(r"  +", said)[0].split(" | ")
            for words in [first.split(), *([first.split()[0], *other.split()] for other in others)]:
                try:
                    name, options = command_of(words)
                except KeyError as error:
                    raise AssertionError(f"{where}: there is no command {error}") from None
                for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", " ".join(words)):
                    assert option in options, f"{where}: {name} has no {option}"
        for target in re.findall(r"(?:^|&& )make ([a-z]\w*)", line):
            assert target in TARGETS, f"{where}: the Makefile has no {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_an_option_that_stands_alone_is_somebodys(document):
    """Of a command or a script of the repository; p4softswitch's parser puts the hyphens in front of some itself."""
    of_switches = SOURCES[ROOT / "softswitch" / "p4softswitch" / "cli.py"]
    for span in spans_of(document):
        if option := re.match(r"--[a-z][\w-]*", span):
            known = any(f'"{option[0]}"' in text for text in SOURCES.values()) or f'"{option[0][2:]}"' in of_switches
            assert known, f"{name_of(document)}: nothing has {option[0]}"


def test_every_command_is_named():
    text = "\n".join(line for document in DOCUMENTS for line in lines_of(document))
    for group, command in COMMANDS.commands.items():
        for name in getattr(command, "commands", {"": None}):
            assert re.search(rf"nvo3sec {group}\b[^\n]*\b{name}\b", text), f"no document has nvo3sec {group} {name}"


# --- tables and numbers ----------------------------------------------------------------------------------------------

REASONS = dict(
    re.findall(r"^ +([A-Z0-9_]+) = (\d+)", SOURCES[ROOT / "p4src/common/drop_reasons.p4"], flags=re.MULTILINE)
)


def rows_of(document: str, beginning: str) -> list[list[str]]:
    """The cells of the tables whose first line begins so."""
    tables = (ROOT / document).read_text(encoding="utf-8").split(f"\n{beginning}")[1:]
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_tables_that_are_told_are_the_programs():
    """With their actions, data, and the reasons of their defaults."""
    info = load_artifacts().p4info
    actions = {action.preamble.id: action for action in info.actions}
    rows = {row[0].strip("`"): row for row in rows_of("docs/tables.md", "| table | key |")}
    assert set(rows) == {table.preamble.alias for table in info.tables}
    for table in info.tables:
        name, keyed = table.preamble.alias, bool(table.match_fields)
        _, key, told, default, _ = rows[name]
        keys = [] if key.startswith("none") else re.sub(r"\([^)]*\)", "", key).split(",")
        assert len(keys) == len(table.match_fields), f"{name}: {key}"
        can = [actions[ref.id] for ref in table.action_refs if ref.scope != p4i.ActionRef.DEFAULT_ONLY]
        wanted = {(one.preamble.alias, *(data.name for data in one.params)) for one in can if keyed or one.params}
        said = re.findall(r"`(\w+)\(([\w, ]*)\)`", told)
        assert {(action, *re.findall(r"\w+", data)) for action, data in said} == wanted, name
        if not default.startswith("punt"):
            assert set(re.findall(r"`([A-Z0-9_]+)`", default)) <= set(REASONS), f"{name}: {default}"


CONTROLS = {
    name: text
    for path, source in SOURCES.items()
    if path.suffix == ".p4"
    for name, text in re.findall(
        r"^control (\w+)(.*?)^}", re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL), flags=re.MULTILINE | re.DOTALL
    )
}


def asked_by(control: str) -> list[str]:
    """Tables in the order in which they stand in what the control does, with those of its controls in their places."""
    declared, _, does = CONTROLS[control].partition("    apply {")
    instances = {name: kind for kind, name in re.findall(r"^ +(\w+)\(\w*\) (\w+);", declared, flags=re.MULTILINE)}
    return [
        table
        for name in re.findall(r"(\w+)\.apply\(", does)
        for table in (asked_by(instances[name]) if name in instances else [name])
    ]


def test_the_tables_are_told_in_the_order_in_which_a_packet_meets_them():
    rows = [row[0].strip("`") for row in rows_of("docs/tables.md", "| table | key |")]
    assert rows == list(dict.fromkeys(asked_by("NveIngress") + asked_by("NveEgress")))


RECEPTION = ("Parser", "Outer headers", "Tunnel, before cryptography", "Tunnel, from cryptography on")


def test_every_reason_that_reception_has_is_told_with_its_field():
    """Or said to be about none."""
    groups = re.split(r"^ +/\* (.*) \*/$", SOURCES[ROOT / "p4src/common/drop_reasons.p4"], flags=re.MULTILINE)
    given = {
        reason
        for group, text in zip(groups[1::2], groups[2::2], strict=True)
        if group in RECEPTION
        for reason in re.findall(r"^ +([A-Z0-9_]+) = ", text, flags=re.MULTILINE)
    }
    assert len(given) > 40
    cells = " ".join(row[4] for row in rows_of("docs/wire-format.md", "| offset |"))
    text = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
    others = text.partition("\nAbout no field of the packet: ")[2].partition("\n\n")[0]
    of_fields, of_none = (set(re.findall(r"`([A-Z0-9_]+)`", one)) for one in (cells, others))
    assert of_fields | of_none == given
    assert not of_fields & of_none


def test_what_has_no_test_is_a_drop_reason():
    without_test = {
        name for row in rows_of("ptf-tests/README.md", "| reason |") for name in re.findall(r"`(\w+)`", row[0])
    }
    assert without_test <= set(REASONS)


P4 = {
    name: int(value, 0)
    for path in ("constants.p4", "sizes.p4")
    for name, value in re.findall(
        r"^(?:const bit<\d+> |#define )(\w+) =? ?(\w+)\b;?(?: |$)",
        SOURCES[ROOT / "p4src/common" / path],
        flags=re.MULTILINE,
    )
    if value[0].isdigit()
}
OUTER_BYTES = sum(P4[f"{name}_LENGTH"] for name in ("IPV4", "UDP", "GENEVE", "OPTION"))
LEASES = LifetimesSection()


def in_harness(module: str, name: str) -> int:
    """The first number of a constant of the packet tests."""
    return int(re.findall(rf"^{name} = (\d+)", SOURCES[ROOT / "ptf-tests/harness" / module], flags=re.MULTILINE)[0])


def test_the_lab_gives_the_switch_the_cpu_port_of_the_program():
    """It does not import the product, and types the number again."""
    lab = SOURCES[ROOT / "bmv2-lab/nvo3lab/processes/switches.py"]
    assert re.findall(r"^CPU_PORT = (\d+)$", lab, flags=re.MULTILINE) == [str(constants.PORT_CPU)]


WINDOW = 32 * ((1 << P4["RING_SLOT_BITS"]) - 1)
NUMBERS = [
    ("docs/wire-format.md", "is # bytes longer than the inner frame", OUTER_BYTES),
    ("docs/wire-format.md", "is # bytes longer than a tenant's IP packet", mtu.Family.IPV4.packet_overhead),
    ("docs/wire-format.md", "| total length | inner length + # |", OUTER_BYTES),
    ("docs/wire-format.md", "| 16 to # bytes |", mtu.LONGEST_FRAME_BYTES),
    (
        "docs/wire-format.md",
        "bitmap. Packets at or below highest \N{MINUS SIGN} #",
        32 * ((1 << P4["RING_SLOT_BITS"]) - 1),
    ),
    ("docs/targets.md", "| # packets, one ingress thread |", WINDOW),
    ("docs/tables.md", "Reasons below # are counted", int(REASONS["SOURCE_PRUNED"])),
    ("docs/tables.md", "At most # bytes of the frame follow if", P4["PUNT_FRAME_LENGTH"]),
    ("docs/tables.md", "replay rings (0 to #)", len(numbers.RING_PAIRS) - 1),
    ("docs/keys.md", "Generations are reserved # at a time", generations.BLOCK),
    ("docs/keys.md", "(`agent.json`, # at a time", memory.RINGS_BLOCK),
    ("docs/keys.md", "at most # days ahead", statement.LONGEST_LIFE_S // 86400),
    ("docs/keys.md", "at most # bytes. Its **name**", statement.STATEMENT_BYTES),
    ("docs/control-plane.md", "has the last # changes of each VN", changes.CHANGES_PER_VN),
    ("docs/control-plane.md", "from half of the places on (#, `unfinished`)", FrontLimits.unfinished),
    ("docs/control-plane.md", "it is the same (#, `handshakes`)", FrontLimits.handshakes),
    ("docs/control-plane.md", "its address has # places for unfinished", FrontLimits.reserve),
    ("docs/control-plane.md", "the latest, and # devices", FrontLimits.known),
    ("docs/control-plane.md", "A ClientHello has # s in all", FrontLimits.hello_s),
    ("docs/control-plane.md", "one of more than # KiB is parsed", gate.LONG_BYTES >> 10),
    ("docs/threat-model.md", "names that exist; # claims an answer", operators.CLAIMS_LIMIT),
    ("docs/operating.md", "less `lease_renew_s` seconds, # unless told", LEASES.lease_s - RENEW_AT_LEAST_S),
    ("ptf-tests/README.md", "At most # packets are in flight", in_harness("base.py", "IN_FLIGHT")),
    ("ptf-tests/traces/README.md", "recordings above # KiB", in_harness("trace.py", "LARGEST")),
    ("docs/targets.md", "| # recordings, replayed", len([path for path in FILES if path.suffix == ".jsonl"])),
]
"""Document, the words around a number (#), and the number in the sources."""


@pytest.mark.parametrize(("document", "words", "number"), NUMBERS, ids=lambda value: str(value)[:40])
def test_numbers_are_those_of_the_sources(document, words, number):
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    said = re.findall(re.escape(words).replace(r"\#", "#").replace("#", r"(\d[\d,]*)"), text)
    assert [int(one.replace(",", "")) for one in said] == [number], f"{document}: {words}"


def test_a_tenants_packet_has_an_ethernet_header_more_than_its_frame():
    assert P4["ETHERNET_LENGTH"] + OUTER_BYTES == mtu.Family.IPV4.packet_overhead
    assert P4["FRAME_HEAD_LENGTH"] + 16 * P4["FRAME_BLOCKS"] + 15 == mtu.LONGEST_FRAME_BYTES
