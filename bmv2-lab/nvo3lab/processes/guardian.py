# SPDX-License-Identifier: Apache-2.0
"""The guardian: the one parent of every process of a lab, and the end of them all.

It holds one end of a socket pair whose other end only the lab has. When that end closes, for whatever reason (a tidy
end, an exception, kill -9), it stops what it started, newest first, then whatever those had started, and removes the
run directory. Should the guardian itself be killed, the kernel kills its children (PR_SET_PDEATHSIG), and the lab
removes the run directory once they are gone: each of them holds its lock. Network namespaces have no names: they end
with the descriptors that it holds and the processes in them, and the veth pairs end with them.

Requests and answers are JSON lines; it also reports each process that ends. It runs in one thread, so that work
between fork and exec is safe.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nvo3lab import rundir
from nvo3lab.errors import words_of
from nvo3lab.wires import linux

GRACE, LONGEST = 5.0, 60.0
"""Seconds without any progress between SIGTERM and SIGKILL, and how long at most who gets on is waited for: a machine
that is busy lets an interpreter end slowly."""
_POLL = 0.01


class Guardian:
    """State of one guardian; `run` returns when the lab's end of the socket has closed and everything is gone."""

    def __init__(self, lab: socket.socket, run_directory: Path, held: Sequence[int] = ()) -> None:
        """`held`: descriptors that it and whatever it starts hold as long as they live."""
        self._lab = lab
        self._run_directory = run_directory
        self._held = tuple(held)
        rundir.temporary(run_directory).mkdir(mode=0o700, exist_ok=True)
        self._namespaces: dict[str, int] = {}
        self._pids: dict[str, int] = {}  # in the order of their start
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._status: dict[str, int] = {}
        self._buffer = b""
        self._methods: dict[str, Callable[..., Any]] = {
            "namespace": self.namespace,
            "plumb": self.plumb,
            "start": self.start,
            "stop": self.stop,
            "kill": self.kill,
            "pause": self.pause,
            "resume": self.resume,
            "processes": self.processes,
        }

    def run(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        # Ctrl-C is for the lab; the guardian ends when the lab has. Handlers, because what is ignored stays ignored in
        # the programs that it starts.
        for unheeded in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(unheeded, lambda _signal, _frame: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._lab, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            alive = True
            while alive:
                for key, _events in selector.select():
                    if key.fileobj is self._lab:
                        alive = self._receive()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(wake_read, 4096)
                        self._reap()
        self._stop_all()
        rundir.remove(self._run_directory)

    def _receive(self) -> bool:
        try:
            data = self._lab.recv(1 << 20)
        except ConnectionError:
            return False
        if not data:
            return False
        self._buffer += data
        while b"\n" in self._buffer:
            line, self._buffer = self._buffer.split(b"\n", 1)
            request = json.loads(line)
            reply: dict[str, Any] = {"id": request["id"]}
            try:
                reply["result"] = self._methods[request["method"]](**request["arguments"])
            except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                reply["error"] = words_of(error)
            self._send(reply)
        return True

    def namespace(self, name: str) -> None:
        """Make a network namespace, known by this name to this guardian only."""
        self._namespaces[name] = linux.new_network_namespace()

    def plumb(self, plan: dict[str, Any]) -> None:
        """Have the wires of a plan made (nvo3lab.wires.plumbing), in a process of its own: it changes namespaces."""
        descriptors = {name: str(fd) for name, fd in self._namespaces.items()}
        request = json.dumps({"plan": plan, "fds": descriptors})
        own_pid = os.getpid()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nvo3lab.wires.plumbing"],
            input=request.encode(),
            pass_fds=(*self._namespaces.values(), *self._held),
            preexec_fn=lambda: linux.die_with_parent(own_pid),
            capture_output=True,
            timeout=80,
            check=False,
        )
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace").strip().splitlines()[-1])

    def start(
        self,
        name: str,
        argv: list[str],
        log: str,
        namespace: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> int:
        """Start a process. Returns its id; raises OSError where it cannot be executed."""
        if name in self._pids:
            raise ValueError(f"{name} is running")
        descriptor = self._namespaces[namespace] if namespace else None

        own_pid = os.getpid()

        def prepare() -> None:
            linux.die_with_parent(own_pid)
            if descriptor is not None:
                linux.enter_network(descriptor)

        with open(log, "ab", opener=_private) as output:
            process = subprocess.Popen(  # noqa: S603 - the lab's own command lines
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=prepare,
                start_new_session=True,
                pass_fds=self._held,
                # What they leave in the place for temporary files, where they are killed, goes with the run directory.
                env=os.environ | {"TMPDIR": str(rundir.temporary(self._run_directory))} | (environment or {}),
                cwd=self._run_directory,
            )
        self._pids[name] = process.pid
        self._processes[process.pid] = process
        self._status.pop(name, None)
        return process.pid

    def stop(self, names: list[str], grace: float = GRACE) -> dict[str, dict[str, float]]:
        """End processes that this guardian started, together, by their ids.

        Returns `statuses`, the exit status of each (negative for a signal; none of one that cannot even be killed), and
        `killed`: after how many seconds those were killed that did not end.
        """
        pids = {name: self._pids[name] for name in names if name in self._pids}
        killed = self._end(list(pids.values()), grace)
        return {
            "statuses": {name: self._status[name] for name in pids if name in self._status},
            "killed": {name: killed[pid] for name, pid in pids.items() if pid in killed},
        }

    def kill(self, name: str) -> None:
        """End a process that this guardian started, as an out-of-memory killer would. Raises KeyError for another."""
        pid = self._pids[name]
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the id is still this process's
        while self._exists(pid):
            time.sleep(_POLL)

    def pause(self, name: str) -> None:
        """Stop a process that this guardian started, as one that hangs. Raises KeyError for another."""
        os.kill(self._pids[name], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a process go on that was paused. Raises KeyError for one that this guardian has not started."""
        os.kill(self._pids[name], signal.SIGCONT)

    def processes(self) -> dict[str, int]:
        return dict(self._pids)

    def _stop_all(self) -> None:
        # Newest first and one by one: what a process leans on ends after it.
        for name in reversed(list(self._pids)):
            if name in self._pids:
                self._end([self._pids[name]], GRACE)
        # What those had started has become a child of this process (PR_SET_CHILD_SUBREAPER).
        orphans = linux.descendants(os.getpid())
        self._end(orphans, GRACE)

    def _end(self, pids: list[int], grace: float) -> dict[int, float]:
        """Returns after how many seconds each was killed that did not end."""
        start = time.monotonic()
        self._tell(pids, signal.SIGTERM)
        progress = linux.Progress(pids, start)
        while waiting := [pid for pid in pids if self._exists(pid)]:
            now = time.monotonic()
            if now >= start + LONGEST or min([progress.idle_s(pid, now) for pid in waiting]) >= grace:
                break
            time.sleep(_POLL)
        after = time.monotonic() - start
        self._tell(waiting, signal.SIGKILL)
        deadline = time.monotonic() + grace
        while any(self._exists(pid) for pid in waiting) and time.monotonic() < deadline:
            time.sleep(_POLL)
        return dict.fromkeys(waiting, after)

    def _tell(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            if self._exists(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    os.kill(pid, signal.SIGCONT)  # one that is paused would not hear of it

    def _exists(self, pid: int) -> bool:
        self._reap()
        # A child of its own exists until its status is known; of an adopted one nobody wants to know it.
        return pid in self._processes or linux.start_time(pid) is not None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._processes.pop(pid, None)
            if process is None:
                continue  # an adopted orphan
            code = os.waitstatus_to_exitcode(status)
            process.returncode = code
            name = next(name for name, known in self._pids.items() if known == pid)
            del self._pids[name]
            self._status[name] = code
            self._send({"ended": name, "status": code})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            self._lab.sendall(json.dumps(message).encode() + b"\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def main() -> None:
    """Arguments: descriptor of the socket, run directory, 1 where a user namespace is to be entered first, and further
    descriptors to hold."""
    descriptor, run_directory, user_namespace, *held = sys.argv[1:]
    if user_namespace == "1":
        linux.become_root_of_user_namespace()
    linux.adopt_orphans()
    with socket.socket(fileno=int(descriptor)) as lab:
        lab.set_inheritable(False)
        Guardian(lab, Path(run_directory), [int(number) for number in held]).run()


if __name__ == "__main__":
    main()
