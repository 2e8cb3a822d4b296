// SPDX-License-Identifier: Apache-2.0
// What the benchmark runs: bridging by a table, and on the way to some ports a Chaskey-12 tag over the whole frame, put in
// front of it. The frame is taken apart into 16-byte blocks and a tail, as a program must that computes over all of it.
#include <core.p4>
#include <v1model.p4>

#define BLOCKS 96
#define ROTL(x, n) (((x) << n) | ((x) >> (32 - n)))

header tag_t { bit<128> value; }
header addresses_t { bit<48> dst; bit<48> src; bit<32> type_and_more; }
header block_t { bit<32> w0; bit<32> w1; bit<32> w2; bit<32> w3; }
header tail8_t { bit<64> value; }
header tail4_t { bit<32> value; }
header tail2_t { bit<16> value; }
header tail1_t { bit<8> value; }

error { TooShort, TooLong }
struct headers_t {
    tag_t tag;
    addresses_t addresses;
    block_t[BLOCKS] block;
    tail8_t tail8;
    tail4_t tail4;
    tail2_t tail2;
    tail1_t tail1;
}
struct metadata_t { bit<16> left; bit<8> blocks; bit<1> protect; bit<128> key; }

bit<32> swap(in bit<32> x) { return x[7:0] ++ x[15:8] ++ x[23:16] ++ x[31:24]; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        verify(std.packet_length >= 16, error.TooShort);
        verify(std.packet_length < 16 * (BLOCKS + 1), error.TooLong);
        packet.extract(hdr.addresses);
        meta.left = (bit<16>)std.packet_length - 16;
        meta.blocks = meta.left[11:4];
        transition select(meta.left[15:4]) {
            0: tail;
            default: block;
        }
    }
    state block {
        packet.extract(hdr.block.next);
        meta.left = meta.left - 16;
        transition select(meta.left[15:4]) {
            0: tail;
            default: block;
        }
    }
    state tail { transition select(meta.left[3:3]) { 1: tail8; default: below8; } }
    state tail8 { packet.extract(hdr.tail8); transition below8; }
    state below8 { transition select(meta.left[2:2]) { 1: tail4; default: below4; } }
    state tail4 { packet.extract(hdr.tail4); transition below4; }
    state below4 { transition select(meta.left[1:1]) { 1: tail2; default: below2; } }
    state tail2 { packet.extract(hdr.tail2); transition below2; }
    state below2 { transition select(meta.left[0:0]) { 1: tail1; default: accept; } }
    state tail1 { packet.extract(hdr.tail1); transition accept; }
}
control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) stations;
    action forward(bit<9> port) { std.egress_spec = port; }
    action drop() { mark_to_drop(std); }
    table bridge {
        key = { hdr.addresses.dst: exact; }
        actions = { forward; drop; }
        const default_action = drop();
        counters = stations;
        size = 1024;
    }
    apply {
        if (std.parser_error != error.NoError) { drop(); return; }
        bridge.apply();
    }
}

control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    bit<32> v0; bit<32> v1; bit<32> v2; bit<32> v3;
    bit<32> k0; bit<32> k1; bit<32> k2; bit<32> k3;
    bit<32> m0; bit<32> m1; bit<32> m2; bit<32> m3;
    bit<128> tail;
    bit<8> tail_bytes;

    action protect(bit<128> key) { meta.key = key; meta.protect = 1; }
    table links {
        key = { std.egress_port: exact; }
        actions = { protect; NoAction; }
        const default_action = NoAction();
        size = 64;
    }
    action twice() {
        bit<32> carry = k3[31:31] == 1 ? 32w0x87 : 32w0;
        k3 = k3 << 1 | k2 >> 31;
        k2 = k2 << 1 | k1 >> 31;
        k1 = k1 << 1 | k0 >> 31;
        k0 = k0 << 1 ^ carry;
    }
    action absorb() {
        v0 = v0 ^ swap(m0); v1 = v1 ^ swap(m1); v2 = v2 ^ swap(m2); v3 = v3 ^ swap(m3);
        for (bit<8> round = 0; round < 12; round = round + 1) {
            v0 = v0 + v1; v1 = ROTL(v1, 5); v1 = v1 ^ v0; v0 = ROTL(v0, 16);
            v2 = v2 + v3; v3 = ROTL(v3, 8); v3 = v3 ^ v2;
            v0 = v0 + v3; v3 = ROTL(v3, 13); v3 = v3 ^ v0;
            v2 = v2 + v1; v1 = ROTL(v1, 7); v1 = v1 ^ v2; v2 = ROTL(v2, 16);
        }
    }
    action blocks() {
        k0 = swap(meta.key[127:96]); k1 = swap(meta.key[95:64]); k2 = swap(meta.key[63:32]); k3 = swap(meta.key[31:0]);
        v0 = k0; v1 = k1; v2 = k2; v3 = k3;
        twice();
        m0 = hdr.addresses.dst[47:16];
        m1 = hdr.addresses.dst[15:0] ++ hdr.addresses.src[47:32];
        m2 = hdr.addresses.src[31:0];
        m3 = hdr.addresses.type_and_more;
        for (bit<8> i = 0; i < meta.blocks; i = i + 1) {
            absorb();
            m0 = hdr.block[i].w0; m1 = hdr.block[i].w1; m2 = hdr.block[i].w2; m3 = hdr.block[i].w3;
        }
        tail = 0;
        tail_bytes = 0;
    }
    action take8() { tail = (bit<128>)hdr.tail8.value; tail_bytes = 8; }
    action take4() { tail = tail << 32 | (bit<128>)hdr.tail4.value; tail_bytes = tail_bytes + 4; }
    action take2() { tail = tail << 16 | (bit<128>)hdr.tail2.value; tail_bytes = tail_bytes + 2; }
    action take1() { tail = tail << 8 | (bit<128>)hdr.tail1.value; tail_bytes = tail_bytes + 1; }
    action last() {
        if (tail_bytes != 0) {
            bit<128> padded = (tail << 8 | 1) << (8 * (15 - tail_bytes));
            absorb();
            m0 = padded[127:96]; m1 = padded[95:64]; m2 = padded[63:32]; m3 = padded[31:0];
            twice();
        }
        v0 = v0 ^ k0; v1 = v1 ^ k1; v2 = v2 ^ k2; v3 = v3 ^ k3;
        absorb();
        hdr.tag.setValid();
        hdr.tag.value = swap(v0 ^ k0) ++ swap(v1 ^ k1) ++ swap(v2 ^ k2) ++ swap(v3 ^ k3);
    }
    apply {
        links.apply();
        if (meta.protect == 1) {
            blocks();
            if (hdr.tail8.isValid()) { take8(); }
            if (hdr.tail4.isValid()) { take4(); }
            if (hdr.tail2.isValid()) { take2(); }
            if (hdr.tail1.isValid()) { take1(); }
            last();
        }
    }
}
control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.tag);
        packet.emit(hdr.addresses);
        packet.emit(hdr.block);
        packet.emit(hdr.tail8);
        packet.emit(hdr.tail4);
        packet.emit(hdr.tail2);
        packet.emit(hdr.tail1);
    }
}

V1Switch(P(), None(), IngressPipe(), EgressPipe(), None(), Emit()) main;
