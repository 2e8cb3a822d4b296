# SPDX-License-Identifier: Apache-2.0
"""The domain file that an NVA runs: which one at its start, and another one while it runs.

What was applied last is in the NVA's store, as a text. It is what runs after a restart, whatever has become of the
file that the operator started the NVA with; that file is only read, never written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from nvo3sec.config import DomainText
from nvo3sec.domain.overlay.difference import Change, Difference, difference
from nvo3sec.domain.overlay.difference.model import Fields
from nvo3sec.domain.overlay.difference.model import Value as Words
from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import ConfigError, OperatorError
from nvo3sec.nva.administration import Administration
from nvo3sec.operator.calls import Method, answered_by
from nvo3sec.operator.documents import AppliedFile, ChangeLine, FileDifference, Value
from nvo3sec.system import garbage

APPLIED = "the domain file that was applied"
CHANGES_SHOWN = 2000
"""In one answer: what a client takes in one message."""
REFUSALS_SHOWN = 10


@dataclass(frozen=True)
class Start:
    """What an NVA begins with: a file and its domain, how the file that it was given differs from it, and the domain
    that ran before if that is another one."""

    file: DomainText
    domain: Domain
    ignored: Difference
    before: Domain | None = None


def at_start(
    given: DomainText,
    domain: Domain,
    stored: str,
    *,
    take_given: bool,
    held: Mapping[Meaning, Collection[str]] | None = None,
) -> Start:
    """What runs: `stored`, the text that was applied last; or the file that is given, if none was or `take_given`.

    domain: what `given` says. held: numbers that may still stand for what they stood for, and where. Raises ConfigError
    if `stored` cannot be read by this program, OperatorError if the file that is given is to be taken, and has changes
    that are refused while the domain lives: its switches do.
    """
    if not stored:
        return Start(given, domain, Difference(()))
    if stored == given.text:
        return Start(given, domain, Difference(()))
    # Relative paths start where they did: at the directory of the file that the NVA is started with.
    applied = replace(given, text=stored, source=APPLIED)
    try:
        running = applied.parse()
    except ConfigError:
        if take_given:
            return Start(given, domain, Difference(()))
        raise
    if take_given:
        _require_none(difference(running, domain, held).refused_at_start)
        return Start(given, domain, Difference(()), running)
    changes = difference(running, domain)
    return Start(applied, running, changes)


class DomainFileOperations:
    """Shows and changes the domain of a running NVA. `file`: the one that it runs."""

    def __init__(self, nva: Administration, file: DomainText) -> None:
        self._nva = nva
        self._file = file
        self._one_at_a_time = asyncio.Lock()
        self._log = structlog.get_logger("nva")

    @property
    def methods(self) -> dict[str, Method]:
        """What operators may ask, by name."""
        return answered_by(self)

    @property
    def base(self) -> str:
        """Names the domain that runs: whoever applies another one says what it was compared with."""
        return hashlib.sha256(self._file.text.encode()).hexdigest()

    async def domain_show(self) -> AppliedFile:
        """The text of the file that runs."""
        return AppliedFile(self._nva.domain.name, self.base, self._file.text)

    async def domain_diff(self, text: str) -> FileDifference:
        """What would change with this file. Raises ConfigError."""
        base, running, same_text = self.base, self._nva.domain, text == self._file.text
        _, wanted = await self._parsed(text)
        held = self._nva.held
        return await asyncio.to_thread(compared, running, wanted, base=base, same_text=same_text, held=held)

    async def domain_apply(self, text: str, base: str) -> FileDifference:
        """Run with this file from now on: the whole of it, or nothing. Returns the difference.

        base: what the file was compared with. Raises ConfigError; OperatorError if something else runs by now, or the
        file has changes that are refused while the domain lives; StoreError. Nothing has changed then.
        """
        async with self._one_at_a_time:
            file, wanted = await self._parsed(text)
            running = self._nva.domain
            changes = await asyncio.to_thread(difference, running, wanted, self._nva.held)
            if base != self.base:
                raise OperatorError("another file was applied meanwhile; look at the difference again")
            _require_none(changes.refused)
            with garbage.paused():
                self._nva.configure(wanted, file.text)
            self._file = file
            self._log.info("domain file applied", changes=len(changes.changes), base=self.base)
            return _report(changes, self.base, same_text=True)

    async def _parsed(self, text: str) -> tuple[DomainText, Domain]:
        # In a thread: a large file takes seconds, and leases are renewed meanwhile.
        file = replace(self._file, text=text, source="the domain file")
        return file, await asyncio.to_thread(file.parse)


def compared(
    old: Domain,
    new: Domain,
    *,
    base: str = "",
    same_text: bool = False,
    held: Mapping[Meaning, Collection[str]] | None = None,
) -> FileDifference:
    """The difference between two domains, as operators are shown it. held: as for `difference`."""
    return _report(difference(old, new, held), base, same_text=same_text)


def _report(changes: Difference, base: str, *, same_text: bool) -> FileDifference:
    lines, total = list(changes.lines()), len(changes.changes)
    if len(lines) > CHANGES_SHOWN:
        lines = [*lines[:CHANGES_SHOWN], f"and more: {total} changes in all"]
    return FileDifference(
        base=base,
        same_text=same_text,
        total=total,
        unshown=total - len(changes.shown),
        lines=tuple(lines),
        # What is not shown is counted, and touches what `nves` and `vns` say.
        changes=tuple(map(_line, changes.changes[:CHANGES_SHOWN])),
        nves=changes.nves,
        vns=changes.vns,
        refused=tuple(f"{one.what}: {one.refusal}" for one in changes.refused),
    )


def _line(change: Change) -> ChangeLine:
    return ChangeLine(
        action=change.action.name.lower(),
        kind=change.kind.value,
        name=change.name,
        field=change.field,
        old=_told(change.old),
        new=_told(change.new),
        effect=change.effect.value,
        nves=change.nves,
        vns=change.vns,
        refusal=change.refusal,
        weaker=change.weaker,
        note=change.note,
    )


def _told(value: Words | Fields | None) -> Value | dict[str, Value] | None:
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items()}
    return None if value is None else _value(value)


def _value(value: Words) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _require_none(refused: Sequence[Change]) -> None:
    if refused:
        reasons = "; ".join(f"{one.what}: {one.refusal}" for one in refused[:REFUSALS_SHOWN])
        raise OperatorError(f"nothing was applied: {reasons}")
