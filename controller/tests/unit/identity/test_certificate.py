# SPDX-License-Identifier: Apache-2.0
"""From a certificate to an identity: what is taken, and each reason for which one is not."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from identity_world import DOMAIN, FakeClock, ForeignAuthority, make_key, pem, san
from nvo3sec.identity.certificate import Purpose, identity_of, parse_der, parse_pem
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.names import DeviceName, Role

LEAF = DeviceName(DOMAIN, Role.NVE, "leaf1")


def usage(**allowed: bool) -> x509.KeyUsage:
    fields = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    fields += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in fields})


@pytest.fixture(scope="module")
def authority() -> ForeignAuthority:
    """An authority that knows nothing of this system."""
    return ForeignAuthority()


class TestTaken:
    @pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
    def test_from_any_authority_with_any_good_key(self, authority: ForeignAuthority, kind: str):
        certificate, _ = authority.device(LEAF, make_key(kind))
        identity = identity_of(parse_pem(pem(certificate)), DOMAIN, Purpose.CLIENT)
        assert (identity.domain, identity.role, identity.name) == (DOMAIN, Role.NVE, "leaf1")
        assert identity.serial == certificate.serial_number
        assert identity.not_after == certificate.not_valid_after_utc
        assert identity.device == LEAF
        assert str(identity) == "nve/leaf1"

    @pytest.mark.parametrize("kind", ["p384", "rsa2048", "ed25519", "ed448"])
    def test_whatever_the_authority_signs_with(self, kind: str):
        certificate, _ = ForeignAuthority(kind).device(LEAF)
        assert identity_of(certificate, DOMAIN, Purpose.SERVER).device == LEAF

    def test_the_subject_means_nothing(self, authority: ForeignAuthority):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nva1.nva.lab.example")])
        certificate = authority.sign(subject, make_key(), names=san(LEAF.uri, LEAF.dns))
        assert identity_of(certificate, DOMAIN, Purpose.CLIENT).device == LEAF


def names(*values: str) -> dict[str, Any]:
    return {"names": san(*values)}


NO_CLIENT = {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}
IRREGULAR: list[tuple[str, dict[str, Any], Reason]] = [
    ("no SAN", {"names": ()}, Reason.SAN_MISSING),
    ("two URIs", names(LEAF.uri, "nvo3://lab.example/nva/leaf1", LEAF.dns), Reason.SAN_URI_COUNT),
    ("the same URI twice", names(LEAF.uri, LEAF.uri, LEAF.dns), Reason.SAN_URI_COUNT),
    ("another system's URI", names(LEAF.uri, "spiffe://lab.example/leaf1", LEAF.dns), Reason.SAN_URI_COUNT),
    ("no URI", names(LEAF.dns), Reason.SAN_URI_COUNT),
    ("no DNS name", names(LEAF.uri), Reason.SAN_DNS_COUNT),
    ("two DNS names", names(LEAF.uri, LEAF.dns, "nva1.nva.lab.example"), Reason.SAN_DNS_COUNT),
    ("the DNS name of another role", names(LEAF.uri, "leaf1.nva.lab.example"), Reason.URI_DNS_DISAGREE),
    ("the DNS name of another device", names(LEAF.uri, "leaf2.nve.lab.example"), Reason.URI_DNS_DISAGREE),
    ("a DNS name in capitals", names(LEAF.uri, LEAF.dns.upper()), Reason.URI_DNS_DISAGREE),
    ("a wildcard", names(LEAF.uri, "*.nve.lab.example"), Reason.URI_DNS_DISAGREE),
    ("an IP address too", {"names": [*san(LEAF.uri, LEAF.dns), x509.IPAddress(ip_address("::1"))]}, Reason.SAN_OTHER),
    ("a mail address too", {"names": [*san(LEAF.uri, LEAF.dns), x509.RFC822Name("a@b.example")]}, Reason.SAN_OTHER),
    ("an unknown role", names("nvo3://lab.example/admin/leaf1", "leaf1.admin.lab.example"), Reason.ROLE),
    ("no label as name", names("nvo3://lab.example/nve/leaf_1", "leaf_1.nve.lab.example"), Reason.NAME),
    ("another domain", names("nvo3://evil.example/nve/leaf1", "leaf1.nve.evil.example"), Reason.DOMAIN),
    ("a domain below", names("nvo3://a.lab.example/nve/leaf1", "leaf1.nve.a.lab.example"), Reason.DOMAIN),
    ("no URI of ours", names("https://lab.example/nve/leaf1", LEAF.dns), Reason.URI_SYNTAX),
    ("an authority", {"ca": True}, Reason.CA_CERTIFICATE),
    ("may sign certificates", {"usage": usage(digital_signature=True, key_cert_sign=True)}, Reason.CA_CERTIFICATE),
    ("may sign lists", {"usage": usage(digital_signature=True, crl_sign=True)}, Reason.CA_CERTIFICATE),
    ("may not sign", {"usage": usage(key_agreement=True)}, Reason.KEY_USAGE),
    ("no extended key usage", {"purposes": None}, Reason.EXTENDED_KEY_USAGE),
    ("not for clients", NO_CLIENT, Reason.EXTENDED_KEY_USAGE),
    ("for anything", {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, Reason.EXTENDED_KEY_USAGE),
    ("Ed25519", {"key": "ed25519"}, Reason.WEAK_KEY),
    ("P-521", {"key": "p521"}, Reason.WEAK_KEY),
    ("P-224", {"key": "p224"}, Reason.WEAK_KEY),
    ("RSA with 1024 bits", {"key": "rsa1024"}, Reason.WEAK_KEY),
    ("SHA-224", {"digest": hashes.SHA224()}, Reason.WEAK_SIGNATURE),
]


class TestRefused:
    @pytest.mark.parametrize(("options", "reason"), [one[1:] for one in IRREGULAR], ids=[one[0] for one in IRREGULAR])
    def test_with_its_reason(self, authority: ForeignAuthority, options: dict[str, Any], reason: Reason):
        options = dict(options)
        key = make_key(options.pop("key", "p256"))
        certificate, _ = authority.device(LEAF, key, **options)
        with pytest.raises(PeerRefused) as caught:
            identity_of(certificate, DOMAIN, Purpose.CLIENT)
        assert caught.value.reason is reason

    def test_a_client_does_not_serve(self, authority: ForeignAuthority):
        certificate, _ = authority.device(LEAF, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        assert identity_of(certificate, DOMAIN, Purpose.CLIENT)
        with pytest.raises(PeerRefused) as caught:
            identity_of(certificate, DOMAIN, Purpose.SERVER)
        assert caught.value.reason is Reason.EXTENDED_KEY_USAGE

    @pytest.mark.parametrize("parse", [parse_pem, parse_der])
    def test_what_is_no_certificate(self, parse: Any):
        for data, reason in (
            (b"", Reason.NO_CERTIFICATE),
            (b"garbage", Reason.MALFORMED),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Reason.MALFORMED),
            (b"0" * 20_000, Reason.MALFORMED),
        ):
            with pytest.raises(PeerRefused) as caught:
                parse(data)
            assert caught.value.reason is reason

    def test_any_byte_wrong_gives_a_refusal_or_the_same_name(self, authority: ForeignAuthority):
        """Whatever is in a certificate, nothing but PeerRefused comes out, and never another device."""
        certificate, _ = authority.device(LEAF)
        der = certificate.public_bytes(serialization.Encoding.DER)
        for at in range(len(der)):
            broken = bytearray(der)
            broken[at] ^= 0x55
            try:
                identity = identity_of(parse_der(bytes(broken)), DOMAIN, Purpose.CLIENT)
            except PeerRefused:
                continue
            assert identity.device == LEAF


class TestTime:
    def test_before_during_after(self, authority: ForeignAuthority):
        certificate, _ = authority.device(LEAF, ends=timedelta(hours=2))
        identity = identity_of(certificate, DOMAIN, Purpose.CLIENT)
        clock = FakeClock(identity.not_before)
        identity.check_time(clock())
        clock.advance(seconds=-1)
        with pytest.raises(PeerRefused) as caught:
            identity.check_time(clock())
        assert caught.value.reason is Reason.NOT_YET_VALID
        clock.now = identity.not_after
        identity.check_time(clock())
        clock.advance(seconds=1)
        with pytest.raises(PeerRefused) as caught:
            identity.check_time(clock())
        assert caught.value.reason is Reason.EXPIRED
