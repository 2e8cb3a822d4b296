/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_VN_AUTHORIZATION
#define NVO3SEC_VN_AUTHORIZATION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* A verified packet: may its sender send into this VN, and at this level (requirement 14)? */
control VnAuthorization(in headers_t hdr, inout metadata_t meta) {
    @name(".vn_ingress_use") DIRECT_COUNTER(vn_ingress_use);

    /* level: the lowest that the VN accepts of tunnels. */
    @name(".authorize") @id(ACTION_VN_AUTHORIZE)
    action authorize(@id(1) bit<8> level) {
        meta.vn_level = level;
    }

    @name(".unauthorized_vn") @id(ACTION_VN_UNAUTHORIZED)
    action unauthorized_vn() {
        meta.drop_reason = drop_reason_t.VN_UNAUTHORIZED;
    }

    @name(".vn_ingress_authorization") @id(TABLE_VN_INGRESS_AUTHORIZATION)
    table vn_ingress_authorization {
        key = {
            meta.peer: exact @name("peer");
            hdr.geneve.vni: exact @name("vni");
        }
        actions = { authorize; @defaultonly unauthorized_vn; }
        const default_action = unauthorized_vn();
        COUNTED_BY(vn_ingress_use);
        size = VN_AUTHORIZATION_SIZE;
    }

    apply {
        if (vn_ingress_authorization.apply().hit) {
            if (meta.sa_rx.level < meta.vn_level) {
                meta.drop_reason = drop_reason_t.VN_SUITE;
            } else if (hdr.frame_type.ether_type == ETHERTYPE_CTAG || hdr.frame_type.ether_type == ETHERTYPE_STAG) {
                meta.drop_reason = drop_reason_t.INNER_VLAN;
            }
        }
    }
}

#endif
