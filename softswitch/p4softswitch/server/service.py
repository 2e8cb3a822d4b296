# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4.v1.P4Runtime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NoReturn

import grpc
from finsy.proto import p4r

from .arbitration import Arbiter, Connection, election_number
from .clientlosses import ClientLosses
from .clients import Clients, Wait, refuse
from .device import Device
from .outbox import Outbox
from .status import Code, P4Error, batch_status, to_grpc, to_status, unimplemented
from .streamconfig import ErrorReporting, StreamConfigs

_LOG = logging.getLogger(__name__)

SERVICE = "p4.v1.P4Runtime"

API_VERSION = "1.3.0"
"""What BMv2 answers to Capabilities."""


_SENT = {"digest": "digest", "idle_timeout_notification": "idle_notification"}
"""What a pipeline sends to the primary (p4.v1.StreamMessageResponse), and what it is called where it is counted."""


def _abort(context: grpc.ServicerContext, status: Any) -> NoReturn:
    context.abort_with_status(to_grpc(status))
    raise AssertionError("abort_with_status returned")


def _check_role(request: Any) -> None:
    # BMv2 ignores roles and gives everybody everything. Who asks for less must not believe to have got it.
    if request.role or getattr(request, "role_id", 0):
        raise unimplemented("roles other than the default one are not supported")


class P4RuntimeService:
    """One device. Requests for other device ids get BMv2's answers for a device that is not there."""

    def __init__(
        self,
        device: Device,
        cpu_port: int | None,
        configs: StreamConfigs,
        losses: ClientLosses,
        clients: Clients | None = None,
    ) -> None:
        self._device = device
        self._cpu_port = cpu_port
        self._configs = configs
        self._losses = losses
        self._arbiter = Arbiter(device.device_id)
        self._others: dict[int, Arbiter] = {}
        self._lock = threading.Lock()
        self._clients = clients or Clients()

    # ------------------------------------------------------------------ helpers

    def _arbiter_of(self, device_id: int) -> Arbiter:
        if device_id == self._device.device_id:
            return self._arbiter
        with self._lock:
            # Kept only while somebody is connected, so that the ids of strangers fill no memory.
            for number in [n for n, arbiter in self._others.items() if not len(arbiter)]:
                del self._others[number]
            return self._others.setdefault(device_id, Arbiter(device_id))

    def _device_of(self, device_id: int) -> Device:
        if device_id != self._device.device_id:
            raise P4Error(Code.FAILED_PRECONDITION, "No forwarding pipeline config set for this device")
        return self._device

    def _check_primary(self, request: Any) -> None:
        arbiter = self._arbiter_of(request.device_id)
        if not arbiter.may_write(election_number(request.election_id), request.HasField("election_id")):
            raise P4Error(Code.PERMISSION_DENIED, "Not primary")

    def _run(self, context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
        """Answer a unary request; whatever goes wrong becomes a status, and the server lives on."""
        try:
            return call()
        except P4Error as error:
            status = to_status(error)
        except Exception as error:  # noqa: BLE001 - its text may contain values of entries
            _LOG.error("internal error (%s)", type(error).__name__)
            status = to_status(P4Error(Code.INTERNAL, f"internal error ({type(error).__name__})"))
        _abort(context, status)

    def handler(self) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        methods = {
            name: self._clients.unary(
                getattr(self, name), getattr(p4r, f"{name}Request"), getattr(p4r, f"{name}Response").SerializeToString
            )
            for name in ("Capabilities", "Write", "SetForwardingPipelineConfig", "GetForwardingPipelineConfig")
        }
        methods["Read"] = grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self.Read(self._clients.request(requests, context), context),
            p4r.ReadRequest.FromString,
            p4r.ReadResponse.SerializeToString,
        )
        methods["StreamChannel"] = grpc.stream_stream_rpc_method_handler(
            self.StreamChannel, p4r.StreamMessageRequest.FromString, p4r.StreamMessageResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    # -------------------------------------------------------------------- unary

    def Capabilities(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The version of the API."""
        return p4r.CapabilitiesResponse(p4runtime_api_version=API_VERSION)

    def Write(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Updates one by one; errors per update in the details."""

        def call() -> Any:
            self._check_primary(request)
            _check_role(request)
            device = self._device_of(request.device_id)
            if request.atomicity != p4r.WriteRequest.CONTINUE_ON_ERROR:
                raise unimplemented("Support for atomic write modes has not been implemented yet")
            return batch_status(device.write(request.updates, lambda: self._check_primary(request)))

        status = self._run(context, call)
        if status is not None:
            _abort(context, status)
        return p4r.WriteResponse()

    def Read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Responses of bounded size, where BMv2 sends a single one: also before an error, with what was found up to
        there."""

        def begin() -> Iterator[Any]:
            _check_role(request)
            responses = self._device_of(request.device_id).read(request.entities)
            return chain((next(responses),), responses)

        failed = None
        with self._clients.watched(lambda error: context.cancel()) as wait:
            self._run(context, lambda: self._clients.reads.take(wait))
            try:
                responses = self._run(context, begin)
                yield from self._clients.taken(responses, wait, self._clients.deadlines.read)
            except P4Error as error:
                failed = error
            finally:
                self._clients.reads.leave(wait)
        if failed is not None:
            _abort(context, to_status(failed))

    def SetForwardingPipelineConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See `Device.set_config`."""

        def call() -> Any:
            self._check_primary(request)
            _check_role(request)
            if request.device_id != self._device.device_id:
                raise P4Error(Code.UNKNOWN, "Error when trying to assign device")
            self._device.set_config(request.action, request.config, lambda: self._check_primary(request))
            return p4r.SetForwardingPipelineConfigResponse()

        return self._run(context, call)

    def GetForwardingPipelineConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What was pushed last."""

        def call() -> Any:
            response = p4r.GetForwardingPipelineConfigResponse()
            response.config.SetInParent()
            self._device_of(request.device_id).get_config(request.response_type, response.config)
            return response

        return self._run(context, call)

    # ------------------------------------------------------------------- stream

    def send_to_primary(self, message: Any) -> None:
        """A list of digests or a notification of idle entries, on a thread of the data plane or of a timer: to the
        primary, if there is one. Never waits."""
        kind = _SENT[message.WhichOneof("update")]
        primary = self._arbiter.primary()
        if primary is None:
            self._losses.add(f"{kind}_unheard")
        elif not primary.outbox.put_packet(message):
            self._losses.add(f"{kind}_lost")

    def packet_in(self, data: bytes) -> None:
        """Bytes from the CPU port, on a thread of the data plane: to the primary, if there is one. Never waits."""
        primary = self._arbiter.primary()
        packet = None if primary is None else self._device.packet_in(data)
        if primary is None or packet is None:
            self._losses.add("packet_in_unheard")
        elif not primary.outbox.put_packet(p4r.StreamMessageResponse(packet=packet)):
            self._losses.add("packet_in_lost")

    def StreamChannel(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Arbitration, packet-out, packet-in, digests. The stream ends when the client stops sending.

        Also when it does not take its messages, and when it has not arbitrated in time.
        """
        outbox = Outbox("packet-in")
        with self._clients.watched(lambda error: stream.cut(error)) as silence:
            stream = _Stream(self, requests, outbox, context, silence)
            self._clients.seat(silence, "send an arbitration", self._clients.deadlines.arbitration, context)
            try:
                context.add_callback(outbox.abandon)
                threading.Thread(target=stream.receive, name="p4runtime-stream", daemon=True).start()
                yield from self._clients.responses(iter(outbox), context, None)
            finally:
                stream.leave()
                self._clients.idle.leave(silence)
        if stream.failed is not None:
            refuse(context, stream.failed)

    def _heard(self, device_id: int, silence: Wait) -> None:
        """A stream has arbitrated. One for some other device may stay, and gives way to others as if it had not."""
        if device_id == self._device.device_id:
            silence.over()
            self._clients.idle.leave(silence)
        else:
            silence.stay()

    def _packet_out(self, connection: Connection, packet: Any) -> None:
        try:
            if self._cpu_port is None:
                raise P4Error(Code.UNKNOWN, "the switch has no CPU port (--cpu-port)")
            self._device.packet_out(packet, self._cpu_port)
        except P4Error as error:
            self._report(connection, packet, error)

    def _report(self, connection: Connection, packet: Any, error: P4Error) -> None:
        level = self._configs.level(self._device.device_id)
        if level is ErrorReporting.DISABLED:
            return
        message = p4r.StreamMessageResponse()
        message.error.canonical_code = error.number
        message.error.message = error.message
        message.error.space = "ALL-sswitch-p4org"
        message.error.packet_out.SetInParent()
        if level is ErrorReporting.DETAILED:
            message.error.packet_out.packet_out.CopyFrom(packet)
        if not connection.outbox.put_packet(message):
            self._losses.add("error_lost")


class _Stream:
    """The receiving half of one StreamChannel, on a thread of its own."""

    def __init__(
        self,
        service: P4RuntimeService,
        requests: Iterator[Any],
        outbox: Outbox,
        context: grpc.ServicerContext,
        silence: Wait,
    ) -> None:
        self._service = service
        self._context = context
        self._silence = silence
        self._requests = requests
        self._outbox = outbox
        self._device_id: int | None = None
        self._connection: Connection | None = None
        self._left = False
        self._lock = threading.Lock()
        self.failed: P4Error | None = None

    def receive(self) -> None:
        """Handle requests until the client stops or is gone."""
        try:
            for request in self._requests:
                self._handle(request)
        except P4Error as error:
            self.failed = error
        except Exception as error:  # noqa: BLE001 - grpc ends the iterator with a bare Exception when the client is gone
            _LOG.debug("stream ended (%s)", type(error).__name__)
        self.leave()
        self._outbox.close()

    def cut(self, error: P4Error) -> None:
        """End it for that reason, on another thread."""
        self.failed = error
        self.leave()
        self._outbox.abandon()
        if self._outbox.is_out:
            self._context.cancel()  # a message is on its way that the client does not take: nor would it take a reason

    def leave(self) -> None:
        """No longer a controller. Idempotent; a message that is still on its way does not bring it back."""
        with self._lock:
            self._left = True
            connection, self._connection = self._connection, None
        if connection is not None and self._device_id is not None:
            self._service._arbiter_of(self._device_id).remove(connection)

    def _handle(self, request: Any) -> None:
        kind = request.WhichOneof("update")
        if kind == "arbitration":
            self._arbitrate(request.arbitration)
        elif kind == "packet":
            connection = self._connection
            if connection is None or self._service._arbiter.primary() is not connection:
                return  # as BMv2: not a word to who is not the primary
            self._service._packet_out(connection, request.packet)
        elif kind == "digest_ack" and self._connection is self._service._arbiter.primary():
            self._service._device.digest_ack(request.digest_ack)
        # As BMv2: everything else is ignored.

    def _arbitrate(self, update: Any) -> None:
        if update.HasField("role") and (update.role.name or update.role.id or update.role.HasField("config")):
            raise unimplemented("roles other than the default one are not supported")
        election_id = election_number(update.election_id)
        with self._lock:
            if self._left:
                return
            connection = self._connection
            if connection is None:
                connection = Connection(election_id, self._outbox)
                self._service._arbiter_of(update.device_id).add(connection)
                self._device_id, self._connection = update.device_id, connection
                self._service._heard(update.device_id, self._silence)
                return
        if self._device_id != update.device_id:
            raise P4Error(Code.FAILED_PRECONDITION, "Invalid device id")
        self._service._arbiter_of(update.device_id).update(connection, election_id)
