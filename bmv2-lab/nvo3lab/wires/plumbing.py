# SPDX-License-Identifier: Apache-2.0
"""Makes the wires of a plan: veth pairs between network namespaces, addresses of hosts, everything else quiet.

A process of its own, because it moves from namespace to namespace. It reads one JSON object from its standard input:
`fds` (name of a namespace → descriptor) and `plan` with `links` (two ends each, an end being namespace, interface,
MAC address, MTU, and for a host its address) and `quiet`, namespaces that have no wire of the plan but must be up.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

from pyroute2 import IPRoute

from nvo3lab.wires import linux


def quieten(descriptor: int) -> None:
    """Enter a namespace and turn off what its kernel would send by itself: IPv6, before the first interface exists."""
    linux.enter_network(descriptor)
    linux.disable_ipv6()
    with IPRoute() as route:
        route.link("set", index=1, state="up")  # the loopback interface is the first of every namespace


def make_pair(descriptors: dict[str, int], link: list[dict[str, Any]]) -> None:
    """A veth pair, each end at once in its namespace, and still down."""
    here, there = link
    linux.enter_network(descriptors[here["namespace"]])
    with IPRoute() as route:
        route.link(
            "add",
            ifname=here["interface"],
            kind="veth",
            address=here["mac"],
            mtu=here["mtu"],
            peer={
                "ifname": there["interface"],
                "net_ns_fd": descriptors[there["namespace"]],
                "address": there["mac"],
                "mtu": there["mtu"],
            },
        )


def configure(descriptors: dict[str, int], end: dict[str, Any]) -> None:
    """Offloads off; a host's address; the neighbors of others are for the host to find."""
    linux.enter_network(descriptors[end["namespace"]])
    linux.disable_offloads(end["interface"])
    with IPRoute() as route:
        index = route.link_lookup(ifname=end["interface"])[0]
        if "ip" in end:
            route.addr("add", index=index, address=end["ip"], prefixlen=end["prefix_length"])
        route.link("set", index=index, state="up")


def build(descriptors: dict[str, int], plan: dict[str, Any]) -> None:
    """Everything of a plan: all links first, so that no interface comes up before its peer's namespace is quiet."""
    for name in plan["namespaces"]:
        quieten(descriptors[name])
    for link in plan["links"]:
        make_pair(descriptors, link)
    for link in plan["links"]:
        for end in link:
            configure(descriptors, end)


def probe(user_namespace: bool, switch: str | None) -> None:
    """Find out whether this machine allows all that, with two namespaces that end with this process.

    switch: the command of an embedded switch, which keeps its host's network stack away from its interfaces.
    """
    if user_namespace:
        linux.become_root_of_user_namespace()
    names = ("here", "there")
    descriptors = {name: linux.new_network_namespace() for name in names}
    ends = [
        {"namespace": name, "interface": "eth0", "mac": f"02:00:00:00:00:0{index}", "mtu": 1600}
        for index, name in enumerate(names)
    ]
    build(descriptors, {"namespaces": list(names), "links": [ends]})
    linux.enter_network(descriptors["here"])
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    if switch is not None:
        done = subprocess.run(  # noqa: S603 - the lab's own switch
            [switch, "--take", "eth0"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.strip())


def main() -> None:
    if "--probe" in sys.argv:
        where, *switch = sys.argv[sys.argv.index("--probe") + 1 :]
        probe(where == "user-namespace", switch[0] if switch else None)
    else:
        request = json.load(sys.stdin)
        build({name: int(value) for name, value in request["fds"].items()}, request["plan"])


if __name__ == "__main__":
    main()
