# SPDX-License-Identifier: Apache-2.0
"""P4Runtime server of the embedded switch.

It stands where BMv2's simple_switch_grpc stands and answers as that does, errors included, so that a client cannot tell
the two apart except by their speed. Read from the sources of BMv2 and of its P4Runtime front end (PI), and tested
against both.

Stricter than BMv2, so that nothing comes to lean on what BMv2 happens to admit:

- an empty byte string, a negative priority, a parameter or match field that stands twice, a meter configuration with a
  single -1, a replica above port 511, backup replicas, excess bursts, direct resources of a default entry, a role other
  than the default, a group of a profile without selector, member or group 0: refused; BMv2 reads zero, overflows, or
  forgets;
- so is a member, and an action set, with an action that one of the tables of its action profile does not have, or has
  for its default action alone: each of them may refer to it. BMv2 looks at the actions of the first one alone;
- an entry that is refused for its meter configuration is not there; BMv2 has it then, and cannot read the table any
  more;
- VERIFY compiles the program; BMv2 looks at the p4info only. A device config that is no program, or that the p4info
  does not describe, is refused and the old pipeline runs on; BMv2 is left in an inconsistent state.

Otherwise different:

- a full table, and a full replication engine, answer RESOURCE_EXHAUSTED, as the specification says; BMv2 answers
  UNKNOWN;
- a new entry has a new direct meter; BMv2 gives it the meter of the entry that had its place before;
- of p4.tmp.P4DeviceConfig, in which older clients wrap a program, only the program counts; BMv2 drops a saved program
  for `reassign`;
- groups and clone sessions end with the pipeline that they were made for; BMv2's replication engine keeps copies of
  them that P4Runtime no longer sees;
- packet-ins and packet-outs have the header of the running program even while another one is saved;
- a Read is answered with as many responses as it needs, of up to 256 entities or some more than 1 MiB; BMv2 sends one.
  Between two of them writes go on: an entry that is there from the beginning to the end comes exactly once, one that is
  inserted or deleted meanwhile may come or not, and after the push of another pipeline the Read ends with ABORTED;
- a Write of more than 32 updates is applied in parts, in its order. Other Writes may come in between two of them. If
  another controller has become primary then, or another pipeline was pushed, the updates that are left are refused,
  each with PERMISSION_DENIED or ABORTED; BMv2 goes on with them;
- a p4info that is pushed without a program leaves all that is there, and is refused if it is not the same as before and
  something would be lost by it; BMv2 forgets the members and groups, and cannot read the entries that have them;
- a push is refused with PERMISSION_DENIED if another controller has become primary while it waited for another push, or
  while its program was compiled; BMv2 goes on with it;
- it does not wait for its clients for good: 60 s for the request of a call, 30 s for the first arbitration of a stream
  and for each message to be taken, 300 s for all responses of one Read, and 50 s for a connection to show that its
  other end is there. 32 calls may wait to hear something, and 16 Reads may be answered at a time. Where that is not
  enough, the one that has waited longest for its client is ended for the one that comes, so that up to 16 controllers
  of this device always get in. BMv2 waits for ever;
- a packet-in that a slow client does not take is dropped and counted; BMv2 holds up its egress thread;
- watch ports are refused by name;
- idle timeouts are exact, from 100 ms on, and the time since the last hit is told also of entries without one; BMv2
  looks once a second, and tells zero;
- a change of an action profile is one step with respect to packets, and a group that is refused is not there; an empty
  group is a miss, where BMv2's way through the program is undefined; members and groups are kept when a pipeline is
  reconciled, and can be read while entries bring their own; a member is read once, whatever its weight;
- digests come when their time or size says so; BMv2 rounds times up to sweeps of 100 ms, and sends by size only if
  there is an acknowledgement timeout;
- table entries that come with the program can be read, also where more can be added;
- its clock goes on while the machine is suspended (CLOCK_BOOTTIME), so that what ends by it ends in time; BMv2's stands
  still then;
- there is no trace of packets, fields or entries, and what a program says with log_msg is not printed: either could
  show a key;
- `--pcap` writes one file per port, with both directions, and further ones after the push of another program; it
  follows no symbolic link and overwrites no file of others;
- an interface that is missing when a program is pushed, or goes later, leaves its port without it until it is there
  (again); a push that fails leaves the old program with all its ports;
- ports are added, removed, listed and watched with p4softswitch.v1.Ports, beside P4Runtime; BMv2 does it over Thrift,
  and tells nobody when a link changes;
- an interface is taken from the host's own network stack, or refused (`host_stack`); sockets and interfaces have one
  switch (`claims`); BMv2 shares both with whoever comes;
- without `--grpc-server-addr` it listens on the loopback interface only, and its UNIX sockets are their owner's alone.
"""

from __future__ import annotations

from .clients import Deadlines
from .device import Device, EngineFactory
from .ports import Ports, PortSpec, parse_port
from .replication import Limits
from .runner import Switch, SwitchOptions, TlsFiles
from .status import P4Error

__all__ = [
    "Deadlines",
    "Device",
    "EngineFactory",
    "Limits",
    "P4Error",
    "PortSpec",
    "Ports",
    "Switch",
    "SwitchOptions",
    "TlsFiles",
    "parse_port",
]
