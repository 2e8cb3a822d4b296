/* SPDX-License-Identifier: Apache-2.0 */
/* Ascon-AEAD128 (NIST SP 800-232, section 4) as one writes it in C, for little-endian machines: the floor under a P4 program
 * that computes it. */
#include <stdint.h>
#include <string.h>
#include <time.h>

#define ROTR(x, n) ((x) >> (n) | (x) << (64 - (n)))

static inline void rounds(uint64_t s[5], uint64_t first) {
  for (uint64_t c = first; c > 0x3C; c -= 15) {
    s[2] ^= c;
    s[0] ^= s[4]; s[4] ^= s[3]; s[2] ^= s[1];
    uint64_t t0 = s[0] ^ (~s[1] & s[2]), t1 = s[1] ^ (~s[2] & s[3]), t2 = s[2] ^ (~s[3] & s[4]);
    uint64_t t3 = s[3] ^ (~s[4] & s[0]), t4 = s[4] ^ (~s[0] & s[1]);
    t1 ^= t0; t0 ^= t4; t3 ^= t2; t2 = ~t2;
    s[0] = t0 ^ ROTR(t0, 19) ^ ROTR(t0, 28);
    s[1] = t1 ^ ROTR(t1, 61) ^ ROTR(t1, 39);
    s[2] = t2 ^ ROTR(t2, 1) ^ ROTR(t2, 6);
    s[3] = t3 ^ ROTR(t3, 10) ^ ROTR(t3, 17);
    s[4] = t4 ^ ROTR(t4, 7) ^ ROTR(t4, 41);
  }
}
#define TWELVE 0xF0
#define EIGHT 0xB4

/* Encrypts m in place. ad: associated data. */
__attribute__((noinline, visibility("default"))) void ascon128(uint8_t *tag, uint8_t *m, uint32_t len, const uint8_t *ad,
                                                               uint32_t ad_len, const uint8_t *key, const uint8_t *nonce) {
  uint64_t k[2], s[5], w[2];
  memcpy(k, key, 16);
  s[0] = 0x00001000808C0001;
  memcpy(s + 1, key, 16);
  memcpy(s + 3, nonce, 16);
  rounds(s, TWELVE);
  s[3] ^= k[0]; s[4] ^= k[1];
  uint8_t last[16];
  for (; ad_len >= 16; ad += 16, ad_len -= 16) {
    memcpy(w, ad, 16);
    s[0] ^= w[0]; s[1] ^= w[1];
    rounds(s, EIGHT);
  }
  memset(last, 0, 16);
  memcpy(last, ad, ad_len);
  last[ad_len] = 1;
  memcpy(w, last, 16);
  s[0] ^= w[0]; s[1] ^= w[1];
  rounds(s, EIGHT);
  s[4] ^= 1ull << 63;
  for (; len >= 16; m += 16, len -= 16) {
    memcpy(w, m, 16);
    s[0] ^= w[0]; s[1] ^= w[1];
    memcpy(m, s, 16);
    rounds(s, EIGHT);
  }
  memset(last, 0, 16);
  memcpy(last, m, len);
  last[len] = 1;
  memcpy(w, last, 16);
  s[0] ^= w[0]; s[1] ^= w[1];
  memcpy(last, s, 16);
  memcpy(m, last, len);
  s[2] ^= k[0]; s[3] ^= k[1];
  rounds(s, TWELVE);
  s[3] ^= k[0]; s[4] ^= k[1];
  memcpy(tag, s + 3, 16);
}
/* Nanoseconds for so many encryptions of so many bytes, with 28 bytes of associated data. */
__attribute__((visibility("default"))) uint64_t ascon128_bench(uint8_t *m, uint32_t len, uint32_t count, uint8_t *tag) {
  struct timespec a, b;
  uint8_t key[16] = {1}, nonce[16] = {2}, ad[28] = {3};
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (uint32_t i = 0; i < count; i++) {
    ascon128(tag, m, len, ad, sizeof ad, key, nonce);
    key[0] ^= tag[0];
  }
  clock_gettime(CLOCK_MONOTONIC, &b);
  return (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000ull + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
}
