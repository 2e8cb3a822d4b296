# SPDX-License-Identifier: Apache-2.0
"""The boundary between the P4Runtime server and the compiled data plane.

Everything on this side of it speaks in identities of the BMv2 JSON (table, action, counter names as p4c wrote them) and
in big-endian byte strings of the exact field width rounded up to whole bytes. The server translates P4Runtime's ids and
canonical byte strings; the engine stores and matches. Every method is atomic with respect to packets: the data plane
sees the state before the call or after it, never half of it. So an entry is there with its meter and its counter, and a
reset with the entries that come with the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol


class EngineError(Exception):
    """Base of what the engine raises."""


class UnsupportedProgram(EngineError):
    """The program uses a construct that the embedded switch does not implement; the message names it and its place."""


class TableFull(EngineError):
    """The table holds as many entries as its declared size."""


class NoSuchEntry(EngineError):
    """No entry with that key."""


class EntryExists(EngineError):
    """An entry with that key is already there."""


@dataclass(frozen=True)
class KeyPart:
    """One field of a match key, in the order of the table's key.

    exact: value only. lpm: value and prefix_len in bits. ternary: value and mask. range: low in value, high in mask.
    valid/optional forms follow ternary.
    """

    value: bytes
    mask: bytes | None = None
    prefix_len: int | None = None


@dataclass(frozen=True)
class ActionCall:
    """An action with its parameters, in declaration order, each ceil(bits / 8) bytes long, big-endian."""

    name: str
    params: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ProfileRef:
    """What an entry of a table with an action profile has for an action: the handle of a member or of a group."""

    handle: int
    group: bool = False


Action = ActionCall | ProfileRef


@dataclass(frozen=True)
class CounterValue:
    packets: int
    bytes: int


class CounterFields(IntFlag):
    """Which numbers of a counter are written; the other one goes on counting."""

    PACKETS = 1
    BYTES = 2
    BOTH = 3


@dataclass(frozen=True)
class MeterRates:
    """Committed and peak rate in packets (or bytes) per second, bursts in packets (or bytes). P4Runtime MeterConfig."""

    cir: int
    cburst: int
    pir: int
    pburst: int


@dataclass(frozen=True)
class Replica:
    port: int
    instance: int


@dataclass(frozen=True)
class TableEntry:
    key: tuple[KeyPart, ...]
    priority: int
    action: Action


@dataclass(frozen=True)
class ReleasedPort:
    """What one engine lets go of and another one takes: the open descriptor of an interface or socket, with what waits
    in it, and of a socket what its path led to (device and inode)."""

    descriptor: int
    identity: tuple[int, int] | None = None


@dataclass(frozen=True)
class DirectState:
    """What the counter and the meter of an entry are set to, in one step with the entry.

    Where count is None, the counter stays as it is; where metered is false, the meter does. A new entry has counted
    nothing and is not metered. rates None: every packet is green.
    """

    count: CounterValue | None = None
    metered: bool = False
    rates: MeterRates | None = None


@dataclass(frozen=True)
class EntryState:
    """An entry with its counter and its meter, as they were at one moment.

    count: None in a table without direct counter. rates: None in one without direct meter, or if it is not configured.
    idle_us: microseconds since it was hit, or written; None in a table without idle timeouts.
    """

    entry: TableEntry
    count: CounterValue | None
    rates: MeterRates | None
    idle_us: int | None = None


@dataclass(frozen=True)
class EntryPage:
    """Some entries of a table, copied at one moment; read from the copy when they are iterated.

    next: where to go on, None at the end of the table.
    """

    entries: Iterable[EntryState]
    next: int | None


class Engine(Protocol):
    """A loaded program with its ports. Names are those of the BMv2 JSON.

    Priorities are P4Runtime's: the larger one wins. Tables without priorities (exact, lpm) ignore them and report 0.
    Constant entries report what PI makes of the JSON's: 2**31 - 1 minus it.
    """

    # An action is a reference where the table has an action profile. The idle time of an entry begins anew.
    def table_insert(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None: ...
    def table_modify(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None: ...
    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None: ...
    def table_entry(self, table: str, key: Sequence[KeyPart], priority: int) -> EntryState:
        """One entry: the cost does not depend on how many there are. Raises NoSuchEntry."""

    def table_page(self, table: str, start: int = 0) -> EntryPage:
        """Some entries, from a place that an earlier page named, or from the start.

        Packets and other calls come in between two pages. An entry that is there from the first page to the last is in
        exactly one of them; one that is inserted or deleted meanwhile may be in one or not.
        """

    def table_get_default(self, table: str) -> ActionCall: ...
    def table_program_default(self, table: str) -> ActionCall:
        """The default action that the program declares, whatever it is now."""

    def table_set_default(self, table: str, action: ActionCall | None) -> None:
        """None restores the default action of the program."""

    # Members and groups of action profiles, by handles that the caller chooses: the lower, the less memory. A group
    # has its members in the order of their handles. What is referred to may be gone: then the packet meets no action.
    def profile_members_set(self, profile: str, handles: Sequence[int], action: ActionCall) -> None:
        """Create or replace; all of them have the action in one step."""

    def profile_member_delete(self, profile: str, handle: int) -> None: ...
    def profile_group_set(self, profile: str, handle: int, members: Sequence[int]) -> None:
        """Create or replace. A member stands once in a group."""

    def profile_group_delete(self, profile: str, handle: int) -> None: ...

    def direct_counter_write(
        self,
        table: str,
        key: Sequence[KeyPart],
        priority: int,
        value: CounterValue,
        fields: CounterFields = CounterFields.BOTH,
    ) -> None: ...
    def direct_meter_write(
        self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None
    ) -> None: ...

    def counter_size(self, counter: str) -> int: ...
    def counter_values(self, counter: str, start: int, count: int) -> list[CounterValue]:
        """Of count cells from one on, at one moment. Raises NoSuchEntry for a cell that is not there."""

    def counter_write(
        self, counter: str, index: int, value: CounterValue, fields: CounterFields = CounterFields.BOTH
    ) -> None: ...
    def meter_size(self, meter: str) -> int: ...
    def meter_values(self, meter: str, start: int, count: int) -> list[MeterRates | None]:
        """Of count cells from one on, at one moment. Raises NoSuchEntry for a cell that is not there."""

    def meter_write(self, meter: str, index: int, rates: MeterRates | None) -> None: ...

    def multicast_group_set(self, group_id: int, replicas: Sequence[Replica]) -> None:
        """Create or replace. Group ids 1..65535."""

    def multicast_group_delete(self, group_id: int) -> None: ...
    def clone_session_set(self, session_id: int, replicas: Sequence[Replica], truncate_bytes: int) -> None: ...
    def clone_session_delete(self, session_id: int) -> None: ...

    def inject(self, port: int, packet: bytes) -> None:
        """Hand a packet to ingress as if it had arrived on the port (CPU port: a packet-out with its header)."""

    def set_digest_sink(self, sink: Callable[[str, bytes], None] | None) -> None:
        """Digests go to the callable: name of the list, its fields one behind the other, each in whole bytes."""

    def set_packet_sink(self, port: int, sink: Callable[[bytes], None] | None) -> None:
        """Packets sent to the port go to the callable, from a thread of the engine's (CPU port: with its header)."""

    def attach_interface(self, port: int, interface: str, pcap: str | None = None, *, opened: bool = True) -> None:
        """AF_PACKET ring on a network interface. Needs CAP_NET_RAW. A port may be made without it (`opened`)."""

    def mark_port(self, port: int, mark: int) -> None:
        """What leaves an attached interface has this mark (SO_MARK). Needs CAP_NET_ADMIN."""

    def attach_socket(
        self, port: int, local_path: str, peer_path: str, pcap: str | None = None, *, opened: bool = True
    ) -> None:
        """UNIX datagram socket: receives at local_path, one frame a datagram, sends to peer_path."""

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        """In-process port: `inject` and `set_packet_sink` only (the data-plane gRPC service uses it)."""

    def open_port(self, port: int, released: ReleasedPort | None = None) -> None:
        """Give a port its interface or socket: a new one, or what `release_port` of another engine gave.

        Raises OSError: the port stays without it, and what was released is still whoever's who called.
        """

    def close_port(self, port: int) -> None:
        """Take interface or socket away from a port: frames for it are lost, and counted there. Idempotent."""

    def release_port(self, port: int) -> ReleasedPort | None:
        """As `close_port`, but leaves it open for another engine; None where the port has none."""

    def port_bound(self, port: int) -> int:
        """The index of the interface that a port is bound to, or the inode of the socket that it can be reached at; 0
        for none, or one that has been deleted since."""

    def detach(self, port: int, *, unused: bool = False) -> dict[str, int]:
        """End a port. Its last statistics. unused: what it was for has failed, and an empty capture does not stay."""

    def port_statistics(self, port: int) -> dict[str, int]:
        """What passed through an attached port, and every frame that it lost, by cause."""

    def missed_ports(self) -> dict[int, int]:
        """How many frames were for ports that there are not, by number of the port."""

    def statistics(self) -> dict[str, int]:
        """What the engine counts of itself, by name."""

    def start(self) -> None: ...
    def stop(self) -> None:
        """Stop the threads and close the ports. Idempotent."""

    def reset_state(self, keep_entries: bool) -> None:
        """What a pipeline push does on BMv2: registers to zero; entries, groups, counters, meters too unless kept."""
