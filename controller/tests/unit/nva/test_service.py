# SPDX-License-Identifier: Apache-2.0
"""The NVA alone: what it tells whom, and what it refuses."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Address, IPv6Address

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.keys.derivation import KeyContext, Purpose, hkdf_info
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.spi import phase_of
from nvo3sec.domain.messages.session import (
    HeldReceive,
    HeldSend,
    KeyState,
    Lookup,
    LookupResult,
    ReadBack,
    Registration,
    Report,
)
from nvo3sec.domain.overlay.model import Domain, Level, Lifetimes, Nve, Rate, Route, Suite, Vap, Vn
from nvo3sec.errors import AuthorizationError, DerivationError, OperatorError

SUITE = Suite.CHASKEY12


class TestKeys:
    def test_both_ends_get_the_same_key_and_nobody_else(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            sent = {(n, sa.peer, sa.spi): sa.key for n, keys in agents.keys.items() for sa in keys.send}
            received = {(sa.peer, n, sa.spi): sa.key for n, keys in agents.keys.items() for sa in keys.receive}
            assert sent == received
            assert len(sent) == 6
            assert len(set(sent.values())) == 6, "a key of its own for each direction"

        asyncio.run(run())

    def test_they_are_what_the_derivation_says(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            (sa,) = agents.keys["leaf2"].receive
            context = KeyContext(
                Purpose.TUNNEL,
                SUITE,
                "leaf1",
                "leaf2",
                IPv4Address("192.0.2.1"),
                IPv4Address("192.0.2.2"),
                INCARNATIONS["leaf1"],
                INCARNATIONS["leaf2"],
                sa.spi,
                sa.generation,
            )
            assert sa.key == agents.nva.state.keys._epochs.key(1).expand(hkdf_info(context))
            assert sa.remaining_s == DOMAIN.lifetimes.key_hard_s

        asyncio.run(run())

    def test_rotation_uses_a_fresh_epoch_and_the_old_one_dies(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            (before,) = agents.keys["leaf1"].send
            agents.after(2)
            assert agents.nva.administration.rotate() == 6
            await agents.settle()
            (after,) = agents.keys["leaf1"].send
            assert after.spi != before.spi
            assert phase_of(after.spi) != phase_of(before.spi)
            agents.after(DOMAIN.lifetimes.grace_s)
            agents.after(1)
            await agents.settle()
            with pytest.raises(DerivationError):
                agents.nva.state.keys._epochs.key(1)
            agents.after(agents.nva.state.domain.lifetimes.lease_s)

        asyncio.run(run())

    def test_rotate_chooses(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            assert agents.nva.administration.rotate(["leaf1"]) == 4
            assert agents.nva.administration.rotate(["leaf1", "leaf2"]) == 2
            with pytest.raises(OperatorError, match="leaf1, leaf2, leaf3"):
                agents.nva.administration.rotate(["leaf9"])

        asyncio.run(run())

    def test_spis_are_unique_for_an_address_pair_and_generations_grow(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            seen = [(sa.spi, sa.generation) for sa in agents.keys["leaf2"].receive]
            for _ in range(20):
                agents.after(10)
                agents.nva.administration.rotate()
                await agents.settle()
                seen += [(sa.spi, sa.generation) for sa in agents.keys["leaf2"].receive]
                agents.after(10)
                await agents.settle()
            made = sorted(set(seen), key=lambda pair: pair[1])
            assert len(made) == 21
            assert len({spi for spi, _ in made}) == len({generation for _, generation in made}) == 21

        asyncio.run(run())

    def test_generations_survive_the_loss_of_their_counter(self):
        async def run():
            held = Registration(
                INCARNATIONS["leaf2"], (HeldReceive(IPv4Address("192.0.2.1"), SUITE, Held(77, 5000, 60.0)),)
            )
            agents = Agents()
            await agents.join("leaf2", registration=held)
            await agents.join("leaf1")
            assert all(sa.generation > 5000 for sa in agents.keys["leaf2"].receive if sa.spi != 77)
            later = Agents(wall_seconds=lambda: 1_800_000_000.0)
            await later.join("leaf1", "leaf2")
            assert all(sa.generation >= 100_000_000 for sa in later.keys["leaf2"].receive)

        asyncio.run(run())

    def test_inherited_keys_are_kept_without_being_known(self):
        async def run():
            spi = 0x80000055
            receive = (HeldReceive(IPv4Address("192.0.2.1"), SUITE, Held(spi, 9, 60.0)),)
            send = (HeldSend(IPv4Address("192.0.2.2"), SUITE, Held(spi, 0, 60.0)),)
            agents = Agents()
            agents.sessions["leaf1"] = agents.nva.agents.open_session("leaf1")
            await agents.sessions["leaf1"].register(Registration(INCARNATIONS["leaf1"], (), send))
            await agents.settle()
            (kept,) = agents.keys["leaf1"].send
            assert (kept.spi, kept.key) == (spi, None)
            await agents.join("leaf2", registration=Registration(INCARNATIONS["leaf2"], receive))
            (now,) = agents.keys["leaf1"].send
            assert now.spi != spi
            assert now.key is not None
            assert {sa.spi for sa in agents.keys["leaf2"].receive} == {spi, now.spi}, "the old one still receives"

        asyncio.run(run())


class TestSessions:
    def test_only_nves_of_the_domain(self):
        with pytest.raises(AuthorizationError, match="leaf9"):
            Agents().nva.agents.open_session("leaf9")

    def test_a_lease_needs_a_registration_through_this_session(self):
        async def run():
            agents = Agents()
            stranger = agents.nva.agents.open_session("leaf1")
            with pytest.raises(AuthorizationError):
                await stranger.renew_lease()
            await agents.join("leaf1")
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == DOMAIN.lifetimes.lease_s
            with pytest.raises(AuthorizationError):
                await stranger.renew_lease()

        asyncio.run(run())

    def test_a_second_session_replaces_the_first(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1")
            first = agents.sessions["leaf1"]
            await agents.join("leaf1")
            with pytest.raises(AuthorizationError):
                await first.renew_lease()
            await first.close()
            assert agents.nva.administration.registered == ("leaf1",), (
                "the end of the old one is not the end of the new one"
            )

        asyncio.run(run())

    def test_a_read_back_of_another_incarnation_confirms_nothing(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1")
            session = agents.nva.agents.open_session("leaf2")
            await session.register(Registration(INCARNATIONS["leaf2"]))
            while not isinstance(keys := await session.next_update(), KeyState):
                pass
            claims = tuple((sa.peer, sa.suite, sa.spi) for sa in keys.receive)
            await session.read_back(ReadBack(b"x" * 16, claims, ()))
            assert all(direction.current is None for direction in agents.nva.administration.directions())
            await session.read_back(ReadBack(INCARNATIONS["leaf2"], claims, ()))
            assert any(direction.current for direction in agents.nva.administration.directions())

        asyncio.run(run())

    def test_reports_are_kept(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1")
            await agents.sessions["leaf1"].report(Report("foreign-entry", "unknown x"))
            (record,) = agents.nva.state.reports
            assert (record.nve, record.report.event) == ("leaf1", "foreign-entry")

        asyncio.run(run())


class TestLookups:
    BLUE, RED = 5001, 5002

    @pytest.mark.parametrize(
        ("nve", "query", "result"),
        [
            ("leaf1", Lookup(BLUE, mac=0x02AA00000002), LookupResult.FOUND),
            ("leaf1", Lookup(BLUE, ip=IPv4Address("10.1.0.2")), LookupResult.FOUND),
            ("leaf1", Lookup(BLUE, ip=IPv6Address("fd00:1::2")), LookupResult.FOUND),
            ("leaf1", Lookup(BLUE, mac=0x02AA00000099), LookupResult.UNKNOWN),
            ("leaf1", Lookup(RED, mac=0x02AA00000002), LookupResult.UNKNOWN),
            ("leaf2", Lookup(RED, mac=0x02AA00000003), LookupResult.REFUSED),
            ("leaf2", Lookup(99, mac=0x02AA00000003), LookupResult.REFUSED),
            ("leaf1", Lookup(BLUE), LookupResult.UNKNOWN),
        ],
        ids=str,
    )
    def test_answers(self, nve, query, result):
        async def run():
            agents = Agents()
            await agents.join(nve)
            answer = await agents.sessions[nve].look_up(query)
            assert answer.result is result
            if result is LookupResult.FOUND:
                assert (answer.nve, answer.mac) == ("leaf2", 0x02AA00000002)
            else:
                assert (answer.nve, answer.mac, answer.ips) == ("", 0, ())
            assert [r.report.event for r in agents.nva.state.reports] == ["lookup-refused"] * (
                result is LookupResult.REFUSED
            )

        asyncio.run(run())

    def test_too_many(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            query = Lookup(self.BLUE, mac=1)
            answers = [(await agents.sessions["leaf1"].look_up(query)).result for _ in range(1001)]
            assert answers.count(LookupResult.BUSY) == 1
            assert (await agents.sessions["leaf2"].look_up(query)).result is LookupResult.UNKNOWN, "another NVE goes on"
            agents.now += 1
            assert (await agents.sessions["leaf1"].look_up(query)).result is LookupResult.UNKNOWN

        asyncio.run(run())


class TestScale:
    def test_sixty_nves_in_one_vn(self):
        """3,540 tunnels: nothing may grow with the square of what it is about."""
        count = 60
        names = [f"nve{number}" for number in range(count)]
        rate = Rate(1, 1)
        domain = Domain(
            "big",
            Lifetimes(30, 10, 3600, 4000, 300, 5, 10, 2**32, 2**42, 2**33, 2**43, 30, 64),
            (Vn("v", 1, Level.INTEGRITY, 1400, rate, 1),),
            tuple(
                Nve(
                    name,
                    number + 1,
                    f"unix:{name}",
                    IPv4Address(0x0A000001 + number),
                    1500,
                    ((256, number + 1),),
                    tuple(Route(peer, 256, number + 1, 1, rate) for peer in names if peer != name),
                    (Vap(1, 0, "v", rate),),
                )
                for number, name in enumerate(names)
            ),
            (),
        )

        async def run() -> float:
            agents = Agents(domain)
            began = time.process_time()
            await agents.join(*names)
            assert sum(direction.is_established for direction in agents.nva.administration.directions()) == count * (
                count - 1
            )
            return time.process_time() - began

        assert asyncio.run(run()) < 30
