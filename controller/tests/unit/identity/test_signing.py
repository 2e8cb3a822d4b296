# SPDX-License-Identifier: Apache-2.0
"""Signatures with device keys: who may sign, and for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from identity_world import DOMAIN, FakeClock, ForeignAuthority, make_key, san
from nvo3sec.domain.keys.contribution import ContributionRefused, Fault, nve_uri
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.signing import LABEL, DeviceSigner, DeviceVerifier, to_be_signed
from peer_world import PeerWorld

MESSAGE = b"a statement"
URI = nve_uri(DOMAIN, "leaf2")
DER = serialization.Encoding.DER


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> PeerWorld:
    """Not the one of the other tests of identities: its NVEs have devices."""
    return PeerWorld(tmp_path_factory.mktemp("peers"))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(DER)


def sign(key, message: bytes = MESSAGE, purpose: str = "contribution") -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(to_be_signed(purpose, message), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    digest = hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    return key.sign(to_be_signed(purpose, message), ec.ECDSA(digest))


def fault(verifier, signature: bytes, *chain: bytes, device: str = URI, message=MESSAGE, purpose="contribution"):
    try:
        verifier.check(device, purpose, message, signature, chain)
    except ContributionRefused as error:
        return error.fault
    return None


def handmade(world: PeerWorld, name: DeviceName | None = None, key=None, **options) -> tuple[bytes, bytes]:
    """Signature and certificate of a device that the world's authority was careless about."""
    certificate, key = world.signing().device(name or world.name(Role.NVE, "leaf2"), key, **options)
    return sign(key), der(certificate)


class TestSigner:
    def test_what_it_signs_is_verified(self, world):
        signature, chain = world.signer("leaf2").sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *chain) is None
        assert chain == world.signer("leaf2").chain()

    @pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
    def test_kinds_of_keys(self, world, kind):
        certificate, key = world.signing().device(world.name(Role.NVE, "leaf2"), make_key(kind))
        files = world.store(certificate, key, f"signer-{kind}")
        signer = DeviceSigner(Device(files, DOMAIN, Purpose.CLIENT))
        signature, chain = signer.sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *chain) is None
        assert fault(world.verifier(), signature, *chain, message=MESSAGE + b".") is Fault.SIGNATURE

    def test_a_renewed_certificate_is_used(self, world):
        name = world.name(Role.NVE, "renewing")
        device = world.device_of("renewing")
        signer = DeviceSigner(device)
        before = signer.chain()
        world.authority.issue(name, renew=True)
        signature, chain = signer.sign("contribution", MESSAGE)
        assert chain == signer.chain() != before
        assert fault(world.verifier(), signature, *chain, device=name.uri) is None

    def test_the_key_shows_itself_nowhere(self, world):
        assert "BEGIN" not in repr(vars(world.signer("leaf2")))


class TestSignature:
    def test_of_another_message(self, world):
        signature, chain = world.signer("leaf2").sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *chain, message=b"another") is Fault.SIGNATURE

    def test_of_another_purpose(self, world):
        signature, chain = world.signer("leaf2").sign("notification", MESSAGE)
        assert fault(world.verifier(), signature, *chain) is Fault.SIGNATURE
        assert fault(world.verifier(), signature, *chain, purpose="notification") is None

    def test_purpose_and_message_cannot_be_shifted_into_each_other(self):
        assert to_be_signed("a", b"bc") != to_be_signed("ab", b"c")

    def test_of_nothing_else_that_the_key_signs(self, world):
        """TLS 1.3 (RFC 8446 4.4.3), certificates and signing requests: no data of theirs is data of ours."""
        tls = b" " * 64 + b"TLS 1.3, client CertificateVerify\x00" + bytes(32)
        certificate = x509.load_der_x509_certificate(world.signer("leaf2").chain()[0])
        ours = to_be_signed("contribution", MESSAGE)
        for theirs in (tls, certificate.tbs_certificate_bytes):
            assert not ours.startswith(theirs[:1])
        _, key = world.signing().device(world.name(Role.NVE, "leaf2"))
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        certificate, key = world.signing().device(world.name(Role.NVE, "leaf2"), key)
        for data, signature in (
            (tls, key.sign(tls, ec.ECDSA(hashes.SHA256()))),
            (request.tbs_certrequest_bytes, request.signature),
            (MESSAGE, key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))),
        ):
            assert fault(world.verifier(), signature, der(certificate), message=data) is Fault.SIGNATURE
        assert LABEL.startswith(b"nvo3sec signature")

    def test_of_another_device_under_the_first_ones_certificate(self, world):
        signature, _ = world.signer("leaf3").sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *world.signer("leaf2").chain()) is Fault.SIGNATURE

    @pytest.mark.parametrize("signature", [b"", b"x", bytes(72), bytes(1024)], ids=len)
    def test_that_is_none(self, world, signature):
        assert fault(world.verifier(), signature, *world.signer("leaf2").chain()) is Fault.SIGNATURE


class TestCertificate:
    def test_what_is_made_by_hand_is_taken_if_it_is_right(self, world):
        assert fault(world.verifier(), *handmade(world)) is None

    def test_another_nve(self, world):
        signature, chain = world.signer("leaf3").sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *chain) is Fault.CERTIFICATE_NAME

    @pytest.mark.parametrize("role", [Role.NVA, Role.HYPERVISOR, Role.OPERATOR])
    def test_another_role(self, world, role):
        signature, chain = world.signer("leaf2", role).sign("contribution", MESSAGE)
        assert fault(world.verifier(), signature, *chain) in (Fault.CERTIFICATE_ROLE, Fault.CERTIFICATE)
        # Even one that is good for clients, and named as the role that is asked for.
        name = DeviceName(DOMAIN, role, "leaf2")
        assert fault(world.verifier(), *handmade(world, name), device=name.uri) is Fault.CERTIFICATE_ROLE

    def test_another_domain(self, world):
        name = DeviceName("other.example", Role.NVE, "leaf2")
        assert fault(world.verifier(), *handmade(world, name)) is Fault.CERTIFICATE_DOMAIN
        assert fault(world.verifier(), *handmade(world, name), device=name.uri) is Fault.CERTIFICATE_DOMAIN

    def test_expired(self, world):
        times = {"begins": timedelta(hours=-2), "ends": timedelta(hours=-1)}
        assert fault(world.verifier(), *handmade(world, **times)) is Fault.CERTIFICATE_EXPIRED

    def test_not_yet_valid(self, world):
        begins = timedelta(minutes=30)
        assert fault(world.verifier(), *handmade(world, begins=begins)) is Fault.CERTIFICATE_NOT_YET_VALID

    def test_revoked(self, world):
        name = world.name(Role.NVE, "stolen")
        signature, chain = world.signer("stolen").sign("contribution", MESSAGE)
        verifier = world.verifier()
        assert fault(verifier, signature, *chain, device=name.uri) is None
        world.authority.revoke(name)
        assert fault(verifier, signature, *chain, device=name.uri) is Fault.REVOKED

    def test_revocation_unknown(self, world):
        late = FakeClock(datetime.now(UTC) + timedelta(days=29))
        name = world.name(Role.NVE, "leaf2")
        certificate, key = world.signing().device(name, ends=timedelta(days=60))
        verifier = world.verifier(clock=late)
        assert fault(verifier, sign(key), der(certificate)) is Fault.REVOCATION_UNKNOWN

    def test_irregular(self, world):
        uri, dns = URI, f"leaf2.nve.{DOMAIN}"
        for options in (
            {"names": san(uri)},
            {"names": san(uri, dns, "more.example")},
            {"names": san(uri, f"leaf2.nva.{DOMAIN}")},
            {"purposes": (x509.oid.ExtendedKeyUsageOID.SERVER_AUTH,)},
            {"ca": True},
            {"key": make_key("p224")},
        ):
            assert fault(world.verifier(), *handmade(world, **options)) is Fault.CERTIFICATE, options

    @pytest.mark.parametrize("chain", [b"", b"nonsense", b"\x30\x03\x02\x01\x01"])
    def test_that_is_none(self, world, chain):
        assert fault(world.verifier(), b"x", chain) is Fault.CERTIFICATE


class Middle(ForeignAuthority):
    """An authority that another one signed, or did not. `length`: how many others may be below it."""

    def __init__(
        self,
        above: ForeignAuthority,
        *,
        name: str = "middle",
        length: int | None = None,
        constraint=None,
        key=None,
        **options,
    ) -> None:
        self.key = key or make_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        options = {"ca": True, "names": (), "purposes": (), "usage": usage(sign=True)} | options
        certificate = above.sign(self.name, self.key, **options)
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(certificate.issuer)
            .public_key(certificate.public_key())
            .serial_number(certificate.serial_number)
            .not_valid_before(certificate.not_valid_before_utc)
            .not_valid_after(certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(options["ca"], length), critical=True)
        )
        if options["usage"] is not None:
            builder = builder.add_extension(options["usage"], critical=True)
        if constraint is not None:
            builder = builder.add_extension(constraint, critical=True)
        self.certificate = builder.sign(above.key, hashes.SHA256())


def usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)


class TestChain:
    """The lab's authority signs devices itself; others have authorities in between."""

    def check(self, world: PeerWorld, root: ForeignAuthority, *middle: ForeignAuthority) -> Fault | None:
        certificate, key = (middle or (root,))[0].device(world.name(Role.NVE, "leaf2"))
        verifier = DeviceVerifier(DOMAIN, Anyone(), lambda: (root.certificate,))
        return fault(verifier, sign(key), der(certificate), *(der(one.certificate) for one in middle))

    def test_straight(self, world):
        assert self.check(world, ForeignAuthority()) is None

    def test_of_somebody_whom_nobody_trusts(self, world):
        certificate, key = ForeignAuthority().device(world.name(Role.NVE, "leaf2"))
        assert fault(world.verifier(), sign(key), der(certificate)) is Fault.CHAIN

    def test_of_somebody_who_calls_himself_as_the_authority(self, world):
        foreign = ForeignAuthority()
        foreign.name = world.signing().name
        certificate, key = foreign.device(world.name(Role.NVE, "leaf2"))
        assert fault(world.verifier(), sign(key), der(certificate)) is Fault.CHAIN

    def test_over_another_authority(self, world):
        root = ForeignAuthority()
        first = Middle(root)
        second = Middle(first, name="second")
        assert self.check(world, root, first) is None
        assert self.check(world, root, second, first) is None
        assert self.check(world, root, second) is Fault.CHAIN
        assert self.check(world, root, first, second) is None, "what comes after the anchor is reached is not read"

    @pytest.mark.parametrize(
        "options",
        [
            {"ca": False},
            {"usage": usage(sign=False)},
            {"usage": None},
            {"ends": timedelta(seconds=-1)},
            {"begins": timedelta(minutes=5)},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_over_what_is_no_authority(self, world, options):
        root = ForeignAuthority()
        assert self.check(world, root, Middle(root, **options)) is Fault.CHAIN

    def test_a_device_is_no_authority(self, world):
        """leaf3 signs a certificate for leaf2 with its own key."""
        root = world.signing()
        certificate, key = root.device(world.name(Role.NVE, "leaf3"), usage=usage(sign=False))
        false = ForeignAuthority()
        false.certificate, false.key, false.name = certificate, key, certificate.subject
        forged, forged_key = false.device(world.name(Role.NVE, "leaf2"))
        assert fault(world.verifier(), sign(forged_key), der(forged), der(certificate)) is Fault.CHAIN

    def test_longer_than_is_allowed(self, world):
        root = world.signing()  # which allows none between itself and a device
        middle = Middle(root)
        certificate, key = middle.device(world.name(Role.NVE, "leaf2"))
        assert fault(world.verifier(), sign(key), der(certificate), der(middle.certificate)) is Fault.CHAIN

    def test_longer_than_an_authority_in_between_allows(self, world):
        root = ForeignAuthority()
        for length, found in ((0, Fault.CHAIN), (1, None)):
            first = Middle(root, length=length)
            assert self.check(world, root, first) is None
            assert self.check(world, root, Middle(first, name="second"), first) is found

    def test_over_an_authority_with_a_constraint_that_is_not_known(self, world):
        root = ForeignAuthority()
        only = x509.NameConstraints([x509.DNSName("other.example")], None)
        assert self.check(world, root, Middle(root, constraint=only)) is Fault.CHAIN

    def test_over_an_authority_with_a_weak_key(self, world):
        root = ForeignAuthority()
        weak = Middle(root, key=make_key("p224"))
        assert self.check(world, root, weak) is Fault.CHAIN

    def test_an_anchor_that_has_ended(self, world):
        late = FakeClock(datetime.now(UTC) + timedelta(days=2))
        root = ForeignAuthority()
        certificate, key = root.device(world.name(Role.NVE, "leaf2"), ends=timedelta(days=9))
        verifier = DeviceVerifier(DOMAIN, Anyone(), lambda: (root.certificate,), clock=late)
        assert fault(verifier, sign(key), der(certificate)) is Fault.CHAIN

    def test_an_anchor_that_is_no_longer_trusted(self, world):
        trusted = [world.device_of("leaf1").anchors()]
        verifier = DeviceVerifier(DOMAIN, world.live(), lambda: trusted[0])
        signature, chain = world.signer("leaf2").sign("contribution", MESSAGE)
        assert fault(verifier, signature, *chain) is None
        trusted[0] = ()
        assert fault(verifier, signature, *chain) is Fault.CHAIN


class Anyone:
    """Revokes nobody; for chains that end at an anchor which publishes no list."""

    def check(self, identity) -> None:
        pass
