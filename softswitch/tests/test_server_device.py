# SPDX-License-Identifier: Apache-2.0
"""The device by itself, over an engine in memory: without gRPC, and with the moments of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from finsy.proto import p4r
from p4softswitch.server import Device, P4Error, Ports, Switch
from p4softswitch.server import entries as entries_of
from p4softswitch.server.status import Code
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, TIMEOUT, Controller, Insert, Modify, Program, Push, options_in, update

MAC = b"\x02\x00\x00\x00\x00\x01"


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def device(engines: list[FakeEngine], program: Program) -> Iterator[Device]:
    def load(data: bytes) -> FakeEngine:
        engines.append(FakeEngine(data))
        return engines[-1]

    device = Device(DEVICE_ID, load, Ports(()), send_digest=lambda message: None)
    device.set_config(Push.VERIFY_AND_COMMIT, program.config())
    yield device
    device.stop()


def test_an_action_is_checked_once(device: Device, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []
    check = entries_of.check_action
    monkeypatch.setattr(entries_of, "check_action", lambda *given: (checked.append(given), check(*given)))
    entry = program.forward(MAC, program.action("set_port", b"\x05"))
    for number, kind in enumerate((Insert, Modify), 1):
        assert device.write([update(kind, table_entry=entry)]) == [None]
        assert len(checked) == number


class NoLongerPrimary:
    """A client that may push when it is asked the first so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise P4Error(Code.PERMISSION_DENIED, "Not primary")


@pytest.mark.parametrize("times", [0, 1], ids=["while it waits for another push", "while its program is compiled"])
class TestLostPrimacy:
    """Nothing is changed by a client that is the primary no more when its push comes to change something."""

    ENTRY_PORT = b"\x05"

    @pytest.fixture(autouse=True)
    def entry(self, device: Device, program: Program) -> Any:
        entry = program.forward(MAC, program.action("set_port", self.ENTRY_PORT))
        assert device.write([update(Insert, table_entry=entry)]) == [None]
        return entry

    @staticmethod
    def pushed(device: Device, times: int, action: Any, config: Any) -> None:
        with pytest.raises(P4Error) as refused:
            device.set_config(action, config, NoLongerPrimary(times))
        assert refused.value.code is Code.PERMISSION_DENIED

    @staticmethod
    def unchanged(device: Device, program: Program, entry: Any, engines: list[FakeEngine]) -> None:
        config = p4r.ForwardingPipelineConfig()
        device.get_config(0, config)
        assert config == program.config()
        [response] = device.read([p4r.Entity(table_entry=p4r.TableEntry(table_id=entry.table_id))])
        assert [e.table_entry for e in response.entities] == [entry]
        assert [engine.stopped for engine in engines] == [False] + [True] * (len(engines) - 1)

    @pytest.mark.parametrize(
        "action", [Push.VERIFY_AND_SAVE, Push.VERIFY_AND_COMMIT, Push.RECONCILE_AND_COMMIT], ids=Push.Action.Name
    )
    def test_another_program(
        self, device: Device, engines: list[FakeEngine], program: Program, plain_program: Program, entry: Any,
        times: int, action: Any,
    ) -> None:  # fmt: skip
        self.pushed(device, times, action, plain_program.config(9))
        self.unchanged(device, program, entry, engines)
        running = device._running
        assert running is not None
        assert running.pipeline is not None
        assert running.pipeline.changes._noted is None  # nobody follows its writes any more
        device.set_config(Push.VERIFY_AND_COMMIT, plain_program.config(9), NoLongerPrimary(2))

    @pytest.mark.parametrize("data", [None, b""], ids=["the same program", "the running program"])
    def test_in_place(
        self, device: Device, engines: list[FakeEngine], program: Program, entry: Any, times: int, data: bytes | None
    ) -> None:
        config = program.config(9)
        if data is not None:
            config.p4_device_config = data
        self.pushed(device, times, Push.VERIFY_AND_COMMIT, config)
        self.unchanged(device, program, entry, engines)

    def test_commit(
        self, device: Device, engines: list[FakeEngine], program: Program, plain_program: Program, times: int
    ) -> None:
        device.set_config(Push.VERIFY_AND_SAVE, plain_program.config())
        self.pushed(device, times, Push.COMMIT, p4r.ForwardingPipelineConfig())
        assert [engine.stopped for engine in engines] == [False, False]
        device.set_config(Push.COMMIT, p4r.ForwardingPipelineConfig())
        assert [engine.stopped for engine in engines] == [True, False]


def test_a_controller_that_waits_is_asked_again(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the primary when its request came, and another one is when the push before it has ended."""
    asked = threading.Event()
    refused: list[Any] = []
    options = options_in(tmp_path)
    with Switch(FakeEngine, options) as switch:
        switch.start()
        may_write = switch._service._arbiter.may_write

        def ask(*given: Any) -> bool:
            found = may_write(*given)
            asked.set()
            return found

        def push(controller: Controller) -> None:
            try:
                controller.push(program)
            except grpc.RpcError as error:
                refused.append(error.code())

        address = options.grpc_address
        with Controller(address, election_id=1) as first, Controller(address, election_id=2) as second:
            assert first.arbitrate().status.code == 0
            monkeypatch.setattr(switch._service._arbiter, "may_write", ask)
            thread = threading.Thread(target=push, args=(first,))
            with switch.device._push_lock:
                thread.start()
                assert asked.wait(TIMEOUT)
                assert second.arbitrate().status.code == 0
            thread.join(TIMEOUT)
            assert refused == [grpc.StatusCode.PERMISSION_DENIED]
            second.push(program)
