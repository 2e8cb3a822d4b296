# SPDX-License-Identifier: Apache-2.0
"""What the attacks stand on: an NVA as a process of its own, and legitimate agents beside it that must not notice.

The agents have no switches. All else of them is real: credentials, TLS, sessions, leases, lookups.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attackers
import http2
import yaml
from nvo3sec.config import load_domain
from nvo3sec.domain.messages.session import KeyState, Lookup, LookupResult, NveView, QuestionKind, Registration
from nvo3sec.errors import Nvo3secError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.operator.console import ask
from nvo3sec.system.aio import run_together
from nvo3sec.transport.credentials import NvaAddress, live_peers, load_device
from nvo3sec.transport.session_client import RemoteNva, RemoteSession
from overlay_world import Identities, command, free_port, until

PATIENCE_S = 120.0
"""For what takes milliseconds on an idle machine."""
BLUE, RED = 5001, 5002
LOOKUPS_A_RENEWAL = 4
ATTACKERS = Path(__file__).with_name("attackers.py")


def run(coroutine: Coroutine[Any, Any, None], timeout_s: float = 300.0) -> None:
    """Run a test, not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(timeout_s):
            await coroutine

    asyncio.run(bounded())


def domain_document(nves: int, *, lease_s: float = 30.0) -> dict[str, Any]:
    """A domain with `nves` NVEs. All serve blue; leaf1 to leaf3 serve red, too."""
    leaves, systems = [], []
    for number in range(1, nves + 1):
        name, mac = f"leaf{number}", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        vaps = [{"port": 1, "vn": "blue"}, *([{"port": 2, "vn": "red"}] if number <= 3 else [])]
        underlay = {"address": str(IPv4Address("192.0.2.0") + number), "port": 256, "mac": mac}
        target = f"unix:{name}.sock"
        leaves.append({"name": name, "device_id": number, "p4runtime": target, "underlay": underlay, "vaps": vaps})
        system = {"name": f"blue{number}", "vn": "blue", "nve": name, "port": 1, "mac": tenant_text(number)}
        systems.append(system | {"ips": [str(IPv4Address("10.1.0.0") + number)]})
    return {
        "domain": "lab.example",
        "lifetimes": {"lease_s": lease_s, "lease_renew_s": lease_s / 3},
        "vns": [{"name": "blue", "vni": BLUE}, {"name": "red", "vni": RED}],
        "nves": leaves,
        "tenant_systems": systems,
    }


def tenant_mac(number: int) -> int:
    """The MAC address of tenant system blueN, behind leafN."""
    return 0x02AA00000000 + number


def tenant_text(number: int) -> str:
    """The same, as the domain file has it."""
    return ":".join(f"{byte:02x}" for byte in tenant_mac(number).to_bytes(6, "big"))


class Fleet:
    """An NVA, credentials for everybody, and the agents that are connected."""

    def __init__(self, identities: Identities, nves: int = 10) -> None:
        self.identities = identities
        self.directory = identities.directory
        identities.domain_file.write_text(yaml.safe_dump(domain_document(nves)))
        identities.domain = load_domain(identities.domain_file)
        self.leaves = [f"leaf{number}" for number in range(1, nves + 1)]
        for leaf in self.leaves:
            if not identities.place(Role.NVE, leaf).exists():
                identities.issue(Role.NVE, leaf)
        self.port = free_port()
        self.run_directory = self.directory / "run-nva"
        self.process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._attackers: list[asyncio.subprocess.Process] = []

    # --- the NVA ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> DeviceName:
        """The NVA's."""
        return self.identities.name(Role.NVA, "nva1")

    @property
    def pid(self) -> int:
        """The NVA's."""
        assert self.process is not None
        return self.process.pid

    def start(self, *words: str, files: int = 4096) -> None:
        """Start the NVA with `words` more on its command line and at most `files` open files."""
        credentials = self.identities.place(Role.NVA, "nva1")
        call = ["nva", "run", "--domain", str(self.identities.domain_file), "--port", str(self.port), *words]
        call += ["--database", str(self.directory / "database"), "--keys", str(self.directory / "keys")]
        call += ["--credentials", str(credentials), "--run-dir", str(self.run_directory)]

        self._starts += 1
        limited = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(files), *command(*call)]
        with (self.directory / "nva.process").open("ab") as log:
            self.process = subprocess.Popen(limited, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self) -> None:
        """Kill the NVA."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self) -> str:
        """All that the NVA logged."""
        return (self.directory / "nva.process").read_text(errors="replace")

    async def ask(self, method: str, **parameters: Any) -> Any:
        """Ask on the NVA's console."""
        return await asyncio.to_thread(ask, self.run_directory, method, **parameters)

    async def running(self) -> None:
        """Until the NVA that was started last listens."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process is not None
                assert self.process.poll() is None, self.log()
                if self.log().count("NVA running") >= self._starts:
                    return
                await asyncio.sleep(0.05)

    async def refused(self) -> Counter[str]:
        """Connections that the NVA refused, by reason."""
        return Counter((await self.ask("admission"))["connections"]["refused"])

    async def calls(self, method: str) -> Counter[str]:
        """Calls of a method, by how they ended."""
        return Counter((await self.ask("admission"))["calls"].get(method, {}))

    async def until_counted(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The NVA's account of connections and calls, once it is as it should be."""
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    last = await self.ask("admission")
                    if condition(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not so: {json.dumps(last)}") from None

    def usage(self) -> dict[str, int]:
        """Open files and resident memory (KiB) of the NVA now, and the most memory that it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return {
            "files": len(os.listdir(f"/proc/{self.pid}/fd")),
            "memory": int(fields["VmRSS"].split()[0]),
            "most_memory": int(fields["VmHWM"].split()[0]),
        }

    def cpu_s(self) -> float:
        """Seconds of processor time that the NVA has used."""
        found = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(found[11]) + int(found[12])) / os.sysconf("SC_CLK_TCK")

    # --- agents -----------------------------------------------------------------------------------------------------

    def remote(self, leaf: str, *, answer: Any = None, port: int | None = None) -> RemoteNva:
        """How the agent of `leaf` reaches the NVA."""
        place = self.identities.place(Role.NVE, leaf)
        device = load_device(place, self.identities.domain.name, Purpose.CLIENT, Role.NVE)
        address = NvaAddress(self.name, "127.0.0.1", port or self.port)
        return RemoteNva(leaf, device, live_peers(place, device), [address], answer or agent_status)

    @contextlib.asynccontextmanager
    async def agents(self, leaves: Iterable[str], **options: Any) -> AsyncIterator[list[Agent]]:
        """Agents that are registered and keep their leases; fails if one of them ever loses its session."""
        found = [Agent(self, leaf, **options) for leaf in leaves]
        tasks = [asyncio.create_task(agent.run(), name=f"agent of {agent.leaf}") for agent in found]
        try:
            await served(found)
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- attackers --------------------------------------------------------------------------------------------------

    async def attack(self, kind: str, **options: Any) -> Attacker:
        """Start an attacker as a process of its own."""
        known = {"port": self.port, "name": self.name.dns, "anchors": str(self.identities.authority.anchors_file)}
        words = json.dumps({"kind": kind, **known, **options})
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ATTACKERS),
            words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._attackers.append(process)
        return Attacker(process)

    async def newcomer(self, leaf: str, source: str) -> bool:
        """One try of `leaf` to have a call answered from an address that nobody has come from before."""
        return await asyncio.to_thread(self._newcomer, leaf, source)

    def _newcomer(self, leaf: str, source: str) -> bool:
        anchors, device = str(self.identities.authority.anchors_file), self.device_file(Role.NVE, leaf)
        try:
            connection = http2.Connection(self.port, self.name.dns, anchors, device, source)
        except OSError:
            return False
        try:
            connection.hello()
            stream = connection.begin(attackers.SERVICE + "LookUp")
            body = http2.message(attackers.look_up(bytes(16)))
            connection.tls.sendall(http2.frame(http2.DATA, http2.END_STREAM, stream, body))
            got = bytearray()
            while not any(kind == http2.HEADERS for kind, _, _, _ in http2.frames(bytes(got))):
                data = connection.tls.recv(65536)
                if not data:
                    return False
                got += data
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def device_file(self, role: Role, name: str) -> str:
        """Key and certificate of a device, as a thief has them."""
        return str(self.identities.place(role, name) / "device.pem")

    async def end(self) -> None:
        """End everything."""
        for process in self._attackers:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        self.stop()


class Attacker:
    """A process that attacks. It ends by itself, or when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def busy(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def result(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """What it saw, once it has ended by itself."""
        async with asyncio.timeout(timeout_s):
            out, _ = await self.process.communicate()
        assert self.process.returncode == 0, out
        found: dict[str, Any] = json.loads(out)
        return found

    async def stop(self) -> dict[str, Any]:
        """Have it stop; what it saw."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.result()


async def agent_status(_kind: QuestionKind) -> Any:
    """What an agent without a switch says of itself."""
    return {"connected": True, "nva": True, "in_sync": True, "lease_left_s": 1.0}


class Agent:
    """A legitimate agent. `run` it; it renews its lease and looks up a tenant system, again and again."""

    def __init__(self, fleet: Fleet, leaf: str, *, every_s: float = 0.03, reconnects: bool = False, **remote: Any):
        self.leaf = leaf
        self.grants = 0
        self.lookups = 0
        self.views = 0
        self.key_states = 0
        self.lost: list[str] = []
        """Why sessions ended or could not be made."""
        self.session: RemoteSession | None = None
        self.took: list[float] = []
        """Seconds of each renewal and lookup."""
        self.broken: BaseException | None = None
        self._every_s = every_s
        self._reconnects = reconnects
        self._remote = fleet.remote(leaf, **remote)
        self._incarnation = os.urandom(16)
        number = int(leaf.removeprefix("leaf"))
        self._wanted = tenant_mac(1 + number % len(fleet.leaves))

    async def run(self) -> None:
        """Be an agent for ever; without `reconnects`, until the session ends."""
        while True:
            try:
                await self._serve()
            except Nvo3secError as error:
                self.lost.append(str(error))
                if not self._reconnects:
                    return
            except Exception as error:
                self.broken = error
                raise
            await asyncio.sleep(0.2)

    async def _serve(self) -> None:
        session = await self._remote.connect()
        try:
            await session.register(Registration(self._incarnation))
            self.session = session
            # No `except*`: CPython before 3.11.4 wraps what is raised in it (gh-103590).
            await run_together(self._follow(session), self._work(session))
        finally:
            self.session = None
            await session.close()

    async def _follow(self, session: RemoteSession) -> None:
        while True:
            update = await session.next_update()
            self.views += isinstance(update, NveView)
            self.key_states += isinstance(update, KeyState)

    async def _work(self, session: RemoteSession) -> None:
        # Well within its limits: a renewal for every LOOKUPS_A_RENEWAL lookups.
        for number in itertools.count():
            began = time.perf_counter()
            if number % LOOKUPS_A_RENEWAL:
                found = await session.look_up(Lookup(BLUE, mac=self._wanted))
                assert found.result is LookupResult.FOUND, found
                self.lookups += 1
            else:
                grant = await session.renew_lease()
                assert grant.duration_s > 0
                self.grants += 1
            self.took.append(time.perf_counter() - began)
            await asyncio.sleep(self._every_s)


async def served(agents: Iterable[Agent], rounds: int = 3) -> None:
    """Until each agent has had its lease renewed `rounds` times more, and lookups answered; none may lose a session."""
    before = {agent: agent.grants for agent in agents}

    def done() -> bool:
        for agent in before:
            assert agent.broken is None, agent.broken
            assert not agent.lost or agent._reconnects, f"{agent.leaf}: {agent.lost}"
        return all(agent.grants >= count + rounds for agent, count in before.items())

    await until(done, timeout_s=PATIENCE_S)


@contextlib.asynccontextmanager
async def fleet_of(identities: Identities, nves: int = 10, *words: str, files: int = 4096) -> AsyncIterator[Fleet]:
    """An NVA that runs."""
    fleet = Fleet(identities, nves)
    try:
        fleet.start(*words, files=files)
        await fleet.running()
        yield fleet
        assert fleet.process is not None
        assert fleet.process.poll() is None, f"the NVA has ended\n{fleet.log()}"
        assert "Traceback" not in fleet.log(), fleet.log()[fleet.log().index("Traceback") - 400 :][:4000]
    finally:
        await fleet.end()
