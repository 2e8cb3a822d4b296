# SPDX-License-Identifier: Apache-2.0
"""Captures in the classic pcap format, microseconds, link type Ethernet."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from types import TracebackType

_MAGIC = 0xA1B2C3D4
_LINKTYPE_ETHERNET = 1
_SNAPLEN = 65535


class PcapWriter:
    """One file, one writer. Every frame is flushed: a capture of a lab that crashed must show its last frame."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_ETHERNET))
        self._file.flush()

    def write(self, frame: bytes) -> None:
        now = time.time_ns()
        head = struct.pack("<IIII", now // 10**9, now % 10**9 // 1000, len(frame), len(frame))
        self._file.write(head + frame)
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> PcapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_frames(path: Path) -> list[bytes]:
    """All frames of a capture that PcapWriter wrote, in order; a last record that is cut off is left out."""
    data = path.read_bytes()
    if len(data) < 24 or struct.unpack_from("<I", data)[0] != _MAGIC:
        raise ValueError(f"{path}: not a capture of this lab")
    frames = []
    offset = 24
    while offset + 16 <= len(data):
        length = struct.unpack_from("<I", data, offset + 8)[0]
        offset += 16
        if offset + length > len(data):
            break
        frames.append(data[offset : offset + length])
        offset += length
    return frames
