/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_FLOW_ENTROPY
#define NVO3SEC_FLOW_ENTROPY

#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "flow_block.p4"
#include "../crypto/chaskey.p4"

/* A keyed hash of the inner flow for what goes into tunnels, the same for all its replicas: of it the source port of the
 * outer UDP header is made (RFC 8926 3.3). */
control FlowEntropy(in headers_t hdr, inout metadata_t meta) {
    ChaskeyHash() flow_hash;
    FlowBlock() flow_block;

    @secret
    key128_t entropy_key;
    bit<1> entropy_keyed;
    bit<128> flow;

    @name(".keyed") @id(ACTION_FLOW_ENTROPY_KEYED)
    action keyed(@secret @id(1) key128_t key) {
        entropy_key = key;
        entropy_keyed = 1;
    }

    @name(".not_keyed") @id(ACTION_FLOW_ENTROPY_NONE)
    action not_keyed() {
        entropy_key = 0;
        entropy_keyed = 0;
    }

    /* Without a key the source port is constant: less spreading, but nothing of the tenant's flows shows. */
    @name(".flow_entropy") @id(TABLE_FLOW_ENTROPY)
    table flow_entropy {
        actions = { keyed; not_keyed; }
        default_action = not_keyed();
    }

    apply {
        meta.flow_hash = 0;
        flow_entropy.apply();
        if (entropy_keyed == 1) {
            flow_block.apply(hdr, meta, flow);
            flow_hash.apply(entropy_key, flow, meta.flow_hash);
        }
    }
}

#endif
