# SPDX-License-Identifier: Apache-2.0
"""Names of the NVE program. Generated from its P4Info by `python -m nvo3sec.program.generate`; do not edit.

Each function makes one kind of table entry: its arguments are the match fields and action parameters of the program, as
unsigned integers of their width. Tables with a direct meter take its configuration too.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from nvo3sec.program.entry import Entry, Meter, bits


class Table(StrEnum):
    """Tables."""

    PORT_ROLE = "port_role"
    INCARNATION = "incarnation"
    LEASE = "lease"
    AUTHORIZED_NVE = "authorized_nve"
    SA_RX = "sa_rx"
    PEER_METER = "peer_meter"
    VN_INGRESS_AUTHORIZATION = "vn_ingress_authorization"
    VAP = "vap"
    SOURCE_GUARD = "source_guard"
    NEIGHBOR = "neighbor"
    BRIDGE = "bridge"
    FLOOD = "flood"
    PUNT_METER = "punt_meter"
    TUNNEL_ROUTE = "tunnel_route"
    TUNNEL = "tunnel"
    SA_TX = "sa_tx"
    VAP_EGRESS = "vap_egress"
    FLOW_ENTROPY = "flow_entropy"
    NEIGHBOR_IPV6 = "neighbor_ipv6"
    ANNOUNCEMENT = "announcement"
    PEER_FLOOR = "peer_floor"
    UNDERLAY_MEMBER = "underlay_member"
    ADJACENCY = "adjacency"
    TARGET_GUARD = "target_guard"
    VAP_FLOOD = "vap_flood"
    OWN_ADDRESS = "own_address"
    UNDERLAY_PUNT_METER = "underlay_punt_meter"
    OUTER_DSCP = "outer_dscp"


class Counter(StrEnum):
    """Indexed counters."""

    DROPS_INGRESS = "drops_ingress"
    DROPS_EGRESS = "drops_egress"


class PacketOutOp(IntEnum):
    """Operations of a packet-out."""

    FORWARD = 1
    SET_INCARNATION = 2
    REPORT_STATE = 3
    UNDERLAY_CONTROL = 4


class PuntReason(IntEnum):
    """Why the pipeline sent a packet to the agent."""

    UNKNOWN_DESTINATION = 1
    UNKNOWN_NEIGHBOR = 2
    STATE = 3
    ANNOUNCEMENT = 4
    REFUSED_ANNOUNCEMENT = 5
    FRAME_TOO_BIG = 6
    UNDERLAY_CONTROL = 7


class SaKind(IntEnum):
    """What an SA is for."""

    TUNNEL = 1
    GROUP = 2
    LINK = 3
    LINK_GROUP = 4
    CONTROL = 5


class DropReason(IntEnum):
    """Why a packet was dropped: index of the drop counters."""

    NONE = 0
    TRUNCATED = 1
    FRAME_TOO_SHORT = 2
    FRAME_TOO_LONG = 3
    IPV4_OPTIONS = 5
    IPV4_FRAGMENT = 6
    UDP_LENGTH_MISMATCH = 9
    GENEVE_OPTIONS_LENGTH = 10
    PARSER_ERROR = 11
    IPV6_HEADER = 12
    IPV6_EXTENSION = 13
    PORT_UNCONFIGURED = 16
    PORT_ROLE_MISMATCH = 17
    PACKET_OUT_OPERATION = 18
    UNDERLAY_MAC = 24
    IPV4_CHECKSUM = 25
    UDP_CHECKSUM_PRESENT = 26
    GENEVE_VERSION = 27
    GENEVE_CONTROL = 28
    GENEVE_NOT_CRITICAL = 29
    GENEVE_PROTOCOL = 30
    OPTION_UNKNOWN = 31
    OPTION_FLAGS = 32
    UDP_CHECKSUM = 33
    UNDERLAY_CONTROL = 34
    UNDERLAY_CONTROL_RATE = 35
    UNDERLAY_CONTROL_SENT = 36
    INCARNATION = 40
    LEASE_ABSENT = 41
    LEASE_EXPIRED = 42
    UNAUTHORIZED_NVE = 43
    NO_SA = 44
    SA_INCARNATION = 45
    SA_EXPIRED = 46
    SUITE_MISMATCH = 47
    SUITE_UNSUPPORTED = 48
    COVERAGE = 49
    REPLAY_GENERATION = 50
    REPLAY_TOO_LATE = 51
    REPLAYED = 52
    PEER_METER_MISSING = 53
    PEER_RATE = 54
    SA_PEER = 55
    SA_KIND = 56
    SA_LEVEL = 57
    BAD_ICV = 60
    COMMIT_GENERATION = 61
    COMMIT_TOO_LATE = 62
    COMMIT_REPLAYED = 63
    VN_UNAUTHORIZED = 64
    VN_SUITE = 65
    INNER_VLAN = 66
    ECN_NOT_CAPABLE = 67
    VAP_UNKNOWN = 80
    VAP_RATE = 81
    SECOND_TAG = 82
    SOURCE_GUARD = 83
    MALFORMED_ARP = 84
    MALFORMED_ND = 85
    ROGUE_ROUTER = 86
    LINK_LEVEL = 87
    HIDDEN_PROTOCOL = 88
    ROGUE_SERVER = 89
    SOURCE_ADDRESS = 90
    RESERVED_ADDRESS = 91
    UNKNOWN_DESTINATION = 92
    NO_FLOOD_GROUP = 93
    PUNT_FORBIDDEN = 94
    PUNT_RATE = 95
    TUNNEL_TO_TUNNEL = 96
    NO_TUNNEL_ROUTE = 97
    EGRESS_PORT = 98
    ANNOUNCEMENT_NOT_TOLD = 99
    NO_UNDERLAY_MEMBER = 100
    FLOOD_METER_MISSING = 101
    VAP_FLOOD_RATE = 102
    VN_FLOOD_RATE = 103
    FRAME_TOO_BIG = 104
    SOURCE_PRUNED = 112
    SPLIT_HORIZON = 113
    VAP_EGRESS_UNKNOWN = 114
    TUNNEL_UNKNOWN = 115
    TUNNEL_MTU = 116
    TX_INCARNATION = 117
    TX_LEASE_ABSENT = 118
    TX_LEASE_EXPIRED = 119
    TX_NO_SA = 120
    TX_SA_INCARNATION = 121
    TX_SA_EXPIRED = 122
    TX_SUITE_UNSUPPORTED = 123
    TX_SUITE_TOO_WEAK = 124
    TX_INTERFACE = 125
    TX_PORT_CLASS = 126
    NO_ADJACENCY = 127
    TX_SA_LEVEL = 128


METERED_TABLES = frozenset(
    {
        Table.PEER_METER,
        Table.VAP,
        Table.FLOOD,
        Table.PUNT_METER,
        Table.PEER_FLOOR,
        Table.VAP_FLOOD,
        Table.UNDERLAY_PUNT_METER,
    }
)
"""Tables with a direct meter."""

COUNTED_TABLES = frozenset({Table.SA_RX, Table.VN_INGRESS_AUTHORIZATION, Table.VAP, Table.SA_TX})
"""Tables with a direct counter."""

DEFAULT_TABLES = frozenset({Table.INCARNATION, Table.LEASE, Table.FLOW_ENTROPY})
"""Keyless tables: what they do is their default entry."""


def port_role_access(*, port: int) -> Entry:
    """Entry of table port_role with action access."""
    return Entry(
        "port_role",
        (("port", bits("port", port, 9)),),
        "access",
        (),
    )


def port_role_underlay(*, port: int, mac: int) -> Entry:
    """Entry of table port_role with action underlay."""
    return Entry(
        "port_role",
        (("port", bits("port", port, 9)),),
        "underlay",
        (("mac", bits("mac", mac, 48)),),
    )


def incarnation_set_incarnation(*, incarnation: int) -> Entry:
    """Entry of table incarnation with action set_incarnation."""
    return Entry(
        "incarnation",
        (),
        "set_incarnation",
        (("incarnation", bits("incarnation", incarnation, 128)),),
    )


def incarnation_no_incarnation() -> Entry:
    """Entry of table incarnation with action no_incarnation."""
    return Entry(
        "incarnation",
        (),
        "no_incarnation",
        (),
    )


def lease_grant(*, not_after: int) -> Entry:
    """Entry of table lease with action grant."""
    return Entry(
        "lease",
        (),
        "grant",
        (("not_after", bits("not_after", not_after, 48)),),
    )


def lease_no_lease() -> Entry:
    """Entry of table lease with action no_lease."""
    return Entry(
        "lease",
        (),
        "no_lease",
        (),
    )


def authorized_nve_permit(*, source: int, destination: int, peer: int, tag: int, zero_checksum: int) -> Entry:
    """Entry of table authorized_nve with action permit."""
    return Entry(
        "authorized_nve",
        (
            ("source", bits("source", source, 128)),
            ("destination", bits("destination", destination, 128)),
        ),
        "permit",
        (
            ("peer", bits("peer", peer, 16)),
            ("tag", bits("tag", tag, 32)),
            ("zero_checksum", bits("zero_checksum", zero_checksum, 1)),
        ),
    )


def sa_rx_accept(
    *,
    peer: int,
    spi: int,
    suite: int,
    level: int,
    kind: int,
    key: int,
    min_coverage: int,
    pair: int,
    tag: int,
    generation: int,
    not_after: int,
    incarnation: int,
    link: int,
    vlan: int,
) -> Entry:
    """Entry of table sa_rx with action accept."""
    return Entry(
        "sa_rx",
        (
            ("peer", bits("peer", peer, 16)),
            ("spi", bits("spi", spi, 32)),
        ),
        "accept",
        (
            ("suite", bits("suite", suite, 8)),
            ("level", bits("level", level, 8)),
            ("kind", bits("kind", kind, 8)),
            ("key", bits("key", key, 128)),
            ("min_coverage", bits("min_coverage", min_coverage, 16)),
            ("pair", bits("pair", pair, 14)),
            ("tag", bits("tag", tag, 32)),
            ("generation", bits("generation", generation, 32)),
            ("not_after", bits("not_after", not_after, 48)),
            ("incarnation", bits("incarnation", incarnation, 128)),
            ("link", bits("link", link, 16)),
            ("vlan", bits("vlan", vlan, 12)),
        ),
    )


def peer_meter_police(*, peer: int, meter: Meter) -> Entry:
    """Entry of table peer_meter with action police."""
    return Entry(
        "peer_meter",
        (("peer", bits("peer", peer, 16)),),
        "police",
        (),
        meter,
    )


def vn_ingress_authorization_authorize(*, peer: int, vni: int, level: int) -> Entry:
    """Entry of table vn_ingress_authorization with action authorize."""
    return Entry(
        "vn_ingress_authorization",
        (
            ("peer", bits("peer", peer, 16)),
            ("vni", bits("vni", vni, 24)),
        ),
        "authorize",
        (("level", bits("level", level, 8)),),
    )


def vap_attach(
    *,
    port: int,
    link: int,
    vlan: int,
    interface: int,
    vni: int,
    level: int,
    link_level: int,
    meter: Meter,
) -> Entry:
    """Entry of table vap with action attach."""
    return Entry(
        "vap",
        (
            ("port", bits("port", port, 9)),
            ("link", bits("link", link, 16)),
            ("vlan", bits("vlan", vlan, 12)),
        ),
        "attach",
        (
            ("interface", bits("interface", interface, 16)),
            ("vni", bits("vni", vni, 24)),
            ("level", bits("level", level, 8)),
            ("link_level", bits("link_level", link_level, 8)),
        ),
        meter,
    )


def source_guard_permit_source(*, interface: int, mac: int, ip_kind: int, ip: int) -> Entry:
    """Entry of table source_guard with action permit_source."""
    return Entry(
        "source_guard",
        (
            ("interface", bits("interface", interface, 16)),
            ("mac", bits("mac", mac, 48)),
            ("ip_kind", bits("ip_kind", ip_kind, 2)),
            ("ip", bits("ip", ip, 128)),
        ),
        "permit_source",
        (),
    )


def source_guard_permit_announcer(*, interface: int, mac: int, ip_kind: int, ip: int) -> Entry:
    """Entry of table source_guard with action permit_announcer."""
    return Entry(
        "source_guard",
        (
            ("interface", bits("interface", interface, 16)),
            ("mac", bits("mac", mac, 48)),
            ("ip_kind", bits("ip_kind", ip_kind, 2)),
            ("ip", bits("ip", ip, 128)),
        ),
        "permit_announcer",
        (),
    )


def source_guard_permit_service(*, interface: int, mac: int, ip_kind: int, ip: int, services: int) -> Entry:
    """Entry of table source_guard with action permit_service."""
    return Entry(
        "source_guard",
        (
            ("interface", bits("interface", interface, 16)),
            ("mac", bits("mac", mac, 48)),
            ("ip_kind", bits("ip_kind", ip_kind, 2)),
            ("ip", bits("ip", ip, 128)),
        ),
        "permit_service",
        (("services", bits("services", services, 8)),),
    )


def neighbor_answer(*, vni: int, ip: int, mac: int) -> Entry:
    """Entry of table neighbor with action answer."""
    return Entry(
        "neighbor",
        (
            ("vni", bits("vni", vni, 24)),
            ("ip", bits("ip", ip, 32)),
        ),
        "answer",
        (("mac", bits("mac", mac, 48)),),
    )


def bridge_to_vap(*, vni: int, mac: int, from_underlay: int, port: int, interface: int) -> Entry:
    """Entry of table bridge with action to_vap."""
    return Entry(
        "bridge",
        (
            ("vni", bits("vni", vni, 24)),
            ("mac", bits("mac", mac, 48)),
            ("from_underlay", bits("from_underlay", from_underlay, 1)),
        ),
        "to_vap",
        (
            ("port", bits("port", port, 9)),
            ("interface", bits("interface", interface, 16)),
        ),
    )


def bridge_to_tunnel(*, vni: int, mac: int, from_underlay: int, interface: int) -> Entry:
    """Entry of table bridge with action to_tunnel."""
    return Entry(
        "bridge",
        (
            ("vni", bits("vni", vni, 24)),
            ("mac", bits("mac", mac, 48)),
            ("from_underlay", bits("from_underlay", from_underlay, 1)),
        ),
        "to_tunnel",
        (("interface", bits("interface", interface, 16)),),
    )


def flood_replicate(*, vni: int, from_underlay: int, group: int, meter: Meter) -> Entry:
    """Entry of table flood with action replicate."""
    return Entry(
        "flood",
        (
            ("vni", bits("vni", vni, 24)),
            ("from_underlay", bits("from_underlay", from_underlay, 1)),
        ),
        "replicate",
        (("group", bits("group", group, 16)),),
        meter,
    )


def punt_meter_police_punt(*, interface: int, meter: Meter) -> Entry:
    """Entry of table punt_meter with action police_punt."""
    return Entry(
        "punt_meter",
        (("interface", bits("interface", interface, 16)),),
        "police_punt",
        (),
        meter,
    )


def tunnel_route_spread(*, interface: int, group: int, frame_limit: int) -> Entry:
    """Entry of table tunnel_route with action spread."""
    return Entry(
        "tunnel_route",
        (("interface", bits("interface", interface, 16)),),
        "spread",
        (
            ("group", bits("group", group, 16)),
            ("frame_limit", bits("frame_limit", frame_limit, 16)),
        ),
    )


def tunnel_encapsulate(
    *,
    port: int,
    interface: int,
    source: int,
    destination: int,
    underlay_mtu: int,
    hop: int,
) -> Entry:
    """Entry of table tunnel with action encapsulate."""
    return Entry(
        "tunnel",
        (
            ("port", bits("port", port, 9)),
            ("interface", bits("interface", interface, 16)),
        ),
        "encapsulate",
        (
            ("source", bits("source", source, 32)),
            ("destination", bits("destination", destination, 32)),
            ("underlay_mtu", bits("underlay_mtu", underlay_mtu, 16)),
            ("hop", bits("hop", hop, 16)),
        ),
    )


def tunnel_encapsulate_ipv6(
    *,
    port: int,
    interface: int,
    source: int,
    destination: int,
    underlay_mtu: int,
    hop: int,
) -> Entry:
    """Entry of table tunnel with action encapsulate_ipv6."""
    return Entry(
        "tunnel",
        (
            ("port", bits("port", port, 9)),
            ("interface", bits("interface", interface, 16)),
        ),
        "encapsulate_ipv6",
        (
            ("source", bits("source", source, 128)),
            ("destination", bits("destination", destination, 128)),
            ("underlay_mtu", bits("underlay_mtu", underlay_mtu, 16)),
            ("hop", bits("hop", hop, 16)),
        ),
    )


def sa_tx_protect(
    *,
    interface: int,
    level: int,
    suite: int,
    to_level: int,
    key: int,
    spi: int,
    not_after: int,
    incarnation: int,
) -> Entry:
    """Entry of table sa_tx with action protect."""
    return Entry(
        "sa_tx",
        (
            ("interface", bits("interface", interface, 16)),
            ("level", bits("level", level, 8)),
        ),
        "protect",
        (
            ("suite", bits("suite", suite, 8)),
            ("level", bits("level", to_level, 8)),
            ("key", bits("key", key, 128)),
            ("spi", bits("spi", spi, 32)),
            ("not_after", bits("not_after", not_after, 48)),
            ("incarnation", bits("incarnation", incarnation, 128)),
        ),
    )


def vap_egress_untagged(*, port: int, interface: int) -> Entry:
    """Entry of table vap_egress with action untagged."""
    return Entry(
        "vap_egress",
        (
            ("port", bits("port", port, 9)),
            ("interface", bits("interface", interface, 16)),
        ),
        "untagged",
        (),
    )


def vap_egress_tagged(*, port: int, interface: int, vlan: int) -> Entry:
    """Entry of table vap_egress with action tagged."""
    return Entry(
        "vap_egress",
        (
            ("port", bits("port", port, 9)),
            ("interface", bits("interface", interface, 16)),
        ),
        "tagged",
        (("vlan", bits("vlan", vlan, 12)),),
    )


def flow_entropy_keyed(*, key: int) -> Entry:
    """Entry of table flow_entropy with action keyed."""
    return Entry(
        "flow_entropy",
        (),
        "keyed",
        (("key", bits("key", key, 128)),),
    )


def flow_entropy_not_keyed() -> Entry:
    """Entry of table flow_entropy with action not_keyed."""
    return Entry(
        "flow_entropy",
        (),
        "not_keyed",
        (),
    )


def neighbor_ipv6_answer_ipv6(*, vni: int, ip: int, mac: int) -> Entry:
    """Entry of table neighbor_ipv6 with action answer_ipv6."""
    return Entry(
        "neighbor_ipv6",
        (
            ("vni", bits("vni", vni, 24)),
            ("ip", bits("ip", ip, 128)),
        ),
        "answer_ipv6",
        (("mac", bits("mac", mac, 48)),),
    )


def announcement_tell(*, vni: int, group: int) -> Entry:
    """Entry of table announcement with action tell."""
    return Entry(
        "announcement",
        (("vni", bits("vni", vni, 24)),),
        "tell",
        (("group", bits("group", group, 16)),),
    )


def peer_floor_police_floor(*, peer: int, meter: Meter) -> Entry:
    """Entry of table peer_floor with action police_floor."""
    return Entry(
        "peer_floor",
        (("peer", bits("peer", peer, 16)),),
        "police_floor",
        (),
        meter,
    )


def underlay_member_via(*, group: int, bucket: int, port: int, hop: int) -> Entry:
    """Entry of table underlay_member with action via."""
    return Entry(
        "underlay_member",
        (
            ("group", bits("group", group, 16)),
            ("bucket", bits("bucket", bucket, 6)),
        ),
        "via",
        (
            ("port", bits("port", port, 9)),
            ("hop", bits("hop", hop, 16)),
        ),
    )


def adjacency_towards(*, egress_port: int, hop: int, source_mac: int, next_hop_mac: int) -> Entry:
    """Entry of table adjacency with action towards."""
    return Entry(
        "adjacency",
        (
            ("egress_port", bits("egress_port", egress_port, 9)),
            ("hop", bits("hop", hop, 16)),
        ),
        "towards",
        (
            ("source_mac", bits("source_mac", source_mac, 48)),
            ("next_hop_mac", bits("next_hop_mac", next_hop_mac, 48)),
        ),
    )


def target_guard_permit_target(*, interface: int, mac: int, ip: int) -> Entry:
    """Entry of table target_guard with action permit_target."""
    return Entry(
        "target_guard",
        (
            ("interface", bits("interface", interface, 16)),
            ("mac", bits("mac", mac, 48)),
            ("ip", bits("ip", ip, 128)),
        ),
        "permit_target",
        (),
    )


def vap_flood_police_flood(*, interface: int, meter: Meter) -> Entry:
    """Entry of table vap_flood with action police_flood."""
    return Entry(
        "vap_flood",
        (("interface", bits("interface", interface, 16)),),
        "police_flood",
        (),
        meter,
    )


def own_address_own(*, port: int, address: int, mac: int) -> Entry:
    """Entry of table own_address with action own."""
    return Entry(
        "own_address",
        (
            ("port", bits("port", port, 9)),
            ("address", bits("address", address, 128)),
        ),
        "own",
        (("mac", bits("mac", mac, 48)),),
    )


def underlay_punt_meter_hear(*, port: int, kind: int, meter: Meter) -> Entry:
    """Entry of table underlay_punt_meter with action hear."""
    return Entry(
        "underlay_punt_meter",
        (
            ("port", bits("port", port, 9)),
            ("kind", bits("kind", kind, 8)),
        ),
        "hear",
        (),
        meter,
    )


def outer_dscp_pipe_dscp(*, port: int, dscp: int) -> Entry:
    """Entry of table outer_dscp with action pipe_dscp."""
    return Entry(
        "outer_dscp",
        (("port", bits("port", port, 9)),),
        "pipe_dscp",
        (("dscp", bits("dscp", dscp, 6)),),
    )


def outer_dscp_copy_dscp(*, port: int, otherwise: int) -> Entry:
    """Entry of table outer_dscp with action copy_dscp."""
    return Entry(
        "outer_dscp",
        (("port", bits("port", port, 9)),),
        "copy_dscp",
        (("otherwise", bits("otherwise", otherwise, 6)),),
    )
