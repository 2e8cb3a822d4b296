# SPDX-License-Identifier: Apache-2.0
"""Parser states → labels of one C function."""

from __future__ import annotations

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.actions import Primitives
from p4softswitch.codegen.layout import Layout
from p4softswitch.codegen.stackloop import StackLoop, stack_loop
from p4softswitch.codegen.values import CValue, number
from p4softswitch.codegen.writer import DirectEnvironment

# A state machine that goes round without end would hang BMv2; here it ends with ParserTimeout.
_MAX_STEPS = 1 << 16


class _ParserWriter:
    def __init__(self, program: ir.Program, layout: Layout, messages: list[str]) -> None:
        self.program = program
        self.layout = layout
        self.label = {name: f"state_{i}" for i, name in enumerate(program.parser.states)}
        self.out = Primitives(layout, DirectEnvironment(), (), messages)
        self.cyclic = _cyclic_states(program.parser)

    def _fail(self, error: str) -> str:
        return f"{{ error = {self.program.errors[error]}u; goto end; }}"

    def text(self) -> str:
        lines = self.out.lines
        for name, state in self.program.parser.states.items():
            lines.append(f"{self.label[name]}: /* {name} */ {{")
            if name in self.cyclic:
                lines.append(f"if (unlikely(++steps > {_MAX_STEPS})) {self._fail('ParserTimeout')}")
            loop = stack_loop(state)
            if loop is not None:
                self._all_turns(loop)
            for number_, op in enumerate(state.ops):
                self.out.begin()
                self._op(op, f"parser state {name}, operation {number_}")
                self.out.end()
            self._transitions(state)
            lines.append("}")
        init = self.program.parser.init_state
        first = f"goto {self.label[init]};" if init in self.label else "goto end;"
        return (
            "static uint32_t parse(struct sw *S, struct pkt *P, const uint8_t *d, uint32_t len) {\n"
            "uint8_t *const H = P->phv.h; uint32_t pos = 0, steps = 0; (void)H; (void)S; (void)steps; (void)d;\n"
            f"uint32_t error = {self.program.errors['NoError']}u;\n{first}\n"
            + "\n".join(lines)
            + "\nend:\nP->payload = d + pos; P->payload_len = len - pos;\nreturn error;\n}\n"
        )

    def _op(self, op: ir.ParserOp, where: str) -> None:
        out = self.out
        if isinstance(op, ir.Extract):
            self._extract(op)
        elif isinstance(op, ir.Verify):
            condition = out.values.boolean(op.condition)
            error = out.values.low(op.error, 32).text
            out.emit(f"if (unlikely(!{condition})) {{ error = {error}; goto end; }}")
        elif isinstance(op, ir.Advance):
            self._advance(op)
        else:
            if isinstance(op, ir.Assign) and isinstance(op.value, x.Lookahead):
                self._need(op.value)
            out.primitive(op, where)

    def _need(self, lookahead: x.Lookahead) -> None:
        covered = (lookahead.offset + lookahead.width + 7) // 8
        self.out.emit(f"if (unlikely(len - pos < {covered}u)) {self._fail('PacketTooShort')}")

    def _extract(self, op: ir.Extract) -> None:
        out, layout = self.out, self.layout
        size = op.target.type.bits // 8
        if isinstance(op.target, x.Header):
            if op.target.metadata:
                self._extract_metadata(op.target, size)
                return
            out.emit(
                f"if (unlikely(len - pos < {size}u)) {self._fail('PacketTooShort')}",
                f"memcpy(H + {layout.offset[op.target]}, d + pos, {size});",
                f"valid_set(&P->phv, {layout.valid_bit[op.target]}); pos += {size};",
            )
            return
        stack = op.target
        first = layout.valid_bit[stack.headers[0]]
        out.emit(
            f"uint32_t n = P->phv.next[{stack.index}];",
            f"if (unlikely(n >= {len(stack.headers)}u)) {self._fail('StackOutOfBounds')}",
            f"if (unlikely(len - pos < {size}u)) {self._fail('PacketTooShort')}",
            f"memcpy(H + {layout.stack_base(stack)} + n * {size}, d + pos, {size});",
            f"valid_set(&P->phv, {first} + n); P->phv.next[{stack.index}] = n + 1; pos += {size};",
        )

    def _all_turns(self, loop: StackLoop) -> None:
        """All turns at once. Where they do not fit, the state goes round as written and ends as it must."""
        out, stack = self.out, loop.stack
        size = stack.type.bits // 8
        first, base = self.layout.valid_bit[stack.headers[0]], self.layout.stack_base(stack)
        left, tested = (out.environment.metadata(ref) for ref in (loop.left, loop.tested))
        out.lines += [
            "{",
            f"const uint32_t next = P->phv.next[{stack.index}];",
            f"const uint64_t turns = (uint64_t)({left} >> {loop.shift});",
            f"if (likely(turns && turns <= {len(stack.headers)}u - next && turns * {size} <= len - pos)) {{",
            f"memcpy(H + {base} + next * {size}, d + pos, turns * {size});",
            f"valid_set_run(&P->phv, {first} + next, (uint32_t)turns);",
            f"P->phv.next[{stack.index}] = next + (uint32_t)turns; pos += (uint32_t)turns * {size};",
            f"{left} &= {(1 << loop.shift) - 1:#x}u; {tested} = 0; {self._goto(loop.leave)}",
            "} }",
        ]

    def _extract_metadata(self, header: x.Header, size: int) -> None:
        out = self.out
        out.emit(f"if (unlikely(len - pos < {size}u)) {self._fail('PacketTooShort')}")
        for field in header.type.fields:
            out.store(x.FieldRef(header, field), out.values.bytes_of_packet(field.bit_offset, field.width))
        out.emit(f"pos += {size};")

    def _advance(self, op: ir.Advance) -> None:
        out = self.out
        amount = out.values.temporary(out.values._index(op.bits)).text
        out.emit(
            f"if (unlikely({amount} % 8)) {self._fail('ParserInvalidArgument')}",
            f"if (unlikely(len - pos < {amount} / 8)) {self._fail('PacketTooShort')}",
            f"pos += (uint32_t)({amount} / 8);",
        )

    # Transitions -----------------------------------------------------------------------------------------------------

    def _goto(self, state: str | None) -> str:
        return f"goto {self.label[state]};" if state is not None else "goto end;"

    def _transitions(self, state: ir.ParseState) -> None:
        out = self.out
        default = next((t for t in reversed(state.transitions) if t.value is None), None)
        fallback = self._goto(default.next_state if default is not None else None)
        cases = [t for t in state.transitions if t.value is not None]
        if not state.key or not cases:
            out.emit(fallback)
            return
        parts: list[tuple[CValue, int]] = []
        for part in state.key:
            # BMv2 reads behind the end of the packet here; P4 says PacketTooShort.
            if isinstance(part, x.Lookahead):
                self._need(part)
            width = part.width if isinstance(part, x.Lookahead) else part.field.width
            parts.append((out.values.temporary(out.values.clean(part, width)), width))
        out.emit()
        if len(parts) == 1 and parts[0][1] <= 64 and all(t.mask is None for t in cases) and len(cases) > 2:
            self._switch(parts[0], cases, fallback)
            return
        for case in cases:
            out.emit(f"if ({self._matches(case, parts)}) {self._goto(case.next_state)}")
        out.emit(fallback)

    def _switch(self, part: tuple[CValue, int], cases: list[ir.Transition], fallback: str) -> None:
        seen: set[int] = set()
        self.out.emit(f"switch ({part[0].text}) {{")
        for case in cases:
            assert case.value is not None
            if case.value not in seen and case.value < 1 << part[0].bits:
                seen.add(case.value)
                self.out.emit(f"case {number(case.value, part[0].bits)}: {self._goto(case.next_state)}")
        self.out.emit(f"default: {fallback}", "}")

    def _matches(self, case: ir.Transition, parts: list[tuple[CValue, int]]) -> str:
        """The value runs over all parts, each padded to whole bytes; the first part is the most significant."""
        tests = []
        low = sum(8 * ((w + 7) // 8) for _, w in parts)
        for value, width in parts:
            padded = 8 * ((width + 7) // 8)
            low -= padded
            ones = (1 << padded) - 1
            assert case.value is not None
            mask = ones if case.mask is None else (case.mask >> low) & ones
            wanted = (case.value >> low) & ones & mask
            if mask == 0:
                continue
            if wanted >> value.bits:
                return "0"
            mask &= (1 << width) - 1
            text = value.text
            if mask != (1 << width) - 1:
                text = f"({text} & {number(mask, value.bits)})"
            tests.append(f"{text} == {number(wanted, value.bits)}")
        return " && ".join(tests) if tests else "1"


def _cyclic_states(parser: ir.Parser) -> set[str]:
    """States that can be reached from themselves."""
    following = {n: {t.next_state for t in s.transitions if t.next_state} for n, s in parser.states.items()}
    result = set()
    for start in following:
        seen: set[str] = set()
        todo = list(following[start])
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo.extend(following[state])
        if start in seen:
            result.add(start)
    return result


def parser_function(program: ir.Program, layout: Layout, messages: list[str]) -> str:
    """`parse(S, P, d, len)`: fills headers, sets the payload, returns the error code."""
    return _ParserWriter(program, layout, messages).text()


def deparser_function(program: ir.Program, layout: Layout, messages: list[str]) -> str:
    """`deparse(S, P, out)`: writes headers and payload, returns the length before truncation."""
    ops = Primitives(layout, DirectEnvironment(), (), messages)
    for node in program.deparser_ops:
        ops.begin()
        ops.primitive(node, "deparser")
        ops.end()
    lines: list[str] = []
    order = [h for h in program.deparser if not h.metadata]
    at = 0
    while at < len(order):
        run = _stack_run(order, at, layout)
        header = order[at]
        size = header.type.bits // 8
        if run > 1:
            first = layout.valid_bit[header]
            lines.append(f"n += emit_run(P, out + n, {first}, {run}, {layout.offset[header]}, {size});")
            at += run
            continue
        lines.append(
            f"if (valid_get(&P->phv, {layout.valid_bit[header]})) "
            f"{{ memcpy(out + n, H + {layout.offset[header]}, {size}); n += {size}; }}"
        )
        at += 1
    total = sum(h.type.bits // 8 for h in order)
    return (
        f"#define P4_MAX_HEADERS {total}u\n"
        "static uint32_t deparse(struct sw *S, struct pkt *P, uint8_t *out) {\n"
        "const uint8_t *const H = P->phv.h; (void)H; (void)S; uint32_t n = 0;\n"
        "update_checksums(S, P);\n"
        + "\n".join(ops.lines)
        + ("\nend:;\n" if any("goto end" in line for line in ops.lines) else "\n")
        + "\n".join(lines)
        + "\nmemcpy(out + n, P->payload, P->payload_len);\nreturn n + P->payload_len;\n}\n"
    )


def _stack_run(order: list[x.Header], at: int, layout: Layout) -> int:
    """How many headers from order[at] on are successive elements of one stack."""
    place = layout.stack_of.get(order[at])
    if place is None:
        return 1
    stack, index = place
    count = 1
    while (
        at + count < len(order)
        and index + count < len(stack.headers)
        and order[at + count] is stack.headers[index + count]
    ):
        count += 1
    return count
