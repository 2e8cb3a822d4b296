# SPDX-License-Identifier: Apache-2.0
"""Which ports of a switch are down: from the switch, from the kernel, and from nobody."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_network import can_make_veth, ip, own_network
from nvo3sec.errors import NoSuchService, ReadRefused, SwitchError, SwitchUnreachable
from nvo3sec.nve.underlay import links as module
from nvo3sec.nve.underlay.links import PortLinks
from nvo3sec.p4runtime import SwitchClient, load_artifacts
from nvo3sec.p4runtime.portstates import LONGEST_ANSWER, PortStates, parse_port_states
from nvo3sec.system import interfaces
from nvo3sec.system.interfaces import InterfaceStates
from server_command import running
from server_harness import PROGRAMS
from structlog.testing import capture_logs
from switches import EXECUTABLES, SwitchProcess

PATIENCE_S = 60.0
needs_interfaces = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")

UP, DOWN = PortStates({256: "", 257: ""}), PortStates({256: "no carrier", 257: ""})


class Told:
    """A switch that tells what it is told to; `None` in a stream: nothing more comes of it."""

    name = "leaf1"

    def __init__(self, *streams: list[PortStates | SwitchError | None]) -> None:
        self.streams = list(streams)
        self.asked = 0

    async def watch_ports(self) -> AsyncIterator[PortStates]:
        self.asked += 1
        for item in self.streams.pop(0) if self.streams else [None]:
            if item is None:
                await asyncio.get_running_loop().create_future()
            elif isinstance(item, SwitchError):
                raise item
            else:
                yield item


class Watched:
    """Links that are run, and how often they changed."""

    def __init__(self, client: Any, named: dict[int, str] | None = None) -> None:
        self.event = asyncio.Event()
        self.changes: list[frozenset[int]] = []
        self.links = PortLinks(client, self._changed, named)
        self.task = asyncio.create_task(self.links.run())

    def _changed(self) -> None:
        self.changes.append(self.links.down)
        self.event.set()

    async def until(self, *down: int) -> None:
        await self.when(lambda: self.links.down == set(down))

    async def when(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.event.clear()
                waits = asyncio.ensure_future(self.event.wait())
                await asyncio.wait((waits, self.task), return_when=asyncio.FIRST_COMPLETED)
                waits.cancel()
                assert not self.task.done(), self.task

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACE_S", "RETRY_FIRST_S", "RETRY_LAST_S"):
        monkeypatch.setattr(module, name, 0.0)


class TestWhatASwitchTells:
    @in_a_loop
    async def test_each_change_once(self) -> None:
        with capture_logs() as lines:
            watched = Watched(Told([UP, DOWN, DOWN, UP, DOWN, PortStates({256: "gone", 257: ""}), None]))
            await watched.when(lambda: len(watched.changes) == 3)
        assert watched.changes == [{256}, set(), {256}]
        assert (watched.links.since(256) or 0) >= 0
        assert (watched.links.since(257) is None, watched.links.since(1)) == (False, None)
        await watched.end()
        assert watched.links.down == set()
        assert [(line["event"], line["port"]) for line in lines if line["event"] != "links-interrupted"][:3] == [
            ("port-down", 256), ("port-up", 256), ("port-down", 256)
        ]  # fmt: skip

    @in_a_loop
    async def test_since_goes_on_with_another_reason(self) -> None:
        now = [100.0]
        links = PortLinks(Told(), lambda: None, clock=lambda: now[0])  # type: ignore[arg-type]
        links._know({1: "no carrier"})
        now[0] = 107.0
        links._know({1: "no interface"})
        assert (links.since(1), links.reason(1)) == (7.0, "no interface")
        links._know({1: ""})
        assert (links.since(1), links.reason(1)) == (0.0, "")

    @in_a_loop
    async def test_its_connection_breaks(self) -> None:
        links = PortLinks(Told([DOWN, SwitchUnreachable("gone")]), lambda: None)  # type: ignore[arg-type]
        with pytest.raises(SwitchUnreachable):
            await links.run()
        assert (links.down, links.since(256)) == (set(), None)

    @pytest.mark.parametrize("ending", [[], [ReadRefused("16 at a time")]])
    @in_a_loop
    async def test_what_it_told_counts_until_it_is_asked_again(self, ending: list[Any]) -> None:
        """A watch that ends is begun anew, and meanwhile nothing changes."""
        client = Told([DOWN, *ending], list(ending), [DOWN, UP, None])
        watched = Watched(client)
        await watched.when(lambda: len(watched.changes) == 2)
        assert (watched.changes, client.asked) == ([{256}, set()], 3)
        await watched.end()

    @in_a_loop
    async def test_what_nobody_tells_any_more_is_not_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "DOUBT_S", 0.0)
        watched = Watched(Told([DOWN], [None]))
        await watched.when(lambda: len(watched.changes) == 2)
        assert (watched.changes, watched.links.since(256)) == ([{256}, set()], None)
        await watched.end()

    @in_a_loop
    async def test_nonsense(self) -> None:
        """It is counted, hides what is fine beside it no more than it ends anything, and does not fill the log."""
        nonsense = parse_port_states(b"[]")
        partly = parse_port_states(json.dumps({"ports": {"1": {"state": "sideways", "reason": ""},
                                                         "2": {"state": "down", "reason": "x"}}}).encode())  # fmt: skip
        with capture_logs() as lines:
            watched = Watched(Told([DOWN, *([nonsense] * 1000), partly, None]))
            await watched.until(2)
        assert (watched.links.refused, watched.changes) == (1001, [{256}, set(), {2}])
        assert len(lines) < 100
        await watched.end()

    @in_a_loop
    async def test_it_has_no_such_service(self) -> None:
        """BMv2: nothing is known, which is said once."""
        client = Told([NoSuchService("it does not tell")])
        with capture_logs() as lines:
            watched = Watched(client)
            await asyncio.wait((watched.task,), timeout=0)
            for _ in range(10):
                await asyncio.sleep(0)
        assert [(line["event"], line["log_level"]) for line in lines] == [("links-unknown", "info")]
        assert (watched.links.down, watched.changes, client.asked, watched.task.done()) == (set(), [], 1, False)
        await watched.end()


class TestAnswers:
    @pytest.mark.parametrize(
        ("ports", "known", "fault"),
        [
            ({"0": ("up", ""), "511": ("absent", "no program runs")}, {0: "", 511: "no program runs"}, ""),
            ({"1": ("down", "")}, {1: "down"}, ""),
            ({"1": ("up", "not so")}, {1: ""}, ""),
            ({"1": ("down", "x" * 5000)}, {1: "x" * 200}, ""),
            ({"512": ("down", "x"), "1": ("up", "")}, {1: ""}, "'512'; ports are 0 to 511"),
            ({"01": ("down", "x")}, {}, "'01'"),
            ({"-1": ("down", "x")}, {}, "'-1'"),
            ({"\u0661": ("down", "x")}, {}, "ports are 0 to 511"),
            ({"1": ("sideways", "x")}, {}, "port 1 is 'sideways'; known are up, down, absent"),
            ({"1": ([[]], "x")}, {}, "port 1 is a list"),
            ({"1": ("down", 7)}, {}, "port 1 without a reason"),
            ({str(n): ("up", "") for n in range(513)}, {}, "513 ports; a switch has at most 512"),
        ],
    )
    def test_ports(self, ports: dict[str, Any], known: dict[int, str], fault: str) -> None:
        document = {"ports": {port: {"state": state, "reason": why} for port, (state, why) in ports.items()}}
        found = parse_port_states(json.dumps(document).encode())
        assert found.reasons == known
        assert len(found.faults) == bool(fault)
        assert not fault or fault in found.faults[0]

    @pytest.mark.parametrize(
        "answer",
        [b"", b"\xff", b"[]", b"{}", b'{"ports": []}', b'{"ports": {"1": 7}}', b"[" * 100_000, b"9" * 5000,
         b'{"ports": {"1": {"state": "down"}}}', b" " * (LONGEST_ANSWER + 1)],
    )  # fmt: skip
    def test_another_form(self, answer: bytes) -> None:
        found = parse_port_states(answer)
        assert (found.reasons, len(found.faults)) == ({}, 1)


def make_pair(name: str = "inner") -> None:
    ip("link", "add", name, "type", "veth", "peer", "name", "outer")
    for one in (name, "outer"):
        ip("link", "set", one, "up", "addrgenmode", "none")


@pytest.fixture
def network() -> Iterator[None]:
    with own_network():
        make_pair()
        yield


async def play(watched: Watched) -> None:
    """What becomes of the pair of which port 256 is one end, and what is known then."""
    for interface, reason in (("outer", "has no carrier"), ("inner", "is switched off")):
        ip("link", "set", interface, "down")
        await watched.until(256)
        assert reason in watched.links.reason(256)
        ip("link", "set", interface, "up")
        await watched.until()
    ip("link", "delete", "inner")
    await watched.until(256)
    make_pair()
    await watched.until()


@needs_interfaces
@pytest.mark.usefixtures("network")
class TestInterfaces:
    @in_a_loop
    async def test_all_that_becomes_of_one(self) -> None:
        watched = Watched(Told([NoSuchService("")]), {256: "inner"})
        await play(watched)
        await watched.end()

    @in_a_loop
    async def test_one_that_is_not_there_yet_and_one_that_cannot_be(self) -> None:
        watched = Watched(Told([NoSuchService("")]), {1: "later", 2: "a-name-longer-than-15", 3: "inner", 4: "x\0y"})
        await watched.until(1, 2, 4)
        ip("link", "set", "inner", "name", "other")
        await watched.until(1, 2, 3, 4)
        ip("link", "set", "other", "name", "later")
        await watched.until(2, 3, 4)
        await watched.end()

    @in_a_loop
    async def test_more_at_once_than_there_is_room_for(self) -> None:
        """What the kernel could not queue is looked up."""
        with contextlib.closing(InterfaceStates(["inner"])) as states:
            async with contextlib.aclosing(states.follow()) as looks:
                assert await anext(looks) == {"inner": ""}
                states._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                ip("link", "set", "outer", "down")
                for number in range(50):
                    ip("link", "set", "outer", "alias", f"{number}" * 100)
                assert await anext(looks) == {"inner": "the link of inner has no carrier"}
        states.close()

    @in_a_loop
    async def test_the_kernel_cannot_be_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is tried again, and an interface that it does not tell of is not down."""
        opened = []

        def refuse(name: str, kind: int, body: bytes) -> str:
            raise OSError(16, "busy")

        class Third(InterfaceStates):
            def __init__(self, names: Any) -> None:
                opened.append(names)
                if len(opened) < 3:
                    raise OSError(24, "too many open files")
                super().__init__(names)

        monkeypatch.setattr(module, "InterfaceStates", Third)
        ip("link", "set", "outer", "down")
        watched = Watched(Told([NoSuchService("")]), {256: "inner"})
        await watched.until(256)
        monkeypatch.setattr(interfaces, "_meaning", refuse)
        ip("link", "set", "inner", "alias", "x")
        await watched.until()
        assert (len(opened), watched.links.since(256)) == (3, None)
        await watched.end()


@needs_interfaces
@pytest.mark.usefixtures("network")
@pytest.mark.skipif(EXECUTABLES["embedded"] is None, reason="no embedded switch")
class TestTheEmbeddedSwitch:
    @in_a_loop
    async def test_all_that_becomes_of_an_interface(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is asked once; everything else it tells of its own accord."""
        program = str(PROGRAMS / "with_arrays.json")
        asked = []
        watch_ports = SwitchClient.watch_ports
        monkeypatch.setattr(SwitchClient, "watch_ports", lambda client: asked.append(client) or watch_ports(client))
        with running(tmp_path, ["-i", "256@inner", program], ["--cpu-port", "510"]) as process:
            client = await SwitchClient.connect("leaf1", f"unix:{tmp_path / 'p4rt'}", 1, load_artifacts())
            watched = Watched(client)
            await play(watched)
            assert (len(asked), watched.links.refused) == (1, 0)
            process.kill()
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(SwitchUnreachable):
                    await watched.task
            await client.close()


@pytest.mark.skipif(EXECUTABLES["bmv2"] is None, reason="no BMv2")
@in_a_loop
async def test_bmv2(tmp_path: Path) -> None:
    switch = SwitchProcess(str(EXECUTABLES["bmv2"]), 1, tmp_path, "leaf1")
    switch.start()
    try:
        client = await SwitchClient.connect("leaf1", switch.target, 1, load_artifacts())
        with pytest.raises(NoSuchService):
            await anext(client.watch_ports())
        await client.close()
    finally:
        switch.kill()
