# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a store, as exceptions.

    Nvo3secError
    └── StoreError
        ├── StoreUnavailable     it cannot be read or written: missing, locked, disk full, open to other users
        ├── StoreCorrupt         it is damaged, or was altered by somebody else
        ├── StoreRolledBack      it is not what was acknowledged last: a backup was put back, or it is lost
        ├── StoreTooNew          a newer version of this program wrote it
        └── ChangeRefused        a commit contradicts what is stored; nothing of it was stored

No message contains key material.
"""

from __future__ import annotations

from nvo3sec.errors import Nvo3secError


class StoreError(Nvo3secError):
    """Something about the store."""


class StoreUnavailable(StoreError):
    """The store cannot be read or written."""


class StoreCorrupt(StoreError):
    """The store is damaged, or was altered by somebody else."""


class StoreRolledBack(StoreError):
    """The store is not what was acknowledged last."""


class StoreTooNew(StoreError):
    """A newer version of this program wrote the store."""


class ChangeRefused(StoreError):
    """A commit contradicts what is stored; nothing of it was stored."""
