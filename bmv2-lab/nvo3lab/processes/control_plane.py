# SPDX-License-Identifier: Apache-2.0
"""The control plane by its command lines: an authority, one NVA, an agent for each NVE, and an operator who asks.

They talk over a loopback interface: of a network namespace of their own, where the lab has namespaces.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvo3lab.processes import nvo3sec_command as controller
from nvo3lab.processes import preflight
from nvo3lab.rundir import temporary
from nvo3lab.topology import Leaf, Topology

DOMAIN = "lab.example"
NVA = "nva"
NVA_NAME = "nva1"
"""Its name in certificates."""
NVA_DNS = f"{NVA_NAME}.nva.{DOMAIN}"
ADDRESS = "127.0.0.1"
OPERATOR = "operator"
HYPERVISOR = "hypervisor1"
"""What the attackers have besides what they stole: devices of this domain without business at an NVA, and an authority
of their own."""
SHARED = ("anchors.pem", "revoked.pem")
"""What every device has of the authorities that it trusts."""


@dataclass(frozen=True)
class ControlPlane:
    """Where everything of the control plane is.

    Attributes:
        directory: the lab's run directory.
        port: of the NVA.
        inside: a process in the network namespace of the control plane; None where it has none of its own.
    """

    directory: Path
    port: int
    inside: int | None = None

    @property
    def nva(self) -> str:
        """The NVA as its clients name it."""
        return f"{NVA_DNS}={ADDRESS}:{self.port}"

    @property
    def authority(self) -> Path:
        return self.directory / "pki"

    @property
    def foreign_authority(self) -> Path:
        return self.directory / "foreign"

    def credentials(self, role: str, name: str) -> Path:
        return self.directory / "credentials" / f"{role}-{name}"

    def nva_command(self, domain: Path) -> list[str]:
        return [
            preflight.executable("nvo3sec"),
            "nva",
            "run",
            "--domain",
            str(domain),
            "--host",
            ADDRESS,
            "--port",
            str(self.port),
            "--credentials",
            str(self.credentials("nva", NVA_NAME)),
            "--database",
            str(self.directory / "database"),
            "--keys",
            str(self.directory / "database-keys"),
            "--run-dir",
            str(self.directory / NVA),
        ]

    def nve_command(self, leaf: Leaf, p4runtime: Path) -> list[str]:
        return [
            preflight.executable("nvo3sec"),
            "nve",
            "run",
            "--name",
            leaf.name,
            "--device-id",
            str(leaf.device_id),
            "--p4runtime",
            f"unix:{p4runtime}",
            "--nva",
            self.nva,
            "--credentials",
            str(self.credentials("nve", leaf.name)),
            "--run-dir",
            str(self.directory / nve(leaf)),
        ]

    async def ask(self, *words: str) -> Any:
        """The JSON that a command of an operator's prints. Raises LabError with its last line of complaint."""
        credentials = self.credentials("operator", OPERATOR)
        where = ("--nva", self.nva, "--credentials", str(credentials))
        return await controller.ask_at(where, *words, inside=self.inside, temporary=temporary(self.directory))

    async def pki(self, *words: str, foreign: bool = False, authority: Path | None = None) -> str:
        """What a command of the authority's, or of another one's, prints. Raises LabError."""
        directory = authority or (self.foreign_authority if foreign else self.authority)
        return await controller.run("pki", *words, "--dir", str(directory), temporary=temporary(self.directory))

    async def make_identities(self, topology: Topology) -> None:
        """Authorities, and the credentials of every process. Raises LabError."""
        await asyncio.gather(self.pki("init", DOMAIN), self.pki("init", DOMAIN, foreign=True))
        for role, name in (
            ("nva", NVA_NAME),
            ("operator", OPERATOR),
            ("hypervisor", HYPERVISOR),
            *(("nve", leaf.name) for leaf in topology.leaves),
        ):
            await self._issue(role, name)
        await self.pki("issue", "nve", topology.leaves[0].name, foreign=True)

    async def _issue(self, role: str, name: str) -> None:
        await self.pki("issue", role, name)
        place = self.credentials(role, name)
        place.mkdir(mode=0o700, parents=True)
        # Links, so that a renewal and a revocation reach every process at once, as a file system for all would do it.
        os.symlink(_made(self.authority, role, name), place / "device.pem")
        for shared in SHARED:
            os.symlink(self.authority / shared, place / shared)

    def device_file(self, role: str, name: str, foreign: bool = False) -> Path:
        """Key and certificate of a device, of whichever authority it has them now."""
        return _made(self.foreign_authority, role, name) if foreign else self.credentials(role, name) / "device.pem"

    def devices(self) -> list[tuple[str, str]]:
        """Role and name of every device that has credentials."""
        places = sorted((self.directory / "credentials").iterdir())
        return [(role, name) for role, _, name in (place.name.partition("-") for place in places)]

    def trust(self, place: Path) -> None:
        """Have every device trust what is in a directory (anchors.pem, revoked.pem) from now on."""
        for role, name in self.devices():
            for shared in SHARED:
                _relink(self.credentials(role, name) / shared, place / shared)

    def equip(self, role: str, name: str, authority: Path) -> None:
        """Have a device use the key and the certificate that an authority has made for it."""
        _relink(self.credentials(role, name) / "device.pem", _made(authority, role, name))

    def to_json(self) -> dict[str, Any]:
        return {"directory": str(self.directory), "port": self.port, "inside": self.inside}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> ControlPlane:
        return cls(Path(state["directory"]), int(state["port"]), state["inside"])

    async def wait_ready(self, ended: dict[str, asyncio.Future[int]], hopeless: Callable[[], str | None]) -> str | None:
        """None once every NVE is ready, else what is missing when the time is up, a process has ended, or it is
        `hopeless`."""
        return await controller.wait_until_ready(self.ask, ended, hopeless)


def _made(authority: Path, role: str, name: str) -> Path:
    return authority / "devices" / role / f"{name}.pem"


def _relink(link: Path, target: Path) -> None:
    """Have a link lead elsewhere, in one step."""
    draft = link.with_name(f".{link.name}.new")
    os.symlink(target, draft)
    draft.replace(link)


def nve(leaf: Leaf) -> str:
    """Name of the process of an agent."""
    return f"nve-{leaf.name}"


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.create_server((ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])
