/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ANNOUNCEMENT_VIEW
#define NVO3SEC_ANNOUNCEMENT_VIEW

#include "headers.p4"
#include "metadata.p4"

/* Whether a frame to a group, from an access port and behind the source guard, announces that an address is at its sender:
 * a gratuitous ARP (RFC 5227 3), an unsolicited neighbor advertisement (RFC 4861 7.2.6), an advertisement of VRRP (RFC 9568 5.1).
 * SourceValidation has let through well-formed ARP only, and advertisements only of addresses of their sender.
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
        } else if (meta.inner.ip_kind == IP_KIND_IPV4) {
            if (meta.upper.destination_ip == (bit<128>)VRRP_GROUP && hdr.frame_type.first[15:8] == IPV4_VERSION_IHL
                && hdr.block[0].w1[15:0] == VRRP_TTL ++ IP_PROTOCOL_VRRP) {
                meta.announcement = 1;
            }
        } else if (meta.inner.ip_kind == IP_KIND_IPV6) {
            if (hdr.block[2].isValid() && meta.upper.destination_ip == VRRP_GROUP_IPV6
                && hdr.block[0].w1[31:16] == IP_PROTOCOL_VRRP ++ VRRP_TTL) {
                meta.announcement = 1;
            }
        }
    }
}

#endif
