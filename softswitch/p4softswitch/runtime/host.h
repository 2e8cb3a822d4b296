/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime and the program that loads it call alike. The other side (runtime/names.py) reads it from here, so the
 * form is kept: lists in braces after `enum` and a name, structures of uint64_t alone. */
#ifndef P4_HOST_H
#define P4_HOST_H

/* The version of the functions in api.h; and limits of what a program may have. */
enum limit { P4_ABI = 2, P4_NO_ACTION = 255, P4_MAX_KEY_WORDS = 64 };

/* What a call of the control plane comes to. */
enum result { T_OK = 0, T_FULL = -1, T_EXISTS = -2, T_NONE = -3, T_MEMORY = -4 };

enum port_kind { PORT_SINK, PORT_SOCKET, PORT_INTERFACE, PORT_KINDS };

/* What a record for the host program holds. */
enum record_kind { RECORD_PACKET, RECORD_DIGEST, RECORD_LOG, RECORD_PORT, RECORD_MISSED };

/* Everything that is ignored, cut or lost is counted. */
struct statistics {
  uint64_t packets_in, packets_out, ingress_drops, egress_drops;
  uint64_t stack_index, register_index, counter_index, meter_index, division_by_zero, assertion_failed;
  uint64_t no_group, no_session, priority_range, requeue_overflow, clone_overflow, digest_empty;
  uint64_t no_port, sink_overflow, input_overflow, oversize, send_failed, receive_failed;
};

/* What the counter and the meter of an entry, or a cell of a counter, are set to; only what is given is touched. Rates are
 * per second, as in a p4.v1.MeterConfig. */
enum direct_part { DIRECT_PACKETS = 1, DIRECT_BYTES = 2, DIRECT_RATES = 4, DIRECT_UNMETERED = 8 };
struct direct {
  uint64_t given;
  uint64_t packets, bytes;
  uint64_t cir, pir, cburst, pburst;
};
/* A meter as it is read. */
struct meter_reading {
  uint64_t configured;
  uint64_t cir, pir, cburst, pburst;
};

/* What passed through a port; then every frame that was lost there, under its cause; then those that a kernel left
 * unfinished for a network card that was to do the rest, as no wire has them: a transport checksum of the pseudo header
 * alone, which was completed here, or could not be; several segments in one. The latter two are dropped. And frames
 * longer than the MTU. */
struct port_statistics {
  uint64_t packets_in, bytes_in, packets_out, bytes_out;
  uint64_t receive_overrun, receive_oversize, receive_failed;
  uint64_t send_down, send_beyond_mtu, send_queue_full, send_no_peer, send_oversize, send_failed;
  uint64_t sink_overflow, capture_lost;
  uint64_t checksum_completed, checksum_unfinished, segments_unfinished, beyond_mtu;
};
#endif
