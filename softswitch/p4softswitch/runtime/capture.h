/* SPDX-License-Identifier: Apache-2.0 */
/* Captures: what passes through a port, in a file in the format of pcap (draft-ietf-opsawg-pcap). Records gather until the
 * end of a batch, and reach the file whole or not at all: one that takes no more is cut behind its last whole record. */
#ifndef P4_CAPTURE_H
#define P4_CAPTURE_H

/* The longest frame that leaves, and its header. */
#define P4_CAPTURE_ROOM (P4_SCRATCH + 16u)

struct capture {
  int fd;          /* -1 once the file took no more */
  off_t length;    /* of the file, in whole records */
  uint32_t used, records; /* that wait in data */
  uint8_t data[P4_CAPTURE_ROOM];
};

/* Writes what waits. Gives the number of records that are lost: then the capture has ended. */
static uint32_t capture_flush(struct capture *c) {
  uint32_t done = 0;
  while (done < c->used) {
    const ssize_t n = write(c->fd, c->data + done, c->used - done);
    if (n > 0) { done += (uint32_t)n; continue; }
    if (n < 0 && errno == EINTR) continue;
    break;
  }
  const uint32_t lost = done < c->used ? c->records : 0;
  if (!lost) {
    c->length += c->used;
  } else {
    while (ftruncate(c->fd, c->length) < 0 && errno == EINTR) {}
    close(c->fd);
    c->fd = -1;
  }
  c->used = c->records = 0;
  return lost;
}
/* Takes one frame; gives the number of frames that are lost. */
static uint32_t capture_frame(struct capture *c, const uint8_t *frame, uint32_t len) {
  struct timespec t;
  if (c->fd < 0) return 1;
  uint32_t lost = 0;
  if (16 + len > P4_CAPTURE_ROOM - c->used && (lost = capture_flush(c))) return lost + 1;
  clock_gettime(CLOCK_REALTIME, &t);
  const uint32_t header[4] = {(uint32_t)t.tv_sec, (uint32_t)(t.tv_nsec / 1000), len, len};
  memcpy(c->data + c->used, header, sizeof header);
  memcpy(c->data + c->used + sizeof header, frame, len);
  c->used += (uint32_t)sizeof header + len;
  c->records++;
  return 0;
}
/* Begins a capture in an empty file, which it closes at its end. Errors are negative errno values. */
static int capture_begin(struct capture **made, int fd) {
  static const uint32_t header[6] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, P4_MAX_FRAME, 1};
  struct capture *c = malloc(sizeof *c);
  if (!c) return -ENOMEM;
  errno = 0;
  if (write(fd, header, sizeof header) != (ssize_t)sizeof header) {
    const int error = errno ? errno : ENOSPC;
    free(c);
    return -error;
  }
  c->fd = fd;
  c->length = sizeof header;
  c->used = c->records = 0;
  *made = c;
  return 0;
}
static void capture_end(struct capture *c) {
  if (!c) return;
  if (c->fd >= 0) capture_flush(c);
  if (c->fd >= 0) close(c->fd);
  free(c);
}
#endif
