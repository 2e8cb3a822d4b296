/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_VAP_EGRESS
#define NVO3SEC_VAP_EGRESS

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* A frame of a VN to an access port, under the tag of its VAP there. */
control VapEgress(inout headers_t hdr, inout metadata_t meta, in port_t egress_port) {
    @name(".untagged") @id(ACTION_VAP_UNTAGGED)
    action untagged() {}

    @name(".tagged") @id(ACTION_VAP_TAGGED)
    action tagged(@id(1) bit<12> vlan) {
        hdr.vlan.setValid();
        hdr.vlan.tpid = ETHERTYPE_CTAG;
        hdr.vlan.pcp = 0;
        hdr.vlan.dei = 0;
        hdr.vlan.vid = vlan;
    }

    @name(".unknown_vap_egress") @id(ACTION_VAP_EGRESS_UNKNOWN)
    action unknown_vap_egress() {
        meta.drop_reason = drop_reason_t.VAP_EGRESS_UNKNOWN;
    }

    @name(".vap_egress") @id(TABLE_VAP_EGRESS)
    table vap_egress {
        key = {
            egress_port: exact @name("port");
            meta.egress_interface: exact @name("interface");
        }
        actions = { untagged; tagged; @defaultonly unknown_vap_egress; }
        const default_action = unknown_vap_egress();
        size = VAP_SIZE;
    }

    apply {
        vap_egress.apply();
    }
}

#endif
