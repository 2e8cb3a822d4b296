/* SPDX-License-Identifier: Apache-2.0 */
/* Types: the packet on its way through the program, and what outlives it. */
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
  uint32_t with_idle; /* see ageing.h */
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
  uint32_t count, capacity;
  uint32_t *free; /* a heap of the free slots below top */
  uint32_t n_free, top;
  uint64_t *buckets; /* of every entry: tag << 32 | slot + 1; 0 is free */
  uint32_t bucket_mask;
  uint64_t seed;
  struct prefix_group *groups; /* longest prefix first */
  uint32_t n_groups;
  uint32_t *order; /* slots by priority, then by slot */
  uint8_t *initial; /* entries that come with the program, and come back with a reset */
  uint32_t n_initial;
};

struct queued { /* a packet that waits for ingress again, or for egress as a clone */
  struct queued *next;
  uint32_t len, port;
  struct pkt packet;
  uint8_t data[];
};
struct queue { struct queued *head, **tail; uint32_t count; };
#endif
