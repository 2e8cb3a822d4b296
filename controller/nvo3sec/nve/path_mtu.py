# SPDX-License-Identifier: Apache-2.0
"""Packets of tenants that their tunnels do not carry: the sender is told what they carry (RFC 1191, RFC 8201).

An answer of its own makes every host send more: so each flow has one a second, and each VAP what its bucket gives. What
is remembered of a VAP is bounded, and is nobody else's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.model import Rate, Vap, Vn
from nvo3sec.domain.overlay.mtu import Family, longest_packet, tunnel_mtu
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.domain.switch.frames import destination_of, untagged
from nvo3sec.domain.switch.too_big import Flow, NoAnswer, answer_too_big
from nvo3sec.p4runtime import PacketIn
from nvo3sec.system.uptime import uptime_s

FLOW_PAUSE_S = 1.0
"""Between two answers to one flow at one VAP."""
FLOWS_LIMIT = 256
"""Flows of one VAP that are remembered; of more, those that were answered longest ago are forgotten."""
VAP_RATE = Rate(10, 20)
"""Answers of one VAP."""


@dataclass
class _Place:
    """What is remembered of a VAP: when each flow was answered last, oldest first."""

    bucket: TokenBucket
    answered: OrderedDict[Flow, float] = field(default_factory=OrderedDict)


class PathMtuAnswers:
    """The answers of one NVE, in one session.

    nve_of: behind which NVE the system with a MAC address in a VN (VNI) is, or None. clock: seconds.
    """

    def __init__(self, nve_of: Callable[[tuple[int, int]], str | None], clock: Callable[[], float] = uptime_s) -> None:
        self._nve_of = nve_of
        self._clock = clock
        self._places: dict[tuple[int, int, str], _Place] = {}

    def heard(self, packet: PacketIn, view: NveView, vap: Vap, vn: Vn) -> tuple[str, bytes | None]:
        """The switch sent up a frame of `vap` that its tunnel does not carry.

        Returns what becomes of it, in a word, and the untagged frame for that VAP, if it is answered.
        """
        frame = untagged(packet.frame)
        limit = self._limit(frame, view, vn)
        if limit is None:
            return "too-big-no-tunnel", None
        told = answer_too_big(frame, packet["frame_length"], limit)
        if isinstance(told, NoAnswer):
            return f"too-big-{told.value}", None
        if (refusal := self._refusal(told.flow, view, vap, vn)) is not None:
            return f"too-big-{refusal}", None
        return "too-big-answered", told.frame

    def _limit(self, frame: bytes, view: NveView, vn: Vn) -> int | None:
        """The longest IP packet (bytes) that goes where the frame should; None if that is in no tunnel any more."""
        mac = destination_of(frame)
        nve = self._nve_of((vn.vni, mac)) if mac is not None else None
        peer = next((one for one in view.peers if one.name == nve), None)
        if peer is None:
            return None
        return longest_packet(tunnel_mtu(view.mtu, peer.mtu), Family.of(peer.address))

    def _refusal(self, flow: Flow, view: NveView, vap: Vap, vn: Vn) -> str | None:
        now = self._clock()
        name = (*vap.place, vn.name)
        place = self._places.get(name)
        if place is None:
            # What VAPs there are is bounded; those that are gone are forgotten when there is a new one.
            there = {(*one.place, one.vn) for one in view.vaps}
            self._places = {key: one for key, one in self._places.items() if key in there}
            place = self._places[name] = _Place(TokenBucket(VAP_RATE, now))
        if now < place.answered.get(flow, -FLOW_PAUSE_S) + FLOW_PAUSE_S:
            return "flow-told"
        if not place.bucket.take(now):
            return "vap-rate"
        place.answered[flow] = now
        place.answered.move_to_end(flow)
        while len(place.answered) > FLOWS_LIMIT:
            place.answered.popitem(last=False)
        return None
