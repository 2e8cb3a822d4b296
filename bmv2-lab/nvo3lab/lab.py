# SPDX-License-Identifier: Apache-2.0
"""Brings a lab up and takes it down again: underlay first and last, so that its observers miss nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nvo3lab import domain_file
from nvo3lab.errors import GuardianGone, LabError, ProcessError, words_of
from nvo3lab.processes import audit, preflight, switches
from nvo3lab.processes import control_plane as control
from nvo3lab.processes.control_plane import ControlPlane
from nvo3lab.processes.guarded import GUARDIAN, Guarded, how_ended
from nvo3lab.rpc import Client, serve
from nvo3lab.rundir import RunDirectory
from nvo3lab.topology import Topology, reference
from nvo3lab.view import CARELESS, LAB, View, connect_when_ready
from nvo3lab.wires import linux, wiring

_READY = 120.0
"""Seconds until a process listens. One that ends is noticed at once; one that takes so long hangs: a small and busy
machine needs half a minute to start an interpreter, and longer if it compiles the program meanwhile."""
_LOG_TAIL = 12
_CONTROL = "control"
"""Network namespace of the control plane and of its attackers."""
_REFUSED = "kind=PipelineRefused"
"""In the log of an agent: its switch has to be started again before it takes a program."""
_UNFINISHED = "[WARNING] p4softswitch.unfinished"
"""In the log of an embedded switch: who warns of frames as no wire has them."""
_TIDY = (0, -signal.SIGTERM)
"""Exit statuses of a process that was asked to end: by itself, or by the signal."""


@dataclass(frozen=True)
class Options:
    """What a lab is made of.

    Attributes:
        captures: where captures are left after the end; None: nowhere.
        with_controller: False leaves the switches unconfigured, so that nothing passes.
    """

    target: str = "embedded"
    wires: str = "auto"
    name: str = "lab"
    base: Path | None = None
    captures: Path | None = None
    with_controller: bool = True


@dataclass
class Closing:
    """What the last look at a lab has shown."""

    problems: list[str] = field(default_factory=list)
    observation: dict[str, Any] = field(default_factory=dict)
    strays: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)
    """Processes that were asked to end and killed since they did not. Nothing is wrong with them but that."""
    observed: bool = False
    """Whether there were observers of the underlay, which owe a report."""

    def faults(self) -> list[str]:
        """In words, what should not have been."""
        found = list(self.problems)
        for link in self.observation.get("links", []):
            if link["violations"]:
                found.append(
                    f"underlay link of {link['link']}: {link['violations']} frames that are not protected"
                    f" packets; first: {link['examples'][0]}"
                )
            if link["missed"]:
                found.append(f"underlay link of {link['link']}: the observer missed {link['missed']} frames")
        for what in ("undeliverable", "overflowed"):
            if self.observation.get(what):
                found.append(f"underlay: {self.observation[what]} frames {what}")
        if self.observed and not self.observation:
            found.append("the observers did not report")
        found += [
            f"{name}: {len(frames)} frames of no VLAN of this trunk" for name, frames in self.strays.items() if frames
        ]
        found += [
            f"{name} ended with status {code}"
            for name, code in self.statuses.items()
            if code not in _TIDY and not (name in self.killed and code == -signal.SIGKILL)
        ]
        return found


class Lab:
    """One lab. `up` may fail at any point; `down` ends whatever there is by then, and may be called twice."""

    def __init__(
        self, options: Options, say: Callable[[str], None] = lambda _text: None, topology: Topology | None = None
    ) -> None:
        self.options = options
        self.topology = topology or reference()
        self.say = say
        self.closing = Closing()
        self._warned: set[tuple[str, str]] = set()
        self.is_up = False
        """Whether everything came up; it stays so on the way down."""
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with the name of the first process that ended without having been asked to."""
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._pids: dict[str, int] = {}
        self._started: dict[str, int | None] = {}
        self._commands: dict[str, tuple[list[str], str | None]] = {}
        self._door: asyncio.AbstractServer | None = None
        self._run: RunDirectory | None = None
        self._guard: Guarded | None = None
        self._view: View | None = None
        self.wiring: preflight.Wiring | None = None

    @property
    def view(self) -> View:
        if self._view is None:
            raise LabError("the lab is not up")
        return self._view

    @property
    def run_directory(self) -> RunDirectory:
        if self._run is None:
            raise LabError("the lab is not up")
        return self._run

    @property
    def pids(self) -> dict[str, int]:
        """Ids of the processes that were started."""
        return dict(self._pids)

    async def up(self) -> View:
        """Bring everything up, each process ready before the next one leans on it.

        Raises:
            PreflightError: this machine lacks something.
            ProcessError: a process ended or was not ready in time; the message has the end of its log.
        """
        if self.options.captures is not None:
            await asyncio.to_thread(preflight.check_captures, self.options.captures)
        executable = preflight.switch_executable(self.options.target)
        if self.options.target == "embedded":
            preflight.check_compiler()
        preflight.executable("nvo3sec")
        self.wiring = await asyncio.to_thread(preflight.choose_wiring, self.options.wires, self.options.target)
        self.say(f"wires: {'namespaces and veth' if self.wiring.kernel else 'UNIX sockets'} ({self.wiring.reason})")
        self._run = RunDirectory.claim(self.options.name, self.options.base)
        self._guard = await Guarded.launch(
            self._run.path, self.wiring.user_namespace, self._on_end, (self._run.lock,), self.say
        )
        plan = await self._lay_wires()
        sockets = {leaf.name: self._run.control(leaf.name) for leaf in self.topology.leaves}
        self._view = View(self.topology, self.options.target, self.wiring.kernel, sockets)
        await self._start_underlay(plan)
        plane = ControlPlane(self._run.path, control.free_port())
        # Making keys and compiling the program take about the same time, and neither needs the other.
        await asyncio.gather(
            *(self._start_switch(executable, leaf.name, plan) for leaf in self.topology.leaves),
            *([plane.make_identities(self.topology)] if self.options.with_controller else []),
        )
        self.audit_switches()
        await self._start_hosts(plan)
        if self.wiring.kernel and self.options.target == "embedded":
            leaf = self.topology.leaf("leaf1")
            ends = {"access": f"access{leaf.ports[0].number}", "underlay": "underlay0"}
            await self._start_own(CARELESS, "nvo3lab.drill.careless_host", ends, leaf.name)
        if self.options.with_controller:
            await self._start_control_plane(plane, sockets)
            self.audit_switches()
        await self._open_door()
        self._publish()
        self.is_up = True
        return self._view

    async def down(self) -> Closing:
        """Take everything down: the controller and the switches, then the observers' last word, then the rest."""
        guard, self._guard = self._guard, None
        if self._door is not None:
            self._door.close()
        try:
            if guard is not None:
                await self._wind_up(guard)
        except LabError as error:
            self._problem(error)
        finally:
            if self._view is not None:
                await self._view.close()
                self._view = None
            await self._let_go(guard)
        return self.closing

    async def _let_go(self, guard: Guarded | None) -> None:
        """Of the guardian, which removes the run directory, and where it cannot any more, remove that."""
        run, self._run = self._run, None
        try:
            if guard is not None:
                await guard.end()
                if run is not None:
                    run.release()
                return
        except LabError as error:
            self._problem(error)
        try:
            if run is not None:
                await asyncio.to_thread(run.clean)
        except LabError as error:
            self._problem(error)

    def _problem(self, error: LabError) -> None:
        if isinstance(error, GuardianGone):
            if self.broken.done() and self.broken.result() == GUARDIAN:
                return  # it went before anything went down, and that is told (`obituary`, `Closing.faults`)
            self.closing.statuses.pop(GUARDIAN, None)
        if str(error) not in self.closing.problems:
            self.closing.problems.append(str(error))
            self.say(f"while going down: {error}")

    def audit_switches(self) -> None:
        """Raises LabError where a switch has any TCP or UDP socket: its P4Runtime server asks nobody who they are."""
        for leaf in self.topology.leaves:
            found = audit.internet_sockets_of_tree(self._pids[leaf.name])
            if found:
                raise LabError(f"the switch of {leaf.name} is on the network: {', '.join(found)}")

    async def _lay_wires(self) -> wiring.Plan:
        guard, run = self._needed()
        if self.wiring is None or not self.wiring.kernel:
            return wiring.plan_unix(self.topology, run.wire)
        plan = wiring.plan_kernel(self.topology)
        namespaces = [*plan.namespaces, _CONTROL]
        for name in namespaces:
            await guard.namespace(name)
        await guard.plumb({"namespaces": namespaces, "links": plan.links})
        return plan

    async def _start_underlay(self, plan: wiring.Plan) -> None:
        _guard, run = self._needed()
        links = [
            {
                "name": leaf.name,
                "mac": leaf.mac,
                "ends": self.topology.ends_of(leaf),
                "wire": plan.fabric[leaf.name],
            }
            for leaf in self.topology.leaves
        ]
        vns = domain_file.watched(domain_file.domain(self.topology, self.view.switches))
        told = {"links": links, "vns": vns, "captures": str(run.captures)}
        await self._start_own("underlay", "nvo3lab.wires.fabric", told)
        self.closing.observed = True
        self.say(f"underlay: {len(links)} links, observed from now on")

    async def _start_switch(self, executable: str, name: str, plan: wiring.Plan) -> None:
        _guard, run = self._needed()
        socket = run.control(name)
        argv = switches.command(executable, self.topology.leaf(name), plan.switch_ports[name], socket)
        await self._start(name, argv)
        if not await switches.wait_listening(socket, _READY, self._ended[name]):
            raise self._not_ready(name, _READY)
        numbers = ", ".join(port.split("@")[0] for port in plan.switch_ports[name])
        self.say(f"{name}: {Path(executable).name}, ports {numbers}")

    async def _start_hosts(self, plan: wiring.Plan) -> None:
        _guard, run = self._needed()
        for name, ends in plan.trunks.items():
            await self._start_own(name, "nvo3lab.wires.trunk", {**ends, "name": name, "captures": str(run.captures)})
        await asyncio.gather(*(self._start_host(name, wire) for name, wire in plan.hosts.items()))
        self.say(f"hosts: {', '.join(plan.hosts)}")

    async def _start_host(self, name: str, wire: dict[str, str]) -> None:
        _guard, run = self._needed()
        host = self.topology.host(name)
        members = {member.ip: member.mac for member in self.topology.members(host.tenant)}
        await self._start_own(
            name,
            "nvo3lab.host",
            {
                "name": name,
                "mac": host.mac,
                "ip": host.ip,
                "members": members,
                "wire": wire,
                "stack": "kernel" if self.view.kernel else "user",
                "captures": str(run.captures),
            },
        )

    async def _start_own(
        self, name: str, module: str, configuration: dict[str, Any], namespace: str | None = None
    ) -> None:
        """Start a process of the lab's own, and connect to it."""
        _guard, run = self._needed()
        path = run.configure(name, {**configuration, "control": str(run.control(name))})
        await self._start(name, [sys.executable, "-P", "-m", module, str(path)], namespace)
        try:
            client = await connect_when_ready(name, run.control(name), _READY, self._ended[name])
        except ProcessError:
            raise self._not_ready(name, _READY) from None
        self.view.adopt(name, client)

    async def _start_control_plane(self, plane: ControlPlane, sockets: dict[str, Path]) -> None:
        _guard, run = self._needed()
        path = run.path / "domain.yaml"
        domain_file.write(self.topology, sockets, path)
        names = [control.NVA, *(control.nve(leaf) for leaf in self.topology.leaves)]
        await self._start(control.NVA, plane.nva_command(path), _CONTROL)
        for leaf in self.topology.leaves:
            await self._start(control.nve(leaf), plane.nve_command(leaf, sockets[leaf.name]), _CONTROL)
        await self._start_own(
            "intruder",
            "nvo3lab.drill.intruder",
            {
                "host": control.ADDRESS,
                "port": plane.port,
                "name": control.NVA_DNS,
                "anchors": str(plane.credentials("operator", control.OPERATOR) / "anchors.pem"),
            },
            _CONTROL,
        )
        if self.view.kernel:
            # NVA and agents are killed and started again; the intruder is in the same namespace, and stays.
            plane = replace(plane, inside=self._pids["intruder"])
        self.view.control = plane
        missing = await plane.wait_ready({name: self._ended[name] for name in names}, self._refused)
        if missing:
            logs = "\n".join(self.log_tail(name) for name in names)
            raise ProcessError(f"control plane: {missing}\n{logs}")
        self.say(f"control plane: NVA and {len(names) - 1} agents, mutual TLS on {plane.nva}; every NVE is ready")

    def _refused(self) -> str | None:
        """Whose switch has refused the program, as its agent says in its log: it does not offer it again."""
        for leaf in self.topology.leaves:
            if _REFUSED in self._log(control.nve(leaf)):
                return f"the switch of {leaf.name} has refused the program for good\n{self.log_tail(leaf.name)}"
        return None

    async def kill(self, name: str) -> None:
        """Kill a process of the lab, as an out-of-memory killer would; `start_again` is what brings it back."""
        guard, _run = self._needed()
        await guard.kill(name)

    async def pause(self, name: str) -> None:
        """Have a process of the lab hang, until `resume`."""
        guard, _run = self._needed()
        await guard.pause(name)

    async def resume(self, name: str) -> None:
        """Let a process of the lab go on that was paused."""
        guard, _run = self._needed()
        await guard.resume(name)

    async def start_again(self, name: str) -> None:
        """Start a process that was killed, with the command line that it had. Raises ProcessError."""
        if name not in self._commands:
            raise ProcessError(f"this lab has not started {name}")
        await self._start(name, *self._commands[name])
        self._publish()

    async def _open_door(self) -> None:
        """Let a drill, which may be a process of its own, kill, pause and start processes of this lab."""
        _guard, run = self._needed()
        methods = {"kill": self.kill, "start": self.start_again, "pause": self.pause, "resume": self.resume}
        self._door = await serve(run.control(LAB), methods)
        self.view.adopt(LAB, await Client.connect(LAB, run.control(LAB)))

    async def _start(self, name: str, argv: list[str], namespace: str | None = None) -> None:
        """Start a process, in the namespace of its own name unless told, if the lab has namespaces."""
        guard, run = self._needed()
        self._commands[name] = argv, namespace
        self._ended[name] = asyncio.get_running_loop().create_future()
        namespace = (namespace or name) if self.wiring is not None and self.wiring.kernel else None
        self._pids[name] = await guard.start(name, argv, run.log(name), namespace)
        self._started[name] = linux.start_time(self._pids[name])

    async def _wind_up(self, guard: Guarded) -> None:
        agents = (control.nve(leaf) for leaf in self.topology.leaves)
        await self._stop(guard, *agents, control.NVA)
        await self._stop(guard, *(leaf.name for leaf in self.topology.leaves))
        # The switches are gone, so this is the last word about what they sent.
        if self._view is not None:
            if self._view.fabric is not None and not self._is_gone(self._view.fabric.name):
                self.closing.observation = await self._view.fabric.call("report")
            for name, trunk in self._view.trunks.items():
                if self._is_gone(name):
                    continue
                self.closing.strays[name] = (await trunk.call("report"))["strays"]
        if self._run is not None and self.options.captures is not None:
            await asyncio.to_thread(_keep_captures, self._run.captures, self.options.captures)

    def _is_gone(self, name: str) -> bool:
        """Whether a process has ended by itself: that is told, and not that it does not answer."""
        return name in self._ended and self._ended[name].done()

    async def _stop(self, guard: Guarded, *names: str) -> None:
        self.closing.statuses |= await guard.stop(*names)
        for name in sorted(guard.killed.keys() - self.closing.killed):
            self.closing.killed.add(name)
            self.say(f"{name} had not ended {guard.killed[name]:.0f} s after it was asked to, and was killed")

    def _publish(self) -> None:
        guard, run = self._needed()
        controls = {client.name: str(run.control(client.name)) for client in self.view.clients()}
        run.save(
            {
                "name": self.options.name,
                "target": self.options.target,
                "kernel": self.view.kernel,
                "owner": os.getpid(),
                "guardian": guard.pid,
                "pids": self._pids,
                "started": self._started,
                "controls": controls,
                "control": None if self.view.control is None else self.view.control.to_json(),
                "switches": {name: str(path) for name, path in self.view.switches.items()},
            }
        )

    def obituary(self, name: str) -> str:
        """In words, how a process ended by itself, with the end of its log."""
        how = how_ended(self.closing.statuses.get(name))
        if name == GUARDIAN:
            return f"the {name} of the lab {how}, and with it every process of the lab"
        return f"{name} {how}\n{self.log_tail(name)}"

    def log_tail(self, name: str) -> str:
        """The last lines of a process's log."""
        return "\n".join(f"  {name}| {line}" for line in self._log(name).splitlines()[-_LOG_TAIL:])

    def _log(self, name: str) -> str:
        try:
            return self.run_directory.log(name).read_text(errors="replace")
        except OSError:
            return ""

    def warnings(self) -> list[str]:
        """What the embedded switches have warned of since this was asked last: of each port the first frames."""
        found = []
        for leaf in self.topology.leaves:
            for line in self._log(leaf.name).splitlines():
                _time, warned, what = line.partition(f" {_UNFINISHED}: ")
                if warned and " more with " not in what and (leaf.name, what) not in self._warned:
                    self._warned.add((leaf.name, what))
                    found.append(f"{leaf.name}: {what}")
        return found

    def _not_ready(self, name: str, timeout: float) -> ProcessError:
        ended = self._ended[name]
        what = f"ended with status {ended.result()}" if ended.done() else f"was not ready within {timeout:g} s"
        return ProcessError(f"{name} {what}\n{self.log_tail(name)}")

    def _on_end(self, name: str, status: int) -> None:
        future = self._ended.get(name)
        if future is not None and not future.done():
            future.set_result(status)
        self.closing.statuses[name] = status
        if not self.broken.done():
            self.broken.set_result(name)

    def _needed(self) -> tuple[Guarded, RunDirectory]:
        if self._guard is None or self._run is None:
            raise LabError("the lab is going down")
        return self._guard, self._run


def _keep_captures(source: Path, target: Path) -> None:
    """Raises LabError: a disk can be full."""
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        for capture in source.glob("*.pcap"):
            shutil.copyfile(capture, target / capture.name)
    except OSError as error:
        raise LabError(f"not all captures are in {target}: {words_of(error)}") from None
