# SPDX-License-Identifier: Apache-2.0
"""Clients that say nothing, or take nothing: they hold up nobody, and nothing of the server for good."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, p4r_grpc, rpc_code
from p4softswitch.server import Deadlines, P4Error, Switch
from p4softswitch.server.clients import MAX_IDLE, MAX_READS, Seats, Wait
from p4softswitch.server.dataplane import PacketStreamRequest, PacketStreamResponse
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, TIMEOUT, Controller, Insert, Program, options_in, said_by, update

LONG = 1e6
"""Seconds of a deadline that nobody is to miss."""

LATER = 1000.0
"""Seconds after which who has the usual deadlines is late."""

LARGE = 200_000
"""Bytes of a message of which few fit on their way."""


@contextlib.contextmanager
def switch(directory: Path, *usual: str, **deadlines: float) -> Iterator[Switch]:
    """With the usual deadlines that are named; nobody misses the others but those that are given."""
    chosen = {"request": LONG, "arbitration": LONG, "response": LONG, "read": LONG, **deadlines}
    chosen = {name: seconds for name, seconds in chosen.items() if name not in usual}
    options = replace(options_in(directory), deadlines=Deadlines(**chosen))
    with Switch(FakeEngine, options) as running:
        running.start()
        yield running


class Stream:
    """A StreamChannel, or another method, of a client that does only what it is told to."""

    def __init__(self, call: Any) -> None:
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._done = threading.Event()
        self._call = call(iter(self._out.get, None))
        if not self._call.add_callback(self._done.set):
            self._done.set()

    def send(self, message: Any) -> None:
        self._out.put(message)

    def arbitrate(self, election_id: int, device_id: int = DEVICE_ID) -> None:
        update = p4r.MasterArbitrationUpdate(device_id=device_id, election_id=p4r.Uint128(low=election_id))
        self.send(p4r.StreamMessageRequest(arbitration=update))

    @property
    def has_ended(self) -> bool:
        return self._done.is_set()

    def end(self) -> tuple[Any, str]:
        """Code and reason, once the switch has ended it."""
        assert self._done.wait(TIMEOUT), "the switch does not end it"
        return self._call.code(), self._call.details()

    def close(self) -> None:
        self._out.put(None)
        self._call.cancel()


@pytest.fixture
def ended() -> Iterator[queue.SimpleQueue[str]]:
    """What the switch says of the calls that it ends. A client that takes nothing does not hear of it."""
    with said_by("p4softswitch.server.clients") as said:
        yield said


def told(running: Switch, ended: queue.SimpleQueue[str]) -> str:
    """What is said of the first call that is ended because its client is late: the time at which it is has come."""
    for _ in range(int(TIMEOUT * 100)):
        for clients in running._clients:
            clients.check(time.monotonic() + LATER)
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=0.01)
    raise AssertionError("no call has been ended")


@pytest.fixture
def channels() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def data_plane_stream(directory: Path, channels: contextlib.ExitStack) -> Any:
    channel = channels.enter_context(grpc.insecure_channel(f"unix:{directory / 'data'}"))
    return channel.stream_stream(
        "/p4.bm.DataplaneInterface/PacketStream", PacketStreamRequest.SerializeToString, PacketStreamResponse.FromString
    )


def stub(directory: Path, channels: contextlib.ExitStack) -> Any:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return p4r_grpc.P4RuntimeStub(
        channels.enter_context(grpc.insecure_channel(f"unix:{directory / 'p4rt'}", options=options))
    )


def first_ended(streams: list[Stream], count: int) -> list[Stream]:
    """Once so many of them have ended."""
    tick = threading.Event()
    for _ in range(int(TIMEOUT * 100)):
        ended = [stream for stream in streams if stream.has_ended]
        if len(ended) >= count:
            return ended
        tick.wait(0.01)
    raise AssertionError(f"{len(ended)} have ended, not {count}")


class TestSilence:
    def test_silent_streams_shut_nobody_out(self, tmp_path: Path, channels: contextlib.ExitStack) -> None:
        """The oldest of them give way, with a reason; who arbitrates stays."""
        with switch(tmp_path):
            silent = [Stream(stub(tmp_path, channels).StreamChannel) for _ in range(MAX_IDLE)]
            silent += [Stream(stub(tmp_path, channels).StreamChannel) for _ in range(8)]
            for stream in first_ended(silent, 8):
                assert stream.end()[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            with Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
                assert agent.arbitrate().status.code == rpc_code.OK
                more = [Stream(stub(tmp_path, channels).StreamChannel) for _ in range(40)]
                first_ended(silent + more, 48)
                agent.send_arbitration(7)
                assert agent.receive().arbitration.election_id.low == 7

    def test_other_devices_shut_nobody_out(self, tmp_path: Path, channels: contextlib.ExitStack) -> None:
        """A controller of a device that is not there is one for nothing."""
        with switch(tmp_path):
            strangers: list[Stream] = []
            for number in range(MAX_IDLE):  # one after the other, so that the first one has waited longest
                strangers.append(Stream(stub(tmp_path, channels).StreamChannel))
                # Falling numbers: nobody hears of who comes later.
                strangers[-1].arbitrate(MAX_IDLE - number, device_id=70 + number // 10)
                assert next(strangers[-1]._call).WhichOneof("update") == "arbitration"
            with Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
                assert agent.arbitrate().status.code == rpc_code.OK
            [stream] = first_ended(strangers, 1)
            assert stream is strangers[0]

    def test_it_ends(self, tmp_path: Path, channels: contextlib.ExitStack, ended: queue.SimpleQueue[str]) -> None:
        with switch(tmp_path, "arbitration") as running, Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
            agent.arbitrate()
            silent = Stream(stub(tmp_path, channels).StreamChannel)
            told(running, ended)
            reason = "the client did not send an arbitration within 30 s"
            assert silent.end() == (grpc.StatusCode.DEADLINE_EXCEEDED, reason)
            agent.send_arbitration(9)
            assert agent.receive().arbitration.election_id.low == 9

    @pytest.mark.parametrize(
        "method",
        [
            "p4.v1.P4Runtime/Write",
            "p4.v1.P4Runtime/Read",
            "p4.server.v1.ServerConfig/Get",
            "p4softswitch.v1.Statistics/Get",
        ],
    )
    def test_a_request_that_does_not_come(
        self, tmp_path: Path, channels: contextlib.ExitStack, method: str, ended: queue.SimpleQueue[str]
    ) -> None:
        with switch(tmp_path, "request") as running:
            channel = channels.enter_context(grpc.insecure_channel(f"unix:{tmp_path / 'p4rt'}"))
            call = Stream(channel.stream_stream(f"/{method}", bytes, bytes))
            assert "did not send its request within 60 s" in told(running, ended)
            assert call.end()[0] is grpc.StatusCode.CANCELLED

    def test_requests_that_do_not_come_hold_up_nobody(self, tmp_path: Path, channels: contextlib.ExitStack) -> None:
        """More of them than the server has threads."""
        with switch(tmp_path), Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
            calls = []
            for _ in range(4):
                channel = channels.enter_context(
                    grpc.insecure_channel(f"unix:{tmp_path / 'p4rt'}", options=[("grpc.use_local_subchannel_pool", 1)])
                )
                call = channel.stream_stream("/p4.v1.P4Runtime/Write", bytes, bytes)
                calls += [Stream(call) for _ in range(40)]
            first_ended(calls, len(calls) - MAX_IDLE)
            assert agent.arbitrate().status.code == rpc_code.OK

    def test_exactly_one_request(self, tmp_path: Path, channels: contextlib.ExitStack) -> None:
        with switch(tmp_path):
            channel = channels.enter_context(grpc.insecure_channel(f"unix:{tmp_path / 'p4rt'}"))
            call = channel.stream_unary("/p4.v1.P4Runtime/Capabilities", bytes, bytes)
            with pytest.raises(grpc.RpcError) as caught:
                call(iter(()), timeout=TIMEOUT)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class TestUnread:
    @pytest.fixture
    def filled(self, program: Program) -> Any:
        def fill(running: Switch, directory: Path) -> Any:
            """Many entries with large notes, and the Read that asks for them."""
            with Controller(f"unix:{directory / 'p4rt'}") as agent:
                agent.arbitrate()
                agent.push(program)
                entries = [
                    program.forward(bytes([2, 0, 0, 0, 0, n]), program.action("to_cpu"), metadata=bytes(LARGE))
                    for n in range(16)
                ]
                agent.write(*(update(Insert, table_entry=entry) for entry in entries))
            wanted = p4r.TableEntry(table_id=program.id("forward"))
            return p4r.ReadRequest(device_id=DEVICE_ID, entities=[p4r.Entity(table_entry=wanted)] * 4)

        return fill

    def test_responses_that_nobody_takes(
        self, tmp_path: Path, channels: contextlib.ExitStack, filled: Any, ended: queue.SimpleQueue[str]
    ) -> None:
        with switch(tmp_path, "response") as running:
            read = filled(running, tmp_path)
            responses = stub(tmp_path, channels).Read(read)
            assert "did not take a message within 30 s" in told(running, ended)
            with pytest.raises(grpc.RpcError) as caught:
                list(responses)
            assert caught.value.code() is grpc.StatusCode.CANCELLED

    def test_they_do_not_shut_out_readers(
        self, tmp_path: Path, channels: contextlib.ExitStack, filled: Any, ended: queue.SimpleQueue[str]
    ) -> None:
        """Each gives way to a Read that comes, the oldest first."""
        with switch(tmp_path) as running:
            read = filled(running, tmp_path)
            unread = [stub(tmp_path, channels).Read(read) for _ in range(MAX_READS + 3)]
            for _ in range(3):
                assert "16 Reads at a time" in ended.get(timeout=TIMEOUT)
            with Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
                responses = list(agent.stub.Read(read, timeout=TIMEOUT))
            assert sum(len(response.entities) for response in responses) == 64
            assert len(unread) == MAX_READS + 3

    def test_one_response_now_and_then(self, tmp_path: Path, channels: contextlib.ExitStack, filled: Any) -> None:
        """Each comes in time, and all of them do not."""
        with switch(tmp_path, read=0.0001) as running:
            read = filled(running, tmp_path)
            found = stub(tmp_path, channels).Read(read)
            with pytest.raises(grpc.RpcError) as caught:
                list(found)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "to take the responses" in caught.value.details()

    def test_a_stream_that_nobody_reads(
        self, tmp_path: Path, channels: contextlib.ExitStack, program: Program, ended: queue.SimpleQueue[str]
    ) -> None:
        """The next controller is the primary then."""
        with switch(tmp_path, "response") as running:
            deaf = Stream(stub(tmp_path, channels).StreamChannel)
            deaf.arbitrate(100)
            assert next(deaf._call).arbitration.status.code == rpc_code.OK
            with Controller(f"unix:{tmp_path / 'p4rt'}", election_id=100) as agent:
                agent.push(program)
            for _ in range(100):
                running._packet_in(bytes(LARGE))
            assert "did not take a message" in told(running, ended)
            with Controller(f"unix:{tmp_path / 'p4rt'}") as agent:
                answer = agent.arbitrate()
                if answer.status.code != rpc_code.OK:
                    answer = agent.receive().arbitration
                assert (answer.status.code, answer.election_id.low) == (rpc_code.OK, 1)

    def test_the_data_plane_stream_is_free_again(
        self, tmp_path: Path, channels: contextlib.ExitStack, ended: queue.SimpleQueue[str]
    ) -> None:
        with switch(tmp_path, "response") as running:
            assert running._dataplane is not None
            sink = running._dataplane.sink_of(1)
            call = data_plane_stream(tmp_path, channels)
            deaf = Stream(call)
            assert deaf._call.initial_metadata() is not None
            for _ in range(100):
                sink(bytes(LARGE))
            assert "did not take a message" in told(running, ended)
            for _ in range(int(TIMEOUT * 100)):  # it is free a moment after the other one was ended
                following = call(iter(queue.SimpleQueue().get, None))
                with contextlib.suppress(grpc.RpcError):
                    following.initial_metadata()
                    sink(b"free")
                    assert next(following).packet == b"free"
                    return
                threading.Event().wait(0.01)
            pytest.fail("it is not free again")


class Gone:
    """The context of a call whose client has gone: grpc says so at one step or another."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> bool:
            if name == self._step:
                raise ValueError("the call has ended")
            return False

        return call


class TestGoneAtTheFirstStep:
    """What a stream has taken is given back, wherever its client goes."""

    @pytest.mark.parametrize("step", ["add_callback", "send_initial_metadata"])
    def test_the_data_plane_stream_is_free(self, tmp_path: Path, channels: contextlib.ExitStack, step: str) -> None:
        with switch(tmp_path) as running:
            assert running._dataplane is not None
            with pytest.raises(ValueError, match="has ended"):
                next(running._dataplane.packet_stream(iter(()), Gone(step)))  # type: ignore[arg-type]
            following = data_plane_stream(tmp_path, channels)(iter(queue.SimpleQueue().get, None))
            following.initial_metadata()
            running._dataplane.sink_of(1)(b"free")
            assert next(following).packet == b"free"

    def test_a_controller_leaves_no_seat(self, tmp_path: Path) -> None:
        with switch(tmp_path) as running:
            with pytest.raises(ValueError, match="has ended"):
                next(running._service.StreamChannel(iter(()), Gone("add_callback")))  # type: ignore[arg-type]
            assert len(running._clients[0].idle) == 0


class TestSeats:
    def test_who_waits_longest_gives_way(self) -> None:
        ended: list[tuple[int, P4Error]] = []
        seats = Seats(2, "things")
        waits = [Wait(lambda error, n=n: ended.append((n, error))) for n in range(3)]  # type: ignore[misc]
        for wait in waits:
            wait.begin("speak", None)
            seats.take(wait)
        assert [(n, error.code) for n, error in ended] == [(0, grpc.StatusCode.RESOURCE_EXHAUSTED)]
        assert len(seats) == 2

    def test_who_does_not_wait_stays(self) -> None:
        seats = Seats(1, "things")
        busy, other = Wait(lambda error: pytest.fail("it has been ended")), Wait(lambda error: None)
        busy.begin("speak", None)
        busy.over()
        seats.take(busy)
        other.begin("speak", None)
        with pytest.raises(P4Error, match="1 things at a time"):
            seats.take(other)
        seats.leave(busy)
        seats.take(other)

    def test_at_the_last_moment(self) -> None:
        wait = Wait(lambda error: pytest.fail("it has been ended"))
        wait.begin("speak", 0)
        wait.over()
        wait.check(float("inf"))
        wait.end(P4Error(grpc.StatusCode.RESOURCE_EXHAUSTED, ""))
