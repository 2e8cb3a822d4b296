# SPDX-License-Identifier: Apache-2.0
"""What an NVA and an agent that are started again do about a revocation list that was put back."""

from __future__ import annotations

import os

import pytest
from nvo3sec.config.load import read_domain
from nvo3sec.identity.errors import RevocationUnknown
from nvo3sec.identity.names import Role
from nvo3sec.processes.nva import NvaProcess, NvaSettings
from nvo3sec.processes.nve import NveProcess, NveSettings
from nvo3sec.transport.credentials import SEEN_FILE, NvaAddress


def test_neither_starts_with_a_list_that_has_gone_back(identities):
    directory, lists = identities.directory, identities.authority.revocation_file
    nva_place, nve_place = identities.place(Role.NVA, "nva1"), identities.place(Role.NVE, "leaf1")

    def nva() -> None:
        settings = NvaSettings(
            "127.0.0.1", 0, nva_place, directory / "run-nva", directory / "database", directory / "keys"
        )
        NvaProcess(read_domain(identities.domain_file), settings)._starting.store.close()

    def agent() -> None:
        address = NvaAddress(identities.name(Role.NVA, "nva1"), "127.0.0.1", 1)
        run, state = directory / "run-leaf1", directory / "state-leaf1"
        NveProcess(NveSettings("leaf1", f"unix:{directory}/leaf1.sock", 1, [address], nve_place, run, state))

    old = lists.read_bytes()
    identities.authority.revoke(identities.name(Role.NVE, "leaf3"))
    new = lists.read_bytes()
    for start in (nva, agent):
        start()
    assert (directory / "keys" / SEEN_FILE).exists(), "out of the backups of the database"
    assert (directory / "state-leaf1" / SEEN_FILE).exists()
    lists.write_bytes(old)
    for start in (nva, agent):
        with pytest.raises(RevocationUnknown, match="is older than list"):
            start()
    lists.write_bytes(new)
    for start in (nva, agent):
        start()
    assert oct(os.stat(directory / "keys" / SEEN_FILE).st_mode & 0o777) == "0o600"
