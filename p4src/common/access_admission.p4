/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ACCESS_ADMISSION
#define NVO3SEC_ACCESS_ADMISSION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* From an access port to a frame of a VN: the VAP (RFC 7365 3.1) by port and VLAN, and its meter. */
control AccessAdmission(inout headers_t hdr, inout metadata_t meta, in port_t ingress_port) {
    @name(".vap_rate") DIRECT_METER(vap_rate);
    @name(".vap_use") DIRECT_COUNTER(vap_use);
    bit<12> vid;
    bit<8> demanded;   /* level of the link */

    /* level: what the VN demands between NVEs. link_level: what the VAP demands of the link that it stands on; 0: none. */
    @name(".attach") @id(ACTION_VAP_ATTACH)
    action attach(@id(1) interface_t interface, @id(2) vni_t vni, @id(3) bit<8> level,
                  @id(4) bit<8> link_level) {
        METER_READ(vap_rate, meta.colour);
        meta.ingress_interface = interface;
        meta.vni = vni;
        meta.level = level;
        demanded = link_level;
    }

    @name(".unknown_vap") @id(ACTION_VAP_UNKNOWN)
    action unknown_vap() {
        meta.drop_reason = drop_reason_t.VAP_UNKNOWN;
    }

    @name(".vap") @id(TABLE_VAP)
    table vap {
        key = {
            ingress_port: exact @name("port");
            meta.link: exact @name("link");   /* 0: under none */
            vid: exact @name("vlan");   /* 0: untagged or priority-tagged (IEEE 802.1Q 6.9) */
        }
        actions = { attach; @defaultonly unknown_vap; }
        const default_action = unknown_vap();
        METERED_BY(vap_rate);
        COUNTED_BY(vap_use);
        size = VAP_SIZE;
    }

    apply {
        vid = 0;
        demanded = 0;
        if (hdr.vlan.isValid()) {
            vid = hdr.vlan.vid;
        }
        if (vap.apply().hit) {
            if (meta.colour == COLOUR_RED) {
                meta.drop_reason = drop_reason_t.VAP_RATE;
            } else if (meta.sa_rx.level < demanded) {
                meta.drop_reason = drop_reason_t.LINK_LEVEL;
            } else if (hdr.frame_type.ether_type == ETHERTYPE_CTAG || hdr.frame_type.ether_type == ETHERTYPE_STAG) {
                meta.drop_reason = drop_reason_t.SECOND_TAG;
            } else {
                hdr.vlan.setInvalid();
            }
        }
    }
}

#endif
