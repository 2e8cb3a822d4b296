# SPDX-License-Identifier: Apache-2.0
"""What is done to both switches, step by step, and what they did: plain data that can be stored and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finsy.proto import p4r
from google.protobuf import text_format


@dataclass(frozen=True)
class Write:
    """One WriteRequest. Updates are kept as bytes, so that steps compare and hash."""

    updates: tuple[bytes, ...]

    def messages(self) -> list[p4r.Update]:
        return [p4r.Update.FromString(one) for one in self.updates]

    def parts(self) -> tuple[bytes, ...]:
        return self.updates

    def of(self, parts: Sequence[Any]) -> Write:
        return Write(tuple(parts))

    def describe(self) -> list[str]:
        return [text_format.MessageToString(one, as_one_line=True) for one in self.messages()]


@dataclass(frozen=True)
class Frames:
    """Frames that arrive on data ports, in this order; on the CPU port with the packet-out header in front."""

    frames: tuple[tuple[int, bytes], ...]

    def parts(self) -> tuple[tuple[int, bytes], ...]:
        return self.frames

    def of(self, parts: Sequence[Any]) -> Frames:
        return Frames(tuple(parts))

    def describe(self) -> list[str]:
        return [f"port {port}: {frame.hex()}" for port, frame in self.frames]


@dataclass(frozen=True)
class PacketOuts:
    """Packet-outs through P4Runtime: header fields in the order of p4info, and the frame."""

    packets: tuple[tuple[tuple[tuple[str, int], ...], bytes], ...]

    def parts(self) -> tuple[Any, ...]:
        return self.packets

    def of(self, parts: Sequence[Any]) -> PacketOuts:
        return PacketOuts(tuple(parts))

    def describe(self) -> list[str]:
        return [f"packet-out {dict(fields)}: {payload.hex()}" for fields, payload in self.packets]


Step = Write | Frames | PacketOuts


@dataclass
class Outcome:
    """What one switch did in one step. Counters are absolute: a world begins with all of them at zero."""

    codes: list[str] = field(default_factory=list)
    outputs: dict[int, list[bytes]] = field(default_factory=dict)
    packet_ins: list[tuple[tuple[tuple[str, int], ...], bytes]] = field(default_factory=list)
    drops: dict[str, tuple[int, int]] = field(default_factory=dict)
    direct: dict[str, tuple[int, int]] = field(default_factory=dict)
    entries: frozenset[bytes] | None = None
    failure: str = ""


@dataclass(frozen=True)
class Difference:
    """The first thing in which two outcomes differ."""

    what: str
    first: str
    second: str

    def describe(self, names: tuple[str, str]) -> str:
        return f"{self.what}\n  {names[0]}: {self.first}\n  {names[1]}: {self.second}"


def compare(one: Outcome, other: Outcome, ordered: bool) -> Difference | None:
    """None if both did the same. ordered: the order within a port counts, since every port is a queue on both."""
    if one.failure or other.failure:
        return Difference("a switch failed", one.failure or "alive", other.failure or "alive")
    if one.codes != other.codes:
        return Difference("status of the updates", str(one.codes), str(other.codes))
    for port in sorted(one.outputs.keys() | other.outputs.keys()):
        mine, theirs = one.outputs.get(port, []), other.outputs.get(port, [])
        if not ordered:
            mine, theirs = sorted(mine), sorted(theirs)
        if mine != theirs:
            return Difference(f"output of port {port}", *_lists(mine, theirs))
    if one.packet_ins != other.packet_ins:
        return Difference("packet-ins", *_lists(one.packet_ins, other.packet_ins))
    for what, counted, against in (
        ("drop counters", one.drops, other.drops),
        ("direct counters", one.direct, other.direct),
    ):
        if counted != against:
            keys = sorted(key for key in counted.keys() | against.keys() if counted.get(key) != against.get(key))
            return Difference(
                f"{what} (packets, bytes)",
                str({key: counted.get(key) for key in keys}),
                str({key: against.get(key) for key in keys}),
            )
    if one.entries != other.entries:
        assert one.entries is not None
        assert other.entries is not None
        return Difference(
            "entries read back", _entities(one.entries - other.entries), _entities(other.entries - one.entries)
        )
    return None


def _lists(mine: Sequence[Any], theirs: Sequence[Any]) -> tuple[str, str]:
    """From the first place on in which they differ."""
    at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    return _from(mine, at), _from(theirs, at)


def _from(items: Sequence[Any], at: int) -> str:
    shown = items[at].hex() if at < len(items) and isinstance(items[at], bytes) else str(items[at : at + 1])
    return f"{len(items)} in all, number {at}: {shown}"


def _entities(messages: frozenset[bytes]) -> str:
    return str(
        [text_format.MessageToString(p4r.Entity.FromString(one), as_one_line=True) for one in sorted(messages)[:6]]
    )


def to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """For a file that `--replay` reads; `text` is for people."""
    encoded: list[dict[str, Any]] = []
    for step in steps:
        if isinstance(step, Write):
            encoded.append({"write": [one.hex() for one in step.updates], "text": step.describe()})
        elif isinstance(step, Frames):
            encoded.append({"frames": [[port, frame.hex()] for port, frame in step.frames]})
        else:
            encoded.append({"packet_outs": [[dict(fields), frame.hex()] for fields, frame in step.packets]})
    return encoded


def from_json(encoded: Sequence[dict[str, Any]]) -> list[Step]:
    steps: list[Step] = []
    for one in encoded:
        if "write" in one:
            steps.append(Write(tuple(bytes.fromhex(update) for update in one["write"])))
        elif "frames" in one:
            steps.append(Frames(tuple((port, bytes.fromhex(frame)) for port, frame in one["frames"])))
        else:
            steps.append(
                PacketOuts(tuple((tuple(fields.items()), bytes.fromhex(frame)) for fields, frame in one["packet_outs"]))
            )
    return steps
