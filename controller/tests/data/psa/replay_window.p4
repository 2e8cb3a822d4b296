/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_REPLAY_WINDOW
#define NVO3SEC_REPLAY_WINDOW

#include "arch.p4"

/* A window of one packet: what a target keeps here is its own, the parameters are not. */
control ReplayWindow(in headers_t hdr, inout metadata_t meta, in bit<1> committing) {
    Register<sequence_t, bit<RING_PAIR_BITS>>(1 << RING_PAIR_BITS) highest;

    apply {
        if (hdr.protection.sequence <= highest.read(meta.sa_rx.pair)) {
            meta.drop_reason = committing == 1 ? drop_reason_t.COMMIT_REPLAYED : drop_reason_t.REPLAYED;
        } else if (committing == 1) {
            highest.write(meta.sa_rx.pair, hdr.protection.sequence);
        }
    }
}

#endif
