/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_CHECKSUMS
#define NVO3SEC_CHECKSUMS

#include "arch.p4"
#include "../common/headers.p4"
#include "../common/metadata.p4"

#define IPV4_CHECKSUM_FIELDS(h)                                                                  \
    { h.version_ihl, h.dscp, h.ecn, h.total_length, h.identification, h.reserved,                \
      h.dont_fragment, h.more_fragments, h.fragment_offset, h.ttl, h.protocol, h.src, h.dst }

control NveVerifyChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.version_ihl == IPV4_VERSION_IHL, IPV4_CHECKSUM_FIELDS(hdr.ipv4), hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control NveComputeChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        /* What is in clear leaves as it came. */
        update_checksum(hdr.ipv4.isValid() && hdr.geneve.isValid(), IPV4_CHECKSUM_FIELDS(hdr.ipv4), hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

#endif
