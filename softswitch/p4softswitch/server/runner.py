# SPDX-License-Identifier: Apache-2.0
"""A whole switch: device, gRPC servers, ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from .arbitration import MAX_CONNECTIONS
from .claims import Claims, Taken, owner_of_tcp_port
from .clientlosses import ClientLosses
from .clients import MAX_IDLE, MAX_READS, MAX_WATCHES, Clients, Deadlines
from .dataplane import DataplaneService
from .device import Device, EngineFactory
from .host_stack import HostStack
from .portfeed import PortFeed
from .ports import MAX_PORT, Ports, PortSpec
from .portservice import PortService
from .portwatch import PortWatch
from .replication import Limits
from .service import P4RuntimeService
from .statistics import StatisticsService
from .streamconfig import StreamConfigs

MAX_REQUEST = 256 * 1024 * 1024
"""Bytes of a request, BMv2's limit."""


_OTHERS = 32
"""Threads besides those that calls may hold while they wait for their clients: for what is done."""

_DATAPLANE_IDLE = 8


@dataclass(frozen=True)
class TlsFiles:
    """PEM files for TLS; `client_ca` is needed if clients must show a certificate."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_auth: bool = False


@dataclass(frozen=True)
class SwitchOptions:
    """Everything that the command line says."""

    grpc_address: str = "127.0.0.1:9559"
    dataplane_address: str | None = None
    device_id: int = 0
    cpu_port: int | None = None
    drop_port: int = MAX_PORT
    ports: Sequence[PortSpec] = ()
    shared: Sequence[str] = ()
    """Interfaces that this host's network stack goes on to use."""
    pcap_dir: str | None = None
    limits: Limits = field(default_factory=Limits)
    swap: bool = True
    tls: TlsFiles | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)


@contextmanager
def _private_sockets() -> Iterator[None]:
    """A UNIX socket made meanwhile belongs to its owner alone: who can open it reads keys and writes entries."""
    old = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(old)


def _server(workers: int) -> grpc.Server:
    options = [
        ("grpc.max_receive_message_length", MAX_REQUEST), ("grpc.so_reuseport", 0),
        # A connection whose other end does not answer any more is closed, and its calls end with it.
        ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Further calls of one connection wait in its client.
        ("grpc.max_concurrent_streams", 256),
    ]  # fmt: skip
    return grpc.server(ThreadPoolExecutor(workers, thread_name_prefix="grpc"), options=options)


_UNIX = "unix:"


def _path_of(address: str) -> str | None:
    """Of a UNIX socket in the file system, in gRPC's ways to write one."""
    path = address.removeprefix(_UNIX)
    return path.removeprefix("//") if path != address and not path.startswith("@") else None


def _listen(server: grpc.Server, address: str, tls: TlsFiles | None) -> int:
    with _private_sockets():
        if tls is None:
            return _bound(lambda: server.add_insecure_port(address), address)
        ca = tls.client_ca.read_bytes() if tls.client_ca is not None else None
        credentials = grpc.ssl_server_credentials(
            [(tls.key.read_bytes(), tls.certificate.read_bytes())], ca, tls.client_auth
        )
        return _bound(lambda: server.add_secure_port(address, credentials), address)


def _bound(bind: Callable[[], int], address: str) -> int:
    """Raises Taken where another process has the address, and RuntimeError if it cannot be used otherwise."""
    try:
        return int(bind())
    except RuntimeError:
        port = address.rpartition(":")[2]
        owner = owner_of_tcp_port(int(port)) if port.isdecimal() and _path_of(address) is None else None
        if owner is None:
            raise
        raise Taken(f"the address {address}", owner) from None


class Switch:
    """Start with `start`, end with `stop`; also a context manager, which stops."""

    def __init__(self, factory: EngineFactory, options: SwitchOptions) -> None:
        self._options = options
        losses = ClientLosses()
        self._claims = Claims()
        self._host = HostStack(options.shared)
        clients = Clients(options.deadlines)
        self._clients = [clients]
        self._dataplane: DataplaneService | None = None
        if options.dataplane_address:
            self._clients.append(Clients(options.deadlines, idle=_DATAPLANE_IDLE))
            self._dataplane = DataplaneService(options.device_id, self._clients[1], losses)
        feed = PortFeed()
        self._ports = Ports(
            options.ports,
            pcap_dir=options.pcap_dir,
            cpu=None if options.cpu_port is None else (options.cpu_port, self._packet_in),
            sink_of=None if self._dataplane is None else self._dataplane.sink_of,
            drop_port=options.drop_port,
            host=self._host,
            claims=self._claims,
            changed=feed.changed,
        )
        self.device = Device(
            options.device_id,
            factory,
            self._ports,
            send_digest=self._send_digest,
            limits=options.limits,
            swap=options.swap,
        )
        configs = StreamConfigs(options.device_id)
        self._service = P4RuntimeService(self.device, options.cpu_port, configs, losses, clients)
        self._watch = PortWatch(lambda: self._ports.links, self.device.refresh_ports)
        self._servers: list[grpc.Server] = []
        server = _server(MAX_IDLE + MAX_CONNECTIONS + MAX_READS + MAX_WATCHES + _OTHERS)
        statistics, port_service = StatisticsService(self.device, losses), PortService(self.device, feed)
        server.add_generic_rpc_handlers(
            (
                self._service.handler(),
                *(service.handler(clients) for service in (configs, statistics, port_service)),
            )
        )
        self._servers.append(server)
        if self._dataplane is not None:
            self._dataplane.serve(self.device)
            dataplane_server = _server(_DATAPLANE_IDLE + _OTHERS)
            dataplane_server.add_generic_rpc_handlers((self._dataplane.handler(),))
            self._servers.append(dataplane_server)

    def _packet_in(self, data: bytes) -> None:
        self._service.packet_in(data)

    def _send_digest(self, message: Any) -> None:
        self._service.send_to_primary(message)

    def start(self, program: bytes | None = None) -> int:
        """Load the program, if any, then listen. The TCP port of the P4Runtime server, or 1 for a UNIX socket.

        Raises:
            P4Error: the program cannot run.
            RuntimeError: an address cannot be used.
            OSError: a file for TLS cannot be read; Taken: another process has a socket or an interface.
        """
        self._claim()
        if program is not None:
            self.device.boot(program)
        port = _listen(self._servers[0], self._options.grpc_address, self._options.tls)
        if self._options.dataplane_address:
            _listen(self._servers[1], self._options.dataplane_address, None)
        for clients in self._clients:
            clients.start()
        for server in self._servers:
            server.start()
        self._watch.start()
        return port

    def _claim(self) -> None:
        """Before anything of another switch's can be touched."""
        for address in (self._options.grpc_address, self._options.dataplane_address):
            if address is not None and (path := _path_of(address)) is not None:
                self._claims.path(path)
        self._ports.claim()

    def stop(self, grace: float = 0.25) -> None:
        """End streams, close sockets, stop the engine. Idempotent."""
        for event in [server.stop(grace) for server in self._servers]:
            event.wait()
        self._watch.stop()
        for clients in self._clients:
            clients.stop()
        self.device.stop()
        if self._ports.links is not None:
            self._ports.links.close()
        self._host.close()
        self._claims.close()

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
