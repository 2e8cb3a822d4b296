# SPDX-License-Identifier: Apache-2.0
"""Credentials of a server, as gRPC asks for them: something else only where something has changed, and alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from identity_world import World
from nvo3sec.identity import server
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device
from nvo3sec.identity.names import Role


class Given:
    """A device of which the test says when its credentials change."""

    def __init__(self, device: Device) -> None:
        self.credentials = device.current()

    def current(self) -> Any:
        return self.credentials


def following(world: World) -> tuple[Given, Any]:
    given = Given(world.device(world.issue(Role.NVA, "nva1"), Purpose.SERVER))
    return given, server._CredentialsSource(given)  # type: ignore[arg-type]


def test_nothing_else_where_nothing_has_changed(world: World):
    given, one = following(world)
    assert [one.fetch() for _ in range(3)] == [None] * 3
    given.credentials = replace(given.credentials)
    assert one.fetch() is None, "read again, and the same"


def test_another_chain_is_given_once(world: World):
    given, one = following(world)
    given.credentials = replace(given.credentials, anchors_pem=given.credentials.anchors_pem + b"\n")
    assert one.fetch() is not None
    assert one.fetch() is None


def test_no_handshake_begins_near_a_change(world: World, monkeypatch):
    """gRPC would free what a handshake that is about to begin in another thread uses (grpc/grpc issue 36693)."""
    now = [1000.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    given, one = following(world)
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    assert one.fetch() is None
    now[0] += 0.05
    given.credentials = replace(given.credentials, anchors_pem=given.credentials.anchors_pem + b"\n")
    assert one.fetch() is not None
    assert slept == [round(server.PAUSE_S - 0.05, 6)], "the one before has begun by now"
    now[0] += 0.01
    assert one.fetch() is None
    assert slept[1:] == [round(server.PAUSE_S - 0.01, 6)], "the one with the new credentials has begun by now"
    now[0] += 1.0
    assert one.fetch() is None
    assert len(slept) == 2


def test_one_asks_at_a_time(world: World):
    given, one = following(world)
    asked, go_on, order = threading.Event(), threading.Event(), []

    def current() -> Any:
        asked.set()
        assert go_on.wait(60)
        order.append("first")
        return given.credentials

    one._device = SimpleNamespace(current=current)
    first = threading.Thread(target=one.fetch)
    first.start()
    assert asked.wait(60)
    one._device = SimpleNamespace(current=lambda: order.append("second") or given.credentials)
    second = threading.Thread(target=one.fetch)
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert order == ["first", "second"]
