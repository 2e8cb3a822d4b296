# SPDX-License-Identifier: Apache-2.0
"""What an agent says when an operator asks it, and not its NVA: nothing that it does not know is called none."""

from __future__ import annotations

import asyncio

from nvo3sec.cli import render
from nvo3sec.identity.names import Role
from nvo3sec.operator.documents import Status
from nvo3sec.operator.json_form import from_json, to_json
from nvo3sec.processes.nve import NveProcess, NveSettings
from nvo3sec.transport.credentials import NvaAddress
from rich.console import Console


def test_an_agent_that_has_no_nva_yet(identities, capsys):
    directory, place = identities.directory, identities.place(Role.NVE, "leaf1")
    address = NvaAddress(identities.name(Role.NVA, "nva1"), "127.0.0.1", 1)
    switch = f"unix:{directory}/leaf1.sock"
    settings = NveSettings("leaf1", switch, 1, [address], place, directory / "run", directory / "state")
    told = to_json(asyncio.run(NveProcess(settings)._console_status()))
    assert told["not_known"] == ["other switches", "keys", "reports"]
    for part in render.status(from_json(Status, told)):
        Console(width=200).print(part, soft_wrap=True)
    title, headings, row, *lines = capsys.readouterr().out.splitlines()
    assert lines == ["not known here: other switches, keys, reports", "not ready: leaf1: not started"]
    values = row.split()
    assert title == "Domain lab.example: switches"
    assert values == ["leaf1", "no", "-", "-", "-", "no", "-", "-", "-", "not", "started"], headings
