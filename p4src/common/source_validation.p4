/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SOURCE_VALIDATION
#define NVO3SEC_SOURCE_VALIDATION

#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* A frame from a VAP, its inner headers read: is it well-formed where it could say something false, and does it speak for
 * addresses of a tenant system that is there (RFC 7039)? */
control SourceValidation(in headers_t hdr, inout metadata_t meta) {
    bit<8> granted;

    @name(".permit_source") @id(ACTION_SOURCE_PERMIT)
    action permit_source() {}

    /* Of a tenant system that shares addresses with others: the agent hears what it announces. */
    @name(".permit_announcer") @id(ACTION_SOURCE_PERMIT_ANNOUNCER)
    action permit_announcer() {
        meta.announcer = 1;
    }

    /* Of a tenant system that may do what others must not. services: SERVICE_ANNOUNCER, as above, SERVICE_ROUTER,
     * SERVICE_DHCP_SERVER. */
    @name(".permit_service") @id(ACTION_SOURCE_PERMIT_SERVICE)
    action permit_service(@id(1) bit<8> services) {
        granted = services;
        meta.announcer = services[0:0];
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
        actions = { permit_source; permit_announcer; permit_service; @defaultonly deny_source; }
        const default_action = deny_source();
        size = SOURCE_GUARD_SIZE;
    }

    @name(".permit_target") @id(ACTION_TARGET_PERMIT)
    action permit_target() {}

    @name(".deny_target") @id(ACTION_TARGET_DENY)
    action deny_target() {
        meta.drop_reason = drop_reason_t.MALFORMED_ND;
    }

    /* Of a neighbor advertisement that comes from another address than it announces (RFC 4861 7.2.4). */
    @name(".target_guard") @id(TABLE_TARGET_GUARD)
    table target_guard {
        key = {
            meta.ingress_interface: exact @name("interface");
            hdr.addresses.src: exact @name("mac");
            meta.inner.nd_target_ip: exact @name("ip");
        }
        actions = { permit_target; @defaultonly deny_target; }
        const default_action = deny_target();
        size = SOURCE_GUARD_SIZE;
    }

    apply {
        granted = 0;
        if (meta.inner.ip_kind == IP_KIND_ARP && meta.inner.arp_valid != 1) {
            meta.drop_reason = drop_reason_t.MALFORMED_ARP;
        } else if (meta.inner.nd_type != 0 && meta.inner.nd_valid != 1
                   && meta.inner.nd_type != ND_ROUTER_ADVERTISEMENT && meta.inner.nd_type != ND_REDIRECT) {
            meta.drop_reason = drop_reason_t.MALFORMED_ND;
        } else {
            source_guard.apply();
            /* Who is no router is told so, whatever address it says it has. */
            if (granted & SERVICE_ROUTER == 0
                && (meta.inner.nd_type == ND_ROUTER_ADVERTISEMENT || meta.inner.nd_type == ND_REDIRECT
                    || (meta.inner.ip_kind == IP_KIND_IPV4 && meta.upper.protocol == IP_PROTOCOL_ICMP
                        && (meta.upper.word[31:24] == ICMP_REDIRECT
                            || meta.upper.word[31:24] == ICMP_ROUTER_ADVERTISEMENT)))) {
                meta.drop_reason = drop_reason_t.ROGUE_ROUTER;
            } else if (granted & SERVICE_DHCP_SERVER == 0 && meta.upper.protocol == IP_PROTOCOL_UDP
                       && ((meta.inner.ip_kind == IP_KIND_IPV4
                            && (meta.upper.word[31:16] == UDP_PORT_DHCP_SERVER
                                || meta.upper.word[15:0] == UDP_PORT_DHCP_CLIENT))
                           || (meta.inner.ip_kind == IP_KIND_IPV6
                               && (meta.upper.word[31:16] == UDP_PORT_DHCPV6_SERVER
                                   || meta.upper.word[15:0] == UDP_PORT_DHCPV6_CLIENT)))) {
                /* Clients take an answer from any port, so what is sent to a client is one. */
                meta.drop_reason = drop_reason_t.ROGUE_SERVER;
            } else if (meta.drop_reason == drop_reason_t.NONE) {
                if (meta.upper.hidden == 1) {
                    meta.drop_reason = drop_reason_t.HIDDEN_PROTOCOL;
                } else if (meta.inner.nd_type == ND_NEIGHBOR_ADVERTISEMENT
                           && meta.inner.nd_target_ip != meta.inner.source_ip) {
                    target_guard.apply();
                }
            }
        }
    }
}

#endif
