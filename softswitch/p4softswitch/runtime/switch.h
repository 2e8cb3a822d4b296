/* SPDX-License-Identifier: Apache-2.0 */
/* The switch: what all lanes share, and what needs no more than that and a lane. */
#ifndef P4_SWITCH_H
#define P4_SWITCH_H

struct port;

struct sw {
  pthread_mutex_t lock;
  uint32_t waiting; /* threads of the control plane that want the lock */
  uint32_t drop_port;
  int log_enabled, capture;
  uint64_t start_ns, fixed_now;
  int clock_fixed;
  struct table tables[P4_TABLES];
  struct counter *counters[P4_COUNTERS];
  struct meter *meters[P4_METERS];
  struct registers registers[P4_REGISTERS];
  struct profile profiles[P4_PROFILES];
  struct group **groups;   /* 65536 */
  struct group **sessions; /* 32768 */
  struct port **ports;     /* 65536 */
  struct port *port_list;
  uint64_t *missed;        /* 65536: frames for a port that there is not */
  uint64_t missed_told, missed_told_at;
  uint32_t missed_last;
  size_t out_limit;
  pthread_cond_t out_ready;
  struct lane lane;
};

/* Of a clock that goes on while the machine is suspended: limits that a program keeps by it have passed when it wakes up. */
static inline uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
/* Microseconds since the switch was made. */
static inline uint64_t clock_us(const struct sw *S) {
  return S->clock_fixed ? S->fixed_now : (clock_ns() - S->start_ns) / 1000;
}
/* Read once a batch. */
static inline void tick(struct sw *S) { S->lane.now = clock_us(S); }

static uint32_t meter_execute(struct sw *S, struct meter *m, uint64_t amount) {
  uint32_t color = 0;
  if (!m || !m->configured) return 0;
  for (int i = 0; i < 2; i++) {
    uint64_t since = (uint64_t)((double)(S->lane.now - m->start) * m->rate[i]);
    uint64_t grown = since >= m->last[i] ? since - m->last[i] : 0;
    if (since >= m->last[i]) m->last[i] = since;
    m->tokens[i] = m->tokens[i] + grown < m->burst[i] ? m->tokens[i] + grown : m->burst[i];
    if (m->tokens[i] < amount) {
      color = i == 0 ? 2 : 1;
      break; /* a packet that the peak rate refuses does not touch the committed one */
    }
    m->tokens[i] -= amount;
  }
  return color;
}
static inline uint64_t random_next(struct sw *S) { /* xorshift128+ */
  uint64_t a = S->lane.random[0], b = S->lane.random[1];
  S->lane.random[0] = b;
  a ^= a << 23;
  S->lane.random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
  return S->lane.random[1] + b;
}
static inline uint64_t random_between(struct sw *S, uint64_t low, uint64_t high) {
  uint64_t span = high - low + 1;
  return span ? low + random_next(S) % span : random_next(S);
}

static __attribute__((noinline, cold)) void assertion_failed(struct sw *S, struct pkt *P) {
  /* BMv2 ends the process here. A switch that goes on must not let the packet through. */
  S->lane.stats.assertion_failed++;
  P->exit = P->failed = 1;
}

#define W_DIVIDE(name, result) \
  static inline wide_t name(struct sw *S, wide_t a, wide_t b) { \
    wide_t q = w_fill(0, 0, 0), r = q; \
    if (w_negative(a) || w_negative(b) || w_cmp(b, q) == 0) { S->lane.stats.division_by_zero++; return q; } \
    for (int i = 511; i >= 0; i--) { \
      r = w_shl(r, 1); \
      r.w[0] |= (a.w[i / 64] >> (i % 64)) & 1; \
      if (w_cmp(r, b) >= 0) { r = w_sub(r, b); q.w[i / 64] |= 1ull << (i % 64); } \
    } \
    return result; \
  }
W_DIVIDE(w_div, q)
W_DIVIDE(w_mod, r)
#endif
