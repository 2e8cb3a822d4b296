/* SPDX-License-Identifier: Apache-2.0 */
/* The seam: everything that is v1model's and nobody else's. */
#ifndef NVO3SEC_ARCH
#define NVO3SEC_ARCH

#include <core.p4>
#include <v1model.p4>

/* The class of a port follows from its number, because a parser cannot look it up: below 256 access, from 256 underlay.
 * port_role confirms it. */
const bit<9> PORT_UNDERLAY_BIT = 0x100;
const bit<9> PORT_CPU = 510;
const bit<9> PORT_DROP = 511;  /* the traffic manager drops what is sent there, without a counter */

#endif
