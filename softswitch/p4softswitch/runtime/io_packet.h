/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces as ports, over AF_PACKET sockets (packet(7)). */
#ifndef P4_IO_PACKET_H
#define P4_IO_PACKET_H
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define P4_VLAN_ROOM 4u
/* What a frame of an interface may have beyond the MTU: Ethernet header and two VLAN tags. */
#define P4_ABOVE_MTU 22u

static uint32_t interface_mtu(const struct port *p) {
  struct ifreq r = {0};
  memcpy(r.ifr_name, p->first, sizeof r.ifr_name - 1);
  return ioctl(p->fd, SIOCGIFMTU, &r) < 0 || r.ifr_mtu < 0 ? p->mtu : (uint32_t)r.ifr_mtu;
}
/* Counts a frame that is unfinished. */
static __attribute__((noinline, cold)) void port_unfinished(struct sw *S, struct port *p, struct unfinished left, uint32_t len) {
  int beyond = !left.segments && len > p->mtu + P4_ABOVE_MTU;
  if (beyond) { /* the MTU may have been raised meanwhile */
    p->mtu = interface_mtu(p);
    beyond = len > p->mtu + P4_ABOVE_MTU;
  }
  port_lost(S, p, &p->stats.checksum_unfinished, (uint64_t)left.checksum);
  port_lost(S, p, &p->stats.segments_unfinished, (uint64_t)left.segments);
  port_lost(S, p, &p->stats.beyond_mtu, (uint64_t)beyond);
}

/* What the kernel says of a frame beside its bytes; an empty status without. */
static struct tpacket_auxdata auxiliary(struct msghdr *m) {
  struct tpacket_auxdata aux = {0};
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
    if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) memcpy(&aux, CMSG_DATA(c), sizeof aux);
  return aux;
}
/* Puts a VLAN tag back that the kernel took out. The buffer has room in front of the frame. */
static uint8_t *untag(const struct tpacket_auxdata *aux, uint8_t *frame, uint32_t *len) {
  if (!(aux->tp_status & TP_STATUS_VLAN_VALID) || *len < 12) return frame;
  const uint16_t tpid = aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETH_P_8021Q;
  frame -= P4_VLAN_ROOM;
  memmove(frame, frame + P4_VLAN_ROOM, 12);
  ST16(frame + 12, tpid);
  ST16(frame + 14, aux->tp_vlan_tci);
  *len += P4_VLAN_ROOM;
  return frame;
}

static void interface_prepare(struct msghdr *m, union control *room) {
  _Static_assert(sizeof room->room >= CMSG_SPACE(sizeof(struct tpacket_auxdata)), "room for the auxiliary data");
  m->msg_control = room;
  m->msg_controllen = sizeof *room;
}
static uint8_t *interface_received(struct sw *S, struct port *p, struct msghdr *m, uint8_t *frame, uint32_t *len) {
  const struct tpacket_auxdata aux = auxiliary(m);
  /* Before a tag is put back: until then offsets are those of the header. */
  const struct unfinished left = offload_finish(&frame, len, &p->stats.checksum_completed);
  if (unlikely(left.checksum || left.segments || *len > p->mtu + P4_ABOVE_MTU)) port_unfinished(S, p, left, *len);
  return unlikely(left.checksum || left.segments) ? 0 : untag(&aux, frame, len);
}

static int interface_bound(const struct port *p) {
  struct sockaddr_ll where = {0};
  socklen_t len = sizeof where;
  if (getsockname(p->fd, (struct sockaddr *)&where, &len) < 0) return 0;
  return where.sll_ifindex > 0 ? where.sll_ifindex : 0; /* -1: of an interface that was deleted */
}
/* By a filter that lets nothing pass. Without it (ENOMEM) what is received in the meantime is, too. */
static void interface_halt(const struct port *p) {
  struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
  const struct sock_fprog filter = {.len = 1, .filter = &none};
  setsockopt(p->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}
/* The kernel begins anew each time that it is asked. */
static void interface_poll(struct sw *S, struct port *p) {
  struct tpacket_stats seen = {0};
  socklen_t len = sizeof seen;
  if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &seen, &len) < 0) return;
  port_lost(S, p, &p->stats.receive_overrun, seen.tp_drops);
}

static int port_adopt_interface(struct port *p, int fd) {
  p->fd = fd;
  p->mtu = interface_mtu(p);
  return 0;
}
static int port_open_interface(struct port *p) {
  const char *const name = p->first;
  const int on = 1, room = 8 << 20;
  struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = __builtin_bswap16(ETH_P_ALL)};
  where.sll_ifindex = (int)if_nametoindex(name);
  if (!where.sll_ifindex) return -ENODEV;
  p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (p->fd < 0) return -errno;
  /* What this socket sends must not come back as received. */
  if (setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0) return -errno;
  /* Frames come and go with a header that says what is left to do; in those that go it is all zero. */
  if (setsockopt(p->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0) return -errno;
  /* The kernel takes a VLAN tag out of the frame; the auxiliary data says what it was. */
  if (setsockopt(p->fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0) return -errno;
  setsockopt(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  if (setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
    setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  struct packet_mreq all = {.mr_ifindex = where.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) return -errno;
  if (bind(p->fd, (struct sockaddr *)&where, sizeof where) < 0) return -errno;
  return port_adopt_interface(p, p->fd);
}
static const struct port_ops interface_ops = {
    .head = sizeof(struct offload), .open = port_open_interface, .adopt = port_adopt_interface, .bound = interface_bound,
    .halt = interface_halt, .poll = interface_poll, .prepare = interface_prepare, .received = interface_received};
#endif
