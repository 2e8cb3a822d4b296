/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_OUTER_CHECKSUM
#define NVO3SEC_OUTER_CHECKSUM

#include "headers.p4"
#include "metadata.p4"
#include "udp_checksum.p4"

/* The UDP checksum of a packet that is otherwise ready: computed over IPv6 (RFC 8200 8.1), 0 over IPv4, whose ICV protects
 * more. */
control OuterChecksum(inout headers_t hdr, in metadata_t meta) {
    UdpChecksum() udp_checksum;
    bit<16> sum;

    apply {
        if (hdr.ipv6.isValid()) {
            udp_checksum.apply(hdr, meta, hdr.protection.icv, sum);
            hdr.udp.checksum = sum == 0xFFFF ? 16w0xFFFF : ~sum;   /* 0 would say that there is none */
        }
    }
}

#endif
