/* SPDX-License-Identifier: Apache-2.0 */
/* Types, loads and stores in network order, and the wide integers that stand in where 128 bits do not hold a value. */
#ifndef P4_BASE_H
#define P4_BASE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "this runtime is written for little-endian machines"
#endif

typedef unsigned __int128 u128;
typedef __int128 i128;
#define U128(high, low) (((u128)(high) << 64) | (uint64_t)(low))
#define likely(c) __builtin_expect(!!(c), 1)
#define unlikely(c) __builtin_expect(!!(c), 0)
#define NOINLINE __attribute__((noinline))
/* More than any link carries, so that programs meet lengths that do not fit into 16 bits. */
#define P4_MAX_FRAME 131072u
#define P4_SCRATCH (P4_MAX_FRAME + 65536u)
#define ROTL32(v, n) (((v) << (n)) | ((v) >> (32 - (n))))
#define ROTL64(v, n) (((v) << (n)) | ((v) >> (64 - (n))))

static inline u128 bswap128(u128 v) { return U128(__builtin_bswap64((uint64_t)v), __builtin_bswap64((uint64_t)(v >> 64))); }

static inline uint32_t LD8(const uint8_t *p) { return *p; }
static inline uint32_t LD16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline uint32_t LD32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t LD64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline u128 LD128(const uint8_t *p) { return U128(LD64(p), LD64(p + 8)); }
/* Of fewer bytes, the rest zero: at the end of what may be read. */
static inline uint32_t LD32_OF(const uint8_t *p, size_t bytes) { uint32_t v = 0; memcpy(&v, p, bytes); return __builtin_bswap32(v); }
static inline uint64_t LD64_OF(const uint8_t *p, size_t bytes) { uint64_t v = 0; memcpy(&v, p, bytes); return __builtin_bswap64(v); }
static inline u128 LD128_OF(const uint8_t *p, size_t bytes) { return U128(LD64(p), LD64_OF(p + 8, bytes - 8)); }
static inline void ST8(uint8_t *p, uint32_t v) { *p = (uint8_t)v; }
static inline void ST16(uint8_t *p, uint32_t v) { uint16_t s = __builtin_bswap16((uint16_t)v); memcpy(p, &s, 2); }
static inline void ST32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
static inline void ST64(uint8_t *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
static inline void ST128(uint8_t *p, u128 v) { ST64(p, (uint64_t)(v >> 64)); ST64(p + 8, (uint64_t)v); }

/* Zeroes whole 16-byte units. A C compiler makes a slow string instruction of memset for sizes that it knows. */
static inline void zero_units(void *p, size_t bytes) {
  typedef uint64_t unit __attribute__((vector_size(16), may_alias));
  unit *at = p, *const end = at + bytes / 16;
#pragma GCC unroll 8
  for (; at < end; at++) {
    *at = (unit){0, 0};
    __asm__("" : "+r"(at)); /* or it becomes that memset again */
  }
}

/* Saturating casts. The C type holds the whole interval of the value and of the target. */
#define P4_SATURATE(bits, type) \
  static inline type saturate##bits(type v, int width, int with_sign) { \
    const type top = with_sign ? (type)(((type)1 << (width - 1)) - 1) : (type)(((type)1 << width) - 1); \
    const type bottom = with_sign ? -top - 1 : 0; \
    return v > top ? top : v < bottom ? bottom : v; \
  }
P4_SATURATE(32, int32_t)
P4_SATURATE(64, int64_t)
P4_SATURATE(128, i128)

/* Two's complement of 512 bits. Slow, and only there so that no expression of a program has to be refused. */
typedef struct { uint64_t w[8]; } wide_t;

static inline int w_negative(wide_t a) { return (int)(a.w[7] >> 63); }
static inline wide_t w_fill(uint64_t low, uint64_t high, uint64_t fill) {
  wide_t r = {{low, high, fill, fill, fill, fill, fill, fill}};
  return r;
}
static inline wide_t w_from_u(u128 v) { return w_fill((uint64_t)v, (uint64_t)(v >> 64), 0); }
static inline wide_t w_from_s(i128 v) { return w_fill((uint64_t)v, (uint64_t)((u128)v >> 64), v < 0 ? ~0ull : 0); }
static inline u128 w_low(wide_t a) { return U128(a.w[1], a.w[0]); }
static inline wide_t w_not(wide_t a) { for (int i = 0; i < 8; i++) a.w[i] = ~a.w[i]; return a; }
static inline wide_t w_and(wide_t a, wide_t b) { for (int i = 0; i < 8; i++) a.w[i] &= b.w[i]; return a; }
static inline wide_t w_or(wide_t a, wide_t b) { for (int i = 0; i < 8; i++) a.w[i] |= b.w[i]; return a; }
static inline wide_t w_xor(wide_t a, wide_t b) { for (int i = 0; i < 8; i++) a.w[i] ^= b.w[i]; return a; }
static inline wide_t w_add(wide_t a, wide_t b) {
  uint64_t carry = 0;
  for (int i = 0; i < 8; i++) {
    u128 sum = (u128)a.w[i] + b.w[i] + carry;
    a.w[i] = (uint64_t)sum;
    carry = (uint64_t)(sum >> 64);
  }
  return a;
}
static inline wide_t w_neg(wide_t a) { return w_add(w_not(a), w_fill(1, 0, 0)); }
static inline wide_t w_sub(wide_t a, wide_t b) { return w_add(a, w_neg(b)); }
static inline wide_t w_mul(wide_t a, wide_t b) {
  wide_t r = w_fill(0, 0, 0);
  for (int i = 0; i < 8; i++) {
    uint64_t carry = 0;
    for (int j = 0; i + j < 8; j++) {
      u128 p = (u128)a.w[i] * b.w[j] + r.w[i + j] + carry;
      r.w[i + j] = (uint64_t)p;
      carry = (uint64_t)(p >> 64);
    }
  }
  return r;
}
static inline wide_t w_shl(wide_t a, uint32_t n) {
  wide_t r = w_fill(0, 0, 0);
  if (n >= 512) return r;
  for (uint32_t i = n / 64; i < 8; i++) {
    uint32_t from = i - n / 64;
    r.w[i] = a.w[from] << (n % 64);
    if (n % 64 && from) r.w[i] |= a.w[from - 1] >> (64 - n % 64);
  }
  return r;
}
static inline wide_t w_shr(wide_t a, uint32_t n) {
  const uint64_t fill = w_negative(a) ? ~0ull : 0;
  wide_t r = w_fill(fill, fill, fill);
  if (n >= 512) return r;
  for (uint32_t i = 0; i + n / 64 < 8; i++) {
    uint32_t from = i + n / 64;
    uint64_t next = from + 1 < 8 ? a.w[from + 1] : fill;
    r.w[i] = a.w[from] >> (n % 64);
    if (n % 64) r.w[i] |= next << (64 - n % 64);
  }
  return r;
}
static inline u128 w_bits(wide_t a, uint32_t low) { return w_low(w_shr(a, low)); }
static inline int w_cmp(wide_t a, wide_t b) {
  if (w_negative(a) != w_negative(b)) return w_negative(a) ? -1 : 1;
  for (int i = 7; i >= 0; i--)
    if (a.w[i] != b.w[i]) return a.w[i] < b.w[i] ? -1 : 1;
  return 0;
}
static inline wide_t w_wrap(wide_t a, uint32_t width) { return w_shr(w_shl(a, 512 - width), 512 - width); }
static inline wide_t w_saturate(wide_t v, uint32_t width, int with_sign) {
  const wide_t one = w_fill(1, 0, 0);
  wide_t top = w_sub(w_shl(one, with_sign ? width - 1 : width), one);
  wide_t bottom = with_sign ? w_not(top) : w_fill(0, 0, 0);
  if (w_cmp(v, top) > 0) return top;
  return w_cmp(v, bottom) < 0 ? bottom : v;
}
/* An amount to shift by: what is negative or large shifts everything out. */
static inline uint32_t w_amount(wide_t a) {
  return w_negative(a) || w_cmp(a, w_fill(0xffff, 0, 0)) > 0 ? 0xffffu : (uint32_t)a.w[0];
}
/* An index: what is negative or large is out of every range. */
static inline uint64_t w_index(wide_t a) {
  return w_negative(a) || w_cmp(a, w_fill(~0ull, 0, 0)) > 0 ? ~0ull : a.w[0];
}
#endif
