# SPDX-License-Identifier: Apache-2.0
"""What the NVA and the agent of an NVE say to each other (RFC 8014 4): values only, so that they can go over a wire.

Down come three kinds of state, each as a whole with a version: what the NVE serves (`NveView`), the tenant systems
behind it (`TenantState`), and its keys (`KeyState`). The newer one replaces the older; an agent that missed some has
missed nothing. Keys come as a whole once in a session, and then as what changed (`KeyUpdate`): an NVE has them with
every peer, and most changes are of one. What changes elsewhere in a VN comes as `MappingUpdate`, from the position that
the agent has. Times are durations in seconds, counted from the moment the message was made: the clocks of the two ends
have nothing in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from nvo3sec.domain.keys.contribution import Pair, PeerUpdate
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.versions import UNSAID, Speaks
from nvo3sec.domain.overlay.addresses import IpAddress, UnderlayAddress
from nvo3sec.domain.overlay.dscp import BEST_EFFORT, OuterDscp
from nvo3sec.domain.overlay.model import VERIFY_RATE, Level, Rate, Suite, TenantSystem, TunnelKeys, Vap, Vn

DIGEST_BYTES = 32
"""Of the history of an NVA's store."""
WHOLE_FRAME = 0xFFFF
"""Minimum coverage of an SA that protects whole frames."""


# --- down: NVA to agent ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PeerView:
    """A peer as one NVE sees it. `vnis`: into which the peer may send here, with the lowest level that each accepts.

    sends: what is sent to the peer is of this level at least, whatever its VN demands. mtu: what the underlay carries
    at the peer, bytes; 0 if an older NVA has not said it. address: where the tunnel leads. other_address: the peer has
    that one, too, of the other family. zero_checksum: it sends none of UDP over IPv6, and may.
    """

    name: str
    address: UnderlayAddress
    port: int
    mac: int
    next_hop_mac: int
    meter: Rate
    vnis: tuple[tuple[int, Level], ...]
    sends: Level = Level.INTEGRITY
    mtu: int = 0
    other_address: UnderlayAddress | None = None
    zero_checksum: bool = False

    @property
    def addresses(self) -> tuple[UnderlayAddress, ...]:
        """All of the peer, in the underlay."""
        return (self.address,) if self.other_address is None else (self.address, self.other_address)


@dataclass(frozen=True)
class _AtVap:
    port: int
    vlan: int
    mac: int
    ips: tuple[IpAddress, ...]

    @property
    def place(self) -> tuple[int, int]:
        """The VAP."""
        return self.port, self.vlan


class Guard(_AtVap):
    """A VAP from which frames of a MAC address may come with these IP addresses, though nothing leads there for them:
    shared addresses that another member has, and sources."""


class ClaimPlace(_AtVap):
    """A VAP and a MAC address where shared addresses can be: what is announced there for one of `ips` claims all."""


@dataclass(frozen=True)
class NveView:
    """All that one NVE serves: its VNs and VAPs, its peers, and the tenant systems behind its own VAPs."""

    version: int
    name: str
    address: UnderlayAddress
    mtu: int
    underlay_ports: tuple[tuple[int, int], ...]
    vns: tuple[Vn, ...]
    vaps: tuple[Vap, ...]
    peers: tuple[PeerView, ...]
    tenant_systems: tuple[TenantSystem, ...]
    lease_s: float
    lease_renew_s: float
    tunnel_keys: TunnelKeys = TunnelKeys.NVA
    guards: tuple[Guard, ...] = ()
    claim_places: tuple[ClaimPlace, ...] = ()
    verify_rate: int = VERIFY_RATE
    other_address: UnderlayAddress | None = None
    """Of the other family than `address`."""
    dscp: OuterDscp = BEST_EFFORT

    @property
    def addresses(self) -> tuple[UnderlayAddress, ...]:
        """Its own, in the underlay."""
        return (self.address,) if self.other_address is None else (self.address, self.other_address)

    def towards(self, end: UnderlayAddress) -> UnderlayAddress:
        """The own address from which a tunnel leads to `end`: that of its family; without one, `address`."""
        return next((one for one in self.addresses if one.version == end.version), self.address)


@dataclass(frozen=True)
class TenantState:
    """The tenant systems behind one NVE, all of them: what `NveView.tenant_systems` and `guards` are from now on."""

    version: int
    tenant_systems: tuple[TenantSystem, ...]
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class ReceiveSa:
    """A key to receive with. `key` None: keep what the switch holds under this SPI; the NVA can no longer derive it.

    pair: the contributions that it is to be mixed of; None if it is not, or if the NVA no longer knows.
    """

    peer: str
    suite: Suite
    spi: int
    generation: int
    key: Secret | None
    remaining_s: float
    min_coverage: int = WHOLE_FRAME
    pair: Pair | None = None


@dataclass(frozen=True)
class SendSa:
    """The key to send with, at one level. `key` None: keep what the switch holds. pair: as for `ReceiveSa`.

    generation: 0 if the NVA does not know it; keys without a pair do not need it.
    """

    peer: str
    suite: Suite
    spi: int
    key: Secret | None
    remaining_s: float
    generation: int = 0
    pair: Pair | None = None


@dataclass(frozen=True)
class KeyState:
    """Every key of one NVE. `incarnation`: of its switch, for which they were derived."""

    version: int
    incarnation: bytes
    receive: tuple[ReceiveSa, ...]
    send: tuple[SendSa, ...]


@dataclass(frozen=True)
class KeyUpdate:
    """What changed since the message of version `base`: every key of one NVE in some directions.

    receives, sends: the directions, each by its other end. Keys of these that are not among `receive` and `send` have
    ended; those of all others are as they were.
    """

    version: int
    base: int
    incarnation: bytes
    receives: tuple[tuple[str, Suite], ...]
    sends: tuple[tuple[str, Suite], ...]
    receive: tuple[ReceiveSa, ...]
    send: tuple[SendSa, ...]


@dataclass(frozen=True)
class Position:
    """What an agent has of a VN. `history`: whose versions it counts (the store's); versions of another say nothing."""

    history: bytes
    version: int


@dataclass(frozen=True)
class RemoteMapping:
    """A mapping in force: behind which NVE the MAC address and its IPs are. sequence: the move sequence number."""

    mac: int
    nve: str
    ips: tuple[IpAddress, ...]
    sequence: int


@dataclass(frozen=True)
class MappingUpdate:
    """What changed in a VN after version `base`, up to `position`.

    base None: the NVA no longer knows what changed since the agent's position; everything that the agent has learned
    in the VN has to be asked for again. withdrawn: MAC addresses that nobody has any more, with the version of the VN
    from which on that is so.
    """

    vni: int
    base: int | None
    position: Position
    mappings: tuple[RemoteMapping, ...] = ()
    withdrawn: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class NewIncarnation:
    """The switch is to take another incarnation, with new replay rings: there are no keys for the present one."""

    instead_of: bytes


Update: TypeAlias = NveView | TenantState | MappingUpdate | PeerUpdate | KeyState | KeyUpdate | NewIncarnation


@dataclass(frozen=True)
class StoreMark:
    """How far an NVA's store had come. An agent believes no NVA whose store is behind that, or has come another way.

    digest: 32 bytes that only this history of the store has at this version; b"" if none was told. (0, 0): not durable.
    """

    term: int
    version: int
    digest: bytes = b""

    def is_before(self, other: StoreMark) -> bool:
        """Whether `other` is newer."""
        return (self.term, self.version) < (other.term, other.version)


@dataclass(frozen=True)
class Welcome:
    """The NVA has taken a registration. `session`: its name, for calls beside the stream; no secret.

    known: those of the registration's `seen` that the NVA's store knows to have told this NVE. speaks: the NVA.
    """

    session: bytes
    mark: StoreMark
    known: tuple[StoreMark, ...] = ()
    speaks: Speaks = UNSAID


class QuestionKind(StrEnum):
    """What an operator may ask about one switch."""

    STATUS = "status"
    COUNTERS = "counters"
    RECONCILE = "reconcile"
    PREVIEW = "preview"
    """What `RECONCILE` would do."""
    KEYS = "keys"
    """What the switch holds for its tunnels, read now: `domain.messages.holdings`."""


@dataclass(frozen=True)
class Question:
    """An operator's question, which the agent answers under the same number."""

    number: int
    kind: QuestionKind


@dataclass(frozen=True)
class LeaseGrant:
    """The tunnels of the switch may stay open this long from the moment the lease was asked for. mark: of the store.

    early: of an NVA that has not said yet what the NVE serves, since it is loading: it prolongs a lease that runs, and
    opens nothing.
    """

    duration_s: float
    mark: StoreMark
    early: bool = False


class LookupResult(StrEnum):
    """Outcome of a lookup."""

    FOUND = "found"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    """The NVE does not serve the VN."""
    BUSY = "busy"
    """The NVE asks too often."""


@dataclass(frozen=True)
class LookupAnswer:
    """Where a tenant system is. `valid_s`: how long the answer, positive or negative, may be remembered.

    sequence: the mapping's move sequence number; what is pushed with a lower one is older.
    """

    result: LookupResult
    valid_s: float
    mac: int = 0
    nve: str = ""
    ips: tuple[IpAddress, ...] = ()
    sequence: int = 0


class Standing(StrEnum):
    """What became of an announcement."""

    ACTIVE = "active"
    """In force."""
    FROZEN = "frozen"
    """Remembered, without effect: somebody else has an address of it, or it is contested or reserved."""
    DONE = "done"
    REFUSED = "refused"
    """Nothing was changed."""


@dataclass(frozen=True)
class AttachmentAnswer:
    """The answer to an announcement. `reason`: a word for FROZEN and REFUSED; it does not say who has an address."""

    standing: Standing
    reason: str = ""


# --- up: agent to NVA -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attachment:
    """A tenant system at a VAP of the announcing NVE. host: the hypervisor that it is announced for, "" for none.

    vn: the name of the VN that it was attached to, for its number can have become another's; "" if it is not known.
    again: the agent announces it from its memory, and nobody has asked it to.
    """

    port: int
    vlan: int
    vni: int
    mac: int
    ips: tuple[IpAddress, ...] = ()
    host: str = ""
    vn: str = ""
    again: bool = False


@dataclass(frozen=True)
class Release:
    """A tenant system is no longer at a VAP. `successor`: the NVE where it goes on, "" if that is not known."""

    port: int
    vlan: int
    vni: int
    mac: int
    successor: str = ""
    host: str = ""


@dataclass(frozen=True)
class Relocation:
    """A tenant system goes from one VAP of the NVE to `to`, another of the same VN: nothing is lost in between."""

    port: int
    vlan: int
    to: Attachment


@dataclass(frozen=True)
class Sign:
    """A frame that speaks for an IP address has passed the source guard of a VAP of the NVE: see `mapping.Claimed`."""

    port: int
    vlan: int
    vni: int
    mac: int
    ip: IpAddress
    vn: str = ""


Announcement: TypeAlias = Attachment | Release | Relocation | Sign


@dataclass(frozen=True)
class HeldReceive:
    """An SA that the switch was found receiving with, from `source`."""

    source: UnderlayAddress
    suite: Suite
    held: Held


@dataclass(frozen=True)
class HeldSend:
    """An SA that the switch was found sending with, to `destination`."""

    destination: UnderlayAddress
    suite: Suite
    held: Held


@dataclass(frozen=True)
class Registration:
    """An agent introduces its switch: the incarnation, and the keys derived for it that the switch already holds.

    attachments: everything that is attached; what the NVA has and is not here is released. positions: what the agent
    has of each VN, by VNI; a VN that is not here is one of which it has learned nothing yet. seen: what the agent
    remembers of how far the NVA's store had come. generation: the highest that the replay rings of this incarnation can
    have seen, as far as the agent remembers beyond `receive`. speaks: the agent.
    """

    incarnation: bytes
    receive: tuple[HeldReceive, ...] = ()
    send: tuple[HeldSend, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    positions: tuple[tuple[int, Position], ...] = ()
    seen: tuple[StoreMark, ...] = ()
    generation: int = 0
    speaks: Speaks = UNSAID


@dataclass(frozen=True)
class ReadBack:
    """What the switch was read back with after a reconciliation: peer and suite, with the SPIs of each direction.

    view: version of the view that the whole switch was last found equal to; 0 if it never was.
    """

    incarnation: bytes
    receive: tuple[tuple[str, Suite, int], ...]
    send: tuple[tuple[str, Suite, int], ...]
    view: int = 0


class KeyUse(NamedTuple):
    """How much one key has protected, in packets and bytes of frames. at_most: it may be far less."""

    peer: str
    suite: Suite
    spi: int
    packets: int
    octets: int
    at_most: bool = False


@dataclass(frozen=True)
class Use:
    """How much keys have protected, by the sending switch's counters."""

    incarnation: bytes
    sent: tuple[KeyUse, ...]


@dataclass(frozen=True)
class Lookup:
    """Who has this address in this VN? Either a MAC address or an IP address."""

    vni: int
    mac: int | None = None
    ip: IpAddress | None = None


@dataclass(frozen=True)
class Report:
    """Something that the operator should know. `event` is a fixed word, `detail` has no secrets."""

    event: str
    detail: str


@dataclass(frozen=True)
class Answer:
    """To the question of this number: a JSON text without secrets, or why there is none."""

    number: int
    json: str | None = None
    refusal: str = ""
