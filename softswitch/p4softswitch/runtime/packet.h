/* SPDX-License-Identifier: Apache-2.0 */
/* What the generated functions call: validity, header stacks, counters, meters, registers, gathering of bits. */
#ifndef P4_PACKET_H
#define P4_PACKET_H

static inline uint32_t valid_get(const struct phv *v, uint32_t bit) { return (uint32_t)(v->valid[bit >> 6] >> (bit & 63)) & 1; }
static inline void valid_set(struct phv *v, uint32_t bit) { v->valid[bit >> 6] |= 1ull << (bit & 63); }
static inline void valid_clear(struct phv *v, uint32_t bit) { v->valid[bit >> 6] &= ~(1ull << (bit & 63)); }
static inline uint64_t valid_window(const struct phv *v, uint32_t bit) {
  const uint32_t w = bit >> 6, s = bit & 63;
  return s ? v->valid[w] >> s | v->valid[w + 1] << (64 - s) : v->valid[w];
}

static inline void valid_set_run(struct phv *v, uint32_t bit, uint32_t count) {
  while (count) {
    const uint32_t s = bit & 63, n = count < 64 - s ? count : 64 - s;
    v->valid[bit >> 6] |= (n == 64 ? ~0ull : (1ull << n) - 1) << s;
    bit += n;
    count -= n;
  }
}

static __attribute__((noinline, cold)) uint32_t stack_out_of_range(
    struct sw *S, struct pkt *P, uint32_t count, uint32_t scratch, uint32_t size) {
  /* BMv2 ends the process. Here such a header reads as zero, writes are lost, and it is counted. */
  S->lane.stats.stack_index++;
  memset(P->phv.h + scratch, 0, size);
  return count;
}
static inline uint32_t stack_index(
    struct sw *S, struct pkt *P, uint64_t index, uint32_t count, uint32_t scratch, uint32_t size) {
  return likely(index < count) ? (uint32_t)index : stack_out_of_range(S, P, count, scratch, size);
}
static inline uint32_t stack_last(
    struct sw *S, struct pkt *P, uint32_t stack, uint32_t count, uint32_t scratch, uint32_t size) {
  const uint32_t next = P->phv.next[stack];
  return likely(next) ? next - 1 : stack_out_of_range(S, P, count, scratch, size);
}
static void valid_copy(struct phv *v, uint32_t to, uint32_t from) {
  if (valid_get(v, from)) valid_set(v, to);
  else valid_clear(v, to);
}
static void stack_push(
    struct pkt *P, uint32_t stack, uint32_t first, uint32_t count, uint32_t base, uint32_t size, uint32_t n) {
  if (!n) return;
  if (n > count) n = count;
  const uint32_t next = P->phv.next[stack] + n;
  P->phv.next[stack] = next < count ? next : count;
  memmove(P->phv.h + base + n * size, P->phv.h + base, (size_t)(count - n) * size);
  for (uint32_t i = count; i-- > n;) valid_copy(&P->phv, first + i, first + i - n);
  for (uint32_t i = 0; i < n; i++) valid_clear(&P->phv, first + i);
}
static void stack_pop(
    struct pkt *P, uint32_t stack, uint32_t first, uint32_t count, uint32_t base, uint32_t size, uint32_t n) {
  if (n > count) n = count;
  P->phv.next[stack] -= P->phv.next[stack] < n ? P->phv.next[stack] : n;
  memmove(P->phv.h + base, P->phv.h + base + n * size, (size_t)(count - n) * size);
  for (uint32_t i = 0; i < count - n; i++) valid_copy(&P->phv, first + i, first + i + n);
  for (uint32_t i = count - n; i < count; i++) valid_clear(&P->phv, first + i);
}

/* Valid elements of a stack, run by run: in the usual case one copy. */
static inline uint32_t emit_run(
    const struct pkt *P, uint8_t *out, uint32_t first, uint32_t count, uint32_t base, uint32_t size) {
  uint32_t i = 0, n = 0;
  while (i < count) {
    const uint64_t window = valid_window(&P->phv, first + i);
    if (!window) { i += 64; continue; }
    i += (uint32_t)__builtin_ctzll(window);
    const uint32_t start = i;
    for (;;) {
      const uint64_t zeros = ~valid_window(&P->phv, first + i);
      if (zeros) { i += (uint32_t)__builtin_ctzll(zeros); break; }
      i += 64;
      if (i >= count) break;
    }
    if (start >= count) break;
    if (i > count) i = count;
    memcpy(out + n, P->phv.h + base + start * size, (size_t)(i - start) * size);
    n += (i - start) * size;
  }
  return n;
}

static inline void counter_count(struct sw *S, struct pkt *P, int which, uint64_t size, uint64_t index) {
  if (unlikely(index >= size)) { S->lane.stats.counter_index++; return; }
  struct counter *c = &S->counters[which][index];
  c->packets++;
  c->bytes += P->ingress_length;
}
/* Gives 0 and leaves the colour alone if there is no such meter. */
static inline int meter_execute_at(
    struct sw *S, struct pkt *P, int which, uint64_t size, uint64_t index, int by_bytes, uint32_t *color) {
  if (unlikely(index >= size)) { S->lane.stats.meter_index++; return 0; }
  *color = meter_execute(S, &S->meters[which][index], by_bytes ? P->ingress_length : 1);
  return 1;
}
static inline u128 register_get(struct sw *S, int which, uint64_t size, uint32_t cell, uint64_t index) {
  u128 value = 0;
  if (unlikely(index >= size)) S->lane.stats.register_index++;
  else memcpy(&value, (const uint8_t *)S->registers[which].cells + index * cell, cell);
  return value;
}

/* Bits behind bits, for hashes: buf holds n bits. */
static size_t bits_put(uint8_t *buf, size_t n, uint64_t value, uint32_t width) {
  while (width) {
    const uint32_t used = n & 7, room = 8 - used, take = width < room ? width : room;
    const uint8_t part = (uint8_t)((value >> (width - take)) & ((1u << take) - 1));
    const uint8_t placed = (uint8_t)(part << (room - take));
    buf[n >> 3] = used ? (uint8_t)(buf[n >> 3] | placed) : placed;
    n += take;
    width -= take;
  }
  return n;
}
static inline size_t bits_copy(uint8_t *buf, size_t n, const uint8_t *from, uint32_t bytes) {
  if (likely((n & 7) == 0)) {
    memcpy(buf + (n >> 3), from, bytes);
    return n + 8 * (size_t)bytes;
  }
  for (uint32_t i = 0; i < bytes; i++) n = bits_put(buf, n, from[i], 8);
  return n;
}
static inline uint32_t digest_put(uint8_t *out, uint32_t n, u128 value, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) out[n + i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
  return n + bytes;
}
static void log_message(struct sw *S, uint32_t message, const i128 *args, uint32_t count);
#endif
