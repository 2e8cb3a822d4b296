# SPDX-License-Identifier: Apache-2.0
"""Where a process has its credentials, and which NVA it talks to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nvo3sec.errors import OperatorError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device, DeviceFiles, name_in
from nvo3sec.identity.errors import CredentialsError, PeerRefused
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.seen_lists import SeenLists

DEVICE_FILE = "device.pem"
"""Key and certificate chain; mode 0600."""
ANCHORS_FILE = "anchors.pem"
"""The authorities that are trusted."""
REVOCATIONS_FILE = "revoked.pem"
"""The revocation lists of all of them. Without a list that is current nobody is let in."""

SEEN_FILE = "revocation-lists.json"
"""How far the lists of each authority had come, in a directory of the process's own."""

_ADDRESS = re.compile(r"(?P<dns>[^=]+?)(=(?P<host>[^=]+))?:(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class NvaAddress:
    """An NVA: its exact name, which its certificate must show, and where it is."""

    name: DeviceName
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> NvaAddress:
        """`nva1.nva.DOMAIN:PORT`, or `nva1.nva.DOMAIN=HOST:PORT`. Raises OperatorError."""
        found = _ADDRESS.fullmatch(text)
        labels = found["dns"].split(".", 2) if found else []
        if found is None or len(labels) != 3 or labels[1] != Role.NVA.value or not 0 < int(found["port"]) < 65536:
            raise OperatorError(f"{text!r} is no NVA; write nva1.nva.DOMAIN:PORT, or nva1.nva.DOMAIN=HOST:PORT")
        try:
            name = DeviceName(labels[2], Role.NVA, labels[0])
        except PeerRefused as error:
            raise OperatorError(f"{text!r} is no NVA: {error.detail}") from None
        return cls(name, (found["host"] or found["dns"]).strip("[]"), int(found["port"]))


def load_device(
    directory: Path, domain: str, purpose: Purpose, role: Role, name: str | None = None, issued: Path | None = None
) -> Device:
    """The credentials in `directory`, which must be those of `role` (and `name`). Raises CredentialsError.

    issued: directory with certificates that the authority has issued, as ROLE/NAME.pem.
    """
    chain = directory / DEVICE_FILE
    renewed = None
    if issued is not None and (own := name or name_in(chain, domain)):
        renewed = issued / role.value / f"{own}.pem"
    device = Device(DeviceFiles(chain, chain, directory / ANCHORS_FILE, renewed), domain, purpose)
    found = device.identity.device
    if found.role is not role or (name is not None and found.name != name):
        wanted = f"{role.value}/{name}" if name else f"a device of role {role.value}"
        raise CredentialsError(f"{chain} is the certificate of {found}, not of {wanted}")
    return device


def live_peers(directory: Path, device: Device, remember: Path | None = None) -> LivePeers:
    """What watches the peers of a process. remember: directory in which it remembers how far lists had come.

    Raises RevocationUnknown, StorageError: nothing starts without a list, or with one that has gone back.
    """
    seen = SeenLists(None if remember is None else remember / SEEN_FILE)
    return LivePeers(RevocationFile(directory / REVOCATIONS_FILE, device.anchors, seen=seen))
