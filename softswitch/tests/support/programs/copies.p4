// SPDX-License-Identifier: Apache-2.0
// Everything the traffic manager does: clones of ingress and egress with kept metadata, resubmission, recirculation,
// replication, truncation in both pipelines, drops that are undone, and the order among them.
#include <core.p4>
#include <v1model.p4>

header command_t {
    bit<8> ingress; bit<8> egress; bit<8> count; bit<8> length; bit<16> group; bit<8> port; bit<8> mark;
}
header trace_t { bit<8> type; bit<8> rid; bit<16> length; bit<16> kept; bit<8> in_port; bit<8> passes; }

struct headers_t { trace_t trace; command_t command; }
struct metadata_t {
    @field_list(1, 2) bit<16> kept;
    @field_list(2) bit<8> passes;
    bit<16> lost;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        transition select(packet.lookahead<bit<8>>()) {
            0xEE: trace;
            default: command;
        }
    }
    state trace { packet.extract(hdr.trace); transition command; }
    state command { packet.extract(hdr.command); transition accept; }
}
control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (hdr.command.isValid()) { std.egress_spec = (bit<9>)hdr.command.port; }
        if (std.instance_type == 0 && hdr.command.isValid()) { meta.kept = (bit<16>)hdr.command.mark; meta.lost = 7; }
        meta.passes = meta.passes + 1;
        if (!hdr.command.isValid()) { return; }
        if (hdr.trace.isValid() && hdr.command.mark[1:0] == 3) { hdr.trace.setInvalid(); }
        if (hdr.command.ingress[0:0] == 1 && std.instance_type == 0) {
            clone_preserving_field_list(CloneType.I2E, (bit<32>)hdr.command.count, 1);
        }
        if (hdr.command.ingress[1:1] == 1 && meta.passes < 3) {
            resubmit_preserving_field_list(2);
        }
        if (hdr.command.ingress[2:2] == 1 && meta.passes < 3) { std.mcast_grp = hdr.command.group; }
        if (hdr.command.ingress[3:3] == 1) { mark_to_drop(std); }
        if (hdr.command.ingress[4:4] == 1) { std.egress_spec = 6; }
        if (hdr.command.ingress[5:5] == 1) { truncate((bit<32>)hdr.command.length); }
        if (hdr.command.ingress[6:6] == 1) { hdr.command.mark = 0x99; }
        if (hdr.command.ingress[7:7] == 1 && std.instance_type == 0) { clone(CloneType.I2E, (bit<32>)hdr.command.count); }
    }
}
control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        bit<8> what = 0;
        bit<8> session = 0;
        bit<8> length = 0;
        if (hdr.command.isValid()) {
            what = hdr.command.egress;
            session = hdr.command.count;
            length = hdr.command.length;
        }
        if (what[0:0] == 1 && std.instance_type != 2 && meta.passes < 3) {
            clone_preserving_field_list(CloneType.E2E, (bit<32>)session, 2);
        }
        if (what[1:1] == 1 && std.instance_type != 1 && meta.passes < 4) { recirculate_preserving_field_list(2); }
        if (what[2:2] == 1) { mark_to_drop(std); }
        if (what[3:3] == 1) { truncate((bit<32>)length); }
        if (what[5:5] == 1) { hdr.command.setInvalid(); }
        if (!hdr.trace.isValid() || what[4:4] == 1) {
            hdr.trace.setValid();
            hdr.trace = { 0xEE, (bit<8>)std.egress_rid, (bit<16>)std.packet_length, meta.kept, (bit<8>)std.ingress_port,
                          meta.passes | (bit<8>)std.instance_type << 4 };
        }
        if (what[6:6] == 1) { hdr.trace.kept = meta.lost; }
    }
}
control Emit(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.trace); packet.emit(hdr.command); } }

V1Switch(P(), None(), IngressPipe(), EgressPipe(), None(), Emit()) main;
