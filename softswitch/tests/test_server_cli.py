# SPDX-License-Identifier: Apache-2.0
"""The command `p4softswitch`: its command line, its ports, its end, and what it never says."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from p4softswitch import cli
from p4softswitch.server import PortSpec, parse_port
from server_command import FRAME, MAC, end, running
from server_harness import PROGRAMS, TIMEOUT, Controller, Insert, Program, Push, engine_missing, update

KEY = bytes.fromhex("5ec2e7c0ffee")
"""Stands for a key: an action parameter that must not be seen in any output."""

needs_engine = pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))


class TestPortSyntax:
    def test_good(self) -> None:
        assert parse_port("0@veth0") == PortSpec(0, interface="veth0")
        assert parse_port("511@unix:/a/b,/c") == PortSpec(511, local_path="/a/b", peer_path="/c")

    @pytest.mark.parametrize(
        "text",
        ["", "1", "1@", "@eth0", "x@eth0", "512@eth0", "-1@eth0", "1@unix:/a", "1@unix:,/a", "1@unix:/a,", "1@port\n"],
    )
    def test_bad(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"port|PORT"):
            parse_port(text)


class TestCommandLine:
    """One line on standard error and status 1, before anything is started."""

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["--no-p4", "-i", "nonsense"],
            ["--no-p4", "-i", "1@no-such-if"],
            ["--no-p4", "--wait-for-interfaces", "-i", "1@sixteen-letters!"],
            ["--no-p4", "--wait-for-interfaces", "-i", "1@../../etc"],
            ["--no-p4", "--wait-for-interfaces", "-i", "1@a b"],
            ["--no-p4", "--wait-for-interfaces", "-i", "1@.."],
            ["--no-p4", "--pcap", "no-such-directory"],
            ["--no-p4", "--pcap", "no-such-directory", "--"],
            ["--no-p4", "-i", "1@unix:/a,/b", "-i", "1@unix:/c,/d"],
            ["--no-p4", "-i", "255@unix:/a,/b", "--", "--cpu-port", "255"],
            ["--no-p4", "--", "--cpu-port", "511"],
            ["--no-p4", "--", "--cpu-port", "0"],
            ["--no-p4", "--", "--priority-queues", "8"],
            ["--no-p4", "--device-id", "-1"],
            ["--no-p4", "--pcap=/no/such/directory"],
            ["--no-p4", "--use-files", "1"],
            ["--no-p4", "--dump-packet-data", "64"],
            ["--no-p4", "--debugger"],
            ["--no-p4", "--restore-state", "x"],
            ["--no-p4", "-L", "loud"],
            ["--no-p4", "--cpu-port", "510"],
            ["--no-p4", "--", "--grpc-server-cert", "x"],
            ["--no-p4", "--", "--grpc-server-ssl"],
            ["--no-p4", "--", "--max-l1-entries", "0"],
            ["/no/such/program.json"],
        ],
        ids=" ".join,
    )
    def test_refused(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            status: Any = cli.main(arguments)
        except SystemExit as exit_:
            status = exit_.code
        assert status == 1
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("p4softswitch")

    def test_a_number_is_said_with_what_is_allowed(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            cli.main(["--no-p4", "--", "--cpu-port", "many"])
        assert capsys.readouterr().err == "p4softswitch: argument --cpu-port: 'many' is no number from 1 to 511\n"

    @pytest.mark.parametrize(("port", "more"), [(511, []), (9, ["--", "--drop-port", "9"])])
    def test_the_drop_port_is_no_port(self, port: int, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["--no-p4", "-i", f"{port}@unix:local,peer", *more])
        assert caught.value.code == 1
        said = f"port {port} is the drop port, which has no interface; --drop-port makes it another"
        assert capsys.readouterr().err == f"p4softswitch: {said}\n"

    def test_pcap_takes_a_directory_but_not_the_program(self, tmp_path: Path) -> None:
        assert cli._split(["--pcap", "prog.json"]) == (["--pcap=.", "prog.json"], [])
        assert cli._split(["--pcap", str(tmp_path), "p.json", "--", "x"]) == ([f"--pcap={tmp_path}", "p.json"], ["x"])

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out.strip() == version("nvo3sec")

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["--help"])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert "PORT@IFACE" in text
        assert "--grpc-server-addr" in text


@needs_engine
class TestRunning:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_serves_and_ends(self, tmp_path: Path, number: signal.Signals) -> None:
        with running(tmp_path, ["--no-p4"]) as process:
            with Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
                controller.arbitrate()
            status, out, error = end(process, number)
        assert (status, error) == (0, "")
        assert out == f"Server listening on unix:{tmp_path / 'p4rt'}\n"

    def test_sockets_are_the_owners_alone(self, tmp_path: Path) -> None:
        with running(tmp_path, ["--no-p4"], ["--dp-grpc-server-addr", f"unix:{tmp_path / 'data'}"]):
            for name in ("p4rt", "data"):
                assert stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o077 == 0

    def test_address_in_use(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            command = [sys.executable, "-m", "p4softswitch.cli", "--no-p4", "--", "--grpc-server-addr", address]
            result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert result.returncode == 1
        said = f"p4softswitch: the address {address} is in use by process {os.getpid()}"
        assert result.stderr.splitlines()[-1] == said  # after a line of grpc's own

    def test_not_a_program(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.json"
        bad.write_text("{}")
        result = subprocess.run(
            [sys.executable, "-m", "p4softswitch.cli", str(bad), "--", "--grpc-server-addr", f"unix:{tmp_path / 's'}"],
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        assert result.returncode == 1
        assert "not a BMv2 program" in result.stderr

    def test_datagram_ports_survive_pushes(self, tmp_path: Path, program: Program, plain_program: Program) -> None:
        """A peer that sends to the path of a port goes on, whatever program comes; also across another one."""
        local, peer = tmp_path / "port1", tmp_path / "peer1"
        out, other = tmp_path / "port2", tmp_path / "peer2"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
            running(
                tmp_path,
                ["--no-p4", "-i", f"1@unix:{local},{peer}", "-i", f"2@unix:{out},{other}", "--pcap", str(tmp_path)],
                ["--cpu-port", "510"],
            ) as process,
            Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
        ):
            sender.bind(str(peer))
            receiver.bind(str(other))
            receiver.settimeout(TIMEOUT)
            controller.arbitrate()
            for pushed in (program, program, plain_program, program):
                controller.push(pushed)
                entry = pushed.forward(MAC, pushed.action("set_port", b"\x02"))
                controller.write(update(Insert, table_entry=entry))
                sender.sendto(FRAME, str(local))
                assert receiver.recv(2000) == FRAME
            controller.push(plain_program, Push.VERIFY_AND_SAVE)
            sender.sendto(FRAME, str(local))
            assert receiver.recv(2000) == FRAME
            status, _, error = end(process)
        assert (status, error) == (0, "")
        names = [f"port{port}{part}.pcap" for port in (1, 2) for part in ("", ".2", ".3")]
        assert all((tmp_path / name).stat().st_size > len(FRAME) for name in names)

    def test_program_from_the_command_line(self, tmp_path: Path, program: Program) -> None:
        with (
            running(tmp_path, [str(PROGRAMS / "with_arrays.json")], ["--cpu-port", "510"]),
            Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
        ):
            controller.arbitrate()
            controller.push(Program(program.p4info, b""))
            controller.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
            assert len(controller.read(table_entry=program.forward(MAC))) == 1

    def test_no_key_in_any_output(self, tmp_path: Path, program: Program) -> None:
        """Not at the highest level of logging, not in an error, not for a request that is refused."""
        log = tmp_path / "log"
        texts = []
        with (
            running(tmp_path, ["--no-p4", "-L", "trace", "--log-file", str(log)], ["--cpu-port", "510"]) as process,
            Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
        ):
            controller.arbitrate()
            controller.push(program)
            note = program.action("note", b"\x01", KEY, b"\x01")
            good = program.entry("acl", {}, note, priority=1)
            wide = program.entry("acl", {}, program.action("note", b"\x01", b"\x01" + KEY, b"\x01"), priority=1)
            wrong_table = program.forward(KEY, note)
            too_long = program.forward(b"\x01" + KEY, program.action("to_cpu"))
            bad_mask = {1: {"ternary": {"value": KEY[:2], "mask": b"\x01"}}}
            masked = program.entry("acl", bad_mask, note, priority=1)
            for entry in (good, good, wide, wrong_table, too_long, masked):
                try:
                    controller.write(update(Insert, table_entry=entry))
                except Exception as error:  # noqa: BLE001 - its text is what is tested
                    texts.append(repr(error) + str(error))
            assert len(texts) == 5
            status, *output = end(process)
        texts += [*output, log.read_text()]
        assert status == 0
        for text in texts:
            assert KEY.hex() not in text.lower()
            assert repr(KEY)[2:-1] not in text
            assert str(int.from_bytes(KEY, "big")) not in text
