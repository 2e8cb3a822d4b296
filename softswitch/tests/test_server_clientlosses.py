# SPDX-License-Identifier: Apache-2.0
"""What no client took is counted, each kind under a name of its own."""

from __future__ import annotations

from typing import Any

import pytest
from finsy.proto import p4r
from p4softswitch.server import Device, Ports
from p4softswitch.server.arbitration import Connection
from p4softswitch.server.clientlosses import CLIENT_LOSSES, ClientLosses
from p4softswitch.server.outbox import Outbox
from p4softswitch.server.service import P4RuntimeService
from p4softswitch.server.statistics import StatisticsService
from p4softswitch.server.streamconfig import ErrorReporting, SetRequest, StreamConfigs
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Program, Push

SENT = {
    "digest": p4r.StreamMessageResponse(digest=p4r.DigestList(digest_id=1)),
    "idle_notification": p4r.StreamMessageResponse(idle_timeout_notification=p4r.IdleTimeoutNotification(timestamp=1)),
}


class Counted:
    """A service without a server, and what it has counted."""

    def __init__(self, program: Program) -> None:
        losses, self.configs = ClientLosses(), StreamConfigs(DEVICE_ID)
        device = Device(DEVICE_ID, FakeEngine, Ports(()), send_digest=lambda message: None)
        device.set_config(Push.VERIFY_AND_COMMIT, program.config())
        self.service = P4RuntimeService(device, None, self.configs, losses)
        self._statistics = StatisticsService(device, losses)

    def arbitrate(self, capacity: int) -> Connection:
        connection = Connection(1, Outbox("controller", capacity))
        self.service._arbiter.add(connection)
        return connection

    def losses(self) -> dict[str, int]:
        """As the statistics tell it."""
        engine: dict[str, Any] = self._statistics.get(b"", None)["engine"]  # type: ignore[arg-type]
        return {name: engine[name] for name in CLIENT_LOSSES if engine[name]}


@pytest.fixture
def counted(program: Program) -> Counted:
    return Counted(program)


@pytest.mark.parametrize("kind", SENT)
class TestWhatThePipelineSends:
    def test_without_a_primary(self, counted: Counted, kind: str) -> None:
        for _ in range(2):
            counted.service.send_to_primary(SENT[kind])
        assert counted.losses() == {f"{kind}_unheard": 2}

    def test_a_primary_that_is_too_slow(self, counted: Counted, kind: str) -> None:
        counted.arbitrate(1)
        for _ in range(3):
            counted.service.send_to_primary(SENT[kind])
        assert counted.losses() == {f"{kind}_lost": 2}

    def test_a_primary_that_takes_it(self, counted: Counted, kind: str) -> None:
        connection = counted.arbitrate(1)
        counted.service.send_to_primary(SENT[kind])
        connection.outbox.close()
        assert SENT[kind] in list(connection.outbox)
        assert counted.losses() == {}


def test_reports_of_refused_packet_outs(counted: Counted) -> None:
    request = SetRequest(device_id=DEVICE_ID)
    request.config.stream.error_reporting = int(ErrorReporting.ENABLED)
    counted.configs.set(request, None)  # type: ignore[arg-type]
    connection = counted.arbitrate(1)
    for _ in range(3):
        counted.service._packet_out(connection, p4r.PacketOut())  # there is no CPU port
    assert counted.losses() == {"error_lost": 2}
