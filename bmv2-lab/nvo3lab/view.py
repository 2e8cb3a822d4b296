# SPDX-License-Identifier: Apache-2.0
"""A running lab as its users see it: connections to its hosts, its underlay and its trunks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvo3lab.errors import LabError, ProcessError, words_of
from nvo3lab.processes.control_plane import ControlPlane
from nvo3lab.rpc import Client
from nvo3lab.rundir import load_state
from nvo3lab.topology import Topology, reference

_READY_INTERVAL = 0.02
LAB = "lab"
"""Name of the lab itself, among the processes that answer requests."""
CARELESS = "leaf1-host"


async def connect_when_ready(name: str, path: Path, timeout: float, ended: asyncio.Future[int] | None = None) -> Client:
    """Connect to a process of the lab as soon as it listens.

    Args:
        ended: resolves with the exit status if the process ends before.

    Raises:
        ProcessError: it ended, or did not listen in time.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        try:
            return await Client.connect(name, path)
        except OSError:
            if ended is not None and ended.done():
                raise ProcessError(f"{name} ended with status {ended.result()} before it was ready") from None
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessError(f"{name} was not ready within {timeout:g} s") from None
            await asyncio.sleep(_READY_INTERVAL)


@dataclass
class View:
    """Connections to the processes of a lab.

    Attributes:
        target: "embedded" or "bmv2".
        kernel: whether hosts have the kernel's stack.
        switches: of each leaf, the P4Runtime socket of its switch.
        careless: the machine of leaf1, where the kernel's stack stands beside an embedded switch.
        lab: the lab itself, which kills and starts its processes.
    """

    topology: Topology
    target: str
    kernel: bool
    switches: dict[str, Path]
    hosts: dict[str, Client] = field(default_factory=dict)
    trunks: dict[str, Client] = field(default_factory=dict)
    fabric: Client | None = None
    intruder: Client | None = None
    careless: Client | None = None
    lab: Client | None = None
    control: ControlPlane | None = None

    @classmethod
    async def of_running(cls, name: str) -> View:
        """Connect to a lab that is up. Raises AbsentError where there is none of this name."""
        state = load_state(name)
        view = cls(
            reference(),
            state["target"],
            state["kernel"],
            {leaf: Path(path) for leaf, path in state["switches"].items()},
        )
        if state["control"] is not None:
            view.control = ControlPlane.from_json(state["control"])
        try:
            for process, path in state["controls"].items():
                view.adopt(process, await Client.connect(process, Path(path)))
        except OSError as error:
            await view.close()
            why = f"it is gone, or does not answer: {words_of(error)}"
            raise LabError(f"the lab named {name}: {why}; `nvo3sec lab ps` shows what is left") from None
        return view

    def adopt(self, process: str, client: Client) -> None:
        if process == "underlay":
            self.fabric = client
        elif process == "intruder":
            self.intruder = client
        elif process == CARELESS:
            self.careless = client
        elif process == LAB:
            self.lab = client
        elif process.startswith("trunk-"):
            self.trunks[process] = client
        else:
            self.hosts[process] = client

    @property
    def underlay(self) -> Client:
        if self.fabric is None:
            raise LabError("the lab has no underlay")
        return self.fabric

    def clients(self) -> Iterable[Client]:
        others = (self.fabric, self.intruder, self.careless, self.lab)
        return (*self.hosts.values(), *self.trunks.values(), *(client for client in others if client is not None))

    async def close(self) -> None:
        for client in self.clients():
            await client.close()

    async def received(self) -> dict[str, dict[str, Any]]:
        """The ledger of every host."""
        names = list(self.hosts)
        answers = await asyncio.gather(*(self.hosts[name].call("received") for name in names))
        return dict(zip(names, answers, strict=True))
