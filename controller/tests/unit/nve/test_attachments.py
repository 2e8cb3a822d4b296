# SPDX-License-Identifier: Apache-2.0
"""What whoever announces a tenant system to an agent is told: what of it there is not, and what there is."""

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
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import OperatorError
from nvo3sec.nve.attachments import tenant_methods

DOMAIN = load_domain(example_path())
MAC = "02:cc:00:00:00:01"
NOT_SERVED = REASONS[Reason.NOT_SERVED]
SUITE = Suite.CHASKEY12


class Agent:
    """The agent of leaf1, whose NVA refuses everything."""

    def __init__(self, reason: str, attachments: tuple[Attachment, ...] = ()) -> None:
        self._reason = str(reason)
        self.attachments = attachments

    def view(self) -> Any:
        return view(DOMAIN.nve_by_name["leaf1"].vaps)

    async def announce(self, announcement: Any) -> AttachmentAnswer:
        return AttachmentAnswer(Standing.REFUSED, self._reason)


def view(vaps: Any) -> Any:
    """What leaf1 serves, with two peers, of which one shares VN red."""
    peers = [
        SimpleNamespace(name="leaf2", vnis=((5001, SUITE),)),
        SimpleNamespace(name="leaf3", vnis=((5001, SUITE), (5002, SUITE))),
    ]
    stated = DOMAIN.tenant_systems_of("leaf1")
    return SimpleNamespace(name="leaf1", vns=DOMAIN.vns, vaps=vaps, peers=peers, tenant_systems=stated)


def told(method: str, reason: str = Reason.NOT_SERVED, *attached: Attachment, **words: Any) -> dict[str, str]:
    agent: Any = Agent(reason, attached)
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
    """The NVA knows something that this agent does not know yet."""
    assert told("detach", vn="blue", port=1, successor="leaf2")["why"] == NOT_SERVED
    assert told("attach", vn="blue", port=1)["why"] == NOT_SERVED


def test_other_reasons_stay_what_they_are():
    assert told("attach", Reason.OWNED, vn="blue", port=3)["why"] == REASONS[Reason.OWNED]
    assert told("attach", "of-tomorrow", vn="blue", port=3)["why"] == "a reason that this version does not know"


@pytest.mark.parametrize(
    ("vn", "port", "successor", "serving"),
    [("blue", 1, "leaf9", "leaf1, leaf2, leaf3"), ("red", 3, "leaf2", "leaf1, leaf3")],
    ids=["not in the domain", "another VN's"],
)
def test_a_successor_that_does_not_serve_the_vn(vn, port, successor, serving):
    answer = told("detach", vn=vn, port=port, vlan=100 if vn == "red" else 0, successor=successor)
    assert answer["why"] == f"no NVE {successor} serves VN {vn}; those that do: {serving}"


STATED = "02:aa:00:00:00:01"
"""At port 1 of leaf1, in VN blue."""


@pytest.mark.parametrize(
    ("method", "words", "why"),
    [
        ("detach", {"port": 1}, f"leaf1 has no tenant system {MAC} of blue at port 1"),
        (
            "detach",
            {"port": 2, "mac": STATED},
            f"leaf1 has no tenant system {STATED} of blue at port 2; it is at: port 1",
        ),
        ("move", {"port": 1, "to_port": 2, "to_vlan": 0}, f"leaf1 has no tenant system {MAC} of blue at port 1"),
        ("move", {"port": 1, "to_port": 1, "to_vlan": 0}, f"{MAC} is to be moved to port 1, where it comes from"),
    ],
)
def test_a_tenant_system_that_there_is_not(method, words, why):
    assert told(method, Reason.UNKNOWN, **{"vn": "blue"} | words)["why"] == why


def test_where_it_is_instead():
    """Of what was announced, in the same VN."""
    here, there = (Attachment(port, 0, 5001, parse_unicast_mac(MAC), vn=vn) for port, vn in ((2, "blue"), (3, "red")))
    why = told("detach", Reason.UNKNOWN, here, there, vn="blue", port=1)["why"]
    assert why == f"leaf1 has no tenant system {MAC} of blue at port 1; it is at: port 2"


@pytest.mark.parametrize(
    ("host", "asking", "why"),
    [
        ("hv1", "hv2", "it was announced for hypervisor hv1, and this is for hypervisor hv2"),
        ("hv1", "", "it was announced for hypervisor hv1, and this is for no hypervisor"),
        ("", "hv2", "it was announced for no hypervisor, and this is for hypervisor hv2"),
        ("hv2", "hv2", REASONS[Reason.FOREIGN]),
    ],
)
def test_another_hypervisor(host, asking, why):
    known = Attachment(1, 0, 5001, parse_unicast_mac(MAC), host=host, vn="blue")
    assert told("detach", Reason.FOREIGN, known, vn="blue", port=1, host=asking)["why"] == why
    moved = told("move", Reason.FOREIGN, known, vn="blue", port=1, to_port=2, to_vlan=0, host=asking)
    assert moved["why"] == why


def test_whose_lease_and_which_addresses():
    assert told("attach", Reason.NO_LEASE, vn="blue", port=1)["why"] == "leaf1 has no lease"
    why = told("attach", Reason.BAD_ADDRESS, vn="blue", port=1, ips=["10.1.0.254"])["why"]
    assert why == f"one of these is no address that a tenant system can have: {MAC}, 10.1.0.254"


class Forgetting(Agent):
    """It has had MAC attached to VN blue at port 1. forgotten: what it was told to announce no more."""

    def __init__(self, vaps: Any, vn: str = "blue") -> None:
        super().__init__(Reason.UNKNOWN)
        self.attachments = (Attachment(1, 0, 5001, parse_unicast_mac(MAC), vn=vn),)
        self.forgotten: list[Any] = []
        self.asked: list[Any] = []
        self._vaps = vaps

    def view(self) -> Any:
        return view(self._vaps)

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
