/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_UNDERLAY_CONTROL
#define NVO3SEC_UNDERLAY_CONTROL

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "underlay_answer.p4"

/* What is in clear on an underlay port, in either direction: neighbors, and the protocols that a router speaks (RFC 826, 4861,
 * 4271, 5881). It never becomes a tenant's frame, and no tenant's frame becomes it.
 *
 * From the port: questions for an own address are answered here; what else is for an own address, or says to all what a neighbor or
 * a router says, goes to the agent; each kind of each port within a meter of its own. An answer is never longer than its
 * question. Without entries nothing is heard or answered, which is how a port is whose next hops are configured.
 *
 * From the agent: what is of one of these kinds, from an own address of that port, and nothing else. */
control UnderlayControl(inout headers_t hdr, inout metadata_t meta, in port_t ingress_port, in bit<1> ipv4_checksum_wrong) {
    UnderlayAnswer() underlay_answer;
    @name(".underlay_punt_rate") DIRECT_METER(underlay_punt_rate);
    port_t port;
    bit<128> address;    /* IPv4 mapped */
    underlay_kind_t kind;
    mac_t own_mac;
    bit<1> is_own;
    bit<1> is_heard;     /* the port wants this kind */
    bit<1> is_wanted;
    bit<1> is_question;
    bit<1> is_group;
    bit<8> hop_limit;

    /* mac: what answers for the address say, and frames from it have. */
    @name(".own") @id(ACTION_OWN_ADDRESS_OWN)
    action own(@id(1) mac_t mac) {
        own_mac = mac;
        is_own = 1;
    }

    @name(".not_own") @id(ACTION_OWN_ADDRESS_NOT_OWN)
    action not_own() {
        own_mac = 0;
        is_own = 0;
    }

    @name(".own_address") @id(TABLE_OWN_ADDRESS)
    table own_address {
        key = {
            port: exact @name("port");
            address: exact @name("address");
        }
        actions = { own; @defaultonly not_own; }
        const default_action = not_own();
        size = OWN_ADDRESS_SIZE;
    }

    @name(".hear") @id(ACTION_UNDERLAY_PUNT_POLICE)
    action hear() {
        METER_READ(underlay_punt_rate, meta.colour);
        is_heard = 1;
    }

    @name(".ignore") @id(ACTION_UNDERLAY_PUNT_FORBIDDEN)
    action ignore() {
        is_heard = 0;
    }

    @name(".underlay_punt_meter") @id(TABLE_UNDERLAY_PUNT_METER)
    table underlay_punt_meter {
        key = {
            port: exact @name("port");
            kind: exact @name("kind");
        }
        actions = { hear; @defaultonly ignore; }
        const default_action = ignore();
        METERED_BY(underlay_punt_rate);
        size = UNDERLAY_PUNT_METER_SIZE;
    }

    apply {
        hop_limit = 0;
        if (hdr.ipv4.isValid()) {
            hop_limit = hdr.ipv4.ttl;
        } else if (hdr.ipv6.isValid()) {
            hop_limit = hdr.ipv6.hop_limit;
        }
        kind = underlay_kind_t.OTHER;
        if (hdr.arp.isValid() && hdr.arp.hardware_type == ARP_HTYPE_ETHERNET && hdr.arp.protocol_type == ETHERTYPE_IPV4
            && hdr.arp.lengths == ARP_HLEN_PLEN && hdr.arp.sender_mac == hdr.ethernet.src) {
            kind = underlay_kind_t.ARP;
        } else if (hdr.udp.isValid()) {
            if ((hdr.udp.dst_port == UDP_PORT_BFD && hop_limit == BFD_TTL) || hdr.udp.dst_port == UDP_PORT_BFD_MULTIHOP) {
                kind = underlay_kind_t.BFD;
            }
        } else if (hdr.tcp_ports.isValid()) {
            if (hdr.tcp_ports.dst == TCP_PORT_BGP || hdr.tcp_ports.src == TCP_PORT_BGP) {
                kind = underlay_kind_t.BGP;
            }
        } else if (hdr.ipv4.isValid() && hdr.ipv4.protocol == IP_PROTOCOL_ICMP) {
            kind = underlay_kind_t.ICMP;
        } else if (hdr.icmpv6.isValid()) {
            kind = underlay_kind_t.ICMP;
            if (hdr.icmpv6.type >= ND_ROUTER_SOLICITATION && hdr.icmpv6.type <= ND_REDIRECT) {
                kind = hop_limit == ND_HOP_LIMIT && hdr.icmpv6.code == 0 ? underlay_kind_t.ND : underlay_kind_t.OTHER;
            }
        }

        /* Whose it is: sent, by its source; received, by what it asks for or is addressed to. */
        port = ingress_port;
        address = 0;
        if (meta.origin == origin_t.CPU) {
            port = meta.egress_port;
            if (hdr.ipv4.isValid()) {
                address = IPV4_MAPPED ++ hdr.ipv4.src;
            } else if (hdr.ipv6.isValid()) {
                address = hdr.ipv6.src;
            } else if (kind == underlay_kind_t.ARP) {
                address = IPV4_MAPPED ++ hdr.arp.sender;
            }
        } else if (kind == underlay_kind_t.ARP) {
            address = IPV4_MAPPED ++ hdr.arp.target;
        } else if (hdr.nd.isValid()) {
            address = hdr.nd.target;
        } else if (hdr.ipv4.isValid()) {
            address = IPV4_MAPPED ++ hdr.ipv4.dst;
        } else if (hdr.ipv6.isValid()) {
            address = hdr.ipv6.dst;
        }
        own_address.apply();
        if (hdr.ipv6.isValid() && address[127:32] == IPV4_MAPPED) {
            is_own = 0;   /* it is the table's name for another */
        }

        is_group = hdr.ethernet.dst[40:40];
        if (ipv4_checksum_wrong == 1) {
            meta.drop_reason = drop_reason_t.IPV4_CHECKSUM;
        } else if (meta.origin == origin_t.CPU) {
            if (is_own == 0 || kind == underlay_kind_t.OTHER || hdr.ethernet.src != own_mac
                || (kind == underlay_kind_t.ND && hdr.icmpv6.type != ND_NEIGHBOR_SOLICITATION
                    && hdr.icmpv6.type != ND_NEIGHBOR_ADVERTISEMENT && hdr.icmpv6.type != ND_ROUTER_SOLICITATION)) {
                meta.drop_reason = drop_reason_t.UNDERLAY_CONTROL_SENT;
            }
        } else if (hdr.ethernet.src[40:40] == 1) {
            meta.drop_reason = drop_reason_t.UNDERLAY_CONTROL;
        } else if (is_group == 0 && hdr.ethernet.dst != meta.port_mac) {
            meta.drop_reason = drop_reason_t.UNDERLAY_MAC;
        } else {
            is_wanted = is_own;
            is_question = 0;
            if (kind == underlay_kind_t.ARP) {
                if (hdr.arp.operation == ARP_REQUEST) {
                    is_question = 1;
                } else if (hdr.arp.operation != ARP_REPLY || is_group == 1) {
                    is_wanted = 0;
                }
            } else if (kind == underlay_kind_t.ND) {
                if (hdr.icmpv6.type == ND_NEIGHBOR_SOLICITATION) {
                    /* Well-formed (RFC 4861 7.1.1), but for the checksum of ICMPv6, which no answer depends on. Without a source
                     * (RFC 4862 5.4) there is nobody to answer: the agent objects. To a group without an option: the answer would
                     * be longer. In any other length: nobody knows what else it says. */
                    is_question = hdr.ipv6.src == 0 ? 1w0 : 1w1;
                    if (!hdr.nd.isValid() || meta.frame_length != IPV6_HEADERS_LENGTH + hdr.ipv6.payload_length
                        || hdr.ipv6.src[127:120] == IPV6_GROUP
                        || (is_group == 0 && (is_question == 0 || hdr.ipv6.dst != hdr.nd.target))
                        || (is_group == 1 && hdr.ipv6.dst[127:120] != IPV6_GROUP)) {
                        is_wanted = 0;
                    } else if (hdr.nd_option.isValid()) {
                        if (is_question == 0 || hdr.nd_option.type_length != ND_SOURCE_LINK_LAYER) {
                            is_wanted = 0;
                        }
                    } else if (is_question == 1 && is_group == 1) {
                        is_wanted = 0;
                    }
                } else if (hdr.icmpv6.type == ND_NEIGHBOR_ADVERTISEMENT
                           || hdr.icmpv6.type == ND_ROUTER_ADVERTISEMENT) {
                    is_wanted = is_own | is_group;   /* to all nodes */
                } else {
                    is_wanted = 0;
                }
            } else if (hdr.ethernet.ether_type == ETHERTYPE_LLDP) {
                is_wanted = is_group;
            } else if (is_group == 1) {
                is_wanted = 0;
            }
            is_heard = 0;
            if (is_wanted == 1) {
                underlay_punt_meter.apply();
            }
            if (is_heard == 0) {
                meta.drop_reason = drop_reason_t.UNDERLAY_CONTROL;
            } else if (meta.colour == COLOUR_RED) {
                meta.drop_reason = drop_reason_t.UNDERLAY_CONTROL_RATE;
            } else if (is_question == 1) {
                underlay_answer.apply(hdr, own_mac);
                meta.egress_port = port;
            } else {
                meta.punt = 1;
                meta.punt_reason = punt_reason_t.UNDERLAY_CONTROL;
            }
        }
    }
}

#endif
