// SPDX-License-Identifier: Apache-2.0
// Header stacks: a parser loop with a counter, push and pop, an index at run time, the last element; lookahead, verify,
// exit, assert, log_msg, a header copied whole.
#include <core.p4>
#include <v1model.p4>

header head_t { bit<8> kind; bit<8> count; bit<8> op; bit<8> at; bit<16> value; }
header item_t { bit<16> x; bit<4> y; bit<4> z; }
header tail_t { bit<8> v; }

error { TooMany }
struct headers_t { head_t head; item_t[6] items; tail_t tail; item_t extra; }
struct metadata_t { bit<8> left; bit<16> sum; bit<8> peek; bit<16> sixth; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.head);
        meta.left = hdr.head.count;
        verify(hdr.head.kind != 0xBB, error.TooMany);
        transition select(hdr.head.count) {
            0: rest;
            default: item;
        }
    }
    state item {
        packet.extract(hdr.items.next);
        meta.left = meta.left - 1;
        transition select(meta.left, hdr.items.last.z) {
            (0, 0x0 &&& 0x8): rest;
            (0, _): accept;
            default: item;
        }
    }
    state rest {
        meta.peek = packet.lookahead<bit<8>>();
        transition select(meta.peek[7:4]) {
            0xA: tail;
            0xB: skip;
            default: accept;
        }
    }
    state tail { packet.extract(hdr.tail); transition accept; }
    state skip { packet.advance(16); transition accept; }
}
control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<16>>(256) last_sum;
    action sum_up() {
        bit<16> total = 0;
        for (bit<8> i = 0; i < hdr.head.count; i = i + 1) {
            if (i < 6) {
                total = total + hdr.items[i].x;
                hdr.items[i].z = hdr.items[i].z + (bit<4>)i;
            }
        }
        meta.sum = total;
    }
    action overwrite() { if (hdr.head.at < 6) { hdr.items[hdr.head.at].x = hdr.head.value; } }
    action push1() { hdr.items.push_front(1); hdr.items[0].setValid(); hdr.items[0] = { hdr.head.value, 1, 2 }; }
    action push3() { hdr.items.push_front(3); }
    action pop1() { hdr.items.pop_front(1); }
    action pop4() { hdr.items.pop_front(4); }
    action copy() { hdr.extra = hdr.items[2]; hdr.items[3] = hdr.items[1]; }
    action stop() { std.egress_spec = 5; exit; }
    action check() { assert(hdr.head.value != 0xdead); log_msg("value {} of {}", { hdr.head.value, hdr.head.count }); }
    action same() { if (hdr.items[0] == hdr.items[1]) { meta.sum = 0xffff; } }
    table ops {
        key = { hdr.head.op: exact; hdr.items[4].isValid(): ternary @name("fifth"); meta.sixth: ternary; }
        actions = { sum_up; overwrite; push1; push3; pop1; pop4; copy; stop; check; same; @defaultonly NoAction; }
        const default_action = NoAction();
        const entries = {
            (1, _, _): sum_up();
            (2, _, _): overwrite();
            (3, false, _): push1();
            (3, true, 0x8000 &&& 0x8000): push3();
            (3, true, _): push1();
            (4, _, _): pop1();
            (5, _, _): pop4();
            (6, _, _): copy();
            (7, _, _): stop();
            (8, _, _): check();
            (9, _, _): same();
        }
    }
    apply {
        std.egress_spec = 3;
        if (std.parser_error == error.TooMany) { hdr.head.kind = 0xE1; }
        else if (std.parser_error == error.PacketTooShort) { hdr.head.kind = 0xE2; }
        else if (std.parser_error == error.StackOutOfBounds) { hdr.head.kind = 0xE3; }
        if (hdr.items[5].isValid()) { meta.sixth = hdr.items[5].x; }
        switch (ops.apply().action_run) {
            sum_up: { hdr.head.value = meta.sum; }
            pop1: { hdr.head.at = 0x77; }
            NoAction: { hdr.head.at = 0x11; }
            default: { }
        }
        last_sum.write((bit<32>)hdr.head.at, hdr.head.value);
        last_sum.read(meta.sum, (bit<32>)(hdr.head.at ^ 1));
        if (meta.peek == 0xA5) { hdr.head.value = meta.sum; }
    }
}
control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply { if (hdr.head.isValid() && hdr.head.op == 7) { hdr.head.kind = hdr.head.kind + 1; } }
}
control Emit(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.head); packet.emit(hdr.items); packet.emit(hdr.extra); packet.emit(hdr.tail); }
}

V1Switch(P(), None(), IngressPipe(), EgressPipe(), None(), Emit()) main;
