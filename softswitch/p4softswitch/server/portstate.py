# SPDX-License-Identifier: Apache-2.0
"""What a port is attached to, and how that is."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .links import LONGEST_NAME, Link

MAX_PORT = 511
"""v1model's ports have 9 bits."""


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

    @property
    def attached_to(self) -> str:
        """The interface, or the path of the own socket."""
        return self.interface or self.local_path or ""


def parse_port(text: str) -> PortSpec:
    """`PORT@INTERFACE` or `PORT@unix:LOCAL,PEER`.

    Raises:
        ValueError: with what is wrong.
    """
    if not text.isprintable():
        raise ValueError("the interface or sockets of a port have printable names")
    number, at, rest = text.partition("@")
    if not at or not rest:
        raise ValueError("expected PORT@INTERFACE or PORT@unix:LOCAL,PEER")
    if not number.isdecimal() or int(number) > MAX_PORT:
        raise ValueError(f"the port is a number from 0 to {MAX_PORT}")
    if not rest.startswith("unix:"):
        if len(os.fsencode(rest)) > LONGEST_NAME or rest in (".", "..") or set(rest) & set("/:") or " " in rest:
            raise ValueError(f"{rest} is no name of an interface: at most {LONGEST_NAME} bytes, without space, / or :")
        return PortSpec(int(number), interface=rest)
    local, comma, peer = rest.removeprefix("unix:").partition(",")
    if not local or not comma or not peer:
        raise ValueError("expected PORT@unix:LOCAL,PEER")
    return PortSpec(int(number), local_path=local, peer_path=peer)


@dataclass(frozen=True)
class PortState:
    """up: frames pass. down: the port has its interface or socket, and nothing gets through. absent: it has none.

    reason: why it is not up; empty if it is.
    """

    state: Literal["up", "down", "absent"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


UP = PortState("up")
NO_PROGRAM = PortState("absent", "no program runs")


def link_state(name: str, link: Link | None) -> PortState:
    """Of a port that is bound to the interface, if there is one."""
    if link is None:
        return PortState("absent", f"there is no interface {name}")
    if not link.up:
        return PortState("down", f"the interface {name} is switched off")
    return UP if link.carrier else PortState("down", f"the link of {name} has no carrier")


def peer_state(path: str) -> PortState:
    """Of a port whose peer is the datagram socket at that path: whether somebody listens there. Nothing is sent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(path)
        except PermissionError as error:
            if error.errno == errno.EPERM:
                return UP  # somebody who is connected, to us as a rule, and therefore takes nothing from a probe
            return PortState("down", f"the peer's socket {path}: {error.strerror or error}")
        except (FileNotFoundError, ConnectionRefusedError):
            return PortState("down", f"nobody listens at the peer's socket {path}")
        except OSError as error:
            return PortState("down", f"the peer's socket {path}: {error.strerror or error}")
    return UP
