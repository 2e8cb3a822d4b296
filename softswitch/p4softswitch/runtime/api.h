/* SPDX-License-Identifier: Apache-2.0 */
/* What the host program calls. Every function that touches state takes the lock of the switch. Errors are negative:
 * those of tables.h, or errno values for ports. */
#ifndef P4_API_H
#define P4_API_H
#include "entries.h"

EXPORT uint32_t p4_abi(void) { return P4_ABI; }
EXPORT void p4_destroy(struct sw *S);

EXPORT struct sw *p4_create(uint32_t drop_port, uint64_t out_limit, uint64_t seed, int log_enabled) {
  struct sw *S = calloc(1, sizeof *S);
  if (!S) return 0;
  pthread_mutex_init(&S->lock, 0);
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&S->out_ready, &attr);
  S->drop_port = drop_port;
  S->out_limit = out_limit;
  S->log_enabled = log_enabled;
  S->start_ns = clock_ns();
  S->lane.random[0] = seed | 1;
  S->lane.random[1] = mix(seed, 0x9e3779b97f4a7c15ull) | 1;
  S->lane.again.tail = &S->lane.again.head;
  S->lane.clones.tail = &S->lane.clones.head;
  int bad = !(S->lane.worker = worker_new());
  bad |= !(S->groups = calloc(65536, sizeof *S->groups));
  bad |= !(S->sessions = calloc(32768, sizeof *S->sessions));
  bad |= !(S->ports = calloc(65536, sizeof *S->ports));
  bad |= !(S->missed = calloc(65536, sizeof *S->missed));
  bad |= !(S->lane.scratch = malloc(P4_SCRATCH));
  bad |= !(S->lane.frame = malloc(P4_SCRATCH));
  for (int i = 0; i < n_tables; i++) bad |= table_init(&S->tables[i], &table_descriptions[i], random_next(S)) != T_OK;
  for (int i = 0; i < n_counters; i++) bad |= !(S->counters[i] = calloc(counter_sizes[i] + 1, sizeof(struct counter)));
  for (int i = 0; i < n_meters; i++) bad |= !(S->meters[i] = calloc(meter_descriptions[i].size + 1, sizeof(struct meter)));
  for (int i = 0; i < n_registers; i++)
    bad |= !(S->registers[i].cells = calloc(register_descriptions[i].size + 1, register_descriptions[i].cell));
  if (bad) { p4_destroy(S); return 0; }
  tick(S);
  return S;
}

EXPORT int p4_start(struct sw *S) {
  struct worker *w = S->lane.worker;
  if (w->running) return 0;
  w->stop = 0;
  int rc = pthread_create(&w->thread, 0, worker_main, S);
  if (rc) return -rc;
  pthread_setname_np(w->thread, "p4-data-plane");
  w->running = 1;
  return 0;
}
/* Idempotent. Also wakes whoever waits for records. */
EXPORT void p4_stop(struct sw *S) {
  struct worker *w = S->lane.worker;
  if (w && w->running) {
    __atomic_store_n(&w->stop, 1, __ATOMIC_RELEASE);
    worker_wake(w);
    pthread_join(w->thread, 0);
    pthread_mutex_lock(&w->input_lock);
    w->running = 0;
    pthread_cond_broadcast(&w->input_room);
    pthread_mutex_unlock(&w->input_lock);
  }
  control_lock(S);
  pthread_cond_broadcast(&S->out_ready);
  control_unlock(S);
}
EXPORT void p4_destroy(struct sw *S) {
  p4_stop(S);
  for (uint32_t i = 0; S->ports && i < 65536; i++) port_free(S->ports[i]);
  for (uint32_t i = 0; S->groups && i < 65536; i++) free(S->groups[i]);
  for (uint32_t i = 0; S->sessions && i < 32768; i++) free(S->sessions[i]);
  for (int i = 0; i < n_tables; i++) if (S->tables[i].d) table_free(&S->tables[i]);
  for (int i = 0; i < n_counters; i++) free(S->counters[i]);
  for (int i = 0; i < n_meters; i++) free(S->meters[i]);
  for (int i = 0; i < n_registers; i++) free(S->registers[i].cells);
  for (int i = 0; i < n_profiles; i++) profile_clear(&S->profiles[i]);
  queue_clear(&S->lane.again);
  queue_clear(&S->lane.clones);
  free(S->groups);
  free(S->sessions);
  free(S->ports);
  free(S->missed);
  free(S->lane.scratch);
  free(S->lane.frame);
  free(S->lane.out.data);
  free(S->lane.taken.data);
  free(S->lane.direct.data);
  if (S->lane.worker) worker_free(S->lane.worker);
  pthread_mutex_destroy(&S->lock);
  pthread_cond_destroy(&S->out_ready);
  free(S);
}

EXPORT int p4_register(struct sw *S, uint32_t r, uint64_t index, int write, uint8_t *value) {
  const uint32_t cell = register_descriptions[r].cell;
  if (index >= register_descriptions[r].size) return T_NONE;
  control_lock(S);
  uint8_t *x = (uint8_t *)S->registers[r].cells + index * cell;
  if (write) memcpy(x, value, cell);
  else memcpy(value, x, cell);
  control_unlock(S);
  return T_OK;
}

static int group_put(struct sw *S, struct group **where, const uint32_t *replicas, uint32_t count, uint32_t truncate, int set) {
  struct group *fresh = 0;
  if (set) {
    fresh = malloc(sizeof *fresh + count * sizeof fresh->replicas[0]);
    if (!fresh) return T_MEMORY;
    fresh->count = count;
    fresh->truncate = truncate;
    for (uint32_t i = 0; i < count; i++) fresh->replicas[i] = (struct replica){replicas[2 * i], replicas[2 * i + 1]};
  }
  control_lock(S);
  struct group *old = *where;
  *where = fresh;
  control_unlock(S);
  free(old);
  return set || old ? T_OK : T_NONE;
}
EXPORT int p4_group(struct sw *S, uint32_t id, const uint32_t *replicas, uint32_t count, int set) {
  return id < 1 || id > 65535 ? T_NONE : group_put(S, &S->groups[id], replicas, count, 0, set);
}
EXPORT int p4_session(struct sw *S, uint32_t id, const uint32_t *replicas, uint32_t count, uint32_t truncate, int set) {
  return id > 32767 ? T_NONE : group_put(S, &S->sessions[id], replicas, count, truncate, set);
}

/* What a pipeline push resets. Packets see the switch before it, or after it with the entries that come with the program. */
EXPORT int p4_reset(struct sw *S, int keep_entries) {
  int rc = T_OK;
  control_lock(S);
  for (int i = 0; i < n_registers; i++)
    memset(S->registers[i].cells, 0, register_descriptions[i].size * register_descriptions[i].cell);
  if (!keep_entries) {
    for (int i = 0; i < n_tables; i++) {
      const int one = table_restart(S, &S->tables[i]);
      if (one != T_OK) rc = one;
    }
    for (int i = 0; i < n_profiles; i++) profile_clear(&S->profiles[i]);
    for (int i = 0; i < n_counters; i++) memset(S->counters[i], 0, counter_sizes[i] * sizeof(struct counter));
    for (int i = 0; i < n_meters; i++) memset(S->meters[i], 0, meter_descriptions[i].size * sizeof(struct meter));
    for (uint32_t i = 0; i < 65536; i++) { free(S->groups[i]); S->groups[i] = 0; }
    for (uint32_t i = 0; i < 32768; i++) { free(S->sessions[i]); S->sessions[i] = 0; }
  }
  control_unlock(S);
  return rc;
}

EXPORT void p4_statistics(struct sw *S, uint64_t *out, uint32_t count) {
  control_lock(S);
  if (count > sizeof S->lane.stats / sizeof *out) count = sizeof S->lane.stats / sizeof *out;
  memcpy(out, &S->lane.stats, count * sizeof *out);
  control_unlock(S);
}
/* Those of one port, in the order of struct port_statistics. */
EXPORT int p4_port_statistics(struct sw *S, uint32_t number, uint64_t *out, uint32_t count) {
  if (number > 65535) return -EINVAL;
  control_lock(S);
  struct port *p = S->ports[number];
  if (p && p->fd >= 0 && p->ops->poll) p->ops->poll(S, p);
  if (p && count > sizeof p->stats / sizeof *out) count = sizeof p->stats / sizeof *out;
  if (p) memcpy(out, &p->stats, count * sizeof *out);
  control_unlock(S);
  return p ? 0 : -ENODEV;
}
/* Frames for ports that there are not: numbers of such ports, and how many for each. Gives how many ports. */
EXPORT uint32_t p4_missed(struct sw *S, uint32_t *numbers, uint64_t *frames, uint32_t room) {
  uint32_t n = 0;
  control_lock(S);
  for (uint32_t i = 0; S->lane.stats.no_port && i < 65536 && n < room; i++)
    if (S->missed[i]) { numbers[n] = i; frames[n++] = S->missed[i]; }
  control_unlock(S);
  return n;
}
EXPORT uint64_t p4_now(struct sw *S) { return clock_us(S); }
/* What the timestamps count from, in nanoseconds of CLOCK_BOOTTIME. */
EXPORT void p4_clock_start(struct sw *S, uint64_t start_ns) {
  control_lock(S);
  S->start_ns = start_ns;
  tick(S);
  control_unlock(S);
}
/* For tests: stops the clock at a time, in microseconds since the start. */
EXPORT void p4_clock(struct sw *S, int fixed, uint64_t now) {
  control_lock(S);
  S->clock_fixed = fixed;
  S->fixed_now = now;
  tick(S);
  control_unlock(S);
}

/* Packets */

/* Waits for room while the worker runs. Gives 0 or T_FULL. */
EXPORT int p4_inject(struct sw *S, uint32_t port, const uint8_t *data, uint32_t len) {
  struct worker *w = S->lane.worker;
  if (len > P4_MAX_FRAME || port > 65535) return T_NONE;
  struct injected *item = malloc(sizeof *item + len);
  if (!item) return T_MEMORY;
  *item = (struct injected){0, port, len};
  if (len) memcpy(item->data, data, len);
  pthread_mutex_lock(&w->input_lock);
  while (w->input_count >= P4_INPUT_LIMIT && w->running) pthread_cond_wait(&w->input_room, &w->input_lock);
  if (w->input_count >= P4_INPUT_LIMIT) {
    pthread_mutex_unlock(&w->input_lock);
    free(item);
    control_lock(S);
    S->lane.stats.input_overflow++;
    control_unlock(S);
    return T_FULL;
  }
  *w->input_tail = item;
  w->input_tail = &item->next;
  const int first = w->input_count++ == 0;
  pthread_mutex_unlock(&w->input_lock);
  if (first) worker_wake(w);
  return T_OK;
}
/* Runs one packet in the calling thread; everything that comes out, to whatever port, is in the records at *out. */
EXPORT uint64_t p4_process(struct sw *S, uint32_t port, const uint8_t *data, uint32_t len, uint8_t **out) {
  control_lock(S);
  const struct outbuf kept = S->lane.out;
  S->lane.out = S->lane.direct;
  S->lane.out.used = 0;
  S->capture = 1;
  tick(S);
  process(S, port, data, len);
  process_again(S);
  S->capture = 0;
  S->lane.direct = S->lane.out;
  S->lane.out = kept;
  *out = S->lane.direct.data;
  const uint64_t used = S->lane.direct.used;
  control_unlock(S);
  return used;
}
/* The same for count packets, rounds times; outputs are thrown away after each batch. Gives nanoseconds; *sent counts. */
EXPORT uint64_t p4_bench(struct sw *S, uint32_t port, const uint8_t *const *data, const uint32_t *len, uint32_t count,
                         uint32_t rounds, uint64_t *sent) {
  control_lock(S);
  const struct outbuf kept = S->lane.out;
  const uint64_t before = S->lane.stats.packets_out;
  S->lane.out = S->lane.direct;
  S->capture = 1;
  const uint64_t start = clock_ns();
  for (uint32_t r = 0; r < rounds; r++) {
    tick(S);
    S->lane.out.used = 0;
    for (uint32_t i = 0; i < count; i++) process(S, port, data[i], len[i]);
  }
  const uint64_t taken = clock_ns() - start;
  S->capture = 0;
  S->lane.direct = S->lane.out;
  S->lane.out = kept;
  *sent = S->lane.stats.packets_out - before;
  control_unlock(S);
  return taken;
}
/* Waits once for records, and may come back without any; *out stays valid until the next call. */
EXPORT uint64_t p4_wait(struct sw *S, uint32_t milliseconds, uint8_t **out) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += milliseconds / 1000;
  until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) { until.tv_sec++; until.tv_nsec -= 1000000000; }
  control_lock(S);
  if (!S->lane.out.used) pthread_cond_timedwait(&S->out_ready, &S->lock, &until);
  const struct outbuf filled = S->lane.out;
  S->lane.out = S->lane.taken;
  S->lane.out.used = 0;
  S->lane.taken = filled;
  *out = filled.data;
  control_unlock(S);
  return filled.used;
}
#endif
