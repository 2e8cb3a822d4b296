# SPDX-License-Identifier: Apache-2.0
"""Who is primary, and what the others may do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from server_harness import DEVICE_ID, Controller, Insert, Program, Target, missing, start, update


@pytest.fixture(params=["fake", "bmv2"])
def switch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A switch of the test's own. Which engine is behind our server makes no difference here."""
    reason = missing(request.param)
    if reason is not None:
        pytest.skip(reason)
    with start(request.param, tmp_path) as target:
        yield target


@pytest.fixture
def one(switch: Target) -> Iterator[Controller]:
    with switch.controller(election_id=10) as controller:
        yield controller


@pytest.fixture
def two(switch: Target) -> Iterator[Controller]:
    with switch.controller(election_id=20) as controller:
        yield controller


def number(arbitration: p4r.MasterArbitrationUpdate) -> int:
    return (arbitration.election_id.high << 64) | arbitration.election_id.low


def test_capabilities(one: Controller) -> None:
    assert one.stub.Capabilities(p4r.CapabilitiesRequest()).p4runtime_api_version == "1.3.0"


class TestElection:
    def test_first_is_primary(self, one: Controller) -> None:
        answer = one.arbitrate()
        assert (answer.device_id, number(answer), answer.status.code) == (DEVICE_ID, 10, rpc_code.OK)

    def test_lower_is_backup_and_the_primary_hears_nothing(self, one: Controller, two: Controller) -> None:
        two.arbitrate()
        answer = one.arbitrate()
        assert (number(answer), answer.status.code) == (20, rpc_code.ALREADY_EXISTS)
        one.send_arbitration(21)  # the next thing the primary hears is this
        answer = two.receive().arbitration
        assert (number(answer), answer.status.code) == (21, rpc_code.ALREADY_EXISTS)

    def test_higher_takes_over(self, one: Controller, two: Controller) -> None:
        one.arbitrate()
        assert two.arbitrate().status.code == rpc_code.OK
        answer = one.receive().arbitration
        assert (number(answer), answer.status.code) == (20, rpc_code.ALREADY_EXISTS)

    def test_disconnection_promotes(self, one: Controller, two: Controller) -> None:
        two.arbitrate()
        assert one.arbitrate().status.code == rpc_code.ALREADY_EXISTS
        two.close()
        answer = one.receive().arbitration
        assert (number(answer), answer.status.code) == (10, rpc_code.OK)

    def test_end_of_the_stream_promotes(self, one: Controller, two: Controller) -> None:
        two.arbitrate()
        one.arbitrate()
        two.end()
        assert one.receive().arbitration.status.code == rpc_code.OK
        assert two.receive() is None

    def test_stepping_down(self, one: Controller, two: Controller) -> None:
        two.arbitrate()
        one.arbitrate()
        two.send_arbitration(5)
        assert two.receive().arbitration.status.code == rpc_code.ALREADY_EXISTS
        assert one.receive().arbitration.status.code == rpc_code.OK

    def test_a_high_election_id(self, switch: Target) -> None:
        with switch.controller(election_id=2**128 - 1) as controller:
            assert number(controller.arbitrate()) == 2**128 - 1

    def test_zero_can_be_primary(self, switch: Target) -> None:
        with switch.controller(election_id=0) as controller:
            assert controller.arbitrate().status.code == rpc_code.OK

    def test_same_id_again_is_not_answered(self, one: Controller) -> None:
        one.arbitrate()
        one.send_arbitration(10)
        assert number(one.arbitrate(11)) == 11

    def test_taken_id_ends_the_stream(self, one: Controller, switch: Target) -> None:
        one.arbitrate()
        with switch.controller(election_id=10) as other:
            other.open()
            other.send_arbitration()
            assert other.receive().code() is grpc.StatusCode.INVALID_ARGUMENT

    def test_another_device_on_the_same_stream_ends_it(self, one: Controller) -> None:
        one.arbitrate()
        one.send_arbitration(device_id=77)
        assert one.receive().code() is grpc.StatusCode.FAILED_PRECONDITION

    def test_unknown_device_has_its_own_primary(self, one: Controller, switch: Target) -> None:
        one.arbitrate()
        with switch.controller(election_id=1, device_id=77) as other:
            assert other.arbitrate().status.code == rpc_code.OK

    def test_at_most_sixteen_controllers(self, switch: Target) -> None:
        controllers = [switch.controller(election_id=number) for number in range(1, 18)]
        try:
            for controller in controllers[:16]:
                controller.arbitrate()
            controllers[16].open()
            controllers[16].send_arbitration()
            assert controllers[16].receive().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        finally:
            for controller in controllers:
                controller.close()


class TestPermission:
    """`one` has election id 10, `two` 20."""

    def entry(self, program: Program) -> Any:
        return update(Insert, table_entry=program.forward(b"\x01", program.action("to_cpu")))

    def denied(self, controller: Controller, program: Program) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            controller.write(self.entry(program))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError) as caught:
            controller.push(program)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    def test_without_controllers_only_without_election_id(self, one: Controller, program: Program) -> None:
        self.denied(one, program)
        one.election_id = None
        one.push(program)
        one.write(self.entry(program))

    def test_backup_may_read_only(self, one: Controller, two: Controller, program: Program) -> None:
        two.arbitrate()
        two.push(program)
        one.arbitrate()
        self.denied(one, program)
        two.write(self.entry(program))
        assert len(one.read(table_entry=p4r.TableEntry(table_id=program.id("forward")))) == 1

    def test_no_election_id_is_not_the_primarys(self, one: Controller, two: Controller, program: Program) -> None:
        two.arbitrate()
        two.push(program)
        one.election_id = None
        self.denied(one, program)

    def test_the_primarys_id_is_enough(self, one: Controller, two: Controller, program: Program) -> None:
        """Nobody is authenticated: who knows the number writes, from any connection."""
        two.arbitrate()
        two.push(program)
        one.election_id = 20
        one.write(self.entry(program))

    def test_gone_primary(self, one: Controller, two: Controller, program: Program) -> None:
        two.arbitrate()
        two.push(program)
        one.arbitrate()
        two.end()
        assert one.receive().arbitration.status.code == rpc_code.OK
        self.denied(two, program)
        one.write(self.entry(program))


def test_roles_are_refused(fake: Target, program: Program) -> None:
    """BMv2 ignores roles; who asks for less than everything must not believe to have got it."""
    with fake.controller(election_id=1) as controller:
        controller.open()
        controller.send_arbitration(role=p4r.Role(name="read-only"))
        assert controller.receive().code() is grpc.StatusCode.UNIMPLEMENTED
    with fake.controller(election_id=2) as controller:
        controller.arbitrate()
        controller.push(program)
        with pytest.raises(grpc.RpcError) as caught:
            controller.write(role="read-only")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
