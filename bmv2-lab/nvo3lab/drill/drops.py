# SPDX-License-Identifier: Apache-2.0
"""The drop counters of all switches, by the names of the reasons.

The names come with the compiled program (its manifest), so they are those of the sources that it was made from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from importlib import resources
from pathlib import Path

from nvo3lab.errors import SwitchError
from nvo3lab.p4rt import SwitchReader

_ARRAYS = ("drops_ingress", "drops_egress")


def reason_names() -> dict[int, str]:
    """Number of a drop reason → its name."""
    manifest = json.loads((resources.files("nvo3sec_p4") / "manifest.json").read_text(encoding="utf-8"))
    return {int(number): str(name) for name, number in manifest["drop_reasons"].items()}


class DropCounters:
    """Reads what all switches have dropped, without disturbing them.

    A switch that is about to be restarted has to be named (`restarts`): its counters begin at zero again, and what it
    had counted goes on counting here.
    """

    def __init__(self, switches: dict[str, tuple[Path, int]]) -> None:
        """Args: of each leaf, socket and device id."""
        self._names = reason_names()
        self._switches = switches
        self._readers = {leaf: SwitchReader(path, device) for leaf, (path, device) in switches.items()}
        self._before: dict[str, Counter[str]] = {}

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    async def read(self) -> Counter[tuple[str, str]]:
        """(leaf, reason) → packets dropped since the start."""
        return await asyncio.to_thread(self._read)

    async def restarts(self, leaf: str) -> None:
        """The switch of `leaf` is killed after this; until it has its program again, it has nothing to add."""
        await asyncio.to_thread(self._restarts, leaf)

    def _restarts(self, leaf: str) -> None:
        counted = self._read_one(self._readers[leaf])
        counted.update(self._before.get(leaf, Counter()))
        self._before[leaf] = counted
        self._readers.pop(leaf).close()

    def _read(self) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for leaf in self._switches:
            counted = Counter(self._before.get(leaf, Counter()))
            reader = self._reader(leaf)
            if reader is not None:
                counted.update(self._read_one(reader))
            total.update({(leaf, reason): packets for reason, packets in counted.items()})
        return total

    def _reader(self, leaf: str) -> SwitchReader | None:
        if leaf not in self._readers:
            with contextlib.suppress(SwitchError):  # it has no program yet
                self._readers[leaf] = SwitchReader(*self._switches[leaf])
        return self._readers.get(leaf)

    def _read_one(self, reader: SwitchReader) -> Counter[str]:
        total: Counter[str] = Counter()
        for array in _ARRAYS:
            for index, packets in reader.counters(array).items():
                total[self._names.get(index, f"reason {index}")] += packets
        return total
