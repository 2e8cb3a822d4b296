/* SPDX-License-Identifier: Apache-2.0 */
/* Chaskey-12 (ISO/IEC 29192-6), 128-bit key and tag: the permutation, the MAC over a protected packet, and a keyed hash.
 * The algorithm works on little-endian words, P4 extracts big-endian ones: SWAPPED is the only place that knows.
 *
 * What stands in one action and what in the next is no taste: p4c writes the right side of an assignment at every place of
 * that action that uses the variable, unless the assignment reads its own target. So words are loaded in one action and
 * swapped in place in the next, and the permutation stands once in each control (docs/decisions/0028-one-permutation-text.md). */
#ifndef NVO3SEC_CHASKEY
#define NVO3SEC_CHASKEY

#include "../common/headers.p4"
#include "../common/metadata.p4"
#include "../common/frame_tail.p4"

/* One expression: a compiler sees a byte swap in it, and on BMv2 every statement costs as much as several operations. */
#define SWAPPED(x) (((x) << 24) | (((x) & 0xFF00) << 8) | (((x) >> 8) & 0xFF00) | ((x) >> 24))

#define ROTATED_LEFT(x, n) (((x) << n) | ((x) >> (32 - n)))

/* One round over the state v0..v3 but for the rotation of v2 by 16 that ends it: `v2_before` is v2 with that of the round
 * before. */
#define CHASKEY_ROUND(v0, v1, v2, v3, v2_before)  \
    v0 = v0 + v1;                                 \
    v1 = ROTATED_LEFT(v1, 5) ^ v0;                \
    v2 = v2_before + v3;                          \
    v3 = ROTATED_LEFT(v3, 8) ^ v2;                \
    v0 = ROTATED_LEFT(v0, 16) + v3;               \
    v3 = ROTATED_LEFT(v3, 13) ^ v0;               \
    v2 = v2 + v1;                                 \
    v1 = ROTATED_LEFT(v1, 7) ^ v2;

/* The permutation: twelve rounds, two a turn. */
#define CHASKEY_PERMUTE(v0, v1, v2, v3)                                   \
    for (bit<8> turn = 0; turn < 6; turn = turn + 1) {                    \
        CHASKEY_ROUND(v0, v1, v2, v3, v2)                                 \
        CHASKEY_ROUND(v0, v1, v2, v3, ROTATED_LEFT(v2, 16))               \
        v2 = ROTATED_LEFT(v2, 16);                                        \
    }

/* All blocks of a frame, those in front and the tail have to be counted, or a long frame would be protected up to where the
 * count wraps around, at both ends alike. */
const bool BLOCKS_ARE_COUNTED = static_assert(FRAME_BLOCKS < 0xFFFC, "FRAME_BLOCKS needs a wider counter of blocks");

/* Blocks under the ICV in front of those of the frame's stack. */
const bit<16> BLOCK_OF_BOUND = 0;
const bit<16> BLOCK_OF_LENGTH = 1;
const bit<16> BLOCK_OF_ADDRESSES = 2;
const bit<16> BLOCKS_IN_FRONT = 3;

/* The ICV of suite 1 (docs/wire-format.md): over what is bound, the inner length and a domain word, and the first `coverage`
 * bytes of the inner frame. Of the headers it reads those of the frame alone. */
control ChaskeyIcv(in headers_t hdr, in bound_t bound, @secret in key128_t key, in bit<16> frame_length, out bit<128> icv) {
    FrameTail() frame_tail;
    @secret bit<32> v0;
    @secret bit<32> v1;
    @secret bit<32> v2;
    @secret bit<32> v3;
    @secret bit<32> k0;          /* key, then subkey of the last block; k3 is its most significant word */
    @secret bit<32> k1;
    @secret bit<32> k2;
    @secret bit<32> k3;
    bit<16> block_count; /* all blocks; the last one is absorbed under the subkey */
    bit<16> full_blocks; /* of the stack, to be absorbed without a subkey */
    bit<16> next;        /* of the stack; not one of it for the blocks in front */
    bit<128> tail;       /* of the frame: the last block if the coverage does not end with a full one */
    bit<8> tail_length;  /* bytes */
    bit<8> doublings;

    action load_key() {
        k0 = key[127:96];
        k1 = key[95:64];
        k2 = key[63:32];
        k3 = key[31:0];
    }

    action swap_key() {
        k0 = SWAPPED(k0);
        k1 = SWAPPED(k1);
        k2 = SWAPPED(k2);
        k3 = SWAPPED(k3);
        v0 = k0;
        v1 = k1;
        v2 = k2;
        v3 = k3;
    }

    /* Multiplication by x in GF(2^128): once for the subkey of a full last block, twice for that of a padded one. */
    action make_subkey() {
        for (bit<8> i = 0; i < doublings; i = i + 1) {
            bit<32> reduction = k3[31:31] == 1 ? 32w0x87 : 0;
            k3 = (k3 << 1) | (k2 >> 31);
            k2 = (k2 << 1) | (k1 >> 31);
            k1 = (k1 << 1) | (k0 >> 31);
            k0 = (k0 << 1) ^ reduction;
        }
    }

    /* A last block that is not full is padded with 0x01 and zeros. */
    action pad_tail() {
        tail = tail | (128w1 << (8 * (15 - tail_length)));
    }

    action absorb_blocks() {
        bit<32> m0;
        bit<32> m1;
        bit<32> m2;
        bit<32> m3;
        for (bit<16> i = 0; i < block_count; i = i + 1) {
            if (next < full_blocks) {
                m0 = hdr.block[next].w0;
                m1 = hdr.block[next].w1;
                m2 = hdr.block[next].w2;
                m3 = hdr.block[next].w3;
            } else {
                if (i == BLOCK_OF_BOUND) {
                    m0 = bound.a0;
                    m1 = bound.a1;
                    m2 = bound.a2;
                    m3 = bound.a3;
                } else if (i == BLOCK_OF_LENGTH) {
                    m0 = bound.a4;
                    m1 = bound.a5;
                    m2 = bound.a6;
                    m3 = frame_length ++ ICV_DOMAIN;
                } else if (i == BLOCK_OF_ADDRESSES) {
                    m0 = hdr.addresses.dst[47:16];
                    m1 = hdr.addresses.dst[15:0] ++ hdr.addresses.src[47:32];
                    m2 = hdr.addresses.src[31:0];
                    m3 = hdr.frame_type.ether_type ++ hdr.frame_type.first;
                } else if (tail_length == 0) {
                    m0 = hdr.block[next].w0;
                    m1 = hdr.block[next].w1;
                    m2 = hdr.block[next].w2;
                    m3 = hdr.block[next].w3;
                } else {
                    m0 = tail[127:96];
                    m1 = tail[95:64];
                    m2 = tail[63:32];
                    m3 = tail[31:0];
                }
                if (i + 1 == block_count) {
                    v0 = v0 ^ k0;
                    v1 = v1 ^ k1;
                    v2 = v2 ^ k2;
                    v3 = v3 ^ k3;
                }
            }
            v0 = v0 ^ SWAPPED(m0);
            v1 = v1 ^ SWAPPED(m1);
            v2 = v2 ^ SWAPPED(m2);
            v3 = v3 ^ SWAPPED(m3);
            CHASKEY_PERMUTE(v0, v1, v2, v3)
            next = next + 1;
        }
    }

    action finish() {
        v0 = v0 ^ k0;
        v1 = v1 ^ k1;
        v2 = v2 ^ k2;
        v3 = v3 ^ k3;
        v0 = SWAPPED(v0);
        v1 = SWAPPED(v1);
        v2 = SWAPPED(v2);
        v3 = SWAPPED(v3);
        icv = v0 ++ v1 ++ v2 ++ v3;
    }

    apply {
        load_key();
        swap_key();
        bit<16> coverage = bound.a6[31:16];
        full_blocks = (coverage - FRAME_HEAD_LENGTH) >> 4;
        block_count = full_blocks + BLOCKS_IN_FRONT + 1;
        next = 0 - BLOCKS_IN_FRONT;
        tail = 0;
        tail_length = (bit<8>)coverage[3:0];
        doublings = 2;
        if (tail_length == 0) {
            doublings = 1;
            block_count = block_count - 1;
            if (full_blocks != 0) {
                full_blocks = full_blocks - 1;
            }
        } else {
            frame_tail.apply(hdr, tail_length, tail);
            pad_tail();
        }
        make_subkey();
        absorb_blocks();
        finish();
    }
}

/* One block under a key (Even-Mansour over the same permutation). Not a MAC: it spreads flows and hides the inner ones. */
control ChaskeyHash(@secret in key128_t key, in bit<128> block, out bit<64> digest) {
    @secret bit<32> v0;
    @secret bit<32> v1;
    @secret bit<32> v2;
    @secret bit<32> v3;
    @secret bit<32> k0;
    @secret bit<32> k1;

    action load() {
        k0 = key[127:96];
        k1 = key[95:64];
        v0 = key[127:96] ^ block[127:96];
        v1 = key[95:64] ^ block[95:64];
        v2 = key[63:32] ^ block[63:32];
        v3 = key[31:0] ^ block[31:0];
    }

    action permute() {
        v0 = SWAPPED(v0);
        v1 = SWAPPED(v1);
        v2 = SWAPPED(v2);
        v3 = SWAPPED(v3);
        CHASKEY_PERMUTE(v0, v1, v2, v3)
        digest = (v1 ^ SWAPPED(k1)) ++ (v0 ^ SWAPPED(k0));
    }

    apply {
        load();
        permute();
    }
}

#endif
