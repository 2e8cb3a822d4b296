/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_EGRESS
#define NVO3SEC_EGRESS

#include "arch.p4"
#include "../common/egress_self.p4"
#include "../common/encapsulation.p4"
#include "../common/secure_sending.p4"
#include "../common/outer_checksum.p4"
#include "../common/vap_egress.p4"

/* Runs once for every copy: to the agent, into a tunnel, or to a VAP. */
control NveEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    EgressSelf() egress_self;
    Encapsulation() encapsulation;
    SecureSending() secure_sending;
    OuterChecksum() outer_checksum;
    VapEgress() vap_egress;

    counter(DROP_REASON_COUNT, CounterType.packets_and_bytes) drops_egress;

    bit<16> length;   /* of the packet as it leaves, bytes */
    bit<1> egress_agrees;

    action to_agent(interface_t tunnel_or_vap) {
        hdr.packet_in.setValid();
        hdr.packet_in.reason = meta.punt_reason;
        hdr.packet_in.agreement = 6w0 ++ egress_agrees ++ meta.self.incarnation_agrees;
        hdr.packet_in.ingress_port = 7w0 ++ standard_metadata.ingress_port;
        hdr.packet_in.interface = tunnel_or_vap;
        hdr.packet_in.vni = 8w0 ++ meta.vni;
        hdr.packet_in.frame_length = meta.frame_length;
        hdr.packet_in.timestamp = standard_metadata.ingress_global_timestamp;
        hdr.packet_in.sequence = meta.sa_tx.sequence;
    }

    apply {
        if (standard_metadata.egress_rid != 0) {
            meta.egress_interface = standard_metadata.egress_rid;
        }
        length = meta.frame_length;
        if (meta.announcement == 1 && meta.egress_interface == INTERFACE_AGENT
            && standard_metadata.egress_port == PORT_CPU) {
            meta.punt = 1;
            meta.punt_reason = punt_reason_t.ANNOUNCEMENT;
        }

        /* Of the packets to the agent only the report of the switch's state concerns the registers of the tunnels. */
        bit<1> tunnel = 0;
        if (meta.punt == 1) {
            if (meta.punt_reason == punt_reason_t.STATE) {
                tunnel = 1;
            }
        } else if (meta.underlay_control == 1) {
            /* Ingress has decided what it may say. Wherever it says it, that is an underlay port. */
            if (PORT_IS_UNDERLAY(standard_metadata.egress_port) == 0) {
                meta.drop_reason = drop_reason_t.TX_PORT_CLASS;
            }
        } else if (meta.egress_interface == 0) {
            meta.drop_reason = drop_reason_t.TX_INTERFACE;
        } else if (meta.egress_interface == meta.ingress_interface && meta.hairpin == 0) {
            meta.drop_reason = drop_reason_t.SOURCE_PRUNED;
        } else if (meta.egress_interface[15:15] != PORT_IS_UNDERLAY(standard_metadata.egress_port)) {
            /* Whatever the entries say: no frame leaves an underlay port other than through a tunnel. */
            meta.drop_reason = drop_reason_t.TX_PORT_CLASS;
        } else if (meta.egress_interface & INTERFACE_TUNNEL == 0) {
            vap_egress.apply(hdr, meta, standard_metadata.egress_port);
            if (hdr.vlan.isValid()) {
                length = length + VLAN_TAG_LENGTH;
            }
        } else if (meta.origin == origin_t.UNDERLAY) {
            meta.drop_reason = drop_reason_t.SPLIT_HORIZON;
        } else {
            tunnel = 1;
        }

        egress_agrees = 0;
        meta.sa_tx.sequence = 0;
        if (tunnel == 1) {
            egress_self.apply(hdr, meta, standard_metadata.egress_global_timestamp, egress_agrees);
            if (meta.punt == 1) {
                meta.sa_interface = meta.egress_interface;   /* the tunnel that was asked about */
            } else if (meta.drop_reason == drop_reason_t.NONE) {
                encapsulation.apply(hdr, meta, standard_metadata.egress_port);
            }
            if (meta.drop_reason == drop_reason_t.NONE) {
                secure_sending.apply(hdr, meta, standard_metadata.egress_global_timestamp);
            }
            if (meta.punt == 0 && meta.drop_reason == drop_reason_t.NONE) {
                outer_checksum.apply(hdr, meta);
                length = length + ETHERNET_LENGTH + (hdr.ipv6.isValid() ? IPV6_OVERHEAD : IPV4_OVERHEAD);
            }
        }
        if (meta.punt == 1) {
            to_agent(tunnel == 1 ? meta.egress_interface : meta.ingress_interface);
            /* Of a tenant's frame the agent reads headers; what is said to it in clear, it hears whole. */
            length = meta.frame_length;
            if (length > PUNT_FRAME_LENGTH && meta.punt_reason != punt_reason_t.UNDERLAY_CONTROL) {
                length = PUNT_FRAME_LENGTH;
            }
            length = length + PACKET_IN_LENGTH;
        }

        /* The only place of egress that tells the architecture anything. Truncation removes what the parser did not take:
         * bytes behind the authenticated ones never leave (in ingress it would be lost on replicas). */
        if (meta.drop_reason != drop_reason_t.NONE) {
            /* A list of replicas names where the frame came from as well: that this copy does not go back is no fault. */
            if (meta.drop_reason != drop_reason_t.SOURCE_PRUNED || standard_metadata.egress_rid == 0) {
                drops_egress.count((bit<32>)(bit<8>)meta.drop_reason);
            }
            mark_to_drop(standard_metadata);
        } else {
            truncate((bit<32>)length);
        }
    }
}

#endif
