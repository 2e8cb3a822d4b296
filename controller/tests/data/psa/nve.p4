/* SPDX-License-Identifier: Apache-2.0 */
/* Every shared control, applied once. No data plane: the parser takes nothing, and nothing is emitted. */
#include "arch.p4"
#include "common/headers.p4"
#include "common/metadata.p4"
#include "common/sizes.p4"
#include "common/switch_self.p4"
#include "common/egress_self.p4"
#include "common/port_roles.p4"
#include "common/underlay_control.p4"
#include "common/tunnel_admission.p4"
#include "common/secure_reception.p4"
#include "common/vn_authorization.p4"
#include "common/access_admission.p4"
#include "common/inner_view.p4"
#include "common/decapsulation.p4"
#include "common/source_validation.p4"
#include "common/refused_announcement.p4"
#include "common/bridging.p4"
#include "common/flow_entropy.p4"
#include "common/underlay_route.p4"
#include "common/encapsulation.p4"
#include "common/secure_sending.p4"
#include "common/outer_checksum.p4"
#include "common/vap_egress.p4"

struct empty_t {}

parser NveIngressParser(packet_in packet, out headers_t hdr, inout metadata_t meta, in psa_ingress_parser_input_metadata_t input,
                     in empty_t resubmitted, in empty_t recirculated) {
    state start { transition accept; }
}

control NveIngress(inout headers_t hdr, inout metadata_t meta, in psa_ingress_input_metadata_t input,
                inout psa_ingress_output_metadata_t output) {
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

    apply {
        port_t port = (port_t)(bit<32>)(PortIdUint_t)input.ingress_port;
        time_us_t now = (time_us_t)(TimestampUint_t)input.ingress_timestamp;
        switch_self.apply(hdr, meta);
        port_roles.apply(meta, port);
        underlay_control.apply(hdr, meta, port, 0);
        tunnel_admission.apply(hdr, meta, now, 0);
        secure_reception.apply(hdr, meta, now);
        vn_authorization.apply(hdr, meta);
        access_admission.apply(hdr, meta, port);
        inner_view.apply(hdr, meta);
        decapsulation.apply(hdr, meta);
        source_validation.apply(hdr, meta);
        refused_announcement.apply(hdr, meta);
        bridging.apply(hdr, meta, port);
        flow_entropy.apply(hdr, meta);
        underlay_route.apply(meta);
        output.drop = meta.drop_reason != drop_reason_t.NONE;
    }
}

control NveIngressDeparser(packet_out packet, out empty_t cloned, out empty_t resubmitted, out empty_t normal, inout headers_t hdr,
                        in metadata_t meta, in psa_ingress_output_metadata_t output) {
    apply {}
}

parser NveEgressParser(packet_in packet, out headers_t hdr, inout metadata_t meta, in psa_egress_parser_input_metadata_t input,
                    in empty_t normal, in empty_t ingress_clone, in empty_t egress_clone) {
    state start { transition accept; }
}

control NveEgress(inout headers_t hdr, inout metadata_t meta, in psa_egress_input_metadata_t input,
               inout psa_egress_output_metadata_t output) {
    EgressSelf() egress_self;
    Encapsulation() encapsulation;
    SecureSending() secure_sending;
    OuterChecksum() outer_checksum;
    VapEgress() vap_egress;

    apply {
        port_t port = (port_t)(bit<32>)(PortIdUint_t)input.egress_port;
        bit<1> agrees;
        time_us_t now = (time_us_t)(TimestampUint_t)input.egress_timestamp;
        egress_self.apply(hdr, meta, now, agrees);
        encapsulation.apply(hdr, meta, port);
        secure_sending.apply(hdr, meta, now);
        outer_checksum.apply(hdr, meta);
        vap_egress.apply(hdr, meta, port);
        output.drop = meta.drop_reason != drop_reason_t.NONE;
    }
}

control NveEgressDeparser(packet_out packet, out empty_t cloned, out empty_t recirculated, inout headers_t hdr, in metadata_t meta,
                       in psa_egress_output_metadata_t output, in psa_egress_deparser_input_metadata_t input) {
    apply {}
}

IngressPipeline(NveIngressParser(), NveIngress(), NveIngressDeparser()) ingress_pipeline;
EgressPipeline(NveEgressParser(), NveEgress(), NveEgressDeparser()) egress_pipeline;
PSA_Switch(ingress_pipeline, PacketReplicationEngine(), egress_pipeline, BufferingQueueingEngine()) main;
