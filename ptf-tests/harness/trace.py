# SPDX-License-Identifier: Apache-2.0
"""Recorded tests: what went into a switch and what came of it, as JSON lines. The format is in traces/README.md."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from finsy.proto import p4r
from nvo3ref.reasons import Reason

from harness.p4runtime import WriteRefused
from harness.schema import Entry, entry, update
from harness.session import FOREVER, Session

TRACES = Path(__file__).parents[1] / "traces"
FORMAT = 1
LARGEST = 64 * 1024  # bytes: what is longer tests many packets of one kind, and is not kept
# Of a packet-in: what differs from run to run.
MASKED = ("timestamp",)


class TraceDiffers(AssertionError):
    """A switch did not do what the recording says."""


class Recorder:
    """Takes down the events of one test."""

    def __init__(self, session: Session) -> None:
        self._header = {
            "format": FORMAT,
            "target": session.target,
            "version": session.switch.version(),
            "flags": list(session.switch.flags),
            "program": _program(session),
        }
        self._events: list[dict[str, Any]] = []

    def add(self, event: dict[str, Any]) -> None:
        self._events.append(_plain(event))

    def save(self, module: str, name: str) -> None:
        lines = [self._header | {"test": f"{module}.{name}"}, *self._events]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        path = TRACES / f"{module}.{name}.jsonl"
        if len(text) <= LARGEST:
            path.write_text(text)
        else:
            path.unlink(missing_ok=True)


def _program(session: Session) -> str:
    return hashlib.sha256(session.device_config).hexdigest()


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """The event as JSON has it."""
    kind = event["event"]
    if kind == "write":
        updates = [base64.b64encode(one.SerializeToString(deterministic=True)).decode() for one in event["updates"]]
        return {"event": kind, "updates": updates, "refused": event["refused"]}
    if kind == "incarnation":
        return {"event": kind, "value": event["value"].hex()}
    if kind == "ask":
        return event | {"payload": event["payload"].hex(), "answer": _masked(event["answer"])}
    if kind == "exchange":
        closed = event["closed"]
        return {
            "event": kind,
            "in": [[port, frame.hex()] for port, frame in event["sends"]],
            "packet_out": [[fields, payload.hex()] for fields, payload in event["packet_outs"]],
            "closed": None if closed is None else closed.name,
        } | _outcome(event["observed"])
    raise ValueError(f"no event of a trace: {kind}")


def _outcome(observed: Any) -> dict[str, Any]:
    return {
        "out": sorted([port, frame.hex()] for port, frame in observed.outputs),
        "packet_in": [[_masked(fields), payload.hex()] for fields, payload in observed.packet_ins],
        "drops": {reason.name: count for reason, count in sorted(observed.drops.items())},
    }


def _masked(fields: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in fields.items() if name not in MASKED}


class Replay:
    """Plays one recording on a session, and removes afterwards what it has put in."""

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._path = path
        header, *self._events = [json.loads(line) for line in path.read_text().splitlines()]
        if header["format"] != FORMAT:
            raise ValueError(f"{path.name} has format {header['format']}, not {FORMAT}")
        self.header = header
        self._present: dict[bytes, p4r.Update] = {}

    def play(self) -> None:
        """Raises TraceDiffers at the first difference."""
        try:
            for number, event in enumerate(self._events, start=2):
                try:
                    getattr(self, f"_play_{event['event']}")(event)
                except Exception as error:
                    raise TraceDiffers(f"{self._path.name}, line {number}: {error}{self._hint()}") from error
        finally:
            self._clean()

    def _hint(self) -> str:
        if self.header["program"] == _program(self._session):
            return ""
        return (
            "\nThe program has changed since the recording. If the change is meant, record again:"
            "\n  pytest ptf-tests --target=bmv2 --record-traces"
        )

    def _play_write(self, event: dict[str, Any]) -> None:
        updates = [p4r.Update.FromString(base64.b64decode(one)) for one in event["updates"]]
        refused: list[str] | None = None
        try:
            self._session.write(updates)
        except WriteRefused as refusal:
            refused = refusal.codes
        _compare("refusal", refused, event["refused"])
        for one in updates if refused is None else ():
            if one.type == p4r.Update.Type.Value("INSERT"):
                self._present[_identity(one)] = one
            elif one.type == p4r.Update.Type.Value("DELETE"):
                self._present.pop(_identity(one), None)

    def _play_incarnation(self, event: dict[str, Any]) -> None:
        self._session.set_incarnation(bytes.fromhex(event["value"]))

    def _play_ask(self, event: dict[str, Any]) -> None:
        answer = self._session.ask(event["operation"], event["interface"], bytes.fromhex(event["payload"]))
        _compare("answer", _masked(answer), event["answer"])

    def _play_exchange(self, event: dict[str, Any]) -> None:
        drops = Counter({Reason[name]: count for name, count in event["drops"].items()})
        closed = None if event["closed"] is None else Reason[event["closed"]]
        observed = self._session.run(
            [(port, bytes.fromhex(frame)) for port, frame in event["in"]],
            [(fields, bytes.fromhex(payload)) for fields, payload in event["packet_out"]],
            drops,
            closed,
        )
        outcome = _outcome(observed)
        for part in ("out", "packet_in", "drops"):
            _compare(part, outcome[part], event[part])

    def _clean(self) -> None:
        # Entries before the groups that they point to.
        rest = sorted(self._present.values(), key=lambda one: one.entity.HasField("packet_replication_engine_entry"))
        for one in rest:
            one.type = p4r.Update.Type.Value("DELETE")
        self._session.write(rest)
        for default in _DEFAULTS:
            self._session.write([update("MODIFY", table_entry=self._session.schema.table_entry(default))])


_DEFAULTS: tuple[Entry, ...] = (entry("flow_entropy", {}, "not_keyed"), entry("lease", {}, "grant", not_after=FOREVER))


def _identity(one: p4r.Update) -> bytes:
    """What an entity is known by: its key, without its action."""
    entity = p4r.Entity()
    entity.CopyFrom(one.entity)
    if entity.HasField("table_entry"):
        entity.table_entry.ClearField("action")
    else:
        entity.packet_replication_engine_entry.multicast_group_entry.ClearField("replicas")
    identity: bytes = entity.SerializeToString(deterministic=True)
    return identity


def _compare(what: str, seen: Any, recorded: Any) -> None:
    seen = json.loads(json.dumps(seen))
    if seen != recorded:
        raise TraceDiffers(f"{what} differs\n  recorded: {recorded}\n  now:      {seen}")
