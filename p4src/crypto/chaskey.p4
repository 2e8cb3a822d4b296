/* SPDX-License-Identifier: Apache-2.0 */
/* Chaskey-12 (ISO/IEC 29192-6), 128-bit key and tag: the permutation, the MAC over a protected packet, and a keyed hash.
 * The algorithm works on little-endian words, P4 extracts big-endian ones: le32() is the only place that knows. */
#ifndef NVO3SEC_CHASKEY
#define NVO3SEC_CHASKEY

#include "../common/headers.p4"
#include "../common/metadata.p4"

bit<32> le32(in bit<32> word) {
    return word[7:0] ++ word[15:8] ++ word[23:16] ++ word[31:24];
}

/* Four words of a block as one number, so that a state or a subkey can be handled whole: v[127:96] is the first word. */
bit<128> le_words(in bit<128> block) {
    return le32(block[127:96]) ++ le32(block[95:64]) ++ le32(block[63:32]) ++ le32(block[31:0]);
}

/* Multiplication by x in GF(2^128). The first word is the least significant. */
bit<128> times_two(in bit<128> k) {
    bit<128> number = k[31:0] ++ k[63:32] ++ k[95:64] ++ k[127:96];
    bit<128> doubled = (number << 1) ^ (number[127:127] == 1 ? 128w0x87 : 128w0);
    return doubled[31:0] ++ doubled[63:32] ++ doubled[95:64] ++ doubled[127:96];
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
    bit<128> subkey;
    bit<128> last;       /* the block not absorbed yet: the last one is treated differently */
    bit<8> block_count;

    action absorb(in bit<128> block) {
        v0 = v0 ^ le32(block[127:96]);
        v1 = v1 ^ le32(block[95:64]);
        v2 = v2 ^ le32(block[63:32]);
        v3 = v3 ^ le32(block[31:0]);
        CHASKEY_PERMUTE(v0, v1, v2, v3)
    }

    action absorb_headers_and_blocks() {
        v0 = le32(key[127:96]);
        v1 = le32(key[95:64]);
        v2 = le32(key[63:32]);
        v3 = le32(key[31:0]);
        absorb(hdr.geneve.version ++ hdr.geneve.option_words ++ hdr.geneve.control ++ hdr.geneve.critical
               ++ hdr.geneve.reserved1 ++ hdr.geneve.protocol ++ hdr.geneve.vni ++ hdr.geneve.reserved2
               ++ hdr.protection.option_class ++ hdr.protection.option_type ++ hdr.protection.reserved
               ++ hdr.protection.data_words ++ hdr.protection.spi);
        absorb(hdr.protection.sequence ++ hdr.protection.coverage ++ hdr.protection.suite ++ hdr.protection.flags
               ++ frame_length ++ MAC_DOMAIN);
        last = hdr.addresses.dst ++ hdr.addresses.src ++ hdr.frame_type.ether_type ++ hdr.frame_type.first;
        for (bit<8> i = 0; i < block_count; i = i + 1) {
            absorb(last);
            last = hdr.block[i].w0 ++ hdr.block[i].w1 ++ hdr.block[i].w2 ++ hdr.block[i].w3;
        }
    }

    /* A last block that is not full is absorbed under the second subkey, padded with 0x01 and zeros. */
    action pad(in bit<128> tail, in bit<8> tail_length) {
        absorb(last);
        last = ((tail << 8) | 1) << (8 * (15 - tail_length));
        subkey = times_two(subkey);
    }

    action finish() {
        last = le_words(last) ^ subkey;
        v0 = v0 ^ last[127:96];
        v1 = v1 ^ last[95:64];
        v2 = v2 ^ last[63:32];
        v3 = v3 ^ last[31:0];
        CHASKEY_PERMUTE(v0, v1, v2, v3)
        icv = le_words((v0 ++ v1 ++ v2 ++ v3) ^ subkey);
    }

    apply {
        block_count = (bit<8>)((hdr.protection.coverage - FRAME_HEAD_LENGTH) >> 4);
        subkey = times_two(le_words(key));
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
control ChaskeyHash(in key128_t key, in bit<128> block, out bit<16> hash) {
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
        hash = v0[15:0] ^ le32(key[127:96])[15:0];
    }

    apply {
        permute();
    }
}

#endif
