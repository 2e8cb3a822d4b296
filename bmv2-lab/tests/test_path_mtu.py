# SPDX-License-Identifier: Apache-2.0
"""Tenant systems whose interfaces promise more than their tunnel carries: TCP of the kernel works, and nobody has to
configure anything, since each end is told how much fits."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from nvo3lab import domain_file
from nvo3lab.lab import Lab, Options
from nvo3lab.processes import preflight
from nvo3lab.topology import TENANT_MTU, AccessPort, Host, Leaf, Tenant, Topology
from nvo3lab.wires import wiring as wires

UNDERLAY_MTU, FITS = 1400, 1314
"""What the underlay carries, and what of that is a tenant's: 14 + 36 + 8 + 8 + 20 bytes less (docs/wire-format.md)."""
LENGTH = 500_000
LIMIT_S = 120.0
IPV6 = {"red1": "fd00::1", "red2": "fd00::2"}
TOPOLOGY = Topology(
    (Tenant("red", 5001),),
    (
        Leaf(
            "leaf1",
            1,
            "192.0.2.1",
            "02:aa:00:00:00:01",
            (AccessPort(1, (Host("red1", "red", "02:00:00:00:01:01", "10.0.0.1"),)),),
        ),
        Leaf(
            "leaf2",
            2,
            "192.0.2.2",
            "02:aa:00:00:00:02",
            (AccessPort(2, (Host("red2", "red", "02:00:00:00:01:02", "10.0.0.2", vlan=10),)),),
        ),
    ),
)

_END = """
import hashlib, json, os, socket, sys
from nvo3lab.wires import linux
from pyroute2 import IPRoute

pid, role, own, other, ipv6, length = int(sys.argv[1]), *sys.argv[2:6], int(sys.argv[6])
linux.enter_namespaces_of(pid)
for name, value in (("accept_dad", "0"), ("disable_ipv6", "0")):
    with open(f"/proc/sys/net/ipv6/conf/eth0/{name}", "w") as setting:
        setting.write(value)
with IPRoute() as route:
    index = route.link_lookup(ifname="eth0")[0]
    route.addr("replace", index=index, address=ipv6, prefixlen=64)
is_ipv6 = ":" in own
path_mtu = (socket.IPPROTO_IPV6, 24) if is_ipv6 else (socket.IPPROTO_IP, 14)  # IPV6_MTU, IP_MTU of <linux/in.h>


def told(connection):
    return connection.getsockopt(*path_mtu)


def send(connection):
    data = os.urandom(length)
    connection.sendall(data)
    return hashlib.sha256(data).hexdigest()


def receive(connection):
    digest, left = hashlib.sha256(), length
    while left:
        data = connection.recv(min(left, 1 << 16))
        assert data, "the connection has ended too soon"
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
if role == "answer":
    with socket.create_server((own, 4711), family=family) as listener:
        print("listening", flush=True)
        connection, _ = listener.accept()
else:
    connection = socket.create_connection((other, 4711), source_address=(own, 0))
with connection:
    before = told(connection)
    if role == "answer":
        received, sent = receive(connection), send(connection)
        connection.recv(1)  # until the other end has all
    else:
        sent, received = send(connection), receive(connection)
    print(json.dumps({"sent": sent, "received": received, "before": before, "after": told(connection)}))
"""


async def start(lab: Lab, name: str, *arguments: str) -> asyncio.subprocess.Process:
    """One end of a connection, in the namespace of a host."""
    command = [sys.executable, "-c", _END, str(lab.pids[name]), *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def ended(process: asyncio.subprocess.Process) -> dict[str, Any]:
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


async def transfer(lab: Lab, addresses: dict[str, str]) -> list[dict[str, Any]]:
    """Both ways through one connection between red1 and red2. Returns what each end says of it."""
    one, other = addresses["red1"], addresses["red2"]
    server = await start(lab, "red2", "answer", other, one, IPV6["red2"], str(LENGTH))
    processes = [server]
    try:
        async with asyncio.timeout(LIMIT_S):
            assert server.stdout is not None
            assert await server.stdout.readline() == b"listening\n"
            processes.append(await start(lab, "red1", "ask", one, other, IPV6["red1"], str(LENGTH)))
            return list(await asyncio.gather(*(ended(process) for process in reversed(processes))))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The underlay of the lab, and its domain file, which says so."""
    written = domain_file.domain

    def domain(*arguments: Any) -> dict[str, Any]:
        document = written(*arguments)
        for system in document["tenant_systems"]:
            system["ips"].append(IPV6[system["name"]])
        return document

    for module in (domain_file, wires):
        monkeypatch.setattr(module, "UNDERLAY_MTU", UNDERLAY_MTU)
    monkeypatch.setattr(domain_file, "TENANT_MTU", FITS)
    monkeypatch.setattr(domain_file, "domain", domain)


@pytest.mark.usefixtures("narrow")
def test_tcp_finds_out_what_fits(short_directory: Path) -> None:
    wiring = preflight.choose_wiring("auto", "embedded")
    if not wiring.kernel:
        pytest.skip(wiring.reason)

    async def run() -> dict[str, list[dict[str, Any]]]:
        lab = Lab(Options(wires="auto", base=short_directory / "run"), topology=TOPOLOGY)
        try:
            await lab.up()
            ipv4 = {host.name: host.ip for host in TOPOLOGY.hosts}
            return {"IPv4": await transfer(lab, ipv4), "IPv6": await transfer(lab, IPV6)}
        finally:
            closing = await lab.down()
            assert closing.faults() == []

    for family, (asked, answered) in asyncio.run(run()).items():
        assert asked["sent"] == answered["received"], family
        assert answered["sent"] == asked["received"], family
        # Each end has believed its own interface, and then what it was told.
        assert [end["before"] for end in (asked, answered)] == [TENANT_MTU, TENANT_MTU], family
        assert [end["after"] for end in (asked, answered)] == [FITS, FITS], family
