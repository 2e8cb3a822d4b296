# SPDX-License-Identifier: Apache-2.0
"""What whoever announces a tenant system to an agent is told: a VAP that there is not, and those that there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.mapping.events import Reason
from nvo3sec.domain.mapping.reasons import REASONS
from nvo3sec.domain.messages.session import Attachment, AttachmentAnswer, Standing
from nvo3sec.domain.overlay.addresses import parse_unicast_mac
from nvo3sec.errors import OperatorError
from nvo3sec.nve.attachments import tenant_methods

DOMAIN = load_domain(example_path())
MAC = "02:cc:00:00:00:01"
NOT_SERVED = REASONS[Reason.NOT_SERVED]


class Agent:
    """The agent of leaf1, whose NVA refuses everything."""

    attachments = ()

    def __init__(self, reason: Reason) -> None:
        self._reason = reason

    def view(self) -> Any:
        return SimpleNamespace(name="leaf1", vns=DOMAIN.vns, vaps=DOMAIN.nve_by_name["leaf1"].vaps)

    async def announce(self, announcement: Any) -> AttachmentAnswer:
        return AttachmentAnswer(Standing.REFUSED, self._reason.value)


def told(method: str, reason: Reason = Reason.NOT_SERVED, **words: Any) -> dict[str, str]:
    agent: Any = Agent(reason)
    return asyncio.run(tenant_methods(agent)[method](**{"vlan": 0, "mac": MAC} | words))


@pytest.mark.parametrize(
    ("method", "words", "why"),
    [
        ("attach", {"vn": "blue", "port": 3}, "leaf1 has no VAP of blue at port 3; it has: port 1, port 2"),
        ("attach", {"vn": "red", "port": 3}, "leaf1 has no VAP of red at port 3; it has: port 3 VLAN 100"),
        ("detach", {"vn": "blue", "port": 1, "vlan": 7}, "leaf1 has no VAP of blue at port 1 VLAN 7; it has: "),
        ("claim", {"vn": "blue", "port": 9, "ip": "10.1.0.1"}, "leaf1 has no VAP of blue at port 9; it has: "),
        ("move", {"vn": "blue", "port": 9, "to_port": 1, "to_vlan": 0}, "leaf1 has no VAP of blue at port 9; it has: "),
        ("move", {"vn": "blue", "port": 1, "to_port": 9, "to_vlan": 0}, "leaf1 has no VAP of blue at port 9; it has: "),
    ],
)
def test_a_vap_that_there_is_not(method, words, why):
    answer = told(method, **words)
    assert (answer["standing"], answer["reason"]) == ("refused", "not-served")
    assert answer["why"].startswith(why)


def test_what_else_is_not_served():
    """A successor that does not serve the VN; or the NVA knows something that this agent does not know yet."""
    assert told("detach", vn="blue", port=1, successor="leaf2")["why"] == NOT_SERVED
    assert told("attach", vn="blue", port=1)["why"] == NOT_SERVED


def test_other_reasons_stay_what_they_are():
    assert told("attach", Reason.OWNED, vn="blue", port=3)["why"] == REASONS[Reason.OWNED]


class Forgetting(Agent):
    """It has had MAC attached to VN blue at port 1. forgotten: what it was told to announce no more."""

    def __init__(self, vaps: Any, vn: str = "blue") -> None:
        super().__init__(Reason.UNKNOWN)
        self.attachments: Any = (Attachment(1, 0, 5001, parse_unicast_mac(MAC), vn=vn),)
        self.forgotten: list[Any] = []
        self.asked: list[Any] = []
        self._vaps = vaps

    def view(self) -> Any:
        return SimpleNamespace(name="leaf1", vns=DOMAIN.vns, vaps=self._vaps)

    async def announce(self, announcement: Any) -> AttachmentAnswer:
        self.asked.append(announcement)
        return await super().announce(announcement)

    async def forget(self, place: Any) -> None:
        self.forgotten.append(place)


VAPS = DOMAIN.nve_by_name["leaf1"].vaps


class TestDetach:
    @staticmethod
    def detach(agent: Any, vn: str = "blue") -> dict[str, str]:
        return asyncio.run(tenant_methods(agent)["detach"](vn=vn, port=1, vlan=0, mac=MAC))

    @pytest.mark.parametrize(
        "vaps",
        [(), (replace(VAPS[0], vn="red"), *VAPS[1:]), tuple(vap for vap in VAPS if vap.place != (1, 0))],
        ids=["nothing", "of red", "gone"],
    )
    def test_where_its_vap_is_not_its_vns_any_more(self, vaps):
        """It is forgotten, and nothing is said of who is there now."""
        agent = Forgetting(vaps)
        assert self.detach(agent)["standing"] == "done"
        assert (agent.asked, agent.forgotten) == ([], [(1, 0, parse_unicast_mac(MAC))])

    def test_where_it_is(self):
        agent = Forgetting(VAPS)
        assert self.detach(agent)["standing"] == "refused"
        assert (len(agent.asked), agent.forgotten) == (1, [])

    @pytest.mark.parametrize("vaps", [VAPS, (replace(VAPS[0], vn="red"), *VAPS[1:])], ids=["of blue", "of red"])
    def test_in_another_vn_than_it_was_attached_to(self, vaps):
        agent = Forgetting(vaps)
        with pytest.raises(OperatorError, match=f"{MAC} at port 1 is attached to VN blue, not to red"):
            self.detach(agent, "red")
        assert (agent.asked, agent.forgotten) == ([], [])

    def test_before_vns_had_names(self):
        agent = Forgetting((replace(VAPS[0], vn="red"), *VAPS[1:]), vn="")
        self.detach(agent)
        assert len(agent.asked) == 1, "the NVA decides"
