# SPDX-License-Identifier: Apache-2.0
"""The whole JSON → Program."""

from __future__ import annotations

import json
from typing import Any

from p4softswitch.bmv2json import program as ir
from p4softswitch.bmv2json.actions import ActionReader
from p4softswitch.bmv2json.expr import Data, Field, FieldRef, Header, HeaderType, RegisterArray, Stack, ValidBit, walk
from p4softswitch.bmv2json.reader import Reader, hex_to_int, malformed, refuse
from p4softswitch.bmv2json.tables import read_pipeline
from p4softswitch.engine_api import UnsupportedProgram

# Version of the format that BMv2 had when this was written against it (JSON_format.md of its documents).
FORMAT_MAJOR, FORMAT_MINOR = 2, 24

_KNOWN_SECTIONS = {
    "__meta__", "program", "header_types", "headers", "header_stacks", "header_union_types", "header_unions",
    "header_union_stacks", "field_lists", "errors", "enums", "parsers", "parse_vsets", "deparsers", "meter_arrays",
    "counter_arrays", "register_arrays", "calculations", "learn_lists", "actions", "pipelines", "checksums",
    "force_arith", "extern_instances", "field_aliases",
}  # fmt: skip
_MUST_BE_EMPTY = {
    "header_unions": "a header union",
    "header_union_stacks": "a stack of header unions",
    "parse_vsets": "a parser value set",
    "extern_instances": "an extern instance",
}
_CORE_ERRORS = (
    "NoError", "PacketTooShort", "NoMatch", "StackOutOfBounds", "HeaderTooShort", "ParserTimeout",
    "ParserInvalidArgument",
)  # fmt: skip
_ALGORITHMS = {
    "csum16", "cksum16", "crc16", "crc32", "crcCCITT", "crc16_custom", "crc32_custom", "identity", "xor16",
}  # fmt: skip


def load_program(json_bytes: bytes) -> ir.Program:
    """Parse and check a BMv2 JSON.

    Raises UnsupportedProgram, naming construct and place, for everything that the engine does not implement.
    """
    try:
        root = json.loads(json_bytes)
    except ValueError as error:
        raise UnsupportedProgram(f"not a JSON document: {error}") from error
    if not isinstance(root, dict):
        raise UnsupportedProgram("not a BMv2 JSON: the root is no object")
    try:
        return _Loader(root).load()
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnsupportedProgram(f"malformed BMv2 JSON: {type(error).__name__}: {error}") from error


class _Loader:
    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.reader = Reader()
        self.actions = ActionReader(self.reader)
        self.warnings: list[str] = []

    def load(self) -> ir.Program:
        root, reader = self.root, self.reader
        self._check_sections()
        for node in root["header_types"]:
            header_type = self._header_type(node)
            reader.header_types[header_type.name] = header_type
        headers = self._headers()
        stacks = self._stacks({int(n["id"]): headers[i] for i, n in enumerate(root["headers"])})
        registers = tuple(self._register(i, n) for i, n in enumerate(root.get("register_arrays", [])))
        reader.registers = {r.name: r for r in registers}
        counters = tuple(
            ir.CounterArray(n["name"], i, int(n["size"]))
            for i, n in enumerate(n for n in root.get("counter_arrays", []) if not n.get("is_direct"))
        )
        self.actions.counters = {c.name: c for c in counters}
        meters, direct_meters = self._meters()
        self.actions.meters = {m.name: m for m in meters}
        calculations = tuple(self._calculation(i, n) for i, n in enumerate(root.get("calculations", [])))
        self.actions.calculations = {c.name: c for c in calculations}
        actions: dict[int, ir.Action] = {}
        for node in root["actions"]:
            action = self.actions.action(node)
            if action.id in actions:
                malformed(f"two actions have the id {action.id}", f"action {action.name}")
            actions[action.id] = action
        pipelines: dict[str, ir.Pipeline] = {}
        tables: list[ir.Table] = []
        for node in root["pipelines"]:
            pipelines[node["name"]] = read_pipeline(node, reader, actions, direct_meters, tables)
        for name in ("ingress", "egress"):
            if name not in pipelines:
                refuse(f"a program without the pipeline {name}", "pipelines")
        if set(pipelines) != {"ingress", "egress"}:
            refuse(f"pipelines {sorted(set(pipelines) - {'ingress', 'egress'})}", "pipelines")
        deparser, deparser_ops = self._deparser()
        return ir.Program(
            header_types=tuple(reader.header_types.values()),
            headers=headers,
            stacks=stacks,
            errors=self._errors(),
            parser=self._parser(),
            deparser=deparser,
            deparser_ops=deparser_ops,
            ingress=pipelines["ingress"],
            egress=pipelines["egress"],
            tables=tuple(tables),
            actions=actions,
            counters=counters,
            meters=meters,
            registers=registers,
            calculations=calculations,
            checksums=tuple(self._checksum(n) for n in root.get("checksums", [])),
            field_lists={
                int(n["id"]): self._field_list(n["elements"], f"field list {n['name']}")
                for n in root.get("field_lists", [])
            },
            learn_lists={
                int(n["id"]): ir.LearnList(
                    int(n["id"]), n["name"], self._field_list(n["elements"], f"digest {n['name']}")
                )
                for n in root.get("learn_lists", [])
            },
            aliases={
                alias: reader.plain_field(target, f"alias {alias}") for alias, target in root.get("field_aliases", [])
            },
            warnings=self.warnings,
        )

    def _check_sections(self) -> None:
        version = self.root.get("__meta__", {}).get("version", [FORMAT_MAJOR, 0])
        if version[0] != FORMAT_MAJOR or version[1] > FORMAT_MINOR:
            raise UnsupportedProgram(
                f"format version {version[0]}.{version[1]}: this engine reads up to {FORMAT_MAJOR}.{FORMAT_MINOR}"
            )
        for section in self.root:
            if section not in _KNOWN_SECTIONS:
                refuse(f"section {section!r}", "root")
        for section, what in _MUST_BE_EMPTY.items():
            for node in self.root.get(section, []):
                refuse(what, f"{section} {node.get('name')}")

    def _header_type(self, node: Any) -> HeaderType:
        where = f"header type {node['name']}"
        fields: list[Field] = []
        offset = 0
        for entry in node["fields"]:
            name, width = entry[0], entry[1]
            if width == "*":
                refuse(f"variable-length field {name}", where)
            if not 1 <= int(width) <= 128:
                # p4c pads headers in metadata with fields of any width, but nobody can name those.
                refuse(f"field {name} of {width} bits", where)
            if len(entry) > 3 and entry[3]:
                refuse(f"saturating field {name}", where)
            signed = bool(entry[2]) if len(entry) > 2 else False
            if signed and int(width) < 2:
                refuse(f"signed field {name} of one bit", where)
            fields.append(Field(name, int(width), signed, offset))
            offset += int(width)
        if offset % 8:
            malformed(f"{offset} bits are no whole bytes", where)
        return HeaderType(node["name"], tuple(fields), offset)

    def _headers(self) -> tuple[Header, ...]:
        result = []
        for index, node in enumerate(self.root["headers"]):
            where = f"header {node['name']}"
            if node["header_type"] not in self.reader.header_types:
                malformed(f"there is no header type {node['header_type']}", where)
            header = Header(
                node["name"], index, self.reader.header_types[node["header_type"]], bool(node.get("metadata"))
            )
            self.reader.headers[header.name] = header
            result.append(header)
        return tuple(result)

    def _stacks(self, by_id: dict[int, Header]) -> tuple[Stack, ...]:
        result = []
        for index, node in enumerate(self.root.get("header_stacks", [])):
            header_type = self.reader.header_types[node["header_type"]]
            stack = Stack(node["name"], index, header_type, tuple(by_id[int(i)] for i in node["header_ids"]))
            if any(h.type is not header_type for h in stack.headers) or not stack.headers:
                malformed("headers of another type, or none", f"header stack {stack.name}")
            self.reader.stacks[stack.name] = stack
            result.append(stack)
        return tuple(result)

    def _register(self, index: int, node: Any) -> RegisterArray:
        width = int(node["bitwidth"])
        if not 1 <= width <= 128:
            refuse(f"a register of {width} bits", f"register {node['name']}")
        return RegisterArray(node["name"], index, int(node["size"]), width)

    def _meters(self) -> tuple[tuple[ir.MeterArray, ...], dict[str, ir.DirectMeter]]:
        indexed: list[ir.MeterArray] = []
        direct: dict[str, ir.DirectMeter] = {}
        for node in self.root.get("meter_arrays", []):
            where = f"meter {node['name']}"
            if node["type"] not in ("packets", "bytes"):
                refuse(f"type {node['type']!r}", where)
            if int(node["rate_count"]) != 2:
                refuse(f"{node['rate_count']} rates", where)
            by_bytes = node["type"] == "bytes"
            if node.get("is_direct"):
                target = self.reader.plain_field(node["result_target"], where)
                direct[node["name"]] = ir.DirectMeter(node["name"], by_bytes, target)
            else:
                indexed.append(ir.MeterArray(node["name"], len(indexed), int(node["size"]), by_bytes))
        return tuple(indexed), direct

    def _calculation(self, index: int, node: Any) -> ir.Calculation:
        where = f"calculation {node['name']}"
        if node["algo"] not in _ALGORITHMS:
            refuse(f"hash algorithm {node['algo']!r}", where)
        inputs: list[ir.CalcInput] = []
        for entry in node["input"]:
            kind, value = entry["type"], entry.get("value")
            if kind == "field":
                inputs.append(ir.CalcInput(field=self.reader.plain_field(value, where)))
            elif kind == "header":
                inputs.append(ir.CalcInput(header=self.reader.header(value, where)))
            elif kind == "hexstr":
                width = int(entry["bitwidth"])
                inputs.append(ir.CalcInput(constant=(hex_to_int(value, where) & ((1 << width) - 1), width)))
            elif kind == "payload":
                inputs.append(ir.CalcInput(payload=True))
            else:
                refuse(f"input of type {kind!r}", where)
        return ir.Calculation(node["name"], index, node["algo"], tuple(inputs))

    def _checksum(self, node: Any) -> ir.Checksum:
        where = f"checksum {node['name']}"
        if node["type"] != "generic":
            refuse(f"type {node['type']!r}", where)
        if node["calculation"] not in self.actions.calculations:
            malformed(f"there is no calculation {node['calculation']}", where)
        condition = node.get("if_cond")
        return ir.Checksum(
            node["name"],
            self.reader.plain_field(node["target"], where),
            self.actions.calculations[node["calculation"]],
            None if condition is None else self.reader.bool(condition, where),
            bool(node.get("update", True)),
            bool(node.get("verify", True)),
        )

    def _field_list(self, elements: list[Any], where: str) -> tuple[FieldRef, ...]:
        result = []
        for element in elements:
            if element["type"] != "field":
                refuse(f"an element of type {element['type']!r}", where)
            found = self.reader.field(element["value"], where)
            if isinstance(found, ValidBit):
                refuse("$valid$ in a field list", where)
            result.append(found)
        return tuple(result)

    def _errors(self) -> dict[str, int]:
        errors = {name: int(value) for name, value in self.root.get("errors", [])}
        for name in _CORE_ERRORS:  # what the JSON leaves out gets the next free code, as in BMv2
            if name not in errors:
                errors[name] = max(errors.values(), default=-1) + 1
        return errors

    def _parser(self) -> ir.Parser:
        parsers = self.root["parsers"]
        if len(parsers) != 1 or parsers[0]["name"] != "parser":
            refuse("anything but one parser", "parsers")
        states: dict[str, ir.ParseState] = {}
        for node in parsers[0]["parse_states"]:
            where = f"parser state {node['name']}"
            ops = tuple(self.actions.parser_op(op, where) for op in node["parser_ops"])
            states[node["name"]] = ir.ParseState(
                node["name"],
                ops,
                tuple(self.actions.key_part(k, where) for k in node["transition_key"]),
                tuple(self.actions.transition(t, where) for t in node["transitions"]),
            )
        for state in states.values():
            for transition in state.transitions:
                if transition.next_state is not None and transition.next_state not in states:
                    malformed(f"there is no state {transition.next_state}", f"parser state {state.name}")
        return ir.Parser(parsers[0].get("init_state"), states)

    def _deparser(self) -> tuple[tuple[Header, ...], tuple[ir.Primitive, ...]]:
        deparsers = self.root["deparsers"]
        if len(deparsers) != 1 or deparsers[0]["name"] != "deparser":
            refuse("anything but one deparser", "deparsers")
        order = tuple(self.reader.header(name, "deparser") for name in deparsers[0]["order"])
        ops = tuple(self.actions.primitive(node, "deparser") for node in deparsers[0].get("primitives", []))
        for op in ops:
            if not isinstance(op, ir.LogMsg | ir.Assert | ir.NoOp):
                refuse(f"primitive {type(op).__name__}", "deparser")
        return order, ops


def uses_field(expression: Data, field: FieldRef) -> bool:
    """Whether the field occurs in the expression."""
    return any(node == field for node in walk(expression))
