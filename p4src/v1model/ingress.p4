/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_INGRESS
#define NVO3SEC_INGRESS

#include "arch.p4"
#include "parser.p4"
#include "../common/switch_self.p4"
#include "../common/port_roles.p4"
#include "../common/underlay_control.p4"
#include "../common/tunnel_admission.p4"
#include "../common/secure_reception.p4"
#include "../common/vn_authorization.p4"
#include "../common/access_admission.p4"
#include "../common/inner_view.p4"
#include "../common/decapsulation.p4"
#include "../common/source_validation.p4"
#include "../common/refused_announcement.p4"
#include "../common/bridging.p4"
#include "../common/flow_entropy.p4"
#include "../common/underlay_route.p4"

control NveIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    ParserVerdict() parser_verdict;
    SwitchSelf() switch_self;
    PortRoles() port_roles;
    UnderlayControl() underlay_control;
    TunnelAdmission() tunnel_admission;
    SecureReception() secure_reception;
    VnAuthorization() vn_authorization;
    AccessAdmission() access_admission;
    InnerView() inner_view;
    Decapsulation() decapsulation;
    SourceValidation() source_validation;
    RefusedAnnouncement() refused_announcement;
    Bridging() bridging;
    FlowEntropy() flow_entropy;
    UnderlayRoute() underlay_route;

    counter(DROP_REASON_COUNT, CounterType.packets_and_bytes) drops_ingress;

    apply {
        parser_verdict.apply(meta, standard_metadata);

        if (meta.drop_reason == drop_reason_t.NONE) {
            switch_self.apply(hdr, meta);
            if (meta.origin == origin_t.CPU) {
                /* The agent may send to one interface, or ask. Tunnels are as closed to it as to anybody. */
                if (hdr.packet_out.operation == packet_out_op_t.FORWARD) {
                    meta.egress_port = hdr.packet_out.egress_port[15:9] == 0 ? hdr.packet_out.egress_port[8:0] : PORT_DROP;
                    meta.egress_interface = hdr.packet_out.interface;
                    meta.vni = hdr.packet_out.vni;
                    meta.level = hdr.packet_out.level;
                } else if (hdr.packet_out.operation == packet_out_op_t.SET_INCARNATION
                           || hdr.packet_out.operation == packet_out_op_t.REPORT_STATE) {
                    meta.punt = 1;
                    meta.punt_reason = punt_reason_t.STATE;
                    meta.egress_interface = hdr.packet_out.interface;
                } else if (hdr.packet_out.operation == packet_out_op_t.UNDERLAY_CONTROL) {
                    if (meta.underlay_control == 1) {
                        meta.egress_port = hdr.packet_out.egress_port[15:9] == 0 ? hdr.packet_out.egress_port[8:0] : PORT_DROP;
                    } else {
                        meta.drop_reason = drop_reason_t.UNDERLAY_CONTROL_SENT;
                    }
                } else {
                    meta.drop_reason = drop_reason_t.PACKET_OUT_OPERATION;
                }
            } else {
                port_roles.apply(meta, standard_metadata.ingress_port);
            }
            if (meta.drop_reason == drop_reason_t.NONE && meta.underlay_control == 1) {
                underlay_control.apply(hdr, meta, standard_metadata.ingress_port, standard_metadata.checksum_error);
            } else if (meta.origin != origin_t.CPU) {
                if (meta.drop_reason == drop_reason_t.NONE) {
                    if (meta.origin == origin_t.UNDERLAY) {
                        tunnel_admission.apply(hdr, meta, standard_metadata.ingress_global_timestamp,
                                               standard_metadata.checksum_error);
                        if (meta.drop_reason == drop_reason_t.NONE) {
                            secure_reception.apply(hdr, meta, standard_metadata.ingress_global_timestamp);
                        }
                        if (meta.drop_reason == drop_reason_t.NONE) {
                            vn_authorization.apply(hdr, meta);
                        }
                    } else {
                        access_admission.apply(hdr, meta, standard_metadata.ingress_port);
                    }
                }
                if (meta.drop_reason == drop_reason_t.NONE) {
                    inner_view.apply(hdr, meta);
                    if (meta.origin == origin_t.UNDERLAY) {
                        decapsulation.apply(hdr, meta);
                    } else {
                        source_validation.apply(hdr, meta);
                    }
                }
                if (meta.drop_reason == drop_reason_t.SOURCE_GUARD) {
                    refused_announcement.apply(hdr, meta);
                }
                if (meta.drop_reason == drop_reason_t.NONE || meta.refused == 1) {
                    bridging.apply(hdr, meta, standard_metadata.ingress_port);
                }
            }
        }

        if (meta.drop_reason == drop_reason_t.NONE && meta.punt == 0
            && (meta.multicast_group != 0 || meta.egress_interface & INTERFACE_TUNNEL != 0)) {
            flow_entropy.apply(hdr, meta);
            if (meta.multicast_group == 0 && meta.origin == origin_t.ACCESS) {
                underlay_route.apply(meta);
            }
        }

        if (meta.drop_reason == drop_reason_t.NONE && meta.punt == 0 && meta.multicast_group == 0
            && meta.egress_port == PORT_DROP) {
            meta.drop_reason = drop_reason_t.EGRESS_PORT;
        }

        /* The only place of ingress that tells the traffic manager anything. Nothing after it can undo a drop. */
        if (meta.drop_reason != drop_reason_t.NONE) {
            drops_ingress.count((bit<32>)(bit<8>)meta.drop_reason);
            mark_to_drop(standard_metadata);
        } else if (meta.punt == 1) {
            if (meta.refused == 1) {
                drops_ingress.count((bit<32>)(bit<8>)drop_reason_t.SOURCE_GUARD);
            } else if (meta.punt_reason == punt_reason_t.FRAME_TOO_BIG) {
                drops_ingress.count((bit<32>)(bit<8>)drop_reason_t.FRAME_TOO_BIG);
            }
            standard_metadata.egress_spec = PORT_CPU;
        } else if (meta.multicast_group != 0) {
            if (meta.announcement_untold == 1) {
                drops_ingress.count((bit<32>)(bit<8>)drop_reason_t.ANNOUNCEMENT_NOT_TOLD);
            }
            standard_metadata.mcast_grp = meta.multicast_group;
        } else {
            standard_metadata.egress_spec = meta.egress_port;
        }
    }
}

#endif
