# SPDX-License-Identifier: Apache-2.0
"""How long the server waits for its clients, and for how many at a time.

Every call holds a thread of the server, and while it waits for its client it does so for nothing. So each wait has an
end; and where too many wait, the one that has waited longest gives way to the one that comes. Who does what it came
for, arbitrates for example, always gets in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import grpc

from .status import Code, P4Error

_LOG = logging.getLogger(__name__)

MAX_IDLE = 32
"""Calls of which nothing has come yet: no request of a unary one, no arbitration of a stream. A stream of a controller
of some other device counts as one for good."""

MAX_READS = 16
"""Reads at a time."""

MAX_WATCHES = 16
"""Calls at a time that are told of the states of ports: one for each controller that there may be."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds that a client has.

    request: until the request of a call is there as a whole. arbitration: from the opening of a StreamChannel.
    response: to take one message. read: to take all responses of one Read, without the time that the server needs.
    """

    request: float = 60.0
    arbitration: float = 30.0
    response: float = 30.0
    read: float = 300.0


class Wait:
    """What one call waits for its client to do."""

    def __init__(self, end: Callable[[P4Error], None]) -> None:
        """end: called at most once, on another thread, to wake up the call and end it for that reason."""
        self._end = end
        self._lock = threading.Lock()
        self._what: str | None = None
        self._since = 0.0
        self._seconds: float | None = None
        self._ended = False

    def begin(self, what: str, seconds: float | None) -> None:
        """From now on the call waits for its client to do that; None: for as long as it takes."""
        with self._lock:
            self._what, self._since, self._seconds = what, time.monotonic(), seconds

    def over(self) -> float:
        """The client has done it, after so many seconds."""
        with self._lock:
            self._what = None
            return time.monotonic() - self._since

    def stay(self) -> None:
        """It may wait on, without an end; since when it does remains."""
        with self._lock:
            self._seconds = None

    @property
    def since(self) -> float | None:
        """Since when the call waits for its client; None if it does not."""
        with self._lock:
            return None if self._what is None else self._since

    @property
    def ended(self) -> bool:
        """Has the call been told to end?"""
        with self._lock:
            return self._ended

    def check(self, now: float) -> None:
        """End the call if its client is late."""
        with self._lock:
            if self._what is None or self._seconds is None or self._since + self._seconds > now:
                return
            reason = f"the client did not {self._what} within {self._seconds:g} s"
        self.end(P4Error(Code.DEADLINE_EXCEEDED, reason))

    def end(self, error: P4Error) -> None:
        """End the call, unless that was done before, or its client has come at the last moment."""
        with self._lock:
            if self._ended or self._what is None:
                return
            self._ended = True
        _LOG.info("a call was ended: %s", error.message)
        self._end(error)


class Seats:
    """A number of calls that may wait for their clients at a time."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._taken: dict[Wait, None] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._taken)

    def take(self, wait: Wait) -> None:
        """A seat, if need be that of the call that has waited longest for its client.

        Raises:
            P4Error: RESOURCE_EXHAUSTED if none of those that have one waits for its client.
        """
        last = None
        with self._lock:
            for other in [other for other in self._taken if other.ended]:
                del self._taken[other]  # about to leave
            if len(self._taken) >= self._limit:
                waiting = [(since, other) for other in self._taken if (since := other.since) is not None]
                if not waiting:
                    raise P4Error(Code.RESOURCE_EXHAUSTED, f"{self._limit} {self._name} at a time")
                last = min(waiting, key=lambda found: found[0])[1]
                del self._taken[last]
            self._taken[wait] = None
        if last is not None:
            last.end(P4Error(Code.RESOURCE_EXHAUSTED, f"{self._limit} {self._name} at a time, and a newer one came"))

    def leave(self, wait: Wait) -> None:
        """Idempotent."""
        with self._lock:
            self._taken.pop(wait, None)


class Clients:
    """All calls of one server that wait for their clients. `start` it, and `stop` it at the end."""

    def __init__(self, deadlines: Deadlines | None = None, *, idle: int = MAX_IDLE) -> None:
        self.deadlines = deadlines or Deadlines()
        self.idle = Seats(idle, "calls that nothing has come of")
        self.reads = Seats(MAX_READS, "Reads")
        self.watches = Seats(MAX_WATCHES, "Watches of ports")
        self._lock = threading.Lock()
        self._waits: set[Wait] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client-deadlines", daemon=True)

    def start(self) -> None:
        """End the calls of late clients from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        period = min(getattr(self.deadlines, field.name) for field in fields(self.deadlines)) / 8
        while not self._stopped.wait(period):
            self.check(time.monotonic())

    def check(self, now: float) -> None:
        """End the calls of those who are late at that time of time.monotonic."""
        with self._lock:
            waits = list(self._waits)
        for wait in waits:
            wait.check(now)

    @contextmanager
    def watched(self, end: Callable[[P4Error], None]) -> Iterator[Wait]:
        """Something for a call to say when it waits for its client; see Wait."""
        wait = Wait(end)
        with self._lock:
            self._waits.add(wait)
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.discard(wait)

    def request(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """The one request of a unary call. Does not return if it does not come."""
        with self.watched(lambda error: context.cancel()) as wait:
            self.seat(wait, "send its request", self.deadlines.request, context)
            try:
                for request in requests:
                    return request
            finally:
                self.idle.leave(wait)
        refuse(context, P4Error(Code.UNIMPLEMENTED, "the method requires exactly one request message"))

    def seat(self, wait: Wait, what: str, seconds: float, context: grpc.ServicerContext) -> None:
        """Begin to wait for the client of a call of which nothing has come yet."""
        wait.begin(what, seconds)
        try:
            self.idle.take(wait)
        except P4Error as error:
            refuse(context, error)

    def responses(self, messages: Iterator[Any], context: grpc.ServicerContext, total: float | None) -> Iterator[Any]:
        """Messages on their way to the client, which has `total` seconds to take them all.

        Raises:
            P4Error: the client has had them.
        """
        with self.watched(lambda error: context.cancel()) as wait:
            yield from self.taken(messages, wait, total)

    def taken(self, messages: Iterator[Any], wait: Wait, total: float | None) -> Iterator[Any]:
        """As `responses`, with a wait that the caller watches."""
        waited = 0.0
        for message in messages:
            wait.begin("take a message", self.deadlines.response)
            yield message  # comes back when the message has gone, which is when the client has room for it
            waited += wait.over()
            if total is not None and waited > total:
                raise P4Error(Code.DEADLINE_EXCEEDED, f"the client needs more than {total:g} s to take the responses")

    def unary(
        self, call: Callable[[Any, grpc.ServicerContext], Any], request: Any = None, serialize: Any = None
    ) -> grpc.RpcMethodHandler:
        """The handler of a unary method.

        It is registered as one of a stream of requests, which is the same on the wire: for the one request of a unary
        method grpc waits itself, on a thread of the server and without an end.
        """

        def handle(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            return call(self.request(requests, context), context)

        decode = None if request is None else request.FromString
        return grpc.stream_unary_rpc_method_handler(handle, decode, serialize)


def refuse(context: grpc.ServicerContext, error: P4Error) -> NoReturn:
    """End a call with an error that has no details."""
    context.abort(error.code, error.message)
    raise AssertionError("abort returned")
