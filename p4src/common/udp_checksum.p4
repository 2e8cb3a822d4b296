/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_UDP_CHECKSUM
#define NVO3SEC_UDP_CHECKSUM

#include "headers.p4"
#include "metadata.p4"
#include "frame_tail.p4"

/* The sum of a protected packet over IPv6 as UDP takes it (RFC 768, RFC 8200 8.1): pseudo-header, UDP header, what is bound, ICV,
 * frame. A receiver finds 0xFFFF where it is right; a sender, whose checksum field is 0 by then, writes its complement, and 0xFFFF
 * where that is 0. No architecture does both: v1model's update_checksum writes that 0, which a receiver refuses. */
control UdpChecksum(in headers_t hdr, in metadata_t meta, in bit<128> icv, out bit<16> folded) {
    FrameTail() frame_tail;
    bit<64> sum;
    bit<128> tail;

    action begin() {
        sum = (bit<64>)hdr.ipv6.src[127:96] + (bit<64>)hdr.ipv6.src[95:64] + (bit<64>)hdr.ipv6.src[63:32]
              + (bit<64>)hdr.ipv6.src[31:0] + (bit<64>)hdr.ipv6.dst[127:96] + (bit<64>)hdr.ipv6.dst[95:64]
              + (bit<64>)hdr.ipv6.dst[63:32] + (bit<64>)hdr.ipv6.dst[31:0];
    }

    /* Behind another action, that no sum is written into the next one: see crypto/chaskey.p4. */
    action add_headers() {
        sum = sum + (bit<64>)hdr.udp.length + (bit<64>)IP_PROTOCOL_UDP
              + (bit<64>)(hdr.udp.src_port ++ hdr.udp.dst_port) + (bit<64>)(hdr.udp.length ++ hdr.udp.checksum);
        sum = sum + (bit<64>)meta.bound.a0 + (bit<64>)meta.bound.a1 + (bit<64>)meta.bound.a2 + (bit<64>)meta.bound.a3
              + (bit<64>)meta.bound.a4 + (bit<64>)meta.bound.a5 + (bit<64>)meta.bound.a6;
        sum = sum + (bit<64>)icv[127:96] + (bit<64>)icv[95:64] + (bit<64>)icv[63:32] + (bit<64>)icv[31:0];
        sum = sum + (bit<64>)hdr.addresses.dst[47:16]
              + (bit<64>)(hdr.addresses.dst[15:0] ++ hdr.addresses.src[47:32]) + (bit<64>)hdr.addresses.src[31:0]
              + (bit<64>)(hdr.frame_type.ether_type ++ hdr.frame_type.first);
        sum = sum + (bit<64>)tail[127:96] + (bit<64>)tail[95:64] + (bit<64>)tail[63:32] + (bit<64>)tail[31:0];
    }

    action add_blocks() {
        for (bit<16> i = 0; i < (meta.frame_length - FRAME_HEAD_LENGTH) >> 4; i = i + 1) {
            sum = sum + (bit<64>)hdr.block[i].w0 + (bit<64>)hdr.block[i].w1 + (bit<64>)hdr.block[i].w2
                  + (bit<64>)hdr.block[i].w3;
        }
    }

    action fold() {
        sum = (sum & 0xFFFFFFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + ((sum >> 16) & 0xFFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        folded = sum[15:0];
    }

    apply {
        frame_tail.apply(hdr, (bit<8>)meta.frame_length[3:0], tail);
        begin();
        add_headers();
        add_blocks();
        fold();
    }
}

#endif
