# SPDX-License-Identifier: Apache-2.0
"""finsy's own `Switch` against each target: what its programs begin with, write, read and wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import finsy as fy
import pytest
from engine_scenarios import PROGRAMS as ENGINE_PROGRAMS
from finsy.proto import p4i
from google.protobuf import text_format
from server_harness import DEVICE_ID, PROGRAMS, TIMEOUT, DataPort, Program, Target

MAC = 0x020000000001
FRAME = bytes.fromhex("020000000001 020000000002 0800") + bytes(range(50))
Session = Callable[[fy.Switch], Awaitable[Any]]


@pytest.fixture(params=["with_arrays", "without_arrays"])
def options(request: pytest.FixtureRequest) -> fy.SwitchOptions:
    return fy.SwitchOptions(
        p4info=PROGRAMS / f"{request.param}.p4info.txtpb",
        p4blob=PROGRAMS / f"{request.param}.json",
        device_id=DEVICE_ID,
    )


def run(target: Target, options: fy.SwitchOptions, session: Session) -> Any:
    """What the session makes of a connected switch."""

    async def connected() -> Any:
        async with fy.Switch("switch", target.address, options) as switch:
            return await session(switch)

    # The program is compiled before finsy comes, which tries only once and waits for nothing.
    assert options.p4info is not None
    assert isinstance(options.p4blob, Path)
    p4info = text_format.Parse(options.p4info.read_text(), p4i.P4Info())
    with target.controller(election_id=0) as controller:
        controller.election_id = None
        controller.push(Program(p4info, options.p4blob.read_bytes()))
    return asyncio.run(asyncio.wait_for(connected(), 4 * TIMEOUT))


def forward(port: int) -> fy.P4TableEntry:
    return fy.P4TableEntry("forward", match=fy.Match(dst=MAC), action=fy.Action("set_port", port=port))


async def first(switch: fy.Switch, wanted: fy.P4TableEntry) -> fy.P4TableEntry | None:
    """The first entry that a read finds."""
    async for found in switch.read(wanted):
        return found
    return None


async def everything(switch: fy.Switch) -> list[Any]:
    """What a wildcard read of each kind finds, constant entries apart."""
    kinds = [fy.P4TableEntry(), fy.P4MulticastGroupEntry(), fy.P4CloneSessionEntry()]
    kinds += [fy.P4ActionProfileMember(), fy.P4ActionProfileGroup()]
    found = [entity async for entity in switch.read(kinds)]
    return [e for e in found if not (isinstance(e, fy.P4TableEntry) and e.table_id == "fixed")]


def test_delete_all(fresh_target: Target, options: fy.SwitchOptions) -> None:
    async def session(switch: fy.Switch) -> None:
        await switch.delete_all()
        assert await everything(switch) == []
        await switch.write(
            [
                +forward(7),
                +fy.P4TableEntry(
                    "route", match=fy.Match(src="02:00:00:00:00:00/24", vlan=5), action=fy.Action("NoAction")
                ),
                +fy.P4TableEntry("acl", match=fy.Match(type="0x800/&0xff00"), priority=3, action=fy.Action("drop")),
                ~fy.P4TableEntry(
                    "nothing_to_match", action=fy.Action("note", vlan=1, tag=2, flag=1), is_default_action=True
                ),
                +fy.P4MulticastGroupEntry(1, replicas=[1, 2]),
                +fy.P4CloneSessionEntry(2, replicas=[3]),
                +fy.P4DigestEntry("learn_t", max_list_size=1),
            ]
        )
        assert len(await everything(switch)) == 5
        await switch.delete_all()
        # finsy passes over everything that is no table entry where the program has a constant table.
        groups = [fy.P4MulticastGroupEntry(1, replicas=[1, 2]), fy.P4CloneSessionEntry(2, replicas=[3])]
        await switch.delete(groups)
        assert await everything(switch) == []
        default = await first(switch, fy.P4TableEntry("nothing_to_match", is_default_action=True))
        assert default is not None
        assert default.action == fy.P4TableAction("NoAction")

    run(fresh_target, options, session)


def test_entries_are_written_changed_and_read(fresh_target: Target, options: fy.SwitchOptions) -> None:
    async def session(switch: fy.Switch) -> None:
        await switch.insert([forward(7)])
        with pytest.raises(fy.P4ClientError, match="ALREADY_EXISTS"):
            await switch.insert([forward(8)])
        await switch.modify([forward(9)])
        assert await first(switch, fy.P4TableEntry("forward", match=fy.Match(dst=MAC))) == forward(9)
        await switch.delete([forward(9)])
        await switch.delete([forward(9)], strict=False)
        assert await first(switch, forward(9)) is None

    run(fresh_target, options, session)


def test_packets_and_digests(fresh_target: Target, options: fy.SwitchOptions) -> None:
    async def session(switch: fy.Switch) -> None:
        await switch.delete_all()
        data = DataPort(fresh_target.data_address)
        try:
            async with asyncio.TaskGroup() as tasks:
                packets = aiter(switch.read_packets())
                digests = aiter(switch.read_digests("learn_t"))
                packet = tasks.create_task(anext(packets))  # type: ignore[arg-type]
                digest = tasks.create_task(anext(digests))  # type: ignore[arg-type]
                await switch.write(
                    [
                        +fy.P4TableEntry("forward", match=fy.Match(dst=MAC), action=fy.Action("to_cpu")),
                        +fy.P4TableEntry("acl", match=fy.Match(type="0x800"), priority=1, action=fy.Action("learn")),
                        +fy.P4DigestEntry("learn_t", max_list_size=1),
                    ]
                )
                data.send(3, FRAME)
            received, learned = packet.result(), digest.result()
            assert (received.payload, received["ingress_port"]) == (FRAME, 3)
            assert [dict(sample) for sample in learned] == [{"src": 0x020000000002, "port": 3}]
            await switch.write([fy.P4DigestListAck(learned.digest_id, learned.list_id)])
            await switch.write([fy.P4PacketOut(FRAME, egress_port=5, _pad=0, mark=0xF)])
            assert await asyncio.to_thread(data.receive) == (5, FRAME)
        finally:
            data.close()

    run(fresh_target, options, session)


def test_idle_timeouts(fresh_target: Target) -> None:
    options = fy.SwitchOptions(
        p4info=ENGINE_PROGRAMS / "ageing.p4info.txtpb", p4blob=ENGINE_PROGRAMS / "ageing.json", device_id=DEVICE_ID
    )

    async def session(switch: fy.Switch) -> None:
        await switch.delete_all()
        notifications = aiter(switch.read_idle_timeouts())
        async with asyncio.TaskGroup() as tasks:
            notification = tasks.create_task(anext(notifications))  # type: ignore[arg-type]
            entry = forward(7)
            entry.action, entry.idle_timeout_ns = fy.Action("send", port=7), 200_000_000
            await switch.insert([entry])
        (expired,) = notification.result()
        assert (expired.table_id, expired.match) == ("forward", {"dst": MAC})

    run(fresh_target, options, session)


def test_action_profiles(fresh_target: Target) -> None:
    options = fy.SwitchOptions(
        p4info=ENGINE_PROGRAMS / "profiles.p4info.txtpb", p4blob=ENGINE_PROGRAMS / "profiles.json", device_id=DEVICE_ID
    )

    def entry(action: fy.P4TableAction | fy.P4IndirectAction) -> fy.P4TableEntry:
        return fy.P4TableEntry("balance", match=fy.Match(dst=MAC), action=action)

    async def session(switch: fy.Switch) -> None:
        await switch.delete_all()
        await switch.write(
            [
                +fy.P4ActionProfileMember("selector", member_id=1, action=fy.Action("send", port=1)),
                +fy.P4ActionProfileMember("selector", member_id=2, action=fy.Action("send", port=2)),
                +fy.P4ActionProfileGroup(
                    "selector", group_id=1, max_size=4, members=[fy.P4Member(1, weight=1), fy.P4Member(2, weight=2)]
                ),
                +entry(fy.P4IndirectAction(group_id=1)),
            ]
        )
        # BMv2 tells of a member as often as it has weight.
        assert len(await everything(switch)) == (5 if fresh_target.name == "bmv2" else 4)
        if fresh_target.name == "bmv2":  # where a second deletion of it fails
            await switch.delete(
                [
                    entry(fy.P4IndirectAction(group_id=1)),
                    fy.P4ActionProfileGroup("selector", group_id=1),
                    fy.P4ActionProfileMember("selector", member_id=1),
                    fy.P4ActionProfileMember("selector", member_id=2),
                ]
            )
        await switch.delete_all()
        assert await everything(switch) == []
        one_shot = entry(fy.P4IndirectAction([2 * fy.Action("send", port=3), 1 * fy.Action("send", port=4)]))
        await switch.insert([one_shot])
        assert await first(switch, fy.P4TableEntry("balance")) == one_shot
        await switch.delete_all()
        assert await everything(switch) == []

    run(fresh_target, options, session)
