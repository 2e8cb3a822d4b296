/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_OUTER_VALIDATION
#define NVO3SEC_OUTER_VALIDATION

#include "headers.p4"
#include "metadata.p4"

/* Strict reception: what the parser did not already refuse. `ipv4_checksum_wrong` comes from the architecture. */
control OuterValidation(in headers_t hdr, inout metadata_t meta, in bit<1> ipv4_checksum_wrong) {
    apply {
        if (hdr.ethernet.dst != meta.port_mac) {
            meta.drop_reason = drop_reason_t.UNDERLAY_MAC;
        } else if (ipv4_checksum_wrong == 1) {
            meta.drop_reason = drop_reason_t.IPV4_CHECKSUM;
        } else if (hdr.ipv4.isValid() && hdr.udp.checksum != 0) {
            meta.drop_reason = drop_reason_t.UDP_CHECKSUM_PRESENT;
        } else if (hdr.geneve.version != 0) {
            meta.drop_reason = drop_reason_t.GENEVE_VERSION;
        } else if (hdr.geneve.oam != 0) {
            meta.drop_reason = drop_reason_t.GENEVE_CONTROL;
        } else if (hdr.geneve.critical != 1) {
            meta.drop_reason = drop_reason_t.GENEVE_NOT_CRITICAL;
        } else if (hdr.geneve.protocol != GENEVE_PROTOCOL_ETHERNET) {
            meta.drop_reason = drop_reason_t.GENEVE_PROTOCOL;
        } else if (hdr.protection.option_class != OPTION_CLASS || hdr.protection.option_type != OPTION_TYPE
                   || hdr.protection.data_words != OPTION_DATA_WORDS) {
            meta.drop_reason = drop_reason_t.OPTION_UNKNOWN;
        } else if (hdr.protection.flags != 0) {
            meta.drop_reason = drop_reason_t.OPTION_FLAGS;
        }
    }
}

#endif
