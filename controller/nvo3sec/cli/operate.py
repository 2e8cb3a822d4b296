# SPDX-License-Identifier: Apache-2.0
"""Commands that ask an NVA, or a process of a run directory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, overload

import typer
from rich.console import Console

from nvo3sec.cli import render
from nvo3sec.cli.options import (
    NvaOption,
    OperatorCredentials,
    Output,
    OutputOption,
    RunDirectory,
    UsageError,
    wait_option,
)
from nvo3sec.errors import NoController, OperatorError
from nvo3sec.operator.console import ask, choose_run_directory, has_been_an_nva
from nvo3sec.operator.documents import Counters, NoCounters, NotDone, Reconciled, Status
from nvo3sec.operator.json_form import from_json, to_json
from nvo3sec.system.plain import plain, plain_value

T = TypeVar("T")
APPEAR_S = 0.05
NOT_READY, READY_WITH_WARNINGS = 1, 3
"""Exit statuses of `status`: something is missing; everything is ready, and something ends soon, or has no
successor."""
PIPE_WIDTH = 10_000
"""Columns where there is no terminal: nothing is folded in a log."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer: as a JSON value, for programs, with all that it has; and as what this program understands of it."""

    json: Any
    said: T


@overload
def answer_of(kind: type[T], value: Any) -> Answer[T]: ...
@overload
def answer_of(kind: Any, value: Any) -> Answer[Any]: ...
def answer_of(kind: Any, value: Any) -> Answer[Any]:
    """An answer that is a document of this kind, with texts as they may be shown. Raises OperatorError."""
    told = plain_value(value)
    return Answer(told, from_json(kind, told))


@dataclass(frozen=True)
class Where:
    """Whom to ask: an NVA over the network, or the process of a run directory."""

    run_dir: Path | None
    nva: str | None
    credentials: Path | None

    def wait(self, wait_s: float) -> Answer[Status]:
        """The status as soon as everything is ready, or the last one when the time is up; whoever is asked may still
        be starting. Raises OperatorError where there is no status.

        An agent starts sooner than the NVA beside it, and does not know of everything: it is asked where there is no
        NVA, once it is ready, which it is not without an NVA somewhere.
        """
        deadline = time.monotonic() + wait_s
        if self.nva is not None:
            try:
                return self.ask(Status, "wait", appear_s=wait_s, wait_s=wait_s)
            except NoController:
                raise
            except OperatorError as error:
                return self._last(error, deadline)
        while True:
            try:
                place = choose_run_directory(self.run_dir, nva=True)
                return answer_of(Status, ask(place, "wait", wait_s=max(0.0, deadline - time.monotonic())))
            except NoController:
                is_late = time.monotonic() >= deadline
                answer = self._of_an_agent_alone()
                if answer is not None and (answer.said.ready or is_late):
                    return answer
                if is_late:
                    raise
                time.sleep(APPEAR_S)
            except OperatorError as error:
                return self._last(error, deadline)

    def _last(self, refusal: OperatorError, deadline: float) -> Answer[Status]:
        """The status of now, if the time is up. Raises `refusal` before: that is about something else."""
        if time.monotonic() < deadline:
            raise refusal
        return self.ask(Status, "status")

    def _of_an_agent_alone(self) -> Answer[Status] | None:
        """Its status; None if there is none, or several, or the directory of an NVA."""
        if has_been_an_nva(self.run_dir):
            return None
        try:
            return self.ask(Status, "status")
        except OperatorError:  # nobody, several, or one that has just ended
            return None

    @overload
    def ask(self, kind: type[T], method: str, /, **params: Any) -> Answer[T]: ...
    @overload
    def ask(self, kind: Any, method: str, /, **params: Any) -> Answer[Any]: ...
    def ask(self, kind: Any, method: str, /, **params: Any) -> Answer[Any]:
        """The answer, whose texts are as they may be shown: agents, hypervisors and tenants have a part in them.

        kind: of document (`operator.documents`). Raises OperatorError, also for an answer that is none.
        """
        return answer_of(kind, self.ask_exactly(method, **params))

    def ask_exactly(self, method: str, /, **params: Any) -> Any:
        """The answer as it is."""
        if self.nva is None:
            return ask(choose_run_directory(self.run_dir), method, **params)
        if self.credentials is None:
            raise UsageError("an NVA asks who you are: use --credentials, or set NVO3SEC_CREDENTIALS")
        # Imported here, because it takes a while and nothing else needs it.
        from nvo3sec.system import logs
        from nvo3sec.transport.credentials import NvaAddress
        from nvo3sec.transport.operator_client import ask_nva

        logs.configure(level="error")  # what went wrong is told once, by the exception
        return ask_nva(NvaAddress.parse(self.nva), self.credentials, method, **params)


def show(result: Any, output: Output, *tables: Any) -> None:
    """Print a result: as it is for programs, as `tables` for people. result: an answer, or a document of our own.

    A text among `tables` is one line, whatever is in it: names of files, too, are somebody else's.
    """
    if output is Output.JSON:
        print(document(result.json if isinstance(result, Answer) else to_json(result)))
        return
    # A text is a text: brackets are no styles and no links, and colons no pictures.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)
    for table in tables:
        console.print(plain(table) if isinstance(table, str) else table, soft_wrap=True)


def document(result: Any) -> str:
    """A result as JSON: in ASCII, and of nothing that a browser would take for its own if it were put into a page."""
    text = json.dumps(result, indent=1, allow_nan=False)
    return text.translate(_MARKUP)


_MARKUP = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}
"""These stand in JSON only within texts, where an escape is the same."""


def status(
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
    wait: Annotated[
        float,
        wait_option("Wait up to this many seconds for an NVA, and until everything is ready."),
    ] = 0.0,
) -> None:
    """Switches and keys: what is expected, what is there, and how long it lasts.

    Exit status 0: everything is ready. 1: it is not. 3: it is, and something ends soon.
    """
    where = Where(run_dir, nva, credentials)
    answer = where.wait(wait) if wait > 0 else where.ask(Status, "status")
    said = answer.said
    show(answer, output, *render.status(said))
    if not said.ready and wait > 0:
        raise OperatorError(not_ready_after(wait, said))
    if not said.ready:
        raise typer.Exit(NOT_READY)
    if said.warnings:
        raise typer.Exit(READY_WITH_WARNINGS)


def not_ready_after(wait_s: float, status: Status) -> str:
    """What is said of a status that was waited for, and is not ready: seconds as they were asked for."""
    return f"not ready after {wait_s:g} s: {'; '.join(status.not_ready)}"


def counters(
    nve: Annotated[str | None, typer.Argument(help="One NVE; all if none is named.", show_default=False)] = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Drops by reason, and traffic of SAs, VAPs and VNs."""
    answer: Answer[Counters] = Where(run_dir, nva, credentials).ask(Counters, "counters", nve=nve)
    show(answer, output, *render.counters(answer.said))
    _fail_unless_complete(answer.said)


def reconcile(
    nve: Annotated[str | None, typer.Argument(help="One NVE; all if none is named.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")] = False,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read the switches, and make them what they should be."""
    where = Where(run_dir, nva, credentials)
    answer: Answer[Reconciled] = where.ask(Reconciled, "reconcile", nve=nve, dry_run=dry_run)
    show(answer, output, *render.updates(answer.said, dry_run=dry_run))
    _fail_unless_complete(answer.said.values())


def _fail_unless_complete(answers: Iterable[Any]) -> None:
    """What there is has been shown; a program has to notice that it is not all that is expected."""
    if any(isinstance(one, NoCounters | NotDone) and not one.revoked for one in answers):
        raise typer.Exit(1)
