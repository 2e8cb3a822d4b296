# SPDX-License-Identifier: Apache-2.0
"""Key derivation: known answers, and that everything in the context matters."""

from __future__ import annotations

import dataclasses
import json
import pickle
from ipaddress import IPv4Address, IPv6Address

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.keys.derivation import EpochKey, KeyContext, Party, Purpose, derive_key, hkdf_info, tunnel_info
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import DerivationError
from places import DATA

VECTORS = json.loads((DATA / "key_vectors.json").read_text())


def context(**changes) -> KeyContext:
    base = KeyContext(
        purpose=Purpose.TUNNEL,
        suite=Suite.CHASKEY12,
        sender="leaf1",
        receiver="leaf2",
        outer_source=IPv4Address("192.0.2.1"),
        outer_destination=IPv4Address("192.0.2.2"),
        sender_incarnation=bytes.fromhex(VECTORS["incarnation_leaf1"]),
        receiver_incarnation=bytes.fromhex(VECTORS["incarnation_leaf2"]),
        spi=0x80001234,
        generation=7,
    )
    return dataclasses.replace(base, **changes)


class TestKnownAnswers:
    @pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: f"suite{vector['suite']}")
    def test_info_and_key(self, vector):
        found = context(suite=Suite(vector["suite"]), spi=vector["spi"])
        assert hkdf_info(found).hex() == vector["hkdf_info"]
        assert derive_key(Secret(bytes.fromhex(VECTORS["epoch_secret"])), found).reveal().hex() == vector["key"]


CHANGES = {
    "purpose": Purpose.LINK,
    "suite": Suite.ASCON_AEAD128,
    "sender": "leaf9",
    "receiver": "leaf9",
    "outer_source": IPv4Address("192.0.2.9"),
    "outer_destination": IPv6Address("2001:db8::9"),
    "sender_incarnation": bytes(15) + b"\x01",
    "receiver_incarnation": bytes(15) + b"\x01",
    "spi": 0x80001235,
    "generation": 8,
}


class TestContext:
    def test_every_field_is_in_the_table(self):
        assert set(CHANGES) == {field.name for field in dataclasses.fields(KeyContext)}

    @pytest.mark.parametrize("field", sorted(CHANGES))
    def test_every_field_changes_the_key(self, field):
        secret = Secret(bytes(32))
        assert derive_key(secret, context()) != derive_key(secret, context(**{field: CHANGES[field]}))

    def test_addresses_have_16_bytes(self):
        """Those of IPv6 as they are, those of IPv4 behind ::ffff:0:0/96, each with its length in front."""
        info = hkdf_info(context(outer_source=IPv4Address("192.0.2.1"), outer_destination=IPv6Address("2001:db8::a:b")))
        four = bytes.fromhex("0010 00000000000000000000ffff c0000201")
        six = bytes.fromhex("0010 20010db8 0000000000000000 000a000b")
        assert four + six in info

    def test_directions_differ(self):
        there = context()
        back = context(
            sender=there.receiver,
            receiver=there.sender,
            outer_source=there.outer_destination,
            outer_destination=there.outer_source,
            sender_incarnation=there.receiver_incarnation,
            receiver_incarnation=there.sender_incarnation,
        )
        assert derive_key(Secret(bytes(32)), there) != derive_key(Secret(bytes(32)), back)

    @given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12), st.text(min_size=1), st.text(min_size=1))
    def test_names_cannot_be_shifted_into_each_other(self, a, b, c, d):
        if (a, b) != (c, d):
            assert hkdf_info(context(sender=a, receiver=b)) != hkdf_info(context(sender=c, receiver=d))

    @pytest.mark.parametrize(
        "changes",
        [
            {"sender": ""},
            {"spi": 0},
            {"spi": 1 << 32},
            {"generation": 0},
            {"sender_incarnation": b""},
            {"sender_incarnation": bytes(16)},
            {"receiver_incarnation": bytes(15)},
            {"purpose": Purpose.GROUP},
        ],
        ids=str,
    )
    def test_incomplete_context_is_refused(self, changes):
        with pytest.raises(DerivationError):
            context(**changes)

    def test_group_key_has_no_receiver_incarnation(self):
        assert derive_key(Secret(bytes(32)), context(purpose=Purpose.GROUP, receiver_incarnation=b""))

    @pytest.mark.parametrize("length", [0, 16, 31, 33])
    def test_length_of_the_secret_is_checked(self, length):
        with pytest.raises(DerivationError, match="32 bytes"):
            derive_key(Secret(bytes(length)), context())


NAMES = st.text(min_size=1, max_size=40)
NUMBERS = st.integers(1, 2**32 - 1)
INCARNATIONS = st.binary(min_size=16, max_size=16).filter(any)
ADDRESSES = st.ip_addresses()


class TestShortCut:
    """Many keys are derived from one secret and few parties; what that saves must not show in the keys."""

    @given(st.sampled_from(Suite), NAMES, NAMES, ADDRESSES, ADDRESSES, INCARNATIONS, INCARNATIONS, NUMBERS, NUMBERS)
    def test_same_info(self, suite, sender, receiver, source, destination, here, there, spi, generation):
        whole = KeyContext(Purpose.TUNNEL, suite, sender, receiver, source, destination, here, there, spi, generation)
        ends = Party(sender, source, here), Party(receiver, destination, there)
        assert tunnel_info(suite, *ends, spi, generation) == hkdf_info(whole)

    @given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    def test_same_key_as_the_library(self, secret, infos):
        epoch = EpochKey(Secret(secret))
        for info in infos:
            assert epoch.expand(info).reveal() == HKDFExpand(SHA256(), 16, info).derive(secret)

    @pytest.mark.parametrize("arguments", [("", b"a" * 16), ("leaf1", b""), ("leaf1", bytes(16)), ("leaf1", b"a" * 15)])
    def test_incomplete_party_is_refused(self, arguments):
        with pytest.raises(DerivationError):
            Party(arguments[0], IPv4Address("192.0.2.1"), arguments[1])

    def test_does_not_show_the_secret(self):
        assert "a5a5" not in repr(EpochKey(Secret(b"\xa5" * 32)))


class TestSecret:
    VALUE = b"\xa5" * 16

    def test_does_not_show_itself(self):
        secret = Secret(self.VALUE)
        for text in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret]), repr({"a": secret})):
            assert "a5" not in text.lower().replace("\\x", "")
            assert "16 bytes" in text

    def test_cannot_be_pickled_copied_into_json_or_changed(self):
        secret = Secret(self.VALUE)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        with pytest.raises(TypeError):
            json.dumps(secret)
        with pytest.raises(AttributeError):
            secret._value = b""

    def test_equality(self):
        assert Secret(b"a") == Secret(b"a")
        assert Secret(b"a") != Secret(b"b")
        assert Secret(b"a") != b"a"
        assert len({Secret(b"a"), Secret(b"a")}) == 1
