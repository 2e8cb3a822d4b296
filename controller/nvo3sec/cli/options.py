# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nvo3sec.identity.errors import PeerRefused
from nvo3sec.identity.names import DeviceName, Role, shown

T = TypeVar("T")
LONGEST_WAIT_S = 86400
LAST_ACCESS_PORT, LAST_VLAN = 255, 4094
UsageError: Any = typer.BadParameter.__mro__[1]
"""Of the command line parser, whichever typer brings: the command line as a whole is wrong."""


def checked(parse: Callable[[Any], None]) -> Callable[[T], T]:
    """Has an option or an argument, or each of several, refused as wrong usage where `parse` raises ValueError."""

    def check(value: T) -> T:
        try:
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is not None:
                    parse(one)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return check


def device_name(name: str, domain: str = "a.example", role: Role = Role.NVE) -> None:
    """Whether a device of a domain can have this name. Raises ValueError."""
    try:
        DeviceName(domain, role, name)
    except PeerRefused as error:
        raise ValueError(error.detail) from None


def _domain(text: str) -> None:
    device_name("a", text)


def _mac(text: str) -> None:
    # Its form only; what an address may mean is for the agent or the NVA to say.
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        raise ValueError(f"{shown(text)} is no MAC address; write six bytes in hexadecimal, like 02:00:00:00:01:00")


def _ip(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(
            f"{shown(text)} is no IP address; write IPv4 like 10.1.0.1, or IPv6 like 2001:db8::1"
        ) from None


def _nva(text: str) -> None:
    # Imported here, because it takes a while.
    from nvo3sec.errors import OperatorError
    from nvo3sec.transport.credentials import NvaAddress

    try:
        NvaAddress.parse(text)
    except OperatorError as error:
        raise ValueError(str(error)) from None


def _limit(text: str) -> None:
    # Imported here for the same reason.
    from nvo3sec.errors import OperatorError
    from nvo3sec.identity.front.admission import FrontLimits

    try:
        FrontLimits().changed([text])
    except OperatorError as error:
        raise ValueError(str(error)) from None


def _p4runtime(text: str) -> None:
    scheme, colon, path = text.partition(":")
    if (scheme, colon) != ("unix", ":") or not path:
        raise ValueError(
            f"{shown(text)}: P4Runtime must be unix:PATH; whoever reaches the server reads the keys of its switch"
        )


check_label, check_domain = checked(device_name), checked(_domain)
check_mac, check_ip = checked(_mac), checked(_ip)
check_nva, check_limit, check_p4runtime = checked(_nva), checked(_limit), checked(_p4runtime)


class Output(StrEnum):
    """Form of what is printed."""

    TABLE = "table"
    JSON = "json"


def some_path(text: str) -> Path:
    """A path. Raises typer.BadParameter for an empty one, which would mean the current directory."""
    if not text:
        raise typer.BadParameter("an empty path; write . for the current directory")
    return Path(text)


def path_option(*names: str, metavar: str = "PATH", **more: Any) -> Any:
    """An option that names a file or a directory. All of them are made here, so that none takes an empty path."""
    return typer.Option(*names, parser=some_path, metavar=metavar, **more)


def path_argument(metavar: str, **more: Any) -> Any:
    """The same of an argument."""
    return typer.Argument(parser=some_path, metavar=metavar, **more)


def number_option(*names: str, low: int, high: int, kind: type[int | float] = int, unit: str = "", **more: Any) -> Any:
    """An option that takes a number, whole unless `kind` is float. All of them are made here, so that each says what it
    has read, and what is allowed."""
    what = "whole number" if kind is int else "number"
    allowed = f"no {what} from {low} to {high}" + (f" ({unit})" if unit else "")

    def parse(text: Any) -> int | float:
        written = str(text)  # a default comes as the number that it is
        if re.fullmatch(r"[-+0-9.eE]{1,64}", written, re.ASCII):
            with contextlib.suppress(ValueError):
                if low <= (number := kind(written)) <= high:
                    return number
        raise typer.BadParameter(f"{shown(written)} is {allowed}")

    return typer.Option(*names, parser=parse, metavar=f"{low}..{high}", **more)


def wait_option(help_text: str) -> Any:
    """How long a command waits, in seconds."""
    return number_option("--wait", low=0, high=LONGEST_WAIT_S, kind=float, unit="seconds", help=help_text)


_NVA_VARIABLE, _RUN_DIR_VARIABLE = "NVO3SEC_NVA", "NVO3SEC_RUN_DIR"


def _is_given(ctx: typer.Context, name: str, how: str) -> bool:
    """Whether an option came by the command line (`COMMANDLINE`) or by the environment (`ENVIRONMENT`), if by now."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == how


def _only_run_dir(ctx: typer.Context, value: Path | None) -> Path | None:
    asks_an_nva = any(one.envvar == _NVA_VARIABLE for one in ctx.command.params)
    if value is not None and asks_an_nva and _is_given(ctx, "run_dir", "COMMANDLINE"):
        _not_two(ctx, "COMMANDLINE")
    return value


def _chosen_nva(ctx: typer.Context, value: str | None) -> str | None:
    """The NVA that is meant. What is given comes before what the environment has, and is read before it."""
    if _is_given(ctx, "nva", "ENVIRONMENT"):
        if _is_given(ctx, "run_dir", "COMMANDLINE"):
            value = None
        else:
            _not_two(ctx, "ENVIRONMENT")
    elif value is not None:
        _not_two(ctx, "COMMANDLINE")
    if value is None and _is_given(ctx, "credentials", "COMMANDLINE"):
        raise UsageError("--credentials are shown to an NVA over the network, and none is asked: use --nva")
    return check_nva(value)


def _not_two(ctx: typer.Context, how: str) -> None:
    """Raises UsageError where both ways to say who is asked were taken: one of them would have been for nothing."""
    if _is_given(ctx, "nva", how) and _is_given(ctx, "run_dir", how):
        names = (_RUN_DIR_VARIABLE, _NVA_VARIABLE) if how == "ENVIRONMENT" else ("--run-dir", "--nva")
        end = "; use --run-dir or --nva" if how == "ENVIRONMENT" else ""
        raise UsageError(f"{' and '.join(names)} say two different things about who is asked; give one{end}")


RunDirectory = Annotated[
    Path | None,
    path_option(
        "--run-dir",
        envvar=_RUN_DIR_VARIABLE,
        callback=_only_run_dir,
        help="Run directory of the process to run or to ask, or one that holds those of several.",
        show_default=False,
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]
NvaOption = Annotated[
    str | None,
    typer.Option(
        "--nva",
        envvar=_NVA_VARIABLE,
        callback=_chosen_nva,
        help="Ask this NVA over mutual TLS: nva1.nva.DOMAIN:PORT or nva1.nva.DOMAIN=HOST:PORT. A --run-dir that is"
        " given comes before NVO3SEC_NVA.",
        show_default=False,
    ),
]
OperatorCredentials = Annotated[
    Path | None,
    path_option(
        "--credentials",
        envvar="NVO3SEC_CREDENTIALS",
        help="With --nva: directory with device.pem, anchors.pem, revoked.pem of an operator.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
