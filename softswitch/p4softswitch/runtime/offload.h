/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel leaves to a network card and a virtual one does not do. With PACKET_VNET_HDR (packet(7)) each frame has a
 * header in front that says what is left: struct virtio_net_hdr in the byte order of the machine. */
#ifndef P4_OFFLOAD_H
#define P4_OFFLOAD_H

#ifndef PACKET_VNET_HDR
#define PACKET_VNET_HDR 15
#endif
#define P4_NEEDS_CHECKSUM 1u
/* Offset of the checksum in the header of SCTP, RFC 9260 section 3.1. No other transport has it there: TCP's is at 16, UDP's
 * at 6. */
#define P4_SCTP_CHECKSUM 8u

struct offload { uint8_t flags, gso_type; uint16_t header_length, gso_size, csum_start, csum_offset; };
_Static_assert(sizeof(struct offload) == 10, "as the kernel has it");

/* CRC32c as RFC 9260 appendix A has it. */
static uint32_t crc32c(const uint8_t *p, uint32_t len) { return ~(uint32_t)reflected_crc(p, len, 0x82f63b78, 0xffffffff); }

/* Completes the checksum from csum_start to the end of the frame; at csum_offset from there is the sum of the pseudo header,
 * RFC 1071, or for SCTP nothing. 0 if that is not inside of the frame, which stays as it is. */
static int checksum_complete(uint8_t *frame, uint32_t len, uint32_t start, uint32_t offset) {
  const uint32_t size = offset == P4_SCTP_CHECKSUM ? 4 : 2;
  if (start >= len || offset + size > len - start) return 0;
  uint8_t *const field = frame + start + offset;
  if (size == 4) {
    memset(field, 0, size);
    const uint32_t crc = crc32c(frame + start, len - start); /* its first byte is the lowest */
    memcpy(field, &crc, size);
    return 1;
  }
  const uint32_t sum = (uint32_t)hash_csum16(frame + start, len - start);
  ST16(field, sum ? sum : 0xffff); /* zero is "none" to UDP, and the same as this to all others */
  return 1;
}

/* What is left of a received frame. */
struct unfinished { int checksum, segments; };

/* Takes the header away from a frame, and does what is to be done. A frame of several segments stays one. */
static struct unfinished offload_finish(uint8_t **frame, uint32_t *len, uint64_t *completed) {
  struct offload o;
  if (unlikely(*len < sizeof o)) return (struct unfinished){.checksum = 1}; /* the kernel always has one */
  memcpy(&o, *frame, sizeof o);
  *frame += sizeof o;
  *len -= (uint32_t)sizeof o;
  if (likely(!(o.flags & P4_NEEDS_CHECKSUM) && !o.gso_type)) return (struct unfinished){0};
  if (o.gso_type) return (struct unfinished){.segments = 1};
  if (!checksum_complete(*frame, *len, o.csum_start, o.csum_offset)) return (struct unfinished){.checksum = 1};
  ++*completed;
  return (struct unfinished){0};
}
#endif
