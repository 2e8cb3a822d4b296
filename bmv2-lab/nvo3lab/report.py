# SPDX-License-Identifier: Apache-2.0
"""What people read: progress while a lab works, and tables at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from nvo3ref.protection import SUITE_ASCON_AEAD128, SUITE_CHASKEY12
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nvo3lab.drill.model import Attack, Result
from nvo3lab.errors import LabError

SUITES = {SUITE_CHASKEY12: "Chaskey-12", SUITE_ASCON_AEAD128: "Ascon-AEAD128"}
_REASONS_SHOWN = 3
_PIPE_WIDTH = 120


def plain(text: str) -> str:
    """One line of printable characters: what steers a terminal is written as an escape, like \\x1b."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class Progress:
    """Lines with the time since the start, on standard error, so that standard output is the result only.

    Raises LabError where nobody reads them any more: the terminal was closed, or the other end of the pipe.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        self._print(f"[dim]{time.monotonic() - self._start:6.1f} s[/dim]  ", Text(text))

    def heading(self, text: str) -> None:
        self._print(f"\n[bold]{text}[/bold]")

    def _print(self, *parts: str | Text) -> None:
        try:
            self._console.print(*parts, sep="")
        except (OSError, SystemExit):  # rich ends the process where the other end of a pipe is closed
            raise LabError("nobody reads what the lab says; it is taken down") from None

    def attack(self, attack: Attack) -> None:
        self(f"{attack.who}: {attack.name} — {attack.summary}")

    def result(self, result: Result) -> None:
        mark = "held" if result.held else "DID NOT HOLD"
        note = f" ({result.note})" if result.note else ""
        caught = sum(result.caught.values())
        self(f"    {mark}: {result.sent} sent, {result.through} got through, {caught} caught{note}")


def results() -> Console:
    """Where results go: as wide as the terminal; where there is none, wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _latency(result: Result) -> str:
    before, beside = result.baseline.median_ms, result.beside.median_ms
    if before is None or beside is None:
        return "unknown"
    return f"{beside:.1f} ({before:.1f})"


def _caught(result: Result) -> list[str]:
    """What became of all that was sent, a line each."""
    most = sorted(result.drops.items(), key=lambda item: -item[1])
    lines = [f"{reason} {count}" for reason, count in most[:_REASONS_SHOWN]]
    if rest := most[_REASONS_SHOWN:]:
        what = "reason" if len(rest) == 1 else "reasons"
        lines.append(f"{len(rest)} more {what}: {sum(count for _, count in rest)}")
    lines += [f"attempts {how} {count}" for how, count in sorted(result.refused.items(), key=lambda item: -item[1])]
    if not result.drops and not result.refused and result.arrived:
        lines.append(f"{result.arrived} arrived, as they must")
    elif result.drops and result.uncounted:
        lines.append(f"met no switch {result.uncounted}")
    return lines


def drill_table(results: Sequence[Result]) -> Table:
    """One row an attack."""
    table = Table(
        title="Attack drill; lost and ms: echoes of legitimate tenants meanwhile (ms without attack)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("attack", no_wrap=True)
    table.add_column("sent", justify="right", no_wrap=True)
    table.add_column("through", justify="right", no_wrap=True)
    table.add_column("caught as", overflow="fold")
    table.add_column("lost", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result, following in zip_longest(results, results[1:]):
        caught = "\n".join(_caught(result))
        table.add_row(
            result.name,
            str(result.sent),
            str(result.through),
            caught or "—",
            f"{result.beside.lost}/{result.beside.sent}",
            _latency(result),
            Text("held", style="green") if result.held else Text("NOT HELD", style="bold red"),
            end_section=following is not None and following.who != result.who,
        )
    return table


def underlay_table(observation: dict[str, Any]) -> Table:
    """One row an underlay link."""
    table = Table(title="Underlay, from the first frame to the last", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("link of", "frames", "protected", "violations", "missed"):
        table.add_column(name, justify="left" if name == "link of" else "right")
    for link in observation.get("links", []):
        table.add_row(link["link"], *(str(link[name]) for name in ("frames", "protected", "violations", "missed")))
    return table


def vn_table(observation: dict[str, Any]) -> Table:
    """A row a VN and family: the level that it demands, and packets of each suite that the underlay has seen."""
    table = Table(title="VNs, as the underlay has seen them", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("VN", "VNI", "level", "over"):
        table.add_column(name, justify="right" if name == "VNI" else "left")
    for name in SUITES.values():
        table.add_column(name, justify="right")
    for vn in observation.get("vns", []):
        for family, suites in vn["families"].items():
            packets = (str(suites.get(str(suite), 0)) for suite in SUITES)
            table.add_row(vn["vn"], str(vn["vni"]), vn["level"], family, *packets)
    return table


def process_table(name: str, state: dict[str, Any], alive: dict[str, bool]) -> Table:
    """One row a process."""
    table = Table(title=f"Lab {name}, {state['target']}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("process", "pid", "state"):
        table.add_column(column, no_wrap=True, justify="right" if column == "pid" else "left")
    for process, pid in state["pids"].items():
        table.add_row(process, str(pid), "running" if alive[process] else "gone")
    return table


def attack_rows(attacks: Sequence[Attack]) -> list[dict[str, Any]]:
    """Each attack: its name, who plays it, what it is, and as what it is caught."""
    return [
        {
            "attack": one.name,
            "by": one.who,
            "what": one.summary,
            "caught_as": sorted(one.reasons | one.refusals),
        }
        for one in attacks
    ]


def print_attacks(attacks: Sequence[Attack]) -> None:
    """A paragraph an attack: their texts have no room beside each other."""
    console = results()
    for row in attack_rows(attacks):
        caught = ", ".join(row["caught_as"])
        console.print(Text.assemble((row["attack"], "bold"), f"  {row['by']}: {row['what']}"))
        console.print(Padding(f"caught as {caught}" if caught else "not to be caught", (0, 0, 0, 4)))


def print_faults(console: Console, faults: Sequence[str]) -> None:
    for fault in faults:
        console.print(Text(f"✗ {fault}", style="red"), soft_wrap=True)
