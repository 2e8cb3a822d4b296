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
#define AUTHORIZED_NVE_SIZE 32768
#define VN_AUTHORIZATION_SIZE 65536
#define TUNNEL_SIZE 16384
#define UNDERLAY_MEMBER_SIZE 65536
/* Of a group: as many as the slice of the hash has values. */
#define UNDERLAY_BUCKETS 64
#define ADJACENCY_SIZE 4096
#define OUTER_DSCP_SIZE 256
#define OWN_ADDRESS_SIZE 1024
#define UNDERLAY_PUNT_METER_SIZE 4096
/* Four for each tunnel: two levels, and when receiving two phases of the SPI. Ring pairs end
 * earlier, after 3,072 for tunnels: the rest is for groups. */
#define SA_SIZE 65536

/* Peers: rows of their meters, and slots of the register of penalties. Peer numbers are below. */
#define PEER_COUNT 32768

/* Largest inner frame: 16 + 16 * 96 + 15 = 1567 bytes (1518 with a reserve for a further tag or label). */
#ifndef FRAME_BLOCKS
#define FRAME_BLOCKS 96
#endif

/* Replay rings, two for each pair, one a phase. The lower half of either register belongs to tunnels and links: 4,096 pairs
 * with rings of 256 slots; the upper half to groups: 16,384 pairs with rings of 64. Register indices are exactly as wide as
 * these powers of two, so that no action data can reach past the end of a register (a release build of BMv2 does not
 * check). */
#define RING_PAIR_BITS 14
#define RING_SLOT_BITS 8
#define RING_SLOT_BITS_GROUP 6
#define RING_COUNT 65536
#define RING_SLOT_COUNT 4194304

/* Low 15 bits of the interface of an SA. */
#define SEQUENCE_COUNT 32768

#define DROP_REASON_COUNT 256

#endif
