# SPDX-License-Identifier: Apache-2.0
"""The device: which pipeline runs, which one P4Runtime talks to, and how a push changes both.

What a push does is BMv2's behaviour, read from its source and confirmed on it:

- VERIFY_AND_SAVE loads the new program beside the running one. From then on Write and Read go to the new one, which is
  empty, while packets still pass through the old one. COMMIT swaps them. Until then any other push is refused.
- VERIFY_AND_COMMIT does both at once: registers, entries, counters, meters, groups start anew.
- VERIFY_AND_COMMIT of a p4info alone is for the program that runs, which goes on with all that is in it. Another one
  than before is refused as long as something would be lost by it.
- RECONCILE_AND_COMMIT loads the new program, inserts the old one's table entries into it, and swaps: registers,
  counters, meters, default actions and groups start anew, entries stay. If one cannot be inserted (in particular every
  cell of an indexed counter or meter, see `Pipeline.forwarding_state`), it is refused with the new program saved, and a
  COMMIT after it succeeds with the entries that could be inserted.
- COMMIT without a saved program is refused.

Reads, large Writes and RECONCILE_AND_COMMIT let go of the lock again and again, see turns.py: a small Write, such as
that of a lease, never waits for more than a page of one of them. The entries that a RECONCILE_AND_COMMIT carries over
are those of the moment of the swap, whatever is written while they are copied.

Where BMv2 is left broken this server refuses and keeps what runs: a device config that is no program, a p4info that
does not describe it, a program with something that the engine does not implement. BMv2's replication engine keeps
replicating for groups that P4Runtime no longer knows; here groups and clone sessions end with the program that they
were made for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from finsy.proto import p4r

from ..engine_api import Engine, EngineError
from . import consistency
from .deviceconfig import fill_config, program_of
from .loaded import Loaded, load
from .outbox import Send
from .pipeline import Pipeline
from .ports import Ports, PortSpec, PortState
from .reconciliation import Reconciliation
from .replication import Limits
from .responses import fill
from .schema import Schema, read_p4info
from .status import Code, P4Error, first_phase, invalid
from .turns import Turns

_LOG = logging.getLogger(__name__)

EngineFactory = Callable[[bytes], Engine]
"""Compiles and loads a program; the engine has no ports and does not run yet."""

_UPDATES = 32
"""Updates of a Write that are applied under one hold of the lock."""

_Request = p4r.SetForwardingPipelineConfigRequest
_LOADS = frozenset({_Request.VERIFY_AND_SAVE, _Request.VERIFY_AND_COMMIT, _Request.RECONCILE_AND_COMMIT})


@dataclass(frozen=True)
class _Push:
    """may_write: raises P4Error if the client may not push, any more; asked where the push is about to change
    something."""

    action: int
    config: Any
    may_write: Callable[[], None]
    schema: Schema
    program: bytes


@dataclass(frozen=True)
class DeviceStatistics:
    """What the running engine counts, by name; what is counted of each port, and how it is, by number of the port."""

    engine: dict[str, int]
    ports: dict[str, dict[str, str | int]]
    states: Mapping[int, tuple[PortSpec, PortState]]


class Device:
    """Thread-safe. Packets never wait for it: they meet engines, not this object's lock."""

    def __init__(
        self,
        device_id: int,
        factory: EngineFactory,
        ports: Ports,
        *,
        send_digest: Send,
        limits: Limits | None = None,
        swap: bool = True,
    ) -> None:
        self.device_id = device_id
        self._factory = factory
        self._ports = ports
        self._send_digest = send_digest
        self._limits = limits or Limits()
        self._swap_allowed = swap
        # One push at a time. Compiling takes a second and must not hold up Read and Write, hence two locks.
        self._push_lock = threading.Lock()
        self._lock = Turns()
        # Whose turn it is to do long work, before it takes the lock: one page of one Read, some updates of one large
        # Write. A small Write waits for what holds the lock, not for this.
        self._bulk = Turns()
        self._running: Loaded | None = None
        self._saved: Loaded | None = None
        self._replaced: list[Loaded] = []
        self._config: Any = None
        self._touched = False

    # ------------------------------------------------------------------- packets

    def packet_in(self, data: bytes) -> Any | None:
        """p4.v1.PacketIn of bytes from the CPU port; None while no p4info says what they mean, or if they are too
        short."""
        running = self._running
        pipeline = None if running is None else running.pipeline
        return None if pipeline is None else pipeline.codec.packet_in(data)

    def packet_out(self, packet: Any, cpu_port: int) -> None:
        """Hand a p4.v1.PacketOut to the running pipeline; without one it is lost, as on BMv2.

        Raises:
            P4Error: the metadata does not fit.
        """
        running = self._running
        pipeline = None if running is None else running.pipeline
        if running is not None and pipeline is not None:
            running.inject(cpu_port, pipeline.codec.packet_out(packet))

    def digest_ack(self, ack: Any) -> None:
        """A p4.v1.DigestListAck."""
        running = self._running
        pipeline = None if running is None else running.pipeline
        if pipeline is not None:
            pipeline.digests.ack(ack)

    def inject(self, port: int, data: bytes) -> bool:
        """A packet arrives on a port; False without a running pipeline."""
        running = self._running
        if running is None:
            return False
        running.inject(port, data)
        return True

    def statistics(self) -> DeviceStatistics | None:
        """What there is to count; None without a program."""
        with self._lock:
            engine = self._engine()
            if engine is None:
                return None
            return DeviceStatistics(engine.statistics(), self._ports.statistics(engine), self._ports.states(engine))

    # ------------------------------------------------------------ read and write

    def _view(self) -> Pipeline:
        loaded = self._saved or self._running
        if loaded is None or loaded.pipeline is None:
            raise P4Error(Code.FAILED_PRECONDITION, "No forwarding pipeline config set for this device")
        return loaded.pipeline

    @contextmanager
    def _hold(self, pipeline: Pipeline | None) -> Iterator[Pipeline]:
        """The lock, and the pipeline that P4Runtime talks to, if it is still the one that it was (None: any)."""
        with self._lock:
            current = self._view()
            if pipeline is not None and current is not pipeline:
                raise P4Error(Code.ABORTED, "another pipeline was pushed meanwhile")
            yield current

    def write(self, updates: Sequence[Any], may_write: Callable[[], None] = lambda: None) -> list[P4Error | None]:
        """Apply updates in their order; the result says for each what went wrong.

        Large ones are applied in parts, between which other Writes come in. If the client is no longer the primary
        then, or another pipeline has been pushed, the rest is refused.

        may_write: raises P4Error if the client may not, any more.

        Raises:
            P4Error: FAILED_PRECONDITION without a pipeline; what may_write raises at the beginning.
        """
        pipeline: Pipeline | None = None
        results: list[P4Error | None] = []
        is_large = len(updates) > _UPDATES
        for start in range(0, max(1, len(updates)), _UPDATES):
            try:
                with self._bulk if is_large else nullcontext(), self._hold(pipeline) as pipeline:
                    may_write()
                    results += pipeline.write(updates[start : start + _UPDATES])
            except P4Error as error:
                if not start:
                    raise
                return results + [error] * (len(updates) - start)
        return results

    def read(self, entities: Sequence[Any]) -> Iterator[Any]:
        """p4.v1.ReadResponses with what the entities select: one at least, also before an error.

        Nothing is held between two of them. See `Pipeline.read` for what may change meanwhile.

        Raises:
            P4Error: see `Pipeline.read`, ABORTED if another pipeline is pushed meanwhile. FAILED_PRECONDITION, before
                any response, without a pipeline.
        """
        with self._lock:
            pipeline = self._view()
        found = pipeline.read(entities, lambda: self._hold(pipeline))
        is_first = True
        while True:
            response, failed = p4r.ReadResponse(), None
            with self._bulk:
                try:
                    is_last = fill(response, found)
                except P4Error as error:
                    failed = error
            if is_first or response.entities:
                yield response
            if failed is not None:
                raise failed
            if is_last:
                return
            is_first = False

    # ----------------------------------------------------------------- pipelines

    def get_config(self, response_type: int, config: Any) -> None:
        """Fill a p4.v1.ForwardingPipelineConfig with what was pushed last.

        Raises:
            P4Error: FAILED_PRECONDITION before the first push, INVALID_ARGUMENT for an unknown type of response.
        """
        with self._lock:
            stored = self._config
            if stored is None:
                if self._touched:
                    return  # as BMv2 after a first push that failed
                raise P4Error(Code.FAILED_PRECONDITION, "No forwarding pipeline config set for this device")
        fill_config(config, stored, response_type)

    def boot(self, program: bytes) -> None:
        """Run a program from the command line: packets pass, P4Runtime waits for a p4info.

        Raises:
            P4Error: not a program, or one that the engine does not implement.
        """
        with self._push_lock:
            consistency.parse_json(program)
            loaded = load(self._factory, program)
            try:
                with self._lock:
                    self._switch_to(loaded)
            finally:
                if loaded is not self._running:
                    loaded.engine.stop()
            self._stop_replaced()

    def set_config(self, action: int, config: Any, may_write: Callable[[], None] = lambda: None) -> None:
        """SetForwardingPipelineConfig; see the head of this module.

        may_write: raises P4Error if the client may not, any more: others push, and it compiles, while it waits.

        Raises:
            P4Error: refused. What runs goes on; only a refused RECONCILE_AND_COMMIT leaves the new program saved.
        """
        with self._push_lock:
            may_write()
            self._touched = True
            try:
                self._change(action, config, may_write)
            finally:
                self._stop_replaced()

    def _change(self, action: int, config: Any, may_write: Callable[[], None]) -> None:
        if action == _Request.COMMIT:
            with self._lock:
                may_write()
                self._commit()
            return
        if action != _Request.VERIFY and action not in _LOADS:
            raise invalid("unknown action")
        schema = read_p4info(config.p4info)
        program = program_of(bytes(config.p4_device_config))
        if action == _Request.VERIFY:
            self._verify(schema, program)
            return
        push = _Push(action, config, may_write, schema, program)
        if not self._swap_allowed:
            raise first_phase("the switch was started with --disable-swap")
        if self._saved is not None:
            raise first_phase("a saved pipeline waits for its COMMIT")
        if not program and action == _Request.VERIFY_AND_COMMIT and self._running is not None:
            self._adopt(push, self._running)
            return
        consistency.check(schema, program)
        if action == _Request.VERIFY_AND_COMMIT and self._restart(push):
            return
        self._save(push)

    def _pipeline(self, schema: Schema, engine: Engine) -> Pipeline:
        return Pipeline(schema, engine, self._limits, self._send_digest)

    def _verify(self, schema: Schema, program: bytes) -> None:
        # BMv2 looks at the p4info only.
        consistency.check(schema, program)
        load(self._factory, program).engine.stop()

    def _remember(self, config: Any) -> None:
        self._config = p4r.ForwardingPipelineConfig()
        self._config.CopyFrom(config)

    def _adopt(self, push: _Push, running: Loaded) -> None:
        """An empty device config: the p4info is for the program that runs."""
        consistency.check(push.schema, running.program)
        with self._lock:
            push.may_write()
            old = running.pipeline
            if old is None or old.schema != push.schema:
                held = None if old is None else old.held(push.schema)
                if held is not None:
                    raise first_phase(f"without a program another p4info is not taken while it would lose {held}")
                running.run(self._pipeline(push.schema, running.engine))
            self._remember(push.config)

    def _restart(self, push: _Push) -> bool:
        """The same program again: the engine resets itself, ports stay open. False if it is another program."""
        running = self._running
        if running is None or running.program != push.program:
            return False
        with self._lock:
            push.may_write()
            running.engine.reset_state(keep_entries=False)
            running.run(self._pipeline(push.schema, running.engine))
            self._remember(push.config)
        _LOG.info("pipeline restarted")
        return True

    def _save(self, push: _Push) -> None:
        loaded = load(self._factory, push.program)
        pipeline = loaded.pipeline = self._pipeline(push.schema, loaded.engine)
        try:
            if push.action == _Request.RECONCILE_AND_COMMIT:
                self._reconcile(push, loaded, pipeline)
                return
            with self._lock:
                push.may_write()
                if push.action == _Request.VERIFY_AND_COMMIT:
                    self._switch_to(loaded)  # before anything is remembered: it may fail
                else:
                    self._saved = loaded
                self._remember(push.config)
        finally:
            if loaded is not self._saved and loaded is not self._running:
                loaded.engine.stop()
                loaded.retire()

    def _reconcile(self, push: _Push, loaded: Loaded, pipeline: Pipeline) -> None:
        running = self._running
        old = None if running is None else running.pipeline
        reconciliation = Reconciliation(old, pipeline, self._lock, self._bulk)
        try:
            reconciliation.copy()
            with self._lock:
                push.may_write()
                reconciliation.finish()
                self._saved = loaded
                self._remember(push.config)
                if reconciliation.failed is not None:
                    raise P4Error(Code.UNKNOWN, f"Error when reconciling config: {reconciliation.failed.message}")
                self._commit()
        except BaseException:
            with self._lock:
                reconciliation.cancel()
            raise

    def _commit(self) -> None:
        saved = self._saved
        if saved is None:
            raise P4Error(Code.UNKNOWN, "Error in second phase of device update: no pipeline is saved")
        self._switch_to(saved)
        self._saved = None

    def _switch_to(self, loaded: Loaded) -> None:
        """Move the ports to another engine and run it. Whatever fails on the way, the old one has them all."""
        old = self._running
        try:
            self._ports.attach(loaded.engine)
            try:
                loaded.engine.start()
                if old is None:
                    self._ports.open(loaded.engine)
                else:
                    self._ports.move(old.engine, loaded.engine)
            except Exception:
                self._ports.detach(loaded.engine, unused=True)
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the old engine runs on
            reason = str(error) if isinstance(error, EngineError | OSError) else type(error).__name__
            raise P4Error(Code.UNKNOWN, f"Error in second phase of device update: {reason}") from None
        self._running = loaded
        if old is not None:
            self._ports.detach(old.engine)
            old.retire()
            self._replaced.append(old)
        if loaded.pipeline is not None:
            loaded.pipeline.start()
        _LOG.info("pipeline running")

    # --------------------------------------------------------------------- ports

    def _engine(self) -> Engine | None:
        return None if self._running is None else self._running.engine

    def add_port(self, spec: PortSpec, *, wait: bool) -> PortState:
        """See `Ports.add`. The kernel is asked while nobody waits for it."""
        found = self._ports.look_up([] if spec.interface is None else [spec.interface])
        with self._lock:
            return self._ports.add(self._engine(), spec, found, wait=wait)

    def remove_port(self, number: int) -> None:
        """See `Ports.remove`."""
        with self._lock:
            self._ports.remove(self._engine(), number)

    def refresh_ports(self) -> None:
        """See `Ports.refresh`; nothing to do without a program. The kernel is asked while nobody waits for it."""
        with self._lock:
            names = [] if self._running is None else self._ports.interfaces()
        found = self._ports.look_up(names)
        with self._lock:
            if self._running is not None:
                self._ports.refresh(self._running.engine, found)

    def port_states(self) -> Mapping[int, tuple[PortSpec, PortState]]:
        """See `Ports.states`."""
        with self._lock:
            return self._ports.states(self._engine())

    def _stop_replaced(self) -> None:
        """Engines that have no ports any more. Without the lock: their threads may take a moment to end."""
        while self._replaced:
            self._replaced.pop().engine.stop()

    def stop(self) -> None:
        """Stop the engines. Idempotent."""
        with self._push_lock, self._lock:
            for loaded in (self._running, self._saved):
                if loaded is not None:
                    loaded.engine.stop()
                    loaded.retire()
            if self._running is not None:
                self._ports.leave(self._running.engine)
            self._running = self._saved = None
