/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SECURE_RECEPTION
#define NVO3SEC_SECURE_RECEPTION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "../crypto/chaskey.p4"
#include "replay_window.p4"

/* From an authorized sender to a verified packet, in the order of RFC 4303 3.4 with a packet filter ahead of it (section 7.3
 * of the requirements draft): everything that can be refused without cryptography is. There is one instance, whatever the
 * outer headers were: the outer part has filled in meta.bound.a0 and a1. */
control SecureReception(in headers_t hdr, inout metadata_t meta, in port_t ingress_port, in time_us_t now) {
    ReplayWindow() window;
    ChaskeyIcv() chaskey_icv;
    bit<128> icv;
    @name(".peer_meter_rate") DIRECT_METER(peer_meter_rate);
    @name(".sa_rx_use") DIRECT_COUNTER(sa_rx_use);

    /* not_after: hard limit of the key, microseconds of the switch clock. pair: which two replay rings. incarnation: of this
     * switch, as it stands in the key's derivation. min_coverage: bytes, 0xFFFF for the whole frame. */
    @name(".accept") @id(ACTION_SA_RX_ACCEPT)
    action accept(@id(1) bit<8> suite, @id(2) key128_t key, @id(3) bit<16> min_coverage, @id(4) bit<RING_PAIR_BITS> pair,
                  @id(5) generation_t generation, @id(6) time_us_t not_after, @id(7) incarnation_t incarnation) {
        meta.sa_rx.suite = suite;
        meta.sa_rx.key = key;
        meta.sa_rx.min_coverage = min_coverage;
        meta.sa_rx.pair = pair;
        meta.sa_rx.generation = generation;
        meta.sa_rx.not_after = not_after;
        meta.sa_rx.incarnation = incarnation;
    }

    @name(".no_sa") @id(ACTION_NO_SA_RX)
    action no_sa() {
        meta.drop_reason = drop_reason_t.NO_SA;
    }

    @name(".sa_rx") @id(TABLE_SA_RX)
    table sa_rx {
        key = {
            hdr.ipv4.src: exact @name("source");
            hdr.ipv4.dst: exact @name("destination");
            hdr.protection.spi: exact @name("spi");
        }
        actions = { accept; @defaultonly no_sa; }
        const default_action = no_sa();
        COUNTED_BY(sa_rx_use);
        size = SA_SIZE;
    }

    @name(".police") @id(ACTION_PEER_METER_POLICE)
    action police() {
        METER_READ(peer_meter_rate, meta.colour);
    }

    @name(".no_meter") @id(ACTION_PEER_METER_MISSING)
    action no_meter() {
        meta.drop_reason = drop_reason_t.PEER_METER_MISSING;
    }

    @name(".peer_meter") @id(TABLE_PEER_METER)
    table peer_meter {
        key = {
            ingress_port: exact @name("port");
            hdr.ipv4.src: exact @name("source");
        }
        actions = { police; @defaultonly no_meter; }
        const default_action = no_meter();
        METERED_BY(peer_meter_rate);
        size = PEER_METER_SIZE;
    }

    action bind_protection() {
        meta.bound.a2 = hdr.protection.option_class ++ hdr.protection.option_type ++ hdr.protection.reserved
                        ++ hdr.protection.data_words;
        meta.bound.a3 = hdr.protection.spi;
        meta.bound.a4 = hdr.protection.sequence[63:32];
        meta.bound.a5 = hdr.protection.sequence[31:0];
        meta.bound.a6 = hdr.protection.coverage ++ hdr.protection.suite ++ hdr.protection.flags;
    }

    apply {
        if (sa_rx.apply().hit) {
            if (meta.sa_rx.incarnation != meta.self.incarnation) {
                meta.drop_reason = drop_reason_t.SA_INCARNATION;
            } else if (now >= meta.sa_rx.not_after) {
                meta.drop_reason = drop_reason_t.SA_EXPIRED;
            } else if (hdr.protection.suite != meta.sa_rx.suite) {
                meta.drop_reason = drop_reason_t.SUITE_MISMATCH;
            } else if (meta.sa_rx.suite != SUITE_CHASKEY12) {
                meta.drop_reason = drop_reason_t.SUITE_UNSUPPORTED;
            } else if (hdr.protection.coverage != meta.frame_length
                       && (hdr.protection.coverage < meta.sa_rx.min_coverage
                           || hdr.protection.coverage < FRAME_HEAD_LENGTH
                           || hdr.protection.coverage > meta.frame_length
                           || hdr.protection.coverage[3:0] != 0)) {
                meta.drop_reason = drop_reason_t.COVERAGE;
            }
        }
        if (meta.drop_reason == drop_reason_t.NONE) {
            window.apply(hdr, meta, 0);
        }
        if (meta.drop_reason == drop_reason_t.NONE) {
            if (peer_meter.apply().hit && meta.colour == COLOUR_RED) {
                meta.drop_reason = drop_reason_t.PEER_RATE;
            }
        }
        if (meta.drop_reason == drop_reason_t.NONE) {
            /* One branch a suite; the test above has left only those that are implemented. */
            bind_protection();
            chaskey_icv.apply(hdr, meta.bound, meta.sa_rx.key, meta.frame_length, icv);
            if (icv != hdr.protection.icv) {
                meta.drop_reason = drop_reason_t.BAD_ICV;
            } else {
                window.apply(hdr, meta, 1);
            }
        }
    }
}

#endif
