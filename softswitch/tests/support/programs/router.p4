// SPDX-License-Identifier: Apache-2.0
// An IPv4 router with a bridge beside it: lpm, exact, range, header checksum checked and updated, crc over the flow, direct
// and indexed counters, hit and miss, replication, digests.
#include <core.p4>
#include <v1model.p4>

header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
header ipv4_t {
    bit<4> version; bit<4> ihl; bit<8> tos; bit<16> len; bit<16> id; bit<3> flags; bit<13> frag; bit<8> ttl; bit<8> proto;
    bit<16> checksum; bit<32> src; bit<32> dst;
}
header udp_t { bit<16> sport; bit<16> dport; bit<16> len; bit<16> checksum; }

struct headers_t { ethernet_t ethernet; ipv4_t ipv4; udp_t udp; }
struct seen_t { bit<48> mac; bit<9> port; }
struct metadata_t { bit<16> path; bit<32> nexthop; bool routed; seen_t seen; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x0800: ipv4;
            default: accept;
        }
    }
    state ipv4 {
        packet.extract(hdr.ipv4);
        verify(hdr.ipv4.ihl == 5, error.ParserInvalidArgument);
        transition select(hdr.ipv4.frag, hdr.ipv4.proto) {
            (0, 17): udp;
            default: accept;
        }
    }
    state udp { packet.extract(hdr.udp); transition accept; }
}

control VerifyIt(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid(),
            { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.len, hdr.ipv4.id, hdr.ipv4.flags, hdr.ipv4.frag,
              hdr.ipv4.ttl, hdr.ipv4.proto, hdr.ipv4.src, hdr.ipv4.dst }, hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control IngressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    counter(16, CounterType.packets_and_bytes) reasons;
    direct_counter(CounterType.packets_and_bytes) route_counter;

    action drop(bit<8> reason) { reasons.count((bit<32>)reason); mark_to_drop(std); }
    action route(bit<32> nexthop) { meta.nexthop = nexthop; meta.routed = true; }
    action to_port(bit<9> port, bit<48> mac) {
        std.egress_spec = port;
        hdr.ethernet.src = hdr.ethernet.dst;
        hdr.ethernet.dst = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }
    action forward(bit<9> port) { std.egress_spec = port; }
    action flood(bit<16> group) { std.mcast_grp = group; }
    action learn() { digest<seen_t>(1, { hdr.ethernet.src, std.ingress_port }); }

    table routes {
        key = { hdr.ipv4.dst: lpm; }
        actions = { route; drop; }
        default_action = drop(1);
        counters = route_counter;
        size = 64;
    }
    table nexthops {
        key = { meta.nexthop: exact; meta.path: range; }
        actions = { to_port; drop; }
        const default_action = drop(2);
        size = 64;
    }
    table bridge {
        key = { hdr.ethernet.dst: exact; }
        actions = { forward; flood; drop; }
        default_action = flood(1);
        size = 64;
    }
    table stations {
        key = { hdr.ethernet.src: exact; std.ingress_port: exact; }
        actions = { NoAction; learn; }
        default_action = learn();
        size = 64;
    }
    apply {
        if (std.parser_error != error.NoError) { drop(3); return; }
        if (std.checksum_error == 1) { drop(4); return; }
        stations.apply();
        if (hdr.ipv4.isValid()) {
            bit<16> sport = 0;
            bit<16> dport = 0;
            if (hdr.udp.isValid()) { sport = hdr.udp.sport; dport = hdr.udp.dport; }
            hash(meta.path, HashAlgorithm.crc16, (bit<16>)0,
                 { hdr.ipv4.src, hdr.ipv4.dst, hdr.ipv4.proto, sport, dport }, (bit<32>)1000);
            if (hdr.ipv4.ttl <= 1) { drop(5); return; }
            if (routes.apply().hit) { nexthops.apply(); }
        } else {
            bridge.apply();
        }
    }
}

control EgressPipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    counter(512, CounterType.bytes) sent;
    apply {
        if (std.mcast_grp != 0 && std.egress_port == std.ingress_port) { mark_to_drop(std); }
        else { sent.count((bit<32>)std.egress_port); }
    }
}

control Update(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid(),
            { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.len, hdr.ipv4.id, hdr.ipv4.flags, hdr.ipv4.frag,
              hdr.ipv4.ttl, hdr.ipv4.proto, hdr.ipv4.src, hdr.ipv4.dst }, hdr.ipv4.checksum, HashAlgorithm.csum16);
        update_checksum_with_payload(hdr.udp.isValid() && hdr.udp.checksum != 0,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.proto, hdr.udp.len, hdr.udp.sport, hdr.udp.dport, hdr.udp.len,
              16w0 }, hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

control Emit(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.ethernet); packet.emit(hdr.ipv4); packet.emit(hdr.udp); }
}

V1Switch(P(), VerifyIt(), IngressPipe(), EgressPipe(), Update(), Emit()) main;
