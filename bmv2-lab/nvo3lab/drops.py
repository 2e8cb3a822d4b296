# SPDX-License-Identifier: Apache-2.0
"""The drop counters of all switches, by the names of the reasons.

The names come with the compiled program (its manifest), so they are those of the sources that it was made from.
"""

import asyncio
import json
from collections import Counter
from importlib import resources
from pathlib import Path

from nvo3lab.p4rt import SwitchReader

_ARRAYS = ("drops_ingress", "drops_egress")


def reason_names() -> dict[int, str]:
    """Number of a drop reason → its name."""
    manifest = json.loads((resources.files("nvo3sec_p4") / "manifest.json").read_text(encoding="utf-8"))
    return {int(number): str(name) for name, number in manifest["drop_reasons"].items()}


class DropCounters:
    """Reads what all switches have dropped, without disturbing them."""

    def __init__(self, switches: dict[str, tuple[Path, int]]) -> None:
        """Args: of each leaf, socket and device id."""
        self._names = reason_names()
        self._readers = {leaf: SwitchReader(path, device) for leaf, (path, device) in switches.items()}

    def close(self) -> None:
        for reader in self._readers.values():
            reader.__exit__(None, None, None)

    async def read(self) -> Counter[tuple[str, str]]:
        """(leaf, reason) → packets dropped since the start."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for leaf, reader in self._readers.items():
            for array in _ARRAYS:
                for index, packets in reader.counters(array).items():
                    total[leaf, self._names.get(index, f"reason {index}")] += packets
        return total
