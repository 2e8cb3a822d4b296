/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SWITCH_SELF
#define NVO3SEC_SWITCH_SELF

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* What the agent has told the switch about itself: the incarnation and the lease. Both default to "none", which lets no
 * tunnel carry anything in either direction.
 *
 * The incarnation is an entry, which the agent reads back, and a register in each pipeline, which dies together with the
 * sequence numbers and the replay windows. Whatever resets those makes the register disagree with the entry. */
control SwitchSelf(in headers_t hdr, inout metadata_t meta) {
    @name(".incarnation_ingress") REGISTER(incarnation_t, 1, incarnation_ingress);

    @name(".set_incarnation") @id(ACTION_INCARNATION_SET)
    action set_incarnation(@id(1) incarnation_t incarnation) {
        meta.self.incarnation = incarnation;
    }

    @name(".no_incarnation") @id(ACTION_INCARNATION_NONE)
    action no_incarnation() {
        meta.self.incarnation = 0;
    }

    @name(".incarnation") @id(TABLE_INCARNATION)
    table incarnation {
        actions = { set_incarnation; no_incarnation; }
        default_action = no_incarnation();
    }

    @name(".grant") @id(ACTION_LEASE_GRANT)
    action grant(@id(1) time_us_t not_after) {
        meta.self.lease_granted = 1;
        meta.self.lease_not_after = not_after;
    }

    @name(".no_lease") @id(ACTION_LEASE_NONE)
    action no_lease() {
        meta.self.lease_granted = 0;
        meta.self.lease_not_after = 0;
    }

    @name(".lease") @id(TABLE_LEASE)
    table lease {
        actions = { grant; no_lease; }
        default_action = no_lease();
    }

    action compare_register() {
        incarnation_t current;
        REGISTER_READ(incarnation_ingress, current, 0);
        meta.self.incarnation_agrees = current == meta.self.incarnation && current != 0 ? 1w1 : 1w0;
    }

    apply {
        if (hdr.incarnation.isValid()) {
            REGISTER_WRITE(incarnation_ingress, 0, hdr.incarnation.value);
        }
        incarnation.apply();
        lease.apply();
        compare_register();
    }
}

#endif
