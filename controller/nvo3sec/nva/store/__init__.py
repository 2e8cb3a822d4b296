# SPDX-License-Identifier: Apache-2.0
"""What an NVA remembers across restarts, crashes and restored backups: one narrow interface, `Store`.

`open_store` opens the one of a single NVA (SQLite); `MemoryStore` forgets, and says so. `records` says what is stored.
"""

from __future__ import annotations

from nvo3sec.nva.store.errors import (
    ChangeRefused,
    StoreCorrupt,
    StoreError,
    StoreRolledBack,
    StoreTooNew,
    StoreUnavailable,
)
from nvo3sec.nva.store.memory import MemoryStore
from nvo3sec.nva.store.records import (
    Certificate,
    DropDispute,
    DropEpoch,
    DropGeneration,
    DropHeld,
    DropLevelChange,
    DropTold,
    DropVap,
    PutCertificate,
    PutDispute,
    PutDomainFile,
    PutEpoch,
    PutHeld,
    PutLevelChange,
    PutTold,
    PutVap,
    Revocation,
    Revoke,
    SetGeneration,
    SetLongestLease,
    Store,
    StoreChange,
    Stored,
)
from nvo3sec.nva.store.sqlite.opening import open_store
from nvo3sec.nva.store.sqlite.store import Point, SqliteStore

__all__ = [
    "Certificate",
    "ChangeRefused",
    "DropDispute",
    "DropEpoch",
    "DropGeneration",
    "DropHeld",
    "DropLevelChange",
    "DropTold",
    "DropVap",
    "MemoryStore",
    "Point",
    "PutCertificate",
    "PutDispute",
    "PutDomainFile",
    "PutEpoch",
    "PutHeld",
    "PutLevelChange",
    "PutTold",
    "PutVap",
    "Revocation",
    "Revoke",
    "SetGeneration",
    "SetLongestLease",
    "SqliteStore",
    "Store",
    "StoreChange",
    "StoreCorrupt",
    "StoreError",
    "StoreRolledBack",
    "StoreTooNew",
    "StoreUnavailable",
    "Stored",
    "open_store",
]
