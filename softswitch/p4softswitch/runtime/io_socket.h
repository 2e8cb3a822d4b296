/* SPDX-License-Identifier: Apache-2.0 */
/* UNIX datagram sockets as ports: one frame a datagram. The host program removes their paths, which it can tell from others
 * that came to stand there. */
#ifndef P4_IO_SOCKET_H
#define P4_IO_SOCKET_H
#include <sys/stat.h>

static int port_adopt_socket(struct port *p, int fd) {
  _Static_assert(sizeof p->first == sizeof p->peer.sun_path, "paths are as long as they may be");
  p->fd = fd;
  p->peer.sun_family = AF_UNIX;
  strcpy(p->peer.sun_path, p->second);
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    p->msg[i].msg_hdr.msg_name = &p->peer;
    p->msg[i].msg_hdr.msg_namelen = sizeof p->peer;
  }
  return 0;
}
static int port_open_socket(struct port *p) {
  struct sockaddr_un here = {.sun_family = AF_UNIX};
  const char *const local = p->first;
  strcpy(here.sun_path, local);
  p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (p->fd < 0) return -errno;
  struct stat st;
  if (lstat(local, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(local); /* left behind by a process that was killed */
  const mode_t old = umask(0177);
  const int rc = bind(p->fd, (struct sockaddr *)&here, sizeof here);
  const int error = errno;
  umask(old);
  if (rc < 0) return -error;
  const int room = 4 << 20;
  setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return port_adopt_socket(p, p->fd);
}
static void socket_halt(const struct port *p) { shutdown(p->fd, SHUT_RD); } /* who sends is told: EPIPE */
static const struct port_ops socket_ops = {
    .open = port_open_socket, .adopt = port_adopt_socket, .halt = socket_halt};
#endif
