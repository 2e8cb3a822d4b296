# SPDX-License-Identifier: Apache-2.0
"""A revocation list does not go back, also across a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from identity_world import ForeignAuthority
from nvo3sec.identity import seen_lists, storage
from nvo3sec.identity.anchors import Issuer
from nvo3sec.identity.errors import RevocationUnknown
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.seen_lists import KEPT, ListMark, SeenLists
from nvo3sec.identity.storage import StorageError


@pytest.fixture
def authority() -> ForeignAuthority:
    return ForeignAuthority()


class World:
    """A file of lists, and a process that reads it and is started again and again."""

    def __init__(self, directory: Path, *authorities: ForeignAuthority) -> None:
        self.lists, self.memory = directory / "revoked.pem", directory / "revocation-lists.json"
        self.authorities = authorities

    def put(self, *pems: bytes) -> None:
        draft = self.lists.with_suffix(".new")
        draft.write_bytes(b"".join(pems))
        draft.replace(self.lists)

    def start(self) -> RevocationFile:
        anchors = tuple(one.certificate for one in self.authorities)
        return RevocationFile(self.lists, lambda: anchors, seen=SeenLists(self.memory))


class TestRestart:
    def test_an_older_list_is_refused_and_the_newer_one_is_taken(self, authority, tmp_path):
        world = World(tmp_path, authority)
        world.put(authority.revocations([1], number=7))
        world.start()
        world.put(authority.revocations(number=6))
        with pytest.raises(RevocationUnknown, match=r"list 6 of .* is older than list 7, seen before"):
            world.start()
        for number in (7, 8):
            world.put(authority.revocations([1], number=number))
            assert world.start().current.is_revoked(authority.certificate.subject.rfc4514_string(), 1)
        world.put(authority.revocations(number=7))
        with pytest.raises(RevocationUnknown, match="older than list 8"):
            world.start()

    def test_one_that_was_taken_while_it_ran_counts_too(self, authority, tmp_path):
        world = World(tmp_path, authority)
        world.put(authority.revocations(number=1))
        file = world.start()
        world.put(authority.revocations([1], number=2))
        assert file.refresh()
        world.put(authority.revocations(number=1))
        with pytest.raises(RevocationUnknown):
            world.start()

    def test_one_that_only_begins_counts_too(self, authority, tmp_path):
        world = World(tmp_path, authority)
        world.put(authority.revocations(number=1))
        file = world.start()
        world.put(authority.revocations([1], number=2, begins=timedelta(hours=1)))
        file.refresh()
        world.put(authority.revocations(number=1))
        with pytest.raises(RevocationUnknown):
            world.start()

    def test_of_each_authority_by_its_key(self, tmp_path):
        one, other = ForeignAuthority(name="one"), ForeignAuthority(name="other")
        world = World(tmp_path, one, other)
        world.put(one.revocations(number=9), other.revocations(number=2))
        world.start()
        world.put(one.revocations(number=8), other.revocations(number=2))
        file = world.start()
        assert "list 8" in file.faults[0]
        assert "which is not there" in file.faults[0]
        assert {issuer.name for issuer in file.current.lists} == {Issuer.of(other.certificate).name}
        # The name alone is nobody: another key has numbers of its own.
        renewed = ForeignAuthority(name="one")
        world.authorities = (renewed, other)
        world.put(renewed.revocations(number=1), other.revocations(number=2))
        assert not world.start().faults
        # And who comes back is remembered.
        world.authorities = (one, other)
        world.put(one.revocations(number=8), other.revocations(number=2))
        assert "list 8" in world.start().faults[0]

    def test_it_is_on_the_disk_before_it_counts(self, authority, tmp_path, monkeypatch):
        world = World(tmp_path, authority)
        world.put(authority.revocations(number=1))
        file = world.start()
        counted: list[int] = []
        write = storage.write

        def noticing(path: Path, data: bytes, **options: bool) -> None:
            write(path, data, **options)
            counted.append(json.loads(data)["lists"][0]["number"])

        monkeypatch.setattr(seen_lists.storage, "write", noticing)
        world.put(authority.revocations([1], number=2))
        assert file.refresh()
        assert counted == [2]
        assert not file.refresh()
        assert counted == [2], "what is known is not written again"

    def test_a_disk_that_is_full_does_not_forgive(self, authority, tmp_path, monkeypatch):
        world, now = World(tmp_path, authority), [0.0]
        world.put(authority.revocations(number=1))
        anchors = (authority.certificate,)
        file = RevocationFile(world.lists, lambda: anchors, monotonic=lambda: now[0], seen=SeenLists(world.memory))

        def full(*_: object, **__: object) -> None:
            raise StorageError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(seen_lists.storage, "write", full)
            world.put(authority.revocations([1], number=2))
            assert file.refresh()
            assert file.current.is_revoked(authority.certificate.subject.rfc4514_string(), 1)
            assert "after a restart an older revocation list would be believed: the disk is full" in file.faults
        now[0] += 60
        file.refresh()
        assert not file.faults, "it was tried again"
        world.put(authority.revocations(number=1))
        with pytest.raises(RevocationUnknown):
            world.start()

    def test_without_a_directory_only_the_process_remembers(self, authority, tmp_path):
        world = World(tmp_path, authority)
        for number in (2, 1):
            world.put(authority.revocations(number=number))
            RevocationFile(world.lists, lambda: (authority.certificate,), seen=SeenLists())


class TestFile:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no JSON",
            b"[]",
            b'{"format": 2, "lists": []}',
            b'{"format": 1}',
            b'{"format": 1, "lists": [1]}',
            b'{"format": 1, "lists": [{"key": "00", "name": "x", "number": 1, "made": 1}]}',
            b'{"format": 1, "lists": [{"key": "%s", "name": "x", "number": -1, "made": 1}]}' % (b"0" * 64),
            b'{"format": 1, "lists": [{"key": "%s", "name": "x", "number": true, "made": 1}]}' % (b"0" * 64),
            b'{"format": 1, "lists": [{"key": "%s", "name": "x", "number": 1, "made": 1e3}]}' % (b"0" * 64),
            b'{"format": 1, "lists": [{"key": "%s", "name": "x", "number": 1, "made": 1, "more": 1}]}' % (b"0" * 64),
            b"[" * 100_000,
        ],
    )
    def test_what_is_no_memory_is_refused(self, tmp_path, content):
        path = tmp_path / "revocation-lists.json"
        path.write_bytes(content)
        with pytest.raises(StorageError, match="restore it; without it"):
            SeenLists(path)

    def test_it_does_not_grow_for_ever(self, tmp_path):
        path = tmp_path / "revocation-lists.json"
        seen, began = SeenLists(path), datetime(2026, 1, 1, tzinfo=UTC)
        for number in range(KEPT + 10):
            mark = ListMark(1 << 150, began + timedelta(seconds=number), "CN=x")
            seen.note([(number.to_bytes(32, "big"), mark)])
        again = SeenLists(path)
        assert again.of((0).to_bytes(32, "big")) is None
        assert again.of((KEPT + 9).to_bytes(32, "big")) == mark
