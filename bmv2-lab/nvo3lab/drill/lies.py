# SPDX-License-Identifier: Apache-2.0
"""A stolen NVE says everything wrong that its certificate allows, in sessions of its own, while others' keys turn over.

What it has is leaf3's device; leaf3's real agent has been killed, so that nothing contradicts it. Its own tunnels are
its own to lose; those of leaf1 and leaf2 must not notice, and the NVA must not either.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from ipaddress import ip_address
from typing import Any

from nvo3lab.drill import messages as wire
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError, RemoteError
from nvo3lab.processes.control_plane import NVA, nve

_LIAR = "leaf3"
_OTHERS = ("leaf1", "leaf2")
_SUITES = (1, 2)
_LAST = 2**32 - 1
_STEP = 1 << 24
_LARGE = 2**63 - 1
_LONG = 3e8
_MANY = 2000
_REPLACED = 30.0
"""Seconds for a rotation between two NVEs that are well."""
_POLL = 0.1
_REPORT = "incarnation-retired"
"""How the NVA tells operators of a switch whose generations it does not believe."""
_UNBELIEVABLE = ("climbs", "ends", "generation")

_REGISTRATION, _READ_BACK, _REPORTED, _ANSWER, _USE, _NEWS = 1, 2, 3, 4, 5, 10


def _held(address: bytes, suite: int, spi: int, generation: int, remaining: float) -> bytes:
    return (
        wire.field(1, address)
        + wire.field(2, suite)
        + wire.field(3, spi)
        + wire.field(4, generation)
        + wire.field(5, remaining)
    )


def _repeated(number: int, items: list[bytes]) -> bytes:
    return b"".join(wire.field(number, item) for item in items)


def _registrations(addresses: list[bytes]) -> dict[str, bytes]:
    """What leaf3 could register with, by what is wrong with it."""
    own = wire.field(1, os.urandom(16))
    climb = [*range(_STEP, _LAST, _STEP), _LAST]
    many = [(_SUITES[number % len(_SUITES)], number) for number in range(_MANY)]
    received = {
        "climbs": [
            _held(addresses[0], suite, number + 1, one, 60.0) for suite in _SUITES for number, one in enumerate(climb)
        ],
        "ends": [_held(address, suite, 1, _LAST, 60.0) for suite in _SUITES for address in addresses],
        "lives for ever": [_held(address, suite, number, 1, _LONG) for address in addresses for suite, number in many],
        "ended long ago": [_held(address, suite, number, 0, -_LONG) for address in addresses for suite, number in many],
    }
    registrations = {what: own + _repeated(2, held) + _repeated(3, held[:3]) for what, held in received.items()}
    registrations["generation"] = own + wire.field(40, _LAST)
    attached = wire.field(1, 511) + wire.field(2, 4094) + wire.field(3, 0xFFFFFF) + wire.field(4, 2**48 - 1)
    registrations["attachments"] = own + _repeated(4, [attached] * _MANY)
    position = wire.field(2, bytes(16)) + wire.field(3, _LARGE)
    registrations["positions"] = own + _repeated(5, [wire.field(1, vni) + position for vni in range(1, _MANY)])
    mark = wire.field(1, _LARGE) + wire.field(2, _LARGE) + wire.field(3, os.urandom(32))
    registrations["history"] = own + wire.field(6, mark)
    return registrations


def _sayings(registration: bytes, names: list[str]) -> list[bytes]:
    """What it could say then, of the incarnation that it has registered with."""
    own = wire.field(1, wire.part(registration, 1))
    named = [
        wire.field(1, name.encode()) + wire.field(2, suite) + wire.field(3, spi)
        for name in names
        for suite in _SUITES
        for spi in (0, 1, _LAST)
    ]
    used = [one + wire.field(4, _LARGE) + wire.field(5, _LARGE) for one in named]
    # An SPI of zero is refused with the whole message, and the session with it.
    proofs = [one + wire.field(4, 1) + wire.field(5, os.urandom(32)) for one in named if wire.fields(one)[3]]
    contribution = wire.field(1, os.urandom(200)) + wire.field(2, os.urandom(70)) + wire.field(3, os.urandom(500))
    return [
        wire.field(_READ_BACK, own + _repeated(2, named) + _repeated(3, named) + wire.field(4, _LARGE)),
        wire.field(_USE, own + _repeated(2, used)),
        wire.field(_REPORTED, wire.field(1, b"all-is-well") + wire.field(2, b"x" * 2000)),
        wire.field(_ANSWER, wire.field(1, _LAST) + wire.field(2, b'{"in_sync": true}')),
        wire.field(_NEWS, own + _repeated(3, proofs)),
        wire.field(_NEWS, own + wire.field(2, wire.field(1, contribution))),
        wire.field(_READ_BACK, own),
    ]


_Direction = tuple[str, str, str]
"""Sender, receiver, level."""


def _between_others(status: dict[str, Any]) -> dict[_Direction, set[str]]:
    """The SPIs that senders use, by direction."""
    found: dict[_Direction, set[str]] = {}
    for key in status["keys"]:
        if key["sender"] in _OTHERS and key["receiver"] in _OTHERS and key["state"] == "sending":
            found.setdefault((key["sender"], key["receiver"], key["level"]), set()).add(key["spi"])
    return found


async def _rotate(world: World, before: dict[_Direction, set[str]]) -> list[str]:
    """New keys between leaf1 and leaf2, while leaf3 lies; what is missing."""
    names = b"".join(wire.field(1, name.encode()) for name in _OTHERS)
    await world.operate("Rotate", names)
    deadline = asyncio.get_running_loop().time() + _REPLACED
    while asyncio.get_running_loop().time() < deadline:
        after = _between_others(await world.status())
        if len(after) == len(before) and all(not after[direction] & spis for direction, spis in before.items()):
            return []
        await asyncio.sleep(_POLL)
    return [f"keys between {' and '.join(_OTHERS)} were not replaced while {_LIAR} lied"]


async def _is_told(world: World) -> bool:
    """Whether operators hear of it: in a report, and in the status as long as leaf3 obeys not."""
    status = await world.status()
    return any((one["nve"], one["event"]) == (_LIAR, _REPORT) for one in status["reports"]) and any(
        one.startswith(f"{_LIAR}: its switch has not taken another incarnation") for one in status["not_ready"]
    )


async def insider_messages(world: World) -> Shot:
    """Every field, as wrong as its type allows, in one session after the other."""
    device = str(world.plane.device_file("nve", _LIAR))
    ends = [world.leaf(_LIAR).ends_with(world.leaf(name))[1] for name in _OTHERS]
    addresses = [ip_address(one).packed for one in ends]
    before = _between_others(await world.status())
    ended: Counter[str] = Counter()
    faults: list[str] = []
    liar = nve(world.leaf(_LIAR))
    await world.kill(liar)
    try:
        for what, registration in _registrations(addresses).items():
            first = base64.b64encode(wire.field(_REGISTRATION, registration)).decode()
            try:
                await world.intruder.call("pose", device=device, registration=first)
            except RemoteError:
                ended["refused"] += 1
                if what != "history":
                    faults.append(f"a registration that {what} was not taken at all")
                continue
            said = [base64.b64encode(one).decode() for one in _sayings(registration, [*_OTHERS, _LIAR, "nobody"])]
            ended.update(await world.intruder.call("say", said=said, timeout=120))
            if what in _UNBELIEVABLE and not await _is_told(world):
                faults.append(f"operators were not told that what {_LIAR} registers with {what}")
        faults += await _rotate(world, before)
    except LabError as error:
        faults.append(f"the {NVA} does not answer any more: {error}")
    finally:
        await world.intruder.call("leave")
        await world.start(liar)
    await world.until(lambda status: True, f"{_LIAR} has its agent again")
    return Shot(
        sum(ended.values()),
        0,
        faults=tuple(faults),
        refused=dict(ended),
        note="the others' keys were replaced meanwhile, and its own agent came back",
    )


ATTACKS = (
    Attack(
        "insider-messages",
        "control",
        "a stolen NVE says everything wrong that its certificate allows",
        frozenset(),
        insider_messages,
        frozenset(
            {
                "heard",
                "refused",
                "permission_denied",
                "failed_precondition",
                "invalid_argument",
                "resource_exhausted",
                "reset",
            }
        ),
    ),
)
