/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ND_VIEW
#define NVO3SEC_ND_VIEW

#include "headers.p4"
#include "metadata.p4"

/* Neighbor discovery (RFC 4861) in an IPv6 frame whose source InnerView has read: what kind it is, and whether it is of a form
 * that can be checked. A message is taken for well-formed if it is a bare solicitation or advertisement, or one with exactly
 * the link-layer option that belongs to it, naming the sender of the frame: routers and hosts alike keep what it says. An
 * advertisement must speak for the very address that it comes from, which the source guard then checks. Duplicate address
 * detection (from the unspecified address, RFC 4862 5.4.2) speaks for the address that it asks about; it may carry any one
 * option, since hosts take nothing from it. Extension headers in front of a message could hide it (RFC 7113), so whatever has
 * the hop limit of neighbor discovery must not have any. */
control NdView(in headers_t hdr, inout metadata_t meta) {
    apply {
        bit<8> next_header = hdr.block[0].w1[31:24];
        bit<8> hop_limit = hdr.block[0].w1[23:16];
        bit<16> payload_length = hdr.block[0].w0[15:0];
        if (next_header == NEXT_HEADER_ICMPV6 && hdr.block[2].isValid()) {
            bit<8> type = hdr.block[2].w1[15:8];
            if (type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT) {
                meta.inner.nd_type = type;
            } else if (type == ND_ROUTER_SOLICITATION) {
                /* One that ends before block 2 has no option, and nothing to say. */
                meta.inner.nd_type = type;
                if (hop_limit == ND_HOP_LIMIT && hdr.block[2].w1[7:0] == 0) {
                    if (payload_length == ND_ROUTER_LENGTH
                        || (payload_length == ND_ROUTER_LENGTH_WITH_OPTION
                            && meta.frame_length == IPV6_HEADERS_LENGTH + ND_ROUTER_LENGTH_WITH_OPTION
                            && hdr.tail4.isValid() && hdr.tail2.isValid()
                            && hdr.block[2].w3[15:0] == ND_SOURCE_LINK_LAYER
                            && hdr.tail4.data ++ hdr.tail2.data == hdr.addresses.src)) {
                        meta.inner.nd_valid = 1;
                    }
                }
            } else if (type == ND_NEIGHBOR_SOLICITATION || type == ND_NEIGHBOR_ADVERTISEMENT) {
                meta.inner.nd_type = type;
                if (hop_limit == ND_HOP_LIMIT && hdr.block[2].w1[7:0] == 0) {
                    if (payload_length == ND_LENGTH && meta.frame_length == IPV6_HEADERS_LENGTH + ND_LENGTH
                        && hdr.tail8.isValid() && hdr.tail4.isValid() && hdr.tail2.isValid()) {
                        meta.inner.nd_valid = 1;
                        meta.inner.nd_target_ip = hdr.block[2].w3[15:0] ++ hdr.tail8.data ++ hdr.tail4.data
                                                  ++ hdr.tail2.data;
                    } else if (payload_length == ND_LENGTH_WITH_OPTION
                               && meta.frame_length == IPV6_HEADERS_LENGTH + ND_LENGTH_WITH_OPTION
                               && hdr.block[3].isValid() && hdr.tail4.isValid() && hdr.tail2.isValid()) {
                        meta.inner.nd_target_ip = hdr.block[2].w3[15:0] ++ hdr.block[3].w0 ++ hdr.block[3].w1
                                                  ++ hdr.block[3].w2 ++ hdr.block[3].w3[31:16];
                        bit<16> option = ND_SOURCE_LINK_LAYER;
                        if (type == ND_NEIGHBOR_ADVERTISEMENT) {
                            option = ND_TARGET_LINK_LAYER;
                        }
                        if ((hdr.block[3].w3[15:0] == option
                             && hdr.tail4.data ++ hdr.tail2.data == hdr.addresses.src)
                            || (type == ND_NEIGHBOR_SOLICITATION && meta.inner.source_ip == 0)) {
                            meta.inner.nd_valid = 1;
                        }
                    }
                    if (type == ND_NEIGHBOR_ADVERTISEMENT) {
                        if (meta.inner.nd_target_ip != meta.inner.source_ip) {
                            meta.inner.nd_valid = 0;
                        }
                    } else if (meta.inner.source_ip == 0) {
                        meta.inner.nd_probe = 1;
                        meta.inner.source_ip = meta.inner.nd_target_ip;
                    }
                }
            }
        } else if (hop_limit == ND_HOP_LIMIT
                   && (next_header == NEXT_HEADER_HOP_BY_HOP || next_header == NEXT_HEADER_ROUTING
                       || next_header == NEXT_HEADER_FRAGMENT || next_header == NEXT_HEADER_AUTHENTICATION
                       || next_header == NEXT_HEADER_DESTINATION)) {
            meta.inner.nd_type = next_header | 0x80;   /* none of the types above; never valid */
        }
    }
}

#endif
