/* SPDX-License-Identifier: Apache-2.0 */
/* Ascon-AEAD128 (NIST SP 800-232, section 4), 128-bit key, nonce and tag: one control that encrypts or decrypts a frame in
 * place and gives its tag. The algorithm works on little-endian words of 64 bits, P4 extracts big-endian ones: ASCON_SWAPPED is
 * the only place that knows.
 *
 * What stands in one action and what in the next is no taste: see crypto/chaskey.p4. */
#ifndef NVO3SEC_ASCON
#define NVO3SEC_ASCON

#include "../common/headers.p4"
#include "../common/metadata.p4"
#include "../common/frame_tail.p4"

/* One expression: a compiler sees a byte swap in it, and on BMv2 every statement costs as much as several operations. */
#define ASCON_SWAPPED(x)                                                                            \
    (((x) << 56) | (((x) & 0xFF00) << 40) | (((x) & 0xFF0000) << 24) | (((x) & 0xFF000000) << 8)    \
     | (((x) >> 8) & 0xFF000000) | (((x) >> 24) & 0xFF0000) | (((x) >> 40) & 0xFF00) | ((x) >> 56))

#define ROTATED_RIGHT_64(x, n) (((x) >> n) | ((x) << (64 - n)))

/* One round of Ascon-p (section 3.2 to 3.4). y3 and y4 are what two columns of the substitution need of words that it has
 * changed by then. */
#define ASCON_ROUND(x0, x1, x2, x3, x4, y3, y4, constant)                   \
    x0 = x0 ^ x4;                                                           \
    x4 = x4 ^ x3;                                                           \
    x2 = x2 ^ x1 ^ constant;                                                \
    y3 = ~x4 & x0;                                                          \
    y4 = ~x0 & x1;                                                          \
    x0 = x0 ^ (~x1 & x2);                                                   \
    x1 = x1 ^ (~x2 & x3);                                                   \
    x2 = x2 ^ (~x3 & x4);                                                   \
    x3 = x3 ^ y3;                                                           \
    x4 = x4 ^ y4;                                                           \
    x1 = x1 ^ x0;                                                           \
    x0 = x0 ^ x4;                                                           \
    x3 = x3 ^ x2;                                                           \
    x2 = ~x2;                                                               \
    x0 = x0 ^ ROTATED_RIGHT_64(x0, 19) ^ ROTATED_RIGHT_64(x0, 28);          \
    x1 = x1 ^ ROTATED_RIGHT_64(x1, 61) ^ ROTATED_RIGHT_64(x1, 39);          \
    x2 = x2 ^ ROTATED_RIGHT_64(x2, 1) ^ ROTATED_RIGHT_64(x2, 6);            \
    x3 = x3 ^ ROTATED_RIGHT_64(x3, 10) ^ ROTATED_RIGHT_64(x3, 17);          \
    x4 = x4 ^ ROTATED_RIGHT_64(x4, 7) ^ ROTATED_RIGHT_64(x4, 41);

/* Identifier, rounds, tag length and rate (table 3). */
const bit<64> ASCON_INITIAL = 0x00001000808C0001;
/* Constant of the first of twelve rounds, and of eight (table 1, in the order of section 3.2); each is 15 less than the one
 * before, and the last is 0x4B. */
const bit<64> ASCON_TWELVE_ROUNDS = 0xF0;
const bit<64> ASCON_EIGHT_ROUNDS = 0xB4;
const bit<64> ASCON_AFTER_LAST_ROUND = 0x3C;
const bit<64> ASCON_DOMAIN = 0x8000000000000000;   /* between associated data and frame (section 4.1.2) */

/* All steps have to be counted, or a long frame would be encrypted up to where the count wraps around, at both ends alike. */
const bool STEPS_ARE_COUNTED = static_assert(FRAME_BLOCKS < 0xFFFA, "FRAME_BLOCKS needs a wider counter of steps");

/* What each step absorbs, before it permutes: those in front of the blocks of the frame's stack, of which there is one each; the
 * tail comes behind them. */
const bit<16> ASCON_STEP_NONCE = 0;
const bit<16> ASCON_STEP_BOUND_1 = 1;   /* associated data (section 4.1.1) */
const bit<16> ASCON_STEP_BOUND_2 = 2;
const bit<16> ASCON_STEP_HEAD = 3;
const bit<16> ASCON_STEPS_IN_FRONT = 4;

/* Suite 2 (docs/wire-format.md): associated data is what is bound, 28 bytes; plaintext the whole inner frame; nonce SPI, 32 zero
 * bits, sequence. It reads and writes the headers of the frame alone, and `tail` (see FrameTail), which holds what they do.
 *
 * opening: decrypt. A single pass has no other way than to write plaintext before the tag is known; whoever applies it compares
 * the tag, and wipes the frame where it is another. */
control AsconAead128(inout headers_t hdr, inout bit<128> tail, in bound_t bound, @secret in key128_t key,
                     in bit<16> frame_length, out bit<128> tag)(bool opening) {
    FrameTail() frame_tail;
    @secret bit<64> x0;
    @secret bit<64> x1;
    @secret bit<64> x2;
    @secret bit<64> x3;
    @secret bit<64> x4;
    @secret bit<64> y3;
    @secret bit<64> y4;
    @secret bit<64> k0;
    @secret bit<64> k1;
    bit<16> step_count;
    bit<16> full_blocks;  /* of the stack */
    bit<16> next;         /* of the stack; not one of it for the steps in front, and its end for the tail */
    bit<128> tail_mask;   /* ones where the tail has bytes */
    bit<128> tail_end;    /* the bit behind its last byte (appendix A.2) */
    bit<8> tail_length;   /* bytes */

    action load() {
        k0 = key[127:64];
        k1 = key[63:0];
        x3 = bound.a3 ++ 32w0;
        x4 = bound.a4 ++ bound.a5;
    }

    action start() {
        k0 = ASCON_SWAPPED(k0);
        k1 = ASCON_SWAPPED(k1);
        x3 = ASCON_SWAPPED(x3);
        x4 = ASCON_SWAPPED(x4);
        x0 = ASCON_INITIAL;
        x1 = k0;
        x2 = k1;
        next = 0 - ASCON_STEPS_IN_FRONT;
        full_blocks = (frame_length - FRAME_HEAD_LENGTH) >> 4;
        step_count = full_blocks + ASCON_STEPS_IN_FRONT + 1;
    }

    action mask_tail() {
        tail_mask = ~(~128w0 >> (8 * tail_length));
        tail_end = 128w1 << (8 * (15 - tail_length));
    }

    action run() {
        for (bit<16> i = 0; i < step_count; i = i + 1) {
            bit<64> first_constant = ASCON_EIGHT_ROUNDS;
            x0 = ASCON_SWAPPED(x0);
            x1 = ASCON_SWAPPED(x1);
            if (next < full_blocks) {
                hdr.block[next].w0 = hdr.block[next].w0 ^ x0[63:32];
                hdr.block[next].w1 = hdr.block[next].w1 ^ x0[31:0];
                hdr.block[next].w2 = hdr.block[next].w2 ^ x1[63:32];
                hdr.block[next].w3 = hdr.block[next].w3 ^ x1[31:0];
                if (opening) {
                    x0 = x0 ^ (hdr.block[next].w0 ++ hdr.block[next].w1);
                    x1 = x1 ^ (hdr.block[next].w2 ++ hdr.block[next].w3);
                } else {
                    x0 = hdr.block[next].w0 ++ hdr.block[next].w1;
                    x1 = hdr.block[next].w2 ++ hdr.block[next].w3;
                }
            } else if (i == ASCON_STEP_HEAD) {
                x4 = x4 ^ ASCON_DOMAIN;
                hdr.addresses.dst = hdr.addresses.dst ^ x0[63:16];
                hdr.addresses.src = hdr.addresses.src ^ (x0[15:0] ++ x1[63:32]);
                hdr.frame_type.ether_type = hdr.frame_type.ether_type ^ x1[31:16];
                hdr.frame_type.first = hdr.frame_type.first ^ x1[15:0];
                if (opening) {
                    x0 = x0 ^ (hdr.addresses.dst ++ hdr.addresses.src[47:32]);
                    x1 = x1 ^ (hdr.addresses.src[31:0] ++ hdr.frame_type.ether_type ++ hdr.frame_type.first);
                } else {
                    x0 = hdr.addresses.dst ++ hdr.addresses.src[47:32];
                    x1 = hdr.addresses.src[31:0] ++ hdr.frame_type.ether_type ++ hdr.frame_type.first;
                }
            } else if (next == full_blocks) {
                /* Behind the tail the state keeps what it has, whichever way. */
                if (opening) {
                    tail = (tail ^ (x0 ++ x1)) & tail_mask;
                    x0 = x0 ^ tail[127:64] ^ tail_end[127:64];
                    x1 = x1 ^ tail[63:0] ^ tail_end[63:0];
                } else {
                    x0 = x0 ^ tail[127:64];
                    x1 = x1 ^ tail[63:0];
                    tail = (x0 ++ x1) & tail_mask;
                    x0 = x0 ^ tail_end[127:64];
                    x1 = x1 ^ tail_end[63:0];
                }
                x2 = x2 ^ k0;
                x3 = x3 ^ k1;
                first_constant = ASCON_TWELVE_ROUNDS;
            } else if (i == ASCON_STEP_NONCE) {
                first_constant = ASCON_TWELVE_ROUNDS;
            } else if (i == ASCON_STEP_BOUND_1) {
                x3 = x3 ^ k0;
                x4 = x4 ^ k1;
                x0 = x0 ^ (bound.a0 ++ bound.a1);
                x1 = x1 ^ (bound.a2 ++ bound.a3);
            } else {
                x0 = x0 ^ (bound.a4 ++ bound.a5);
                x1 = x1 ^ (bound.a6 ++ 32w0x01000000);
            }
            x0 = ASCON_SWAPPED(x0);
            x1 = ASCON_SWAPPED(x1);
            for (bit<64> constant = first_constant; constant > ASCON_AFTER_LAST_ROUND; constant = constant - 15) {
                ASCON_ROUND(x0, x1, x2, x3, x4, y3, y4, constant)
            }
            next = next + 1;
        }
    }

    action finish() {
        x3 = x3 ^ k0;
        x4 = x4 ^ k1;
        x3 = ASCON_SWAPPED(x3);
        x4 = ASCON_SWAPPED(x4);
        tag = x3 ++ x4;
    }

    apply {
        tail_length = (bit<8>)frame_length[3:0];
        frame_tail.apply(hdr, tail_length, tail);
        load();
        start();
        mask_tail();
        run();
        finish();
        if (tail_length[3:3] == 1) { hdr.tail8.data = tail[127:64]; tail = tail << 64; }
        if (tail_length[2:2] == 1) { hdr.tail4.data = tail[127:96]; tail = tail << 32; }
        if (tail_length[1:1] == 1) { hdr.tail2.data = tail[127:112]; tail = tail << 16; }
        if (tail_length[0:0] == 1) { hdr.tail1.data = tail[127:120]; }
    }
}

#endif
