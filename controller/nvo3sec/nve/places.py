# SPDX-License-Identifier: Apache-2.0
"""Where the peers of an NVE are, and which messages about keys are about the tunnels that lead there now; where its
VAPs are."""

from __future__ import annotations

from collections.abc import Mapping

from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.addresses import UnderlayAddress


class Places:
    """A key that went with its peer to another tunnel would meet another sequence counter and another replay ring
    there: NEVER USE A KEY IN TWO TUNNELS. So the keys of a peer end when it leaves or moves, and with them what the
    messages before that say."""

    def __init__(self) -> None:
        # Both addresses, and since which version.
        self._places: dict[str, tuple[UnderlayAddress, UnderlayAddress, int]] = {}
        self.version = -1
        """Of the last view."""

    def begin_session(self) -> None:
        """Versions are those of a new session: everything that it says is said after what is known."""
        self._places = {name: (*place[:2], -1) for name, place in self._places.items()}
        self.version = -1

    def follow(self, view: NveView) -> frozenset[str]:
        """Take note of a view; every one, in their order. Returns the peers that left their tunnels with it."""
        before, self._places = self._places, {}
        for peer in view.peers:
            known = before.get(peer.name)
            ends = view.towards(peer.address), peer.address
            stays = known is not None and known[:2] == ends
            self._places[peer.name] = known if known and stays else (*ends, view.version)
        self.version = view.version
        return frozenset(name for name, place in before.items() if self._places.get(name) != place)

    @property
    def everywhere(self) -> Mapping[str, UnderlayAddress]:
        """The addresses of all peers."""
        return {name: peer for name, (_, peer, _) in self._places.items()}

    def addresses(self, version: int) -> Mapping[str, UnderlayAddress]:
        """The peers that a message of `version` about keys is about, and their addresses."""
        return {name: peer for name, (_, peer, since) in self._places.items() if version > since}


def vap_places(view: NveView) -> set[tuple[int, int, str, int]]:
    """(port, VLAN, name of the VN, VNI) of each VAP."""
    vnis = {vn.name: vn.vni for vn in view.vns}
    return {(*vap.place, vap.vn, vnis[vap.vn]) for vap in view.vaps}
