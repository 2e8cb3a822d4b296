# SPDX-License-Identifier: Apache-2.0
"""What a change touches, what has to happen for it, and whether it can be done while the domain lives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nvo3sec.domain.overlay.difference.model import Change, Effect, Key, Kind
from nvo3sec.domain.overlay.dscp import DscpModel
from nvo3sec.domain.overlay.meanings import Meaning, address_meaning, obstacles, vap_meaning, vni_meaning
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Nve, TunnelKeys, Vap, Vn

_KEYS_AT_START = "who makes the keys is decided when an NVA starts: start it with this file and --apply-domain"
_FOR_SWITCHES = ("lease_s", "lease_renew_s")
"""Lifetimes that agents are told; the others are the NVA's own."""
_OF_THE_SWITCH_ALONE = ("verify_rate", "dscp.model", "dscp.value")
"""Fields of an NVE that concern nobody else."""


def _allows_more(change: Change) -> bool:
    """Of what a tenant system may send."""
    return change.field.startswith("allow_") and change.new is True


@dataclass(frozen=True)
class _Verdict:
    effect: Effect
    nves: Iterable[str] = ()
    vns: Iterable[str] = ()
    refusal: str = ""
    startable: bool = False
    weaker: bool = False
    note: str = ""


class Judge:
    """Judges changes between two domains."""

    def __init__(self, old: Domain, new: Domain, held: Mapping[Meaning, Collection[str]] | None = None) -> None:
        self._domains = (old, new)
        self._memberships = (Membership(old), Membership(new))
        # Switches change one after the other: for a while some would take the one's frames for the other's.
        self._obstacles = obstacles(old, new, held)

    def __call__(self, key: Key, was: Any, will: Any, change: Change) -> Change:
        """The change with what follows from it. was, will: the thing in either domain, None where it is not."""
        verdict = self._verdict(key, was, will, change)
        return replace(
            change,
            effect=verdict.effect,
            nves=tuple(sorted(set(verdict.nves))),
            vns=tuple(sorted(set(verdict.vns))),
            refusal=verdict.refusal,
            startable=verdict.startable,
            weaker=verdict.weaker,
            note="" if verdict.refusal else verdict.note,
        )

    def _verdict(self, key: Key, was: Any, will: Any, change: Change) -> _Verdict:
        match key:
            case (Kind.DOMAIN, _):
                return self._domain(change)
            case (Kind.LIFETIMES, _) if change.field in _FOR_SWITCHES:
                return _Verdict(Effect.SWITCHES, self._all_nves())
            case (Kind.VN, (str(name),)):
                return self._vn(name, was, will, change)
            case (Kind.NVE, (str(name),)):
                return self._nve(name, was, will, change)
            case (Kind.UNDERLAY_PORT, (str(nve), _)):
                return _Verdict(Effect.SWITCHES, [nve])
            case (Kind.ROUTE, (str(nve), str(peer))):
                return _Verdict(Effect.SWITCHES, [nve]) if self._shared(nve, peer) else _Verdict(Effect.NVA)
            case (Kind.VAP, (str(nve), *_)):
                return self._vap(nve, was, will, change)
            case (Kind.TUNNEL, (str(one), str(other))):
                vns = self._shared(one, other)
                weaker = will is None or (was is not None and will < was)
                return _Verdict(Effect.KEYS if vns else Effect.NVA, [one, other] if vns else [], vns, weaker=weaker)
            case (Kind.TENANT_SYSTEM, _):
                both = [system for system in (was, will) if system is not None]
                weaker = _allows_more(change)
                nves, vns = [system.nve for system in both], [system.vn for system in both]
                return _Verdict(Effect.SWITCHES, nves, vns, weaker=weaker)
            case (Kind.SHARED_ADDRESS, _):
                both = [one for one in (was, will) if one is not None]
                nves = [member.nve for one in both for member in one.members]
                return _Verdict(Effect.SWITCHES, nves, [one.vn for one in both], weaker=change.field in ("", "members"))
            case (Kind.RESERVATION, (str(vn), _)):
                return _Verdict(Effect.NVA, vns=[vn], weaker=was is not None and (will is None or not will <= was))
        return _Verdict(Effect.NVA)

    def _domain(self, change: Change) -> _Verdict:
        if change.field == "name":
            reason = "another domain has other identities and other keys; it needs an NVA of its own"
            return _Verdict(Effect.NVA, refusal=reason)
        vns = [vn.name for domain in self._domains for vn in domain.vns]
        weaker = change.new == TunnelKeys.NVA.value
        return _Verdict(Effect.KEYS, self._all_nves(), vns, _KEYS_AT_START, startable=True, weaker=weaker)

    def _vn(self, name: str, was: Any, will: Any, change: Change) -> _Verdict:
        if change.field == "subnets":
            return _Verdict(Effect.NVA, vns=[name], weaker=not set(was.subnets) <= set(will.subnets))
        members = set(self._members(name))
        refusal = ""
        if will is not None and change.field in ("", "vni"):
            refusal = self._obstacles.get(vni_meaning(will.vni, name).place, "")
        if was is None or will is None or change.field == "level":
            effect = Effect.KEYS if len(members) > 1 else Effect.SWITCHES
        else:
            effect = Effect.SWITCHES
        weaker = was is not None and will is not None and change.field == "level" and will.level < was.level
        weaker = weaker or _allows_more(change)
        note = self._note_of_vn(name, was, will, change) if members else ""
        return _Verdict(effect if members else Effect.NVA, members, [name], refusal, weaker=weaker, note=note)

    def _nve(self, name: str, was: Nve | None, will: Nve | None, change: Change) -> _Verdict:
        if change.field in ("device_id", "p4runtime"):
            return _Verdict(Effect.AGENT, [name])
        if change.field in _OF_THE_SWITCH_ALONE:
            return _Verdict(Effect.SWITCHES, [name], weaker=change.new == DscpModel.COPY.value)
        peers = [peer for membership in self._memberships for peer in membership.peers_of(name)]
        if change.field == "zero_checksum":
            return _Verdict(Effect.SWITCHES, peers, weaker=will is not None and will.zero_checksum)
        if change.field == "mtu":
            return _Verdict(Effect.SWITCHES, [name, *peers])  # what fits into a tunnel is for both ends to know
        vns = [vn for nve in (was, will) if nve is not None for vn in nve.vn_names]
        places = [] if will is None else [address_meaning(one, name).place for one in will.addresses]
        refusal = next((self._obstacles[place] for place in places if place in self._obstacles), "")
        note = ""
        if will is None and was is not None and was.vaps:
            note = (
                f"tenant systems that were announced behind {name} go with it; its agent announces them anew once it is"
                " an NVE of the domain again"
            )
        return _Verdict(Effect.KEYS if peers else Effect.SWITCHES, [name, *peers], vns, refusal, note=note)

    def _vap(self, nve: str, was: Vap | None, will: Vap | None, change: Change) -> _Verdict:
        old, new = self._memberships
        vns = [vap.vn for vap in (was, will) if vap is not None]
        refusal = ""
        if will is not None and change.field in ("", "vn"):
            refusal = self._obstacles.get(vap_meaning(nve, *will.place, will.vn).place, "")
        turned = [vn for vn in vns if old.serves(nve, vn) != new.serves(nve, vn)]
        others = [member for vn in turned for member in self._members(vn) if member != nve]
        note = self._note_of_vap(nve, was, will)
        return _Verdict(Effect.KEYS if others else Effect.SWITCHES, [nve, *others], vns, refusal, note=note)

    # --- what becomes of what was announced ---------------------------------------------------------------------------

    def _note_of_vn(self, name: str, was: Vn | None, will: Vn | None, change: Change) -> str:
        nves = ", ".join(sorted(self._memberships[0].members(name)))
        if not nves or was is None:
            return ""
        if will is None:
            return (
                f"tenant systems that were announced in {name}, at {nves}, go with it; their agents announce them anew"
                f" once their VAPs are {name}'s again"
            )
        if change.field == "vni":
            return f"tenant systems that were announced in {name}, at {nves}, keep what they have, in VNI {will.vni}"
        return ""

    def _note_of_vap(self, nve: str, was: Vap | None, will: Vap | None) -> str:
        """Where the whole VN or NVE goes, that is said of it."""
        new = self._domains[1]
        if was is None or (will is not None and will.vn == was.vn):
            return ""
        if was.vn not in new.vn_by_name or nve not in new.nve_by_name:
            return ""
        return (
            f"tenant systems of {was.vn} that were announced there go with it; the agent of {nve} announces them anew"
            f" once the VAP is {was.vn}'s again"
        )

    def _members(self, vn: str) -> list[str]:
        return [nve for membership in self._memberships for nve in membership.members(vn)]

    def _shared(self, one: str, other: str) -> list[str]:
        return [vn.name for membership in self._memberships for vn in membership.shared(one, other)]

    def _all_nves(self) -> list[str]:
        return [nve.name for domain in self._domains for nve in domain.nves]
