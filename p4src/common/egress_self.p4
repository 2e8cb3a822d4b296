/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_EGRESS_SELF
#define NVO3SEC_EGRESS_SELF

#include "arch.p4"
#include "headers.p4"
#include "metadata.p4"

/* The egress pipeline's own register of the incarnation: a pipeline that lost its sequence numbers has lost this too. Without
 * agreement, and without a lease, nothing is sent under a key. */
control EgressSelf(in headers_t hdr, inout metadata_t meta, in time_us_t now, out bit<1> egress_agrees) {
    @name(".incarnation_egress") REGISTER(incarnation_t, 1, incarnation_egress);

    action compare_register() {
        incarnation_t current;
        REGISTER_READ(incarnation_egress, current, 0);
        egress_agrees = current == meta.self.incarnation && current != 0 ? 1w1 : 1w0;
    }

    apply {
        if (hdr.incarnation.isValid()) {
            REGISTER_WRITE(incarnation_egress, 0, hdr.incarnation.value);
        }
        compare_register();
        if (meta.punt == 0) {
            if ((meta.self.incarnation_agrees & egress_agrees) != 1) {
                meta.drop_reason = drop_reason_t.TX_INCARNATION;
            } else if (meta.self.lease_granted != 1) {
                meta.drop_reason = drop_reason_t.TX_LEASE_ABSENT;
            } else if (now >= meta.self.lease_not_after) {
                meta.drop_reason = drop_reason_t.TX_LEASE_EXPIRED;
            }
        }
    }
}

#endif
