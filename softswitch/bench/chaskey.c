/* SPDX-License-Identifier: Apache-2.0 */
/* Chaskey-12 (ISO/IEC 29192-6) as one writes it in C: the floor under a P4 program that computes it. */
#include <stdint.h>
#include <string.h>
#include <time.h>

#define ROTL(x, n) ((x) << (n) | (x) >> (32 - (n)))

static inline void permute(uint32_t v[4]) {
  for (int i = 0; i < 12; i++) {
    v[0] += v[1]; v[1] = ROTL(v[1], 5); v[1] ^= v[0]; v[0] = ROTL(v[0], 16);
    v[2] += v[3]; v[3] = ROTL(v[3], 8); v[3] ^= v[2];
    v[0] += v[3]; v[3] = ROTL(v[3], 13); v[3] ^= v[0];
    v[2] += v[1]; v[1] = ROTL(v[1], 7); v[1] ^= v[2]; v[2] = ROTL(v[2], 16);
  }
}
static void times_x(uint32_t out[4], const uint32_t in[4]) {
  out[0] = in[0] << 1 ^ (in[3] >> 31) * 0x87;
  for (int i = 1; i < 4; i++) out[i] = in[i] << 1 | in[i - 1] >> 31;
}
__attribute__((noinline, visibility("default"))) void chaskey12(uint8_t *tag, const uint8_t *m, uint32_t len, const uint8_t *key) {
  uint32_t k[4], k1[4], k2[4], v[4], w[4];
  memcpy(k, key, 16);
  times_x(k1, k);
  times_x(k2, k1);
  memcpy(v, k, 16);
  for (; len > 16; m += 16, len -= 16) {
    memcpy(w, m, 16);
    for (int i = 0; i < 4; i++) v[i] ^= w[i];
    permute(v);
  }
  uint8_t last[16] = {0};
  memcpy(last, m, len);
  if (len < 16) last[len] = 1;
  memcpy(w, last, 16);
  const uint32_t *l = len == 16 ? k1 : k2;
  for (int i = 0; i < 4; i++) v[i] ^= w[i] ^ l[i];
  permute(v);
  for (int i = 0; i < 4; i++) v[i] ^= l[i];
  memcpy(tag, v, 16);
}
/* Nanoseconds for so many tags over so many bytes. */
__attribute__((visibility("default"))) uint64_t chaskey12_bench(const uint8_t *m, uint32_t len, uint32_t rounds, uint8_t *tag) {
  struct timespec a, b;
  uint8_t key[16] = {1};
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (uint32_t i = 0; i < rounds; i++) {
    chaskey12(tag, m, len, key);
    key[0] ^= tag[0];
  }
  clock_gettime(CLOCK_MONOTONIC, &b);
  return (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000ull + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
}
