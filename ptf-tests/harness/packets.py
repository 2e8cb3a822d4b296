# SPDX-License-Identifier: Apache-2.0
"""PTF's packet manipulation module, without scapy: packets here are bytes, and made by the nvo3ref."""

from __future__ import annotations


class Packet:
    """The class that PTF asks `isinstance` about. Nothing is one."""


def hexdump(packet: bytes) -> None:
    """PTF prints packets that it did not expect."""
    print(bytes(packet).hex(" ", 4))


def ls(packet: Packet) -> None:
    """Only ever called with a Packet."""
    raise TypeError(f"{packet!r} is not bytes")
