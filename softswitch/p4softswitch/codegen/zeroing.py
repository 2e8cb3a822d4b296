# SPDX-License-Identifier: Apache-2.0
"""Which metadata has to be zero when a packet comes in: what some path through the program may read before it is
written.

BMv2 zeroes all of it. The compiler's temporaries are most of it, and they are written first. A field that this analysis
leaves out is never read before it is written, so nobody can tell the difference; with P4_POISON the runtime fills those
with garbage instead, and the tests see that nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.liveness import expressions_of, reads_of, target_of, whole_headers_of

# The traffic manager writes and reads these between the parts that are looked at here.
_ARCHITECTURE = ("standard_metadata", "intrinsic_metadata", "queueing_metadata")


class _Op:
    """A primitive or parser operation: what it reads, what it certainly writes."""

    def __init__(self, node: ir.ParserOp) -> None:
        self.reads = {r for part in expressions_of(node) for r in reads_of(part)}
        for header in whole_headers_of(node):
            self.reads.update(x.FieldRef(header, f) for f in header.type.fields)
        if isinstance(node, ir.Hash):
            self.reads.update(_calculation_reads(node.calculation))
        target = target_of(node)
        # Registers and meters leave the target alone if the index is out of range.
        self.writes = target if isinstance(node, ir.Assign | ir.Hash) else None
        if self.writes is None and target is not None:
            self.reads.add(target)


def _calculation_reads(calculation: ir.Calculation) -> Iterable[x.FieldRef]:
    for entry in calculation.inputs:
        if entry.field is not None:
            yield entry.field
        elif entry.header is not None:
            yield from (x.FieldRef(entry.header, f) for f in entry.header.type.fields)


class _Nodes:
    """A pipeline, and what each of its nodes reads by itself: looked up once for a program and not once for a field."""

    def __init__(self, pipeline: ir.Pipeline) -> None:
        self.pipeline = pipeline
        self.reads: dict[str, set[x.FieldRef]] = {}
        for name, node in pipeline.nodes.items():
            parts: list[x.Expr] = []
            if isinstance(node, ir.Conditional):
                parts = [node.expression]
            elif isinstance(node, ir.Table):
                parts = [part.source for part in node.key]
            self.reads[name] = {read for part in parts for read in reads_of(part)}
            if isinstance(node, ir.Table) and node.profile is not None and node.profile.selector is not None:
                self.reads[name].update(_calculation_reads(node.profile.selector))


class Zeroing:
    """`needed(fields)`: those of them that have to be zeroed."""

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self._actions = {a.id: [_Op(p) for p in a.primitives] for a in program.actions.values()}
        self._touched = {
            a: {r for op in ops for r in op.reads} | {op.writes for op in ops if op.writes is not None}
            for a, ops in self._actions.items()
        }
        self._ingress, self._egress = _Nodes(program.ingress), _Nodes(program.egress)
        self._states = {n: [_Op(o) for o in s.ops] for n, s in program.parser.states.items()}
        self._always = {r for fields in program.field_lists.values() for r in fields}
        self._always |= {r for learn in program.learn_lists.values() for r in learn.fields}
        for alias, ref in program.aliases.items():
            if alias.partition(".")[0] in _ARCHITECTURE:
                self._always.add(ref)
        self._after_parser = set().union(*(self._checksum_reads(c) for c in program.checksums), set())
        self._deparser = {r for op in program.deparser_ops for r in _Op(op).reads}

    @staticmethod
    def _checksum_reads(checksum: ir.Checksum) -> set[x.FieldRef]:
        found = set(reads_of(checksum.condition)) | set(_calculation_reads(checksum.calculation))
        return found | {checksum.target}

    def needed(self, fields: Iterable[x.FieldRef]) -> set[x.FieldRef]:
        return {f for f in fields if self._needed(f)}

    def _needed(self, ref: x.FieldRef) -> bool:
        if ref in self._always or ref.header.name in _ARCHITECTURE:
            return True
        try:
            if self._parser(ref):
                if ref in self._after_parser:
                    return True
                if self._pipeline(self._ingress, ref) and self._pipeline(self._egress, ref):
                    return ref in self._deparser
        except _Read:
            return True
        # A clone or a packet that goes round begins with everything zero.
        return False

    def _parser(self, ref: x.FieldRef) -> bool:
        """Whether the parser can end with the field unwritten. Raises _Read if it may be read so."""
        init = self.program.parser.init_state
        if init not in self._states:
            return True
        open_end = False
        todo, seen = [init], {init}
        while todo:
            state = self.program.parser.states[todo.pop()]
            written = False
            for node, op in zip(state.ops, self._states[state.name], strict=True):
                if ref in op.reads:
                    raise _Read
                if isinstance(node, ir.Extract | ir.Verify | ir.Advance) or isinstance(
                    getattr(node, "value", None), x.Lookahead
                ):
                    open_end = True  # an error leads out of here
                if op.writes == ref:
                    written = True
                    break
            if written:
                continue
            if ref in state.key:
                raise _Read
            if not any(t.value is None for t in state.transitions):
                open_end = True
            for transition in state.transitions:
                if transition.next_state is None:
                    open_end = True
                elif transition.next_state not in seen:
                    seen.add(transition.next_state)
                    todo.append(transition.next_state)
            open_end = open_end or any(isinstance(k, x.Lookahead) for k in state.key)
        return open_end

    def _pipeline(self, nodes: _Nodes, ref: x.FieldRef) -> bool:
        """Whether the pipeline can end with the field unwritten. Raises _Read if it may be read so."""
        pipeline = nodes.pipeline
        if pipeline.init is None:
            return True
        open_end = False
        todo: list[str] = [pipeline.init]
        seen = {pipeline.init}
        while todo:
            name = todo.pop()
            if ref in nodes.reads[name]:
                raise _Read
            node = pipeline.nodes[name]
            following: list[str | None] = []
            if isinstance(node, ir.Conditional):
                following = [node.true_next, node.false_next]
            elif isinstance(node, ir.ActionCallNode):
                leaves, exits = self._action(node.action, ref)
                open_end = open_end or exits
                following = [node.next_node] if leaves else []
            else:
                if node.default is None:
                    following.append(node.base_default_next)
                for action in node.actions:
                    leaves, exits = self._action(action, ref)
                    open_end = open_end or exits
                    if leaves:
                        following += node.next_hit_miss or [node.next_by_action.get(action, node.base_default_next)]
            for step in following:
                if step is None:
                    open_end = True
                elif step not in seen:
                    seen.add(step)
                    todo.append(step)
        return open_end

    def _action(self, action: int, ref: x.FieldRef) -> tuple[bool, bool]:
        """(whether it can return, whether it can leave the pipeline) with the field unwritten."""
        primitives, ops = self.program.actions[action].primitives, self._actions[action]
        exits_at_all = self.program.actions[action].exits
        if ref not in self._touched[action]:
            return True, exits_at_all
        leaves = exits = False
        todo, seen = [0], {0}
        while todo:
            at = todo.pop()
            if at >= len(ops):
                leaves = True
                continue
            node, op = primitives[at], ops[at]
            if ref in op.reads:
                raise _Read
            if isinstance(node, ir.Exit | ir.Assert):
                exits = True
            if op.writes == ref:
                continue
            following = [at + 1]
            if isinstance(node, ir.Jump):
                following = [node.target] if node.unless is None else [at + 1, node.target]
            for step in following:
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
        return leaves, exits or (exits_at_all and leaves)


class _Read(Exception):
    """The field may be read before it is written."""
