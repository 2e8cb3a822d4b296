# SPDX-License-Identifier: Apache-2.0
"""The device by itself, over an engine in memory: without gRPC, and with the moments of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from p4softswitch.server import Device, Ports
from p4softswitch.server import entries as entries_of
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Insert, Modify, Program, Push, update

MAC = b"\x02\x00\x00\x00\x00\x01"


@pytest.fixture
def device(program: Program) -> Iterator[Device]:
    device = Device(DEVICE_ID, FakeEngine, Ports(()), send_digest=lambda message: None)
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
