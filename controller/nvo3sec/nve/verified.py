# SPDX-License-Identifier: Apache-2.0
"""What comes from each peer and verifies, from the counters of a switch; and in whose name packets come that do not.

`sa_rx` counts before verification, `vn_ingress_authorization` behind it, so for each peer the difference is what was
refused in between. From the first the floors follow that the peers have in penalty (`domain.switch.floors`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nvo3sec.domain.messages.session import NveView, PeerView
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.switch.floors import VerifiedRate, floor_rate
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.p4runtime import SwitchClient, Table
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.system.uptime import uptime_s

ATTACKED_S = 60.0
"""How long a peer counts as attacked after it was seen to be: a penalty lasts for ten seconds, and is begun anew."""
SHARE = 1 / 20
"""Of the time, that may be spent in reading: of a switch with many peers in many VNs it takes seconds."""
REFUSED_AT_LEAST = 16
REFUSED_PART = 1 / 16
"""Of what was verified of a peer: less than this is what is on its way between two readings, or late."""


@dataclass(frozen=True)
class Refused:
    """What came in the name of a peer lately and did not verify: of all its SAs, and the SPI that most came under."""

    packets: int
    spi: int


@dataclass
class KeptRates:
    """What is known of peers beyond one session, by their addresses."""

    rates: dict[UnderlayAddress, VerifiedRate] = field(default_factory=dict)
    attacked_at: dict[UnderlayAddress, float] = field(default_factory=dict)
    """When each was last seen to be attacked (seconds, monotonic)."""
    left: dict[UnderlayAddress, float] = field(default_factory=dict)
    """Packets that may still fail before a penalty begins: what is in the buckets of their meters, as counted here."""
    attacked: int = 0
    """How many were at the last look."""
    floors: dict[UnderlayAddress, Rate] = field(default_factory=dict)
    """As they were last asked to be written."""


class VerifiedWatch:
    """Watches one switch, in one session. now: seconds, monotonic.

    context: the view and the numbers, or None while there are none. changed: has the floors written. clock: seconds,
    monotonic; it measures how long reading takes.
    """

    def __init__(
        self,
        client: SwitchClient,
        kept: KeptRates,
        context: Callable[[], tuple[NveView, Numbers] | None],
        changed: Callable[[], None],
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._client = client
        self._kept = kept
        self._context = context
        self._changed = changed
        self._clock = clock
        self._not_before = float("-inf")
        self._penalties = False
        self._before: tuple[float, Numbers, Mapping[Pairs, int], Mapping[Pairs, int]] | None = None
        self._refused: dict[str, Refused] = {}

    def floors(self, view: NveView) -> dict[UnderlayAddress, Rate]:
        """The floor of each peer of `view`, by its address, as of the last look."""
        # By powers of two, as floors go by them: not every peer that begins or ends to be attacked writes all of them.
        budget = view.verify_rate >> max(self._kept.attacked - 1, 0).bit_length()
        measured = {address: rate.packets_per_s for address, rate in self._kept.rates.items()}
        return {peer.address: floor_rate(peer.meter, measured.get(peer.address, 0.0), budget) for peer in view.peers}

    async def look(self, now: float, *, penalties: bool) -> None:
        """Read the counters, unless that has been done too much lately.

        penalties: packets of peers in penalty were dropped since the last call. Raises SwitchError.
        """
        self._penalties |= penalties
        context = self._context()
        if context is None or now < self._not_before:
            return
        view, numbers = context
        began = self._clock()
        verified = _packets(await self._client.direct_counters(Table.VN_INGRESS_AUTHORIZATION))
        came = _packets(await self._client.direct_counters(Table.SA_RX))
        self._not_before = now + (self._clock() - began) / SHARE
        penalties, self._penalties = self._penalties, False
        before, self._before = self._before, (now, numbers, verified, came)
        # A number may stand for another peer since.
        if before is None or before[0] >= now or before[1].peers != numbers.peers:
            return
        then, _, verified_then, came_then = before
        peers = {numbers.peers[peer.address]: peer for peer in view.peers if peer.address in numbers.peers}
        self._learn(peers, _grown(verified, verified_then), _grown(came, came_then), now - then, now, penalties)
        self._forget(peers.values(), now)
        if (floors := self.floors(view)) != self._kept.floors:
            self._kept.floors = floors
            self._changed()

    def _learn(
        self,
        peers: Mapping[int, PeerView],
        verified: Mapping[Pairs, int],
        came: Mapping[Pairs, int],
        since_s: float,
        now: float,
        penalties: bool,
    ) -> None:
        good: Counter[int] = Counter()
        for match, packets in verified.items():
            good[dict(match)["peer"]] += packets
        by_spi: dict[int, Counter[int]] = {}
        for match, packets in came.items():
            fields = dict(match)
            by_spi.setdefault(fields["peer"], Counter())[fields["spi"]] += packets
        self._refused = {}
        for number, peer in peers.items():
            under = by_spi.get(number, Counter())
            refused = under.total() - good[number]
            least = max(REFUSED_AT_LEAST, good[number] * REFUSED_PART)
            can_begin = self._empties(peer, refused, since_s)
            if penalties and can_begin and refused > least:
                self._kept.attacked_at[peer.address] = now
                self._refused[peer.name] = Refused(refused, under.most_common(1)[0][0])
            rate = self._kept.rates.setdefault(peer.address, VerifiedRate())
            rate.learn(good[number], since_s, now, attacked=self._is_attacked(peer.address, now))

    def _empties(self, peer: PeerView, refused: int, since_s: float) -> bool:
        """Whether so many that failed can begin a penalty: more at once than the bucket of the meter holds, or what
        was left in it from look to look. Replays, which nothing charges, are among them: it errs on the side of yes."""
        burst = peer.meter.burst
        left = min(burst, self._kept.left.get(peer.address, burst) + peer.meter.per_second * since_s - refused)
        self._kept.left[peer.address] = max(0.0, left)
        return refused > burst or left < 0

    def _is_attacked(self, address: UnderlayAddress, now: float) -> bool:
        return now < self._kept.attacked_at.get(address, -ATTACKED_S) + ATTACKED_S

    def _forget(self, peers: Iterable[PeerView], now: float) -> None:
        """Whoever is no peer any more."""
        addresses = {peer.address for peer in peers}
        for known in (self._kept.rates, self._kept.attacked_at, self._kept.left):
            for address in known.keys() - addresses:
                del known[address]
        self._kept.attacked = sum(self._is_attacked(address, now) for address in addresses)

    @property
    def refused(self) -> str:
        """In whose name packets came at the last look that did not verify, in words; "" if in nobody's."""
        most = sorted(self._refused.items(), key=lambda one: -one[1].packets)
        named = [f"{name} ({one.packets} that did not verify, most under SPI {one.spi:08x})" for name, one in most]
        return f"; in the name of {', '.join(named[:4])}{' and others' if len(named) > 4 else ''}" if named else ""


def _packets(counters: Mapping[Pairs, CounterValue]) -> dict[Pairs, int]:
    return {match: value.packets for match, value in counters.items()}


def _grown(now: Mapping[Pairs, int], then: Mapping[Pairs, int]) -> dict[Pairs, int]:
    """Of the entries that were there before. One that was made anew in between has counted from 0."""
    return {
        match: packets - (then[match] if packets >= then[match] else 0)
        for match, packets in now.items()
        if match in then
    }
