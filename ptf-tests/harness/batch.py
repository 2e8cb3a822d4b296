# SPDX-License-Identifier: Apache-2.0
"""Many packets, in exchanges of as many as may be in flight."""

from __future__ import annotations

from collections import Counter

from nvo3ref.reasons import Reason
from nvo3ref.receiver import LEVELS, Receiver, RxSa
from nvo3ref.window import Window

from harness.base import IN_FLIGHT, NveTest
from harness.session import PORT_MAC
from harness.world import A, B, C, D, Peer


class Batch:
    """Collects packets with what is to become of each. Use as a context: the rest is sent at its end."""

    def __init__(self, test: NveTest, what: str = "") -> None:
        self._test = test
        self._what = what
        self._reset()

    def _reset(self) -> None:
        self._sends: list[tuple[int, bytes]] = []
        self._outputs: list[tuple[int, bytes]] = []
        self._drops: Counter[Reason] = Counter()

    def passes(self, port: int, frame: bytes, *outputs: tuple[int, bytes]) -> None:
        self._add(port, frame)
        self._outputs += outputs
        self._send_if_full()

    def dropped(self, port: int, frame: bytes, reason: Reason) -> None:
        self._add(port, frame)
        self._drops[reason] += 1
        self._send_if_full()

    def _add(self, port: int, frame: bytes) -> None:
        self._sends.append((port, frame))

    def _send_if_full(self) -> None:
        if len(self._sends) == IN_FLIGHT:
            self.send()

    def send(self) -> None:
        if self._sends:
            self._test.exchange(self._sends, self._outputs, self._drops, message=self._what)
        self._reset()

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.send()


class UnderlayBatch(Batch):
    """Packets from one peer, judged by the nvo3ref. The window of the nvo3ref moves with that of the switch."""

    def __init__(self, test: NveTest, peer: Peer, what: str = "") -> None:
        super().__init__(test, what)
        self.peer = peer
        self.window = Window()
        association = RxSa(peer.rx_key, peer.generation, self.window, peer.suite, LEVELS[peer.suite])
        self.receiver = Receiver(
            PORT_MAC[peer.port],
            {(peer.address, peer.local)},
            {(peer.address, peer.local, peer.rx_spi): association},
            {(peer.address, vni): 1 for vni in peer.networks},
        )
        self.verdicts: Counter[Reason | None] = Counter()

    def add(self, packet: bytes) -> Reason | None:
        reason, vni, inner = self.receiver.receive(packet)
        self.verdicts[reason] += 1
        if reason is None:
            receiver = next(host for host in (A, B, C, D) if host.mac == inner[:6] and host.vni == vni)
            self.passes(self.peer.port, packet, (receiver.port, receiver.on_wire(inner)))
        else:
            self.dropped(self.peer.port, packet, reason)
        return reason
