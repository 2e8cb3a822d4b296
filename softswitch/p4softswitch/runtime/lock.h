/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of the switch: the thread that moves packets holds it for one batch at a time. */
#ifndef P4_LOCK_H
#define P4_LOCK_H
#include <sched.h>

/* Taking the lock from outside: the worker steps back as long as somebody waits. */
static void control_lock(struct sw *S) {
  __atomic_add_fetch(&S->waiting, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_lock(&S->lock);
  __atomic_sub_fetch(&S->waiting, 1, __ATOMIC_SEQ_CST);
}
static void control_unlock(struct sw *S) { pthread_mutex_unlock(&S->lock); }
static void batch_begin(struct sw *S) {
  while (__atomic_load_n(&S->waiting, __ATOMIC_SEQ_CST)) sched_yield();
  pthread_mutex_lock(&S->lock);
  tick(S);
}
static void batch_end(struct sw *S) {
  process_again(S);
  for (struct port *p = S->port_list; p; p = p->next) {
    if (p->tx_count) port_flush(S, p);
    if (unlikely(p->capture && p->capture->used)) port_lost(S, p, &p->stats.capture_lost, capture_flush(p->capture));
  }
  if (S->lane.out.used) pthread_cond_signal(&S->out_ready);
  pthread_mutex_unlock(&S->lock);
}
#endif
