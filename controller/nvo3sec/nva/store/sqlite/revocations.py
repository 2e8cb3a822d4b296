# SPDX-License-Identifier: Apache-2.0
"""Every revocation once more, beside the keys: a database that has to be replaced by an older one un-revokes nothing.

Lines are only ever appended, each with a tag over itself and the tag before, so that none can be changed or taken out
of the middle; how many there must be at least is in the floor.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from nvo3sec.nva.store.errors import ChangeRefused, StoreUnavailable
from nvo3sec.nva.store.records import Revocation
from nvo3sec.nva.store.sqlite import files
from nvo3sec.nva.store.sqlite.keyring import Keyring
from nvo3sec.system import files as reading

_NAME = "revocations"
_PURPOSE = b"revocation"
_LIMIT_BYTES = 64 << 20


class RevocationList:
    """The file. `read` before anything else."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._path = keyring.path / _NAME
        self._entries: dict[Revocation, None] = {}
        self._tag = b""
        self._valid_bytes = 0

    @property
    def entries(self) -> tuple[Revocation, ...]:
        """What is in it, oldest first."""
        return tuple(self._entries)

    def read(self) -> None:
        """Read as far as the lines can be believed: the last one may be torn, and what was altered ends the list."""
        data = files.read_private(self._path, _LIMIT_BYTES) or b""
        self._entries, self._tag, self._valid_bytes = {}, b"", 0
        for line in data.splitlines(keepends=True):
            fields = line.rstrip(b"\n").split(b"\t")
            if len(fields) != 3 or not line.endswith(b"\n"):
                return
            identity, serial, tag = fields
            expected = self._keyring.tag(_PURPOSE, self._tag + identity + b"\t" + serial).hex().encode()
            if tag != expected:
                return
            self._entries[Revocation(identity.decode(), serial.decode())] = None
            self._tag = tag
            self._valid_bytes += len(line)

    def append(self, revocations: Iterable[Revocation]) -> None:
        """Append those that are not in it; they are on the disk when this returns."""
        fresh = [one for one in dict.fromkeys(revocations) if one not in self._entries]
        if not fresh:
            return
        text, tag = b"", self._tag
        for one in fresh:
            body = f"{one.identity}\t{one.serial}".encode()
            tag = self._keyring.tag(_PURPOSE, tag + body).hex().encode()
            text += body + b"\t" + tag + b"\n"
        self._write(text)
        self._entries |= dict.fromkeys(fresh)
        self._tag = tag
        self._valid_bytes += len(text)

    def _write(self, text: bytes) -> None:
        fresh_file = not self._path.exists()
        try:
            flags = os.O_RDWR | os.O_CREAT
            with reading.open_file(self._path, flags, follow=False, mode=files.PRIVATE_FILE) as file:
                descriptor = file.fileno()
                os.ftruncate(descriptor, self._valid_bytes)  # a line that was torn by a crash
                if os.pwrite(descriptor, text, self._valid_bytes) != len(text):
                    raise StoreUnavailable(f"{self._path}: written in part only")
                os.fsync(descriptor)
            if fresh_file:
                files.sync_directory(self._path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from None


def check_revocations(revocations: Sequence[Revocation]) -> None:
    """Raises ChangeRefused for what does not fit into a line."""
    for one in revocations:
        text = one.identity + one.serial
        if not one.identity or not text.isascii() or not text.isprintable():
            raise ChangeRefused("an identity or a serial number to be revoked is not plain text")
