# SPDX-License-Identifier: Apache-2.0
"""Changes as rows, and rows as what they mean: the same for every implementation, and so are the rules for a commit.

A row is a tuple of int, str, bytes, None, or a Secret, in the order of the table's columns, the key's first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol, TypeAlias

from nvo3sec.domain.mapping import (
    Absence,
    Address,
    Claim,
    ClaimKey,
    DropAbsence,
    DropClaim,
    DropHold,
    DropUnsteady,
    Hold,
    Place,
    PutAbsence,
    PutClaim,
    PutHold,
    PutUnsteady,
    SetVersion,
)
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac, parse_mac
from nvo3sec.domain.overlay.level_changes import LevelChange, Subject
from nvo3sec.domain.overlay.meanings import Meaning, Sort
from nvo3sec.domain.overlay.model import Level
from nvo3sec.nva.store.errors import ChangeRefused
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
    SetEarlyLease,
    SetGeneration,
    SetLongestLease,
    StoreChange,
    Stored,
)

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table: the first `key_columns` columns are the key."""

    name: str
    columns: tuple[str, ...]
    key_columns: int

    def key_of(self, row: Row) -> Row:
        """The key of a row."""
        return row[: self.key_columns]


VN = Table("vn", ("vni", "version"), 1)
VAP = Table("vap", ("nve", "port", "vlan", "vni"), 3)
CLAIM = Table(
    "claim",
    ("nve", "port", "vlan", "mac", "vni", "announced", "granted", "sequence", "arrival", "static", "host"),
    4,
)
HOLD = Table("hold", ("vni", "address", "successor", "released_by"), 2)
GENERATION = Table("generation", ("receiver", "generation"), 1)
EPOCH = Table("epoch", ("number", "secret", "began"), 1)
REVOCATION = Table("revocation", ("identity", "serial"), 2)
MARK = Table("mark", ("name", "value"), 1)
"""Numbers: `epoch`, the last epoch that there was, which only grows; `longest-lease`, `early-lease`, in milliseconds;
`unsteady NAME` for shared addresses that do not move any more; `level VN`, `level NVE NVE` for changes of their levels
that are under way: a byte each for what was sent, is sent and is demanded."""
DOCUMENT = Table("document", ("name", "text"), 1)
"""Texts: `domain-file`, the one that is applied."""
CHAIN = Table("chain", ("one", "digest"), 1)
"""One row: the digest over all commits."""
TOLD = Table("told", ("nve", "version", "digest"), 2)
DISPUTE = Table("dispute", ("nve", "term", "version"), 1)
CERTIFICATE = Table("certificate", ("nve", "issuer", "serial", "suspended"), 1)
ABSENCE = Table("absence", ("vni", "address", "nve", "port", "vlan", "mac", "host", "barred"), 2)
HELD = Table("held", ("sort", "number", "owner", "nves"), 3)

TABLES = (
    VN,
    VAP,
    CLAIM,
    HOLD,
    GENERATION,
    EPOCH,
    REVOCATION,
    MARK,
    DOCUMENT,
    CHAIN,
    TOLD,
    DISPUTE,
    CERTIFICATE,
    HELD,
    ABSENCE,
)
"""In an order in which nothing refers to a later one."""

LAST_EPOCH = "epoch"
LONGEST_LEASE = "longest-lease"
EARLY_LEASE = "early-lease"
UNSTEADY = "unsteady "
LEVEL = "level "
DOMAIN_FILE = "domain-file"


@dataclass(frozen=True, slots=True)
class Write:
    """Put `row`, whatever was there under its key."""

    table: Table
    row: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Take away what is under `key`."""

    table: Table
    key: Row


class Reader(Protocol):
    """The rows as they are within a commit."""

    def get(self, table: Table, key: Row) -> Row | None:
        """The row under `key`."""

    def owner_of_mac(self, vni: int, mac: int) -> Row | None:
        """The claim that has the MAC address in the VN."""


def plan(change: StoreChange, reader: Reader) -> Iterator[Write | Delete]:
    """What a change does to the tables. Raises ChangeRefused if it contradicts them."""
    match change:
        case PutClaim(claim=claim):
            if claim.granted is not None:
                owner = reader.owner_of_mac(claim.vni, claim.key.mac)
                if owner is not None and CLAIM.key_of(owner) != _claim_key(claim.key):
                    raise ChangeRefused(f"VNI {claim.vni}: {format_mac(claim.key.mac)} has an owner")
            yield from _vn(claim.vni, reader)
            yield Write(CLAIM, _claim_row(claim))
        case DropClaim(key=key):
            yield Delete(CLAIM, _claim_key(key))
        case PutHold(hold=hold):
            yield from _vn(hold.address[0], reader)
            yield Write(HOLD, (*_address_key(hold.address), hold.successor, hold.by))
        case DropHold(address=address):
            yield Delete(HOLD, _address_key(address))
        case PutAbsence(absence=one):
            yield from _vn(one.address[0], reader)
            row = (*_address_key(one.address), *_claim_key(one.key), one.host, " ".join(sorted(one.barred)))
            yield Write(ABSENCE, row)
        case DropAbsence(address=address):
            yield Delete(ABSENCE, _address_key(address))
        case SetVersion(vni=vni, version=version):
            _not_below(reader.get(VN, (vni,)), version, f"version of VNI {vni}")
            yield Write(VN, (vni, version))
        case PutVap(place=place, vni=vni):
            yield from _vn(vni, reader)
            yield Write(VAP, (*place, vni))
        case DropVap(place=place):
            yield Delete(VAP, tuple(place))
        case PutDomainFile(text=text):
            yield Write(DOCUMENT, (DOMAIN_FILE, text))
        case SetGeneration(receiver=receiver, generation=generation):
            _not_below(reader.get(GENERATION, (receiver,)), generation, f"generation of {receiver}")
            yield Write(GENERATION, (receiver, generation))
        case DropGeneration(receiver=receiver):
            yield Delete(GENERATION, (receiver,))
        case Revoke(revocation=revocation):
            yield Write(REVOCATION, (revocation.identity, revocation.serial))
        case PutEpoch() | DropEpoch():
            yield from _plan_epochs(change, reader)
        case PutUnsteady(name=name):
            yield Write(MARK, (UNSTEADY + name, 1))
        case DropUnsteady(name=name):
            yield Delete(MARK, (UNSTEADY + name,))
        case PutLevelChange(subject=subject, change=levels):
            yield Write(MARK, (LEVEL + " ".join(subject), int.from_bytes(bytes(levels), "big")))
        case DropLevelChange(subject=subject):
            yield Delete(MARK, (LEVEL + " ".join(subject),))
        case PutHeld(meaning=meaning, nves=nves):
            yield Write(HELD, (meaning.sort.value, meaning.number, meaning.owner, " ".join(nves)))
        case DropHeld(meaning=meaning):
            yield Delete(HELD, (meaning.sort.value, meaning.number, meaning.owner))
        case SetLongestLease(seconds=seconds):
            yield Write(MARK, (LONGEST_LEASE, round(seconds * 1000)))
        case SetEarlyLease(seconds=seconds):
            yield Write(MARK, (EARLY_LEASE, round(seconds * 1000)))
        case _:
            yield from _plan_nve(change)


def _plan_nve(change: PutCertificate | PutTold | DropTold | PutDispute | DropDispute) -> Iterator[Write | Delete]:
    """What is kept of each NVE."""
    match change:
        case PutCertificate(certificate=one):
            yield Write(CERTIFICATE, (one.nve, one.issuer, one.serial, one.suspended))
        case PutTold(nve=nve, version=version, digest=digest):
            yield Write(TOLD, (nve, version, digest))
        case DropTold(nve=nve, version=version):
            yield Delete(TOLD, (nve, version))
        case PutDispute(nve=nve, term=term, version=version):
            yield Write(DISPUTE, (nve, term, version))
        case DropDispute(nve=nve):
            yield Delete(DISPUTE, (nve,))


def _plan_epochs(change: PutEpoch | DropEpoch, reader: Reader) -> Iterator[Write | Delete]:
    match change:
        case PutEpoch(number=number, secret=secret, began=began):
            last = reader.get(MARK, (LAST_EPOCH,))
            if number <= (last[1] if last else 0):
                raise ChangeRefused(f"there was an epoch {number} or a later one already")
            yield Write(MARK, (LAST_EPOCH, number))
            yield Write(EPOCH, (number, secret, began))
        case DropEpoch(number=number):
            yield Delete(EPOCH, (number,))


def _vn(vni: int, reader: Reader) -> Iterator[Write]:
    if reader.get(VN, (vni,)) is None:
        yield Write(VN, (vni, 0))


def _not_below(row: Row | None, value: int, what: str) -> None:
    if row is not None and value < row[-1]:
        raise ChangeRefused(f"{what} would sink from {row[-1]} to {value}")


def _claim_key(key: ClaimKey) -> Row:
    return (*key.place, key.mac)


def _claim_row(claim: Claim) -> Row:
    granted = None if claim.granted is None else _ips_text(claim.granted)
    return (
        *_claim_key(claim.key),
        claim.vni,
        _ips_text(claim.announced),
        granted,
        claim.sequence,
        claim.arrival,
        int(claim.static),
        claim.host,
    )


def _claim(row: Row) -> Claim:
    nve, port, vlan, mac, vni, announced, granted, sequence, arrival, static, host = row
    ips = _ips(announced)
    has = ips if granted == announced else None if granted is None else _ips(granted)
    return Claim(ClaimKey(Place(nve, port, vlan), mac), vni, ips, has, sequence, arrival, bool(static), host)


def _absence(row: Row) -> Absence:
    vni, text, nve, port, vlan, mac, host, barred = row
    key = ClaimKey(Place(nve, port, vlan), mac)
    return Absence(_address(vni, text), key, host, 0.0, 0.0, frozenset(barred.split()))


def _ips_text(ips: Iterable[IpAddress]) -> str:
    return " ".join(map(str, ips))


def _ips(text: str) -> tuple[IpAddress, ...]:
    return tuple(map(ip_address, text.split()))


def _address_key(address: Address) -> Row:
    vni, value = address
    return vni, format_mac(value) if isinstance(value, int) else str(value)


def _address(vni: int, text: str) -> Address:
    # A MAC address has five colons and no double one; no IPv6 address looks like that.
    return vni, parse_mac(text) if len(text) == 17 and text.count(":") == 5 and "::" not in text else ip_address(text)


def held(rows: Iterable[Row]) -> tuple[tuple[Meaning, tuple[str, ...]], ...]:
    """Numbers that may still stand for what they stood for, and where. Raises ValueError for what is no such row."""
    return tuple((Meaning(Sort(sort), number, owner), tuple(nves.split())) for sort, number, owner, nves in rows)


def _milliseconds(rows: Mapping[str, Iterable[Row]], name: str) -> float:
    """The mark of this name, in seconds; 0 if there is none."""
    return float(max((value for found, value in rows[MARK.name] if found == name), default=0)) / 1000


def _level_change(name: str, value: int) -> tuple[Subject, LevelChange]:
    """Raises ValueError for what is no such row."""
    was, sends, demands = (Level(one) for one in (value >> 16, value >> 8 & 0xFF, value & 0xFF))
    return tuple(name.removeprefix(LEVEL).split()), LevelChange(was, sends, demands)


def stored(history: bytes, term: int, version: int, rows: Mapping[str, Iterable[Row]]) -> Stored:
    """What the rows of all tables mean, in the order of their keys. Raises ValueError for what is no such row."""

    def of(table: Table) -> list[Row]:
        return sorted(rows[table.name], key=table.key_of)

    return Stored(
        history=history,
        term=term,
        version=version,
        claims=tuple(map(_claim, of(CLAIM))),
        holds=tuple(Hold(_address(vni, text), successor, None, by) for vni, text, successor, by in of(HOLD)),
        absences=tuple(map(_absence, of(ABSENCE))),
        versions=tuple((vni, number) for vni, number in of(VN)),
        vaps=tuple((Place(nve, port, vlan), vni) for nve, port, vlan, vni in of(VAP)),
        domain_file=next((text for name, text in rows[DOCUMENT.name] if name == DOMAIN_FILE), ""),
        generations=tuple((receiver, number) for receiver, number in of(GENERATION)),
        epochs=tuple((number, secret, began) for number, secret, began in of(EPOCH)),
        last_epoch=max((value for name, value in rows[MARK.name] if name == LAST_EPOCH), default=0),
        revocations=tuple(Revocation(identity, serial) for identity, serial in of(REVOCATION)),
        certificates=tuple(Certificate(*row) for row in of(CERTIFICATE)),
        told=tuple((nve, number, digest) for nve, number, digest in of(TOLD)),
        disputes=tuple((nve, of_term, number) for nve, of_term, number in of(DISPUTE)),
        unsteady=tuple(name.removeprefix(UNSTEADY) for name, _ in of(MARK) if name.startswith(UNSTEADY)),
        held=held(of(HELD)),
        longest_lease_s=_milliseconds(rows, LONGEST_LEASE),
        early_lease_s=_milliseconds(rows, EARLY_LEASE),
        level_changes=tuple(_level_change(name, value) for name, value in of(MARK) if name.startswith(LEVEL)),
    )
