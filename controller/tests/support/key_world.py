# SPDX-License-Identifier: Apache-2.0
"""Switches that outlive their NVA, and a ledger of every key that ever left it: what must never repeat is asserted."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from nvo3sec.domain.keys.derivation import KeyContext, Purpose
from nvo3sec.domain.keys.sa import Held, ReceiverDown, ReceiverRead, ReceiverUp, SenderDown, SenderRead, SenderUp
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import ReceiveSa, SendSa
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain, Level, Lifetimes, Nve, Rate, Route, Suite, Vap, Vn
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.store import DropEpoch, DropGeneration, PutEpoch, SetGeneration
from nvo3sec.nva.store.records import Store, StoreChange, Stored

SUITE = Suite.CHASKEY12
RATE = Rate(1, 1)
LIFE = Lifetimes(
    lease_s=30,
    lease_renew_s=10,
    key_soft_s=3600,
    key_hard_s=3960,
    key_jitter_s=300,
    grace_s=5,
    confirm_s=10,
    key_soft_packets=1000,
    key_soft_bytes=1_000_000,
    key_hard_packets=1100,
    key_hard_bytes=1_100_000,
    rollout_s=15,
    rotations_at_once=64,
)


def make_domain(names: Iterable[str], vns: Sequence[str] = ("blue",), life: Lifetimes = LIFE) -> Domain:
    """NVEs that all serve all of the VNs; the address of one follows from its name and stays with it."""
    names = tuple(names)
    return Domain(
        "test",
        life,
        tuple(Vn(vn, number, Level.INTEGRITY, 1400, RATE, 1) for number, vn in enumerate(vns, 1)),
        tuple(
            Nve(
                name,
                int(name[3:]) + 1,
                f"unix:{name}",
                IPv4Address(0x0A000001 + int(name[3:])),
                1500,
                ((256, 1),),
                tuple(Route(peer, 256, 1, 1, RATE) for peer in names if peer != name),
                tuple(Vap(1, vlan, vn, RATE) for vlan, vn in enumerate(vns)),
            )
            for name in names
        ),
        (),
    )


def nves(count: int) -> list[str]:
    return [f"nve{number}" for number in range(count)]


class WatchedStore:
    """A store that knows what is durable. fail: raised by the next commit instead."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.marks = dict(store.load().generations)
        self.epochs = {number: secret for number, secret, _ in store.load().epochs}
        self.commits: list[tuple[StoreChange, ...]] = []
        self.fail: Exception | None = None

    durable = False
    version = 0

    def load(self) -> Stored:
        return self.store.load()

    def commit(self, changes: Sequence[StoreChange]) -> int:
        if self.fail is not None:
            raise self.fail
        version = self.store.commit(changes)
        self.commits.append(tuple(changes))
        for change in changes:
            match change:
                case SetGeneration():
                    self.marks[change.receiver] = change.generation
                case DropGeneration():
                    del self.marks[change.receiver]
                case PutEpoch():
                    self.epochs[change.number] = change.secret
                case DropEpoch():
                    self.epochs.pop(change.number, None)
        return version

    def close(self) -> None:
        self.store.close()


@dataclass
class Switch:
    """What a switch holds: for each direction the SPIs with generation, key, and end; and the incarnation."""

    incarnation: bytes
    receive: dict[Tunnel, dict[int, tuple[int, Secret, float]]] = field(default_factory=dict)
    send: dict[Tunnel, tuple[int, Secret, float]] = field(default_factory=dict)
    rings: dict[tuple[Tunnel, int], int] = field(default_factory=dict)
    """The generation that each replay ring has seen, by direction and phase."""


@dataclass
class Ledger:
    """Everything that was ever handed out, by whatever process."""

    by_generation: dict[tuple[str, int], tuple[KeyContext, Secret]] = field(default_factory=dict)
    by_incarnation: dict[tuple[bytes, int], tuple[KeyContext, Secret]] = field(default_factory=dict)
    by_key: dict[Secret, KeyContext] = field(default_factory=dict)
    of_epoch: dict[int, set[Secret]] = field(default_factory=dict)

    def note(self, context: KeyContext, key: Secret) -> None:
        name = (context.receiver, context.generation)
        assert self.by_generation.setdefault(name, (context, key)) == (context, key), "a generation was given twice"
        name = (context.receiver_incarnation, context.generation)
        assert self.by_incarnation.setdefault(name, (context, key)) == (context, key), "twice within one incarnation"
        assert self.by_key.setdefault(key, context) == context, "a key was given twice"

    def begin_anew(self, receiver: str) -> None:
        """An operator has reset the mark of a receiver."""
        self.by_generation = {name: one for name, one in self.by_generation.items() if name[0] != receiver}


def _by_tunnel(
    name: str, receive: Iterable[ReceiveSa], send: Iterable[SendSa]
) -> dict[Tunnel, list[tuple[int, Secret | None]]]:
    found: dict[Tunnel, list[tuple[int, Secret | None]]] = {}
    for sa in receive:
        found.setdefault(Tunnel(sa.peer, name, sa.suite), []).append((sa.spi, sa.key))
    for out in send:
        found.setdefault(Tunnel(name, out.peer, out.suite), []).append((out.spi, out.key))
    return found


class World:
    """Switches, a ledger, and time; `start` gives them an NVA."""

    def __init__(self, names: Iterable[str], seed: int = 1, **life: float) -> None:
        self.random = random.Random(seed)
        self.domain = make_domain(names, life=replace(LIFE, **life))
        self.membership = Membership(self.domain)
        self.now = 1000.0
        self.wall = 1_700_000_100.0
        self.switches = {nve.name: Switch(self.random.randbytes(16)) for nve in self.domain.nves}
        self.ledger = Ledger()
        self.up: set[str] = set()
        self.told: dict[str, dict[Tunnel, list[tuple[int, Secret | None]]]] = {}
        self.changed: dict[str, set[Tunnel]] = {}
        """Of what is new to each NVE, the directions."""
        self.store: WatchedStore
        self.keys: KeyService

    def start(self, store: Store) -> None:
        """A new process: nothing but the store, the switches, and the domain file."""
        self.store = WatchedStore(store)
        self.up = set()
        self.told = {}
        self.changed = {}
        self.keys = KeyService(
            self.domain,
            self.membership,
            self.store,
            self.store.load(),
            random_bytes=self.random.randbytes,
            wall_seconds=lambda: self.wall,
            now=self.now,
            tell=lambda nve, tunnel: self.changed.setdefault(nve, set()).add(tunnel),
        )

    # --- agents -----------------------------------------------------------------------------------------------------

    def register(self, *names: str) -> set[str]:
        """The agents introduce their switches; returns `names`, which have everything to fetch."""
        for name in names:
            seen = max(
                [
                    *self.switches[name].rings.values(),
                    *(one[0] for by_spi in self.switches[name].receive.values() for one in by_spi.values()),
                ],
                default=0,
            )
            if self.keys.judge(name, self.switches[name].incarnation, seen):
                self.boot(name)
                assert not self.keys.judge(name, self.switches[name].incarnation, 0)
            switch = self.switches[name]
            self.up.add(name)
            self.told.pop(name, None)
            for tunnel in self.keys.tunnels_of(name):
                if tunnel.receiver == name:
                    held = tuple(
                        Held(spi, generation, end - self.now)
                        for spi, (generation, _, end) in switch.receive.get(tunnel, {}).items()
                        if end > self.now
                    )
                    self.keys.feed(tunnel, ReceiverUp(switch.incarnation, held), self.now)
                else:
                    sends = switch.send.get(tunnel)
                    one = None if sends is None or sends[2] <= self.now else Held(sends[0], 0, sends[2] - self.now)
                    self.keys.feed(tunnel, SenderUp(switch.incarnation, one), self.now)
        return set(names)

    def leave(self, name: str) -> None:
        self.up.discard(name)
        for tunnel in self.keys.tunnels_of(name):
            self.keys.feed(tunnel, ReceiverDown() if tunnel.receiver == name else SenderDown(), self.now)

    def boot(self, name: str) -> None:
        """The switch has lost everything."""
        self.switches[name] = Switch(self.random.randbytes(16))

    def reset_mark(self, name: str) -> None:
        """An operator has the generations of a receiver begin anew, and its agent obeys."""
        self.leave(name)
        self.keys.reset_mark(name, self.switches[name].incarnation, self.now)
        self.ledger.begin_anew(name)
        self.settle(self.register(name))

    def fetch(self, name: str, says: bool = True) -> None:
        """An agent gets its keys, has its switch hold them and no others, and says so."""
        receive, send = self._told(name)
        switch, old = self.switches[name], replace(self.switches[name])
        switch.receive, switch.send = {}, {}
        for sa in receive:
            tunnel = Tunnel(sa.peer, name, sa.suite)
            if sa.key is None:
                kept = old.receive[tunnel][sa.spi]
            else:
                self._note(tunnel, sa.spi, sa.generation, sa.key)
                kept = (sa.generation, sa.key, self.now + sa.remaining_s)
            switch.receive.setdefault(tunnel, {})[sa.spi] = kept
            ring = (tunnel, sa.spi >> 31)
            assert switch.rings.get(ring, 0) <= sa.generation, "the ring has seen a newer key"
            switch.rings[ring] = sa.generation
        for out in send:
            tunnel = Tunnel(name, out.peer, out.suite)
            if out.key is None:
                assert old.send[tunnel][0] == out.spi
                switch.send[tunnel] = old.send[tunnel]
            else:
                direction = self.keys.directions[tunnel]
                self._note(tunnel, out.spi, direction.current.generation, out.key)
                switch.send[tunnel] = (out.spi, out.key, self.now + out.remaining_s)
        if says:
            self.read_back(name)

    def _told(self, name: str) -> tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]:
        """What an agent is told: everything at first, and then changes, which must come to the same."""
        if name not in self.told:
            whole = self.keys.for_nve(name, self.now)
        else:
            told = self.told[name]
            changes = self.keys.changes_for(name, self.changed.get(name, ()), self.now)
            by_tunnel = _by_tunnel(name, changes.receive, changes.send)
            assert set(by_tunnel) <= set(changes.tunnels)
            for tunnel in changes.tunnels:
                told[tunnel] = by_tunnel.get(tunnel, [])
            whole = self.keys.for_nve(name, self.now)
            assert {tunnel: sas for tunnel, sas in told.items() if sas} == _by_tunnel(name, *whole)
        self.told[name] = _by_tunnel(name, *whole)
        self.changed.pop(name, None)
        return whole

    def _note(self, tunnel: Tunnel, spi: int, generation: int, key: Secret) -> None:
        assert generation <= self.store.marks[tunnel.receiver], "handed out before its mark was stored"
        direction = self.keys.directions[tunnel]
        sa = next(sa for sa in direction.sas if sa.spi == spi)
        assert sa.epoch in self.store.epochs, "handed out before its epoch was stored"
        nve = self.domain.nve_by_name
        context = KeyContext(
            Purpose.TUNNEL,
            tunnel.suite,
            tunnel.sender,
            tunnel.receiver,
            nve[tunnel.sender].address,
            nve[tunnel.receiver].address,
            direction.sender.incarnation,
            direction.receiver.incarnation,
            spi,
            generation,
        )
        self.ledger.note(context, key)
        self.ledger.of_epoch.setdefault(sa.epoch, set()).add(key)

    def read_back(self, name: str) -> None:
        switch = self.switches[name]
        for tunnel in self.keys.tunnels_of(name):
            if tunnel.receiver == name:
                self.keys.feed(tunnel, ReceiverRead(frozenset(switch.receive.get(tunnel, {}))), self.now)
            else:
                spi = switch.send[tunnel][0] if tunnel in switch.send else None
                self.keys.feed(tunnel, SenderRead(spi), self.now)

    def settle(self, names: Iterable[str] = ()) -> None:
        """Agents fetch and confirm until nothing is new. names: those that do in any case."""
        waiting = self.up & {*names, *self.changed}
        while waiting:
            for name in sorted(waiting):
                self.fetch(name)
            waiting = self.up & self.changed.keys()

    def after(self, seconds: float) -> None:
        """Time goes by, in steps that are shorter than any limit."""
        end = self.now + seconds
        while self.now < end:
            step = min(2.0, end - self.now)
            self.now += step
            self.wall += step
            self.keys.tick(self.now)
            self.settle()

    # --- what holds -------------------------------------------------------------------------------------------------

    def assert_traffic(self, names: Iterable[str] | None = None) -> None:
        """Every direction between `names` can send, and what is sent can be received."""
        chosen = set(names or self.up)
        for tunnel in self.keys.directions:
            if {tunnel.sender, tunnel.receiver} <= chosen:
                spi, key, end = self.switches[tunnel.sender].send[tunnel]
                assert end > self.now
                assert self.switches[tunnel.receiver].receive[tunnel][spi][1] == key

    def sending(self) -> dict[Tunnel, int]:
        """The SPIs that switches send with."""
        return {tunnel: sends[0] for switch in self.switches.values() for tunnel, sends in switch.send.items()}
