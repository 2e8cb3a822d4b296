# SPDX-License-Identifier: Apache-2.0
"""What this program speaks, and what the other end says that it does."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from nvo3sec.domain.messages.session import Announcement, Attachment, Sign
from nvo3sec.domain.messages.versions import UNSAID, Feature, Speaks, missing
from nvo3sec.errors import VersionMismatch, WireError
from nvo3sec.wire import checks
from nvo3sec.wire import nva_pb2 as pb

PROTOCOL = 1
"""1: versions and features are said. 0: what was before."""
OLDEST = 0
"""The oldest that is served: the last two versions at least, so that an upgrade can go from one end to the other."""
FEATURES_LIMIT = 64
SOFTWARE_LIMIT = 64

_FEATURE = re.compile(r"[a-z][a-z0-9-]{0,63}")


def here() -> Speaks:
    """What this program speaks."""
    try:
        number = metadata.version("nvo3sec")
    except metadata.PackageNotFoundError:  # run from its sources
        number = "unknown"
    return Speaks(PROTOCOL, OLDEST, frozenset(one.value for one in Feature), f"nvo3sec {number}"[:SOFTWARE_LIMIT])


def speaks_out(speaks: Speaks) -> Any:
    """As a message; None for a peer from before there was one."""
    if speaks == UNSAID:
        return None
    return pb.Speaks(
        protocol=speaks.protocol,
        oldest=speaks.oldest,
        features=sorted(speaks.features),
        software=speaks.software,
    )


def speaks_in(message: Any, field: str) -> Speaks:
    """The field `speaks` of a message."""
    if not message.HasField("speaks"):
        return UNSAID
    said = message.speaks
    protocol = checks.number(said.protocol, f"{field}.protocol", 0, checks.UINT32)
    if len(said.features) > FEATURES_LIMIT:
        raise WireError(f"{field}.features", f"must have at most {FEATURES_LIMIT} entries")
    return Speaks(
        protocol,
        checks.number(said.oldest, f"{field}.oldest", 0, protocol),
        frozenset(checks.items(said.features, f"{field}.features", _feature)),
        checks.text(said.software, f"{field}.software", SOFTWARE_LIMIT),
    )


def _feature(value: str, field: str) -> str:
    if not _FEATURE.fullmatch(value):
        raise WireError(field, "must be a word in lower case")
    return value


def require_known(announcement: Announcement, theirs: Speaks) -> None:
    """Raises VersionMismatch for what an NVA that speaks `theirs` would take for something else."""
    needed = None
    match announcement:
        case Sign():
            needed = Feature.SHARED_ADDRESSES
        case Attachment(again=True):
            needed = Feature.ANNOUNCED_AGAIN
    if needed is not None and needed not in theirs.features:
        raise VersionMismatch(missing(needed, theirs, "the NVA"))
