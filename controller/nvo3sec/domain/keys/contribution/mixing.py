# SPDX-License-Identifier: Apache-2.0
"""From the key of the NVA and two ephemeral keys to the key of one direction, and to the proofs of holding it.

    shared     = X25519(own private key, peer's public key)                      RFC 7748 6.1; zero is refused
    extracted  = HKDF-Extract(salt = the NVA's key of the direction, shared)     RFC 5869 2.2, SHA-256
    key        = HKDF-Expand(extracted, "nvo3sec peer key v1" 0x00 ‖ transcript, 16)
    confirming = HKDF-Expand(extracted, "nvo3sec peer confirmation v1" 0x00 ‖ transcript, 32)
    proof      = HMAC-SHA-256(confirming, "nvo3sec peer proof v1" 0x00 ‖ field(role) ‖ transcript)

    transcript = field ‖ ... ‖ field, each as length (2 bytes, big-endian) and bytes: the sender's statement, the
                 receiver's, sender, receiver, purpose, suite (1), SPI (4), generation (4)

Both secrets are needed: whoever has only the NVA's key lacks the exchange, and whoever has only the exchange lacks the
NVA's key. The key that protects data is never used for the proofs, nor the other way round.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import NoReturn, final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nvo3sec.domain.keys.contribution.faults import ContributionRefused, Fault
from nvo3sec.domain.keys.contribution.statement import STATEMENT_BYTES, pack
from nvo3sec.domain.keys.derivation import KEY_BYTES, Purpose
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import DerivationError

KEY_LABEL = b"nvo3sec peer key v1\x00"
CONFIRMING_LABEL = b"nvo3sec peer confirmation v1\x00"
PROOF_LABEL = b"nvo3sec peer proof v1\x00"
PRIVATE_KEY_BYTES = 32
CONFIRMING_BYTES = 32
PROOF_BYTES = 32


@unique
class End(StrEnum):
    """Who proves: an end of one direction."""

    SENDER = "sender"
    RECEIVER = "receiver"

    @property
    def other(self) -> End:
        """The end on the other side."""
        return End.RECEIVER if self is End.SENDER else End.SENDER


@dataclass(frozen=True)
class Transcript:
    """Everything that a mixed key belongs to. `sender_statement`, `receiver_statement`: as they were signed."""

    sender_statement: bytes
    receiver_statement: bytes
    sender: str
    receiver: str
    purpose: Purpose
    suite: Suite
    spi: int
    generation: int

    def __post_init__(self) -> None:
        if self.purpose is not Purpose.TUNNEL:
            raise DerivationError(f"two NVEs make keys for tunnels, not for {self.purpose.value}")
        if not self.sender or not self.receiver or self.sender == self.receiver:
            raise DerivationError("a key needs the names of two ends")
        if self.sender_statement == self.receiver_statement:
            raise DerivationError("a key needs the statements of two ends")
        for statement in (self.sender_statement, self.receiver_statement):
            if not 0 < len(statement) <= STATEMENT_BYTES:
                raise DerivationError(f"a statement has 1 to {STATEMENT_BYTES} bytes")
        for name, value in (("SPI", self.spi), ("generation", self.generation)):
            if not 0 < value < 1 << 32:
                raise DerivationError(f"{name} {value} is not a positive 32-bit number")

    def encode(self) -> bytes:
        """The fields in their order, each with its length."""
        return pack(
            b"",
            self.sender_statement,
            self.receiver_statement,
            self.sender.encode("utf-8"),
            self.receiver.encode("utf-8"),
            self.purpose.value.encode("ascii"),
            bytes([self.suite]),
            self.spi.to_bytes(4, "big"),
            self.generation.to_bytes(4, "big"),
        )


@final
class PrivateHalf:
    """An ephemeral private key. It shows itself nowhere, cannot be copied out, and ends with `erase`."""

    __slots__ = ("_key", "public_key")

    public_key: bytes
    _key: X25519PrivateKey | None

    def __init__(self, private_key: Secret) -> None:
        """private_key: 32 bytes from a cryptographic source, used nowhere else. Raises DerivationError."""
        if len(private_key) != PRIVATE_KEY_BYTES:
            raise DerivationError(f"a private key has {PRIVATE_KEY_BYTES} bytes")
        self._key = X25519PrivateKey.from_private_bytes(private_key.reveal())
        self.public_key = self._key.public_key().public_bytes_raw()

    @property
    def is_erased(self) -> bool:
        """Nothing can be made with it any more."""
        return self._key is None

    def exchange(self, public_key: bytes) -> Secret:
        """The 32 bytes that only the two holders can compute. NEVER USED AS A KEY ITSELF.

        Raises DerivationError after `erase`, and ContributionRefused (LOW_ORDER) if the result is zero, which it is
        for everybody (RFC 7748 6.1).
        """
        if self._key is None:
            raise DerivationError("the private key was erased")
        try:
            return Secret(self._key.exchange(X25519PublicKey.from_public_bytes(public_key)))
        except ValueError:
            raise ContributionRefused(Fault.LOW_ORDER, "the exchange gives zero") from None

    def erase(self) -> None:
        """Let go of the key. The library's object, the only one that holds it, clears its memory when it ends."""
        self._key = None

    def __repr__(self) -> str:
        return f"PrivateHalf({'erased' if self._key is None else '32 bytes'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PrivateHalf cannot be serialized")

    def __copy__(self) -> NoReturn:
        raise TypeError("a PrivateHalf cannot be copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a PrivateHalf cannot be copied")


@final
class Mixed:
    """A key of one direction, and the proofs of both ends that they hold what it was made of."""

    __slots__ = ("_confirming", "_transcript", "key")

    key: Secret

    def __init__(self, nva_key: Secret, shared: Secret, transcript: Transcript) -> None:
        """Raises DerivationError for a key of the NVA of another length than 16 bytes."""
        if len(nva_key) != KEY_BYTES:
            raise DerivationError(f"a key of the NVA has {KEY_BYTES} bytes")
        if not any(shared.reveal()):
            raise ContributionRefused(Fault.LOW_ORDER, "the exchange gives zero")
        self._transcript = transcript.encode()
        extracted = hmac.digest(nva_key.reveal(), shared.reveal(), "sha256")
        self.key = Secret(HKDFExpand(SHA256(), KEY_BYTES, KEY_LABEL + self._transcript).derive(extracted))
        self._confirming = Secret(
            HKDFExpand(SHA256(), CONFIRMING_BYTES, CONFIRMING_LABEL + self._transcript).derive(extracted)
        )

    def proof(self, end: End) -> bytes:
        """What `end` shows to the other: 32 bytes, no secret. The receiver's also says that it can receive."""
        message = pack(PROOF_LABEL, end.value.encode("ascii")) + self._transcript
        return hmac.digest(self._confirming.reveal(), message, "sha256")

    def is_proof(self, end: End, proof: bytes) -> bool:
        """Whether `proof` is that of `end`, in constant time."""
        return hmac.compare_digest(self.proof(end), proof)

    def __repr__(self) -> str:
        return "Mixed(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Mixed cannot be serialized")
