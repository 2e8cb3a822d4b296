# SPDX-License-Identifier: Apache-2.0
"""What operators ask an NVA about VNs and mappings, and decide."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address as ip

import pytest
from nva_agents import Agents
from nvo3sec.domain.messages.session import Attachment, Standing
from nvo3sec.errors import OperatorError
from nvo3sec.operator.documents import Decided
from nvo3sec.operator.mappings import Operations

MAC = 0x0200_0000_7777
MAC_TEXT = "02:00:00:00:77:77"
HERE = Attachment(1, 0, 5001, MAC, (ip("10.1.0.77"),))


def asked(check) -> None:
    """Run `check(agents, operations)` with one MAC address that is announced behind leaf1, and then behind leaf2."""

    async def run() -> None:
        agents = Agents()
        await agents.join("leaf1", "leaf2", "leaf3")
        assert (await agents.sessions["leaf1"].announce(HERE)).standing is Standing.ACTIVE
        assert (await agents.sessions["leaf2"].announce(HERE)).standing is Standing.FROZEN
        await check(agents, Operations(agents.nva.administration))

    asyncio.run(asyncio.wait_for(run(), 30))


def test_vns():
    async def check(agents, operations):
        blue, red = await operations.vn_list()
        assert (blue.vn, blue.mappings, blue.frozen) == ("blue", 5, 1)
        assert (red.members, red.frozen) == (("leaf1", "leaf3"), 0)
        assert (await operations.vn_show("red")).served_by[0].nve == "leaf1"
        agents.nva.administration.revoke("leaf3")
        assert (await operations.vn_show("red")).members == ("leaf1",), "who is shut out is no member"

    asked(check)


def test_mappings():
    async def check(_, operations):
        assert (await operations.map_list()).total == 8
        (frozen,) = (await operations.map_list(frozen=True)).claims
        assert (frozen.nve, frozen.reason) == ("leaf2", "owned")
        assert (await operations.map_list(vn="blue", nve="leaf1", limit=1)).total == 3

    asked(check)


def test_admit():
    async def check(agents, operations):
        done = await operations.map_admit(MAC_TEXT, "leaf2")
        assert done == Decided(f"{MAC_TEXT} at leaf2 port 1", "active")
        assert agents.nva.state.mappings.find((5001, MAC)).place.nve == "leaf2"
        (frozen,) = (await operations.map_list(frozen=True)).claims
        assert frozen.nve == "leaf1"
        await agents.settle()
        assert MAC in {one.mac for one in agents.views["leaf2"].tenant_systems}

    asked(check)


def test_admit_of_what_the_domain_file_gives_to_another():
    async def check(agents, operations):
        taken = Attachment(1, 0, 5001, 0x02AA_0000_0003, ())  # blue3's, behind leaf3
        await agents.sessions["leaf2"].announce(taken)
        with pytest.raises(OperatorError, match="the domain file states it"):
            await operations.map_admit("02:aa:00:00:00:03", "leaf2")

    asked(check)


def test_evict():
    async def check(agents, operations):
        await operations.map_evict(MAC_TEXT, "leaf1")
        assert agents.nva.state.mappings.find((5001, MAC)).place.nve == "leaf2", "who waited has it"

    asked(check)


def test_evict_with_a_successor():
    async def check(agents, operations):
        await operations.map_evict(MAC_TEXT, "leaf1", successor="leaf3")
        assert agents.nva.state.mappings.find((5001, MAC)) is None
        assert (await agents.sessions["leaf3"].announce(HERE)).standing is Standing.ACTIVE

    asked(check)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mac": MAC_TEXT, "nve": "leaf9"}, "no such NVE: leaf9; there are: leaf1, leaf2, leaf3"),
        ({"mac": MAC_TEXT, "nve": "leaf1", "vn": "green"}, "no such VN: green; there are: blue, red"),
        ({"mac": MAC_TEXT, "nve": "leaf3"}, "no tenant system with"),
        ({"mac": "here", "nve": "leaf1"}, "six bytes"),
        ({"mac": MAC_TEXT, "nve": "leaf1", "successor": "leaf9"}, "no such NVE: leaf9"),
        ({"mac": "02:aa:00:00:00:01", "nve": "leaf1", "port": 1}, "the domain file states it"),
    ],
)
def test_evict_of_what_it_cannot(arguments, words):
    async def check(_, operations):
        with pytest.raises(OperatorError, match=words):
            await operations.map_evict(**arguments)

    asked(check)


def test_a_successor_that_does_not_serve_the_vn():
    async def check(agents, operations):
        red = Attachment(3, 100, 5002, MAC, ())
        await agents.sessions["leaf1"].announce(red)
        with pytest.raises(OperatorError, match="does not serve the VN"):
            await operations.map_evict(MAC_TEXT, "leaf1", vn="red", successor="leaf2")

    asked(check)


@pytest.mark.parametrize("why", ["revoked", "its certificate was revoked"])
def test_of_who_is_shut_out(why):
    """Nothing that an operator asks for it seems to be done; to take something away from it is."""

    async def check(agents, operations):
        if why == "revoked":
            agents.nva.administration.revoke("leaf3")
        else:
            agents.nva.administration.suspend(["leaf3"], why)
        words = f"leaf3 is shut out: {why}"
        for name in (["leaf3"], ["leaf1", "leaf3"]):
            with pytest.raises(OperatorError, match=words):
                agents.nva.administration.rotate(name)
        with pytest.raises(OperatorError, match=words):
            agents.nva.administration.reset_marks("leaf3")
        with pytest.raises(OperatorError, match=words):
            await operations.map_evict(MAC_TEXT, "leaf1", successor="leaf3")
        assert agents.nva.state.mappings.find((5001, MAC)).place.nve == "leaf1"
        agents.nva.administration.revoke("leaf3")
        assert agents.nva.administration.excluded == {"leaf3": "revoked"}

    asked(check)
