/* SPDX-License-Identifier: Apache-2.0 */
/* Paths chosen by a hash of the flow, a firewall that remembers flows in two registers, classes by protocol, and a
 * calculator: what exercises for P4 are made of. */
#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}
header ipv4_t {
    bit<4>  version;
    bit<4>  ihl;
    bit<6>  dscp;
    bit<2>  ecn;
    bit<16> length;
    bit<16> id;
    bit<3>  flags;
    bit<13> offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}
header ports_t {
    bit<16> src;
    bit<16> dst;
    bit<32> sequence;
    bit<32> acknowledgement;
    bit<8>  offset;
    bit<8>  flags;
}
header sum_t {
    bit<8>  op;
    bit<32> a;
    bit<32> b;
    bit<32> result;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t     ipv4;
    ports_t    ports;
    sum_t      sum;
}

struct metadata_t {
    bit<14> path;
    bit<16> source_port;  // 0 without ports: fields of an invalid header are anything
    bit<16> destination_port;
    bit<32> first;
    bit<32> second;
    bit<1>  outbound;
    bit<1>  known_first;
    bit<1>  known_second;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        meta.source_port = 0;
        meta.destination_port = 0;
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x0800: ipv4;
            0x1234: operation;
            default: accept;
        }
    }
    state operation {
        transition select(packet.lookahead<bit<24>>()) {
            0x503401 &&& 0xffffff: operands;
            default: accept;
        }
    }
    state operands {
        packet.advance(24);
        packet.extract(hdr.sum);
        transition accept;
    }
    state ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.protocol) {
            6: tcp;
            default: accept;
        }
    }
    state tcp {
        packet.extract(hdr.ports);
        meta.source_port = hdr.ports.src;
        meta.destination_port = hdr.ports.dst;
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid(), { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp, hdr.ipv4.ecn, hdr.ipv4.length,
            hdr.ipv4.id, hdr.ipv4.flags, hdr.ipv4.offset, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control Pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<1>>(1024) filter_first;
    register<bit<1>>(1024) filter_second;

    action drop() { mark_to_drop(std); }
    action select_path(bit<16> base, bit<32> count) {
        hash(meta.path, HashAlgorithm.crc16, base,
             { hdr.ipv4.src, hdr.ipv4.dst, hdr.ipv4.protocol, meta.source_port, meta.destination_port }, count);
    }
    action next_hop(bit<48> mac, bit<32> address, bit<9> port) {
        hdr.ethernet.dst = mac;
        hdr.ipv4.dst = address;
        std.egress_spec = port;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }
    action direction(bit<1> outbound) { meta.outbound = outbound; }
    action classify(bit<6> dscp) { hdr.ipv4.dscp = dscp; }
    action result(bit<32> value) {
        hdr.sum.result = value;
        bit<48> mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        std.egress_spec = std.ingress_port;
    }
    action add() { result(hdr.sum.a + hdr.sum.b); }
    action subtract() { result(hdr.sum.a - hdr.sum.b); }
    action both() { result(hdr.sum.a & hdr.sum.b); }
    action either() { result(hdr.sum.a | hdr.sum.b); }
    action differ() { result(hdr.sum.a ^ hdr.sum.b); }

    table paths {
        key = { hdr.ipv4.dst: lpm; }
        actions = { select_path; drop; }
        default_action = drop();
        size = 16;
    }
    table next_hops {
        key = { meta.path: exact; }
        actions = { next_hop; drop; }
        size = 16;
    }
    table directions {
        key = { std.ingress_port: exact; std.egress_spec: exact; }
        actions = { direction; NoAction; }
        default_action = NoAction();
        size = 16;
    }
    table classes {
        key = { hdr.ipv4.protocol: exact; }
        actions = { classify; NoAction; }
        const entries = {
            6: classify(46);
            17: classify(44);
        }
        const default_action = NoAction();
    }
    table calculate {
        key = { hdr.sum.op: exact; }
        actions = { add; subtract; both; either; differ; drop; }
        const default_action = drop();
        const entries = {
            0x2b: add();
            0x2d: subtract();
            0x26: both();
            0x7c: either();
            0x5e: differ();
        }
    }
    apply {
        if (hdr.sum.isValid()) {
            calculate.apply();
        } else if (hdr.ipv4.isValid() && hdr.ipv4.ttl > 0 && std.checksum_error == 0) {
            switch (paths.apply().action_run) {
                select_path: {
                    next_hops.apply();
                    if (hdr.ports.isValid() && directions.apply().hit) {
                        if (meta.outbound == 1) {
                            hash(meta.first, HashAlgorithm.crc16, 32w0,
                                 { hdr.ipv4.src, hdr.ports.src, hdr.ports.dst }, 32w1024);
                            hash(meta.second, HashAlgorithm.crc32, 32w0,
                                 { hdr.ipv4.src, hdr.ports.src, hdr.ports.dst }, 32w1024);
                            if (hdr.ports.flags & 2 != 0) {
                                filter_first.write(meta.first, 1);
                                filter_second.write(meta.second, 1);
                            }
                        } else {
                            hash(meta.first, HashAlgorithm.crc16, 32w0,
                                 { hdr.ipv4.dst, hdr.ports.dst, hdr.ports.src }, 32w1024);
                            hash(meta.second, HashAlgorithm.crc32, 32w0,
                                 { hdr.ipv4.dst, hdr.ports.dst, hdr.ports.src }, 32w1024);
                            filter_first.read(meta.known_first, meta.first);
                            filter_second.read(meta.known_second, meta.second);
                            if (meta.known_first != 1 || meta.known_second != 1) {
                                drop();
                            }
                        }
                    }
                    classes.apply();
                }
            }
        } else {
            drop();
        }
    }
}

control Out(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }

control Compute(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid(), { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp, hdr.ipv4.ecn, hdr.ipv4.length,
            hdr.ipv4.id, hdr.ipv4.flags, hdr.ipv4.offset, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ports);
        packet.emit(hdr.sum);
    }
}

V1Switch(P(), Verify(), Pipe(), Out(), Compute(), Emit()) main;
