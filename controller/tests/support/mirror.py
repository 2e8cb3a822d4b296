# SPDX-License-Identifier: Apache-2.0
"""The mappings of a VN as somebody has them who follows its increments."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.mapping import MappingEntry, MappingSet
from nvo3sec.domain.mapping.change_log import Increment


def followed(
    have: dict[int, MappingEntry], increment: Increment | None, everything: Iterable[MappingEntry]
) -> dict[int, MappingEntry]:
    """By MAC address, after `increment`; without one, everything has to be asked for anew."""
    if increment is None:
        return {entry.mac: entry for entry in everything}
    after = dict(have)
    for change in increment.changes:
        if isinstance(change, MappingSet):
            after[change.mapping.mac] = change.mapping
        else:
            after.pop(change.mac, None)
    return after
