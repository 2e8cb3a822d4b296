/* SPDX-License-Identifier: Apache-2.0 */
/* UNIX datagram sockets as ports: one frame a datagram. */
#ifndef P4_IO_SOCKET_H
#define P4_IO_SOCKET_H
#include <sys/stat.h>

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
  for (uint32_t i = 0; i < P4_BATCH; i++) {
    p->msg[i].msg_hdr.msg_name = &p->peer;
    p->msg[i].msg_hdr.msg_namelen = sizeof p->peer;
  }
  return 0;
}
static const struct port_ops socket_ops = {.open = port_open_socket};
#endif
