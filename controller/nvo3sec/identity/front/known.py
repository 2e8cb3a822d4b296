# SPDX-License-Identifier: Apache-2.0
"""Who authenticated lately, and from where: whoever comes from there again has places that no stranger can take.

It outlives the process, for right after a start nobody has authenticated yet, and a flood must not keep everybody out
then. Nothing is allowed because of it: it is about places only, and who comes is authenticated as always. So a file
that cannot be read is told, and costs the reserve.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.identity import storage
from nvo3sec.identity.storage import StorageError

FORMAT = 1
ADDRESSES = 4
"""Of one device, the latest. One that has a prefix to itself must not fill the reserve with its addresses."""
REFRESH_S = 3600.0
"""How exactly the time is remembered."""
NAME_LENGTH = 256
WRITE_EVERY_S = 1.0
"""So much may be lost with the process."""
RETRY_S = 60.0
REFRESH_EVERY = 600
"""Looks for something to write between two looks at who is connected."""


@dataclass(frozen=True)
class Seen:
    """A device was authenticated from an address, last at `at` (seconds of the wall clock)."""

    device: str
    source: str
    at: float


class KnownSources:
    """Addresses by device, in bounded memory: those that were not seen for longest are forgotten first."""

    def __init__(self, devices: int, age_s: float) -> None:
        """devices: of so many something is remembered, for `age_s` seconds."""
        self._devices_limit = devices
        self._age_s = age_s
        self._devices: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        self._held: Counter[str] = Counter()
        self.version = 0
        """Another one whenever there is something that is worth writing down."""

    def see(self, device: str, source: str, now: float) -> None:
        """`device` is authenticated, and comes from `source`."""
        addresses = self._devices.setdefault(device, OrderedDict())
        self._devices.move_to_end(device)
        before = addresses.get(source)
        if before is None:
            self._held[source] += 1
        if before is None or not before <= now < before + REFRESH_S:
            self.version += 1
            addresses[source] = now
        addresses.move_to_end(source)
        while len(addresses) > ADDRESSES:
            self._release(addresses.popitem(last=False)[0])
        while len(self._devices) > self._devices_limit:
            self.forget(next(iter(self._devices)))

    def forget(self, device: str) -> None:
        """`device` is known no more."""
        addresses = self._devices.pop(device, OrderedDict())
        self.version += bool(addresses)
        for source in addresses:
            self._release(source)

    def prune(self, now: float) -> None:
        """Forget what was long ago. What is in the future was written before the clock was set back: it is of now."""
        for device, addresses in list(self._devices.items()):
            for source, at in list(addresses.items()):
                if at > now:
                    addresses[source] = now
                elif at + self._age_s < now:
                    self.version += 1
                    del addresses[source]
                    self._release(source)
            if not addresses:
                del self._devices[device]

    def _release(self, source: str) -> None:
        self._held[source] -= 1
        if not self._held[source]:
            del self._held[source]

    def __contains__(self, source: object) -> bool:
        return source in self._held

    def __len__(self) -> int:
        """Addresses."""
        return len(self._held)

    def all(self) -> list[Seen]:
        """Everything, the oldest device first."""
        return [Seen(device, source, at) for device, found in self._devices.items() for source, at in found.items()]


def load(path: Path) -> list[Seen]:
    """What `save` has written; nothing if there is no file. Raises StorageError that says what is wrong."""
    if not path.exists():
        return []
    try:
        found = json.loads(storage.read(path, private=True))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("known"), list):
        raise StorageError(f'{path}: expected {{"format": {FORMAT}, "known": [...]}}')
    return [_seen(path, number, one) for number, one in enumerate(found["known"], start=1)]


def _seen(path: Path, number: int, one: Any) -> Seen:
    match one:
        case {"device": str(device), "source": str(source), "at": int(at)} if (
            len(one) == 3
            and type(at) is int
            and 0 < len(device) <= NAME_LENGTH
            and 0 <= at < 1 << 40
            and _is_address(source)
        ):
            return Seen(device, source, float(at))
    raise StorageError(f"{path}: entry {number} of `known` is no device, source (an address) and at (whole seconds)")


def _is_address(text: str) -> bool:
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False


def save(path: Path, known: list[Seen]) -> None:
    """Write it whole and durably, for `load`. Raises StorageError."""
    entries = [{"device": one.device, "source": one.source, "at": int(one.at)} for one in known]
    data = json.dumps({"format": FORMAT, "known": entries}, separators=(",", ":")).encode()
    storage.write(path, data + b"\n", replace=True)


class Memory:
    """Known sources and the file in which they outlive the process. Use `begin`, `keep` while it runs, `end`."""

    def __init__(self, known: KnownSources, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        """path: None: nothing outlives the process. clock: seconds of the wall clock."""
        self.known = known
        self._path = path
        self._clock = clock
        self._written = known.version
        self._log = structlog.get_logger("identity")

    def see(self, device: str, source: str) -> None:
        """`device` is authenticated now, and comes from `source`."""
        self.known.see(device, source, self._clock())

    def begin(self) -> None:
        """Take what an earlier process has written."""
        if self._path is None:
            return
        try:
            for one in load(self._path):
                self.known.see(one.device, one.source, one.at)
        except StorageError as error:
            self._log.warning("nobody has a reserve of connections until it is authenticated anew", error=str(error))
            return  # what it knows now differs from what is written there
        self.known.prune(self._clock())
        self._written = self.known.version

    async def keep(self, connected: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Write what is new; connected: (device, source) of everybody who is here, and so was seen now."""
        while True:
            for _ in range(REFRESH_EVERY):
                await asyncio.sleep(WRITE_EVERY_S if await self.write() else RETRY_S)
            for device, source in connected():
                self.see(device, source)
            self.known.prune(self._clock())

    async def write(self) -> bool:
        """Write what is not written yet; whether there is nothing left to write."""
        version = self.known.version
        if self._path is None or version == self._written:
            return True
        try:
            await asyncio.to_thread(save, self._path, self.known.all())
        except StorageError as error:
            self._log.warning("who authenticated lately cannot be written down", error=str(error))
            return False
        self._written = version
        return True
