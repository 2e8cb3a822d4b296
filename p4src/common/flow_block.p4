/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_FLOW_BLOCK
#define NVO3SEC_FLOW_BLOCK

#include "headers.p4"
#include "metadata.p4"

/* Sixteen bytes that are the same for all packets of an inner flow, and that nothing else goes into: what the source port of
 * the outer UDP header is a keyed hash of (RFC 8926 3.3). IP packets by addresses, protocol and ports; all fragments by addresses
 * and protocol, as the first one alone has ports. A flow label stands for the rest (RFC 6438). Other frames by MAC addresses and
 * type; a length (IEEE 802.3) is no type. */
control FlowBlock(in headers_t hdr, in metadata_t meta, out bit<128> flow) {
    apply {
        bit<32> ports = 0;
        if (meta.upper.fragment == 0
            && (meta.upper.protocol == IP_PROTOCOL_TCP || meta.upper.protocol == IP_PROTOCOL_UDP
                || meta.upper.protocol == IP_PROTOCOL_SCTP)) {
            ports = meta.upper.word;
        }
        if (hdr.frame_type.ether_type == ETHERTYPE_IPV4 && hdr.block[0].isValid()) {
            flow = hdr.block[0].w2[15:0] ++ hdr.block[0].w3[31:16] ++ meta.upper.destination_ip[31:0] ++ ports
                   ++ 24w0 ++ hdr.block[0].w1[7:0];
        } else if (hdr.frame_type.ether_type == ETHERTYPE_IPV6 && hdr.block[1].isValid()) {
            /* Sources and destinations folded; the rest on the part of them that differs least. */
            bit<20> label = hdr.frame_type.first[3:0] ++ hdr.block[0].w0[31:16];
            bit<40> rest = ports ++ hdr.block[0].w1[31:24];
            if (label != 0) {
                rest = 20w0 ++ label;
            }
            flow = hdr.block[0].w1[15:0] ++ hdr.block[0].w2 ++ hdr.block[0].w3 ++ hdr.block[1].w0 ++ hdr.block[1].w1[31:16];
            flow = flow ^ (meta.upper.destination_ip << 1) ^ (rest ++ 88w0);
        } else {
            flow = hdr.addresses.dst ++ hdr.addresses.src ++ 32w0;
            if (hdr.frame_type.ether_type >= ETHERTYPE_FIRST) {
                flow[31:16] = hdr.frame_type.ether_type;
            }
        }
    }
}

#endif
