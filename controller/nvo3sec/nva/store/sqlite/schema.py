# SPDX-License-Identifier: Apache-2.0
"""Schema of the SQLite store, as the sequence of its versions. A released one is never edited: append the next.

Every row has a tag, a keyed hash of its table and its values; `meta` has their sum and a tag over itself. SQLite finds
damage to its structure; these find a changed, added or missing row. The constraints repeat what `tables.plan` checks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeAlias

Migrations: TypeAlias = Sequence[Sequence[str]]

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE meta (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            domain TEXT NOT NULL,
            history BLOB NOT NULL CHECK (length(history) = 16),
            term INTEGER NOT NULL CHECK (term > 0),
            version INTEGER NOT NULL CHECK (version >= 0),
            revocations INTEGER NOT NULL CHECK (revocations >= 0),
            total BLOB NOT NULL CHECK (length(total) = 32),
            tag BLOB NOT NULL CHECK (length(tag) = 32)
        ) STRICT""",
        "CREATE TABLE vn (vni INTEGER PRIMARY KEY, version INTEGER NOT NULL, tag BLOB NOT NULL) STRICT",
        """CREATE TABLE vap (
            nve TEXT NOT NULL, port INTEGER NOT NULL, vlan INTEGER NOT NULL,
            vni INTEGER NOT NULL REFERENCES vn (vni),
            tag BLOB NOT NULL,
            PRIMARY KEY (nve, port, vlan)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE claim (
            nve TEXT NOT NULL, port INTEGER NOT NULL, vlan INTEGER NOT NULL, mac INTEGER NOT NULL,
            vni INTEGER NOT NULL REFERENCES vn (vni),
            announced TEXT NOT NULL,
            granted TEXT,
            sequence INTEGER NOT NULL,
            arrival INTEGER NOT NULL,
            static INTEGER NOT NULL CHECK (static IN (0, 1)),
            host TEXT NOT NULL,
            tag BLOB NOT NULL,
            PRIMARY KEY (nve, port, vlan, mac)
        ) STRICT, WITHOUT ROWID""",
        "CREATE UNIQUE INDEX one_owner ON claim (vni, mac) WHERE granted IS NOT NULL",
        """CREATE TABLE hold (
            vni INTEGER NOT NULL REFERENCES vn (vni), address TEXT NOT NULL,
            successor TEXT, released_by TEXT NOT NULL,
            tag BLOB NOT NULL,
            PRIMARY KEY (vni, address)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE generation (
            receiver TEXT PRIMARY KEY, generation INTEGER NOT NULL, tag BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE epoch (
            number INTEGER PRIMARY KEY, secret BLOB NOT NULL, began INTEGER NOT NULL, tag BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE revocation (
            identity TEXT NOT NULL, serial TEXT NOT NULL, tag BLOB NOT NULL, PRIMARY KEY (identity, serial)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL, tag BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
    ("CREATE TABLE document (name TEXT PRIMARY KEY, text TEXT NOT NULL, tag BLOB NOT NULL) STRICT, WITHOUT ROWID",),
    (
        """CREATE TABLE chain (
            one INTEGER PRIMARY KEY CHECK (one = 1), digest BLOB NOT NULL CHECK (length(digest) = 32), tag BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE told (
            nve TEXT NOT NULL, version INTEGER NOT NULL, digest BLOB NOT NULL CHECK (length(digest) = 32),
            tag BLOB NOT NULL,
            PRIMARY KEY (nve, version)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE dispute (
            nve TEXT PRIMARY KEY, term INTEGER NOT NULL, version INTEGER NOT NULL, tag BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE certificate (
            nve TEXT PRIMARY KEY, issuer TEXT NOT NULL, serial TEXT NOT NULL, suspended TEXT NOT NULL, tag BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE held (
            sort TEXT NOT NULL, number TEXT NOT NULL, owner TEXT NOT NULL, nves TEXT NOT NULL, tag BLOB NOT NULL,
            PRIMARY KEY (sort, number, owner)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE absence (
            vni INTEGER NOT NULL REFERENCES vn (vni), address TEXT NOT NULL,
            nve TEXT NOT NULL, port INTEGER NOT NULL, vlan INTEGER NOT NULL, mac INTEGER NOT NULL, host TEXT NOT NULL,
            barred TEXT NOT NULL,
            tag BLOB NOT NULL,
            PRIMARY KEY (vni, address)
        ) STRICT, WITHOUT ROWID""",
    ),
)


def schema_version(connection: sqlite3.Connection) -> int:
    """Version of the schema of a database; 0 for an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(
    connection: sqlite3.Connection,
    migrations: Migrations,
    complete: Callable[[], None],
) -> None:
    """Bring a database to the last schema, in one transaction.

    complete: called in that transaction when the tables are what they should be; it puts tags and meta right. Raises
    sqlite3.Error.
    """
    version = schema_version(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        complete()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
