# SPDX-License-Identifier: Apache-2.0
"""p4runtime-shell against each target: a client by other people, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_harness import PROGRAMS, TIMEOUT, DataPort, Target

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-shell" / "bin" / "python"
FRAME = bytes.fromhex("020000000001 020000000002 0800") + bytes(range(50))


@pytest.fixture
def session(fresh_target: Target) -> Iterator[subprocess.Popen[str]]:
    """The client, told where the switch is."""
    if not PYTHON.exists():
        pytest.skip("there is no .venv-shell; `make setup` makes it")
    fresh_target.controller().close()  # it answers: this client tries only once
    command = [str(PYTHON), str(HERE / "support" / "foreign_client_session.py"), fresh_target.address]
    command += [str(PROGRAMS / f"with_arrays.{suffix}") for suffix in ("p4info.txtpb", "json")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(2 * TIMEOUT, process.kill)
    watchdog.start()
    yield process
    watchdog.cancel()
    process.kill()
    process.communicate()


def test_session(fresh_target: Target, session: subprocess.Popen[str]) -> None:
    assert session.stdout is not None
    data: DataPort | None = None
    results: dict[str, Any] = {}
    for line in session.stdout:
        results |= json.loads(line)
        if "ready" in results and data is None:
            data = DataPort(fresh_target.data_address)
            data.send(3, FRAME)
        if "direct_counter" in results:
            assert data is not None
            assert data.receive() == (300, bytes.fromhex("020000000001020000000002080001020304"))
            data.close()
            session.communicate("\n", timeout=TIMEOUT)
            break
    assert session.wait(TIMEOUT) == 0
    assert results == {
        "tables": ["acl", "fixed", "forward", "narrow", "nothing_to_match", "route"],
        "inserted": [["TestIngress.set_port", "07"]],
        "modified": ["09"],
        "second_insert": [6, "ALL-sswitch-p4org"],
        "deleted": 0,
        "acl": [[5, "ff00", "02"]],
        "counter": [[0, 0, 0], [1, 3, 4], [2, 0, 0], [3, 0, 0]],
        "meter": [1, 2, 3, 4],
        "group": [[1, 1], [2, 1]],
        "ready": True,
        "packet_in": [FRAME.hex(), ["03", "00", "01"]],
        "direct_counter": [1],
    }
