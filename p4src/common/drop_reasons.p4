/* SPDX-License-Identifier: Apache-2.0 */
/* Why a packet was dropped. Each number is the index into drops_ingress or drops_egress, and is never reused.
 * 4, 7 and 8 were for what is no tunnel's: see UNDERLAY_CONTROL. */
#ifndef NVO3SEC_DROP_REASONS
#define NVO3SEC_DROP_REASONS

enum bit<8> drop_reason_t {
    NONE = 0,

    /* Parser */
    TRUNCATED = 1,               /* fewer bytes than the lengths in the headers say */
    FRAME_TOO_SHORT = 2,         /* frame below 16 bytes */
    FRAME_TOO_LONG = 3,          /* frame above 16 + 16 * FRAME_BLOCKS + 15 bytes */
    IPV4_OPTIONS = 5,            /* version or header length other than 0x45 */
    IPV4_FRAGMENT = 6,
    UDP_LENGTH_MISMATCH = 9,     /* UDP length is not what the IP header says */
    GENEVE_OPTIONS_LENGTH = 10,  /* other than this option and no other */
    PARSER_ERROR = 11,           /* any other error of the parser */
    IPV6_HEADER = 12,            /* version other than 6 */
    IPV6_EXTENSION = 13,         /* a header between IPv6 and UDP */

    /* Port */
    PORT_UNCONFIGURED = 16,
    PORT_ROLE_MISMATCH = 17,     /* the entry contradicts the class of the port number */
    PACKET_OUT_OPERATION = 18,   /* unknown operation in a packet-out */

    /* Outer headers */
    UNDERLAY_MAC = 24,           /* not addressed to this port */
    IPV4_CHECKSUM = 25,
    UDP_CHECKSUM_PRESENT = 26,   /* over IPv4 it is zero; the ICV covers more */
    GENEVE_VERSION = 27,
    GENEVE_CONTROL = 28,         /* O bit */
    GENEVE_NOT_CRITICAL = 29,    /* C bit missing although the option is critical */
    GENEVE_PROTOCOL = 30,
    OPTION_UNKNOWN = 31,         /* class, type or length of another option */
    OPTION_FLAGS = 32,
    UDP_CHECKSUM = 33,           /* over IPv6: wrong, or zero from a peer that has to compute it */
    UNDERLAY_CONTROL = 34,       /* no tunnel's packet, and nothing that this NVE answers or its agent hears */
    UNDERLAY_CONTROL_RATE = 35,  /* what it would answer or hear, over its meter */
    UNDERLAY_CONTROL_SENT = 36,  /* of the agent, to the underlay: not of a kind that may leave, or from no own address */

    /* Tunnel, before cryptography */
    INCARNATION = 40,            /* entry and register disagree, or are zero */
    LEASE_ABSENT = 41,
    LEASE_EXPIRED = 42,
    UNAUTHORIZED_NVE = 43,
    NO_SA = 44,
    SA_INCARNATION = 45,         /* SA derived for another incarnation of this switch */
    SA_EXPIRED = 46,             /* hard limit */
    SUITE_MISMATCH = 47,         /* suite of the packet is not the SA's */
    SUITE_UNSUPPORTED = 48,      /* suite of the SA is not implemented by this program */
    COVERAGE = 49,
    REPLAY_GENERATION = 50,      /* the ring has seen a newer key */
    REPLAY_TOO_LATE = 51,
    REPLAYED = 52,
    PEER_METER_MISSING = 53,     /* a peer in penalty has no floor */
    PEER_RATE = 54,              /* a peer in penalty, over its floor */
    SA_PEER = 55,                /* the SA is not of this pair of addresses, or of a peer number that there is not */
    SA_KIND = 56,                /* the SA is for other outer headers, or has their ring pair */
    SA_LEVEL = 57,               /* the SA claims a level that its suite does not give */

    /* Tunnel, from cryptography on */
    BAD_ICV = 60,
    COMMIT_GENERATION = 61,      /* as 50 to 52, found at the commit: another packet came first */
    COMMIT_TOO_LATE = 62,
    COMMIT_REPLAYED = 63,
    VN_UNAUTHORIZED = 64,
    VN_SUITE = 65,               /* lower level than the VN demands */
    INNER_VLAN = 66,
    ECN_NOT_CAPABLE = 67,        /* congestion on the way, and the tenant cannot be told (RFC 6040) */

    /* Access */
    VAP_UNKNOWN = 80,
    VAP_RATE = 81,
    SECOND_TAG = 82,
    SOURCE_GUARD = 83,
    MALFORMED_ARP = 84,
    MALFORMED_ND = 85,           /* neighbor discovery that could say something false, or hide it */
    ROGUE_ROUTER = 86,           /* router advertisement or redirect, also of ICMP, from a tenant system that is no router */
    LINK_LEVEL = 87,             /* lower level on the link than the VAP demands */
    HIDDEN_PROTOCOL = 88,        /* a form of frame behind which IP, ARP or anything else could be */
    ROGUE_SERVER = 89,           /* what a DHCP server or relay sends, from a tenant system that is none */

    /* Bridging */
    SOURCE_ADDRESS = 90,         /* group address as source */
    RESERVED_ADDRESS = 91,       /* 01:80:C2:00:00:0x is not forwarded (IEEE 802.1Q) */
    UNKNOWN_DESTINATION = 92,    /* from a tunnel; from an access port it is punted */
    NO_FLOOD_GROUP = 93,
    PUNT_FORBIDDEN = 94,
    PUNT_RATE = 95,
    TUNNEL_TO_TUNNEL = 96,
    NO_TUNNEL_ROUTE = 97,
    EGRESS_PORT = 98,            /* an entry or a packet-out names the drop port, or none */
    ANNOUNCEMENT_NOT_TOLD = 99,  /* the agent's copy of an announcement, over the meter; the frame itself is flooded */
    NO_UNDERLAY_MEMBER = 100,    /* the group of a tunnel has no port and hop */
    FLOOD_METER_MISSING = 101,   /* a VAP without a meter for frames that are replicated */
    VAP_FLOOD_RATE = 102,        /* more to be replicated than its VAP may send */
    VN_FLOOD_RATE = 103,         /* more to be replicated than its VN may have, from VAPs or from tunnels */
    FRAME_TOO_BIG = 104,         /* to one system, and longer than its tunnel carries: told to the agent, or nobody */

    /* Egress */
    SOURCE_PRUNED = 112,         /* to a system that is where it came in; copies of a flood are left out, uncounted */
    SPLIT_HORIZON = 113,         /* replica from a tunnel to a tunnel */
    VAP_EGRESS_UNKNOWN = 114,
    TUNNEL_UNKNOWN = 115,
    TUNNEL_MTU = 116,
    TX_INCARNATION = 117,
    TX_LEASE_ABSENT = 118,
    TX_LEASE_EXPIRED = 119,
    TX_NO_SA = 120,
    TX_SA_INCARNATION = 121,
    TX_SA_EXPIRED = 122,
    TX_SUITE_UNSUPPORTED = 123,
    TX_SUITE_TOO_WEAK = 124,     /* lower level than the VN demands */
    TX_INTERFACE = 125,          /* no outgoing interface was decided */
    TX_PORT_CLASS = 126,         /* a VAP on an underlay port, or a tunnel on an access port */
    NO_ADJACENCY = 127,          /* the hop has no entry at this port */
    TX_SA_LEVEL = 128            /* the SA claims a level that its suite does not give */
}

#endif
