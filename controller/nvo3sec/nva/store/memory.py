# SPDX-License-Identifier: Apache-2.0
"""A store that forgets everything when its process ends, and says so (`durable`). For tests, and for looking around."""

from __future__ import annotations

from collections.abc import Sequence

from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.nva.store.errors import ChangeRefused, StoreUnavailable
from nvo3sec.nva.store.records import StoreChange, Stored
from nvo3sec.nva.store.tables import (
    CLAIM,
    DOCUMENT,
    DOMAIN_FILE,
    HELD,
    TABLES,
    Delete,
    Row,
    Table,
    Write,
    held,
    plan,
    stored,
)

HISTORY_BYTES = 16


class MemoryStore:
    """Keeps rows in dicts, by the same tables and rules as the SQLite store. history: 16 random bytes."""

    def __init__(self, history: bytes) -> None:
        if len(history) != HISTORY_BYTES:
            raise ValueError(f"a history has {HISTORY_BYTES} bytes")
        self._history = history
        self._version = 0
        self._rows: dict[str, dict[Row, Row]] = {table.name: {} for table in TABLES}
        self._owners: dict[tuple[int, int], Row] = {}
        self._is_open = True

    @property
    def durable(self) -> bool:
        """False: nothing of this outlives the process."""
        return False

    @property
    def version(self) -> int:
        """Number of the last commit."""
        return self._version

    @property
    def digest(self) -> bytes:
        """Nothing: who starts again has nothing to compare."""
        return b""

    @property
    def domain_file(self) -> str:
        """The text of the domain file that is applied, or ""."""
        self._require_open()
        row = self.get(DOCUMENT, (DOMAIN_FILE,))
        return "" if row is None else str(row[1])

    @property
    def held(self) -> tuple[tuple[Meaning, tuple[str, ...]], ...]:
        """Numbers that may still stand for what they stood for, and where."""
        self._require_open()
        return held(sorted(self._rows[HELD.name].values()))

    def get(self, table: Table, key: Row) -> Row | None:
        """The row under `key`."""
        return self._rows[table.name].get(key)

    def owner_of_mac(self, vni: int, mac: int) -> Row | None:
        """The claim that has the MAC address in the VN."""
        key = self._owners.get((vni, mac))
        return None if key is None else self._rows[CLAIM.name][key]

    def load(self) -> Stored:
        """Everything. Raises StoreUnavailable after `close`."""
        self._require_open()
        rows = {name: tuple(table.values()) for name, table in self._rows.items()}
        return stored(self._history, 1, self._version, rows)

    def commit(self, changes: Sequence[StoreChange]) -> int:
        """See `Store.commit`. Raises ChangeRefused, StoreUnavailable after `close`."""
        self._require_open()
        if not changes:
            return self._version
        undo: list[tuple[Table, Row, Row | None]] = []
        try:
            for change in changes:
                for operation in plan(change, self):
                    table = operation.table
                    key = operation.key if isinstance(operation, Delete) else table.key_of(operation.row)
                    undo.append((table, key, self.get(table, key)))
                    self._put(table, key, operation.row if isinstance(operation, Write) else None)
        except ChangeRefused:
            for table, key, row in reversed(undo):
                self._put(table, key, row)
            raise
        self._version += 1
        return self._version

    def _put(self, table: Table, key: Row, row: Row | None) -> None:
        rows = self._rows[table.name]
        if table is CLAIM:
            old = rows.get(key)
            if old is not None and self._owners.get((old[4], old[3])) == key:
                del self._owners[old[4], old[3]]
            if row is not None and row[6] is not None:
                self._owners[row[4], row[3]] = key
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def _require_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")

    def close(self) -> None:
        """Forget everything."""
        self._is_open = False
