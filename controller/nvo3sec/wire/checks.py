# SPDX-License-Identifier: Apache-2.0
"""What a field may hold. Each function returns the value, or raises WireError with the name of the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from nvo3sec.domain.keys.derivation import INCARNATION_BYTES, KEY_BYTES
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import DIGEST_BYTES, Position, StoreMark
from nvo3sec.domain.overlay.addresses import IpAddress, UnderlayAddress, underlay_fault
from nvo3sec.domain.overlay.constants import PORT_DROP
from nvo3sec.domain.overlay.model import LAST_VLAN, LAST_VNI, Level, Rate, Suite
from nvo3sec.domain.overlay.names import is_label
from nvo3sec.errors import WireError
from nvo3sec.wire import nva_pb2 as pb

T = TypeVar("T")

UINT32 = 2**32 - 1
VERSION_LIMIT = 2**63 - 1
VNI_LIMIT = LAST_VNI
MAC_LIMIT = 2**48 - 1
VLAN_LIMIT = LAST_VLAN
PORT_LIMIT = PORT_DROP
MTU_LIMIT = 65535
SECONDS_LIMIT = 10 * 366 * 86400.0
SESSION_BYTES = 16
HISTORY_BYTES = 16
MARKS_LIMIT = 4
MARK_BYTES = 60
"""Of one mark at its largest, as a field of a message."""
ITEMS_LIMIT = 65536
"""Entries of a list: above the sizes of all tables of a switch."""

LEVELS = {Level.INTEGRITY: pb.LEVEL_INTEGRITY, Level.CONFIDENTIALITY: pb.LEVEL_CONFIDENTIALITY}
SUITES = {Suite.CHASKEY12: pb.SUITE_CHASKEY12, Suite.ASCON_AEAD128: pb.SUITE_ASCON_AEAD128}


def number(value: int, field: str, low: int, high: int) -> int:
    """An integer within both ends."""
    if not low <= value <= high:
        raise WireError(field, f"must be from {low} to {high}")
    return int(value)


def seconds(value: float, field: str, low: float = 0.0) -> float:
    """A finite time of at most ten years."""
    if not (math.isfinite(value) and low <= value <= SECONDS_LIMIT):
        raise WireError(field, f"must be a time from {low:g} to {SECONDS_LIMIT:g} seconds")
    return float(value)


def label(value: str, field: str) -> str:
    """A DNS label, which is what NVEs, VNs and tenant systems are called."""
    if not is_label(value):
        raise WireError(field, "must be a DNS label in lower case")
    return value


def optional_label(value: str, field: str) -> str:
    """A DNS label, or nothing."""
    return label(value, field) if value else ""


def text(value: str, field: str, limit: int) -> str:
    """Printable text: what comes from elsewhere and is shown to people must not steer their terminals."""
    if len(value) > limit:
        raise WireError(field, f"must have at most {limit} characters")
    if not value.isprintable():
        raise WireError(field, "must be printable")
    return value


def exactly(value: bytes, field: str, length: int) -> bytes:
    """Bytes of one length."""
    if len(value) != length:
        raise WireError(field, f"must have {length} bytes")
    return bytes(value)


def incarnation(value: bytes, field: str) -> bytes:
    """An incarnation: never all zero, which is what a switch without one has."""
    if not any(value):
        raise WireError(field, "must not be zero")
    return exactly(value, field, INCARNATION_BYTES)


def position(message: Any, field: str) -> Position:
    """The position that the fields `history` and `version` of a message name."""
    return Position(
        exactly(message.history, f"{field}.history", HISTORY_BYTES),
        number(message.version, f"{field}.version", 0, VERSION_LIMIT),
    )


def mark(message: Any, field: str) -> StoreMark:
    """How far a store had come: the fields `term`, `version` and `digest` of a message."""
    return StoreMark(
        number(message.term, f"{field}.term", 0, VERSION_LIMIT),
        number(message.version, f"{field}.version", 0, VERSION_LIMIT),
        exactly(message.digest, f"{field}.digest", DIGEST_BYTES) if message.digest else b"",
    )


def marks(values: Collection[Any], field: str) -> tuple[StoreMark, ...]:
    """What somebody remembers of that."""
    if len(values) > MARKS_LIMIT:
        raise WireError(field, f"must have at most {MARKS_LIMIT} entries")
    return items(values, field, mark)


def marks_out(marks: Iterable[StoreMark]) -> list[Any]:
    """The same as messages."""
    return [pb.StoreMark(term=one.term, version=one.version, digest=one.digest) for one in marks]


def key(message: Any, field: str) -> Secret | None:
    """The key of an SA, or None where there is none."""
    if not message.HasField("key"):
        return None
    if len(message.key) != KEY_BYTES:
        raise WireError(field, f"must have {KEY_BYTES} bytes")
    return Secret(message.key)


def chosen(value: int, field: str, choices: Mapping[T, int]) -> T:
    """What an enumeration's number stands for."""
    for choice, known in choices.items():
        if known == value:
            return choice
    raise WireError(field, "is not a value of this enumeration")


def level(value: int, field: str) -> Level:
    """A level of protection."""
    return chosen(value, field, LEVELS)


def suite(value: int, field: str) -> Suite:
    """A cipher suite."""
    return chosen(value, field, SUITES)


def ip(value: bytes, field: str) -> IpAddress:
    """An IPv4 or an IPv6 address, by its length: an IPv4 address has 4 bytes, and no other form."""
    if len(value) == 4:
        return IPv4Address(value)
    if len(value) != 16:
        raise WireError(field, "must have 4 or 16 bytes")
    address = IPv6Address(bytes(value))
    if address.ipv4_mapped is not None:
        raise WireError(field, "is an IPv4 address in the form of IPv6")
    return address


def underlay(value: bytes, field: str) -> UnderlayAddress:
    """The address of an NVE."""
    address = ip(value, field)
    if underlay_fault(address) is not None:
        raise WireError(field, "is no address that an NVE can have")
    return address


def other_underlay(message: Any, field: str) -> UnderlayAddress | None:
    """The field `other_address` of a message, beside its `address`; None where it is empty."""
    if not message.other_address:
        return None
    address = underlay(message.other_address, f"{field}.other_address")
    if len(message.other_address) == len(message.address):
        raise WireError(f"{field}.other_address", "must be of the other family than address")
    return address


def mac(value: int, field: str) -> int:
    """A MAC address."""
    return number(value, field, 0, MAC_LIMIT)


def rate(message: Any, name: str, field: str, unsaid: Rate | None = None) -> Rate:
    """The rate in the field `name` of a message. unsaid: what its absence means; None: it must be there."""
    if unsaid is not None and not message.HasField(name):
        return unsaid
    found = required(message, name, field)
    return Rate(
        number(found.per_second, f"{field}.per_second", 0, UINT32), number(found.burst, f"{field}.burst", 0, UINT32)
    )


def required(message: Any, name: str, field: str) -> Any:
    """The message in the field `name`."""
    if not message.HasField(name):
        raise WireError(field, "is missing")
    return getattr(message, name)


def which(message: Any, field: str) -> str:
    """Which of the alternatives a message has."""
    found = message.WhichOneof("what")
    if found is None:
        raise WireError(field, "has none of its alternatives, or one that is not known here")
    return str(found)


def items(values: Collection[Any], field: str, convert: Callable[[Any, str], T]) -> tuple[T, ...]:
    """A list, each entry converted."""
    if len(values) > ITEMS_LIMIT:
        raise WireError(field, f"must have at most {ITEMS_LIMIT} entries")
    # One by one: to have all of a long list as objects first takes tens of milliseconds, in which no other thread runs.
    return tuple(convert(value, f"{field}[{index}]") for index, value in enumerate(values))


def parse(kind: Callable[[bytes], Any], raw: bytes, field: str) -> Any:
    """Bytes as a message of Protocol Buffers."""
    try:
        return kind(raw)
    except Exception:  # noqa: BLE001  # whatever the parser raises; its text could quote what it read
        raise WireError(field, "cannot be parsed") from None
