/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that moves packets. It holds the lock of the switch for one batch at a time; a call of the control plane
 * comes in between two batches, so packets see every change whole. */
#ifndef P4_WORKER_H
#define P4_WORKER_H
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define P4_RX_FRAME (P4_MAX_FRAME + 64u)
#define P4_INPUT_LIMIT 4096u

struct injected { struct injected *next; uint32_t port, len; uint8_t data[]; };
struct worker {
  pthread_t thread;
  int running, stop, epoll, wake;
  pthread_mutex_t input_lock;
  pthread_cond_t input_room;
  struct injected *input, **input_tail;
  uint32_t input_count;
  uint64_t looked; /* at what kernels count of ports */
  uint8_t *rx;
  struct iovec iov[P4_BATCH];
  struct mmsghdr msg[P4_BATCH];
  union control control[P4_BATCH];
};

/* Gives how many frames there were, up to P4_BATCH. */
static uint32_t receive(struct sw *S, uint32_t number) {
  struct worker *w = S->lane.worker;
  struct port *p = S->ports[number];
  if (!p || p->fd < 0) return 0;
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    struct msghdr *m = &w->msg[i].msg_hdr;
    memset(m, 0, sizeof *m);
    w->iov[i].iov_base = w->rx + (size_t)i * (P4_RX_FRAME + P4_VLAN_ROOM) + P4_VLAN_ROOM;
    w->iov[i].iov_len = P4_RX_FRAME;
    m->msg_iov = &w->iov[i];
    m->msg_iovlen = 1;
    if (p->ops->prepare) p->ops->prepare(m, &w->control[i]);
  }
  const int n = recvmmsg(p->fd, w->msg, P4_BATCH, MSG_DONTWAIT, 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return 0;
    S->lane.stats.receive_failed++; /* an interface went down, a peer went away */
    if (errno != ENETDOWN) port_lost(S, p, &p->stats.receive_failed, 1); /* that an interface is down is not a frame lost */
    return 0;
  }
  for (int i = 0; i < n; i++) {
    uint32_t len = w->msg[i].msg_len;
    uint8_t *frame = w->iov[i].iov_base;
    const int oversize = (w->msg[i].msg_hdr.msg_flags & MSG_TRUNC) || len > P4_MAX_FRAME - P4_VLAN_ROOM;
    if (p->ops->received) frame = p->ops->received(S, p, &w->msg[i].msg_hdr, frame, &len);
    if (unlikely(!frame)) continue;
    if (oversize) {
      S->lane.stats.oversize++;
      port_lost(S, p, &p->stats.receive_oversize, 1);
      continue;
    }
    p->stats.packets_in++;
    p->stats.bytes_in += len;
    if (p->capture) port_captured(S, p, frame, len);
    process(S, number, frame, len);
  }
  return (uint32_t)n;
}

static void receive_injected(struct sw *S) {
  struct worker *w = S->lane.worker;
  for (uint32_t n = 0; n < P4_BATCH; n++) {
    pthread_mutex_lock(&w->input_lock);
    struct injected *item = w->input;
    if (item) {
      w->input = item->next;
      w->input_count--;
      if (!w->input) w->input_tail = &w->input;
      pthread_cond_signal(&w->input_room);
    }
    pthread_mutex_unlock(&w->input_lock);
    if (!item) return;
    struct port *p = S->ports[item->port];
    if (p) {
      p->stats.packets_in++;
      p->stats.bytes_in += item->len;
      if (p->capture) port_captured(S, p, item->data, item->len);
    }
    process(S, item->port, item->data, item->len);
    free(item);
  }
}

static void *worker_main(void *arg) {
  struct sw *S = arg;
  struct worker *w = S->lane.worker;
  struct epoll_event events[64];
  while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
    const int busy = __atomic_load_n(&w->input_count, __ATOMIC_RELAXED) || S->lane.again.head || S->lane.clones.head;
    const int n = epoll_wait(w->epoll, events, 64, busy ? 0 : 1000);
    const uint64_t now = clock_ns();
    const int look = now - w->looked >= P4_PORT_POLL;
    if (n <= 0 && !busy && !look) continue;
    batch_begin(S);
    if (unlikely(look)) {
      ports_poll(S);
      w->looked = now;
    }
    if (S->lane.clones.head) drain(S);
    for (int i = 0; i < n; i++) {
      if (events[i].data.u32 == ~0u) {
        uint64_t count;
        if (read(w->wake, &count, sizeof count) < 0) continue;
      } else {
        receive(S, events[i].data.u32);
      }
    }
    receive_injected(S);
    batch_end(S);
  }
  return 0;
}

static void worker_wake(struct worker *w) {
  const uint64_t one = 1;
  if (write(w->wake, &one, sizeof one) < 0) return; /* the counter is full: it is awake */
}

static struct worker *worker_new(void) {
  struct worker *w = calloc(1, sizeof *w);
  if (!w) return 0;
  w->input_tail = &w->input;
  w->rx = malloc((size_t)P4_BATCH * (P4_RX_FRAME + P4_VLAN_ROOM));
  w->epoll = epoll_create1(EPOLL_CLOEXEC);
  w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pthread_mutex_init(&w->input_lock, 0);
  pthread_cond_init(&w->input_room, 0);
  struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = ~0u}};
  if (!w->rx || w->epoll < 0 || w->wake < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &e) < 0) {
    if (w->epoll >= 0) close(w->epoll);
    if (w->wake >= 0) close(w->wake);
    free(w->rx);
    free(w);
    return 0;
  }
  return w;
}
static void worker_free(struct worker *w) {
  while (w->input) {
    struct injected *item = w->input;
    w->input = item->next;
    free(item);
  }
  close(w->epoll);
  close(w->wake);
  free(w->rx);
  free(w);
}
#endif
