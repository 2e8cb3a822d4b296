# SPDX-License-Identifier: Apache-2.0
"""An operator shuts a stolen NVE out for good, while its switch and whoever owns it go on sending.

Nothing depends on the help of that NVE: its peers let go of it. The lab is another one afterwards, so this comes last.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from typing import Any

from nvo3lab.drill import messages as wire
from nvo3lab.drill.control_plane import copy_private
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.processes.control_plane import NVA
from nvo3lab.topology import ECHO_SIZES

_OUT = "leaf3"
_OUT_HOST, _PEER_HOST = "blue3", "blue2"
_PEERS = {"leaf1": "blue1", "leaf2": "blue2"}
_FORGED, _RECORDED = 40, 20
_ATTEMPTS = 3
_STREAM = "until revoked"
_INTERVAL = {"embedded": 0.01, "bmv2": 0.05}
_CONNECT = "/nvo3sec.v1.Nva/Connect"


async def _connect(world: World, device: str) -> Counter[str]:
    """Attempts to be taken for the agent of the NVE that is out."""
    request = base64.b64encode(wire.field(1, wire.field(1, os.urandom(16)))).decode()
    return Counter(
        await world.intruder.call(
            "call", device=device, rpc=_CONNECT, requests=[request] * _ATTEMPTS, stream=True, timeout=120
        )
    )


def _is_out(status: dict[str, Any]) -> bool:
    return any(
        switch["nve"] == _OUT and switch["excluded"] and not switch["registered"] for switch in status["switches"]
    ) and not any(_OUT in (key["sender"], key["receiver"]) for key in status["keys"])


async def revocation(world: World) -> Shot:
    """`nvo3sec keys revoke` while the NVE sends: with its switch, recordings, and keys read out of its switch."""
    stolen = {leaf: await world.steal(_OUT, leaf) for leaf in _PEERS}
    device = str(world.plane.directory / f"{_OUT}-out.pem")
    await asyncio.to_thread(copy_private, world.plane.device_file("nve", _OUT), device)
    passed = await world.catch(_OUT_HOST, _PEER_HOST, _RECORDED, withhold=False)
    withheld = await world.catch(_OUT_HOST, _PEER_HOST, _RECORDED, withhold=True)
    host = world.view.hosts[_OUT_HOST]
    await host.call(
        "stream_start",
        stream=_STREAM,
        destination=world.host(_PEER_HOST).ip,
        interval=_INTERVAL[world.view.target],
        sizes=ECHO_SIZES[:1],
    )
    await host.call("stream_begin", stream=_STREAM)
    answer = await world.plane.ask("keys", "revoke", _OUT, "--yes")
    # The command has returned, so nothing of it is taken any more, by anybody.
    sent = await world.into_underlay(world.topology.leaf_of(_PEER_HOST).name, passed + withheld)
    for leaf, victim in _PEERS.items():
        frames = [world.marked_frame(_OUT_HOST, world.host(victim), number) for number in range(_FORGED)]
        forged = await world.forge(stolen[leaf], world.vni("blue"), frames)
        sent += await world.into_underlay(leaf, forged)
    echoes = await host.call("stream_stop", stream=_STREAM)
    faults = () if echoes["received"] else (f"{_OUT_HOST} did not reach {_PEER_HOST} before the revocation either",)
    refused = await _connect(world, device)
    await world.plane.pki("renew", "nve", _OUT)  # a good certificate is not enough
    refused.update(await _connect(world, str(world.plane.device_file("nve", _OUT))))
    await world.kill(NVA)
    await world.start(NVA)
    await world.until(_is_out, f"the NVA is back, and {_OUT} still out")
    refused.update(await _connect(world, str(world.plane.device_file("nve", _OUT))))
    lost = echoes["sent"] - echoes["received"]
    accepted = refused.pop("ok", 0)
    last = "none" if echoes["last_s"] is None else f"{echoes['last_s']:.2f} s"
    return Shot(
        sent + lost + sum(refused.values()),
        sent,
        bait=len(passed),
        faults=faults,
        refused=dict(refused),
        accepted=accepted,
        note=f"cut off at all others {answer['cut_off_s'] * 1000:.0f} ms after the NVA was told; the last"
        f" packet passed {last} after the command line began",
    )


ATTACKS = (
    Attack(
        "revocation",
        "keys",
        "an NVE is revoked for good and goes on sending with all that it had",
        frozenset({"UNAUTHORIZED_NVE", "NO_SA"}),
        revocation,
        frozenset({"permission_denied", "reset"}),
        is_final=True,
    ),
)
