# SPDX-License-Identifier: Apache-2.0
"""What the captures of ports are called, program by program: also after one that did not come to run."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from p4softswitch.server import Device, P4Error, Ports
from p4softswitch.server.ports import PortSpec
from server_command import running
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Controller, Program, Push, engine_missing

SPECS = tuple(PortSpec(number, local_path=f"port{number}", peer_path=f"peer{number}") for number in (1, 2))


def fail_open(engine: FakeEngine) -> None:
    engine.fail_open[2] = errno.EPERM


FAULTS: dict[str, Callable[[FakeEngine], None]] = {
    "attach": lambda engine: setattr(engine, "fail_attach", True),
    "start": lambda engine: setattr(engine, "fail_start", True),
    "open": fail_open,
}


class Pushes:
    """Programs that are pushed to a device whose engine is in memory, by turns two."""

    def __init__(self, directory: Path, programs: tuple[Program, Program]) -> None:
        self._programs = programs
        self._count = 0
        self._fault: Callable[[FakeEngine], None] | None = None
        self._engine: FakeEngine | None = None
        ports = Ports(SPECS, pcap_dir=str(directory))
        self.device = Device(DEVICE_ID, self._load, ports, send_digest=lambda message: None)

    def _load(self, data: bytes) -> FakeEngine:
        engine = self._engine = FakeEngine(data)
        if self._fault is not None:
            self._fault(engine)
        return engine

    def push(self, fault: Callable[[FakeEngine], None] | None = None) -> list[str]:
        """The names of the files of ports 1 and 2. fault: what its engine fails at."""
        self._fault = fault
        program = self._programs[self._count % 2]
        try:
            self.device.set_config(Push.VERIFY_AND_COMMIT, program.config())
        except P4Error:
            assert fault is not None
        else:
            assert fault is None
            self._count += 1
        assert self._engine is not None
        return [Path(path).name for _, path in sorted(self._engine.captures.items()) if path is not None]


@pytest.fixture
def pushes(tmp_path: Path, program: Program, plain_program: Program) -> Iterator[Pushes]:
    pushes = Pushes(tmp_path, (program, plain_program))
    yield pushes
    pushes.device.stop()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_program_that_never_ran_uses_no_name_up(pushes: Pushes, fault: Callable[[FakeEngine], None]) -> None:
    """The first one, and a later one; however often."""
    for suffix in ("", ".2", ".3"):
        for _ in range(2):
            pushes.push(fault)
        assert pushes.push() == [f"port1{suffix}.pcap", f"port2{suffix}.pcap"]


def test_a_capture_with_frames_is_not_replaced(pushes: Pushes, tmp_path: Path) -> None:
    """Of a program that ran until its ports could not be had: its file stays, and no other gets the name."""

    def capturing(engine: FakeEngine) -> None:
        fail_open(engine)
        (tmp_path / "port1.pcap").touch()

    pushes.push(capturing)
    assert pushes.push() == ["port1.port1.1.pcap", "port2.pcap"]


@pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))
class TestFiles:
    """With the engine that users have."""

    @pytest.fixture
    def captures(self, tmp_path: Path) -> Path:
        captures = tmp_path / "captures"
        captures.mkdir()
        return captures

    @pytest.fixture
    def controller(self, tmp_path: Path, captures: Path) -> Iterator[Controller]:
        """Of a switch with the ports 1 and 2, and captures, before the first program."""
        options = ["--no-p4", "--pcap", str(captures)]
        for number in (1, 2):
            options += ["-i", f"{number}@unix:{tmp_path / f'port{number}'},{tmp_path / f'peer{number}'}"]
        with running(tmp_path, options), Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
            controller.arbitrate()
            yield controller

    @staticmethod
    def names(captures: Path) -> list[str]:
        return sorted(found.name for found in captures.iterdir())

    def test_a_port_that_cannot_be_opened(
        self, tmp_path: Path, captures: Path, controller: Controller, program: Program
    ) -> None:
        """The engine had all its captures by then; none stays that has no frame."""
        (tmp_path / "port2").touch()
        with pytest.raises(grpc.RpcError, match="Address already in use"):
            controller.push(program)
        assert self.names(captures) == []
        (tmp_path / "port2").unlink()
        controller.push(program)
        assert self.names(captures) == ["port1.pcap", "port2.pcap"]

    def test_a_capture_that_cannot_be_made(
        self, captures: Path, controller: Controller, program: Program, plain_program: Program
    ) -> None:
        for pushed, suffix in ((program, ""), (plain_program, ".2")):
            before = self.names(captures)
            link = captures / f"port2{suffix}.pcap"
            link.symlink_to("/dev/null")
            with pytest.raises(grpc.RpcError, match="a symbolic link stands there"):
                controller.push(pushed)
            link.unlink()
            assert self.names(captures) == before
            controller.push(pushed)
            assert self.names(captures) == sorted([*before, f"port1{suffix}.pcap", link.name])
