# SPDX-License-Identifier: Apache-2.0
"""A VN that gets another number: what was announced in it was announced in the VN, not in the number.

Everybody keeps what they had, in one step: who owns an address, who waits for it, who is absent, for whom it is held.
If the claims went, and came again one by one, an address would be whose NVE is the fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nvo3sec.domain.mapping.draft import Draft
from nvo3sec.domain.mapping.model import Address, Place, Scope


def renumbered(old: Scope, new: Scope) -> dict[int, int]:
    """The VNI that a VN has now, by that which it had: of the VNs, by name, that have another one."""
    return {vni: new.vnis[name] for name, vni in old.vnis.items() if new.vnis.get(name, vni) != vni}


def renumber(draft: Draft, numbers: Mapping[int, int]) -> None:
    """Let what was announced go on under the numbers of now, where its VAP is of the same VN still."""
    if not numbers:
        return

    def stays(vni: int, place: Place) -> bool:
        return vni in numbers and draft.scope.vaps.get(place) == numbers[vni]

    def of_now(address: Address) -> Address:
        return numbers[address[0]], address[1]

    claims = [claim for claim in draft.claims.values() if not claim.static and stays(claim.vni, claim.key.place)]
    absences = [one for one in draft.absences.values() if stays(one.address[0], one.key.place)]
    holds = [one for one in draft.holds.values() if one.address[0] in numbers]
    # First all go, then all come: the number that one VN has now may be the one that another had.
    for claim in claims:
        draft.replace_claim(claim, None)
    for absence in absences:
        draft.drop_absence(absence)
    for hold in holds:
        draft.drop_hold(hold)
    for absence in absences:
        draft.add_absence(replace(absence, address=of_now(absence.address)))
    for hold in holds:
        draft.add_hold(replace(hold, address=of_now(hold.address)))
    for claim in sorted(claims, key=lambda claim: claim.arrival):
        draft.replace_claim(None, replace(claim, vni=numbers[claim.vni], sequence=0))
