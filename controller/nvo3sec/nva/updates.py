# SPDX-License-Identifier: Apache-2.0
"""What an agent is told about the mappings of a VN that stand behind others: the difference to what it has."""

from __future__ import annotations

from nvo3sec.domain.mapping import MappingSet
from nvo3sec.domain.messages import MappingUpdate, RemoteMapping
from nvo3sec.nva.attachments import Attachments
from nvo3sec.nva.session import NvaSideSession


def mapping_update(attachments: Attachments, session: NvaSideSession, vni: int) -> MappingUpdate | None:
    """What leads the agent of a session to now; its position is then there. None: it is there already.

    An agent without a position has learned nothing, so nothing that changed before can be wrong with it. One whose
    position is too old is told to ask again for what it has learned, which is bounded by its switch; all mappings of a
    VN are not.
    """
    now = attachments.position(vni)
    have = session.positions.get(vni)
    session.positions[vni] = now
    if have is None:
        return MappingUpdate(vni, now.version, now)
    if have == now:
        return None
    increment = attachments.increment(session.nve, vni, have)
    if increment is None:
        return MappingUpdate(vni, None, now)
    mappings = tuple(_remote(change) for change in increment.changes if isinstance(change, MappingSet))
    withdrawn = tuple(
        (change.mac, change.version) for change in increment.changes if not isinstance(change, MappingSet)
    )
    return MappingUpdate(vni, increment.base, now, mappings, withdrawn)


def _remote(change: MappingSet) -> RemoteMapping:
    """Behind which VAP of the other NVE it is, is none of the agent's business."""
    mapping = change.mapping
    return RemoteMapping(mapping.mac, mapping.place.nve, mapping.ips, mapping.sequence)
