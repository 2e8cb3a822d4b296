/* SPDX-License-Identifier: Apache-2.0 */
/* What one thread that moves packets has for itself: its packets in work, its reading of the clock, its buffers and
 * counts. Nobody else touches it but under the lock of the switch. There is one lane. */
#ifndef P4_LANE_H
#define P4_LANE_H

struct outbuf { uint8_t *data; size_t used, capacity; };

struct lane {
  uint64_t now; /* microseconds since the switch was made, read once a batch */
  uint64_t random[2];
  struct statistics stats;
  struct queue again, clones;
  struct outbuf out, taken, direct; /* filled by packets; handed to the reader; of a direct call */
  uint8_t *scratch, *frame;
  struct pkt packet, copy, clone;
  struct worker *worker;
};
#endif
