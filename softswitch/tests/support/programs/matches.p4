// SPDX-License-Identifier: Apache-2.0
// Every kind of match, entries of the program and of the control plane; meters and counters on entries and in arrays.
#include <core.p4>
#include <v1model.p4>

header key_t { bit<8> t; bit<32> a; bit<16> b; bit<128> c; bit<7> d; bit<9> e; bit<8> index; }
header result_t { bit<32> value; bit<8> table_; bit<8> color; bit<8> hit; }
header maybe_t { bit<32> m; }

struct headers_t { result_t result; key_t key; maybe_t maybe; }
struct metadata_t { bit<2> color; bit<32> value; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.key);
        transition select(hdr.key.d) {
            0x40 &&& 0x40: maybe;
            default: accept;
        }
    }
    state maybe { packet.extract(hdr.maybe); transition accept; }
}
control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) exact_counter;
    direct_meter<bit<2>>(MeterType.packets) exact_meter;
    meter(8, MeterType.bytes) by_index;
    register<bit<128>>(8) wide;
    counter(16, CounterType.packets_and_bytes) by_table;

    action set(bit<32> value) { meta.value = value; }
    action set_metered(bit<32> value) { meta.value = value; exact_meter.read(meta.color); }
    action set_wide(bit<128> value, bit<9> port) { meta.value = value[63:32]; std.egress_spec = port; }
    action drop() { mark_to_drop(std); }

    table by_exact {
        key = { hdr.key.a: exact; hdr.key.c: exact; hdr.key.e: exact; hdr.maybe.m: exact; }
        actions = { set_metered; set_wide; drop; NoAction; }
        counters = exact_counter;
        meters = exact_meter;
        size = 32;
    }
    table by_ternary {
        key = { hdr.key.a: ternary; hdr.key.b: exact; hdr.key.c: ternary; hdr.maybe.isValid(): ternary; }
        actions = { set; set_wide; }
        default_action = set(0xdef);
        size = 32;
    }
    table by_lpm {
        key = { hdr.key.c: lpm; hdr.key.b: exact; }
        actions = { set; drop; @defaultonly NoAction; }
        const default_action = NoAction();
        size = 32;
    }
    table by_range {
        key = { hdr.key.a: range; hdr.key.c: range; hdr.key.e: ternary; hdr.key.b: lpm; }
        actions = { set; set_wide; }
        size = 32;
    }
    table by_optional {
        key = { hdr.key.a: optional; hdr.key.d: optional; }
        actions = { set; }
        size = 32;
    }
    table constant {
        key = { hdr.key.a: range; hdr.key.b: ternary; }
        actions = { set; drop; }
        const entries = {
            (10 .. 20, 5): set(1);
            (15 .. 30, _): set(2);
            (100 .. 100, 0x0f00 &&& 0xff00): set(3);
            (0 .. 0xffffffff, 77): set(4);  // p4c takes _ for 0 .. 0
        }
        const default_action = set(5);
    }
    apply {
        std.egress_spec = 1;
        hdr.result.setValid();
        hdr.result.table_ = hdr.key.t;
        if (hdr.key.t == 1) { if (by_exact.apply().hit) { hdr.result.hit = 1; } }
        if (hdr.key.t == 2) { if (by_ternary.apply().miss) { hdr.result.hit = 2; } }
        if (hdr.key.t == 3) { if (by_lpm.apply().hit) { hdr.result.hit = 1; } else { hdr.result.hit = 3; } }
        if (hdr.key.t == 4) { if (by_range.apply().hit) { hdr.result.hit = 1; } }
        if (hdr.key.t == 5) { if (by_optional.apply().hit) { hdr.result.hit = 1; } }
        if (hdr.key.t == 6) { if (constant.apply().hit) { hdr.result.hit = 1; } }
        if (hdr.key.t == 7) { by_index.execute_meter((bit<32>)hdr.key.index, meta.color); }
        if (hdr.key.t == 8) {
            bit<128> old;
            @atomic {
                wide.read(old, (bit<32>)hdr.key.index);
                wide.write((bit<32>)hdr.key.index, old + hdr.key.c);
            }
            hdr.key.c = old;
        }
        by_table.count((bit<32>)hdr.key.t);
        hdr.result.value = meta.value;
        hdr.result.color = (bit<8>)meta.color;
    }
}
control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control Emit(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.result); packet.emit(hdr.key); packet.emit(hdr.maybe); }
}

V1Switch(P(), None(), IngressPipe(), EgressPipe(), None(), Emit()) main;
