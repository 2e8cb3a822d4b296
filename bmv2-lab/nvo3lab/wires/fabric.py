# SPDX-License-Identifier: Apache-2.0
"""The underlay: one link to each NVE, frames forwarded by destination MAC address, and everything observed.

It is also where an attacker on the path sits. It can be asked for a copy of what passes, to keep a packet from its
receiver, and to send frames of its own to an NVE. Its own frames are not the NVEs', so the observers do not look at
them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from nvo3ref.protection import Protected
from nvo3ref.tenant_frames import ETHERNET_LENGTH, ETHERTYPE_ARP, mac_text

from nvo3lab.rpc import serve
from nvo3lab.topology import CONFIDENTIALITY, ECHO_OVERHEAD, ECHO_SIZES, TOKEN
from nvo3lab.wires.observer import FAMILIES, GIVEN, Observer, WatchedVn
from nvo3lab.wires.reader import Known, Reader
from nvo3lab.wires.wire import Port, open_port, send_paced

_ARP_FRAME = ETHERNET_LENGTH + 28
"""Bytes of a frame with an ARP packet for IPv4 (RFC 826)."""
_INTERCEPT_LIMIT = 4096
"""A frame handed to the interceptor must be one of those asked for; more than this many are never kept."""


class Fabric:
    """All links, in the running event loop."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._ports: dict[str, Port] = {}
        self._observers: dict[str, Observer] = {}
        self._by_mac: dict[str, str] = {}
        self.undeliverable = 0
        self._wanted = 0, 0
        self._wanted_count = 0
        self._withhold = False
        self._claimed: dict[tuple[str, str, int], int] = {}
        self._uninvited = dict.fromkeys((link["name"] for link in configuration["links"]), 0)
        self._intercepted: list[bytes] = []
        self._vns = {vn["vni"]: WatchedVn.of_members(**vn) for vn in configuration["vns"]}
        self._reader = Reader()
        captures = self._captures = Path(configuration["captures"])
        for link in configuration["links"]:
            name = link["name"]
            self._by_mac[link["mac"]] = name
            self._observers[name] = Observer(name, frozenset(map(tuple, link["ends"])), self._vns)

            def on_frame(frame: bytes, foreign: bool, name: str = name) -> None:
                self._on_frame(name, frame, foreign)

            self._ports[name] = open_port(link["wire"], on_frame, captures / f"underlay-{name}.pcap")

    def _on_frame(self, name: str, frame: bytes, foreign: bool) -> None:
        if foreign:
            self._observers[name].foreign(frame)
            return
        packet = self._observers[name].sent(frame)
        self._reader.look(frame)
        if not _is_of_a_host(packet, frame):
            self._uninvited[name] += 1
        if packet is not None and self._intercept(packet, frame):
            return
        destination = self._by_mac.get(mac_text(frame[:6]))
        if destination is None:
            self.undeliverable += 1
        else:
            self._ports[destination].send(frame)

    def _intercept(self, packet: Protected, frame: bytes) -> bool:
        """Whether the frame is kept from its receiver."""
        if not self._wanted_count or self._wanted != (packet.vni, len(packet.inner)):
            return False
        self._wanted_count -= 1
        self._intercepted.append(frame)
        return self._withhold

    def intercept(self, vni: int, length: int, count: int, withhold: bool) -> None:
        """Copy the next `count` packets of a VN with inner frames of this length, and keep them back if told to.

        An attacker on the path knows those that it waits for by nothing else, where it cannot read them.
        """
        self._wanted, self._wanted_count = (vni, length), min(count, _INTERCEPT_LIMIT)
        self._withhold = withhold
        self._intercepted = []

    def intercepted(self) -> list[str]:
        """What was intercepted so far (base64)."""
        return [base64.b64encode(frame).decode() for frame in self._intercepted]

    def look_for(self, known: list[dict[str, Any]]) -> None:
        """Read every frame from now on, and look for what is known of VNs (`Known.to_json`)."""
        self._drain()
        self._reader.look_for(map(Known.from_json, known))

    def found(self) -> dict[str, Any]:
        """What a reader has found so far (`Reader.report`), and the captures of all links, which have it all, too."""
        self._drain()
        return {
            "vns": self._reader.report(),
            "captures": [str(self._captures / f"underlay-{name}.pcap") for name in self._ports],
        }

    def demand(self, vni: int, level: str) -> None:
        """A VN demands another level, of what NVEs send from now on. Raises ValueError for what is no VN or level."""
        if vni not in self._vns:
            raise ValueError(f"no VN has VNI {vni}; there are {', '.join(map(str, self._vns))}")
        self._drain()
        self._vns[vni].demand(level)

    def claim(self, name: str, destination: str, spi: int, count: int, ahead: int, limit: int) -> int:
        """Sequence numbers for an insider with a key of an NVE's: none that the NVE or another insider has used.

        Args:
            ahead: how far they are to be from the numbers that the NVE itself uses meanwhile.
            limit: how far they may be at most.

        Returns:
            The first of `count` numbers. Raises ValueError beyond the limit.
        """
        present = self._observers[name].last.get((destination, spi), 0)
        key = name, destination, spi
        first = max(present + ahead, self._claimed.get(key, 0)) + 1
        if first + count > present + limit:
            raise ValueError(
                f"insiders have used up the replay window of {name} towards {destination}; new keys"
                " (`nvo3sec keys rotate`) bring a new one"
            )
        self._claimed[key] = first + count - 1
        return first

    def uninvited(self, name: str) -> int:
        """Frames that an NVE has sent so far and that are neither echoes of the lab's own traffic nor ARP."""
        self._ports[name].drain()
        return self._uninvited[name]

    async def inject(self, name: str, frames: list[str], rate: float | None = None, repeat: int = 1) -> int:
        """Send frames (base64) to an NVE, `repeat` times, at a rate (frames a second). Returns how many were sent."""
        return await send_paced(self._ports[name], [base64.b64decode(frame) for frame in frames], rate, repeat)

    def report(self) -> dict[str, Any]:
        """What the observers have seen, to the last frame that is waiting."""
        self._drain()
        return {
            "links": [self._observers[name].report(port.missed()) for name, port in self._ports.items()],
            "vns": [self._report_of(vn) for vn in self._vns.values()],
            "undeliverable": self.undeliverable,
            "overflowed": sum(port.overflowed for port in self._ports.values()),
        }

    def _report_of(self, vn: WatchedVn) -> dict[str, Any]:
        """Which suites all links have seen in a VN, altogether and over each family."""
        found: dict[str, Counter[int]] = {family: Counter() for family in FAMILIES}
        for observer in self._observers.values():
            for (vni, family, suite), count in observer.suites.items():
                if vni == vn.vni:
                    found[family][suite] += count
        families = {
            family: {str(suite): count for suite, count in sorted(one.items())} for family, one in found.items()
        }
        whole = found["IPv4"] + found["IPv6"]
        packets = {str(suite): count for suite, count in sorted(whole.items())}
        return {"vn": vn.name, "vni": vn.vni, "level": vn.level, "suites": packets, "families": families}

    def _drain(self) -> None:
        """Take what the NVEs have sent until now."""
        for port in self._ports.values():
            port.drain()


def _is_of_a_host(packet: Protected | None, frame: bytes) -> bool:
    """Whether a frame is one that tenant systems send by themselves: by its length, where it cannot be read.

    That is an echo of the lab's own traffic, or ARP: a kernel asks now and then whether its neighbor is still there
    (RFC 1122 2.3.2.1), and is answered. An NVE has nothing of either to send.
    """
    if packet is not None and GIVEN[packet.suite] == CONFIDENTIALITY:
        return len(packet.inner) == _ARP_FRAME or len(packet.inner) - ECHO_OVERHEAD in ECHO_SIZES
    return TOKEN in frame or (packet is not None and packet.inner[12:14] == ETHERTYPE_ARP.to_bytes(2))


async def _run(configuration: dict[str, Any]) -> None:
    fabric = Fabric(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    methods = ("intercept", "intercepted", "claim", "uninvited", "inject", "report", "look_for", "found", "demand")
    server = await serve(Path(configuration["control"]), {name: getattr(fabric, name) for name in methods})
    async with server:
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.wires.fabric")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


if __name__ == "__main__":
    main()
