/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_EGRESS_SELF
#define NVO3SEC_EGRESS_SELF

#include "arch.p4"
#include "headers.p4"
#include "metadata.p4"

/* The egress pipeline's own register of the incarnation: a pipeline that lost its sequence numbers has lost this too. */
control EgressSelf(in headers_t hdr, in metadata_t meta, out bit<1> egress_agrees) {
    REGISTER(incarnation_t, 1, incarnation_egress);

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
    }
}

#endif
