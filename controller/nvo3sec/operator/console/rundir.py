# SPDX-License-Identifier: Apache-2.0
"""Run directories: where the sockets are through which operators ask the processes of this machine.

Each process has one of its own in the base directory of its user (`nva`, `nve-leaf1`, `controller`), so that an NVA and
agents can be on one machine. A directory or a link in there that holds several (`lab`) is looked into as well.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from nvo3sec.errors import NoController, OperatorError

ENVIRONMENT = "NVO3SEC_RUN_DIR"
SOCKET = "controller.sock"
NVA, CONTROLLER, AGENT = "nva", "controller", "nve-"
"""Names of run directories; an agent's goes on with the name of its NVE."""


def base_directory() -> Path:
    """nvo3sec in the user's runtime directory, in /run for root, and for who has neither in the one for temporary
    files."""
    if os.environ.get("XDG_RUNTIME_DIR"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "nvo3sec"
    if os.geteuid() == 0:
        return Path("/run/nvo3sec")
    return Path(tempfile.gettempdir()) / f"nvo3sec-{os.geteuid()}"


def default_run_directory(process: str) -> Path:
    """Where a process runs that is not told: `process` is NVA, CONTROLLER, or AGENT with the name of an NVE."""
    return base_directory() / process


def socket_path(run_directory: Path) -> Path:
    """The controller's socket."""
    return run_directory / SOCKET


def prepare_run_directory(path: Path) -> bool:
    """Make the directory, for its owner alone. Raises OperatorError if it is somebody else's, or open to others.

    Returns whether it is ours to remove: it was not there, or is where run directories are looked for.
    Its parent is made in the same way, unless it is there: a base directory must not be open to others either.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = not path.exists() or path.parent == base_directory()
        path.mkdir(mode=0o700, exist_ok=True)
        if path.parent == base_directory():
            _check_base(path.parent)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    _check_private(path)
    return is_ours


def _check_base(path: Path) -> None:
    # In a directory for temporary files a link could be anybody's.
    if path.is_symlink():
        raise OperatorError(f"{path} is a link; it must be a directory of yours")
    _check_private(path)


def _check_private(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OperatorError(f"{path} is not a directory of yours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise OperatorError(f"{path} is open to others; its mode must be 0700")


# --- who runs here --------------------------------------------------------------------------------------------------


def running(base: Path) -> dict[str, Path]:
    """Run directories in `base`, by name (`nva`, `nve-leaf1`, `lab/nva`): those with a socket that are the user's.

    Whoever could put a socket there could have operators believe anything: what is somebody else's, or open to others,
    is passed over.
    """
    return _looked_through(base)[0]


def _looked_through(base: Path) -> tuple[dict[str, Path], list[str]]:
    """What runs in `base`, and why directories in which something could run were passed over."""
    found: dict[str, Path] = {}
    passed_over: list[str] = []

    def is_private(path: Path, check: Callable[[Path], None] = _check_private) -> bool:
        try:
            check(path)
        except OperatorError as error:
            if os.path.isdir(path):  # a file, and a link that leads nowhere, are nothing to tell of
                passed_over.append(str(error))
            return False
        return True

    if not is_private(base, _check_base if base == base_directory() else _check_private):
        return found, passed_over
    for place in sorted(base.iterdir()):
        if not is_private(place):
            continue
        if socket_path(place).exists():
            found[place.name] = place.resolve()
            continue
        for inner in sorted(place.iterdir()):
            if os.path.exists(socket_path(inner)) and is_private(inner):
                found[f"{place.name}/{inner.name}"] = inner.resolve()
    return found, passed_over


def choose_run_directory(
    given: Path | None, *, agents: bool = False, nva: bool = False, only_here: bool = False
) -> Path:
    """The run directory of the process to ask.

    given: that one, or one that holds several; the user's base directory unless told. agents: for a question that only
    agents answer; for any other an NVA comes first, and an agent if it is the only process. nva: not an agent in its
    place, unless that is what was given. only_here: for a command that cannot ask elsewhere, which none for agents can.

    Raises NoController if there is none, OperatorError if there are several.
    """
    # os.path: what may not even be looked at is not there.
    if given is not None and os.path.exists(socket_path(given)):
        return given
    base = base_directory() if given is None else given
    if given is not None and not os.path.isdir(given):
        what = "not a directory" if os.path.exists(given) else "no such run directory"
        raise NoController(f"{what}: {given}{_elsewhere(base)}")
    here, passed_over = _looked_through(base)
    of_agents = {name: path for name, path in here.items() if _last(name).startswith(AGENT)}
    others = {name: path for name, path in here.items() if name not in of_agents}
    chosen = of_agents if agents else others if nva else (others or of_agents)
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    if chosen:
        ways = ", ".join(f"--run-dir {path}" for path in chosen.values())
        raise OperatorError(f"several run here; say which: {ways}")
    what = "no agent" if agents else "no NVA"
    why = "".join(f"; passed over: {one}" for one in passed_over)
    elsewhere = "" if agents or only_here else ", or --nva for one elsewhere"
    raise NoController(f"{what} is running in {base}{_elsewhere(base)}{why}; use --run-dir{elsewhere}")


def has_been_an_nva(given: Path | None) -> bool:
    """Whether there is the directory of an NVA, that runs or that ran, in one that holds several; as `given` above."""
    base = base_directory() if given is None else given
    return any(base.glob(NVA)) or any(base.glob(f"*/{NVA}"))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _elsewhere(asked: Path) -> str:
    """Where one could have been meant."""
    base = base_directory()
    found = running(base) if base != asked else {}
    return f" (there are: {', '.join(map(str, found.values()))})" if found else ""
