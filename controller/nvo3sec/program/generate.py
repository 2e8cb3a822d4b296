# SPDX-License-Identifier: Apache-2.0
"""Writes what Python knows of the NVE program, from its P4Info and its manifest: `generated.py`, the names that entries
are made with, and `domain/overlay/constants.py`, the numbers that processes without a switch need too.

`nvo3sec p4 compile` runs it; alone, it is `python -m nvo3sec.program.generate`. A test compares its results with
the files, so what it writes is formatted already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finsy.proto import p4i
from google.protobuf import text_format

from nvo3sec.program.artifacts import P4INFO, read_artifact, read_manifest

LINE_LENGTH = 120
TARGET = Path(__file__).with_name("generated.py")
CONSTANTS_TARGET = Path(__file__).parents[1] / "domain" / "overlay" / "constants.py"

CONSTANTS = {
    "PORT_UNDERLAY_BIT": "Ports from this number on are of the underlay; below, they are access ports.",
    "PORT_CPU": "The agent's port.",
    "PORT_DROP": "Where dropped packets go; the highest port number.",
    "INTERFACE_TUNNEL": "Top bit of an overlay interface that is a tunnel; without it, a VAP.",
    "INTERFACE_AGENT": "Overlay interface of the copy that goes to the agent.",
    "IP_KIND_NONE": "What the source guard sees in a frame that is none of the following.",
    "IP_KIND_IPV4": "",
    "IP_KIND_IPV6": "",
    "IP_KIND_ARP": "",
    "SERVICE_ANNOUNCER": "What a source may be besides a host, as the source guard says it.",
    "SERVICE_ROUTER": "",
    "SERVICE_DHCP_SERVER": "",
    "SUITE_CHASKEY12": "Number of the cipher suite on the wire (docs/wire-format.md).",
    "ETHERNET_LENGTH": "Ethernet header, bytes.",
    "IPV4_OVERHEAD": "From the inner frame to the outer IPv4 packet, bytes.",
    "IPV6_OVERHEAD": "From the inner frame to the outer IPv6 packet, bytes.",
    "FRAME_LIMIT": "First length of an inner frame that is too long, bytes.",
    "PEER_COUNT": "Peer numbers are below it.",
    "ADJACENCY_SIZE": "Next hops that the program promises room for.",
    "UNDERLAY_BUCKETS": "Flows are spread over so many; each has a way of its own.",
}
"""Constants of the P4 sources that Python needs, with what they say."""

HEADER = '''\
# SPDX-License-Identifier: Apache-2.0
"""Names of the NVE program. Generated from its P4Info by `python -m nvo3sec.program.generate`; do not edit.

Each function makes one kind of table entry: its arguments are the match fields and action parameters of the program, as
unsigned integers of their width. Tables with a direct meter take its configuration too.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from nvo3sec.program.entry import Entry, Meter, bits
'''

CONSTANTS_HEADER = '''\
# SPDX-License-Identifier: Apache-2.0
"""Numbers of the NVE program. Generated from its manifest by `python -m nvo3sec.program.generate`; do not edit."""

from __future__ import annotations
'''


def generate_constants(manifest: dict[str, Any]) -> str:
    """Source text of the module of constants."""
    lines = [CONSTANTS_HEADER]
    for name, text in CONSTANTS.items():
        lines += [f"{name} = {manifest['constants'][name]}", *([f'"""{text}"""'] if text else [])]
    return "\n".join(lines) + "\n"


def generate(p4info: p4i.P4Info, manifest: dict[str, Any]) -> str:
    """Source text of the generated module."""
    actions = {action.preamble.id: action for action in p4info.actions}
    metered = {meter.direct_table_id for meter in p4info.direct_meters}
    counted = {counter.direct_table_id: counter.preamble.alias for counter in p4info.direct_counters}
    tables = sorted(p4info.tables, key=lambda table: table.preamble.id)

    lines = [HEADER, *_str_enum("Table", "Tables.", [table.preamble.alias for table in tables])]
    lines += [*_str_enum("Counter", "Indexed counters.", [counter.preamble.alias for counter in p4info.counters])]
    for enum, name, text in (
        ("packet_out_op_t", "PacketOutOp", "Operations of a packet-out."),
        ("punt_reason_t", "PuntReason", "Why the pipeline sent a packet to the agent."),
        ("sa_kind_t", "SaKind", "What an SA is for."),
    ):
        members = p4info.type_info.serializable_enums[enum].members
        lines += _int_enum(name, text, {member.name: int.from_bytes(member.value, "big") for member in members})
    lines += _int_enum("DropReason", "Why a packet was dropped: index of the drop counters.", manifest["drop_reasons"])

    lines += [""]
    lines += _names("METERED_TABLES", "Tables with a direct meter.", tables, metered)
    lines += _names("COUNTED_TABLES", "Tables with a direct counter.", tables, counted)
    lines += _names("DEFAULT_TABLES", "Keyless tables: what they do is their default entry.", tables, None)
    for table in tables:
        for reference in table.action_refs:
            if reference.scope == p4i.ActionRef.DEFAULT_ONLY:
                continue  # fixed by the program, never written
            lines += _function(table, actions[reference.id], table.preamble.id in metered)
    return "\n".join(lines).rstrip("\n") + "\n"


def _str_enum(name: str, text: str, members: list[str]) -> list[str]:
    return ["", f"class {name}(StrEnum):", f'    """{text}"""', "", *(f'    {m.upper()} = "{m}"' for m in members), ""]


def _int_enum(name: str, text: str, members: dict[str, int]) -> list[str]:
    return ["", f"class {name}(IntEnum):", f'    """{text}"""', "", *(f"    {m} = {v}" for m, v in members.items()), ""]


def _names(name: str, text: str, tables: list[p4i.Table], ids: Any) -> list[str]:
    chosen = [t for t in tables if (t.preamble.id in ids if ids is not None else not t.match_fields)]
    members = [f"Table.{table.preamble.alias.upper()}" for table in chosen]
    lines = [f"{name} = frozenset({{{', '.join(members)}}})"]
    if len(lines[0]) > LINE_LENGTH:
        lines = [f"{name} = frozenset(", f"    {{{', '.join(members)}}}", ")"]
    if max(map(len, lines)) > LINE_LENGTH:
        lines = [f"{name} = frozenset(", "    {", *(f"        {member}," for member in members), "    }", ")"]
    return [*lines, f'"""{text}"""', ""]


def _function(table: p4i.Table, action: p4i.Action, metered: bool) -> list[str]:
    # A match field and a parameter may have the same name; the parameter then says that it is one.
    matches = [(field.name, field.name, field.bitwidth) for field in table.match_fields]
    taken = {name for name, _, _ in matches}
    params = [(p.name if p.name not in taken else f"to_{p.name}", p.name, p.bitwidth) for p in action.params]
    arguments = [f"{name}: int" for name, _, _ in (*matches, *params)]
    if metered:
        arguments.append("meter: Meter")
    name = f"{table.preamble.alias}_{action.preamble.alias}"
    head = [f"def {name}({', '.join(['*', *arguments] if arguments else [])}) -> Entry:"]
    if len(head[0]) > LINE_LENGTH:
        head = [f"def {name}(", "    *,", *(f"    {argument}," for argument in arguments), ") -> Entry:"]
    return [
        "",
        *head,
        f'    """Entry of table {table.preamble.alias} with action {action.preamble.alias}."""',
        "    return Entry(",
        f'        "{table.preamble.alias}",',
        *_pairs(matches),
        f'        "{action.preamble.alias}",',
        *_pairs(params),
        *(["        meter,"] if metered else []),
        "    )",
        "",
    ]


def _pairs(fields: list[tuple[str, str, int]]) -> list[str]:
    pairs = [f'("{name}", bits("{name}", {argument}, {width})),' for argument, name, width in fields]
    if len(pairs) <= 1:
        return [f"        ({''.join(pairs)}),"]
    return ["        (", *(f"            {pair}" for pair in pairs), "        ),"]


def everything(p4info: p4i.P4Info, manifest: dict[str, Any]) -> dict[Path, str]:
    """Source text by file."""
    return {TARGET: generate(p4info, manifest), CONSTANTS_TARGET: generate_constants(manifest)}


def current() -> dict[Path, str]:
    """Source text by file, for the installed artifacts. Raises ArtifactError."""
    p4info = text_format.Parse(read_artifact(P4INFO).decode("utf-8"), p4i.P4Info())
    return everything(p4info, read_manifest())


if __name__ == "__main__":
    for place, text in current().items():
        place.write_text(text, encoding="utf-8")
