# SPDX-License-Identifier: Apache-2.0
"""From the command to revoke an NVE until every other one has confirmed that it let go, with many NVEs in one VN.

    PYTHONPATH=controller/tests/support python controller/bench/revocation.py [--nves 60] [--times 20]

The NVA is a process of its own with TLS and its store on disk. Agents are simulated in this process: real sessions,
which confirm at once what they are told, in place of a switch. What a switch takes is in `convergence.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog
from attack_world import Fleet, fleet_of
from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, NveView, ReadBack, Registration
from nvo3sec.errors import Nvo3secError
from overlay_world import Identities


class Agent:
    """Confirms what it is told."""

    def __init__(self, fleet: Fleet, leaf: str) -> None:
        self.leaf = leaf
        self.view: NveView | None = None
        self._fleet = fleet
        self._incarnation = os.urandom(16)
        self._keys = KeyState(0, self._incarnation, (), ())
        self.sends = 0

    async def run(self) -> None:
        """Until its session ends."""
        session = await self._fleet.remote(self.leaf).connect()
        try:
            await session.register(Registration(self._incarnation))
            while True:
                await self._take(await session.next_update())
                if self.view is not None:
                    await session.read_back(self._read_back(self.view))
        except Nvo3secError:
            return  # it is the one that is revoked
        finally:
            await session.close()

    async def _take(self, update: Any) -> None:
        match update:
            case NveView():
                self.view = update
                peers = {peer.name for peer in update.peers}
                receive = tuple(sa for sa in self._keys.receive if sa.peer in peers)
                send = tuple(sa for sa in self._keys.send if sa.peer in peers)
                self._keys = KeyState(self._keys.version, self._incarnation, receive, send)
            case KeyState():
                self._keys = update
            case KeyUpdate():
                self._keys = key_changes.after(self._keys, update, 0.0)
        self.sends = len(self._keys.send)

    def _read_back(self, view: NveView) -> ReadBack:
        return ReadBack(
            self._incarnation,
            tuple((sa.peer, sa.suite, sa.spi) for sa in self._keys.receive),
            tuple((sa.peer, sa.suite, sa.spi) for sa in self._keys.send),
            view.version,
        )


async def revocations(count: int, times: int) -> None:
    """Revoke one after another."""
    words = ("--limit", f"per-source={count + 8}", "--limit", "unfinished-per-source=64", "--limit", "rate=500/1000")
    words += ("--limit", "newcomer-rate=500/1000")
    with tempfile.TemporaryDirectory() as directory:
        async with fleet_of(Identities(Path(directory)), count, *words) as fleet:
            agents = [Agent(fleet, leaf) for leaf in fleet.leaves]
            began = time.perf_counter()
            tasks = [asyncio.create_task(agent.run()) for agent in agents]
            await _settled(agents)
            passed = time.perf_counter() - began
            print(f"{count} NVEs, {count * (count - 1)} directions: all keys everywhere after {passed:.1f} s")
            took = []
            for _ in range(times):
                gone = agents.pop()
                cpu = fleet.cpu_s()
                result = await fleet.ask("revoke", nve=gone.leaf)
                took.append(1000 * result["cut_off_s"])
                await _settled(agents)
            cpu = fleet.cpu_s() - cpu
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(
        f"revocation to last cut-off: p50 {statistics.median(took):.0f} ms, p99 {p99:.0f} ms, of {times};"
        f" {cpu:.2f} s of the NVA's processor time for the last"
    )


async def _settled(agents: list[Agent]) -> None:
    """Until each has a key towards every other one, and no more."""
    while any(agent.sends != len(agents) - 1 for agent in agents):
        await asyncio.sleep(0.005)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nves", type=int, default=60)  # a VN may have 61 behind one port
    parser.add_argument("--times", type=int, default=20)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(revocations(chosen.nves, chosen.times))


if __name__ == "__main__":
    main()
