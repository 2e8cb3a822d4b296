# SPDX-License-Identifier: Apache-2.0
"""Messages survive the wire; what is not a message does not, and is named without what was in it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.keys import contribution as c
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages import session as m
from nvo3sec.domain.messages.versions import Speaks
from nvo3sec.domain.overlay.addresses import underlay_fault
from nvo3sec.domain.overlay.dscp import DscpModel, OuterDscp
from nvo3sec.domain.overlay.model import (
    FLOOD,
    VAP_FLOOD,
    VERIFY_RATE,
    Level,
    Rate,
    Suite,
    TenantSystem,
    TunnelKeys,
    Vap,
    Vn,
)
from nvo3sec.errors import WireError
from nvo3sec.operator.calls import CALLS
from nvo3sec.wire import down, generate, up
from nvo3sec.wire import nva_pb2 as pb

KEY = bytes(range(0xA0, 0xB0))

uint32 = st.integers(0, 2**32 - 1)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
seconds = st.floats(0, 1e6)
signed = st.floats(-1e6, 1e6)
macs = st.integers(0, 2**48 - 1)
ports = st.integers(0, 511)
HERE = IPv4Address("192.0.2.1").packed
vlans = st.integers(0, 4094)
vnis = st.integers(1, 2**24 - 1)
suites = st.sampled_from(Suite)
protection = st.sampled_from(Level)
ipv4s = st.integers(0, 2**32 - 1).map(IPv4Address)
ips = ipv4s | st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda one: one.ipv4_mapped is None)
underlay = ips.filter(lambda one: underlay_fault(one) is None)
incarnations = st.binary(min_size=16, max_size=16).filter(any)
sessions = st.binary(min_size=16, max_size=16)
keys = st.none() | st.binary(min_size=16, max_size=16).map(Secret)
rates = st.builds(Rate, uint32, uint32)
versions = st.integers(1, 2**63 - 1)
words = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
printable = st.text(st.characters(categories=("L", "N", "P", "Zs"), codec="utf-8"), max_size=40).filter(str.isprintable)


def tuples(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(strategy, max_size=3).map(tuple)


vns = st.builds(Vn, labels, vnis, protection, st.integers(1, 65535), rates, uint32, flood=rates, vap_flood=rates)
vaps = st.builds(Vap, ports, vlans, labels, rates)


def with_other(one: m.NveView | m.PeerView) -> st.SearchStrategy:
    """With an address of the other family, or without one."""
    others = st.none() | underlay.filter(lambda other: other.version != one.address.version)
    return others.map(lambda other: replace(one, other_address=other))


peers = st.builds(
    m.PeerView, labels, underlay, ports, macs, macs, rates, tuples(st.tuples(vnis, protection)), protection
).flatmap(with_other)
systems = st.builds(TenantSystem, labels, labels, labels, ports, vlans, macs, tuples(ips), st.booleans(), st.booleans())
guards = st.builds(m.Guard, ports, vlans, macs, tuples(ips))
claim_places = st.builds(m.ClaimPlace, ports, vlans, macs, tuples(ips))
views = st.builds(
    m.NveView,
    versions,
    labels,
    underlay,
    st.integers(1, 65535),
    tuples(st.tuples(ports, macs)),
    tuples(vns),
    tuples(vaps),
    tuples(peers),
    tuples(systems),
    seconds,
    seconds,
    st.sampled_from(TunnelKeys),
    tuples(guards),
    tuples(claim_places),
    dscp=st.builds(OuterDscp, st.sampled_from(DscpModel), st.integers(0, 63)),
).flatmap(with_other)
names = st.binary(min_size=32, max_size=32)
pairs = st.none() | st.builds(c.Pair, names, names)
receives = st.builds(m.ReceiveSa, labels, suites, uint32, uint32, keys, signed, st.integers(0, 65535), pairs)
sends = st.builds(m.SendSa, labels, suites, uint32, keys, signed, uint32, pairs)
states = st.builds(m.KeyState, versions, incarnations, tuples(receives), tuples(sends))
levels = st.tuples(labels, suites)


@st.composite
def key_updates(draw: st.DrawFn) -> m.KeyUpdate:
    receive, send = draw(tuples(receives)), draw(tuples(sends))
    own = [tuple((sa.peer, sa.suite) for sa in sas) for sas in (receive, send)]
    version = draw(st.integers(2, 2**63 - 1))
    return m.KeyUpdate(
        version,
        draw(st.integers(1, version - 1)),
        draw(incarnations),
        draw(tuples(levels)) + own[0],
        draw(tuples(levels)) + own[1],
        receive,
        send,
    )


questions = st.builds(m.Question, uint32, st.sampled_from(m.QuestionKind))
helds = st.builds(Held, uint32, uint32, signed)
histories = st.binary(min_size=16, max_size=16)
digests = st.just(b"") | st.binary(min_size=32, max_size=32)
marks = st.builds(m.StoreMark, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), digests)
positions = st.builds(m.Position, histories, st.integers(0, 2**63 - 1))
hosts = labels | st.just("")
attachments = st.builds(m.Attachment, ports, vlans, vnis, macs, tuples(ips), hosts, hosts)
signs = st.builds(m.Sign, ports, vlans, vnis, macs, ips, hosts)
releases = st.builds(m.Release, ports, vlans, vnis, macs, hosts, hosts)
moves = st.builds(m.Relocation, ports, vlans, attachments)
features = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
speaks = st.builds(
    lambda low, more, *rest: Speaks(low + more, low, *rest),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31),
    st.frozensets(features, max_size=64),
    printable,
)
registrations = st.builds(
    m.Registration,
    incarnations,
    tuples(st.builds(m.HeldReceive, underlay, suites, helds)),
    tuples(st.builds(m.HeldSend, underlay, suites, helds)),
    tuples(attachments),
    tuples(st.tuples(vnis, positions)),
    st.lists(marks, max_size=4).map(tuple),
    uint32,
    speaks,
)
tenant_states = st.builds(m.TenantState, versions, tuples(systems), tuples(guards))
remotes = st.builds(m.RemoteMapping, macs, labels, tuples(ips), st.integers(0, 2**63 - 1))
mapping_updates = st.builds(
    m.MappingUpdate,
    vnis,
    st.none() | st.integers(0, 2**63 - 1),
    positions,
    tuples(remotes),
    tuples(st.tuples(macs, st.integers(0, 2**63 - 1))),
)
standings = st.builds(m.AttachmentAnswer, st.sampled_from(m.Standing), words | st.just(""))
reads = tuples(st.tuples(labels, suites, uint32))
read_backs = st.builds(m.ReadBack, incarnations, reads, reads, st.integers(0, 2**63 - 1))
amounts = st.integers(0, 2**63 - 1)
uses = st.builds(
    m.Use,
    incarnations,
    tuples(st.builds(m.KeyUse, labels, suites, uint32, amounts, amounts, st.booleans())),
)
reports = st.builds(m.Report, words, printable)
answers = st.builds(m.Answer, uint32, json=printable) | st.builds(m.Answer, uint32, refusal=printable)
parts = st.binary(min_size=1, max_size=40)
chains = st.lists(parts, min_size=1, max_size=4).map(tuple)
contributions = st.builds(c.Contribution, parts, parts, chains)
proofs = st.builds(
    c.PeerProof, st.builds(c.KeyName, labels, suites, st.integers(1, 2**32 - 1), st.sampled_from(c.End)), names
)
peer_contributions = st.builds(c.PeerContribution, labels, incarnations, versions, contributions)
peer_updates = st.builds(c.PeerUpdate, versions, tuples(peer_contributions), tuples(proofs))
peer_news = st.builds(c.PeerNews, incarnations, st.none() | tuples(contributions), tuples(proofs))
queries = st.builds(m.Lookup, vnis, mac=macs) | st.builds(m.Lookup, vnis, ip=ips)
found = st.builds(
    m.LookupAnswer,
    st.sampled_from(m.LookupResult),
    seconds,
    macs,
    labels | st.just(""),
    tuples(ips),
    st.integers(0, 2**63 - 1),
)


def told(name: str, **parameters):
    """What the method that answers a call is given."""
    return CALLS[name].decode(CALLS[name].encode(**parameters)).parameters


class TestRoundTrip:
    @given(
        views
        | states
        | key_updates()
        | questions
        | st.builds(m.NewIncarnation, incarnations)
        | peer_updates
        | tenant_states
        | mapping_updates
        | st.builds(m.Welcome, sessions, marks, st.lists(marks, max_size=4).map(tuple), speaks)
    )
    def test_down(self, message):
        assert down.decode_down(down.encode_down(message)) == message

    def test_an_nva_that_says_nothing_of_rates(self):
        """It is older; the agent takes what domain files have that say nothing of them."""
        vn = pb.Vn(name="blue", vni=1, level=1, mtu=1400, punt=RATE)
        message = view(vns=[vn], tunnel_keys=1, lease_s=300, lease_renew_s=30)
        found = down.decode_down(message.SerializeToString())
        assert found.verify_rate == VERIFY_RATE
        assert found.dscp == OuterDscp(DscpModel.PIPE, 0)
        (found,) = found.vns
        assert (found.flood, found.vap_flood) == (FLOOD, VAP_FLOOD)

    @given(registrations | read_backs | uses | peer_news | reports | answers)
    def test_up(self, message):
        assert up.decode_up(up.encode_up(message)) == message

    @given(sessions, queries, found, seconds, marks)
    def test_calls(self, session, query, answer, duration_s, mark):
        assert up.decode_look_up(up.encode_look_up(session, query)) == up.LookUp(session, query)
        assert up.decode_renewal(up.encode_renewal(session)) == up.RenewLease(session)
        assert up.decode_renewal(up.encode_renewal(session, (mark,))) == up.RenewLease(session, (mark,))
        assert down.decode_found(down.encode_found(answer)) == answer
        for early in (False, True):
            grant = m.LeaseGrant(duration_s, mark, early)
            assert down.decode_grant(down.encode_grant(grant)) == grant

    @given(sessions, signs)
    def test_signs(self, session, sign):
        assert up.decode_attach(up.encode_attach(session, sign)) == up.Announce(session, sign)

    @given(sessions, attachments.filter(lambda one: len(one.ips) != 1))
    def test_a_sign_speaks_for_one_address(self, session, attachment):
        message = pb.AttachRequest.FromString(up.encode_attach(session, attachment))
        message.is_sign = True
        with pytest.raises(WireError, match="ips"):
            up.decode_attach(message.SerializeToString())

    @given(sessions, attachments, signs)
    def test_again(self, session, attachment, sign):
        again = replace(attachment, again=True)
        assert up.decode_attach(up.encode_attach(session, again)) == up.Announce(session, again)
        message = pb.AttachRequest.FromString(up.encode_attach(session, sign))
        message.again = True
        with pytest.raises(WireError, match="again"):
            up.decode_attach(message.SerializeToString())

    @given(sessions, attachments, releases, moves, standings)
    def test_announcements(self, session, attachment, release, move, answer):
        assert up.decode_attach(up.encode_attach(session, attachment)) == up.Announce(session, attachment)
        assert up.decode_detach(up.encode_detach(session, release)) == up.Announce(session, release)
        assert up.decode_move(up.encode_move(session, move)) == up.Announce(session, move)
        assert up.Announce(session, attachment).vni == attachment.vni
        assert up.Announce(session, release).vni == release.vni
        assert up.Announce(session, move).vni == move.to.vni, "the VN that is authorized"
        assert down.decode_attachment_answer(down.encode_attachment_answer(answer)) == answer

    @given(st.none() | labels, st.booleans(), st.lists(labels, max_size=3))
    def test_operators(self, nve, dry_run, nves):
        assert told("counters", nve=nve) == {"nve": nve}
        assert told("reconcile", nve=nve, dry_run=dry_run) == {"nve": nve, "dry_run": dry_run}
        assert told("rotate", nves=nves) == {"nves": nves}
        assert told("key_list", nves=nves, vn="red") == {"nves": nves, "vn": "red"}
        assert told("status", wait_s=7.0) == {"wait_s": 7.0}
        assert told("revoke", nve="leaf3") == {"nve": "leaf3"}

    def test_what_is_not_said_to_operators_calls(self):
        assert told("status") == {"wait_s": 0.0}
        assert told("counters") == {"nve": None}
        assert told("reconcile") == {"nve": None, "dry_run": False}
        assert told("rotate") == {"nves": []}
        with pytest.raises(WireError, match="nve"):
            told("revoke")

    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            ("domain_show", {}),
            ("domain_diff", {"text": "domain: a\n# \u00e4\n"}),
            ("domain_apply", {"text": "", "base": "0f" * 32}),
            ("vn_list", {}),
            ("vn_show", {"vn": "blue"}),
            ("map_list", {"vn": "blue", "nve": "leaf1", "frozen": True, "limit": 7}),
            ("map_list", {"frozen": False}),
            ("map_admit", {"mac": "02:00:00:00:00:01", "nve": "leaf1", "port": 1, "vlan": 0}),
            ("map_evict", {"mac": "02:00:00:00:00:01", "nve": "leaf1", "vn": "blue", "successor": "leaf2"}),
            ("authz_probe", {"device": "nve/leaf1", "method": "LookUp", "vn": "red"}),
        ],
    )
    def test_operators_in_one_form(self, name, parameters):
        call = CALLS[name]
        assert call.decode(call.encode(**parameters)).parameters == parameters
        unsaid = {"vn": None, "nve": None} if name == "map_list" else {}
        assert call.decode(call.encode(**unsaid | parameters)).parameters == parameters

    @pytest.mark.parametrize(
        ("name", "parameters", "field"),
        [
            ("domain_diff", {}, "request.text: is missing"),
            ("domain_diff", {"text": "x" * ((2 << 20) + 1)}, "request.text: must have at most 2097152 bytes"),
            ("domain_apply", {"text": "x"}, "request.base: is missing"),
            ("domain_apply", {"text": "x", "base": "z" * 64}, "request.base: must be 64 hexadecimal digits"),
            ("vn_show", {"vn": "\x1b[31m"}, "request.vn: must be printable"),
            ("map_list", {"limit": 5001}, "request.limit: must be from 1 to 5000"),
            ("map_admit", {"mac": "02:00:00:00:00:01"}, "request.nve: is missing"),
            ("map_evict", {"mac": "m" * 513, "nve": "leaf1"}, "request.mac: must have at most 512"),
            ("map_evict", {"mac": "m", "nve": "leaf1", "vlan": 4095}, "request.vlan: must be from 0 to 4094"),
            ("map_evict", {"mac": "m", "nve": "leaf1", "port": 512}, "request.port: must be from 0 to 511"),
        ],
    )
    def test_operators_refused(self, name, parameters, field):
        with pytest.raises(WireError, match=field):
            CALLS[name].decode(CALLS[name].encode(**parameters))

    def test_a_report_of_anything_can_be_sent(self):
        sent = m.Report("updates-refused", "\x1b[31mred\n" + "x" * 5000)
        assert up.decode_up(up.encode_up(sent)) == m.Report("updates-refused", ("?[31mred?" + "x" * 5000)[:2000])


def view(**changes) -> pb.NvaMessage:
    changes = {"version": 1, "name": "leaf1", "address": HERE, "mtu": 1600} | changes
    return pb.NvaMessage(view=pb.NveView(**changes))


def key_state(**sa) -> pb.NvaMessage:
    sa = {"peer": "leaf2", "suite": 1, "spi": 7, "key": KEY} | sa
    return pb.NvaMessage(keys=pb.KeyState(version=1, incarnation=b"i" * 16, receive=[pb.ReceiveSa(**sa)]))


RECEIVE_SA = pb.ReceiveSa(peer="leaf2", suite=1, spi=7, key=KEY)


def key_update(**changes) -> pb.NvaMessage:
    changes = {"version": 2, "base": 1, "incarnation": b"i" * 16} | changes
    return pb.NvaMessage(key_changes=pb.KeyUpdate(**changes))


def registration(incarnation: bytes = b"i" * 16, **held) -> pb.AgentMessage:
    held = {"address": HERE, "suite": 1, "spi": 7} | held
    return pb.AgentMessage(registration=pb.Registration(incarnation=incarnation, receive=[pb.Held(**held)]))


RATE = pb.Rate(per_second=1, burst=1)

CONTRIBUTION = {"statement": b"s", "signature": b"g", "chain": [b"c"]}
PROOF = {"peer": "leaf2", "suite": 1, "spi": 7, "end": 1, "proof": bytes(32)}


def peer_update(**changes) -> pb.NvaMessage:
    return pb.NvaMessage(peers=pb.PeerUpdate(**{"epoch": 1, **changes}))


def contribution(without: str = "", **changes) -> pb.NvaMessage:
    fields = {"peer": "leaf2", "incarnation": b"i" * 16, "epoch": 1}
    fields["contribution"] = pb.Contribution(**{**CONTRIBUTION, **changes})
    fields.pop(without, None)
    return peer_update(contributions=[pb.PeerContribution(**fields)])


def proof(**changes) -> pb.NvaMessage:
    return peer_update(proofs=[pb.Proof(**{**PROOF, **changes})])


def news(**changes) -> pb.AgentMessage:
    return pb.AgentMessage(peer_news=pb.PeerNews(**{"incarnation": b"i" * 16, **changes}))


BAD_DOWN = {
    "peers.epoch": peer_update(epoch=0),
    "peers.contributions[0].peer": contribution("peer"),
    "peers.contributions[0].incarnation": contribution("incarnation"),
    "peers.contributions[0].epoch": contribution("epoch"),
    "peers.contributions[0].contribution": contribution("contribution"),
    "peers.contributions[0].contribution.statement": contribution(statement=bytes(1025)),
    "peers.contributions[0].contribution.signature": contribution(signature=bytes(1025)),
    "peers.contributions[0].contribution.chain": contribution(chain=[b"c"] * 5),
    "peers.contributions[0].contribution.chain[0]": contribution(chain=[bytes(16385)]),
    "peers.proofs[0].peer": proof(peer="Leaf2"),
    "peers.proofs[0].suite": proof(suite=0),
    "peers.proofs[0].spi": proof(spi=0),
    "peers.proofs[0].end": proof(end=0),
    "peers.proofs[0].proof": proof(proof=bytes(31)),
    "keys.receive[0].pair.ours": key_state(pair=pb.Pair(ours=bytes(31), theirs=bytes(32))),
    "keys.receive[0].pair.theirs": key_state(pair=pb.Pair(ours=bytes(32), theirs=bytes(33))),
    "message": pb.NvaMessage(),
    "view.version": view(version=0),
    "view.name": view(name="Leaf1"),
    "view.address": view(address=bytes(16)),
    "view.mtu": view(mtu=2**20),
    "view.peers[0].mtu": view(
        peers=[pb.Peer(name="leaf2", address=HERE, port=256, mac=1, next_hop_mac=2, meter=RATE, mtu=2**20)]
    ),
    "view.lease_s": view(lease_s=float("nan")),
    "view.lease_renew_s": view(lease_renew_s=-1.0),
    "view.underlay_ports[0].mac": view(underlay_ports=[pb.UnderlayPort(port=256, mac=2**48)]),
    "view.vns[0].vni": view(vns=[pb.Vn(name="red", vni=2**24, level=1, mtu=1500, punt=RATE)]),
    "view.vns[0].level": view(vns=[pb.Vn(name="red", vni=1, level=0, mtu=1500, punt=RATE)]),
    "view.vns[0].punt": view(vns=[pb.Vn(name="red", vni=1, level=1, mtu=1500)]),
    "view.vaps[0].vlan": view(vaps=[pb.Vap(port=1, vlan=4095, vn="red", meter=RATE)]),
    "view.peers[0].port": view(peers=[pb.Peer(name="leaf2", address=HERE, port=512, meter=RATE)]),
    "view.tenant_systems[0].ips[0]": view(
        tenant_systems=[pb.TenantSystem(name="a", vn="red", nve="leaf1", port=1, ips=[bytes(5)])]
    ),
    "welcome.session": pb.NvaMessage(welcome=pb.Welcome(session=bytes(15))),
    "welcome.digest": pb.NvaMessage(welcome=pb.Welcome(session=bytes(16), digest=bytes(31))),
    "welcome.known[0].digest": pb.NvaMessage(
        welcome=pb.Welcome(session=bytes(16), known=[pb.StoreMark(digest=bytes(33))])
    ),
    "question.kind": pb.NvaMessage(question=pb.Question(number=1, kind=9)),
    "keys.incarnation": pb.NvaMessage(keys=pb.KeyState(version=1, incarnation=bytes(16))),
    "key_changes.base": key_update(base=2),
    "key_changes.incarnation": key_update(incarnation=bytes(16)),
    "key_changes.receives[0].peer": key_update(receives=[pb.PeerLevel(peer="../x", suite=1)]),
    "key_changes.sends[0].suite": key_update(sends=[pb.PeerLevel(peer="leaf2", suite=9)]),
    "key_changes.receive[0].peer": key_update(receives=[pb.PeerLevel(peer="leaf3", suite=1)], receive=[RECEIVE_SA]),
    "key_changes.send[0].peer": key_update(
        sends=[pb.PeerLevel(peer="leaf2", suite=2)], send=[pb.SendSa(peer="leaf2", suite=1, spi=1, key=KEY)]
    ),
    "keys.receive[0].key": key_state(key=KEY + b"x"),
    "keys.receive[0].suite": key_state(suite=3),
    "keys.receive[0].peer": key_state(peer="../x"),
    "keys.receive[0].remaining_s": key_state(remaining_s=float("inf")),
    "keys.receive[0].min_coverage": key_state(min_coverage=2**16),
}
BAD_UP = {
    "peer_news.incarnation": news(incarnation=bytes(16)),
    "peer_news.contributions": news(contributions=pb.Contributions(all=[pb.Contribution(**CONTRIBUTION)] * 4)),
    "peer_news.contributions[0].chain": news(contributions=pb.Contributions(all=[pb.Contribution(statement=b"s")])),
    "peer_news.proofs[0].proof": news(proofs=[pb.Proof(**{**PROOF, "proof": b""})]),
    "message": pb.AgentMessage(),
    "registration.incarnation": registration(incarnation=bytes(16)),
    "registration.receive[0].address": registration(address=b"abc"),
    "registration.send[0].address": pb.AgentMessage(
        registration=pb.Registration(incarnation=b"i" * 16, send=[pb.Held(address=bytes(16), suite=1, spi=7)])
    ),
    "registration.receive[0].suite": registration(suite=77),
    "registration.receive[0].remaining_s": registration(remaining_s=float("-inf")),
    "registration.seen": pb.AgentMessage(
        registration=pb.Registration(incarnation=b"i" * 16, seen=[pb.StoreMark()] * 5)
    ),
    "registration.seen[0].digest": pb.AgentMessage(
        registration=pb.Registration(incarnation=b"i" * 16, seen=[pb.StoreMark(digest=b"d")])
    ),
    "report.event": pb.AgentMessage(report=pb.Report(event="UPPER")),
    "report.detail": pb.AgentMessage(report=pb.Report(event="a", detail="\x1b[2J")),
    "answer": pb.AgentMessage(answer=pb.Answer(number=1)),
    "answer.json": pb.AgentMessage(answer=pb.Answer(number=1, json="\n")),
    "read_back.send[0].peer": pb.AgentMessage(
        read_back=pb.ReadBack(incarnation=b"i" * 16, send=[pb.ReadSa(peer="a b", suite=1)])
    ),
}


class TestRefused:
    @pytest.mark.parametrize("field", BAD_DOWN)
    def test_down(self, field):
        with pytest.raises(WireError) as caught:
            down.decode_down(BAD_DOWN[field].SerializeToString())
        assert caught.value.field == field

    @pytest.mark.parametrize("field", BAD_UP)
    def test_up(self, field):
        with pytest.raises(WireError) as caught:
            up.decode_up(BAD_UP[field].SerializeToString())
        assert caught.value.field == field

    @pytest.mark.parametrize("length", [15, 17])
    def test_incarnation_of_another_length(self, length):
        with pytest.raises(WireError, match=r"registration\.incarnation: must have 16 bytes"):
            up.decode_up(registration(incarnation=b"i" * length).SerializeToString())

    @pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "fd00::1"])
    def test_an_nve_is_of_ipv4_or_ipv6(self, text):
        address = ip_address(text)
        peer = pb.Peer(name="leaf2", address=address.packed, port=256, meter=RATE)
        told_view = down.decode_down(view(address=address.packed, peers=[peer], tunnel_keys=1).SerializeToString())
        assert (told_view.address, told_view.peers[0].address) == (address, address)
        said = up.decode_up(registration(address=address.packed).SerializeToString())
        assert said.receive[0].source == address

    @pytest.mark.parametrize(
        "text",
        ["0.0.0.1", "127.0.0.1", "169.254.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1"],
    )
    def test_not_where_no_nve_can_be(self, text):
        address = ip_address(text).packed
        peer = pb.Peer(name="leaf2", address=address, port=256, meter=RATE)
        for field, message in (("view.address", view(address=address)), ("view.peers[0].address", view(peers=[peer]))):
            with pytest.raises(WireError, match="is no address that an NVE can have") as caught:
                down.decode_down(message.SerializeToString())
            assert caught.value.field == field
        with pytest.raises(WireError, match=r"registration\.receive\[0\]\.address: is no address that an NVE can have"):
            up.decode_up(registration(address=address).SerializeToString())

    @pytest.mark.parametrize(
        ("other", "why"),
        [
            (b"abc", "must have 4 or 16 bytes"),
            (ip_address("fe80::1").packed, "is no address that an NVE can have"),
            (ip_address("192.0.2.9").packed, "must be of the other family than address"),
        ],
    )
    def test_a_second_address_is_of_the_other_family(self, other, why):
        peer = pb.Peer(name="leaf2", address=HERE, other_address=other, port=256, meter=RATE)
        for field, message in (
            ("view.other_address", view(other_address=other, tunnel_keys=1)),
            ("view.peers[0].other_address", view(peers=[peer])),
        ):
            with pytest.raises(WireError, match=why) as caught:
                down.decode_down(message.SerializeToString())
            assert caught.value.field == field

    def test_a_dscp_has_a_model_and_six_bits(self):
        for field, dscp in (
            ("view.dscp.model", pb.OuterDscp(value=1)),
            ("view.dscp.model", pb.OuterDscp(model=3)),
            ("view.dscp.value", pb.OuterDscp(model=1, value=64)),
        ):
            message = view(dscp=dscp, tunnel_keys=1, lease_s=300, lease_renew_s=30)
            with pytest.raises(WireError) as caught:
                down.decode_down(message.SerializeToString())
            assert caught.value.field == field

    def test_an_nve_has_one_form(self):
        mapped = bytes(10) + b"\xff\xff" + HERE
        with pytest.raises(WireError, match=r"view\.address: is an IPv4 address in the form of IPv6"):
            down.decode_down(view(address=mapped).SerializeToString())
        for length in (0, 1, 3, 5, 15, 17, 32):
            with pytest.raises(WireError, match=r"view\.address: must have 4 or 16 bytes"):
                down.decode_down(view(address=b"a" * length).SerializeToString())

    def test_lookup_needs_one_address(self):
        with pytest.raises(WireError, match="none of its alternatives"):
            up.decode_look_up(up.encode_look_up(bytes(16), m.Lookup(7)))

    def test_a_wait_has_an_end(self):
        with pytest.raises(WireError, match="wait_s"):
            told("status", wait_s=601.0)

    @given(st.binary(max_size=200))
    def test_garbage_is_refused_or_a_message(self, raw):
        for decode in (down.decode_down, up.decode_up, up.decode_look_up, up.decode_renewal, down.decode_grant):
            with contextlib.suppress(WireError):
                decode(raw)

    @pytest.mark.parametrize("change", [{"key": KEY + KEY}, {"suite": 9}, {"peer": "X"}])
    def test_no_error_shows_a_key(self, change):
        with pytest.raises(WireError) as caught:
            down.decode_down(key_state(**change).SerializeToString())
        shown = str(caught.value) + repr(caught.value)
        assert KEY.hex() not in shown
        assert str(KEY) not in shown
        assert caught.value.__context__ is None


def test_generated_code_is_that_of_the_source():
    for path, text in generate.current().items():
        assert path.read_text(encoding="utf-8") == text, "update with: python -m nvo3sec.wire.generate"
