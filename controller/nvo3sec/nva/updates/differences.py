# SPDX-License-Identifier: Apache-2.0
"""What an agent is told about the mappings of a VN that stand behind others, and about keys: the difference to what it
has."""

from __future__ import annotations

from collections.abc import Collection

from nvo3sec.domain.mapping import MappingSet
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, MappingUpdate, RemoteMapping
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.mappings.service import MappingService
from nvo3sec.nva.reports.confinement import Confinement
from nvo3sec.nva.sessions.agent_session import NvaSideSession


def mapping_update(
    attachments: MappingService, session: NvaSideSession, vni: int, confinement: Confinement
) -> MappingUpdate | None:
    """What leads the agent of a session to now; its position is then there. None: it is there already.

    An agent whose position is too old, or of which nobody knows where it began, is told to ask again for what it has
    learned, which is bounded by its switch; all mappings of a VN are not. So is one for which that goes wrong: what is
    wrong with a VN is for no other to bear.
    """
    with confinement.around("mappings", session.nve, f"VNI {vni}"):
        return _mapping_update(attachments, session, vni)
    return MappingUpdate(vni, None, attachments.position(vni))


def _mapping_update(attachments: MappingService, session: NvaSideSession, vni: int) -> MappingUpdate | None:
    now = attachments.position(vni)
    have = session.positions.get(vni)
    is_told = vni not in session.beginnings
    session.beginnings.discard(vni)
    session.positions[vni] = now
    if have is None:
        return MappingUpdate(vni, None, now)
    if have == now and is_told:
        return None
    increment = attachments.increment(session.nve, vni, have)
    if increment is None:
        return MappingUpdate(vni, None, now)
    mappings = tuple(_remote(change) for change in increment.changes if isinstance(change, MappingSet))
    withdrawn = tuple(
        (change.mac, change.version) for change in increment.changes if not isinstance(change, MappingSet)
    )
    return MappingUpdate(vni, increment.base, now, mappings, withdrawn)


def begin_mappings(attachments: MappingService, session: NvaSideSession, vnis: Collection[int]) -> None:
    """The agent of a session serves these VNs, and no others. What is new to it, it begins to follow here and now.

    Before now it has learned nothing of it through this session; what it asks from now on can change before the next
    update is made, so the position is that of now, not of then.
    """
    for vni in session.positions.keys() - set(vnis):
        del session.positions[vni]
        session.beginnings.discard(vni)
    for vni in vnis:
        if vni not in session.positions:
            session.positions[vni] = attachments.position(vni)
            session.beginnings.add(vni)
            session.push_mappings(vni)


def key_news(
    keys: KeyService, session: NvaSideSession, incarnation: bytes, version: int, now: float
) -> KeyState | KeyUpdate | None:
    """Message `version` to the agent of a session, about keys; None if there is nothing to say. Raises StoreError."""
    nve, base = session.nve, session.keys_version
    if not base:
        whole = KeyState(version, incarnation, *keys.for_nve(nve, now))
        session.tunnels.clear()
        return whole
    changes = keys.changes_for(nve, tuple(session.tunnels), now)
    session.tunnels.clear()
    if not changes.tunnels:
        return None
    receives = tuple((one.sender, one.suite) for one in changes.tunnels if one.receiver == nve)
    sends = tuple((one.receiver, one.suite) for one in changes.tunnels if one.sender == nve)
    return KeyUpdate(version, base, incarnation, receives, sends, changes.receive, changes.send)


def _remote(change: MappingSet) -> RemoteMapping:
    """Behind which VAP of the other NVE it is, is none of the agent's business."""
    mapping = change.mapping
    return RemoteMapping(mapping.mac, mapping.place.nve, mapping.ips, mapping.sequence)
