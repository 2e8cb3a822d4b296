# SPDX-License-Identifier: Apache-2.0
"""The device's side of getting a certificate: a key that never leaves it, a signing request (PKCS #10, RFC 2986)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.identity.certificate import PARSE_ERRORS, check_public_key, name_of_san
from nvo3sec.identity.errors import AuthorityError, PeerRefused
from nvo3sec.identity.names import DeviceName
from nvo3sec.identity.storage import StorageError, private_directory, read, write

REQUEST_BYTES = 16384
"""Longest signing request that is parsed."""


@dataclass(frozen=True)
class DeviceKey:
    """A device's private key: ECDSA on P-256, because gRPC's TLS library refuses Ed25519 certificates."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> DeviceKey:
        """A fresh key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def pem(self) -> Secret:
        """PKCS #8 in PEM, not encrypted: a file of mode 0600 is what protects it."""
        return Secret(
            self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def subject_alternative_name(device: DeviceName) -> x509.SubjectAlternativeName:
    """Exactly one URI and one DNS name."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(device.uri), x509.DNSName(device.dns)])


def make_request(device: DeviceName, key: DeviceKey) -> bytes:
    """A signing request in PEM: who the device says it is, signed with its key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(subject_alternative_name(device), critical=True)
    return builder.sign(key.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def parse_request(pem: bytes, domain: str) -> tuple[DeviceName, x509.CertificateSigningRequest]:
    """Whom a signing request names, and the request, whose signature is verified. Raises AuthorityError."""
    if len(pem) > REQUEST_BYTES:
        raise AuthorityError(f"a signing request of {len(pem)} bytes; at most {REQUEST_BYTES}")
    try:
        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            raise AuthorityError("the signing request is not signed with the key that it holds")
        check_public_key(request.public_key())
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return name_of_san(names, domain), request
    except PeerRefused as error:
        raise AuthorityError(f"the signing request is refused: {error}") from None
    except x509.ExtensionNotFound:
        raise AuthorityError("the signing request has no subject alternative name") from None
    except PARSE_ERRORS:
        raise AuthorityError("the signing request cannot be parsed") from None


def begin(path: Path, device: DeviceName) -> bytes:
    """Make the key for the next certificate at `path` (PEM, 0600) and return the signing request in PEM.

    The key waits beside `path` under a name of its own; what is at `path` stays in use. If a key already waits, its
    request is made again: a lost answer costs nothing. Raises StorageError.
    """
    private_directory(path.parent)
    waiting = _waiting(path)
    try:
        key = _load_key(read(waiting, private=True)) if waiting.exists() else None
    except PARSE_ERRORS:
        raise StorageError(f"{waiting} holds no key of P-256; remove it to begin again") from None
    if key is None:
        key = DeviceKey.generate()
        write(waiting, key.pem().reveal())
    return make_request(device, key)


def finish(path: Path, chain_pem: bytes) -> None:
    """Put the certificate `chain_pem` and the key that waited for it at `path`, in one step.

    Raises StorageError if no key waits, or the certificate is for another key.
    """
    waiting = _waiting(path)
    if not waiting.exists():
        done = " (was it installed already?)" if path.exists() else ""
        raise StorageError(f"no key waits for a certificate at {path}{done}; nvo3sec pki request makes one")
    try:
        key = _load_key(read(waiting, private=True))
        leaf = x509.load_pem_x509_certificate(chain_pem)
    except PARSE_ERRORS:
        raise StorageError(f"{path}: the certificate, or the key that waits for it, cannot be parsed") from None
    if leaf.public_key() != key.private.public_key():
        raise StorageError(f"{path}: the certificate is not for the key that waits for it")
    write(path, key.pem().reveal() + chain_pem, replace=True)
    waiting.unlink(missing_ok=True)


def place(path: Path, chain_pem: bytes) -> None:
    """Put a certificate that was issued at `path`, in one step, with the key that it is for: the one that waits, or the
    one that is there already.

    Raises StorageError, among others for a certificate of another key.
    """
    try:
        wanted = x509.load_pem_x509_certificate(chain_pem).public_key()
    except PARSE_ERRORS:
        raise StorageError("the certificate cannot be parsed") from None
    waiting = _waiting(path)
    for holder in (waiting, path):
        if not holder.exists():
            continue
        try:
            key = _load_key(read(holder, private=True))
        except PARSE_ERRORS:
            continue
        if key.private.public_key() == wanted:
            write(path, key.pem().reveal() + chain_pem, replace=True)
            if holder is waiting:
                waiting.unlink(missing_ok=True)
            return
    raise StorageError(f"it is for neither the key of {path} nor one that waits there")


def _waiting(path: Path) -> Path:
    return path.with_name(f"{path.name}.next-key")


def _load_key(pem: bytes) -> DeviceKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return DeviceKey(key)
