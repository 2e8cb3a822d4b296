/* SPDX-License-Identifier: Apache-2.0 */
/* What packet sockets and veth cost without any switch: receives and sends in the same way as the embedded switch (batches of 32,
 * recvmmsg and sendmmsg, epoll, one thread), and does nothing in between. Also the generator and the counter of the
 * benchmark, which are the same for both.
 *
 *   floor forward IFACE IFACE            everything from one to the other, both ways, until killed
 *   floor send IFACE SECONDS < FRAME     one frame over and over, as fast as the socket takes it
 *   floor count IFACE SECONDS MARKER     frames that contain the marker (hex), from the first one on
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define BATCH 32
#define FRAME 2048

static uint8_t frames[BATCH][FRAME];
static struct iovec iov[BATCH];
static struct mmsghdr msg[BATCH];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int open_interface(const char *name) {
  const int on = 1, room = 8 << 20;
  struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  where.sll_ifindex = (int)if_nametoindex(name);
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (!where.sll_ifindex || fd < 0) die(name);
  struct packet_mreq all = {.mr_ifindex = where.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0) die("PACKET_IGNORE_OUTGOING");
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) die("promiscuous");
  if (bind(fd, (struct sockaddr *)&where, sizeof where) < 0) die("bind");
  return fd;
}

static void prepare(void) {
  for (int i = 0; i < BATCH; i++) {
    iov[i] = (struct iovec){frames[i], FRAME};
    msg[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
  }
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int wait_readable(int fd, int timeout_ms) {
  static int poller = -1;
  struct epoll_event event = {.events = EPOLLIN};
  if (poller < 0) {
    poller = epoll_create1(0);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
  }
  return epoll_wait(poller, &event, 1, timeout_ms);
}

static int receive(int fd) {
  for (int i = 0; i < BATCH; i++) iov[i].iov_len = FRAME;
  const int n = recvmmsg(fd, msg, BATCH, MSG_DONTWAIT, 0);
  return n < 0 ? 0 : n;
}

static void forward(const char *left, const char *right) {
  const int fd[2] = {open_interface(left), open_interface(right)};
  const int poller = epoll_create1(0);
  for (uint32_t i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = i}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd[i], &event) < 0) die("epoll_ctl");
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[2];
    const int ready = epoll_wait(poller, events, 2, -1);
    for (int e = 0; e < ready; e++) {
      const uint32_t side = events[e].data.u32;
      const int n = receive(fd[side]);
      for (int i = 0; i < n; i++) iov[i].iov_len = msg[i].msg_len;
      for (int sent = 0; sent < n;) {
        const int taken = sendmmsg(fd[1 - side], msg + sent, (unsigned)(n - sent), MSG_DONTWAIT);
        sent += taken > 0 ? taken : 1;
      }
    }
  }
}

static void send_frames(const char *interface, double seconds) {
  const size_t length = fread(frames[0], 1, FRAME, stdin);
  const int fd = open_interface(interface);
  uint64_t sent = 0;
  for (int i = 0; i < BATCH; i++) {
    memcpy(frames[i], frames[0], length);
    iov[i].iov_len = length;
  }
  const double end = now() + seconds;
  while (now() < end) {
    const int taken = sendmmsg(fd, msg, BATCH, MSG_DONTWAIT);
    if (taken > 0) sent += (uint64_t)taken;
  }
  printf("{\"sent\": %llu}\n", (unsigned long long)sent);
}

static void count(const char *interface, double seconds, const char *hex) {
  uint8_t marker[64];
  size_t length = 0;
  for (; hex[2 * length] && length < sizeof marker; length++) sscanf(hex + 2 * length, "%2hhx", &marker[length]);
  const int fd = open_interface(interface);
  uint64_t counted = 0;
  double first = 0, last = 0;
  puts("ready");
  fflush(stdout);
  /* The window starts with the first frame, so that the time until the sender has started does not count. */
  for (double give_up = now() + 30; now() < give_up && (!counted || last - first < seconds);) {
    if (wait_readable(fd, 1000) == 0 && counted) break;
    const int n = receive(fd);
    for (int i = 0; i < n; i++)
      if (memmem(frames[i], msg[i].msg_len, marker, length)) {
        if (!counted++) first = now();
      }
    last = now();
  }
  printf("{\"received\": %llu, \"seconds\": %.6f}\n", (unsigned long long)counted, last - first);
}

int main(int argc, char **argv) {
  prepare();
  if (argc == 4 && !strcmp(argv[1], "forward")) forward(argv[2], argv[3]);
  else if (argc == 4 && !strcmp(argv[1], "send")) send_frames(argv[2], atof(argv[3]));
  else if (argc == 5 && !strcmp(argv[1], "count")) count(argv[2], atof(argv[3]), argv[4]);
  else {
    fputs("usage: floor forward IFACE IFACE | send IFACE SECONDS | count IFACE SECONDS MARKER\n", stderr);
    return 2;
  }
  return 0;
}
