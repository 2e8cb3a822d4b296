/* SPDX-License-Identifier: Apache-2.0 */
/* Idle timeouts: of an exact and of a ternary table, with a default action that has parameters, and of one with members. */
#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

struct headers_t { ethernet_t ethernet; }
struct metadata_t { }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control Pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action_profile(16) members;
    action send(bit<9> port) { std.egress_spec = port; }
    action retype(bit<16> type) { hdr.ethernet.type = type; }

    table forward {
        key = { hdr.ethernet.dst: exact @name("dst"); }
        actions = { send; }
        default_action = send(3);
        support_timeout = true;
        size = 64;
    }
    table learned {
        key = { hdr.ethernet.src: ternary @name("src"); }
        actions = { retype; NoAction; }
        default_action = retype(0x1111);
        support_timeout = true;
        size = 64;
    }
    table referring {
        key = { hdr.ethernet.type: exact @name("type"); }
        actions = { retype; NoAction; }
        implementation = members;
        support_timeout = true;
        size = 16;
    }
    apply {
        referring.apply();
        forward.apply();
        learned.apply();
    }
}

control Out(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control Emit(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.ethernet); } }

V1Switch(P(), None(), Pipe(), Out(), None(), Emit()) main;
