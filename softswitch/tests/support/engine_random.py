# SPDX-License-Identifier: Apache-2.0
"""Random expressions at the level of the BMv2 JSON, and what they come to in Python's unbounded integers.

The evaluator is written from BMv2's rules and shares nothing with the translator: it works on the JSON.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_STANDARD = [
    ("ingress_port", 9), ("egress_spec", 9), ("egress_port", 9), ("instance_type", 32), ("packet_length", 32),
    ("mcast_grp", 16), ("egress_rid", 16), ("checksum_error", 1), ("parser_error", 32), ("_padding", 4),
]  # fmt: skip
_WIDTHS = (1, 3, 7, 8, 9, 13, 16, 17, 24, 31, 32, 33, 47, 48, 63, 64, 65, 96, 100, 127, 128)


@dataclass(frozen=True)
class RandomProgram:
    """inputs and results: (name, width, signed), in the order in which they stand in their headers."""

    document: Json
    inputs: list[tuple[str, int, bool]]
    results: list[tuple[str, int, bool]]
    assignments: list[Json]

    @property
    def json_bytes(self) -> bytes:
        return json.dumps(self.document).encode()

    @property
    def input_bytes(self) -> int:
        return sum(width for _, width, _ in self.inputs) // 8

    def expected(self, packet: bytes) -> bytes:
        """What the program makes of a packet of input_bytes."""
        bits = int.from_bytes(packet, "big")
        values: dict[str, int] = {}
        left = 8 * len(packet)
        for name, width, signed in self.inputs:
            left -= width
            value = (bits >> left) & ((1 << width) - 1)
            values[name] = wrap(value, width) if signed else value
        result = 0
        for (_, width, _), expression in zip(self.results, self.assignments, strict=True):
            result = result << width | (evaluate(expression, values) & ((1 << width) - 1))
        return result.to_bytes(sum(w for _, w, _ in self.results) // 8, "big") + packet


def wrap(value: int, width: int) -> int:
    """Two's complement of that width."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def evaluate(node: Json, values: dict[str, int]) -> int:
    """Data and boolean expressions; booleans are 0 and 1."""
    kind, value = node["type"], node["value"]
    if kind == "hexstr":
        return int(value, 16)
    if kind == "bool":
        return int(value)
    if kind == "field":
        return values[value[1]]
    op = value["op"]
    if op == "?":
        return evaluate(value["left"] if evaluate(value["cond"], values) else value["right"], values)
    right = evaluate(value["right"], values)
    left = 0 if value["left"] is None else evaluate(value["left"], values)
    if op == "two_comp_mod":
        return wrap(left, right)
    if op == "usat_cast":
        return min(max(left, 0), (1 << right) - 1)
    if op == "sat_cast":
        return min(max(left, -(1 << (right - 1))), (1 << (right - 1)) - 1)
    binary = {
        "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
        "&": lambda: left & right, "|": lambda: left | right, "^": lambda: left ^ right,
        "<<": lambda: left << right, ">>": lambda: left >> right,
        "/": lambda: left // right, "%": lambda: left % right, "~": lambda: ~right,
        "==": lambda: int(left == right), "!=": lambda: int(left != right), "<": lambda: int(left < right),
        "<=": lambda: int(left <= right), ">": lambda: int(left > right), ">=": lambda: int(left >= right),
        "and": lambda: left & right, "or": lambda: left | right, "not": lambda: 1 - right,
        "d2b": lambda: int(right != 0), "b2d": lambda: right,
    }  # fmt: skip
    return binary[op]()


class _Generator:
    def __init__(self, rng: random.Random, fields: list[tuple[str, int, bool]]) -> None:
        self.rng = rng
        self.fields = fields

    @staticmethod
    def _op(op: str, left: Json | None, right: Json, **more: Json) -> Json:
        return {"type": "expression", "value": {"op": op, "left": left, "right": right, **more}}

    @staticmethod
    def constant(value: int) -> Json:
        return {"type": "hexstr", "value": hex(value)}

    def _mask(self) -> Json:
        width = self.rng.choice((1, 4, 8, 16, 17, 32, 48, 64, 80, 128))
        return self.constant(((1 << width) - 1) << self.rng.choice((0, 0, 0, 8, 13)))

    def leaf(self) -> Json:
        if self.rng.random() < 0.25:
            return self.constant(self.rng.choice((0, 1, 0xFF, -1, -128, 0x8000_0000, self.rng.getrandbits(60))))
        return {"type": "field", "value": ["x", self.rng.choice(self.fields)[0]]}

    def data(self, depth: int) -> Json:
        rng = self.rng
        if depth == 0 or rng.random() < 0.1:
            return self.leaf()
        kind = rng.randrange(16)
        if kind < 4:
            return self._op(rng.choice("+-&|^"), self.data(depth - 1), self.data(depth - 1))
        if kind < 6:
            return self._op("&", self.data(depth - 1), self._mask())
        if kind < 9:  # shifts by constants, most of them slices and concatenations
            amount = self.constant(rng.choice((0, 1, 5, 8, 16, 24, 32, 56, 64, 100, 130)))
            return self._op(rng.choice(("<<", ">>", ">>")), self.data(depth - 1), amount)
        if kind == 9:
            amount = self._op("&", self.leaf(), self.constant(rng.choice((7, 31, 0x3F, 0x7F))))
            return self._op(rng.choice(("<<", ">>")), self._op("&", self.data(depth - 1), self._mask()), amount)
        if kind == 10:
            return self._op("~", None, self.data(depth - 1))
        if kind == 11:
            return self._op("*", self._op("&", self.data(depth - 1), self._mask()), self.leaf())
        if kind == 12:
            divisor = self._op("|", self._op("&", self.leaf(), self._mask()), self.constant(1))
            return self._op(rng.choice("/%"), self._op("&", self.data(depth - 1), self._mask()), divisor)
        if kind == 13:
            width = self.constant(rng.choice((1, 2, 8, 13, 32, 33, 64, 100, 128)))
            return self._op(rng.choice(("two_comp_mod", "usat_cast", "sat_cast")), self.data(depth - 1), width)
        if kind == 14:
            return self._op("?", self.data(depth - 1), self.data(depth - 1), cond=self.boolean(depth - 1))
        return self._op("b2d", None, self.boolean(depth - 1))

    def boolean(self, depth: int) -> Json:
        rng = self.rng
        if depth <= 0:
            return self._op("d2b", None, self.leaf())
        kind = rng.randrange(6)
        if kind < 3:
            op = rng.choice(("==", "!=", "<", "<=", ">", ">="))
            return self._op(op, self.data(depth - 1), self.data(depth - 1))
        if kind == 3:
            return self._op(rng.choice(("and", "or")), self.boolean(depth - 1), self.boolean(depth - 1))
        if kind == 4:
            return self._op("not", None, self.boolean(depth - 1))
        return self._op("d2b", None, self.data(depth - 1))

    def rotation(self) -> Json:
        """(x << n) | (x >> (w - n)), masked as p4c does, now and then with a mistake in it."""
        rng = self.rng
        width = rng.choice((32, 64))
        amount = rng.randrange(1, width)
        source = self._op("&", self.data(1), self.constant((1 << width) - 1))
        other = amount if rng.random() < 0.9 else (amount + 1) % width
        left = self._op("&", self._op("<<", source, self.constant(amount)), self.constant((1 << width) - 1))
        return self._op("|", left, self._op(">>", source, self.constant(width - other)))

    def swap(self) -> Json:
        """A byte swap by slices, now and then of the wrong bytes."""
        rng = self.rng
        count = rng.choice((2, 4, 8, 16))
        source = self.data(rng.choice((0, 0, 1)))
        shift = rng.choice((0, 0, 8, 3))
        result: Json | None = None
        for i in range(count):
            at = 8 * (i if rng.random() < 0.97 else rng.randrange(count)) + shift
            byte = self._op("&", self._op(">>", source, self.constant(at)), self.constant(0xFF))
            placed = self._op("<<", byte, self.constant(8 * (count - 1 - i)))
            result = placed if result is None else self._op("|", result, placed)
        assert result is not None
        return result

    def any(self) -> Json:
        kind = self.rng.randrange(8)
        if kind == 0:
            return self.rotation()
        if kind == 1:
            return self.swap()
        return self.data(self.rng.randrange(1, 5))


def _fields(rng: random.Random, count: int, letter: str) -> list[tuple[str, int, bool]]:
    fields = []
    for i in range(count):
        width = rng.choice(_WIDTHS)
        fields.append((f"{letter}{i}", width, width > 1 and rng.random() < 0.25))
    rest = -sum(f[1] for f in fields) % 8
    if rest:
        fields.append((f"{letter}pad", rest, False))
    return fields


def random_program(seed: int, assignments: int = 40) -> RandomProgram:
    """A program that extracts x, computes every field of y from it, and sends y and x to port 2."""
    rng = random.Random(seed)
    inputs = _fields(rng, 12, "x")
    results = _fields(rng, assignments, "y")
    generator = _Generator(rng, inputs)
    expressions = [generator.any() for _ in results]
    primitives: list[Json] = [{"op": "add_header", "parameters": [{"type": "header", "value": "y"}]}]
    for (name, _, _), expression in zip(results, expressions, strict=True):
        wrapped = {"type": "expression", "value": expression}
        primitives.append({"op": "assign", "parameters": [{"type": "field", "value": ["y", name]}, wrapped]})
    port = {"type": "field", "value": ["standard_metadata", "egress_spec"]}
    primitives.append({"op": "assign", "parameters": [port, {"type": "hexstr", "value": "0x2"}]})
    return RandomProgram(_document(inputs, results, primitives), inputs, results, expressions)


def _document(inputs: list[Any], results: list[Any], primitives: list[Json]) -> Json:
    types = [
        {"name": "standard_metadata", "id": 0, "fields": [[n, w, False] for n, w in _STANDARD]},
        {"name": "x_t", "id": 1, "fields": [list(f) for f in inputs]},
        {"name": "y_t", "id": 2, "fields": [list(f) for f in results]},
    ]
    headers = [
        {"name": name, "id": i, "header_type": f"{kind}", "metadata": i == 0}
        for i, (name, kind) in enumerate((("standard_metadata", "standard_metadata"), ("x", "x_t"), ("y", "y_t")))
    ]
    table = {
        "name": "tbl", "id": 0, "key": [], "match_type": "exact", "type": "simple", "max_size": 1,
        "with_counters": False, "support_timeout": False, "direct_meters": None, "action_ids": [0], "actions": ["act"],
        "base_default_next": None, "next_tables": {"act": None},
        "default_entry": {"action_id": 0, "action_const": True, "action_data": [], "action_entry_const": True},
    }  # fmt: skip
    state = {
        "name": "start", "id": 0, "transition_key": [],
        "parser_ops": [{"op": "extract", "parameters": [{"type": "regular", "value": "x"}]}],
        "transitions": [{"type": "default", "value": None, "mask": None, "next_state": None}],
    }  # fmt: skip
    aliases = [
        ["intrinsic_metadata.mcast_grp", ["standard_metadata", "mcast_grp"]],
        ["intrinsic_metadata.egress_rid", ["standard_metadata", "egress_rid"]],
    ]
    empty: list[Json] = []
    return {
        "header_types": types, "headers": headers, "header_stacks": empty, "header_union_types": empty,
        "header_unions": empty, "header_union_stacks": empty, "field_lists": empty, "errors": [["NoError", 0]],
        "enums": empty, "parsers": [{"name": "parser", "id": 0, "init_state": "start", "parse_states": [state]}],
        "parse_vsets": empty, "deparsers": [{"name": "deparser", "id": 0, "order": ["y", "x"], "primitives": empty}],
        "meter_arrays": empty, "counter_arrays": empty, "register_arrays": empty, "calculations": empty,
        "learn_lists": empty, "actions": [{"name": "act", "id": 0, "runtime_data": empty, "primitives": primitives}],
        "pipelines": [
            {"name": "ingress", "id": 0, "init_table": "tbl", "tables": [table], "action_profiles": empty,
             "conditionals": empty},
            {"name": "egress", "id": 1, "init_table": None, "tables": empty, "action_profiles": empty,
             "conditionals": empty},
        ],
        "checksums": empty, "force_arith": empty, "extern_instances": empty, "field_aliases": aliases,
        "__meta__": {"version": [2, 23], "compiler": "none"},
    }  # fmt: skip


def random_packets(program: RandomProgram, seed: int, count: int) -> list[bytes]:
    """Inputs, with runs of zeros and ones more often than chance has them."""
    rng = random.Random(seed)
    packets = []
    for _ in range(count):
        body = bytearray(rng.randbytes(program.input_bytes))
        for _ in range(rng.randrange(4)):
            at, size = rng.randrange(len(body)), rng.randrange(1, 17)
            fill = rng.choice((b"\0", b"\xff"))
            body[at : at + size] = fill * len(body[at : at + size])
        packets.append(bytes(body))
    return packets
