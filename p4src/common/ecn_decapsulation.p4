/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ECN_DECAPSULATION
#define NVO3SEC_ECN_DECAPSULATION

#include "headers.p4"
#include "metadata.p4"

/* Carries congestion marked in the underlay into the inner packet, after verification: the table of RFC 6040, figure 4. The
 * inner IPv4 checksum is updated incrementally (RFC 1624). */
control EcnDecapsulation(inout headers_t hdr, inout metadata_t meta) {
    bit<32> sum;

    /* The sum begins in another action than it is folded in: see crypto/chaskey.p4. */
    action begin_sum() {
        sum = (bit<32>)(~hdr.block[0].w2[31:16]) + (bit<32>)(~hdr.frame_type.first);
    }

    action set_ipv4(bit<2> ecn) {
        hdr.frame_type.first = hdr.frame_type.first[15:2] ++ ecn;
        sum = sum + (bit<32>)hdr.frame_type.first;
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        hdr.block[0].w2 = ~sum[15:0] ++ hdr.block[0].w2[15:0];
    }

    action set_ipv6(bit<2> ecn) {
        hdr.frame_type.first = hdr.frame_type.first[15:6] ++ ecn ++ hdr.frame_type.first[3:0];
    }

    apply {
        bit<2> inner = ECN_NOT_ECT;
        bit<1> is_ipv4 = 0;
        if (meta.inner.ip_kind == IP_KIND_IPV4 && hdr.block[0].isValid()) {
            is_ipv4 = 1;
            inner = hdr.frame_type.first[1:0];
        } else if (meta.inner.ip_kind == IP_KIND_IPV6) {
            inner = hdr.frame_type.first[5:4];
        }
        if (meta.outer.ecn == ECN_CE && inner == ECN_NOT_ECT) {
            meta.drop_reason = drop_reason_t.ECN_NOT_CAPABLE;
        } else if ((meta.outer.ecn == ECN_CE && inner != ECN_CE) || (meta.outer.ecn == ECN_ECT1 && inner == ECN_ECT0)) {
            if (is_ipv4 == 1) {
                begin_sum();
                set_ipv4(meta.outer.ecn);
            } else {
                set_ipv6(meta.outer.ecn);
            }
        }
    }
}

#endif
