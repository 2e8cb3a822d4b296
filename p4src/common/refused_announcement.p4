/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_REFUSED_ANNOUNCEMENT
#define NVO3SEC_REFUSED_ANNOUNCEMENT

#include "headers.p4"
#include "metadata.p4"

/* Whether a frame that the source guard has refused says that a system is here now: a gratuitous ARP (RFC 5227 3), an
 * unsolicited neighbor advertisement (RFC 4861 7.2.6), or the reverse ARP (RFC 903) that a hypervisor sends for a system which
 * it has taken over. Nobody hears it but the agent, as a hint. */
control RefusedAnnouncement(in headers_t hdr, inout metadata_t meta) {
    apply {
        if (hdr.addresses.dst[40:40] == 1) {
            if (meta.inner.ip_kind == IP_KIND_ARP) {
                if ((meta.inner.arp_operation == ARP_REQUEST || meta.inner.arp_operation == ARP_REPLY)
                    && hdr.block[0].w3 == meta.inner.arp_target_ip) {
                    meta.refused = 1;
                }
            } else if (meta.inner.nd_type == ND_NEIGHBOR_ADVERTISEMENT) {
                meta.refused = 1;
            } else if (hdr.frame_type.ether_type == ETHERTYPE_RARP) {
                meta.refused = 1;
            }
        }
    }
}

#endif
