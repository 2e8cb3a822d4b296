/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_PARSER
#define NVO3SEC_PARSER

#include "arch.p4"
#include "../common/headers.p4"
#include "../common/metadata.p4"
#include "../common/tenant_frame.p4"

/* `reject` and a `select` without a match silently accept on v1model; only verify() refuses. So every select ends in a state
 * that fails one, and ingress maps each error to a drop reason. */
error {
    Ipv4Options,
    Ipv4Fragment,
    Ipv6Header,
    Ipv6Extension,
    UdpLengthMismatch,
    GeneveOptionsLength,
    FrameTooShort,
    FrameTooLong
}

parser NveParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    TenantFrame() tenant_frame;

    state start {
        transition select(standard_metadata.ingress_port) {
            PORT_CPU: parse_packet_out;
            PORT_UNDERLAY_BIT &&& PORT_UNDERLAY_BIT: parse_underlay;
            default: parse_access;
        }
    }

    state parse_packet_out {
        meta.origin = origin_t.CPU;
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.operation) {
            packet_out_op_t.FORWARD: parse_packet_out_frame;
            packet_out_op_t.UNDERLAY_CONTROL: parse_packet_out_control;
            packet_out_op_t.SET_INCARNATION: parse_incarnation;
            default: accept;  /* ingress refuses what it does not know */
        }
    }

    state parse_incarnation {
        packet.extract(hdr.incarnation);
        transition accept;
    }

    state parse_packet_out_control {
        verify(standard_metadata.packet_length <= 0xFFFF, error.FrameTooLong);
        meta.frame_length = (bit<16>)standard_metadata.packet_length - PACKET_OUT_LENGTH;
        transition parse_ethernet;
    }

    state parse_packet_out_frame {
        verify(standard_metadata.packet_length < (bit<32>)(PACKET_OUT_LENGTH + FRAME_LIMIT), error.FrameTooLong);
        meta.remaining = (bit<16>)standard_metadata.packet_length - PACKET_OUT_LENGTH;
        meta.frame_length = meta.remaining;
        verify(meta.remaining >= FRAME_HEAD_LENGTH, error.FrameTooShort);
        packet.extract(hdr.addresses);
        transition parse_tenant_frame;
    }

    state parse_access {
        meta.origin = origin_t.ACCESS;
        /* On all 32 bits: the lengths from here on have 16. */
        verify(standard_metadata.packet_length < (bit<32>)(FRAME_LIMIT + VLAN_TAG_LENGTH), error.FrameTooLong);
        meta.remaining = (bit<16>)standard_metadata.packet_length;
        meta.frame_length = meta.remaining;
        verify(meta.remaining >= FRAME_HEAD_LENGTH, error.FrameTooShort);
        packet.extract(hdr.addresses);
        transition select(packet.lookahead<bit<16>>()) {
            ETHERTYPE_CTAG: parse_vlan;
            default: parse_tenant_frame;
        }
    }

    state parse_vlan {
        verify(meta.remaining >= FRAME_HEAD_LENGTH + VLAN_TAG_LENGTH, error.FrameTooShort);
        packet.extract(hdr.vlan);
        meta.remaining = meta.remaining - VLAN_TAG_LENGTH;
        meta.frame_length = meta.remaining;
        transition parse_tenant_frame;
    }

    /* From an access port or the agent. */
    state parse_tenant_frame {
        packet.extract(hdr.frame_type);
        verify(meta.remaining < FRAME_LIMIT, error.FrameTooLong);
        meta.remaining = meta.remaining - FRAME_HEAD_LENGTH;
        tenant_frame.apply(packet, hdr, meta);
        transition select(meta.remaining[15:4]) {
            0: parse_tail;
            default: parse_block;
        }
    }

    state parse_underlay {
        meta.origin = origin_t.UNDERLAY;
        verify(standard_metadata.packet_length <= 0xFFFF, error.FrameTooLong);
        meta.frame_length = (bit<16>)standard_metadata.packet_length;
        transition parse_ethernet;
    }

    /* From an underlay port, or from the agent for one. What is UDP behind plain headers and for the port of Geneve is a tunnel's;
     * UDP whose port cannot be seen is refused for what hides it; all else is in clear, whatever it is. */
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_outer_ipv4;
            ETHERTYPE_IPV6: parse_outer_ipv6;
            ETHERTYPE_ARP: parse_arp;
            default: in_clear;
        }
    }

    state in_clear {
        meta.underlay_control = 1;
        transition accept;
    }

    state parse_arp {
        packet.extract(hdr.arp);
        transition in_clear;
    }

    state parse_outer_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.protocol, hdr.ipv4.version_ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset) {
            (IP_PROTOCOL_UDP, _, _, _): parse_outer_udp_ipv4;
            (IP_PROTOCOL_TCP, IPV4_VERSION_IHL, 0, 0): parse_tcp_ports;
            default: in_clear;
        }
    }

    state parse_outer_udp_ipv4 {
        verify(hdr.ipv4.version_ihl == IPV4_VERSION_IHL, error.Ipv4Options);
        verify(hdr.ipv4.more_fragments == 0 && hdr.ipv4.fragment_offset == 0, error.Ipv4Fragment);
        packet.extract(hdr.udp);
        transition select(hdr.udp.dst_port) {
            UDP_PORT_GENEVE: parse_geneve_ipv4;
            default: in_clear;
        }
    }

    state parse_geneve_ipv4 {
        verify(hdr.ipv4.total_length == hdr.udp.length + IPV4_LENGTH && hdr.ipv4.total_length >= IPV4_LENGTH,
               error.UdpLengthMismatch);
        transition parse_geneve;
    }

    /* A fragment is what has a fragment header. */
    state parse_outer_ipv6 {
        packet.extract(hdr.ipv6);
        verify(hdr.ipv6.version == IPV6_VERSION, error.Ipv6Header);
        transition select(hdr.ipv6.next_header) {
            IP_PROTOCOL_UDP: parse_outer_udp_ipv6;
            NEXT_HEADER_ICMPV6: parse_icmpv6;
            IP_PROTOCOL_TCP: parse_tcp_ports;
            NEXT_HEADER_HOP_BY_HOP: ipv6_extension;
            NEXT_HEADER_ROUTING: ipv6_extension;
            NEXT_HEADER_FRAGMENT: ipv6_extension;
            NEXT_HEADER_AUTHENTICATION: ipv6_extension;
            NEXT_HEADER_DESTINATION: ipv6_extension;
            default: in_clear;
        }
    }

    state ipv6_extension {
        verify(false, error.Ipv6Extension);
        transition accept;
    }

    state parse_outer_udp_ipv6 {
        packet.extract(hdr.udp);
        transition select(hdr.udp.dst_port) {
            UDP_PORT_GENEVE: parse_geneve_ipv6;
            default: in_clear;
        }
    }

    state parse_geneve_ipv6 {
        verify(hdr.ipv6.payload_length == hdr.udp.length, error.UdpLengthMismatch);
        transition parse_geneve;
    }

    state parse_tcp_ports {
        packet.extract(hdr.tcp_ports);
        transition in_clear;
    }

    state parse_icmpv6 {
        packet.extract(hdr.icmpv6);
        transition select(hdr.icmpv6.type, hdr.ipv6.payload_length) {
            (ND_NEIGHBOR_SOLICITATION, ND_LENGTH): parse_nd;
            (ND_NEIGHBOR_SOLICITATION, ND_LENGTH_WITH_OPTION): parse_nd_with_option;
            default: in_clear;
        }
    }

    state parse_nd {
        packet.extract(hdr.nd);
        transition in_clear;
    }

    state parse_nd_with_option {
        packet.extract(hdr.nd);
        packet.extract(hdr.nd_option);
        transition in_clear;
    }

    state parse_geneve {
        packet.extract(hdr.geneve);
        verify(hdr.geneve.option_words == GENEVE_OPTION_WORDS, error.GeneveOptionsLength);
        packet.extract(hdr.protection);
        verify(hdr.udp.length >= UDP_OVERHEAD + FRAME_HEAD_LENGTH, error.FrameTooShort);
        meta.remaining = hdr.udp.length - UDP_OVERHEAD;
        meta.frame_length = meta.remaining;
        packet.extract(hdr.addresses);
        transition parse_frame_type;
    }

    state parse_frame_type {
        packet.extract(hdr.frame_type);
        verify(meta.remaining < FRAME_LIMIT, error.FrameTooLong);
        meta.remaining = meta.remaining - FRAME_HEAD_LENGTH;
        transition select(meta.remaining[15:4]) {
            0: parse_tail;
            default: parse_block;
        }
    }

    state parse_block {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        transition select(meta.remaining[15:4]) {
            0: parse_tail;
            default: parse_block;
        }
    }

    state parse_tail {
        transition select(meta.remaining[3:3]) {
            1: parse_tail8;
            default: parse_tail_below_8;
        }
    }

    state parse_tail8 {
        packet.extract(hdr.tail8);
        transition parse_tail_below_8;
    }

    state parse_tail_below_8 {
        transition select(meta.remaining[2:2]) {
            1: parse_tail4;
            default: parse_tail_below_4;
        }
    }

    state parse_tail4 {
        packet.extract(hdr.tail4);
        transition parse_tail_below_4;
    }

    state parse_tail_below_4 {
        transition select(meta.remaining[1:1]) {
            1: parse_tail2;
            default: parse_tail_below_2;
        }
    }

    state parse_tail2 {
        packet.extract(hdr.tail2);
        transition parse_tail_below_2;
    }

    state parse_tail_below_2 {
        transition select(meta.remaining[0:0]) {
            1: parse_tail1;
            default: accept;
        }
    }

    state parse_tail1 {
        packet.extract(hdr.tail1);
        transition accept;
    }
}

/* Outcome of the parser as a drop reason. */
control ParserVerdict(inout metadata_t meta, in standard_metadata_t standard_metadata) {
    apply {
        if (standard_metadata.parser_error == error.NoError) {
            meta.drop_reason = drop_reason_t.NONE;
        } else if (standard_metadata.parser_error == error.PacketTooShort) {
            meta.drop_reason = drop_reason_t.TRUNCATED;
        } else if (standard_metadata.parser_error == error.FrameTooShort) {
            meta.drop_reason = drop_reason_t.FRAME_TOO_SHORT;
        } else if (standard_metadata.parser_error == error.FrameTooLong) {
            meta.drop_reason = drop_reason_t.FRAME_TOO_LONG;
        } else if (standard_metadata.parser_error == error.Ipv6Header) {
            meta.drop_reason = drop_reason_t.IPV6_HEADER;
        } else if (standard_metadata.parser_error == error.Ipv6Extension) {
            meta.drop_reason = drop_reason_t.IPV6_EXTENSION;
        } else if (standard_metadata.parser_error == error.Ipv4Options) {
            meta.drop_reason = drop_reason_t.IPV4_OPTIONS;
        } else if (standard_metadata.parser_error == error.Ipv4Fragment) {
            meta.drop_reason = drop_reason_t.IPV4_FRAGMENT;
        } else if (standard_metadata.parser_error == error.UdpLengthMismatch) {
            meta.drop_reason = drop_reason_t.UDP_LENGTH_MISMATCH;
        } else if (standard_metadata.parser_error == error.GeneveOptionsLength) {
            meta.drop_reason = drop_reason_t.GENEVE_OPTIONS_LENGTH;
        } else {
            meta.drop_reason = drop_reason_t.PARSER_ERROR;
        }
    }
}

#endif
