/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_REPLAY_WINDOW
#define NVO3SEC_REPLAY_WINDOW

#include "arch.p4"
#include "../common/headers.p4"
#include "../common/metadata.p4"

/* Packets that may be accepted behind the highest sequence: one slot of 32 is always being refilled. */
const bit<64> REPLAY_WINDOW = 32 * ((1 << RING_SLOT_BITS) - 1);               /* of tunnels and links: 8160 packets */
const bit<64> REPLAY_WINDOW_GROUP = 32 * ((1 << RING_SLOT_BITS_GROUP) - 1);   /* of groups: 2016 packets */

/* A sliding window (RFC 4303 3.4.3, RFC 6479) per pair and phase, as a ring of slots that heals itself: everything in it
 * names the generation of the key it belongs to, so a newer key finds it empty and an older one finds it closed. Nothing
 * ever has to be cleared from outside. A pair is one peer at one level. The kind of the SA chooses the half of the
 * registers and the size of the ring, one body serves both.
 *
 * The window is looked at twice with the same action body: before the ICV (read only: a replay costs no cryptography),
 * and after it, when the result of the read-modify-write decides. Reads and writes stand in one action each, because BMv2
 * holds a register array's lock for the whole of an action. */
control ReplayWindow(in headers_t hdr, inout metadata_t meta, in bit<1> committing) {
    @name(".replay_slot") register<bit<128>>(RING_SLOT_COUNT) replay_slot;   /* generation 32, block number 64, bitmap 32 */
    @name(".replay_highest") register<bit<96>>(RING_COUNT) replay_highest;   /* generation 32, highest accepted sequence 64 */

    bit<16> ring;
    bit<22> slot_index;
    bit<64> window;
    bit<96> highest;
    bit<128> slot;
    bit<64> block_number;
    bit<32> mask;
    bit<64> floor;
    bit<1> stale_generation;
    bit<1> too_late;
    bit<1> replayed;
    bit<32> bitmap;

    action choose_ring() {
        ring = 1w0 ++ 2w0 ++ meta.sa_rx.pair[11:0] ++ hdr.protection.spi[31:31];
        slot_index = 1w0 ++ meta.sa_rx.pair[11:0] ++ hdr.protection.spi[31:31] ++ hdr.protection.sequence[4 + RING_SLOT_BITS:5];
        window = REPLAY_WINDOW;
    }

    action choose_group_ring() {
        ring = 1w1 ++ meta.sa_rx.pair ++ hdr.protection.spi[31:31];
        slot_index = 1w1 ++ meta.sa_rx.pair ++ hdr.protection.spi[31:31]
                     ++ hdr.protection.sequence[4 + RING_SLOT_BITS_GROUP:5];
        window = REPLAY_WINDOW_GROUP;
    }

    action look() {
        replay_highest.read(highest, (bit<32>)ring);
        replay_slot.read(slot, (bit<32>)slot_index);
        block_number = hdr.protection.sequence >> 5;
        mask = 32w1 << hdr.protection.sequence[4:0];

        stale_generation = meta.sa_rx.generation < highest[95:64] || meta.sa_rx.generation < slot[127:96] ? 1w1 : 1w0;
        /* The sequence 0 is never sent, so a window that starts at 0 has no special case. */
        floor = meta.sa_rx.generation == highest[95:64] && highest[63:0] > window ? highest[63:0] - window : 64w0;
        too_late = hdr.protection.sequence <= floor ? 1w1 : 1w0;
        bitmap = meta.sa_rx.generation == slot[127:96] && block_number == slot[95:32] ? slot[31:0] : 32w0;
        replayed = bitmap & mask != 0 ? 1w1 : 1w0;
    }

    action commit() {
        look();
        bit<1> accepted = ~(stale_generation | too_late | replayed);
        slot = accepted == 1 ? meta.sa_rx.generation ++ block_number ++ (bitmap | mask) : slot;
        bit<1> ahead = accepted == 1 && (meta.sa_rx.generation != highest[95:64]
                                         || hdr.protection.sequence > highest[63:0]) ? 1w1 : 1w0;
        highest = ahead == 1 ? meta.sa_rx.generation ++ hdr.protection.sequence : highest;
        replay_slot.write((bit<32>)slot_index, slot);
        replay_highest.write((bit<32>)ring, highest);
    }

    apply {
        if (meta.sa_rx.kind == sa_kind_t.GROUP || meta.sa_rx.kind == sa_kind_t.LINK_GROUP) {
            choose_group_ring();
        } else {
            choose_ring();
        }
        if (committing == 1) {
            commit();
            if (stale_generation == 1) {
                meta.drop_reason = drop_reason_t.COMMIT_GENERATION;
            } else if (too_late == 1) {
                meta.drop_reason = drop_reason_t.COMMIT_TOO_LATE;
            } else if (replayed == 1) {
                meta.drop_reason = drop_reason_t.COMMIT_REPLAYED;
            }
        } else {
            look();
            if (stale_generation == 1) {
                meta.drop_reason = drop_reason_t.REPLAY_GENERATION;
            } else if (too_late == 1) {
                meta.drop_reason = drop_reason_t.REPLAY_TOO_LATE;
            } else if (replayed == 1) {
                meta.drop_reason = drop_reason_t.REPLAYED;
            }
        }
    }
}

#endif
