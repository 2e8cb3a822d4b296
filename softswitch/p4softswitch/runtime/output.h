/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames, digests and messages go: records for the host program, transmit buffers of ports, captures. */
#ifndef P4_OUTPUT_H
#define P4_OUTPUT_H

struct record { uint32_t kind, id, len, reserved; };

static void port_captured(struct sw *S, struct port *p, const uint8_t *frame, uint32_t len) {
  port_lost(S, p, &p->stats.capture_lost, capture_frame(p->capture, frame, len));
}

static uint8_t *buffer_reserve(struct sw *S, uint32_t room) {
  struct outbuf *o = &S->lane.out;
  const size_t need = o->used + sizeof(struct record) + room + 8;
  if (unlikely(need > o->capacity)) {
    size_t capacity = o->capacity ? o->capacity : 1 << 16;
    while (capacity < need) capacity *= 2;
    uint8_t *data = need <= S->out_limit ? realloc(o->data, capacity) : 0;
    if (!data) { S->lane.stats.sink_overflow++; return 0; }
    o->data = data;
    o->capacity = capacity;
  }
  return o->data + o->used + sizeof(struct record);
}
static void buffer_commit(struct sw *S, uint32_t kind, uint32_t id, uint32_t len) {
  const struct record r = {kind, id, len, 0};
  memcpy(S->lane.out.data + S->lane.out.used, &r, sizeof r);
  S->lane.out.used += (sizeof r + len + 7) & ~(size_t)7;
}

static inline uint8_t *out_reserve(struct sw *S, uint32_t port, uint32_t room) {
  struct port *p = port < 65536 ? S->ports[port] : 0;
  if (S->capture) return buffer_reserve(S, room);
  if (unlikely(!p)) { port_missed(S, port); return 0; }
  if (p->ops->buffered) {
    uint8_t *out = buffer_reserve(S, room);
    if (unlikely(!out)) port_lost(S, p, &p->stats.sink_overflow, 1);
    return out;
  }
  if (unlikely(p->fd < 0)) {
    S->lane.stats.send_failed++;
    port_lost(S, p, &p->stats.send_down, 1);
    return 0;
  }
  if (unlikely(room > P4_TX_ROOM)) {
    S->lane.stats.oversize++;
    port_lost(S, p, &p->stats.send_oversize, 1);
    return 0;
  }
  if (p->tx_count == P4_BATCH || p->tx_used + room > P4_TX_ROOM) port_flush(S, p);
  return p->tx + p->tx_used;
}
static inline void out_commit(struct sw *S, uint32_t port, uint8_t *frame, uint32_t len) {
  struct port *p = port < 65536 ? S->ports[port] : 0;
  S->lane.stats.packets_out++;
  if (unlikely(p && p->capture)) port_captured(S, p, frame, len);
  if (S->capture) { buffer_commit(S, RECORD_PACKET, port, len); return; }
  if (p->ops->buffered) {
    buffer_commit(S, RECORD_PACKET, port, len);
    p->stats.packets_out++;
    p->stats.bytes_out += len;
    return;
  }
  p->iov[p->tx_count][1] = (struct iovec){.iov_base = frame, .iov_len = len};
  p->tx_count++;
  p->tx_used += (len + 63) & ~63u;
}
static void out_digest(struct sw *S, uint32_t list, const struct pkt *P) {
  uint8_t *out = buffer_reserve(S, P4_MAX_DIGEST);
  if (out) buffer_commit(S, RECORD_DIGEST, list, build_digest(P, list, out));
}
static void log_message(struct sw *S, uint32_t message, const i128 *args, uint32_t count) {
  uint8_t *out = buffer_reserve(S, count * 16);
  if (!out) return;
  memcpy(out, args, count * 16);
  buffer_commit(S, RECORD_LOG, message, count * 16);
}
#endif
