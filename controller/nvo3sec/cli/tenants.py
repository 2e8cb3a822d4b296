# SPDX-License-Identifier: Apache-2.0
"""Tenant systems behind one NVE: commands for its agent, through its run directory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nvo3sec.cli import render
from nvo3sec.cli.operate import Answer, answer_of, show
from nvo3sec.cli.options import (
    LAST_ACCESS_PORT,
    LAST_VLAN,
    Output,
    OutputOption,
    RunDirectory,
    check_ip,
    check_label,
    check_mac,
    number_option,
)
from nvo3sec.errors import OperatorError
from nvo3sec.operator.console import ask, choose_run_directory
from nvo3sec.operator.documents import Announced, AttachmentLine

VnOption = Annotated[str, typer.Option("--vn", help="Name of the VN.")]
PortOption = Annotated[int, number_option("--port", low=1, high=LAST_ACCESS_PORT, help="Access port.")]
VlanOption = Annotated[int, number_option("--vlan", low=0, high=LAST_VLAN, help="VLAN; 0: untagged.")]
MacOption = Annotated[str, typer.Option("--mac", help="MAC address of the tenant system.", callback=check_mac)]
IpOption = Annotated[
    list[str] | None, typer.Option("--ip", help="An IP address of it; may be given several times.", callback=check_ip)
]
HostOption = Annotated[str, typer.Option("--hypervisor", help="The hypervisor that it is announced for.")]


def _ask(run_dir: Any, kind: Any, method: str, **params: Any) -> Answer[Any]:
    return answer_of(kind, ask(choose_run_directory(run_dir, agents=True), method, **params))


def _tell(run_dir: Any, output: Output, method: str, **params: Any) -> None:
    answer: Answer[Announced] = _ask(run_dir, Announced, method, **params)
    result = answer.said
    why = ": ".join(filter(None, (result.reason, result.why)))
    said = ": ".join(filter(None, (result.standing, why)))
    refused = result.standing == "refused"
    show(answer, output, *(() if refused else (said,)))
    if refused:
        raise OperatorError(said)


def attach(
    vn: VnOption,
    port: PortOption,
    mac: MacOption,
    vlan: VlanOption = 0,
    ip: IpOption = None,
    hypervisor: HostOption = "",
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Announce a tenant system at a VAP of this NVE, or other addresses of one."""
    params = {"vn": vn, "port": port, "vlan": vlan, "mac": mac, "ips": ip or [], "host": hypervisor}
    _tell(run_dir, output, "attach", **params)


def detach(
    vn: VnOption,
    port: PortOption,
    mac: MacOption,
    vlan: VlanOption = 0,
    successor: Annotated[
        str | None,
        typer.Option(
            "--successor",
            help="The NVE where it goes on: only that one can have its addresses.",
            callback=check_label,
        ),
    ] = None,
    hypervisor: HostOption = "",
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Release a tenant system."""
    params = {"vn": vn, "port": port, "vlan": vlan, "mac": mac, "successor": successor, "host": hypervisor}
    _tell(run_dir, output, "detach", **params)


def move(
    vn: VnOption,
    port: PortOption,
    mac: MacOption,
    to_port: Annotated[
        int, number_option("--to-port", low=1, high=LAST_ACCESS_PORT, help="Access port where it is now.")
    ],
    vlan: VlanOption = 0,
    to_vlan: Annotated[int, number_option("--to-vlan", low=0, high=LAST_VLAN, help="VLAN where it is now.")] = 0,
    ip: IpOption = None,
    hypervisor: HostOption = "",
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move a tenant system to another VAP of this NVE. To another NVE: detach with --successor here, attach there."""
    params = {"vn": vn, "port": port, "vlan": vlan, "mac": mac, "to_port": to_port, "to_vlan": to_vlan}
    _tell(run_dir, output, "move", **params, ips=ip, host=hypervisor)


def claim(
    vn: VnOption,
    port: PortOption,
    mac: MacOption,
    ip: Annotated[str, typer.Option("--ip", help="The shared IP address.", callback=check_ip)],
    vlan: VlanOption = 0,
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have shared addresses here: what a gratuitous ARP, an unsolicited advertisement or one of VRRP has claimed."""
    _tell(run_dir, output, "claim", vn=vn, port=port, vlan=vlan, mac=mac, ip=ip)


def attachments(run_dir: RunDirectory = None, output: OutputOption = Output.TABLE) -> None:
    """What is attached to this NVE: announced, or stated by the domain file."""
    answer: Answer[tuple[AttachmentLine, ...]] = _ask(run_dir, tuple[AttachmentLine, ...], "attachments")
    show(answer, output, *render.attachments(answer.said))
