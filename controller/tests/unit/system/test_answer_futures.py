# SPDX-License-Identifier: Apache-2.0
"""A refusal that comes when nobody waits for it any more is no fault of anybody's, and nothing alarms."""

from __future__ import annotations

import ast
import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from nvo3lab import rpc
from nvo3sec.errors import OperatorError
from nvo3sec.system import aio
from places import ROOT


def said(make: Callable[[], asyncio.Future[Any]], end: Callable[[asyncio.Future[Any]], object]) -> list[str]:
    """What asyncio tells of a future that ended so, and that nobody has waited for."""
    told: list[str] = []

    async def drop() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["message"]))
        future = make()
        end(future)
        await asyncio.sleep(0)  # its callbacks run
        del future
        gc.collect()

    asyncio.run(drop())
    return told


def refuse(future: asyncio.Future[Any]) -> None:
    future.set_exception(OperatorError("leaf1 has gone"))


@pytest.mark.parametrize("make", [aio.answer_future, rpc.answer_future], ids=["nvo3sec", "nvo3lab"])
class TestDropped:
    @pytest.mark.parametrize(
        "end",
        [refuse, lambda one: one.set_result(1), lambda one: one.cancel()],
        ids=["refused", "answered", "cancelled"],
    )
    def test_without_a_word(self, make, end):
        assert said(make, end) == []

    def test_another_kind_of_future_alarms(self, make):  # so the others can fail
        assert said(lambda: asyncio.get_running_loop().create_future(), refuse) == [
            "Future exception was never retrieved"
        ]

    def test_who_waits_is_told(self, make):
        async def ask() -> None:
            future = make()
            asyncio.get_running_loop().call_soon(refuse, future)
            await future

        with pytest.raises(OperatorError, match="leaf1 has gone"):
            asyncio.run(ask())


@pytest.mark.parametrize("package", ["controller/nvo3sec", "bmv2-lab/nvo3lab", "softswitch/p4softswitch"])
def test_whatever_can_be_refused_is_one(package):
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        made = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "answer_future"]
        elsewhere = calls(tree) - sum((calls(one) for one in made), Counter())
        assert not {"create_future", "set_exception"} <= elsewhere.keys(), f"{path}: make it with answer_future"


def calls(tree: ast.AST) -> Counter[str]:
    """How often which method is called."""
    found = (one.func for one in ast.walk(tree) if isinstance(one, ast.Call))
    return Counter(one.attr for one in found if isinstance(one, ast.Attribute))
