# SPDX-License-Identifier: Apache-2.0
"""Changes of keys come to the same as all keys anew, in whatever portions they are taken."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.key_changes import after
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, ReceiveSa, Registration, SendSa
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import NvaUnreachable
from nvo3sec.nve.told import Told

INCARNATION = b"i" * 16
PLACES = [(peer, suite) for peer in ("leaf2", "leaf3") for suite in Suite]


def receive_sa(place: tuple[str, Suite], spi: int, left_s: float = 60.0) -> ReceiveSa:
    return ReceiveSa(*place, spi, spi, Secret(spi.to_bytes(16, "big")), left_s)


def send_sa(place: tuple[str, Suite], spi: int, left_s: float = 60.0) -> SendSa:
    return SendSa(*place, spi, Secret(spi.to_bytes(16, "big")), left_s)


def keys_by_name(state: KeyState) -> tuple[set, set]:
    """What is held, in no order; a key counts once."""
    receive, send = ({(sa.peer, sa.suite, sa.spi, sa.key) for sa in sas} for sas in (state.receive, state.send))
    assert len(receive) == len(state.receive)
    assert len(send) == len(state.send)
    return receive, send


spis = st.lists(st.integers(1, 9), max_size=2, unique=True)
pictures = st.tuples(
    st.dictionaries(st.sampled_from(PLACES), spis), st.dictionaries(st.sampled_from(PLACES), st.integers(1, 9))
)


def whole(version: int, picture: tuple[dict, dict]) -> KeyState:
    receive, send = picture
    return KeyState(
        version,
        INCARNATION,
        tuple(receive_sa(place, spi) for place, spis in receive.items() for spi in spis),
        tuple(send_sa(place, spi) for place, spi in send.items()),
    )


def change(base: int, before: tuple[dict, dict], now: tuple[dict, dict]) -> KeyUpdate:
    receives, sends = (tuple(p for p in PLACES if b.get(p) != n.get(p)) for b, n in zip(before, now, strict=True))
    all_now = whole(base + 1, now)
    receive = tuple(sa for sa in all_now.receive if (sa.peer, sa.suite) in receives)
    send = tuple(sa for sa in all_now.send if (sa.peer, sa.suite) in sends)
    return KeyUpdate(base + 1, base, INCARNATION, receives, sends, receive, send)


class TestAfter:
    @settings(deadline=None)
    @given(st.lists(pictures, min_size=3, max_size=6), st.integers(0, 5))
    def test_it_comes_to_the_whole_however_it_is_taken(self, story, first):
        state = whole(1, story[0])
        changes = [change(number + 1, *two) for number, two in enumerate(itertools.pairwise(story))]
        one_by_one = state
        for one in changes:
            one_by_one = after(one_by_one, one, 0.0)
        assert keys_by_name(one_by_one) == keys_by_name(whole(len(story), story[-1]))
        assert one_by_one.version == len(story)
        first = min(first, len(changes) - 1)
        together = changes[first]
        for one in changes[first + 1 :]:
            together = after(together, one, 0.0)
        for one in changes[:first]:
            state = after(state, one, 0.0)
        assert keys_by_name(after(state, together, 0.0)) == keys_by_name(one_by_one)

    def test_what_does_not_change_has_less_time_left(self):
        state = KeyState(1, INCARNATION, (receive_sa(PLACES[0], 1), receive_sa(PLACES[1], 2)), (send_sa(PLACES[0], 3),))
        new = receive_sa(PLACES[1], 4)
        now = after(state, KeyUpdate(2, 1, INCARNATION, (PLACES[1],), (), (new,), ()), 25.0)
        assert [(sa.spi, sa.remaining_s) for sa in now.receive] == [(1, 35.0), (4, 60.0)]
        assert [(sa.spi, sa.remaining_s) for sa in now.send] == [(3, 35.0)]

    @pytest.mark.parametrize(
        ("what", "why"), [({"base": 2}, "version 2, where version 1"), ({"incarnation": b"j" * 16}, "incarnation")]
    )
    def test_only_what_follows(self, what, why):
        state = KeyState(1, INCARNATION, (), ())
        update = KeyUpdate(3, 1, INCARNATION, (), (), (), ())
        assert after(state, update, 0.0).version == 3
        with pytest.raises(ValueError, match=why):
            after(state, replace(update, **what), 0.0)


class TestAgent:
    """The session has checked it already; an agent does not rely on that."""

    @pytest.mark.parametrize("known", [None, KeyState(1, INCARNATION, (), ()), KeyState(2, b"j" * 16, (), ())])
    def test_asks_anew_where_it_cannot_follow(self, known):
        told = Told()
        told.keys = known
        with pytest.raises(NvaUnreachable, match="asking for all of them"):
            told.change_keys(KeyUpdate(3, 2, INCARNATION, (), (), (), ()), 0.0)
        assert told.keys is known

    def test_follows(self):
        told = Told()
        told.take_keys(KeyState(2, INCARNATION, (), ()), 0.0)
        told.change_keys(KeyUpdate(3, 2, INCARNATION, (PLACES[0],), (), (receive_sa(PLACES[0], 7),), ()), 1.0)
        assert [sa.spi for sa in told.keys.receive] == [7]


class TestNva:
    def test_after_all_of_them_only_what_changed_is_told(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            seen, side = [], agents.sessions["leaf1"]
            fetch = side._handler.key_news
            side._handler.key_news = lambda session: seen.append(told := fetch(session)) or told
            agents.after(2.0)
            # leaf3 comes back as another switch: what leaf1 has with leaf2 is not said again.
            await agents.join("leaf3", registration=Registration(b"another leaf3...."[:16]))
            told = [one for one in seen if one is not None]
            assert all(isinstance(one, KeyUpdate) for one in told if one.incarnation == INCARNATIONS["leaf1"])
            mine = [one for one in told if one.incarnation == INCARNATIONS["leaf1"]]
            assert {peer for one in mine for peer, _ in (*one.receives, *one.sends)} == {"leaf3"}
            assert {sa.peer for sa in agents.keys["leaf1"].send} == {"leaf2", "leaf3"}
            # All of it, asked for anew, is what leaf1 has put together.
            before = agents.keys["leaf1"]
            assert before.version == mine[-1].version
            await agents.join("leaf1")
            assert keys_by_name(agents.keys["leaf1"]) == keys_by_name(before)

        asyncio.run(run())

    def test_what_has_changed_back_is_not_told(self):
        async def run():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            side = agents.sessions["leaf1"]
            side.push_keys()
            assert side.update_now() is None
            assert side.keys_version == agents.keys["leaf1"].version

        asyncio.run(run())

    def test_every_key_that_the_domain_needs_is_there(self):
        async def run():
            agents = Agents()
            await agents.join(*(nve.name for nve in DOMAIN.nves))
            for name, state in agents.keys.items():
                tunnels = [one.tunnel for one in agents.nva.administration.directions()]
                assert {(sa.peer, sa.suite) for sa in state.receive} == {
                    (one.sender, one.suite) for one in tunnels if one.receiver == name
                }

        asyncio.run(run())
