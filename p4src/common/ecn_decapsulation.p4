/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ECN_DECAPSULATION
#define NVO3SEC_ECN_DECAPSULATION

#include "headers.p4"
#include "metadata.p4"

/* Carries congestion marked in the underlay into the inner packet (RFC 6040 4.2), after verification. The inner IPv4
 * checksum is updated incrementally (RFC 1624). */
control EcnDecapsulation(inout headers_t hdr, inout metadata_t meta) {
    action mark_ipv4() {
        bit<2> old = hdr.frame_type.first[1:0];
        bit<32> sum = (bit<32>)(~hdr.block[0].w2[31:16]) + (bit<32>)(ECN_CE - old);
        sum = (sum & 0xFFFF) + (sum >> 16);
        hdr.block[0].w2 = ~sum[15:0] ++ hdr.block[0].w2[15:0];
        hdr.frame_type.first = hdr.frame_type.first | 3;
    }

    action mark_ipv6() {
        hdr.frame_type.first = hdr.frame_type.first | 0x0030;
    }

    apply {
        if (hdr.ipv4.ecn == ECN_CE) {
            if (meta.inner.ip_kind == IP_KIND_IPV4 && hdr.block[0].isValid()) {
                if (hdr.frame_type.first[1:0] == ECN_NOT_ECT) {
                    meta.drop_reason = drop_reason_t.ECN_NOT_CAPABLE;
                } else if (hdr.frame_type.first[1:0] != ECN_CE) {
                    mark_ipv4();
                }
            } else if (meta.inner.ip_kind == IP_KIND_IPV6) {
                if (hdr.frame_type.first[5:4] == ECN_NOT_ECT) {
                    meta.drop_reason = drop_reason_t.ECN_NOT_CAPABLE;
                } else {
                    mark_ipv6();
                }
            } else {
                meta.drop_reason = drop_reason_t.ECN_NOT_CAPABLE;
            }
        }
    }
}

#endif
