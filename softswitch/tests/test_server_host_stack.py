# SPDX-License-Identifier: Apache-2.0
"""What is behind a port reaches the program and nothing else of the host, and the host sends nothing there.

The oracle is the kernel: with the same services and routes it answers on an interface that is shared with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch.server import host_stack
from p4softswitch.server.host_stack import TABLE_PREFIX, HostStack, NotTaken, release
from server_command import end, running
from server_harness import TIMEOUT, Controller, Insert, Program, update

pytestmark = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")

HOST_MAC, TENANT_MAC, ROUTER_MAC, BACK, OUT = (bytes([2, 0, 0, 0, 1, number]) for number in range(1, 6))
HOST, TENANT, BEYOND = "fe80::1:1", "fe80::1:2", "2001:db8:2::9"
SERVICE = 4789
ACCESS, UNDERLAY = 1, 2
"""Ports. The program sends a frame to BACK out of the first one, and a frame to OUT out of the second."""


def ipv6(source: str, destination: str, next_header: int, payload: bytes) -> bytes:
    """A tenant's frame to the host's MAC address, hop limit 255, with the checksum of ICMPv6 or UDP (RFC 8200 8.1)."""
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    covered = addresses + struct.pack(">II", len(payload), next_header) + payload
    total = sum(struct.unpack(f">{len(covered) // 2}H", covered))
    at = 2 if next_header == socket.IPPROTO_ICMPV6 else 6
    payload = payload[:at] + struct.pack(">H", 0xFFFF - total % 0xFFFF) + payload[at + 2 :]
    return HOST_MAC + TENANT_MAC + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(payload), next_header, 255) \
        + addresses + payload  # fmt: skip


WHO_ARE_YOU = ipv6(
    TENANT,
    HOST,
    socket.IPPROTO_ICMPV6,
    b"\x87\0\0\0" + bytes(4) + socket.inet_pton(socket.AF_INET6, HOST) + b"\x01\x01" + TENANT_MAC,
)
I_AM = TENANT_MAC + HOST_MAC + b"\x86\xdd"
"""How a frame of the host's to the tenant begins."""


def datagram(source: str, destination: str, port: int) -> bytes:
    return ipv6(source, destination, socket.IPPROTO_UDP, struct.pack(">HHHH", 4000, port, 14, 0) + b"tenant")


def last(destination: bytes) -> bytes:
    """A frame that the program sends on. When it has come out, whatever came before it has had its time."""
    return destination + TENANT_MAC + b"\x88\xb5" + os.urandom(46)


@dataclass
class World:
    """A host with a service, and with a route from `access` to `underlay`; both are ports of the switch."""

    tenant: socket.socket
    """The far end of `access`."""
    fabric: socket.socket
    """The far end of `underlay`."""
    service: socket.socket

    def comes_out(self, frame: bytes | None, wire: socket.socket) -> list[bytes]:
        """A tenant sends a frame, and another that the program sends on: what comes out of a wire before that one."""
        until = last(BACK if wire is self.tenant else OUT)
        if frame is not None:
            self.tenant.send(frame)
        self.tenant.send(until)
        found = []
        while True:
            data, address = wire.recvfrom(1 << 16)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if data == until:
                return found
            found.append(data)

    def host_answers(self) -> bool:
        return any(frame.startswith(I_AM) for frame in self.comes_out(WHO_ARE_YOU, self.tenant))

    def host_forwards(self) -> bool:
        found = self.comes_out(datagram("2001:db8:1::9", BEYOND, 9), self.fabric)
        return any(b"tenant" in frame for frame in found)

    def host_serves(self) -> bool:
        self.comes_out(datagram(TENANT, HOST, SERVICE), self.tenant)
        with contextlib.suppress(BlockingIOError):
            return self.service.recv(1000, socket.MSG_DONTWAIT) == b"tenant"
        return False

    def host_sends(self) -> bool:
        """Whether what a process of the host says to the tenant comes out."""
        with contextlib.suppress(OSError):  # ENOBUFS: nothing leaves
            self.service.sendto(b"from the host", (TENANT, 9, 0, socket.if_nametoindex("access")))
        return any(b"from the host" in frame for frame in self.comes_out(None, self.tenant))

    def all_of_it(self) -> list[bool]:
        return [self.host_answers(), self.host_serves(), self.host_forwards(), self.host_sends()]


def sysctl(name: str, value: str) -> None:
    Path("/proc/sys/net", name).write_text(value)


def lladdr(mac: bytes) -> str:
    return mac.hex(":")


@pytest.fixture
def world() -> Iterator[World]:
    with own_network(), contextlib.ExitStack() as stack:
        ip("link", "set", "lo", "up")
        wires = []
        for name, far in (("access", "tenant"), ("underlay", "fabric")):
            ip("link", "add", name, "type", "veth", "peer", "name", far)
            ip("link", "set", name, "addrgenmode", "none")
            sysctl(f"ipv6/conf/{far}/disable_ipv6", "1")
            wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            wire.settimeout(TIMEOUT)
            ip("link", "set", far, "up")
            wire.bind((far, 0))
            wires.append(wire)
        ip("link", "set", "access", "address", lladdr(HOST_MAC))
        for name in ("access", "underlay"):
            ip("link", "set", name, "up")
        ip("addr", "add", f"{HOST}/64", "dev", "access", "nodad")
        ip("neigh", "add", TENANT, "lladdr", lladdr(TENANT_MAC), "dev", "access")
        sysctl("ipv6/conf/all/forwarding", "1")
        ip("route", "add", "2001:db8:1::/48", "dev", "access")
        ip("route", "add", "2001:db8:2::/48", "dev", "underlay")
        ip("neigh", "add", BEYOND, "lladdr", lladdr(ROUTER_MAC), "dev", "underlay")
        service = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        service.bind(("::", SERVICE))
        yield World(*wires, service)


@contextlib.contextmanager
def switch(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """With `access` and `underlay` as ports, and a program that sends on frames to BACK and to OUT."""
    program = Program.load("with_arrays")
    ports = ["-i", f"{ACCESS}@access", "-i", f"{UNDERLAY}@underlay"]
    with running(directory, ["--no-p4", *ports, *options], ["--cpu-port", "510"]) as process:
        with Controller(f"unix:{directory / 'p4rt'}") as controller:
            controller.arbitrate()
            controller.push(program)
            for mac, port in ((BACK, ACCESS), (OUT, UNDERLAY)):
                entry = program.forward(mac, program.action("set_port", bytes([port])))
                controller.write(update(Insert, table_entry=entry))
        yield process


def command(*options: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "p4softswitch.cli", *options]
    return subprocess.run(whole, capture_output=True, text=True, timeout=TIMEOUT, check=False)


class TestTaken:
    def test_nobody_behind_a_port_meets_the_host(self, world: World, tmp_path: Path) -> None:
        """It neither says who it is, nor serves, nor forwards, nor sends; frames of the program pass."""
        with switch(tmp_path):
            assert world.all_of_it() == [False, False, False, False]

    def test_where_it_is_shared_all_do(self, world: World, tmp_path: Path) -> None:
        with switch(tmp_path, "--shared", "access", "--shared", "underlay"):
            assert world.all_of_it() == [True, True, True, True]

    def test_one_interface_of_two_is_shared(self, world: World, tmp_path: Path) -> None:
        """The host hears tenants, but sends nothing into the underlay."""
        with switch(tmp_path, "--shared", "access"):
            assert world.all_of_it() == [True, True, False, True]

    def test_it_stays_when_the_switch_is_killed(self, world: World, tmp_path: Path) -> None:
        with switch(tmp_path) as process:
            process.kill()
            process.wait(TIMEOUT)
        assert not hears(world)

    def test_shared_opens_what_another_switch_left_closed(self, world: World, tmp_path: Path) -> None:
        for options, expected in (((), False), (("--shared", "access", "--shared", "underlay"), True)):
            directory = tmp_path / str(expected)
            directory.mkdir()
            with switch(directory, *options) as process:
                assert world.all_of_it() == [expected] * 4
                assert end(process)[0] == 0

    def test_another_program_takes_its_place(self, world: World, tmp_path: Path) -> None:
        """A push attaches the ports anew."""
        with switch(tmp_path):
            with Controller(f"unix:{tmp_path / 'p4rt'}", election_id=2) as controller:
                program = Program.load("without_arrays")
                controller.arbitrate()
                controller.push(program)
                entry = program.forward(BACK, program.action("set_port", bytes([ACCESS])))
                controller.write(update(Insert, table_entry=entry))
            assert not world.host_answers()
            assert not world.host_serves()

    def test_more_changes_than_there_is_room_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Every interface is closed anew, since one may have been opened; nobody is said to have done it."""
        monkeypatch.setattr("p4softswitch.server.host_stack._ROOM_FOR_CHANGES", 1)
        tables = [(host_stack._text(1, f"other-{number}")) for number in range(200)]
        deadline = time.monotonic() + TIMEOUT
        with contextlib.closing(HostStack()) as stack, host_stack._socket() as other:
            stack.take("access")
            while "more of nf_tables was changed than could be read" not in caplog.text:
                assert time.monotonic() < deadline
                for kind, flags in ((host_stack._NEWTABLE, host_stack._CREATE), (host_stack._DELTABLE, 0)):
                    host_stack._ask(other, host_stack._batch((kind, flags, table) for table in tables))
        assert not hears(world)
        assert "somebody opened it" not in caplog.text

    def test_there_is_room_for_what_a_firewall_does(self, world: World) -> None:
        with host_stack._socket(host_stack._NFNLGRP_NFTABLES) as changes:
            assert changes.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 8 << 20

    def test_whoever_opens_it_has_it_closed_again(self, world: World) -> None:
        """As a firewall does that flushes all tables first: here by the same call, from another process."""
        with contextlib.closing(HostStack()) as stack:
            stack.take("access")
            stack.take("underlay")
            with watching() as changes:
                opened = command("--release", "access")
                assert (opened.returncode, opened.stdout) == (0, "access: this host uses it again\n")
                closed_again(changes)
            assert not hears(world)
        assert release("access")
        assert hears(world)

    def test_who_opens_it_again_and_again_is_said_a_few_times(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two firewalls that undo each other's work have the processor to themselves otherwise. It ends closed."""
        monkeypatch.setattr("p4softswitch.server.pauses._CALM_S", TIMEOUT)  # however busy the machine is
        with contextlib.closing(HostStack()) as stack:
            stack.take("access")
            for _ in range(20):
                with watching() as changes:
                    assert release("access")
                    closed_again(changes)
        assert not hears(world)
        said = [record.getMessage() for record in caplog.records if "somebody opened it" in record.getMessage()]
        assert len(said) == 6
        assert [text for text in said if "again and again" in text] == said[-1:]

    def test_it_pauses_between(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until the switch ends, here: which waits for no pause."""
        monkeypatch.setattr("p4softswitch.server.host_stack.Pauses.done", lambda pauses: 2 * TIMEOUT)
        with contextlib.closing(HostStack()) as stack:
            stack.take("access")
            with watching() as changes:
                assert release("access")
                closed_again(changes)
                assert not hears(world)
                assert release("access")
        assert hears(world)


@contextlib.contextmanager
def watching() -> Iterator[socket.socket]:
    """What is changed of nf_tables from now on."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as changes:
        changes.bind((0, 1 << 6))
        changes.settimeout(TIMEOUT)
        yield changes


def closed_again(changes: socket.socket) -> None:
    """`access` is, from now on; a rule is the last that is made of a table of the switch."""
    while f"{TABLE_PREFIX}access" not in tables_with_a_new_rule(changes.recv(1 << 16)):
        pass


def tables_with_a_new_rule(changes: bytes) -> set[str]:
    """Of messages about nf_tables."""
    found, at = set(), 0
    while at < len(changes):
        length, kind = struct.unpack_from("=IH", changes, at)
        if kind == 10 << 8 | 6:
            size = struct.unpack_from("=H", changes, at + 20)[0]
            found.add(changes[at + 24 : at + 20 + size - 1].decode())
        at += length + 3 & ~3
    return found


def hears(world: World) -> bool:
    """Whether the host's service gets what a tenant sends, before it gets what another socket sends after it."""
    world.tenant.send(datagram(TENANT, HOST, SERVICE))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.sendto(b"that was all", ("::1", SERVICE))
    world.service.settimeout(TIMEOUT)
    if world.service.recv(1000) == b"that was all":
        return False
    assert world.service.recv(1000) == b"that was all"
    return True


class TestRefusals:
    """An interface that the host needs is not taken from it by a mistake."""

    def refused(self, *options: str) -> str:
        result = command("--no-p4", *options, "--", "--grpc-server-addr", "unix:p4rt")
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        return result.stderr

    def test_an_address_of_the_host(self, world: World, tmp_path: Path, monkeypatch) -> None:
        ip("addr", "add", "192.0.2.7/24", "dev", "underlay")
        stack = HostStack()
        with (
            contextlib.closing(stack),
            pytest.raises(NotTaken, match=r"this host has 192\.0\.2\.7/24 there") as refusal,
        ):
            stack.take("underlay")
        assert refusal.value.errno == errno.EBUSY
        assert not release("underlay")  # nothing was changed

    def test_a_bridge(self, world: World) -> None:
        ip("link", "add", "br0", "type", "bridge")
        ip("link", "set", "underlay", "master", "br0")
        with contextlib.closing(HostStack()) as stack, pytest.raises(NotTaken, match="it belongs to br0"):
            stack.take("underlay")

    def test_the_loopback_interface(self, world: World) -> None:
        with contextlib.closing(HostStack()) as stack, pytest.raises(NotTaken, match="loopback"):
            stack.take("lo")

    def test_no_such_interface(self, world: World) -> None:
        with contextlib.closing(HostStack()) as stack, pytest.raises(NotTaken, match="No such device"):
            stack.take("nosuchif0")

    def test_without_the_right_to(self, world: World) -> None:
        """Said with what it takes, and with what does without."""
        script = (
            "import os; from p4softswitch.server.host_stack import HostStack; "
            "os.setuid(65534); HostStack().take('access')"
        )
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "NotTaken" in result.stderr
        assert "CAP_NET_ADMIN" in result.stderr
        assert "--shared access" in result.stderr

    def test_added_before_there_is_a_program(self, world: World, tmp_path: Path) -> None:
        """As one of the command line: the host does not hear its tenants, and one that it needs is refused."""
        address = ["--grpc-server-addr", f"unix:{tmp_path / 'p4rt'}"]
        with running(tmp_path, ["--no-p4"]):
            assert hears(world)
            assert command("ports", "add", "1@access", *address).returncode == 0
            assert not hears(world)
            ip("addr", "add", "192.0.2.7/24", "dev", "underlay")
            refused = command("ports", "add", "2@underlay", *address)
            assert refused.returncode == 1
            assert "UNKNOWN: port 2 (underlay): this host has 192.0.2.7/24 there" in refused.stderr
            ip("addr", "flush", "dev", "underlay")
            assert command("ports", "add", "2@underlay", *address).returncode == 0

    def test_before_there_is_a_program(self, world: World, tmp_path: Path) -> None:
        """A switch that waits for its program has its interfaces from the start, and refuses what it cannot have."""
        with running(tmp_path, ["--no-p4", "-i", "1@access"]):
            assert not hears(world)
        ip("addr", "add", "192.0.2.7/24", "dev", "underlay")
        assert "underlay: this host has 192.0.2.7/24 there" in self.refused("-i", "2@underlay")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--shared", "access"], "--shared access: there is no port of that interface"),
            (["-i", "1@access", "--shared", "underlay"], "--shared underlay: there is no port of that interface"),
        ],
    )
    def test_shared_without_a_port(self, world: World, options: Sequence[str], said: str) -> None:
        assert said in self.refused(*options)

    def test_taken_before_the_switch_is_there(self, world: World) -> None:
        """As at the start of a machine. Each interface by itself: one that cannot be taken leaves no other one open."""
        ip("addr", "add", "192.0.2.7/24", "dev", "underlay")
        result = command("--take", "underlay", "access")
        assert result.returncode == 1
        assert result.stderr.startswith("p4softswitch: underlay: this host has 192.0.2.7/24 there")
        assert not hears(world)

    def test_release_of_what_was_not_taken(self, world: World) -> None:
        result = command("--release", "access", "nosuchif0")
        assert result.returncode == 1
        assert result.stderr.splitlines() == [
            f"p4softswitch: {name}: no switch has taken it" for name in ("access", "nosuchif0")
        ]

    def test_the_switch_says_so_and_ends(self, world: World, tmp_path: Path) -> None:
        ip("addr", "add", "192.0.2.7/24", "dev", "underlay")
        program = Path(__file__).parent / "support" / "server_program" / "with_arrays.json"
        address = f"unix:{tmp_path / 'p4rt'}"
        result = command("-i", "2@underlay", str(program), "--", "--grpc-server-addr", address)
        assert result.returncode == 1
        assert "192.0.2.7/24" in result.stderr
        assert "--shared underlay" in result.stderr


class TestWithoutNfTables:
    """A kernel that has no netfilter over netlink refuses the socket; one without nf_tables refuses what is asked."""

    @pytest.fixture(params=[("_socket", errno.EPROTONOSUPPORT), ("_ask", errno.EOPNOTSUPP)], ids=["no socket", "no"])
    def kernel(self, request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        name, error = request.param

        def refuse(*_: object) -> None:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(f"p4softswitch.server.host_stack.{name}", refuse)

    @pytest.mark.usefixtures("kernel")
    def test_nothing_was_taken(self) -> None:
        assert not release("access")
        with contextlib.closing(HostStack(["access"])) as stack:
            assert stack.take("access") == 0

    @pytest.mark.usefixtures("kernel")
    def test_it_is_said_what_is_missing(self) -> None:
        with contextlib.closing(HostStack()) as stack, pytest.raises(NotTaken, match=r"nf_tables.*--shared access"):
            stack.take("access")


def test_one_that_cannot_be_given_back_is_shared_nevertheless(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("p4softswitch.server.host_stack._ask", refuse)
    with contextlib.closing(HostStack(["access"])) as stack:
        assert stack.take("access") == 0
    assert "access: if it is closed to this host, it stays so: Cannot allocate memory" in caplog.text


def test_a_watch_that_cannot_begin_is_begun_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface is not taken without it."""
    made = host_stack._socket

    def refuse(groups: int = 0) -> socket.socket:
        if groups:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return made(groups)

    with contextlib.closing(HostStack()) as stack:
        with monkeypatch.context() as patched:
            patched.setattr("p4softswitch.server.host_stack._socket", refuse)
            for _ in range(2):
                with pytest.raises(NotTaken, match="Too many open files"):
                    stack.take("access")
        stack.take("access")
        assert stack._watch is not None


def test_nothing_is_left_of_a_watch_that_cannot_begin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried: each would fill up with changes that nobody reads."""
    made, watches = host_stack._socket, []

    def refuse(groups: int = 0) -> socket.socket:
        if not groups:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        watches.append(made(groups))
        return watches[-1]

    monkeypatch.setattr("p4softswitch.server.host_stack._socket", refuse)
    with contextlib.closing(HostStack()) as stack:
        for _ in range(2):
            with pytest.raises(NotTaken, match="Too many open files"):
                stack.take("access")
        assert [watch.fileno() for watch in watches] == [-1, -1]


def test_a_switch_that_is_stopped_leaves_it_closed(world: World, tmp_path: Path) -> None:
    with switch(tmp_path) as process:
        assert end(process)[0] == 0
    assert not hears(world)


class TestOtherNames:
    """`ip link property add dev access altname port-one`: another name is no other interface."""

    @pytest.fixture(autouse=True)
    def altname(self, world: World) -> None:
        ip("link", "property", "add", "dev", "access", "altname", "port-one")

    @pytest.mark.parametrize("more", [(), ("--shared", "port-one")])
    def test_it_is_refused_with_the_one_to_use(self, tmp_path: Path, more: Sequence[str]) -> None:
        result = command("--no-p4", "-i", "1@port-one", *more, "--", "--grpc-server-addr", f"unix:{tmp_path / 'p4rt'}")
        assert result.returncode == 1
        assert "it is another name of access; use that" in result.stderr

    def test_it_is_not_added_either(self, tmp_path: Path) -> None:
        with running(tmp_path, ["--no-p4"]):
            result = command("ports", "add", "1@port-one", "--grpc-server-addr", f"unix:{tmp_path / 'p4rt'}")
        assert result.returncode == 1
        assert result.stderr.endswith("port 1 (port-one): it is another name of access; use that\n")

    def test_nothing_is_taken_by_it(self) -> None:
        with contextlib.closing(HostStack()) as stack, pytest.raises(NotTaken, match="another name of access"):
            stack.take("port-one")
        assert not release("port-one")

    def test_the_interface_itself_is_not(self, world: World, tmp_path: Path) -> None:
        with switch(tmp_path):
            assert not world.host_answers()


def test_a_port_is_not_released(world: World, tmp_path: Path) -> None:
    """The switch would close it again, and the answer would be wrong."""
    with switch(tmp_path) as process:
        result = command("--release", "access")
        assert result.returncode == 1
        assert result.stderr.startswith(f"p4softswitch: access: process {process.pid} has it as a port")
        ip("link", "add", "spare", "type", "veth", "peer", "name", "other")
        taken = command("--take", "access", "spare")
        assert taken.returncode == 1
        assert taken.stdout == "spare: closed to this host\n"
        assert f"the interface access is in use by process {process.pid}" in taken.stderr
        assert not world.host_answers()
        assert end(process)[0] == 0
    assert command("--release", "access").returncode == 0
