/* SPDX-License-Identifier: Apache-2.0 */
/* The seam. The shared controls (common/, crypto/) know an architecture only by the names in this file, in sequence.p4 and in
 * replay_window.p4: another target brings files of these names, found through the compiler's include path. */
#ifndef NVO3SEC_ARCH
#define NVO3SEC_ARCH

#include <core.p4>
#include <v1model.p4>

typedef bit<9> port_t;

/* The class of a port follows from its number, because a parser cannot look it up: below 256 access, from 256 underlay.
 * port_role confirms it. */
const port_t PORT_UNDERLAY_BIT = 0x100;
const port_t PORT_CPU = 510;
const port_t PORT_DROP = 511;  /* the traffic manager drops what is sent there, without a counter */
#define PORT_IS_UNDERLAY(port) port[8:8]

/* Of packets, one for each entry of a table: RFC 2698 colours, 2 is red. */
#define DIRECT_METER(name) direct_meter<bit<2>>(MeterType.packets) name
#define METERED_BY(name) meters = name
#define METER_READ(name, colour) name.read(colour)

/* Of packets and bytes, one for each entry of a table; it counts by itself. */
#define DIRECT_COUNTER(name) direct_counter(CounterType.packets_and_bytes) name
#define COUNTED_BY(name) counters = name

#define REGISTER(type, count, name) register<type>(count) name
#define REGISTER_READ(name, value, index) name.read(value, index)
#define REGISTER_WRITE(name, index, value) name.write(index, value)

#endif
