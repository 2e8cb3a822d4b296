# SPDX-License-Identifier: Apache-2.0
"""What this machine allows, and what to do where it does not suffice."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nvo3lab.errors import PreflightError

TARGETS = ("embedded", "bmv2")
WIRES = ("auto", "kernel", "unix")
_SWITCHES = {"embedded": "p4softswitch", "bmv2": "simple_switch_grpc"}
_COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Wiring:
    """How the wires are made.

    Attributes:
        kernel: veth pairs between network namespaces, and hosts with the kernel's stack; otherwise UNIX datagram
            sockets, and hosts with a stack of the lab's own.
        user_namespace: the namespaces belong to a user namespace, because the user is not root.
        reason: why it is this one, for people.
    """

    kernel: bool
    user_namespace: bool
    reason: str


def executable(name: str) -> str:
    """Path of a program: beside this interpreter (a virtual environment that is not activated), or on PATH."""
    beside = Path(sys.executable).parent / name
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise PreflightError(f"{name} is not installed" + _ADVICE.get(name, ""))
    return found


_ADVICE = {
    "simple_switch_grpc": ": build BMv2 with P4Runtime support (https://github.com/p4lang/behavioral-model), put"
    " it on PATH, or use --target embedded, which needs a C compiler only",
    "p4softswitch": ": install the project (`pip install -e .`) into the environment of this interpreter",
    "nvo3sec": ": install the project (`pip install -e .`) into the environment of this interpreter",
}


def check_captures(directory: Path) -> None:
    """Make the directory for captures, and see whether it takes a file. Raises PreflightError.

    They are put there at the end, when it is too late for another one.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise PreflightError(f"no captures can be left in {directory}: {error.strerror or error}") from None


def switch_executable(target: str) -> str:
    """Path of the switch of a target. Raises PreflightError, saying what to install."""
    return executable(_SWITCHES[target])


def check_compiler() -> None:
    """The embedded switch compiles its program with the system's C compiler. Raises PreflightError without one."""
    if any(shutil.which(os.environ.get(variable, "")) for variable in ("P4SOFTSWITCH_CC", "CC")):
        return
    if any(shutil.which(name) for name in _COMPILERS) or importlib.util.find_spec("ziglang"):
        return
    raise PreflightError(
        "there is no C compiler, and the embedded switch translates the P4 program to C.\n"
        "  Debian, Ubuntu:  apt install gcc libc6-dev\n"
        "  Fedora:          dnf install gcc\n"
        "  anywhere:        pip install 'nvo3sec[zig]'"
    )


def choose_wiring(wires: str, target: str) -> Wiring:
    """The best wiring that this machine allows, or the one asked for.

    Raises:
        PreflightError: what was asked for is not possible here.
    """
    if wires == "unix":
        if target == "bmv2":
            raise PreflightError("BMv2 has no UNIX datagram ports; it needs --wires kernel")
        return Wiring(False, False, "asked for")
    root = os.geteuid() == 0
    switch = [switch_executable(target)] if target == "embedded" else []
    refusal = _probe("root", switch) if root else "not root"
    if root and refusal is None:
        return Wiring(True, False, "root may make network namespaces")
    in_user_namespace = _probe("user-namespace", switch)
    if in_user_namespace is None:
        return Wiring(True, True, "this user may make network namespaces within a user namespace")
    reason = f"no network namespaces here ({refusal}; in a user namespace: {in_user_namespace})"
    if wires == "kernel" or target == "bmv2":
        raise PreflightError(
            f"{reason}.\n"
            "  Run it as root with CAP_NET_ADMIN and CAP_SYS_ADMIN (in a container: --privileged), or allow user\n"
            "  namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or use\n"
            "  --target embedded --wires unix, which needs no privileges."
        )
    return Wiring(False, False, reason)


def _probe(where: str, switch: Sequence[str]) -> str | None:
    """Make two namespaces and a veth pair, in a process of its own. None if that works, else why not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 - this interpreter, a module of this package
        [sys.executable, "-P", "-m", "nvo3lab.wires.plumbing", "--probe", where, *switch],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        start_new_session=True,  # Ctrl-C is no refusal of the kernel's
        check=False,
    )
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
