/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_UNDERLAY_ANSWER
#define NVO3SEC_UNDERLAY_ANSWER

#include "headers.p4"

#define HALVES_SUM(w) ((bit<32>)(w[31:16]) + (bit<32>)(w[15:0]))

/* Turns a question for an own address into its answer, in place: an ARP request (RFC 826), or a neighbor solicitation with one
 * option, in whose place the answer has its link-layer address, or without, which is answered without (RFC 4861 4.4, 7.2.4:
 * solicited, override). */
control UnderlayAnswer(inout headers_t hdr, in mac_t own_mac) {
    ipv6_t asker;
    bit<32> sum;

    action turn_around() {
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = own_mac;
    }

    action answer_arp() {
        ipv4_t asked = hdr.arp.target;
        hdr.arp.operation = ARP_REPLY;
        hdr.arp.target_mac = hdr.arp.sender_mac;
        hdr.arp.target = hdr.arp.sender;
        hdr.arp.sender_mac = own_mac;
        hdr.arp.sender = asked;
    }

    action answer_nd() {
        asker = hdr.ipv6.src;
        hdr.ipv6.src = hdr.nd.target;
        hdr.ipv6.dst = asker;
        hdr.icmpv6.type = ND_NEIGHBOR_ADVERTISEMENT;
        hdr.nd.flags = ND_SOLICITED_OVERRIDE ++ 16w0;
        sum = (bit<32>)hdr.ipv6.payload_length + (bit<32>)NEXT_HEADER_ICMPV6
              + (bit<32>)(ND_NEIGHBOR_ADVERTISEMENT ++ 8w0) + (bit<32>)ND_SOLICITED_OVERRIDE;
    }

    action answer_option() {
        hdr.nd_option.type_length = ND_TARGET_LINK_LAYER;
        hdr.nd_option.mac = own_mac;
        sum = sum + (bit<32>)ND_TARGET_LINK_LAYER + (bit<32>)own_mac[47:32] + (bit<32>)own_mac[31:16]
              + (bit<32>)own_mac[15:0];
    }

    /* RFC 8200 8.1. The target is the source, too. A sum begins in another action than it is added to: see crypto/chaskey.p4. */
    action add_addresses() {
        sum = sum + HALVES_SUM(asker[127:96]) + HALVES_SUM(asker[95:64]) + HALVES_SUM(asker[63:32]) + HALVES_SUM(asker[31:0]);
        sum = sum + HALVES_SUM(hdr.nd.target[127:96]) + HALVES_SUM(hdr.nd.target[95:64])
              + HALVES_SUM(hdr.nd.target[63:32]) + HALVES_SUM(hdr.nd.target[31:0]);
        sum = sum + HALVES_SUM(hdr.nd.target[127:96]) + HALVES_SUM(hdr.nd.target[95:64])
              + HALVES_SUM(hdr.nd.target[63:32]) + HALVES_SUM(hdr.nd.target[31:0]);
    }

    action fold() {
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        hdr.icmpv6.checksum = ~sum[15:0];
    }

    apply {
        turn_around();
        if (hdr.arp.isValid()) {
            answer_arp();
        } else {
            answer_nd();
            if (hdr.nd_option.isValid()) {
                answer_option();
            }
            add_addresses();
            fold();
        }
    }
}

#endif
