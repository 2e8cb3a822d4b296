# SPDX-License-Identifier: Apache-2.0
"""What the engine does not implement is refused when the JSON is loaded, by name and place, and never ignored."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from engine_damage import damage
from engine_scenarios import PROGRAMS
from p4softswitch.bmv2json import load_program
from p4softswitch.codegen import translate
from p4softswitch.engine_api import UnsupportedProgram

ROUTER = json.loads((PROGRAMS / "router.json").read_text())
Json = dict[str, Any]


def refusal(change: Callable[[Json], None]) -> str:
    document = copy.deepcopy(ROUTER)
    change(document)
    with pytest.raises(UnsupportedProgram) as caught:
        translate(load_program(json.dumps(document).encode()))
    return str(caught.value)


def first_assign(document: Json) -> Json:
    for action in document["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "assign":
                found: Json = primitive
                return found
    raise AssertionError


def state(document: Json, name: str = "start") -> Json:
    return next(s for s in document["parsers"][0]["parse_states"] if s["name"] == name)


def table(document: Json, name: str) -> Json:
    return next(t for t in document["pipelines"][0]["tables"] if t["name"] == name)


def set_value(primitive: Json, value: Json) -> None:
    primitive["parameters"][1] = {"type": "expression", "value": value}


def expression(op: str) -> Json:
    one = {"type": "hexstr", "value": "0x1"}
    return {"type": "expression", "value": {"op": op, "left": one, "right": one}}


def wide_sum() -> Json:
    wide = {"type": "field", "value": ["ethernet", "dst"]}
    amount = {"type": "hexstr", "value": "0x200"}
    shifted = {"type": "expression", "value": {"op": "<<", "left": wide, "right": amount}}
    return {"type": "expression", "value": {"op": "+", "left": shifted, "right": amount}}


def nested(depth: int) -> Json:
    node: Json = {"type": "hexstr", "value": "0x1"}
    for _ in range(depth):
        node = {"type": "expression", "value": {"op": "~", "left": None, "right": node}}
    return node


def with_wide_field(document: Json) -> Json:
    """A field of 256 bits in the Ethernet header, as an operand."""
    header = next(h for h in document["headers"] if h["name"] == "ethernet")
    next(t for t in document["header_types"] if t["name"] == header["header_type"])["fields"].append(["f", 256, False])
    return {"type": "field", "value": ["ethernet", "f"]}


def wide_key(document: Json) -> None:
    table(document, "IngressPipe.bridge")["key"][0]["target"] = with_wide_field(document)["value"]


def wide_shift(document: Json) -> None:
    field = with_wide_field(document)
    value = {"op": ">>", "left": field, "right": {"type": "hexstr", "value": "0x8"}}
    first_assign(document)["parameters"] = [field, {"type": "expression", "value": value}]


CHANGES: list[tuple[str, str, Callable[[Json], object]]] = [
    ("header unions", "header_unions u: a header union", lambda d: d["header_unions"].append({"name": "u"})),
    ("union stacks", "header_union_stacks", lambda d: d["header_union_stacks"].append({"name": "u"})),
    ("value sets", "parser state start: malformed JSON: there is no parser value set v", lambda d: state(d)[
        "transitions"].append({"type": "parse_vset", "value": "v", "mask": None, "next_state": None})),
    ("externs", "extern_instances e: an extern", lambda d: d["extern_instances"].append({"name": "e"})),
    ("sections", "section 'novelty'", lambda d: d.update(novelty=[])),
    ("version", "format version 3.0", lambda d: d["__meta__"].update(version=[3, 0])),
    (
        "variable length",
        "variable-length field rest",
        lambda d: d["header_types"][-1]["fields"].append(["rest", "*", False]),
    ),
    ("wide fields", "field f of 4104 bits", lambda d: d["header_types"][-1]["fields"].append(["f", 4104, False])),
    ("wide signed fields", "signed field f of 256 bits", lambda d: d["header_types"][-1]["fields"].append(
        ["f", 256, True])),
    ("wide keys", "table IngressPipe.bridge: field f of more than 128 bits in this place", wide_key),
    ("assignments of a wide field to itself", "of what is computed from its higher bits", wide_shift),
    (
        "saturating fields",
        "saturating field f",
        lambda d: d["header_types"][-1]["fields"].append(["f", 8, False, True]),
    ),
    ("primitives", "primitive 'sparkle'", lambda d: first_assign(d).update(op="sparkle")),
    ("operators", "operator '**'", lambda d: set_value(first_assign(d), expression("**"))),
    (
        "operands",
        "expression of type 'union_stack_field'",
        lambda d: set_value(first_assign(d), {"type": "union_stack_field", "value": ["a", "b", "c"]}),
    ),
    ("intermediates", "an intermediate value of 560 bits", lambda d: set_value(first_assign(d), wide_sum())),
    ("action profiles", "table IngressPipe.bridge: malformed JSON: there is no action profile p", lambda d: table(
        d, "IngressPipe.bridge").update(type="indirect", action_profile="p")),
    ("selectors", "action profile p: malformed JSON: 'algo' is missing", lambda d: d["pipelines"][0].update(
        action_profiles=[{"name": "p", "id": 0, "max_size": 1, "selector": {}}])),
    ("types of tables", "table IngressPipe.bridge: malformed JSON: type 'direct'", lambda d: table(
        d, "IngressPipe.bridge").update(type="direct")),
    (
        "match kinds",
        "match type 'fuzzy'",
        lambda d: table(d, "IngressPipe.bridge")["key"][0].update(match_type="fuzzy"),
    ),
    (
        "parser operations",
        "parser state start, conjure: parser operation 'conjure'",
        lambda d: state(d)["parser_ops"].append({"op": "conjure", "parameters": []}),
    ),
    (
        "extraction of variable length",
        "parser operation 'extract_VL'",
        lambda d: state(d)["parser_ops"][0].update(op="extract_VL"),
    ),
    ("transitions", "transition 'nvo3ref'", lambda d: state(d)["transitions"][0].update(type="nvo3ref")),
    ("algorithms", "hash algorithm 'crc64'", lambda d: d["calculations"][0].update(algo="crc64")),
    ("meters", "meter m: 3 rates", lambda d: d["meter_arrays"].append(
        {"name": "m", "id": 9, "type": "packets", "rate_count": 3, "size": 1, "is_direct": False})),
    ("registers", "a register of 200 bits", lambda d: d["register_arrays"].append(
        {"name": "r", "id": 9, "size": 1, "bitwidth": 200})),
    ("pipelines", "without the pipeline egress", lambda d: d["pipelines"].pop()),
    ("architecture", "no standard_metadata.packet_length", lambda d: [
        f.__setitem__(0, "elsewhere") for t in d["header_types"] for f in t["fields"] if f[0] == "packet_length"]),
    ("other architectures", "headers: an architecture other than v1model's", lambda d: [
        h.update(name="psa_metadata") for h in d["headers"] if h["name"] == "standard_metadata"]),
    ("unknown header", "there is no header 'ghost'", lambda d: d["deparsers"][0]["order"].append("ghost")),
    ("unknown state", "there is no state limbo", lambda d: state(d)["transitions"][0].update(next_state="limbo")),
    ("missing keys", "table IngressPipe.bridge: malformed JSON: 'next_tables' is missing", lambda d: table(
        d, "IngressPipe.bridge").pop("next_tables")),
    ("other kinds", "parser state start, extract: malformed JSON: something is not of the kind", lambda d: state(d)[
        "parser_ops"][0].update(parameters=7)),
    ("names", "headers, number 0: malformed JSON: a name is expected", lambda d: d["headers"][0].update(name=[])),
    ("doubles", "two headers have this name", lambda d: d["headers"].append(d["headers"][0])),
    ("double tables", "tables: malformed JSON: two are called", lambda d: d["pipelines"][1].update(
        tables=d["pipelines"][0]["tables"], init_table=None, conditionals=d["pipelines"][0]["conditionals"])),
    ("sections of another kind", "actions: malformed JSON: a list is expected", lambda d: d.update(actions={})),
    ("numbers", "table IngressPipe.bridge: malformed JSON: max_size is '-1'", lambda d: table(
        d, "IngressPipe.bridge").update(max_size=-1)),
    ("depth", "an expression nested deeper than", lambda d: set_value(first_assign(d), nested(200))),
    ("jumps", "jump to 999", lambda d: first_assign(d).update(
        op="_jump", parameters=[{"type": "hexstr", "value": "0x3e7"}])),
]  # fmt: skip


@pytest.mark.parametrize(("message", "change"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_refusal(message: str, change: Callable[[Json], None]) -> None:
    assert re.search(re.escape(message), refusal(change))


def test_not_json() -> None:
    for text in (b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\uD800"}'):
        with pytest.raises(UnsupportedProgram, match="JSON"):
            load_program(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in PROGRAMS.glob("*.json")))
def test_damage(name: str) -> None:
    """Whatever is damaged: it loads, or what is wrong is said in words that can be sent on, and in none of Python's."""
    program = json.loads((PROGRAMS / f"{name}.json").read_text())
    rng = random.Random(name)
    refused = 0
    for times in (1, 1, 1, 2, 4) * 20:
        damaged = json.dumps(damage(program, rng, times)).encode()
        try:
            translate(load_program(damaged))
        except UnsupportedProgram as refusal:
            refused += 1
            text = str(refusal)
            text.encode()
            assert not re.search("(Key|Type|Value|Attribute|Index|Recursion|Overflow)Error|Traceback", text)
    assert refused
