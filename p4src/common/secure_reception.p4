/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SECURE_RECEPTION
#define NVO3SEC_SECURE_RECEPTION

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "../crypto/ascon.p4"
#include "../crypto/chaskey.p4"
#include "replay_window.p4"

/* From an authorized sender to a verified packet, in the order of RFC 4303 3.4 with a packet filter ahead of it (section 7.3
 * of the requirements draft): everything that can be refused without cryptography is. There is one instance, whatever the
 * outer headers were: the outer part has filled in meta.peer and its tag, meta.outer_kind, meta.bound.
 *
 * No meter that honest packets always meet stands in front of the cipher, since whoever has copied one SPI could drain it. What
 * is charged are failures: a peer that has too many is in penalty for a while, and only then is what comes under its addresses
 * held to its floor. */
control SecureReception(inout headers_t hdr, inout metadata_t meta, in time_us_t now) {
    ReplayWindow() window;
    ChaskeyIcv() chaskey_icv;
    AsconAead128(true) ascon_opening;
    bit<128> icv;
    bit<1> in_penalty;
    @name(".peer_meter_rate") DIRECT_METER(peer_meter_rate);
    @name(".peer_floor_rate") DIRECT_METER(peer_floor_rate);
    @name(".sa_rx_use") DIRECT_COUNTER(sa_rx_use);
    @name(".penalty_until") REGISTER(time_us_t, PEER_COUNT, penalty_until);   /* microseconds of the switch clock */

    /* not_after: hard limit of the key, microseconds of the switch clock. pair: which two replay rings. tag: of the addresses
     * that the key was derived from. incarnation: of this switch, as it stands there. min_coverage: bytes, 0xFFFF for the
     * whole frame. link, vlan: of SAs of links, 0 for all others. */
    @name(".accept") @id(ACTION_SA_RX_ACCEPT)
    action accept(@id(1) bit<8> suite, @id(2) bit<8> level, @id(3) sa_kind_t kind, @secret @id(4) key128_t key,
                  @id(5) bit<16> min_coverage, @id(6) bit<RING_PAIR_BITS> pair, @id(7) peer_tag_t tag,
                  @id(8) generation_t generation, @id(9) time_us_t not_after, @id(10) incarnation_t incarnation,
                  @id(11) bit<16> link, @id(12) bit<12> vlan) {
        meta.sa_rx.suite = suite;
        meta.sa_rx.level = level;
        meta.sa_rx.kind = kind;
        meta.sa_rx.key = key;
        meta.sa_rx.min_coverage = min_coverage;
        meta.sa_rx.pair = pair;
        meta.sa_rx.tag = tag;
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
            meta.peer: exact @name("peer");
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

    @name(".no_meter") @id(ACTION_PEER_METER_NONE)
    action no_meter() {
        meta.colour = COLOUR_RED;
    }

    /* Of packets that did not verify, and of nothing else: it is applied only then. */
    @name(".peer_meter") @id(TABLE_PEER_METER)
    table peer_meter {
        key = { meta.peer: exact @name("peer"); }
        actions = { police; @defaultonly no_meter; }
        const default_action = no_meter();
        METERED_BY(peer_meter_rate);
        size = PEER_COUNT;
    }

    @name(".police_floor") @id(ACTION_PEER_FLOOR_POLICE)
    action police_floor() {
        METER_READ(peer_floor_rate, meta.colour);
    }

    @name(".no_floor") @id(ACTION_PEER_FLOOR_NONE)
    action no_floor() {
        meta.drop_reason = drop_reason_t.PEER_METER_MISSING;
    }

    /* What is verified of a peer in penalty. */
    @name(".peer_floor") @id(TABLE_PEER_FLOOR)
    table peer_floor {
        key = { meta.peer: exact @name("peer"); }
        actions = { police_floor; @defaultonly no_floor; }
        const default_action = no_floor();
        METERED_BY(peer_floor_rate);
        size = PEER_COUNT;
    }

    action look_at_penalty() {
        time_us_t until;
        REGISTER_READ(penalty_until, until, 17w0 ++ meta.peer[14:0]);
        in_penalty = now < until ? 1w1 : 1w0;
    }

    action begin_penalty() {
        REGISTER_WRITE(penalty_until, 17w0 ++ meta.peer[14:0], now + PENALTY_US);
    }

    /* What does not verify leaves nothing behind: no plaintext of a forgery, which a suite that decrypts has written by then, and
     * nothing that a later packet could meet in a header that it does not have. */
    action wipe_frame() {
        hdr.addresses.dst = 0;
        hdr.addresses.src = 0;
        hdr.frame_type.ether_type = 0;
        hdr.frame_type.first = 0;
        for (bit<16> i = 0; i < (meta.frame_length - FRAME_HEAD_LENGTH) >> 4; i = i + 1) {
            hdr.block[i].w0 = 0;
            hdr.block[i].w1 = 0;
            hdr.block[i].w2 = 0;
            hdr.block[i].w3 = 0;
        }
        hdr.tail8.data = 0;
        hdr.tail4.data = 0;
        hdr.tail2.data = 0;
        hdr.tail1.data = 0;
        meta.tail = 0;
    }

    apply {
        if (sa_rx.apply().hit) {
            if (meta.sa_rx.incarnation != meta.self.incarnation) {
                meta.drop_reason = drop_reason_t.SA_INCARNATION;
            } else if (now >= meta.sa_rx.not_after) {
                meta.drop_reason = drop_reason_t.SA_EXPIRED;
            } else if (meta.sa_rx.tag != meta.peer_tag || meta.peer[15:15] == 1) {
                /* A number that there is not would share the penalties of another. */
                meta.drop_reason = drop_reason_t.SA_PEER;
            } else if (meta.sa_rx.kind != meta.outer_kind || meta.sa_rx.pair[13:12] != 0) {
                /* Nor is there such a pair in the half of tunnels: it would share the rings of another. No outer header leads
                 * to the other half yet. */
                meta.drop_reason = drop_reason_t.SA_KIND;
            } else if (hdr.protection.suite != meta.sa_rx.suite) {
                meta.drop_reason = drop_reason_t.SUITE_MISMATCH;
            } else if (meta.sa_rx.suite != SUITE_CHASKEY12 && meta.sa_rx.suite != SUITE_ASCON_AEAD128) {
                meta.drop_reason = drop_reason_t.SUITE_UNSUPPORTED;
            } else if (meta.sa_rx.level > LEVEL_CONFIDENTIALITY
                       || (meta.sa_rx.suite == SUITE_CHASKEY12 && meta.sa_rx.level > LEVEL_INTEGRITY)) {
                meta.drop_reason = drop_reason_t.SA_LEVEL;
            } else if (hdr.protection.coverage != meta.frame_length
                       && (meta.sa_rx.suite != SUITE_CHASKEY12  /* others know no part of a frame */
                           || hdr.protection.coverage < meta.sa_rx.min_coverage
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
            look_at_penalty();
            if (in_penalty == 1) {
                if (peer_floor.apply().hit && meta.colour == COLOUR_RED) {
                    meta.drop_reason = drop_reason_t.PEER_RATE;
                }
            }
        }
        if (meta.drop_reason == drop_reason_t.NONE) {
            /* One branch a suite; the test above has left only those that are implemented. */
            if (meta.sa_rx.suite == SUITE_CHASKEY12) {
                chaskey_icv.apply(hdr, meta.bound, meta.sa_rx.key, meta.frame_length, icv);
            } else {
                ascon_opening.apply(hdr, meta.tail, meta.bound, meta.sa_rx.key, meta.frame_length, icv);
            }
            if (icv != hdr.protection.icv) {
                meta.drop_reason = drop_reason_t.BAD_ICV;
                wipe_frame();
                peer_meter.apply();
                if (meta.colour == COLOUR_RED) {
                    begin_penalty();
                }
            } else {
                window.apply(hdr, meta, 1);
            }
        }
    }
}

#endif
