# SPDX-License-Identifier: Apache-2.0
"""Keys by name: what is where, new ones, whom to shut out, and whether the switches hold what they should."""

from __future__ import annotations

from typing import Annotated

import typer

from nvo3sec.cli import known, render_keys
from nvo3sec.cli.operate import Answer, Where, show
from nvo3sec.cli.options import NvaOption, OperatorCredentials, Output, OutputOption, RunDirectory, YesOption
from nvo3sec.cli.tell import aside, confirm, counted
from nvo3sec.operator.documents import KeyAtEnds, KeyAudit, MarksReset, Revoked, Rotated

app = typer.Typer(help="Keys of the tunnels, by name.", no_args_is_help=True)

Nves = Annotated[
    list[str] | None, typer.Argument(metavar="[NVE]...", help="One NVE, or several: what is between them.")
]
VnOption = Annotated[str | None, typer.Option("--vn", help="Only tunnels that carry this VN.", show_default=False)]


@app.command("list")
def key_list(
    nves: Nves = None,
    vn: VnOption = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every key: its life, its use, and at both ends what is expected and what the switch holds.

    Exit status 1 if that is not known of a switch.
    """
    kind = tuple[KeyAtEnds, ...]
    answer: Answer[tuple[KeyAtEnds, ...]] = Where(run_dir, nva, credentials).ask(
        kind, "key_list", nves=list(nves or ()), vn=vn
    )
    *others, last = nves or [""]
    ends = f" between {', '.join(others)} and {last}" if others else f" of {last}" if last else ""
    which = ends + (f" that carry {vn}" if vn else "")
    show(answer, output, *render_keys.keys(answer.said, which and f" of tunnels{which}"))
    silent = {one.receiver for one in answer.said if one.receiver_has is None}
    silent |= {one.sender for one in answer.said if one.sender_has is None}
    if silent:
        aside(f"what the switches of {', '.join(sorted(silent))} hold is not known; `nvo3sec keys audit` says why")
        raise typer.Exit(1)


@app.command("rotate")
def rotate(
    nves: Nves = None,
    vn: VnOption = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """New keys, make before break: for all tunnels, those of one NVE, those between several, those that carry a VN."""
    answer = Where(run_dir, nva, credentials).ask(Rotated, "rotate", nves=list(nves or ()), vn=vn)
    show(answer, output, f"new keys asked for in {counted(answer.said.directions, 'direction')}")


@app.command("revoke")
def revoke(
    nve: Annotated[str, typer.Argument(metavar="NVE", help="The NVE to shut out.")],
    yes: YesOption = False,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shut an NVE out for good, everywhere and at once. A device that was repaired needs another name. Asks first."""
    where = Where(run_dir, nva, credentials)
    known.some_nve(where, nve)
    confirm(f"Shut {nve} out for good? No device of this name can come back.", yes=yes)
    answer = where.ask(Revoked, "revoke", nve=nve)
    show(answer, output, f"{nve} is cut off; every other switch confirmed it within {answer.said.cut_off_s:.3f} s")


@app.command("reset-marks")
def reset_marks(
    nve: Annotated[str, typer.Argument(help="The NVE whose generations begin anew.")],
    yes: YesOption = False,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Begin anew with the generations of what an NVE receives; its switch takes a new incarnation. Asks first.

    For generations that have run out, or are below what the replay rings of its switch have seen. Its tunnels are
    interrupted for as long as it takes to give them new keys, those of others are not.
    """
    where = Where(run_dir, nva, credentials)
    if not yes:
        known.some_nve(where, nve)
    question = f"All tunnels of {nve} end, and begin again under new keys. Reset its marks?"
    confirm(question, yes=yes, nothing="nothing was reset")
    answer = where.ask(MarksReset, "reset_marks", nve=nve)
    show(answer, output, f"generations of what {nve} receives begin anew; its switch is to take a new incarnation")


@app.command("audit")
def audit(
    nve: Annotated[str | None, typer.Argument(help="One NVE; all if none is named.", show_default=False)] = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have the switches read, and compare with what they should hold. Exit status 1 if anything differs."""
    answer = Where(run_dir, nva, credentials).ask(KeyAudit, "key_audit", nve=nve)
    show(answer, output, *render_keys.audit(answer.said))
    if not answer.said.held:
        raise typer.Exit(1)
