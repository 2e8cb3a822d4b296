/* SPDX-License-Identifier: Apache-2.0 */
/* When entries were hit last. In tables with idle timeouts the first parameter word of an entry is that time, in
 * microseconds since the switch was made; a hit writes it. In a copy for the host program it is how long ago that was. */
#ifndef P4_AGEING_H
#define P4_AGEING_H

/* An entry was written: its time begins anew. */
static void idle_begin(const struct sw *S, const struct table *T, struct entry *e) {
  if (T->d->with_idle) entry_params(T, e)[0] = clock_us(S);
}
static void idle_told(const struct sw *S, const struct table *T, struct entry *copy) {
  if (!T->d->with_idle) return;
  const uint64_t now = clock_us(S), hit = entry_params(T, copy)[0];
  entry_params(T, copy)[0] = now > hit ? now - hit : 0;
}
#endif
