# SPDX-License-Identifier: Apache-2.0
"""The switches under test, as processes of ours: started in a directory of their own, awaited, ended by pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc

from harness.p4runtime import unix_channel

CPU_PORT = 510
DEVICE_ID = 1
START_SECONDS = 120.0  # the embedded switch may have to compile first
EXECUTABLES = {"embedded": "p4softswitch", "bmv2": "simple_switch_grpc"}

# The switch must not outlive a test run that is killed (ptf ends by os._exit): the kernel tells it when its parent
# dies.
_BOUND_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class SwitchFailed(Exception):
    """The switch process ended or did not become ready; the text has what it printed."""


def find(target: str) -> str | None:
    """Path of the target's executable, None if it is not installed. The environment of this Python comes first."""
    name = EXECUTABLES[target]
    beside_python = Path(sys.executable).with_name(name)
    return str(beside_python) if beside_python.exists() else shutil.which(name)


def available() -> tuple[list[str], list[str]]:
    """(targets to run on, why another is left out). The embedded switch is the project's own: it is never left out."""
    if find("bmv2"):
        return ["embedded", "bmv2"], []
    return ["embedded"], [f"packet tests not on bmv2: {EXECUTABLES['bmv2']} is not on PATH"]


class Switch:
    """One running switch. Its sockets lie in a directory that only this user can enter."""

    def __init__(self, target: str, extra_flags: tuple[str, ...] = ()) -> None:
        executable = find(target)
        if executable is None:
            raise SwitchFailed(f"{EXECUTABLES[target]} is not installed")
        self.target = target
        self._directory = tempfile.TemporaryDirectory(prefix="nve-ptf-")
        base = Path(self._directory.name)
        self.p4runtime_path = str(base / "p4runtime")
        self.dataplane_path = str(base / "dataplane")
        self.flags = ("--cpu-port", str(CPU_PORT), *extra_flags)
        command = [
            executable,
            "--no-p4",
            "--device-id",
            str(DEVICE_ID),
            "--",
            "--grpc-server-addr",
            f"unix:{self.p4runtime_path}",
            "--dp-grpc-server-addr",
            f"unix:{self.dataplane_path}",
            *self.flags,
        ]
        self._log = open(base / "output", "w+b")  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOUND_TO_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=base,
        )
        try:
            self._await(self.p4runtime_path)
            self._await(self.dataplane_path)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def version(self) -> str:
        executable = find(self.target)
        answer = subprocess.run([str(executable), "--version"], capture_output=True, check=True)
        return answer.stdout.decode().strip()

    def output(self) -> str:
        return (Path(self._directory.name) / "output").read_text(errors="replace")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        self._directory.cleanup()

    def _await(self, path: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        channel = unix_channel(path)
        try:
            while True:
                # Not by `channel_ready_future`: its thread looks once more when it is done, even at a closed channel.
                try:
                    channel.unary_unary("/ready/Question")(b"", timeout=0.2, wait_for_ready=True)
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        return  # a server has answered: there is no such method
                    if not self.is_alive():
                        raise SwitchFailed(f"{self.target} ended at once:\n{self.output()}") from None
                    if time.monotonic() > deadline:
                        raise SwitchFailed(f"{self.target} is not ready after {START_SECONDS} s") from None
        finally:
            channel.close()
