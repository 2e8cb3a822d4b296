# SPDX-License-Identifier: Apache-2.0
"""What outlives every process of the controller, as bytes: switches, what agents remember, what was observed."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import model_switch
from model_world import World

_OF_SWITCH = (
    "running",
    "life",
    "booted_at",
    "has_pipeline",
    "entries",
    "defaults",
    "groups",
    "used",
    "ingress_incarnation",
    "egress_incarnation",
    "sequence",
    "rings",
)
_OF_OBSERVER = ("keys", "seen_by", "shut_out", "left_vn", "floors", "_used", "_accepted")
_OF_WORLD = (
    "revoked",
    "being_revoked",
    "suspended",
    "absent",
    "readdressed",
    "levels",
    "held",
    "recorded",
    "under_way",
)


def dump(world: World) -> bytes:
    """All of it, at this moment."""
    content: dict[str, Any] = {
        "moment": world.loop.moment,
        "random": world.random.getstate(),
        "serial": next(model_switch._serial),
        "world": {name: getattr(world, name) for name in _OF_WORLD},
        "observer": {name: getattr(world.observer, name) for name in _OF_OBSERVER},
        "switches": {
            name: {part: getattr(site.switch, part) for part in _OF_SWITCH} for name, site in world.sites.items()
        },
        "memories": {name: (site.memory.attachments, site.memory.mark) for name, site in world.sites.items()},
    }
    return pickle.dumps(content)


def restore(world: World, dumped: bytes) -> None:
    """Put it into a world in which nobody has started yet."""
    content = pickle.loads(dumped)  # noqa: S301  # written by the function above
    world.loop.moment = content["moment"]
    world.random.setstate(content["random"])
    model_switch._serial = itertools.count(content["serial"])
    for name, value in content["world"].items():
        setattr(world, name, value)
    for name, value in content["observer"].items():
        setattr(world.observer, name, value)
    for name, parts in content["switches"].items():
        for part, value in parts.items():
            setattr(world.sites[name].switch, part, value)
    for name, (attachments, mark) in content["memories"].items():
        world.sites[name].memory.attachments, world.sites[name].memory.mark = attachments, mark
