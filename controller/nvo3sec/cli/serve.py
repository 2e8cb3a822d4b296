# SPDX-License-Identifier: Apache-2.0
"""Processes: `nvo3sec nva run`, `nvo3sec nve run`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nvo3sec.cli import tenants
from nvo3sec.cli.options import (
    RunDirectory,
    check_label,
    check_limit,
    check_nva,
    check_p4runtime,
    number_option,
    path_option,
)

nva_app = typer.Typer(help="The network virtualization authority of a domain, as a process.", no_args_is_help=True)
nve_app = typer.Typer(help="The agent of one NVE, as a process.", no_args_is_help=True)
nve_app.command("attach")(tenants.attach)
nve_app.command("detach")(tenants.detach)
nve_app.command("move")(tenants.move)
nve_app.command("claim")(tenants.claim)
nve_app.command("attachments")(tenants.attachments)


class LogLevel(StrEnum):
    """What is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Credentials = Annotated[
    Path,
    path_option(
        "--credentials",
        envvar="NVO3SEC_CREDENTIALS",
        help="Directory with device.pem (key and certificate, mode 0600), anchors.pem and revoked.pem.",
    ),
]
Issued = Annotated[
    Path | None,
    path_option(
        "--issued",
        help="Directory of issued certificates, ROLE/NAME.pem without keys: a renewed one is taken from there.",
        show_default=False,
    ),
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log JSON lines instead of text.")]
Level = Annotated[LogLevel, typer.Option("--log-level", help="Least important event to log.")]


def _serve(work: Coroutine[Any, Any, None], log_json: bool, level: LogLevel) -> None:
    from nvo3sec.system import logs
    from nvo3sec.system.hardening import keep_memory_private

    keep_memory_private()
    logs.configure(json_lines=log_json, level=level.value)
    asyncio.run(work)


@nva_app.command("run")
def run_nva(
    domain: Annotated[
        Path, path_option("--domain", help="The domain file. If another one was applied since, that one runs.")
    ],
    credentials: Credentials,
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, number_option("--port", low=0, high=65535, help="TCP port; 0: any.")] = 7443,
    database: Annotated[
        Path | None,
        path_option("--database", help="Directory of the database: attachments, revocations, sealed secrets."),
    ] = None,
    keys: Annotated[
        Path | None,
        path_option(
            "--keys", help="Directory of the keys that open the database; elsewhere, and out of the database's backups."
        ),
    ] = None,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Remember nothing: for labs. Otherwise --database and --keys.")
    ] = False,
    start_new_term: Annotated[
        bool,
        typer.Option(
            "--start-new-term",
            help="Go on with a database that is not the newest, or was lost: everything is keyed anew.",
        ),
    ] = False,
    apply_domain: Annotated[
        bool, typer.Option("--apply-domain", help="Apply --domain, also if another file was applied since.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help="Of connections, as per-source=200 or rate=50/100; may be given several times.",
            callback=check_limit,
        ),
    ] = None,
    issued: Issued = None,
    run_dir: RunDirectory = None,
    log_json: LogJson = False,
    log_level: Level = LogLevel.INFO,
) -> None:
    """Run the NVA of a domain until it is told to stop (SIGTERM, SIGINT)."""
    # Imported here, because every other command should start quickly.
    from nvo3sec.config import read_domain
    from nvo3sec.identity.front.admission import FrontLimits
    from nvo3sec.operator.console import NVA, default_run_directory
    from nvo3sec.processes.nva import NvaProcess, NvaSettings

    if in_memory == (database is not None) or (database is None) != (keys is None):
        raise typer.BadParameter("give both --database and --keys, or --in-memory", param_hint="--database")
    if database is not None and keys is not None and keys.resolve().is_relative_to(database.resolve()):
        raise typer.BadParameter(
            f"{keys} is inside of {database}: a backup of the database would hold its keys", param_hint="--keys"
        )
    where = run_dir or default_run_directory(NVA)
    front = FrontLimits().changed(limit or ())
    settings = NvaSettings(host, port, credentials, where, database, keys, apply_domain, start_new_term, front, issued)
    given = read_domain(domain)

    async def serve() -> None:
        await NvaProcess(given, settings).run()

    _serve(serve(), log_json, log_level)


@nva_app.callback()
def _nva() -> None:
    """The network virtualization authority of a domain, as a process."""


@nve_app.callback()
def _nve() -> None:
    """The agent of one NVE, as a process."""


@nve_app.command("run")
def run_nve(
    name: Annotated[str, typer.Option("--name", help="Name of the NVE, as in its certificate.", callback=check_label)],
    p4runtime: Annotated[
        str,
        typer.Option("--p4runtime", help="P4Runtime server of its switch, unix:PATH.", callback=check_p4runtime),
    ],
    nva: Annotated[
        list[str],
        typer.Option(
            "--nva",
            help="nva1.nva.DOMAIN:PORT or nva1.nva.DOMAIN=HOST:PORT; may be given several times.",
            callback=check_nva,
        ),
    ],
    credentials: Credentials,
    device_id: Annotated[
        int, number_option("--device-id", low=1, high=2**63 - 1, help="P4Runtime device id of its switch.")
    ] = 1,
    state: Annotated[
        Path | None,
        path_option("--state", help="Directory that survives restarts, for what is attached. The run directory."),
    ] = None,
    require_peer_keys: Annotated[
        bool,
        typer.Option(
            "--require-peer-keys", help="Tunnels have keys that both NVEs have mixed, or none, whatever the NVA says."
        ),
    ] = False,
    issued: Issued = None,
    run_dir: RunDirectory = None,
    log_json: LogJson = False,
    log_level: Level = LogLevel.INFO,
) -> None:
    """Run the agent of one NVE until it is told to stop (SIGTERM, SIGINT)."""
    from nvo3sec.operator.console import AGENT, default_run_directory
    from nvo3sec.processes.nve import NveProcess, NveSettings
    from nvo3sec.transport.credentials import NvaAddress

    addresses = [NvaAddress.parse(text) for text in nva]
    if len(domains := sorted({address.name.domain for address in addresses})) != 1:
        raise typer.BadParameter(f"all of one domain, not of {' and '.join(domains)}", param_hint="--nva")
    place = run_dir or default_run_directory(AGENT + name)
    settings = NveSettings(
        name, p4runtime, device_id, addresses, credentials, place, state or place, require_peer_keys, issued
    )

    async def serve() -> None:
        await NveProcess(settings).run()

    _serve(serve(), log_json, log_level)
