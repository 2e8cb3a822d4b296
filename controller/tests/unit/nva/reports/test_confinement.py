# SPDX-License-Identifier: Apache-2.0
"""What one peer says, or what goes wrong with one of anything, stays there: no other tunnel, and no process."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents, Failing
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.spi import LAST_GENERATION
from nvo3sec.domain.messages.session import (
    Attachment,
    HeldReceive,
    HeldSend,
    KeyUse,
    Lookup,
    MappingUpdate,
    NewIncarnation,
    Position,
    ReadBack,
    Registration,
    StoreMark,
    Use,
)
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import HistoryDisputed, OperatorError
from nvo3sec.nva.keys.generations import TRUSTED_LEAD
from nvo3sec.nva.mappings import service
from nvo3sec.nva.store import SetGeneration, StoreUnavailable

SUITE = Suite.CHASKEY12
LEAF1 = IPv4Address("192.0.2.1")
LIMIT = 2**63 - 1


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(60):
            await coroutine

    asyncio.run(bounded())


def climb(low: int = 0) -> Registration:
    """Of leaf3: each entry as far above the one before as is believed."""
    said = [*range(low + TRUSTED_LEAD, LAST_GENERATION, TRUSTED_LEAD), LAST_GENERATION]
    return Registration(
        INCARNATIONS["leaf3"],
        tuple(HeldReceive(LEAF1, SUITE, Held(number + 1, generation, 60.0)) for number, generation in enumerate(said)),
    )


def between(agents: Agents, *names: str) -> list:
    return [d for d in agents.nva.administration.directions() if {d.tunnel.sender, d.tunnel.receiver} <= set(names)]


def events(agents: Agents, nve: str) -> list[str]:
    return [one.report.event for one in agents.nva.state.reports if one.nve == nve]


class TestRegistrationThatClimbs:
    def test_message_by_message_it_gets_nowhere_either(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            for one in climb().receive:
                await agents.join("leaf3", registration=Registration(INCARNATIONS["leaf3"], (one,)))
            await agents.join("leaf3")
            agents.nva.administration.rotate()
            for _ in range(3):
                await agents.settle()
                agents.after(6.0)
            assert not agents.nva.state.accounts.alarms(DOMAIN.nve_by_name)
            assert all(direction.is_established for direction in agents.nva.administration.directions())
            assert all(sa.generation < 2 * TRUSTED_LEAD for d in agents.nva.administration.directions() for sa in d.sas)

        run(check())

    @pytest.mark.parametrize("messages", [1, 4])
    def test_it_hurts_nobody_and_is_told(self, messages):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            for number in range(messages):
                await agents.join("leaf3", registration=climb(number))
            assert events(agents, "leaf3") == ["incarnation-retired"] * messages
            for _ in range(3):
                agents.nva.administration.rotate()
                await agents.settle()
                agents.after(5.0)
                await agents.settle()
            assert all(direction.is_established for direction in between(agents, "leaf1", "leaf2"))
            assert agents.nva.state.accounts.alarms(["leaf3"]) == [
                "leaf3: its switch has not taken another incarnation yet"
            ]
            assert not agents.nva.state.accounts.alarms(["leaf1", "leaf2"])
            assert (await agents.sessions["leaf3"].renew_lease()).duration_s > 0

        run(check())

    def test_it_is_told_to_take_another_incarnation_and_has_keys_then(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            session = agents.nva.agents.open_session("leaf3")
            await session.register(climb())
            assert session.update_now() == NewIncarnation(INCARNATIONS["leaf3"])
            await session.read_back(ReadBack(INCARNATIONS["leaf3"], (("leaf1", SUITE, 1),), ()))
            assert not any(d.is_established for d in between(agents, "leaf1", "leaf3"))
            await agents.join("leaf3", registration=Registration(b"a new one".ljust(16)))
            assert all(direction.is_established for direction in agents.nva.administration.directions())
            assert not agents.nva.state.accounts.alarms(DOMAIN.nve_by_name)

        run(check())

    def test_a_store_that_it_has_spent_already(self):
        """From before marks were judged: the process lives, the others have keys, and an operator mends it."""

        async def check():
            store = Failing(b"h" * 16)
            store.commit([SetGeneration("leaf3", LAST_GENERATION)])
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.after(5.0)
            assert all(direction.is_established for direction in between(agents, "leaf1", "leaf2"))
            (alarm,) = agents.nva.state.accounts.alarms(DOMAIN.nve_by_name)
            assert alarm.startswith("leaf3: no key can be made for it: generations have run out")
            assert "confined" in events(agents, "leaf3")
            with pytest.raises(OperatorError, match="no such NVE: leaf9"):
                agents.nva.administration.reset_marks("leaf9")
            assert agents.nva.administration.reset_marks("leaf3") == INCARNATIONS["leaf3"].hex()
            await_update = agents.sessions["leaf3"].update_now
            assert await_update() == NewIncarnation(INCARNATIONS["leaf3"])
            again = Agents(store=store)
            await again.join("leaf1", "leaf2")
            await again.join("leaf3", registration=Registration(b"a new one".ljust(16)))
            assert all(direction.is_established for direction in again.nva.administration.directions())
            assert dict(store.load().generations)["leaf3"] < LAST_GENERATION // 2

        run(check())

    def test_a_reset_that_is_not_durable_ends_the_nva(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3")
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.administration.reset_marks("leaf3")
            with pytest.raises(StoreUnavailable):
                await agents.nva.run()

        run(check())


WILD = (
    Registration(b"w" * 16, generation=LAST_GENERATION),
    Registration(b"w" * 16, tuple(HeldReceive(LEAF1, SUITE, Held(n, n, 3e8)) for n in range(5000))),
    Registration(b"w" * 16, (), tuple(HeldSend(LEAF1, SUITE, Held(n, 0, -3e8)) for n in range(5000))),
    Registration(b"w" * 16, positions=tuple((vni, Position(b"h" * 16, LIMIT)) for vni in range(5001, 5100))),
    Registration(b"w" * 16, attachments=tuple(Attachment(511, 4094, 5001, n) for n in range(5000))),
    Registration(b"w" * 16, seen=(StoreMark(LIMIT, LIMIT, b"d" * 32),)),
)
SAID = (
    ReadBack(b"w" * 16, (("leaf1", SUITE, 1),), (("leaf1", SUITE, 1),), LIMIT),
    ReadBack(b"w" * 16, tuple(("leaf2", SUITE, n) for n in range(5000)), (), LIMIT),
    Use(b"w" * 16, tuple(KeyUse("leaf1", SUITE, n, LIMIT, LIMIT) for n in range(5000))),
    Use(b"w" * 16, (KeyUse("leaf3", SUITE, 1, LIMIT, LIMIT), KeyUse("nobody", SUITE, 1, 0, 0))),
)


class TestPeerThatLies:
    @pytest.mark.parametrize("registration", WILD, ids=range(len(WILD)))
    def test_in_every_field(self, registration):
        """leaf3 says the largest, the smallest, the most: leaf1 and leaf2 notice nothing."""

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            before = {d.tunnel: d for d in between(agents, "leaf1", "leaf2")}
            for _ in range(3):
                session = agents.nva.agents.open_session("leaf3")
                try:
                    await session.register(registration)
                except HistoryDisputed:
                    continue
                for said in SAID:
                    await (session.read_back(said) if isinstance(said, ReadBack) else session.used(said))
                for vni in (0, 5001, 5002, 0xFFFFFF):
                    await session.look_up(Lookup(vni, mac=1))
                while session.update_now() is not None:
                    pass
            agents.sessions.pop("leaf3")
            agents.after(5.0)
            await agents.settle()
            assert before == {d.tunnel: d for d in between(agents, "leaf1", "leaf2")}
            agents.nva.administration.rotate()
            for _ in range(3):
                agents.after(10.0)
                await agents.settle()
            assert all(d.is_established for d in between(agents, "leaf1", "leaf2"))
            assert all(before[d.tunnel].current != d.current for d in between(agents, "leaf1", "leaf2"))
            assert sum(agents.nva.state.confinement.counts.values()) == 0, "foreseen, all of it"

        run(check())

    def test_a_view_that_was_never_made_confirms_nothing(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            session = agents.sessions.pop("leaf1")
            agents.nva.administration.revoke("leaf3")
            await session.read_back(ReadBack(INCARNATIONS["leaf1"], (), (), LIMIT))
            assert "leaf1" in agents.nva.administration.not_yet_without("leaf3")
            assert events(agents, "leaf1") == ["view-unknown"]

        run(check())


class TestTick:
    @pytest.mark.parametrize(
        ("owner", "name"),
        [("keys", "tick"), ("marks", "tick"), ("contributing", "follow"), ("mappings", "next_deadline")],
        ids=lambda value: value,
    )
    def test_one_part_that_breaks_is_the_only_one(self, owner, name, monkeypatch):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            whose = type(getattr(agents.nva.state, owner))

            def broken(*_arguments, **_named):
                raise ZeroDivisionError("of nobody's making")

            ticked = []
            for other, method in (("keys", "tick"), ("marks", "tick"), ("contributing", "follow")):
                part = getattr(agents.nva.state, other)
                real = getattr(part, method)
                monkeypatch.setattr(
                    part, method, lambda *a, real=real, at=other, **n: (ticked.append(at), real(*a, **n))[1]
                )
            monkeypatch.setattr(whose if owner == "mappings" else getattr(agents.nva.state, owner), name, broken)
            agents.nva.tick()
            assert ticked == [one for one in ("keys", "marks", "contributing") if one != owner]
            assert sum(agents.nva.state.confinement.counts.values()) == 1
            agents.nva.tick()
            told = [one for one in agents.nva.state.reports if one.report.event == "confined"]
            assert len(told) == 1, "the same cause is told once, and counted"
            assert "ZeroDivisionError" in told[0].report.detail
            assert "nobody" not in told[0].report.detail, "what an error says could be anything"
            assert sum(agents.nva.state.confinement.counts.values()) == 2

        run(check())

    def test_a_store_that_fails_still_ends_the_nva(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            agents.nva.administration.rotate()
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.agents.key_news(agents.sessions["leaf1"])
            with pytest.raises(StoreUnavailable):
                await agents.nva.run()

        run(check())


class TestPushes:
    def test_a_vn_that_breaks_is_asked_about_anew_and_the_rest_comes(self, monkeypatch):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")

            def broken(*_arguments):
                raise ZeroDivisionError

            monkeypatch.setattr(service.MappingService, "increment", broken)
            before = len(agents.mappings.get("leaf1", []))
            await agents.sessions["leaf2"].announce(Attachment(1, 0, 5001, 0x0200_0000_0099))
            await agents.settle()
            later = agents.mappings.get("leaf1", [])[before:]
            assert all(isinstance(one, MappingUpdate) and one.base is None for one in later)
            agents.nva.administration.rotate()
            await agents.settle()
            assert all(d.is_established for d in between(agents, "leaf1", "leaf2"))

        run(check())

    def test_an_announcement_that_breaks_is_the_only_one_of_its_batch(self, monkeypatch):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            real = service.step

            def step(state, event, now):
                if getattr(event, "mac", None) == 13:
                    raise ZeroDivisionError
                return real(state, event, now)

            monkeypatch.setattr(service, "step", step)
            port, vlan = (vap := DOMAIN.nve_by_name["leaf2"].vaps[0]).port, vap.vlan
            vni = DOMAIN.vn_by_name[vap.vn].vni
            said = [
                agents.sessions["leaf2"].announce(Attachment(port, vlan, vni, mac)) for mac in (0x0200_0000_0077, 13)
            ]
            good, bad = await asyncio.gather(*said, return_exceptions=True)
            assert good.standing.value == "active"
            assert isinstance(bad, ZeroDivisionError)

        run(check())
