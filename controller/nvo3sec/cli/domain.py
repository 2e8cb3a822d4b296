# SPDX-License-Identifier: Apache-2.0
"""The domain file: is it right, what would change with it, and from now on.

What reads it is imported where it is used, because every command that is about something else should start quickly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nvo3sec.cli import render
from nvo3sec.cli.operate import Answer, Where, not_ready_after, show
from nvo3sec.cli.options import (
    NvaOption,
    OperatorCredentials,
    Output,
    OutputOption,
    RunDirectory,
    YesOption,
    path_argument,
    path_option,
    wait_option,
)
from nvo3sec.cli.tell import aside, confirm, counted, to_stderr
from nvo3sec.errors import Nvo3secError, OperatorError
from nvo3sec.operator.documents import AppliedFile, FileDifference
from nvo3sec.operator.json_form import from_json, to_json
from nvo3sec.system.plain import plain_file

app = typer.Typer(help="The domain file: check, compare, apply.", no_args_is_help=True)

REFUSALS_SHOWN = 10
"""Of a file that would be refused, in its error; all of them are in the difference."""
ESCAPED = "what is not printable was written as an escape; domain show -o json has the text as it was applied"
FileArgument = Annotated[Path, path_argument("FILE", help="The domain file.")]


@app.command("check")
def check(file: FileArgument, output: OutputOption = Output.TABLE) -> None:
    """Is the file right? Names the line and the field of everything that is wrong, and what would be right."""
    from nvo3sec.config import copied_dscps, load_domain

    found = load_domain(file)
    sizes = {"nves": len(found.nves), "vns": len(found.vns), "tenant_systems": len(found.tenant_systems)}
    one_of = zip(sizes.values(), ("NVE", "VN", "tenant system"), strict=True)
    said = ", ".join(counted(number, one) for number, one in one_of)
    show({"file": str(file), "domain": found.name} | sizes, output, f"{file}: {found.name}: {said}")
    for nve, vn in copied_dscps(found):
        aside(f"the underlay sees the DSCP of each packet that {nve} encrypts of {vn}: its dscp.model is copy")


@app.command("show")
def show_domain(
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """The file that the NVA runs, as it was applied. What is not printable in it is an escape; not so with -o json."""
    exact = Where(run_dir, nva, credentials).ask_exactly("domain_show")
    text = from_json(AppliedFile, exact).text
    if output is Output.JSON:
        show(exact, output)
    else:
        # Also into a pipe or a file: whoever looks at these later has a terminal, too.
        told = plain_file(text)
        print(told, end="")
        if told != text:
            aside(ESCAPED)


@app.command("diff")
def diff(
    file: FileArgument,
    old: Annotated[
        Path | None,
        path_option("--from", help="Compare with this file; with what the NVA runs unless told.", show_default=False),
    ] = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What would change with this file: + added, ~ changed, - removed. Changes nothing.

    Exit status 1: the file would be refused.
    """
    from nvo3sec.config import read_domain

    wanted = read_domain(file)
    domain = wanted.parse()  # here first, so that errors name the file and its lines
    if old is None:
        answer = Where(run_dir, nva, credentials).ask(FileDifference, "domain_diff", text=wanted.text)
    else:
        from nvo3sec.operator.domain_file import compared

        other = read_domain(old)
        ours = compared(other.parse(), domain, same_text=other.text == wanted.text)
        answer = Answer(to_json(ours), ours)
    show(answer, output, *render.difference(answer.said))
    if refused := answer.said.refused:
        more = f"; and {len(refused) - REFUSALS_SHOWN} more" if len(refused) > REFUSALS_SHOWN else ""
        raise OperatorError(f"{file} would be refused: {'; '.join(refused[:REFUSALS_SHOWN])}{more}")


@app.command("apply")
def apply(
    file: FileArgument,
    yes: YesOption = False,
    wait: Annotated[
        float,
        wait_option("Wait up to this many seconds until every switch and every key is as it should be."),
    ] = 0.0,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have the NVA run this file from now on: the whole of it, or nothing.

    Shows the difference. Asks first. The NVA keeps the text in its database and runs it also after a restart.
    """
    from nvo3sec.config import read_domain

    wanted = read_domain(file)
    wanted.parse()
    where = Where(run_dir, nva, credentials)
    shown = where.ask(FileDifference, "domain_diff", text=wanted.text)
    found = shown.said
    if found.refused:
        show(shown, output, *render.difference(found))
        raise OperatorError("nothing was applied: " + "; ".join(found.refused[:10]))
    if found.changes or not found.same_text:
        if not yes:
            to_stderr(*render.difference(found))
        confirm("Apply?", yes=yes, nothing="nothing was applied")
    answer = where.ask(FileDifference, "domain_apply", text=wanted.text, base=found.base)
    said = answer.said
    show(answer, output, *(render.difference(said) if yes and said.changes else ()), _done(said))
    if wait > 0:
        sys.stdout.flush()  # it is done, whatever becomes of the rest
        _wait_until_ready(where, wait)


def _done(result: FileDifference) -> str:
    """How many changes there were: those that a difference shows, and routes beside them."""
    if not result.total:
        return "nothing to change"
    unshown = result.unshown or 0  # an older NVA does not say it
    routes = f" and {counted(unshown, 'route')} that came or went with an NVE" if unshown else ""
    touched = ", ".join(result.nves) or "no NVE"
    return f"applied: {counted(result.total - unshown, 'change')}{routes}; touched: {touched}"


def _wait_until_ready(where: Where, wait_s: float) -> None:
    """Raises OperatorError that says that the file is applied all the same."""
    try:
        status = where.wait(wait_s).said
    except Nvo3secError as error:
        raise OperatorError(f"the file is applied; whether all is ready is not known: {error}") from None
    if not status.ready:
        raise OperatorError(f"the file is applied, and {not_ready_after(wait_s, status)}")
