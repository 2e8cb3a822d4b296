/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_METADATA
#define NVO3SEC_METADATA

#include "headers.p4"
#include "drop_reasons.p4"

enum bit<2> origin_t {
    ACCESS = 0,
    UNDERLAY = 1,
    CPU = 2
}

/* What the switch knows about itself, read once in ingress and needed by both pipelines. */
struct self_t {
    incarnation_t incarnation;   /* of the entry; 0: none */
    bit<1> incarnation_agrees;   /* the entry and the register of the ingress pipeline */
    bit<1> lease_granted;
    time_us_t lease_not_after;   /* microseconds, switch clock */
}

/* What an ICV binds besides the frame (docs/wire-format.md), as it stands on the wire: the outer part of the pipeline fills in
 * all of it, when sending a0 to a2, and the secured part the rest. Words, since no target likes a field of 224 bits. */
struct bound_t {
    bit<32> a0;                  /* Geneve base header */
    bit<32> a1;
    bit<32> a2;                  /* option header */
    bit<32> a3;                  /* SPI */
    bit<32> a4;                  /* sequence, high */
    bit<32> a5;                  /* and low */
    bit<32> a6;                  /* coverage, suite, flags */
}

/* The outer headers of a packet from the underlay, of either family. */
struct outer_t {
    bit<128> source;             /* IPv4 mapped */
    bit<128> destination;
    bit<2> ecn;
    bit<1> zero_checksum;        /* of UDP over IPv6: that this peer may leave it out */
}

/* The SA of a received packet. */
struct sa_rx_t {
    @secret
    key128_t key;
    bit<8> suite;
    bit<8> level;
    sa_kind_t kind;
    peer_tag_t tag;
    bit<16> min_coverage;        /* bytes; 0xFFFF: the whole frame and nothing less */
    bit<RING_PAIR_BITS> pair;
    generation_t generation;
    time_us_t not_after;
    incarnation_t incarnation;   /* of this switch, for which the key was derived */
}

/* The SA of a packet to be sent. */
struct sa_tx_t {
    @secret
    key128_t key;
    bit<8> suite;
    bit<8> level;
    spi_t spi;
    sequence_t sequence;
    time_us_t not_after;
    incarnation_t incarnation;
}

/* Fields of the inner frame. From the underlay they are filled in only after verification. */
struct inner_t {
    bit<2> ip_kind;              /* 0 none, 1 IPv4, 2 IPv6, 3 ARP */
    bit<128> source_ip;          /* address the frame speaks for; IPv4 in the low 32 bits */
    bit<1> arp_valid;
    bit<16> arp_operation;
    ipv4_t arp_target_ip;
    bit<8> nd_type;              /* ICMPv6 type of a neighbor discovery message, 0: none */
    bit<1> nd_valid;
    bit<128> nd_target_ip;
    bit<1> nd_probe;             /* duplicate address detection */
}

/* What TenantFrame has read of a tenant's frame beyond its IP header. */
struct upper_t {
    bit<128> destination_ip;     /* IPv4 in the low 32 bits; 0: none */
    bit<8> protocol;             /* that begins in this frame; NEXT_HEADER_NONE: none, or not known */
    bit<32> word;                /* its first four bytes: two ports; type and code of ICMP */
    bit<1> extended;             /* behind IPv6 extension headers */
    bit<1> fragment;             /* any */
    bit<1> hidden;               /* the frame is of a form that could carry anything unseen */
    bit<1> options_wrong;        /* neighbor discovery with options that do not end with it, or of another system */
}

struct metadata_t {
    drop_reason_t drop_reason;   /* decided where it is found, applied at the end; sticky */
    origin_t origin;
    bit<1> port_is_underlay;     /* what port_role says */
    mac_t port_mac;

    bit<16> remaining;           /* parser: bytes of the frame not yet extracted */
    bit<16> frame_length;        /* inner frame without tag, bytes */
    bit<128> tail;               /* what a cipher makes of the frame's: here, so that it can be wiped with the rest */

    self_t self;
    outer_t outer;
    bound_t bound;
    sa_rx_t sa_rx;
    sa_tx_t sa_tx;
    inner_t inner;
    upper_t upper;

    peer_t peer;                 /* who sent a packet from the underlay: from the outer addresses */
    peer_tag_t peer_tag;         /* of those addresses: what an SA of theirs must carry */
    sa_kind_t outer_kind;        /* what the outer headers are */
    bit<1> underlay_control;     /* the frame is no tunnel's: from an underlay port, or from the agent for one */

    vni_t vni;
    bit<8> level;                /* that the VN demands */
    bit<8> vn_level;             /* received: that the authorization of the sender demands */
    bit<16> link;                /* link that a frame from an access port came in under; 0: none */
    interface_t ingress_interface;
    interface_t egress_interface;
    interface_t sa_interface;    /* of the tunnel: the key of sa_tx and, in its low 15 bits, the index of the sequence */
    bit<64> flow_hash;           /* of what goes into tunnels; 0 without a key for it */

    /* Forwarding decision, applied once at the end of ingress. */
    bit<9> egress_port;
    bit<16> hop;                 /* next hop at that port; 0: that of the tunnel's entry */
    bit<16> underlay_group;      /* of the tunnel: its ports and hops */
    bit<16> multicast_group;     /* 0: unicast */
    bit<1> hairpin;              /* an answer to where the frame came from is intended */
    bit<1> punt;
    punt_reason_t punt_reason;
    bit<1> announcer;            /* source guard: of a tenant system that shares addresses with others */
    bit<1> refused;              /* source guard: not permitted here, and the agent is to hear of it: see RefusedAnnouncement */
    bit<1> announcement;         /* the frame speaks for an address: see AnnouncementView */
    bit<1> announcement_untold;  /* and the agent is not to have a copy, for its VAP has sent it too much */

    bit<2> colour;               /* of the last meter */
}

const interface_t INTERFACE_TUNNEL = 0x8000;
const interface_t INTERFACE_AGENT = 0xFFFF;  /* no tunnel: the replica for the agent */
const bit<2> COLOUR_RED = 2;

const bit<2> IP_KIND_NONE = 0;
const bit<2> IP_KIND_IPV4 = 1;
const bit<2> IP_KIND_IPV6 = 2;
const bit<2> IP_KIND_ARP = 3;

#endif
