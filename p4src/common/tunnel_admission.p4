/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_TUNNEL_ADMISSION
#define NVO3SEC_TUNNEL_ADMISSION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "outer_validation.p4"

/* The outer part of a packet from the underlay: who may send to this NVE at all. What it binds goes to SecureReception. */
control TunnelAdmission(in headers_t hdr, inout metadata_t meta, in time_us_t now, in bit<1> ipv4_checksum_wrong) {
    OuterValidation() outer_validation;

    bit<128> source;
    bit<128> destination;

    /* tag: of the pair of addresses, which the SA must repeat. zero_checksum: whether its UDP checksum may be zero over IPv6;
     * over IPv4 it always is. */
    @name(".permit") @id(ACTION_AUTHORIZED_NVE_PERMIT)
    action permit(@id(1) peer_t peer, @id(2) peer_tag_t tag, @id(3) bit<1> zero_checksum) {
        meta.peer = peer;
        meta.peer_tag = tag;
        meta.outer_kind = sa_kind_t.TUNNEL;
    }

    @name(".unauthorized") @id(ACTION_UNAUTHORIZED_NVE)
    action unauthorized() {
        meta.drop_reason = drop_reason_t.UNAUTHORIZED_NVE;
    }

    @name(".authorized_nve") @id(TABLE_AUTHORIZED_NVE)
    table authorized_nve {
        key = {
            source: exact @name("source");
            destination: exact @name("destination");
        }
        actions = { permit; @defaultonly unauthorized; }
        const default_action = unauthorized();
        size = AUTHORIZED_NVE_SIZE;
    }

    action bind_geneve() {
        meta.bound.a0 = hdr.geneve.version ++ hdr.geneve.option_words ++ hdr.geneve.oam ++ hdr.geneve.critical
                        ++ hdr.geneve.reserved1 ++ hdr.geneve.protocol;
        meta.bound.a1 = hdr.geneve.vni ++ hdr.geneve.reserved2;
    }

    apply {
        outer_validation.apply(hdr, meta, ipv4_checksum_wrong);
        source = IPV4_MAPPED ++ hdr.ipv4.src;
        destination = IPV4_MAPPED ++ hdr.ipv4.dst;
        if (meta.drop_reason == drop_reason_t.NONE) {
            if (meta.self.incarnation_agrees != 1) {
                meta.drop_reason = drop_reason_t.INCARNATION;
            } else if (authorized_nve.apply().hit) {
                if (meta.self.lease_granted != 1) {
                    meta.drop_reason = drop_reason_t.LEASE_ABSENT;
                } else if (now >= meta.self.lease_not_after) {
                    meta.drop_reason = drop_reason_t.LEASE_EXPIRED;
                } else {
                    bind_geneve();
                }
            }
        }
    }
}

#endif
