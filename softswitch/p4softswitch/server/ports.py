# SPDX-License-Identifier: Apache-2.0
"""Ports of the switch: how they get their interfaces and sockets, lose them, and move from one engine to the next.

A port is there as long as it is configured. Its interface comes and goes: `refresh` looks at what there is by name,
opens what has come (also what came back under another index, or as another interface under the same one), and lets go
of what is no more. A push hands what is open from engine to engine, and closes nothing. Counts of a port go on through
all of that.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..engine_api import Engine, EngineError
from .attempts import Attempts
from .capturenames import CaptureNames
from .claims import Claims, OtherName, Taken
from .host_stack import HostStack, NotTaken
from .links import Link, Links
from .portstate import MAX_PORT, NO_PROGRAM, UP, PortSpec, PortState, link_state, parse_port, peer_state
from .status import Code, P4Error

__all__ = ["MAX_PORT", "PortSpec", "PortState", "Ports", "parse_port"]

_LOG = logging.getLogger(__name__)

Sink = Callable[[bytes], None]


@dataclass
class _Port:
    spec: PortSpec
    attempts: Attempts
    state: PortState = NO_PROGRAM
    taken: bool = False
    """Whether it has its interface or socket, or what is left of that."""
    past: Counter[str] = field(default_factory=Counter)
    """What engines counted that it has left."""
    capture: str | None = None
    """The file of its last one."""


class Ports:
    """The configured ports, the CPU port and, for the data-plane service, every other port.

    Not thread-safe: the device serialises.
    """

    def __init__(
        self,
        specs: Sequence[PortSpec],
        *,
        pcap_dir: str | None = None,
        cpu: tuple[int, Sink] | None = None,
        sink_of: Callable[[int], Sink] | None = None,
        drop_port: int = MAX_PORT,
        host: HostStack | None = None,
        claims: Claims | None = None,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cpu`: number of the CPU port and where its packets go. `sink_of`: if given, packets of every port but these
        go there, and the specs are not attached, as BMv2 ignores its interfaces when it carries packets over gRPC.
        `host`: what keeps this host's network stack away from the interfaces. `claims`: what keeps other switches away
        from interfaces and sockets. `changed`: called when what `states` tells is not as it was; it must not wait.
        """
        self._ports = {spec.port: _Port(spec, Attempts(clock)) for spec in specs} if sink_of is None else {}
        self._capture_names = CaptureNames(pcap_dir)
        self._cpu = cpu
        self._sink_of = sink_of
        self._drop_port = drop_port
        self._host = host
        self._claims = claims
        self._changed = changed
        self._clock = clock
        self._missed: Counter[int] = Counter()
        self._making_links = threading.Lock()
        self.links: Links | None = None
        """Made with the first port that is an interface: nothing else needs it."""

    # ------------------------------------------- the only places where an interface or socket is taken, and let go of

    def claim(self) -> None:
        """Of the ports that are configured, before any of them has anything: see `_claim`."""
        for port in self._ports.values():
            self._claim(port.spec)

    def _claim(self, spec: PortSpec) -> int | None:
        """What the spec names is this switch's, which others are told, and an interface is closed to this host: now,
        and not with the first program, since tenants are there already. One that is not there is taken when it is.

        The mark of what the switch sends there; None where nothing is taken.

        Raises OSError: Taken, NotTaken, or of the system. Then nothing of it is this switch's.
        """
        if self._claims is not None:
            if spec.interface is not None:
                self._claims.interface(spec.interface)
            elif spec.local_path is not None:
                self._claims.path(spec.local_path)
        if spec.interface is not None and self._host is not None:
            try:
                return self._host.take(spec.interface)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    self._let_go(spec)
                    raise
        return None

    def _let_go(self, spec: PortSpec) -> None:
        """It is no port, or no more."""
        self._forget(spec)
        if self._claims is not None:
            self._claims.let_go(spec.attached_to)

    def _take(self, engine: Engine, port: _Port, mark: int | None = None) -> None:
        """A port gets its interface, which this host's network stack loses, or its socket. Raises OSError.

        mark: what `_claim` has just given.
        """
        name = port.spec.interface
        if mark is None:
            if name is not None and self._claims is not None:
                self._claims.came(name)
            mark = 0 if name is None or self._host is None else self._host.take(name)
        engine.open_port(port.spec.port)
        port.taken = True
        if mark:
            try:
                engine.mark_port(port.spec.port, mark)
            except OSError:
                self._leave(engine, port)
                raise

    def _leave(self, engine: Engine, port: _Port) -> None:
        """A port lets go of it, or of what is left of it; nothing to do where it has none."""
        if port.taken:
            engine.close_port(port.spec.port)
            port.taken = False
            self._forget(port.spec)

    def _forget(self, spec: PortSpec) -> None:
        """An interface stays closed to this host, and is this switch's to keep closed no more."""
        if spec.interface is not None and self._host is not None:
            self._host.forget(spec.interface)

    # ---------------------------------------------------------------------------------------------------------- engines

    def attach(self, engine: Engine) -> None:
        """Give the engine its ports, those that are interfaces or sockets without them.

        Raises:
            Exception: what the engine raises; the ports that were attached are detached again.
        """
        attached: list[_Port] = []
        sinks: list[int] = []
        self._capture_names.begin_program()
        try:
            for port in self._ports.values():
                self._attach(engine, port)
                attached.append(port)
            for number in self._sinks():
                engine.attach_sink(number)
                sinks.append(number)
                if self._cpu is not None and number == self._cpu[0]:
                    engine.set_packet_sink(number, self._cpu[1])
                elif self._sink_of is not None:
                    engine.set_packet_sink(number, self._sink_of(number))
        except Exception:
            for number in sinks:
                engine.detach(number)
            for port in attached:
                self._withdraw(engine, port)
            self._capture_names.withdraw_program()
            raise

    def _attach(self, engine: Engine, port: _Port) -> None:
        spec = port.spec
        port.capture = self._capture_names.path_for(spec)
        try:
            if spec.interface is not None:
                engine.attach_interface(spec.port, spec.interface, port.capture, opened=False)
            else:
                local, peer = spec.local_path or "", spec.peer_path or ""
                engine.attach_socket(spec.port, local, peer, port.capture, opened=False)
        except Exception:
            self._capture_names.give_back(port.capture)
            raise

    def _withdraw(self, engine: Engine, port: _Port) -> None:
        """The port was for something that has failed: no file is left that has nothing in it."""
        engine.detach(port.spec.port, unused=True)
        self._capture_names.give_back(port.capture)

    def _sinks(self) -> list[int]:
        numbers = []
        if self._sink_of is not None:
            taken = {self._drop_port} | ({self._cpu[0]} if self._cpu else set())
            numbers = [port for port in range(MAX_PORT + 1) if port not in taken]
        if self._cpu is not None:
            numbers.append(self._cpu[0])
        return numbers

    def open(self, engine: Engine) -> None:
        """The first engine: each port gets its interface or socket. One whose interface is not there waits for it.

        Raises:
            OSError: of the system, for another reason; every port is without again.
        """
        try:
            for port in self._ports.values():
                try:
                    self._take(engine, port)
                except OSError as error:
                    if port.spec.interface is None or error.errno != errno.ENODEV:
                        raise
        except OSError:
            self.leave(engine)
            raise
        self.refresh(engine, self.look_up(self.interfaces()))

    def leave(self, engine: Engine) -> None:
        """Every port lets go of what it has: the engine that had them has ended, or is not to have them."""
        for port in self._ports.values():
            self._leave(engine, port)

    def move(self, old: Engine, new: Engine) -> None:
        """From one engine to another, which both have the ports. What waits in a port comes with it.

        Raises:
            OSError: the system has no room for it; everything is back where it was.
        """
        moved: list[int] = []
        try:
            for number in self._ports:
                self._hand_over(old, new, number)
                moved.append(number)
        except OSError:
            for number in moved:
                self._hand_over(new, old, number)
            raise

    @staticmethod
    def _hand_over(giver: Engine, taker: Engine, number: int) -> None:
        released = giver.release_port(number)
        if released is None:
            return
        try:
            taker.open_port(number, released)
        except OSError:
            giver.open_port(number, released)
            raise

    def detach(self, engine: Engine, *, unused: bool = False) -> None:
        """Take the ports away. What was counted of them is kept. unused: see `Engine.detach`."""
        self._missed.update(engine.missed_ports())
        for port in self._ports.values():
            self._detach(engine, port, unused=unused)
        for number in self._sinks():
            engine.detach(number)
        if unused:
            self._capture_names.withdraw_program()

    def _detach(self, engine: Engine, port: _Port, *, unused: bool = False) -> None:
        port.past.update(engine.detach(port.spec.port, unused=unused))
        if unused and port.capture is not None and not os.path.lexists(port.capture):  # else it had a frame
            self._capture_names.give_back(port.capture)

    # --------------------------------------------------------------------------------------------------------- run time

    def add(
        self, engine: Engine | None, spec: PortSpec, found: Mapping[str, Link | OSError | None], *, wait: bool
    ) -> PortState:
        """One more port. found: what `look_up` gave for its interface, if it is one. wait: also if that is not there
        yet.

        Raises:
            P4Error: ALREADY_EXISTS: number, interface or socket is in use; NOT_FOUND: no such interface;
                FAILED_PRECONDITION: packets are carried over gRPC; UNKNOWN: what the engine or the system says.
        """
        if self._sink_of is not None:
            raise P4Error(Code.FAILED_PRECONDITION, "every port is carried over gRPC (--dp-grpc-server-addr)")
        if spec.port == self._drop_port or (self._cpu is not None and spec.port == self._cpu[0]):
            raise P4Error(Code.ALREADY_EXISTS, f"port {spec.port} is the CPU port or the drop port")
        for other in self._ports.values():
            if other.spec.port == spec.port:
                raise P4Error(Code.ALREADY_EXISTS, f"port {spec.port} is attached to {other.spec.attached_to}")
            if (other.spec.interface, other.spec.local_path) == (spec.interface, spec.local_path):
                raise P4Error(Code.ALREADY_EXISTS, f"{spec.attached_to} is port {other.spec.port}")
        if spec.interface is not None and not wait and found[spec.interface] is None:
            raise P4Error(Code.NOT_FOUND, f"there is no interface {spec.interface}")
        port = _Port(spec, Attempts(self._clock))
        try:
            mark = self._claim(spec)
        except OSError as error:  # what it names may be this switch's for another reason, and stays so
            raise _not_added(spec, error) from None
        try:
            if engine is not None:
                self._attach(engine, port)
                self._take_new(engine, port, mark)
        except (EngineError, OSError) as error:
            self._let_go(spec)
            raise _not_added(spec, error) from None
        self._ports[spec.port] = port
        self._changed()
        _LOG.info("port %d (%s): added", spec.port, spec.attached_to)
        if engine is not None:
            self._look(engine, port, found)
        return port.state

    def _take_new(self, engine: Engine, port: _Port, mark: int | None) -> None:
        try:
            self._take(engine, port, mark)
        except OSError as error:
            if port.spec.interface is None or error.errno != errno.ENODEV:
                self._withdraw(engine, port)
                raise

    def remove(self, engine: Engine | None, number: int) -> None:
        """Frames for the port are for a port that there is not, from now on; its counts end.

        Raises:
            P4Error: NOT_FOUND: it is none of those that were configured or added.
        """
        port = self._ports.get(number)
        if port is None:
            known = ", ".join(map(str, sorted(self._ports))) or "none"
            raise P4Error(Code.NOT_FOUND, f"there is no port {number} to remove; there are: {known}")
        if engine is not None:
            self._leave(engine, port)
            self._detach(engine, port)
        del self._ports[number]
        self._changed()
        self._let_go(port.spec)
        _LOG.warning("port %d (%s): removed", number, port.spec.attached_to)

    def interfaces(self) -> list[str]:
        """Names of those that ports are attached to, for `look_up`."""
        return [port.spec.interface for port in self._ports.values() if port.spec.interface is not None]

    def look_up(self, names: Iterable[str]) -> dict[str, Link | OSError | None]:
        """What the kernel says of these interfaces, which may take a while; an error instead of what it does not say.

        The only method that needs no serialising.
        """
        found: dict[str, Link | OSError | None] = {}
        for name in names:
            try:
                found[name] = self._asking().find(name)
            except OSError as error:
                found[name] = error
        return found

    def _asking(self) -> Links:
        with self._making_links:
            if self.links is None:
                self.links = Links()
            return self.links

    def refresh(self, engine: Engine, found: Mapping[str, Link | OSError | None]) -> None:
        """Look at every port: what came is opened, what went is let go of, and what changed is in the log. found: what
        `look_up` gave for `interfaces`; ports that are not in it are left alone."""
        for port in self._ports.values():
            if port.spec.interface is None or port.spec.interface in found:
                self._look(engine, port, found)

    def _look(self, engine: Engine, port: _Port, found: Mapping[str, Link | OSError | None]) -> None:
        name = port.spec.interface
        state = self._socket(engine, port) if name is None else self._interface(engine, port, name, found[name])
        before, port.state = port.state, state
        if state == before:
            return
        self._changed()
        where = f"port {port.spec.port} ({port.spec.attached_to})"
        # That a peer begins later is usual; what was up and is not any more, and is again, is news.
        first = before == NO_PROGRAM and (state == UP or (state.state == "down" and name is None))
        _LOG.log(logging.INFO if first else logging.WARNING, "%s: %s", where, state)

    def _interface(self, engine: Engine, port: _Port, name: str, link: Link | OSError | None) -> PortState:
        if isinstance(link, OSError):
            return PortState("down", f"the system does not say how {name} is: {_reason(link)}")
        state = link_state(name, link)
        if link is not None and link.index == engine.port_bound(port.spec.port):
            return state
        self._leave(engine, port)  # also of one that has been deleted, under whatever index there is one now
        if self._claims is not None:
            self._claims.went(name)
        if link is None:
            port.attempts.forget()
            return state
        return port.attempts.attempt(link, lambda: self._taken(engine, port)) or state

    def _taken(self, engine: Engine, port: _Port) -> PortState | None:
        try:
            self._take(engine, port)
        except OSError as error:
            return PortState("absent", f"{port.spec.attached_to} cannot be opened: {_reason(error)}")
        return None

    def _socket(self, engine: Engine, port: _Port) -> PortState:
        local, peer = port.spec.local_path or "", port.spec.peer_path or ""
        if not engine.port_bound(port.spec.port):
            self._leave(engine, port)
            if os.path.lexists(local):
                return PortState("absent", f"something else stands at {local}")
            failed = self._taken(engine, port)
            if failed is not None:
                return failed
            _LOG.warning("port %d: its socket %s was removed, and is there again", port.spec.port, local)
        return peer_state(peer)

    # ---------------------------------------------------------------------------------------------------------- reports

    def statistics(self, engine: Engine) -> dict[str, dict[str, str | int]]:
        """Of each configured port, by number, what it is attached to, and what was counted of it, by all engines; and
        how many frames were for ports that there are not, by the number of those."""
        found: dict[str, dict[str, str | int]] = {}
        for number, port in self._ports.items():
            counts = engine.port_statistics(number)
            total = {name: count + port.past[name] for name, count in counts.items()}
            found[str(number)] = {"interface": port.spec.attached_to, **total}
        for number, frames in sorted((self._missed + Counter(engine.missed_ports())).items()):
            found.setdefault(str(number), {"interface": ""})["no_port"] = frames
        return found

    def states(self, engine: Engine | None) -> Mapping[int, tuple[PortSpec, PortState]]:
        """Of each configured port, by number: what it is attached to, and how that is."""
        return {
            number: (port.spec, port.state if engine is not None else NO_PROGRAM)
            for number, port in sorted(self._ports.items())
        }


def _not_added(spec: PortSpec, error: EngineError | OSError) -> P4Error:
    reason = _reason(error) if isinstance(error, OSError) else str(error)
    return P4Error(Code.UNKNOWN, f"port {spec.port} ({spec.attached_to}): {reason}")


def _reason(error: OSError) -> str:
    """Why something could not be opened. What was not taken, or is another's, says more than its number; a timeout, and
    a path that is too long, have none."""
    if isinstance(error, NotTaken | Taken | OtherName) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
