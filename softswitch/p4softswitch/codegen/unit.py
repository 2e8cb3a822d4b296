# SPDX-License-Identifier: Apache-2.0
"""The translation unit: the packet's structure, the program's functions, what the runtime has to know of tables."""

from __future__ import annotations

from dataclasses import dataclass

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.actions import action_function, constant_words, register_type
from p4softswitch.codegen.calculations import calculation_functions, checksum_functions
from p4softswitch.codegen.control import action_words, pipeline_function
from p4softswitch.codegen.layout import Layout, c_bits, c_type, describe, key_layout, metadata_member
from p4softswitch.codegen.parser import deparser_function, parser_function
from p4softswitch.codegen.values import CValue, convert
from p4softswitch.codegen.writer import DirectEnvironment, Writer
from p4softswitch.codegen.zeroing import Zeroing
from p4softswitch.engine_api import UnsupportedProgram
from p4softswitch.runtime.names import NUMBERS

# Fields that the traffic manager reads or writes: name in BMv2 → name in the runtime. Absent ones become no-ops.
_INTRINSICS = {
    "ingress_port": "standard_metadata.ingress_port",
    "packet_length": "standard_metadata.packet_length",
    "instance_type": "standard_metadata.instance_type",
    "egress_spec": "standard_metadata.egress_spec",
    "egress_port": "standard_metadata.egress_port",
    "parser_error": "standard_metadata.parser_error",
    "checksum_error": "standard_metadata.checksum_error",
    "mcast_grp": "intrinsic_metadata.mcast_grp",
    "egress_rid": "intrinsic_metadata.egress_rid",
    "priority": "intrinsic_metadata.priority",
    "ingress_global_timestamp": "intrinsic_metadata.ingress_global_timestamp",
    "egress_global_timestamp": "intrinsic_metadata.egress_global_timestamp",
    "enq_timestamp": "queueing_metadata.enq_timestamp",
    "enq_qdepth": "queueing_metadata.enq_qdepth",
    "deq_timedelta": "queueing_metadata.deq_timedelta",
    "deq_qdepth": "queueing_metadata.deq_qdepth",
    "qid": "queueing_metadata.qid",
}
_REQUIRED = ("ingress_port", "packet_length", "instance_type", "egress_spec", "egress_port")


@dataclass(frozen=True)
class Translation:
    """C source, and what the control plane has to know about its numbering."""

    source: str
    messages: tuple[str, ...]


def translate(program: ir.Program) -> Translation:
    """Raises UnsupportedProgram for what cannot be translated."""
    try:
        return _translate(program)
    except RecursionError:
        raise UnsupportedProgram("an expression is nested too deeply to be translated") from None


def _translate(program: ir.Program) -> Translation:
    layout = Layout(program)
    messages: list[str] = []
    used = _used_actions(program)
    parts = [
        "/* Generated from a BMv2 JSON. */",
        '#include "base.h"',
        '#include "host.h"',
        _structures(program, layout),
        '#include "state.h"',
        '#include "lane.h"',
        '#include "profiles.h"',
        '#include "switch.h"',
        '#include "tables.h"',
        '#include "packet.h"',
        '#include "hashes.h"',
        calculation_functions(program, layout),
        checksum_functions(program, layout),
        *(action_function(a, layout, messages) for a in program.actions.values() if a.id in used),
        parser_function(program, layout, messages),
        pipeline_function(program.ingress, program, layout),
        pipeline_function(program.egress, program, layout),
        deparser_function(program, layout, messages),
        _intrinsics(program, layout),
        _field_lists(program, layout),
        _digests(program, layout),
        _descriptions(program),
        '#include "traffic.h"',
        '#include "capture.h"',
        '#include "ports.h"',
        '#include "output.h"',
        '#include "losses.h"',
        '#include "io_socket.h"',
        '#include "offload.h"',
        '#include "io_packet.h"',
        '#include "lock.h"',
        '#include "worker.h"',
        '#include "api.h"',
        '#include "api_ports.h"',
        '#include "api_profiles.h"',
        "",
    ]
    return Translation("\n".join(parts), tuple(messages))


def _used_actions(program: ir.Program) -> set[int]:
    used: set[int] = set()
    for pipeline in (program.ingress, program.egress):
        for node in pipeline.nodes.values():
            if isinstance(node, ir.Table):
                used.update(node.actions)
                if node.default is not None:
                    used.add(node.default.action)
            elif isinstance(node, ir.ActionCallNode):
                used.add(node.action)
    return used


def _structures(program: ir.Program, layout: Layout) -> str:
    zeroed = Zeroing(program).needed(layout.liveness.kept)

    def members(wanted: bool) -> list[str]:
        return [
            f"{c_type(ref.field.width)} {metadata_member(ref)};"
            for bits in (128, 64, 32)
            for header in program.headers
            if header.metadata
            for ref in (x.FieldRef(header, field) for field in header.type.fields)
            if c_bits(ref.field.width) == bits and layout.liveness.is_kept(ref) and (ref in zeroed) == wanted
        ]

    return "\n".join(
        [
            "struct zeroed_metadata {",
            *(members(True) or ["uint32_t none;"]),
            "} __attribute__((aligned(16)));",
            "struct metadata {",
            # What must be zero for a new packet stands first; the rest is written before it is read.
            *(members(True) or ["uint32_t none;"]),
            "uint8_t unzeroed[0] __attribute__((aligned(16)));",
            *members(False),
            "} __attribute__((aligned(16)));",
            f"#define P4_VALID_WORDS {layout.valid_words}",
            f"#define P4_STACKS {max(1, len(program.stacks))}",
            # Loads of a few bytes may take more than they need.
            f"#define P4_HEADER_BYTES ({layout.header_bytes} + 32)",
            f"#define P4_TABLES {max(1, len(program.tables))}",
            f"#define P4_COUNTERS {max(1, len(program.counters))}",
            f"#define P4_METERS {max(1, len(program.meters))}",
            f"#define P4_PROFILES {max(1, len(program.profiles))}",
            f"#define P4_REGISTERS {max(1, len(program.registers))}",
        ]
    )


def _intrinsics(program: ir.Program, layout: Layout) -> str:
    lines = []
    for name, full in _INTRINSICS.items():
        ref = program.intrinsic(full)
        if ref is None and name in _REQUIRED:
            raise UnsupportedProgram(f"the program has no {full}: this is no v1model program")
        if ref is None or not layout.liveness.is_kept(ref):
            lines.append(f"static inline void set_{name}(struct pkt *P, uint64_t v) {{ (void)P; (void)v; }}")
            lines.append(f"static inline uint64_t get_{name}(const struct pkt *P) {{ (void)P; return 0; }}")
            lines.append(f"#define HAS_{name} 0")
            continue
        if not ref.header.metadata:
            raise UnsupportedProgram(f"{describe(ref)} is no metadata")
        writer = Writer(layout, DirectEnvironment())
        writer.store(ref, convert(CValue("v", 64, 64), c_bits(ref.field.width)))
        member = metadata_member(ref)
        lines.append(f"static inline void set_{name}(struct pkt *P, uint64_t v) {{ {' '.join(writer.lines)} }}")
        lines.append(
            f"static inline uint64_t get_{name}(const struct pkt *P) {{ return (uint64_t)P->phv.m.{member}; }}"
        )
        lines.append(f"#define HAS_{name} 1")
    return "\n".join(lines) + "\n"


def _field_lists(program: ir.Program, layout: Layout) -> str:
    lines = ["static void copy_field_list(struct pkt *to, const struct pkt *from, uint32_t list) {", "switch (list) {"]
    for number, fields in program.field_lists.items():
        copies = []
        for ref in fields:
            if ref.header.metadata:
                if not layout.liveness.is_kept(ref):
                    continue
                member = metadata_member(ref)
                copies.append(f"to->phv.m.{member} = from->phv.m.{member};")
                continue
            offset, size = layout.offset[ref.header], ref.header.type.bits // 8
            if ref.field.bit_offset % 8 or ref.field.width % 8:
                raise UnsupportedProgram(f"field list {number}: {describe(ref)}, a header field of no whole bytes")
            at, size = offset + ref.field.bit_offset // 8, ref.field.width // 8
            copies.append(f"memcpy(to->phv.h + {at}, from->phv.h + {at}, {size});")
        lines.append(f"case {number}: {' '.join(copies)} break;")
    lines += ["default: (void)to; (void)from; break;", "}", "}", ""]
    return "\n".join(lines)


def _digests(program: ir.Program, layout: Layout) -> str:
    """`build_digest`: fields of the learn list, each in whole bytes, big-endian."""
    lines = [
        "static uint32_t build_digest(const struct pkt *P, uint32_t list, uint8_t *out) {",
        "const uint8_t *const H = P->phv.h; uint32_t n = 0; (void)H; (void)out;",
        "switch (list) {",
    ]
    longest = 0
    for number, learn in program.learn_lists.items():
        writer = Writer(layout, DirectEnvironment())
        size = 0
        for ref in learn.fields:
            nbytes = (ref.field.width + 7) // 8
            value = convert(writer.values.clean(ref, ref.field.width), 128)
            writer.emit(f"n = digest_put(out, n, {value.text}, {nbytes});")
            size += nbytes
        longest = max(longest, size)
        lines += [f"case {number}: {{", *writer.lines, "break; }"]
    lines += ["default: break;", "}", "return n;", "}", f"#define P4_MAX_DIGEST {longest + 16}u", ""]
    return "\n".join(lines)


def _descriptions(program: ir.Program) -> str:
    lines = []
    tables = []
    for table in program.tables:
        layout = key_layout(table)
        if layout.words > NUMBERS["P4_MAX_KEY_WORDS"]:
            raise UnsupportedProgram(f"table {table.name}: a key of {layout.words} words is not implemented")
        param_words = max((action_words(program, a) for a in table.actions), default=0)
        if table.profile is not None:
            param_words = max(param_words, 1)  # the member or group
        fallback = table.default
        number = "P4_NO_ACTION"
        defaults = f"default_{table.index}"
        args: list[str] = []
        if fallback is not None:
            if fallback.action not in table.actions:
                raise UnsupportedProgram(f"table {table.name}: its default action is none of its actions")
            number = str(table.actions.index(fallback.action))
            args = constant_words(program.actions[fallback.action].params, fallback.args)
            param_words = max(param_words, len(args))
        if table.idle_timeout:
            args, param_words = ["0ull", *args], param_words + 1  # when it was hit
        lines.append(f"static const uint64_t {defaults}[] = {{{', '.join(args) if args else '0'}}};")
        kinds = _range_kinds(table)
        rendered = ", ".join(map(str, kinds)) if kinds else "0"
        lines.append(f"static const uint8_t ranges_{table.index}[] = {{{rendered}}};")
        tables.append(
            f"{{MATCH_{table.match_kind.name}, {layout.words}, {param_words}, {table.max_size}u, "
            f"{int(table.meter is not None)}, {number}, {len(args)}, {defaults}, ranges_{table.index}, {len(kinds)}"
            f"{', 1' if table.idle_timeout else ''}}}"
        )
    none = "{MATCH_EXACT, 1, 0, 0, 0, P4_NO_ACTION, 0, 0, 0, 0}"
    lines.append(f"static const struct table_description table_descriptions[] = {{{', '.join(tables) or none}}};")
    sizes = [str(c.size) + "ull" for c in program.counters]
    lines.append(f"static const uint64_t counter_sizes[] = {{{', '.join(sizes) or '0'}}};")
    meters = [f"{{{m.size}ull, {int(m.by_bytes)}}}" for m in program.meters]
    lines.append(f"static const struct meter_description meter_descriptions[] = {{{', '.join(meters) or '{0, 0}'}}};")
    registers = [f"{{{r.size}ull, sizeof({register_type(r.width)})}}" for r in program.registers]
    lines.append(
        f"static const struct register_description register_descriptions[] = {{{', '.join(registers) or '{0, 1}'}}};"
    )
    counts = {
        "tables": program.tables,
        "counters": program.counters,
        "meters": program.meters,
        "registers": program.registers,
        "profiles": program.profiles,
    }
    lines += [f"enum {{ n_{name} = {len(items)} }};" for name, items in counts.items()]
    return "\n".join(lines) + "\n"


def _range_kinds(table: ir.Table) -> list[int]:
    """For a range table: words of each key field, with 128 added where low and high bound the field."""
    if table.match_kind is not ir.MatchKind.RANGE:
        return []
    return [(1 if part.width <= 64 else 2) + (128 if part.kind is ir.MatchKind.RANGE else 0) for part in table.key]
