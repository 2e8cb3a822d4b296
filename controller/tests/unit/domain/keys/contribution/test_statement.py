# SPDX-License-Identifier: Apache-2.0
"""Statements: known answers, one encoding only, and each thing that an NVA could have changed."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address, IPv6Address

import peer_oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.keys.contribution import (
    Contribution,
    ContributionRefused,
    Expected,
    Fault,
    Statement,
    nve_uri,
    verify,
)
from nvo3sec.domain.keys.contribution.statement import (
    ADDRESSES_LIMIT,
    CERTIFICATE_BYTES,
    CHAIN_LIMIT,
    LABEL,
    LONGEST_LIFE_S,
    SIGNATURE_BYTES,
    STATEMENT_BYTES,
    is_low_order,
    pack,
    unpack,
)
from nvo3sec.errors import DerivationError
from nvo3sec.identity.names import DeviceName, Role
from peer_world import ADDRESSES, DOMAIN, EPOCH, INCARNATIONS, LOW_ORDER, PeerWorld
from places import DATA

VECTORS = json.loads((DATA / "contribution_vectors.json").read_text())


class Trusting:
    """A verifier that takes everything, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, device, purpose, message, signature, chain) -> None:
        self.asked.append(f"{purpose} of {device}")


def expected(**changes) -> Expected:
    base = Expected(DOMAIN, "leaf2", (ADDRESSES["leaf2"],), INCARNATIONS["leaf2"], EPOCH)
    return dataclasses.replace(base, **changes)


def refused(world: PeerWorld, contribution: Contribution, verifier=None, **changes) -> Fault:
    with pytest.raises(ContributionRefused) as caught:
        verify(contribution, expected(**changes), verifier or world.verifier(), world.now())
    return caught.value.fault


class TestKnownAnswers:
    @pytest.mark.parametrize("one", VECTORS["statements"], ids=lambda one: one["device"])
    def test_encoding(self, one):
        found = Statement(
            domain=one["domain"],
            device=one["device"],
            addresses=tuple((IPv6Address if ":" in address else IPv4Address)(address) for address in one["addresses"]),
            incarnation=bytes.fromhex(one["incarnation"]),
            epoch=one["epoch"],
            expiry=one["expiry"],
            public_key=bytes.fromhex(one["public_key"]),
        )
        assert found.encode().hex() == one["statement"]
        assert Statement.decode(bytes.fromhex(one["statement"])) == found
        assert Contribution(found.encode(), b"", ()).name.hex() == one["name"]

    def test_the_second_implementation_agrees(self, world):
        found = world.statement()
        addresses = [str(one) for one in found.addresses]
        assert found.encode() == peer_oracle.statement(
            found.domain,
            found.device,
            addresses,
            found.incarnation,
            found.epoch,
            found.expiry,
            found.public_key,
        )

    def test_the_uri_is_that_of_the_certificate(self):
        assert nve_uri(DOMAIN, "leaf2") == DeviceName(DOMAIN, Role.NVE, "leaf2").uri


class TestEncoding:
    def test_what_is_signed_and_sent_can_be_read(self, world):
        assert Statement.decode(world.statement().encode()) == world.statement()

    def test_both_families(self, world):
        both = world.statement(addresses=(IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")))
        assert Statement.decode(both.encode()) == both

    @pytest.mark.parametrize(
        "changes",
        [
            {"domain": ""},
            {"device": ""},
            {"device": "nvo3://lab.ex\u00e4mple/nve/leaf2"},
            {"device": "nvo3://lab.example/nve/leaf2\n"},
            {"addresses": ()},
            {"addresses": (IPv4Address("192.0.2.2"),) * 2},
            {"addresses": (IPv4Address("192.0.2.2"), IPv4Address("192.0.2.1"))},
            {"addresses": tuple(IPv4Address(0xC0000200 + n) for n in range(ADDRESSES_LIMIT + 1))},
            {"incarnation": bytes(16)},
            {"incarnation": b"\x01" * 15},
            {"epoch": 0},
            {"epoch": 1 << 63},
            {"expiry": 0},
            {"public_key": b"\x09" * 31},
        ],
        ids=str,
    )
    def test_what_cannot_be_a_statement(self, world, changes):
        with pytest.raises(DerivationError):
            world.statement(**changes)

    @pytest.mark.parametrize("cut", range(1, 200))
    def test_no_part_of_a_statement_is_one(self, world, cut):
        whole = world.statement().encode()
        with pytest.raises(ContributionRefused) as caught:
            Statement.decode(whole[:-cut])
        assert caught.value.fault is Fault.MALFORMED

    def test_nothing_may_follow(self, world):
        for more in (b"\x00", b"\x00\x00", b"\x00\x01a"):
            with pytest.raises(ContributionRefused, match=r"malformed"):
                Statement.decode(world.statement().encode() + more)

    @pytest.mark.parametrize("field", range(7))
    @pytest.mark.parametrize(
        "change", [lambda value: b"\x00" + value, lambda value: value[1:]], ids=["longer", "shorter"]
    )
    def test_a_field_of_another_length(self, world, field, change):
        fields = list(unpack(world.statement(domain="d", device="x").encode(), LABEL, 7))
        fields[field] = change(fields[field])
        with pytest.raises(ContributionRefused) as caught:
            Statement.decode(pack(LABEL, *fields))
        assert caught.value.fault is Fault.MALFORMED

    @settings(deadline=None)
    @given(st.binary(max_size=STATEMENT_BYTES))
    def test_whatever_parses_is_what_would_be_written(self, data):
        label = b"nvo3sec contribution v1\x00"
        for candidate in (data, label + data):
            try:
                found = Statement.decode(candidate)
            except ContributionRefused:
                continue
            assert found.encode() == candidate

    @settings(deadline=None)
    @given(
        st.tuples(st.text("abc./", min_size=1, max_size=6), st.text("abc./", min_size=1, max_size=6)),
        st.tuples(st.text("abc./", min_size=1, max_size=6), st.text("abc./", min_size=1, max_size=6)),
    )
    def test_names_cannot_be_shifted_into_each_other(self, one, other):
        def encoded(domain, device):
            return Statement(domain, device, (IPv4Address("192.0.2.1"),), b"\1" * 16, 1, 1, b"\2" * 32).encode()

        assert (encoded(*one) == encoded(*other)) == (one == other)


class TestExpectations:
    def test_the_right_one_is_taken(self, world):
        verifier = Trusting()
        assert verify(world.contribution(), expected(), verifier, world.now()) == world.statement()
        assert verifier.asked == [f"contribution of nvo3://{DOMAIN}/nve/leaf2"]
        verify(world.contribution(), expected(), world.verifier(), world.now())

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"domain": "other.example"}, Fault.DOMAIN),
            ({"device": f"nvo3://{DOMAIN}/nve/leaf3"}, Fault.DEVICE),
            ({"device": f"nvo3://{DOMAIN}/nva/leaf2"}, Fault.DEVICE),
            ({"device": "nvo3://other.example/nve/leaf2"}, Fault.DEVICE),
            ({"addresses": (ADDRESSES["leaf3"],)}, Fault.ADDRESSES),
            ({"addresses": (ADDRESSES["leaf2"], ADDRESSES["leaf3"])}, Fault.ADDRESSES),
            ({"incarnation": b"\x23" * 16}, Fault.INCARNATION),
            ({"epoch": EPOCH - 1}, Fault.EPOCH),
            ({"epoch": EPOCH + 1}, Fault.EPOCH),
            ({"expiry": 1}, Fault.EXPIRED),
        ],
        ids=str,
    )
    def test_each_field_is_compared_before_anything_is_paid_for(self, world, changes, fault):
        verifier = Trusting()
        assert refused(world, world.contribution(**changes), verifier) is fault
        assert not verifier.asked

    def test_expiry(self, world):
        def fault_of(expiry: float):
            try:
                verify(world.contribution(expiry=int(expiry)), expected(), Trusting(), int(world.now()))
            except ContributionRefused as error:
                return error.fault
            return None

        now = int(world.now())
        assert fault_of(now) is Fault.EXPIRED
        assert fault_of(now + 1) is None
        assert fault_of(now + LONGEST_LIFE_S) is None
        assert fault_of(now + LONGEST_LIFE_S + 1) is Fault.EXPIRES_TOO_LATE

    @pytest.mark.parametrize("u", LOW_ORDER)
    @pytest.mark.parametrize("top_bit", [0, 1])
    def test_low_order(self, world, u, top_bit):
        point = (u | top_bit << 255).to_bytes(32, "little")
        assert is_low_order(point)
        assert peer_oracle.x25519(b"\x77" * 32, point) == bytes(32)
        assert refused(world, world.contribution(public_key=point), Trusting()) is Fault.LOW_ORDER

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32))
    def test_low_order_is_nothing_else(self, private):
        assert not is_low_order(peer_oracle.public(private))

    @pytest.mark.parametrize(
        "change",
        [
            {"statement": bytes(STATEMENT_BYTES + 1)},
            {"signature": bytes(SIGNATURE_BYTES + 1)},
            {"chain": ()},
            {"chain": (b"x",) * (CHAIN_LIMIT + 1)},
            {"chain": (bytes(CERTIFICATE_BYTES + 1),)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_sizes(self, world, change):
        assert refused(world, dataclasses.replace(world.contribution(), **change), Trusting()) is Fault.SIZE

    def test_the_longest_names_fit(self):
        domain = ".".join(["a" * 57] * 4)
        device = DeviceName(domain, Role.NVE, "b" * (253 - len(domain) - len(".nve.")))
        addresses = tuple(IPv6Address(n) for n in range(1, ADDRESSES_LIMIT + 1))
        longest = Statement(domain, device.uri, addresses, b"\1" * 16, 1, 1, b"\2" * 32)
        assert len(longest.encode()) < STATEMENT_BYTES

    def test_an_error_says_what_and_whose_and_no_more(self, world):
        contribution = world.contribution(incarnation=b"\x23" * 16)
        with pytest.raises(ContributionRefused) as caught:
            verify(contribution, expected(), Trusting(), world.now())
        assert str(caught.value) == "incarnation: leaf2: its statement is of another incarnation of its switch"


class TestAltered:
    def test_any_byte_of_the_statement(self, world):
        """Whatever an NVA changes is noticed: by the comparison of the field it is in, or by the signature."""
        whole = world.contribution()
        allowed: dict[range, set[Fault]] = {}
        at = len(b"nvo3sec contribution v1\0")
        allowed[range(0, at)] = {Fault.MALFORMED}
        lengths = [len(DOMAIN), len(f"nvo3://{DOMAIN}/nve/leaf2"), 16, 16, 8, 8, 32]
        faults = [
            {Fault.DOMAIN, Fault.MALFORMED},
            {Fault.DEVICE, Fault.MALFORMED},
            {Fault.ADDRESSES},
            {Fault.INCARNATION},
            {Fault.EPOCH, Fault.MALFORMED},
            {Fault.EXPIRED, Fault.EXPIRES_TOO_LATE, Fault.MALFORMED, Fault.SIGNATURE},
            {Fault.SIGNATURE},
        ]
        for length, fault in zip(lengths, faults, strict=True):
            allowed[range(at, at + 2)] = {Fault.MALFORMED}
            allowed[range(at + 2, at + 2 + length)] = fault
            at += 2 + length
        assert at == len(whole.statement)
        seen = set()
        for position in range(len(whole.statement)):
            altered = bytearray(whole.statement)
            altered[position] ^= 0x01
            fault = refused(world, dataclasses.replace(whole, statement=bytes(altered)))
            assert fault in next(faults for where, faults in allowed.items() if position in where), position
            seen.add(fault)
        assert Fault.SIGNATURE in seen

    def test_any_byte_of_the_signature(self, world):
        whole = world.contribution()
        for position in range(len(whole.signature)):
            altered = bytearray(whole.signature)
            altered[position] ^= 0x40
            assert refused(world, dataclasses.replace(whole, signature=bytes(altered))) is Fault.SIGNATURE

    def test_any_byte_of_the_certificate(self, world):
        whole = world.contribution()
        for position in range(0, len(whole.chain[0]), 7):
            altered = bytearray(whole.chain[0])
            altered[position] ^= 0x20
            fault = refused(world, dataclasses.replace(whole, chain=(bytes(altered),)))
            assert fault in (Fault.CHAIN, Fault.CERTIFICATE), position
