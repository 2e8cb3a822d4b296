# SPDX-License-Identifier: Apache-2.0
"""What comes down from the NVA to an agent, from dataclasses to bytes and back."""

from __future__ import annotations

from typing import Any

from nvo3sec.domain.keys.contribution import PeerUpdate
from nvo3sec.domain.messages.session import (
    AttachmentAnswer,
    ClaimPlace,
    Guard,
    KeyState,
    KeyUpdate,
    LeaseGrant,
    LookupAnswer,
    LookupResult,
    MappingUpdate,
    NewIncarnation,
    NveView,
    PeerView,
    Question,
    QuestionKind,
    RemoteMapping,
    Standing,
    TenantState,
    Welcome,
)
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.dscp import BEST_EFFORT, LAST_DSCP, DscpModel, OuterDscp
from nvo3sec.domain.overlay.model import FLOOD, VAP_FLOOD, VERIFY_RATE, Level, Rate, TenantSystem, Vap, Vn
from nvo3sec.wire import checks, keys, peers, versions
from nvo3sec.wire import nva_pb2 as pb

Down = Welcome | NveView | TenantState | MappingUpdate | KeyState | KeyUpdate | Question | PeerUpdate | NewIncarnation

REASON_LIMIT = 64

KINDS = {
    QuestionKind.STATUS: pb.QUESTION_KIND_STATUS,
    QuestionKind.COUNTERS: pb.QUESTION_KIND_COUNTERS,
    QuestionKind.RECONCILE: pb.QUESTION_KIND_RECONCILE,
    QuestionKind.PREVIEW: pb.QUESTION_KIND_PREVIEW,
    QuestionKind.KEYS: pb.QUESTION_KIND_KEYS,
}
RESULTS = {
    LookupResult.FOUND: pb.LOOKUP_RESULT_FOUND,
    LookupResult.UNKNOWN: pb.LOOKUP_RESULT_UNKNOWN,
    LookupResult.REFUSED: pb.LOOKUP_RESULT_REFUSED,
    LookupResult.BUSY: pb.LOOKUP_RESULT_BUSY,
}
STANDINGS = {
    Standing.ACTIVE: pb.STANDING_ACTIVE,
    Standing.FROZEN: pb.STANDING_FROZEN,
    Standing.DONE: pb.STANDING_DONE,
    Standing.REFUSED: pb.STANDING_REFUSED,
}
DSCP_MODELS = {
    DscpModel.PIPE: pb.DSCP_MODEL_PIPE,
    DscpModel.COPY: pb.DSCP_MODEL_COPY,
}


def encode_down(message: Down) -> bytes:
    """A message of the NVA's stream."""
    match message:
        case Welcome():
            mark = message.mark
            welcome = pb.Welcome(
                session=message.session,
                term=mark.term,
                version=mark.version,
                digest=mark.digest,
                known=checks.marks_out(message.known),
                speaks=versions.speaks_out(message.speaks),
            )
            whole = pb.NvaMessage(welcome=welcome)
        case NveView():
            whole = pb.NvaMessage(view=_view_out(message))
        case TenantState():
            whole = pb.NvaMessage(tenants=_tenants_out(message))
        case MappingUpdate():
            whole = pb.NvaMessage(mappings=_mappings_out(message))
        case KeyState():
            whole = pb.NvaMessage(keys=keys.state_out(message))
        case KeyUpdate():
            whole = pb.NvaMessage(key_changes=keys.update_out(message))
        case PeerUpdate():
            whole = pb.NvaMessage(peers=peers.update_out(message))
        case NewIncarnation():
            whole = pb.NvaMessage(new_incarnation=pb.NewIncarnation(instead_of=message.instead_of))
        case Question():
            whole = pb.NvaMessage(question=pb.Question(number=message.number, kind=KINDS[message.kind]))
    return bytes(whole.SerializeToString())


def decode_down(raw: bytes) -> Down:
    """Raises WireError."""
    message = checks.parse(pb.NvaMessage.FromString, raw, "message")
    match checks.which(message, "message"):
        case "welcome":
            return _welcome_in(message.welcome)
        case "view":
            return _view_in(message.view)
        case "tenants":
            return _tenants_in(message.tenants)
        case "mappings":
            return _mappings_in(message.mappings)
        case "keys":
            return keys.state_in(message.keys)
        case "key_changes":
            return keys.update_in(message.key_changes)
        case "peers":
            return peers.update_in(message.peers)
        case "new_incarnation":
            return NewIncarnation(checks.incarnation(message.new_incarnation.instead_of, "new_incarnation.instead_of"))
        case _:
            number = checks.number(message.question.number, "question.number", 0, checks.UINT32)
            return Question(number, checks.chosen(message.question.kind, "question.kind", KINDS))


def _welcome_in(welcome: Any) -> Welcome:
    session = checks.exactly(welcome.session, "welcome.session", checks.SESSION_BYTES)
    known = checks.marks(welcome.known, "welcome.known")
    return Welcome(session, checks.mark(welcome, "welcome"), known, versions.speaks_in(welcome, "welcome.speaks"))


def encode_grant(grant: LeaseGrant) -> bytes:
    """The answer to RenewLease."""
    mark = grant.mark
    message = pb.LeaseGrant(
        duration_s=grant.duration_s, term=mark.term, version=mark.version, digest=mark.digest, early=grant.early
    )
    return bytes(message.SerializeToString())


def decode_grant(raw: bytes) -> LeaseGrant:
    """Raises WireError."""
    message = checks.parse(pb.LeaseGrant.FromString, raw, "grant")
    duration_s = checks.seconds(message.duration_s, "grant.duration_s")
    return LeaseGrant(duration_s, checks.mark(message, "grant"), message.early)


def encode_found(answer: LookupAnswer) -> bytes:
    """The answer to LookUp."""
    message = pb.LookUpAnswer(
        result=RESULTS[answer.result],
        valid_s=answer.valid_s,
        mac=answer.mac,
        nve=answer.nve,
        ips=[one.packed for one in answer.ips],
        sequence=answer.sequence,
    )
    return bytes(message.SerializeToString())


def decode_found(raw: bytes) -> LookupAnswer:
    """Raises WireError."""
    message = checks.parse(pb.LookUpAnswer.FromString, raw, "answer")
    return LookupAnswer(
        result=checks.chosen(message.result, "answer.result", RESULTS),
        valid_s=checks.seconds(message.valid_s, "answer.valid_s"),
        mac=checks.mac(message.mac, "answer.mac"),
        nve=checks.label(message.nve, "answer.nve") if message.nve else "",
        ips=checks.items(message.ips, "answer.ips", checks.ip),
        sequence=checks.number(message.sequence, "answer.sequence", 0, checks.VERSION_LIMIT),
    )


def encode_attachment_answer(answer: AttachmentAnswer) -> bytes:
    """The answer to Attach, Detach and Move."""
    message = pb.AttachmentAnswer(standing=STANDINGS[answer.standing], reason=answer.reason)
    return bytes(message.SerializeToString())


def decode_attachment_answer(raw: bytes) -> AttachmentAnswer:
    """Raises WireError."""
    message = checks.parse(pb.AttachmentAnswer.FromString, raw, "answer")
    return AttachmentAnswer(
        checks.chosen(message.standing, "answer.standing", STANDINGS),
        checks.text(message.reason, "answer.reason", REASON_LIMIT),
    )


# --- view -----------------------------------------------------------------------------------------------------------


def _rate(rate: Rate) -> Any:
    return pb.Rate(per_second=rate.per_second, burst=rate.burst)


def _optional(address: UnderlayAddress | None) -> bytes:
    return b"" if address is None else address.packed


def _view_out(view: NveView) -> Any:
    return pb.NveView(
        version=view.version,
        name=view.name,
        address=view.address.packed,
        other_address=_optional(view.other_address),
        mtu=view.mtu,
        underlay_ports=[pb.UnderlayPort(port=port, mac=mac) for port, mac in view.underlay_ports],
        vns=[
            pb.Vn(
                name=vn.name,
                vni=vn.vni,
                level=checks.LEVELS[vn.level],
                mtu=vn.mtu,
                punt=_rate(vn.punt),
                negative_quota=vn.negative_quota,
                allow_link_local=vn.allow_link_local,
                flood=_rate(vn.flood),
                vap_flood=_rate(vn.vap_flood),
            )
            for vn in view.vns
        ],
        vaps=[pb.Vap(port=vap.port, vlan=vap.vlan, vn=vap.vn, meter=_rate(vap.meter)) for vap in view.vaps],
        peers=[
            pb.Peer(
                name=peer.name,
                address=peer.address.packed,
                other_address=_optional(peer.other_address),
                port=peer.port,
                mac=peer.mac,
                next_hop_mac=peer.next_hop_mac,
                meter=_rate(peer.meter),
                vns=[pb.PeerVn(vni=vni, level=checks.LEVELS[level]) for vni, level in peer.vnis],
                sends=checks.LEVELS[peer.sends],
                mtu=peer.mtu,
                zero_checksum=peer.zero_checksum,
            )
            for peer in view.peers
        ],
        tenant_systems=[_tenant_system_out(one) for one in view.tenant_systems],
        guards=[_guard_out(one) for one in view.guards],
        claim_places=[_guard_out(one) for one in view.claim_places],
        lease_s=view.lease_s,
        lease_renew_s=view.lease_renew_s,
        tunnel_keys=peers.TUNNEL_KEYS[view.tunnel_keys],
        verify_rate=view.verify_rate,
        dscp=pb.OuterDscp(model=DSCP_MODELS[view.dscp.model], value=view.dscp.value),
    )


def _tenant_system_out(one: TenantSystem) -> Any:
    return pb.TenantSystem(
        name=one.name,
        vn=one.vn,
        nve=one.nve,
        port=one.port,
        vlan=one.vlan,
        mac=one.mac,
        ips=[ip.packed for ip in one.ips],
        allow_other_ethertypes=one.allow_other_ethertypes,
        allow_unspecified_source=one.allow_unspecified_source,
        allow_router=one.allow_router,
        allow_dhcp_server=one.allow_dhcp_server,
    )


def _view_in(view: Any) -> NveView:
    return NveView(
        version=checks.number(view.version, "view.version", 1, checks.VERSION_LIMIT),
        name=checks.label(view.name, "view.name"),
        address=checks.underlay(view.address, "view.address"),
        mtu=checks.number(view.mtu, "view.mtu", 1, checks.MTU_LIMIT),
        underlay_ports=checks.items(view.underlay_ports, "view.underlay_ports", _underlay_port),
        vns=checks.items(view.vns, "view.vns", _vn),
        vaps=checks.items(view.vaps, "view.vaps", _vap),
        peers=checks.items(view.peers, "view.peers", _peer),
        tenant_systems=checks.items(view.tenant_systems, "view.tenant_systems", _tenant_system),
        guards=checks.items(view.guards, "view.guards", _guard),
        claim_places=checks.items(view.claim_places, "view.claim_places", _claim_place),
        lease_s=checks.seconds(view.lease_s, "view.lease_s"),
        lease_renew_s=checks.seconds(view.lease_renew_s, "view.lease_renew_s"),
        tunnel_keys=checks.chosen(view.tunnel_keys, "view.tunnel_keys", peers.TUNNEL_KEYS),
        verify_rate=checks.number(view.verify_rate, "view.verify_rate", 0, checks.UINT32) or VERIFY_RATE,
        other_address=checks.other_underlay(view, "view"),
        dscp=_outer_dscp(view.dscp, "view.dscp") if view.HasField("dscp") else BEST_EFFORT,
    )


def _outer_dscp(one: Any, field: str) -> OuterDscp:
    model = checks.chosen(one.model, f"{field}.model", DSCP_MODELS)
    return OuterDscp(model, checks.number(one.value, f"{field}.value", 0, LAST_DSCP))


def _underlay_port(one: Any, field: str) -> tuple[int, int]:
    return checks.number(one.port, f"{field}.port", 0, checks.PORT_LIMIT), checks.mac(one.mac, f"{field}.mac")


def _vn(vn: Any, field: str) -> Vn:
    return Vn(
        name=checks.label(vn.name, f"{field}.name"),
        vni=checks.number(vn.vni, f"{field}.vni", 1, checks.VNI_LIMIT),
        level=checks.level(vn.level, f"{field}.level"),
        mtu=checks.number(vn.mtu, f"{field}.mtu", 1, checks.MTU_LIMIT),
        punt=checks.rate(vn, "punt", f"{field}.punt"),
        negative_quota=checks.number(vn.negative_quota, f"{field}.negative_quota", 0, checks.UINT32),
        allow_link_local=vn.allow_link_local,
        flood=checks.rate(vn, "flood", f"{field}.flood", FLOOD),
        vap_flood=checks.rate(vn, "vap_flood", f"{field}.vap_flood", VAP_FLOOD),
    )


def _vap(vap: Any, field: str) -> Vap:
    return Vap(
        port=checks.number(vap.port, f"{field}.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(vap.vlan, f"{field}.vlan", 0, checks.VLAN_LIMIT),
        vn=checks.label(vap.vn, f"{field}.vn"),
        meter=checks.rate(vap, "meter", f"{field}.meter"),
    )


def _peer(peer: Any, field: str) -> PeerView:
    return PeerView(
        name=checks.label(peer.name, f"{field}.name"),
        address=checks.underlay(peer.address, f"{field}.address"),
        port=checks.number(peer.port, f"{field}.port", 0, checks.PORT_LIMIT),
        mac=checks.mac(peer.mac, f"{field}.mac"),
        next_hop_mac=checks.mac(peer.next_hop_mac, f"{field}.next_hop_mac"),
        meter=checks.rate(peer, "meter", f"{field}.meter"),
        vnis=checks.items(peer.vns, f"{field}.vns", _peer_vn),
        sends=checks.level(peer.sends, f"{field}.sends") if peer.sends else Level.INTEGRITY,
        mtu=checks.number(peer.mtu, f"{field}.mtu", 0, checks.MTU_LIMIT),
        other_address=checks.other_underlay(peer, field),
        zero_checksum=peer.zero_checksum,
    )


def _peer_vn(one: Any, field: str) -> tuple[int, Level]:
    return checks.number(one.vni, f"{field}.vni", 1, checks.VNI_LIMIT), checks.level(one.level, f"{field}.level")


def _tenant_system(one: Any, field: str) -> TenantSystem:
    return TenantSystem(
        name=checks.label(one.name, f"{field}.name"),
        vn=checks.label(one.vn, f"{field}.vn"),
        nve=checks.label(one.nve, f"{field}.nve"),
        port=checks.number(one.port, f"{field}.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(one.vlan, f"{field}.vlan", 0, checks.VLAN_LIMIT),
        mac=checks.mac(one.mac, f"{field}.mac"),
        ips=checks.items(one.ips, f"{field}.ips", checks.ip),
        allow_other_ethertypes=one.allow_other_ethertypes,
        allow_unspecified_source=one.allow_unspecified_source,
        allow_router=one.allow_router,
        allow_dhcp_server=one.allow_dhcp_server,
    )


# --- mappings -------------------------------------------------------------------------------------------------------


def _guard_out(one: Guard | ClaimPlace) -> Any:
    return pb.Guard(port=one.port, vlan=one.vlan, mac=one.mac, ips=[ip.packed for ip in one.ips])


def _guard(one: Any, field: str) -> Guard:
    return Guard(
        port=checks.number(one.port, f"{field}.port", 0, checks.PORT_LIMIT),
        vlan=checks.number(one.vlan, f"{field}.vlan", 0, checks.VLAN_LIMIT),
        mac=checks.mac(one.mac, f"{field}.mac"),
        ips=checks.items(one.ips, f"{field}.ips", checks.ip),
    )


def _claim_place(one: Any, field: str) -> ClaimPlace:
    found = _guard(one, field)
    return ClaimPlace(found.port, found.vlan, found.mac, found.ips)


def _tenants_out(state: TenantState) -> Any:
    return pb.TenantState(
        version=state.version,
        tenant_systems=[_tenant_system_out(one) for one in state.tenant_systems],
        guards=[_guard_out(one) for one in state.guards],
    )


def _tenants_in(state: Any) -> TenantState:
    return TenantState(
        version=checks.number(state.version, "tenants.version", 1, checks.VERSION_LIMIT),
        tenant_systems=checks.items(state.tenant_systems, "tenants.tenant_systems", _tenant_system),
        guards=checks.items(state.guards, "tenants.guards", _guard),
    )


def _mappings_out(update: MappingUpdate) -> Any:
    return pb.MappingUpdate(
        vni=update.vni,
        base=update.base,
        history=update.position.history,
        version=update.position.version,
        mappings=[
            pb.RemoteMapping(mac=one.mac, nve=one.nve, ips=[ip.packed for ip in one.ips], sequence=one.sequence)
            for one in update.mappings
        ],
        withdrawn=[pb.WithdrawnMapping(mac=mac, version=version) for mac, version in update.withdrawn],
    )


def _mappings_in(update: Any) -> MappingUpdate:
    base = checks.number(update.base, "mappings.base", 0, checks.VERSION_LIMIT) if update.HasField("base") else None
    return MappingUpdate(
        vni=checks.number(update.vni, "mappings.vni", 1, checks.VNI_LIMIT),
        base=base,
        position=checks.position(update, "mappings"),
        mappings=checks.items(update.mappings, "mappings.mappings", _remote_mapping),
        withdrawn=checks.items(update.withdrawn, "mappings.withdrawn", _withdrawn),
    )


def _remote_mapping(one: Any, field: str) -> RemoteMapping:
    return RemoteMapping(
        mac=checks.mac(one.mac, f"{field}.mac"),
        nve=checks.label(one.nve, f"{field}.nve"),
        ips=checks.items(one.ips, f"{field}.ips", checks.ip),
        sequence=checks.number(one.sequence, f"{field}.sequence", 0, checks.VERSION_LIMIT),
    )


def _withdrawn(one: Any, field: str) -> tuple[int, int]:
    return checks.mac(one.mac, f"{field}.mac"), checks.number(one.version, f"{field}.version", 0, checks.VERSION_LIMIT)
