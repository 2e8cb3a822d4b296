# SPDX-License-Identifier: Apache-2.0
"""The store of a single NVA: SQLite, sealed secrets, and a floor below which no database is believed.

A commit, in the order in which things reach the disk; `Point` names the moments between them:

    1. wrapping keys of new epochs       a key without its epoch is destroyed at the next opening
    2. revocations, beside the keys      one without its row is stored at the next opening
    3. the floor: what is intended
    4. the transaction of SQLite         from here on it has happened
    5. the floor: settled                from here on no older database is accepted, and the caller is told
    6. wrapping keys of epochs that ended are destroyed; the next opening does what this did not get to

`opening` makes one from what it finds on the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum, unique

from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.nva.store.errors import ChangeRefused, StoreCorrupt, StoreUnavailable
from nvo3sec.nva.store.records import DropEpoch, PutEpoch, Revocation, Revoke, StoreChange, Stored
from nvo3sec.nva.store.sqlite.database import Database, explained
from nvo3sec.nva.store.sqlite.floor import Floor, FloorState, Mark
from nvo3sec.nva.store.sqlite.keyring import Keyring
from nvo3sec.nva.store.sqlite.revocations import RevocationList, check_revocations
from nvo3sec.nva.store.tables import DOCUMENT, DOMAIN_FILE, EPOCH, HELD, Delete, Row, Write, held, plan, stored

NONCE_BYTES = 32
"""Random bytes of each commit."""


@unique
class Point(StrEnum):
    """Moments at which a process can die between two things that reach the disk."""

    INTEGRITY_KEY_MADE = "integrity-key-made"
    DATABASE_FILE_MADE = "database-file-made"
    SCHEMA_WRITTEN = "schema-written"
    SCHEMA_COMMITTED = "schema-committed"
    FLOOR_MADE = "floor-made"
    RECOVERED = "recovered"
    MIGRATED = "migrated"
    ORPHANS_DESTROYED = "orphans-destroyed"
    TERM_WRITTEN = "term-written"
    TERM_INTENDED = "term-intended"
    TERM_COMMITTED = "term-committed"
    WRAPPING_KEYS_MADE = "wrapping-keys-made"
    CHANGES_WRITTEN = "changes-written"
    REVOCATIONS_LISTED = "revocations-listed"
    INTENDED = "intended"
    COMMITTED = "committed"
    SETTLED = "settled"
    WRAPPING_KEYS_DESTROYED = "wrapping-keys-destroyed"


class SqliteStore:
    """An open store. One process, one thread at a time."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        floor: Floor,
        revocations: RevocationList,
        at: Callable[[Point], None],
        verified: dict[str, list[Row]],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Of files that `opening` has found to belong together. verified: all rows, as `Database.verify` gave them."""
        self._database = database
        self._keyring = keyring
        self._floor = floor
        self._revocations = revocations
        self._at = at
        self._verified: dict[str, list[Row]] | None = verified
        self._random_bytes = random_bytes
        self._is_open = True

    @property
    def durable(self) -> bool:
        """True: a commit outlives the process and the machine's power."""
        return True

    @property
    def version(self) -> int:
        """Number of the last commit."""
        return self._database.meta.version

    @property
    def history(self) -> bytes:
        """16 bytes that only this line of commits has."""
        return self._database.meta.history

    @property
    def digest(self) -> bytes:
        """32 bytes that only this line of commits has at this version."""
        self._require_open()
        with self._or_close():
            return self._database.digest

    @property
    def domain_file(self) -> str:
        """The text of the domain file that is applied, or "". It was verified when the store was opened."""
        self._require_open()
        with self._or_close():
            row = self._database.get(DOCUMENT, (DOMAIN_FILE,))
        return "" if row is None else str(row[1])

    @property
    def held(self) -> tuple[tuple[Meaning, tuple[str, ...]], ...]:
        """Numbers that may still stand for what they stood for, and where. Verified when the store was opened."""
        self._require_open()
        with self._or_close():
            rows = self._database.rows(HELD)
        return held(rows)

    def load(self) -> Stored:
        """Everything, verified. Raises StoreError."""
        self._require_open()
        # The file is locked since it was verified: the first to ask gets those rows, and need not wait for them twice.
        rows, self._verified = self._verified or self._database.verify(), None
        meta = self._database.meta
        rows[EPOCH.name] = [
            (number, self._keyring.unseal(number, sealed), began) for number, sealed, began in rows[EPOCH.name]
        ]
        try:
            return stored(meta.history, meta.term, meta.version, rows)
        except (ValueError, TypeError):
            raise StoreCorrupt(f"{self._database.path} holds rows that this program cannot read") from None

    def commit(self, changes: Sequence[StoreChange]) -> int:
        """See `Store.commit`. Raises ChangeRefused, StoreUnavailable."""
        self._require_open()
        if not changes:
            return self.version
        self._verified = None
        revoked = [change.revocation for change in changes if isinstance(change, Revoke)]
        check_revocations(revoked)
        made = [change.number for change in changes if isinstance(change, PutEpoch)]
        try:
            self._database.begin()
            for change in changes:
                for operation in plan(change, self._database):
                    self._database.apply(self._sealed(operation))
            if made:
                self._at(Point.WRAPPING_KEYS_MADE)
            self._database.advance(self._random_bytes(NONCE_BYTES))
            mark = self._database.prepare()
        except (ChangeRefused, sqlite3.IntegrityError, OverflowError) as error:
            self._undo(made)
            if isinstance(error, ChangeRefused):
                raise
            raise ChangeRefused("the commit contradicts what is stored") from None
        except sqlite3.Error as error:
            self.close()
            raise self._unavailable(error) from None
        except BaseException:
            self.close()
            raise
        self._finish(mark, revoked, destroys=any(isinstance(change, DropEpoch) for change in changes))
        return self.version

    def _finish(self, mark: Mark, revoked: Sequence[Revocation], *, destroys: bool) -> None:
        with self._or_close():
            self._at(Point.CHANGES_WRITTEN)
            if revoked:
                self._revocations.append(revoked)
                self._at(Point.REVOCATIONS_LISTED)
            assert self._floor.state is not None
            settled = self._floor.state.settled
            self._floor.write(FloorState(settled, mark))
            self._at(Point.INTENDED)
            self._database.commit()
            self._at(Point.COMMITTED)
            self._floor.write(FloorState(mark))
            self._at(Point.SETTLED)
            if destroys:
                self._destroy_orphans()
                self._at(Point.WRAPPING_KEYS_DESTROYED)

    def _sealed(self, operation: Write | Delete) -> Write | Delete:
        if isinstance(operation, Write) and operation.table is EPOCH:
            number, secret, began = operation.row
            return Write(EPOCH, (number, self._keyring.seal(number, secret), began))
        return operation

    def _undo(self, made: list[int]) -> None:
        with self._or_close():
            self._database.rollback()
            if made:
                self._destroy_orphans()

    def _destroy_orphans(self) -> None:
        self._keyring.destroy_all_but(self._database.epochs())

    @contextmanager
    def _or_close(self) -> Iterator[None]:
        """After an error of the disk nobody knows what has reached it: the store is closed, and says no more."""
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise self._unavailable(error) from None
        except BaseException:
            self.close()
            raise

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        return StoreUnavailable(f"{self._database.path}: {explained(error)}; the store is closed")

    def _require_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")

    def close(self) -> None:
        """Close the files."""
        if self._is_open:
            self._is_open = False
            self._database.close()
            self._floor.close()
