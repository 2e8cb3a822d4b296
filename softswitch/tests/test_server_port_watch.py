# SPDX-License-Identifier: Apache-2.0
"""The method Watch of the service Ports: whoever watches hears of each change at once, and holds up nobody."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch.server import Switch
from p4softswitch.server.clients import MAX_WATCHES
from p4softswitch.server.portfeed import PortFeed
from p4softswitch.server.portstate import PortSpec, PortState
from server_command import running
from server_fake_engine import FakeEngine
from server_harness import TIMEOUT, Controller, Program, engine_missing, options_in, said_by

WATCH = "/p4softswitch.v1.Ports/Watch"


@contextlib.contextmanager
def channel(directory: Path) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"unix:{directory / 'p4rt'}", options=options) as opened:
        yield opened


def watch(opened: grpc.Channel, request: bytes = b"") -> Any:
    return opened.unary_stream(WATCH)(request, timeout=TIMEOUT)


def until_told(call: Any, port: int, *wanted: str) -> None:
    """The next answers, up to that with the port as it is wanted: state and reason. Nobody asks for them."""
    for answer in call:
        told = json.loads(answer)["ports"].get(str(port), {"state": "none", "reason": ""})
        if (told["state"], told["reason"]) == wanted:
            return
    pytest.fail("the watch has ended")


def until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(TIMEOUT * 100)):
        if condition():
            return
        tick.wait(0.01)
    pytest.fail("it does not come about")


def make_pair() -> None:
    ip("link", "add", "inner", "type", "veth", "peer", "name", "outer")
    for name in ("inner", "outer"):
        ip("link", "set", name, "up", "addrgenmode", "none")


@pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))
class TestOfTheCommand:
    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_an_interface(self, tmp_path: Path, program: Program) -> None:
        """The program comes; the other end goes down and up; the own one does; it is deleted, and there again."""
        with own_network():
            make_pair()
            with (
                running(tmp_path, ["--no-p4", "-i", "1@inner"], ["--cpu-port", "510"]),
                Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
                channel(tmp_path) as opened,
            ):
                call = watch(opened)
                until_told(call, 1, "absent", "no program runs")
                controller.arbitrate()
                controller.push(program)
                until_told(call, 1, "up", "")
                for interface, reason in (
                    ("outer", "the link of inner has no carrier"), ("inner", "the interface inner is switched off")
                ):  # fmt: skip
                    ip("link", "set", interface, "down")
                    until_told(call, 1, "down", reason)
                    ip("link", "set", interface, "up")
                    until_told(call, 1, "up", "")
                ip("link", "delete", "inner")
                until_told(call, 1, "absent", "there is no interface inner")
                make_pair()
                until_told(call, 1, "up", "")

    def test_a_socket_and_ports_that_are_added_and_removed(self, tmp_path: Path, program: Program) -> None:
        local, peer = tmp_path / "port2", tmp_path / "peer2"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
            running(tmp_path, ["--no-p4"], ["--cpu-port", "510"]),
            Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
            channel(tmp_path) as opened,
        ):
            controller.arbitrate()
            controller.push(program)
            call = watch(opened)
            until_told(call, 2, "none", "")
            add = json.dumps({"port": f"2@unix:{local},{peer}"}).encode()
            opened.unary_unary("/p4softswitch.v1.Ports/Add")(add, timeout=TIMEOUT)
            until_told(call, 2, "down", f"nobody listens at the peer's socket {peer}")
            listening.bind(str(peer))
            until_told(call, 2, "up", "")
            opened.unary_unary("/p4softswitch.v1.Ports/Remove")(b'{"port": 2}', timeout=TIMEOUT)
            until_told(call, 2, "none", "")


@contextlib.contextmanager
def switch(directory: Path) -> Iterator[Switch]:
    options = replace(options_in(directory), dataplane_address=None)
    with Switch(FakeEngine, options) as started:
        started.start()
        yield started


class TestLimits:
    def test_so_many_at_a_time(self, tmp_path: Path) -> None:
        """One more is refused while all take what comes; one that goes makes room."""
        with switch(tmp_path) as started, channel(tmp_path) as opened:
            calls = [watch(opened) for _ in range(MAX_WATCHES)]
            for call in calls:
                assert json.loads(next(call))["ports"] == {}
            seats = started._clients[0].watches
            until(lambda: all(wait.since is None for wait in list(seats._taken)))  # the answers have gone
            with pytest.raises(grpc.RpcError) as caught:
                next(watch(opened))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == "16 Watches of ports at a time"
            calls[0].cancel()
            until(lambda: len(seats) < MAX_WATCHES)
            assert json.loads(next(watch(opened)))["ports"] == {}

    def test_one_that_does_not_read_is_cut_off(self, tmp_path: Path) -> None:
        """It holds up neither who reads nor the switch, however much changes."""
        turns = itertools.count()
        with (
            said_by("p4softswitch.server.clients") as said,
            switch(tmp_path) as started,
            channel(tmp_path) as opened,
            channel(tmp_path) as other,
        ):
            started.device.port_states = lambda: {  # type: ignore[method-assign]
                port: (PortSpec(port, interface="inner"), PortState("down", f"{next(turns)} {'x' * 400}"))
                for port in range(512)
            }
            deaf, reader = watch(opened), watch(other)
            stuck = []
            while len(stuck) < 50 or stuck[-50] != stuck[-1]:
                started._ports._changed()
                assert len(json.loads(next(reader))["ports"]) == 512
                stuck.append(min(wait.since or math.inf for wait in list(started._clients[0].watches._taken)))
            started._clients[0].check(stuck[-1] + 30)
            assert said.get(timeout=TIMEOUT) == "a call was ended: the client did not take a message within 30 s"
            with pytest.raises(grpc.RpcError) as caught:
                list(deaf)
            assert caught.value.code() is grpc.StatusCode.CANCELLED
            started._ports._changed()
            assert len(json.loads(next(reader))["ports"]) == 512

    def test_another_request(self, tmp_path: Path) -> None:
        with switch(tmp_path) as started, channel(tmp_path) as opened:
            for request in (b'{"port": 1}', b"[]", b"\xff", b"[" * 4000):
                with pytest.raises(grpc.RpcError) as caught:
                    next(watch(opened, request))
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert len(started._clients[0].watches) == 0


class TestFeed:
    def test_states_in_between_are_left_out(self) -> None:
        """Whoever was slow has the last one, and what has changed back is no news."""
        feed, over, states = PortFeed(), threading.Event(), iter("abbc")
        followed = feed.follow(lambda: next(states), over)
        assert next(followed) == "a"
        for _ in range(5):
            feed.changed()
        assert next(followed) == "b"
        feed.changed()
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.extend(followed))
        thread.start()
        until(lambda: states.__length_hint__() == 1)  # the same state was looked at
        feed.changed()
        until(lambda: bool(found))
        over.set()
        feed.wake()
        thread.join(TIMEOUT)
        assert (found, thread.is_alive()) == (["c"], False)

    def test_a_change_while_it_is_looked_at(self) -> None:
        feed = PortFeed()
        states = iter((1, 2))

        def look() -> int:
            feed.changed()
            return next(states)

        followed = feed.follow(look, threading.Event())
        assert [next(followed), next(followed)] == [1, 2]
