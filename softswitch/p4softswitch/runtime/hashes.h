/* SPDX-License-Identifier: Apache-2.0 */
/* Hash algorithms of v1model, as BMv2 computes them. */
#ifndef P4_HASHES_H
#define P4_HASHES_H

/* Ones' complement sum over 16-bit words; an odd byte is the high half of a last word. */
static inline uint64_t hash_csum16(const uint8_t *p, size_t len) {
  uint64_t sum = 0;
  for (; len >= 8; p += 8, len -= 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    sum += v;
    sum += sum < v;
  }
  if (len) {
    uint64_t v = 0;
    memcpy(&v, p, len);
    sum += v;
    sum += sum < v;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return __builtin_bswap16((uint16_t)~sum);
}
static inline uint64_t hash_cksum16(const uint8_t *p, size_t len) { return hash_csum16(p, len); }

static inline uint64_t reflected_crc(const uint8_t *p, size_t len, uint32_t polynomial, uint32_t initial) {
  uint32_t r = initial;
  for (size_t i = 0; i < len; i++) {
    r ^= p[i];
    for (int bit = 0; bit < 8; bit++) r = r & 1 ? r >> 1 ^ polynomial : r >> 1;
  }
  return r;
}
static inline uint64_t hash_crc16(const uint8_t *p, size_t len) { return reflected_crc(p, len, 0xa001, 0); }
static inline uint64_t hash_crc32(const uint8_t *p, size_t len) {
  return (uint32_t)~reflected_crc(p, len, 0xedb88320, 0xffffffff);
}
/* The "custom" ones begin with these parameters, and P4Runtime cannot set others. */
static inline uint64_t hash_crc16_custom(const uint8_t *p, size_t len) { return hash_crc16(p, len); }
static inline uint64_t hash_crc32_custom(const uint8_t *p, size_t len) { return hash_crc32(p, len); }
static inline uint64_t hash_crcCCITT(const uint8_t *p, size_t len) {
  uint16_t r = 0xffff;
  for (size_t i = 0; i < len; i++) {
    r ^= (uint16_t)(p[i] << 8);
    for (int bit = 0; bit < 8; bit++) r = (uint16_t)(r & 0x8000 ? r << 1 ^ 0x1021 : r << 1);
  }
  return r;
}
static inline uint64_t hash_xor16(const uint8_t *p, size_t len) {
  uint32_t r = 0;
  for (size_t i = 0; i + 1 < len; i += 2) r ^= (uint32_t)p[i] << 8 | p[i + 1];
  if (len & 1) r ^= (uint32_t)p[len - 1] << 8;
  return r;
}
/* The first eight bytes as an integer. */
static inline uint64_t hash_identity(const uint8_t *p, size_t len) {
  uint64_t r = 0;
  for (size_t i = 0; i < len && i < 8; i++) r = r << 8 | p[i];
  return r;
}
#endif
