# SPDX-License-Identifier: Apache-2.0
"""What is stored, and the one interface to it. Everything that is not in here is made anew after a restart.

A commit is a sequence of changes that become durable together or not at all. When `commit` returns, they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.mapping import (
    Absence,
    Claim,
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
from nvo3sec.domain.overlay.level_changes import LevelChange, Subject
from nvo3sec.domain.overlay.meanings import Meaning


@dataclass(frozen=True, slots=True)
class PutVap:
    """Intent: this VAP exists and belongs to this VN, so its NVE serves it."""

    place: Place
    vni: int


@dataclass(frozen=True, slots=True)
class DropVap:
    """Intent: this VAP exists no more."""

    place: Place


@dataclass(frozen=True, slots=True)
class PutDomainFile:
    """Intent: the text of the domain file that is applied."""

    text: str


@dataclass(frozen=True, slots=True)
class SetGeneration:
    """High-water mark: no generation up to this one is given to a key towards `receiver` again. It never sinks."""

    receiver: str
    generation: int


@dataclass(frozen=True, slots=True)
class DropGeneration:
    """An operator begins anew with `receiver`: from now on its keys are of a new epoch and a new incarnation."""

    receiver: str


@dataclass(frozen=True, slots=True)
class PutEpoch:
    """A new epoch with its secret, which is stored only sealed. Numbers only grow.

    began: wall time, seconds since 1970. It decides about the age of an epoch after a restart, and about nothing else.
    """

    number: int
    secret: Secret
    began: int = 0


@dataclass(frozen=True, slots=True)
class DropEpoch:
    """The epoch is over; its wrapping key is destroyed, so that no backup can be opened either."""

    number: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """An identity that is trusted no more. serial: of one certificate, in hexadecimal; "" for all of the identity."""

    identity: str
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Revoke:
    """Trust an identity no more. There is no change that takes it back: a device comes back under a new certificate."""

    revocation: Revocation


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate with which an NVE registered last, as a revocation list names it; serial: in hexadecimal.

    Both are "" for one that has none, or of which none is known. suspended: why the NVE is shut out until it comes with
    another one; "" if it is not.
    """

    nve: str
    issuer: str = ""
    serial: str = ""
    suspended: str = ""


@dataclass(frozen=True, slots=True)
class PutCertificate:
    """What is known of the certificate of an NVE."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class PutTold:
    """`nve` is going to be told that the store has come to `version`, where its digest is `digest` (32 bytes)."""

    nve: str
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class DropTold:
    """`nve` no longer remembers that the store had come to `version`."""

    nve: str
    version: int


@dataclass(frozen=True, slots=True)
class PutDispute:
    """`nve` remembers this version of this term, and nothing here says that it was told of it."""

    nve: str
    term: int
    version: int


@dataclass(frozen=True, slots=True)
class DropDispute:
    """`nve` has been seen since, with nothing that is not known here."""

    nve: str


@dataclass(frozen=True, slots=True)
class PutHeld:
    """The number may still stand for this in the switches of these NVEs, though nobody is told so any more."""

    meaning: Meaning
    nves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropHeld:
    """The number stands for this nowhere any more."""

    meaning: Meaning


@dataclass(frozen=True, slots=True)
class SetLongestLease:
    """Nobody has a lease that is longer than this: seconds, in whole milliseconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SetEarlyLease:
    """How long an NVA that starts may prolong leases before it has loaded everything (`nva.sessions.early_leases`):
    seconds, in whole milliseconds. 0: not at all, for the last start has not come to its end."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PutLevelChange:
    """Where the change of the level of a VN, or of a pair of NVEs, is."""

    subject: Subject
    change: LevelChange


@dataclass(frozen=True, slots=True)
class DropLevelChange:
    """It has come to its end, or its subject is no more."""

    subject: Subject


StoreChange: TypeAlias = (
    PutClaim
    | DropClaim
    | PutHold
    | DropHold
    | PutAbsence
    | DropAbsence
    | PutUnsteady
    | DropUnsteady
    | SetVersion
    | PutVap
    | DropVap
    | PutDomainFile
    | SetGeneration
    | DropGeneration
    | PutEpoch
    | DropEpoch
    | Revoke
    | PutCertificate
    | PutTold
    | DropTold
    | PutDispute
    | DropDispute
    | PutHeld
    | DropHeld
    | SetLongestLease
    | SetEarlyLease
    | PutLevelChange
    | DropLevelChange
)


@dataclass(frozen=True)
class Stored:
    """Everything in a store at one version. Holds and absences carry no times: the clock that counted them ended with
    its process.

    history: 16 bytes that are drawn when a store begins, and anew when one continues from a backup. term: 1, and one
    more at each such beginning. version: number of the last commit. domain_file: "" if none was applied.
    epochs: number, secret, and the wall time at which it began. last_epoch: the highest number that one ever had.
    told: NVE, version, digest: how far the store had come, as each NVE may remember it. disputes: NVE, term, version.
    held: numbers that may still stand for what they stood for, and where. longest_lease_s: 0 if it is not known.
    early_lease_s: as in `SetEarlyLease`. level_changes: that are under way.
    """

    history: bytes
    term: int
    version: int
    claims: tuple[Claim, ...] = ()
    holds: tuple[Hold, ...] = ()
    absences: tuple[Absence, ...] = ()
    unsteady: tuple[str, ...] = ()
    versions: tuple[tuple[int, int], ...] = ()
    vaps: tuple[tuple[Place, int], ...] = ()
    domain_file: str = ""
    generations: tuple[tuple[str, int], ...] = ()
    epochs: tuple[tuple[int, Secret, int], ...] = ()
    last_epoch: int = 0
    revocations: tuple[Revocation, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    told: tuple[tuple[str, int, bytes], ...] = ()
    disputes: tuple[tuple[str, int, int], ...] = ()
    held: tuple[tuple[Meaning, tuple[str, ...]], ...] = ()
    longest_lease_s: float = 0.0
    early_lease_s: float = 0.0
    level_changes: tuple[tuple[Subject, LevelChange], ...] = ()


class Store(Protocol):
    """A store of one domain. Not for several threads at once; one process has it open."""

    @property
    def durable(self) -> bool:
        """Whether a commit outlives the process. What is not durable must be said to the operator."""

    @property
    def version(self) -> int:
        """Number of the last commit."""

    @property
    def digest(self) -> bytes:
        """32 bytes that no other sequence of commits ends with, also none that began like this one and branched off;
        b"" if the store is not durable. Raises StoreError."""

    @property
    def domain_file(self) -> str:
        """The text of the domain file that is applied; "" if none was. Raises StoreError."""

    @property
    def held(self) -> tuple[tuple[Meaning, tuple[str, ...]], ...]:
        """As in `Stored`. Raises StoreError."""

    def load(self) -> Stored:
        """Everything. Raises StoreError."""

    def commit(self, changes: Sequence[StoreChange]) -> int:
        """Store all of `changes`, in their order, or nothing; returns the new version. No changes: nothing happens.

        Raises ChangeRefused if they contradict what is stored (the store goes on), or another StoreError, after which
        nobody knows what is stored: the store then refuses everything until it is opened again.
        """

    def close(self) -> None:
        """Let go of it."""
