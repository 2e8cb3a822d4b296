# SPDX-License-Identifier: Apache-2.0
"""The floor: below which version no database is believed, kept outside of the database's directory and its backups.

Around each commit the floor is written twice: before it, with the mark that the database will get (intended), and after
it, when that mark is the only one that is accepted (settled). A mark is a version together with a keyed hash over
everything that is in the database, so no other database of the same version has it.

    the process died ...           database has   floor says           at the next opening
    before the intent              base           settled(base)        nothing to do
    between intent and commit      base           base, intends next   the commit never was; nobody was told otherwise
    between commit and settling    next           base, intends next   the commit is; settle
    after settling                 next           settled(next)        nothing to do

A backup that is put back has none of the accepted marks. The file has two slots that are written in turn, each with a
counter and a tag: a slot that was torn by a crash leaves the other one, which is the one before.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from nvo3sec.nva.store.errors import StoreCorrupt, StoreUnavailable
from nvo3sec.nva.store.sqlite import files
from nvo3sec.nva.store.sqlite.keyring import TAG_BYTES, Keyring

_NAME = "floor"
_SLOT_BYTES = 512
_MAGIC = b"nvo3flr1"
_MARK = struct.Struct(">QQQ32s")
_HEAD = struct.Struct(">8sQ?")
_PURPOSE = b"floor"


@dataclass(frozen=True)
class Mark:
    """Term, version and revocations of a database, and the keyed hash (32 bytes) over everything that is in it."""

    term: int
    version: int
    revocations: int
    digest: bytes


@dataclass(frozen=True)
class FloorState:
    """`settled` is what the database must have; if there is an `intended`, that instead is right too."""

    settled: Mark
    intended: Mark | None = None

    @property
    def highest(self) -> Mark:
        """The newer of the two."""
        return self.intended or self.settled


class Floor:
    """The floor file, open and locked: a second process that opens the same store is refused."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._path = keyring.path / _NAME
        self._counter = 0
        self._state: FloorState | None = None
        try:
            self._descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE
            )
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from None
        try:
            files.check_private(self._path)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.sync_directory(keyring.path)
        except BlockingIOError:
            self.close()
            raise StoreUnavailable(f"{self._path}: another process has this store open") from None
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> FloorState | None:
        """What was read or written last; None if nothing was ever written."""
        return self._state

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written into the file."""
        return os.fstat(self._descriptor).st_size == 0

    def read(self) -> None:
        """Read the file. Raises StoreCorrupt if something is in it and none of it can be believed."""
        data = os.pread(self._descriptor, 2 * _SLOT_BYTES, 0)
        slots = [data[at : at + _SLOT_BYTES] for at in (0, _SLOT_BYTES)]
        found = [slot for slot in map(self._parse, slots) if slot is not None]
        if found:
            self._counter, self._state = max(found, key=lambda slot: slot[0])
        elif any(data) and len(data) >= _SLOT_BYTES:
            # A torn slot without another one is what a crash leaves of the very first write; that is shorter.
            raise StoreCorrupt(f"{self._path} is damaged: how new the database must be is not known")

    def _parse(self, slot: bytes) -> tuple[int, FloorState] | None:
        if len(slot) < _SLOT_BYTES:
            return None
        body, tag = slot[:-TAG_BYTES], slot[-TAG_BYTES:]
        if not self._keyring.is_tag(_PURPOSE, body, tag):
            return None
        magic, counter, intends = _HEAD.unpack_from(body)
        if magic != _MAGIC:
            return None
        settled = Mark(*_MARK.unpack_from(body, _HEAD.size))
        intended = Mark(*_MARK.unpack_from(body, _HEAD.size + _MARK.size)) if intends else None
        return counter, FloorState(settled, intended)

    def write(self, state: FloorState) -> None:
        """Make `state` the floor; it is on the disk when this returns. Raises StoreUnavailable."""
        counter = self._counter + 1
        body = _HEAD.pack(_MAGIC, counter, state.intended is not None)
        for mark in (state.settled, state.intended or state.settled):
            body += _MARK.pack(mark.term, mark.version, mark.revocations, mark.digest)
        body = body.ljust(_SLOT_BYTES - TAG_BYTES, b"\0")
        slot = body + self._keyring.tag(_PURPOSE, body)
        try:
            written = os.pwrite(self._descriptor, slot, (counter - 1) % 2 * _SLOT_BYTES)
            if written != len(slot):
                raise StoreUnavailable(f"{self._path}: written in part only")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from None
        self._counter, self._state = counter, state

    def close(self) -> None:
        """Unlock it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path
