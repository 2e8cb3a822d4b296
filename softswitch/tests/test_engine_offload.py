# SPDX-License-Identifier: Apache-2.0
"""What is done with the header that a kernel puts in front of a frame: all of it can be a tap user's."""

from __future__ import annotations

import itertools
import struct
import subprocess
from pathlib import Path

import pytest
from p4softswitch.engine.artifact import RUNTIME
from p4softswitch.engine.compiler import find_compiler

PROGRAM = """
#include "base.h"
#include "hashes.h"
#include "offload.h"
int main(void) { /* length of header and frame, and those; of each, in place of exactly its size, what became of it */
  uint16_t size;
  while (fread(&size, sizeof size, 1, stdin)) {
    uint8_t *room = malloc(size ? size : 1), *frame = room;
    if (fread(room, 1, size, stdin) != size) return 1;
    uint32_t len = size;
    uint64_t completed = 0;
    const struct unfinished left = offload_finish(&frame, &len, &completed);
    const uint8_t said[4] = {(uint8_t)left.checksum, (uint8_t)left.segments, (uint8_t)completed, (uint8_t)len};
    fwrite(said, sizeof said, 1, stdout);
    fwrite(frame, 1, len, stdout);
    free(room);
  }
  return 0;
}
"""
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
HEADER = struct.Struct("=BBHHHH")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With sanitizers where there are any, so that a byte outside of a frame is noticed."""
    directory = tmp_path_factory.mktemp("offload")
    (directory / "main.c").write_text(PROGRAM)
    words = [*find_compiler().command, "-std=gnu11", "-g", "-O1", f"-I{RUNTIME}", "-o", str(directory / "main")]
    for flags in (SANITIZED, []):
        done = subprocess.run([*words, *flags, str(directory / "main.c")], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return directory / "main"
    raise AssertionError(done.stderr)


def results(program: Path, given: list[tuple[bytes, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """(not completed, segments, completed, frame) of each header and frame."""
    data = b"".join(struct.pack("=H", len(head) + len(frame)) + head + frame for head, frame in given)
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found, at = [], 0
    for _ in given:
        checksum, segments, completed, length = done.stdout[at : at + 4]
        found.append((checksum, segments, completed, done.stdout[at + 4 : at + 4 + length]))
        at += 4 + length
    assert at == len(done.stdout)
    return found


def internet(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_every_place_in_and_behind_short_frames(program: Path) -> None:
    """Completed where all of the checksum is inside; otherwise not a byte of the frame is another one."""
    frames = [bytes((7 * number + length) % 256 for number in range(length)) for length in (0, 1, 2, 3, 9, 16, 31)]
    places = [*range(34), 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF]
    given = [
        (HEADER.pack(1, 0, 0, 0, start, offset), frame)
        for frame, start, offset in itertools.product(frames, places, places)
        if offset != 8
    ]
    for (head, frame), found in zip(given, results(program, given), strict=True):
        start, offset = HEADER.unpack(head)[4:]
        field = start + offset
        if start < len(frame) and field + 2 <= len(frame):
            value = internet(frame[start:]) or 0xFFFF
            assert found == (0, 0, 1, frame[:field] + value.to_bytes(2, "big") + frame[field + 2 :])
        else:
            assert found == (1, 0, 0, frame)


def test_crc_of_sctp(program: Path) -> None:
    """Where the field is inside of the frame; it is taken for zero, and a value is known of zeroes."""
    given = [(HEADER.pack(1, 0, 0, 0, start, 8), bytes(8) + b"left" + bytes(3)) for start in range(20)]
    for start, found in enumerate(results(program, given)):
        if start + 12 <= 15:
            assert found[:3] == (0, 0, 1)
            assert found[3][start + 8 : start + 12] != b"left"
        else:
            assert found == (1, 0, 0, given[start][1])
    zeros = results(program, [(HEADER.pack(1, 0, 0, 0, 0, 8), bytes(32))])[0][3]
    assert zeros == bytes(8) + (0x8A9136AA).to_bytes(4, "little") + bytes(20)  # RFC 7143 A.4: 32 bytes of zeroes


@pytest.mark.parametrize("kind", [1, 3, 4, 5, 0x81, 0xFF])
def test_segments_are_left_alone(program: Path, kind: int) -> None:
    frame = bytes(range(100))
    given = [(HEADER.pack(flags, kind, 42, 10, 34, 6), frame) for flags in (0, 1, 2, 3)]
    assert results(program, given) == [(0, 1, 0, frame)] * 4


def test_nothing_to_be_done(program: Path) -> None:
    """Also of a frame whose checksum a card has verified (VIRTIO_NET_HDR_F_DATA_VALID)."""
    frame = bytes(range(100))
    given = [(HEADER.pack(flags, 0, 0, 0, 34, 6), frame) for flags in (0, 2)]
    assert results(program, given) == [(0, 0, 0, frame)] * 2


def test_less_than_a_header(program: Path) -> None:
    given = [(b"", bytes(length)) for length in range(10)]
    assert [found[:3] for found in results(program, given)] == [(1, 0, 0)] * 10
