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
from pathlib import Path
from typing import Any

from nvo3ref.protection import Protected
from nvo3ref.tenant_frames import mac_text

from nvo3lab.rpc import serve
from nvo3lab.topology import TOKEN
from nvo3lab.wires.observer import Observer
from nvo3lab.wires.wire import Port, open_port, send_paced

_INTERCEPT_LIMIT = 4096
"""A frame handed to the interceptor must be one of those asked for; more than this many are never kept."""


class Fabric:
    """All links, in the running event loop."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._ports: dict[str, Port] = {}
        self._observers: dict[str, Observer] = {}
        self._by_mac: dict[str, str] = {}
        self.undeliverable = 0
        self._wanted = b""
        self._wanted_count = 0
        self._withhold = False
        self._claimed: dict[tuple[str, str, int], int] = {}
        self._uninvited = dict.fromkeys((link["name"] for link in configuration["links"]), 0)
        self._intercepted: list[bytes] = []
        captures = Path(configuration["captures"])
        for link in configuration["links"]:
            name = link["name"]
            self._by_mac[link["mac"]] = name
            self._observers[name] = Observer(name, link["address"])

            def on_frame(frame: bytes, foreign: bool, name: str = name) -> None:
                self._on_frame(name, frame, foreign)

            self._ports[name] = open_port(link["wire"], on_frame, captures / f"underlay-{name}.pcap")

    def _on_frame(self, name: str, frame: bytes, foreign: bool) -> None:
        if foreign:
            self._observers[name].foreign(frame)
            return
        packet = self._observers[name].sent(frame)
        if TOKEN not in frame:
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
        if not self._wanted_count or self._wanted not in packet.inner:
            return False
        self._wanted_count -= 1
        self._intercepted.append(frame)
        return self._withhold

    def intercept(self, marker: str, count: int, withhold: bool) -> None:
        """Copy the next `count` packets whose inner frame contains `marker` (hex), and keep them back if told to."""
        self._wanted, self._wanted_count = bytes.fromhex(marker), min(count, _INTERCEPT_LIMIT)
        self._withhold = withhold
        self._intercepted = []

    def intercepted(self) -> list[str]:
        """What was intercepted so far (base64)."""
        return [base64.b64encode(frame).decode() for frame in self._intercepted]

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
        """Frames that an NVE has sent so far and that are not echoes of the lab's own traffic."""
        self._ports[name].drain()
        return self._uninvited[name]

    async def inject(self, name: str, frames: list[str], rate: float | None = None, repeat: int = 1) -> int:
        """Send frames (base64) to an NVE, `repeat` times, at a rate (frames a second). Returns how many were sent."""
        return await send_paced(self._ports[name], [base64.b64decode(frame) for frame in frames], rate, repeat)

    def report(self) -> dict[str, Any]:
        """What the observers have seen, to the last frame that is waiting."""
        for port in self._ports.values():
            port.drain()
        return {
            "links": [self._observers[name].report(port.missed()) for name, port in self._ports.items()],
            "undeliverable": self.undeliverable,
            "overflowed": sum(port.overflowed for port in self._ports.values()),
        }


async def _run(configuration: dict[str, Any]) -> None:
    fabric = Fabric(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    methods = ("intercept", "intercepted", "claim", "uninvited", "inject", "report")
    server = await serve(Path(configuration["control"]), {name: getattr(fabric, name) for name in methods})
    async with server:
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.wires.fabric")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


if __name__ == "__main__":
    main()
