# SPDX-License-Identifier: Apache-2.0
"""What an NVE says about its ephemeral key, and what makes somebody else believe it.

    statement = label ‖ field ‖ ... ‖ field         field = length (2 bytes, big-endian) ‖ bytes

    label         "nvo3sec contribution v1" 0x00
    domain        ASCII
    device        SAN URI of the NVE, ASCII: nvo3://DOMAIN/nve/NAME
    addresses     outer addresses, 16 bytes each (IPv4 as in RFC 4291 2.5.5.2), ascending, 1 to 8 of them
    incarnation   16 bytes, of its switch
    epoch         8 bytes, big-endian
    expiry        8 bytes, big-endian: seconds since 1970 (UTC)
    public key    32 bytes, X25519 (RFC 7748 5)

There is one encoding of each statement: what parses is what would be written. Certificates and signatures are checked
by whoever is passed in as `Verifier`; nothing here knows X.509.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from nvo3sec.domain.keys.contribution.faults import ContributionRefused, Fault
from nvo3sec.domain.keys.derivation import INCARNATION_BYTES
from nvo3sec.domain.overlay.addresses import IpAddress, mapped_ipv6, unmapped_ip
from nvo3sec.errors import DerivationError

LABEL = b"nvo3sec contribution v1\x00"
PURPOSE = "contribution"
"""What a signature of a statement is for; goes into what is signed."""

PUBLIC_KEY_BYTES = 32
ADDRESS_BYTES = 16
ADDRESSES_LIMIT = 8
NUMBER_BYTES = 8
STATEMENT_BYTES = 1024
"""Longest statement: two names of at most 253 bytes, eight addresses, and the rest stay below it."""
SIGNATURE_BYTES = 1024
"""Longest signature: that of an RSA key of 8192 bits."""
CERTIFICATE_BYTES = 16384
CHAIN_LIMIT = 4
"""Certificates of a chain, the device's own among them."""
LONGEST_LIFE_S = 8 * 86400
"""How far in the future a statement may expire: what a stolen device key signs in advance is worth no more."""

_FIELDS = 7
_PROBE = X25519PrivateKey.from_private_bytes(b"\x40" * 32)
"""Any private key would do: each is a multiple of 8 (RFC 7748 5), so a point of low order gives zero with all."""


def nve_uri(domain: str, name: str) -> str:
    """The SAN URI of the device that is the NVE `name`."""
    return f"nvo3://{domain}/nve/{name}"


def pack(label: bytes, *fields: bytes) -> bytes:
    """`label`, then each field as its length (2 bytes, big-endian) and its bytes: no two lists of fields agree."""
    for field in fields:
        if len(field) >= 1 << 16:
            raise DerivationError(f"a field of {len(field)} bytes; at most 65535")
    return label + b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def unpack(data: bytes, label: bytes, count: int) -> tuple[bytes, ...]:
    """The fields that `pack` was given, exactly `count`. Raises ContributionRefused (MALFORMED)."""
    if not data.startswith(label):
        raise ContributionRefused(Fault.MALFORMED, "a statement begins with another label")
    fields: list[bytes] = []
    at = len(label)
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise ContributionRefused(Fault.MALFORMED, "a field of a statement is longer than the statement")
        fields.append(data[at + 2 : end])
        at = end
    if len(fields) != count:
        raise ContributionRefused(Fault.MALFORMED, f"a statement has {len(fields)} fields; {count} are needed")
    return tuple(fields)


@dataclass(frozen=True)
class Statement:
    """One NVE's ephemeral key, and what it is for. `expiry`: seconds since 1970. Raises DerivationError."""

    domain: str
    device: str
    addresses: tuple[IpAddress, ...]
    incarnation: bytes
    epoch: int
    expiry: int
    public_key: bytes

    def __post_init__(self) -> None:
        for name, text in (("domain", self.domain), ("device", self.device)):
            if not text or not text.isascii() or not text.isprintable():
                raise DerivationError(f"the {name} of a statement must be printable ASCII")
        packed = [mapped_ipv6(address) for address in self.addresses]
        if not 1 <= len(packed) <= ADDRESSES_LIMIT or packed != sorted(set(packed)):
            raise DerivationError(f"a statement has 1 to {ADDRESSES_LIMIT} addresses, ascending, none of them twice")
        if len(self.incarnation) != INCARNATION_BYTES or not any(self.incarnation):
            raise DerivationError(f"an incarnation must be {INCARNATION_BYTES} bytes and not all zero")
        for name, value in (("epoch", self.epoch), ("expiry", self.expiry)):
            if not 0 < value < 1 << 63:
                raise DerivationError(f"the {name} of a statement must be a positive 63-bit number")
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise DerivationError(f"a public key has {PUBLIC_KEY_BYTES} bytes")

    def encode(self) -> bytes:
        """The bytes that are signed, and that go into the transcript of every key."""
        return pack(
            LABEL,
            self.domain.encode("ascii"),
            self.device.encode("ascii"),
            b"".join(mapped_ipv6(address) for address in self.addresses),
            self.incarnation,
            self.epoch.to_bytes(NUMBER_BYTES, "big"),
            self.expiry.to_bytes(NUMBER_BYTES, "big"),
            self.public_key,
        )

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Raises ContributionRefused (SIZE, MALFORMED)."""
        if len(data) > STATEMENT_BYTES:
            raise ContributionRefused(Fault.SIZE, f"a statement of {len(data)} bytes; at most {STATEMENT_BYTES}")
        domain, device, addresses, incarnation, epoch, expiry, public_key = unpack(data, LABEL, _FIELDS)
        if len(addresses) % ADDRESS_BYTES or len(epoch) != NUMBER_BYTES or len(expiry) != NUMBER_BYTES:
            raise ContributionRefused(Fault.MALFORMED, "a field of a statement has the wrong length")
        try:
            return cls(
                domain=domain.decode("ascii"),
                device=device.decode("ascii"),
                addresses=tuple(
                    unmapped_ip(int.from_bytes(addresses[at : at + ADDRESS_BYTES], "big"))
                    for at in range(0, len(addresses), ADDRESS_BYTES)
                ),
                incarnation=incarnation,
                epoch=int.from_bytes(epoch, "big"),
                expiry=int.from_bytes(expiry, "big"),
                public_key=public_key,
            )
        except UnicodeDecodeError:
            raise ContributionRefused(Fault.MALFORMED, "a name in a statement is not ASCII") from None
        except DerivationError as error:
            raise ContributionRefused(Fault.MALFORMED, str(error)) from None


@dataclass(frozen=True)
class Contribution:
    """A statement as it was signed, the signature, and the certificates (DER, the device's own first) it leads to."""

    statement: bytes
    signature: bytes
    chain: tuple[bytes, ...]

    @property
    def name(self) -> bytes:
        """What the NVA and both ends call it: SHA-256 of the statement. A new signature of it changes nothing."""
        digest = Hash(SHA256())
        digest.update(self.statement)
        return digest.finalize()

    def check_size(self) -> None:
        """Raises ContributionRefused (SIZE)."""
        if len(self.statement) > STATEMENT_BYTES:
            raise ContributionRefused(
                Fault.SIZE, f"a statement of {len(self.statement)} bytes; at most {STATEMENT_BYTES}"
            )
        if len(self.signature) > SIGNATURE_BYTES:
            raise ContributionRefused(
                Fault.SIZE, f"a signature of {len(self.signature)} bytes; at most {SIGNATURE_BYTES}"
            )
        if not 1 <= len(self.chain) <= CHAIN_LIMIT:
            raise ContributionRefused(Fault.SIZE, f"{len(self.chain)} certificates; from 1 to {CHAIN_LIMIT}")
        longest = max(map(len, self.chain))
        if longest > CERTIFICATE_BYTES:
            raise ContributionRefused(Fault.SIZE, f"a certificate of {longest} bytes; at most {CERTIFICATE_BYTES}")


class Verifier(Protocol):
    """Knows certificates."""

    def check(self, device: str, purpose: str, message: bytes, signature: bytes, chain: tuple[bytes, ...]) -> None:
        """Raises ContributionRefused unless the device with this SAN URI signed `message` for `purpose`, with a
        certificate that leads to the trust anchors and is good now."""


@dataclass(frozen=True)
class Expected:
    """What a contribution of the NVE `name` has to say of itself."""

    domain: str
    name: str
    addresses: tuple[IpAddress, ...]
    incarnation: bytes
    epoch: int


def is_low_order(public_key: bytes) -> bool:
    """Whether every X25519 exchange with this public key gives zero (RFC 7748 6.1), in whichever encoding it is."""
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        return True
    return False


def verify(contribution: Contribution, expected: Expected, verifier: Verifier, now: float) -> Statement:
    """The statement of `contribution`, if it is the `expected` NVE's and good at wall time `now` (seconds since 1970).

    Raises ContributionRefused with the first thing that is wrong; what costs a signature check comes last.
    """
    contribution.check_size()
    statement = Statement.decode(contribution.statement)
    who = expected.name
    if statement.domain != expected.domain:
        raise ContributionRefused(Fault.DOMAIN, f"{who}: its statement is for another domain than {expected.domain}")
    device = nve_uri(expected.domain, expected.name)
    if statement.device != device:
        raise ContributionRefused(Fault.DEVICE, f"{who}: the statement is not that of {device}")
    if {mapped_ipv6(one) for one in statement.addresses} != {mapped_ipv6(one) for one in expected.addresses}:
        raise ContributionRefused(Fault.ADDRESSES, f"{who}: its statement has other outer addresses than it has")
    if statement.incarnation != expected.incarnation:
        raise ContributionRefused(Fault.INCARNATION, f"{who}: its statement is of another incarnation of its switch")
    if statement.epoch != expected.epoch:
        raise ContributionRefused(
            Fault.EPOCH, f"{who}: its statement is of epoch {statement.epoch}; epoch {expected.epoch} is needed"
        )
    if statement.expiry <= now:
        raise ContributionRefused(Fault.EXPIRED, f"{who}: its statement expired {now - statement.expiry:.0f} s ago")
    if statement.expiry > now + LONGEST_LIFE_S:
        raise ContributionRefused(
            Fault.EXPIRES_TOO_LATE, f"{who}: its statement expires in more than {LONGEST_LIFE_S // 86400} days"
        )
    if is_low_order(statement.public_key):
        raise ContributionRefused(Fault.LOW_ORDER, f"{who}: its public key is a point of low order")
    verifier.check(device, PURPOSE, contribution.statement, contribution.signature, contribution.chain)
    return statement
