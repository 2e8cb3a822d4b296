# SPDX-License-Identifier: Apache-2.0
"""What the capture files of ports are called."""

from __future__ import annotations

from pathlib import Path

from .portstate import PortSpec


class CaptureNames:
    """A file of its own for each port and program: sockets may have names alike, or like those of later files.

    Not thread-safe. directory: None where nothing is captured.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._programs = 0
        self._given: set[str] = set()

    def begin_program(self) -> None:
        """Ports have further files from now on."""
        self._programs += 1

    def withdraw_program(self) -> None:
        """The one that was begun last does not run."""
        self._programs -= 1

    def path_for(self, spec: PortSpec) -> str | None:
        """Of a port of the program that was begun last."""
        if self._directory is None:
            return None
        name = spec.name if self._programs < 2 else f"{spec.name}.{self._programs}"
        number = 1
        while name in self._given:
            name = f"{spec.name}.port{spec.port}.{self._programs}" + (f".{number}" if number > 1 else "")
            number += 1
        self._given.add(name)
        return str(Path(self._directory) / f"{name}.pcap")

    def give_back(self, path: str | None) -> None:
        """There is no file there, and another port may have it."""
        if path is not None:
            self._given.discard(Path(path).name.removesuffix(".pcap"))
