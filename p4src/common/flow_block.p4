/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_FLOW_BLOCK
#define NVO3SEC_FLOW_BLOCK

#include "headers.p4"
#include "metadata.p4"

/* Sixteen bytes that are the same for all packets of an inner flow: what the source port of the outer UDP header is a keyed
 * hash of (RFC 8926 3.3). Fragments and packets with IPv4 options count as one flow per address pair and protocol. */
control FlowBlock(in headers_t hdr, in metadata_t meta, out bit<128> flow) {
    apply {
        flow = hdr.addresses.dst ++ hdr.addresses.src ++ hdr.frame_type.ether_type ++ 16w0;
        if (hdr.frame_type.ether_type == ETHERTYPE_IPV4 && hdr.block[1].isValid()) {
            bit<8> protocol = hdr.block[0].w1[7:0];
            bit<32> destination = hdr.block[0].w3[15:0] ++ hdr.block[1].w0[31:16];
            bit<32> ports = 0;
            if (hdr.frame_type.first[15:8] == IPV4_VERSION_IHL && hdr.block[0].w1[29:16] == 0
                && (protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP || protocol == IP_PROTOCOL_SCTP)) {
                ports = hdr.block[1].w0[15:0] ++ hdr.block[1].w1[31:16];
            }
            flow = hdr.block[0].w2[15:0] ++ hdr.block[0].w3[31:16] ++ destination ++ ports ++ 24w0 ++ protocol;
        } else if (hdr.frame_type.ether_type == ETHERTYPE_IPV6 && hdr.block[2].isValid()) {
            /* Sources and destinations folded; the flow label and the next header stand for the ports (RFC 6438). */
            bit<128> source = hdr.block[0].w1[15:0] ++ hdr.block[0].w2 ++ hdr.block[0].w3 ++ hdr.block[1].w0
                              ++ hdr.block[1].w1[31:16];
            bit<128> destination = hdr.block[1].w1[15:0] ++ hdr.block[1].w2 ++ hdr.block[1].w3 ++ hdr.block[2].w0
                                   ++ hdr.block[2].w1[31:16];
            flow = source ^ (destination << 1)
                   ^ (bit<128>)(hdr.frame_type.first[3:0] ++ hdr.block[0].w0[31:16] ++ hdr.block[0].w1[31:24]);
        }
    }
}

#endif
