/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ANNOUNCEMENT_VIEW
#define NVO3SEC_ANNOUNCEMENT_VIEW

#include "headers.p4"
#include "metadata.p4"

/* Whether a frame to a group, from an access port and behind the source guard, announces that an address is at its sender:
 * a gratuitous ARP (RFC 5227 3), an unsolicited neighbor advertisement (RFC 4861 7.2.6), an advertisement of VRRP (RFC 9568 5.1).
 * SourceValidation has let through well-formed ARP only, and advertisements only from the very address that they speak for.
 * What a VRRP advertisement says is the agent's to read. */
control AnnouncementView(in headers_t hdr, inout metadata_t meta) {
    apply {
        if (meta.inner.ip_kind == IP_KIND_ARP) {
            /* The sender's address as it stands there: a probe has none. */
            if ((meta.inner.arp_operation == ARP_REQUEST || meta.inner.arp_operation == ARP_REPLY)
                && hdr.block[0].w3 == meta.inner.arp_target_ip) {
                meta.announcement = 1;
            }
        } else if (meta.inner.nd_type == ND_NEIGHBOR_ADVERTISEMENT) {
            meta.announcement = 1;
        } else if (meta.inner.ip_kind == IP_KIND_IPV4 && hdr.block[0].isValid()) {
            /* The shortest, with one address, ends 46 bytes into the frame. */
            bit<16> destination_low = 0;
            if (hdr.block[1].isValid()) {
                destination_low = hdr.block[1].w0[31:16];
            } else if (hdr.tail8.isValid()) {
                destination_low = hdr.tail8.data[63:48];
            }
            if (hdr.frame_type.first[15:8] == IPV4_VERSION_IHL && hdr.block[0].w1[15:8] == VRRP_TTL
                && hdr.block[0].w1[7:0] == IP_PROTOCOL_VRRP
                && hdr.block[0].w3[15:0] ++ destination_low == VRRP_GROUP) {
                meta.announcement = 1;
            }
        } else if (meta.inner.ip_kind == IP_KIND_IPV6 && hdr.block[2].isValid()) {
            if (hdr.block[0].w1[31:24] == IP_PROTOCOL_VRRP && hdr.block[0].w1[23:16] == VRRP_TTL
                && hdr.block[1].w1[15:0] ++ hdr.block[1].w2 ++ hdr.block[1].w3 ++ hdr.block[2].w0
                   ++ hdr.block[2].w1[31:16] == VRRP_GROUP_IPV6) {
                meta.announcement = 1;
            }
        }
    }
}

#endif
