# SPDX-License-Identifier: Apache-2.0
"""What else may run on the machine of an NVE: a process in the network namespace of a switch, with all that an operator
forgets there.

Asked to, it gives the machine an address on an access port, switches forwarding on, has a route into the underlay, and
serves. Whoever is behind the port then has a host to attack, unless the switch keeps that away from its interfaces.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nvo3lab.rpc import Method, serve

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
PORT = 4790
"""Of its service, UDP."""
_METHODS = ("expose", "withdraw", "speak", "heard")


@contextmanager
def _route() -> Iterator[IPRoute]:
    """Raises OSError for what the kernel refuses."""
    with IPRoute() as route:
        try:
            yield route
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from None


class CarelessHost:
    """The machine of one NVE, in the running event loop."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        """configuration: `access` and `underlay`, names of interfaces."""
        self._names = {side: configuration[side] for side in ("access", "underlay")}
        self._service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._service.bind(("", PORT))
        self._marker = b""
        self._heard = 0
        asyncio.get_running_loop().add_reader(self._service, self._hear)

    def _hear(self) -> None:
        self._heard += self._marker in self._service.recv(1 << 16)

    def expose(self, address: str, prefix_length: int, beyond: str, router: str, marker: str) -> str:
        """Be reachable at an address on the access port, and forward to `beyond` by a router (MAC) on the underlay.

        marker: hex, of what counts. Returns the MAC address of the access port.
        """
        self._marker = bytes.fromhex(marker)
        with _route() as route:
            access, underlay = (route.link_lookup(ifname=self._names[side])[0] for side in ("access", "underlay"))
            route.addr("replace", index=access, address=address, prefixlen=prefix_length)
            route.route("replace", dst=f"{beyond}/32", oif=underlay, scope="link")
            route.neigh("replace", dst=beyond, lladdr=router, ifindex=underlay, state="permanent")
            mac = next(iter(route.get_links(access))).get_attr("IFLA_ADDRESS")
        _FORWARDING.write_text("1")
        return str(mac)

    def withdraw(self, address: str, prefix_length: int, beyond: str) -> None:
        """As it was before `expose`."""
        _FORWARDING.write_text("0")
        with _route() as route:
            access, underlay = (route.link_lookup(ifname=self._names[side])[0] for side in ("access", "underlay"))
            route.route("del", dst=f"{beyond}/32", oif=underlay, scope="link")
            route.neigh("del", dst=beyond, ifindex=underlay)
            route.addr("del", index=access, address=address, prefixlen=prefix_length)

    def speak(self, address: str, mac: str, count: int) -> int:
        """Send datagrams with the marker to a tenant system. Returns how many the kernel took."""
        with _route() as route:
            access = route.link_lookup(ifname=self._names["access"])[0]
            route.neigh("replace", dst=address, lladdr=mac, ifindex=access, state="permanent")
        taken = 0
        for _ in range(count):
            try:
                self._service.sendto(self._marker, (address, PORT))
                taken += 1
            except OSError:  # dropped on the way out
                continue
        return taken

    def heard(self) -> int:
        """Datagrams with the marker that the service got."""
        return self._heard


async def _run(configuration: dict[str, Any]) -> None:
    host = CarelessHost(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # In a thread: pyroute2 waits for the kernel in a loop of its own.
    methods: dict[str, Method] = {name: partial(asyncio.to_thread, getattr(host, name)) for name in _METHODS}
    async with await serve(Path(configuration["control"]), methods):
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.drill.careless_host")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


if __name__ == "__main__":
    main()
