# SPDX-License-Identifier: Apache-2.0
"""The controller's side of the operator socket."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import math
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.errors import Nvo3secError, OperatorError, in_one_line
from nvo3sec.operator.calls import CALLS, Method
from nvo3sec.operator.console.rundir import prepare_run_directory, socket_path
from nvo3sec.operator.json_form import to_json

END_S = 1.0
"""How long whoever does not read keeps the end of the process waiting."""
REQUEST_LIMIT_BYTES = 16 << 20
"""A domain file fits, however its characters are escaped."""
LOOKS = frozenset({"admission", "attachments", "wait", *(call.name for call in CALLS.values() if call.looks)})
"""Methods that change nothing."""
_PEERCRED = struct.Struct("3i")
"""Process, user and group (unix(7), SO_PEERCRED)."""


class ConsoleServer:
    """Answers operators in `run_directory`. `methods`: by name; they take keyword arguments and return documents.

    who: what it is, for people who have asked the wrong process.
    """

    def __init__(self, run_directory: Path, methods: Mapping[str, Method], who: str = "this process") -> None:
        self._who = who
        self._path = socket_path(run_directory)
        self._methods = dict(methods)
        self.not_yet = ""
        """Why there are methods that are not there yet."""
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        """Every connection."""
        self._answering: set[asyncio.Task[None]] = set()
        """Those that are not yet being closed."""
        self._stopping = False
        self._is_ours = False
        self._log = structlog.get_logger("console")

    async def start(self) -> None:
        """Begin to listen. Raises OperatorError if a controller runs in this directory already."""
        self._is_ours = prepare_run_directory(self._path.parent)
        if self._path.exists():
            try:
                _, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                self._path.unlink()  # left over from one that was killed
            else:
                writer.close()
                raise OperatorError(
                    f"a process is running in {self._path.parent} already; each process needs a directory of its own"
                )
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(self._path), limit=REQUEST_LIMIT_BYTES)
        except OSError as error:
            raise OperatorError(f"{self._path}: {error.strerror or error}") from None
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Stop listening. Whoever waits for an answer is told that there will be none."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        if self._is_ours:
            with contextlib.suppress(OSError):  # something else is in it: what an agent must remember
                self._path.parent.rmdir()
        self._stopping = True
        for task in self._answering:
            task.cancel()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=END_S)
            for task in late:
                self._serving[task].transport.abort()  # it does not read
            if late:
                await asyncio.wait(late)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task that asyncio made would be known here only once it runs: a stop before that would not wait for it.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            who = _user(writer)
            while not self._stopping and (line := await reader.readline()):
                writer.write(_encoded(await self._answer(line, who)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a request beyond the limit: nothing to answer
        except asyncio.CancelledError:
            # Between two requests. A task that ended as cancelled asyncio would complain about, in Python 3.11.
            if not self._stopping:
                raise
        finally:
            self._answering.discard(task)  # a stop does not cancel it from here on
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def add(self, methods: Mapping[str, Method]) -> None:
        """Answer these as well, which are all."""
        self._methods |= methods
        self.not_yet = ""

    async def _answer(self, line: bytes, who: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name, params = request["method"], request.get("params", {})
            method = self._methods[name]
            if fault := _fault(method, params):
                return _error("OperatorError", fault)
        except KeyError:
            those = ", ".join(sorted(self._methods)) + (f"; {self.not_yet}" if self.not_yet else "")
            return _error("OperatorError", f"{self._who} does not answer that; it answers: {those}")
        except (ValueError, TypeError, AttributeError, RecursionError):
            return _error("OperatorError", "the request is not understood")
        try:
            # What only looks is asked again and again by whoever waits for something.
            log = self._log.debug if name in LOOKS else self._log.info
            log("operator asks", operator=who, method=name, arguments=params)
            return {"result": to_json(await method(**params))}
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return _error("OperatorError", f"{self._who} stops")
        except Nvo3secError as error:
            return _error(type(error).__name__, in_one_line(error))
        except (ValueError, TypeError):
            return _error("OperatorError", "the request is not understood")
        except Exception as error:  # noqa: BLE001  # an operator's question must not end the controller
            self._log.exception("operator request failed", method=str(line[:200]))
            return _error(type(error).__name__, f"internal error; the log of {self._who} has the details")


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return json.dumps(answer, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_error("OperatorError", "the answer has a number that JSON does not have")).encode()


def _user(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end, as the kernel says: the socket is closed to everybody but its owner and root."""
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    pid, uid, _ = _PEERCRED.unpack(found)
    return f"user {uid}, process {pid}"


_WHOLE, _NUMBER, _TRUTH = (
    ("a whole number", frozenset({int})),
    ("a finite number", frozenset({int, float})),
    ("true or false", frozenset({bool})),
)
_KINDS = {"int": _WHOLE, "float": _NUMBER, "bool": _TRUTH}
"""What JSON values a parameter takes, by the first word of its annotation. Python would take a truth for a number."""


def _fault(method: Method, params: Mapping[str, Any]) -> str:
    """What of `params` is no number, or no truth, where `method` takes one; empty if nothing is."""
    for name, parameter in inspect.signature(method).parameters.items():
        first, *more = str(parameter.annotation).split(" | ")
        if name not in params or first not in _KINDS or (params[name] is None and "None" in more):
            continue
        what, kinds = _KINDS[first]
        value = params[name]
        if type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value)):
            return f"{name}: must be {what}"
    return ""


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message}}
