/* SPDX-License-Identifier: Apache-2.0 */
/* Ports. What is different from kind to kind stands behind a table of functions: sinks, whose frames go into a buffer
 * that the host program reads; UNIX datagram sockets (io_socket.h); network interfaces (io_packet.h). Frames to the
 * latter two gather until the end of a batch. A port outlives its interface: without one it has no descriptor, and what
 * is sent to it is lost, and counted. Every port can be captured to a file. */
#ifndef P4_PORTS_H
#define P4_PORTS_H
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define P4_BATCH 32u
#define P4_TX_ROOM (1u << 19)

/* Room for what a kernel says of a frame beside its bytes. */
union control { struct cmsghdr align; char room[64]; };

/* One kind of port. Errors are negative errno values; 0 for the functions that a kind does not need. */
struct port_ops {
  int buffered; /* frames go to the host program instead of a file descriptor */
  uint32_t head; /* so many zero bytes stand in front of each frame that is sent */
  int (*open)(struct port *p);
  /* Takes a descriptor that `open` made, maybe for another program. */
  int (*adopt)(struct port *p, int fd);
  /* Of the interface that the descriptor stands for now; 0 if for none any more. */
  int (*bound)(const struct port *p);
  /* Nothing comes into the descriptor any more; what waits there stays. */
  void (*halt)(const struct port *p);
  /* Adds what the kernel has counted since it was asked last. */
  void (*poll)(struct sw *S, struct port *p);
  /* What a received frame becomes: where it begins, and *len; it is dropped, and was counted, if that is 0. */
  void (*prepare)(struct msghdr *m, union control *room);
  uint8_t *(*received)(struct sw *S, struct port *p, struct msghdr *m, uint8_t *frame, uint32_t *len);
};

struct port {
  struct port *next;
  const struct port_ops *ops;
  int fd; /* -1: without its interface or socket */
  uint32_t number;
  char first[108], second[108]; /* what it is attached to: an interface, or paths of two sockets */
  uint32_t mtu;
  struct port_statistics stats;
  uint32_t told, untold; /* causes, one bit each: that the host program knows of; of which it is to be told */
  uint64_t told_at;
  struct capture *capture;
  struct sockaddr_un peer;
  uint8_t *tx;
  uint32_t tx_used, tx_count;
  struct iovec iov[P4_BATCH][2]; /* what stands in front, if anything does; the frame */
  struct mmsghdr msg[P4_BATCH];
};

static void port_lost(struct sw *S, struct port *p, uint64_t *count, uint64_t frames);
static void port_missed(struct sw *S, uint32_t number);

/* The count of a frame that could not be sent, by the error. */
static __attribute__((noinline, cold)) uint64_t *send_cause(struct port *p, int error) {
  struct ifreq r = {0};
  const int interface = p->ops->bound != 0;
  switch (error) {
    case ENETDOWN: case ENXIO: case ENODEV: return &p->stats.send_down;
    case EMSGSIZE: return interface ? &p->stats.send_beyond_mtu : &p->stats.send_oversize;
    case ECONNREFUSED: case ENOENT: case ENOTDIR: case EPROTOTYPE: return &p->stats.send_no_peer;
    case ENOBUFS: /* also what a link without a carrier answers */
      memcpy(r.ifr_name, p->first, sizeof r.ifr_name - 1);
      if (interface && ioctl(p->fd, SIOCGIFFLAGS, &r) == 0 && !(r.ifr_flags & IFF_RUNNING)) return &p->stats.send_down;
      return &p->stats.send_queue_full;
    case EPERM: return interface ? &p->stats.send_failed : &p->stats.send_no_peer; /* it is connected to somebody else */
    case EAGAIN: case ENOMEM: return &p->stats.send_queue_full;
    default: return &p->stats.send_failed;
  }
}
static void port_flush(struct sw *S, struct port *p) {
  uint32_t sent = 0;
  while (sent < p->tx_count) {
    int n = sendmmsg(p->fd, p->msg + sent, p->tx_count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      p->stats.packets_out += (uint64_t)n;
      for (const uint32_t end = sent + (uint32_t)n; sent < end; sent++) p->stats.bytes_out += p->iov[sent][1].iov_len;
      continue;
    }
    if (errno == EINTR) continue;
    /* Nobody listens, or the queue is full, or the frame does not fit: this frame is lost, the others have their chance. */
    S->lane.stats.send_failed++;
    S->lane.stats.packets_out--;
    port_lost(S, p, send_cause(p, errno), 1);
    sent++;
  }
  p->tx_used = p->tx_count = 0;
}

/* Making and ending. Errors are negative errno values. */

static const uint8_t port_head[16]; /* of every frame that is sent */

static struct port *port_new(uint32_t number, const struct port_ops *ops, const char *first, const char *second) {
  struct port *p = calloc(1, sizeof *p);
  if (!p) return 0;
  p->number = number;
  p->ops = ops;
  p->fd = -1;
  strncpy(p->first, first, sizeof p->first - 1);
  strncpy(p->second, second, sizeof p->second - 1);
  if (!ops->buffered && !(p->tx = malloc(P4_TX_ROOM))) { free(p); return 0; }
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    p->iov[i][0] = (struct iovec){.iov_base = (void *)port_head, .iov_len = ops->head};
    p->msg[i].msg_hdr.msg_iov = p->iov[i] + !ops->head;
    p->msg[i].msg_hdr.msg_iovlen = ops->head ? 2 : 1;
  }
  return p;
}
/* The end of a port that is not in the switch any more. */
static void port_free(struct port *p) {
  if (!p) return;
  if (p->fd >= 0) close(p->fd);
  capture_end(p->capture);
  free(p->tx);
  free(p);
}
#endif
