/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ACCESS_ADMISSION
#define NVO3SEC_ACCESS_ADMISSION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "inner_view.p4"

/* From an access port to a frame of a VN: the VAP (RFC 7365 3.1) by port and VLAN, its meter, and the source guard. */
control AccessAdmission(inout headers_t hdr, inout metadata_t meta, in port_t ingress_port) {
    InnerView() inner_view;
    DIRECT_METER(vap_rate);
    DIRECT_COUNTER(vap_use);
    bit<12> vid;

    /* level: the suite that the VN demands between NVEs. */
    @id(ACTION_VAP_ATTACH)
    action attach(@id(1) interface_t interface, @id(2) vni_t vni, @id(3) bit<8> level) {
        METER_READ(vap_rate, meta.colour);
        meta.ingress_interface = interface;
        meta.vni = vni;
        meta.level = level;
    }

    @id(ACTION_VAP_UNKNOWN)
    action unknown_vap() {
        meta.drop_reason = drop_reason_t.VAP_UNKNOWN;
    }

    @name("vap") @id(TABLE_VAP)
    table vap {
        key = {
            ingress_port: exact @name("port");
            vid: exact @name("vlan");   /* 0: untagged or priority-tagged (IEEE 802.1Q 6.9) */
        }
        actions = { attach; @defaultonly unknown_vap; }
        const default_action = unknown_vap();
        METERED_BY(vap_rate);
        COUNTED_BY(vap_use);
        size = VAP_SIZE;
    }

    @id(ACTION_SOURCE_PERMIT)
    action permit_source() {}

    /* Of a tenant system that shares addresses with others: the agent hears what it announces. */
    @id(ACTION_SOURCE_PERMIT_ANNOUNCER)
    action permit_announcer() {
        meta.announcer = 1;
    }

    @id(ACTION_SOURCE_DENY)
    action deny_source() {
        meta.drop_reason = drop_reason_t.SOURCE_GUARD;
    }

    /* ip_kind: 0 neither IP nor ARP (ip is 0), 1 IPv4, 2 IPv6, 3 ARP (ip is the sender's). */
    @name("source_guard") @id(TABLE_SOURCE_GUARD)
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
        vid = 0;
        if (hdr.vlan.isValid()) {
            vid = hdr.vlan.vid;
        }
        if (vap.apply().hit) {
            if (meta.colour == COLOUR_RED) {
                meta.drop_reason = drop_reason_t.VAP_RATE;
            } else if (hdr.frame_type.ether_type == ETHERTYPE_CTAG || hdr.frame_type.ether_type == ETHERTYPE_STAG) {
                meta.drop_reason = drop_reason_t.SECOND_TAG;
            } else {
                hdr.vlan.setInvalid();
                inner_view.apply(hdr, meta);
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
    }
}

#endif
