/* SPDX-License-Identifier: Apache-2.0 */
/* Ports: in-process ones whose frames go into a buffer that the host program reads, UNIX datagram sockets, network
 * interfaces. Frames to sockets and interfaces gather until the end of a batch. Every port can be captured to a file. */
#ifndef P4_PORTS_H
#define P4_PORTS_H
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { PORT_SINK, PORT_SOCKET, PORT_INTERFACE };
enum { RECORD_PACKET, RECORD_DIGEST, RECORD_LOG, RECORD_PORT };
#define P4_BATCH 32u
#define P4_TX_ROOM (1u << 19)
/* Microseconds before the host program is told again of a port whose frames are unfinished. */
#define P4_PORT_TOLD 60000000u
/* What a frame of an interface may have beyond the MTU: Ethernet header and two VLAN tags. */
#define P4_ABOVE_MTU 22u

struct record { uint32_t kind, id, len, reserved; };

/* Frames that a kernel left unfinished for a network card that was to do the rest, as no wire has them: a transport
 * checksum of the pseudo header alone; several segments in one. The order is that of PORT_STATISTICS in engine.py. */
struct port_statistics { uint64_t checksum_unfinished, beyond_mtu; };

struct port {
  struct port *next;
  int kind, fd;
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
  struct iovec iov[P4_BATCH];
  struct mmsghdr msg[P4_BATCH];
};

static void pcap_frame(struct sw *S, struct port *p, const uint8_t *frame, uint32_t len) {
  struct timespec t;
  (void)S;
  clock_gettime(CLOCK_REALTIME, &t);
  const uint32_t header[4] = {(uint32_t)t.tv_sec, (uint32_t)(t.tv_nsec / 1000), len, len};
  fwrite(header, sizeof header, 1, p->pcap);
  fwrite(frame, 1, len, p->pcap);
}

static uint8_t *buffer_reserve(struct sw *S, uint32_t room) {
  struct outbuf *o = &S->out;
  const size_t need = o->used + sizeof(struct record) + room + 8;
  if (unlikely(need > o->capacity)) {
    size_t capacity = o->capacity ? o->capacity : 1 << 16;
    while (capacity < need) capacity *= 2;
    uint8_t *data = need <= S->out_limit ? realloc(o->data, capacity) : 0;
    if (!data) { S->stats.sink_overflow++; return 0; }
    o->data = data;
    o->capacity = capacity;
  }
  return o->data + o->used + sizeof(struct record);
}
static void buffer_commit(struct sw *S, uint32_t kind, uint32_t id, uint32_t len) {
  const struct record r = {kind, id, len, 0};
  memcpy(S->out.data + S->out.used, &r, sizeof r);
  S->out.used += (sizeof r + len + 7) & ~(size_t)7;
}

static uint32_t interface_mtu(const struct port *p) {
  struct ifreq r = {0};
  memcpy(r.ifr_name, p->interface, sizeof r.ifr_name);
  return ioctl(p->fd, SIOCGIFMTU, &r) < 0 || r.ifr_mtu < 0 ? p->mtu : (uint32_t)r.ifr_mtu;
}
/* Counts a frame that is unfinished, and tells the host program: of the first one of a port at once, of others together. */
static __attribute__((noinline, cold)) void port_unfinished(struct sw *S, struct port *p, int checksum, uint32_t len) {
  int beyond = len > p->mtu + P4_ABOVE_MTU;
  if (beyond) { /* the MTU may have been raised meanwhile */
    p->mtu = interface_mtu(p);
    beyond = len > p->mtu + P4_ABOVE_MTU;
  }
  if (!checksum && !beyond) return;
  p->stats.checksum_unfinished += (uint64_t)checksum;
  p->stats.beyond_mtu += (uint64_t)beyond;
  if (p->told && S->now - p->told_at < P4_PORT_TOLD) return;
  uint8_t *out = buffer_reserve(S, sizeof p->stats);
  if (!out) return; /* the next one tries again */
  memcpy(out, &p->stats, sizeof p->stats);
  buffer_commit(S, RECORD_PORT, p->number, sizeof p->stats);
  p->told = 1;
  p->told_at = S->now;
}

static void port_flush(struct sw *S, struct port *p) {
  uint32_t sent = 0;
  while (sent < p->tx_count) {
    int n = sendmmsg(p->fd, p->msg + sent, p->tx_count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) { sent += (uint32_t)n; continue; }
    if (errno == EINTR) continue;
    /* Nobody listens, or the queue is full, or the frame does not fit: this frame is lost, the others have their chance. */
    S->stats.send_failed++;
    S->stats.packets_out--;
    sent++;
  }
  p->tx_used = p->tx_count = 0;
}

static inline uint8_t *out_reserve(struct sw *S, uint32_t port, uint32_t room) {
  struct port *p = port < 65536 ? S->ports[port] : 0;
  if (S->capture || (p && p->kind == PORT_SINK)) return buffer_reserve(S, room);
  if (unlikely(!p)) { S->stats.no_port++; return 0; }
  if (unlikely(room > P4_TX_ROOM)) { S->stats.oversize++; return 0; }
  if (p->tx_count == P4_BATCH || p->tx_used + room > P4_TX_ROOM) port_flush(S, p);
  return p->tx + p->tx_used;
}
static inline void out_commit(struct sw *S, uint32_t port, uint8_t *frame, uint32_t len) {
  struct port *p = port < 65536 ? S->ports[port] : 0;
  S->stats.packets_out++;
  if (unlikely(p && p->pcap)) pcap_frame(S, p, frame, len);
  if (S->capture || p->kind == PORT_SINK) { buffer_commit(S, RECORD_PACKET, port, len); return; }
  p->iov[p->tx_count].iov_base = frame;
  p->iov[p->tx_count].iov_len = len;
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

/* Opening and closing. Errors are negative errno values. */

static struct port *port_new(uint32_t number, int kind) {
  struct port *p = calloc(1, sizeof *p);
  if (!p) return 0;
  p->number = number;
  p->kind = kind;
  p->fd = -1;
  if (kind != PORT_SINK && !(p->tx = malloc(P4_TX_ROOM))) { free(p); return 0; }
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    p->msg[i].msg_hdr.msg_iov = &p->iov[i];
    p->msg[i].msg_hdr.msg_iovlen = 1;
    if (kind == PORT_SOCKET) {
      p->msg[i].msg_hdr.msg_name = &p->peer;
      p->msg[i].msg_hdr.msg_namelen = sizeof p->peer;
    }
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
static int port_open_socket(struct port *p, const char *local, const char *peer) {
  struct sockaddr_un here = {.sun_family = AF_UNIX};
  if (strlen(local) >= sizeof here.sun_path || strlen(peer) >= sizeof here.sun_path) return -ENAMETOOLONG;
  strcpy(here.sun_path, local);
  p->peer.sun_family = AF_UNIX;
  strcpy(p->peer.sun_path, peer);
  p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (p->fd < 0) return -errno;
  struct stat st;
  if (lstat(local, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(local); /* left behind by a process that was killed */
  const mode_t old = umask(0177);
  const int rc = bind(p->fd, (struct sockaddr *)&here, sizeof here);
  const int error = errno;
  umask(old);
  if (rc < 0) return -error;
  strcpy(p->path, local);
  const int room = 4 << 20;
  setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return 0;
}
static int port_open_interface(struct port *p, const char *name) {
  const int on = 1, room = 8 << 20;
  struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = __builtin_bswap16(ETH_P_ALL)};
  where.sll_ifindex = (int)if_nametoindex(name);
  if (!where.sll_ifindex) return -ENODEV;
  p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (p->fd < 0) return -errno;
  /* What this socket sends must not come back as received. */
  if (setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0) return -errno;
  /* The kernel takes a VLAN tag out of the frame; the auxiliary data says what it was, and what else is unfinished. */
  if (setsockopt(p->fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0) return -errno;
  setsockopt(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  if (setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
    setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  struct packet_mreq all = {.mr_ifindex = where.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) return -errno;
  if (bind(p->fd, (struct sockaddr *)&where, sizeof where) < 0) return -errno;
  strncpy(p->interface, name, sizeof p->interface - 1);
  p->mtu = interface_mtu(p);
  return 0;
}
#endif
