/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_PORT_ROLES
#define NVO3SEC_PORT_ROLES

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"

/* A port does nothing before it has a role, and only the role that its number allows. */
control PortRoles(inout metadata_t meta, in port_t ingress_port) {
    @name(".access") @id(ACTION_PORT_ACCESS)
    action access() {
        meta.port_is_underlay = 0;
    }

    /* mac: the port's own; frames to another one are not for this NVE. */
    @name(".underlay") @id(ACTION_PORT_UNDERLAY)
    action underlay(@id(1) mac_t mac) {
        meta.port_is_underlay = 1;
        meta.port_mac = mac;
    }

    @name(".unconfigured") @id(ACTION_PORT_UNCONFIGURED)
    action unconfigured() {
        meta.drop_reason = drop_reason_t.PORT_UNCONFIGURED;
    }

    @name(".port_role") @id(TABLE_PORT_ROLE)
    table port_role {
        key = { ingress_port: exact @name("port"); }
        actions = { access; underlay; @defaultonly unconfigured; }
        const default_action = unconfigured();
        size = PORT_ROLE_SIZE;
    }

    apply {
        if (port_role.apply().hit) {
            if (meta.port_is_underlay != PORT_IS_UNDERLAY(ingress_port)) {
                meta.drop_reason = drop_reason_t.PORT_ROLE_MISMATCH;
            }
        }
    }
}

#endif
