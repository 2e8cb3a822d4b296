# SPDX-License-Identifier: Apache-2.0
"""A loaded program: everything that the code generator and the control plane need, and nothing of the JSON's shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from p4softswitch.bmv2json.expr import (
    Bool,
    Data,
    ElemField,
    Field,
    FieldRef,
    Header,
    HeaderType,
    LastField,
    Lookahead,
    RegisterArray,
    Stack,
    StackElem,
)

# What a primitive may write to.
LValue = FieldRef | ElemField | LastField


@dataclass(frozen=True, eq=False)
class CounterArray:
    name: str
    index: int
    size: int


@dataclass(frozen=True, eq=False)
class MeterArray:
    name: str
    index: int
    size: int
    by_bytes: bool


@dataclass(frozen=True)
class DirectMeter:
    name: str
    by_bytes: bool
    target: FieldRef


@dataclass(frozen=True)
class CalcInput:
    """A piece of what a calculation runs over. Exactly one of the four is set; a constant has a width in bits."""

    field: FieldRef | None = None
    header: Header | None = None
    constant: tuple[int, int] | None = None
    payload: bool = False


@dataclass(frozen=True, eq=False)
class Calculation:
    name: str
    index: int
    algorithm: str
    inputs: tuple[CalcInput, ...]


@dataclass(frozen=True)
class Checksum:
    name: str
    target: FieldRef
    calculation: Calculation
    condition: Bool | None
    update: bool
    verify: bool


# Primitives of actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assign:
    target: LValue
    value: Data


@dataclass(frozen=True)
class AssignHeader:
    target: Header | StackElem
    source: Header | StackElem


@dataclass(frozen=True)
class AssignStack:
    target: Stack
    source: Stack


@dataclass(frozen=True)
class SetValidity:
    """add_header (which zeroes a header that was invalid) or remove_header."""

    header: Header | StackElem
    valid: bool


@dataclass(frozen=True)
class PushPop:
    stack: Stack
    count: int
    push: bool


@dataclass(frozen=True)
class Jump:
    target: int
    unless: Data | None  # None: always


@dataclass(frozen=True)
class Count:
    counter: CounterArray
    index: Data


@dataclass(frozen=True)
class ExecuteMeter:
    meter: MeterArray
    index: Data
    target: LValue


@dataclass(frozen=True)
class RegisterRead:
    target: LValue
    array: RegisterArray
    index: Data


@dataclass(frozen=True)
class RegisterWrite:
    array: RegisterArray
    index: Data
    value: Data


@dataclass(frozen=True)
class Hash:
    target: LValue
    base: Data
    calculation: Calculation
    size: Data


@dataclass(frozen=True)
class Random:
    target: LValue
    low: Data
    high: Data


@dataclass(frozen=True)
class MarkToDrop:
    """by_alias: also ends multicast where the group stands in another header (the older `drop`)."""

    by_alias: bool = False


@dataclass(frozen=True)
class Truncate:
    length: Data


@dataclass(frozen=True)
class Clone:
    """Ingress or egress follows from the pipeline in which the action runs."""

    session: Data
    field_list: Data


@dataclass(frozen=True)
class Resubmit:
    field_list: Data
    recirculate: bool


@dataclass(frozen=True)
class Digest:
    learn_list: Data


@dataclass(frozen=True)
class Exit:
    pass


@dataclass(frozen=True)
class Assert:
    value: Data
    assume: bool


@dataclass(frozen=True)
class LogMsg:
    format: str
    args: tuple[Data, ...]


@dataclass(frozen=True)
class NoOp:
    pass


Primitive = (
    Assign | AssignHeader | AssignStack | SetValidity | PushPop | Jump | Count | ExecuteMeter | RegisterRead
    | RegisterWrite | Hash | Random | MarkToDrop | Truncate | Clone | Resubmit | Digest | Exit | Assert | LogMsg | NoOp
)  # fmt: skip


@dataclass(frozen=True)
class Param:
    name: str
    width: int


@dataclass(frozen=True, eq=False)
class Action:
    name: str
    id: int
    params: tuple[Param, ...]
    primitives: tuple[Primitive, ...]

    @property
    def exits(self) -> bool:
        return any(isinstance(p, Exit | Assert) for p in self.primitives)


# Parser --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Extract:
    target: Header | Stack


@dataclass(frozen=True)
class Advance:
    bits: Data


@dataclass(frozen=True)
class Verify:
    condition: Bool
    error: Data


ParserOp = Extract | Advance | Verify | Primitive


@dataclass(frozen=True)
class Transition:
    """value and mask run over the concatenation of the key fields, each padded to whole bytes; None: default."""

    value: int | None
    mask: int | None
    next_state: str | None


@dataclass(frozen=True)
class ParseState:
    name: str
    ops: tuple[ParserOp, ...]
    key: tuple[FieldRef | LastField | Lookahead, ...]
    transitions: tuple[Transition, ...]


@dataclass(frozen=True)
class Parser:
    init_state: str | None
    states: dict[str, ParseState]


# Tables --------------------------------------------------------------------------------------------------------------


class MatchKind(Enum):
    EXACT = "exact"
    LPM = "lpm"
    TERNARY = "ternary"
    RANGE = "range"
    VALID = "valid"


@dataclass(frozen=True)
class KeyField:
    name: str
    kind: MatchKind
    source: Data
    header: Header | None  # whose validity decides whether the field is read or is 0
    width: int
    mask: int | None


@dataclass(frozen=True)
class ConstKey:
    """A part of a constant entry's key. mask: ternary mask, or upper end of a range; prefix_len for lpm."""

    value: int
    mask: int | None = None
    prefix_len: int | None = None


@dataclass(frozen=True)
class ConstEntry:
    key: tuple[ConstKey, ...]
    priority: int
    action: int
    args: tuple[int, ...]


@dataclass(frozen=True)
class DefaultEntry:
    action: int
    args: tuple[int, ...]
    const_action: bool
    const_entry: bool


@dataclass(frozen=True, eq=False)
class ActionProfile:
    """Members that entries refer to. With a selector also groups of them, out of which its hash chooses one."""

    name: str
    index: int
    selector: Calculation | None


@dataclass(frozen=True, eq=False)
class Table:
    name: str
    index: int
    key: tuple[KeyField, ...]
    match_kind: MatchKind  # of the table as a whole
    max_size: int
    with_counters: bool
    meter: DirectMeter | None
    actions: tuple[int, ...]
    default: DefaultEntry | None
    base_default_next: str | None
    next_by_action: dict[int, str | None]
    next_hit_miss: tuple[str | None, str | None] | None
    entries: tuple[ConstEntry, ...]
    immutable: bool
    profile: ActionProfile | None = None
    idle_timeout: bool = False


@dataclass(frozen=True)
class Conditional:
    name: str
    expression: Bool
    true_next: str | None
    false_next: str | None


@dataclass(frozen=True)
class ActionCallNode:
    name: str
    action: int
    next_node: str | None


Node = Table | Conditional | ActionCallNode


@dataclass(frozen=True)
class Pipeline:
    name: str
    init: str | None
    nodes: dict[str, Node]


@dataclass(frozen=True)
class LearnList:
    id: int
    name: str
    fields: tuple[FieldRef, ...]


@dataclass(frozen=True)
class Program:
    header_types: tuple[HeaderType, ...]
    headers: tuple[Header, ...]
    stacks: tuple[Stack, ...]
    errors: dict[str, int]
    parser: Parser
    deparser: tuple[Header, ...]
    deparser_ops: tuple[Primitive, ...]
    ingress: Pipeline
    egress: Pipeline
    tables: tuple[Table, ...]
    actions: dict[int, Action]
    counters: tuple[CounterArray, ...]
    meters: tuple[MeterArray, ...]
    registers: tuple[RegisterArray, ...]
    calculations: tuple[Calculation, ...]
    checksums: tuple[Checksum, ...]
    field_lists: dict[int, tuple[FieldRef, ...]]
    learn_lists: dict[int, LearnList]
    aliases: dict[str, FieldRef]
    profiles: tuple[ActionProfile, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def profile_actions(self, profile: ActionProfile) -> tuple[Action, ...]:
        """What members can do: the actions of the profile's tables, one of each name."""
        found: dict[str, Action] = {}
        for table in self.tables:
            if table.profile is profile:
                for action in table.actions:
                    found.setdefault(self.actions[action].name, self.actions[action])
        return tuple(found.values())

    def intrinsic(self, name: str) -> FieldRef | None:
        """A field that the architecture itself reads or writes, by the name that BMv2 knows, through the aliases."""
        if name in self.aliases:
            return self.aliases[name]
        header_name, _, field_name = name.partition(".")
        for header in self.headers:
            if header.name == header_name:
                found: Field | None = header.type.field(field_name)
                return FieldRef(header, found) if found else None
        return None
