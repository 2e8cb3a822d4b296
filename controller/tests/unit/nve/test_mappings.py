# SPDX-License-Identifier: Apache-2.0
"""What an agent asks again, and when: whatever becomes of a session, nothing stays that nobody is sure of."""

from __future__ import annotations

import asyncio

import pytest
from nvo3sec.domain.mapping.learned import LearnedMappings
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, MappingUpdate, Position, RemoteMapping
from nvo3sec.errors import NvaUnreachable
from nvo3sec.nve.mappings import OVERTAKEN, MappingLookups

VNI, MAC = 10, 0x0200_0000_0001
UNKNOWN = LookupAnswer(LookupResult.UNKNOWN, 10.0)


def at(version: int) -> Position:
    return Position(b"h" * 16, version)


def found(nve: str, sequence: int) -> LookupAnswer:
    return LookupAnswer(LookupResult.FOUND, 300.0, MAC, nve, (), sequence)


class Session:
    """Answers in turn; what is no answer is raised, or called first."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)

    async def look_up(self, _query):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


class World:
    def __init__(self, *answers, mappings: LearnedMappings | None = None) -> None:
        self.session = Session(*answers)
        self.mappings = mappings or LearnedMappings("leaf1")
        self.missed: list[int] = []
        self.learning = MappingLookups(
            self.session, self.mappings, lambda: None, lambda _wanted: None, self.missed.append
        )


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def test_a_doubt_outlives_the_session_that_should_have_asked():
    async def check():
        first = World(found("leaf2", 5), NvaUnreachable("gone"))
        await first.learning.look_up(Lookup(VNI, mac=MAC))
        first.learning.apply(MappingUpdate(VNI, None, at(90)))
        assert first.missed == [VNI]
        with pytest.raises(NvaUnreachable):
            await first.learning.settle_doubts()
        second = World(UNKNOWN, mappings=first.mappings)
        second.learning.begin(())
        await second.learning.settle_doubts()
        assert len(first.mappings) == 0

    run(check())


def test_what_was_learned_before_a_position_was_known_is_asked_again():
    async def check():
        first = World(found("leaf2", 5))
        await first.learning.look_up(Lookup(VNI, mac=MAC))
        second = World(found("leaf3", 6), mappings=first.mappings)
        second.learning.begin(())
        await second.learning.settle_doubts()
        assert [one.nve for one in first.mappings.all] == ["leaf3"]

    run(check())


def test_an_answer_that_was_overtaken_settles_no_doubt():
    async def check():
        def overtaken():
            world.learning.apply(MappingUpdate(VNI, 5, at(6), (RemoteMapping(MAC, "leaf3", (), 6),)))
            return found("leaf2", 5)

        world = World(overtaken, found("leaf3", 6))
        world.learning.apply(MappingUpdate(VNI, 5, at(5)))
        world.learning.begin([(VNI, MAC)])
        await world.learning.settle_doubts()
        assert [one.nve for one in world.mappings.all] == ["leaf3"]
        assert OVERTAKEN.valid_s == 0.0, "nothing remembers it"

    run(check())
