# SPDX-License-Identifier: Apache-2.0
"""What operators are told, as values: for programs as JSON (`json_form`), for people as tables (`cli`).

The order of the fields is that of the JSON; ORDER says another one where a process writes one of its own. Times are in
seconds, amounts in packets and bytes. Nothing in here has ever seen a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from nvo3sec.domain.switch.status import SwitchStatus
from nvo3sec.operator.json_form import UNSAID, Unsaid

Texts: TypeAlias = tuple[str, ...]


# --- the status -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speech:
    """What a process says that it speaks: see `domain.messages.versions.Speaks`."""

    software: str
    protocol: int
    features: Texts


@dataclass(frozen=True, slots=True)
class End:
    """What of a process's credentials ends, and in how many seconds."""

    process: str
    kind: str
    name: str
    left_s: int
    urgency: str


@dataclass(frozen=True)
class HeldNumber:
    """A number that may still stand for what it stood for, in the switches of `nves`."""

    number: str
    owner: str
    nves: Texts


@dataclass(frozen=True)
class LevelUnderWay:
    """A change of the level of a VN or of a pair of NVEs: to wanted. was: at which some may still send; sends, demands:
    what senders and receivers were told. waits_for: NVEs, or a key. late: longer than is due."""

    subject: str
    wanted: str
    was: str
    sends: str
    demands: str
    waits_for: Texts
    late: bool


@dataclass(frozen=True, slots=True)
class Key:
    """One SA: its life, its level, and whether either end has it."""

    sender: str
    receiver: str
    suite: str
    state: str
    spi: str
    generation: int
    age_s: float
    to_soft_s: float
    to_hard_s: float
    at_receiver: bool
    at_sender: bool
    inherited: bool
    level: str | Unsaid = UNSAID


@dataclass(frozen=True)
class SaidReport:
    """What an agent reported. over: it tells of a state that is no more."""

    nve: str
    age_s: float
    event: str
    detail: str
    over: bool | Unsaid = UNSAID


@dataclass(frozen=True)
class Switch(SwitchStatus):
    """A switch and its agent. standing: what of what the agent reported is still so, None if it does not say. excluded,
    disputed: why, if it is. speaks: None if that is not known. An agent alone does not say these three."""

    standing: Texts | Unsaid | None = UNSAID
    excluded: str | Unsaid = UNSAID
    disputed: str | Unsaid = UNSAID
    registered: bool = False
    p4runtime: str = ""
    device_id: int = 0
    speaks: Speech | Unsaid | None = UNSAID


@dataclass(frozen=True)
class Status:
    """Switches with what is expected and what is there, keys by name, the last reports, what is not ready, and what
    will not be for long. not_known: of which of these whoever answers knows nothing, in words; nothing of that is
    there, which does not mean that there is none."""

    domain: str
    ready: bool
    not_ready: Texts
    warnings: Texts | Unsaid = UNSAID
    switches: tuple[Switch, ...] = ()
    held: tuple[HeldNumber, ...] | Unsaid = UNSAID
    level_changes: tuple[LevelUnderWay, ...] | Unsaid = UNSAID
    keys: tuple[Key, ...] = ()
    reports: tuple[SaidReport, ...] = ()
    speaks: Speech | Unsaid | None = UNSAID
    ends: tuple[End, ...] | Unsaid = UNSAID
    not_known: Texts | Unsaid = UNSAID


@dataclass(frozen=True)
class OwnStatus(Status):
    """The status that an agent alone gives, of one switch."""

    ORDER: ClassVar[Texts] = (
        *("domain", "ready", "not_ready", "switches", "keys", "reports", "ends", "warnings"),
        "not_known",
    )


# --- counters, and what is done to switches ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """What was counted."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ReceivedBySa:
    """Under one SA, before it was verified."""

    source: str
    destination: str
    spi: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SentByEntry:
    """Protected for one tunnel, at one level, whatever the SA, also what then did not leave. towards: the peer."""

    interface: int
    towards: str
    level: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SentBySa:
    """Protected under one SA, also what then did not leave. towards: the peer. at_most: the counter is older than the
    SA at this switch."""

    towards: str
    suite: str
    spi: str
    at_most: bool
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FromVap:
    """From one VAP."""

    port: int
    vlan: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class IntoVn:
    """Into one VN, from one peer."""

    source: str
    vni: int
    packets: int
    bytes: int


PortCounts: TypeAlias = dict[str, str | int]
"""The `interface` of a port, its `state` (up, down, absent) and the `reason`, if the switch says them; and what is
counted there, by names that are the switch's."""


@dataclass(frozen=True)
class SwitchItself:
    """What a switch counts of itself, by names that are its own, and of its ports, by number."""

    engine: dict[str, int]
    ports: dict[str, PortCounts]


@dataclass(frozen=True)
class SwitchCounters:
    """Counters of a switch. drops: by pipeline and reason. last_sequence: by peer. switch: None if it does not tell."""

    nve: str
    drops: dict[str, dict[str, Amount]]
    sa_rx: tuple[ReceivedBySa, ...]
    sa_tx: tuple[SentByEntry, ...]
    vap: tuple[FromVap, ...]
    vn: tuple[IntoVn, ...]
    last_sequence: dict[str, int]
    switch: SwitchItself | Unsaid | None = UNSAID
    sa_sent: tuple[SentBySa, ...] | Unsaid = UNSAID

    ORDER: ClassVar[Texts] = ("switch", "sa_sent", "nve", "drops", "sa_rx", "sa_tx", "vap", "vn", "last_sequence")


@dataclass(frozen=True)
class OwnCounters(SwitchCounters):
    """The same, of an agent alone."""

    ORDER: ClassVar[Texts] = ("nve", "drops", "sa_rx", "sa_tx", "sa_sent", "vap", "vn", "last_sequence", "switch")


@dataclass(frozen=True)
class NoCounters:
    """Of a switch that cannot be asked, and why. revoked: it is shut out for good, and nothing is expected of it."""

    nve: str
    unavailable: str
    revoked: bool | Unsaid = UNSAID


@dataclass(frozen=True)
class NotDone:
    """Nothing was done to a switch, and why. revoked: as for `NoCounters`."""

    unavailable: str
    revoked: bool | Unsaid = UNSAID


Counters: TypeAlias = tuple[SwitchCounters | NoCounters, ...]
Reconciled: TypeAlias = dict[str, Texts | NotDone]
"""By NVE, what was written to its switch, or would be."""


@dataclass(frozen=True)
class Revoked:
    """cut_off_s: until every other switch was without it."""

    cut_off_s: float


# --- keys -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyAtEnds:
    """One SA: its life, its use, and at each end what is expected and what is there; None where that is not known.

    tunnel_keys: who made the key. received_*: before it was verified.
    """

    sender: str
    receiver: str
    suite: str
    state: str
    spi: str
    generation: int
    inherited: bool
    tunnel_keys: str | None
    age_s: float
    to_soft_s: float
    to_hard_s: float
    receiver_should: bool
    receiver_has: bool | None
    sender_should: bool
    sender_has: bool | None
    sent_packets: int | None
    sent_bytes: int | None
    sent_at_most: bool
    received_packets: int
    received_bytes: int
    idle_s: float | None
    level: str | Unsaid = UNSAID


@dataclass(frozen=True)
class SwitchRead:
    """A switch, as it was read. receive, send: how many keys it holds."""

    nve: str
    fault: str
    incarnation: str
    agrees: bool
    clock_s: float
    lease_left_s: float | None
    receive: int
    send: int


@dataclass(frozen=True)
class SwitchUnread:
    """One that was not, and why."""

    nve: str
    fault: str


@dataclass(frozen=True)
class SwitchDiffers:
    """Where a switch differs from what the NVA wants there."""

    nve: str
    what: str


@dataclass(frozen=True)
class KeyAudit:
    """held: every switch holds what it should."""

    held: bool
    differences: tuple[SwitchDiffers, ...]
    switches: tuple[SwitchRead | SwitchUnread, ...]


@dataclass(frozen=True)
class Rotated:
    """In how many directions new keys were asked for."""

    directions: int


@dataclass(frozen=True)
class MarksReset:
    """instead_of: the incarnation that the switch gives up, "" if none is known."""

    nve: str
    instead_of: str


# --- VNs and mappings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VnLine:
    """One VN: its members, and how many tenant systems it has."""

    vn: str
    vni: int
    level: str
    mtu: int
    members: Texts
    mappings: int
    frozen: int
    version: int


@dataclass(frozen=True)
class PuntRate:
    """Packets a second, and at once."""

    rate: int
    burst: int


@dataclass(frozen=True)
class VapPlace:
    """Where a VAP is."""

    port: int
    vlan: int


@dataclass(frozen=True)
class Member:
    """An NVE that serves a VN, and how many tenant systems it has behind it."""

    nve: str
    vaps: tuple[VapPlace, ...]
    mappings: int


@dataclass(frozen=True)
class TunnelLevel:
    """At which level two members speak."""

    between: Texts
    level: str


@dataclass(frozen=True)
class ReservedAddress:
    """Who alone may have an address."""

    address: str
    nves: Texts


@dataclass(frozen=True)
class VnShown(VnLine):
    """One VN in full."""

    punt: PuntRate
    negative_quota: int
    served_by: tuple[Member, ...]
    tunnels: tuple[TunnelLevel, ...]
    reserved: tuple[ReservedAddress, ...]


@dataclass(frozen=True, slots=True)
class ClaimLine:
    """One tenant system: what it asked for, what it has, and what is in its way. stated: by the domain file."""

    vn: str
    mac: str
    nve: str
    port: int
    vlan: int
    asked: Texts
    has: Texts
    standing: str
    reason: str
    why: str
    in_its_way: str | None
    stated: bool
    hypervisor: str
    sequence: int


@dataclass(frozen=True)
class AbsentAddress:
    """An address of a tenant system whose NVE lost its lease, and which NVEs do not get it by waiting."""

    vn: str
    address: str
    last_owner: str
    barred: Texts


@dataclass(frozen=True)
class Mappings:
    """total: how many tenant systems there are; `claims` has the first ones."""

    total: int
    absent: tuple[AbsentAddress, ...]
    claims: tuple[ClaimLine, ...]


@dataclass(frozen=True)
class Decided:
    """What became of a tenant system that an operator decided about."""

    claim: str
    status: str


@dataclass(frozen=True)
class Announced:
    """What the NVA says to what an agent announced, and why, as a word and in words."""

    standing: str
    reason: str
    why: str


@dataclass(frozen=True)
class AttachmentLine:
    """A tenant system behind one NVE, as its agent says. host: its hypervisor. announced: by a command."""

    vn: str
    port: int
    vlan: int
    mac: str
    ips: Texts
    host: str
    active: bool
    announced: bool
    state: str
    why: str


# --- the domain file, and access --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AppliedFile:
    """The domain file that runs. base: names it, for who applies another one."""

    domain: str
    base: str
    text: str


Value: TypeAlias = str | int | float | bool | tuple[str, ...]
"""Of a field of the domain file."""


@dataclass(frozen=True)
class ChangeLine:
    """See `domain.overlay.difference.Change`."""

    action: str
    kind: str
    name: str
    field: str
    old: Value | dict[str, Value] | None
    new: Value | dict[str, Value] | None
    effect: str
    nves: Texts
    vns: Texts
    refusal: str
    weaker: bool
    note: str


@dataclass(frozen=True)
class FileDifference:
    """What changes with another domain file. lines: for people. total: changes in all; unshown: of these, routes that
    come or go with their NVE."""

    base: str
    same_text: bool
    total: int
    unshown: int | Unsaid
    lines: Texts
    changes: tuple[ChangeLine, ...]
    nves: Texts
    vns: Texts
    refused: Texts


@dataclass(frozen=True)
class Verdict:
    """What a call of a device would be answered, and why."""

    device: str
    method: str
    vn: str | None
    allowed: bool
    scope: str | None
    reason: str
