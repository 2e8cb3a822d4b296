/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ND_VIEW
#define NVO3SEC_ND_VIEW

#include "headers.p4"
#include "metadata.p4"

/* Neighbor discovery (RFC 4861) in an IPv6 frame that TenantFrame and InnerView have read: what kind it is, and whether it is of
 * a form that can be checked. A message is taken for well-formed if its lengths agree and its options say of nobody but the
 * sender of the frame which link-layer address it has: routers and hosts alike keep what it says. An advertisement speaks for its
 * target, which the source guard checks as it does the source. Duplicate address detection (from the unspecified address,
 * RFC 4862 5.4.2) speaks for the address that it asks about. Behind extension headers and in fragments there is no neighbor
 * discovery (RFC 6980, RFC 7113); what does not have its hop limit is taken for it by nobody. */
control NdView(in headers_t hdr, inout metadata_t meta) {
    apply {
        bit<8> hop_limit = hdr.block[0].w1[23:16];
        bit<16> payload_length = hdr.block[0].w0[15:0];
        bit<8> type = meta.upper.word[31:24];
        if (meta.upper.protocol == NEXT_HEADER_ICMPV6 && type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT) {
            if (meta.upper.extended == 1) {
                if (hop_limit == ND_HOP_LIMIT) {
                    meta.inner.nd_type = ND_HIDDEN;
                }
            } else {
                meta.inner.nd_type = type;
                if (hop_limit == ND_HOP_LIMIT && meta.upper.word[23:16] == 0) {
                    if (type == ND_ROUTER_SOLICITATION && payload_length == ND_ROUTER_LENGTH) {
                        meta.inner.nd_valid = 1;   /* no option, and nothing to say, whatever is behind it */
                    } else if (meta.frame_length == IPV6_HEADERS_LENGTH + payload_length && payload_length[2:0] == 0
                               && meta.upper.options_wrong == 0) {
                        meta.inner.nd_valid = 1;
                    }
                }
                if (meta.inner.source_ip == 0) {
                    if (type == ND_NEIGHBOR_SOLICITATION) {
                        meta.inner.nd_probe = 1;
                        meta.inner.source_ip = meta.inner.nd_target_ip;
                    } else if (type == ND_NEIGHBOR_ADVERTISEMENT) {
                        meta.inner.nd_valid = 0;
                    }
                }
            }
        }
    }
}

#endif
