# SPDX-License-Identifier: Apache-2.0
"""The whole JSON → Program."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from p4softswitch.bmv2json import program as ir
from p4softswitch.bmv2json.actions import ActionReader
from p4softswitch.bmv2json.expr import Field, FieldRef, Header, HeaderType, RegisterArray, Stack
from p4softswitch.bmv2json.profiles import ProfileReader
from p4softswitch.bmv2json.reader import Reader, hex_to_int, integer, malformed, name_of, place, read_each, refuse
from p4softswitch.bmv2json.tables import read_pipeline
from p4softswitch.bmv2json.wide import WIDEST, split, wide_field
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
    "extern_instances": "an extern instance",
}
_REQUIRED_SECTIONS = ("header_types", "headers", "parsers", "deparsers", "actions", "pipelines")
_MAX_CONSTANT = 1 << 16
"""Bits of a constant that a calculation runs over."""
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
        # Whole characters only: names stand in messages, and in the C source.
        root = json.loads(json_bytes.decode(), parse_constant=_no_number)
        if b"\\ud" in json_bytes.lower():
            json.dumps(root, ensure_ascii=False).encode()
    except ValueError as error:
        raise UnsupportedProgram(f"not a JSON document: {ascii(str(error))[1:-1]}") from error
    except RecursionError:
        raise UnsupportedProgram("not a JSON document: it is nested too deeply") from None
    if not isinstance(root, dict):
        raise UnsupportedProgram("not a BMv2 JSON: the root is no object")
    with place("root"):
        return _Loader(root).load()


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasName)


class _Loader:
    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.reader = Reader()
        self.actions = ActionReader(self.reader)
        self.warnings: list[str] = []
        self.value_sets: set[str] = set()

    def load(self) -> ir.Program:
        root, reader = self.root, self.reader
        self._check_sections()
        types = read_each(root, "header_types", "header type", self._header_type)
        reader.header_types = self._by_name("header_types", types)
        headers = tuple(read_each(root, "headers", "header", self._header))
        if not any(name.startswith("standard_metadata") for name in reader.headers):
            refuse("an architecture other than v1model's (there is no standard_metadata)", "headers")
        stacks = self._stacks(
            {integer(n["id"], "the id", "headers"): headers[i] for i, n in enumerate(root["headers"])}
        )
        registers = tuple(read_each(root, "register_arrays", "register", self._register))
        reader.registers = self._by_name("register_arrays", registers)
        arrays = {"counter_arrays": [n for n in root.get("counter_arrays") or () if not n.get("is_direct")]}
        numbers = itertools.count()
        counters = tuple(
            read_each(arrays, "counter_arrays", "counter", lambda node: self._counter(next(numbers), node))
        )
        self.actions.counters = self._by_name("counter_arrays", counters)
        meters, direct_meters = self._meters()
        self.actions.meters = self._by_name("meter_arrays", meters)
        numbers = itertools.count()
        calculations = tuple(
            read_each(root, "calculations", "calculation", lambda node: self._calculation(next(numbers), node))
        )
        self.actions.calculations = self._by_name("calculations", calculations)
        actions: dict[int, ir.Action] = {}
        for action in read_each(root, "actions", "action", self.actions.action):
            if action.id in actions:
                malformed(f"two actions have the id {action.id}", f"action {action.name}")
            actions[action.id] = action
        pipelines: dict[str, ir.Pipeline] = {}
        tables: list[ir.Table] = []
        profiles = ProfileReader(self._calculation, len(calculations))
        for pipeline in read_each(
            root,
            "pipelines",
            "pipeline",
            lambda node: read_pipeline(node, reader, actions, direct_meters, tables, profiles),
        ):
            pipelines[pipeline.name] = pipeline
        self._by_name("tables", tables)
        for name in ("ingress", "egress"):
            if name not in pipelines:
                refuse(f"a program without the pipeline {name}", "pipelines")
        if set(pipelines) != {"ingress", "egress"}:
            refuse(f"pipelines {sorted(set(pipelines) - {'ingress', 'egress'})}", "pipelines")
        parser = self._parser()
        deparser, deparser_ops = self._deparser()
        return ir.Program(
            header_types=tuple(reader.header_types.values()),
            headers=headers,
            stacks=stacks,
            errors=self._errors(),
            parser=parser,
            deparser=deparser,
            deparser_ops=deparser_ops,
            ingress=pipelines["ingress"],
            egress=pipelines["egress"],
            tables=tuple(tables),
            actions=actions,
            counters=counters,
            meters=meters,
            registers=registers,
            calculations=(*calculations, *profiles.calculations),
            checksums=tuple(read_each(root, "checksums", "checksum", self._checksum)),
            field_lists=dict(read_each(root, "field_lists", "field list", self._field_list)),
            learn_lists=dict(read_each(root, "learn_lists", "digest", self._learn_list)),
            aliases=self._aliases(),
            profiles=tuple(profiles.profiles.values()),
            warnings=self.warnings,
        )

    @staticmethod
    def _by_name(section: str, items: Iterable[_Named]) -> dict[str, _Named]:
        """Refuses what has the name of another."""
        found: dict[str, _Named] = {}
        for item in items:
            if item.name in found:
                malformed(f"two are called {item.name}", section)
            found[item.name] = item
        return found

    def _check_sections(self) -> None:
        with place("__meta__"):
            # Where it is missing, the compiler is older than it.
            major, minor = (self.root.get("__meta__") or {}).get("version", (FORMAT_MAJOR, 0))
            known = integer(major, "the version", "__meta__") == FORMAT_MAJOR
            if not known or integer(minor, "the version", "__meta__") > FORMAT_MINOR:
                raise UnsupportedProgram(
                    f"format version {major}.{minor}: this engine reads up to {FORMAT_MAJOR}.{FORMAT_MINOR}"
                )
        for section in self.root:
            if section not in _KNOWN_SECTIONS:
                refuse(f"section {section!r}", "root")
        for section in _REQUIRED_SECTIONS:
            if not isinstance(self.root.get(section), list):
                malformed("a list is expected", section)
        for section, what in _MUST_BE_EMPTY.items():
            for node in read_each(self.root, section, section, lambda node: node):
                refuse(what, f"{section} {node.get('name')}")

    def _header_type(self, node: Any) -> HeaderType:
        where = f"header type {node['name']}"
        fields: list[Field] = []
        listed: list[str] = []
        wide: dict[str, tuple[Field, ...]] = {}
        offset = 0
        for entry in node["fields"]:
            name, width = entry[0], entry[1]
            if not isinstance(name, str):
                malformed("a name is expected", where)
            if width == "*":
                refuse(f"variable-length field {name}", where)
            integer(width, f"the width of {name}", where)
            if not 1 <= width <= WIDEST:
                refuse(f"field {name} of {width} bits", where)
            if len(entry) > 3 and entry[3]:
                refuse(f"saturating field {name}", where)
            signed = bool(entry[2]) if len(entry) > 2 else False
            if signed and width < 2:
                refuse(f"signed field {name} of one bit", where)
            listed.append(name)
            if width > 128 and signed:
                refuse(f"signed field {name} of {width} bits", where)
            if width > 128:
                wide[name] = split(name, width, offset)
            fields += wide.get(name, (Field(name, width, signed, offset),))
            offset += width
        if len(set(listed)) != len(listed) or len({f.name for f in fields}) != len(fields):
            malformed("two fields of one name", where)
        if offset % 8:
            malformed(f"{offset} bits are no whole bytes", where)
        return HeaderType(name_of(node, where), tuple(fields), offset, wide, tuple(listed))

    def _header(self, node: Any) -> Header:
        where = f"header {node['name']}"
        if node["header_type"] not in self.reader.header_types:
            malformed(f"there is no header type {node['header_type']}", where)
        header_type = self.reader.header_types[node["header_type"]]
        header = Header(name_of(node, where), len(self.reader.headers), header_type, bool(node.get("metadata")))
        if header.name in self.reader.headers:
            malformed("two headers have this name", where)
        self.reader.headers[header.name] = header
        return header

    def _stacks(self, by_id: dict[int, Header]) -> tuple[Stack, ...]:
        taken: set[Header] = set()

        def read(node: Any) -> Stack:
            where = f"header stack {node['name']}"
            header_type = self.reader.header_types[node["header_type"]]
            headers = tuple(by_id[integer(i, "an id", where)] for i in node["header_ids"])
            if any(h.type is not header_type or h.metadata for h in headers) or not headers:
                malformed("headers of another type, or none", where)
            if taken.intersection(headers) or len(set(headers)) != len(headers):
                malformed("a header stands twice in stacks", where)
            taken.update(headers)
            stack = Stack(name_of(node, where), len(self.reader.stacks), header_type, headers)
            if stack.name in self.reader.stacks:
                malformed("two stacks have this name", where)
            self.reader.stacks[stack.name] = stack
            return stack

        return tuple(read_each(self.root, "header_stacks", "header stack", read))

    @staticmethod
    def _counter(index: int, node: Any) -> ir.CounterArray:
        where = f"counter {node['name']}"
        return ir.CounterArray(name_of(node, where), index, integer(node["size"], "the size", where))

    def _register(self, node: Any) -> RegisterArray:
        where = f"register {node['name']}"
        width = integer(node["bitwidth"], "the width", where)
        if not 1 <= width <= 128:
            refuse(f"a register of {width} bits", where)
        size = integer(node["size"], "the size", where)
        array = RegisterArray(name_of(node, where), len(self.reader.registers), size, width)
        if array.name in self.reader.registers:
            malformed("two registers have this name", where)
        self.reader.registers[array.name] = array
        return array

    def _meters(self) -> tuple[tuple[ir.MeterArray, ...], dict[str, ir.DirectMeter]]:
        indexed: list[ir.MeterArray] = []
        direct: dict[str, ir.DirectMeter] = {}

        def read(node: Any) -> None:
            where = f"meter {node['name']}"
            if node["type"] not in ("packets", "bytes"):
                refuse(f"type {node['type']!r}", where)
            if integer(node["rate_count"], "the number of rates", where) != 2:
                refuse(f"{node['rate_count']} rates", where)
            by_bytes = node["type"] == "bytes"
            name = name_of(node, where)
            if node.get("is_direct"):
                target = self.reader.plain_field(node["result_target"], where)
                direct[name] = ir.DirectMeter(name, by_bytes, target)
            else:
                indexed.append(ir.MeterArray(name, len(indexed), integer(node["size"], "the size", where), by_bytes))

        read_each(self.root, "meter_arrays", "meter", read)
        return tuple(indexed), direct

    def _calculation(self, index: int, node: Any) -> ir.Calculation:
        where = f"calculation {node['name']}"
        if node["algo"] not in _ALGORITHMS:
            refuse(f"hash algorithm {node['algo']!r}", where)
        inputs: list[ir.CalcInput] = []
        for entry in node["input"]:
            kind, value = entry["type"], entry.get("value")
            parts = wide_field(entry, self.reader.headers)
            if parts is not None:
                inputs += [ir.CalcInput(field=part) for part in parts]
            elif kind == "field":
                inputs.append(ir.CalcInput(field=self.reader.plain_field(value, where)))
            elif kind == "header":
                inputs.append(ir.CalcInput(header=self.reader.header(value, where)))
            elif kind == "hexstr":
                width = integer(entry["bitwidth"], "the width of a constant", where, 1, _MAX_CONSTANT)
                inputs.append(ir.CalcInput(constant=(hex_to_int(value, where) & ((1 << width) - 1), width)))
            elif kind == "payload":
                inputs.append(ir.CalcInput(payload=True))
            else:
                refuse(f"input of type {kind!r}", where)
        return ir.Calculation(name_of(node, where), index, node["algo"], tuple(inputs))

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

    def _fields(self, elements: list[Any], where: str) -> tuple[FieldRef, ...]:
        result: list[FieldRef] = []
        for element in elements:
            parts = wide_field(element, self.reader.headers)
            if parts is not None:
                result += parts
                continue
            if element["type"] != "field":
                refuse(f"an element of type {element['type']!r}", where)
            found = self.reader.field(element["value"], where)
            if not isinstance(found, FieldRef):
                refuse("$valid$ in a field list", where)
            result.append(found)
        return tuple(result)

    def _field_list(self, node: Any) -> tuple[int, tuple[FieldRef, ...]]:
        where = f"field list {node.get('name')}"
        return integer(node["id"], "the id", where, high=0xFFFF), self._fields(node["elements"], where)

    def _learn_list(self, node: Any) -> tuple[int, ir.LearnList]:
        where = f"digest {node['name']}"
        number = integer(node["id"], "the id", where, high=0xFFFF)
        return number, ir.LearnList(number, name_of(node, where), self._fields(node["elements"], where))

    def _aliases(self) -> dict[str, FieldRef]:
        found: dict[str, FieldRef] = {}
        with place("field_aliases"):
            for alias, target in self.root.get("field_aliases") or ():
                if not isinstance(alias, str):
                    malformed("a name is expected", "field_aliases")
                found[alias] = self.reader.plain_field(target, f"alias {alias}")
        return found

    def _errors(self) -> dict[str, int]:
        with place("errors"):
            errors = {
                name: integer(value, f"error {name}", "errors", high=(1 << 32) - 1)
                for name, value in self.root.get("errors") or ()
            }
        for name in _CORE_ERRORS:  # what the JSON leaves out gets the next free code, as in BMv2
            if name not in errors:
                errors[name] = max(errors.values(), default=-1) + 1
        return errors

    def _state(self, node: Any) -> ir.ParseState:
        where = f"parser state {node['name']}"
        return ir.ParseState(
            name_of(node, where),
            tuple(self.actions.parser_op(op, where) for op in node["parser_ops"]),
            tuple(self.actions.key_part(k, where) for k in node["transition_key"]),
            tuple(self.actions.transition(t, where) for t in node["transitions"] if not self._of_value_set(t, where)),
        )

    def _of_value_set(self, node: Any, where: str) -> bool:
        """A transition that is never taken: P4Runtime cannot fill the set, here as on BMv2, so it is empty for ever."""
        if node.get("type") != "parse_vset":
            return False
        if node["value"] not in self.value_sets:
            malformed(f"there is no parser value set {node['value']}", where)
        return True

    def _parser(self) -> ir.Parser:
        self.value_sets = set(
            read_each(self.root, "parse_vsets", "parser value set", lambda node: name_of(node, "parse_vsets"))
        )
        parsers = self.root["parsers"]
        if len(parsers) != 1 or parsers[0]["name"] != "parser":
            refuse("anything but one parser", "parsers")
        states = self._by_name("parse_states", read_each(parsers[0], "parse_states", "parser state", self._state))
        for state in states.values():
            for transition in state.transitions:
                if transition.next_state is not None and transition.next_state not in states:
                    malformed(f"there is no state {transition.next_state}", f"parser state {state.name}")
        init = parsers[0].get("init_state")
        if init is not None and init not in states:
            malformed(f"there is no state {init}", "parser")
        return ir.Parser(init, states)

    def _deparser(self) -> tuple[tuple[Header, ...], tuple[ir.Primitive, ...]]:
        deparsers = self.root["deparsers"]
        if len(deparsers) != 1 or deparsers[0]["name"] != "deparser":
            refuse("anything but one deparser", "deparsers")
        with place("deparser"):
            order = tuple(self.reader.header(name, "deparser") for name in deparsers[0]["order"])
            ops = tuple(self.actions.primitive(n, "deparser") for n in deparsers[0].get("primitives") or ())
        for op in ops:
            if not isinstance(op, ir.LogMsg | ir.Assert | ir.NoOp):
                refuse(f"primitive {type(op).__name__}", "deparser")
        return order, ops
