# SPDX-License-Identifier: Apache-2.0
"""What one switch uses no other one takes; and what a switch left behind keeps nobody away."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch.server.claims import Claims, Taken
from server_command import FRAME, MAC, end, running
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


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_a_stranger_keeps_no_switch_away(claims: Claims, caplog: pytest.LogCaptureFixture) -> None:
    """Names of abstract sockets are anybody's; interfaces are not."""
    script = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.bind('\\0p4softswitch/interface/squatted'); s.listen(); print('there', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdin is not None
        assert stranger.stdout.readline() == "there\n"
        claims.interface("squatted")
        stranger.stdin.close()
    assert "user 65534" in caplog.text
