# SPDX-License-Identifier: Apache-2.0
"""What happens to the mapping service, what it answers, and what follows from it.

`nve` is always the authenticated identity of who speaks, never something that a message says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from nvo3sec.domain.mapping.model import Absence, Address, Claim, ClaimKey, Hold, MappingEntry, Scope, StaticMapping
from nvo3sec.domain.messages.session import Standing
from nvo3sec.domain.overlay.addresses import IpAddress

# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attach:
    """`nve` announces a tenant system behind one of its VAPs, or other IP addresses of one that it announced.

    again: its agent remembers it, and nobody has asked for it; so is everything in a `Resync`.
    """

    nve: str
    port: int
    vlan: int
    vni: int
    mac: int
    ips: tuple[IpAddress, ...] = ()
    host: str = ""
    again: bool = False


@dataclass(frozen=True)
class Detach:
    """`nve` releases a tenant system. `successor`: the NVE where it goes on, if that is known; only it can then have
    the addresses for a while, so that nobody who announced them wrongly profits from the move."""

    nve: str
    port: int
    vlan: int
    mac: int
    successor: str | None = None
    host: str = ""


@dataclass(frozen=True)
class Move:
    """A tenant system goes from one VAP of `nve` to another of the same VN: release and announcement in one."""

    nve: str
    from_port: int
    from_vlan: int
    to_port: int
    to_vlan: int
    mac: int
    ips: tuple[IpAddress, ...]
    host: str = ""


@dataclass(frozen=True)
class Claimed:
    """A frame that speaks for an IP address has passed the source guard of a VAP of `nve`: a gratuitous ARP, an
    unsolicited neighbor advertisement, an advertisement of VRRP. It moves addresses that are stated for a set of VAPs;
    about any other address it is a hint, and no more."""

    nve: str
    port: int
    vlan: int
    vni: int
    mac: int
    ip: IpAddress


@dataclass(frozen=True)
class Resync:
    """Everything that `nve` has attached, after its agent started or reconnected: what is not in it is released."""

    nve: str
    attachments: tuple[Attach, ...]


@dataclass(frozen=True)
class LeaseRenewed:
    """What `nve` announced is good until `until` (seconds, monotonic)."""

    nve: str
    until: float


@dataclass(frozen=True)
class NveLost:
    """`nve` is out: its identity was revoked, or an operator said so. A lease that ends needs no event but `Tick`."""

    nve: str


@dataclass(frozen=True)
class Configured:
    """The domain file was applied."""

    scope: Scope
    statics: tuple[StaticMapping, ...] = ()


@dataclass(frozen=True)
class Admit:
    """An operator decides that this claim is right: whoever has its addresses is frozen."""

    key: ClaimKey


@dataclass(frozen=True)
class Evict:
    """An operator takes an announcement away; `successor` as in `Detach`."""

    key: ClaimKey
    successor: str | None = None


@dataclass(frozen=True)
class Tick:
    """Time goes by."""


Event: TypeAlias = (
    Attach | Detach | Move | Claimed | Resync | LeaseRenewed | NveLost | Configured | Admit | Evict | Tick
)

# --- answers --------------------------------------------------------------------------------------------------------


Status = Standing
"""What became of an event: what its announcer is told."""


class Reason(StrEnum):
    """Why something is refused or frozen."""

    NONE = ""
    OWNED = "owned"
    """Another claim has the address."""
    HELD = "held"
    """Its last owner named another successor, or it is contested."""
    ABSENT = "absent"
    """Its last owner lost its lease; who had waited for it does not get it by that."""
    RESERVED = "reserved"
    """The operator reserved it for other NVEs."""
    NO_LEASE = "no-lease"
    NOT_SERVED = "not-served"
    """The NVE has no such VAP, or the VAP is of another VN."""
    BAD_ADDRESS = "bad-address"
    QUOTA = "quota"
    STATIC = "static"
    """The domain file states it; only the domain file changes it."""
    FOREIGN = "foreign"
    """Another hypervisor announced it."""
    EVICTED = "evicted"
    """An operator has evicted it; it is back when somebody attaches it."""
    UNKNOWN = "unknown"
    """There is no such claim."""
    HINT = "hint"
    """The address is not stated for a set of VAPs with this one among them."""
    TOO_SOON = "too-soon"
    """It has moved less than a second ago."""
    UNSTEADY = "unsteady"
    """It has moved too often, and stays where it is until an operator decides."""


@dataclass(frozen=True)
class Outcome:
    """The answer to who caused an event. It does not say who else has an address: announcers need not know."""

    status: Status
    reason: Reason = Reason.NONE


# --- changes: what has to be durable before anything of the step is told to anybody -----------------------------------


@dataclass(frozen=True, slots=True)
class PutClaim:
    """The claim is now this."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class DropClaim:
    """The claim is gone."""

    key: ClaimKey


@dataclass(frozen=True, slots=True)
class PutHold:
    """The address is held. Seconds of `until` are of a clock that ends with the process."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class DropHold:
    """The address is no longer held."""

    address: Address


@dataclass(frozen=True, slots=True)
class PutAbsence:
    """The address is that of a claim that is absent. Its times are of a clock that ends with the process."""

    absence: Absence


@dataclass(frozen=True, slots=True)
class DropAbsence:
    """Nobody who is absent has a right to the address."""

    address: Address


@dataclass(frozen=True, slots=True)
class PutUnsteady:
    """The shared addresses of this name do not move any more."""

    name: str


@dataclass(frozen=True, slots=True)
class DropUnsteady:
    """They move again."""

    name: str


@dataclass(frozen=True, slots=True)
class SetVersion:
    """The VN has changed visibly; versions only grow."""

    vni: int
    version: int


Change: TypeAlias = (
    PutClaim | DropClaim | PutHold | DropHold | PutAbsence | DropAbsence | PutUnsteady | DropUnsteady | SetVersion
)

# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MappingSet:
    """From `version` of the VN on the mapping is this."""

    version: int
    mapping: MappingEntry


@dataclass(frozen=True, slots=True)
class MappingWithdrawn:
    """From `version` of the VN on nobody has this MAC address."""

    vni: int
    version: int
    mac: int


@dataclass(frozen=True, slots=True)
class AddressAppeared:
    """Somebody has the address now: negative answers about it are worth nothing any more."""

    address: Address


class Told(StrEnum):
    """What operators are told."""

    FROZEN = "mapping-frozen"
    THAWED = "mapping-thawed"
    CONTESTED = "mapping-contested"
    DEMOTED = "mapping-demoted"
    WITHDRAWN = "mapping-withdrawn"
    """Without a release: a lease ended, the NVE is out, or it no longer serves the VAP."""
    REFUSED = "mapping-refused"
    MOVED = "mapping-moved"
    """It has claimed shared addresses, and has them now."""
    UNSTEADY = "mapping-unsteady"
    """Shared addresses have moved so often that they stay where they are until an operator decides."""
    NOT_THAWED = "mapping-not-thawed"
    """What it waits for is free because the lease of its owner has run out: that alone does not give it away."""
    TAKEN = "mapping-taken"
    """It has an address of one whose lease has run out, who gets it back if it returns in time."""
    RETURNED = "mapping-returned"
    """Its lease had run out, it has come back in time, and it has its addresses again."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Something for the operator: about `key`, and if there is one, the claim `other` that is in its way."""

    told: Told
    vni: int
    key: ClaimKey
    reason: Reason = Reason.NONE
    other: ClaimKey | None = None


Effect: TypeAlias = MappingSet | MappingWithdrawn | AddressAppeared | Reported
