/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_STORM_CONTROL
#define NVO3SEC_STORM_CONTROL

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* How many frames a VAP may have replicated: each costs a copy for every member of its VN. Asked before the meter of the VN,
 * so that what is over it takes nothing from the others. */
control StormControl(inout metadata_t meta) {
    @name(".vap_flood_rate") DIRECT_METER(vap_flood_rate);

    @name(".police_flood") @id(ACTION_VAP_FLOOD_POLICE)
    action police_flood() {
        METER_READ(vap_flood_rate, meta.colour);
    }

    @name(".forbid_flood") @id(ACTION_VAP_FLOOD_FORBIDDEN)
    action forbid_flood() {
        meta.drop_reason = drop_reason_t.FLOOD_METER_MISSING;
    }

    @name(".vap_flood") @id(TABLE_VAP_FLOOD)
    table vap_flood {
        key = { meta.ingress_interface: exact @name("interface"); }
        actions = { police_flood; @defaultonly forbid_flood; }
        const default_action = forbid_flood();
        METERED_BY(vap_flood_rate);
        size = VAP_SIZE;
    }

    apply {
        vap_flood.apply();
        if (meta.colour == COLOUR_RED) {   /* of this meter: what an earlier one found red has not come this far */
            meta.drop_reason = drop_reason_t.VAP_FLOOD_RATE;
        }
    }
}

#endif
