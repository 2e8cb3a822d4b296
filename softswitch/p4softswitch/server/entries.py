# SPDX-License-Identifier: Apache-2.0
"""Match keys and actions between P4Runtime messages and the engine.

The checks are those of BMv2's P4Runtime server, in its order, so that an entry with several faults is refused with the
same code. Where they are stricter, the reason stands beside them.
"""

from __future__ import annotations

from typing import Any

from finsy.proto import p4r

from ..engine_api import ActionCall, KeyPart
from .bytestring import all_ones, decode, encode, width_bytes
from .schema import Action, MatchField, MatchKind, Prefix, Schema, Scope, Table
from .status import Code, P4Error, invalid

Key = tuple[tuple[KeyPart, ...], int]
"""Match key and priority: what identifies an entry in its table."""

_ONEOF = {
    MatchKind.EXACT: "exact",
    MatchKind.LPM: "lpm",
    MatchKind.TERNARY: "ternary",
    MatchKind.RANGE: "range",
    MatchKind.OPTIONAL: "optional",
}


def table_of(schema: Schema, table_id: int) -> Table:
    """The table with that id.

    Raises:
        P4Error: INVALID_ARGUMENT.
    """
    table = schema.tables.get(table_id)
    if table is None:
        raise invalid(f"Invalid P4 id: there is no table {table_id:#010x}")
    return table


def _exact(match: Any, field: MatchField, what: str) -> KeyPart:
    return KeyPart(decode(match.value, field.bitwidth, what))


def _lpm(match: Any, field: MatchField, what: str) -> KeyPart:
    value = decode(match.value, field.bitwidth, what)
    length = match.prefix_len
    if length < 0:
        raise invalid(f"{what}: the prefix length is negative")
    if length > field.bitwidth:
        raise invalid(f"{what}: the prefix length is above the field's {field.bitwidth} bits")
    if length == 0:
        raise invalid(f"{what}: 'don't care' is said by omitting the field, not with a prefix length of 0")
    # BMv2 counts the trailing zeros from whole bytes, so that fields of, say, 12 bits admit fewer prefixes than they
    # should.
    trailing = 8 * len(value) - length
    if int.from_bytes(value, "big") & ((1 << trailing) - 1):
        raise invalid(f"{what}: bits are set behind the prefix")
    return KeyPart(value, prefix_len=length)


def _ternary(match: Any, field: MatchField, what: str) -> KeyPart:
    value = decode(match.value, field.bitwidth, what)
    mask = decode(match.mask, field.bitwidth, f"{what}, mask")
    bits = int.from_bytes(mask, "big")
    if not bits:
        raise invalid(f"{what}: 'don't care' is said by omitting the field, not with a mask of 0")
    if int.from_bytes(value, "big") & ~bits:
        raise invalid(f"{what}: bits are set outside the mask")
    return KeyPart(value, mask=mask)


def _range(match: Any, field: MatchField, what: str) -> KeyPart:
    low = decode(match.low, field.bitwidth, f"{what}, low")
    high = decode(match.high, field.bitwidth, f"{what}, high")
    if low > high:
        raise invalid(f"{what}: low is above high")
    # BMv2 compares the strings as sent; a client that writes both in canonical form gets a full range of two bytes
    # accepted.
    if len(match.low) == len(match.high) and not any(match.low) and set(match.high) == {0xFF}:
        raise invalid(f"{what}: 'don't care' is said by omitting the field, not with the full range")
    return KeyPart(low, mask=high)


def _optional(match: Any, field: MatchField, what: str) -> KeyPart:
    return KeyPart(decode(match.value, field.bitwidth, what), mask=all_ones(field.bitwidth))


_DECODERS = {
    MatchKind.EXACT: _exact,
    MatchKind.LPM: _lpm,
    MatchKind.TERNARY: _ternary,
    MatchKind.RANGE: _range,
    MatchKind.OPTIONAL: _optional,
}


def _omitted(field: MatchField, what: str) -> KeyPart:
    zero = bytes(width_bytes(field.bitwidth))
    if field.kind is MatchKind.LPM:
        return KeyPart(zero, prefix_len=0)
    if field.kind in (MatchKind.TERNARY, MatchKind.OPTIONAL):
        return KeyPart(zero, mask=zero)
    if field.kind is MatchKind.RANGE:
        return KeyPart(zero, mask=all_ones(field.bitwidth))
    raise invalid(f"{what}: an exact field must be given")


def key_of(table: Table, entry: Any) -> Key:
    """Match key and priority of a p4.v1.TableEntry that is not the default entry.

    Raises:
        P4Error: INVALID_ARGUMENT.
    """
    where = f"table {table.name}"
    if len(entry.match) > len(table.fields):
        raise invalid(f"{where}: too many fields in the match key")
    given: dict[int, Any] = {}
    for match in entry.match:
        given.setdefault(match.field_id, match)
    parts: list[KeyPart] = []
    for field in table.fields:
        what = f"{where}, field {field.name}"
        match = given.pop(field.id, None)
        if match is None:
            parts.append(_omitted(field, what))
            continue
        name = _ONEOF[field.kind]
        if match.WhichOneof("field_match_type") != name:
            raise invalid(f"{what}: the match type is {name}")
        parts.append(_DECODERS[field.kind](getattr(match, name), field, what))
    if given:
        raise invalid(f"{where}: there is no match field {min(given)}")
    if len({match.field_id for match in entry.match}) != len(entry.match):
        raise invalid(f"{where}: a field stands twice in the match key")
    if entry.priority < 0:
        # BMv2 ignores it in tables without priorities and answers UNKNOWN in others.
        raise invalid(f"{where}: the priority is negative")
    if entry.priority and not table.needs_priority:
        raise invalid(f"{where}: entries have no priority")
    if not entry.priority and table.needs_priority:
        raise invalid(f"{where}: entries need a priority above 0")
    return tuple(parts), entry.priority


def check_default(entry: Any) -> None:
    """A default entry has neither key nor priority.

    Raises:
        P4Error: INVALID_ARGUMENT.
    """
    if entry.match:
        raise invalid("the default entry has no match key")
    if entry.priority:
        raise invalid("the default entry has no priority")


def write_key(table: Table, key: Key, entry: Any) -> None:
    """Put key and priority into a p4.v1.TableEntry; 'don't care' is left out, byte strings are canonical."""
    parts, priority = key
    if table.needs_priority:
        entry.priority = priority
    for field, part in zip(table.fields, parts, strict=True):
        if field.kind is MatchKind.EXACT:
            entry.match.add(field_id=field.id).exact.value = encode(part.value)
        elif field.kind is MatchKind.LPM:
            if part.prefix_len:
                lpm = entry.match.add(field_id=field.id).lpm
                lpm.value, lpm.prefix_len = encode(part.value), part.prefix_len
        elif field.kind is MatchKind.RANGE:
            high = part.mask or b""
            # As BMv2: only a range of whole bytes is recognised as 'don't care'.
            if any(part.value) or set(high) != {0xFF}:
                match = entry.match.add(field_id=field.id).range
                match.low, match.high = encode(part.value), encode(high)
        elif any(part.mask or b""):
            match = entry.match.add(field_id=field.id)
            if field.kind is MatchKind.TERNARY:
                match.ternary.value, match.ternary.mask = encode(part.value), encode(part.mask or b"")
            else:
                match.optional.value = encode(part.value)


def _action_of(schema: Schema, table: Table, action: Any) -> Action:
    number = action.action_id
    if number >> 24 != Prefix.ACTION or number not in schema.actions:
        raise invalid(f"Invalid P4 id: there is no action {number:#010x}")
    if number not in table.actions:
        raise invalid(f"table {table.name} has no action {schema.actions[number].name}")
    return schema.actions[number]


def check_action(schema: Schema, table: Table, entry: Any) -> None:
    """May this entry have this action? Also refuses to touch a constant default action.

    Raises:
        P4Error: INVALID_ARGUMENT, or PERMISSION_DENIED for scopes and constant defaults.
    """
    if entry.is_default_action and table.const_default:
        raise P4Error(Code.PERMISSION_DENIED, f"table {table.name}: the default action is constant")
    if table.profile is not None and entry.is_default_action:
        raise invalid(f"table {table.name} has an action profile: its default action cannot be changed")
    if not entry.HasField("action"):
        return
    if table.profile is not None:
        if entry.action.WhichOneof("type") in (None, "action"):
            raise invalid(f"table {table.name}: its entries take a member, a group or an action set")
        return
    if entry.action.WhichOneof("type") != "action":
        raise invalid(f"table {table.name}: its entries take an action, nothing else")
    action = _action_of(schema, table, entry.action.action)
    scope = table.actions[action.id]
    if scope is Scope.TABLE_ONLY and entry.is_default_action:
        raise P4Error(Code.PERMISSION_DENIED, f"table {table.name}: {action.name} cannot be the default action")
    if scope is Scope.DEFAULT_ONLY and not entry.is_default_action:
        raise P4Error(Code.PERMISSION_DENIED, f"table {table.name}: {action.name} can only be the default action")


def action_call(schema: Schema, action_proto: Any) -> ActionCall:
    """The call of an action that `check_action` has admitted.

    Raises:
        P4Error: INVALID_ARGUMENT: number, ids or widths of the parameters.
    """
    action = schema.actions[action_proto.action_id]
    if len(action_proto.params) != len(action.params):
        raise invalid(f"action {action.name} takes {len(action.params)} parameters")
    given = {param.param_id: param.value for param in action_proto.params}
    values: list[bytes] = []
    for param in action.params:
        # BMv2 takes a parameter that stands twice, and leaves the one that is missing uninitialised.
        if param.id not in given:
            raise invalid(f"action {action.name}: parameter {param.name} is missing")
        values.append(decode(given[param.id], param.bitwidth, f"action {action.name}, parameter {param.name}"))
    return ActionCall(action.name, tuple(values))


def write_action(schema: Schema, call: ActionCall) -> Any:
    """The call as p4.v1.Action, with canonical byte strings.

    Raises:
        P4Error: INTERNAL: the engine names an action that the p4info does not know.
    """
    action = schema.actions_by_name.get(call.name)
    if action is None or len(action.params) != len(call.params):
        raise P4Error(Code.INTERNAL, f"the p4info does not describe the action {call.name}")
    proto = p4r.Action(action_id=action.id)
    for param, value in zip(action.params, call.params, strict=True):
        proto.params.add(param_id=param.id, value=encode(value))
    return proto
