# SPDX-License-Identifier: Apache-2.0
"""What an agent must remember when it is restarted: what is attached to its NVE, how far its NVA had come, and how far
the generations in the replay rings of its switch.

A small JSON file, replaced as a whole and on the disk before anybody is told. There are no secrets in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from nvo3sec.domain.messages.history import not_in_history
from nvo3sec.domain.messages.session import Attachment, StoreMark
from nvo3sec.errors import NvaGoneBack, OperatorError
from nvo3sec.nve import memory_file
from nvo3sec.system import files as reading

FILE_BYTES = 64 << 20
"""Longest file that is read."""
ROOM_BYTES = 8192
"""More than an attachment takes in the file."""
RINGS_BLOCK = 256
"""Generations that are written down at once: a rotation of all keys of a switch must not cost a write for each."""

CANNOT = "the agent cannot write down what it must remember"

Place = tuple[int, int, int]
"""(port, VLAN, MAC address)."""


class AgentMemory:
    """The file at `path`; None: nothing outlives the process. Raises OperatorError for a file that is not one of these:
    starting without it would release everything that is attached."""

    def __init__(self, nve: str, path: Path | None = None) -> None:
        self._nve = nve
        self._path = path
        self.attachments: dict[Place, Attachment] = {}
        self.mark = self._written = StoreMark(0, 0)
        self._rings = (b"", 0)
        self.has_mixed = False
        """Whether keys of tunnels were to be mixed, ever: what an NVA says that they are not is worth telling."""
        self._mixed_only = b""
        self.fault = ""
        """Why the file could not be written the last time; empty if it could."""
        self._log = structlog.get_logger("nve").bind(nve=nve)
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            found = memory_file.parse(reading.read_file(path, FILE_BYTES), self._nve)
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise OperatorError(
                f"{path}: is not what an agent writes: {error}. Without it everything that is attached to"
                f" {self._nve} would be released: restore it, or remove it and attach everything again"
            ) from None
        self.mark = self._written = found.mark
        self._rings = (found.incarnation, found.generation)
        self.has_mixed, self._mixed_only = found.peer_keys, found.mixed_only
        self.attachments = {place_of(one): one for one in found.attachments}

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Around what is asked of the NVA and remembered then: there is room for it on the disk.

        Raises OperatorError if there is none, before anything was asked.
        """
        reserve = None if self._path is None else self._path.with_name(self._path.name + ".room")
        if reserve is None or self._path is None:
            yield
            return
        size = len(json.dumps(memory_file.to_json(self._nve, self._remembered(self.attachments, self.mark)), indent=1))
        try:
            _write_whole(reserve, bytes(size + ROOM_BYTES))
        except OSError as error:
            raise OperatorError(f"{self._path}: {error.strerror}; nothing was changed") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                reserve.unlink()

    def give_room(self) -> None:
        """What was kept free is to be written into now."""
        if self._path is not None:
            self._path.with_name(self._path.name + ".room").unlink(missing_ok=True)

    def put(self, attachment: Attachment) -> None:
        """Remember an attachment. Raises OperatorError."""
        self._change({**self.attachments, place_of(attachment): attachment}, self.mark)

    def drop(self, place: Place) -> None:
        """Forget an attachment. Raises OperatorError."""
        self._change({key: one for key, one in self.attachments.items() if key != place}, self.mark)

    def move(self, place: Place, to: Attachment) -> None:
        """Forget one and remember another. Raises OperatorError."""
        rest = {key: one for key, one in self.attachments.items() if key != place}
        self._change({**rest, place_of(to): to}, self.mark)

    def name_vns(self, names: Mapping[int, str]) -> None:
        """These are the VNs, by VNI. What was remembered before VNs had names here is of these; what is remembered by
        name has the number that its VN has now. Raises OperatorError."""
        numbers = {name: vni for vni, name in names.items()}
        named = {
            place: replace(one, vni=numbers.get(one.vn, one.vni), vn=one.vn or names.get(one.vni, ""))
            for place, one in self.attachments.items()
        }
        if named != self.attachments:
            self._change(named, self.mark)

    @property
    def marks(self) -> tuple[StoreMark, ...]:
        """How far the NVA's store had come, for the NVA to find in its history. Two, if the newer one could not be
        written: a restart would know the other one."""
        return tuple(one for one in dict.fromkeys((self.mark, self._written)) if one != StoreMark(0, 0))

    def compare(self, mark: StoreMark, known: Collection[StoreMark]) -> None:
        """The NVA's store has come to `mark`, and says that it has told this NVE `known` before.

        Raises NvaGoneBack if what is remembered here is not in its history: it is an old backup, however much has
        been stored since.
        """
        strange = not_in_history(self.marks, mark, known)
        if strange is not None:
            raise NvaGoneBack(
                f"the NVA's store has gone back, from version {strange.version} of term {strange.term}, which is not in"
                f" its history, to version {mark.version} of term {mark.term}; nothing of it is believed"
            )

    def see(self, mark: StoreMark) -> None:
        """The NVA's store has come to `mark`. Raises NvaGoneBack if it had been further, or elsewhere."""
        same_place = (mark.term, mark.version) == (self.mark.term, self.mark.version)
        elsewhere = mark.term == self.mark.term and self.mark.digest and not mark.digest
        if mark.is_before(self.mark) or elsewhere or (same_place and mark.digest != self.mark.digest != b""):
            raise NvaGoneBack(
                f"the NVA's store has gone back, from version {self.mark.version} of term {self.mark.term} to version"
                f" {mark.version} of term {mark.term}; nothing of it is believed"
            )
        if mark == self.mark == self._written and not self.fault:
            return
        try:
            self._change(self.attachments, mark)
        except OperatorError:
            # A disk that is full is no reason to let the tunnels close; only a restart would not know of this one.
            self.mark = mark

    def generation(self, incarnation: bytes) -> int | None:
        """The highest that the replay rings of this incarnation can have seen; None if that is not known."""
        return self._rings[1] if self._rings[0] == incarnation else None

    @property
    def highest(self) -> int:
        """The highest generation that the switch can have seen, under whatever incarnation."""
        return self._rings[1]

    def rings(self, incarnation: bytes, generation: int) -> int:
        """The replay rings of this incarnation are to see `generation`, if they have not.

        Returns the highest that they may see: what is remembered, a lower one if the file cannot be written.
        """
        known = self.generation(incarnation)
        if known is not None and generation <= known and not self.fault:
            return known
        before = self._rings
        if known is None or generation > known:
            above = (generation + RINGS_BLOCK - 1) // RINGS_BLOCK * RINGS_BLOCK
            self._rings = (incarnation, max(generation, min(above, memory_file.LAST_GENERATION)))
        try:
            self._change(self.attachments, self.mark)
        except OperatorError:
            self._rings = before
        return self.generation(incarnation) or 0

    def mixes(self) -> None:
        """Keys of tunnels are to be mixed. Raises OperatorError."""
        if not self.has_mixed:
            self.has_mixed = True
            self._change(self.attachments, self.mark)

    def is_mixed_only(self, incarnation: bytes) -> bool:
        """Whether the switch has had no other keys than mixed ones in this incarnation."""
        return bool(incarnation) and self._mixed_only == incarnation

    def mixed_only(self, incarnation: bytes) -> None:
        """From its beginning, this incarnation has mixed keys only; b"": there may be others. Raises OperatorError."""
        if self._mixed_only != incarnation:
            self._mixed_only = incarnation
            self._change(self.attachments, self.mark)

    def _change(self, attachments: Mapping[Place, Attachment], mark: StoreMark) -> None:
        if self._path is not None:
            try:
                self._write(self._path, attachments, mark)
            except OperatorError as error:
                self._note(str(error).removesuffix("; nothing was changed"))
                raise
            self._note("")
            self._written = mark
        self.attachments, self.mark = dict(attachments), mark

    def _note(self, fault: str) -> None:
        """Whether the file can be written; said when that changes."""
        if fault == self.fault:
            return
        self.fault = fault
        if fault:
            self._log.error("cannot remember", error=fault)
        else:
            self._log.info("remembers again", file=str(self._path))

    def _remembered(self, attachments: Mapping[Place, Attachment], mark: StoreMark) -> memory_file.Remembered:
        return memory_file.Remembered(
            tuple(attachments.values()), mark, *self._rings, peer_keys=self.has_mixed, mixed_only=self._mixed_only
        )

    def _write(self, path: Path, attachments: Mapping[Place, Attachment], mark: StoreMark) -> None:
        content = memory_file.to_json(self._nve, self._remembered(attachments, mark))
        draft = path.with_name(path.name + ".new")
        try:
            _write_whole(draft, json.dumps(content, indent=1).encode())
            os.replace(draft, path)
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror}; nothing was changed") from None


def _write_whole(path: Path, content: bytes) -> None:
    """Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with reading.open_file(path, flags, follow=False) as file, io.BufferedWriter(file) as whole:
        whole.write(content)
        whole.flush()
        os.fsync(file.fileno())


def place_of(attachment: Attachment) -> Place:
    """What an attachment is told by."""
    return attachment.port, attachment.vlan, attachment.mac
