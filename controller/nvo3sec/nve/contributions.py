# SPDX-License-Identifier: Apache-2.0
"""The agent's part of peer contributions: what goes to the NVA and what comes from it, for one incarnation of a switch.

A receiving key is installed as soon as it can be mixed, a sending one when its receiver has proved that it holds it;
until then the switch goes on with the key before. A key of the NVA's is never installed as it came. What cannot be
mixed any more, because the agent was restarted, is kept as the switch holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from nvo3sec.domain.keys.contribution import (
    ContributionRefused,
    End,
    Fault,
    KeyName,
    Peer,
    PeerContribution,
    PeerKeys,
    PeerNews,
    PeerProof,
    PeerSa,
    PeerUpdate,
)
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import WHOLE_FRAME, KeyState, NveView, ReceiveSa, Report, SendSa
from nvo3sec.domain.overlay.addresses import IpAddress, UnderlayAddress, mapped_ipv6
from nvo3sec.domain.overlay.model import Suite, TunnelKeys
from nvo3sec.errors import OperatorError, cause_of
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.nve.places import Places
from nvo3sec.nve.relayed import LOOK_EVERY_S, PASSING, Relayed
from nvo3sec.system.repeats import Repeats
from nvo3sec.system.uptime import uptime_s

PeerKeysMaker = Callable[[str, tuple[IpAddress, ...], bytes], PeerKeys]
"""Makes the keys of an NVE: name, outer addresses, incarnation. Needs credentials, which the agent has not."""

Place = tuple[str, Suite, int]
"""Peer, suite and SPI of a key in the switch."""

CHECKED_AT_ONCE = 8
"""Contributions that are looked at in one go: some milliseconds."""
PAUSE_S = 0.005
"""For everything else, between one go and the next."""
TELL_S = 0.25
"""How often keys are mixed while there is more to look at: each time the switch is read."""


class PeerContributions:
    """Begins and ends with what the views say; what was mixed stays so as long as it lives.

    make: None where the agent has no credentials to sign with; then `nva+peer` leaves every tunnel closed. required:
    the NVA has no say, tunnels have mixed keys or none. memory: whether keys were mixed before.
    """

    def __init__(
        self,
        nve: str,
        incarnation: bytes,
        make: PeerKeysMaker | None,
        *,
        required: bool = False,
        memory: AgentMemory | None = None,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._memory = memory or AgentMemory(nve)
        self._nve = nve
        self._incarnation = incarnation
        self._make = make
        self._required = self._on = required
        self._keys: PeerKeys | None = None
        self._addresses: tuple[UnderlayAddress, ...] = ()
        self._peers: dict[str, tuple[UnderlayAddress, ...]] = {}  # all addresses of each
        self._places = Places()
        self._epoch = 0
        self._relayed = Relayed()
        self._to_look_at = asyncio.Event()
        self._sent: set[KeyName] = set()
        self._published = False
        self._receiving: tuple[KeyName, ...] = ()
        self._sending: tuple[KeyName, ...] = ()
        self._reported = Repeats()
        self._states: dict[str, str] = {}
        self._clock = clock
        self._reports: list[Report] = []

    @property
    def is_on(self) -> bool:
        """Whether tunnels have mixed keys here."""
        return self._on

    @property
    def standing(self) -> tuple[str, ...]:
        """What of what was told is still so, event first."""
        return tuple(f"{event}: {detail}" for event, detail in self._states.items() if detail)

    def begin_session(self) -> None:
        """What was said in an earlier session has to be said again."""
        self._sent.clear()
        self._published = False
        self._places.begin_session()

    # --- from the NVA -----------------------------------------------------------------------------------------------

    def follow(self, view: NveView, now: float) -> None:
        """A view came; every one, in their order. now: seconds, monotonic, here and below."""
        gone = self._places.follow(view)
        self._peers = {peer.name: peer.addresses for peer in view.peers}
        self._to_look_at.set()
        self._note_downgrade(view)
        if self._keys is not None:
            self._keys.end_peers(gone)
            self._keys.forget_peers(self._places.everywhere)
        self._on = self._required or view.tunnel_keys is TunnelKeys.NVA_AND_PEER
        is_impossible = self._on and self._make is None
        self._note_state(
            "peer-keys-impossible",
            "this agent has no credentials to sign contributions with" if is_impossible else "",
        )
        self._note_state(
            "tunnel-keys-refused",
            "the NVA would have keys that it alone can derive: none is taken, what was mixed goes on to its end"
            if self._on and not is_impossible and view.tunnel_keys is not TunnelKeys.NVA_AND_PEER
            else "",
        )
        if not self._on or self._make is None:
            return
        addresses = tuple(sorted(view.addresses, key=mapped_ipv6))
        if self._keys is None or self._addresses != addresses:
            if self._keys is not None:
                self._keys.erase()
            self._keys, self._addresses = self._make(self._nve, addresses, self._incarnation), addresses
            self._published = False
            self._begin(now)

    def _note_downgrade(self, view: NveView) -> None:
        is_mixing, forgotten = view.tunnel_keys is TunnelKeys.NVA_AND_PEER, ""
        if is_mixing:
            try:
                self._memory.mixes()
            except OperatorError as error:  # a disk that is full is no reason to let the tunnels close
                forgotten = str(error)
        self._note_state("peer-keys-not-remembered", forgotten)
        self._note_state(
            "tunnel-keys-downgraded",
            "both NVEs mixed the keys before, and the NVA now makes them alone; what was mixed goes on to its end"
            if not is_mixing and self._memory.has_mixed and not self._required
            else "",
        )

    def take(self, update: PeerUpdate, now: float) -> None:
        """Relayed contributions and proofs came. They are looked at in `check`, and in `sort`."""
        self._epoch = self._relayed.epoch = update.epoch
        for one in update.contributions:
            self._relayed.put(one)
        for proof in update.proofs:
            self._relayed.put_proof(proof.name, proof.proof)
        self._to_look_at.set()
        self._begin(now)

    def _begin(self, now: float) -> None:
        if self._keys is None or not self._epoch:
            return
        if self._keys.begin(self._epoch, now):
            self._published = False

    # --- keys -------------------------------------------------------------------------------------------------------

    def sort(self, keys: KeyState, view: NveView, now: float) -> tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]:
        """The keys to receive and to send with, as they may be installed. `key` None: as the switch has it, or not."""
        if self._keys is None:
            return ((), ()) if self._on else (keys.receive, keys.send)
        self._begin(now)  # a statement or a certificate may have grown old
        receive = [(self._sa(sa, End.RECEIVER), sa) for sa in keys.receive]
        send = [(self._sa(sa, End.SENDER), sa) for sa in keys.send]
        named = [*(sa for sa, _ in receive), *(sa for sa, _ in send)]
        here = self._places.addresses(keys.version)
        mixed: dict[KeyName, Secret | None] = {}
        refused: set[KeyName] = set()
        every: tuple[ReceiveSa | SendSa, ...] = (*keys.receive, *keys.send)
        for sa, told_sa in zip(named, every, strict=True):
            if sa.name.peer not in here:
                continue
            try:
                mixed[sa.name] = self._mix(self._keys, sa, told_sa)
            except ContributionRefused as error:
                self._refuse(sa.name.peer, error)
                refused.add(sa.name)
        mixed = {name: key for name, key in mixed.items() if name not in refused}
        receive = [(sa, told) for sa, told in receive if sa.name in mixed]
        send = [(sa, told) for sa, told in send if sa.name in mixed]
        self._take_proofs(self._keys, mixed)
        self._receiving = tuple(sa.name for sa, _ in receive)
        self._sending = tuple(sa.name for sa, _ in send)
        plain = {sa.name for sa, _ in (*receive, *send) if self._is_plain(self._keys, sa)}
        if self._keys.keep(named, now):
            self._published = False
        return (
            tuple(key if sa.name in plain else replace(key, key=mixed[sa.name]) for sa, key in receive),
            tuple(
                key
                if sa.name in plain
                else replace(key, key=mixed[sa.name] if self._keys.is_confirmed(sa.name) else None)
                for sa, key in send
            ),
        )

    def _is_plain(self, keys: PeerKeys, sa: PeerSa) -> bool:
        """Whether the NVA makes this key alone, and may."""
        return not self._on and not sa.ours and not keys.has_key(sa.name)

    def _sa(self, sa: ReceiveSa | SendSa, end: End) -> PeerSa:
        ours, theirs = (b"", b"") if sa.pair is None else (sa.pair.ours, sa.pair.theirs)
        return PeerSa(KeyName(sa.peer, sa.suite, sa.spi, end), sa.generation, ours, theirs)

    def _mix(self, keys: PeerKeys, sa: PeerSa, told: ReceiveSa | SendSa) -> Secret | None:
        """Raises ContributionRefused (KEY_CHANGED) for a key that is not to be held any more."""
        try:
            key = keys.key(sa, told.key)
        except ContributionRefused as error:
            if error.fault is Fault.KEY_CHANGED:
                raise
            self._refuse(sa.name.peer, error)
            return None
        except Exception as error:  # noqa: BLE001  # one key
            self._note("peer-contribution-refused", f"{sa.name.peer}: {cause_of(error)}")
            return None
        if key is not None and isinstance(told, ReceiveSa) and told.min_coverage != WHOLE_FRAME:
            keys.refuse(sa.name)
            detail = (
                f"{sa.name.peer}: SPI {sa.name.spi:08x} is to cover less than a frame; a mixed key covers all of it"
            )
            raise ContributionRefused(Fault.KEY_CHANGED, detail)
        return key

    def _take_proofs(self, keys: PeerKeys, known: Collection[KeyName]) -> None:
        for name, proof in self._relayed.proofs_of(known):
            try:
                if not keys.take_proof(name, proof):
                    continue
            except ContributionRefused as error:
                self._refuse(name.peer, error)
            except Exception as error:  # noqa: BLE001  # one proof
                self._note("peer-proof-refused", f"{name.peer}: {cause_of(error)}")
            self._relayed.drop_proof(name)

    # --- contributions ----------------------------------------------------------------------------------------------

    async def look(self, taken: Callable[[], None]) -> None:
        """Check what is relayed, for ever, a few at a time: everything else goes on between. taken: keys can be mixed
        that could not be."""
        told_at, is_news = 0.0, False
        while True:
            self._to_look_at.clear()
            now = uptime_s()
            looked, took = self.check(now)
            is_news |= took
            if is_news and (not looked or now - told_at >= TELL_S):
                told_at, is_news = now, False
                taken()
            if looked:
                await asyncio.sleep(PAUSE_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):  # budgets grow, and what may pass has perhaps passed
                    await self._to_look_at.wait()

    def check(self, now: float) -> tuple[int, bool]:
        """Look at a few of the contributions that were relayed; returns at how many, and whether any was taken."""
        looked, took = 0, False
        peers = self._peers
        while self._keys is not None and looked < CHECKED_AT_ONCE:
            one = self._relayed.next(peers, now)
            if one is None:
                break
            looked += 1
            took |= self._check(self._keys, one, peers[one.peer], now)
        return looked, took

    def _check(self, keys: PeerKeys, one: PeerContribution, addresses: tuple[UnderlayAddress, ...], now: float) -> bool:
        try:
            keys.take(Peer(one.peer, addresses, one.incarnation), one.epoch, one.contribution)
        except ContributionRefused as error:
            self._refuse(one.peer, error)
            if error.fault in PASSING:
                self._relayed.later(one, now)
        except Exception as error:  # noqa: BLE001  # what one peer contributes is nothing to the others
            self._note("peer-contribution-refused", f"{one.peer}: {cause_of(error)}")
            self._relayed.later(one, now)
        else:
            return True
        return False

    # --- to the NVA -------------------------------------------------------------------------------------------------

    def news(self, installed: Collection[Place]) -> PeerNews | None:
        """What the NVA does not know yet. installed: the keys to receive with that were read back from the switch.

        A receiver proves a key only when its switch has it: to the sender that means "now".
        """
        if self._keys is None:
            return None
        contributions = None if self._published else self._keys.contributions()
        ready = [name for name in self._receiving if (name.peer, name.suite, name.spi) in installed]
        proofs = []
        for name in (*ready, *self._sending):
            proof = None if name in self._sent else self._keys.proof(name)
            if proof is not None:
                proofs.append(PeerProof(name, proof))
        if not contributions and not proofs:
            return None
        self._published = True
        self._sent.intersection_update({*self._receiving, *self._sending})
        self._sent.update(one.name for one in proofs)
        return PeerNews(self._incarnation, contributions, tuple(proofs))

    def reports(self) -> tuple[Report, ...]:
        """What the operator should know: each thing once, and again when it comes back."""
        reports, self._reports = tuple(self._reports), []
        return reports

    def _refuse(self, peer: str, error: ContributionRefused) -> None:
        events = {Fault.CONFIRMATION: "peer-proof-refused", Fault.KEY_CHANGED: "key-refused"}
        self._note(events.get(error.fault, "peer-contribution-refused"), str(error.of(peer)))

    def refused(self, keys: Iterable[str]) -> None:
        """Keys that are named otherwise than the switch has them."""
        for detail in keys:
            self._note("key-refused", detail)

    def _note_state(self, event: str, detail: str) -> None:
        """How something is since the newest view, "" if it is as it should be: told when that changes."""
        if detail and self._states.get(event) != detail:
            self._reports.append(Report(event, detail))
        self._states[event] = detail

    def _note(self, event: str, detail: str) -> None:
        """Something went wrong, and perhaps not for the first time."""
        again = self._reported.again(f"{event} {detail}", self._clock())
        if again is not None:
            self._reports.append(Report(event, detail + again))
