/* SPDX-License-Identifier: Apache-2.0 */
/* Chaskey-12 (ISO/IEC 29192-6), 128-bit key and tag: the permutation, the MAC over a protected packet, and a keyed hash.
 * The algorithm works on little-endian words, P4 extracts big-endian ones: le32() is the only place that knows. */
#ifndef NVO3SEC_CHASKEY
#define NVO3SEC_CHASKEY

#include "../common/headers.p4"
#include "../common/metadata.p4"

/* Swaps bytes within halves, then the halves: on BMv2 every operation costs the same whatever its width. */
bit<32> le32(in bit<32> word) {
    bit<32> pairs = ((word & 0x00FF00FF) << 8) | ((word >> 8) & 0x00FF00FF);
    return (pairs << 16) | (pairs >> 16);
}

#define ROTATE_LEFT(x, n) (((x) << n) | ((x) >> (32 - n)))

/* The permutation: twelve rounds over the state v0..v3. */
#define CHASKEY_PERMUTE(v0, v1, v2, v3)                            \
    for (bit<8> round = 0; round < 12; round = round + 1) {        \
        v0 = v0 + v1; v1 = ROTATE_LEFT(v1, 5);  v1 = v1 ^ v0;      \
        v0 = ROTATE_LEFT(v0, 16);                                  \
        v2 = v2 + v3; v3 = ROTATE_LEFT(v3, 8);  v3 = v3 ^ v2;      \
        v0 = v0 + v3; v3 = ROTATE_LEFT(v3, 13); v3 = v3 ^ v0;      \
        v2 = v2 + v1; v1 = ROTATE_LEFT(v1, 7);  v1 = v1 ^ v2;      \
        v2 = ROTATE_LEFT(v2, 16);                                  \
    }

/* The ICV of suite 1 (docs/wire-format.md): over the Geneve base header, the option without its ICV, the inner length and
 * a domain word, and the first `coverage` bytes of the inner frame. */
control ChaskeyIcv(in headers_t hdr, in key128_t key, in bit<16> frame_length, out bit<128> icv) {
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;
    bit<32> k0;          /* subkey; k3 is its most significant word */
    bit<32> k1;
    bit<32> k2;
    bit<32> k3;
    bit<32> m0;          /* the block not absorbed yet, as it stands on the wire: the last one is treated differently */
    bit<32> m1;
    bit<32> m2;
    bit<32> m3;
    bit<8> block_count;

    /* Multiplication by x in GF(2^128). */
    action next_subkey() {
        bit<32> reduction = k3[31:31] == 1 ? 32w0x87 : 0;
        k3 = (k3 << 1) | (k2 >> 31);
        k2 = (k2 << 1) | (k1 >> 31);
        k1 = (k1 << 1) | (k0 >> 31);
        k0 = (k0 << 1) ^ reduction;
    }

    action absorb() {
        v0 = v0 ^ le32(m0);
        v1 = v1 ^ le32(m1);
        v2 = v2 ^ le32(m2);
        v3 = v3 ^ le32(m3);
        CHASKEY_PERMUTE(v0, v1, v2, v3)
    }

    action load_key() {
        k0 = le32(key[127:96]);
        k1 = le32(key[95:64]);
        k2 = le32(key[63:32]);
        k3 = le32(key[31:0]);
        v0 = k0;
        v1 = k1;
        v2 = k2;
        v3 = k3;
    }

    action absorb_headers_and_blocks() {
        next_subkey();
        m0 = hdr.geneve.version ++ hdr.geneve.option_words ++ hdr.geneve.oam ++ hdr.geneve.critical
             ++ hdr.geneve.reserved1 ++ hdr.geneve.protocol;
        m1 = hdr.geneve.vni ++ hdr.geneve.reserved2;
        m2 = hdr.protection.option_class ++ hdr.protection.option_type ++ hdr.protection.reserved
             ++ hdr.protection.data_words;
        m3 = hdr.protection.spi;
        absorb();
        m0 = hdr.protection.sequence[63:32];
        m1 = hdr.protection.sequence[31:0];
        m2 = hdr.protection.coverage ++ hdr.protection.suite ++ hdr.protection.flags;
        m3 = frame_length ++ MAC_DOMAIN;
        absorb();
        m0 = hdr.addresses.dst[47:16];
        m1 = hdr.addresses.dst[15:0] ++ hdr.addresses.src[47:32];
        m2 = hdr.addresses.src[31:0];
        m3 = hdr.frame_type.ether_type ++ hdr.frame_type.first;
        for (bit<8> i = 0; i < block_count; i = i + 1) {
            absorb();
            m0 = hdr.block[i].w0;
            m1 = hdr.block[i].w1;
            m2 = hdr.block[i].w2;
            m3 = hdr.block[i].w3;
        }
    }

    /* A last block that is not full is absorbed under the second subkey, padded with 0x01 and zeros. */
    action pad(in bit<128> tail, in bit<8> tail_length) {
        bit<128> padded = ((tail << 8) | 1) << (8 * (15 - tail_length));
        absorb();
        m0 = padded[127:96];
        m1 = padded[95:64];
        m2 = padded[63:32];
        m3 = padded[31:0];
        next_subkey();
    }

    action finish() {
        v0 = v0 ^ k0;
        v1 = v1 ^ k1;
        v2 = v2 ^ k2;
        v3 = v3 ^ k3;
        absorb();
        icv = le32(v0 ^ k0) ++ le32(v1 ^ k1) ++ le32(v2 ^ k2) ++ le32(v3 ^ k3);
    }

    apply {
        block_count = (bit<8>)((hdr.protection.coverage - FRAME_HEAD_LENGTH) >> 4);
        load_key();
        absorb_headers_and_blocks();
        bit<4> tail_length = hdr.protection.coverage[3:0];
        if (tail_length != 0) {
            bit<128> tail = 0;
            if (tail_length[3:3] == 1) { tail = (bit<128>)hdr.tail8.data; }
            if (tail_length[2:2] == 1) { tail = (tail << 32) | (bit<128>)hdr.tail4.data; }
            if (tail_length[1:1] == 1) { tail = (tail << 16) | (bit<128>)hdr.tail2.data; }
            if (tail_length[0:0] == 1) { tail = (tail << 8) | (bit<128>)hdr.tail1.data; }
            pad(tail, (bit<8>)tail_length);
        }
        finish();
    }
}

/* One block under a key (Even-Mansour over the same permutation). Not a MAC: it spreads flows and hides the inner ones. */
control ChaskeyHash(in key128_t key, in bit<128> block, out bit<16> spread) {
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;

    action permute() {
        v0 = le32(key[127:96] ^ block[127:96]);
        v1 = le32(key[95:64] ^ block[95:64]);
        v2 = le32(key[63:32] ^ block[63:32]);
        v3 = le32(key[31:0] ^ block[31:0]);
        CHASKEY_PERMUTE(v0, v1, v2, v3)
        spread = v0[15:0] ^ le32(key[127:96])[15:0];
    }

    apply {
        permute();
    }
}

#endif
