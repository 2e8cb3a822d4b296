/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SECURE_SENDING
#define NVO3SEC_SECURE_SENDING

#include "arch.p4"
#include "sequence.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "../crypto/ascon.p4"
#include "../crypto/chaskey.p4"

/* One copy of a frame under the key of its own tunnel: SA, sequence number, ICV. It stands in egress, so that every replica
 * gets its own. There is no unprotected way out, and one instance, whatever the outer headers are: the outer part has filled
 * in meta.bound.a0 to a2. */
control SecureSending(inout headers_t hdr, inout metadata_t meta, in time_us_t now) {
    ChaskeyIcv() chaskey_icv;
    AsconAead128(false) ascon_sealing;
    @name(".sequence") SEQUENCE(sequence);
    @name(".sa_tx_use") DIRECT_COUNTER(sa_tx_use);

    sequence_t next_sequence;
    bit<128> icv;

    /* The SA and the next sequence number are taken in one action, by one field: were they found by two, a key could meet a
     * number twice. The number counts up for the tunnel, whatever its key: it starts at 1 in each incarnation and never goes
     * back within one. 2^64 numbers do not run out. */
    @name(".protect") @id(ACTION_SA_TX_PROTECT)
    action protect(@id(1) bit<8> suite, @id(2) bit<8> level, @secret @id(3) key128_t key, @id(4) spi_t spi,
                   @id(5) time_us_t not_after, @id(6) incarnation_t incarnation) {
        SEQUENCE_NEXT(sequence, meta.sa_interface, next_sequence);
        meta.sa_tx.suite = suite;
        meta.sa_tx.level = level;
        meta.sa_tx.key = key;
        meta.sa_tx.spi = spi;
        meta.sa_tx.sequence = next_sequence;
        meta.sa_tx.not_after = not_after;
        meta.sa_tx.incarnation = incarnation;
    }

    @name(".no_sa_tx") @id(ACTION_NO_SA_TX)
    action no_sa_tx() {
        meta.drop_reason = drop_reason_t.TX_NO_SA;
    }

    @name(".sa_tx") @id(TABLE_SA_TX)
    table sa_tx {
        key = {
            meta.sa_interface: exact @name("interface");
            meta.level: exact @name("level");
        }
        actions = { protect; @defaultonly no_sa_tx; }
        const default_action = no_sa_tx();
        COUNTED_BY(sa_tx_use);
        size = SA_SIZE;
    }

    action add_protection() {
        hdr.protection.spi = meta.sa_tx.spi;
        hdr.protection.sequence = meta.sa_tx.sequence;
        hdr.protection.coverage = meta.frame_length;
        hdr.protection.suite = meta.sa_tx.suite;
        hdr.protection.flags = 0;
        meta.bound.a3 = meta.sa_tx.spi;
        meta.bound.a4 = meta.sa_tx.sequence[63:32];
        meta.bound.a5 = meta.sa_tx.sequence[31:0];
        meta.bound.a6 = meta.frame_length ++ meta.sa_tx.suite ++ 8w0;
    }

    action report_sequence() {
        SEQUENCE_LAST(sequence, meta.sa_interface, meta.sa_tx.sequence);
    }

    apply {
        if (meta.punt == 1) {
            report_sequence();
        } else if (sa_tx.apply().hit) {
            if (meta.sa_tx.incarnation != meta.self.incarnation) {
                meta.drop_reason = drop_reason_t.TX_SA_INCARNATION;
            } else if (now >= meta.sa_tx.not_after) {
                meta.drop_reason = drop_reason_t.TX_SA_EXPIRED;
            } else if (meta.sa_tx.level < meta.level) {
                meta.drop_reason = drop_reason_t.TX_SUITE_TOO_WEAK;
            } else if (meta.sa_tx.suite != SUITE_CHASKEY12 && meta.sa_tx.suite != SUITE_ASCON_AEAD128) {
                meta.drop_reason = drop_reason_t.TX_SUITE_UNSUPPORTED;
            } else if (meta.sa_tx.level > LEVEL_CONFIDENTIALITY
                       || (meta.sa_tx.suite == SUITE_CHASKEY12 && meta.sa_tx.level > LEVEL_INTEGRITY)) {
                meta.drop_reason = drop_reason_t.TX_SA_LEVEL;
            } else {
                add_protection();
                /* One branch a suite. Nothing behind this may read the frame: it could be encrypted. */
                if (meta.sa_tx.suite == SUITE_CHASKEY12) {
                    chaskey_icv.apply(hdr, meta.bound, meta.sa_tx.key, meta.frame_length, icv);
                } else {
                    ascon_sealing.apply(hdr, meta.tail, meta.bound, meta.sa_tx.key, meta.frame_length, icv);
                }
                hdr.protection.icv = icv;
            }
        }
    }
}

#endif
