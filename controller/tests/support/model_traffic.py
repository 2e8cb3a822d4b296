# SPDX-License-Identifier: Apache-2.0
"""Packets of the world: what must arrive, what is held back, what comes again, and what is forged."""

from __future__ import annotations

from model_domain import VNS
from model_observer import STOPPED
from model_scene import Scene
from model_switch import Packet
from nvo3sec.domain.overlay.level_changes import LOWEST
from nvo3sec.domain.overlay.model import Level

RECORDED = 300


class Traffic(Scene):
    """A scene with traffic in it."""

    def _traffic(self) -> None:
        """Everybody sends, also those of whom nobody promises that it arrives."""
        self._find_floors()
        healthy = self.healthy()
        under_way, self.under_way = self.under_way, []
        for packet in under_way:  # made a while ago
            receiver = self.observer.name_of[packet.destination]
            refusal = self.carry(packet)
            if refusal and {packet.author, receiver} <= healthy and packet.vni in self.shared(packet.author, receiver):
                self.observer.fail(STOPPED, f"{packet} was lost on its way to {receiver}: {refusal}")
        for name in self.names:
            peers = healthy - {name} if name in healthy else ()
            self._broadcast(name, {peer: self.shared(name, peer) for peer in peers})
            if peers:
                for packet in self.sites[name].switch.broadcast(1, self.random.choice(VNS)[1]):
                    if isinstance(packet, Packet):
                        self.observer.sent(packet)
                        (self.held if self.holds_packets else self.under_way).append(packet)

    def _find_floors(self) -> None:
        """Where a receiver demands what the operator wants, nobody may send below that any more."""
        for receiver in self.names:
            switch = self.sites[receiver].switch
            for sender in self.names:
                for vn, vni in VNS:
                    wanted = self.wanted_level(sender, receiver, vn)
                    if (demanded := switch.demands(self.address(sender), self.address(receiver), vni)) is not None:
                        floor = self.observer.floors.get((sender, receiver, vni), LOWEST)
                        self.observer.floors[sender, receiver, vni] = min(wanted, max(floor, Level(demanded)))

    def probe(self, of: str | None = None) -> None:
        """Every healthy NVE can reach every other in every VN that both serve. of: only those that concern this one."""
        healthy = self.healthy()
        for name in sorted(healthy):
            peers = {peer for peer in healthy - {name} if of is None or of in (name, peer)}
            if peers:
                self._broadcast(name, {peer: self.shared(name, peer) for peer in peers})

    def _broadcast(self, name: str, must: dict[str, set[int]]) -> None:
        """A broadcast in every VN; it must arrive at `must` (peers, with the VNIs of each)."""
        switch = self.sites[name].switch
        for _, vni in VNS:
            arrived, why = set(), []
            for packet in switch.broadcast(1, vni):
                if isinstance(packet, str):
                    why.append(packet)
                    continue
                self.observer.sent(packet)
                receiver = self.observer.name_of[packet.destination]
                if self.holds_packets and vni not in must.get(receiver, ()):
                    self.held.append(packet)
                    continue
                refusal = self.carry(packet)
                if refusal:
                    why.append(f"{receiver}: {refusal}")
                else:
                    arrived.add(receiver)
            for peer, vnis in must.items():
                if vni in vnis:
                    self.probes += 1
                    if peer not in arrived:
                        self.observer.fail(STOPPED, f"{name} to {peer} in VNI {vni}: {why} at {self.loop.moment:.1f}")

    def carry(self, packet: Packet) -> str:
        """Bring a packet to its receiver; why it is not delivered, or nothing."""
        receiver = self.sites[self.observer.name_of[packet.destination]].switch
        refusal = receiver.receive(packet)
        if refusal:
            return refusal
        undelivered = receiver.deliver(packet)
        self.observer.accepted(receiver, packet, delivered=not undelivered)
        if not packet.forged:
            self.recorded.append(packet)
            if len(self.recorded) > RECORDED:  # some from long ago, and the newest
                del self.recorded[self.random.randrange(RECORDED)]
        return undelivered

    def replay(self) -> None:
        """Everything that was recorded comes again."""
        for packet in list(self.recorded):
            self.carry(packet)

    def release(self, *, backwards: bool, twice: bool) -> None:
        """What was held back arrives."""
        packets, self.held = self.held, []
        if backwards:
            packets.reverse()
        for packet in packets:
            self.carry(packet)
            if twice:
                self.carry(packet)

    def forge(self, by: str) -> None:
        """Somebody who has every key that ever was in the switch of `by` sends under each of them to everybody."""
        addresses = {name: self.address(name) for name in self.names}
        for key in sorted(self.observer.seen_by[by]):
            record = self.observer.keys[key]
            for receiver in self.names:
                for sender in {record.sender, by}:
                    self.carry(
                        Packet(
                            source=addresses[sender],
                            destination=addresses[receiver],
                            spi=record.spi,
                            sequence=self.random.randrange(1 << 40, 1 << 41),
                            suite=record.suite,
                            key=key,
                            vni=self.random.choice(VNS)[1],
                            author=by,
                            life=0,
                            made_at=self.loop.moment,
                            forged=True,
                        )
                    )
