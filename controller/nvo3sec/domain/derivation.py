# SPDX-License-Identifier: Apache-2.0
"""From an epoch secret to the key of one direction of one tunnel: HKDF-Expand (RFC 5869 2.3) over the whole context.

Two contexts that differ in anything give unrelated keys, and nothing is used for two purposes. The incarnations of both
ends are part of the context, so a switch that lost its sequence numbers or its replay windows never meets an old key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nvo3sec.domain.addresses import IpAddress, mapped_ipv6
from nvo3sec.domain.model import Suite
from nvo3sec.domain.secret import Secret
from nvo3sec.errors import DerivationError

LABEL = b"nvo3sec v1\x00"
EPOCH_SECRET_BYTES = 32
INCARNATION_BYTES = 16
KEY_BYTES = 16


class Purpose(StrEnum):
    """What a derived key is for."""

    TUNNEL = "tunnel"
    GROUP = "group"
    LINK = "link"
    LINK_GROUP = "link-group"
    CONTROL_GROUP = "control-group"


_GROUP_PURPOSES = {Purpose.GROUP, Purpose.LINK_GROUP, Purpose.CONTROL_GROUP}


@dataclass(frozen=True)
class KeyContext:
    """Everything that a key belongs to. `receiver_incarnation` is empty for a group, whose members have many."""

    purpose: Purpose
    suite: Suite
    sender: str
    receiver: str
    outer_source: IpAddress
    outer_destination: IpAddress
    sender_incarnation: bytes
    receiver_incarnation: bytes
    spi: int
    generation: int

    def __post_init__(self) -> None:
        if not self.sender or not self.receiver:
            raise DerivationError("a key context needs the names of both ends")
        _check_incarnation("sender", self.sender_incarnation)
        if self.purpose in _GROUP_PURPOSES:
            if self.receiver_incarnation:
                raise DerivationError("a group key has no receiver incarnation")
        else:
            _check_incarnation("receiver", self.receiver_incarnation)
        for name, value in (("SPI", self.spi), ("generation", self.generation)):
            if not 0 < value < 1 << 32:
                raise DerivationError(f"{name} {value} is not a positive 32-bit number")


def _check_incarnation(end: str, incarnation: bytes) -> None:
    if len(incarnation) != INCARNATION_BYTES or not any(incarnation):
        raise DerivationError(f"the {end}'s incarnation must be {INCARNATION_BYTES} bytes and not all zero")


def hkdf_info(context: KeyContext) -> bytes:
    """The `info` of HKDF-Expand: the label, then each field as its length (2 bytes, big-endian) and its bytes."""
    fields = (
        context.purpose.value.encode("ascii"),
        bytes([context.suite]),
        context.sender.encode("utf-8"),
        context.receiver.encode("utf-8"),
        mapped_ipv6(context.outer_source),
        mapped_ipv6(context.outer_destination),
        context.sender_incarnation,
        context.receiver_incarnation,
        context.spi.to_bytes(4, "big"),
        context.generation.to_bytes(4, "big"),
    )
    return LABEL + b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def derive_key(epoch_secret: Secret, context: KeyContext) -> Secret:
    """The 16-byte key of `context` under the 32-byte `epoch_secret`. Raises DerivationError for another length."""
    if len(epoch_secret) != EPOCH_SECRET_BYTES:
        raise DerivationError(f"an epoch secret has {EPOCH_SECRET_BYTES} bytes")
    return Secret(HKDFExpand(SHA256(), KEY_BYTES, hkdf_info(context)).derive(epoch_secret.reveal()))
