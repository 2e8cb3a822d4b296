// SPDX-License-Identifier: Apache-2.0
// What the tests of the P4Runtime server push: one table of each match kind, each kind of resource, packet I/O, replication.
// Compiled twice; WITHOUT_ARRAYS leaves out the indexed counter and meter, since BMv2 never reconciles a program that has one.
#include <core.p4>
#include <v1model.p4>

#define CPU_PORT 510

@controller_header("packet_in")
header packet_in_t {
    bit<9>  ingress_port;
    bit<7>  _pad;
    bit<32> seen;           // packets since the registers were reset, this one included
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<3> _pad;
    bit<4> mark;
}

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

struct learn_t {
    bit<48> src;
    bit<9>  port;
}

struct headers_t {
    packet_in_t  packet_in;
    packet_out_t packet_out;
    ethernet_t   ethernet;
}

struct metadata_t {
    bit<12> vlan;
    bit<16> port_range;
    bit<2>  colour;
    bit<32> seen;
}

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        transition select(std.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }
    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }

control TestIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<32>>(1) seen;
    direct_counter(CounterType.packets_and_bytes) forward_counter;
    direct_counter(CounterType.packets) acl_counter;
    direct_meter<bit<2>>(MeterType.packets) forward_meter;
#ifndef WITHOUT_ARRAYS
    counter(8, CounterType.packets) port_counter;
    counter(4, CounterType.bytes) byte_counter;
    counter(4, CounterType.packets_and_bytes) both_counter;
    meter(4, MeterType.bytes) port_meter;
#endif

    action count_seen() {
        seen.read(meta.seen, 0);
        meta.seen = meta.seen + 1;
        seen.write(0, meta.seen);
    }
    action drop() { mark_to_drop(std); }
    action set_port(bit<9> port) {
        forward_meter.read(meta.colour);
        std.egress_spec = port;
    }
    action to_cpu() {
        forward_meter.read(meta.colour);
        std.egress_spec = CPU_PORT;
    }
    action flood(bit<16> group) {
        forward_meter.read(meta.colour);
        std.mcast_grp = group;
    }
    action miss() { mark_to_drop(std); }
    action note(bit<12> vlan, bit<48> tag, bit<1> flag) { meta.vlan = vlan; }
    action only_entry() { meta.vlan = 1; }
    action only_default() { meta.vlan = 2; }
    action learn() { digest<learn_t>(1, { hdr.ethernet.src, std.ingress_port }); }
    action mirror(bit<32> session) { clone(CloneType.I2E, session); }

    table forward {
        key = { hdr.ethernet.dst: exact @name("dst"); }
        actions = { set_port; to_cpu; flood; @defaultonly miss; }
        default_action = miss();
        counters = forward_counter;
        meters = forward_meter;
        size = 16;
    }
    table route {
        key = { hdr.ethernet.src: lpm @name("src"); meta.vlan: exact @name("vlan"); }
        actions = { note; NoAction; }
        size = 16;
    }
    table narrow {
        key = { meta.vlan: lpm @name("vlan"); }
        actions = { note; NoAction; }
        size = 16;
    }
    table acl {
        key = {
            hdr.ethernet.type: ternary @name("type");
            std.ingress_port: optional @name("port");
            meta.port_range: range @name("range");
        }
        actions = { drop; note; mirror; learn; @tableonly only_entry; @defaultonly only_default; NoAction; }
        default_action = only_default();
        counters = acl_counter;
        size = 8;
    }
    table fixed {
        key = { hdr.ethernet.type: exact @name("type"); }
        actions = { note; NoAction; }
        const default_action = NoAction();
        const entries = {
            16w0x1234: note(7, 8, 1);
            16w0x4321: NoAction();
        }
    }
    table nothing_to_match {
        actions = { note; NoAction; }
        default_action = NoAction();
    }

    apply {
        count_seen();
        if (hdr.packet_out.isValid()) {
            std.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            meta.port_range = hdr.ethernet.type;
            forward.apply();
            route.apply();
            narrow.apply();
            acl.apply();
            fixed.apply();
            nothing_to_match.apply();
#ifndef WITHOUT_ARRAYS
            port_counter.count((bit<32>) std.ingress_port & 7);  // BMv2 does not check an index
            byte_counter.count(0);
            both_counter.count(0);
            port_meter.execute_meter<bit<2>>(0, meta.colour);
#endif
        }
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = std.ingress_port;
            hdr.packet_in._pad = 0;
            hdr.packet_in.seen = meta.seen;
        }
    }
}

control NoCompute(inout headers_t hdr, inout metadata_t meta) { apply { } }

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
    }
}

V1Switch(TestParser(), NoVerify(), TestIngress(), TestEgress(), NoCompute(), TestDeparser()) main;
