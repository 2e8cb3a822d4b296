# SPDX-License-Identifier: Apache-2.0
"""How far the revocation lists of each authority had come, remembered across restarts: an older one is a backup that
was put back, and would forgive.

A small JSON file that is written before a newer list counts. An authority is its key, whatever it calls itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from nvo3sec.identity import storage
from nvo3sec.identity.storage import StorageError

FORMAT = 1
KEPT = 256
"""Authorities that are remembered; those whose lists are the oldest are forgotten first."""
_KEY = re.compile(r"[0-9a-f]{64}")
_LAST_NUMBER = 1 << 160
"""RFC 5280 section 5.2.3: at most 20 octets."""


class Numbered(Protocol):
    """A revocation list, or what is remembered of one."""

    @property
    def number(self) -> int: ...
    @property
    def this_update(self) -> datetime: ...


@dataclass(frozen=True)
class ListMark:
    """What is remembered of the newest list of an authority: its number (RFC 5280 section 5.2.3), and when it was made.

    name: of the authority, for people.
    """

    number: int
    this_update: datetime
    name: str = ""


def is_before(one: Numbered, other: Numbered) -> bool:
    """Whether a list was made before another one of its authority."""
    return one.number < other.number or one.this_update < other.this_update


class SeenLists:
    """The file at `path`; None: nothing outlives the process."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises StorageError for a file that is not one of these: without it an old list would be believed."""
        self._path = path
        self._marks: dict[bytes, ListMark] = {}
        self.is_written = True
        """Whether a restart would know all of it."""
        if path is not None and path.exists():
            self._marks = _load(path)

    def of(self, key: bytes) -> ListMark | None:
        """What is remembered of an authority. key: SHA-256 of its public key, as in `anchors.Issuer`."""
        return self._marks.get(key)

    def note(self, lists: Iterable[tuple[bytes, ListMark]]) -> None:
        """These count from now on: remember those that are newer; on the disk when this returns.

        Raises StorageError; this process remembers them all the same.
        """
        for key, new in lists:
            before = self._marks.get(key)
            if before is None or is_before(before, new):
                self._marks[key], self.is_written = new, False
        if self.is_written or self._path is None:
            return
        newest = sorted(self._marks, key=lambda key: self._marks[key].this_update)[-KEPT:]
        self._marks = {key: one for key, one in self._marks.items() if key in set(newest)}
        storage.write(self._path, _text(self._marks), replace=True)
        self.is_written = True


def _text(marks: Mapping[bytes, ListMark]) -> bytes:
    lists = [
        {"key": key.hex(), "name": one.name, "number": one.number, "made": int(one.this_update.timestamp())}
        for key, one in sorted(marks.items())
    ]
    return json.dumps({"format": FORMAT, "lists": lists}, indent=1).encode() + b"\n"


def _load(path: Path) -> dict[bytes, ListMark]:
    advice = "restore it; without it a revocation list that was put back from a backup would be believed"
    try:
        found = json.loads(storage.read(path))
    except (ValueError, RecursionError):
        raise StorageError(f"{path} is no JSON: {advice}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("lists"), list):
        raise StorageError(f'{path}: expected {{"format": {FORMAT}, "lists": [...]}}: {advice}')
    return dict(_mark(path, number, one, advice) for number, one in enumerate(found["lists"], start=1))


def _mark(path: Path, place: int, one: Any, advice: str) -> tuple[bytes, ListMark]:
    match one:
        case {"key": str(key), "name": str(name), "number": int(number), "made": int(made)} if (
            len(one) == 4
            and _KEY.fullmatch(key)
            and type(number) is type(made) is int
            and 0 <= number < _LAST_NUMBER
            and 0 <= made < 1 << 40
        ):
            try:
                return bytes.fromhex(key), ListMark(number, datetime.fromtimestamp(made, UTC), name)
            except (ValueError, OverflowError, OSError):
                pass
    raise StorageError(
        f"{path}: entry {place} of `lists` is no key (64 hexadecimal digits), name, number and made (whole numbers):"
        f" {advice}"
    )
