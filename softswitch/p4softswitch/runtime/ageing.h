/* SPDX-License-Identifier: Apache-2.0 */
/* When entries were hit last. In tables with idle timeouts the first parameter word of an entry is that time, in
 * microseconds since the switch was made; a hit writes it. */
#ifndef P4_AGEING_H
#define P4_AGEING_H

/* Microseconds since an entry was hit, or written. */
EXPORT int p4_entry_idle(struct sw *S, uint32_t t, const uint64_t *key, const uint64_t *mask, uint32_t prefix,
                         int32_t priority, uint64_t *idle) {
  control_lock(S);
  const struct table *T = &S->tables[t];
  struct entry *e = table_find(&S->tables[t], key, mask, prefix, priority);
  if (e) {
    const uint64_t now = p4_now(S), hit = entry_params(T, e)[0];
    *idle = now > hit ? now - hit : 0;
  }
  control_unlock(S);
  return e ? T_OK : T_NONE;
}
#endif
