/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_SEQUENCE
#define NVO3SEC_SEQUENCE

#include "arch.p4"
#include "../common/headers.p4"
#include "../common/sizes.p4"

/* The sequence numbers of the tunnels, by the low 15 bits of their interface. The next one is taken in one action together
 * with the key, because BMv2 holds a register array's lock for the whole of an action. */
#define SEQUENCE(name) register<sequence_t>(SEQUENCE_COUNT) name
#define SEQUENCE_NEXT(name, interface, next)        \
    name.read(next, 17w0 ++ interface[14:0]);       \
    next = next + 1;                                \
    name.write(17w0 ++ interface[14:0], next)
#define SEQUENCE_LAST(name, interface, last) name.read(last, 17w0 ++ interface[14:0])

#endif
