# SPDX-License-Identifier: Apache-2.0
"""An NVA that verifies what it relays: a wrong contribution burdens nobody but who said it, who is named."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
from datetime import timedelta

import pytest
from nvo3sec.domain.keys.contribution import Contribution, ContributionRefused, Fault, Statement
from nvo3sec.nva.keys.contribution_relay import PUBLISH_EVERY_S, PUBLISHED_AT_ONCE
from nvo3sec.nva.keys.contribution_verification import RelayedOnly
from peer_world import PeerWorld
from relayed_overlay import LEAVES, Overlay


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> PeerWorld:
    return PeerWorld(tmp_path_factory.mktemp("verified"))


class Counting:
    """A verifier that counts what it is asked, and by whom."""

    def __init__(self, verifier) -> None:
        self.verifier = verifier
        self.asked: list[str] = []

    def check(self, device: str, *rest) -> None:
        self.asked.append(device.rpartition("/")[2])
        self.verifier.check(device, *rest)


class Verified(Overlay):
    """Its NVA verifies; `delivered`: the contributions that reached somebody, by whose they are."""

    def start_nva(self) -> None:
        super().start_nva()
        self.counting = Counting(self.lab.verifier())
        self.nva.state.contributing.relay.check = RelayedOnly(self.nva.state.intent, self.counting, self.lab.now)
        self.delivered: list[tuple[str, Contribution]] = []
        self.tamper = self.noting

    def noting(self, _name, update):
        self.delivered += [(one.peer, one.contribution) for one in update.contributions]
        return update

    def reports(self, nve: str) -> list[str]:
        return [
            r.report.detail for r in self.nva.state.reports if r.nve == nve and "peer-contribution" in r.report.event
        ]


def broken(contribution: Contribution) -> Contribution:
    signature = bytearray(contribution.signature)
    signature[-1] ^= 1
    return dataclasses.replace(contribution, signature=bytes(signature))


def lying(overlay: Verified, change) -> None:
    """leaf1's agent says something else than it should."""

    def up(name, news):
        if name != "leaf1" or news.contributions is None:
            return news
        return dataclasses.replace(news, contributions=tuple(map(change, news.contributions)))

    overlay.tamper_up = up


def signed(lab: PeerWorld, one: Contribution, by: str = "leaf1", **changes) -> Contribution:
    statement = dataclasses.replace(Statement.decode(one.statement), **changes).encode()
    return Contribution(statement, *lab.signer(by).sign("contribution", statement))


ALL = {(a, b) for a, b in itertools.permutations(LEAVES, 2)}
OTHERS = {("leaf2", "leaf3"), ("leaf3", "leaf2")}


def test_what_is_right_is_relayed_and_verified_once(lab):
    async def run():
        overlay = Verified(lab)
        await overlay.join(*LEAVES)
        assert overlay.open_tunnels() == ALL
        assert sorted(overlay.counting.asked) == list(LEAVES)
        await overlay.restart("leaf1")  # another half of its: the agent's process is another one
        await overlay.restart("leaf2")
        await overlay.settle()
        assert len(overlay.counting.asked) == 5
        session = overlay.agents["leaf3"].session
        overlay.agents["leaf3"].peering.begin_session()
        await session.close()
        await overlay.agents["leaf3"].register()  # the same process says the same again
        await overlay.settle()
        assert len(overlay.counting.asked) == 5
        assert not any(overlay.reports(leaf) for leaf in LEAVES)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda _lab, one: broken(one), Fault.SIGNATURE),
        (lambda lab, one: signed(lab, one, by="leaf2"), Fault.CERTIFICATE_NAME),
        (lambda lab, one: signed(lab, one, addresses=(lab.statement("leaf2").addresses)), Fault.ADDRESSES),
        (lambda lab, one: signed(lab, one, public_key=bytes(32)), Fault.LOW_ORDER),
        (lambda lab, one: signed(lab, one, expiry=int(lab.now()) - 1), Fault.EXPIRED),
        (lambda lab, one: signed(lab, one, expiry=int(lab.now()) + 10**9), Fault.EXPIRES_TOO_LATE),
    ],
    ids=["signature", "another-nve", "addresses", "low-order", "expired", "too-late"],
)
def test_what_is_wrong_reaches_nobody(lab, change, fault):
    async def run():
        overlay = Verified(lab)
        lying(overlay, lambda one: change(lab, one))
        await overlay.join(*LEAVES)
        assert overlay.open_tunnels() == OTHERS
        assert {peer for peer, _ in overlay.delivered} == {"leaf2", "leaf3"}
        assert [detail for detail in overlay.reports("leaf1") if f"not relayed: {fault.value}: leaf1: " in detail]
        assert not overlay.reports("leaf2")
        assert not overlay.reports("leaf3")
        assert not any(agent.reports for name, agent in overlay.agents.items() if name != "leaf1")

    asyncio.run(run())


def test_one_wrong_one_does_not_keep_the_others_of_its_nve_back(lab):
    async def run():
        overlay = Verified(lab)
        await overlay.join("leaf1", "leaf2")
        own = list(overlay.agents["leaf1"].peering._keys.contributions())
        wrong = signed(lab, own[-1], public_key=os.urandom(32))
        overlay.nva.state.contributing.relay.publish("leaf1", [*own, broken(wrong)], ["leaf2"])
        assert set(overlay.nva.state.contributing.relay._published["leaf1"].contributions) == {one.name for one in own}
        assert overlay.nva.state.contributing.relay.refused.pop("leaf1").fault is Fault.SIGNATURE

    asyncio.run(run())


def test_what_was_held_back_as_too_much_is_verified_when_its_turn_comes(lab):
    async def run():
        overlay = Verified(lab)
        await overlay.join("leaf1", "leaf2")
        relay, own = overlay.nva.state.contributing.relay, overlay.agents["leaf1"].peering._keys.contributions()[-1]
        wrong = broken(signed(lab, own, public_key=os.urandom(32)))
        asked = len(overlay.counting.asked)
        refused = 0
        for _ in range(100):
            try:
                relay.publish("leaf1", [wrong], ["leaf2"])
            except ContributionRefused as error:
                refused += error.fault is Fault.LIMIT
        assert refused >= 100 - PUBLISHED_AT_ONCE
        assert len(overlay.counting.asked) - asked <= PUBLISHED_AT_ONCE, "a bounded number for each NVE"
        relay.refused.clear()
        delivered = len(overlay.delivered)
        await overlay.after(PUBLISH_EVERY_S * 2)
        assert any("not relayed: signature: leaf1: " in detail for detail in overlay.reports("leaf1"))
        assert wrong not in [one for _, one in overlay.delivered[delivered:]]

    asyncio.run(run())


def test_one_whose_certificate_has_ended_is_not_relayed(tmp_path):
    async def run():
        lab = PeerWorld(tmp_path)
        overlay = Verified(lab)
        await overlay.join("leaf2")
        old = lab.contribution("leaf1")
        overlay.counting.verifier = lab.verifier(clock=lambda: lab.wall.now + timedelta(days=400))
        check = overlay.nva.state.contributing.relay.check
        assert check is not None
        statement = Statement.decode(old.statement)
        with pytest.raises(ContributionRefused):
            check("leaf1", statement.incarnation, statement.epoch, old)
        with pytest.raises(ContributionRefused, match="no NVE"):
            check("leaf9", statement.incarnation, statement.epoch, old)

    asyncio.run(run())
