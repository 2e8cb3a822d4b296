/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_UNDERLAY_ROUTE
#define NVO3SEC_UNDERLAY_ROUTE

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* Which of the ways to a peer a frame takes: a port and a next hop there, by a slice of the flow's hash of its own. Replicas and
 * what the agent sends have theirs already. */
control UnderlayRoute(inout metadata_t meta) {
    bit<6> bucket;

    @name(".via") @id(ACTION_UNDERLAY_MEMBER_VIA)
    action via(@id(1) port_t port, @id(2) bit<16> hop) {
        meta.egress_port = port;
        meta.hop = hop;
    }

    @name(".no_member") @id(ACTION_UNDERLAY_MEMBER_NONE)
    action no_member() {
        meta.drop_reason = drop_reason_t.NO_UNDERLAY_MEMBER;
    }

    /* Exact entries, each a bucket: a way that fails loses its buckets to others, and no other flow moves (what an action
     * selector of BMv2 does not do, which takes the hash modulo the number of members). */
    @name(".underlay_member") @id(TABLE_UNDERLAY_MEMBER)
    table underlay_member {
        key = {
            meta.underlay_group: exact @name("group");
            bucket: exact @name("bucket");
        }
        actions = { via; @defaultonly no_member; }
        const default_action = no_member();
        size = UNDERLAY_MEMBER_SIZE;
    }

    apply {
        bucket = meta.flow_hash[21:16];
        underlay_member.apply();
    }
}

#endif
