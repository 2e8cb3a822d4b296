/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_ND_ANSWER
#define NVO3SEC_ND_ANSWER

#include "headers.p4"
#include "metadata.p4"

#define WORD_SUM(w) ((bit<32>)(w[31:16]) + (bit<32>)(w[15:0]))

/* Turns a solicitation with its link-layer option into the advertisement that answers it, in place (RFC 4861 4.4: solicited,
 * override). InnerView has found it well-formed: 86 bytes, the last two blocks and the tail as they are used here. The
 * ICMPv6 checksum is computed anew over pseudo-header and message (RFC 8200 8.1). */
control NdAnswer(inout headers_t hdr, inout metadata_t meta, in mac_t answer) {
    bit<128> asker_ip;
    bit<128> target;
    bit<32> sum;

    action write_addresses() {
        asker_ip = meta.inner.source_ip;
        target = meta.inner.nd_target_ip;
        hdr.addresses.dst = hdr.addresses.src;
        hdr.addresses.src = answer;
        hdr.block[0].w1 = hdr.block[0].w1[31:16] ++ target[127:112];
        hdr.block[0].w2 = target[111:80];
        hdr.block[0].w3 = target[79:48];
        hdr.block[1].w0 = target[47:16];
        hdr.block[1].w1 = target[15:0] ++ asker_ip[127:112];
        hdr.block[1].w2 = asker_ip[111:80];
        hdr.block[1].w3 = asker_ip[79:48];
        hdr.block[2].w0 = asker_ip[47:16];
        hdr.block[2].w1 = asker_ip[15:0] ++ ND_NEIGHBOR_ADVERTISEMENT ++ 8w0;
        hdr.block[3].w3 = target[15:0] ++ ND_TARGET_LINK_LAYER;
        hdr.tail4.data = answer[47:16];
        hdr.tail2.data = answer[15:0];
    }

    /* A sum begins in another action than it is added to: see crypto/chaskey.p4. */
    action begin_sum() {
        sum = WORD_SUM(target[127:96]) + WORD_SUM(target[95:64]) + WORD_SUM(target[63:32]) + WORD_SUM(target[31:0]);
    }

    /* The target stands in the pseudo-header as the source and in the message, so it counts twice. */
    action write_checksum() {
        sum = sum + sum;
        sum = sum + WORD_SUM(asker_ip[127:96]) + WORD_SUM(asker_ip[95:64]) + WORD_SUM(asker_ip[63:32])
              + WORD_SUM(asker_ip[31:0]);
        sum = sum + (bit<32>)ND_LENGTH_WITH_OPTION + (bit<32>)NEXT_HEADER_ICMPV6
              + (bit<32>)(ND_NEIGHBOR_ADVERTISEMENT ++ 8w0) + (bit<32>)ND_SOLICITED_OVERRIDE + (bit<32>)ND_TARGET_LINK_LAYER
              + (bit<32>)answer[47:32] + (bit<32>)answer[31:16] + (bit<32>)answer[15:0];
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        hdr.block[2].w2 = ~sum[15:0] ++ ND_SOLICITED_OVERRIDE;
        hdr.block[2].w3 = 16w0 ++ target[127:112];
    }

    apply {
        write_addresses();
        begin_sum();
        write_checksum();
    }
}

#endif
