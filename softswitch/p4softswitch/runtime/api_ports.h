/* SPDX-License-Identifier: Apache-2.0 */
/* What the host program calls about ports. A port is made without its interface or socket, which it then opens, or takes
 * from another program that lets go of it: between the two no frame is lost that its queue has room for. Errors are
 * negative errno values. */
#ifndef P4_API_PORTS_H
#define P4_API_PORTS_H

static const struct port_ops sink_ops = {.buffered = 1};
static const struct port_ops *const port_kinds[PORT_KINDS] = {
    [PORT_SINK] = &sink_ops, [PORT_SOCKET] = &socket_ops, [PORT_INTERFACE] = &interface_ops};

/* Puts a port into the place of another one, or of none. */
static void port_place(struct sw *S, struct port *old, struct port *p) {
  struct port **at = &S->port_list;
  while (*at && *at != old) at = &(*at)->next;
  p->next = old ? old->next : 0;
  *at = p;
  S->ports[p->number] = p;
}

/* first, second: name of an interface and nothing, or paths of the own socket and of the peer's. capture: descriptor of an
 * empty file, which the port closes, or -1. */
EXPORT int p4_attach(struct sw *S, uint32_t number, int kind, const char *first, const char *second, int capture) {
  int rc = number > 65535 || number == S->drop_port || kind < 0 || kind >= PORT_KINDS ? -EINVAL : 0;
  struct port *p = 0;
  if (!rc && (strlen(first) >= sizeof p->first || strlen(second) >= sizeof p->second)) rc = -ENAMETOOLONG;
  if (!rc && !(p = port_new(number, port_kinds[kind], first, second))) rc = -ENOMEM;
  if (!rc && capture >= 0) rc = capture_begin(&p->capture, capture);
  if (rc < 0) {
    if (capture >= 0) close(capture);
    port_free(p);
    return rc;
  }
  control_lock(S);
  if (S->ports[number]) rc = -EEXIST;
  else port_place(S, 0, p);
  control_unlock(S);
  if (rc < 0) port_free(p);
  return rc;
}
/* Opens interface or socket of a port that is without it; fd: one that p4_close gave, or -1. It is kept if that fails. */
EXPORT int p4_open(struct sw *S, uint32_t number, int fd) {
  if (number > 65535) return -EINVAL;
  control_lock(S);
  struct port *old = S->ports[number];
  int rc = !old ? -ENODEV : !old->ops->open ? -EINVAL : old->fd >= 0 ? -EALREADY : 0;
  struct port *p = rc < 0 ? 0 : port_new(number, old->ops, old->first, old->second);
  control_unlock(S);
  if (rc < 0) return rc;
  if (!p) return -ENOMEM;
  /* Not under the lock: the kernel may take its time. */
  rc = fd >= 0 ? p->ops->adopt(p, fd) : p->ops->open(p);
  control_lock(S);
  if (rc >= 0 && S->ports[number] != old) rc = -ENODEV;
  struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = number}};
  if (rc >= 0 && epoll_ctl(S->lane.worker->epoll, EPOLL_CTL_ADD, p->fd, &e) < 0) rc = -errno;
  if (rc >= 0) {
    p->stats = old->stats;
    p->told = old->told;
    p->untold = old->untold;
    p->told_at = old->told_at;
    p->capture = old->capture;
    old->capture = 0;
    port_place(S, old, p);
  } else {
    old = p;
    if (fd >= 0) old->fd = -1;
  }
  control_unlock(S);
  port_free(old);
  return rc;
}
/* Takes the descriptor out of a port; -1 if it has none. With the lock held. */
static int port_release(struct sw *S, struct port *p) {
  const int fd = p->fd;
  if (fd < 0) return -1;
  if (p->ops->poll) p->ops->poll(S, p);
  epoll_ctl(S->lane.worker->epoll, EPOLL_CTL_DEL, fd, 0); /* it may outlive us elsewhere */
  p->fd = -1;
  return fd;
}
/* What waits in a port's socket is received: an interface that is gone leaves it there. What comes from now on is not, since
 * one that is not gone goes on, or hears what the program sends. At most so many batches, should that fail. */
static void port_drain(struct sw *S, uint32_t number) {
  control_lock(S);
  const struct port *const p = S->ports[number];
  if (p && p->fd >= 0 && p->ops->halt) p->ops->halt(p);
  control_unlock(S);
  for (uint32_t batches = 0, empty = 0; batches < 4096 && empty < 2; batches++) { /* the first answer may be an error */
    batch_begin(S);
    empty = receive(S, number) ? 0 : empty + 1;
    batch_end(S);
  }
}
/* Lets go of interface or socket. keep: gives the descriptor, for p4_open; without: 0. */
EXPORT int p4_close(struct sw *S, uint32_t number, int keep) {
  if (number > 65535) return -EINVAL;
  if (!keep) port_drain(S, number);
  control_lock(S);
  struct port *p = S->ports[number];
  const int fd = p ? port_release(S, p) : -1;
  control_unlock(S);
  if (fd < 0) return p ? -ENOTCONN : -ENODEV;
  if (keep) return fd;
  close(fd); /* not under the lock: the kernel takes its time */
  return 0;
}
/* The index of the interface that a port is bound to; 0 if to none, or to one that is no more. */
EXPORT int p4_bound(struct sw *S, uint32_t number) {
  if (number > 65535) return -EINVAL;
  control_lock(S);
  const struct port *p = S->ports[number];
  const int rc = !p ? -ENODEV : p->fd >= 0 && p->ops->bound ? p->ops->bound(p) : 0;
  control_unlock(S);
  return rc;
}
/* What leaves through a port's socket has this mark from now on (SO_MARK, socket(7)). */
EXPORT int p4_port_mark(struct sw *S, uint32_t number, uint32_t mark) {
  if (number > 65535) return -EINVAL;
  control_lock(S);
  const struct port *p = S->ports[number];
  const int rc = !p || p->fd < 0 ? -ENODEV : setsockopt(p->fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0 ? -errno : 0;
  control_unlock(S);
  return rc;
}
/* Writes the last counts of the port, in the order of struct port_statistics. */
EXPORT int p4_detach(struct sw *S, uint32_t number, uint64_t *out, uint32_t count) {
  if (number > 65535) return -EINVAL;
  control_lock(S);
  struct port *p = S->ports[number];
  if (p) {
    const int fd = port_release(S, p);
    if (count > sizeof p->stats / sizeof *out) count = sizeof p->stats / sizeof *out;
    memcpy(out, &p->stats, count * sizeof *out);
    S->ports[number] = 0;
    struct port **at = &S->port_list;
    while (*at != p) at = &(*at)->next;
    *at = p->next;
    p->fd = fd;
  }
  control_unlock(S);
  const int rc = p ? 0 : -ENODEV;
  port_free(p);
  return rc;
}
#endif
