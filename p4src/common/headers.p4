/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_HEADERS
#define NVO3SEC_HEADERS

#include "constants.p4"
#include "sizes.p4"

typedef bit<48> mac_t;
typedef bit<32> ipv4_t;
typedef bit<128> ipv6_t;
typedef bit<24> vni_t;
typedef bit<32> spi_t;
typedef bit<128> key128_t;
typedef bit<128> incarnation_t;
typedef bit<64> sequence_t;
typedef bit<32> generation_t;
typedef bit<48> time_us_t;
typedef bit<16> peer_t;
typedef bit<32> peer_tag_t;

/* What a peer and an SA are for: the outer headers that packets under it have. */
enum bit<8> sa_kind_t {
    TUNNEL = 1,
    GROUP = 2,            /* from 2 on: reserved; no outer header leads to one yet */
    LINK = 3,
    LINK_GROUP = 4,
    CONTROL = 5
}

/* An overlay interface: a VAP (top bit 0) or a tunnel (top bit 1). Also the instance of a replica. 0 is none. */
typedef bit<16> interface_t;

enum bit<8> packet_out_op_t {
    FORWARD = 1,          /* send the frame that follows to an interface */
    SET_INCARNATION = 2,  /* 16 bytes follow; both registers take them; answered by a STATE packet-in */
    REPORT_STATE = 3,     /* answered by a STATE packet-in */
    UNDERLAY_CONTROL = 4  /* send the frame that follows out of an underlay port, if it is of a kind that may leave there */
}

enum bit<8> punt_reason_t {
    UNKNOWN_DESTINATION = 1,
    UNKNOWN_NEIGHBOR = 2,
    STATE = 3,
    ANNOUNCEMENT = 4,     /* a copy of a frame that is flooded: who shares addresses with others speaks for one */
    REFUSED_ANNOUNCEMENT = 5, /* a frame that goes nowhere else: somebody says that a system is here which must not be */
    FRAME_TOO_BIG = 6,    /* a frame that goes nowhere else: its tunnel does not carry it, and its sender is to be told */
    UNDERLAY_CONTROL = 7  /* from an underlay port, for this NVE, in clear */
}

/* What is no tunnel's in the underlay, by who sends it. */
enum bit<8> underlay_kind_t {
    ARP = 1,
    ND = 2,
    BFD = 3,
    BGP = 4,
    ICMP = 5,
    OTHER = 6
}

@controller_header("packet_in")
header packet_in_h {
    punt_reason_t reason;
    bit<8> agreement;         /* STATE: bit 0 ingress register agrees with the entry, bit 1 egress register does */
    bit<16> ingress_port;
    interface_t interface;    /* VAP of arrival; STATE: the tunnel asked about */
    bit<32> vni;
    bit<16> frame_length;     /* before truncation */
    bit<48> timestamp;        /* switch clock, microseconds */
    bit<64> sequence;         /* STATE: last sequence number used on that tunnel */
}
const bit<16> PACKET_IN_LENGTH = 26;

@controller_header("packet_out")
header packet_out_h {
    packet_out_op_t operation;
    bit<16> egress_port;      /* FORWARD */
    interface_t interface;    /* FORWARD, and the tunnel that REPORT_STATE asks about */
    bit<24> vni;              /* FORWARD to a tunnel */
    bit<8> level;             /* FORWARD to a tunnel: level that the VN demands */
}
const bit<16> PACKET_OUT_LENGTH = 9;

header incarnation_h {
    incarnation_t value;
}

header ethernet_h {
    mac_t dst;
    mac_t src;
    bit<16> ether_type;
}

header ipv4_h {
    bit<8> version_ihl;
    bit<6> dscp;
    bit<2> ecn;
    bit<16> total_length;
    bit<16> identification;
    bit<1> reserved;
    bit<1> dont_fragment;
    bit<1> more_fragments;
    bit<13> fragment_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    ipv4_t src;
    ipv4_t dst;
}

header ipv6_h {
    bit<4> version;
    bit<6> dscp;
    bit<2> ecn;
    bit<20> flow_label;
    bit<16> payload_length;
    bit<8> next_header;
    bit<8> hop_limit;
    ipv6_t src;
    ipv6_t dst;
}

header udp_h {
    bit<16> src_port;
    bit<16> dst_port;
    bit<16> length;
    bit<16> checksum;
}

/* What is in clear in the underlay. */
header arp_h {
    bit<16> hardware_type;
    bit<16> protocol_type;
    bit<16> lengths;       /* of the addresses of both */
    bit<16> operation;
    mac_t sender_mac;
    ipv4_t sender;
    mac_t target_mac;
    ipv4_t target;
}

header tcp_ports_h {
    bit<16> src;
    bit<16> dst;
}

header icmpv6_h {
    bit<8> type;
    bit<8> code;
    bit<16> checksum;
}

/* A neighbor solicitation, behind its type (RFC 4861 4.3), with one option or with none. */
header nd_h {
    bit<32> flags;
    ipv6_t target;
}

header nd_option_h {
    bit<16> type_length;
    mac_t mac;
}

/* RFC 8926 3.4 */
header geneve_h {
    bit<2> version;
    bit<6> option_words;
    bit<1> oam;                 /* O: control packet */
    bit<1> critical;
    bit<6> reserved1;
    bit<16> protocol;
    vni_t vni;
    bit<8> reserved2;
}

header protection_h {
    bit<16> option_class;
    bit<8> option_type;
    bit<3> reserved;
    bit<5> data_words;
    spi_t spi;
    sequence_t sequence;
    bit<16> coverage;
    bit<8> suite;
    bit<8> flags;
    bit<128> icv;
}

/* The inner frame: addresses, optional tag (access side only), type and two more bytes, blocks of 16 bytes, tail. A tag is
 * never part of what is protected, so it never shifts the blocks. */
header frame_addresses_h {
    mac_t dst;
    mac_t src;
}

header vlan_h {
    bit<16> tpid;
    bit<3> pcp;
    bit<1> dei;
    bit<12> vid;
}

header frame_type_h {
    bit<16> ether_type;
    bit<16> first;   /* the first two bytes behind the type */
}

header block_h {
    bit<32> w0;
    bit<32> w1;
    bit<32> w2;
    bit<32> w3;
}

header tail8_h { bit<64> data; }
header tail4_h { bit<32> data; }
header tail2_h { bit<16> data; }
header tail1_h { bit<8> data; }

struct headers_t {
    packet_in_h packet_in;
    packet_out_h packet_out;
    incarnation_h incarnation;
    ethernet_h ethernet;
    ipv4_h ipv4;
    ipv6_h ipv6;
    arp_h arp;
    tcp_ports_h tcp_ports;
    icmpv6_h icmpv6;
    nd_h nd;
    nd_option_h nd_option;
    udp_h udp;
    geneve_h geneve;
    protection_h protection;
    frame_addresses_h addresses;
    vlan_h vlan;
    frame_type_h frame_type;
    block_h[FRAME_BLOCKS] block;
    tail8_h tail8;
    tail4_h tail4;
    tail2_h tail2;
    tail1_h tail1;
}

#endif
