# SPDX-License-Identifier: Apache-2.0
"""Match keys and actions: between byte strings of the control plane and the 64-bit words of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from p4softswitch.bmv2json.program import Action, ConstEntry, KeyField, MatchKind, Table
from p4softswitch.codegen.layout import key_layout, pack, unpack, words
from p4softswitch.engine import binding
from p4softswitch.engine_api import Action as EntryAction
from p4softswitch.engine_api import ActionCall, EngineError, KeyPart, ProfileRef, TableEntry

# P4Runtime's larger priority wins, BMv2's smaller one: both sides of it are seen through this, as by PI.
MAX_PRIORITY = (1 << 31) - 1


def _int(value: bytes | None, field: KeyField, what: str) -> int:
    if value is None or len(value) != (field.width + 7) // 8:
        raise EngineError(f"{field.name}: the {what} has to have {(field.width + 7) // 8} bytes")
    number = int.from_bytes(value, "big")
    if number >> field.width:
        raise EngineError(f"{field.name}: the {what} has more than {field.width} bits")
    return number


def _prefix_mask(prefix_len: int, width: int) -> int:
    return ((1 << prefix_len) - 1) << (width - prefix_len)


def encode_params(action: Action, call: ActionCall) -> bytes:
    """Parameters in words. Raises EngineError where number or sizes are not the action's."""
    params = action.params
    if len(params) != len(call.params):
        raise EngineError(f"{call.name} takes {len(params)} parameters")
    data = b""
    for param, value in zip(params, call.params, strict=True):
        number = int.from_bytes(value, "big")
        if len(value) != (param.width + 7) // 8 or number >> param.width:
            raise EngineError(f"{call.name}: {param.name} has {param.width} bits")
        data += number.to_bytes(8 * words(param.width), "little")
    return data


class TableCodec:
    """For one table."""

    def __init__(self, table: Table, actions: dict[int, Action]) -> None:
        self.table = table
        self.layout = key_layout(table)
        self.actions = [actions[a] for a in table.actions]
        self._number = {action.name: i for i, action in enumerate(self.actions)}
        self._prioritized = table.match_kind in (MatchKind.TERNARY, MatchKind.RANGE)

    # To the table ----------------------------------------------------------------------------------------------------

    def key(self, parts: Sequence[KeyPart], priority: int) -> tuple[bytes, bytes, int, int]:
        """(key, mask, prefix length, BMv2's priority) for the runtime. Raises EngineError for a malformed key."""
        if len(parts) != len(self.table.key):
            raise EngineError(f"{self.table.name}: a key has {len(self.table.key)} parts")
        values: list[int] = []
        masks: list[int] = []
        prefix = 0
        for part, field in zip(parts, self.table.key, strict=True):
            value = _int(part.value, field, "value")
            mask = (1 << field.width) - 1
            if field.kind is MatchKind.LPM:
                if part.prefix_len is None or not 0 <= part.prefix_len <= field.width:
                    raise EngineError(f"{field.name}: a prefix has 0 to {field.width} bits")
                mask = _prefix_mask(part.prefix_len, field.width)
                prefix = part.prefix_len
            elif field.kind is MatchKind.TERNARY:
                mask = _int(part.mask, field, "mask")
            elif field.kind is MatchKind.RANGE:
                mask = _int(part.mask, field, "upper end")
                if value > mask:
                    raise EngineError(f"{field.name}: the range is empty")
            values.append(value if field.kind is MatchKind.RANGE else value & mask)
            masks.append(mask)
        if not self._prioritized:
            priority = MAX_PRIORITY
        if not 0 <= priority <= MAX_PRIORITY:
            raise EngineError(f"{self.table.name}: priority {priority} is out of range")
        if self.table.match_kind is not MatchKind.LPM:
            prefix = 0
        size = 8 * self.layout.words
        return (
            pack(self.layout, values).to_bytes(size, "little"),
            pack(self.layout, masks).to_bytes(size, "little"),
            prefix,
            MAX_PRIORITY - priority,
        )

    def action(self, call: ActionCall) -> tuple[int, bytes, int]:
        """The default action: (number within the table, parameters in words, number of words)."""
        number, data = self._action(call)
        return self._words(number, data)

    def _words(self, number: int, data: bytes) -> tuple[int, bytes, int]:
        """Where entries have idle timeouts, the time of the last hit stands in front; the runtime sets it."""
        if self.table.idle_timeout:
            data = bytes(8) + data
        return number, data, len(data) // 8

    def _action(self, call: ActionCall) -> tuple[int, bytes]:
        if call.name == "NoAction" and "NoAction" not in self._number and not call.params:
            return binding.NO_ACTION, b""
        if call.name not in self._number:
            raise EngineError(f"{self.table.name} has no action {call.name}")
        number = self._number[call.name]
        return number, encode_params(self.actions[number], call)

    def entry_content(self, action: EntryAction) -> tuple[int, bytes, int]:
        """The same for an entry, which refers to a member or group where the table has an action profile."""
        if (self.table.profile is not None) != isinstance(action, ProfileRef):
            raise EngineError(f"{self.table.name}: entries take {'no ' * (self.table.profile is None)}member or group")
        if isinstance(action, ActionCall):
            return self._words(*self._action(action))
        return self._words(0, (int(action.group) << 32 | action.handle).to_bytes(8, "little"))

    def action_id(self, call: ActionCall) -> int | None:
        """The action's number within the program; None if the table does not have it."""
        return next((action.id for action in self.actions if action.name == call.name), None)

    def const_entry(self, entry: ConstEntry) -> tuple[list[KeyPart], int, ActionCall]:
        """A constant entry of the program, in the terms of the control plane."""
        parts = []
        for part, field in zip(entry.key, self.table.key, strict=True):
            size = (field.width + 7) // 8
            value = (part.value & ((1 << field.width) - 1)).to_bytes(size, "big")
            mask = None if part.mask is None else (part.mask & ((1 << field.width) - 1)).to_bytes(size, "big")
            parts.append(KeyPart(value, mask, part.prefix_len))
        priority = MAX_PRIORITY - entry.priority if self._prioritized else 0
        return parts, priority, self._call(self.table.actions.index(entry.action), list(entry.args))

    def program_default(self) -> ActionCall:
        """The default action that the program declares."""
        default = self.table.default
        if default is None:
            return ActionCall("NoAction")
        return self._call(self.table.actions.index(default.action), list(default.args))

    # From the table --------------------------------------------------------------------------------------------------

    def _call(self, number: int, args: list[int]) -> ActionCall:
        action = self.actions[number]
        return ActionCall(
            action.name,
            tuple(v.to_bytes((p.width + 7) // 8, "big") for v, p in zip(args, action.params, strict=True)),
        )

    def _content_at(self, offset: int) -> int:
        return offset + binding.ENTRY_HEAD + 16 * self.layout.words + 8 * self.table.idle_timeout

    def idle_us(self, data: bytes, offset: int) -> int | None:
        """How long the entry in a record has been idle; None in a table without idle timeouts."""
        if not self.table.idle_timeout:
            return None
        at = self._content_at(offset)
        return int.from_bytes(data[at - 8 : at], "little")

    def entry_action(self, data: bytes, offset: int) -> ActionCall:
        """The action of the entry in a record."""
        number = binding.read_entry(data, offset)[2]
        if number >= len(self.actions):
            return ActionCall("NoAction")
        at = self._content_at(offset)
        args = []
        for param in self.actions[number].params:
            size = 8 * words(param.width)
            args.append(int.from_bytes(data[at : at + size], "little"))
            at += size
        return self._call(number, args)

    def entry(self, data: bytes, offset: int) -> TableEntry:
        """The entry in a record."""
        priority = binding.read_entry(data, offset)[3]
        at = offset + binding.ENTRY_HEAD
        size = 8 * self.layout.words
        values = unpack(self.layout, int.from_bytes(data[at : at + size], "little"))
        masks = unpack(self.layout, int.from_bytes(data[at + size : at + 2 * size], "little"))
        parts = []
        for field, value, mask in zip(self.table.key, values, masks, strict=True):
            width = (field.width + 7) // 8
            raw = value.to_bytes(width, "big")
            if field.kind is MatchKind.LPM:
                parts.append(KeyPart(raw, prefix_len=mask.bit_count()))
            elif field.kind in (MatchKind.TERNARY, MatchKind.RANGE):
                parts.append(KeyPart(raw, mask.to_bytes(width, "big")))
            else:
                parts.append(KeyPart(raw))
        shown = MAX_PRIORITY - priority if self._prioritized else 0
        if self.table.profile is not None:
            start = self._content_at(offset)
            ref = int.from_bytes(data[start : start + 8], "little")
            return TableEntry(tuple(parts), shown, ProfileRef(ref & 0xFFFFFFFF, bool(ref >> 32)))
        return TableEntry(tuple(parts), shown, self.entry_action(data, offset))


def format_message(text: str, body: bytes) -> str:
    """A log_msg: each pair of braces is replaced by an argument, in decimal; `\\{` and `\\}` are braces."""
    args = [int.from_bytes(body[i : i + 16], "little", signed=True) for i in range(0, len(body), 16)]
    result = ""
    at = 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in "{}":
            result += text[at + 1]
            at += 2
        elif text[at] == "{" and "}" in text[at:]:
            result += str(args.pop(0)) if args else "{}"
            at = text.index("}", at) + 1
        else:
            result += text[at]
            at += 1
    return result
