# SPDX-License-Identifier: Apache-2.0
"""The SQLite store under attack: backups put back, bits flipped, files open to others, keys in the raw bytes."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.mapping import PutClaim, SetVersion
from nvo3sec.nva.store import (
    DropEpoch,
    PutDispute,
    PutDomainFile,
    PutEpoch,
    PutTold,
    PutVap,
    Revocation,
    Revoke,
    StoreCorrupt,
    StoreError,
    StoreRolledBack,
    StoreTooNew,
    StoreUnavailable,
    open_store,
)
from nvo3sec.nva.store.sqlite import database
from nvo3sec.nva.store.sqlite.database import Database
from nvo3sec.nva.store.sqlite.schema import MIGRATIONS
from nvo3sec.nva.store.tables import TABLES, plan
from store_scenarios import COMMITS, DOMAIN, MIGRATED, OLD, PLACES, SECRETS, commit_all, contents, expected, open_at


def everything(directory):
    store = open_at(directory)
    commit_all(store, lambda _: None)
    return store


def backup(directory, name="backup"):
    return shutil.copytree(directory / "db", directory / name)


def put_back(directory, name="backup"):
    shutil.rmtree(directory / "db")
    shutil.copytree(directory / name, directory / "db")


class TestRollback:
    @pytest.mark.parametrize("later", [1, 2, 5])
    def test_a_backup_is_noticed(self, tmp_path, reopen, later):
        store = reopen()
        store.commit(COMMITS[0])
        store.close()
        backup(tmp_path)
        store = reopen()
        for number in range(later):
            store.commit((SetVersion(10, number + 1),))
        store.close()
        put_back(tmp_path)
        with pytest.raises(StoreRolledBack, match=rf"version 1 .* must have version {1 + later}") as refused:
            reopen()
        assert "`nva run --start-new-term`" in str(refused.value), "the operator is not told what can be done"
        with pytest.raises(StoreRolledBack):
            reopen()

    def test_another_database_of_the_same_version(self, tmp_path, reopen):
        """Rolled back, and then brought to the same number by somebody with other contents."""
        store = reopen()
        store.close()
        backup(tmp_path)
        shutil.copytree(tmp_path / "keys", tmp_path / "other-keys")
        store = reopen()
        store.commit((SetVersion(10, 1),))
        store.close()
        other = open_store(tmp_path / "backup" / "nva.sqlite", tmp_path / "other-keys", DOMAIN)
        other.commit((SetVersion(10, 2),))
        other.close()
        put_back(tmp_path)
        with pytest.raises(StoreRolledBack, match="another one"):
            reopen()

    def test_a_lost_database(self, tmp_path, reopen):
        everything(tmp_path).close()
        shutil.rmtree(tmp_path / "db")
        with pytest.raises(StoreRolledBack, match="missing"):
            reopen()
        loaded = reopen(start_new_term=True).load()
        assert loaded.revocations == expected()[-1].revocations
        assert loaded.term == 2

    def test_an_empty_file_in_its_place(self, tmp_path, reopen):
        everything(tmp_path).close()
        shutil.rmtree(tmp_path / "db")
        (tmp_path / "db").mkdir(mode=0o700)
        (tmp_path / "db" / "nva.sqlite").touch(mode=0o600)
        with pytest.raises(StoreRolledBack):
            reopen()
        with pytest.raises(StoreRolledBack):
            reopen()

    def test_a_lost_floor(self, tmp_path, reopen):
        everything(tmp_path).close()
        (tmp_path / "keys" / "floor").unlink()
        with pytest.raises(StoreRolledBack, match="no floor"):
            reopen()
        with pytest.raises(StoreCorrupt, match="who was revoked"):
            reopen(start_new_term=True)

    def test_a_floor_that_is_behind(self, tmp_path, reopen):
        """No crash does that: the keys were put back from a backup, or the database has lived elsewhere."""
        store = everything(tmp_path)
        old = (tmp_path / "keys" / "floor").read_bytes()
        store.commit((SetVersion(10, 50),))
        store.close()
        (tmp_path / "keys" / "floor").write_bytes(old)
        with pytest.raises(StoreRolledBack, match="newer than its floor"):
            reopen()
        assert reopen(start_new_term=True).version == len(COMMITS) + 2

    def test_a_new_term_knows_of_no_change_of_a_level(self, tmp_path, reopen):
        """What the backup says of it would take the switches back to a level that they have left."""
        store = everything(tmp_path)
        assert store.load().level_changes
        old = (tmp_path / "keys" / "floor").read_bytes()
        store.commit((SetVersion(10, 50),))
        store.close()
        (tmp_path / "keys" / "floor").write_bytes(old)
        assert reopen(start_new_term=True).load().level_changes == ()

    def test_new_term_only_where_it_is_needed(self, tmp_path, reopen):
        everything(tmp_path).close()
        with pytest.raises(StoreError, match="acknowledged last"):
            reopen(start_new_term=True)
        assert contents(reopen().load()) == expected()[-1]

    def test_nothing_comes_back_with_a_backup(self, tmp_path, reopen):
        store = reopen()
        for commit in COMMITS[:3]:
            store.commit(commit)
        history = store.history
        store.close()
        backup(tmp_path)
        store = reopen()
        commit_all(store, lambda _: None, first=3)
        store.close()
        put_back(tmp_path)
        store = reopen(start_new_term=True)
        loaded = store.load()
        assert loaded.revocations == expected()[-1].revocations, "somebody is trusted again"
        assert (loaded.epochs, loaded.vaps) == ((), ())
        assert loaded.claims == expected()[3].claims
        assert loaded.history != history
        assert loaded.version == len(COMMITS) + 1, "agents refuse lower versions"
        assert dict(loaded.versions)[10] == 2 << 40
        with pytest.raises(StoreError):
            store.commit((PutEpoch(2, SECRETS[0]),))  # a number that an agent may know
        store.commit((PutEpoch((2 << 20) + 1, SECRETS[0]),))
        store.close()
        reopen()
        put_back(tmp_path)
        with pytest.raises(StoreRolledBack):
            reopen()

    def test_the_domain_file_of_a_backup_is_forgotten(self, tmp_path, reopen):
        store = reopen()
        store.commit((PutDomainFile("domain: lab.example"),))
        store.close()
        backup(tmp_path)
        store = reopen()
        store.commit((PutDomainFile("domain: lab.example  # leaf3 is out"),))
        store.close()
        put_back(tmp_path)
        assert reopen(start_new_term=True).load().domain_file == ""

    def test_a_list_of_revocations_that_was_cut_stops_a_new_term(self, tmp_path, reopen):
        reopen().close()
        backup(tmp_path)
        everything(tmp_path).close()
        put_back(tmp_path)
        listed = tmp_path / "keys" / "revocations"
        listed.write_bytes(listed.read_bytes().splitlines(keepends=True)[0])
        with pytest.raises(StoreCorrupt, match="who was revoked"):
            reopen(start_new_term=True)

    @pytest.mark.parametrize("edit", [b"leaf3", b"0a"])
    def test_an_edited_list_of_revocations_is_not_believed(self, tmp_path, reopen, edit):
        reopen().close()
        backup(tmp_path)
        everything(tmp_path).close()
        put_back(tmp_path)
        listed = tmp_path / "keys" / "revocations"
        listed.write_bytes(listed.read_bytes().replace(edit, b"x" * len(edit)))
        with pytest.raises(StoreCorrupt, match="who was revoked"):
            reopen(start_new_term=True)

    def test_a_list_that_was_lost_is_written_again(self, tmp_path, reopen):
        everything(tmp_path).close()
        listed = tmp_path / "keys" / "revocations"
        before = listed.read_bytes()
        listed.unlink()
        reopen().close()
        assert len(listed.read_bytes()) == len(before)


def put_everything_back(directory):
    """Database and keys together: nothing in them says that it happened."""
    for part in ("db", "keys"):
        shutil.rmtree(directory / part)
        shutil.copytree(directory / f"old-{part}", directory / part)


class TestHistory:
    """Database and keys were put back together: only who remembers better can tell."""

    def branched(self, tmp_path, reopen, later=3, other=3):
        """Digests of the history that was lost, of the one in its place with equal commits, and the store."""
        store = reopen()
        store.commit(COMMITS[0])
        store.close()
        for part in ("db", "keys"):
            shutil.copytree(tmp_path / part, tmp_path / f"old-{part}")
        store = reopen()
        digests = [[store.digest], [store.digest]]
        for number in range(later):
            store.commit((SetVersion(10, number + 1),))
            digests[0].append(store.digest)
        store.close()
        put_everything_back(tmp_path)
        store = reopen()
        assert store.digest == digests[0][0]
        for number in range(other):
            store.commit((SetVersion(10, number + 1),))
            digests[1].append(store.digest)
        return *digests, store

    def test_equal_commits_make_another_history(self, tmp_path, reopen):
        lost, other, store = self.branched(tmp_path, reopen)
        assert store.version == 4
        assert not set(lost[1:]) & set(other)

    def test_the_commits_count_as_well_as_the_random_bytes(self, tmp_path):
        """A machine that was copied while it ran draws the same bytes twice."""

        def digest(name, version):
            store = open_at(tmp_path / name, random_bytes=lambda length: b"r" * length)
            store.commit((SetVersion(10, version),))
            found = store.digest
            store.close()
            return found

        assert digest("one", 2) == digest("two", 2)
        assert digest("three", 3) != digest("four", 2)

    def test_a_restart_changes_nothing(self, tmp_path, reopen):
        store = everything(tmp_path)
        digest = store.digest
        store.close()
        assert reopen().digest == digest

    def test_a_commit_that_is_refused_changes_nothing(self, reopen):
        store = reopen()
        store.commit(COMMITS[0])
        digest = store.digest
        with pytest.raises(StoreError):
            store.commit((PutEpoch(1, SECRETS[0]),))
        assert store.digest == digest

    def test_a_new_term_needs_somebody_who_disputes_the_history(self, tmp_path, reopen):
        *_, store = self.branched(tmp_path, reopen)
        store.close()
        with pytest.raises(StoreError, match="acknowledged last"):
            reopen(start_new_term=True)
        store = reopen()
        store.commit((PutDispute("leaf1", 1, 4), PutTold("leaf1", 1, b"d" * 32)))
        before = store.load()
        store.close()
        loaded = reopen(start_new_term=True).load()
        assert (loaded.term, loaded.version) == (2, before.version + 1)
        assert (loaded.told, loaded.disputes) == ((), ()), "it is decided"
        assert (loaded.epochs, loaded.vaps) == ((), ())
        assert loaded.history != before.history
        with pytest.raises(StoreError, match="acknowledged last"):
            reopen(start_new_term=True)
        assert reopen().load() == loaded

    @pytest.mark.parametrize(("remembered", "term"), [(1, 2), (3, 4), (17, 18), (18, 2), (2**40, 2)])
    def test_a_new_term_is_above_what_is_remembered_within_reason(self, reopen, remembered, term):
        store = reopen()
        store.commit((PutDispute("leaf1", remembered, 4),))
        store.close()
        assert reopen(start_new_term=True).load().term == term


class TestDamage:
    def refused_or_the_same(self, directory):
        """Whatever was damaged: the store is refused for a reason, or nothing in it is different."""
        try:
            store = open_at(directory)
        except StoreError:
            return True
        try:
            assert contents(store.load()) == expected()[-1]
        except StoreError:
            return True
        finally:
            store.close()
        return False

    @pytest.mark.parametrize("file", ["db/nva.sqlite", "keys/floor", "keys/integrity.key", "keys/epoch-2.key"])
    def test_flipped_bits(self, memory_path, file):
        everything(memory_path).close()
        whole = memory_path / "whole"
        whole.mkdir()
        for part in ("db", "keys"):
            shutil.move(memory_path / part, whole / part)
        data = (whole / file).read_bytes()
        chosen = random.Random(1)
        used = [at for at in range(len(data)) if data[at]]
        places = chosen.sample(used, min(400, len(used))) + chosen.sample(range(len(data)), min(100, len(data)))
        refused = 0
        for at in places:
            directory = memory_path / "damaged"
            shutil.copytree(whole, directory)
            flipped = bytearray(data)
            flipped[at] ^= 1 << chosen.randrange(8)
            (directory / file).write_bytes(flipped)
            refused += self.refused_or_the_same(directory)
            shutil.rmtree(directory)
        if file != "keys/floor":  # one slot of a floor is enough, and both are right here
            assert refused > len(places) / 4

    def test_a_floor_with_two_bad_slots(self, tmp_path, reopen):
        everything(tmp_path).close()
        floor = tmp_path / "keys" / "floor"
        data = bytearray(floor.read_bytes())
        data[20] ^= 1
        data[512 + 20] ^= 1
        floor.write_bytes(data)
        with pytest.raises(StoreCorrupt, match="floor is damaged"):
            reopen()

    def test_a_flipped_bit_in_the_log_of_sqlite(self, memory_path):
        """The last commits may stand in the write-ahead log only. SQLite ignores a damaged one; the floor does not."""
        store = everything(memory_path)  # closing it would move the log into the database
        log = memory_path / "db" / "nva.sqlite-wal"
        data = log.read_bytes()
        refused = 0
        for at in random.Random(2).sample(range(len(data)), 60):
            directory = memory_path / "damaged"
            for part in ("db", "keys"):
                shutil.copytree(memory_path / part, directory / part)
            flipped = bytearray(data)
            flipped[at] ^= 1
            (directory / "db" / "nva.sqlite-wal").write_bytes(flipped)
            refused += self.refused_or_the_same(directory)
            shutil.rmtree(directory)
        assert refused > 30
        for part in ("db", "keys"):
            shutil.copytree(memory_path / part, memory_path / "damaged" / part)
        (memory_path / "damaged" / "db" / "nva.sqlite-wal").unlink()
        with pytest.raises(StoreError):
            open_at(memory_path / "damaged")
        store.close()

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE claim SET nve = 'thief'",
            "UPDATE claim SET granted = '10.6.6.6' WHERE granted IS NOT NULL",
            "UPDATE vap SET vni = 10, nve = 'thief' WHERE port = 1",
            "DELETE FROM revocation WHERE serial = '0a'",
            "DELETE FROM hold",
            "UPDATE generation SET generation = 1",
            "UPDATE vn SET version = 1",
            "UPDATE meta SET version = version + 1",
            "UPDATE meta SET revocations = 0",
            "UPDATE epoch SET secret = zeroblob(60)",
            "DROP INDEX one_owner",
            "UPDATE chain SET digest = zeroblob(32)",
            "UPDATE told SET version = version + 1",
            "DELETE FROM told",
            "UPDATE certificate SET suspended = ''",
            "DELETE FROM certificate",
            "INSERT INTO dispute SELECT nve, 1, version, tag FROM told",
            "INSERT INTO revocation SELECT identity || 'x', serial, tag FROM revocation LIMIT 1",
        ],
    )
    def test_rows_that_somebody_else_wrote(self, tmp_path, reopen, statement):
        everything(tmp_path).close()
        with sqlite3.connect(tmp_path / "db" / "nva.sqlite") as connection:
            assert connection.execute(statement).rowcount != 0
        connection.close()
        with pytest.raises(StoreCorrupt, match="damaged"):
            reopen()

    def test_values_of_a_type_that_no_table_has(self, tmp_path, reopen):
        """Whoever rewrites the definition, and so gets around STRICT, gets no further."""
        everything(tmp_path).close()
        with sqlite3.connect(tmp_path / "db" / "nva.sqlite") as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'vn'")
        connection.close()
        with sqlite3.connect(tmp_path / "db" / "nva.sqlite") as connection:
            connection.execute("UPDATE vn SET version = 1.5")
        connection.close()
        with pytest.raises(StoreCorrupt, match="a row of vn was changed"):
            reopen()

    def test_not_a_database(self, tmp_path, reopen):
        everything(tmp_path).close()
        (tmp_path / "db" / "nva.sqlite").write_bytes(b"not a database" * 1000)
        with pytest.raises(StoreCorrupt):
            reopen()

    def test_a_lost_wrapping_key(self, tmp_path, reopen):
        everything(tmp_path).close()
        (tmp_path / "keys" / "epoch-2.key").unlink()
        with pytest.raises(StoreCorrupt, match="wrapping key of epoch 2"):
            reopen().load()

    def test_lost_keys(self, tmp_path, reopen):
        everything(tmp_path).close()
        shutil.rmtree(tmp_path / "keys")
        with pytest.raises(StoreCorrupt, match=r"integrity key: .* put back the key directory .* move both away"):
            reopen()

    def test_an_error_of_the_disk_closes_the_store(self, tmp_path, reopen, monkeypatch):
        store = everything(tmp_path)

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", full)
            with pytest.raises(StoreUnavailable, match="No space left"):
                store.commit((SetVersion(10, 60),))
        with pytest.raises(StoreUnavailable, match="closed"):
            store.commit((SetVersion(10, 60),))
        assert dict(reopen().load().versions)[10] == dict(expected()[-1].versions)[10]


class TestVerified:
    """Everything is verified when a store is opened: once, for it takes seconds where there are 100,000 mappings."""

    @pytest.fixture
    def verified(self, monkeypatch):
        counted, verify = [], Database.verify

        def counting(database):
            counted.append(database)
            return verify(database)

        monkeypatch.setattr(Database, "verify", counting)
        return counted

    def test_once_before_it_is_used(self, tmp_path, reopen, verified):
        everything(tmp_path).close()
        verified.clear()
        store = reopen()
        assert len(verified) == 1
        assert contents(store.load()) == expected()[-1]
        assert len(verified) == 1
        assert contents(store.load()) == expected()[-1], "whoever asks again gets it again, from the disk"
        assert len(verified) == 2

    def test_what_was_verified_is_nothing_after_a_commit(self, tmp_path, reopen):
        everything(tmp_path).close()
        store = reopen()
        store.commit((SetVersion(10, 99),))
        assert store.load().versions == ((10, 99),)

    def test_a_new_schema_is_verified_too(self, tmp_path, reopen, verified):
        everything(tmp_path).close()
        verified.clear()
        store = reopen(migrations=MIGRATED)
        assert len(verified) == 2
        with pytest.raises(StoreCorrupt, match="cannot read"):
            store.load()  # this program does not know the column that it would find

    def test_a_revocation_that_only_the_list_had(self, tmp_path, reopen):
        everything(tmp_path).close()
        store = reopen()
        late = Revocation("nvo3://lab.example/nve/leaf9", "0b")
        store._revocations.append([late])
        store = reopen()
        assert late in store.load().revocations

    def test_of_a_claim_that_has_a_part(self, tmp_path, reopen):
        store = reopen()
        part = replace(OLD, granted=OLD.announced[:1])
        store.commit((PutVap(PLACES[0], 10), PutClaim(part)))
        assert reopen().load().claims == (part,)


class TestFiles:
    def test_modes(self, tmp_path):
        os.umask(old := os.umask(0))
        try:
            os.umask(0)
            store = everything(tmp_path)
        finally:
            os.umask(old)
        for directory in ("db", "keys"):
            assert stat.S_IMODE((tmp_path / directory).stat().st_mode) == 0o700
            for path in (tmp_path / directory).iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        store.close()

    @pytest.mark.parametrize(
        "path", ["db", "keys", "db/nva.sqlite", "keys/floor", "keys/integrity.key", "keys/revocations"]
    )
    @pytest.mark.parametrize("bit", [0o040, 0o004, 0o002])
    def test_open_to_others(self, tmp_path, reopen, path, bit):
        everything(tmp_path).close()
        (tmp_path / path).chmod((tmp_path / path).stat().st_mode & 0o777 | bit)
        with pytest.raises(StoreUnavailable, match=r"mode 0[67]00"):
            reopen()

    @pytest.mark.parametrize("inside", ["db", "db/keys"])
    def test_keys_beside_the_database(self, tmp_path, inside):
        with pytest.raises(StoreUnavailable, match="inside of"):
            open_store(tmp_path / "db" / "nva.sqlite", tmp_path / inside, DOMAIN)

    def test_a_link_in_the_place_of_a_key(self, tmp_path, reopen):
        everything(tmp_path).close()
        (tmp_path / "keys" / "integrity.key").rename(tmp_path / "elsewhere")
        (tmp_path / "keys" / "integrity.key").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailable):
            reopen()

    def test_one_process(self, tmp_path, reopen):
        store = reopen()
        code = (
            "import sys; from pathlib import Path; from nvo3sec.nva.store import open_store\n"
            f"open_store(Path({str(tmp_path)!r}) / 'db' / 'nva.sqlite', Path({str(tmp_path)!r}) / 'keys', {DOMAIN!r})"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert "another process has this store open" in other.stderr
        store.commit(COMMITS[0])

    def test_another_domain(self, tmp_path, reopen):
        reopen().close()
        with pytest.raises(StoreUnavailable, match="is the database of domain"):
            open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", "other.example")


class TestWhy:
    """What is wrong with a database that cannot be written, in words of an operator."""

    @pytest.mark.parametrize("part", ["db/nva.sqlite", "db"])
    def test_read_only(self, tmp_path, reopen, monkeypatch, part):
        everything(tmp_path).close()
        # Root may write whatever the mode is; only what the system says of a read-only file system stops it.
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / part and access(path, mode))
        with pytest.raises(
            StoreUnavailable, match=f"{part}: is read-only, for this user or with its whole file system"
        ):
            reopen()

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("SQLITE_IOERR_WRITE", "disk I/O error", "the disk has failed, is full, or is read-only by now"),
            ("SQLITE_READONLY", "attempt to write a readonly database", "its file system is read-only"),
            ("SQLITE_FULL", "database or disk is full", "or a quota is used up"),
            ("SQLITE_CANTOPEN", "unable to open database file", "cannot be opened"),
        ],
    )
    def test_an_error_of_sqlite(self, name, text, said):
        error = sqlite3.OperationalError(text)
        error.sqlite_errorname = name
        found = str(database._translated(Path("nva.sqlite"), error))
        assert found.startswith(f"nva.sqlite: {text} ({name}): ")
        assert said in found


class TestSecrets:
    def raw(self, directory):
        return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())

    def test_not_in_any_file(self, tmp_path):
        store = open_at(tmp_path)
        for commit in COMMITS:
            store.commit(commit)
            raw = self.raw(tmp_path)
            assert all(secret.reveal() not in raw for secret in SECRETS)
            assert all(secret.reveal()[:12] not in raw for secret in SECRETS)
        store.close()
        assert all(secret.reveal()[:12] not in self.raw(tmp_path) for secret in SECRETS)

    def test_wrapping_keys_not_beside_the_database(self, tmp_path):
        store = everything(tmp_path)
        wrapping = [path.read_bytes() for path in (tmp_path / "keys").glob("*.key")]
        assert len(wrapping) == 2
        store.close()
        assert all(key not in self.raw(tmp_path / "db") for key in wrapping)

    def test_an_epoch_that_is_over_opens_with_nothing(self, tmp_path, reopen):
        """Even with a backup of the database, and the keys as they are now."""
        store = reopen()
        store.commit((PutEpoch(1, SECRETS[0]),))
        store.close()
        backup(tmp_path)
        wrapping = (tmp_path / "keys" / "epoch-1.key").read_bytes()
        store = reopen()
        store.commit((DropEpoch(1),))
        assert not (tmp_path / "keys" / "epoch-1.key").exists()
        assert wrapping not in self.raw(tmp_path / "keys")

    def test_a_sealed_secret_belongs_to_its_epoch_and_domain(self, tmp_path):
        from nvo3sec.nva.store.sqlite.keyring import Keyring

        ring = Keyring(tmp_path, "one.example")
        sealed = ring.seal(1, SECRETS[0])
        assert ring.unseal(1, sealed) == SECRETS[0]
        shutil.copy(tmp_path / "epoch-1.key", tmp_path / "epoch-2.key")
        for other, epoch in ((ring, 2), (Keyring(tmp_path, "two.example"), 1)):
            with pytest.raises(StoreCorrupt) as refused:
                other.unseal(epoch, sealed)
            assert SECRETS[0].reveal().hex() not in str(refused.value)

    def test_not_in_errors(self, tmp_path, reopen):
        store = reopen()
        store.commit((PutEpoch(1, SECRETS[0]),))
        with pytest.raises(StoreError) as refused:
            store.commit((PutEpoch(1, Secret(b"marked secret" * 2)),))
        assert "marked" not in repr(refused.value)
        assert "marked" not in repr(PutEpoch(1, Secret(b"marked secret" * 2)))

    @pytest.mark.parametrize("identity", ["", "a\tb", "a\nb", "ä"])
    def test_an_identity_that_would_break_the_list(self, tmp_path, reopen, identity):
        with pytest.raises(StoreError):
            reopen().commit((Revoke(Revocation(identity)),))


def write_as_before(store, change):
    """A commit as it was made when there was no chain of digests."""
    database = store._database
    database.begin()
    for operation in plan(change, database):
        database.apply(operation)
    store._finish(database.prepare(), (), destroys=False)


class TestSchema:
    @pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
    def test_of_an_earlier_version(self, tmp_path, reopen, version):
        store = reopen(migrations=MIGRATIONS[:version])
        write_as_before(store, PutVap(PLACES[0], 10))
        store.close()
        store = reopen()
        stored = store.load()
        assert (stored.vaps, stored.domain_file, stored.told) == (((PLACES[0], 10),), "", ())
        digest = store.digest
        assert len(digest) == 32
        store.commit((PutTold("leaf1", stored.version, digest),))
        assert store.digest != digest
        store.close()
        assert reopen().load().told == (("leaf1", stored.version, digest),)

    def test_migration(self, tmp_path, reopen):
        everything(tmp_path).close()
        store = reopen(migrations=MIGRATED)
        assert all(row[-1] == "none" for row in store._database.verify()["hold"])
        store.close()
        with pytest.raises(StoreTooNew, match=rf"schema {len(MIGRATED)}; .* up to {len(MIGRATIONS)}"):
            reopen()
        reopen(migrations=MIGRATED)

    def test_a_migration_that_fails_changes_nothing(self, tmp_path, reopen):
        everything(tmp_path).close()
        broken = (*MIGRATIONS, ("DELETE FROM claim", "SELECT nonsense"))
        with pytest.raises(StoreError):
            reopen(migrations=broken)
        assert contents(reopen().load()) == expected()[-1]

    def test_a_backup_is_not_migrated_into_trust(self, tmp_path, reopen):
        reopen().close()
        backup(tmp_path)
        everything(tmp_path).close()
        put_back(tmp_path)
        with pytest.raises(StoreRolledBack):
            reopen(migrations=MIGRATED)

    def test_rows_have_the_columns_that_the_tables_say(self, tmp_path, reopen):
        store = reopen()
        for table in TABLES:
            found = store._database._connection.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert tuple(column[1] for column in found if column[1] != "tag") == table.columns
            assert {column[1] for column in found if column[5]} == set(table.columns[: table.key_columns])

    def test_full_durability(self, tmp_path, reopen):
        connection = reopen()._database._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
