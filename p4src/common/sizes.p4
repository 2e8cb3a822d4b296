/* SPDX-License-Identifier: Apache-2.0 */
/* Guaranteed minimum number of entries of each table, and the dimensions of registers and header stacks. */
#ifndef NVO3SEC_SIZES
#define NVO3SEC_SIZES

#define PORT_ROLE_SIZE 512
#define VAP_SIZE 8192
#define SOURCE_GUARD_SIZE 65536
#define NEIGHBOR_SIZE 131072
#define BRIDGE_SIZE 131072
#define FLOOD_SIZE 32768
#define ANNOUNCEMENT_SIZE 16384
#define PUNT_METER_SIZE 8192
#define AUTHORIZED_NVE_SIZE 4096
#define PEER_METER_SIZE 8192
#define VN_AUTHORIZATION_SIZE 65536
#define TUNNEL_SIZE 4096
/* Four per address pair: two phases of the SPI, two suites. */
#define SA_SIZE 16384

/* Largest inner frame: 16 + 16 * 96 + 15 = 1567 bytes (1518 with a reserve for a further tag or label). */
#define FRAME_BLOCKS 96

/* Two replay rings, one a phase, for each address pair and suite. Register indices are exactly as wide as these powers of
 * two, so that no action data can reach past the end of a register (a release build of BMv2 does not check). */
#define RING_PAIR_BITS 12
#define RING_COUNT 8192
#define RING_SLOT_BITS 8
#define RING_SLOT_COUNT 2097152

/* Low 15 bits of an overlay interface. */
#define SEQUENCE_COUNT 32768

#define DROP_REASON_COUNT 256

#endif
