# SPDX-License-Identifier: Apache-2.0
"""The boundary between the P4Runtime server and the compiled data plane.

Everything on this side of it speaks in identities of the BMv2 JSON (table, action, counter names as p4c wrote them) and
in big-endian byte strings of the exact field width rounded up to whole bytes. The server translates P4Runtime's ids and
canonical byte strings; the engine stores and matches. Every method is atomic with respect to packets: the data plane
sees the state before the call or after it, never half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


class Engine(Protocol):
    """A loaded program with its ports. Names are those of the BMv2 JSON.

    Priorities are P4Runtime's: the larger one wins. Tables without priorities (exact, lpm) ignore them and report 0.
    Constant entries report what PI makes of the JSON's: 2**31 - 1 minus it.
    """

    def table_insert(self, table: str, key: Sequence[KeyPart], priority: int, action: Action) -> None: ...
    def table_modify(self, table: str, key: Sequence[KeyPart], priority: int, action: Action) -> None: ...
    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None: ...
    def table_entries(self, table: str) -> list[TableEntry]: ...
    def table_get_default(self, table: str) -> ActionCall: ...
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

    def entry_idle_us(self, table: str, key: Sequence[KeyPart], priority: int) -> int:
        """Microseconds since an entry of a table with idle timeouts was hit, or written."""

    def direct_counter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> CounterValue: ...
    def direct_counter_write(self, table: str, key: Sequence[KeyPart], priority: int, value: CounterValue) -> None: ...
    def direct_meter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> MeterRates | None: ...
    def direct_meter_write(
        self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None
    ) -> None: ...

    def counter_size(self, counter: str) -> int: ...
    def counter_read(self, counter: str, index: int) -> CounterValue: ...
    def counter_write(self, counter: str, index: int, value: CounterValue) -> None: ...
    def meter_size(self, meter: str) -> int: ...
    def meter_read(self, meter: str, index: int) -> MeterRates | None: ...
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

    def attach_interface(self, port: int, interface: str, pcap: str | None = None) -> None:
        """AF_PACKET ring on a network interface. Needs CAP_NET_RAW."""

    def mark_port(self, port: int, mark: int) -> None:
        """What leaves an attached interface has this mark (SO_MARK). Needs CAP_NET_ADMIN."""

    def attach_socket(self, port: int, local_path: str, peer_path: str, pcap: str | None = None) -> None:
        """UNIX datagram socket: receives at local_path, one frame a datagram, sends to peer_path."""

    def attach_sink(self, port: int, pcap: str | None = None) -> None:
        """In-process port: `inject` and `set_packet_sink` only (the data-plane gRPC service uses it)."""

    def detach(self, port: int) -> None: ...
    def port_statistics(self, port: int) -> dict[str, int]:
        """What is counted of an attached port, by name."""

    def statistics(self) -> dict[str, int]:
        """What the engine counts of itself, by name."""

    def start(self) -> None: ...
    def stop(self) -> None:
        """Stop the threads and close the ports. Idempotent."""

    def reset_state(self, keep_entries: bool) -> None:
        """What a pipeline push does on BMv2: registers to zero; entries, groups, counters, meters too unless kept."""
