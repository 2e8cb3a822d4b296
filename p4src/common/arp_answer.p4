/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ARP_ANSWER
#define NVO3SEC_ARP_ANSWER

#include "headers.p4"
#include "metadata.p4"

/* Turns an ARP request into its answer, in place (RFC 826). InnerView has found it well-formed. */
control ArpAnswer(inout headers_t hdr, inout metadata_t meta, in mac_t answer) {
    apply {
        mac_t asker = hdr.addresses.src;
        ipv4_t asker_ip = hdr.block[0].w3;
        hdr.addresses.dst = asker;
        hdr.addresses.src = answer;
        hdr.block[0].w1 = ARP_REPLY ++ answer[47:32];
        hdr.block[0].w2 = answer[31:0];
        hdr.block[0].w3 = meta.inner.arp_target_ip;
        if (hdr.block[1].isValid()) {
            hdr.block[1].w0 = asker[47:16];
            hdr.block[1].w1 = asker[15:0] ++ asker_ip[31:16];
            hdr.block[1].w2 = asker_ip[15:0] ++ hdr.block[1].w2[15:0];
        } else {
            hdr.tail8.data = asker ++ asker_ip[31:16];
            if (hdr.tail4.isValid()) {
                hdr.tail4.data = asker_ip[15:0] ++ hdr.tail4.data[15:0];
            } else {
                hdr.tail2.data = asker_ip[15:0];
            }
        }
    }
}

#endif
