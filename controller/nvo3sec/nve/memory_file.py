# SPDX-License-Identifier: Apache-2.0
"""What an agent remembers, as the JSON of its file: each field is what the agent writes, or the file is refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from nvo3sec.domain.keys.derivation import INCARNATION_BYTES
from nvo3sec.domain.messages.session import DIGEST_BYTES, Attachment, StoreMark
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac, parse_ip, parse_unicast_mac
from nvo3sec.domain.overlay.constants import PORT_DROP
from nvo3sec.domain.overlay.model import LAST_VLAN, LAST_VNI

FORMAT = 1
LAST_GENERATION = (1 << 32) - 1
LAST_VERSION = (1 << 63) - 1
LAST_PORT = PORT_DROP

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OPTIONAL = {"digest", "incarnation", "generation", "peer_keys", "mixed_only"}
"""What files from before these were remembered do not have."""
_FIELDS = {"format", "nve", "term", "version", "attachments"} | _OPTIONAL
_ATTACHMENT = {"port", "vlan", "vni", "mac", "ips", "host", "vn"}


@dataclass(frozen=True)
class Remembered:
    """What is in a file: see `AgentMemory`."""

    attachments: tuple[Attachment, ...]
    mark: StoreMark
    incarnation: bytes
    generation: int
    peer_keys: bool = False
    mixed_only: bytes = b""


def to_json(nve: str, remembered: Remembered) -> dict[str, Any]:
    """What is written."""
    return {
        "format": FORMAT,
        "nve": nve,
        "term": remembered.mark.term,
        "version": remembered.mark.version,
        "digest": remembered.mark.digest.hex(),
        "incarnation": remembered.incarnation.hex(),
        "generation": remembered.generation,
        "peer_keys": remembered.peer_keys,
        "mixed_only": remembered.mixed_only.hex(),
        "attachments": [_attachment_out(one) for one in remembered.attachments],
    }


def parse(raw: bytes, nve: str) -> Remembered:
    """What is read. Raises ValueError, which says where the file is wrong and what is allowed there."""
    try:
        content = json.loads(raw)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: is no JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise ValueError("is no JSON that an agent writes") from None
    _fields(content, "the file", _FIELDS, _OPTIONAL)
    _whole(content["format"], "format", FORMAT, FORMAT)
    if content["nve"] != nve:
        raise ValueError(f"nve: must be {nve!r}")
    if not isinstance(content["attachments"], list):
        raise ValueError("attachments: must be a list")
    mark = StoreMark(
        _whole(content["term"], "term", 0, LAST_VERSION),
        _whole(content["version"], "version", 0, LAST_VERSION),
        _octets(content.get("digest", ""), "digest", DIGEST_BYTES),
    )
    attachments = tuple(_attachment(one, f"attachments[{index}]") for index, one in enumerate(content["attachments"]))
    incarnation = _octets(content.get("incarnation", ""), "incarnation", INCARNATION_BYTES)
    return Remembered(
        attachments,
        mark,
        incarnation,
        _whole(content.get("generation", 0), "generation", 0, LAST_GENERATION),
        _truth(content.get("peer_keys", False), "peer_keys"),
        _octets(content.get("mixed_only", ""), "mixed_only", INCARNATION_BYTES),
    )


def _attachment_out(one: Attachment) -> dict[str, Any]:
    return {
        "port": one.port,
        "vlan": one.vlan,
        "vni": one.vni,
        "mac": format_mac(one.mac),
        "ips": [str(ip) for ip in one.ips],
        "host": one.host,
        "vn": one.vn,
    }


def _attachment(one: Any, field: str) -> Attachment:
    _fields(one, field, _ATTACHMENT, {"vn"})  # before VNs had names here, there was none
    if not isinstance(one["ips"], list):
        raise ValueError(f"{field}.ips: must be a list")
    return Attachment(
        port=_whole(one["port"], f"{field}.port", 0, LAST_PORT),
        vlan=_whole(one["vlan"], f"{field}.vlan", 0, LAST_VLAN),
        vni=_whole(one["vni"], f"{field}.vni", 1, LAST_VNI),
        mac=_mac(one["mac"], f"{field}.mac"),
        ips=tuple(_ip(ip, f"{field}.ips[{index}]") for index, ip in enumerate(one["ips"])),
        host=_label(one["host"], f"{field}.host"),
        vn=_label(one.get("vn", ""), f"{field}.vn"),
    )


def _fields(value: Any, where: str, names: set[str], optional: set[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be an object")
    for name in sorted(names - optional - value.keys()):
        raise ValueError(f"{where}: {name} is missing")
    for name in sorted(value.keys() - names):
        raise ValueError(f"{where}: there is no field {name!r}; there are: {', '.join(sorted(names))}")


def _whole(value: Any, field: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{field}: must be a whole number from {low} to {high}")
    return value


def _truth(value: Any, field: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{field}: must be true or false")
    return value


def _octets(value: Any, field: str, length: int) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"([0-9a-f]{{{2 * length}}})?", value):
        raise ValueError(f"{field}: must be {2 * length} hexadecimal digits in lower case, or nothing")
    return bytes.fromhex(value)


def _label(value: Any, field: str) -> str:
    if not isinstance(value, str) or not (value == "" or _LABEL.fullmatch(value)):
        raise ValueError(f"{field}: must be a DNS label in lower case, or nothing")
    return value


def _mac(value: Any, field: str) -> int:
    try:
        return parse_unicast_mac(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _ip(value: Any, field: str) -> IpAddress:
    try:
        return parse_ip(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
