# SPDX-License-Identifier: Apache-2.0
"""Which metadata fields have to live in the packet's structure.

p4c keeps every local variable of the program in one metadata header. Most are written and read within one action: they
become local variables of its C function. What nobody reads needs no place at all. What remains is zeroed for each
packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir

# The traffic manager reads these itself.
_READ_BY_TRAFFIC_MANAGER = (
    "standard_metadata.ingress_port", "standard_metadata.egress_spec", "intrinsic_metadata.mcast_grp",
    "intrinsic_metadata.priority",
)  # fmt: skip


@dataclass
class _Access:
    """Places where a field is read and written: an action's id, or None for anything that is no action."""

    reads: set[int | None] = field(default_factory=set)
    writes: set[int | None] = field(default_factory=set)


def reads_of(node: x.Expr | None) -> Iterator[x.FieldRef]:
    if node is None:
        return
    for part in x.walk(node):
        if isinstance(part, x.FieldRef):
            yield part
        elif isinstance(part, x.HeaderEq):
            for header in (part.left, part.right):
                yield from (x.FieldRef(header, f) for f in header.type.fields)


def expressions_of(node: ir.ParserOp) -> Iterator[x.Expr]:
    """What a primitive or parser operation evaluates."""
    if isinstance(node, ir.Assign):
        yield node.value
    elif isinstance(node, ir.Jump):
        if node.unless is not None:
            yield node.unless
    elif isinstance(node, ir.Count | ir.ExecuteMeter | ir.RegisterRead):
        yield node.index
    elif isinstance(node, ir.RegisterWrite):
        yield from (node.index, node.value)
    elif isinstance(node, ir.Hash):
        yield from (node.base, node.size)
    elif isinstance(node, ir.Random):
        yield from (node.low, node.high)
    elif isinstance(node, ir.Truncate):
        yield node.length
    elif isinstance(node, ir.Clone):
        yield from (node.session, node.field_list)
    elif isinstance(node, ir.Resubmit):
        yield node.field_list
    elif isinstance(node, ir.Digest):
        yield node.learn_list
    elif isinstance(node, ir.Assert):
        yield node.value
    elif isinstance(node, ir.LogMsg):
        yield from node.args
    elif isinstance(node, ir.Advance):
        yield node.bits
    elif isinstance(node, ir.Verify):
        yield from (node.condition, node.error)
    elif isinstance(node, ir.SetValidity) and isinstance(node.header, x.StackElem):
        yield node.header.index
    elif isinstance(node, ir.AssignHeader):
        for header in (node.target, node.source):
            if isinstance(header, x.StackElem):
                yield header.index
    target = getattr(node, "target", None)
    if isinstance(target, x.ElemField):
        yield target.elem.index


def target_of(node: ir.ParserOp) -> x.FieldRef | None:
    target = getattr(node, "target", None)
    return target if isinstance(target, x.FieldRef) else None


def whole_headers_of(node: ir.ParserOp) -> Iterator[x.Header]:
    """Metadata that is copied whole."""
    if isinstance(node, ir.AssignHeader):
        for header in (node.target, node.source):
            if isinstance(header, x.Header) and header.metadata:
                yield header
    elif isinstance(node, ir.Extract) and isinstance(node.target, x.Header) and node.target.metadata:
        yield node.target


class Liveness:
    """`kept`: fields with a place in the structure. Those that one action alone uses, and assigns before it reads them,
    are its local variables."""

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self._access: dict[x.FieldRef, _Access] = {}
        self._collect()
        self.kept: set[x.FieldRef] = set()
        for ref, access in self._access.items():
            places = access.reads | access.writes
            if not access.reads:
                continue  # written, never read
            if len(places) == 1 and None not in places:
                (action,) = places
                assert action is not None
                if _assigned_before_read(program.actions[action], ref):
                    continue
            self.kept.add(ref)

    def is_kept(self, ref: x.FieldRef) -> bool:
        return ref in self.kept

    def _at(self, ref: x.FieldRef) -> _Access:
        return self._access.setdefault(ref, _Access())

    def _read(self, nodes: Iterable[x.Expr | None], place: int | None) -> None:
        for node in nodes:
            for ref in reads_of(node):
                if ref.header.metadata:
                    self._at(ref).reads.add(place)

    def _operation(self, node: ir.ParserOp, place: int | None) -> None:
        self._read(expressions_of(node), place)
        target = target_of(node)
        if target is not None and target.header.metadata:
            self._at(target).writes.add(place)
        for header in whole_headers_of(node):
            for part in header.type.fields:
                access = self._at(x.FieldRef(header, part))
                access.reads.add(None)
                access.writes.add(None)
        if isinstance(node, ir.Hash):
            self._calculation(node.calculation)

    def _calculation(self, calculation: ir.Calculation) -> None:
        for entry in calculation.inputs:
            if entry.field is not None:
                self._read([entry.field], None)
            elif entry.header is not None and entry.header.metadata:
                self._read([x.FieldRef(entry.header, f) for f in entry.header.type.fields], None)

    def _collect(self) -> None:
        program = self.program
        for name in _READ_BY_TRAFFIC_MANAGER:
            self._read([program.intrinsic(name)], None)
        for state in program.parser.states.values():
            for op in state.ops:
                self._operation(op, None)
            self._read(state.key, None)
        for op in program.deparser_ops:
            self._operation(op, None)
        for action in program.actions.values():
            for primitive in action.primitives:
                self._operation(primitive, action.id)
                if isinstance(primitive, ir.MarkToDrop):
                    self._read([program.intrinsic("intrinsic_metadata.mcast_grp")], None)
        for pipeline in (program.ingress, program.egress):
            for node in pipeline.nodes.values():
                if isinstance(node, ir.Conditional):
                    self._read([node.expression], None)
                elif isinstance(node, ir.Table):
                    self._read([part.source for part in node.key], None)
                    if node.profile is not None and node.profile.selector is not None:
                        self._calculation(node.profile.selector)
                    if node.meter is not None:
                        self._at(node.meter.target).writes.add(None)
        for checksum in program.checksums:
            self._read([checksum.condition, checksum.target], None)
            self._at(checksum.target).writes.add(None)
            self._calculation(checksum.calculation)
        for fields in program.field_lists.values():
            for ref in fields:
                self._at(ref).writes.add(None)
        for learn in program.learn_lists.values():
            self._read(learn.fields, None)


def _assigned_before_read(action: ir.Action, ref: x.FieldRef) -> bool:
    """Whether every path through the action writes the field, unconditionally, before it reads it."""
    count = len(action.primitives)
    # For each primitive: whether it can be reached with the field not assigned yet.
    todo, seen = [0], {0}
    while todo:
        at = todo.pop()
        if at >= count:
            continue
        node = action.primitives[at]
        if any(read == ref for part in expressions_of(node) for read in reads_of(part)):
            return False
        if target_of(node) == ref:
            # Reads of registers and meters write only if the index is in range.
            if isinstance(node, ir.Assign | ir.Hash):
                continue
            return False
        following = [at + 1]
        if isinstance(node, ir.Jump):
            following = [node.target] if node.unless is None else [at + 1, node.target]
        for step in following:
            if step not in seen:
                seen.add(step)
                todo.append(step)
    return True
