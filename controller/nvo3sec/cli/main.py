# SPDX-License-Identifier: Apache-2.0
"""Subcommands and how they end."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nvo3sec.cli import domain, keys, operate, overlay, p4, serve, shell
from nvo3sec.cli.options import RunDirectory
from nvo3sec.errors import ConfigError, Nvo3secError

app = typer.Typer(
    name="nvo3sec",
    help="A secure NVO3 overlay: controller, operator commands, lab.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables could show keys
    add_completion=False,
)
controller_app = typer.Typer(help="NVA and NVE agents in one process, for development.", no_args_is_help=True)
app.add_typer(controller_app, name="controller")
app.add_typer(serve.nva_app, name="nva")
app.add_typer(serve.nve_app, name="nve")
app.add_typer(domain.app, name="domain")
app.add_typer(overlay.vn_app, name="vn")
app.add_typer(overlay.map_app, name="map")
app.add_typer(overlay.authz_app, name="authz")
app.add_typer(p4.app, name="p4")
app.add_typer(keys.app, name="keys")
app.command("status")(operate.status)
app.command("counters")(operate.counters)
app.command("reconcile")(operate.reconcile)
app.command("shell")(shell.shell)


MOUNTED = {"lab": ("nvo3lab.cli", "lab"), "drill": ("nvo3lab.cli", "drill"), "pki": ("nvo3sec.cli.pki", "app")}
"""Commands that take a while to import, or belong to a package that not everybody installs."""


def _mount(name: str) -> None:
    module_name, attribute = MOUNTED[name]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name not in (module_name, module_name.split(".")[0]):
            raise
        return
    mounted = getattr(module, attribute, None)
    if isinstance(mounted, typer.Typer):
        app.add_typer(mounted, name=name)


@controller_app.command("run")
def run(
    file: Annotated[Path, typer.Option("--domain", help="The domain file.")],
    run_dir: RunDirectory = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines instead of text.")] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the controller of a domain until it is told to stop (SIGTERM, SIGINT)."""
    # Imported here, because little else needs gRPC or the domain file, and every other command should start quickly.
    from nvo3sec import logs
    from nvo3sec.config import load_domain
    from nvo3sec.console import default_run_directory
    from nvo3sec.hardening import keep_memory_private
    from nvo3sec.process import Controller

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("one of: debug, info, warning, error", param_hint="--log-level")
    keep_memory_private()
    configuration = load_domain(file)
    logs.configure(json_lines=log_json, level=log_level)

    async def serve() -> None:
        await Controller(configuration, run_dir or default_run_directory()).run()

    asyncio.run(serve())


@controller_app.command("check")
def check(file: domain.FileArgument) -> None:
    """As `domain check`."""
    domain.check(file)


def main() -> None:
    """Entry point."""
    for name in MOUNTED:
        if not sys.argv[1:] or sys.argv[1] in (name, "--help"):
            _mount(name)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app()
    except ConfigError as error:
        for finding in error.findings:
            errors.print(f"{error.source}:{finding.line}: {finding.field}: {finding.message}", markup=False)
        sys.exit(2)
    except Nvo3secError as error:
        errors.print(f"nvo3sec: {error}", markup=False)
        sys.exit(1)
