/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SEQUENCE
#define NVO3SEC_SEQUENCE

#include "arch.p4"

#define SEQUENCE(name) Register<sequence_t, bit<15>>(SEQUENCE_COUNT) name
#define SEQUENCE_NEXT(name, interface, next)        \
    next = name.read(interface[14:0]) + 1;          \
    name.write(interface[14:0], next)
#define SEQUENCE_LAST(name, interface, last) last = name.read(interface[14:0])

#endif
