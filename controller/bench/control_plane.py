# SPDX-License-Identifier: Apache-2.0
"""What an NVA takes: floods beside nine agents, many agents and mappings, changes pushed to fifty.

    PYTHONPATH=controller/tests/support python controller/bench/control_plane.py WHAT [OPTION...]

    floods [--seconds 4] [--only lookups,pings]
    newcomers [--times 40] [--only "silent, 300"]
    push [--agents 50] [--mappings 500]
    many [--agents 1000] [--mappings 100000]
    register [--times 5]

The NVA is a process of its own, with TLS; agents are simulated in this process and have no switches, all else of them
is real. `floods` calls a bare echo of gRPC over the same TLS from the same process at the same time: what both lose is
the machine's, and an attacker needs one of its cores. `newcomers` floods with connections, counts tries of devices that
come for the first time, and kills and starts the NVA meanwhile. `register` uses an embedded switch.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import structlog
from attack_world import BLUE, Agent, Fleet, fleet_of, served, tenant_text
from attackers import key_and_chain
from nvo3sec.domain.messages.session import Attachment, MappingUpdate, NveView, Registration, Standing
from nvo3sec.errors import Nvo3secError
from nvo3sec.identity.names import Role
from overlay_world import LEAVES, Identities, Overlay, free_port
from switches import EXECUTABLES, SwitchProcess

FLOODS: dict[str, dict[str, Any]] = {
    "connections": {"kind": "connections", "count": 1_000_000, "sources": 250, "at_once": 500},
    **{
        what: {"kind": "insider", "what": what} for what in ("lookups", "renewals", "attachments", "streams", "reports")
    },
    "read-backs": {"kind": "insider", "what": "read-backs", "workers": 2, "entries": 60_000},
    **{
        what: {"kind": "http2", "what": what}
        for what in ("rapid reset", "settings", "pings", "window updates", "empty data", "continuations")
    },
}

ECHO = """
import asyncio, sys
from pathlib import Path
import grpc
async def echo(request, _context):
    return request
async def main(port, device, anchors):
    from attackers import key_and_chain
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Echo", {"Echo": handler}),))
    pair = [key_and_chain(device)]
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials(pair, Path(anchors).read_bytes(), True))
    await server.start()
    await server.wait_for_termination()
asyncio.run(main(*sys.argv[1:]))
"""


def percentile(took: list[float], share: float) -> float:
    """Milliseconds."""
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3 if ordered else float("nan")


@contextlib.asynccontextmanager
async def bare_echo(fleet: Fleet) -> AsyncIterator[list[float]]:
    """Calls of a bare echo, a hundred a second; how long each took."""
    port, took = free_port(), []
    anchors = str(fleet.identities.authority.anchors_file)
    words = [str(port), fleet.device_file(Role.NVA, "nva1"), anchors]
    process = subprocess.Popen([sys.executable, "-c", ECHO, *words], stdin=subprocess.DEVNULL)
    credentials = grpc.ssl_channel_credentials(
        Path(anchors).read_bytes(), *key_and_chain(fleet.device_file(Role.NVE, "leaf9"))
    )
    options = [("grpc.ssl_target_name_override", fleet.name.dns), ("grpc.use_local_subchannel_pool", 1)]

    async def ask(channel: grpc.aio.Channel) -> None:
        method = channel.unary_unary("/bare.Echo/Echo")
        while True:
            began = time.perf_counter()
            await method(b"x" * 40, wait_for_ready=True)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)

    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        task = asyncio.create_task(ask(channel))
        while not took:
            await asyncio.sleep(0.01)
        try:
            yield took
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            process.kill()
            process.wait()


async def window(fleet: Fleet, agents: list[Agent], echo: list[float], seconds: float) -> dict[str, float]:
    """Service of the agents and of the echo during so many seconds."""
    for agent in agents:
        agent.took.clear()
    echo.clear()
    cpu, began = fleet.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    passed = time.perf_counter() - began
    took = [one for agent in agents for one in agent.took]
    return {
        "rate": len(took) / passed,
        "least": min(len(agent.took) for agent in agents) / passed,
        "p50_ms": percentile(took, 0.5),
        "p99_ms": percentile(took, 0.99),
        "echo_rate": len(echo) / passed,
        "echo_p50_ms": percentile(echo, 0.5),
        "echo_p99_ms": percentile(echo, 0.99),
        "nva_cpu": (fleet.cpu_s() - cpu) / passed,
    }


async def floods(seconds: float, only: str) -> None:
    """The service of nine agents before and during each flood."""
    print(
        "flood             rate, of before   p50 ms        p99 ms          echo: rate, p50 ms, p99 ms        NVA cores"
    )
    for name in only.split(",") if only else FLOODS:
        with tempfile.TemporaryDirectory() as directory:
            async with (
                fleet_of(Identities(Path(directory))) as fleet,
                fleet.agents(fleet.leaves[:9]) as agents,
                bare_echo(fleet) as echo,
            ):
                options = dict(FLOODS[name])
                if options["kind"] != "connections":
                    options["device"] = fleet.device_file(Role.NVE, "leaf10")
                before = await window(fleet, agents, echo, seconds)
                attacker = await fleet.attack(options.pop("kind"), **options)
                await asyncio.sleep(1.5)  # until it is at full speed
                during = await window(fleet, agents, echo, seconds)
                attacker.process.kill()
                print(_row(name, before, during), flush=True)


def _row(name: str, was: dict[str, float], now: dict[str, float]) -> str:
    def both(key: str) -> str:
        return f"{was[key]:6.1f} {now[key]:6.1f}"

    return (
        f"{name:16} {now['rate']:6.0f}/s {now['rate'] / was['rate']:5.2f}  {both('p50_ms')}  {both('p99_ms')}"
        f"   {now['echo_rate'] / was['echo_rate']:5.2f}  {both('echo_p50_ms')}  {both('echo_p99_ms')}"
        f"   {was['nva_cpu']:.2f} {now['nva_cpu']:.2f}"
    )


NEWCOMERS: dict[str, tuple[str, int]] = {
    f"{kind}, {addresses}": (kind, addresses) for kind in ("silent", "whole hello") for addresses in (300, 1000)
}


async def newcomers(tries: int, only: str) -> None:
    """How newcomers and nine agents fare while connections of so many addresses hold what places they can."""
    print("flood, addresses   agents' rate, of before   newcomers   restarted: failed tries, served after s (before)")
    for name in only.split(";") if only else NEWCOMERS:
        kind, addresses = NEWCOMERS[name]
        with tempfile.TemporaryDirectory() as directory:
            async with (
                fleet_of(Identities(Path(directory)), 16) as fleet,
                fleet.agents(fleet.leaves[:9], reconnects=True) as agents,
            ):
                await asyncio.sleep(3.0)  # until it is written down where they are
                _, alone = await restarted(fleet, agents)
                before = await rate(agents, asyncio.sleep(3.0))
                many = {"count": 1 << 40, "sources": addresses, "at_once": addresses}
                await fleet.attack("connections", kinds=[kind], **many)
                await fleet.until_counted(lambda now, least=2 * addresses: sum_of_refused(now) > least)
                came: list[bool] = []
                during = await rate(agents, come(fleet, tries, came))
                failed, back = await restarted(fleet, agents)
                shown = f"{during / before:5.2f}   {sum(came)} of {tries}   {failed}   {back:.1f} ({alone:.1f})"
                print(f"{name:16}   {shown}", flush=True)


async def come(fleet: Fleet, tries: int, came: list[bool]) -> None:
    """So many tries of devices without an agent, each from an address of its own."""
    for number in range(tries):
        leaf = fleet.leaves[9 + number % (len(fleet.leaves) - 9)]
        came.append(await fleet.newcomer(leaf, f"127.0.{8 + number // 250}.{1 + number % 250}"))


async def rate(agents: list[Agent], meanwhile: Coroutine[Any, Any, None]) -> float:
    """Answers to the agents a second."""
    for agent in agents:
        agent.took.clear()
    began = time.perf_counter()
    await meanwhile
    return sum(len(agent.took) for agent in agents) / (time.perf_counter() - began)


def sum_of_refused(account: dict[str, Any]) -> int:
    """Connections that were refused."""
    return sum(account["connections"]["refused"].values())


async def restarted(fleet: Fleet, agents: list[Agent]) -> tuple[int, float]:
    """Kill the NVA and start it. Tries that failed once it listened, and seconds until all agents are served."""
    fleet.stop()
    fleet.start()
    await fleet.running()
    lost, began = sum(len(agent.lost) for agent in agents), time.perf_counter()
    await served(agents, rounds=1)
    return sum(len(agent.lost) for agent in agents) - lost, time.perf_counter() - began


async def push(count: int, mappings: int) -> None:
    """Announcements of all agents in turn: acknowledged, and known to all others."""
    words = ("--limit", f"per-source={count + 8}", "--limit", "unfinished-per-source=64", "--limit", "rate=200/500")
    words += ("--limit", "newcomer-rate=200/500")
    with tempfile.TemporaryDirectory() as directory:
        async with fleet_of(Identities(Path(directory)), count, *words) as fleet:
            sessions = [await registered(fleet, leaf) for leaf in fleet.leaves]
            known = [0] * count

            async def follow(number: int, session: Any) -> None:
                while True:
                    update = await session.next_update()
                    if isinstance(update, MappingUpdate):
                        known[number] += sum(mapping.mac >= 0x02CC00000000 for mapping in update.mappings)

            tasks = [asyncio.create_task(follow(number, one)) for number, one in enumerate(sessions)]
            cpu, began = fleet.cpu_s(), time.perf_counter()
            places = asyncio.Semaphore(32)

            async def announce(number: int) -> None:
                async with places:
                    ip, session = IPv4Address("10.2.0.0") + number, sessions[number % count]
                    answer = await session.announce(Attachment(1, 0, BLUE, 0x02CC00000000 + number, (ip,)))
                    assert answer.standing is Standing.ACTIVE, answer

            await asyncio.gather(*(announce(number) for number in range(mappings)))
            acknowledged = time.perf_counter() - began
            own = [len(range(number, mappings, count)) for number in range(count)]
            while any(here + mine < mappings for here, mine in zip(known, own, strict=True)):
                await asyncio.sleep(0.005)
            everywhere = time.perf_counter() - began
            for task in tasks:
                task.cancel()
            rates = [mappings / acknowledged, mappings / everywhere, mappings * (count - 1) / everywhere]
            print(
                f"push: {mappings} mappings to {count - 1} agents: {rates[0]:.0f}/s acknowledged (durable),"
                f" {rates[1]:.0f}/s at every agent, {rates[2]:.0f} deliveries/s,"
                f" NVA {(fleet.cpu_s() - cpu) / everywhere:.2f} cores"
            )
            await asyncio.gather(*(one.close() for one in sessions), return_exceptions=True)


async def registered(fleet: Fleet, leaf: str) -> Any:
    """A session that has its view."""
    session = await fleet.remote(leaf).connect()
    await session.register(Registration(os.urandom(16)))
    while not isinstance(await session.next_update(), NveView):
        pass
    return session


async def many(count: int, mappings: int) -> None:
    """Memory and processor time of an NVA with many agents and mappings; ten NVEs serve each VN."""
    words = ("--limit", f"total={count + 64}", "--limit", f"per-source={count + 64}")
    words += ("--limit", "unfinished-per-source=256", "--limit", "rate=1000/2000", "--limit", "newcomer-rate=1000/2000")
    with tempfile.TemporaryDirectory() as directory:
        identities = Identities(Path(directory))
        fleet = Fleet(identities, 10)
        identities.domain_file.write_text(json.dumps(many_document(count, mappings)))
        fleet.leaves = [f"leaf{number}" for number in range(1, count + 1)]
        began = time.perf_counter()
        for leaf in fleet.leaves[10:]:
            identities.issue(Role.NVE, leaf)
        print(f"many: {count} certificates in {time.perf_counter() - began:.0f} s", flush=True)
        try:
            began = time.perf_counter()
            fleet.start(*words, files=20_000)
            while True:
                with contextlib.suppress(Exception):
                    await fleet.ask("admission")
                    break
                assert fleet.process is not None
                assert fleet.process.poll() is None, fleet.log()[-2000:]
                await asyncio.sleep(0.2)
            started = time.perf_counter() - began
            alone = fleet.usage()
            print(
                f"many: {mappings} mappings: up after {started:.1f} s ({fleet.cpu_s():.1f} s of processor time),"
                f" {alone['memory'] / 1024:.0f} MiB",
                flush=True,
            )
            await (await registered(fleet, fleet.leaves[0])).close()
            await asyncio.sleep(2.0)  # it has run
            fleet.stop()
            fleet.start(*words, files=20_000)
            await first_lease(fleet, fleet.leaves[0])
            began, cpu = time.perf_counter(), fleet.cpu_s()
            places = asyncio.Semaphore(16)

            async def come(leaf: str) -> Any:
                async with places:
                    return await registered(fleet, leaf)

            sessions = await asyncio.gather(*(come(leaf) for leaf in fleet.leaves))
            took = time.perf_counter() - began
            print(f"many: {count} agents registered in {took:.1f} s, NVA {fleet.cpu_s() - cpu:.1f} s of processor time")
            cpu, began = fleet.cpu_s(), time.perf_counter()

            async def renew(session: Any) -> None:
                async with places:
                    await session.renew_lease()
                    await asyncio.sleep(0.1)  # sixteen at a time, as if leases were short

            for _ in range(3):
                await asyncio.gather(*(renew(one) for one in sessions))
            passed, usage = time.perf_counter() - began, fleet.usage()
            print(
                f"many: {usage['memory'] / 1024:.0f} MiB with {count} agents ({usage['files']} files),"
                f" {(fleet.cpu_s() - cpu) / passed:.2f} cores at {3 * count / passed:.0f} renewals/s"
            )
            await asyncio.gather(*(one.close() for one in sessions), return_exceptions=True)
        finally:
            await fleet.end()


async def first_lease(fleet: Fleet, leaf: str) -> None:
    """From the start of the NVA's process to the first lease of an agent that tries all the time, and to its view."""
    began = time.perf_counter()
    while True:
        with contextlib.suppress(Nvo3secError):
            session = await fleet.remote(leaf).connect()
            await session.register(Registration(os.urandom(16)))
            while not (grant := await session.renew_lease()).duration_s:
                await asyncio.sleep(0.05)
            break
        await asyncio.sleep(0.05)
    leased, leased_cpu = time.perf_counter() - began, fleet.cpu_s()
    while not isinstance(await session.next_update(), NveView):
        pass
    passed = time.perf_counter() - began
    print(
        f"many: started again: first lease after {leased:.1f} s ({leased_cpu:.1f} s of processor time,"
        f" {'prolonged while it loads' if grant.early else 'after it has loaded'}),"
        f" everything after {passed:.1f} s ({fleet.cpu_s():.1f} s)",
        flush=True,
    )
    await session.close()


def many_document(count: int, mappings: int) -> dict[str, Any]:
    """Groups of ten NVEs with a VN for each."""
    vns = [{"name": f"vn{number}", "vni": 5001 + number} for number in range((count + 9) // 10)]
    leaves, systems = [], []
    for number in range(1, count + 1):
        name, mac = f"leaf{number}", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        underlay = {"address": str(IPv4Address("172.16.0.0") + number), "port": 256, "mac": mac}
        vaps = [{"port": 1, "vn": f"vn{(number - 1) // 10}"}]
        leaves.append(
            {"name": name, "device_id": number, "p4runtime": f"unix:{name}.sock", "underlay": underlay, "vaps": vaps}
        )
    for number in range(mappings):
        leaf = 1 + number % count
        where = {"vn": f"vn{(leaf - 1) // 10}", "nve": f"leaf{leaf}", "port": 1}
        ip = str(IPv4Address("10.0.0.1") + number)
        systems.append({"name": f"t{number}", **where, "mac": tenant_text(number), "ips": [ip]})
    return {
        "domain": "lab.example",
        "lifetimes": {"lease_s": 60, "lease_renew_s": 20},
        "vns": vns,
        "nves": leaves,
        "tenant_systems": systems,
    }


async def register(times: int) -> None:
    """From the start of an agent's process to a switch that is programmed and has its lease."""
    executable = EXECUTABLES["embedded"]
    assert executable is not None
    took = []
    with tempfile.TemporaryDirectory() as directory:
        started: list[SwitchProcess] = []

        def start_switch(name: str, device_id: int) -> SwitchProcess:
            switch = SwitchProcess(executable, device_id, Path(directory), name)
            started.append(switch)
            switch.start()
            return switch

        world = Overlay(Identities(Path(directory)), start_switch)
        try:
            for name in ("nva", *LEAVES):
                world.start(name)
            await world.ready()
            for _ in range(times):
                world.kill("leaf2")
                world.switches["leaf2"].kill()
                world.switches["leaf2"].start()
                began = time.perf_counter()
                world.start("leaf2")
                await world.ready()
                took.append(time.perf_counter() - began)
        finally:
            world.end()
            for switch in started:
                switch.kill()
    print(
        f"register: agent's start to an empty switch programmed, leased and its keys confirmed at both ends:"
        f" median {statistics.median(took):.2f} s, longest {max(took):.2f} s of {times}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("floods", "newcomers", "push", "many", "register"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--agents", type=int)
    parser.add_argument("--mappings", type=int)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    match chosen.what:
        case "floods":
            asyncio.run(floods(chosen.seconds, chosen.only))
        case "newcomers":
            asyncio.run(newcomers(chosen.times, chosen.only))
        case "push":
            asyncio.run(push(chosen.agents or 50, chosen.mappings or 500))
        case "many":
            asyncio.run(many(chosen.agents or 1000, chosen.mappings or 100_000))
        case "register":
            asyncio.run(register(chosen.times))


if __name__ == "__main__":
    main()
