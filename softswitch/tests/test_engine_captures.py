# SPDX-License-Identifier: Apache-2.0
"""Capture files: whose they are, what they do not follow or overwrite, and what becomes of them when a disk is full."""

from __future__ import annotations

import os
import queue
import resource
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_scenarios import call, exact
from engine_support import load_program
from p4softswitch.captures import CaptureRefused, identity_of, open_capture, remove_unused
from p4softswitch.engine.engine import CompiledEngine

MAC = 0x0200000001
FRAME = MAC.to_bytes(6, "big") + bytes(6) + b"\x88\xb5" + bytes(range(200)) * 5
RECORD = 16 + len(FRAME)


@pytest.fixture
def engine() -> Iterator[CompiledEngine]:
    """Sends everything for MAC to port 1."""
    engine = load_program("router")
    engine.table_insert("IngressPipe.bridge", (exact(MAC, 48),), 0, call("IngressPipe.forward", (1, 9)))
    yield engine
    engine.stop()


def records(path: Path) -> list[bytes]:
    """Frames of a capture; fails if anything in it is not whole."""
    data = path.read_bytes()
    assert struct.unpack_from("<IHHiIII", data) == (0xA1B2C3D4, 2, 4, 0, 0, 131072, 1)
    at, frames = 24, []
    while at < len(data):
        assert at + 16 <= len(data)
        _seconds, _micros, length, original = struct.unpack_from("<IIII", data, at)
        assert length == original
        assert at + 16 + length <= len(data)
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


class TestPlace:
    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
    def test_it_is_its_owners_alone_whatever_the_umask(self, tmp_path: Path, mask: int) -> None:
        before = os.umask(mask)
        try:
            file = open_capture(str(tmp_path / "a.pcap"))
        finally:
            os.umask(before)
        os.close(file)
        assert stat.S_IMODE((tmp_path / "a.pcap").stat().st_mode) == 0o600

    def test_what_is_unused_goes_and_nothing_else(self, tmp_path: Path) -> None:
        """Whatever came to stand at its place is another's."""
        path = tmp_path / "a.pcap"
        for content, replaced, stays in ((b"", False, False), (bytes(24), False, False), (bytes(25), False, True),
                                         (b"", True, True)):  # fmt: skip
            file = open_capture(str(path))
            identity = identity_of(file)
            os.write(file, content)
            if replaced:
                path.rename(tmp_path / "old")  # the inode is not free
                path.touch()
            os.close(file)
            remove_unused(str(path), identity)
            assert path.exists() == stays
        path.unlink()
        remove_unused(str(path), identity)

    def test_an_older_capture_is_replaced_also_if_others_can_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pcap"
        path.write_bytes(b"old")
        path.chmod(0o644)
        with path.open("rb") as reader:
            os.close(open_capture(str(path)))
            assert reader.read() == b"old"  # it is another file
        assert path.read_bytes() == b""
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_symbolic_link_is_not_followed(self, tmp_path: Path, exists: bool) -> None:
        target = tmp_path / "precious"
        if exists:
            target.write_text("kept")
        (tmp_path / "a.pcap").symlink_to(target)
        with pytest.raises(CaptureRefused, match=r"a\.pcap: a symbolic link stands there"):
            open_capture(str(tmp_path / "a.pcap"))
        assert target.exists() == exists
        assert not exists or target.read_text() == "kept"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_a_file_of_another_user_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pcap"
        path.write_text("kept")
        os.chown(path, 65534, 65534)
        with pytest.raises(CaptureRefused, match=r"belongs to another user \(uid 65534\)"):
            open_capture(str(path))
        assert path.read_text() == "kept"

    def test_what_is_no_file_is_refused_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.pcap")
        with pytest.raises(CaptureRefused, match="not a regular file"):
            open_capture(str(tmp_path / "a.pcap"))

    def test_two_ports_never_write_one_file(self, engine: CompiledEngine, tmp_path: Path) -> None:
        """Nor two switches: the second one is refused, and the capture of the first goes on."""
        path = tmp_path / "a.pcap"
        engine.attach_sink(1, str(path))
        with pytest.raises(CaptureRefused, match="another port or process writes it"):
            engine.attach_sink(2, str(path))
        with pytest.raises(CaptureRefused, match="another port or process writes it"):
            open_capture(str(path))
        engine.attach_sink(2, str(tmp_path / "b.pcap"))
        sent: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        engine.set_packet_sink(1, sent.put)
        engine.start()
        engine.inject(2, FRAME)
        assert sent.get(timeout=60) == FRAME  # what waits when the engine stops is not processed any more
        engine.stop()
        assert records(path) == [FRAME]

    def test_a_directory_that_is_not_there(self, engine: CompiledEngine, tmp_path: Path) -> None:
        with pytest.raises(CaptureRefused, match="No such file"):
            engine.attach_sink(1, str(tmp_path / "none" / "a.pcap"))
        engine.attach_sink(1)  # the number is free


class TestFullDisk:
    @pytest.fixture
    def room(self) -> Iterator[int]:
        """A limit of file sizes that ends within the third record; then SIGXFSZ comes, and writing fails (EFBIG)."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (24 + 2 * RECORD + RECORD // 2, before[1]))
        try:
            yield 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_it_ends_with_a_whole_record_and_packets_go_on(
        self, engine: CompiledEngine, tmp_path: Path, room: int
    ) -> None:
        path = tmp_path / "a.pcap"
        arrived: list[bytes] = []
        engine.attach_sink(1, str(path))
        engine.attach_sink(2)
        engine.set_packet_sink(1, arrived.append)
        engine.start()
        for count in range(1, 11):
            engine.inject(2, FRAME)
            while engine.port_statistics(1)["packets_out"] < count:
                pass  # one record a batch
        counts = engine.port_statistics(1)
        engine.stop()
        assert arrived == [FRAME] * 10
        assert records(path) == [FRAME] * room
        assert counts["capture_lost"] == 10 - room

    def test_what_is_lost_is_counted_also_within_a_batch(
        self, engine: CompiledEngine, tmp_path: Path, room: int
    ) -> None:
        """No frame is counted twice, none is forgotten: those in the file and those lost are all."""
        path = tmp_path / "a.pcap"
        engine.attach_sink(1, str(path))
        engine.attach_sink(2)
        for _ in range(50):
            engine.process(2, FRAME)
        engine.start()
        while not engine.port_statistics(1)["capture_lost"]:
            pass
        counts = engine.port_statistics(1)
        assert counts["capture_lost"] + len(records(path)) == 50
        assert counts["capture_lost"] >= 48

    def test_no_room_from_the_start(self, engine: CompiledEngine, tmp_path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            with pytest.raises(OSError, match="port 1"):
                engine.attach_sink(1, str(tmp_path / "a.pcap"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        engine.attach_sink(1)
