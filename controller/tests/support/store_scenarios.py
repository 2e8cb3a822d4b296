# SPDX-License-Identifier: Apache-2.0
"""What the processes that die are doing: sequences of commits, and everything that a store can be in afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.mapping import (
    Absence,
    Claim,
    ClaimKey,
    DropAbsence,
    DropClaim,
    DropHold,
    Hold,
    Place,
    PutAbsence,
    PutClaim,
    PutHold,
    SetVersion,
)
from nvo3sec.domain.overlay.level_changes import LevelChange
from nvo3sec.domain.overlay.meanings import Meaning, Sort
from nvo3sec.domain.overlay.model import Level
from nvo3sec.nva.store import (
    Certificate,
    DropDispute,
    DropEpoch,
    DropGeneration,
    DropHeld,
    DropLevelChange,
    DropTold,
    DropVap,
    MemoryStore,
    Point,
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
    SqliteStore,
    Store,
    StoreChange,
    Stored,
    open_store,
)
from nvo3sec.nva.store.sqlite.schema import MIGRATIONS

DOMAIN = "lab.example"
SECRETS = (Secret(b"first epoch secret, 32 bytes....".ljust(32)), Secret(b"second epoch secret, 32 bytes...".ljust(32)))
WEAK, STRONG = Level
PLACES = (Place("leaf1", 1, 0), Place("leaf2", 2, 100))


def claim(place: Place, mac: int, *, granted: bool = True, sequence: int = 1, arrival: int = 1, vni: int = 10) -> Claim:
    ips = (ip_address("10.0.0.1"), ip_address("fd00::1"))
    return Claim(ClaimKey(place, mac), vni, ips, ips if granted else None, sequence, arrival, host="hv1")


OLD, NEW = claim(PLACES[0], 2), claim(PLACES[1], 2, granted=False, sequence=0, arrival=2)
IDENTITY = "nvo3://lab.example/nve/leaf3"

COMMITS: tuple[tuple[StoreChange, ...], ...] = (
    (PutEpoch(1, SECRETS[0], 1_700_000_000), PutVap(PLACES[0], 10), PutVap(PLACES[1], 10)),
    (SetVersion(10, 1), PutClaim(OLD), PutClaim(NEW), PutHold(Hold((10, 4), "leaf2", None, "leaf1"))),
    (
        SetGeneration("leaf2", 7),
        SetGeneration("leaf1", 3),
        PutTold("leaf1", 1, b"1" * 32),
        PutTold("leaf1", 2, b"2" * 32),
        PutCertificate(Certificate("leaf1", "CN=ca", "0b")),
    ),
    (
        Revoke(Revocation(IDENTITY, "0a")),
        DropVap(Place("leaf3", 1, 0)),
        PutDomainFile("domain: lab.example\n"),
        DropTold("leaf1", 1),
        PutCertificate(Certificate("leaf1", "CN=ca", "0b", "revoked")),
        PutDispute("leaf2", 1, 90),
        PutHeld(Meaning(Sort.VNI, "10", "blue"), ("leaf1", "leaf2")),
        PutHeld(Meaning(Sort.ADDRESS, "192.0.2.3", "leaf3"), ("leaf1",)),
        SetLongestLease(30.5),
        PutLevelChange(("blue",), LevelChange(WEAK, STRONG, WEAK)),
        PutLevelChange(("leaf1", "leaf2"), LevelChange(STRONG, WEAK, WEAK)),
        PutAbsence(Absence((10, 0x2), OLD.key, "hv1", 0.0, 0.0, frozenset({"leaf3", "leaf2"}))),
        PutAbsence(Absence((10, ip_address("fd00::7")), OLD.key, "", 0.0, 0.0)),
    ),
    (
        DropClaim(OLD.key),
        SetVersion(10, 3),
        PutClaim(replace(NEW, granted=NEW.announced, sequence=3)),
        DropHold((10, 4)),
        PutHold(Hold((10, ip_address("fd00::1")), None, None, "")),
        PutDomainFile("domain: lab.example  # another\n"),
        DropDispute("leaf2"),
        PutHeld(Meaning(Sort.VNI, "10", "blue"), ("leaf2",)),
        DropHeld(Meaning(Sort.ADDRESS, "192.0.2.3", "leaf3")),
        SetLongestLease(30),
        DropLevelChange(("blue",)),
        DropAbsence((10, 0x2)),
    ),
    (
        PutEpoch(2, SECRETS[1]),
        SetGeneration("leaf2", 8),
        DropGeneration("leaf1"),
        DropEpoch(1),
        Revoke(Revocation(IDENTITY)),
    ),
)
"""Every kind of change, and the ones that destroy something in the company of others."""

MIGRATED = (
    *MIGRATIONS,
    ("ALTER TABLE hold ADD COLUMN note TEXT NOT NULL DEFAULT 'none'", "CREATE TABLE extra (a TEXT) STRICT"),
)
"""A later schema, which changes every row of a table."""


def contents(stored: Stored) -> Stored:
    """What is in a store, without what names the store."""
    return replace(stored, history=b"", version=0, term=0)


def expected() -> list[Stored]:
    """The contents before the first commit and after each."""
    store = MemoryStore(b"m" * 16)
    states = [contents(store.load())]
    for commit in COMMITS:
        store.commit(commit)
        states.append(contents(store.load()))
    return states


def open_at(directory: Path, at: Callable[[Point], None] = lambda _: None, **options) -> SqliteStore:
    return open_store(directory / "db" / "nva.sqlite", directory / "keys", DOMAIN, at=at, **options)


def commit_all(store: Store, acknowledge: Callable[[int], None], first: int = 0) -> None:
    for number in range(first, len(COMMITS)):
        store.commit(COMMITS[number])
        acknowledge(number + 1)


def fresh(directory: Path, at: Callable[[Point], None], acknowledge: Callable[[int], None]) -> None:
    """From nothing to the last commit, in one process."""
    store = open_at(directory, at)
    acknowledge(0)
    commit_all(store, acknowledge)


def migrate(directory: Path, at: Callable[[Point], None], acknowledge: Callable[[int], None]) -> None:
    """A database with everything in it gets a later schema."""
    acknowledge(len(COMMITS))
    open_at(directory, at, migrations=MIGRATED)


def new_term(directory: Path, at: Callable[[Point], None], acknowledge: Callable[[int], None]) -> None:
    """An operator goes on with a backup."""
    open_at(directory, at, start_new_term=True)
    acknowledge(1)


def fresh_again(directory: Path, at: Callable[[Point], None], acknowledge: Callable[[int], None]) -> None:
    """Only an opening."""
    open_at(directory, at).close()


SCENARIOS = {"fresh": fresh, "fresh_again": fresh_again, "migrate": migrate, "new_term": new_term}
