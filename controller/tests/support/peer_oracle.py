# SPDX-License-Identifier: Apache-2.0
"""A second implementation of peer contributions, from docs/keys.md: integers and hashlib, nothing of the product."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import IPv6Address, ip_address

P = 2**255 - 19


def x25519(scalar: bytes, u: bytes) -> bytes:
    """RFC 7748 section 5, as the pseudocode there. Zero is returned like anything else."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & ~(1 << 255)) | 1 << 254
    k &= (1 << 255) - 1
    x1 = (int.from_bytes(u, "little") & ((1 << 255) - 1)) % P
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = x2 + z2, x2 - z2
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        c, d = x3 + z3, x3 - z3
        da, cb = d * a % P, c * b % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(scalar: bytes) -> bytes:
    return x25519(scalar, (9).to_bytes(32, "little"))


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    block, result, counter = b"", b"", 1
    while len(result) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        result += block
        counter += 1
    return result[:length]


def fields(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(2, "big") + value for value in values)


def address(text: str) -> bytes:
    one = ip_address(text)
    return (one if one.version == 6 else IPv6Address(f"::ffff:{text}")).packed


def statement(
    domain: str, device: str, addresses: list[str], incarnation: bytes, epoch: int, expiry: int, public_key: bytes
) -> bytes:
    return b"nvo3sec contribution v1\0" + fields(
        domain.encode(),
        device.encode(),
        b"".join(sorted(address(one) for one in addresses)),
        incarnation,
        epoch.to_bytes(8, "big"),
        expiry.to_bytes(8, "big"),
        public_key,
    )


def transcript(
    sent: bytes, received: bytes, sender: str, receiver: str, purpose: str, suite: int, spi: int, generation: int
) -> bytes:
    return fields(
        sent,
        received,
        sender.encode(),
        receiver.encode(),
        purpose.encode(),
        bytes([suite]),
        spi.to_bytes(4, "big"),
        generation.to_bytes(4, "big"),
    )


def mix(nva_key: bytes, shared: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, the sender's proof, the receiver's."""
    prk = extract(nva_key, shared)
    confirming = expand(prk, b"nvo3sec peer confirmation v1\0" + context, 32)
    proofs = [
        hmac.new(confirming, b"nvo3sec peer proof v1\0" + fields(role) + context, hashlib.sha256).digest()
        for role in (b"sender", b"receiver")
    ]
    return expand(prk, b"nvo3sec peer key v1\0" + context, 16), proofs[0], proofs[1]
