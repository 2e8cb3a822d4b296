# SPDX-License-Identifier: Apache-2.0
"""What fits into which tunnel, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from nvo3sec.cli.operate import Where, show
from nvo3sec.cli.options import NvaOption, OperatorCredentials, Output, OutputOption, RunDirectory, path_argument
from nvo3sec.cli.tables import Listing
from nvo3sec.errors import no_such
from nvo3sec.operator.documents import AppliedFile
from nvo3sec.operator.json_form import from_json

if TYPE_CHECKING:
    from nvo3sec.config import TunnelFit

DOES_NOT_FIT = 1
"""Exit status: a VN's packets do not fit into a tunnel that carries it."""
APPLIED = "the domain file that the NVA runs"


def mtu(
    file: Annotated[
        Path | None,
        path_argument("FILE", help="A domain file; the one that the NVA runs unless told.", show_default=False),
    ] = None,
    nve: Annotated[str | None, typer.Option("--nve", help="Tunnels of one NVE.", show_default=False)] = None,
    vn: Annotated[str | None, typer.Option("--vn", help="Tunnels that carry one VN.", show_default=False)] = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What fits into each tunnel: what the underlay carries, what protection takes of it, what is left for tenants.

    Exit status 1: the MTU of a VN does not fit into one of its tunnels, or is too small for IPv6.
    """
    from nvo3sec.config import parse_tunnel_fits, read_domain

    if file is not None:
        read = read_domain(file)
        text, source = read.text, read.source
    else:
        exact = Where(run_dir, nva, credentials).ask_exactly("domain_show")
        text, source = from_json(AppliedFile, exact).text, APPLIED
    found = _chosen(parse_tunnel_fits(text, source), nve, vn)
    fits = all(tunnel.fits for tunnel in found)
    show({"fits": fits, "tunnels": found}, output, *_tables(found))
    if not fits:
        raise typer.Exit(DOES_NOT_FIT)


def _chosen(found: Iterable[TunnelFit], nve: str | None, vn: str | None) -> tuple[TunnelFit, ...]:
    """The tunnels that were asked about, with that VN alone if one was. Raises OperatorError if there are none."""
    tunnels = tuple(found)
    if nve is not None:
        known = {name for tunnel in tunnels for name in tunnel.between}
        tunnels = tuple(tunnel for tunnel in tunnels if nve in tunnel.between)
        if not tunnels:
            raise no_such("NVE with a tunnel", nve, sorted(known))
    if vn is not None:
        known = {one.vn for tunnel in tunnels for one in tunnel.vns}
        if vn not in known:
            raise no_such("VN in a tunnel", vn, sorted(known))
        with_it = (replace(tunnel, vns=tuple(one for one in tunnel.vns if one.vn == vn)) for tunnel in tunnels)
        tunnels = tuple(replace(tunnel, fits=all(one.fits for one in tunnel.vns)) for tunnel in with_it if tunnel.vns)
    return tunnels


def _tables(tunnels: Iterable[TunnelFit]) -> Iterator[Any]:
    lengths = ("underlay MTU", "overhead", "packet", "frame", "VN MTU")
    table = Listing(
        "What a tenant may send, bytes",
        ("between", "and", "underlay MTU", "by", "overhead", "packet", "frame", "VN", "VN MTU", ""),
        right=lengths,
        none="No tunnels",
    )
    for tunnel in tunnels:
        numbers = (str(tunnel.overhead), str(tunnel.packet), str(tunnel.frame))
        for vn in tunnel.vns:
            verdict = Text("fits", style="green") if vn.fits else Text(vn.why, style="bold red")
            row = (*tunnel.between, str(tunnel.underlay_mtu), tunnel.underlay, *numbers, vn.vn, str(vn.mtu))
            table.add_row(*row, verdict)
    yield table
