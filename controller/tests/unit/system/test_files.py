# SPDX-License-Identifier: Apache-2.0
"""Files that others put into place: what is no file holds nobody up, and is called what it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from nvo3sec.config import load_domain
from nvo3sec.errors import ConfigError, OperatorError
from nvo3sec.identity import storage
from nvo3sec.identity.front.known import load as load_known
from nvo3sec.identity.seen_lists import SeenLists
from nvo3sec.nva.store import StoreUnavailable
from nvo3sec.nva.store.sqlite import files as store_files
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.system import files as reading

LIMIT = 1000


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def linked(to: str):
    return lambda path: path.symlink_to(to)


STRANGE = {
    "a FIFO": fifo,
    "a socket": listening,
    "a directory": Path.mkdir,
    "a character device": linked("/dev/zero"),
}
READERS = {
    "credentials": (lambda path: storage.read(path), storage.StorageError),
    "a private key": (lambda path: storage.read(path, private=True), storage.StorageError),
    "marks of lists": (SeenLists, storage.StorageError),
    "known sources": (load_known, storage.StorageError),
    "domain file": (load_domain, ConfigError),
    "key of the store": (lambda path: store_files.read_private(path, LIMIT), StoreUnavailable),
    "key that is destroyed": (store_files.destroy, StoreUnavailable),
    "agent.json": (lambda path: AgentMemory("leaf1", path), OperatorError),
}


@pytest.fixture(params=STRANGE)
def strange(request, tmp_path):
    """What is there, and where."""
    path = tmp_path / "it"
    STRANGE[request.param](path)
    return request.param, path


class TestWhatIsNoFile:
    def test_is_told(self, strange):
        what, path = strange
        with pytest.raises(OSError, match=f"is {what}; expected a regular file") as caught:
            reading.read_file(path, LIMIT)
        assert caught.value.filename == str(path)

    def test_holds_no_writer_up(self, strange):
        what, path = strange
        with pytest.raises(OSError, match=f"is {what}; expected a regular file"):
            reading.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    @pytest.mark.parametrize("reader", READERS)
    def test_holds_no_reader_up(self, strange, reader):
        path = strange[1]
        read, error = READERS[reader]
        with pytest.raises(error) as caught:
            read(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("name", ["agent.json.new", "agent.json.room"])
    def test_holds_up_nobody_who_writes_beside_it(self, tmp_path, name):
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        fifo(tmp_path / name)
        with pytest.raises(OperatorError, match="is a FIFO"), memory.room():
            memory.mixes()


class TestFile:
    def test_whole(self, tmp_path):
        (tmp_path / "it").write_bytes(bytes(LIMIT))
        assert reading.read_file(tmp_path / "it", LIMIT) == bytes(LIMIT)

    def test_too_long(self, tmp_path):
        (tmp_path / "it").write_bytes(bytes(LIMIT + 1))
        with pytest.raises(OSError, match=f"is longer than {LIMIT} bytes"):
            reading.read_file(tmp_path / "it", LIMIT)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            reading.read_file(tmp_path / "it", LIMIT)

    def test_link(self, tmp_path):
        (tmp_path / "it").write_bytes(b"it")
        (tmp_path / "link").symlink_to("it")
        assert reading.read_file(tmp_path / "link", LIMIT) == b"it"
        with pytest.raises(OSError, match="is a symbolic link; expected a regular file"):
            reading.read_file(tmp_path / "link", LIMIT, follow=False)

    def test_is_written_from_its_beginning(self, tmp_path):
        (tmp_path / "it").write_bytes(b"before")
        with reading.open_file(tmp_path / "it", os.O_WRONLY | os.O_TRUNC) as file:
            file.write(b"now")
        assert (tmp_path / "it").read_bytes() == b"now"
