// SPDX-License-Identifier: Apache-2.0
// Widths, signs, shifts, slices, saturation, hashes: one result field for each.
#include <core.p4>
#include <v1model.p4>

header in_t {
    bit<8> a; bit<16> b; bit<32> c; bit<64> d; bit<128> e; int<8> f; int<32> g; bit<3> h; bit<13> i; bit<48> j; bit<8> n;
    bit<8> m;
}
header out_t {
    bit<32> r0; bit<32> r1; bit<32> r2; bit<32> r3; bit<64> r4; bit<64> r5; bit<128> r6; bit<128> r7; bit<128> r8;
    int<32> r9; int<8> r10; bit<8> r11; int<8> r12; bit<16> r13; bit<16> r14; bit<32> r15; bit<64> r16; bit<16> r17;
    bit<8> r18; bit<8> r19; bit<64> r20; bit<32> r21; bit<16> r22; bit<128> r23; bit<48> r24; int<32> r25; bit<8> r26;
    bit<3> r27; bit<13> r28; bit<16> r29; bit<32> r30; bit<8> r31; bit<16> r32;
}
struct headers_t { in_t x; out_t y; }
struct metadata_t { bit<8> t; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.x); transition accept; }
}
control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action first() {
        hdr.y.setValid();
        hdr.y.r0 = hdr.x.c + (bit<32>)hdr.x.b;
        hdr.y.r1 = (hdr.x.c << 7) | (hdr.x.c >> 25);
        hdr.y.r2 = hdr.x.c[7:0] ++ hdr.x.c[15:8] ++ hdr.x.c[23:16] ++ hdr.x.c[31:24];
        hdr.y.r3 = hdr.x.c - (bit<32>)hdr.x.d;
        hdr.y.r4 = hdr.x.d * (bit<64>)hdr.x.c;
        hdr.y.r5 = hdr.x.d >> hdr.x.n;
        hdr.y.r6 = hdr.x.e << hdr.x.n;
        hdr.y.r7 = ~hdr.x.e;
        hdr.y.r8 = (hdr.x.e ++ hdr.x.c)[140:13];
        hdr.y.r9 = hdr.x.g >> hdr.x.n;
        hdr.y.r10 = hdr.x.f |+| 100;
        hdr.y.r11 = hdr.x.a |-| hdr.x.n;
    }
    action second() {
        hdr.y.r12 = -hdr.x.f;
        hdr.y.r13 = (bit<16>)(bit<8>)hdr.x.f;
        hdr.y.r14 = (bit<16>)(int<16>)hdr.x.f;
        hdr.y.r15 = hdr.x.c ^ (hdr.x.c & 0x0ff00ff0) ^ (hdr.x.c | 0x12345678);
        hdr.y.r16 = hdr.x.d[7:0] ++ hdr.x.d[15:8] ++ hdr.x.d[23:16] ++ hdr.x.d[31:24] ++ hdr.x.d[39:32] ++ hdr.x.d[47:40]
            ++ hdr.x.d[55:48] ++ hdr.x.d[63:56];
        hdr.y.r17 = hdr.x.b[7:0] ++ hdr.x.b[15:8];
        hdr.y.r18 = hdr.x.f < 0 ? 8w1 : 8w2;
        hdr.y.r19 = (hdr.x.a - hdr.x.n > 100 ? 8w1 : 8w0) | (hdr.x.g < (int<32>)hdr.x.f ? 8w2 : 8w0)
            | (~hdr.x.a >= hdr.x.n ? 8w4 : 8w0) | (hdr.x.e[127:64] == hdr.x.d ? 8w8 : 8w0);
        hdr.y.r20 = (hdr.x.d << 19) | (hdr.x.d >> 45);
        hash(hdr.y.r21, HashAlgorithm.crc32, (bit<32>)0, { hdr.x.c, hdr.x.i, hdr.x.h, hdr.x.d }, (bit<64>)0x100000000);
        hash(hdr.y.r22, HashAlgorithm.xor16, (bit<16>)5, { hdr.x.e, hdr.x.a }, (bit<32>)0x8000);
        hdr.y.r23 = hdr.x.e + (bit<128>)(hdr.x.d ++ hdr.x.c);
        hdr.y.r24 = (bit<48>)(hdr.x.j >> 3) + (48w1 << hdr.x.n);
        hdr.y.r25 = hdr.x.g * (int<32>)hdr.x.f;
        meta.t = hdr.x.a + hdr.x.n;
        hdr.y.r26 = meta.t ^ (bit<8>)hdr.x.h;
        hdr.y.r27 = hdr.x.h + (bit<3>)hdr.x.i;
        hdr.y.r28 = hdr.x.i - (bit<13>)hdr.x.h;
        hash(hdr.y.r29, HashAlgorithm.csum16, (bit<16>)0, { hdr.x.b, hdr.x.c, hdr.x.h, hdr.x.i }, (bit<32>)0x10000);
        hash(hdr.y.r30, HashAlgorithm.identity, (bit<32>)1, { hdr.x.a, hdr.x.b }, (bit<32>)0xfffff);
        hdr.y.r31 = hdr.x.a |+| hdr.x.n;
        hash(hdr.y.r32, HashAlgorithm.crc16, (bit<16>)0, { hdr.x.j, hdr.x.a, hdr.x.f }, (bit<32>)0x10000);
    }
    action third(bit<8> more) {
        bit<32> sum = 0;
        for (bit<8> k = 0; k < hdr.x.m[3:0] ++ 4w0 >> 4; k = k + 1) {
            if (k == 5) { continue; }
            if (k == 11) { break; }
            sum = ((sum << 3) | (sum >> 29)) + (bit<32>)(k ^ more);
        }
        hdr.y.r0 = hdr.y.r0 ^ sum;
    }
    table last {
        key = { hdr.x.m: exact; }
        actions = { third; }
        const default_action = third(0x5a);
    }
    apply { std.egress_spec = 2; first(); second(); last.apply(); }
}
control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control Emit(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.y); packet.emit(hdr.x); } }

V1Switch(P(), None(), IngressPipe(), EgressPipe(), None(), Emit()) main;
