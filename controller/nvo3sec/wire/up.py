# SPDX-License-Identifier: Apache-2.0
"""What goes up to the NVA, from agents and from operators, from dataclasses to bytes and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nvo3sec.domain.keys.contribution import PeerNews
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.messages.credential_terms import CredentialTerms
from nvo3sec.domain.messages.session import (
    Announcement,
    Answer,
    Attachment,
    HeldReceive,
    HeldSend,
    KeyUse,
    Lookup,
    Position,
    ReadBack,
    Registration,
    Release,
    Relocation,
    Report,
    Sign,
    StoreMark,
    Use,
)
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import WireError
from nvo3sec.wire import checks, peers, terms, versions
from nvo3sec.wire import nva_pb2 as pb

Up = Registration | ReadBack | Use | Report | Answer | PeerNews | CredentialTerms

DETAIL_LIMIT = 2000
JSON_LIMIT = 1 << 20

_EVENT = re.compile(r"[a-z][a-z0-9-]{0,63}")


def encode_up(message: Up) -> bytes:
    """A message of an agent's stream."""
    match message:
        case Registration():
            receive = [_held_out(one.source.packed, one.suite, one.held) for one in message.receive]
            send = [_held_out(one.destination.packed, one.suite, one.held) for one in message.send]
            registration = pb.Registration(
                incarnation=message.incarnation,
                receive=receive,
                send=send,
                attachments=[_attachment_out(one) for one in message.attachments],
                positions=[
                    pb.Position(vni=vni, history=one.history, version=one.version) for vni, one in message.positions
                ],
                seen=checks.marks_out(message.seen),
                generation=message.generation,
                speaks=versions.speaks_out(message.speaks),
            )
            whole = pb.AgentMessage(registration=registration)
        case ReadBack():
            read_back = pb.ReadBack(
                incarnation=message.incarnation,
                receive=[_read_out(*one) for one in message.receive],
                send=[_read_out(*one) for one in message.send],
                view=message.view,
            )
            whole = pb.AgentMessage(read_back=read_back)
        case Use():
            sent = [
                pb.UsedSa(
                    peer=one.peer,
                    suite=checks.SUITES[one.suite],
                    spi=one.spi,
                    packets=one.packets,
                    octets=one.octets,
                    at_most=one.at_most,
                )
                for one in message.sent
            ]
            whole = pb.AgentMessage(use=pb.Use(incarnation=message.incarnation, sent=sent))
        case Report():
            # What a switch said can be anything; it is shortened here rather than refused there.
            detail = "".join(letter if letter.isprintable() else "?" for letter in message.detail)[:DETAIL_LIMIT]
            whole = pb.AgentMessage(report=pb.Report(event=message.event, detail=detail))
        case CredentialTerms():
            whole = pb.AgentMessage(terms=terms.terms_out(message))
        case PeerNews():
            whole = pb.AgentMessage(peer_news=peers.news_out(message))
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
                attachments=checks.items(one.attachments, "registration.attachments", _attachment),
                positions=checks.items(one.positions, "registration.positions", _position),
                seen=checks.marks(one.seen, "registration.seen"),
                generation=checks.number(one.generation, "registration.generation", 0, checks.UINT32),
                speaks=versions.speaks_in(one, "registration.speaks"),
            )
        case "read_back":
            return ReadBack(
                incarnation=checks.incarnation(message.read_back.incarnation, "read_back.incarnation"),
                receive=checks.items(message.read_back.receive, "read_back.receive", _read_in),
                send=checks.items(message.read_back.send, "read_back.send", _read_in),
                view=checks.number(message.read_back.view, "read_back.view", 0, checks.VERSION_LIMIT),
            )
        case "use":
            return Use(
                incarnation=checks.incarnation(message.use.incarnation, "use.incarnation"),
                sent=checks.items(message.use.sent, "use.sent", _used_in),
            )
        case "peer_news":
            return peers.news_in(message.peer_news)
        case "terms":
            return terms.terms_in(message.terms)
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
    address = checks.underlay(one.address, f"{field}.address")
    return HeldReceive(address, checks.suite(one.suite, f"{field}.suite"), _held(one, field))


def _held_send(one: Any, field: str) -> HeldSend:
    address = checks.underlay(one.address, f"{field}.address")
    return HeldSend(address, checks.suite(one.suite, f"{field}.suite"), _held(one, field))


def _position(one: Any, field: str) -> tuple[int, Position]:
    return checks.number(one.vni, f"{field}.vni", 1, checks.VNI_LIMIT), checks.position(one, field)


def _attachment_out(one: Attachment) -> Any:
    return pb.Attachment(
        port=one.port,
        vlan=one.vlan,
        vni=one.vni,
        mac=one.mac,
        ips=[ip.packed for ip in one.ips],
        host=one.host,
        vn=one.vn,
    )


def _attachment(one: Any, field: str) -> Attachment:
    return Attachment(
        port=checks.number(one.port, f"{field}.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(one.vlan, f"{field}.vlan", 0, checks.VLAN_LIMIT),
        vni=checks.number(one.vni, f"{field}.vni", 1, checks.VNI_LIMIT),
        mac=checks.mac(one.mac, f"{field}.mac"),
        ips=checks.items(one.ips, f"{field}.ips", checks.ip),
        host=checks.optional_label(one.host, f"{field}.host"),
        vn=checks.optional_label(one.vn, f"{field}.vn"),
    )


def _read_out(peer: str, suite: Suite, spi: int) -> Any:
    return pb.ReadSa(peer=peer, suite=checks.SUITES[suite], spi=spi)


def _read_in(one: Any, field: str) -> tuple[str, Suite, int]:
    return (
        checks.label(one.peer, f"{field}.peer"),
        checks.suite(one.suite, f"{field}.suite"),
        checks.number(one.spi, f"{field}.spi", 0, checks.UINT32),
    )


def _used_in(one: Any, field: str) -> KeyUse:
    return KeyUse(
        *_read_in(one, field),
        packets=checks.number(one.packets, f"{field}.packets", 0, checks.VERSION_LIMIT),
        octets=checks.number(one.octets, f"{field}.octets", 0, checks.VERSION_LIMIT),
        at_most=one.at_most,
    )


# --- calls of agents ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RenewLease:
    """An agent asks for time, through the session of this name. seen: as in `Registration`."""

    session: bytes
    seen: tuple[StoreMark, ...] = ()


@dataclass(frozen=True)
class LookUp:
    """An agent asks for a mapping, through the session of this name."""

    session: bytes
    query: Lookup


def encode_renewal(session: bytes, seen: Sequence[StoreMark] = ()) -> bytes:
    """The request of RenewLease."""
    return bytes(pb.RenewLeaseRequest(session=session, seen=checks.marks_out(seen)).SerializeToString())


def decode_renewal(raw: bytes) -> RenewLease:
    """Raises WireError."""
    message = checks.parse(pb.RenewLeaseRequest.FromString, raw, "request")
    session = checks.exactly(message.session, "request.session", checks.SESSION_BYTES)
    return RenewLease(session, checks.marks(message.seen, "request.seen"))


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


@dataclass(frozen=True)
class Announce:
    """An agent announces, releases or moves a tenant system, through the session of this name."""

    session: bytes
    announcement: Announcement

    @property
    def vni(self) -> int:
        """The VN that it is about."""
        return self.announcement.to.vni if isinstance(self.announcement, Relocation) else self.announcement.vni


def encode_attach(session: bytes, announced: Attachment | Sign) -> bytes:
    """The request of Attach."""
    is_sign = isinstance(announced, Sign)
    one = announced
    if isinstance(one, Sign):
        one = Attachment(one.port, one.vlan, one.vni, one.mac, (one.ip,), vn=one.vn)
    request = pb.AttachRequest(
        session=session, attachment=_attachment_out(one), is_sign=is_sign, again=one.again and not is_sign
    )
    return bytes(request.SerializeToString())


def decode_attach(raw: bytes) -> Announce:
    """Raises WireError."""
    message = checks.parse(pb.AttachRequest.FromString, raw, "request")
    session = checks.exactly(message.session, "request.session", checks.SESSION_BYTES)
    found = checks.required(message, "attachment", "request.attachment")
    one = _attachment(found, "request.attachment")
    if not message.is_sign:
        return Announce(session, replace(one, again=message.again))
    if message.again:
        raise WireError("request.again", "must be false for what something speaks for: nothing is attached")
    if len(one.ips) != 1:
        raise WireError("request.attachment.ips", "must be one address, that something speaks for")
    return Announce(session, Sign(one.port, one.vlan, one.vni, one.mac, one.ips[0], one.vn))


def encode_detach(session: bytes, release: Release) -> bytes:
    """The request of Detach."""
    request = pb.DetachRequest(
        session=session,
        port=release.port,
        vlan=release.vlan,
        vni=release.vni,
        mac=release.mac,
        successor=release.successor,
        host=release.host,
    )
    return bytes(request.SerializeToString())


def decode_detach(raw: bytes) -> Announce:
    """Raises WireError."""
    message = checks.parse(pb.DetachRequest.FromString, raw, "request")
    release = Release(
        port=checks.number(message.port, "request.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(message.vlan, "request.vlan", 0, checks.VLAN_LIMIT),
        vni=checks.number(message.vni, "request.vni", 1, checks.VNI_LIMIT),
        mac=checks.mac(message.mac, "request.mac"),
        successor=checks.optional_label(message.successor, "request.successor"),
        host=checks.optional_label(message.host, "request.host"),
    )
    return Announce(checks.exactly(message.session, "request.session", checks.SESSION_BYTES), release)


def encode_move(session: bytes, move: Relocation) -> bytes:
    """The request of Move."""
    request = pb.MoveRequest(session=session, port=move.port, vlan=move.vlan, to=_attachment_out(move.to))
    return bytes(request.SerializeToString())


def decode_move(raw: bytes) -> Announce:
    """Raises WireError."""
    message = checks.parse(pb.MoveRequest.FromString, raw, "request")
    move = Relocation(
        port=checks.number(message.port, "request.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(message.vlan, "request.vlan", 0, checks.VLAN_LIMIT),
        to=_attachment(checks.required(message, "to", "request.to"), "request.to"),
    )
    return Announce(checks.exactly(message.session, "request.session", checks.SESSION_BYTES), move)


# --- answers to operators -------------------------------------------------------------------------------------------


def encode_document(text: str) -> bytes:
    """The answer to an operator."""
    return bytes(pb.Document(json=text).SerializeToString())


def decode_document(raw: bytes) -> str:
    """Raises WireError."""
    return str(checks.parse(pb.Document.FromString, raw, "document").json)
