# SPDX-License-Identifier: Apache-2.0
"""Subcommands and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import inspect
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nvo3sec.cli import domain, keys, mtu, operate, overlay, p4, serve, shell, tell
from nvo3sec.cli.options import Output, OutputOption, RunDirectory, UsageError, path_option
from nvo3sec.cli.written import Results
from nvo3sec.errors import ConfigError, Nvo3secError
from nvo3sec.system.plain import plain

app = typer.Typer(
    name="nvo3sec",
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
app.command("mtu")(mtu.mtu)
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
    elif mounted is not None:
        app.command(name)(mounted)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"nvo3sec {importlib.metadata.version('nvo3sec')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """A secure NVO3 overlay: controller, operator commands, lab."""


@controller_app.command("run")
def run(
    file: Annotated[Path, path_option("--domain", help="The domain file.")],
    run_dir: RunDirectory = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines instead of text.")] = False,
    log_level: serve.Level = serve.LogLevel.INFO,
) -> None:
    """Run the controller of a domain until it is told to stop (SIGTERM, SIGINT)."""
    # Imported here, because little else needs gRPC or the domain file, and every other command should start quickly.
    from nvo3sec.config import load_domain
    from nvo3sec.operator.console import CONTROLLER, default_run_directory
    from nvo3sec.processes.development import Controller
    from nvo3sec.system import logs
    from nvo3sec.system.hardening import keep_memory_private

    keep_memory_private()
    configuration = load_domain(file)
    logs.configure(json_lines=log_json, level=log_level.value)

    async def work() -> None:
        await Controller(configuration, run_dir or default_run_directory(CONTROLLER)).run()

    asyncio.run(work())


@controller_app.command("check")
def check(file: domain.FileArgument, output: OutputOption = Output.TABLE) -> None:
    """As `domain check`."""
    domain.check(file, output)


FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses beside 0: refused or failed; the command line or a file that it names is wrong; ended by Ctrl-C.
`Results` has more."""


QUIET_GRPC = ("GRPC_VERBOSITY", "NONE")
"""gRPC's core writes lines to standard error in a form of its own, which any stranger's handshake can cause. It reads
this when it is imported. What matters is in the log: the front and the clients say it."""


def mount_all() -> None:
    """Have the application know every command."""
    for name in MOUNTED:
        _mount(name)
    _unfold(app)


class _Group(TyperGroup):
    """Commands of one name. Without one of them its help is told as what is wrong, not as a result."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args:
            return super().parse_args(ctx, args)
        with contextlib.redirect_stdout(sys.stderr or io.StringIO()), contextlib.suppress(OSError):
            return super().parse_args(ctx, args)
        return args


def _unfold(group: typer.Typer) -> None:
    """Paragraphs of help in one line each: of a docstring's later ones, the lines of the source would be kept."""
    group.info.cls = _Group
    for command in group.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _unfold(inner.typer_instance)


def mount() -> None:
    """Have the application know the commands that the command line may mean."""
    for name in MOUNTED:
        if not sys.argv[1:] or sys.argv[1] in (name, "--help"):
            _mount(name)
    _unfold(app)


def main() -> None:
    """Run the command, and end with its exit status."""
    os.environ.setdefault(*QUIET_GRPC)
    results = Results()
    try:
        sys.exit(results.ended(_run()))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> int:
    try:
        status = app(standalone_mode=False, prog_name="nvo3sec")
    except ConfigError as error:
        for finding in error.findings:
            # As compilers say it, so that editors find the place.
            where = f"{error.source}:{finding.line}: {finding.field}" if finding.line else error.source
            tell.aside(plain(f"{where}: {finding.message}"))
        return USAGE
    except Nvo3secError as error:
        tell.error(str(error))
        return FAILED
    except OSError as error:
        # Of a path that was given, mostly: too long for this system, or through what is no directory.
        if not isinstance(error.filename, str) or error.strerror is None:
            raise
        tell.error(f"{error.filename}: {error.strerror}")
        return FAILED
    except UsageError as error:
        return _tell_usage(error)
    except typer.Abort as abort:
        tell.error("nothing was done")
        return INTERRUPTED if isinstance(abort.__context__, KeyboardInterrupt) else FAILED
    return status if isinstance(status, int) else 0


OF_A_LIBRARY = "Value error, "
"""What some versions of the command line parser put before what is wrong with a word that is to be one of several."""


def _tell_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        return USAGE  # said when it was raised
    path = error.ctx.command_path if error.ctx is not None else "nvo3sec"
    said = error.format_message().replace(OF_A_LIBRARY, "")
    if type(error).__name__ == "MissingParameter":
        said = " ".join(said.split())  # it lists what there is, one a line; nothing in it is from the command line
    tell.error(f"{said.rstrip('.')}; see {path} --help")
    return USAGE
