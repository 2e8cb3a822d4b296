# SPDX-License-Identifier: Apache-2.0
"""From an epoch secret to the key of one direction of one tunnel: HKDF-Expand (RFC 5869 2.3) over the whole context.

Two contexts that differ in anything give unrelated keys, and nothing is used for two purposes. The incarnations of both
ends are part of the context, so a switch that lost its sequence numbers or its replay windows never meets an old key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives import hashes

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.addresses import IpAddress, mapped_ipv6
from nvo3sec.domain.overlay.model import Suite
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


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


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
    return LABEL + b"".join(map(_field, fields))


def peer_tag(purpose: Purpose, source: IpAddress, destination: IpAddress) -> int:
    """The first 32 bits of SHA-256(purpose || source || destination), addresses as `mapped_ipv6`.

    It is what an entry that finds a peer by its addresses and the keys of that peer have in common, whatever number the
    peer has.
    """
    text = purpose.value.encode("ascii") + mapped_ipv6(source) + mapped_ipv6(destination)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(text)
    return int.from_bytes(digest.finalize()[:4], "big")


def derive_key(epoch_secret: Secret, context: KeyContext) -> Secret:
    """The 16-byte key of `context` under the 32-byte `epoch_secret`. Raises DerivationError for another length."""
    return EpochKey(epoch_secret).expand(hkdf_info(context))


class EpochKey:
    """An epoch secret, ready to derive many keys: HMAC-SHA256 after its key, of which each derivation takes a copy."""

    __slots__ = ("_state",)

    def __init__(self, epoch_secret: Secret) -> None:
        if len(epoch_secret) != EPOCH_SECRET_BYTES:
            raise DerivationError(f"an epoch secret has {EPOCH_SECRET_BYTES} bytes")
        self._state = hmac.new(epoch_secret.reveal(), digestmod="sha256")

    def expand(self, info: bytes) -> Secret:
        """HKDF-Expand to 16 bytes: the first block, HMAC(secret, info || 0x01), cut (RFC 5869 2.3)."""
        block = self._state.copy()
        block.update(info + b"\x01")
        return Secret(block.digest()[:KEY_BYTES])


class Party:
    """An NVE under one incarnation, as an end of tunnels: its fields of `hkdf_info`, made once for all its keys."""

    __slots__ = ("address_field", "incarnation", "incarnation_field", "name", "name_field")

    def __init__(self, name: str, address: IpAddress, incarnation: bytes) -> None:
        """Raises DerivationError, as `KeyContext` does."""
        if not name:
            raise DerivationError("a key context needs the names of both ends")
        _check_incarnation(name, incarnation)
        self.name = name
        self.incarnation = incarnation
        self.name_field = _field(name.encode("utf-8"))
        self.address_field = _field(mapped_ipv6(address))
        self.incarnation_field = _field(incarnation)


_TUNNEL_INFO = {suite: LABEL + _field(b"tunnel") + _field(bytes([suite])) for suite in Suite}
_NUMBER_LENGTH = (4).to_bytes(2, "big")


def tunnel_info(suite: Suite, sender: Party, receiver: Party, spi: int, generation: int) -> bytes:
    """`hkdf_info` of a tunnel's key, for `spi` and `generation` from 1 to 2**32 - 1."""
    return b"".join(
        (
            _TUNNEL_INFO[suite],
            sender.name_field,
            receiver.name_field,
            sender.address_field,
            receiver.address_field,
            sender.incarnation_field,
            receiver.incarnation_field,
            _NUMBER_LENGTH,
            spi.to_bytes(4, "big"),
            _NUMBER_LENGTH,
            generation.to_bytes(4, "big"),
        )
    )
