# SPDX-License-Identifier: Apache-2.0
"""Ports that come and go while the switch runs, with the engine that users have; interfaces in a namespace of ours."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch import cli
from p4softswitch.server.claims import Claims, Taken
from p4softswitch.server.device import Device
from p4softswitch.server.host_stack import HostStack, NotTaken
from p4softswitch.server.links import Link, Links
from p4softswitch.server.ports import Ports, PortSpec, PortState
from p4softswitch.server.portstate import peer_state
from p4softswitch.server.status import P4Error
from server_command import FRAME, MAC, end, running
from server_fake_engine import FakeEngine
from server_harness import TIMEOUT, Controller, Insert, Program, engine_missing, update

pytestmark = pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))
needs_interfaces = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")

OTHER = b"\x02\x00\x00\x00\x00\x0b" + FRAME[6:]


def ask(directory: Path, method: str, **request: Any) -> Any:
    with grpc.insecure_channel(f"unix:{directory / 'p4rt'}") as channel:
        body = json.dumps(request).encode() if request else b""
        return json.loads(channel.unary_unary(f"/p4softswitch.v1.{method}")(body, timeout=TIMEOUT))


def until(condition: Callable[[], bool], what: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Running:
    """A switch with a program that sends frames for MAC to port 2."""

    def __init__(self, directory: Path, process: subprocess.Popen[str], controller: Controller) -> None:
        self.directory = directory
        self.process = process
        self.controller = controller

    def push(self, program: Program) -> None:
        self.controller.push(program)
        self.forward(program, MAC, b"\x02")

    def forward(self, program: Program, mac: bytes, port: bytes) -> None:
        entry = program.forward(mac, program.action("set_port", port))
        self.controller.write(update(Insert, table_entry=entry))

    def state(self, port: int) -> tuple[str, str]:
        told = ask(self.directory, "Statistics/Get")["states"][str(port)]
        return told["state"], told["reason"]

    def wait_for(self, port: int, state: str) -> str:
        """The reason for it."""
        until(lambda: self.state(port)[0] == state, lambda: self.state(port))
        return self.state(port)[1]

    def counts(self, port: int) -> dict[str, int]:
        counts: dict[str, int] = ask(self.directory, "Statistics/Get")["ports"][str(port)]
        return counts

    def log(self) -> list[str]:
        status, _output, log = end(self.process)
        assert status == 0
        return [line.partition("] [")[2] for line in log.splitlines()]


@contextlib.contextmanager
def started(directory: Path, *general: str) -> Iterator[Running]:
    with (
        running(directory, ["--no-p4", *general], ["--cpu-port", "510"]) as process,
        Controller(f"unix:{directory / 'p4rt'}") as controller,
    ):
        controller.arbitrate()
        yield Running(directory, process, controller)


def make_pair(number: int, *more: str) -> None:
    ip("link", "add", f"inner{number}", *more, "type", "veth", "peer", "name", f"outer{number}")
    for name in (f"inner{number}", f"outer{number}"):
        ip("link", "set", name, "up", "addrgenmode", "none")


def end_of(number: int) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    raw.bind((f"outer{number}", 0))
    raw.settimeout(TIMEOUT)
    return raw


def passes(directory: Path) -> bool:
    """A frame from behind port 1 arrives behind port 2."""
    with end_of(1) as sender, end_of(2) as receiver:
        sender.send(FRAME)
        for _ in range(100):
            data, address = receiver.recvfrom(65536)
            if address[2] != socket.PACKET_OUTGOING and data == FRAME:
                return True
    return False


@pytest.fixture
def network() -> Iterator[None]:
    """Two pairs of virtual Ethernet: inner1 and inner2 are for the switch."""
    with own_network():
        for number in (1, 2):
            make_pair(number)
        yield


TWO = ("-i", "1@inner1", "-i", "2@inner2")


@needs_interfaces
@pytest.mark.usefixtures("network")
class TestInterfaces:
    @pytest.mark.parametrize("same_index", [False, True])
    def test_one_that_is_deleted_and_comes_back(self, tmp_path: Path, program: Program, same_index: bool) -> None:
        """As with every restart of a virtual machine: it works again by itself, and its counts go on."""
        with started(tmp_path, *TWO) as switch:
            switch.push(program)
            assert passes(tmp_path)
            index = socket.if_nametoindex("inner2")
            ip("link", "delete", "inner2")
            assert switch.wait_for(2, "absent") == "there is no interface inner2"
            with end_of(1) as sender:
                sender.send(FRAME)
            until(lambda: switch.counts(2)["send_down"] == 1)
            make_pair(2, *(("index", str(index)) if same_index else ()))
            assert (socket.if_nametoindex("inner2") == index) == same_index
            switch.wait_for(2, "up")
            assert passes(tmp_path)
            until(lambda: switch.counts(2)["packets_out"] == 2)
            assert switch.counts(2)["send_down"] == 1
            log = switch.log()
        first, *between, last = states_of(2, log)
        assert (first, last) == ("absent: there is no interface inner2", "up")
        assert all(state.startswith("down") for state in between)  # while it is being made
        assert any("port 2 (inner2): a frame lost because the port was without" in line for line in log)

    def test_one_that_is_gone_for_less_than_a_look(self, tmp_path: Path, program: Program) -> None:
        """Deleted and made again in one go, also with the same index: it is another interface."""
        with started(tmp_path, *TWO) as switch:
            switch.push(program)
            assert passes(tmp_path)
            for same_index in (True, False, True):
                index = socket.if_nametoindex("inner2")
                ip("link", "delete", "inner2")
                make_pair(2, *(("index", str(index)) if same_index else ()))
                with end_of(1) as sender, end_of(2) as receiver:
                    until(lambda sender=sender, receiver=receiver: self._arrives(sender, receiver))

    @staticmethod
    def _arrives(sender: socket.socket, receiver: socket.socket) -> bool:
        sender.send(FRAME)
        receiver.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = receiver.recvfrom(65536)
                if address[2] != socket.PACKET_OUTGOING and data == FRAME:
                    return True
        return False

    def test_down_and_up(self, tmp_path: Path, program: Program) -> None:
        with started(tmp_path, *TWO) as switch:
            switch.push(program)
            ip("link", "set", "inner2", "down")
            assert switch.wait_for(2, "down") == "the interface inner2 is switched off"
            ip("link", "set", "inner2", "up")
            switch.wait_for(2, "up")
            assert passes(tmp_path)
            ip("link", "set", "outer2", "down")
            assert switch.wait_for(2, "down") == "the link of inner2 has no carrier"
            ip("link", "set", "outer2", "up")
            switch.wait_for(2, "up")
            assert passes(tmp_path)
            log = switch.log()
        states = states_of(2, log)
        assert states[0] == "down: the interface inner2 is switched off"
        assert "down: the link of inner2 has no carrier" in states
        assert states[-1] == "up"

    def test_one_that_is_renamed_is_another(self, tmp_path: Path, program: Program) -> None:
        with started(tmp_path, *TWO) as switch:
            switch.push(program)
            ip("link", "set", "inner2", "down")
            ip("link", "set", "inner2", "name", "else2")
            switch.wait_for(2, "absent")
            ip("link", "set", "else2", "name", "inner2")
            ip("link", "set", "inner2", "up")
            switch.wait_for(2, "up")
            assert passes(tmp_path)

    def test_one_that_is_not_there_yet(self, tmp_path: Path, program: Program) -> None:
        """A typing error is one unless it is said that the interface comes later."""
        ip("link", "delete", "inner2")
        with started(tmp_path, *TWO, "--wait-for-interfaces") as switch:
            switch.push(program)
            assert switch.state(1) == ("up", "")
            assert switch.state(2) == ("absent", "there is no interface inner2")
            make_pair(2)
            switch.wait_for(2, "up")
            assert passes(tmp_path)

    def test_a_push_while_one_is_missing(self, tmp_path: Path, program: Program, plain_program: Program) -> None:
        """It succeeds, without that port; which works when its interface is back. The first push too."""
        with started(tmp_path, *TWO) as switch:
            ip("link", "delete", "inner2")
            for pushed in (program, plain_program):
                switch.push(pushed)
                switch.forward(pushed, OTHER[:6], b"\x01")
                switch.wait_for(2, "absent")
                with end_of(1) as neighbour:
                    neighbour.send(OTHER)
                    while neighbour.recvfrom(2000)[1][2] == socket.PACKET_OUTGOING:
                        pass
            make_pair(2)
            switch.wait_for(2, "up")
            assert passes(tmp_path)

    def test_a_push_that_fails(self, tmp_path: Path, program: Program, plain_program: Program) -> None:
        """Whatever the reason: the old program has all its ports, open as they were, and what is absent comes back."""
        with started(tmp_path, *TWO, "--pcap", str(tmp_path)) as switch:
            switch.push(program)
            (tmp_path / "inner2.2.pcap").symlink_to("/dev/null")
            for deleted in (False, True):
                if deleted:
                    ip("link", "delete", "inner2")
                    switch.wait_for(2, "absent")
                with pytest.raises(grpc.RpcError) as refused:
                    switch.controller.push(plain_program)
                assert "inner2.2.pcap" in str(refused.value.details())
                assert "a symbolic link stands there" in str(refused.value.details())
                if deleted:
                    make_pair(2)
                    switch.wait_for(2, "up")
                assert passes(tmp_path)
            until(lambda: switch.counts(2)["packets_out"] == 2)
            (tmp_path / "inner2.2.pcap").unlink()
            switch.push(plain_program)
            assert passes(tmp_path)
            until(lambda: switch.counts(2)["packets_out"] == 3)
            assert switch.counts(1)["packets_in"] == 3

    def test_added_and_removed_while_it_runs(self, tmp_path: Path, program: Program, plain_program: Program) -> None:
        with started(tmp_path, "-i", "1@inner1") as switch:
            switch.push(program)
            with end_of(1) as sender:
                sender.send(FRAME)
            until(lambda: ask(tmp_path, "Statistics/Get")["ports"].get("2") == {"interface": "", "no_port": 1})
            added = ask(tmp_path, "Ports/Add", port="2@inner2")
            assert added["ports"] == {"2": {"interface": "inner2", "state": "up", "reason": ""}}
            assert passes(tmp_path)
            switch.push(plain_program)
            assert passes(tmp_path)
            until(lambda: (switch.counts(2)["packets_out"], switch.counts(2)["no_port"]) == (2, 1))
            assert ask(tmp_path, "Ports/Remove", port=2)["ports"] == {}
            assert ask(tmp_path, "Ports/List")["ports"] == {"1": {"interface": "inner1", "state": "up", "reason": ""}}
            with end_of(1) as sender:
                sender.send(FRAME)
            until(lambda: ask(tmp_path, "Statistics/Get")["ports"]["2"] == {"interface": "", "no_port": 2})
            ip("link", "delete", "inner2")
            with pytest.raises(grpc.RpcError, match="there is no interface inner2"):
                ask(tmp_path, "Ports/Add", port="2@inner2")
            assert ask(tmp_path, "Ports/Add", port="2@inner2", wait=True)["ports"]["2"]["state"] == "absent"
            make_pair(2)
            switch.wait_for(2, "up")
            assert passes(tmp_path)


def states_of(port: int, log: list[str]) -> list[str]:
    """Every change of a port that the log tells of."""
    begin = f"WARNING] p4softswitch.server.ports: port {port} (inner{port}): "
    return [line.removeprefix(begin) for line in log if line.startswith(begin)]


class TestSockets:
    @pytest.fixture
    def ends(self, tmp_path: Path) -> Iterator[dict[int, socket.socket]]:
        with contextlib.ExitStack() as stack:
            found = {}
            for number in (1, 2):
                one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                one.bind(str(tmp_path / f"peer{number}"))
                one.settimeout(TIMEOUT)
                found[number] = one
            yield found

    @pytest.fixture
    def options(self, tmp_path: Path) -> list[str]:
        found = []
        for number in (1, 2):
            found += ["-i", f"{number}@unix:{tmp_path / f'port{number}'},{tmp_path / f'peer{number}'}"]
        return found

    def test_a_peer_that_goes_and_comes(
        self, tmp_path: Path, program: Program, ends: dict[int, socket.socket], options: list[str]
    ) -> None:
        with started(tmp_path, *options) as switch:
            switch.push(program)
            assert switch.state(2) == ("up", "")
            (tmp_path / "peer2").unlink()
            assert switch.wait_for(2, "down") == f"nobody listens at the peer's socket {tmp_path / 'peer2'}"
            ends[1].sendto(FRAME, str(tmp_path / "port1"))
            until(lambda: switch.counts(2)["send_no_peer"] == 1)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
                again.bind(str(tmp_path / "peer2"))
                again.settimeout(TIMEOUT)
                switch.wait_for(2, "up")
                again.connect(str(tmp_path / "port2"))  # then it takes nothing from others, which is no fault
                ends[1].sendto(FRAME, str(tmp_path / "port1"))
                assert again.recv(2000) == FRAME
                until(lambda: switch.counts(2)["packets_out"] == 1)
                assert switch.state(2) == ("up", "")

    def test_its_own_socket_is_removed(
        self, tmp_path: Path, program: Program, ends: dict[int, socket.socket], options: list[str]
    ) -> None:
        """It is made anew where nothing stands; what stands there now is another's, and stays, also at the end."""
        local = tmp_path / "port1"
        with started(tmp_path, *options) as switch:
            switch.push(program)
            local.unlink()
            until(local.exists)
            ends[1].sendto(FRAME, str(local))
            assert ends[2].recv(2000) == FRAME
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                local.unlink()
                other.bind(str(tmp_path / "new"))
                os.rename(tmp_path / "new", local)
                switch.wait_for(1, "absent")
                assert switch.state(1) == ("absent", f"something else stands at {local}")
                log = switch.log()
                assert local.exists()
            assert any(f"its socket {local} was removed, and is there again" in line for line in log)

    def test_a_push_closes_nothing(
        self,
        tmp_path: Path,
        program: Program,
        plain_program: Program,
        ends: dict[int, socket.socket],
        options: list[str],
    ) -> None:
        """A peer that is connected stays so, and sends all the time. Nothing that it sent is lost, counts go on."""
        going, sent = threading.Event(), 0

        def send() -> None:
            nonlocal sent
            while not going.is_set():
                ends[1].send(FRAME)
                sent += 1

        with started(tmp_path, *options) as switch:
            switch.push(program)
            ends[1].connect(str(tmp_path / "port1"))
            sender = threading.Thread(target=send)
            sender.start()
            try:
                for pushed in (plain_program, program, plain_program):
                    before = switch.counts(1)["packets_in"]
                    switch.push(pushed)
                    until(lambda before=before: switch.counts(1)["packets_in"] > before + 100)
            finally:
                going.set()
                sender.join()
            until(lambda: switch.counts(1)["packets_in"] == sent)
            assert switch.counts(1)["bytes_in"] == sent * len(FRAME)

    def test_what_another_switch_has_is_not_added(self, tmp_path: Path, options: list[str]) -> None:
        """Nor claimed for ever: what was removed here can be added there."""
        (tmp_path / "other").mkdir()
        spec = options[1].replace("1@", "7@")
        with started(tmp_path, *options[:2]) as first, started(tmp_path / "other"):
            with pytest.raises(grpc.RpcError) as refused:
                ask(tmp_path / "other", "Ports/Add", port=spec)
            text = f"the socket {tmp_path / 'port1'} is in use by process {first.process.pid}"
            assert refused.value.details().endswith(text)
            ask(tmp_path, "Ports/Remove", port=1)
            assert ask(tmp_path / "other", "Ports/Add", port=spec)["ports"]["7"]["reason"] == "no program runs"

    def test_what_fails_leaves_no_empty_capture(
        self, tmp_path: Path, program: Program, plain_program: Program, options: list[str]
    ) -> None:
        """Neither a push nor a port that is added; and the name of the file is free again."""
        captures = tmp_path / "captures"
        captures.mkdir()
        with started(tmp_path, *options, "--pcap", str(captures)) as switch:
            switch.push(program)
            running = {"port1.pcap", "port2.pcap", "port2.2.pcap"}
            (captures / "port2.2.pcap").symlink_to("/dev/null")
            with pytest.raises(grpc.RpcError, match=r"port2\.2\.pcap: a symbolic link stands there"):
                switch.controller.push(plain_program)
            assert {found.name for found in captures.iterdir()} == running
            (tmp_path / "port3").touch()
            for local, peer, why in (("port3", "peer", "Address already in use"), ("long", "x" * 200, "too long")):
                with pytest.raises(grpc.RpcError, match=why):
                    ask(tmp_path, "Ports/Add", port=f"3@unix:{tmp_path / local},{tmp_path / peer}")
                assert {found.name for found in captures.iterdir()} == running
            (tmp_path / "port3").unlink()
            ask(tmp_path, "Ports/Add", port=f"3@unix:{tmp_path / 'port3'},{tmp_path / 'peer'}")
            assert {found.name for found in captures.iterdir()} == running | {"port3.pcap"}

    def test_two_sockets_of_one_name(self, tmp_path: Path, program: Program) -> None:
        """Two ports never share a capture file."""
        options = []
        for number in (1, 2):
            (tmp_path / str(number)).mkdir()
            options += ["-i", f"{number}@unix:{tmp_path / str(number) / 'port'},{tmp_path / 'nobody'}"]
        with (
            started(tmp_path, *options, "--pcap", str(tmp_path)) as switch,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            switch.push(program)
            sender.sendto(FRAME, str(tmp_path / "1" / "port"))
            until(lambda: switch.counts(2)["send_no_peer"] == 1)
            log = switch.log()
        assert (tmp_path / "port.pcap").read_bytes()[40:] == FRAME
        assert (tmp_path / "port.port2.1.pcap").read_bytes()[40:] == FRAME
        assert len([line for line in log if "send_no_peer" in line]) == 1


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directory of a switch without a program, and with port 1."""
    directory = tmp_path_factory.mktemp("switch")
    with started(directory, "-i", f"1@unix:{directory / 'one'},{directory / 'peer'}"):
        yield directory


class TestRefusals:
    """Of the service, and of the command in front of it: what, and what is allowed."""

    @pytest.mark.parametrize(
        ("method", "request_", "code", "text"),
        [
            ("Add", {}, "INVALID_ARGUMENT", "port (str), wait (bool)"),
            ("Add", {"port": 3}, "INVALID_ARGUMENT", "port (str), wait (bool)"),
            ("Add", {"port": "3@x", "wait": 1}, "INVALID_ARGUMENT", "wait"),
            ("Add", {"port": "3@x", "more": 1}, "INVALID_ARGUMENT", "these fields alone"),
            ("Add", {"port": "3"}, "INVALID_ARGUMENT", "expected PORT@INTERFACE or PORT@unix:LOCAL,PEER"),
            ("Add", {"port": "600@x"}, "INVALID_ARGUMENT", "from 0 to 511"),
            ("Add", {"port": "1@unix:/tmp/x,/tmp/y"}, "ALREADY_EXISTS", "port 1 is attached to"),
            ("Add", {"port": "510@x"}, "ALREADY_EXISTS", "the CPU port or the drop port"),
            ("Add", {"port": "511@x"}, "ALREADY_EXISTS", "the CPU port or the drop port"),
            ("Add", {"port": "3@no-such-if"}, "NOT_FOUND", "there is no interface no-such-if"),
            ("Remove", {"port": 7}, "NOT_FOUND", "there is no port 7 to remove; there are: 1"),
            ("Remove", {"port": True}, "INVALID_ARGUMENT", "port (int)"),
            ("List", {"port": 7}, "INVALID_ARGUMENT", "these fields alone: none"),
        ],
    )
    def test_refused(self, switch: Path, method: str, request_: dict[str, Any], code: str, text: str) -> None:
        refused = self.refused(f"unix:{switch / 'p4rt'}", method, json.dumps(request_).encode())
        assert refused[0] == code
        assert text in refused[1]

    @staticmethod
    def refused(address: str, method: str, body: bytes) -> tuple[str, str]:
        """Code and text."""
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(f"/p4softswitch.v1.Ports/{method}")(body, timeout=TIMEOUT)
        return refused.value.code().name, refused.value.details()

    @pytest.mark.parametrize(
        "body", [b"[]", b"{", b"\xff", b"[" * 100_000, b'{"port": "' + b"x" * 10_000 + b'"}', b"1"]
    )
    def test_no_request(self, switch: Path, body: bytes) -> None:
        assert self.refused(f"unix:{switch / 'p4rt'}", "Add", body)[0] == "INVALID_ARGUMENT"

    def test_the_command(self, switch: Path, capsys: pytest.CaptureFixture[str]) -> None:
        where = ["--grpc-server-addr", f"unix:{switch / 'p4rt'}"]
        spec = f"3@unix:{switch / 'three'},{switch / 'peer'}"
        assert cli.main(["ports", "add", spec, *where]) == 0
        assert cli.main(["ports", "list", *where]) == 0
        state = f"{switch / 'three'} (peer {switch / 'peer'})\tabsent: no program runs"
        assert f"3\t{state}\n" in capsys.readouterr().out
        assert cli.main(["ports", "remove", "3", *where]) == 0
        assert capsys.readouterr().out == ""
        assert cli.main(["ports", "list", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out)["ports"].keys() == {"1"}
        assert cli.main(["ports", "remove", "3", *where]) == 1
        refused = capsys.readouterr().err
        assert refused == "p4softswitch ports: NOT_FOUND: there is no port 3 to remove; there are: 1\n"

    @pytest.mark.parametrize(
        "arguments",
        [[], ["move"], ["add"], ["remove", "x"], ["list", "--cert", "a", "--key", "b"],
         ["list", "--cacert", "/no/such/file"], ["list", "--grpc-server-addr", "unix:/no/such/socket"]],
        ids=" ".join,
    )  # fmt: skip
    def test_the_command_says_what_is_wrong(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        try:
            status: Any = cli.main(["ports", *arguments])
        except SystemExit as exit_:
            status = exit_.code
        assert status == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("p4softswitch ports: ")

    def test_not_at_the_address_of_packets(self, tmp_path: Path) -> None:
        """Where ports are carried over gRPC there are none to add, and whoever carries them is not asked."""
        with running(tmp_path, ["--no-p4"], ["--dp-grpc-server-addr", f"unix:{tmp_path / 'data'}"]):
            with pytest.raises(grpc.RpcError, match="every port is carried over gRPC"):
                ask(tmp_path, "Ports/Add", port="1@unix:/tmp/x,/tmp/y")
            assert self.refused(f"unix:{tmp_path / 'data'}", "List", b"")[0] == "UNIMPLEMENTED"

    def test_a_plain_typing_error_is_one(self) -> None:
        command = [sys.executable, "-m", "p4softswitch.cli", "--no-p4", "-i", "1@no-such-if"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert result.returncode == 1
        assert result.stderr == ("p4softswitch: there is no interface no-such-if; --wait-for-interfaces waits for it\n")


class KeptClosed(HostStack):
    """Takes nothing, and says what was to be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def take(self, interface: str) -> int:
        self.log.append(f"take {interface}")
        return 0

    def forget(self, interface: str) -> None:
        self.log.append(f"forget {interface}")


class SilentLinks(Links):
    """A kernel that does not answer."""

    def find(self, name: str) -> Link | None:
        self._questions.settimeout(0.001)
        self._questions.recv(1)
        raise AssertionError(name)


def test_a_kernel_that_does_not_say_how_an_interface_is(program: Program) -> None:
    """What a timeout has no number for is said in words."""
    engine, ports = FakeEngine(program.device_config), Ports([PortSpec(1, interface="lo")])
    ports.attach(engine)
    with contextlib.closing(SilentLinks()) as links:
        ports.links = links
        ports.refresh(engine, ports.look_up(ports.interfaces()))
    assert ports.states(engine)[1][1] == PortState("down", "the system does not say how lo is: timed out")


def test_a_path_that_is_too_long_for_a_peer() -> None:
    path = "x" * 200
    assert peer_state(path) == PortState("down", f"the peer's socket {path}: AF_UNIX path too long")


class HostsOwn(KeptClosed):
    """The host uses it, until it does not any more."""

    is_free = False

    def take(self, interface: str) -> int:
        super().take(interface)
        if not self.is_free:
            raise NotTaken(errno.EBUSY, "this host has an address there", interface)
        return 0


def test_an_interface_that_cannot_be_had_is_tried_now_and_then(program: Program) -> None:
    """Not at each look, which comes once a second and with every change of any interface; but when its link changes."""
    engine, now, tried = FakeEngine(program.device_config), 0.0, []
    link = Link(1, up=True, carrier=True)
    with contextlib.closing(HostsOwn()) as host:
        ports = Ports([PortSpec(1, interface="lo")], host=host, clock=lambda: now)
        ports.attach(engine)

        def look(seen: Link | None = link) -> PortState:
            host.log.clear()
            ports.refresh(engine, {"lo": seen})
            if "take lo" in host.log:
                tried.append(now)
            return ports.states(engine)[1][1]

        for second in range(100):
            now = float(second)
            for _ in range(3):
                assert look() == PortState("absent", "lo cannot be opened: this host has an address there")
        assert tried == [0, 1, 3, 7, 15, 31, 61, 91]
        for seen in (Link(1, up=False, carrier=False), Link(2, up=True, carrier=True), link):
            look(seen)
        assert tried[-3:] == [99, 99, 99]
        assert look(None).reason == "there is no interface lo"
        host.is_free = True
        assert look() == PortState("up")  # another one, although its link is like that of the last


class TestAddedInVain:
    """Nothing is left of a port that could not be added, and nothing else is lost by it."""

    def test_its_interface_is_forgotten(self, program: Program) -> None:
        """Nobody is to close it again once it is given back."""
        engine = FakeEngine(program.device_config)
        engine.fail_open[1] = errno.EMFILE
        with contextlib.closing(KeptClosed()) as host:
            ports = Ports([], host=host)
            with pytest.raises(P4Error, match=r"port 1 \(lo\): Too many open files"):
                ports.add(engine, PortSpec(1, interface="lo"), {"lo": Link(1, up=True, carrier=True)}, wait=False)
        assert host.log == ["take lo", "forget lo"]
        assert (engine.attached, ports.states(engine)) == ({}, {})

    def test_what_the_switch_has_for_another_reason_stays_its_own(self, tmp_path: Path) -> None:
        """Such as the socket that it serves at."""
        path = str(tmp_path / "p4rt")
        with contextlib.closing(Claims()) as claims, contextlib.closing(Claims()) as others:
            claims.path(path)
            for _ in range(2):
                with pytest.raises(P4Error, match=f"the socket {path} is in use by process {os.getpid()}"):
                    Ports([], claims=claims).add(None, PortSpec(1, local_path=path, peer_path="peer"), {}, wait=False)
                with pytest.raises(Taken):
                    others.path(path)


class SlowLinks(Links):
    """A kernel that answers once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.answered_in_time = False

    def find(self, name: str) -> Link | None:
        self.asked.set()
        self.answered_in_time = self.may_answer.wait(TIMEOUT)
        return super().find(name)


def test_the_kernel_is_asked_while_nobody_waits_for_it() -> None:
    """Writes and all else go on while a port is added whose interface the kernel is slow to tell of."""
    ports = Ports([])
    with contextlib.closing(SlowLinks()) as links:
        ports.links = links
        device = Device(1, FakeEngine, ports, send_digest=lambda message: None)
        adding = threading.Thread(target=device.add_port, args=(PortSpec(1, interface="lo"),), kwargs={"wait": False})
        adding.start()
        assert links.asked.wait(TIMEOUT)
        assert device.port_states() == {}
        links.may_answer.set()
        adding.join()
    assert links.answered_in_time
    assert device.port_states().keys() == {1}


def test_a_port_that_goes_before_there_is_a_program_is_forgotten() -> None:
    """Its interface was taken at the start: nobody is to close it again once it is given back."""
    with contextlib.closing(KeptClosed()) as host:
        Ports([PortSpec(1, interface="access"), PortSpec(2, interface="other")], host=host).remove(None, 1)
    assert host.log == ["forget access"]
