# SPDX-License-Identifier: Apache-2.0
"""VNs, mappings, and who may do what: questions to an NVA, and decisions."""

from __future__ import annotations

from typing import Annotated

import typer

from nvo3sec.cli import known, render
from nvo3sec.cli.operate import Answer, Where, show
from nvo3sec.cli.options import (
    LAST_ACCESS_PORT,
    LAST_VLAN,
    NvaOption,
    OperatorCredentials,
    Output,
    OutputOption,
    RunDirectory,
    YesOption,
    check_mac,
    checked,
    device_name,
    number_option,
)
from nvo3sec.cli.tell import confirm
from nvo3sec.identity.names import Role
from nvo3sec.operator.documents import Decided, Mappings, Verdict, VnLine, VnShown

vn_app = typer.Typer(help="Virtual networks.", no_args_is_help=True)
map_app = typer.Typer(help="Mappings: which tenant system is where.", no_args_is_help=True)
authz_app = typer.Typer(help="Who may do what.", no_args_is_help=True)


def _device(text: str) -> None:
    role, slash, name = text.partition("/")
    if not slash or role not in list(Role):
        raise ValueError(f"{text!r} is no device; write ROLE/NAME, like nve/leaf1; roles: {', '.join(Role)}")
    device_name(name)


check_device = checked(_device)
VnOption = Annotated[str | None, typer.Option("--vn", help="Name of a VN.", show_default=False)]
NveOption = Annotated[str | None, typer.Option("--nve", help="Name of an NVE.", show_default=False)]
MacArgument = Annotated[
    str, typer.Argument(metavar="MAC", help="MAC address of the tenant system.", callback=check_mac)
]
BehindOption = Annotated[str, typer.Option("--nve", help="The NVE behind which it is.")]
PortOption = Annotated[
    int | None,
    number_option("--port", low=1, high=LAST_ACCESS_PORT, help="Access port, where the NVE has it more than once."),
]
VlanOption = Annotated[int | None, number_option("--vlan", low=0, high=LAST_VLAN, help="VLAN; 0: untagged.")]


@vn_app.command("list")
def vn_list(
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every VN: level, members, how many tenant systems it has and how many of them wait for something."""
    answer: Answer[tuple[VnLine, ...]] = Where(run_dir, nva, credentials).ask(tuple[VnLine, ...], "vn_list")
    show(answer, output, *render.vns(answer.said))


@vn_app.command("show")
def vn_show(
    vn: Annotated[str, typer.Argument(metavar="VN", help="Name of the VN.")],
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One VN: its members with their VAPs, the level between each two of them, reserved addresses."""
    answer = Where(run_dir, nva, credentials).ask(VnShown, "vn_show", vn=vn)
    show(answer, output, *render.vn(answer.said))


@map_app.command("list")
def map_list(
    vn: VnOption = None,
    nve: NveOption = None,
    frozen: Annotated[
        bool,
        typer.Option("--frozen", help="Only those that lack something, and what is in the way."),
    ] = False,
    limit: Annotated[int, number_option("--limit", low=1, high=5000, help="Show at most so many.")] = 1000,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tenant systems: what they asked for, what they have, and where they are."""
    where = Where(run_dir, nva, credentials)
    answer = where.ask(Mappings, "map_list", vn=vn, nve=nve, frozen=frozen, limit=limit)
    which = (f" of {vn}" if vn else "") + (f" behind {nve}" if nve else "") + (" that lack something" if frozen else "")
    show(answer, output, *render.claims(answer.said, which))


@map_app.command("admit")
def map_admit(
    mac: MacArgument,
    nve: BehindOption,
    vn: VnOption = None,
    port: PortOption = None,
    vlan: VlanOption = None,
    yes: YesOption = False,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Decide that this tenant system is right: it gets its addresses, and whoever had them is frozen. Asks first."""
    where = Where(run_dir, nva, credentials)
    if not yes:
        known.tenant_system(where, mac, nve, vn=vn, port=port, vlan=vlan)
    confirm(f"Give {mac} at {nve} its addresses, and freeze who has them?", yes=yes)
    answer = where.ask(Decided, "map_admit", mac=mac, nve=nve, vn=vn, port=port, vlan=vlan)
    show(answer, output, f"{answer.said.claim}: {answer.said.status}")


@map_app.command("evict")
def map_evict(
    mac: MacArgument,
    nve: BehindOption,
    vn: VnOption = None,
    port: PortOption = None,
    vlan: VlanOption = None,
    successor: Annotated[
        str | None,
        typer.Option("--successor", help="The NVE that alone can have its addresses for a while.", show_default=False),
    ] = None,
    yes: YesOption = False,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a tenant system's announcement away: who waits for its addresses gets them. Asks first."""
    where = Where(run_dir, nva, credentials)
    if not yes:
        known.tenant_system(where, mac, nve, vn=vn, port=port, vlan=vlan)
        if successor is not None:
            known.some_nve(where, successor)
    confirm(f"Take away what {nve} announced of {mac}?", yes=yes)
    asked = {"mac": mac, "nve": nve, "vn": vn, "port": port, "vlan": vlan, "successor": successor}
    answer = where.ask(Decided, "map_evict", **asked)
    show(answer, output, f"{answer.said.claim}: gone")


@authz_app.command("probe")
def authz_probe(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Like LookUp, or its full name.")],
    device: Annotated[
        str, typer.Option("--as", metavar="ROLE/NAME", help="Who would call, like nve/leaf1.", callback=check_device)
    ],
    vn: Annotated[
        str | None, typer.Option("--vn", help="The VN that the call would be about.", show_default=False)
    ] = None,
    run_dir: RunDirectory = None,
    nva: NvaOption = None,
    credentials: OperatorCredentials = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What a call would be answered, and why: the table itself is asked, and no call is made."""
    answer = Where(run_dir, nva, credentials).ask(Verdict, "authz_probe", device=device, method=method, vn=vn)
    about = f" about VN {vn}" if vn else ""
    said = answer.said
    word = "allowed" if said.allowed else "refused"
    show(answer, output, f"{said.device} calls {said.method}{about}: {word}: {said.reason}")
