/* SPDX-License-Identifier: Apache-2.0 */
/* Ports. What is different from kind to kind stands behind a table of functions: sinks, whose frames go into a buffer
 * that the host program reads; UNIX datagram sockets (io_socket.h); network interfaces (io_packet.h). Frames to the
 * latter two gather until the end of a batch. Every port can be captured to a file. */
#ifndef P4_PORTS_H
#define P4_PORTS_H
#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>

#define P4_BATCH 32u
#define P4_TX_ROOM (1u << 19)

/* Room for what a kernel says of a frame beside its bytes. */
union control { struct cmsghdr align; char room[64]; };

/* One kind of port. Errors are negative errno values. */
struct port_ops {
  int buffered; /* frames go to the host program instead of a file descriptor */
  uint32_t head; /* so many zero bytes stand in front of each frame that is sent */
  int (*open)(struct port *p, const char *first, const char *second);
  /* What a received frame becomes: where it begins, and *len; it is dropped, and was counted, if that is 0. 0 for the
   * functions that a kind does not need. */
  void (*prepare)(struct msghdr *m, union control *room);
  uint8_t *(*received)(struct sw *S, struct port *p, struct msghdr *m, uint8_t *frame, uint32_t *len);
};

struct port {
  struct port *next;
  const struct port_ops *ops;
  int fd;
  uint32_t number;
  char interface[IFNAMSIZ];
  uint32_t mtu;
  struct port_statistics stats;
  int told;
  uint64_t told_at;
  FILE *pcap;
  char path[108];           /* of our socket, removed at the end */
  struct sockaddr_un peer;
  uint8_t *tx;
  uint32_t tx_used, tx_count;
  struct iovec iov[P4_BATCH][2]; /* what stands in front, if anything does; the frame */
  struct mmsghdr msg[P4_BATCH];
};

static void port_flush(struct sw *S, struct port *p) {
  uint32_t sent = 0;
  while (sent < p->tx_count) {
    int n = sendmmsg(p->fd, p->msg + sent, p->tx_count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) { sent += (uint32_t)n; continue; }
    if (errno == EINTR) continue;
    /* Nobody listens, or the queue is full, or the frame does not fit: this frame is lost, the others have their chance. */
    S->lane.stats.send_failed++;
    S->lane.stats.packets_out--;
    sent++;
  }
  p->tx_used = p->tx_count = 0;
}

/* Opening and closing. Errors are negative errno values. */

static const uint8_t port_head[16]; /* of every frame that is sent */

static struct port *port_new(uint32_t number, const struct port_ops *ops) {
  struct port *p = calloc(1, sizeof *p);
  if (!p) return 0;
  p->number = number;
  p->ops = ops;
  p->fd = -1;
  if (!ops->buffered && !(p->tx = malloc(P4_TX_ROOM))) { free(p); return 0; }
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    p->iov[i][0] = (struct iovec){.iov_base = (void *)port_head, .iov_len = ops->head};
    p->msg[i].msg_hdr.msg_iov = p->iov[i] + !ops->head;
    p->msg[i].msg_hdr.msg_iovlen = ops->head ? 2 : 1;
  }
  return p;
}
static void port_free(struct port *p) {
  if (!p) return;
  if (p->pcap) fclose(p->pcap);
  if (p->fd >= 0) close(p->fd);
  if (p->path[0]) unlink(p->path);
  free(p->tx);
  free(p);
}
static int port_capture(struct port *p, const char *path) {
  static const uint32_t header[6] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, P4_MAX_FRAME, 1};
  if (!path || !path[0]) return 0;
  p->pcap = fopen(path, "wbe");
  if (!p->pcap) return -errno;
  fwrite(header, sizeof header, 1, p->pcap);
  return fflush(p->pcap) ? -errno : 0;
}
#endif
