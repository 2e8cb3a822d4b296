/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of more than 128 bits: carried, copied, computed, compared, hashed, in digests, of no whole bytes. */
#include <core.p4>
#include <v1model.p4>

header block_t {
    bit<8>   kind;
    bit<256> a;
    bit<160> b;
    bit<3>   x;
    bit<197> c;
    bit<8>   y;
    bit<480> big;
}

struct headers_t {
    block_t first;
    block_t second;
}

struct metadata_t {
    bit<160> kept;
    bit<32>  hash;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.first);
        transition accept;
    }
}

control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control Pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 2;
        meta.kept = hdr.first.b;
        if (hdr.first.kind & 1 != 0) {
            hdr.second = hdr.first;
            hdr.second.kind = 0;
        }
        if (hdr.first.kind & 2 != 0) {
            hdr.first.a = hdr.first.a[127:0] ++ hdr.first.b[159:32];
            hdr.first.c = hdr.first.c[196:0] & hdr.first.big[479:283];
        }
        if (hdr.first.kind & 4 != 0) {
            bit<256> sum = (bit<256>) meta.kept + 256w0x1ffffffffffffffffffffffffffffffffffffffff;
            hdr.first.a = sum;
            hdr.first.big = (bit<480>) sum << 200;
        }
        if (hdr.first.kind & 8 != 0 && hdr.first.b == meta.kept && hdr.first.a[159:0] != hdr.first.b) {
            hdr.first.y = 0xaa;
        }
        if (hdr.first.kind & 16 != 0) {
            hash(meta.hash, HashAlgorithm.crc32, 32w0, { hdr.first.a, hdr.first.x, hdr.first.c, hdr.first.y }, 32w0xffffffff);
            hdr.first.b[31:0] = meta.hash;
        }
        if (hdr.first.kind & 32 != 0) {
            hdr.first.c = 197w0x123456789abcdef0123456789abcdef0123456789abcdef012;
        }
    }
}

control Out(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (hdr.first.kind & 64 != 0) {
            hdr.first.b = meta.kept;
        }
    }
}

control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.first);
        packet.emit(hdr.second);
    }
}

V1Switch(P(), None(), Pipe(), Out(), None(), Emit()) main;
