# SPDX-License-Identifier: Apache-2.0
"""Certificates of devices: a small authority for labs, and the device's side for any authority."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nvo3sec.cli import tell
from nvo3sec.cli.operate import show
from nvo3sec.cli.options import (
    Output,
    OutputOption,
    YesOption,
    check_domain,
    check_label,
    path_argument,
    path_option,
)
from nvo3sec.cli.render import new_table
from nvo3sec.cli.tell import confirm
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.system.plain import plain

if TYPE_CHECKING:
    from nvo3sec.identity.authority.authority import Authority
    from nvo3sec.identity.authority.ledger import Issued

app = typer.Typer(help="Certificates of devices: the lab's authority, and signing requests.", no_args_is_help=True)

Directory = Annotated[
    Path,
    path_option(
        "--dir",
        envvar="NVO3SEC_PKI_DIR",
        help="Directory of the authority; mode 0700.",
    ),
]
RoleArgument = Annotated[Role, typer.Argument(metavar="ROLE", help="nva, nve, hypervisor or operator.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The device's name, a DNS label.", callback=check_label)
]


def _is_duration(text: str) -> str:
    from nvo3sec.identity.authority.authority import LONGEST_LIFETIME

    return _at_most(text, LONGEST_LIFETIME)


def _is_duration_of_a_token(text: str) -> str:
    from nvo3sec.identity.authority.authority import LONGEST_TOKEN_LIFETIME

    return _at_most(text, LONGEST_TOKEN_LIFETIME)


def _at_most(text: str, longest: timedelta) -> str:
    if duration(text) > longest:
        raise typer.BadParameter(f"{text} is more than {longest.days}d")
    return text


Lifetime = Annotated[str, typer.Option("--lifetime", help="Like 24h, 30m or 7d.", callback=_is_duration)]
TokenLifetime = Annotated[
    str, typer.Option("--lifetime", help="Like 24h, 30m or 7d.", callback=_is_duration_of_a_token)
]
RequestArgument = Annotated[Path, path_argument("REQUEST", help="The signing request, PEM; - is stdin.")]
DEFAULT_DIRECTORY = Path("pki")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INPUT_BYTES = 65536


def duration(text: str) -> timedelta:
    """`24h` and the like. Raises typer.BadParameter."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if match is None or not int(match.group(1)):
        raise typer.BadParameter(f"{text!r} is no duration; write for instance 24h, 30m or 7d")
    return timedelta(seconds=int(match.group(1)) * _UNITS[match.group(2)])


def _authority(directory: Path) -> Authority:
    # Imported here, like everything that loads the cryptography library: help should come quickly.
    from nvo3sec.identity.authority.authority import Authority

    return Authority(directory)


def _input(path: Path) -> bytes:
    from nvo3sec.identity.storage import StorageError, read

    given, source = (
        (sys.stdin.buffer.read(_INPUT_BYTES), "standard input") if str(path) == "-" else (read(path), str(path))
    )
    if not given.strip():
        raise StorageError(f"{source} is empty")  # what a command leaves behind that failed in front of a `>`
    return given


def _row(one: Issued) -> dict[str, str]:
    from nvo3sec.identity.certificate import stamp

    role, name = one.device.role.value, one.device.name
    return {"role": role, "name": name, "serial": f"{one.serial:x}", "not_after": stamp(one.not_after)}


def _tell(what: str, one: Issued) -> None:
    row = _row(one)
    tell.aside(f"{what}: {one.device}, serial number {row['serial']}, valid until {row['not_after']}")


@app.command("init")
def init(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain, a DNS name.", callback=check_domain)],
    directory: Directory = DEFAULT_DIRECTORY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a new authority."""
    from nvo3sec.identity.authority.authority import Authority

    authority = Authority.create(directory, domain)
    anchors, revoked = str(authority.anchors_file), str(authority.revocation_file)
    show(
        {"domain": authority.domain, "directory": str(directory), "anchors": anchors, "revoked": revoked},
        output,
        f"authority of {authority.domain} in {directory}",
        f"for every device: {anchors} and {revoked}",
    )


@app.command("issue")
def issue(
    role: RoleArgument,
    name: NameArgument,
    directory: Directory = DEFAULT_DIRECTORY,
    lifetime: Lifetime = "24h",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make key and certificate of a device here, in one file."""
    authority = _authority(directory)
    path, issued = authority.issue(authority.device(role, name), duration(lifetime))
    _tell("issued", issued)
    show(_row(issued) | {"file": str(path)}, output, str(path))


@app.command("renew")
def renew(
    role: RoleArgument,
    name: NameArgument,
    directory: Directory = DEFAULT_DIRECTORY,
    lifetime: Lifetime = "24h",
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace key and certificate of a device that were made here. Running processes take them without a restart."""
    authority = _authority(directory)
    path, issued = authority.issue(authority.device(role, name), duration(lifetime), renew=True)
    _tell("renewed", issued)
    show(_row(issued) | {"file": str(path)}, output, str(path))


@app.command("request")
def request(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain, a DNS name.", callback=check_domain)],
    role: RoleArgument,
    name: NameArgument,
    path: Annotated[Path, path_option("--out", help="Where the device's key and certificate will be.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """On the device: make a key, which stays there, and print a signing request."""
    from nvo3sec.identity.authority import requests

    was_there = path.parent.exists()
    made = requests.begin(path, DeviceName(domain, role, name)).decode()
    if not was_there:
        print(plain(f"made the directory {path.parent}, for its owner alone"), file=sys.stderr)
    show({"file": str(path), "request": made}, output, *made.splitlines())


@app.command("install")
def install(
    certificate: Annotated[Path, path_argument("CERTIFICATE", help="The certificate, PEM; - is stdin.")],
    path: Annotated[Path, path_option("--out", help="The same as of the request.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """On the device: put a certificate and the key that was made for it in place, in one step."""
    from nvo3sec.identity.authority import requests

    requests.finish(path, _input(certificate))
    show({"file": str(path)}, output, str(path))


@app.command("sign")
def sign(
    role: RoleArgument,
    name: NameArgument,
    request_file: RequestArgument,
    directory: Directory = DEFAULT_DIRECTORY,
    lifetime: Lifetime = "24h",
    place: Annotated[
        Path | None,
        path_option("--issued", help="Put it into this directory, as ROLE/NAME.pem, where its device takes it from."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign the request of a device that you know; prints the certificate, or where it is."""
    authority = _authority(directory)
    device = authority.device(role, name)
    path = None if place is None else place / role.value / f"{name}.pem"
    chain, issued = authority.sign(_input(request_file), device, duration(lifetime), path)
    _tell("signed", issued)
    if path is None:
        show(_row(issued) | {"certificate": chain.decode()}, output, *chain.decode().splitlines())
        return
    show(_row(issued) | {"file": str(path)}, output, str(path))


@app.command("bundle")
def bundle(
    authorities: Annotated[list[Path], path_argument("AUTHORITY...", help="Directories of authorities.")],
    place: Annotated[
        Path, path_option("--out", help="Directory for anchors.pem and revoked.pem, from where devices get them.")
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Anchors and revocation lists of several authorities, each in one file: for a rollover. Each is replaced whole."""
    from nvo3sec.identity.authority.authority import bundle

    paths = [str(path) for path in bundle([_authority(one) for one in authorities], place)]
    show({"files": paths}, output, *paths)


@app.command("token")
def token(
    role: RoleArgument,
    name: NameArgument,
    directory: Directory = DEFAULT_DIRECTORY,
    lifetime: TokenLifetime = "1h",
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a token with which a device gets one certificate, once. It is not shown again."""
    authority = _authority(directory)
    made = authority.token(authority.device(role, name), duration(lifetime))
    show({"role": role.value, "name": name, "token": made}, output, made)


@app.command("enroll")
def enroll(
    request_file: Annotated[Path, path_argument("REQUEST", help="The signing request, PEM.")],
    directory: Directory = DEFAULT_DIRECTORY,
    lifetime: Lifetime = "24h",
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign the request of whoever knows the device's token, read from standard input; prints the certificate."""
    authority = _authority(directory)
    # Not an argument: arguments are visible to every user of the machine.
    given = sys.stdin.readline(1024).strip()
    chain, issued = authority.enroll(_input(request_file), given, duration(lifetime))
    _tell("enrolled", issued)
    show(_row(issued) | {"certificate": chain.decode()}, output, *chain.decode().splitlines())


@app.command("revoke")
def revoke(
    role: Annotated[Role | None, typer.Argument(metavar="[ROLE]", help="nva, nve, hypervisor or operator.")] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The device's name, a DNS label.", callback=check_label)
    ] = None,
    serial: Annotated[
        str | None, typer.Option("--serial", help="One certificate, by its number in hexadecimal.")
    ] = None,
    yes: YesOption = False,
    directory: Directory = DEFAULT_DIRECTORY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Revoke all certificates of a device, or one, and publish the list. Connections end in seconds. Asks first."""
    authority = _authority(directory)
    if serial is not None and role is None:
        if not re.fullmatch(r"[0-9a-fA-F]{1,40}", serial):
            raise typer.BadParameter(
                f"{serial!r} is no number of up to 40 digits in hexadecimal, as pki list shows it",
                param_hint="--serial",
            )
        authority.could_revoke(None, int(serial, 16))
        confirm(f"Revoke the certificate {serial}?", yes=yes)
        revoked = authority.revoke(None, int(serial, 16))
    elif role is not None and name is not None and serial is None:
        device = authority.device(role, name)
        authority.could_revoke(device)
        confirm(f"Revoke every certificate of {device}?", yes=yes)
        revoked = authority.revoke(device)
    else:
        raise typer.BadParameter("either ROLE and NAME, or --serial")
    said = (f"revoked: {one.device}, serial number {one.serial:x}" for one in revoked)
    show([_row(one) for one in revoked], output, *said)


@app.command("publish")
def publish(directory: Directory = DEFAULT_DIRECTORY, output: OutputOption = Output.TABLE) -> None:
    """Make a new revocation list with the same contents, before the one there is ends."""
    authority = _authority(directory)
    authority.publish()
    show({"file": str(authority.revocation_file)}, output, str(authority.revocation_file))


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, output: OutputOption = Output.TABLE) -> None:
    """Show the certificates that were issued, and until when they are valid."""
    from nvo3sec.identity.revocation_lists import wall_clock

    now = wall_clock()
    rows = [
        _row(one) | {"state": "revoked" if one.revoked else "expired" if one.not_after < now else "valid"}
        for one in sorted(_authority(directory).issued(), key=lambda one: (one.device, one.not_after))
    ]
    table = new_table("Certificates", "role", "name", "serial", "valid until", "state", none="No certificates")
    for row in rows:
        table.add_row(*row.values())
    show(rows, output, table)
