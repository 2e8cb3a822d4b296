# SPDX-License-Identifier: Apache-2.0
"""Why the NVA took an announcement not, or not whole, in words that name what it is about.

What is named is what this agent was told, or has announced itself: it is the NVA that decides, and announcers need not
know who else has an address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from nvo3sec.domain.mapping.events import Reason
from nvo3sec.domain.mapping.model import vap_words
from nvo3sec.domain.mapping.reasons import words_of
from nvo3sec.domain.messages.session import Attachment, NveView, Release, Sign
from nvo3sec.domain.overlay.addresses import format_mac

Asked: TypeAlias = Attachment | Release | Sign

UNHEARD_OF = "a reason that this version does not know"


def why(reason: str, view: NveView, attached: Sequence[Attachment], asked: Sequence[Asked]) -> str:
    """A reason in words; "" for none. asked: what was announced, of a move what goes and what comes. attached: what
    this agent has announced."""
    if not reason or not asked:
        return words_of(reason)
    match reason:
        case Reason.NOT_SERVED:
            named = next(filter(None, (_no_such_vap(view, one) or _no_such_successor(view, one) for one in asked)), "")
        case Reason.UNKNOWN:
            named = _not_attached(view, attached, asked)
        case Reason.FOREIGN:
            named = _of_another(attached, asked)
        case Reason.NO_LEASE:
            named = f"{view.name} has no lease"
        case Reason.BAD_ADDRESS:
            named = _bad(asked[-1])
        case _:
            named = ""
    return named or words_of(reason) or UNHEARD_OF


def _vn(view: NveView, asked: Asked) -> str:
    return next((vn.name for vn in view.vns if vn.vni == asked.vni), "")


def _no_such_vap(view: NveView, asked: Asked) -> str:
    """Which VAPs of the VN there are, if the one that was named is none of them."""
    name = _vn(view, asked)
    places = sorted(vap.place for vap in view.vaps if vap.vn == name)
    if not places or (asked.port, asked.vlan) in places:
        return ""
    return f"{view.name} has no VAP of {name} at {vap_words(asked.port, asked.vlan)}; it has: {_at(places)}"


def _no_such_successor(view: NveView, asked: Asked) -> str:
    """Which NVEs serve the VN, if the one that was named is none of them."""
    if not isinstance(asked, Release) or not asked.successor:
        return ""
    serving = {view.name, *(peer.name for peer in view.peers if asked.vni in dict(peer.vnis))}
    if asked.successor in serving:
        return ""
    return f"no NVE {asked.successor} serves VN {_vn(view, asked)}; those that do: {', '.join(sorted(serving))}"


def _not_attached(view: NveView, attached: Sequence[Attachment], asked: Sequence[Asked]) -> str:
    """Where the tenant system is, if not where it was said to be."""
    one, place = asked[0], (asked[0].port, asked[0].vlan)
    if len(asked) > 1 and place == (asked[-1].port, asked[-1].vlan):
        return f"{format_mac(one.mac)} is to be moved to {vap_words(*place)}, where it comes from"
    vn = _vn(view, one)
    elsewhere = {(known.port, known.vlan) for known in attached if known.mac == one.mac and known.vn in ("", vn)}
    elsewhere |= {
        (stated.port, stated.vlan) for stated in view.tenant_systems if (stated.mac, stated.vn) == (one.mac, vn)
    }
    elsewhere.discard(place)
    there = f"; it is at: {_at(sorted(elsewhere))}" if elsewhere else ""
    return f"{view.name} has no tenant system {format_mac(one.mac)} of {vn} at {vap_words(*place)}{there}"


def _of_another(attached: Sequence[Attachment], asked: Sequence[Asked]) -> str:
    one, by = asked[0], asked[-1]
    known = next((a for a in attached if (a.port, a.vlan, a.mac) == (one.port, one.vlan, one.mac)), None)
    host = "" if isinstance(by, Sign) else by.host
    if known is None or known.host == host:
        return ""
    return f"it was announced {_for(known.host)}, and this is {_for(host)}"


def _for(host: str) -> str:
    return f"for hypervisor {host}" if host else "for no hypervisor"


def _bad(asked: Asked) -> str:
    ips = asked.ips if isinstance(asked, Attachment) else (asked.ip,) if isinstance(asked, Sign) else ()
    named = (format_mac(asked.mac), *map(str, ips))
    return f"one of these is no address that a tenant system can have: {', '.join(named)}"


def _at(places: Iterable[tuple[int, int]]) -> str:
    return ", ".join(vap_words(*place) for place in places)
