# SPDX-License-Identifier: Apache-2.0
"""Every call of operators, in one row: its name, what its request may hold, how often it may be made. Its name on the
wire and the bytes there, its row in the table of access and its name on the console follow from that."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.errors import WireError
from nvo3sec.identity.gate.limits import MethodLimits
from nvo3sec.wire import checks
from nvo3sec.wire import nva_pb2 as pb

SERVICE = "nvo3sec.v1.Operator"
FILE_BYTES = 2 << 20
"""Longest domain file, UTF-8."""
REQUEST_BYTES = FILE_BYTES + 1024
CLAIMS_LIMIT = 5000
"""In one answer: what a client takes in one message."""
NAME_LIMIT = 512
WAIT_LIMIT_S = 600.0

LIMITS = MethodLimits(calls=Rate(50, 200), messages=Rate(50, 200), concurrent=16, message_bytes=65536)
FILE_LIMITS = MethodLimits(calls=Rate(2, 20), messages=Rate(2, 20), concurrent=2, message_bytes=REQUEST_BYTES)
"""Of domain files: to read a large one takes seconds."""

Check: TypeAlias = Callable[[Any, str], Any]
"""Of a value and the name of its field. Raises WireError."""
Method: TypeAlias = Callable[..., Awaitable[Any]]
"""What answers a call: takes its parameters by name."""


@dataclass(frozen=True)
class Ask:
    """What an operator asks: keyword arguments of a method."""

    parameters: dict[str, Any]


class Presence(Enum):
    """What a field that is not in the request means."""

    NEEDED = "needed"
    """That it is refused."""
    OPTIONAL = "optional"
    """That the parameter was not given."""
    PLAIN = "plain"
    """Its empty value: it cannot be told whether it was left out."""


@dataclass(frozen=True)
class Field:
    """One field of a request, which is one parameter of the method."""

    presence: Presence
    check: Check


@dataclass(frozen=True)
class Call:
    """One call. name: on the console, and of the method that answers. looks: it changes nothing."""

    name: str
    fields: Mapping[str, Field]
    limits: MethodLimits = LIMITS
    looks: bool = False

    @property
    def rpc(self) -> str:
        """Its name on the wire: `key_list` is KeyList."""
        return self.name.title().replace("_", "")

    @property
    def path(self) -> str:
        """The same in full."""
        return f"/{SERVICE}/{self.rpc}"

    def encode(self, **parameters: Any) -> bytes:
        """The request. A parameter that is None is left out."""
        given = {name: one for name, one in parameters.items() if one is not None}
        return bytes(getattr(pb, f"{self.rpc}Request")(**given).SerializeToString())

    def decode(self, raw: bytes) -> Ask:
        """The parameters of a request. Raises WireError."""
        request = checks.parse(getattr(pb, f"{self.rpc}Request").FromString, raw, "request")
        found = {}
        for name, field in self.fields.items():
            if field.presence is Presence.PLAIN or request.HasField(name):
                found[name] = field.check(getattr(request, name), f"request.{name}")
            elif field.presence is Presence.NEEDED:
                raise WireError(f"request.{name}", "is missing")
        return Ask(found)


def _named(value: str, field: str) -> str:
    return checks.text(value, field, NAME_LIMIT)


def _file(value: str, field: str) -> str:
    if len(value.encode()) > FILE_BYTES:
        raise WireError(field, f"must have at most {FILE_BYTES} bytes")
    return value


def _base(value: str, field: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise WireError(field, "must be 64 hexadecimal digits")
    return value


def _port(value: int, field: str) -> int:
    return checks.number(value, field, 0, checks.PORT_LIMIT)


def _vlan(value: int, field: str) -> int:
    return checks.number(value, field, 0, checks.VLAN_LIMIT)


def _limit(value: int, field: str) -> int:
    return checks.number(value, field, 1, CLAIMS_LIMIT)


def _flag(value: bool, _field: str) -> bool:
    return value


def _wait(value: float, field: str) -> float:
    seconds = checks.seconds(value, field)
    if seconds > WAIT_LIMIT_S:
        raise WireError(field, f"must be at most {WAIT_LIMIT_S:g}")
    return seconds


def _some_nve(value: str, field: str) -> str | None:
    return checks.label(value, field) if value else None


def _nves(value: Any, field: str) -> list[str]:
    return list(checks.items(value, field, checks.label))


def _needed(check: Check) -> Field:
    return Field(Presence.NEEDED, check)


def _optional(check: Check) -> Field:
    return Field(Presence.OPTIONAL, check)


def _plain(check: Check) -> Field:
    return Field(Presence.PLAIN, check)


_TUNNELS = {"nves": _plain(_nves), "vn": _optional(checks.label)}
"""The tunnels between NVEs, and of these those that carry a VN."""
_SYSTEM = {"mac": _needed(_named), "nve": _needed(_named)}
_PLACE = {"vn": _optional(_named), "port": _optional(_port), "vlan": _optional(_vlan)}
_PROBED = {"device": _needed(_named), "method": _needed(_named), "vn": _optional(_named)}
_CHOSEN = {"vn": _optional(_named), "nve": _optional(_named), "frozen": _optional(_flag), "limit": _optional(_limit)}

CALLS: Mapping[str, Call] = {
    call.name: call
    for call in (
        Call("status", {"wait_s": _plain(_wait)}, looks=True),
        Call("counters", {"nve": _plain(_some_nve)}, looks=True),
        Call("reconcile", {"nve": _plain(_some_nve), "dry_run": _plain(_flag)}),
        Call("rotate", _TUNNELS),
        Call("revoke", {"nve": _plain(checks.label)}),
        Call("key_list", _TUNNELS, looks=True),
        Call("key_audit", {"nve": _optional(_named)}, looks=True),
        Call("domain_show", {}, looks=True),
        Call("domain_diff", {"text": _needed(_file)}, FILE_LIMITS, looks=True),
        Call("domain_apply", {"text": _needed(_file), "base": _needed(_base)}, FILE_LIMITS),
        Call("vn_list", {}, looks=True),
        Call("vn_show", {"vn": _needed(_named)}, looks=True),
        Call("map_list", _CHOSEN, looks=True),
        Call("map_admit", _SYSTEM | _PLACE),
        Call("map_evict", _SYSTEM | _PLACE | {"successor": _optional(_named)}),
        Call("authz_probe", _PROBED, looks=True),
        Call("reset_marks", {"nve": _needed(checks.label)}),
    )
}
"""By name."""


def answered_by(room: object) -> dict[str, Method]:
    """The methods of `room` that answer calls, by name."""
    return {name: getattr(room, name) for name in CALLS if hasattr(room, name)}
