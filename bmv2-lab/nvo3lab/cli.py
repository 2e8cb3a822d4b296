# SPDX-License-Identifier: Apache-2.0
"""Commands of the lab: `lab up`, `lab run`, `lab ps`, `lab ping`, `lab shell`, and `drill`.

Exit status: 0 everything held, 1 something did not, or is not there, or could not be found out, 2 the command line is
wrong, 130 interrupted before it was through (143, 129: by SIGTERM, SIGHUP). Results go to standard output, progress to
standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Coroutine, Iterable
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nvo3lab import lab as lab_module
from nvo3lab import report, rundir, session, traffic
from nvo3lab.drill.model import Result
from nvo3lab.drill.run import ATTACKS, Drill, excluded, select
from nvo3lab.drill.run import summary as drill_summary
from nvo3lab.errors import AbsentError, LabError, UsageError, words_of
from nvo3lab.view import View
from nvo3lab.wires import linux

T = TypeVar("T")
_LOOK_SECONDS = 2.0
"""Seconds between two looks at what the switches have warned of."""
_PING_PATIENCE, _PING_SECONDS = 120.0, 0.1
"""How long the answers to `ping` may take: for the host and what it waits for at the end, and for each request, of
which the host sends one every 20 ms where its machine lets it."""

_MOST_REQUESTS = 10000

lab = typer.Typer(name="lab", no_args_is_help=True, help="A small overlay on this machine: three NVEs, two tenants.")


class Target(StrEnum):
    embedded = "embedded"
    bmv2 = "bmv2"


class Wires(StrEnum):
    auto = "auto"
    kernel = "kernel"
    unix = "unix"


class Output(StrEnum):
    table = "table"
    json = "json"


TargetOption = Annotated[Target, typer.Option("--target", help="Switch: the project's own, or BMv2.")]
WiresOption = Annotated[
    Wires,
    typer.Option(
        "--wires",
        help="kernel: namespaces, veth, the kernel's stack in every host. unix: sockets and a small stack of the"
        " lab's own, for machines that allow nothing else. auto: the best that this machine allows.",
    ),
]


def _check_name(name: str | None) -> str | None:
    if name is not None and not name.isidentifier():
        raise _fail(UsageError(f"--name {name}: letters, digits and underscores, please"))
    return name


NameOption = Annotated[
    str, typer.Option("--name", help="Name of the lab; several may run at a time.", callback=_check_name)
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Form of the result on standard output.")]


def _some_path(text: str) -> Path:
    if not text:
        raise typer.BadParameter("an empty path; write . for the current directory")
    return Path(text)


def _count(text: object) -> int:
    written = str(text)  # the default comes as the number that it is
    if not (written.isascii() and written.isdecimal() and len(written) < 10 and 1 <= int(written) <= _MOST_REQUESTS):
        raise typer.BadParameter(f"{written!r} is no whole number from 1 to {_MOST_REQUESTS}")
    return int(written)


CountOption = Annotated[
    int,
    typer.Option("--count", "-c", parser=_count, metavar=f"1..{_MOST_REQUESTS}", help="Echo requests to send."),
]
CapturesOption = Annotated[
    Path | None,
    typer.Option("--captures", parser=_some_path, metavar="PATH", help="Leave a pcap file of every port here."),
]


def _fail(error: LabError) -> typer.Exit:
    # What was given on the command line makes no lines; logs of processes, and advice, have several.
    lines = [str(error)] if isinstance(error, UsageError | AbsentError) else str(error).split("\n")
    with contextlib.suppress(OSError):  # nobody can be told; the exit status stays
        print("\n".join(f"nvo3sec: {report.plain(line)}" for line in lines), file=sys.stderr)
    return typer.Exit(2 if isinstance(error, UsageError) else 1)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except LabError as error:
        raise _fail(error) from None


def _status(ended: signal.Signals | None, faults: list[str]) -> int:
    """The exit status: as shells have it where a signal ended the command before it was through."""
    if ended is not None:
        return 128 + ended
    return 1 if faults else 0


def _options(target: Target, wires: Wires, name: str, captures: Path | None) -> lab_module.Options:
    return lab_module.Options(target=target.value, wires=wires.value, name=name, captures=captures)


def elsewhere(name: str, here: str, there: str) -> str:
    """What to try in another terminal. here: options of what is asked; there: environment that finds this lab."""
    which = "" if name == "lab" else f" --name {name}"
    ping, drill = f"{there}nvo3sec lab ping red1 red2{which}", f"{there}nvo3sec drill{which}"
    return f"another terminal: nvo3sec status{here}, {ping}, {drill}"


@lab.command()
def up(
    target: TargetOption = Target.embedded,
    wires: WiresOption = Wires.auto,
    name: NameOption = "lab",
    captures: CapturesOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Bring the lab up and keep it up until Ctrl-C."""
    progress = report.Progress()

    async def wait(running: lab_module.Lab) -> None:
        path = running.run_directory.path
        with rundir.found_by_operators(path) as found:
            progress(f"up; run directory {path}")
            if found.others:
                progress(f"besides {', '.join(found.others)}; commands ask which is meant, so give --run-dir")
            here = "" if found.link is not None and not found.others else f" --run-dir {path}"
            # A lab of this name may also be where others look that are told nothing.
            there = f"NVO3LAB_RUN={shlex.quote(os.environ['NVO3LAB_RUN'])} " if "NVO3LAB_RUN" in os.environ else ""
            progress(elsewhere(name, here, there))
            progress("Ctrl-C ends the lab")
            while True:
                for warning in running.warnings():
                    progress(warning)
                await asyncio.sleep(_LOOK_SECONDS)

    outcome = _run(session.run(_options(target, wires, name, captures), wait, progress))
    if outcome.error is not None:
        raise _fail(outcome.error)
    faults = outcome.closing.faults()
    ended = None if outcome.was_up else outcome.interrupted
    if ended is not None:
        faults.insert(0, f"ended by {ended.name} before it was up")
    if output is Output.json:
        document = {"observation": outcome.closing.observation, "held": not faults, "faults": faults}
        typer.echo(json.dumps(document, indent=1))
    else:
        console = report.results()
        if outcome.closing.observation:
            console.print(report.underlay_table(outcome.closing.observation))
            console.print(report.vn_table(outcome.closing.observation))
        report.print_faults(console, faults)
    raise typer.Exit(_status(ended, faults))


@lab.command()
def run(
    target: TargetOption = Target.embedded,
    wires: WiresOption = Wires.auto,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the lab; one of its own unless told.", callback=_check_name)
    ] = None,
    captures: CapturesOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Bring the lab up, let the tenants talk, play every attack, look at the underlay, and take it all down again."""
    progress = report.Progress()

    async def body(running: lab_module.Lab) -> tuple[traffic.Traffic, list[Result], traffic.Traffic]:
        progress.heading("Tenants")
        first = await traffic.run(running.view, progress)
        progress.heading("Attackers")
        results = await Drill(running.view, progress.result, progress.attack, progress).run(ATTACKS)
        progress.heading("Tenants, once more")
        second = await traffic.run(running.view, progress, await excluded(running.view))
        running.audit_switches()
        progress("no switch has a TCP or UDP socket")
        return first, results, second

    progress.heading("Lab")
    # Nobody else needs to find this lab, and several may run at a time.
    options = _options(target, wires, name or f"run{os.getpid()}", captures)
    outcome = _run(session.run(options, body, progress))
    if outcome.error is not None:
        raise _fail(outcome.error)
    faults = outcome.closing.faults()
    results: list[Result] = []
    document: dict[str, Any] = {"target": target.value, "observation": outcome.closing.observation}
    ended = None
    if outcome.value is None:
        ended = outcome.interrupted
        faults.insert(0, f"ended by {ended.name} before it was through" if ended else "ended before it was through")
    else:
        first, results, second = outcome.value
        faults = first.faults + second.faults + faults
        faults += [f"{result.name}: {fault}" for result in results for fault in result.faults]
        document |= {"traffic": [first.to_json(), second.to_json()], "drill": drill_summary(results)}
    document |= {"held": not faults, "faults": faults}
    if output is Output.json:
        typer.echo(json.dumps(document, indent=1))
    else:
        console = report.results()
        tables = [report.drill_table(results)] if results else []
        if observed := outcome.closing.observation:
            tables += [report.underlay_table(observed), report.vn_table(observed)]
        console.print(*tables, sep="\n\n")
        report.print_faults(console, faults)
        if ended is None:
            console.print("[bold red]Not everything held.[/]" if faults else "[bold green]Everything held.[/]")
    raise typer.Exit(_status(ended, faults))


@lab.command()
def ps(name: NameOption = "lab", output: OutputOption = Output.table) -> None:
    """List the processes of a running lab. Exit status 1 if one is gone."""
    try:
        state = rundir.load_state(name)
    except LabError as error:
        raise _fail(error) from None
    alive = {process: rundir.alive(state, process) for process in state["pids"]}
    if output is Output.json:
        rows = {process: {"pid": pid, "alive": alive[process]} for process, pid in state["pids"].items()}
        typer.echo(json.dumps(rows, indent=1))
    else:
        report.results().print(report.process_table(name, state, alive))
    raise typer.Exit(0 if all(alive.values()) else 1)


def _address(text: str, hosts: Iterable[str]) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise AbsentError(f"{text} is no IPv4 address, and no host is named so; there are {', '.join(hosts)}") from None


@lab.command()
def ping(
    source: Annotated[str, typer.Argument(help="Host that sends, such as red1.")],
    destination: Annotated[str, typer.Argument(help="Host or IPv4 address.")],
    count: CountOption = 5,
    name: NameOption = "lab",
    output: OutputOption = Output.table,
) -> None:
    """Send echo requests from one host of a running lab to another."""

    async def work() -> dict[str, Any]:
        view = await View.of_running(name)
        try:
            hosts = {host.name: host for host in view.topology.hosts}
            if source not in hosts:
                raise AbsentError(f"no host named {source}; there are {', '.join(hosts)}")
            ip = hosts[destination].ip if destination in hosts else _address(destination, hosts)
            answer: dict[str, Any] = await view.hosts[source].call(
                "ping", destination=ip, count=count, timeout=_PING_PATIENCE + count * _PING_SECONDS
            )
            return answer
        finally:
            await view.close()

    answer = _run(work())
    if output is Output.json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        median = "—" if answer["median_ms"] is None else f"{answer['median_ms']:.2f} ms"
        typer.echo(f"{answer['received']} of {answer['sent']} answers, median round trip {median}")
    raise typer.Exit(0 if answer["received"] == answer["sent"] else 1)


def prompt(process: str) -> dict[str, str]:
    """What to add to the environment of a shell, for its prompt to say where it is.

    The files that a bash starts with would undo that; what is in PROMPT_COMMAND runs after them, and here once.
    """
    here = f"({process}) "
    once = f'case "$PS1" in "{here}"*) ;; *) PS1="{here}$PS1" ;; esac; unset PROMPT_COMMAND'
    return {"PS1": here + ("# " if os.geteuid() == 0 else "$ "), "PROMPT_COMMAND": once}


@lab.command()
def shell(
    process: Annotated[str, typer.Argument(help="Host, NVE (leaf1), or underlay.")], name: NameOption = "lab"
) -> None:
    """Open a shell in the network namespace of a process of a running lab."""
    try:
        state = rundir.load_state(name)
        if process not in state["pids"]:
            raise AbsentError(f"no process named {process}; there are {', '.join(state['pids'])}")
        if not state["kernel"]:
            raise AbsentError("this lab has no namespaces (--wires unix); `nvo3sec lab ping` works in both")
        if not rundir.alive(state, process):
            raise AbsentError(f"{process} of the lab named {name} is gone; `nvo3sec lab ps` shows what is left")
        linux.enter_namespaces_of(state["pids"][process])
    except LabError as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(LabError(f"cannot enter the namespace of {process}: {words_of(error)}")) from None
    program = os.environ.get("SHELL", "/bin/sh")
    os.execve(program, [program], os.environ | prompt(process))  # noqa: S606 - the user's own shell


def drill(
    attacks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Attacks to play. Unless told all that leave the lab as it was; what does not has to be named.",
            show_default=False,
        ),
    ] = None,
    name: NameOption = "lab",
    output: OutputOption = Output.table,
    show: Annotated[bool, typer.Option("--list", help="List the attacks and end.")] = False,
) -> None:
    """Play the attackers of section 4 of the requirements draft against a running lab."""
    if show:
        if output is Output.json:
            typer.echo(json.dumps(report.attack_rows(ATTACKS), indent=1))
        else:
            report.print_attacks(ATTACKS)
        return
    progress = report.Progress()

    async def work() -> list[Result]:
        chosen = select(attacks or [])
        view = await View.of_running(name)
        try:
            return await Drill(view, progress.result, progress.attack, progress).run(chosen)
        finally:
            await view.close()

    results = _run(work())
    if output is Output.json:
        typer.echo(json.dumps(drill_summary(results), indent=1))
    else:
        console = report.results()
        console.print(report.drill_table(results))
        report.print_faults(console, [f"{result.name}: {fault}" for result in results for fault in result.faults])
    raise typer.Exit(0 if all(result.held for result in results) else 1)


def main() -> None:
    """`python -m nvo3lab`, for the lab alone."""
    app = typer.Typer(no_args_is_help=True, add_completion=False)
    app.add_typer(lab)
    app.command("drill")(drill)
    app(prog_name=Path(sys.argv[0]).name)
