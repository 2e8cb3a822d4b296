# SPDX-License-Identifier: Apache-2.0
"""The tenants' own traffic: everybody reaches everybody of the same tenant, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from nvo3lab.errors import RemoteError
from nvo3lab.topology import Host, Topology
from nvo3lab.view import View

_TRANSFER = {"embedded": 2_000_000, "bmv2": 150_000}
"""Bytes of each TCP transfer: enough for loss and reordering to matter, little enough for a slow target."""
_TRANSFER_LIMIT = 60.0
_PINGS = 5


@dataclass
class Traffic:
    """What came of it; nothing in `faults` means that everything held."""

    levels: dict[str, str] = field(default_factory=dict)
    """VN → what the NVA says that it demands."""
    pairs: int = 0
    echoes: int = 0
    median_ms: float | None = None
    resolved: int = 0
    transfers: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def run(view: View, say: Callable[[str], None], out: Collection[str] = ()) -> Traffic:
    """Echo between all pairs of one tenant, ARP, a TCP transfer between NVEs for each tenant, and isolation.

    Args:
        out: NVEs that are shut out: their tenant systems must reach nobody elsewhere.
    """
    result = Traffic()
    topology = view.topology.without(out)
    if view.control is not None:
        result.levels = {vn["vn"]: vn["level"] for vn in await view.control.ask("vn", "list")}
        say("; ".join(f"VN {vn}: {level}" for vn, level in result.levels.items()))
    before = await view.received()
    await _echo(view, topology, result)
    say(f"echo: {result.pairs} pairs of hosts, {result.echoes} round trips, median {_ms(result.median_ms)}")
    await _resolve(view, topology, result)
    say(f"ARP: {result.resolved} neighbors found, each at its own address, although the tenants' addresses overlap")
    await _transfers(view, topology, result)
    for transfer in result.transfers:
        say(
            f"TCP: {transfer['source']} → {transfer['destination']}: {transfer['bytes']:,} bytes,"
            f" {transfer['mbit_per_s']:.1f} Mbit/s, same SHA-256"
        )
    if out:
        await _shut_out(view, out, result)
        say(f"nothing comes from or gets to tenant systems behind {', '.join(sorted(out))}")
    after = await view.received()
    for name, ledger in after.items():
        for kind in ("other", "duplicate"):
            count = ledger["counts"][kind] - before[name]["counts"][kind]
            if count:
                result.faults.append(f"{name} received {count} frames that were not for it: {ledger['examples'][-1]}")
    return result


async def _echo(view: View, topology: Topology, result: Traffic) -> None:
    medians = []
    for source, destination in topology.pairs():
        answer = await view.hosts[source.name].call("ping", destination=destination.ip, count=_PINGS)
        result.pairs += 1
        result.echoes += answer["received"]
        if answer["received"] < answer["sent"]:
            result.faults.append(f"{source.name} → {destination.name}: {answer['received']} of {answer['sent']} echoes")
        else:
            medians.append(answer["median_ms"])
    if medians:
        result.median_ms = sorted(medians)[len(medians) // 2]


async def _shut_out(view: View, out: Collection[str], result: Traffic) -> None:
    async def attempt(source: Host, destination: Host) -> None:
        answer = await view.hosts[source.name].call("ping", destination=destination.ip, count=1)
        if answer["received"]:
            result.faults.append(f"{source.name} reaches {destination.name} through an NVE that is shut out")

    def crosses(*ends: Host) -> bool:
        leaves = {view.topology.leaf_of(host).name for host in ends}
        return len(leaves) == 2 and bool(leaves & set(out))

    await asyncio.gather(*(attempt(*pair) for pair in view.topology.pairs() if crosses(*pair)))


async def _resolve(view: View, topology: Topology, result: Traffic) -> None:
    for source, destination in topology.pairs():
        mac = await view.hosts[source.name].call("resolve", ip=destination.ip)
        if mac == destination.mac:
            result.resolved += 1
        else:
            result.faults.append(f"{source.name} finds {destination.name} at {mac} instead of {destination.mac}")


async def _transfers(view: View, topology: Topology, result: Traffic) -> None:
    port = 50000
    for tenant in topology.tenants:
        leaves: set[str] = set()
        for host in topology.members(tenant.name):
            leaf = topology.leaf_of(host).name
            if leaf in leaves:
                continue
            if leaves:
                port += 1
                first = topology.members(tenant.name)[0]
                await _transfer(view, first, host, port, result)
            leaves.add(leaf)


async def _transfer(view: View, source: Host, destination: Host, port: int, result: Traffic) -> None:
    sender, receiver = view.hosts[source.name], view.hosts[destination.name]
    await receiver.call("transfer_listen", port=port)
    waiting = asyncio.create_task(
        receiver.call("transfer_receive", port=port, limit=_TRANSFER_LIMIT, timeout=_TRANSFER_LIMIT + 10)
    )
    name = f"{source.name} → {destination.name}"
    try:
        sent = await sender.call(
            "transfer_send",
            destination=destination.ip,
            port=port,
            length=_TRANSFER[view.target],
            limit=_TRANSFER_LIMIT,
            timeout=_TRANSFER_LIMIT + 10,
        )
        received = await waiting
    except RemoteError as error:
        waiting.cancel()
        result.faults.append(f"TCP {name}: {error}")
        return
    if (sent["bytes"], sent["sha256"]) != (received["bytes"], received["sha256"]):
        result.faults.append(f"TCP {name}: {received['bytes']} of {sent['bytes']} bytes, or changed on the way")
        return
    result.transfers.append(
        {
            "source": source.name,
            "destination": destination.name,
            "bytes": received["bytes"],
            "mbit_per_s": received["bytes"] * 8 / received["seconds"] / 1e6,
        }
    )


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} ms"
