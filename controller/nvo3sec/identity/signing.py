# SPDX-License-Identifier: Apache-2.0
"""Signatures with device keys, outside of TLS.

    signed = "nvo3sec signature v1" 0x00 ‖ field(purpose) ‖ field(message)
    field  = length (4 bytes, big-endian) ‖ bytes

TLS 1.3 signs what begins with 64 spaces (RFC 8446 4.4.3), certificates and signing requests are DER and begin with
0x30: none of these can be taken for a signature of ours, nor ours for one of them, nor one of one purpose for another.
The algorithm follows from the key, as in TLS 1.3: ECDSA with SHA-256 on P-256, with SHA-384 on P-384, RSASSA-PSS with
SHA-256 and a salt of 32 bytes for RSA (RFC 8446 4.2.3). No message chooses it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from nvo3sec.domain.keys.contribution import ContributionRefused, Fault
from nvo3sec.identity.anchors import chain_fault
from nvo3sec.identity.certificate import PARSE_ERRORS, Purpose, identity_of, parse_der
from nvo3sec.identity.device import Credentials, Device
from nvo3sec.identity.errors import CredentialsError, PeerRefused, Reason
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import Role
from nvo3sec.identity.revocation_lists import wall_clock

LABEL = b"nvo3sec signature v1\x00"

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
_FAULTS = {
    Reason.DOMAIN: Fault.CERTIFICATE_DOMAIN,
    Reason.ROLE: Fault.CERTIFICATE_ROLE,
    Reason.UNEXPECTED_PEER: Fault.CERTIFICATE_NAME,
    Reason.EXPIRED: Fault.CERTIFICATE_EXPIRED,
    Reason.NOT_YET_VALID: Fault.CERTIFICATE_NOT_YET_VALID,
    Reason.UNTRUSTED: Fault.CHAIN,
    Reason.REVOKED: Fault.REVOKED,
    Reason.REVOCATION_UNKNOWN: Fault.REVOCATION_UNKNOWN,
}


def to_be_signed(purpose: str, message: bytes) -> bytes:
    """What a signature covers."""
    fields = (purpose.encode("ascii"), message)
    return LABEL + b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _digest(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA384() if isinstance(key.curve, ec.SECP384R1) else hashes.SHA256())


class DeviceSigner:
    """Signs with the key that the device has now. May be called from any thread."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._parsed: tuple[Credentials, tuple[bytes, ...]] | None = None

    def chain(self) -> tuple[bytes, ...]:
        """The certificates (DER, the device's own first)."""
        return self._chain_of(self._device.current())

    def _chain_of(self, credentials: Credentials) -> tuple[bytes, ...]:
        with self._lock:
            if self._parsed is None or self._parsed[0] is not credentials:
                chain = x509.load_pem_x509_certificates(credentials.chain_pem)
                self._parsed = (
                    credentials,
                    tuple(one.public_bytes(serialization.Encoding.DER) for one in chain),
                )
            return self._parsed[1]

    def sign(self, purpose: str, message: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """The signature of `message` for `purpose`, and the chain. Raises CredentialsError for another kind of key."""
        credentials = self._device.current()
        key = serialization.load_pem_private_key(credentials.key_pem.reveal(), password=None)
        data = to_be_signed(purpose, message)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, _digest(key.public_key())), self._chain_of(credentials)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, _PSS, hashes.SHA256()), self._chain_of(credentials)
        raise CredentialsError("the device's key is neither an ECDSA nor an RSA key")


class DeviceVerifier:
    """Checks what NVEs of `domain` signed: chain, certificate, name, time, revocation, signature."""

    def __init__(
        self,
        domain: str,
        live: LivePeers,
        anchors: Callable[[], Sequence[x509.Certificate]],
        *,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._domain = domain
        self._live = live
        self._anchors = anchors
        self._clock = clock

    def check(self, device: str, purpose: str, message: bytes, signature: bytes, chain: tuple[bytes, ...]) -> None:
        """Raises ContributionRefused unless the NVE with this SAN URI signed `message` for `purpose`.

        `chain`: certificates in DER, the device's own first. It has to lead to the trust anchors, and to be good now.
        """
        try:
            certificates = [parse_der(der) for der in chain]
            self._check_chain(certificates)
            identity = identity_of(certificates[0], self._domain, Purpose.CLIENT)
            if identity.role is not Role.NVE:
                raise PeerRefused(Reason.ROLE, f"{identity} is no NVE")
            if identity.device.uri != device:
                raise PeerRefused(Reason.UNEXPECTED_PEER, f"the certificate is that of {identity}, not of {device}")
            self._live.check(identity)
        except PeerRefused as error:
            raise ContributionRefused(_FAULTS.get(error.reason, Fault.CERTIFICATE), str(error)) from None
        _check_signature(certificates[0].public_key(), to_be_signed(purpose, message), signature)

    def _check_chain(self, chain: Sequence[x509.Certificate]) -> None:
        if fault := chain_fault(chain, self._anchors(), self._clock()):
            raise ContributionRefused(Fault.CHAIN, f"the certificate's chain is not taken: {fault}")


def _check_signature(key: object, data: bytes, signature: bytes) -> None:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, _digest(key))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _PSS, hashes.SHA256())
        else:  # `identity_of` takes no other
            raise InvalidSignature
    except (*PARSE_ERRORS, InvalidSignature):
        raise ContributionRefused(Fault.SIGNATURE, "the device did not sign this") from None
