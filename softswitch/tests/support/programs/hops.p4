/* SPDX-License-Identifier: Apache-2.0 */
/* Source routes that are popped hop by hop, telemetry that each hop pushes onto a stack, probes that read and reset a
 * register of their port, multicast of the rest: what exercises for P4 are made of. */
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_ROUTED = 0x1234;
const bit<16> TYPE_PROBE = 0x0812;
const bit<16> TYPE_TRACED = 0x1212;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}
header hop_t {
    bit<1>  last;
    bit<15> port;
}
header probe_t {
    bit<8> hops;
}
header report_t {
    bit<1>  last;
    bit<7>  switch_id;
    bit<8>  port;
    bit<32> octets;
}
header target_t {
    bit<8> port;
}
header trace_t {
    bit<16> count;
}
header mark_t {
    bit<31> switch_id;
    bit<1>  flag;
    bit<32> length;
}

struct headers_t {
    ethernet_t  ethernet;
    hop_t[9]    route;
    probe_t     probe;
    report_t[6] reports;
    target_t[6] targets;
    trace_t     trace;
    mark_t[4]   marks;
}

struct metadata_t {
    bit<16> left;
    bit<8>  target;
}

error { TooManyMarks }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        meta.target = 0;
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_ROUTED: routed;
            TYPE_PROBE: probe;
            TYPE_TRACED: traced;
            default: accept;
        }
    }
    state routed {
        packet.extract(hdr.route.next);
        transition select(hdr.route.last.last) {
            1: accept;
            default: routed;
        }
    }
    state probe {
        packet.extract(hdr.probe);
        meta.left = (bit<16>) hdr.probe.hops + 1;
        transition select(hdr.probe.hops) {
            0: targets;
            default: reports;
        }
    }
    state reports {
        packet.extract(hdr.reports.next);
        transition select(hdr.reports.last.last) {
            1: targets;
            default: reports;
        }
    }
    state targets {
        packet.extract(hdr.targets.next);
        meta.left = meta.left - 1;
        meta.target = hdr.targets.last.port;
        transition select(meta.left) {
            0: accept;
            default: targets;
        }
    }
    state traced {
        packet.extract(hdr.trace);
        verify(hdr.trace.count <= 4, error.TooManyMarks);
        meta.left = hdr.trace.count;
        transition select(meta.left) {
            0: accept;
            default: marks;
        }
    }
    state marks {
        packet.extract(hdr.marks.next);
        meta.left = meta.left - 1;
        transition select(meta.left) {
            0: accept;
            default: marks;
        }
    }
}

control None(inout headers_t hdr, inout metadata_t meta) { apply { } }

control Pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() { mark_to_drop(std); }
    action multicast(bit<16> group) { std.mcast_grp = group; }
    action forward(bit<9> port) { std.egress_spec = port; }
    table bridge {
        key = { hdr.ethernet.dst: exact; }
        actions = { multicast; forward; drop; }
        default_action = multicast(1);
        size = 16;
    }
    apply {
        if (std.parser_error != error.NoError) {
            drop();
        } else if (hdr.route[0].isValid()) {
            if (hdr.route[0].last == 1) {
                hdr.ethernet.type = 0x0800;
            }
            std.egress_spec = (bit<9>) hdr.route[0].port;
            hdr.route.pop_front(1);
        } else if (hdr.probe.isValid()) {
            std.egress_spec = (bit<9>) meta.target;
            hdr.probe.hops = hdr.probe.hops + 1;
        } else {
            bridge.apply();
        }
    }
}

control Out(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<32>>(8) octets;
    counter(8, CounterType.packets) sent;
    action set_id(bit<31> id) {
        hdr.marks.push_front(1);
        hdr.marks[0].setValid();
        hdr.marks[0].switch_id = id;
        hdr.marks[0].flag = 1;
        hdr.marks[0].length = std.packet_length;
        hdr.trace.count = hdr.trace.count + 1;
    }
    table identity {
        actions = { set_id; NoAction; }
        default_action = NoAction();
    }
    apply {
        bit<32> seen;
        bit<32> port = (bit<32>) std.egress_port & 7;
        sent.count(port);
        octets.read(seen, port);
        seen = seen + std.packet_length;
        octets.write(port, hdr.probe.isValid() ? 0 : seen);
        if (std.egress_port == std.ingress_port && std.mcast_grp != 0) {
            mark_to_drop(std);
        }
        if (hdr.probe.isValid()) {
            hdr.reports.push_front(1);
            hdr.reports[0].setValid();
            hdr.reports[0].last = hdr.probe.hops == 1 ? 1w1 : 1w0;
            hdr.reports[0].switch_id = 5;
            hdr.reports[0].port = (bit<8>) std.egress_port;
            hdr.reports[0].octets = seen;
        }
        if (hdr.trace.isValid()) {
            identity.apply();
        }
    }
}

control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.route);
        packet.emit(hdr.probe);
        packet.emit(hdr.reports);
        packet.emit(hdr.targets);
        packet.emit(hdr.trace);
        packet.emit(hdr.marks);
    }
}

V1Switch(P(), None(), Pipe(), Out(), None(), Emit()) main;
