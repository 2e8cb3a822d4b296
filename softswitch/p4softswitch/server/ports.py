# SPDX-License-Identifier: Apache-2.0
"""Ports of the switch: what the command line says, and how they move from one engine to the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engine_api import Engine
from .host_stack import HostStack

_LOG = logging.getLogger(__name__)

MAX_PORT = 511
"""v1model's ports have 9 bits."""

Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class PortSpec:
    """One `-i`: a network interface, or a pair of UNIX datagram sockets (own path, peer's path)."""

    port: int
    interface: str | None = None
    local_path: str | None = None
    peer_path: str | None = None

    @property
    def name(self) -> str:
        """What the capture file is called after: the interface, or the file name of the own socket, without its
        suffix."""
        return self.interface or Path(self.local_path or "").stem


def parse_port(text: str) -> PortSpec:
    """`PORT@INTERFACE` or `PORT@unix:LOCAL,PEER`.

    Raises:
        ValueError: with what is wrong.
    """
    number, at, rest = text.partition("@")
    if not at or not rest:
        raise ValueError("expected PORT@INTERFACE or PORT@unix:LOCAL,PEER")
    if not number.isdecimal() or int(number) > MAX_PORT:
        raise ValueError(f"the port is a number from 0 to {MAX_PORT}")
    if not rest.startswith("unix:"):
        return PortSpec(int(number), interface=rest)
    local, comma, peer = rest.removeprefix("unix:").partition(",")
    if not local or not comma or not peer:
        raise ValueError("expected PORT@unix:LOCAL,PEER")
    return PortSpec(int(number), local_path=local, peer_path=peer)


class Ports:
    """Attaches the configured ports, the CPU port and, for the data-plane service, every other port to an engine."""

    def __init__(
        self,
        specs: Sequence[PortSpec],
        *,
        pcap_dir: str | None = None,
        cpu: tuple[int, Sink] | None = None,
        sink_of: Callable[[int], Sink] | None = None,
        drop_port: int = MAX_PORT,
        host: HostStack | None = None,
    ) -> None:
        """`cpu`: number of the CPU port and where its packets go. `sink_of`: if given, packets of every port but these
        go there, and the specs are not attached, as BMv2 ignores its interfaces when it carries packets over gRPC.
        `host`: what keeps this host's network stack away from the interfaces.
        """
        self._specs = tuple(specs) if sink_of is None else ()
        self._pcap_dir = pcap_dir
        self._cpu = cpu
        self._sink_of = sink_of
        self._drop_port = drop_port
        self._host = host
        self._captures = 0

    def _attach(self, engine: Engine, spec: PortSpec) -> None:
        pcap = None
        if self._pcap_dir is not None:
            # Another program gets files of its own: the engine begins a file anew when it opens it.
            number = f".{self._captures}" if self._captures > 1 else ""
            pcap = str(Path(self._pcap_dir) / f"{spec.name}{number}.pcap")
        if spec.interface is not None:
            mark = 0 if self._host is None else self._host.take(spec.interface)
            engine.attach_interface(spec.port, spec.interface, pcap)
            if mark:
                engine.mark_port(spec.port, mark)
        else:
            engine.attach_socket(spec.port, spec.local_path or "", spec.peer_path or "", pcap)

    def _numbers(self) -> list[int]:
        numbers = [spec.port for spec in self._specs]
        if self._sink_of is not None:
            taken = {self._drop_port} | ({self._cpu[0]} if self._cpu else set())
            numbers += [port for port in range(MAX_PORT + 1) if port not in taken]
        if self._cpu is not None:
            numbers.append(self._cpu[0])
        return numbers

    def attach(self, engine: Engine) -> None:
        """Give the engine its ports.

        Raises:
            Exception: what the engine raises; the ports that were attached are detached again.
        """
        done: list[int] = []
        self._captures += 1
        try:
            for spec in self._specs:
                self._attach(engine, spec)
                done.append(spec.port)
            for port in self._numbers()[len(self._specs) :]:
                engine.attach_sink(port)
                done.append(port)
                if self._cpu is not None and port == self._cpu[0]:
                    engine.set_packet_sink(port, self._cpu[1])
                elif self._sink_of is not None:
                    engine.set_packet_sink(port, self._sink_of(port))
        except Exception:
            for port in done:
                engine.detach(port)
            raise

    def statistics(self, engine: Engine) -> dict[str, dict[str, str | int]]:
        """Of each configured port, by number: what it is attached to, and what the engine counts of it."""
        return {
            str(spec.port): {"interface": spec.interface or spec.local_path or "", **engine.port_statistics(spec.port)}
            for spec in self._specs
        }

    def detach(self, engine: Engine) -> None:
        """Take the ports away, so that another engine can have them."""
        for port in self._numbers():
            engine.detach(port)
