# SPDX-License-Identifier: Apache-2.0
"""Pipelines → C: one function each, a label for every table and conditional."""

from __future__ import annotations

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.layout import Layout, c_bits, key_layout, words
from p4softswitch.codegen.values import CValue, convert, number
from p4softswitch.codegen.writer import DirectEnvironment, Writer

LOOKUP = {
    ir.MatchKind.EXACT: "table_exact",
    ir.MatchKind.LPM: "table_lpm",
    ir.MatchKind.TERNARY: "table_ternary",
    ir.MatchKind.RANGE: "table_range",
}


def action_words(program: ir.Program, action: int) -> int:
    return sum(words(p.width) for p in program.actions[action].params)


def pipeline_function(pipeline: ir.Pipeline, program: ir.Program, layout: Layout) -> str:
    """`pipeline_<name>(S, P)`."""
    writer = Writer(layout, DirectEnvironment())
    label = {name: f"node_{i}" for i, name in enumerate(pipeline.nodes)}

    def goto(name: str | None) -> str:
        return f"goto {label[name]};" if name is not None else "goto end;"

    writer.lines.append(goto(pipeline.init))
    for name, node in pipeline.nodes.items():
        writer.lines.append(f"{label[name]}: /* {name.replace('*/', '* /')} */ {{")
        writer.values.forget_elements()
        if isinstance(node, ir.Conditional):
            test = writer.values.boolean(node.expression)
            writer.emit(f"if ({test}) {goto(node.true_next)}", goto(node.false_next))
        elif isinstance(node, ir.ActionCallNode):
            writer.lines.append(f"action_{node.action}(S, P, 0);")
            writer.lines.append(_leave(program.actions[node.action]) + goto(node.next_node))
        else:
            _table(writer, node, program, goto)
        writer.lines.append("}")
    return (
        f"static void pipeline_{pipeline.name}(struct sw *S, struct pkt *P) {{\n"
        "const uint8_t *const H = P->phv.h; (void)H; (void)S;\n" + "\n".join(writer.lines) + "\nend:;\n}\n"
    )


def _leave(action: ir.Action) -> str:
    return "if (unlikely(P->exit)) goto end; " if action.exits else ""


def _table(writer: Writer, table: ir.Table, program: ir.Program, goto: object) -> None:
    assert callable(goto)
    default = table.default
    following = table.next_by_action
    if not table.key and default is not None and default.const_action and not default.args:
        # A table that p4c made around a call: the action, nothing else.
        action = program.actions[default.action]
        step = table.next_hit_miss[1] if table.next_hit_miss else following.get(action.id, table.base_default_next)
        writer.emit(f"action_{action.id}(S, P, 0);", _leave(action) + goto(step))
        return
    layout = key_layout(table)
    if table.key:
        _key(writer, table)
        extra = f", {layout.words}"
        writer.emit(
            f"struct table *const T = &S->tables[{table.index}];",
            f"struct entry *e = {LOOKUP[table.match_kind]}(T, k{extra});",
            "const int hit = e != 0; (void)hit;",
            "if (likely(hit)) {",
        )
        if table.with_counters:
            writer.emit("e->packets++; e->bytes += P->ingress_length;")
        if table.idle_timeout:
            writer.emit(f"e->data[{2 * layout.words}] = S->lane.now;")
        if table.meter is not None:
            # On a hit and before the action, which reads the colour out of this field.
            length = "P->ingress_length" if table.meter.by_bytes else "1"
            writer.emit(f"uint32_t color = meter_execute(S, e->meter, {length});")
            writer.store(table.meter.target, CValue("color", 32, 2))
        writer.emit("} else e = T->fallback;")
    else:
        writer.emit(
            f"struct table *const T = &S->tables[{table.index}];",
            "struct entry *const e = T->fallback; const int hit = 0; (void)hit;",
        )
    params = f"e->data + {2 * layout.words + table.idle_timeout}"
    if table.profile is not None:
        _members(writer, table, program, params, goto)
    writer.emit("switch (e->action) {")
    for position, action_id in enumerate(table.actions):
        action = program.actions[action_id]
        step = "break;" if table.next_hit_miss else goto(following[action_id])
        writer.emit(f"case {position}: action_{action_id}(S, P, {params}); {_leave(action)}{step}")
    writer.emit("default: " + ("break;" if table.next_hit_miss else goto(table.base_default_next)), "}")
    if table.next_hit_miss:
        writer.emit(f"if (hit) {goto(table.next_hit_miss[0])}", goto(table.next_hit_miss[1]))


def _members(writer: Writer, table: ir.Table, program: ir.Program, params: str, goto: object) -> None:
    """A hit of a table with an action profile: the action is a member's, which its entry or a hash names."""
    assert callable(goto)
    profile = table.profile
    assert profile is not None
    hash_ = "0" if profile.selector is None else f"calculation_{profile.selector.index}(S, P)"
    named = {program.actions[a].name: program.actions[a] for a in table.actions}
    writer.emit(
        "if (likely(hit)) {",
        f"const uint64_t ref = *({params});",
        # BMv2 hashes for groups only, and into 32 bits.
        f"const struct member *const m = profile_member(&S->profiles[{profile.index}], ref, "
        f"member_is_group(ref) ? (uint32_t){hash_} : 0);",
        "if (likely(m != 0)) switch (m->action) {",
    )
    for position, found in enumerate(program.profile_actions(profile)):
        action = named.get(found.name)
        if action is not None:
            step = goto(table.next_hit_miss[0] if table.next_hit_miss else table.next_by_action[action.id])
            writer.emit(f"case {position}: action_{action.id}(S, P, m->params); {_leave(action)}{step}")
    # An empty group: as on a miss without a default action.
    miss = goto(table.next_hit_miss[1] if table.next_hit_miss else table.base_default_next)
    writer.emit("default: break; }", miss, "}")


def _key(writer: Writer, table: ir.Table) -> None:
    layout = key_layout(table)
    parts: list[list[str]] = [[] for _ in range(layout.words)]
    for field, place in zip(table.key, layout.places, strict=True):
        value = writer.values.clean(field.source, field.width)
        if field.mask is not None:
            mask = number(field.mask & ((1 << field.width) - 1), c_bits(field.width))
            value = CValue(f"({value.text} & {mask})", value.bits, value.size)
        text = value.text
        if field.header is not None and isinstance(field.source, x.FieldRef):
            # A field of an invalid header is 0 in a key, whatever its bytes hold.
            text = f"({writer.values.is_valid(field.header)} ? {text} : 0)"
        value = CValue(text, value.bits, value.size)
        if field.width > 64:
            whole = writer.values.temporary(convert(value, 128)).text
            parts[place.word].append(f"(uint64_t){whole}")
            parts[place.word + 1].append(f"(uint64_t)({whole} >> 64)")
        else:
            text = convert(value, 64).text
            parts[place.word].append(f"({text} << {place.shift})" if place.shift else text)
    rendered = ", ".join(" | ".join(p) if p else "0" for p in parts)
    writer.emit(f"const uint64_t k[{layout.words}] = {{{rendered}}};")
