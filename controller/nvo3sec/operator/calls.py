# SPDX-License-Identifier: Apache-2.0
"""Every call of operators: its name on the wire, on the console, and what its request may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nvo3sec.errors import WireError
from nvo3sec.wire import checks, up
from nvo3sec.wire import nva_pb2 as pb
from nvo3sec.wire.up import Ask

FILE_BYTES = 2 << 20
"""Longest domain file, UTF-8."""
REQUEST_BYTES = FILE_BYTES + 1024
CLAIMS_LIMIT = 5000
"""In one answer: what a client takes in one message."""
NAME_LIMIT = 512

Check = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Call:
    """One call: `rpc` is its name on the wire. Its parameters are named as on the console."""

    rpc: str
    encode: Callable[..., bytes]
    decode: Callable[[bytes], Ask]


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


def _call(rpc: str, required: Mapping[str, Check] | None = None, optional: Mapping[str, Check] | None = None) -> Call:
    """A call whose request has a field for each parameter; one that is None is left out."""
    message = getattr(pb, f"{rpc}Request")
    needed = dict(required or {})
    fields = needed | dict(optional or {})

    def encode(**parameters: Any) -> bytes:
        return bytes(message(**{name: one for name, one in parameters.items() if one is not None}).SerializeToString())

    def decode(raw: bytes) -> Ask:
        request = checks.parse(message.FromString, raw, "request")
        for name in needed:
            if not request.HasField(name):
                raise WireError(f"request.{name}", "is missing")
        present = {name: check for name, check in fields.items() if request.HasField(name)}
        return Ask({name: check(getattr(request, name), f"request.{name}") for name, check in present.items()})

    return Call(rpc, encode, decode)


_SYSTEM: dict[str, Check] = {"mac": _named, "nve": _named}
_PLACE: dict[str, Check] = {"vn": _named, "port": _port, "vlan": _vlan}

CALLS: Mapping[str, Call] = {
    "status": Call("Status", up.encode_status, up.decode_status),
    "counters": Call("Counters", up.encode_counters, up.decode_counters),
    "reconcile": Call("Reconcile", up.encode_reconcile, up.decode_reconcile),
    "rotate": Call("Rotate", up.encode_rotate, up.decode_rotate),
    "revoke": Call("Revoke", up.encode_revoke, up.decode_revoke),
    "key_list": Call("KeyList", up.encode_key_list, up.decode_key_list),
    "key_audit": _call("KeyAudit", optional={"nve": _named}),
    "domain_show": _call("DomainShow"),
    "domain_diff": _call("DomainDiff", {"text": _file}),
    "domain_apply": _call("DomainApply", {"text": _file, "base": _base}),
    "vn_list": _call("VnList"),
    "vn_show": _call("VnShow", {"vn": _named}),
    "map_list": _call("MapList", optional={"vn": _named, "nve": _named, "frozen": _flag, "limit": _limit}),
    "map_admit": _call("MapAdmit", _SYSTEM, _PLACE),
    "map_evict": _call("MapEvict", _SYSTEM, _PLACE | {"successor": _named}),
    "reset_marks": _call("ResetMarks", {"nve": checks.label}),
    "authz_probe": _call("AuthzProbe", {"device": _named, "method": _named}, {"vn": _named}),
}
"""By the name of the console's method."""
