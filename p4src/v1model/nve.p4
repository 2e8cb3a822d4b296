/* SPDX-License-Identifier: Apache-2.0 */
/* The NVE data plane for v1model (BMv2, embedded switch). Read in this order: docs/architecture.md, ingress.p4, egress.p4. */
#include "arch.p4"
#include "parser.p4"
#include "checksums.p4"
#include "ingress.p4"
#include "egress.p4"
#include "deparser.p4"

V1Switch(NveParser(), NveVerifyChecksum(), NveIngress(), NveEgress(), NveComputeChecksum(), NveDeparser()) main;
