/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_TUNNEL_ADMISSION
#define NVO3SEC_TUNNEL_ADMISSION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "outer_validation.p4"
#include "udp_checksum.p4"

/* The outer part of a packet from the underlay: who may send to this NVE at all. What it binds goes to SecureReception. */
control TunnelAdmission(in headers_t hdr, inout metadata_t meta, in time_us_t now, in bit<1> ipv4_checksum_wrong) {
    OuterValidation() outer_validation;
    UdpChecksum() udp_checksum;
    bit<16> sum;

    /* tag: of the pair of addresses, which the SA must repeat. zero_checksum: whether its UDP checksum may be zero over IPv6;
     * over IPv4 it always is. */
    @name(".permit") @id(ACTION_AUTHORIZED_NVE_PERMIT)
    action permit(@id(1) peer_t peer, @id(2) peer_tag_t tag, @id(3) bit<1> zero_checksum) {
        meta.peer = peer;
        meta.peer_tag = tag;
        meta.outer_kind = sa_kind_t.TUNNEL;
        meta.outer.zero_checksum = zero_checksum;
    }

    @name(".unauthorized") @id(ACTION_UNAUTHORIZED_NVE)
    action unauthorized() {
        meta.drop_reason = drop_reason_t.UNAUTHORIZED_NVE;
    }

    @name(".authorized_nve") @id(TABLE_AUTHORIZED_NVE)
    table authorized_nve {
        key = {
            meta.outer.source: exact @name("source");
            meta.outer.destination: exact @name("destination");
        }
        actions = { permit; @defaultonly unauthorized; }
        const default_action = unauthorized();
        size = AUTHORIZED_NVE_SIZE;
    }

    action bind_protection() {
        meta.bound.a2 = hdr.protection.option_class ++ hdr.protection.option_type ++ hdr.protection.reserved
                        ++ hdr.protection.data_words;
        meta.bound.a3 = hdr.protection.spi;
        meta.bound.a4 = hdr.protection.sequence[63:32];
        meta.bound.a5 = hdr.protection.sequence[31:0];
        meta.bound.a6 = hdr.protection.coverage ++ hdr.protection.suite ++ hdr.protection.flags;
    }

    action bind_geneve() {
        meta.bound.a0 = hdr.geneve.version ++ hdr.geneve.option_words ++ hdr.geneve.oam ++ hdr.geneve.critical
                        ++ hdr.geneve.reserved1 ++ hdr.geneve.protocol;
        meta.bound.a1 = hdr.geneve.vni ++ hdr.geneve.reserved2;
    }

    apply {
        outer_validation.apply(hdr, meta, ipv4_checksum_wrong);
        if (hdr.ipv6.isValid()) {
            meta.outer.source = hdr.ipv6.src;
            meta.outer.destination = hdr.ipv6.dst;
            meta.outer.ecn = hdr.ipv6.ecn;
        } else {
            meta.outer.source = IPV4_MAPPED ++ hdr.ipv4.src;
            meta.outer.destination = IPV4_MAPPED ++ hdr.ipv4.dst;
            meta.outer.ecn = hdr.ipv4.ecn;
        }
        if (meta.drop_reason == drop_reason_t.NONE) {
            if (meta.self.incarnation_agrees != 1) {
                meta.drop_reason = drop_reason_t.INCARNATION;
            } else if (hdr.ipv6.isValid()
                       && (hdr.ipv6.src[127:32] == IPV4_MAPPED || hdr.ipv6.dst[127:32] == IPV4_MAPPED)) {
                meta.drop_reason = drop_reason_t.UNAUTHORIZED_NVE;   /* they are the table's names for others */
            } else if (authorized_nve.apply().hit) {
                if (meta.self.lease_granted != 1) {
                    meta.drop_reason = drop_reason_t.LEASE_ABSENT;
                } else if (now >= meta.self.lease_not_after) {
                    meta.drop_reason = drop_reason_t.LEASE_EXPIRED;
                } else {
                    bind_geneve();
                    bind_protection();
                    /* Over IPv6 UDP has the only checksum of the addresses (RFC 8200 8.1). */
                    if (hdr.ipv6.isValid()) {
                        if (hdr.udp.checksum != 0) {
                            udp_checksum.apply(hdr, meta, hdr.protection.icv, sum);
                            if (sum != 0xFFFF) {
                                meta.drop_reason = drop_reason_t.UDP_CHECKSUM;
                            }
                        } else if (meta.outer.zero_checksum == 0) {
                            meta.drop_reason = drop_reason_t.UDP_CHECKSUM;
                        }
                    }
                }
            }
        }
    }
}

#endif
