# SPDX-License-Identifier: Apache-2.0
"""One SQLite file with authenticated rows. Knows tables and tags; nothing of floors, or of what the rows mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.nva.store.errors import StoreCorrupt, StoreUnavailable
from nvo3sec.nva.store.sqlite import files
from nvo3sec.nva.store.sqlite.floor import Mark
from nvo3sec.nva.store.sqlite.keyring import TAG_BYTES, Keyring
from nvo3sec.nva.store.sqlite.schema import Migrations, migrate, schema_version
from nvo3sec.nva.store.tables import CHAIN, CLAIM, TABLES, Delete, Row, Table, Write

_MODULUS = 1 << 8 * TAG_BYTES
_SQLITE = (3, 37)
_INITIALS = {int: b"i", str: b"s", bytes: b"b", type(None): b"N"}
"""What stands for the type of a value under a tag: its first letter, of those that a sound database has."""
_ROW = b"row"
_META = b"meta"
_CHAIN = b"nvo3sec store chain v1"
_ONE = 1

_SELECT = {t.name: f"SELECT {', '.join(t.columns)}, tag FROM {t.name}" for t in TABLES}  # noqa: S608  names of our own
_WHERE = {t.name: " AND ".join(f"{column} = ?" for column in t.columns[: t.key_columns]) for t in TABLES}
_GET = {t.name: f"{_SELECT[t.name]} WHERE {_WHERE[t.name]}" for t in TABLES}
_PUT = {
    t.name: f"INSERT INTO {t.name} ({', '.join(t.columns)}, tag) VALUES ({', '.join('?' * (len(t.columns) + 1))})"  # noqa: S608
    # Not the key's columns: SQLite would look through every table that refers to them.
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in (*t.columns[t.key_columns :], 'tag'))}"
    for t in TABLES
}
_DELETE = {t.name: f"DELETE FROM {t.name} WHERE {_WHERE[t.name]}" for t in TABLES}  # noqa: S608

_WRITES = "an NVA writes into its database, and into files beside it"
_CAUSES = {
    "SQLITE_READONLY": f"the database, its directory or its file system is read-only; {_WRITES}",
    "SQLITE_FULL": "the disk is full, or a quota is used up",
    "SQLITE_CANTOPEN": f"the file or one beside it cannot be opened; {_WRITES}",
    "SQLITE_IOERR": f"the disk has failed, is full, or is read-only by now; {_WRITES}",
}
"""What the errors of SQLite, by how their names begin, mean for an operator."""


@dataclass(frozen=True)
class Meta:
    """What a database says about itself. total: sum of the tags of all rows, modulo 2^256."""

    domain: str
    history: bytes
    term: int
    version: int
    revocations: int
    total: bytes = bytes(TAG_BYTES)

    def encoded(self) -> bytes:
        """All of it, unambiguously."""
        return _encode((self.domain, self.history, self.term, self.version, self.revocations, self.total))


class Database:
    """An open database. Every write belongs to a transaction: `begin`, `put` and `delete`, `prepare`, `commit`."""

    def __init__(self, path: Path, keyring: Keyring, *, create: bool) -> None:
        """Open the file; `create` allows that it is not there. Raises StoreUnavailable, StoreCorrupt."""
        self._keyring = keyring
        self.path = path
        try:
            if create and not path.exists():
                # SQLite would use the umask; its side files take the mode of this one.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.PRIVATE_FILE))
                files.sync_directory(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror}") from None
        for place in (path, path.parent):
            if place.exists() and not os.access(place, os.W_OK):
                raise StoreUnavailable(f"{place}: is read-only, for this user or with its whole file system; {_WRITES}")
        for one in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))):
            if one.exists():
                files.check_private(one)
        if sqlite3.sqlite_version_info < _SQLITE:
            raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; STRICT tables need 3.37")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        self._meta: Meta | None = None
        self._pending: Meta | None = None
        try:
            with _understood(path):
                self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        # One process, one connection: no shared memory, and nobody reads past this process.
        for pragma, wanted in (
            ("locking_mode = EXCLUSIVE", "exclusive"),
            ("journal_mode = WAL", "wal"),
        ):
            got = self._connection.execute(f"PRAGMA {pragma}").fetchone()
            if got != (wanted,):
                raise StoreUnavailable(f"{self.path}: SQLite does not do {pragma} here")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA trusted_schema = OFF")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute("PRAGMA cell_size_check = ON")

    @property
    def schema(self) -> int:
        """Version of its schema; 0: it is empty. Raises StoreCorrupt."""
        with _understood(self.path):
            return schema_version(self._connection)

    def create(self, meta: Meta, migrations: Migrations, about_to_commit: Callable[[], None]) -> None:
        """Make an empty database one that says `meta` about itself. Raises StoreError."""

        def complete() -> None:
            self._write_meta(replace(meta, total=_summed(self._schema_total())))
            about_to_commit()

        self._migrate(migrations, complete)

    def upgrade(self, migrations: Migrations, version: int, about_to_commit: Callable[[Mark], None]) -> None:
        """Bring the schema up to date, in a commit like any other; the database has `version` afterwards.

        about_to_commit gets the mark that it will have. `verify` first. Raises StoreError.
        """

        def complete() -> None:
            self._total = self._schema_total()
            for name, select in self._tagged_tables():
                keys = [row[1] for row in self._connection.execute(f"PRAGMA table_info({name})") if row[5]]
                columns = select.removeprefix("SELECT ").split(", tag FROM")[0].split(", ")
                where = " AND ".join(f"{key} = ?" for key in keys)
                for *values, _ in self._connection.execute(select).fetchall():
                    tag = self._tag(name, tuple(values))
                    self._total += int.from_bytes(tag, "big")
                    named = dict(zip(columns, values, strict=True))
                    self._connection.execute(
                        f"UPDATE {name} SET tag = ? WHERE {where}",  # noqa: S608  names of our own
                        (tag, *(named[key] for key in keys)),
                    )
            about_to_commit(self.prepare(version=version))

        self._migrate(migrations, complete)
        self._meta, self._pending = self._pending, None

    def _migrate(self, migrations: Migrations, complete: Callable[[], None]) -> None:
        with _understood(self.path):
            migrate(self._connection, migrations, complete)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def meta(self) -> Meta:
        """As it was committed last. `verify` first."""
        assert self._meta is not None
        return self._meta

    @property
    def mark(self) -> Mark:
        """The mark of what was committed last."""
        return self._mark_of(self.meta)

    def _mark_of(self, meta: Meta) -> Mark:
        return Mark(meta.term, meta.version, meta.revocations, self._keyring.tag(_META, meta.encoded()))

    def verify(self) -> dict[str, list[Row]]:
        """Check everything, and return the rows of all tables. Raises StoreCorrupt."""
        with _understood(self.path):
            return self._verify()

    def _verify(self) -> dict[str, list[Row]]:
        for check in ("integrity_check", "foreign_key_check"):
            found = self._connection.execute(f"PRAGMA {check}").fetchmany(3)
            if found not in ([], [("ok",)]):
                raise StoreCorrupt(f"{self.path} is damaged: {check} reports {found[0][0]}")
        row = self._connection.execute(
            "SELECT domain, history, term, version, revocations, total, tag FROM meta"
        ).fetchone()
        if row is None:
            raise StoreCorrupt(f"{self.path} is damaged: it does not say what it is")
        meta = Meta(*row[:-1])
        if not self._keyring.is_tag(_META, meta.encoded(), row[-1]):
            raise StoreCorrupt(f"{self.path} is damaged, or was not written with the keys in {self._keyring.path}")
        rows: dict[str, list[Row]] = {}
        total = self._schema_total()
        for name, select in self._tagged_tables():
            rows[name] = []
            for *values, tag in self._connection.execute(select):
                one = tuple(values)
                if self._tag(name, one) != tag:
                    raise StoreCorrupt(f"{self.path} is damaged: a row of {name} was changed by somebody else")
                total += int.from_bytes(tag, "big")
                rows[name].append(one)
        if _summed(total) != meta.total:
            raise StoreCorrupt(f"{self.path} is damaged: rows or definitions are missing, or there are too many")
        self._meta = meta
        return rows

    def _schema_total(self) -> int:
        """Sum of tags over the definitions: a constraint that a flipped bit has taken out would not be missed else."""
        definitions = self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        return sum(int.from_bytes(self._tag("sqlite_schema", row), "big") for row in definitions)

    def _tagged_tables(self) -> list[tuple[str, str]]:
        """Names of the tables whose rows have tags, and how to read them: as they are here, of whatever schema."""
        found = []
        for (name,) in self._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = [row[1] for row in self._connection.execute(f"PRAGMA table_info({name})")]
            if name != "meta" and "tag" in columns:
                columns.remove("tag")
                found.append((name, f"SELECT {', '.join(columns)}, tag FROM {name}"))  # noqa: S608  names of our own
        return found

    def get(self, table: Table, key: Row) -> Row | None:
        """The row under `key`, as it is within the transaction."""
        row = self._connection.execute(_GET[table.name], key).fetchone()
        return None if row is None else tuple(row[:-1])

    def rows(self, table: Table) -> list[Row]:
        """All rows of a table, by key."""
        return sorted((tuple(row[:-1]) for row in self._connection.execute(_SELECT[table.name])), key=table.key_of)

    def owner_of_mac(self, vni: int, mac: int) -> Row | None:
        """The claim that has the MAC address in the VN."""
        row = self._connection.execute(
            f"{_SELECT[CLAIM.name]} WHERE vni = ? AND mac = ? AND granted IS NOT NULL", (vni, mac)
        ).fetchone()
        return None if row is None else tuple(row[:-1])

    def epochs(self) -> frozenset[int]:
        """Numbers of the epochs that there are."""
        return frozenset(number for (number,) in self._connection.execute("SELECT number FROM epoch"))

    @property
    def digest(self) -> bytes:
        """The end of the chain of digests (32 bytes), as it is within the transaction."""
        row = self.get(CHAIN, (_ONE,))
        return sha256(_encode((_CHAIN, self.meta.history))).digest() if row is None else bytes(row[1])

    def revocations(self) -> int:
        """How many there are, as it is within the transaction."""
        count: int = self._connection.execute("SELECT count(*) FROM revocation").fetchone()[0]
        return count

    # --- writing ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._total = int.from_bytes(self.meta.total, "big")

    def apply(self, operation: Write | Delete) -> None:
        """Write or delete a row."""
        table = operation.table
        key = operation.key if isinstance(operation, Delete) else table.key_of(operation.row)
        old = self._connection.execute(_GET[table.name], key).fetchone()
        if old is not None:
            self._total -= int.from_bytes(old[-1], "big")
        if isinstance(operation, Write):
            assert not any(isinstance(value, Secret) for value in operation.row)
            tag = self._tag(table.name, operation.row)
            self._total += int.from_bytes(tag, "big")
            self._connection.execute(_PUT[table.name], (*operation.row, tag))
        elif old is not None:
            self._connection.execute(_DELETE[table.name], key)

    def advance(self, nonce: bytes) -> None:
        """Add the transaction, as it is now, to the chain of digests.

        nonce: fresh and random: two histories that branch off with equal commits are two all the same.
        """
        links = (_CHAIN, self.digest, nonce, self.meta.term, self.meta.version + 1, _summed(self._total))
        self.apply(Write(CHAIN, (_ONE, sha256(_encode(links)).digest())))

    def prepare(self, *, history: bytes | None = None, term: int | None = None, version: int | None = None) -> Mark:
        """Complete the transaction but for its commit; returns the mark that the database will have."""
        meta = replace(
            self.meta,
            history=history or self.meta.history,
            term=term or self.meta.term,
            version=version or self.meta.version + 1,
            revocations=self.revocations(),
            total=_summed(self._total),
        )
        self._write_meta(meta)
        self._pending = meta
        return self._mark_of(meta)

    def commit(self) -> None:
        """Make the transaction durable."""
        self._connection.execute("COMMIT")
        self._meta, self._pending = self._pending, None

    def rollback(self) -> None:
        """Forget the transaction."""
        self._pending = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _write_meta(self, meta: Meta) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO meta (one, domain, history, term, version, revocations, total, tag)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (
                meta.domain,
                meta.history,
                meta.term,
                meta.version,
                meta.revocations,
                meta.total,
                self._mark_of(meta).digest,
            ),
        )

    def _tag(self, table: str, row: Row) -> bytes:
        return self._keyring.tag(_ROW, _encode((table, *row)))


def _encode(values: Row) -> bytes:
    """Each value as its type, its length and its bytes."""
    parts = []
    for value in values:
        data = value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
        initial = _INITIALS.get(type(value)) or type(value).__name__[0].encode()
        parts.append(b"%b%d:%b" % (initial, len(data), data))
    return b"".join(parts)


def _summed(total: int) -> bytes:
    return (total % _MODULUS).to_bytes(TAG_BYTES, "big")


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Errors of SQLite, and of what it reads out of a damaged file, as errors of a store."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from None
    except (UnicodeDecodeError, OverflowError):
        raise StoreCorrupt(f"{path} is damaged: it holds what is no text") from None


def _translated(path: Path, error: sqlite3.Error) -> StoreUnavailable | StoreCorrupt:
    """What an error of SQLite means. Its text has names of tables and columns, never values."""
    damaged = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA", "SQLITE_ERROR", "SQLITE_FORMAT", "SQLITE_MISMATCH")
    if (getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR").startswith(damaged):
        return StoreCorrupt(f"{path} is damaged: {error}")
    return StoreUnavailable(f"{path}: {explained(error)}")


def explained(error: sqlite3.Error) -> str:
    """The text of an error of SQLite, with what it means for an operator."""
    name = getattr(error, "sqlite_errorname", "") or ""
    why = next((text for start, text in _CAUSES.items() if name.startswith(start)), "")
    return f"{error} ({name}): {why}" if why else str(error)
