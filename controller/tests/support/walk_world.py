# SPDX-License-Identifier: Apache-2.0
"""A walk through correct operations: what every process logs, and what operators are shown, after each of them.

Each of them names what is due, with its reason. Everything else that warns or alarms is a fault, and so is a line that
one process says twice.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nvo3sec.operator.console import ask
from overlay_world import LEAVES, READY_S, Overlay, command, ending, until
from places import ROOT

DOCUMENT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
LEVELS = ("warning", "error", "critical")
_SWITCH_LINE = re.compile(r"\[[^]]+\] \[(?P<level>[A-Z]+)\] (?P<said>.*)")


@dataclass(frozen=True, order=True)
class Said:
    """One thing that somebody may be alarmed by: a line of a log, or of what `status` shows."""

    process: str
    what: str
    """The event of a line; `report EVENT`, and what else of `status` it is."""
    detail: str = ""
    life: int = 0
    """Of a log: the how manieth process of this name it was."""

    def __str__(self) -> str:
        return f"{self.process}: {self.what}: {self.detail}"


@dataclass(frozen=True)
class Due:
    """What an operation is documented to cause. process, what, detail: regular expressions, each of the whole."""

    process: str
    what: str
    why: str
    detail: str = ".*"
    again: bool = False
    """Also in the same words."""

    def __post_init__(self) -> None:
        event = self.what.removeprefix("report ")
        assert event == "report" or f"`{event}`" in DOCUMENT, f"docs/operating.md does not say that {event} is due"

    def covers(self, said: Said) -> bool:
        pairs = ((self.process, said.process), (self.what, said.what), (self.detail, said.detail))
        return all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in pairs)


SESSION_ENDS = Due("nva", "nve disconnected", "an agent has ended, or its NVA has: the lease runs", r".*leaf\d.*")
WITHOUT_NVA = (
    Due("leaf.", "no connection", "its NVA is away", ".*unreachable.*"),
    Due("leaf.", "not serving", "its NVA is away", ".*NvaUnreachable.*"),
)
WITHOUT_SWITCH = Due("leaf.", "not serving", "its switch is away", ".*SwitchUnreachable.*")
NEW_INCARNATION = Due("nva", "keys dropped, new incarnation", "who begins with sequence numbers anew gets new keys")


def shut_out(leaf: str) -> tuple[Due, ...]:
    """What is due when an NVE is not let in any more, and of nobody else."""
    return (
        Due("nva", "nve disconnected", "its session ends", f".*{leaf}.*"),
        Due("nva", "peer closed", "its connection ends, if it has one just then", f".*{leaf}.*"),
        # Each is an attempt; how many of them are logged is limited in the rate.
        Due("nva", "call refused", "it tries to come back", f".*{leaf}.*", again=True),
        Due(leaf, "not serving", "it is told why", ".*(AuthorizationError|NvaUnreachable).*"),
    )


def reported(event: str, why: str) -> tuple[Due, ...]:
    """A report of the NVA: in its log, and in `status`."""
    return (Due("leaf.", f"report {event}", why), Due("nva", "report", why, f'.*"what": "{event}".*'))


class Walk(Overlay):
    """An overlay whose processes log JSON, that looks after each step for what has been said in it."""

    def __init__(self, *arguments: Any, **lifetimes: float) -> None:
        super().__init__(*arguments, **lifetimes)
        self._read: dict[Path, int] = {}
        self._incarnations: dict[str, str] = {}
        self._begins: dict[str, list[int]] = {}
        self._known: list[tuple[str, str, str]] = []
        self.document: dict[str, Any] = yaml.safe_load(self.identities.domain_file.read_text())

    def start(self, name: str, credentials: Path | None = None, more: Sequence[str] = ()) -> None:
        log = self.directory / f"{name}.process"
        self._begins.setdefault(name, []).append(log.stat().st_size if log.exists() else 0)
        super().start(name, credentials, ["--log-json", "--log-level", "info", *more])

    def run(self, *words: str) -> str:
        """A command beside the processes, which has to be taken."""
        done = subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=READY_S)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    async def operated(self, *words: str) -> str:
        """A command of an operator's, which has to be taken without a word beside its result."""
        done = await asyncio.to_thread(self.operate, *words)
        assert done.returncode == 0, f"{' '.join(words)} ends with {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout

    async def agent(self, leaf: str, *words: str) -> str:
        """A command for the agent of an NVE, on its machine."""
        return await asyncio.to_thread(self.run, "nve", *words, "--run-dir", str(self.run_directory(leaf)))

    async def apply(self, change: Callable[[Any], object]) -> None:
        """The operator's domain file, changed, and applied."""
        change(self.document)
        text = yaml.safe_dump(self.document)
        found = await asyncio.to_thread(ask, self.run_directory("nva"), "domain_diff", text=text)
        assert (found["refused"], bool(found["changes"])) == ([], True)
        await asyncio.to_thread(ask, self.run_directory("nva"), "domain_apply", text=text, base=found["base"])

    async def stop(self, name: str) -> None:
        """As an operator does."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, READY_S) == 0, self.log(name)

    async def begin_switch(self, leaf: str) -> None:
        """Start a switch that has ended, and wait until the NVA has noticed that it is not the one that it was."""
        self.switches[leaf].start()
        while self._incarnations.get(leaf) == (await self._incarnation(leaf)):
            await asyncio.sleep(0.05)
        await self.ports[leaf].close()
        await self.ports[leaf].open()

    async def stop_switch(self, leaf: str) -> None:
        process = self.switches[leaf].process
        assert process is not None
        process.terminate()
        await asyncio.to_thread(process.wait, READY_S)
        self.switches[leaf].process = None

    def add(self, leaf: str, switch: Any) -> None:
        """Begin with one NVE more."""
        self.switches[leaf] = switch
        self.start(leaf)

    async def restart_with(self, **fields: str) -> None:
        """What can be changed with a restart of the NVA only."""
        self.document |= fields
        await self.stop("nva")
        self.identities.domain_file.write_text(yaml.safe_dump(self.document))
        self.start("nva", more=["--apply-domain"])

    @contextlib.asynccontextmanager
    async def takes(self, event: str, *names: str) -> AsyncIterator[None]:
        """Has each of these processes say this at the end."""
        before = {name: self.log(name).count(f'"event": "{event}"') for name in names}
        yield
        for name in names:
            await until(lambda name=name: self.log(name).count(f'"event": "{event}"') > before[name])

    async def is_shut_out(self, leaf: str) -> None:
        """Until everybody has let go of an NVE, and it has been told."""
        while not {one["nve"]: one["excluded"] for one in (await self.ready())["switches"]}[leaf]:
            await asyncio.sleep(0.05)
        await until(lambda: "AuthorizationError" in self.log(leaf))

    async def _incarnation(self, leaf: str) -> str:
        found: str = {one["nve"]: one["incarnation"] for one in (await self.ready())["switches"]}[leaf]
        return found

    async def settled(self) -> dict[str, Any]:
        """The status once everybody who should be is there, and nothing is under way."""
        while True:
            status = await self.ready()
            wanted = {one["nve"] for one in status["switches"] if not one["excluded"]} & self.processes.keys()
            there = {one["nve"] for one in status["switches"] if one["registered"]}
            if wanted <= there and all(one["state"] == "sending" for one in status["keys"]):
                return status
            await asyncio.sleep(0.05)

    def _lines(self, process: str, path: Path, begins: Sequence[int] = ()) -> list[Said]:
        """What a log says that was not read yet, of a level that alarms."""
        at = self._read.get(path, 0)
        with path.open("rb") as log:
            log.seek(at)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read[path] = at + len(new)
        found = []
        for raw in new.splitlines(keepends=True):
            life, line = bisect.bisect(begins, at), raw.decode().rstrip("\n")
            at += len(raw)
            if line.startswith("{"):
                event = json.loads(line)
                if event["level"] in LEVELS:
                    rest = {key: one for key, one in event.items() if key not in ("level", "event", "timestamp")}
                    found.append(Said(process, event["event"], json.dumps(rest), life))
            elif line.startswith("Server listening on "):
                continue  # what BMv2 says, too
            elif (match := _SWITCH_LINE.fullmatch(line)) is None or match["level"].lower() in LEVELS:
                found.append(Said(process, "line", line, life))
        return found

    def _shown(self, status: Mapping[str, Any]) -> list[Said]:
        """What `status` shows that alarms, and is not what has been told before."""
        found = [Said("status", "warning", one) for one in status["warnings"]]
        found += [Said("status", "not ready", one) for one in status["not_ready"]]
        for one in status["switches"]:
            found += [
                Said(one["nve"], what, text) for what in ("foreign", "alarms", "differences") for text in one[what]
            ]
            if one["packets_lost"]:
                found.append(Said(one["nve"], "packets_lost", str(one["packets_lost"])))
        reports = [(one["nve"], one["event"], one["detail"]) for one in status["reports"]]
        new = list(reports)
        for one in self._known:
            if one in new:
                new.remove(one)
        self._known = reports
        self._incarnations = {one["nve"]: one["incarnation"] for one in status["switches"]}
        return found + [Said(nve, f"report {event}", detail) for nve, event, detail in new]

    async def heard(self) -> list[Said]:
        """What has been said since this was asked last, as soon as nothing is under way."""
        status = await self.settled()
        found = self._shown(status)
        for name, begins in self._begins.items():
            found += self._lines(name, self.directory / f"{name}.process", begins)
        for leaf, switch in self.switches.items():
            found += self._lines(f"switch of {leaf}", switch.log)
        return found

    @contextlib.asynccontextmanager
    async def step(self, name: str, *due: Due) -> AsyncIterator[None]:
        """One operation. Fails, and names it, if more has been said at its end than is due, or the same twice."""
        yield
        found = await self.heard()
        undue = [f"not due: {one}" for one in found if not any(each.covers(one) for each in due)]
        may_come_again = [one for one in due if one.again]
        for one, count in Counter(said for said in found if said.life).items():
            if count > 1 and not any(each.covers(one) for each in may_come_again):
                undue.append(f"{count} times: {one}")
        assert not undue, "\n  ".join([f"after {name!r}, which is a correct operation:", *undue])


@contextlib.asynccontextmanager
async def walk(identities: Any, start_switch: Any, **lifetimes: float) -> AsyncIterator[Walk]:
    """A walk that has begun: everything is ready, and what its start says has been looked at."""
    world = Walk(identities, start_switch, **lifetimes)
    async with ending(world):
        async with world.step("the first start"):
            world.start("nva")
            await until(lambda: '"NVA running"' in world.log("nva"))
            for name in LEAVES:
                world.start(name)
            await world.ready()
        await world.open_ports()
        yield world
