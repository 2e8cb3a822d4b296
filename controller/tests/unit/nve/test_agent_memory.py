# SPDX-License-Identifier: Apache-2.0
"""What an agent remembers across restarts: nothing lost, nothing half written, no NVA that has gone back."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from ipaddress import ip_address as ip
from typing import ClassVar

import pytest
from nvo3sec.domain.messages.session import (
    Attachment,
    AttachmentAnswer,
    NveView,
    Release,
    Relocation,
    Standing,
    StoreMark,
)
from nvo3sec.errors import NvaUnreachable, OperatorError
from nvo3sec.nve import AgentMemory, NveAgent, SwitchAddress, tenant_methods

ONE = Attachment(1, 0, 5001, 0x0200_0000_0001, (ip("10.0.0.1"), ip("fd00::1")), "host1")
TWO = Attachment(2, 100, 5001, 0x0200_0000_0002)
KEY = (1, 0, 0x0200_0000_0001)


def test_a_restart_finds_what_was_put(tmp_path):
    path = tmp_path / "agent.json"
    memory = AgentMemory("leaf1", path)
    memory.put(ONE)
    memory.put(TWO)
    memory.see(StoreMark(1, 7))
    again = AgentMemory("leaf1", path)
    assert (set(again.attachments.values()), again.mark) == ({ONE, TWO}, StoreMark(1, 7))
    again.drop(KEY)
    again.move((2, 100, TWO.mac), ONE)
    assert list(AgentMemory("leaf1", path).attachments.values()) == [ONE]


def test_the_vn_of_what_was_remembered_before_vns_had_names(tmp_path):
    path = tmp_path / "agent.json"
    AgentMemory("leaf1", path).put(ONE)
    content = json.loads(path.read_text())
    del content["attachments"][0]["vn"]
    path.write_text(json.dumps(content))
    memory = AgentMemory("leaf1", path)
    memory.name_vns({7: "red"})
    assert memory.attachments[KEY].vn == ""
    memory.name_vns({5001: "blue"})
    memory.name_vns({5001: "green"})
    assert AgentMemory("leaf1", path).attachments[KEY].vn == "blue", "not what has its number now"


def test_a_vn_that_gets_another_number(tmp_path):
    path = tmp_path / "agent.json"
    memory = AgentMemory("leaf1", path)
    memory.put(replace(ONE, vn="blue"))
    memory.name_vns({5001: "green", 6001: "blue"})
    assert AgentMemory("leaf1", path).attachments[KEY] == replace(ONE, vn="blue", vni=6001)
    memory.name_vns({5001: "green"})
    assert memory.attachments[KEY].vni == 6001, "the VN is not served: nobody knows another number of it"


def test_what_cannot_be_written_has_not_happened(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    memory = AgentMemory("leaf1", place / "agent.json")
    memory.put(ONE)
    (place / "agent.json.new").mkdir()  # whoever runs this, the draft cannot be written
    with pytest.raises(OperatorError, match="nothing was changed"):
        memory.put(TWO)
    assert list(memory.attachments.values()) == [ONE]
    assert list(AgentMemory("leaf1", place / "agent.json").attachments.values()) == [ONE]


def test_a_mark_that_cannot_be_written_is_known_until_the_restart(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    memory = AgentMemory("leaf1", place / "agent.json")
    (place / "agent.json.new").mkdir()
    memory.see(StoreMark(1, 7))
    with pytest.raises(NvaUnreachable):
        memory.see(StoreMark(1, 6))


@pytest.mark.parametrize("mark", [StoreMark(1, 6), StoreMark(0, 0), StoreMark(0, 900)])
def test_an_nva_that_has_gone_back(tmp_path, mark):
    memory = AgentMemory("leaf1", tmp_path / "agent.json")
    memory.see(StoreMark(1, 7))
    with pytest.raises(NvaUnreachable, match="gone back, from version 7 of term 1"):
        memory.see(mark)
    assert AgentMemory("leaf1", tmp_path / "agent.json").mark == StoreMark(1, 7), "not even after a restart"
    memory.see(StoreMark(1, 7))
    memory.see(StoreMark(2, 1))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        json.dumps({"format": 2, "nve": "leaf1", "attachments": [], "term": 0, "version": 0}),
        json.dumps({"format": 1, "nve": "leaf2", "attachments": [], "term": 0, "version": 0}),
        json.dumps({"format": 1, "nve": "leaf1", "attachments": [{"port": 1}], "term": 0, "version": 0}),
        json.dumps({"format": 1, "nve": "leaf1", "attachments": []}),
    ],
)
def test_another_file_is_not_taken_for_an_empty_one(tmp_path, content):
    path = tmp_path / "agent.json"
    path.write_text(content)
    with pytest.raises(OperatorError, match=r"agent\.json"):
        AgentMemory("leaf1", path)
    assert path.read_text() == content


def agent_file(**changes) -> dict:
    attachment = {"port": 1, "vlan": 0, "vni": 5001, "mac": "02:00:00:00:00:01", "ips": ["10.0.0.1"], "host": ""}
    one = attachment | changes.pop("attachment", {})
    return {"format": 1, "nve": "leaf1", "term": 1, "version": 2, "attachments": [one]} | changes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (agent_file(term=True), "term: must be a whole number from 0 to"),
        (agent_file(term=1.5), "term: must be a whole number"),
        (agent_file(version="7"), "version: must be a whole number"),
        (agent_file(version=float("inf")), "version: must be a whole number"),
        (agent_file(version=float("nan")), "version: must be a whole number"),
        (agent_file(version=2**63), "version: must be a whole number"),
        (agent_file(generation=-1), "generation: must be a whole number from 0 to 4294967295"),
        (agent_file(digest="00"), "digest: must be 64 hexadecimal digits"),
        (agent_file(incarnation=7), "incarnation: must be 32 hexadecimal digits"),
        (agent_file(attachments={}), "attachments: must be a list"),
        (agent_file(attachments=[7]), r"attachments\[0\]: must be an object"),
        (agent_file(colour="red"), "there is no field 'colour'; there are: "),
        (agent_file(attachment={"port": 512}), r"attachments\[0\]\.port: must be a whole number from 0 to 511"),
        (agent_file(attachment={"port": "1"}), r"attachments\[0\]\.port: must be a whole number"),
        (agent_file(attachment={"vlan": -1}), r"attachments\[0\]\.vlan: must be a whole number from 0 to 4094"),
        (agent_file(attachment={"vni": 0}), r"attachments\[0\]\.vni: must be a whole number from 1 to 16777215"),
        (agent_file(peer_keys=1), r"peer_keys: must be true or false"),
        (agent_file(mixed_only="00"), r"mixed_only: must be 32 hexadecimal digits"),
        (agent_file(attachment={"mac": 7}), r"attachments\[0\]\.mac: not text; quote the MAC address"),
        (agent_file(attachment={"ips": [167772161]}), r"attachments\[0\]\.ips\[0\]: not text; quote the address"),
        (agent_file(attachment={"ips": "10.0.0.1"}), r"attachments\[0\]\.ips: must be a list"),
        (agent_file(attachment={"host": None}), r"attachments\[0\]\.host: must be a DNS label"),
        (agent_file(attachment={"vn": "\x1b[2J"}), r"attachments\[0\]\.vn: must be a DNS label"),
    ],
)
def test_an_odd_value_is_named_with_what_is_allowed(tmp_path, content, said):
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(content))
    with pytest.raises(OperatorError, match=said):
        AgentMemory("leaf1", path)


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"{\n\n,", "line 3: is no JSON"), (b"[" * 200_000, "is no JSON"), (b"\xff\xfe", "is no JSON")],
)
def test_what_is_no_json_is_named_with_its_line(tmp_path, raw, said):
    path = tmp_path / "agent.json"
    path.write_bytes(raw)
    with pytest.raises(OperatorError, match=said):
        AgentMemory("leaf1", path)


def test_a_file_that_is_right_is_taken(tmp_path):
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(agent_file()))
    memory = AgentMemory("leaf1", path)
    assert (len(memory.attachments), memory.mark) == (1, StoreMark(1, 2))


def test_without_a_file():
    memory = AgentMemory("leaf1")
    memory.put(ONE)
    assert memory.attachments == {KEY: ONE}


class Session:
    """An NVA that knows of nothing."""

    async def announce(self, _announcement):
        return AttachmentAnswer(Standing.REFUSED, "unknown")


def test_what_the_nva_does_not_know_can_be_detached():
    """An operator has evicted it: the agent must not announce it again in every session."""

    async def check():
        memory = AgentMemory("leaf1")
        memory.put(ONE)
        agent = NveAgent(
            SwitchAddress("leaf1", "unix:/nowhere", 1), None, None, random_bytes=secrets.token_bytes, memory=memory
        )
        agent._serving = Session()
        answer = await agent.announce(Release(ONE.port, ONE.vlan, ONE.vni, ONE.mac))
        assert (answer.standing, memory.attachments) == (Standing.REFUSED, {})

    asyncio.run(check())


class Taking:
    """An NVA that takes everything."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def announce(self, announcement):
        self.asked.append(announcement)
        return AttachmentAnswer(Standing.ACTIVE)


def agent_on(path) -> tuple[NveAgent, Taking]:
    memory = AgentMemory("leaf1", path)
    agent = NveAgent(
        SwitchAddress("leaf1", "unix:/nowhere", 1), None, None, random_bytes=secrets.token_bytes, memory=memory
    )
    agent._serving = Taking()
    return agent, agent._serving


@pytest.mark.parametrize(
    "announcement", [TWO, Release(ONE.port, ONE.vlan, ONE.vni, ONE.mac), Relocation(ONE.port, ONE.vlan, TWO)]
)
def test_without_room_on_the_disk_the_nva_is_not_asked(tmp_path, announcement):
    """That nothing was changed is then true of the NVA as well."""

    async def check():
        path = tmp_path / "agent.json"
        agent, nva = agent_on(path)
        await agent.announce(ONE)
        nva.asked.clear()
        (tmp_path / "agent.json.room").mkdir()  # whoever runs this, nothing can be written there
        with pytest.raises(OperatorError, match="nothing was changed"):
            await agent.announce(announcement)
        assert nva.asked == []
        assert agent.attachments == (ONE,)
        (tmp_path / "agent.json.room").rmdir()
        await agent.announce(announcement)
        assert nva.asked == [announcement]
        assert sorted(one.name for one in tmp_path.iterdir()) == ["agent.json"], "what was kept free is given back"

    asyncio.run(check())


def test_what_the_nva_has_taken_and_could_not_be_written_is_said(tmp_path):
    async def check():
        agent, nva = agent_on(tmp_path / "agent.json")
        (tmp_path / "agent.json.new").mkdir()
        with pytest.raises(OperatorError, match=r"the NVA has taken it \(active\), and leaf1 could not write it down"):
            await agent.announce(ONE)
        assert nva.asked == [ONE]

    asyncio.run(check())


def test_what_is_attached_in_a_vn_that_is_served_no_more_can_be_detached():
    class Agent:
        attachments = (ONE,)
        announce = None
        forgotten: ClassVar[list[tuple[int, int, int]]] = []

        def view(self):
            return NveView(1, "leaf1", ip("192.0.2.1"), 1500, (), (), (), (), (), 30.0, 10.0)

        async def forget(self, place):
            self.forgotten.append(place)

    agent = Agent()
    answer = asyncio.run(tenant_methods(agent)["detach"](vn="blue", port=1, vlan=0, mac="02:00:00:00:00:01"))
    assert (answer["standing"], agent.forgotten) == ("done", [KEY])
    with pytest.raises(OperatorError, match="does not serve VN blue"):
        asyncio.run(tenant_methods(agent)["detach"](vn="blue", port=2, vlan=0, mac="02:00:00:00:00:01"))
