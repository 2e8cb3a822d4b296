# SPDX-License-Identifier: Apache-2.0
"""What goes up to the NVA, from agents and from operators, from dataclasses to bytes and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nvo3sec.domain.messages import Answer, HeldReceive, HeldSend, Lookup, ReadBack, Registration, Report
from nvo3sec.domain.model import Suite
from nvo3sec.domain.sa import Held
from nvo3sec.errors import WireError
from nvo3sec.wire import checks
from nvo3sec.wire import nva_pb2 as pb

Up = Registration | ReadBack | Report | Answer

DETAIL_LIMIT = 2000
JSON_LIMIT = 1 << 20
WAIT_LIMIT_S = 600.0

_EVENT = re.compile(r"[a-z][a-z0-9-]{0,63}")


def encode_up(message: Up) -> bytes:
    """A message of an agent's stream."""
    match message:
        case Registration():
            receive = [_held_out(one.source.packed, one.suite, one.held) for one in message.receive]
            send = [_held_out(one.destination.packed, one.suite, one.held) for one in message.send]
            registration = pb.Registration(incarnation=message.incarnation, receive=receive, send=send)
            whole = pb.AgentMessage(registration=registration)
        case ReadBack():
            read_back = pb.ReadBack(
                incarnation=message.incarnation,
                receive=[_read_out(*one) for one in message.receive],
                send=[_read_out(*one) for one in message.send],
            )
            whole = pb.AgentMessage(read_back=read_back)
        case Report():
            # What a switch said can be anything; it is shortened here rather than refused there.
            detail = "".join(letter if letter.isprintable() else "?" for letter in message.detail)[:DETAIL_LIMIT]
            whole = pb.AgentMessage(report=pb.Report(event=message.event, detail=detail))
        case Answer():
            answer = pb.Answer(number=message.number)
            if message.json is not None:
                answer.json = message.json
            else:
                answer.refusal = message.refusal
            whole = pb.AgentMessage(answer=answer)
    return bytes(whole.SerializeToString())


def decode_up(raw: bytes) -> Up:
    """Raises WireError."""
    message = checks.parse(pb.AgentMessage.FromString, raw, "message")
    match checks.which(message, "message"):
        case "registration":
            one = message.registration
            return Registration(
                incarnation=checks.incarnation(one.incarnation, "registration.incarnation"),
                receive=checks.items(one.receive, "registration.receive", _held_receive),
                send=checks.items(one.send, "registration.send", _held_send),
            )
        case "read_back":
            return ReadBack(
                incarnation=checks.incarnation(message.read_back.incarnation, "read_back.incarnation"),
                receive=checks.items(message.read_back.receive, "read_back.receive", _read_in),
                send=checks.items(message.read_back.send, "read_back.send", _read_in),
            )
        case "report":
            if not _EVENT.fullmatch(message.report.event):
                raise WireError("report.event", "must be a word in lower case")
            return Report(message.report.event, checks.text(message.report.detail, "report.detail", DETAIL_LIMIT))
        case _:
            return _answer(message.answer)


def _answer(answer: Any) -> Answer:
    number = checks.number(answer.number, "answer.number", 0, checks.UINT32)
    if checks.which(answer, "answer") == "json":
        return Answer(number, json=checks.text(answer.json, "answer.json", JSON_LIMIT))
    return Answer(number, refusal=checks.text(answer.refusal, "answer.refusal", DETAIL_LIMIT))


def _held_out(address: bytes, suite: Suite, held: Held) -> Any:
    return pb.Held(
        address=address,
        suite=checks.SUITES[suite],
        spi=held.spi,
        generation=held.generation,
        remaining_s=held.remaining_s,
    )


def _held(one: Any, field: str) -> Held:
    return Held(
        spi=checks.number(one.spi, f"{field}.spi", 0, checks.UINT32),
        generation=checks.number(one.generation, f"{field}.generation", 0, checks.UINT32),
        remaining_s=checks.seconds(one.remaining_s, f"{field}.remaining_s", -checks.SECONDS_LIMIT),
    )


def _held_receive(one: Any, field: str) -> HeldReceive:
    address = checks.ipv4(one.address, f"{field}.address")
    return HeldReceive(address, checks.suite(one.suite, f"{field}.suite"), _held(one, field))


def _held_send(one: Any, field: str) -> HeldSend:
    address = checks.ipv4(one.address, f"{field}.address")
    return HeldSend(address, checks.suite(one.suite, f"{field}.suite"), _held(one, field))


def _read_out(peer: str, suite: Suite, spi: int) -> Any:
    return pb.ReadSa(peer=peer, suite=checks.SUITES[suite], spi=spi)


def _read_in(one: Any, field: str) -> tuple[str, Suite, int]:
    return (
        checks.label(one.peer, f"{field}.peer"),
        checks.suite(one.suite, f"{field}.suite"),
        checks.number(one.spi, f"{field}.spi", 0, checks.UINT32),
    )


# --- calls of agents ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RenewLease:
    """An agent asks for time, through the session of this name."""

    session: bytes


@dataclass(frozen=True)
class LookUp:
    """An agent asks for a mapping, through the session of this name."""

    session: bytes
    query: Lookup


def encode_renewal(session: bytes) -> bytes:
    """The request of RenewLease."""
    return bytes(pb.RenewLeaseRequest(session=session).SerializeToString())


def decode_renewal(raw: bytes) -> RenewLease:
    """Raises WireError."""
    message = checks.parse(pb.RenewLeaseRequest.FromString, raw, "request")
    return RenewLease(checks.exactly(message.session, "request.session", checks.SESSION_BYTES))


def encode_look_up(session: bytes, query: Lookup) -> bytes:
    """The request of LookUp. Exactly one of the addresses must be there."""
    ip = None if query.ip is None else query.ip.packed
    return bytes(pb.LookUpRequest(session=session, vni=query.vni, mac=query.mac, ip=ip).SerializeToString())


def decode_look_up(raw: bytes) -> LookUp:
    """Raises WireError."""
    message = checks.parse(pb.LookUpRequest.FromString, raw, "request")
    session = checks.exactly(message.session, "request.session", checks.SESSION_BYTES)
    vni = checks.number(message.vni, "request.vni", 0, checks.VNI_LIMIT)
    if checks.which(message, "request") == "mac":
        return LookUp(session, Lookup(vni, mac=checks.mac(message.mac, "request.mac")))
    return LookUp(session, Lookup(vni, ip=checks.ip(message.ip, "request.ip")))


# --- calls of operators ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """What an operator asks: keyword arguments of a method."""

    parameters: dict[str, Any]


def encode_status(wait_s: float = 0.0) -> bytes:
    """The request of Status."""
    return bytes(pb.StatusRequest(wait_s=wait_s).SerializeToString())


def decode_status(raw: bytes) -> Ask:
    """Raises WireError."""
    wait_s = checks.seconds(checks.parse(pb.StatusRequest.FromString, raw, "request").wait_s, "request.wait_s")
    if wait_s > WAIT_LIMIT_S:
        raise WireError("request.wait_s", f"must be at most {WAIT_LIMIT_S:g}")
    return Ask({"wait_s": wait_s})


def encode_counters(nve: str | None = None) -> bytes:
    """The request of Counters."""
    return bytes(pb.CountersRequest(nve=nve or "").SerializeToString())


def decode_counters(raw: bytes) -> Ask:
    """Raises WireError."""
    return Ask({"nve": _optional_name(checks.parse(pb.CountersRequest.FromString, raw, "request").nve)})


def encode_reconcile(nve: str | None = None, dry_run: bool = False) -> bytes:
    """The request of Reconcile."""
    return bytes(pb.ReconcileRequest(nve=nve or "", dry_run=dry_run).SerializeToString())


def decode_reconcile(raw: bytes) -> Ask:
    """Raises WireError."""
    message = checks.parse(pb.ReconcileRequest.FromString, raw, "request")
    return Ask({"nve": _optional_name(message.nve), "dry_run": message.dry_run})


def encode_rotate(nves: list[str] | None = None) -> bytes:
    """The request of Rotate."""
    return bytes(pb.RotateRequest(nves=list(nves or ())).SerializeToString())


def decode_rotate(raw: bytes) -> Ask:
    """Raises WireError."""
    message = checks.parse(pb.RotateRequest.FromString, raw, "request")
    return Ask({"nves": list(checks.items(message.nves, "request.nves", checks.label))})


def _optional_name(name: str) -> str | None:
    return checks.label(name, "request.nve") if name else None


def encode_document(text: str) -> bytes:
    """The answer to an operator."""
    return bytes(pb.Document(json=text).SerializeToString())


def decode_document(raw: bytes) -> str:
    """Raises WireError."""
    return str(checks.parse(pb.Document.FromString, raw, "document").json)
