/* SPDX-License-Identifier: Apache-2.0 */
/* The packet on its way through the program, and everything of the switch that outlives it. */
#ifndef P4_STATE_H
#define P4_STATE_H

struct phv {
  uint64_t valid[P4_VALID_WORDS + 1]; /* one more, so that 64 bits can be read from any place */
  uint32_t next[P4_STACKS];
  struct metadata m;
  uint8_t h[P4_HEADER_BYTES];
};

struct pkt {
  const uint8_t *payload; /* behind what the parser took */
  uint32_t payload_len;
  uint32_t ingress_length; /* what counters and meters count */
  uint64_t packet_length;  /* follows add_header and remove_header */
  uint64_t truncated;
  uint16_t clone_session, clone_list, learn, resubmit, recirculate;
  uint8_t exit, failed;
  struct phv phv;
};

/* Everything that is ignored, cut or lost is counted. The order is that of STATISTICS in engine.py. */
struct statistics {
  uint64_t packets_in, packets_out, ingress_drops, egress_drops;
  uint64_t stack_index, register_index, counter_index, meter_index, division_by_zero, assertion_failed;
  uint64_t no_group, no_session, priority_range, requeue_overflow, clone_overflow, digest_empty;
  uint64_t no_port, sink_overflow, input_overflow, oversize, send_failed, receive_failed;
};

struct counter { uint64_t packets, bytes; };
/* 0 is the peak, 1 the committed rate: the order in which BMv2 asks them. */
struct meter { int configured; double rate[2]; uint64_t burst[2], tokens[2], last[2], start; };
struct meter_description { uint64_t size; int by_bytes; };
struct register_description { uint64_t size; uint32_t cell; };
struct registers { void *cells; };
struct replica { uint32_t port, instance; };
struct group { uint32_t count, truncate; struct replica replicas[]; };

enum match { MATCH_EXACT, MATCH_LPM, MATCH_TERNARY, MATCH_RANGE };
struct table_description {
  enum match match;
  uint32_t key_words, param_words, max_size, with_meter, default_action, default_words;
  const uint64_t *default_params;
  const uint8_t *ranges; /* words of each field, + 128 where low and high bound it */
  uint32_t n_ranges;
};
struct entry {
  uint64_t packets, bytes;
  struct meter *meter;
  uint32_t slot, action, prefix;
  int32_t priority;
  uint64_t data[]; /* key, mask (or upper end of a range), parameters */
};
struct prefix_group { uint32_t prefix, count; uint64_t *mask; };
struct table {
  const struct table_description *d;
  struct entry *fallback;
  uint8_t *entries;
  size_t stride;
  uint8_t *used; /* one byte a slot */
  uint32_t count, capacity, lowest_free;
  uint64_t *buckets; /* tag << 32 | slot + 1; 0 is free */
  uint32_t bucket_mask;
  uint64_t seed;
  struct prefix_group *groups; /* longest prefix first */
  uint32_t n_groups;
  uint32_t *order; /* slots by priority, then by slot */
};

struct queued { /* a packet that waits for ingress again, or for egress as a clone */
  struct queued *next;
  uint32_t len, port;
  struct pkt packet;
  uint8_t data[];
};
struct queue { struct queued *head, **tail; uint32_t count; };

struct outbuf { uint8_t *data; size_t used, capacity; };
struct port;

struct sw {
  pthread_mutex_t lock;
  uint32_t waiting; /* threads of the control plane that want the lock */
  uint32_t drop_port;
  int log_enabled, capture;
  uint64_t start_ns, now, fixed_now;
  int clock_fixed;
  uint64_t random[2];
  struct statistics stats;
  struct table tables[P4_TABLES];
  struct counter *counters[P4_COUNTERS];
  struct meter *meters[P4_METERS];
  struct registers registers[P4_REGISTERS];
  struct group **groups;   /* 65536 */
  struct group **sessions; /* 32768 */
  struct port **ports;     /* 65536 */
  struct port *port_list;
  struct queue again, clones;
  struct outbuf out, taken, direct; /* filled by packets; handed to the reader; of a direct call */
  size_t out_limit;
  pthread_cond_t out_ready;
  uint8_t *scratch, *frame;
  struct pkt packet, copy, clone;
  struct worker *worker;
};

static inline uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
/* Microseconds since the switch was made. Read once a batch. */
static inline void tick(struct sw *S) {
  S->now = S->clock_fixed ? S->fixed_now : (clock_ns() - S->start_ns) / 1000;
}

static uint32_t meter_execute(struct sw *S, struct meter *m, uint64_t amount) {
  uint32_t color = 0;
  if (!m || !m->configured) return 0;
  for (int i = 0; i < 2; i++) {
    uint64_t since = (uint64_t)((double)(S->now - m->start) * m->rate[i]);
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
  uint64_t a = S->random[0], b = S->random[1];
  S->random[0] = b;
  a ^= a << 23;
  S->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
  return S->random[1] + b;
}
static inline uint64_t random_between(struct sw *S, uint64_t low, uint64_t high) {
  uint64_t span = high - low + 1;
  return span ? low + random_next(S) % span : random_next(S);
}

static __attribute__((noinline, cold)) void assertion_failed(struct sw *S, struct pkt *P) {
  /* BMv2 ends the process here. A switch that goes on must not let the packet through. */
  S->stats.assertion_failed++;
  P->exit = P->failed = 1;
}

#define W_DIVIDE(name, result) \
  static inline wide_t name(struct sw *S, wide_t a, wide_t b) { \
    wide_t q = w_fill(0, 0, 0), r = q; \
    if (w_negative(a) || w_negative(b) || w_cmp(b, q) == 0) { S->stats.division_by_zero++; return q; } \
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
