# SPDX-License-Identifier: Apache-2.0
"""What attackers have to work with: the wires, what they can catch there, and one stolen NVE."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from nvo3ref import protection
from nvo3ref import tenant_frames as frames
from nvo3ref.protection import Protected

from nvo3lab.drill import messages
from nvo3lab.drill.drops import DropCounters
from nvo3lab.errors import LabError
from nvo3lab.p4rt import SwitchReader
from nvo3lab.processes.control_plane import OPERATOR, ControlPlane
from nvo3lab.rpc import Client
from nvo3lab.topology import CONFIDENTIALITY, Host, Leaf, Topology
from nvo3lab.view import View
from nvo3lab.wires.observer import GIVEN

_PACE = {"embedded": 2000.0, "bmv2": 200.0}
"""Frames a second that an attacker sends, where the rate is not the point: below what each target can work off, so that
what a switch did not count is not excused by what it never saw."""
_PACE_IN_ROUND_TRIP = 4.0
"""On a machine that is busy with something else that is less: this many frames in the time of one undisturbed echo."""
_SLOWEST_PACE = 40.0
_FLOOD = {"embedded": 8000.0, "bmv2": 1000.0}
"""Frames a second of a flood."""
STRANGERS = {"IPv4": "192.0.2.99", "IPv6": "2001:db8::99"}
"""An address of no NVE's, in each family."""
_AHEAD = 4000
"""How far ahead of the sender an insider numbers its own packets: within the replay window, beyond what is sent
meanwhile."""
_AHEAD_LIMIT = 8000
"""Further ahead, and the packets of the real switch fall out of the window."""
_CATCH_TIMEOUT = 5.0
"""Seconds without another packet of those that are to be caught."""
_BAIT_PADDING = 57
"""Bytes: nothing else in the lab has the length that a bait has by them, and ciphertext shows nothing else. An agent is
still given the whole of it, and sends it on where its destination was not known."""
_READY = 120.0
"""Seconds until a lab of which a process was killed is ready again."""
_POLL = 0.1


@dataclass(frozen=True)
class StolenKey:
    """What the owner of a switch finds in it. The key does not show in a repr."""

    sender: Leaf
    receiver: Leaf
    spi: int
    suite: int
    key: bytes = field(repr=False)


class World:
    """The attackers' view of a running lab, and the tools they share."""

    def __init__(self, view: View, counters: DropCounters | None = None) -> None:
        self.view = view
        self.counters = counters
        self.topology: Topology = view.topology
        self._speed = 1.0
        self._owed: dict[str, Callable[[], Awaitable[object]]] = {}
        """What an attack has made of the lab and has not put back yet: in words, and how it is put back."""
        self.marker = os.urandom(16)
        """In every packet that must not arrive."""
        self.bait_marker = os.urandom(16)
        """In legitimate packets that attackers are to catch."""

    def adapt(self, round_trip: float) -> None:
        """Send no faster than this machine can work off, by the round trip of echoes without an attack (seconds)."""
        slowest = _SLOWEST_PACE / _PACE[self.view.target]
        self._speed = min(1.0, max(slowest, _PACE_IN_ROUND_TRIP / round_trip / _PACE[self.view.target]))

    @property
    def pace(self) -> float:
        """Frames a second of an attack that is not a flood."""
        return _PACE[self.view.target] * self._speed

    @property
    def flood_rate(self) -> float:
        """Frames a second of a flood."""
        return _FLOOD[self.view.target] * self._speed

    async def announce(self) -> None:
        """Tell the hosts what to look for."""
        for host in self.view.hosts.values():
            await host.call("expect_marker", marker=self.marker.hex(), kind="marked")
            await host.call("expect_marker", marker=self.bait_marker.hex(), kind="bait")

    def at(self, host: str) -> Leaf:
        """The NVE of a host."""
        return self.topology.leaf_of(host)

    def leaf(self, name: str) -> Leaf:
        return self.topology.leaf(name)

    def host(self, name: str) -> Host:
        return self.topology.host(name)

    def vni(self, tenant: str) -> int:
        return self.topology.tenant(tenant).vni

    # The control plane, and the processes of the lab.

    @property
    def plane(self) -> ControlPlane:
        if self.view.control is None:
            raise LabError("this lab has no control plane")
        return self.view.control

    @property
    def intruder(self) -> Client:
        """The attacker on the control network."""
        if self.view.intruder is None:
            raise LabError("this lab has no control plane")
        return self.view.intruder

    @property
    def _lab(self) -> Client:
        if self.view.lab is None:
            raise LabError("nobody of this lab kills and starts processes")
        return self.view.lab

    async def kill(self, process: str) -> None:
        """Kill a process of the lab, as an out-of-memory killer would."""
        if process in self.view.switches and self.counters is not None:
            await self.counters.restarts(process)
        self.owes(f"{process} is not running", lambda: self.start(process))
        await self._lab.call("kill", name=process)

    async def start(self, process: str) -> None:
        """Start a process again that was killed."""
        await self._lab.call("start", name=process)
        self.settled(f"{process} is not running")

    async def pause(self, process: str) -> None:
        """Have a process of the lab hang, until `resume`."""
        self.owes(f"{process} is stopped (SIGSTOP)", lambda: self.resume(process))
        await self._lab.call("pause", name=process)

    async def resume(self, process: str) -> None:
        """Let a process of the lab go on that was paused."""
        await self._lab.call("resume", name=process)
        self.settled(f"{process} is stopped (SIGSTOP)")

    def owes(self, what: str, undo: Callable[[], Awaitable[object]]) -> None:
        """The lab is about to be other than it was. what: in words, how it is then; undo: puts it back."""
        self._owed[what] = undo

    def settled(self, what: str) -> None:
        """The lab is as it was in this."""
        self._owed.pop(what, None)

    async def put_back(self) -> list[str]:
        """Put back what an attack did not, the last first: it was interrupted, or failed. Returns what is left so."""
        left = []
        for what, undo in reversed(list(self._owed.items())):
            try:
                await undo()
            except LabError as error:
                if not str(error).endswith("is running"):  # a start that was under way when the attack ended
                    left.append(f"{what}: {error}")
        self._owed.clear()
        return left

    async def operate(self, method: str, request: bytes = b"", timeout: float = 30.0) -> Any:
        """What an operator's question to the NVA brings. Raises LabError.

        Not by a command, which takes a second to start on a good day: a drill asks often.
        """
        device = str(self.plane.device_file("operator", OPERATOR))
        return await self.intruder.call(
            "operate",
            timeout + 5,
            device=device,
            rpc=f"/nvo3sec.v1.Operator/{method}",
            request=base64.b64encode(request).decode(),
            limit=timeout,
        )

    async def status(self, wait: float = 0.0) -> dict[str, Any]:
        """What the NVA tells an operator; with `wait` (seconds), once everything is ready. Raises LabError."""
        status: dict[str, Any] = await self.operate("Status", messages.field(1, wait) if wait else b"")
        return status

    async def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The first status that is ready and of which a condition is true. Raises LabError when the time is up."""
        deadline = asyncio.get_running_loop().time() + _READY
        while True:
            try:
                status = await self.status(wait=10.0)
                if condition(status):
                    return status
                missing = "the lab is ready"
            except LabError as error:
                missing = str(error)
            await asyncio.sleep(_POLL)
            if asyncio.get_running_loop().time() > deadline:
                raise LabError(f"{what}: not within {_READY:g} s; {missing}")

    async def reach(self, source: str, destination: str) -> None:
        """Have two hosts know each other, and the switches between them both. Raises LabError where they cannot."""
        answer = await self.view.hosts[source].call("ping", destination=self.host(destination).ip, count=3)
        if not answer["received"]:
            raise LabError(f"{source} does not reach {destination}")

    # Sending.

    async def into_underlay(
        self, leaf: str, packets: Iterable[bytes | Protected], rate: float | None = None, repeat: int = 1
    ) -> int:
        """Put frames, or packets as they are, onto the link towards an NVE. Returns how many."""
        built = [packet.build() if isinstance(packet, Protected) else packet for packet in packets]
        data = [base64.b64encode(frame).decode() for frame in built]
        rate = rate or self.pace
        sent = await self.view.underlay.call("inject", name=leaf, frames=data, rate=rate, repeat=repeat, timeout=120)
        return int(sent)

    async def from_host(self, host: str, packets: Iterable[bytes], rate: float | None = None, repeat: int = 1) -> int:
        """Send frames from a tenant system, as they are. Returns how many."""
        data = [base64.b64encode(packet).decode() for packet in packets]
        rate = rate or self.pace
        return int(await self.view.hosts[host].call("inject", frames=data, rate=rate, repeat=repeat, timeout=120))

    async def uninvited_from(self, leaf: str) -> int:
        """Packets that an NVE has sent into the underlay so far and that are neither the lab's own echoes nor ARP."""
        return int(await self.view.underlay.call("uninvited", name=leaf))

    # What an attacker sends.

    def marked_frame(self, source: str, destination: Host, number: int = 0) -> bytes:
        """An inner frame to a host, with the marker and a number."""
        return self._frame(self.host(source), destination, self.marker + number.to_bytes(4) + bytes(32))

    def bait_frame(self, source: Host, destination: Host, number: int = 0) -> bytes:
        """A legitimate inner frame, with the bait's marker and a number."""
        return self._frame(source, destination, self.bait_marker + number.to_bytes(4) + bytes(_BAIT_PADDING))

    def telling_frame(self, source: Host, destination: Host, text: bytes) -> bytes:
        """A legitimate inner frame that says something, with the bait's marker."""
        return self._frame(source, destination, self.bait_marker + text)

    @staticmethod
    def _frame(source: Host, destination: Host, payload: bytes) -> bytes:
        return frames.ethernet(
            destination.mac, source.mac, frames.ETHERTYPE_IPV4, frames.silent(source.ip, destination.ip, payload)
        )

    @staticmethod
    def keyed(stolen: StolenKey, vni: int, sequence: int, inner: bytes) -> Protected:
        """A packet as the sender with this key protects it."""
        one, other = stolen.sender, stolen.receiver
        packet = Protected(one.mac, other.mac, *one.ends_with(other), vni, stolen.spi, sequence, inner, stolen.suite)
        return packet.sealed(stolen.key)

    # What an attacker on the path catches.

    async def catch(self, source: str, destination: str, count: int, withhold: bool) -> list[bytes]:
        """Real packets between two hosts, as their NVE protected them, from the wire.

        Args:
            withhold: keep them from their receiver; the attacker then has packets whose numbers nobody has seen.
        """
        sender, receiver = self.host(source), self.host(destination)
        bait = [self.bait_frame(sender, receiver, number) for number in range(count)]
        vni, length = self.vni(sender.tenant), len(bait[0])
        await self.view.underlay.call("intercept", vni=vni, length=length, count=count, withhold=withhold)
        await self.from_host(source, bait)
        loop, before = asyncio.get_running_loop(), 0
        deadline = loop.time() + _CATCH_TIMEOUT
        while True:
            caught: list[str] = await self.view.underlay.call("intercepted")
            if len(caught) == count:
                return [base64.b64decode(frame) for frame in caught]
            if len(caught) > before:
                before, deadline = len(caught), loop.time() + _CATCH_TIMEOUT
            elif loop.time() > deadline:
                raise LabError(f"only {len(caught)} of {count} packets of {source} crossed the underlay")
            await asyncio.sleep(0.01)

    async def catch_packets(self, source: str, destination: str, count: int, withhold: bool = True) -> list[Protected]:
        """Real packets, taken apart. Raises LabError if what crossed the underlay is not protected."""
        packets = []
        for frame in await self.catch(source, destination, count, withhold):
            packet = protection.parse(frame)
            if isinstance(packet, str):
                raise LabError(f"what crossed the underlay is not protected: {packet}")
            packets.append(packet)
        return packets

    async def catch_one(self, source: str, destination: str, withhold: bool = True) -> Protected:
        """One real packet, taken apart. Raises LabError as `catch_packets`."""
        (packet,) = await self.catch_packets(source, destination, 1, withhold)
        return packet

    # What an insider has.

    async def steal(self, sender: str, receiver: str, level: str = CONFIDENTIALITY) -> StolenKey:
        """The key of the tunnel between two NVEs, out of the sender's switch: the insider owns that switch.

        Raises LabError where there is none of this level: two NVEs have keys of those that their VNs demand.
        """
        return await asyncio.to_thread(self._read_key, self.leaf(sender), self.leaf(receiver), level)

    def _read_key(self, sender: Leaf, receiver: Leaf, level: str) -> StolenKey:
        destination = int(ip_address(sender.ends_with(receiver)[1]))
        with SwitchReader(self.view.switches[sender.name], sender.device_id) as switch:
            tunnels = {
                entry.key["interface"]
                for entry in switch.entries("tunnel")
                if entry.parameters["destination"] == destination
            }
            for entry in switch.entries("sa_tx"):
                suite = entry.parameters["suite"]
                if entry.key["interface"] in tunnels and GIVEN.get(suite) == level:
                    key = entry.parameters["key"].to_bytes(16)
                    return StolenKey(sender, receiver, entry.parameters["spi"], suite, key)
        raise LabError(f"{sender.name} has no key of level {level} for {receiver.name}")

    async def forge(self, stolen: StolenKey, vni: int, inner: Iterable[bytes]) -> list[Protected]:
        """Correctly keyed packets, numbered ahead of those that the real switch sends."""
        sender, receiver = stolen.sender, stolen.receiver
        content = list(inner)
        first = await self.view.underlay.call(
            "claim",
            name=sender.name,
            destination=sender.ends_with(receiver)[1],
            spi=stolen.spi,
            count=len(content),
            ahead=_AHEAD,
            limit=_AHEAD_LIMIT,
        )
        return [self.keyed(stolen, vni, first + index, frame) for index, frame in enumerate(content)]

    @staticmethod
    def guess(real: Protected, inner: bytes, number: int) -> Protected:
        """A packet under a real SPI with a guessed ICV, numbered ahead of what is sent meanwhile.

        Of suite 2 the inner frame is guessed with it: whatever is carried is ciphertext.
        """
        return replace(
            real, inner=inner, sequence=real.sequence + _AHEAD + number, icv=os.urandom(protection.ICV_LENGTH)
        )
