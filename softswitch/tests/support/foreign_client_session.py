# SPDX-License-Identifier: Apache-2.0
"""A session of p4runtime-shell, a P4Runtime client that shares no code with this project.

Runs in an environment of its own (`.venv-shell`), never imported by the tests. Arguments: address, p4info, BMv2 JSON.
It prints one JSON line per result, says {"ready": true} when a packet may be sent to the switch, and then waits for it.
"""

from __future__ import annotations

import json
import sys

import p4runtime_sh.shell as sh
from p4runtime_sh.p4runtime import P4RuntimeWriteException


def say(**result):
    print(json.dumps(result), flush=True)


def pipeline(address, p4info, program):
    config = sh.FwdPipeConfig(p4info, program)
    sh.setup(device_id=1, grpc_addr=address, election_id=(0, 2**40), verbose=False, config=config)
    say(tables=sorted(table.preamble.alias for table in sh.context.p4info.tables))


def table():
    entry = sh.TableEntry("forward")(action="set_port")
    entry.match["dst"] = "02:00:00:00:00:01"
    entry.action["port"] = "7"
    entry.insert()
    say(inserted=[(e.action.action_name, e.action["port"].value.hex()) for e in sh.TableEntry("forward").read()])
    entry.action["port"] = "9"
    entry.modify()
    say(modified=[e.action["port"].value.hex() for e in sh.TableEntry("forward").read()])
    try:
        entry.insert()
    except P4RuntimeWriteException as error:
        say(second_insert=[error.errors[0][1].canonical_code, error.errors[0][1].space])
    entry.delete()
    say(deleted=len(list(sh.TableEntry("forward").read())))
    acl = sh.TableEntry("acl")(action="note")
    acl.match["type"] = "0x0800&&&0xff00"
    acl.match["range"] = "1..2"
    acl.priority = 5
    acl.action["vlan"], acl.action["tag"], acl.action["flag"] = "1", "2", "1"
    acl.insert()
    found = list(sh.TableEntry("acl").read())
    say(acl=[(e.priority, e.match["type"].ternary.mask.hex(), e.match["range"].range.high.hex()) for e in found])


def counters_and_meters():
    counter = sh.CounterEntry("both_counter")
    counter.index = 1
    counter.packet_count, counter.byte_count = 3, 4
    counter.modify()
    say(counter=[(c.index, c.packet_count, c.byte_count) for c in sh.CounterEntry("both_counter").read()])
    meter = sh.MeterEntry("port_meter")
    meter.index = 2
    meter.cir, meter.cburst, meter.pir, meter.pburst = 1, 2, 3, 4
    meter.modify()
    found = {m.index: m._entry for m in sh.MeterEntry("port_meter").read()}
    say(meter=[found[2].config.cir, found[2].config.cburst, found[2].config.pir, found[2].config.pburst])


def multicast():
    group = sh.MulticastGroupEntry(7)
    group.add(1, 1).add(2, 1)
    group.insert()
    group.read()
    say(group=sorted((r.egress_port, r.instance) for r in group.replicas))
    group.delete()


def packets():
    entry = sh.TableEntry("forward")(action="to_cpu")
    entry.match["dst"] = "02:00:00:00:00:01"
    entry.insert()
    packet_ins = sh.PacketIn()
    say(ready=True)
    message = packet_ins.packet_in_queue.get(timeout=20).packet
    say(packet_in=[message.payload.hex(), [m.value.hex() for m in message.metadata]])
    packet = sh.PacketOut(payload=bytes.fromhex("020000000001020000000002080001020304"))
    packet.metadata["egress_port"], packet.metadata["_pad"], packet.metadata["mark"] = "300", "0", "1"
    packet.send()
    say(direct_counter=[e.packet_count for e in sh.DirectCounterEntry("forward_counter").read()])
    sys.stdin.readline()


def main():
    pipeline(*sys.argv[1:])
    try:
        table()
        counters_and_meters()
        multicast()
        packets()
    finally:
        sh.teardown()  # ends the client's threads, without which the process would not end


if __name__ == "__main__":
    main()
