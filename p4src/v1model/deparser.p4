/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_DEPARSER
#define NVO3SEC_DEPARSER

#include "arch.p4"
#include "../common/headers.p4"

control NveDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.arp);
        packet.emit(hdr.tcp_ports);
        packet.emit(hdr.icmpv6);
        packet.emit(hdr.nd);
        packet.emit(hdr.nd_option);
        packet.emit(hdr.udp);
        packet.emit(hdr.geneve);
        packet.emit(hdr.protection);
        packet.emit(hdr.addresses);
        packet.emit(hdr.vlan);
        packet.emit(hdr.frame_type);
        packet.emit(hdr.block);
        packet.emit(hdr.tail8);
        packet.emit(hdr.tail4);
        packet.emit(hdr.tail2);
        packet.emit(hdr.tail1);
    }
}

#endif
