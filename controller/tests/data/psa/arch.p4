/* SPDX-License-Identifier: Apache-2.0 */
/* The seam of the data plane for the Portable Switch Architecture: only to show that the shared controls know no other. */
#ifndef NVO3SEC_ARCH
#define NVO3SEC_ARCH

#include <core.p4>
#include <psa.p4>

typedef bit<9> port_t;

const port_t PORT_UNDERLAY_BIT = 0x100;
const port_t PORT_CPU = 510;
const port_t PORT_DROP = 511;
#define PORT_IS_UNDERLAY(port) port[8:8]

#define DIRECT_METER(name) DirectMeter(PSA_MeterType_t.PACKETS) name
#define METERED_BY(name) psa_direct_meter = name
#define METER_READ(name, colour) colour = name.execute() == PSA_MeterColor_t.RED ? 2w2 : 2w0

#define DIRECT_COUNTER(name) DirectCounter<bit<64>>(PSA_CounterType_t.PACKETS_AND_BYTES) name
#define COUNTED_BY(name) psa_direct_counter = name

#define REGISTER(type, count, name) Register<type, bit<32>>(count) name
#define REGISTER_READ(name, value, index) value = name.read(index)
#define REGISTER_WRITE(name, index, value) name.write(index, value)

#endif
