/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_INNER_VIEW
#define NVO3SEC_INNER_VIEW

#include "headers.p4"
#include "metadata.p4"
#include "nd_view.p4"

/* Reads the fields of the inner headers out of the cipher blocks. From the underlay it runs after verification, so that
 * unverified bytes decide nothing. Every read is guarded: an invalid header would show bytes of an earlier packet. */
control InnerView(in headers_t hdr, inout metadata_t meta) {
    NdView() nd_view;

    apply {
        meta.inner.ip_kind = IP_KIND_NONE;
        meta.inner.source_ip = 0;
        meta.inner.arp_valid = 0;
        meta.inner.arp_operation = 0;
        meta.inner.arp_target_ip = 0;
        meta.inner.nd_type = 0;
        meta.inner.nd_valid = 0;
        meta.inner.nd_probe = 0;
        if (hdr.frame_type.ether_type == ETHERTYPE_IPV4) {
            meta.inner.ip_kind = IP_KIND_IPV4;
            if (hdr.block[0].isValid()) {
                meta.inner.source_ip = (bit<128>)(hdr.block[0].w2[15:0] ++ hdr.block[0].w3[31:16]);
            }
        } else if (hdr.frame_type.ether_type == ETHERTYPE_IPV6) {
            meta.inner.ip_kind = IP_KIND_IPV6;
            if (hdr.block[1].isValid()) {
                meta.inner.source_ip = hdr.block[0].w1[15:0] ++ hdr.block[0].w2 ++ hdr.block[0].w3
                                       ++ hdr.block[1].w0 ++ hdr.block[1].w1[31:16];
                nd_view.apply(hdr, meta);
            }
        } else if (hdr.frame_type.ether_type == ETHERTYPE_ARP) {
            meta.inner.ip_kind = IP_KIND_ARP;
            /* An ARP packet ends 42 bytes into the frame: in block 1, or in the tail of an unpadded frame. */
            if (hdr.block[0].isValid() && hdr.frame_type.first == ARP_HTYPE_ETHERNET
                && hdr.block[0].w0 == ETHERTYPE_IPV4 ++ ARP_HLEN_PLEN
                && hdr.block[0].w1[15:0] ++ hdr.block[0].w2 == hdr.addresses.src) {
                meta.inner.arp_operation = hdr.block[0].w1[31:16];
                meta.inner.source_ip = (bit<128>)hdr.block[0].w3;
                if (hdr.block[1].isValid()) {
                    meta.inner.arp_valid = 1;
                    meta.inner.arp_target_ip = hdr.block[1].w1[15:0] ++ hdr.block[1].w2[31:16];
                } else if (hdr.tail8.isValid() && hdr.tail4.isValid()) {
                    meta.inner.arp_valid = 1;
                    meta.inner.arp_target_ip = hdr.tail8.data[15:0] ++ hdr.tail4.data[31:16];
                } else if (hdr.tail8.isValid() && hdr.tail2.isValid()) {
                    meta.inner.arp_valid = 1;
                    meta.inner.arp_target_ip = hdr.tail8.data[15:0] ++ hdr.tail2.data;
                }
                /* A probe (RFC 5227 2.1.1) speaks for the address that it asks about. */
                if (meta.inner.source_ip == 0) {
                    meta.inner.source_ip = (bit<128>)meta.inner.arp_target_ip;
                }
            }
        }
    }
}

#endif
