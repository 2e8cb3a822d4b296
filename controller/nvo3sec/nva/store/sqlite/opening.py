# SPDX-License-Identifier: Apache-2.0
"""Opening a store: is its database the one that was acknowledged? Finish what a crash left, or refuse."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from nvo3sec.domain.mapping import TERM_SHIFT
from nvo3sec.nva.store.errors import StoreCorrupt, StoreError, StoreRolledBack, StoreTooNew, StoreUnavailable
from nvo3sec.nva.store.records import Revocation, Revoke
from nvo3sec.nva.store.sqlite import files
from nvo3sec.nva.store.sqlite.database import Database, Meta
from nvo3sec.nva.store.sqlite.floor import Floor, FloorState, Mark
from nvo3sec.nva.store.sqlite.keyring import Keyring
from nvo3sec.nva.store.sqlite.revocations import RevocationList
from nvo3sec.nva.store.sqlite.schema import MIGRATIONS, Migrations
from nvo3sec.nva.store.sqlite.store import NONCE_BYTES, Point, SqliteStore
from nvo3sec.nva.store.tables import (
    DISPUTE,
    DOCUMENT,
    EPOCH,
    LAST_EPOCH,
    LEVEL,
    MARK,
    REVOCATION,
    TOLD,
    VAP,
    VN,
    Delete,
    Row,
    Write,
)

HISTORY_BYTES = 16
EPOCHS_SHIFT = 20
"""Epochs of a new term are numbered from term << 20 on, above all that an older term can have had."""
TERMS_AHEAD = 16
"""How many terms an NVE is believed that the store had come further: a term that is too high cannot be taken back."""


def _nothing(_: Point) -> None:
    return None


def open_store(
    path: Path,
    keys: Path,
    domain: str,
    *,
    start_new_term: bool = False,
    random_bytes: Callable[[int], bytes] = os.urandom,
    migrations: Migrations = MIGRATIONS,
    at: Callable[[Point], None] = _nothing,
) -> SqliteStore:
    """Open the database at `path` with the key directory `keys`; both are made if neither was ever there.

    The key directory must be outside of the database's directory, and out of its backups. A database that is not what
    was acknowledged last is refused (StoreRolledBack): an older one, one that lived elsewhere in between, or none.

    start_new_term: an operator's decision to go on with such a database, or without one where it is lost. Everything is
    keyed anew: its epochs, and keys in use, are gone. Who serves which VN is forgotten and has to be configured again,
    since an old answer could give back what was taken. Revocations stay, also those that only the newer database had;
    if they are not all known the store is not opened. Mappings of the backup are kept as the claims that they are.
    Where database and keys were put back together, nothing in them says so: then it is enough that an NVE has disputed
    the store's history; revocations that neither has are not known to anybody. Raises StoreError if there is nothing
    wrong with the database.

    at: called at each `Point`. Raises StoreError.
    """
    files.private_directory(path.parent)
    files.private_directory(keys)
    if keys.resolve().is_relative_to(path.parent.resolve()):
        raise StoreUnavailable(f"{keys} is inside of {path.parent}: a backup of the database would hold its keys")
    keyring = Keyring(keys, domain, random_bytes)
    floor = Floor(keyring)
    try:
        return _StoreOpening(path, keyring, floor, domain, random_bytes, migrations, at).open(start_new_term)
    except BaseException:
        floor.close()
        raise


class _StoreOpening:
    def __init__(
        self,
        path: Path,
        keyring: Keyring,
        floor: Floor,
        domain: str,
        random_bytes: Callable[[int], bytes],
        migrations: Migrations,
        at: Callable[[Point], None],
    ) -> None:
        self._path = path
        self._keyring = keyring
        self._floor = floor
        self._domain = domain
        self._random_bytes = random_bytes
        self._migrations = migrations
        self._at = at
        self._revocations = RevocationList(keyring)

    def open(self, start_new_term: bool) -> SqliteStore:
        has_database = self._path.exists() and self._path.stat().st_size > 0
        if not self._keyring.load():
            if has_database or not self._floor.is_empty:
                raise StoreCorrupt(f"{self._keyring.path} has no integrity key: nothing can be verified; {_KEYS_LOST}")
            self._keyring.create()
            self._at(Point.INTEGRITY_KEY_MADE)
        self._floor.read()
        self._revocations.read()
        if not has_database and self._floor.state is not None and not start_new_term:
            raise StoreRolledBack(f"{self._path} is missing, and there was one: {_ADVICE}")
        database = Database(self._path, self._keyring, create=not has_database)
        try:
            self._create_if_empty(database)
            rows = self._recover(database, start_new_term)
            store = SqliteStore(
                database, self._keyring, self._floor, self._revocations, self._at, rows, self._random_bytes
            )
            self._complete_revocations(rows, store)
            return store
        except sqlite3.Error as error:
            database.close()
            raise StoreUnavailable(f"{self._path}: {error}") from None
        except BaseException:
            database.close()
            raise

    def _create_if_empty(self, database: Database) -> None:
        schema = database.schema
        if schema > len(self._migrations):
            raise StoreTooNew(
                f"{self._path} has schema {schema}; this program knows schemas up to {len(self._migrations)}"
            )
        if schema:
            return
        self._at(Point.DATABASE_FILE_MADE)
        meta = Meta(self._domain, self._random_bytes(HISTORY_BYTES), 1, 0, 0)
        database.create(meta, self._migrations, lambda: self._at(Point.SCHEMA_WRITTEN))
        self._at(Point.SCHEMA_COMMITTED)

    def _recover(self, database: Database, start_new_term: bool) -> dict[str, list[Row]]:
        """Returns the rows as they are in the end, verified: once, unless the schema or the term is another."""
        rows, found = database.verify(), database.schema
        if database.meta.domain != self._domain:
            raise StoreUnavailable(f"{self._path} is the database of domain {database.meta.domain}")
        refusal = below(self._floor.state, database.mark)
        if refusal is not None:
            if not start_new_term:
                raise StoreRolledBack(f"{self._path} {refusal}: {_ADVICE}")
            self._upgrade(database, None)
        else:
            if start_new_term and not rows.get(DISPUTE.name):
                raise StoreError(f"{self._path} is what was acknowledged last; open it without --start-new-term")
            self._settle(database.mark, Point.FLOOR_MADE if self._floor.state is None else Point.RECOVERED)
            self._upgrade(database, database.mark)
        if start_new_term:
            self._start_new_term(database)
        self._keyring.destroy_all_but(database.epochs())
        files.remove_drafts(self._keyring.path)
        self._at(Point.ORPHANS_DESTROYED)
        return rows if not start_new_term and database.schema == found else database.verify()

    def _settle(self, mark: Mark, point: Point) -> None:
        if self._floor.state != FloorState(mark):
            self._floor.write(FloorState(mark))
            self._at(point)

    def _upgrade(self, database: Database, settled: Mark | None) -> None:
        """settled: None for a database that is below the floor and stays there, whatever its schema."""
        if database.schema == len(self._migrations):
            return

        def about_to_commit(mark: Mark) -> None:
            self._at(Point.SCHEMA_WRITTEN)
            if settled is not None:
                self._floor.write(FloorState(settled, mark))

        version = database.meta.version + 1
        database.upgrade(self._migrations, version, about_to_commit)
        self._at(Point.SCHEMA_COMMITTED)
        if settled is not None:
            self._settle(database.mark, Point.MIGRATED)

    def _start_new_term(self, database: Database) -> None:
        floor = self._floor.state
        rows = database.verify()
        stored = [Revocation(identity, serial) for identity, serial in rows[REVOCATION.name]]
        revocations = dict.fromkeys((*stored, *self._revocations.entries))
        if floor is None or len(revocations) < floor.highest.revocations:
            raise StoreCorrupt(
                f"{self._keyring.path} does not say any more who was revoked. Begin with a new database and new keys,"
                " and enrol every device anew"
            )
        term = max(database.meta.term, floor.highest.term)
        term = max([term, *(one for _, one, _ in rows[DISPUTE.name] if one <= term + TERMS_AHEAD)]) + 1
        version = max(database.meta.version, floor.highest.version) + 1
        database.begin()
        # What NVEs were told of other terms is theirs to forget.
        for table in (EPOCH, VAP, TOLD, DISPUTE):
            for row in rows[table.name]:
                database.apply(Delete(table, table.key_of(row)))
        # The file as well: it said who serves which VN.
        for row in rows[DOCUMENT.name]:
            database.apply(Delete(DOCUMENT, DOCUMENT.key_of(row)))
        # And how far levels had come: the switches are further. They are what the file says, at once.
        for row in rows[MARK.name]:
            if row[0].startswith(LEVEL):
                database.apply(Delete(MARK, MARK.key_of(row)))
        for vni, vn_version in rows[VN.name]:
            database.apply(Write(VN, (vni, max(vn_version, term << TERM_SHIFT))))
        database.apply(Write(MARK, (LAST_EPOCH, term << EPOCHS_SHIFT)))
        for one in revocations:
            database.apply(Write(REVOCATION, (one.identity, one.serial)))
        database.advance(self._random_bytes(NONCE_BYTES))
        mark = database.prepare(history=self._random_bytes(HISTORY_BYTES), term=term, version=version)
        self._at(Point.TERM_WRITTEN)
        # What was settled stays so: until the commit, this database is refused like before.
        self._floor.write(FloorState(floor.settled, mark))
        self._at(Point.TERM_INTENDED)
        database.commit()
        self._at(Point.TERM_COMMITTED)
        self._settle(mark, Point.RECOVERED)

    def _complete_revocations(self, rows: Mapping[str, list[Row]], store: SqliteStore) -> None:
        """A crash can have come between the list and the database; either one is completed from the other."""
        stored = [Revocation(identity, serial) for identity, serial in rows[REVOCATION.name]]
        known = set(stored)
        store.commit([Revoke(one) for one in self._revocations.entries if one not in known])
        self._revocations.append(stored)


_ADVICE = (
    "put the newest database back. If there is none, `nva run --start-new-term` starts a new term from this one:"
    " everything is keyed anew, nobody who was revoked is trusted again, and the domain file has to be applied again"
)
_KEYS_LOST = (
    "put back the key directory that belongs to the database. Without it the database is of no use, with a new term"
    ' neither: to begin anew, move both away, and go on as docs/operating.md says under "Starting"'
)


def below(floor: FloorState | None, mark: Mark) -> str | None:
    """Why a database with `mark` must not be believed, or None."""
    if floor is None:
        return None if mark.version == 0 else "has no floor beside its keys, so nobody knows how new it must be"
    if mark.digest in (floor.settled.digest, floor.highest.digest):
        return None
    wanted = floor.settled
    if (mark.term, mark.version) > (floor.highest.term, floor.highest.version):
        # No crash leaves this: a commit is not begun before the floor of the one before is on the disk.
        what = "is newer than its floor: it was used elsewhere, or its key directory is from a backup"
    else:
        what = "is older than what was acknowledged, or another one"
    return (
        f"{what}. It has version {mark.version} of term {mark.term} with {mark.revocations} revocations, and must have"
        f" version {wanted.version} of term {wanted.term} with {wanted.revocations}"
    )
