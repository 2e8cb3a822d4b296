# SPDX-License-Identifier: Apache-2.0
"""Checks that are no drop, verify or condition, written by hand. And mutants that nobody can notice, with the reason.

A change of the sources that makes one of these texts disappear is an error of this list, which says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from mutants.sources import Mutant, Sources


@dataclass(frozen=True)
class Change:
    """Replaces one place of a file; several make one mutant."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Semantic:
    name: str
    changes: tuple[Change, ...]
    hints: tuple[str, ...]
    expected: str = ""


def _one(name: str, file: str, old: str, new: str, *hints: str) -> Semantic:
    return Semantic(name, (Change(file, old, new),), hints)


_WINDOW = "v1model/replay_window.p4"
_RECEPTION = "common/secure_reception.p4"
_SELF = "common/egress_self.p4"
_ENCAPSULATION = "common/encapsulation.p4"
_EGRESS = "v1model/egress.p4"
_SEQUENCE = "v1model/sequence.p4"
_INGRESS = "v1model/ingress.p4"
_BRIDGING = "common/bridging.p4"
_CHASKEY = "crypto/chaskey.p4"
_ASCON = "crypto/ascon.p4"

SEMANTIC = (
    # What is not authenticated does not leave
    _one("nothing is cut off in egress", _EGRESS, "truncate((bit<32>)length);", "", "trailing", "Trailing"),
    _one(
        "a packet-in carries the whole frame",
        _EGRESS,
        "                length = PUNT_FRAME_LENGTH;\n",
        "",
        "punted",
        "UNKNOWN_DESTINATION",
    ),
    # Drops are applied
    _one(
        "ingress drops are counted, not applied", _INGRESS, "mark_to_drop(standard_metadata);", "", "PORT_UNCONFIGURED"
    ),
    _one("egress drops are counted, not applied", _EGRESS, "mark_to_drop(standard_metadata);", "", "TX_NO_SA"),
    _one(
        "ingress drops are not counted",
        _INGRESS,
        "drops_ingress.count((bit<32>)(bit<8>)meta.drop_reason);",
        "",
        "PORT_UNCONFIGURED",
    ),
    _one(
        "egress drops are not counted",
        _EGRESS,
        "drops_egress.count((bit<32>)(bit<8>)meta.drop_reason);",
        "",
        "TX_NO_SA",
    ),
    # Incarnation
    _one(
        "tunnels do not ask the ingress register",
        _SELF,
        "meta.self.incarnation_agrees & egress_agrees",
        "egress_agrees",
        "TX_INCARNATION",
    ),
    _one(
        "tunnels do not ask the egress register",
        _SELF,
        "meta.self.incarnation_agrees & egress_agrees",
        "meta.self.incarnation_agrees",
        "TX_INCARNATION",
        "RegisterWrong",
    ),
    _one(
        "the ingress register is never written",
        "common/switch_self.p4",
        "REGISTER_WRITE(incarnation_ingress, 0, hdr.incarnation.value);",
        "",
    ),
    _one(
        "the egress register is never written",
        "common/egress_self.p4",
        "REGISTER_WRITE(incarnation_egress, 0, hdr.incarnation.value);",
        "",
    ),
    # Headers of the underlay
    _one(
        "the IPv4 checksum is not computed",
        "v1model/checksums.p4",
        "verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.version_ihl == IPV4_VERSION_IHL,",
        "verify_checksum(false,",
        "IPV4_CHECKSUM",
    ),
    _one("the sum of UDP is not computed", _EGRESS, "outer_checksum.apply(hdr, meta);", "", "Ipv6"),
    _one(
        "a sum of zero is sent as it is",
        "common/outer_checksum.p4",
        "sum == 0xFFFF ? 16w0xFFFF : ~sum",
        "~sum",
        "Ipv6SumThatIsZero",
    ),
    _one(
        "the label is a slice of the source port's",
        _ENCAPSULATION,
        "meta.flow_hash[51:32]",
        "meta.flow_hash[19:0]",
        "Ipv6",
    ),
    # DSCP
    _one(
        "the inner DSCP goes out under the pipe", _ENCAPSULATION, "new_dscp = dscp;", "new_dscp = inner_dscp;", "Dscp"
    ),
    _one(
        "frames without a DSCP have one copied",
        _ENCAPSULATION,
        "inner_is_ip == 1 ? inner_dscp : otherwise",
        "inner_dscp",
        "DscpCopy",
    ),
    _one(
        "no frame has a DSCP to copy",
        _ENCAPSULATION,
        "inner_is_ip == 1 ? inner_dscp : otherwise",
        "otherwise",
        "DscpCopy",
    ),
    _one("every frame is of IP", _ENCAPSULATION, "inner_is_ip = 0;", "inner_is_ip = 1;", "DscpCopy"),
    _one(
        "the DSCP of IPv4 is read two bits too far",
        _ENCAPSULATION,
        "read_inner(hdr.frame_type.first[7:2])",
        "read_inner(hdr.frame_type.first[5:0])",
        "DscpCopy",
    ),
    _one(
        "the DSCP of IPv6 is read two bits too far",
        _ENCAPSULATION,
        "read_inner(hdr.frame_type.first[11:6])",
        "read_inner(hdr.frame_type.first[9:4])",
        "DscpCopy",
    ),
    _one("over IPv4 nothing is marked", _ENCAPSULATION, "hdr.ipv4.dscp = new_dscp;", "hdr.ipv4.dscp = 0;", "DscpPipe"),
    _one("over IPv6 nothing is marked", _ENCAPSULATION, "hdr.ipv6.dscp = new_dscp;", "hdr.ipv6.dscp = 0;", "DscpPipe"),
    _one(
        "all ports are marked alike",
        _ENCAPSULATION,
        'egress_port: exact @name("port");\n        }\n        actions = { pipe_dscp',
        '9w256 & egress_port: exact @name("port");\n        }\n        actions = { pipe_dscp',
        "DscpUnmarked",
    ),
    # Ways
    _one(
        "the bucket is a slice of the source port's",
        "common/underlay_route.p4",
        "meta.flow_hash[21:16]",
        "meta.flow_hash[5:0]",
        "FlowsOverBothPorts",
    ),
    # What is in clear
    _one(
        "what is in clear is not metered",
        "common/underlay_control.p4",
        "                underlay_punt_meter.apply();\n",
        "                is_heard = 1;\n",
        "underlay_control",
    ),
    _one(
        "what is in clear has its checksum computed", "v1model/checksums.p4", " && hdr.geneve.isValid()", "", "control"
    ),
    # Suite 2
    _one("the nonce has no SPI", _ASCON, "x3 = bound.a3 ++ 32w0;", "x3 = 0;", "Ascon", "Nonce"),
    _one("the nonce has no sequence", _ASCON, "x4 = bound.a4 ++ bound.a5;", "x4 = 0;", "Ascon", "Nonce"),
    _one("bound data and frame are not kept apart", _ASCON, "x4 = x4 ^ ASCON_DOMAIN;", "", "Ascon"),
    # Replay window
    _one(
        "the window is one packet too wide",
        _WINDOW,
        "REPLAY_WINDOW = 32 * ((1 << RING_SLOT_BITS) - 1);",
        "REPLAY_WINDOW = 32 * ((1 << RING_SLOT_BITS) - 1) + 1;",
        "WindowEdges",
    ),
    _one(
        "the window is one packet too narrow",
        _WINDOW,
        "REPLAY_WINDOW = 32 * ((1 << RING_SLOT_BITS) - 1);",
        "REPLAY_WINDOW = 32 * ((1 << RING_SLOT_BITS) - 1) - 1;",
        "WindowEdges",
    ),
    _one(
        "accepted packets are not remembered", _WINDOW, "replay_slot.write((bit<32>)slot_index, slot);", "", "REPLAYED"
    ),
    _one(
        "the highest sequence is not remembered",
        _WINDOW,
        "replay_highest.write((bit<32>)ring, highest);",
        "",
        "REPLAY_TOO_LATE",
    ),
    _one("a new bit forgets the others of its slot", _WINDOW, "(bitmap | mask)", "mask", "Reordering"),
    _one("all packets of a slot share a bit", _WINDOW, "32w1 << hdr.protection.sequence[4:0]", "32w1", "Reordering"),
    Semantic(
        "both phases share a ring",
        (
            Change(
                _WINDOW,
                "ring = 1w0 ++ 2w0 ++ meta.sa_rx.pair[11:0] ++ hdr.protection.spi[31:31];",
                "ring = 1w0 ++ 2w0 ++ meta.sa_rx.pair[11:0] ++ 1w0;",
            ),
            Change(
                _WINDOW,
                "slot_index = 1w0 ++ meta.sa_rx.pair[11:0] ++ hdr.protection.spi[31:31]",
                "slot_index = 1w0 ++ meta.sa_rx.pair[11:0] ++ 1w0",
            ),
        ),
        ("phase", "Phase"),
    ),
    Semantic(
        "all pairs share the rings",
        (
            Change(_WINDOW, "ring = 1w0 ++ 2w0 ++ meta.sa_rx.pair[11:0]", "ring = 1w0 ++ 2w0 ++ 12w0"),
            Change(_WINDOW, "slot_index = 1w0 ++ meta.sa_rx.pair[11:0]", "slot_index = 1w0 ++ 12w0"),
        ),
        ("pair", "Pair"),
    ),
    Semantic(
        "a ring belongs to the peer, not to peer and level",
        (
            Change(_WINDOW, "ring = 1w0 ++ 2w0 ++ meta.sa_rx.pair[11:0]", "ring = 1w0 ++ 2w0 ++ meta.peer[11:0]"),
            Change(_WINDOW, "slot_index = 1w0 ++ meta.sa_rx.pair[11:0]", "slot_index = 1w0 ++ meta.peer[11:0]"),
        ),
        ("Levels", "pair"),
    ),
    _one(
        "tunnels use the rings of groups",
        _WINDOW,
        "        } else {\n            choose_ring();",
        "        } else {\n            choose_group_ring();",
        "WindowEdges",
    ),
    _one(
        "refused packets are remembered",
        _WINDOW,
        "slot = accepted == 1 ? meta.sa_rx.generation ++ block_number ++ (bitmap | mask) : slot;",
        "slot = meta.sa_rx.generation ++ block_number ++ (bitmap | mask);",
        "Replay",
    ),
    _one("the window is not committed", _RECEPTION, "window.apply(hdr, meta, 1);", "", "REPLAYED"),
    # ICV
    _one(
        "the inner length is not under the ICV",
        _CHASKEY,
        "m3 = frame_length ++ ICV_DOMAIN;",
        "m3 = 16w0 ++ ICV_DOMAIN;",
        "BAD_ICV",
    ),
    _one(
        "the padding of the last block is zero",
        _CHASKEY,
        "tail = tail | (128w1 << (8 * (15 - tail_length)));",
        "",
        "Length",
    ),
    _one(
        "the second subkey is the first",
        _CHASKEY,
        "doublings = 2;",
        "doublings = 1;",
        "Length",
    ),
    _one("the subkey is not reduced", _CHASKEY, "(k0 << 1) ^ reduction", "(k0 << 1)", "Length"),
    _one(
        "the last block is absorbed without the subkey",
        _CHASKEY,
        "if (i + 1 == block_count) {",
        "if (false) {",
        "BAD_ICV",
    ),
    _one(
        "a block too many is taken for a full one", _CHASKEY, "if (next < full_blocks) {", "if (next <= full_blocks) {"
    ),
    _one("a word of the ICV is another one", _CHASKEY, "icv = v0 ++ v1", "icv = v1 ++ v1", "BAD_ICV"),
    _one(
        "the ICV is compared in half",
        _RECEPTION,
        "icv != hdr.protection.icv",
        "icv[63:0] != hdr.protection.icv[63:0]",
        "BAD_ICV",
        "Flip",
    ),
    # Sequence numbers
    _one("the sequence does not count", _SEQUENCE, "next = next + 1;", "", "sequence"),
    _one(
        "the sequence is not stored",
        _SEQUENCE,
        "name.write(17w0 ++ interface[14:0], next)",
        "next = next",
        "sequence",
    ),
    _one(
        "all tunnels share a sequence",
        _SEQUENCE,
        "name.read(next, 17w0 ++ interface[14:0]);       \\\n"
        "    next = next + 1;                                \\\n"
        "    name.write(17w0 ++ interface[14:0], next)",
        "name.read(next, 0);       \\\n    next = next + 1;                                \\\n    name.write(0, next)",
        "sequence",
        "Flood",
    ),
    # Tags
    _one("the tag of the access side stays", "common/access_admission.p4", "hdr.vlan.setInvalid();", "", "tag"),
    # Meters
    _one(
        "the meter of the VAP decides nothing",
        "common/access_admission.p4",
        "METER_READ(vap_rate, meta.colour);",
        "METER_READ(vap_rate, meta.colour); meta.colour = 0;",
        "VAP_RATE",
    ),
    _one(
        "the meter of the peer decides nothing",
        _RECEPTION,
        "METER_READ(peer_meter_rate, meta.colour);",
        "METER_READ(peer_meter_rate, meta.colour); meta.colour = 0;",
        "PEER_RATE",
    ),
    _one(
        "the floor of a peer decides nothing",
        _RECEPTION,
        "METER_READ(peer_floor_rate, meta.colour);",
        "METER_READ(peer_floor_rate, meta.colour); meta.colour = 0;",
        "PEER_RATE",
    ),
    _one("a penalty never begins", _RECEPTION, "                    begin_penalty();\n", "", "PEER_RATE"),
    _one("a failure is always a penalty", _RECEPTION, "if (meta.colour == COLOUR_RED) {", "if (true) {", "PEER_RATE"),
    _one("a penalty never ends", _RECEPTION, "now < until ? 1w1 : 1w0", "until != 0 ? 1w1 : 1w0", "PenaltyEnds"),
    Semantic(
        "all peers share a penalty",
        (
            Change(
                _RECEPTION,
                "REGISTER_READ(penalty_until, until, 17w0 ++ meta.peer[14:0]);",
                "REGISTER_READ(penalty_until, until, 0);",
            ),
            Change(
                _RECEPTION,
                "REGISTER_WRITE(penalty_until, 17w0 ++ meta.peer[14:0], now + PENALTY_US);",
                "REGISTER_WRITE(penalty_until, 0, now + PENALTY_US);",
            ),
        ),
        ("PEER_RATE",),
    ),
    _one("a peer without a meter is not metered", _RECEPTION, "meta.colour = COLOUR_RED;", "", "PEER_METER_MISSING"),
    _one("what does not verify stays", _RECEPTION, "                wipe_frame();\n", "", "Memory"),
    _one("the tail of what does not verify stays", _RECEPTION, "        meta.tail = 0;\n", "", "Memory"),
    _one("addresses of what does not verify stay", _RECEPTION, "        hdr.addresses.dst = 0;\n", "", "Memory"),
    # Ways into the underlay
    _one(
        "what ingress chose of the next hops is forgotten",
        _ENCAPSULATION,
        "meta.hop == 0 ? own_hop : meta.hop",
        "own_hop",
        "NO_ADJACENCY",
    ),
    _one(
        "a tunnel's own next hop is forgotten",
        _ENCAPSULATION,
        "meta.hop == 0 ? own_hop : meta.hop",
        "meta.hop",
        "Flood",
    ),
    _one(
        "the flow of a packet-out is not hashed",
        _INGRESS,
        "meta.egress_interface & INTERFACE_TUNNEL != 0)) {",
        "meta.egress_interface & INTERFACE_TUNNEL != 0) && meta.origin != origin_t.CPU) {",
        "PacketOut",
    ),
    _one(
        "the meter of punts decides nothing",
        _BRIDGING,
        "METER_READ(punt_rate, meta.colour);",
        "METER_READ(punt_rate, meta.colour); meta.colour = 0;",
        "PUNT_RATE",
    ),
    # Frames that their tunnel does not carry
    _one("every tunnel carries every frame", _BRIDGING, "longest = frame_limit;", "longest = 0xFFFF;", "FRAME_TOO_BIG"),
    _one(
        "frames that are too big are not counted",
        _INGRESS,
        "drops_ingress.count((bit<32>)(bit<8>)drop_reason_t.FRAME_TOO_BIG);",
        "",
        "FRAME_TOO_BIG",
    ),
    _one(
        "frames that are too big are told as another kind",
        _BRIDGING,
        "meta.punt_reason = punt_reason_t.FRAME_TOO_BIG;",
        "meta.punt_reason = punt_reason_t.UNKNOWN_DESTINATION;",
        "FRAME_TOO_BIG",
    ),
    _one(
        "what is too big for its tunnel goes on",
        _BRIDGING,
        """                                    meta.punt = 1;
                                    meta.punt_reason = punt_reason_t.FRAME_TOO_BIG;
                                    meta.drop_reason = drop_reason_t.FRAME_TOO_BIG;
""",
        "",
        "FRAME_TOO_BIG",
    ),
    # Announcements
    _one(
        "the agent hears every tenant system",
        _BRIDGING,
        "if (meta.announcer == 1) {",
        "if (true) {",
        "Announcements",
        "Told",
    ),
    _one(
        "an announcement over the meter is not flooded",
        _BRIDGING,
        "meta.announcement_untold = 1;",
        "meta.drop_reason = drop_reason_t.PUNT_RATE;",
        "Announcements",
        "ANNOUNCEMENT_NOT_TOLD",
    ),
    _one(
        "announcements over the meter are not counted",
        _INGRESS,
        "drops_ingress.count((bit<32>)(bit<8>)drop_reason_t.ANNOUNCEMENT_NOT_TOLD);",
        "",
        "ANNOUNCEMENT_NOT_TOLD",
    ),
    _one(
        "a VAP without a meter is not metered",
        _BRIDGING,
        "is_metered = 0;",
        "",
        "PUNT_FORBIDDEN",
        "ANNOUNCEMENT_NOT_TOLD",
    ),
    # Flooding, answers
    _one(
        "a replica keeps the interface that ingress decided",
        _EGRESS,
        "standard_metadata.egress_rid != 0",
        "false",
        "Flood",
    ),
    _one("answers are pruned as loops", _BRIDGING, "meta.hairpin = 1;", "", "neighbor"),
    _one(
        "an ECN mark of the sender is not copied (IPv4)",
        _ENCAPSULATION,
        "copy_ecn(hdr.frame_type.first[1:0]);",
        "",
        "ecn",
    ),
    _one(
        "an ECN mark of the sender is not copied (IPv6)",
        _ENCAPSULATION,
        "copy_ecn(hdr.frame_type.first[5:4]);",
        "",
        "ecn",
    ),
    # Pairs: the commit decides alone. Behind the preliminary look no COMMIT_* reason can fire as long as ingress takes
    # one packet after the other, so the two are taken out together.
    Semantic(
        "replays pass the look and the commit",
        (
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAYED;", ""),
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.COMMIT_REPLAYED;", ""),
        ),
        ("REPLAYED",),
        "too much on",
    ),
    Semantic(
        "late packets pass the look and the commit",
        (
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAY_TOO_LATE;", ""),
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.COMMIT_TOO_LATE;", ""),
        ),
        ("REPLAY_TOO_LATE",),
        "too much on",
    ),
    Semantic(
        "old generations pass the look and the commit",
        (
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAY_GENERATION;", ""),
            Change(_WINDOW, "meta.drop_reason = drop_reason_t.COMMIT_GENERATION;", ""),
        ),
        ("REPLAY_GENERATION",),
        "too much on",
    ),
    # Only the look is gone: nothing comes out, the commit refuses, and its reason tells.
    Semantic(
        "replays pass the look only",
        (Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAYED;", ""),),
        ("REPLAYED",),
        r"^(?!.*too much on).*COMMIT_REPLAYED",
    ),
    Semantic(
        "late packets pass the look only",
        (Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAY_TOO_LATE;", ""),),
        ("REPLAY_TOO_LATE",),
        r"^(?!.*too much on).*COMMIT_TOO_LATE",
    ),
    Semantic(
        "old generations pass the look only",
        (Change(_WINDOW, "meta.drop_reason = drop_reason_t.REPLAY_GENERATION;", ""),),
        ("REPLAY_GENERATION",),
        r"^(?!.*too much on).*COMMIT_GENERATION",
    ),
    Semantic(
        "the look is not taken",
        (Change(_RECEPTION, "window.apply(hdr, meta, 0);", ""),),
        ("REPLAYED",),
        r"^(?!.*too much on).*COMMIT_",
    ),
)


_COMMITTED = "behind the look it cannot come to this while ingress takes one packet after the other; see the pairs"
_CLOCK = "they differ for one microsecond of the switch's clock, which no sender can aim at"
_LATER_VERIFY = "parse_frame_type refuses the same lengths for the same reason; this one is for lengths beyond 16 bits"
_TOGETHER = (
    "one packet writes both registers, and on these targets both are lost together; see the STATE answer for each"
)
_UNSEEN = "nobody sees the hash of what goes into no tunnel"
_NO_GROUP = "no outer headers lead to an SA of this kind yet"
_NOT_RED = "without an entry the colour is not red: no meter has been read, or a red one has ended the packet"

# Mutants that no packet can tell from the program: by name, with the reason. They run as well: one that is killed after
# all does not belong here.
EQUIVALENT: dict[str, str] = {
    "replay_window drop COMMIT_GENERATION": _COMMITTED,
    "replay_window drop COMMIT_TOO_LATE": _COMMITTED,
    "replay_window drop COMMIT_REPLAYED": _COMMITTED,
    "replay_window operand accepted == 1": _COMMITTED,
    "refused packets are remembered": _COMMITTED,
    "tunnels do not ask the ingress register": _TOGETHER,
    "tunnels do not ask the egress register": _TOGETHER,
    "replay_window operand meta.sa_rx.generation < slot[127:96]": "a slot is written together with the highest "
    "sequence, so its generation is never newer",
    "replay_window boundary highest[63:0] > window": "at the limit the difference is 0, as is the other branch",
    "replay_window boundary hdr.protection.sequence > highest[63:0]": "the same number again is a replay",
    "ingress operand meta.drop_reason == drop_reason_t.NONE (2)": _UNSEEN,
    "ingress operand meta.punt == 0 (2)": _UNSEEN,
    "ingress operand (meta.multicast_group != 0 || meta.egress_interface & INTERFACE_TUNNEL != 0)": _UNSEEN,
    "encapsulation hit adjacency": "what follows are headers of a packet that is dropped",
    "secure_reception boundary now < until": _CLOCK,
    "replay_window operand meta.sa_rx.kind == sa_kind_t.GROUP": _NO_GROUP,
    "replay_window operand meta.sa_rx.kind == sa_kind_t.LINK_GROUP": _NO_GROUP,
    "tunnel_admission boundary now >= meta.self.lease_not_after": _CLOCK,
    "secure_reception boundary now >= meta.sa_rx.not_after": _CLOCK,
    "egress_self boundary now >= meta.self.lease_not_after": _CLOCK,
    "secure_sending boundary now >= meta.sa_tx.not_after": _CLOCK,
    "secure_reception boundary hdr.protection.coverage > meta.frame_length": "the condition excludes equality",
    "secure_reception hit peer_floor": _NOT_RED,
    "secure_reception operand peer_floor.apply().hit": _NOT_RED,
    "bridging hit bridge": "without an entry the interface is 0, which is no tunnel",
    "bridging operand meta.inner.ip_kind == IP_KIND_ARP": "only ARP has an ARP operation",
    "egress boundary length > PUNT_FRAME_LENGTH": "at the limit both branches are the same number",
    "ingress operand meta.punt == 0": "what is punted has no outgoing port yet",
    "ingress operand meta.multicast_group == 0": "what is flooded has no outgoing port",
    "parser drop PARSER_ERROR": "no packet gets there: the blocks cannot overrun, and every other error has its "
    "own reason",
    "parser boundary standard_metadata.packet_length < (bit<32>)(PACKET_OUT_LENGTH + FRAME_LIMIT)": _LATER_VERIFY,
    "parser boundary standard_metadata.packet_length < (bit<32>)(FRAME_LIMIT + VLAN_TAG_LENGTH)": _LATER_VERIFY,
}


def semantic_mutants(sources: Sources) -> list[Mutant]:
    """The list above against the sources as they are. Raises ValueError for a text that is not there exactly once."""
    return [
        Mutant(
            one.name,
            edits=tuple(sources.edit(change.file, change.old, change.new) for change in one.changes),
            hints=one.hints,
            expected=one.expected,
        )
        for one in SEMANTIC
    ]
