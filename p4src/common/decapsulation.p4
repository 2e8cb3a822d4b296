/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_DECAPSULATION
#define NVO3SEC_DECAPSULATION

#include "headers.p4"
#include "metadata.p4"
#include "ecn_decapsulation.p4"

/* A packet that is verified and authorized, its inner headers read: what the outer ones say goes into the frame, then they go. */
control Decapsulation(inout headers_t hdr, inout metadata_t meta) {
    EcnDecapsulation() ecn;

    apply {
        ecn.apply(hdr, meta);
        meta.vni = hdr.geneve.vni;
        hdr.ethernet.setInvalid();
        hdr.ipv4.setInvalid();
        hdr.ipv6.setInvalid();
        hdr.udp.setInvalid();
        hdr.geneve.setInvalid();
        hdr.protection.setInvalid();
    }
}

#endif
