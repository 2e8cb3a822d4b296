/* SPDX-License-Identifier: Apache-2.0 */
/* Match tables. Keys are arrays of 64-bit words. Lookups are inlined with the number of words known to the compiler. */
#ifndef P4_TABLES_H
#define P4_TABLES_H

static inline struct entry *entry_at(const struct table *T, uint32_t slot) {
  return (struct entry *)(T->entries + (size_t)slot * T->stride);
}
static inline uint64_t *entry_mask(const struct table *T, struct entry *e) { return e->data + T->d->key_words; }
static inline uint64_t *entry_params(const struct table *T, struct entry *e) { return e->data + 2 * T->d->key_words; }

static inline uint64_t mix(uint64_t a, uint64_t b) {
  u128 p = (u128)a * b;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}
/* Two words a multiplication, all of them independent, one more to bring them together. The seed is random and secret:
 * keys come out of packets, and nobody outside shall be able to choose those that collide. */
static inline __attribute__((always_inline)) uint64_t hash_key(uint64_t seed, const uint64_t *k, int words) {
  uint64_t h = 0;
#pragma GCC unroll 8
  for (int i = 0; i + 1 < words; i += 2)
    h ^= mix(k[i] ^ (seed + 0x9e3779b97f4a7c15ull * (uint64_t)i), k[i + 1] ^ (seed ^ 0xd6e8feb86659fd93ull));
  if (words & 1) h ^= k[words - 1] ^ seed;
  return mix(h ^ 0xa0761d6478bd642full, seed | 1);
}
static inline __attribute__((always_inline)) int key_equal(const uint64_t *a, const uint64_t *b, int words) {
  uint64_t d = 0;
#pragma GCC unroll 8
  for (int i = 0; i < words; i++) d |= a[i] ^ b[i];
  return d == 0;
}

static inline __attribute__((always_inline)) struct entry *find_hashed(
    const struct table *T, const uint64_t *k, int words, uint32_t prefix) {
  const uint64_t h = hash_key(T->seed + prefix, k, words);
  const uint64_t tag = h >> 32;
  for (uint32_t b = (uint32_t)h & T->bucket_mask;; b = (b + 1) & T->bucket_mask) {
    const uint64_t bucket = T->buckets[b];
    if (!bucket) return 0;
    if (bucket >> 32 == tag) {
      struct entry *e = entry_at(T, (uint32_t)bucket - 1);
      if (key_equal(e->data, k, words) && e->prefix == prefix) return e;
    }
  }
}
static inline __attribute__((always_inline)) struct entry *table_exact(
    const struct table *T, const uint64_t *k, int words) {
  return find_hashed(T, k, words, 0);
}
static inline __attribute__((always_inline)) struct entry *table_lpm(
    const struct table *T, const uint64_t *k, int words) {
  for (uint32_t g = 0; g < T->n_groups; g++) {
    uint64_t cut[P4_MAX_KEY_WORDS];
    for (int i = 0; i < words; i++) cut[i] = k[i] & T->groups[g].mask[i];
    struct entry *e = find_hashed(T, cut, words, T->groups[g].prefix);
    if (e) return e;
  }
  return 0;
}
static inline __attribute__((always_inline)) struct entry *table_ternary(
    const struct table *T, const uint64_t *k, int words) {
  for (uint32_t n = 0; n < T->count; n++) {
    struct entry *e = entry_at(T, T->order[n]);
    uint64_t d = 0;
    for (int i = 0; i < words; i++) d |= (k[i] & e->data[words + i]) ^ e->data[i];
    if (!d) return e;
  }
  return 0;
}
static inline int range_match(const struct table *T, const struct entry *e, const uint64_t *k, int words) {
  int at = 0;
  for (uint32_t f = 0; f < T->d->n_ranges; f++) {
    const int n = T->d->ranges[f] & 127;
    const uint64_t *low = e->data + at, *high = e->data + words + at;
    if (T->d->ranges[f] & 128) {
      u128 v = k[at], a = low[0], b = high[0];
      if (n == 2) { v = U128(k[at + 1], k[at]); a = U128(low[1], low[0]); b = U128(high[1], high[0]); }
      if (v < a || v > b) return 0;
    } else {
      for (int i = 0; i < n; i++)
        if ((k[at + i] & high[i]) != low[i]) return 0;
    }
    at += n;
  }
  return 1;
}
static inline struct entry *table_range(const struct table *T, const uint64_t *k, int words) {
  for (uint32_t n = 0; n < T->count; n++) {
    struct entry *e = entry_at(T, T->order[n]);
    if (range_match(T, e, k, words)) return e;
  }
  return 0;
}

/* Changes: only under the lock of the switch. */

static inline int table_hashed(const struct table *T) { return T->d->match == MATCH_EXACT || T->d->match == MATCH_LPM; }

/* Where an entry stands in the buckets. Those of tables with priorities are found here by whoever changes them, never by a
 * packet: by mask and priority too. */
static uint64_t entry_hash(const struct table *T, const uint64_t *key, const uint64_t *mask, uint32_t prefix, int32_t priority) {
  const int words = (int)T->d->key_words;
  if (table_hashed(T)) return hash_key(T->seed + prefix, key, words);
  return hash_key(hash_key(T->seed + (uint32_t)priority, key, words), mask, words);
}
static void bucket_insert(struct table *T, uint32_t slot) {
  struct entry *e = entry_at(T, slot);
  const uint64_t h = entry_hash(T, e->data, entry_mask(T, e), e->prefix, e->priority);
  uint32_t b = (uint32_t)h & T->bucket_mask;
  while (T->buckets[b]) b = (b + 1) & T->bucket_mask;
  T->buckets[b] = (h >> 32) << 32 | (slot + 1);
}
static int buckets_rebuild(struct table *T, uint32_t size) {
  uint64_t *fresh = calloc(size, sizeof *fresh);
  if (!fresh) return T_MEMORY;
  free(T->buckets);
  T->buckets = fresh;
  T->bucket_mask = size - 1;
  for (uint32_t s = 0; s < T->capacity; s++)
    if (T->used[s]) bucket_insert(T, s);
  return T_OK;
}
static void bucket_remove(struct table *T, struct entry *e) {
  const uint64_t h = entry_hash(T, e->data, entry_mask(T, e), e->prefix, e->priority);
  uint32_t b = (uint32_t)h & T->bucket_mask;
  while ((uint32_t)T->buckets[b] != e->slot + 1) b = (b + 1) & T->bucket_mask;
  T->buckets[b] = 0;
  for (b = (b + 1) & T->bucket_mask; T->buckets[b]; b = (b + 1) & T->bucket_mask) { /* close the gap */
    uint32_t moved = (uint32_t)T->buckets[b] - 1;
    T->buckets[b] = 0;
    bucket_insert(T, moved);
  }
}

static struct entry *table_find(struct table *T, const uint64_t *key, const uint64_t *mask, uint32_t prefix, int32_t priority) {
  const int words = (int)T->d->key_words;
  if (table_hashed(T)) return find_hashed(T, key, words, prefix);
  const uint64_t h = entry_hash(T, key, mask, prefix, priority);
  for (uint32_t b = (uint32_t)h & T->bucket_mask; T->buckets[b]; b = (b + 1) & T->bucket_mask) {
    if (T->buckets[b] >> 32 != h >> 32) continue;
    struct entry *e = entry_at(T, (uint32_t)T->buckets[b] - 1);
    if (e->priority == priority && key_equal(e->data, key, words) && key_equal(entry_mask(T, e), mask, words)) return e;
  }
  return 0;
}

/* Free slots below the highest one that was ever used, in a heap: the lowest is taken first, as BMv2 does it. */
static uint32_t slot_lowest(const struct table *T) { return T->n_free ? T->free[0] : T->top; }
static void slot_take(struct table *T) {
  if (!T->n_free) { T->top++; return; }
  const uint32_t last = T->free[--T->n_free];
  uint32_t at = 0;
  for (uint32_t child; (child = 2 * at + 1) < T->n_free; at = child) {
    if (child + 1 < T->n_free && T->free[child + 1] < T->free[child]) child++;
    if (T->free[child] >= last) break;
    T->free[at] = T->free[child];
  }
  T->free[at] = last;
}
static void slot_give(struct table *T, uint32_t slot) {
  uint32_t at = T->n_free++;
  for (uint32_t parent; at && T->free[parent = (at - 1) / 2] > slot; at = parent) T->free[at] = T->free[parent];
  T->free[at] = slot;
}

/* The place of an entry in the order of priorities: how many stand before it. */
static uint32_t order_place(const struct table *T, int32_t priority, uint32_t slot) {
  uint32_t low = 0, high = T->count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const struct entry *e = entry_at(T, T->order[middle]);
    if (e->priority < priority || (e->priority == priority && e->slot < slot)) low = middle + 1;
    else high = middle;
  }
  return low;
}

static int table_grow(struct table *T) {
  uint32_t wanted = T->capacity ? T->capacity * 2 : 16;
  if (wanted > T->d->max_size) wanted = T->d->max_size;
  uint8_t *entries = realloc(T->entries, (size_t)wanted * T->stride);
  if (!entries) return T_MEMORY;
  T->entries = entries;
  memset(entries + (size_t)T->capacity * T->stride, 0, (size_t)(wanted - T->capacity) * T->stride);
  uint8_t *used = realloc(T->used, wanted);
  if (!used) return T_MEMORY;
  T->used = used;
  memset(used + T->capacity, 0, wanted - T->capacity);
  uint32_t *slots = realloc(T->free, wanted * sizeof *slots);
  if (!slots) return T_MEMORY;
  T->free = slots;
  if (!table_hashed(T)) {
    uint32_t *order = realloc(T->order, wanted * sizeof *order);
    if (!order) return T_MEMORY;
    T->order = order;
  }
  if (T->bucket_mask + 1 < wanted * 2) {
    uint32_t size = T->bucket_mask + 1;
    while (size < wanted * 2) size *= 2;
    int rc = buckets_rebuild(T, size);
    if (rc != T_OK) return rc; /* no room for more entries than the buckets have */
  }
  T->capacity = wanted;
  return T_OK;
}

static int group_add(struct table *T, uint32_t prefix, const uint64_t *mask) {
  uint32_t at = 0;
  while (at < T->n_groups && T->groups[at].prefix > prefix) at++;
  if (at < T->n_groups && T->groups[at].prefix == prefix) {
    T->groups[at].count++;
    return T_OK;
  }
  struct prefix_group *groups = realloc(T->groups, (T->n_groups + 1) * sizeof *groups);
  uint64_t *copy = malloc(T->d->key_words * sizeof *copy);
  if (groups) T->groups = groups;
  if (!groups || !copy) { free(copy); return T_MEMORY; }
  memcpy(copy, mask, T->d->key_words * sizeof *copy);
  memmove(groups + at + 1, groups + at, (T->n_groups - at) * sizeof *groups);
  groups[at] = (struct prefix_group){prefix, 1, copy};
  T->n_groups++;
  return T_OK;
}
static void group_remove(struct table *T, uint32_t prefix) {
  uint32_t at = 0;
  while (T->groups[at].prefix != prefix) at++;
  if (--T->groups[at].count) return;
  free(T->groups[at].mask);
  memmove(T->groups + at, T->groups + at + 1, (T->n_groups - at - 1) * sizeof *T->groups);
  T->n_groups--;
}

static int table_insert(struct table *T, const uint64_t *key, const uint64_t *mask, uint32_t prefix, int32_t priority,
                        uint32_t action, const uint64_t *params, uint32_t n_params, struct entry **made) {
  const uint32_t words = T->d->key_words;
  if (table_find(T, key, mask, prefix, priority)) return T_EXISTS;
  if (T->count >= T->d->max_size) return T_FULL;
  if (T->count == T->capacity) {
    int rc = table_grow(T);
    if (rc != T_OK) return rc;
  }
  /* The lowest free slot, as BMv2 takes it: among entries of one priority the lower slot wins. */
  const uint32_t slot = slot_lowest(T);
  struct entry *e = entry_at(T, slot);
  if (T->d->with_meter && !e->meter && !(e->meter = malloc(sizeof *e->meter))) return T_MEMORY;
  if (T->d->match == MATCH_LPM) {
    int rc = group_add(T, prefix, mask);
    if (rc != T_OK) return rc;
  }
  slot_take(T);
  struct meter *meter = e->meter;
  memset(e, 0, T->stride);
  if (meter) memset(meter, 0, sizeof *meter);
  e->meter = meter;
  e->slot = slot;
  e->action = action;
  e->prefix = prefix;
  e->priority = priority;
  memcpy(e->data, key, words * sizeof *key);
  memcpy(entry_mask(T, e), mask, words * sizeof *mask);
  if (n_params) memcpy(entry_params(T, e), params, n_params * sizeof *params);
  T->used[slot] = 1;
  bucket_insert(T, slot);
  if (!table_hashed(T)) {
    const uint32_t at = order_place(T, priority, slot);
    memmove(T->order + at + 1, T->order + at, (T->count - at) * sizeof *T->order);
    T->order[at] = slot;
  }
  T->count++;
  *made = e;
  return T_OK;
}

static void table_remove(struct table *T, struct entry *e) {
  bucket_remove(T, e);
  if (T->d->match == MATCH_LPM) group_remove(T, e->prefix);
  if (!table_hashed(T)) {
    const uint32_t at = order_place(T, e->priority, e->slot);
    memmove(T->order + at, T->order + at + 1, (T->count - at - 1) * sizeof *T->order);
  }
  T->used[e->slot] = 0;
  slot_give(T, e->slot);
  T->count--;
}

static void table_set_default(struct table *T, uint32_t action, const uint64_t *params, uint32_t n_params) {
  T->fallback->action = action;
  if (n_params) memcpy(entry_params(T, T->fallback), params, n_params * sizeof *params);
}

static int table_init(struct table *T, const struct table_description *d, uint64_t seed) {
  memset(T, 0, sizeof *T);
  T->d = d;
  T->seed = seed;
  T->stride = sizeof(struct entry) + (2 * d->key_words + d->param_words) * sizeof(uint64_t);
  T->fallback = calloc(1, T->stride);
  if (!T->fallback) return T_MEMORY;
  table_set_default(T, d->default_action, d->default_params, d->default_words);
  return buckets_rebuild(T, 16);
}
static void table_clear(struct table *T) {
  for (uint32_t g = 0; g < T->n_groups; g++) free(T->groups[g].mask);
  T->n_groups = 0;
  if (T->capacity) memset(T->used, 0, T->capacity);
  memset(T->buckets, 0, (T->bucket_mask + (size_t)1) * sizeof *T->buckets);
  T->count = T->top = T->n_free = 0;
}
static void table_free(struct table *T) {
  for (uint32_t s = 0; s < T->capacity; s++) free(entry_at(T, s)->meter);
  for (uint32_t g = 0; g < T->n_groups; g++) free(T->groups[g].mask);
  free(T->groups);
  free(T->entries);
  free(T->used);
  free(T->free);
  free(T->order);
  free(T->buckets);
  free(T->fallback);
  free(T->initial);
}
#endif
