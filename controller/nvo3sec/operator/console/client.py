# SPDX-License-Identifier: Apache-2.0
"""The operator's side of the socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from nvo3sec.errors import NoController, OperatorError
from nvo3sec.operator.console.rundir import AGENT, socket_path

ANSWER_TIMEOUT_S = 60.0


def ask(run_directory: Path, method: str, /, **params: Any) -> Any:
    """Ask the process that runs in `run_directory`. Raises NoController, or OperatorError with its refusal.

    A method that waits `wait_s` for something gets that much longer to answer.
    """
    timeout_s = ANSWER_TIMEOUT_S + float(params.get("wait_s", 0.0))
    path = socket_path(run_directory)
    who = "agent" if run_directory.name.startswith(AGENT) else "NVA"
    request = json.dumps({"method": method, "params": params}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(request)
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except TimeoutError:
        raise OperatorError(f"the {who} in {run_directory} did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise NoController(f"no {who} is running in {run_directory} ({error.strerror or error})") from None
    if not line:
        raise OperatorError(f"the {who} in {run_directory} closed the connection")
    answer = json.loads(line)
    if "error" in answer:
        raise OperatorError(answer["error"]["message"])
    return answer["result"]
