/* SPDX-License-Identifier: Apache-2.0 */
/* Action profiles: a selector that two tables share, a profile without one, default actions beside both, hit and miss. */
#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header flow_t {
    bit<32>  a;
    bit<32>  b;
    bit<16>  c;
    bit<128> d;
    bit<8>   trace;
}

struct headers_t {
    ethernet_t ethernet;
    flow_t     flow;
}

struct metadata_t {
    bit<16> salt;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        packet.extract(hdr.flow);
        meta.salt = hdr.ethernet.type ^ 0x5a5a;
        transition accept;
    }
}

control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control Pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    @max_group_size(16)
    action_selector(HashAlgorithm.crc32, 64, 32) selector;
    action_profile(32) plain;
    direct_counter(CounterType.packets) counted;

    action send(bit<9> port) { std.egress_spec = port; }
    action rewrite(bit<48> dst, bit<9> port, bit<128> d) {
        hdr.ethernet.dst = dst;
        hdr.flow.d = d;
        std.egress_spec = port;
    }
    action drop() { mark_to_drop(std); }
    action mark(bit<8> bits) { hdr.flow.trace = hdr.flow.trace | bits; }

    table balance {
        key = {
            hdr.ethernet.dst: exact;
            hdr.flow.a: selector;
            hdr.flow.b: selector;
            hdr.flow.c: selector;
            hdr.flow.d: selector;
            meta.salt: selector;
        }
        actions = { send; rewrite; drop; NoAction; }
        implementation = selector;
        counters = counted;
        size = 64;
    }
    table balance_more {
        key = {
            hdr.ethernet.src: ternary;
            hdr.flow.a: selector;
            hdr.flow.b: selector;
            hdr.flow.c: selector;
            hdr.flow.d: selector;
            meta.salt: selector;
        }
        actions = { send; rewrite; drop; NoAction; }
        implementation = selector;
        size = 64;
    }
    table label {
        key = { hdr.flow.c: lpm; }
        actions = { mark; NoAction; }
        default_action = mark(0x80);
        implementation = plain;
        size = 64;
    }
    apply {
        label.apply();
        if (!balance.apply().hit) {
            balance_more.apply();
        } else {
            hdr.flow.trace = hdr.flow.trace | 0x40;
        }
    }
}

control Out(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }

control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.flow);
    }
}

V1Switch(P(), None(), Pipe(), Out(), None(), Emit()) main;
