# SPDX-License-Identifier: Apache-2.0
"""How much keys have protected: never less than they have, whenever entries get other keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.keys.usage import Amount, UseMeter
from nvo3sec.domain.messages.session import KeyUse, Use
from nvo3sec.domain.overlay.model import Suite

SUITE = Suite.CHASKEY12


def meter_of(*slots: object) -> UseMeter:
    """Of entries that it has seen begin."""
    meter = UseMeter()
    for slot in slots:
        meter.made_anew(slot)
    return meter


class TestMeter:
    def test_a_key_alone(self):
        meter = meter_of("slot")
        assert meter.read({"slot": ("key", Amount(3, 300))}) == {"key": Amount(3, 300)}
        assert meter.read({"slot": ("key", Amount(7, 700))}) == {"key": Amount(7, 700)}

    def test_what_is_older_than_the_meter_is_at_most_all_of_it(self):
        meter = meter_of("new")
        used = meter.read({"slot": ("key", Amount(3, 300)), "new": ("other", Amount(1, 100))})
        assert used == {"key": Amount(3, 300, at_most=True), "other": Amount(1, 100)}
        assert meter.read({"slot": ("key", Amount(7, 700))}) == {"key": Amount(7, 700, at_most=True)}
        assert meter.read({"slot": ("next", Amount(9, 900))}) == {"next": Amount(2, 200)}, "of this one it has all"
        assert meter.read({"new": ("later", Amount(5, 500))}) == {"later": Amount(5, 500, at_most=True)}

    def test_the_next_key_is_charged_from_the_last_reading_on(self):
        meter = UseMeter()
        meter.read({"slot": ("old", Amount(100, 10_000))})
        assert meter.read({"slot": ("new", Amount(110, 11_000))}) == {"new": Amount(10, 1000)}
        assert meter.read({"slot": ("new", Amount(150, 15_000))}) == {"new": Amount(50, 5000)}

    def test_an_entry_that_was_made_anew(self):
        meter = UseMeter()
        meter.read({"slot": ("old", Amount(100, 10_000))})
        meter.made_anew("slot")
        assert meter.read({"slot": ("new", Amount(104, 10_400))}) == {"new": Amount(104, 10_400)}

    def test_an_entry_that_somebody_else_made_anew(self):
        meter = UseMeter()
        meter.read({"slot": ("old", Amount(100, 10_000))})
        assert meter.read({"slot": ("new", Amount(4, 400))}) == {"new": Amount(4, 400)}

    def test_entries_of_several_levels_with_one_key(self):
        entries = {1: ("key", Amount(1, 10)), 2: ("key", Amount(2, 20))}
        assert meter_of(1, 2).read(entries) == {"key": Amount(3, 30)}
        assert meter_of(1).read(entries) == {"key": Amount(3, 30, at_most=True)}

    @given(st.lists(st.tuples(st.sampled_from(["send", "key", "read", "anew"]), st.integers(0, 50)), max_size=40))
    def test_never_too_little(self, script):
        meter, truth = UseMeter(), Counter()
        key, counter = 0, 0
        for what, number in script:
            if what == "send":
                truth[key] += number
                counter += number
            elif what == "key":
                key += 1
            elif what == "anew":
                key, counter = key + 1, 0
                meter.made_anew("slot")
            else:
                said = meter.read({"slot": (key, Amount(counter, counter))})
                assert said[key].packets >= truth[key]


def agents_with(**lifetimes) -> Agents:
    return Agents(replace(DOMAIN, lifetimes=replace(DOMAIN.lifetimes, **lifetimes)))


class TestLimits:
    def test_a_key_that_has_protected_enough_is_replaced_and_no_other(self):
        async def run():
            agents = agents_with(key_soft_packets=1000, key_hard_packets=2000)
            await agents.join("leaf1", "leaf2", "leaf3")
            before = {sa.peer: sa.spi for sa in agents.keys["leaf1"].send}
            agents.after(2)
            await agents.sessions["leaf1"].used(
                Use(
                    INCARNATIONS["leaf1"],
                    (KeyUse("leaf2", SUITE, before["leaf2"], 999, 1), KeyUse("leaf3", SUITE, 7, 1500, 1)),
                )
            )
            await agents.settle()
            assert {sa.peer: sa.spi for sa in agents.keys["leaf1"].send} == before
            use = Use(INCARNATIONS["leaf1"], (KeyUse("leaf2", SUITE, before["leaf2"], 1000, 1),))
            await agents.sessions["leaf1"].used(use)
            await agents.settle()
            after = {sa.peer: sa.spi for sa in agents.keys["leaf1"].send}
            assert after["leaf2"] != before["leaf2"]
            assert after["leaf3"] == before["leaf3"]

        asyncio.run(run())

    def test_a_key_that_has_protected_too_much_is_used_no_more_even_without_another(self):
        async def run():
            agents = agents_with(key_soft_packets=1000, key_hard_packets=2000)
            await agents.join("leaf1", "leaf2")
            await agents.sessions.pop("leaf2").close()
            (sa,) = agents.keys["leaf1"].send
            await agents.sessions["leaf1"].used(Use(INCARNATIONS["leaf1"], (KeyUse("leaf2", SUITE, sa.spi, 2000, 1),)))
            await agents.settle()
            assert agents.keys["leaf1"].send == ()

        asyncio.run(run())

    def test_a_key_that_may_have_protected_too_much_is_replaced_without_a_gap(self):
        """Of an agent that was restarted, whose entry has been there for many keys."""

        async def run():
            agents = agents_with(key_soft_packets=1000, key_hard_packets=2000)
            await agents.join("leaf1", "leaf2")
            (sa,) = agents.keys["leaf1"].send
            agents.after(2)
            side, told = agents.sessions["leaf1"], []
            fetch = side._handler.key_news
            side._handler.key_news = lambda session: told.append(news := fetch(session)) or news
            await side.used(Use(INCARNATIONS["leaf1"], (KeyUse("leaf2", SUITE, sa.spi, 5000, 1, at_most=True),)))
            await agents.settle()
            (other,) = agents.keys["leaf1"].send
            assert other.spi != sa.spi
            mine = [one for one in told if one is not None and one.sends and one.incarnation == INCARNATIONS["leaf1"]]
            assert [len(one.send) for one in mine] == [1], "from one key to the next"

        asyncio.run(run())

    def test_only_the_sender_s_own_account_of_its_present_incarnation_counts(self):
        async def run():
            agents = agents_with(key_soft_packets=1000, key_hard_packets=2000)
            await agents.join("leaf1", "leaf2")
            (sa,) = agents.keys["leaf1"].send
            agents.after(2)
            worn = (KeyUse("leaf2", SUITE, sa.spi, 3000, 1),)
            await agents.sessions["leaf1"].used(Use(b"x" * 16, worn))
            await agents.sessions["leaf2"].used(Use(INCARNATIONS["leaf2"], (KeyUse("leaf1", SUITE, sa.spi, 3000, 1),)))
            await agents.settle()
            assert [one.spi for one in agents.keys["leaf1"].send] == [sa.spi]

        asyncio.run(run())
