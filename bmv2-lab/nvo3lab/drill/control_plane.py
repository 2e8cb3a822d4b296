# SPDX-License-Identifier: Apache-2.0
"""Attacks on the control plane: strangers and thieves at the NVA's port, and an NVE that is revoked.

How an attempt ended is what the attacker saw: an alert of TLS, a status of gRPC, or a closed connection.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nvo3lab import domain_file
from nvo3lab.drill.drops import DropCounters
from nvo3lab.drill.messages import field
from nvo3lab.drill.model import CLOSED, Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.processes import control_plane as control

_ATTEMPTS = 5
_INSIDER = "leaf3"
_INSIDER_HOST, _PEER_HOST = "blue3", "blue2"
_FOREIGN_VN = "red"

_CONNECT = "/nvo3sec.v1.Nva/Connect"
_RENEW = "/nvo3sec.v1.Nva/RenewLease"
_LOOK_UP = "/nvo3sec.v1.Nva/LookUp"
_OPERATOR = tuple(f"/nvo3sec.v1.Operator/{name}" for name in ("Status", "Counters", "Reconcile", "Rotate"))
_STRANGER = "127.0.0.66"
"""Addresses of the loopback interface that nobody else uses: floods of one must not be charged to others."""
_REVOKED_WITHIN = 8.0
"""Seconds within which a revoked device must be gone, and by which a switch may be later than its lease."""
_LATE = 3.0
_PACKETS = 20


def _shot(ended: dict[str, int], note: str = "", faults: tuple[str, ...] = ()) -> Shot:
    """What came of attempts, by how each ended."""
    sent = sum(ended.values())
    accepted = ended.pop("ok", 0) + ended.pop("accepted", 0)
    return Shot(sent, 0, note=note, faults=faults, refused=ended, accepted=accepted)


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _b64(*bodies: bytes) -> list[str]:
    return [base64.b64encode(body).decode() for body in bodies]


def _registration() -> bytes:
    return field(1, field(1, os.urandom(16)))


def _look_up(vni: int) -> bytes:
    return field(1, os.urandom(16)) + field(2, vni) + field(3, 0x020000000101)


async def _no_certificate(world: World) -> Shot:
    intruder = world.intruder
    return _shot(await intruder.call("handshake", count=_ATTEMPTS, timeout=120))


async def _foreign_authority(world: World) -> Shot:
    plane, intruder = world.plane, world.intruder
    stolen = plane.device_file("nve", world.topology.leaves[0].name, foreign=True)
    return _shot(await intruder.call("handshake", count=_ATTEMPTS, device=str(stolen), timeout=120))


async def _old_version(world: World) -> Shot:
    plane, intruder = world.plane, world.intruder
    device = str(plane.device_file("nve", _INSIDER))
    return _shot(await intruder.call("handshake", count=_ATTEMPTS, device=device, version="TLSv1_2", timeout=120))


async def _garbage(world: World) -> Shot:
    intruder = world.intruder
    payloads = [
        os.urandom(2000),
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(500),
        bytes.fromhex("16030100ff01") + os.urandom(600),
        bytes(3000),
        bytes.fromhex("160301ffff") + os.urandom(5000),
    ]
    found = await intruder.call("garbage", payloads=_b64(*payloads), source=_STRANGER, timeout=120)
    faults: tuple[str, ...] = ()
    if found["received"] > found["sent"]:
        faults = (f"{found['received']} bytes came back for {found['sent']}",)
    return _shot(found["ended"], f"{found['sent']} bytes sent, {found['received']} came back", faults)


async def _wrong_role(world: World) -> Shot:
    """Valid devices of this domain, each at the methods of another role."""
    plane, intruder = world.plane, world.intruder
    ended = []
    for role, name in (("hypervisor", control.HYPERVISOR), ("operator", control.OPERATOR), ("nva", control.NVA_NAME)):
        device = str(plane.device_file(role, name))
        ended.append(
            await intruder.call(
                "call", device=device, rpc=_CONNECT, requests=_b64(_registration()), stream=True, timeout=120
            )
        )
        for method, request in ((_RENEW, field(1, os.urandom(16))), (_LOOK_UP, _look_up(world.vni(_FOREIGN_VN)))):
            ended.append(await intruder.call("call", device=device, rpc=method, requests=_b64(request), timeout=120))
        if role != "operator":
            for method in _OPERATOR:
                ended.append(await intruder.call("call", device=device, rpc=method, requests=_b64(b""), timeout=120))
    return _shot(_sum(*ended))


async def _nve_as_operator(world: World) -> Shot:
    plane, intruder = world.plane, world.intruder
    device = str(plane.device_file("nve", _INSIDER))
    before = _spis(await world.status())
    ended = [
        await intruder.call("call", device=device, rpc=method, requests=_b64(b""), timeout=120)
        for method in (*_OPERATOR, "/nvo3sec.v1.Nva/NoSuchMethod")
    ]
    after = _spis(await world.status())
    return _shot(_sum(*ended), faults=() if before == after else ("keys were rotated",))


def _spis(status: dict[str, object]) -> set[str]:
    keys = status["keys"]
    return {key["spi"] for key in keys} if isinstance(keys, list) else set()


async def _foreign_vn(world: World) -> Shot:
    plane, intruder = world.plane, world.intruder
    device = str(plane.device_file("nve", _INSIDER))
    requests = _b64(*(_look_up(world.vni(_FOREIGN_VN)) for _ in range(_ATTEMPTS)))
    return _shot(await intruder.call("call", device=device, rpc=_LOOK_UP, requests=requests, timeout=120))


async def _malformed(world: World) -> Shot:
    """Nothing of it is a message; the session that the NVE really has must not notice."""
    plane, intruder = world.plane, world.intruder
    device = str(plane.device_file("nve", _INSIDER))
    bodies = [
        os.urandom(100),
        b"",
        field(1, field(1, bytes(16))),
        field(1, field(1, os.urandom(17))),
        field(1, field(1, os.urandom(16)) + field(2, field(2, 99))),
    ]
    return _shot(
        await intruder.call("call", device=device, rpc=_CONNECT, requests=_b64(*bodies), stream=True, timeout=120)
    )


async def _revoked(world: World) -> Shot:
    """The authority revokes an NVE while it works: it is out at once, and its switch is closed when its lease ends."""
    plane, intruder = world.plane, world.intruder
    faults = []
    old = str(plane.directory / f"{_INSIDER}-stolen.pem")
    await asyncio.to_thread(copy_private, plane.device_file("nve", _INSIDER), old)
    await plane.pki("revoke", "nve", _INSIDER, "--yes")
    began = time.monotonic()
    try:
        while _INSIDER in _registered(await world.status()):
            if time.monotonic() - began > _REVOKED_WITHIN + domain_file.LIFETIMES["lease_s"]:
                break
        out = time.monotonic() - began
        if out > _REVOKED_WITHIN:
            faults.append(f"its session ended {out:.1f} s after the revocation")
        # At the same time: when the switch closes is to be seen when it happens, however long the refusals take.
        refused, (lost, unanswered, was_open, closed) = await asyncio.gather(
            intruder.call(
                "call",
                device=old,
                rpc=_CONNECT,
                requests=_b64(*[_registration()] * _ATTEMPTS),
                stream=True,
                timeout=120,
            ),
            _until_closed(world, began),
        )
        if was_open > out + domain_file.LIFETIMES["lease_s"] + _LATE:
            faults.append(f"its switch was still open {was_open:.1f} s after the revocation")
        destination = world.host(_PEER_HOST)
        frames = [world.marked_frame(_INSIDER_HOST, destination, number) for number in range(_PACKETS)]
        sent = await world.from_host(_INSIDER_HOST, frames)
    finally:
        await plane.pki("renew", "nve", _INSIDER)
    await _until_back(world)
    shot = _shot(refused, f"out after {out:.1f} s, closed after {closed:.1f} s", tuple(faults))
    return Shot(
        shot.sent + sent + unanswered,
        sent + lost,
        note=shot.note,
        faults=shot.faults,
        refused=shot.refused,
        accepted=shot.accepted,
    )


def copy_private(source: os.PathLike[str], target: str) -> None:
    """Copy a file with a key in it."""
    with open(source, "rb") as found, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(found.read())


def _registered(status: dict[str, Any]) -> set[str]:
    return {switch["nve"] for switch in status["switches"] if switch["registered"]}


async def _until_closed(world: World, began: float) -> tuple[int, int, float, float]:
    """Echoes until the switch refuses them for its lease.

    Returns how many it refused, how many were not answered (its peers refuse what they do not take from it any more),
    and two times since `began`: of the last echo that it did not refuse, and when it was seen to refuse one.

    What says that a switch is closed is its counter. An echo without an answer may only be late.
    """
    host, destination = world.view.hosts[_INSIDER_HOST], world.host(_PEER_HOST).ip
    leaf = world.leaf(_INSIDER)
    counters = DropCounters({_INSIDER: (world.view.switches[_INSIDER], leaf.device_id)})
    try:
        before = await _refused_for_lease(counters)
        unanswered, was_open = 0, 0.0
        deadline = time.monotonic() + domain_file.LIFETIMES["lease_s"] + _REVOKED_WITHIN + _LATE
        while time.monotonic() < deadline:
            sent_at = time.monotonic()
            answer = await host.call("ping", destination=destination, count=1)
            unanswered += answer["sent"] - answer["received"]
            if not answer["received"] and (refused := await _refused_for_lease(counters) - before):
                return refused, unanswered, was_open, time.monotonic() - began
            was_open = sent_at - began
            await asyncio.sleep(0.1)
    finally:
        counters.close()
    raise LabError(f"{_INSIDER} was revoked, and its switch still sends")


async def _refused_for_lease(counters: DropCounters) -> int:
    return sum(count for (_leaf, reason), count in (await counters.read()).items() if reason in CLOSED)


async def _until_back(world: World) -> None:
    # Nothing is ready while it is suspended, and it is back with its next session.
    await world.until(
        lambda status: not any(switch["excluded"] for switch in status["switches"] if switch["nve"] == _INSIDER),
        f"{_INSIDER} is back",
    )
    answer = await world.view.hosts[_INSIDER_HOST].call("ping", destination=world.host(_PEER_HOST).ip, count=2)
    if not answer["received"]:
        raise LabError(f"{_INSIDER} has a new certificate, and its tenants do not reach anybody")


def _attack(
    name: str,
    summary: str,
    refusals: set[str],
    launch: Callable[[World], Awaitable[Shot]],
    reasons: frozenset[str] = frozenset(),
) -> Attack:
    return Attack(f"control-{name}", "control", summary, reasons, launch, frozenset(refusals))


ATTACKS = (
    _attack(
        "no-certificate",
        "TLS to the NVA without a certificate",
        {"tlsv13 alert certificate required", "closed"},
        _no_certificate,
    ),
    _attack(
        "foreign-authority",
        "a certificate with the right names, by another authority",
        {"tlsv1 alert unknown ca", "closed"},
        _foreign_authority,
    ),
    _attack(
        "old-version",
        "TLS 1.2 with a stolen NVE's certificate",
        {"tlsv1 alert protocol version", "closed"},
        _old_version,
    ),
    _attack("garbage", "noise, HTTP, and broken handshakes on the port", {"closed"}, _garbage),
    _attack(
        "wrong-role",
        "hypervisor, operator and NVA at methods that are not theirs",
        {"permission_denied", "reset"},
        _wrong_role,
    ),
    _attack(
        "nve-as-operator",
        "a stolen NVE rotates keys, reads and changes switches",
        {"permission_denied"},
        _nve_as_operator,
    ),
    _attack(
        "foreign-vn", "a stolen NVE looks up tenants of a VN that it does not serve", {"permission_denied"}, _foreign_vn
    ),
    _attack("malformed", "a stolen NVE sends what is no message", {"invalid_argument", "reset"}, _malformed),
    _attack(
        "revoked",
        "an NVE is revoked while it works: out within seconds, its switch closed with its lease",
        {"unauthenticated", "reset"},
        _revoked,
        CLOSED | {"UNAUTHORIZED_NVE"},
    ),
)
