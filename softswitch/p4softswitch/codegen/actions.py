# SPDX-License-Identifier: Apache-2.0
"""Actions → C functions."""

from __future__ import annotations

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.layout import Layout, c_bits, metadata_member, words
from p4softswitch.codegen.loops import Loop, find_loops
from p4softswitch.codegen.values import CValue, Values, convert, number
from p4softswitch.codegen.writer import CachedEnvironment, DirectEnvironment, Writer
from p4softswitch.engine_api import UnsupportedProgram

_FLUSH = "/*flush*/"


def register_type(width: int) -> str:
    """C type of a register's cells."""
    for bits in (8, 16, 32, 64):
        if width <= bits:
            return f"uint{bits}_t"
    return "u128"


class _ActionValues(Values):
    """Knows where the parameters of the action are."""

    def __init__(
        self, layout: Layout, environment: CachedEnvironment | DirectEnvironment, params: tuple[ir.Param, ...]
    ) -> None:
        super().__init__(layout, environment)
        self.places: list[int] = []
        word = 0
        for param in params:
            self.places.append(word)
            word += words(param.width)

    def _local(self, node: x.Local) -> CValue:
        word = self.places[node.index]
        if node.width <= 64:
            return convert(CValue(f"a[{word}]", 64, node.width), c_bits(node.width))
        return CValue(f"U128(a[{word + 1}], a[{word}])", 128, node.width)


class Primitives(Writer):
    """Emits primitives. Also used, without caching of metadata, for those that stand in parser and deparser."""

    def __init__(
        self,
        layout: Layout,
        environment: CachedEnvironment | DirectEnvironment,
        params: tuple[ir.Param, ...] = (),
        messages: list[str] | None = None,
    ) -> None:
        super().__init__(layout, environment)
        self.values = _ActionValues(layout, environment, params)
        self.messages = messages if messages is not None else []

    def primitive(self, node: ir.Primitive, where: str) -> None:
        if isinstance(node, ir.Assign):
            self.assign(node.target, node.value)
        elif isinstance(node, ir.AssignHeader):
            self.assign_header(node.target, node.source, where)
        elif isinstance(node, ir.AssignStack):
            self._assign_stack(node, where)
        elif isinstance(node, ir.SetValidity):
            self.set_validity(node.header, node.valid, where)
        elif isinstance(node, ir.PushPop):
            self._push_pop(node)
        elif isinstance(node, ir.Count):
            index = self.values.temporary(self.values._index(node.index)).text
            self.emit(f"counter_count(S, P, {node.counter.index}, {node.counter.size}ull, {index});")
        elif isinstance(node, ir.ExecuteMeter):
            self._meter(node)
        elif isinstance(node, ir.RegisterRead):
            self._register_read(node)
        elif isinstance(node, ir.RegisterWrite):
            self._register_write(node)
        elif isinstance(node, ir.Hash):
            self._hash(node)
        elif isinstance(node, ir.Random):
            self._random(node)
        elif isinstance(node, ir.LogMsg):
            self._log(node)
        elif isinstance(node, ir.Assert):
            test = self.values.boolean(x.ToBool(node.value))
            self.emit(f"if (unlikely(!{test})) {{ assertion_failed(S, P); goto end; }}")
        elif isinstance(node, ir.NoOp):
            pass
        else:
            self._special(node, where)

    def _special(self, node: ir.Primitive, where: str) -> None:
        """Requests to the traffic manager."""
        values = self.values
        if isinstance(node, ir.MarkToDrop):
            self._mark_to_drop(node, where)
        elif isinstance(node, ir.Truncate):
            length = values.temporary(values._index(node.length)).text
            self.emit(f"if ({length} < P->truncated) P->truncated = {length};")
        elif isinstance(node, ir.Clone):
            session = values.low(node.session, 16).text
            field_list = values.low(node.field_list, 16).text
            self.emit(
                f"P->clone_session = (uint16_t)(({session}) | 0x8000u);", f"P->clone_list = (uint16_t)({field_list});"
            )
        elif isinstance(node, ir.Resubmit):
            member = "recirculate" if node.recirculate else "resubmit"
            self.emit(f"P->{member} = (uint16_t)({values.low(node.field_list, 16).text});")
        elif isinstance(node, ir.Digest):
            self.emit(f"P->learn = (uint16_t)({values.low(node.learn_list, 16).text});")
        elif isinstance(node, ir.Exit):
            self.emit("P->exit = 1;")
        else:
            raise UnsupportedProgram(f"{where}: {type(node).__name__} is not implemented here")

    def _mark_to_drop(self, node: ir.MarkToDrop, where: str) -> None:
        egress_spec = self.layout.program.intrinsic("standard_metadata.egress_spec")
        if egress_spec is None:
            raise UnsupportedProgram(f"{where}: there is no standard_metadata.egress_spec")
        self.store(egress_spec, CValue("S->drop_port", 32, 32))
        group = egress_spec.header.type.field("mcast_grp")
        found = x.FieldRef(egress_spec.header, group) if group is not None else None
        if node.by_alias:
            found = self.layout.program.intrinsic("intrinsic_metadata.mcast_grp")
        if found is not None:
            self.store(found, CValue("0u", 32, 0))

    def _assign_stack(self, node: ir.AssignStack, where: str) -> None:
        for target, source in zip(node.target.headers, node.source.headers, strict=True):
            self.assign_header(target, source, where)
        self.emit(f"P->phv.next[{node.target.index}] = P->phv.next[{node.source.index}];")

    def _push_pop(self, node: ir.PushPop) -> None:
        stack = node.stack
        first = self.layout.valid_bit[stack.headers[0]]
        name = "stack_push" if node.push else "stack_pop"
        base, size = self.layout.stack_base(stack), stack.type.bits // 8
        self.emit(f"{name}(P, {stack.index}, {first}, {len(stack.headers)}u, {base}, {size}, {node.count}u);")

    def _meter(self, node: ir.ExecuteMeter) -> None:
        index = self.values.temporary(self.values._index(node.index)).text
        self.emit("{ uint32_t color;")
        meter = node.meter
        self.emit(
            f"if (meter_execute_at(S, P, {meter.index}, {meter.size}ull, {index}, {int(meter.by_bytes)}, &color)) {{"
        )
        self.store(node.target, CValue("color", 32, 2))
        self.emit("} }")

    def _register_read(self, node: ir.RegisterRead) -> None:
        array = node.array
        index = self.values.temporary(self.values._index(node.index)).text
        cell = f"(({register_type(array.width)} *)S->registers[{array.index}].cells)[{index}]"
        bits = c_bits(array.width)
        self.emit(f"if (likely({index} < {array.size}ull)) {{")
        self.store(node.target, convert(CValue(cell, bits, array.width), c_bits(node.target.field.width)))
        self.emit("} else S->lane.stats.register_index++;")

    def _register_write(self, node: ir.RegisterWrite) -> None:
        array = node.array
        index = self.values.temporary(self.values._index(node.index)).text
        value = self.values.clean(node.value, array.width).text
        kind = register_type(array.width)
        self.emit(
            f"if (likely({index} < {array.size}ull)) (({kind} *)S->registers[{array.index}].cells)[{index}] "
            f"= ({kind})({value});",
            "else S->lane.stats.register_index++;",
        )

    def _hash(self, node: ir.Hash) -> None:
        base = self.values.temporary(self.values.low(node.base, 64)).text
        size = self.values.temporary(self.values.low(node.size, 64)).text
        self.emit(_FLUSH)
        self.emit(f"{{ uint64_t h = calculation_{node.calculation.index}(S, P) % ({size} ? {size} : 1) + {base};")
        self.store(node.target, convert(CValue("h", 64, 64), c_bits(node.target.field.width)))
        self.emit("}")

    def _random(self, node: ir.Random) -> None:
        low = self.values.temporary(self.values.low(node.low, 64)).text
        high = self.values.temporary(self.values.low(node.high, 64)).text
        self.emit(f"if ({low} <= {high}) {{ uint64_t r = random_between(S, {low}, {high});")
        self.store(node.target, convert(CValue("r", 64, 64), c_bits(node.target.field.width)))
        self.emit("}")

    def _log(self, node: ir.LogMsg) -> None:
        if node.format not in self.messages:
            self.messages.append(node.format)
        number_ = self.messages.index(node.format)
        args = []
        for arg in node.args:
            if arg.bits > 127:
                args.append(f"(i128)({self.values.low(arg, 128).text})")
            else:
                args.append(self.values.signed(arg, 128))
        array = ", ".join(args) if args else "0"
        self.emit(f"if (unlikely(S->log_enabled)) log_message(S, {number_}, (i128[]){{{array}}}, {len(args)});")


def action_function(action: ir.Action, layout: Layout, messages: list[str]) -> str:
    """The action as a C function `action_<id>(S, P, a)`; a holds its parameters in 64-bit words."""
    environment = CachedEnvironment(layout.liveness)
    writer = Primitives(layout, environment, action.params, messages)
    _body(writer, action)
    body = []
    for line in writer.lines:
        body.extend(environment.flush() if line == _FLUSH else [line])
    # A loop wants the registers for itself, not what a pipeline around it leaves over.
    loops = any(isinstance(p, ir.Jump) and p.target <= at for at, p in enumerate(action.primitives))
    uses_end = any("goto end;" in line for line in body)
    return "\n".join(
        [
            f"/* {_comment(action.name)} */",
            f"static {'NOINLINE ' if loops else ''}void",
            f"action_{action.id}(struct sw *S, struct pkt *P, const uint64_t *a) {{",
            "uint8_t *const H = P->phv.h; (void)H; (void)S; (void)a;",
            *environment.prologue(),
            *body,
            *(["end:;"] if uses_end else []),
            *environment.flush(),
            "}",
            "",
        ]
    )


def _body(writer: Primitives, action: ir.Action) -> None:
    loops: dict[int, tuple[Loop, str]] = {}
    for head, loop in find_loops(action).items():
        test = writer.values.boolean(loop.test)
        if not writer.values.take_before():  # otherwise the test needs statements of its own in every turn
            loops[head] = (loop, test)
    steps = {loop.step for loop, _ in loops.values()}
    backs = {loop.back for loop, _ in loops.values()}
    targets = {
        p.target
        for at, p in enumerate(action.primitives)
        if isinstance(p, ir.Jump) and at not in loops and at not in backs
    }
    for at, node in enumerate(action.primitives):
        if at in targets or not isinstance(node, ir.Assign):
            writer.values.forget_elements()
        if at in targets:
            writer.lines.append(f"L{at}:;")
        if at in loops:
            writer.lines.extend(_loop_head(writer, *loops[at]))
        elif at in steps:
            writer.end()  # the step itself stands in the head
        elif isinstance(node, ir.Jump):
            if at not in backs:
                _jump(writer, node, len(action.primitives))
        elif isinstance(node, ir.Assign):
            writer.primitive(node, f"action {action.name}, primitive {at}")
            writer.values.forget_elements(node.target)
        else:
            writer.begin()
            writer.primitive(node, f"action {action.name}, primitive {at}")
            writer.end()


def _loop_head(writer: Primitives, loop: Loop, test: str) -> list[str]:
    counter = writer.environment.metadata(loop.counter)
    if isinstance(writer.environment, CachedEnvironment):
        writer.environment.written.add(metadata_member(loop.counter))
    unroll = [f"#pragma GCC unroll {loop.turns}"] if loop.turns is not None else []
    return [*unroll, f"for (; {test}; {counter}++) {{"]


def _jump(writer: Primitives, node: ir.Jump, count: int) -> None:
    label = f"L{node.target}" if node.target < count else "end"
    if node.unless is None:
        writer.lines.append(f"goto {label};")
        return
    writer.begin()
    # BMv2 converts the condition to a C int; p4c only ever passes 0 or 1.
    test = writer.values.boolean(x.ToBool(node.unless))
    writer.emit(f"if (!{test}) goto {label};")
    writer.end()


def _comment(text: str) -> str:
    return text.replace("*/", "* /")


def constant_words(params: tuple[ir.Param, ...], args: tuple[int, ...]) -> list[str]:
    """Parameters of a constant entry, as C words."""
    result = []
    for param, value in zip(params, args, strict=True):
        result.append(number(value & (2**64 - 1), 64))
        if words(param.width) == 2:
            result.append(number(value >> 64, 64))
    return result
