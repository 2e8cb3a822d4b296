/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that a port lost, or that came to it unfinished: counted, and the host program is told of the first one of each
 * cause at once, of others together. */
#ifndef P4_LOSSES_H
#define P4_LOSSES_H

/* Microseconds before the host program is told again of a port. */
#define P4_PORT_TOLD 60000000u
/* Nanoseconds between two looks at what kernels count of ports. */
#define P4_PORT_POLL 1000000000u

_Static_assert(sizeof(struct port_statistics) / sizeof(uint64_t) <= 32, "one bit for each cause");

static void port_tell(struct sw *S, struct port *p) {
  if (!(p->untold & ~p->told) && S->lane.now - p->told_at < P4_PORT_TOLD) return;
  uint8_t *out = buffer_reserve(S, sizeof p->stats);
  if (!out) return; /* the next look tries again */
  memcpy(out, &p->stats, sizeof p->stats);
  buffer_commit(S, RECORD_PORT, p->number, sizeof p->stats);
  p->told |= p->untold;
  p->untold = 0;
  p->told_at = S->lane.now;
}
/* count is one of p->stats. */
static __attribute__((noinline, cold)) void port_lost(struct sw *S, struct port *p, uint64_t *count, uint64_t frames) {
  if (!frames) return;
  *count += frames;
  p->untold |= 1u << (count - (uint64_t *)&p->stats);
  port_tell(S, p);
}
static void missed_tell(struct sw *S) {
  uint8_t *out = buffer_reserve(S, sizeof S->lane.stats.no_port);
  if (!out) return;
  memcpy(out, &S->lane.stats.no_port, sizeof S->lane.stats.no_port);
  buffer_commit(S, RECORD_MISSED, S->missed_last, sizeof S->lane.stats.no_port);
  S->missed_told = S->lane.stats.no_port;
  S->missed_told_at = S->lane.now;
}
/* A frame for a port that there is not: of the first one for each number the host program is told at once. */
static __attribute__((noinline, cold)) void port_missed(struct sw *S, uint32_t number) {
  S->lane.stats.no_port++;
  S->missed_last = number;
  if (S->missed[number & 0xffff]++ == 0) missed_tell(S);
}
/* What nobody else would notice in time: what kernels count, and what there was no room to tell. */
static void ports_poll(struct sw *S) {
  for (struct port *p = S->port_list; p; p = p->next) {
    if (p->ops->poll && p->fd >= 0) p->ops->poll(S, p);
    if (p->untold) port_tell(S, p);
  }
  if (S->missed_told != S->lane.stats.no_port && S->lane.now - S->missed_told_at >= P4_PORT_TOLD) missed_tell(S);
}
#endif
