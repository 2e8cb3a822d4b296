/* SPDX-License-Identifier: Apache-2.0 */
/* The traffic manager of simple_switch: ingress, then clone, digest, resubmit, multicast, drop or unicast; then egress.
 *
 * One packet runs to completion before the next: the order of a flow is kept and every read-modify-write of the program is
 * atomic. Clones made in egress and packets that go round again wait in queues until the packet that made them is done. */
#ifndef P4_TRAFFIC_H
#define P4_TRAFFIC_H

enum { TYPE_NORMAL, TYPE_INGRESS_CLONE, TYPE_EGRESS_CLONE, TYPE_COALESCED, TYPE_RECIRCULATED, TYPE_REPLICATED, TYPE_RESUBMITTED };
#define P4_QUEUE_LIMIT 1024u

static uint8_t *out_reserve(struct sw *S, uint32_t port, uint32_t room);
static void out_commit(struct sw *S, uint32_t port, uint8_t *frame, uint32_t len);
static void out_digest(struct sw *S, uint32_t list, const struct pkt *P);

static inline void flags_clear(struct pkt *P) {
  P->truncated = ~0ull;
  P->clone_session = P->clone_list = P->learn = P->resubmit = P->recirculate = 0;
  P->exit = P->failed = 0;
}
static inline void headers_clear(struct pkt *P) {
  memset(P->phv.valid, 0, sizeof P->phv.valid);
  memset(P->phv.next, 0, sizeof P->phv.next);
}
static inline void metadata_clear(struct pkt *P) {
  zero_units(&P->phv.m, sizeof(struct zeroed_metadata));
#ifdef P4_POISON
  memset(P->phv.m.unzeroed, 0xa5, sizeof P->phv.m - sizeof(struct zeroed_metadata));
#endif
}

static inline void packet_clear(struct pkt *P) {
  flags_clear(P);
  headers_clear(P);
  metadata_clear(P);
#ifdef P4_POISON
  memset(P->phv.h, 0x5a, sizeof P->phv.h);
#endif
}

static struct queued *queue_pop(struct queue *q) {
  struct queued *item = q->head;
  if (item) {
    q->head = item->next;
    q->count--;
    if (!q->head) q->tail = &q->head;
  }
  return item;
}
/* A packet with bytes of its own. Gives 0, and counts, if the queue is full. */
static struct queued *queue_push(struct queue *q, const uint8_t *data, uint32_t len, uint64_t *overflow) {
  struct queued *item = q->count < P4_QUEUE_LIMIT ? malloc(sizeof *item + len) : 0;
  if (!item) { ++*overflow; return 0; }
  item->next = 0;
  item->len = len;
  if (len) memcpy(item->data, data, len);
  *q->tail = item;
  q->tail = &item->next;
  q->count++;
  return item;
}
static void queue_clear(struct queue *q) {
  struct queued *item;
  while ((item = queue_pop(q))) free(item);
}

static void egress(struct sw *S, struct pkt *P, uint32_t port);

static void replicate(struct sw *S, struct pkt *P, const struct group *g) {
  if (!g) { S->lane.stats.no_group++; return; }
  for (uint32_t i = 0; i < g->count; i++) {
    set_egress_rid(P, g->replicas[i].instance);
    struct pkt *copy = P;
    if (i + 1 < g->count) { /* the last replica is the packet itself */
      memcpy(&S->lane.copy, P, sizeof *P);
      copy = &S->lane.copy;
    }
    flags_clear(copy);
    if (g->truncate) copy->truncated = g->truncate;
    egress(S, copy, g->replicas[i].port);
  }
}

static void clone_egress(struct sw *S, struct pkt *P) {
  const struct group *session = S->sessions[P->clone_session & 0x7fff];
  const uint16_t list = P->clone_list;
  P->clone_session = P->clone_list = 0;
  if (!session) { S->lane.stats.no_session++; return; }
  for (uint32_t i = 0; i < session->count; i++) {
    struct queued *item = queue_push(&S->lane.clones, P->payload, P->payload_len, &S->lane.stats.clone_overflow);
    if (!item) continue;
    memcpy(&item->packet, P, sizeof *P);
    struct pkt *copy = &item->packet;
    memset(&copy->phv.m, 0, sizeof copy->phv.m); /* all of it: a clone has no ingress that would write the rest */
    flags_clear(copy);
    copy_field_list(copy, P, list);
    set_instance_type(copy, TYPE_EGRESS_CLONE);
    set_egress_rid(copy, session->replicas[i].instance);
    if (session->truncate) copy->truncated = session->truncate;
    copy->payload = item->data;
    item->port = session->replicas[i].port;
  }
}

static void recirculate(struct sw *S, struct pkt *P) {
  uint8_t *frame = S->lane.frame;
  if ((uint64_t)P4_MAX_HEADERS + P->payload_len > P4_SCRATCH) { S->lane.stats.oversize++; return; }
  const uint32_t len = deparse(S, P, frame); /* a truncation is lost */
  struct queued *item = queue_push(&S->lane.again, frame, len, &S->lane.stats.requeue_overflow);
  if (!item) return;
  packet_clear(&item->packet);
  copy_field_list(&item->packet, P, P->recirculate);
  set_instance_type(&item->packet, TYPE_RECIRCULATED);
  set_packet_length(&item->packet, len);
  item->packet.packet_length = len;
  item->packet.ingress_length = len;
}

static void egress(struct sw *S, struct pkt *P, uint32_t port) {
  if (HAS_priority && get_priority(P)) { S->lane.stats.priority_range++; return; } /* there is one queue a port */
  set_enq_timestamp(P, S->lane.now);
  set_enq_qdepth(P, 0);
  set_egress_global_timestamp(P, S->lane.now);
  set_deq_timedelta(P, 0);
  set_deq_qdepth(P, 0);
  set_qid(P, 0);
  set_egress_port(P, port);
  set_egress_spec(P, (uint64_t)S->drop_port + 1); /* anything but the drop port */
  set_packet_length(P, P->packet_length);
  pipeline_egress(S, P);
  P->exit = 0;
  if (unlikely(P->failed)) return;
  if (P->clone_session) clone_egress(S, P);
  if (get_egress_spec(P) == S->drop_port) { S->lane.stats.egress_drops++; return; }
  if (P->recirculate) { recirculate(S, P); return; }
  const uint64_t room = (uint64_t)P4_MAX_HEADERS + P->payload_len;
  if (unlikely(room > P4_SCRATCH)) { S->lane.stats.oversize++; return; }
  uint8_t *out = out_reserve(S, port, (uint32_t)room);
  if (unlikely(!out)) return;
  const uint32_t len = deparse(S, P, out);
  if (unlikely(P->failed)) return;
  out_commit(S, port, out, P->truncated < len ? (uint32_t)P->truncated : len);
}

static void clone_ingress(struct sw *S, struct pkt *P, const uint8_t *data, uint32_t len, uint64_t ingress_port) {
  const struct group *session = S->sessions[P->clone_session & 0x7fff];
  const uint16_t list = P->clone_list;
  P->clone_session = P->clone_list = 0;
  if (!session) { S->lane.stats.no_session++; return; }
  /* The clone is the packet as it came, parsed again; of the metadata only the field list survives. */
  struct pkt *copy = &S->lane.clone;
  packet_clear(copy);
  set_ingress_port(copy, ingress_port);
  parse(S, copy, data, len);
  memset(&copy->phv.m, 0, sizeof copy->phv.m);
  copy->ingress_length = P->ingress_length;
  copy->packet_length = len;
  copy_field_list(copy, P, list);
  set_instance_type(copy, TYPE_INGRESS_CLONE);
  replicate(S, copy, session);
}

static void ingress(struct sw *S, struct pkt *P, const uint8_t *data, uint32_t len) {
  const uint64_t ingress_port = get_ingress_port(P);
  const uint32_t error = parse(S, P, data, len);
  set_checksum_error(P, verify_checksums(S, P));
  set_parser_error(P, error);
  pipeline_ingress(S, P);
  P->exit = 0;
  if (unlikely(P->failed)) return;
  if (unlikely(P->clone_session)) clone_ingress(S, P, data, len, ingress_port);
  if (unlikely(P->learn)) out_digest(S, P->learn, P);
  if (unlikely(P->resubmit)) {
    struct queued *item = queue_push(&S->lane.again, data, len, &S->lane.stats.requeue_overflow);
    if (!item) return;
    packet_clear(&item->packet);
    copy_field_list(&item->packet, P, P->resubmit);
    set_instance_type(&item->packet, TYPE_RESUBMITTED);
    set_packet_length(&item->packet, len);
    item->packet.packet_length = len;
    item->packet.ingress_length = P->ingress_length;
    return;
  }
  const uint64_t mcast_grp = get_mcast_grp(P);
  if (mcast_grp) {
    set_instance_type(P, TYPE_REPLICATED);
    replicate(S, P, S->groups[mcast_grp & 0xffff]);
    return;
  }
  const uint64_t port = get_egress_spec(P);
  if (port == S->drop_port) { S->lane.stats.ingress_drops++; return; }
  set_instance_type(P, TYPE_NORMAL);
  egress(S, P, (uint32_t)port);
}

static void drain(struct sw *S) {
  struct queued *item;
  /* A program may clone its clones or send a packet round for ever: so many a batch, the rest in the next one. */
  for (uint32_t n = 0; n < P4_QUEUE_LIMIT && (item = queue_pop(&S->lane.clones)); n++) {
    egress(S, &item->packet, item->port);
    free(item);
  }
}
static void process(struct sw *S, uint32_t port, const uint8_t *data, uint32_t len) {
  struct pkt *P = &S->lane.packet;
  S->lane.stats.packets_in++;
  packet_clear(P);
  P->ingress_length = len;
  P->packet_length = len;
  set_ingress_port(P, port);
  set_packet_length(P, len);
  set_ingress_global_timestamp(P, S->lane.now);
  ingress(S, P, data, len);
  if (unlikely(S->lane.clones.head)) drain(S);
}
static void process_again(struct sw *S) {
  struct queued *item;
  for (uint32_t n = 0; n < P4_QUEUE_LIMIT && (item = queue_pop(&S->lane.again)); n++) {
    ingress(S, &item->packet, item->data, item->len);
    free(item);
    drain(S);
  }
}
#endif
