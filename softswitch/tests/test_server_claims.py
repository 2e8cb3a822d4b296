# SPDX-License-Identifier: Apache-2.0
"""What one switch uses no other one takes; and what a switch left behind keeps nobody away."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch import cli
from p4softswitch.server import Ports, abstractsockets, packetclaims
from p4softswitch.server.claims import Claims, Holder, Taken, holder_of_interface
from p4softswitch.server.links import Links
from p4softswitch.server.ports import PortSpec
from server_command import FRAME, MAC, end, running
from server_fake_engine import FakeEngine
from server_harness import TIMEOUT, Controller, Insert, Program, update


@pytest.fixture
def claims() -> Iterator[Claims]:
    with contextlib.closing(Claims()) as claims:
        yield claims


def second(directory: Path, *options: str, address: str = "unix:second") -> str:
    """What a switch says that is to be refused; `address` as long as nothing is said of it."""
    command = [sys.executable, "-m", "p4softswitch.cli", "--no-p4", *options, "--", "--grpc-server-addr", address]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=directory)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


class TestTwoSwitches:
    def test_one_p4runtime_socket(self, tmp_path: Path) -> None:
        """The first one goes on to serve."""
        with running(tmp_path, ["--no-p4"]) as process:
            path = tmp_path / "p4rt"
            said = second(tmp_path, address=f"unix:{path}")
            assert said == f"p4softswitch: the socket {path} is in use by process {process.pid}"
            with Controller(f"unix:{path}") as controller:
                assert controller.arbitrate()
            assert end(process)[0] == 0
        assert sorted(tmp_path.iterdir()) == []

    def test_one_data_plane_socket(self, tmp_path: Path) -> None:
        packets = f"unix:{tmp_path / 'packets'}"
        with running(tmp_path, ["--no-p4"], ["--dp-grpc-server-addr", packets]) as process:
            command = ["p4softswitch.cli", "--no-p4", "--", "--grpc-server-addr", "unix:second"]
            result = subprocess.run(
                [sys.executable, "-m", *command, "--dp-grpc-server-addr", packets],
                capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=tmp_path,
            )  # fmt: skip
            assert result.returncode == 1
            assert f"is in use by process {process.pid}" in result.stderr

    def test_one_datagram_port(self, tmp_path: Path) -> None:
        """Frames go on to the first one, although the second would have removed its socket."""
        local, peer = tmp_path / "local", tmp_path / "peer"
        program = Program.load("with_arrays")
        port = ["-i", f"1@unix:{local},{peer}"]
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            running(tmp_path, ["--no-p4", *port], ["--cpu-port", "510"]) as process,
        ):
            sender.bind(str(peer))
            sender.settimeout(TIMEOUT)
            with Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
                controller.arbitrate()
                controller.push(program)
                controller.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x01"))))
            said = second(tmp_path, *port)
            assert said == f"p4softswitch: the socket {local} is in use by process {process.pid}"
            sender.sendto(FRAME, str(local))
            assert sender.recv(2000) == FRAME

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_one_interface(self, tmp_path: Path) -> None:
        """Of one network namespace; another has an interface of that name of its own."""
        with own_network():
            ip("link", "add", "access", "type", "veth", "peer", "name", "tenant")
            with running(tmp_path, ["--no-p4", "-i", "1@access"]) as process:
                said = second(tmp_path, "-i", "7@access")
                assert said == f"p4softswitch: the interface access is in use by process {process.pid}"
                elsewhere = tmp_path / "elsewhere"
                elsewhere.mkdir()
                with own_network():
                    ip("link", "add", "access", "type", "veth", "peer", "name", "tenant")
                    with running(elsewhere, ["--no-p4", "-i", "1@access"]):
                        pass

    def test_after_one_was_killed(self, tmp_path: Path) -> None:
        local = tmp_path / "local"
        port = ["--no-p4", "-i", f"1@unix:{local},{tmp_path / 'peer'}"]
        with running(tmp_path, port) as process:
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT)
            with running(tmp_path, port) as after:
                assert end(after)[0] == 0


class TestPaths:
    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_a_socket_of_another_program(self, claims: Claims, tmp_path: Path, kind: socket.SocketKind) -> None:
        path = str(tmp_path / "its")
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(path)
            if kind is socket.SOCK_STREAM:
                other.listen()
            with pytest.raises(Taken, match=re.escape(f"the socket {path} is in use by process {os.getpid()}")):
                claims.path(path)
        claims.path(path)  # it is left over now

    def test_let_go(self, claims: Claims, tmp_path: Path) -> None:
        path = str(tmp_path / "ours")
        with contextlib.closing(Claims()) as others:
            claims.path(path)
            with pytest.raises(Taken) as refusal:
                others.path(path)
            assert refusal.value.pid == os.getpid()
            claims.let_go(path)
            others.path(path)
            claims.let_go(path)
        assert list(tmp_path.iterdir()) == []

    def test_of_many_at_once_one_has_it(self, tmp_path: Path) -> None:
        """While others let go of it: a lock on a file that is removed is nobody's."""
        path, rounds = str(tmp_path / "contested"), 200
        holders, most, failures = 0, 0, []
        count = threading.Lock()

        def contend() -> None:
            nonlocal holders, most
            for _ in range(rounds):
                with contextlib.closing(Claims()) as mine:
                    try:
                        mine.path(path)
                    except Taken:
                        continue
                    except BaseException as error:
                        failures.append(error)
                        raise
                    with count:
                        holders += 1
                        most = max(most, holders)
                    with count:
                        holders -= 1

        threads = [threading.Thread(target=contend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        assert (most, holders, failures) == (1, 0, [])

    def test_no_link_is_followed(self, claims: Claims, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "ours.lock").symlink_to(victim)
        with pytest.raises(OSError, match="symbolic links"):
            claims.path(str(tmp_path / "ours"))
        (tmp_path / "theirs.lock").hardlink_to(victim)
        with pytest.raises(OSError, match=r"is not the lock of a switch.*theirs\.lock"):
            claims.path(str(tmp_path / "theirs"))
        os.mkfifo(tmp_path / "fifo.lock")
        with pytest.raises(OSError, match="is not the lock of a switch"):
            claims.path(str(tmp_path / "fifo"))
        assert victim.read_text() == "precious"

    def test_it_is_its_owners(self, claims: Claims, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            claims.path(str(tmp_path / "ours"))
        finally:
            os.umask(before)
        assert (tmp_path / "ours.lock").stat().st_mode & 0o777 == 0o600

    def test_no_such_directory(self, claims: Claims, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            claims.path(str(tmp_path / "missing" / "socket"))


class TestInterfaces:
    """The name of an interface is an abstract one, which a switch has and answers nobody at."""

    @pytest.fixture(params=["as it is", "without sock_diag", "whose list is without it"])
    def kernel(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        def unknown(name: str) -> None:
            if request.param == "without sock_diag":
                raise OSError(errno.ENOENT, name)

        if request.param != "as it is":
            monkeypatch.setattr("p4softswitch.server.claims.named_socket", unknown)
        return str(request.param)

    def test_it_is_refused_however_often_it_is_asked_for(self, claims: Claims, kernel: str) -> None:
        claims.interface("contested")
        for _ in range(10):
            with contextlib.closing(Claims()) as others, pytest.raises(Taken) as refusal:
                others.interface("contested")
            assert holder_of_interface("contested") is not None
        if kernel == "as it is":
            assert refusal.value.pid == os.getpid()
            assert holder_of_interface("contested") == Holder(os.getpid(), os.getuid())
        claims.let_go("contested")
        assert holder_of_interface("contested") is None
        with contextlib.closing(Claims()) as others:
            others.interface("contested")

    @pytest.mark.usefixtures("kernel")
    def test_a_holder_of_whom_nothing_is_known_may_be_a_switch(
        self, claims: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claims.interface("contested")
        monkeypatch.setattr("p4softswitch.server.claims.holder_of_interface", lambda name: Holder(None, None))
        with contextlib.closing(Claims()) as others, pytest.raises(Taken, match="in use by another process"):
            others.interface("contested")

    def test_before_it_listens(self, claims: Claims) -> None:
        """And a socket of another kind, or with a longer name, is another one."""
        with contextlib.ExitStack() as stack:
            for kind, name in ((socket.SOCK_DGRAM, ""), (socket.SOCK_STREAM, "\0"), (socket.SOCK_STREAM, "2")):
                other = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
                other.bind("\0p4softswitch/interface/contested" + name)
            assert holder_of_interface("contested") is None
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("\0p4softswitch/interface/contested")
                assert holder_of_interface("contested") == Holder(os.getpid(), os.getuid())
                with pytest.raises(Taken):
                    claims.interface("contested")
            claims.interface("contested")

    @pytest.mark.parametrize(("error", "is_refused"), [(errno.EPERM, False), (errno.EMFILE, True)])
    def test_without_a_packet_socket(
        self, claims: Claims, monkeypatch: pytest.MonkeyPatch, error: int, is_refused: bool
    ) -> None:
        """Who may have none has no interface either; who has no room for one now may have one later, unclaimed."""

        def refuse() -> socket.socket:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr("p4softswitch.server.packetclaims._unbound", refuse)
        with pytest.raises(OSError, match="Too many open files") if is_refused else contextlib.nullcontext():
            claims.interface("contested")
        assert (holder_of_interface("contested") is None) == is_refused

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_connection_that_nobody_has_accepted_is_not_its_holder(
        self, monkeypatch: pytest.MonkeyPatch, order: int
    ) -> None:
        """It has the name of the socket that it waits at, and no inode; kernels tell of the two in either order."""
        holder, waiting = (told_of("contested", inode, user) for inode, user in ((7, 65534), (0, 1)))
        monkeypatch.setattr(abstractsockets, "_dumped", lambda netlink: iter([holder, waiting][::order]))
        assert abstractsockets.named_socket("contested") == abstractsockets.NamedSocket(7, 65534)
        monkeypatch.setattr(abstractsockets, "_dumped", lambda netlink: iter([waiting]))
        assert abstractsockets.named_socket("contested") is None

    def test_the_user_of_this_switch_is_no_stranger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever that is, and without a packet socket: it may be a switch that has no interface yet."""
        monkeypatch.setattr("p4softswitch.server.claims.packet_sockets", set)
        monkeypatch.setattr("p4softswitch.server.claims.os.getuid", lambda: 65534)
        assert [Holder(1, user).is_stranger for user in (0, 65534, 65533, None)] == [False, False, True, False]
        assert [str(Holder(1, user)) for user in (65534, 65533)] == ["process 1", "process 1 of user 65533"]

    def test_one_that_lets_go_meanwhile(self, claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
        with contextlib.closing(Claims()) as others:
            others.interface("contested")

            def gone(name: str) -> Holder | None:
                others.close()
                return holder_of_interface(name)

            monkeypatch.setattr("p4softswitch.server.claims.holder_of_interface", gone)
            claims.interface("contested")
        assert holder_of_interface("contested") == Holder(os.getpid(), os.getuid())


def told_of(name: str, inode: int, user: int) -> bytes:
    """What a kernel tells of a stream socket with an abstract name: struct unix_diag_msg, UNIX_DIAG_NAME and _UID."""
    encoded = b"\0" + name.encode()
    attributes = struct.pack("=HH", 4 + len(encoded), 0) + encoded + bytes(-len(encoded) % 4)
    head = struct.pack("=BBBBIII", socket.AF_UNIX, socket.SOCK_STREAM, 10, 0, inode, 0, 0)
    return head + attributes + struct.pack("=HHI", 8, 7, user)


@contextlib.contextmanager
def a_stranger() -> Iterator[subprocess.Popen[str]]:
    """Another user, who has the name of the interface `squatted`, and listens there until its input ends.

    It takes no connection, and has as many as its backlog has room for. And it has names that look, to who reads
    /proc/net/unix by its lines, as if root had the interface `forged`.
    """
    script = """
import os, socket, sys
os.setuid(65534)
s, c, f = (socket.socket(socket.AF_UNIX) for _ in range(3))
s.bind("\\0p4softswitch/interface/squatted")
s.listen(0)
c.connect(s.getsockname())
f.bind("\\0x\\n0: 2 0 10000 1 1 " + sys.argv[1] + " @p4softswitch/interface/forged")
f.listen()
print("there", flush=True)
sys.stdin.read()
"""
    with socket.socket(socket.AF_UNIX) as roots:
        command = [sys.executable, "-c", script, str(os.fstat(roots.fileno()).st_ino)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "there\n"
            yield process
            process.stdin.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[str]]:
    with a_stranger() as process:
        yield process


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
class TestStrangers:
    """Names of abstract sockets are anybody's; interfaces are not."""

    def test_it_keeps_no_switch_away(
        self, claims: Claims, stranger: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        claims.interface("squatted")
        assert f"squatted: process {stranger.pid} of user 65534 has the name" in caplog.text

    @pytest.mark.usefixtures("stranger")
    def test_no_name_says_anything_of_another_one(self) -> None:
        assert holder_of_interface("forged") is None

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_it_is_said_by_who_takes_and_gives_back(self, capsys: pytest.CaptureFixture[str]) -> None:
        with own_network():
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            with a_stranger() as process:
                for option, done in (("--take", "closed to this host"), ("--release", "this host uses it again")):
                    assert cli.main([option, "squatted"]) == 0
                    out, error = capsys.readouterr()
                    assert out == f"squatted: {done}\n"
                    name = "has the name that says which switch uses it"
                    assert error == f"p4softswitch: squatted: process {process.pid} of user 65534 {name}\n"

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_it_does_not_bring_two_switches_together(
        self, claims: Claims, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nor is an interface that a switch has given or taken as if it had none."""
        with own_network():
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            with a_stranger(), running(tmp_path, ["--no-p4", "-i", "1@squatted"]) as process:
                here = tmp_path / "second"
                here.mkdir()
                taken = f"the interface squatted is in use by process {process.pid}"
                assert second(here, "-i", "7@squatted").endswith(f"p4softswitch: {taken}")
                for option, said in (("--take", taken), ("--release", f"process {process.pid} has it as a port")):
                    assert cli.main([option, "squatted"]) == 1
                    assert said in capsys.readouterr().err
                with pytest.raises(Taken, match=taken):
                    claims.interface("squatted")
                assert end(process)[0] == 0
                claims.interface("squatted")

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_one_that_goes_leaves_its_name_to_none_of_two(self, claims: Claims) -> None:
        """Who has come while a stranger had the name is there still when the name is free."""
        with own_network(), contextlib.closing(Claims()) as others:
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            with a_stranger():
                others.interface("squatted")
            assert holder_of_interface("squatted") == Holder(os.getpid(), os.getuid())
            with pytest.raises(Taken, match=f"in use by process {os.getpid()}"):
                claims.interface("squatted")
            others.let_go("squatted")
            assert holder_of_interface("squatted") is None
            claims.interface("squatted")

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_of_two_that_begin_at_once_no_two_have_it(self, claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
        """One comes after the other has looked who is there, and before it knows."""
        looked = packetclaims.claims_on

        def meanwhile(name: str) -> list[packetclaims.PacketSocket]:
            found = looked(name)
            monkeypatch.setattr(packetclaims, "claims_on", looked)
            with pytest.raises(Taken):
                others.interface("squatted")
            return found

        with own_network(), a_stranger(), contextlib.closing(Claims()) as others:
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            monkeypatch.setattr(packetclaims, "claims_on", meanwhile)
            claims.interface("squatted")
            assert packetclaims.claims_on is looked

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_of_one_that_is_not_there_yet_one_has_it_when_it_is(self, claims: Claims) -> None:
        with own_network(), a_stranger(), contextlib.closing(Claims()) as others:
            for one in (claims, others):
                one.interface("squatted")
                with pytest.raises(OSError, match="No such device") as absent:  # what comes now is not claimed
                    one.came("squatted")
                assert absent.value.errno == errno.ENODEV
            for _ in range(2):  # also another one of the same name
                ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
                claims.came("squatted")
                with pytest.raises(Taken):
                    others.came("squatted")
                claims.came("squatted")  # it has it already
                ip("link", "del", "squatted")

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_one_that_is_called_otherwise_is_others(self, claims: Claims) -> None:
        with own_network(), a_stranger(), contextlib.closing(Claims()) as others:
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            claims.interface("squatted")
            claims.went("squatted")
            with pytest.raises(Taken):
                others.interface("squatted")
            ip("link", "set", "squatted", "name", "renamed")
            with pytest.raises(Taken):
                others.interface("renamed")
            claims.went("squatted")
            others.interface("renamed")

    @pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
    def test_a_port_is_opened_by_one_of_two_that_wait_for_it(self, claims: Claims, program: Program) -> None:
        """And by the other one when it is called otherwise."""
        with own_network(), a_stranger(), contextlib.closing(Claims()) as others, contextlib.closing(Links()) as links:
            switches = []
            for one in (claims, others):
                ports = Ports([PortSpec(1, interface="squatted")], claims=one)
                ports.links = links
                ports.claim()
                switches.append((ports, FakeEngine(program.device_config)))
                ports.attach(switches[-1][1])
            ip("link", "add", "squatted", "type", "veth", "peer", "name", "other")
            (first, engine), (second, _) = switches
            first.open(engine)
            with pytest.raises(Taken, match=f"in use by process {os.getpid()}"):
                second.open(switches[1][1])
            ip("link", "set", "squatted", "name", "renamed")
            first.refresh(engine, first.look_up(["squatted"]))
            others.interface("renamed")

    def test_another_user_who_may_have_interfaces_is_none(
        self, claims: Claims, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A switch as a service manager starts it, with CAP_NET_RAW and without root."""
        script = """
import ctypes, os, sys
from p4softswitch.server.claims import Claims
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(8, 1) == 0  # PR_SET_KEEPCAPS
os.setresuid(65534, 65534, 65534)
raw = 1 << 13
assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(raw, raw)) == 0
claims = Claims()
claims.interface("theirs")
print("there", flush=True)
sys.stdin.read()
"""
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == "there\n"
            with pytest.raises(Taken, match=f"the interface theirs is in use by process {other.pid}"):
                claims.interface("theirs")
            assert cli.main(["--release", "theirs"]) == 1
            said = f"p4softswitch: theirs: process {other.pid} of user 65534 has it as a port"
            assert capsys.readouterr().err.startswith(said)
            other.stdin.close()
