# SPDX-License-Identifier: Apache-2.0
"""The one exception tree of the controller. `identity.errors` and `nva.store.errors` draw what is theirs beneath it.

    Nvo3secError
    ├── ConfigError              the domain file is wrong; nothing of it was applied
    ├── ArtifactError            the compiled data plane is missing, altered, or not the one this package was built for
    ├── SwitchError              a switch did not do what it was asked
    │   ├── SwitchUnreachable    no connection, or the connection broke
    │   ├── NotPrimary           somebody else is the primary of the switch
    │   ├── PipelineRefused      the pipeline was not accepted; the switch has to be restarted
    │   ├── PipelineMissing      the switch has no pipeline
    │   ├── RpcFailed            a call failed, with gRPC's code and the switch's words
    │   ├── WriteRefused         some updates of a write were refused, each with its reason
    │   ├── ReadRefused          a read was refused, or its answer cannot be understood
    │   ├── NoAnswer             the pipeline did not answer a packet-out in time
    │   ├── IncarnationLost      the registers and the entry of the incarnation no longer agree
    │   ├── IncarnationRetired   the NVA has no keys for the incarnation any more: the switch takes another one
    │   └── ClockFellBehind      the switch's clock has gone back: its limits end later than everybody counts on
    ├── NvaUnreachable           no session with the NVA, or it broke
    │   ├── VersionMismatch      one of the two ends is to be upgraded before they can have a session
    │   └── NvaGoneBack          the NVA's store has not in its history what this agent was told: it is an old backup
    ├── WireError                a message of the other side is not what it must be
    ├── DerivationError          a key cannot be derived
    ├── ContributionRefused      what a peer adds to a key, or its proof, is not what it must be
    ├── NumbersExhausted         a switch has no free number of a kind left
    ├── AuthorizationError       the caller may not ask for this
    │   └── HistoryDisputed      the caller remembers what the store has not in its history: one of them has gone back
    ├── NvaLoading               the NVA has not loaded yet what it is asked about
    ├── NameInUse                another agent of this name has a session, and answers
    └── OperatorError            what the operator asked for cannot be done
        └── NoController         no controller runs where it was looked for

Libraries raise these; only the command line turns them into an exit status. No message contains key material.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


class Nvo3secError(Exception):
    """Root of everything that this package raises on purpose."""


def whereabouts(error: BaseException) -> str:
    """What kind of error, and where: without its text and without variables, either of which could hold a secret."""
    frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return " < ".join([type(error).__name__, *reversed(frames[-6:])])


def cause_of(error: BaseException) -> str:
    """Why something failed, for people: the text of an error that was raised on purpose, the whereabouts of another."""
    return str(error) if isinstance(error, Nvo3secError) else whereabouts(error)


def in_one_line(error: Nvo3secError) -> str:
    """The text of an error for who is told in one line: what is found in a domain file, one after the other."""
    return "; ".join(str(error).split("\n"))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a domain file: `line` counts from 1 (0: unknown), `field` is a dotted path."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "line unknown"
        return f"{where}: {self.field}: {self.message}"


class ConfigError(Nvo3secError):
    """The domain file `source` is wrong; `findings` says what, in the order of its lines."""

    def __init__(self, source: str, findings: Sequence[Finding]) -> None:
        self.source = source
        self.findings = tuple(sorted(findings, key=lambda finding: (finding.line, finding.field)))
        super().__init__("\n".join(f"{source}: {finding}" for finding in self.findings))


class ArtifactError(Nvo3secError):
    """The compiled data plane is missing, altered, or not the one this package was built for."""


class SwitchError(Nvo3secError):
    """A switch did not do what it was asked."""


class SwitchUnreachable(SwitchError):
    """No connection to the switch, or the connection broke."""


class NotPrimary(SwitchError):
    """Somebody else is the primary client of the switch: whoever that is can read keys."""


class PipelineRefused(SwitchError):
    """The pipeline was not accepted. The switch's server is inconsistent afterwards and has to be restarted."""


class PipelineMissing(SwitchError):
    """The switch has no pipeline."""


@dataclass(frozen=True)
class RefusedUpdate:
    """One update that a switch refused: `entry` names it without secrets, `reason` is the switch's code and text."""

    entry: str
    reason: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.reason}"


class WriteRefused(SwitchError):
    """Some updates of a write were refused.

    `refused` holds every refused update, `applied` counts the others of the same write, which took effect: P4Runtime on
    BMv2 continues after an error. `complete` is False if the switch did not say which ones failed; the caller then has
    to read back before it knows anything.
    """

    def __init__(self, switch: str, refused: Sequence[RefusedUpdate], applied: int, *, complete: bool = True) -> None:
        self.refused = tuple(refused)
        self.applied = applied
        self.complete = complete
        known = f"{applied} others applied" if complete else "which others applied is unknown"
        reasons = "; ".join(map(str, self.refused))
        super().__init__(f"{switch}: {len(self.refused)} updates refused, {known}: {reasons}")


class ReadRefused(SwitchError):
    """A read was refused, or its answer cannot be understood."""


class NoAnswer(SwitchError):
    """The pipeline did not answer a packet-out in time."""


class IncarnationLost(SwitchError):
    """The registers and the entry of the incarnation no longer agree: sequence numbers or replay windows are gone."""


class IncarnationRetired(SwitchError):
    """The NVA has no keys for this incarnation any more: the switch is to take another one, with new replay rings."""


class ClockFellBehind(SwitchError):
    """The switch's clock has gone on less than ours: its lease and its keys end later than everybody counts on."""


class NvaUnreachable(Nvo3secError):
    """No session with the NVA, or it broke."""


class VersionMismatch(NvaUnreachable):
    """One of the two ends is to be upgraded before they can have a session; the text says which."""


class NvaGoneBack(NvaUnreachable):
    """The NVA's store does not have in its history what this agent was told of it: it is an old backup."""


class WireError(Nvo3secError):
    """A message of the other side is not what it must be. Names the field, never what was in it."""

    def __init__(self, field: str, what: str) -> None:
        self.field = field
        super().__init__(f"{field}: {what}")


class DerivationError(Nvo3secError):
    """A key cannot be derived: its context is incomplete or malformed."""


class AuthorizationError(Nvo3secError):
    """The caller may not ask for this."""


class HistoryDisputed(AuthorizationError):
    """The caller remembers what the NVA's store does not have in its history: one of them has gone back."""


class NvaLoading(Nvo3secError):
    """The NVA has not loaded yet what it is asked about: ask again."""


class NameInUse(Nvo3secError):
    """Another agent with the caller's name has a session, and answers: it is not displaced."""


class OperatorError(Nvo3secError):
    """What the operator asked for cannot be done."""


def no_such(what: str, name: str, known: Iterable[str]) -> OperatorError:
    """What is said of a name that nothing has. what: `NVE`. known: the names that there are."""
    return OperatorError(f"no such {what}: {name or repr(name)}; there are: {', '.join(sorted(known))}")


class NoController(OperatorError):
    """No controller runs where it was looked for."""
