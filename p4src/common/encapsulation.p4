/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ENCAPSULATION
#define NVO3SEC_ENCAPSULATION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* The outer headers of one copy of a frame into one tunnel, up to the option header: SecureSending adds the rest. */
control Encapsulation(inout headers_t hdr, inout metadata_t meta, in port_t egress_port) {
    bit<16> mtu;
    bit<16> packet_length;   /* from the IP header on, bytes */
    bit<16> own_hop;         /* of the tunnel */
    bit<1> inner_is_ip;
    bit<6> inner_dscp;
    bit<6> new_dscp;         /* of the outer header */

    /* The MAC addresses come from the adjacency. underlay_mtu: largest IP packet that the underlay carries towards this
     * peer, bytes. hop: of replicas, and of what the agent sends, for which ingress has chosen none. */
    @name(".encapsulate") @id(ACTION_TUNNEL_ENCAPSULATE)
    action encapsulate(@id(1) ipv4_t source, @id(2) ipv4_t destination, @id(3) bit<16> underlay_mtu, @id(4) bit<16> hop) {
        hdr.ipv4.setValid();
        hdr.ipv4.version_ihl = IPV4_VERSION_IHL;
        hdr.ipv4.ecn = 0;
        hdr.ipv4.total_length = meta.frame_length + IPV4_OVERHEAD;
        packet_length = meta.frame_length + IPV4_OVERHEAD;
        hdr.ipv4.identification = 0;
        hdr.ipv4.reserved = 0;
        hdr.ipv4.dont_fragment = 1;
        hdr.ipv4.more_fragments = 0;
        hdr.ipv4.fragment_offset = 0;
        hdr.ipv4.ttl = IPV4_TTL;
        hdr.ipv4.protocol = IP_PROTOCOL_UDP;
        hdr.ipv4.src = source;
        hdr.ipv4.dst = destination;
        mtu = underlay_mtu;
        own_hop = hop;
    }

    /* The flow label is a slice of the flow's hash of its own (RFC 6438): whoever spreads by it is independent of who spreads
     * by the source port. */
    @name(".encapsulate_ipv6") @id(ACTION_TUNNEL_ENCAPSULATE_IPV6)
    action encapsulate_ipv6(@id(1) ipv6_t source, @id(2) ipv6_t destination, @id(3) bit<16> underlay_mtu,
                            @id(4) bit<16> hop) {
        hdr.ipv6.setValid();
        hdr.ipv6.version = IPV6_VERSION;
        hdr.ipv6.ecn = 0;
        hdr.ipv6.flow_label = meta.flow_hash[51:32];
        hdr.ipv6.payload_length = meta.frame_length + UDP_OVERHEAD;
        packet_length = meta.frame_length + IPV6_OVERHEAD;
        hdr.ipv6.next_header = IP_PROTOCOL_UDP;
        hdr.ipv6.hop_limit = IPV6_HOP_LIMIT;
        hdr.ipv6.src = source;
        hdr.ipv6.dst = destination;
        mtu = underlay_mtu;
        own_hop = hop;
    }

    @name(".unknown_tunnel") @id(ACTION_TUNNEL_UNKNOWN)
    action unknown_tunnel() {
        meta.drop_reason = drop_reason_t.TUNNEL_UNKNOWN;
    }

    @name(".tunnel") @id(TABLE_TUNNEL)
    table tunnel {
        key = {
            egress_port: exact @name("port");
            meta.egress_interface: exact @name("interface");
        }
        actions = { encapsulate; encapsulate_ipv6; @defaultonly unknown_tunnel; }
        const default_action = unknown_tunnel();
        size = TUNNEL_SIZE;
    }

    @name(".towards") @id(ACTION_ADJACENCY_TOWARDS)
    action towards(@id(1) mac_t source_mac, @id(2) mac_t next_hop_mac) {
        hdr.ethernet.setValid();
        hdr.ethernet.dst = next_hop_mac;
        hdr.ethernet.src = source_mac;
        hdr.ethernet.ether_type = hdr.ipv6.isValid() ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
    }

    @name(".no_adjacency") @id(ACTION_ADJACENCY_NONE)
    action no_adjacency() {
        meta.drop_reason = drop_reason_t.NO_ADJACENCY;
    }

    @name(".adjacency") @id(TABLE_ADJACENCY)
    table adjacency {
        key = {
            egress_port: exact @name("egress_port");
            meta.hop: exact @name("hop");
        }
        actions = { towards; @defaultonly no_adjacency; }
        const default_action = no_adjacency();
        size = ADJACENCY_SIZE;
    }

    /* RFC 2983: the outer DSCP is the underlay's own, or the inner one as well. It never comes back: it is not authenticated. */
    @name(".pipe_dscp") @id(ACTION_OUTER_DSCP_PIPE)
    action pipe_dscp(@id(1) bit<6> dscp) {
        new_dscp = dscp;
    }

    @name(".copy_dscp") @id(ACTION_OUTER_DSCP_COPY)
    action copy_dscp(@id(1) bit<6> otherwise) {
        new_dscp = inner_is_ip == 1 ? inner_dscp : otherwise;
    }

    @name(".unmarked_dscp") @id(ACTION_OUTER_DSCP_UNMARKED)
    action unmarked_dscp() {
        new_dscp = DSCP_DEFAULT;
    }

    @name(".outer_dscp") @id(TABLE_OUTER_DSCP)
    table outer_dscp {
        key = {
            egress_port: exact @name("port");
        }
        actions = { pipe_dscp; copy_dscp; @defaultonly unmarked_dscp; }
        const default_action = unmarked_dscp();
        size = OUTER_DSCP_SIZE;
    }

    action add_geneve() {
        hdr.udp.setValid();
        hdr.udp.src_port = 2w3 ++ meta.flow_hash[13:0];
        hdr.udp.dst_port = UDP_PORT_GENEVE;
        hdr.udp.length = meta.frame_length + UDP_OVERHEAD;
        hdr.udp.checksum = 0;
        hdr.geneve.setValid();
        hdr.geneve.version = 0;
        hdr.geneve.option_words = GENEVE_OPTION_WORDS;
        hdr.geneve.oam = 0;
        hdr.geneve.critical = 1;
        hdr.geneve.reserved1 = 0;
        hdr.geneve.protocol = GENEVE_PROTOCOL_ETHERNET;
        hdr.geneve.vni = meta.vni;
        hdr.geneve.reserved2 = 0;
        hdr.protection.setValid();
        hdr.protection.option_class = OPTION_CLASS;
        hdr.protection.option_type = OPTION_TYPE;
        hdr.protection.reserved = 0;
        hdr.protection.data_words = OPTION_DATA_WORDS;
        meta.bound.a0 = 2w0 ++ GENEVE_OPTION_WORDS ++ 1w0 ++ 1w1 ++ 6w0 ++ GENEVE_PROTOCOL_ETHERNET;
        meta.bound.a1 = meta.vni ++ 8w0;
        meta.bound.a2 = OPTION_CLASS ++ OPTION_TYPE ++ 3w0 ++ OPTION_DATA_WORDS;
    }

    /* RFC 6040 4.1, normal mode. One of the two headers is there. */
    action copy_ecn(bit<2> inner_ecn) {
        hdr.ipv4.ecn = inner_ecn;
        hdr.ipv6.ecn = inner_ecn;
    }

    action read_inner(bit<6> dscp) {
        inner_is_ip = 1;
        inner_dscp = dscp;
    }

    action set_dscp() {
        hdr.ipv4.dscp = new_dscp;
        hdr.ipv6.dscp = new_dscp;
    }

    apply {
        mtu = 0;
        packet_length = 0;
        own_hop = 0;
        inner_is_ip = 0;
        inner_dscp = 0;
        if (tunnel.apply().hit) {
            meta.sa_interface = meta.egress_interface;
            meta.hop = meta.hop == 0 ? own_hop : meta.hop;
            if (packet_length > mtu) {
                meta.drop_reason = drop_reason_t.TUNNEL_MTU;
            } else if (adjacency.apply().hit) {
                if (hdr.frame_type.ether_type == ETHERTYPE_IPV4) {
                    read_inner(hdr.frame_type.first[7:2]);
                    copy_ecn(hdr.frame_type.first[1:0]);
                } else if (hdr.frame_type.ether_type == ETHERTYPE_IPV6) {
                    read_inner(hdr.frame_type.first[11:6]);
                    copy_ecn(hdr.frame_type.first[5:4]);
                }
                outer_dscp.apply();
                set_dscp();
                add_geneve();
            }
        }
    }
}

#endif
