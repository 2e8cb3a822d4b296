/* SPDX-License-Identifier: Apache-2.0 */
/* What the host program does to entries, counters and meters. Each function takes the lock of the switch once: an entry is
 * there with its counter and its meter, or not at all. */
#ifndef P4_ENTRIES_H
#define P4_ENTRIES_H
#include "ageing.h"
#define EXPORT __attribute__((visibility("default")))

/* What names an entry. */
#define ENTRY_NAME const uint64_t *key, const uint64_t *mask, uint32_t prefix, int32_t priority

static void meter_set(struct meter *m, const struct direct *d) {
  memset(m, 0, sizeof *m);
  if (d->given & DIRECT_UNMETERED) return;
  m->rate[0] = (double)d->pir / 1000000.0;
  m->rate[1] = (double)d->cir / 1000000.0;
  m->burst[0] = m->tokens[0] = d->pburst;
  m->burst[1] = m->tokens[1] = d->cburst;
  m->configured = 1;
}
static void meter_get(const struct meter *m, struct meter_reading *out) {
  memset(out, 0, sizeof *out);
  if (!m->configured) return;
  *out = (struct meter_reading){1, (uint64_t)(m->rate[1] * 1000000.0), (uint64_t)(m->rate[0] * 1000000.0), m->burst[1],
                                m->burst[0]};
}
static void entry_set(struct entry *e, const struct direct *d) {
  if (!d) return;
  if (d->given & DIRECT_PACKETS) e->packets = d->packets;
  if (d->given & DIRECT_BYTES) e->bytes = d->bytes;
  if (e->meter && d->given & (DIRECT_RATES | DIRECT_UNMETERED)) meter_set(e->meter, d);
}

EXPORT int p4_table_insert(struct sw *S, uint32_t t, ENTRY_NAME, uint32_t action, const uint64_t *params,
                           uint32_t n_params, const struct direct *direct) {
  control_lock(S);
  struct table *T = &S->tables[t];
  struct entry *e = 0;
  const int rc = table_insert(T, key, mask, prefix, priority, action, params, n_params, &e);
  if (rc == T_OK) {
    idle_begin(S, T, e);
    entry_set(e, direct);
  }
  control_unlock(S);
  return rc;
}
EXPORT int p4_table_modify(struct sw *S, uint32_t t, ENTRY_NAME, uint32_t action, const uint64_t *params,
                           uint32_t n_params, const struct direct *direct) {
  control_lock(S);
  struct table *T = &S->tables[t];
  struct entry *e = table_find(T, key, mask, prefix, priority);
  if (e) {
    e->action = action;
    if (n_params) memcpy(entry_params(T, e), params, n_params * sizeof *params);
    idle_begin(S, T, e);
    entry_set(e, direct);
  }
  control_unlock(S);
  return e ? T_OK : T_NONE;
}
EXPORT int p4_table_delete(struct sw *S, uint32_t t, ENTRY_NAME) {
  control_lock(S);
  struct entry *e = table_find(&S->tables[t], key, mask, prefix, priority);
  if (e) table_remove(&S->tables[t], e);
  control_unlock(S);
  return e ? T_OK : T_NONE;
}
/* The counter and the meter of an entry alone. */
EXPORT int p4_entry_set(struct sw *S, uint32_t t, ENTRY_NAME, const struct direct *direct) {
  control_lock(S);
  struct entry *e = table_find(&S->tables[t], key, mask, prefix, priority);
  if (e) entry_set(e, direct);
  control_unlock(S);
  return e ? T_OK : T_NONE;
}
/* An entry that comes with the program: put in now, and again by each reset that empties the table. */
EXPORT int p4_table_initial(struct sw *S, uint32_t t, ENTRY_NAME, uint32_t action, const uint64_t *params, uint32_t n_params) {
  control_lock(S);
  struct table *T = &S->tables[t];
  struct entry *e = 0;
  uint8_t *initial = realloc(T->initial, (T->n_initial + 1) * T->stride);
  int rc = T_MEMORY;
  if (initial) {
    T->initial = initial;
    rc = table_insert(T, key, mask, prefix, priority, action, params, n_params, &e);
    if (rc == T_OK) {
      idle_begin(S, T, e);
      memcpy(initial + T->n_initial++ * T->stride, e, T->stride);
    }
  }
  control_unlock(S);
  return rc;
}
static int table_restart(const struct sw *S, struct table *T) {
  table_clear(T);
  table_set_default(T, T->d->default_action, T->d->default_params, T->d->default_words);
  int rc = T_OK;
  for (uint32_t i = 0; i < T->n_initial && rc == T_OK; i++) {
    struct entry *e = (struct entry *)(T->initial + i * T->stride), *made;
    rc = table_insert(T, e->data, entry_mask(T, e), e->prefix, e->priority, e->action, entry_params(T, e),
                      T->d->param_words, &made);
    if (rc == T_OK) idle_begin(S, T, made);
  }
  return rc;
}

/* Reading. A record is an entry of the table's stride, and behind it, where the table has meters, a meter_reading. */

EXPORT uint64_t p4_table_record(struct sw *S, uint32_t t) {
  const struct table *T = &S->tables[t];
  return T->stride + (T->d->with_meter ? sizeof(struct meter_reading) : 0);
}
static uint8_t *record_write(const struct sw *S, const struct table *T, const struct entry *e, uint8_t *out) {
  memcpy(out, e, T->stride);
  idle_told(S, T, (struct entry *)out);
  out += T->stride;
  if (!T->d->with_meter) return out;
  meter_get(e->meter, (struct meter_reading *)out);
  return out + sizeof(struct meter_reading);
}
/* One entry. */
EXPORT int p4_table_entry(struct sw *S, uint32_t t, ENTRY_NAME, uint8_t *out) {
  control_lock(S);
  struct entry *e = table_find(&S->tables[t], key, mask, prefix, priority);
  if (e) record_write(S, &S->tables[t], e, out);
  control_unlock(S);
  return e ? T_OK : T_NONE;
}
/* The entries in count slots from one on; gives their number. *next is the slot to go on with, 0 at the end. An entry keeps
 * its slot as long as it is there. */
EXPORT uint32_t p4_table_page(struct sw *S, uint32_t t, uint32_t from, uint32_t count, uint8_t *out, uint32_t *next) {
  uint32_t n = 0;
  control_lock(S);
  const struct table *T = &S->tables[t];
  uint32_t s = from;
  for (; s < T->top && s - from < count; s++)
    if (T->used[s]) { out = record_write(S, T, entry_at(T, s), out); n++; }
  *next = s < T->top ? s : 0;
  control_unlock(S);
  return n;
}
EXPORT void p4_table_default_get(struct sw *S, uint32_t t, uint8_t *out) {
  control_lock(S);
  memcpy(out, S->tables[t].fallback, S->tables[t].stride);
  control_unlock(S);
}
EXPORT void p4_table_default_set(struct sw *S, uint32_t t, uint32_t action, const uint64_t *params, uint32_t n_params) {
  control_lock(S);
  table_set_default(&S->tables[t], action, params, n_params);
  control_unlock(S);
}

/* Arrays. The caller has compared the cells with the size. */

EXPORT void p4_meter_set(struct sw *S, uint32_t m, uint64_t index, const struct direct *direct) {
  control_lock(S);
  meter_set(&S->meters[m][index], direct);
  control_unlock(S);
}
EXPORT void p4_meter_get(struct sw *S, uint32_t m, uint64_t from, uint32_t count, struct meter_reading *out) {
  control_lock(S);
  for (uint32_t i = 0; i < count; i++) meter_get(&S->meters[m][from + i], &out[i]);
  control_unlock(S);
}
EXPORT void p4_counter_set(struct sw *S, uint32_t c, uint64_t index, const struct direct *direct) {
  control_lock(S);
  struct counter *x = &S->counters[c][index];
  if (direct->given & DIRECT_PACKETS) x->packets = direct->packets;
  if (direct->given & DIRECT_BYTES) x->bytes = direct->bytes;
  control_unlock(S);
}
/* Packets and bytes of each cell. */
EXPORT void p4_counter_get(struct sw *S, uint32_t c, uint64_t from, uint32_t count, struct counter *out) {
  control_lock(S);
  memcpy(out, &S->counters[c][from], count * sizeof *out);
  control_unlock(S);
}
#endif
