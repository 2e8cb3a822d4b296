/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_TENANT_FRAME
#define NVO3SEC_TENANT_FRAME

#include <core.p4>
#include "headers.p4"
#include "metadata.p4"

/* What a tenant's frame carries, read while its blocks are extracted: a chain of headers has no fixed places, and a parser can go
 * round. It begins behind frame_type and takes blocks as far as it has to look; the caller takes the rest. Nothing is looked
 * at that is not there, and nothing here refuses a frame: SourceValidation does.
 *
 * IPv4: the first four bytes behind the header, whatever options it has (RFC 791 3.1).
 * IPv6: all extension headers up to the upper layer (RFC 8200 4, RFC 7112), eight bytes at a time, since each header is a
 * multiple of them long; and the options of neighbor discovery (RFC 4861 4.6), of which only one says who the sender is. */
parser TenantFrame(packet_in packet, inout headers_t hdr, inout metadata_t meta) {
    bit<1> is_short;
    bit<4> words;           /* IPv4 options before the upper layer, in words */
    bit<8> next;            /* what begins at the slot, or behind `skip` more of them */
    bit<8> skip;
    bit<1> is_second;       /* of the two slots that begin in a block */
    bit<64> slot;
    bit<16> wrong_option;
    bit<48> wrong_address;
    bit<16> own_option;     /* type and length of the link-layer option that the message may have */

    state start {
        meta.upper.protocol = NEXT_HEADER_NONE;   /* the rest begins as zero */
        transition select(hdr.frame_type.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            ETHERTYPE_CHAOS: hide;
            ETHERTYPE_FRAME_RELAY_ARP: hide;
            ETHERTYPE_TRAILERS &&& 0xFF00: hide;
            ETHERTYPE_BRIDGED: hide;
            ETHERTYPE_RARP: hide;
            ETHERTYPE_ITAG: hide;
            ETHERTYPE_ETAG: hide;
            ETHERTYPE_OLD_STAG: hide;
            ETHERTYPE_OLD_STAG_2: hide;
            ETHERTYPE_OLD_STAG_3: hide;
            0x0000 &&& 0xFC00: parse_llc;
            0x0400 &&& 0xFE00: parse_llc;
            default: accept;
        }
    }

    /* IEEE 802.3 length and IEEE 802.2 header: IP and ARP have SAPs of their own, and RFC 1042 and IEEE 802.1H write any
     * EtherType behind one. */
    state parse_llc {
        is_short = (bit<1>)(meta.remaining < 6);
        transition select(is_short, hdr.frame_type.first) {
            (_, LLC_IP &&& LLC_COMMANDS): hide;
            (_, LLC_ARP &&& LLC_COMMANDS): hide;
            (0, LLC_SNAP &&& LLC_COMMANDS): parse_snap;
            default: accept;
        }
    }

    /* Control, OUI, EtherType. */
    state parse_snap {
        transition select(packet.lookahead<bit<48>>()) {
            SNAP_RFC1042 ++ ETHERTYPE_IPV4 &&& SNAP_GROUP: hide;     /* and ARP, among others */
            SNAP_RFC1042 ++ ETHERTYPE_IPV6 &&& SNAP: hide;
            SNAP_RFC1042 ++ ETHERTYPE_RARP &&& SNAP: hide;
            SNAP_RFC1042 ++ ETHERTYPE_CTAG &&& SNAP: hide;
            SNAP_RFC1042 ++ ETHERTYPE_STAG &&& SNAP: hide;
            SNAP_BRIDGE ++ ETHERTYPE_IPV4 &&& SNAP_GROUP: hide;
            SNAP_BRIDGE ++ ETHERTYPE_IPV6 &&& SNAP: hide;
            SNAP_BRIDGE ++ ETHERTYPE_RARP &&& SNAP: hide;
            SNAP_BRIDGE ++ ETHERTYPE_CTAG &&& SNAP: hide;
            SNAP_BRIDGE ++ ETHERTYPE_STAG &&& SNAP: hide;
            default: accept;
        }
    }

    /* IPv4 */

    state parse_ipv4 {
        is_short = (bit<1>)(meta.remaining < 18);
        transition select(is_short) {
            0: parse_ipv4_header;
            default: accept;
        }
    }

    state parse_ipv4_header {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        meta.upper.destination_ip = (bit<128>)(hdr.block[0].w3[15:0] ++ packet.lookahead<bit<16>>());
        meta.upper.fragment = (bit<1>)(hdr.block[0].w1[29:16] != 0);
        words = hdr.frame_type.first[11:8] - 5;
        transition select(hdr.frame_type.first[15:8], hdr.block[0].w1[28:16]) {
            (0x40 &&& 0xFC, _): accept;       /* no header of IPv4 is that short */
            (0x44, _): accept;
            (0x40 &&& 0xF0, 0): find_word;
            default: accept;
        }
    }

    /* At the beginning of a block, two bytes before word 0. */
    state find_word {
        is_short = (bit<1>)(meta.remaining < 6 + ((bit<16>)words << 2));
        meta.upper.protocol = hdr.block[0].w1[7:0];
        transition select(is_short, words) {
            (1, _): accept;   /* no whole header of any protocol that is looked for */
            (0, 0): read_word_0;
            (0, 1): read_word_1;
            (0, 2): read_word_2;
            (0, 3): read_word_3;
            default: skip_words;
        }
    }

    state skip_words {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        words = words - 4;
        transition find_word;
    }

    state read_word_0 {
        meta.upper.word = packet.lookahead<bit<48>>()[31:0];
        transition accept;
    }

    state read_word_1 {
        meta.upper.word = packet.lookahead<bit<80>>()[31:0];
        transition accept;
    }

    state read_word_2 {
        meta.upper.word = packet.lookahead<bit<112>>()[31:0];
        transition accept;
    }

    state read_word_3 {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        meta.upper.word = hdr.block.last.w3[15:0] ++ packet.lookahead<bit<16>>();
        transition accept;
    }

    /* IPv6 */

    state parse_ipv6 {
        is_short = (bit<1>)(meta.remaining < 38);
        transition select(is_short) {
            0: parse_ipv6_header;
            default: accept;
        }
    }

    state parse_ipv6_header {
        packet.extract(hdr.block.next);
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 32;
        meta.upper.destination_ip = hdr.block[1].w1[15:0] ++ hdr.block[1].w2 ++ hdr.block[1].w3
                                    ++ packet.lookahead<bit<48>>();
        next = hdr.block[0].w1[31:24];
        skip = 0;
        own_option = 0;
        transition read_first_slot;
    }

    /* At the beginning of a block. One slot begins 6 bytes behind it, the next one 14. */
    state read_first_slot {
        is_second = 0;
        is_short = (bit<1>)(meta.remaining < 14);
        transition select(is_short) {
            0: take_first_slot;
            default: end_chain;
        }
    }

    state take_first_slot {
        slot = packet.lookahead<bit<112>>()[63:0];
        transition look_at_slot;
    }

    state next_slot {
        is_short = (bit<1>)(meta.remaining < 22);
        transition select(is_second, is_short) {
            (1, _): read_first_slot;
            (0, 0): next_block;
            default: end_chain;
        }
    }

    state next_block {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        transition take_second_slot;
    }

    state take_second_slot {
        is_second = 1;
        slot = hdr.block.last.w3[15:0] ++ packet.lookahead<bit<48>>();
        transition look_at_slot;
    }

    state look_at_slot {
        transition select(skip, next) {
            (0, NEXT_HEADER_HOP_BY_HOP): look_at_extension;
            (0, NEXT_HEADER_ROUTING): look_at_extension;
            (0, NEXT_HEADER_DESTINATION): look_at_extension;
            (0, NEXT_HEADER_AUTHENTICATION): look_at_authentication;
            (0, NEXT_HEADER_FRAGMENT): look_at_fragment;
            (0, NEXT_IS_OPTION): look_at_option;
            (0, _): look_at_upper;
            default: skip_slot;
        }
    }

    state skip_slot {
        skip = skip - 1;
        transition next_slot;
    }

    state look_at_extension {
        meta.upper.extended = 1;
        next = slot[63:56];
        skip = slot[55:48];
        transition next_slot;
    }

    /* Its length counts words of four bytes, less two (RFC 4302 2.2). An odd one is not allowed over IPv6. */
    state look_at_authentication {
        meta.upper.extended = 1;
        next = slot[63:56];
        skip = slot[55:48] >> 1;
        transition select(slot[48:48]) {
            0: next_slot;
            default: hide;
        }
    }

    /* Behind the header of a later fragment is no header at all (RFC 8200 4.5). */
    state look_at_fragment {
        meta.upper.extended = 1;
        meta.upper.fragment = 1;
        next = slot[63:56];
        transition select(slot[47:35]) {
            0: next_slot;
            default: accept;
        }
    }

    state look_at_upper {
        meta.upper.protocol = next;
        meta.upper.word = slot[63:32];
        transition select(meta.upper.extended, next, slot[63:56]) {
            (0, NEXT_HEADER_ICMPV6, ND_ROUTER_SOLICITATION): begin_router_options;
            (0, NEXT_HEADER_ICMPV6, ND_NEIGHBOR_SOLICITATION): begin_solicitation;
            (0, NEXT_HEADER_ICMPV6, ND_NEIGHBOR_ADVERTISEMENT): begin_advertisement;
            default: accept;
        }
    }

    state begin_router_options {
        own_option = ND_SOURCE_LINK_LAYER;
        next = NEXT_IS_OPTION;
        transition next_slot;
    }

    state begin_solicitation {
        own_option = ND_SOURCE_LINK_LAYER;
        transition read_target;
    }

    state begin_advertisement {
        own_option = ND_TARGET_LINK_LAYER;
        transition read_target;
    }

    state read_target {
        next = NEXT_IS_OPTION;
        skip = 2;   /* the second half of the message */
        is_short = (bit<1>)(meta.remaining < 30);
        transition select(is_short) {
            0: take_target;
            default: refuse_options;
        }
    }

    state take_target {
        packet.extract(hdr.block.next);
        meta.remaining = meta.remaining - 16;
        meta.inner.nd_target_ip = hdr.block.last.w3[15:0] ++ packet.lookahead<bit<112>>();
        transition take_second_slot;
    }

    /* An option that is not known is passed over. One that gives a link-layer address to an IP address gives the sender's. */
    state look_at_option {
        skip = slot[55:48] - 1;
        wrong_option = slot[63:48] ^ own_option;
        wrong_address = slot[47:0] ^ hdr.addresses.src;
        transition select(slot[63:48], wrong_option, wrong_address) {
            (_, 0, 0): next_slot;
            (0x0000 &&& 0x00FF, _, _): refuse_options;
            (ND_SOURCE_LINK_LAYER &&& 0xFF00, _, _): refuse_options;
            (ND_TARGET_LINK_LAYER &&& 0xFF00, _, _): refuse_options;
            default: next_slot;
        }
    }

    state refuse_options {
        meta.upper.options_wrong = 1;
        transition accept;
    }

    /* No slot is left: what was to come is not in this frame. */
    state end_chain {
        transition select(meta.upper.extended, next, skip) {
            (_, NEXT_IS_OPTION, 0): accept;
            (_, NEXT_IS_OPTION, _): refuse_options;
            (_, NEXT_HEADER_HOP_BY_HOP, _): hide;
            (_, NEXT_HEADER_ROUTING, _): hide;
            (_, NEXT_HEADER_DESTINATION, _): hide;
            (_, NEXT_HEADER_AUTHENTICATION, _): hide;
            (_, NEXT_HEADER_FRAGMENT, _): hide;
            (1, NEXT_HEADER_ICMPV6, _): hide;
            (1, IP_PROTOCOL_UDP, _): hide;
            default: accept;
        }
    }

    state hide {
        meta.upper.hidden = 1;
        transition accept;
    }
}

#endif
