# SPDX-License-Identifier: Apache-2.0
"""The start of an NVA: its store first, then what takes long; and what it can do in between.

To read a large domain file takes seconds of processor time, and the store a tenth of that. So where a large file was
applied, and the store is what it should be, leases that run are prolonged meanwhile (`nva.sessions.early_leases`). A
small file is read at once, and what is wrong with it ends the process before it serves.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from nvo3sec.config import DomainText
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import OperatorError
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.nva import Nva
from nvo3sec.nva.sessions.early_leases import EarlyLeases, ShutOut
from nvo3sec.nva.store import MemoryStore, Store, open_store
from nvo3sec.operator.documents import Status
from nvo3sec.operator.domain_file import Start, at_start
from nvo3sec.system import garbage as collector
from nvo3sec.transport.methods import DomainMembership

DATABASE_FILE = "nva.sqlite"
HISTORY_BYTES = 16
LARGE_BYTES = 500_000
"""A domain file that takes most of a second to read, and as much again to apply."""


@dataclass(frozen=True)
class Given:
    """What a start is given: as in `NvaSettings`."""

    file: DomainText
    database: Path | None
    keys: Path | None
    apply_domain: bool
    start_new_term: bool


class NvaStart:
    """One start. domain: its name. early: the leases that may be given before `load`, or why none may."""

    def __init__(self, given: Given, shut_out: ShutOut) -> None:
        """Open the store. Raises ConfigError, StoreError."""
        self._given = given
        self._log = structlog.get_logger("nva")
        self._parsed: Domain | None = None
        self.early: EarlyLeases | str = "the domain file is small, or was not applied before"
        name = self._name_at_once()
        if name is None:
            self._parsed = given.file.parse()
            name = self._parsed.name
        self.domain = name
        self._log = self._log.bind(domain=name)
        self.store = self._open(name)
        if not self.store.durable:
            self._log.warning("nothing is durable: attachments, revocations and keys end with this process")
        if self._parsed is None:
            with collector.paused():
                self.early = EarlyLeases.begin(name, self.store, shut_out)
            if isinstance(self.early, str):
                self._log.info("no leases before everything is loaded", why=self.early)

    def _name_at_once(self) -> str | None:
        """The domain's name, if it can be told without reading all of the file, and it is worth it.

        An operator who decides what runs is not answered by what ran before: with these options all waits.
        """
        given = self._given
        decides = given.apply_domain or given.start_new_term
        if decides or given.database is None or len(given.file.text) < LARGE_BYTES:
            return None
        return given.file.first_name() if (given.database / DATABASE_FILE).exists() else None

    def _open(self, name: str) -> Store:
        given = self._given
        if given.database is None or given.keys is None:
            return MemoryStore(secrets.token_bytes(HISTORY_BYTES))
        return open_store(given.database / DATABASE_FILE, given.keys, name, start_new_term=given.start_new_term)

    def load(self) -> tuple[Start, Nva]:
        """Everything else. In any thread, while nobody else uses the store.

        Raises ConfigError, OperatorError, StoreError.
        """
        given = self._given
        with collector.paused():
            domain = self._parsed or given.file.parse()
            if domain.name != self.domain:
                raise OperatorError(f"{given.file.source} is of domain {domain.name}, not of {self.domain}")
            held = dict(self.store.held)
            start = at_start(given.file, domain, self.store.domain_file, take_given=given.apply_domain, held=held)
            if not start.ignored.is_empty:
                self._log.warning(
                    "another domain file was applied, and that one runs; see `domain diff`, `domain apply`",
                    given=given.file.source,
                    differences=len(start.ignored.changes),
                )
            text, before = start.file.text, start.before
            nva = Nva(start.domain, self.store, file=text, before=before, random_bytes=secrets.token_bytes)
        return start, nva


class Served:
    """Who serves which VN, also before everything is loaded. Satisfies `authorization.Membership`."""

    def __init__(self, starting: NvaStart, loaded: Callable[[], Nva | None]) -> None:
        self._starting = starting
        self._loaded = loaded
        self._membership: DomainMembership | None = None

    def vnis_of(self, device: DeviceName) -> frozenset[int]:
        """The VNs that a device serves; none for one that is no NVE of this domain."""
        nva = self._loaded()
        if nva is not None:
            if self._membership is None:
                self._membership = DomainMembership(nva.state.domain.name, lambda: nva.state.membership)
            return self._membership.vnis_of(device)
        early = self._starting.early
        if isinstance(early, str) or device.domain != self._starting.domain or device.role is not Role.NVE:
            return frozenset()
        return early.vnis_of(device.name)


def loading_status(domain: str, early: EarlyLeases, waiting: int, since_s: float) -> Status:
    """The status of an NVA that is loading: what is not known yet, and what is done meanwhile."""
    why = (
        f"the NVA has been loading for {since_s:.0f} s: switches, keys and mappings are not known yet;"
        f" {waiting} agents wait, and {len(early.granted)} NVEs had a lease prolonged meanwhile"
    )
    not_known = ("switches", "keys", "reports")
    return Status(domain=domain, ready=False, not_ready=(why,), warnings=(), held=(), ends=(), not_known=not_known)
