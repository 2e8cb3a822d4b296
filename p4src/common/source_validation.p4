/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SOURCE_VALIDATION
#define NVO3SEC_SOURCE_VALIDATION

#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* A frame from a VAP, its inner headers read: is it well-formed where it could say something false, and does it speak for
 * addresses of a tenant system that is there (RFC 7039)? */
control SourceValidation(in headers_t hdr, inout metadata_t meta) {
    @name(".permit_source") @id(ACTION_SOURCE_PERMIT)
    action permit_source() {}

    /* Of a tenant system that shares addresses with others: the agent hears what it announces. */
    @name(".permit_announcer") @id(ACTION_SOURCE_PERMIT_ANNOUNCER)
    action permit_announcer() {
        meta.announcer = 1;
    }

    @name(".deny_source") @id(ACTION_SOURCE_DENY)
    action deny_source() {
        meta.drop_reason = drop_reason_t.SOURCE_GUARD;
    }

    /* ip_kind: 0 neither IP nor ARP (ip is 0), 1 IPv4, 2 IPv6, 3 ARP (ip is the sender's). */
    @name(".source_guard") @id(TABLE_SOURCE_GUARD)
    table source_guard {
        key = {
            meta.ingress_interface: exact @name("interface");
            hdr.addresses.src: exact @name("mac");
            meta.inner.ip_kind: exact @name("ip_kind");
            meta.inner.source_ip: exact @name("ip");
        }
        actions = { permit_source; permit_announcer; @defaultonly deny_source; }
        const default_action = deny_source();
        size = SOURCE_GUARD_SIZE;
    }

    apply {
        if (meta.inner.ip_kind == IP_KIND_ARP && meta.inner.arp_valid != 1) {
            meta.drop_reason = drop_reason_t.MALFORMED_ARP;
        } else if (meta.inner.nd_type == ND_ROUTER_ADVERTISEMENT || meta.inner.nd_type == ND_REDIRECT) {
            meta.drop_reason = drop_reason_t.ROGUE_ROUTER;
        } else if (meta.inner.nd_type != 0 && meta.inner.nd_valid != 1) {
            meta.drop_reason = drop_reason_t.MALFORMED_ND;
        } else {
            source_guard.apply();
        }
    }
}

#endif
