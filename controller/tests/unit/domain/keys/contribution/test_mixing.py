# SPDX-License-Identifier: Apache-2.0
"""Mixed keys and proofs: known answers of an independent implementation, and that everything in them matters."""

from __future__ import annotations

import copy
import dataclasses
import hmac
import json
import pickle

import peer_oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.keys.contribution import ContributionRefused, End, Fault, Mixed, PrivateHalf, Transcript
from nvo3sec.domain.keys.contribution import mixing as product
from nvo3sec.domain.keys.contribution.statement import STATEMENT_BYTES
from nvo3sec.domain.keys.derivation import Purpose
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import DerivationError
from peer_world import LOW_ORDER
from places import DATA

VECTORS = json.loads((DATA / "contribution_vectors.json").read_text())


def half(private: bytes) -> PrivateHalf:
    return PrivateHalf(Secret(private))


def transcript(**changes) -> Transcript:
    base = Transcript(b"what one says", b"what two says", "leaf1", "leaf2", Purpose.TUNNEL, Suite.CHASKEY12, 0x1234, 7)
    return dataclasses.replace(base, **changes)


def mixed(nva_key: bytes = b"\xaa" * 16, shared: bytes = b"\xbb" * 32, **changes) -> Mixed:
    return Mixed(Secret(nva_key), Secret(shared), transcript(**changes))


def everything(one: Mixed) -> tuple[bytes, bytes, bytes]:
    return one.key.reveal(), one.proof(End.SENDER), one.proof(End.RECEIVER)


class TestExchange:
    @pytest.mark.parametrize(
        ("scalar", "u", "result"),
        [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ],
    )
    def test_rfc_7748_section_5_2(self, scalar, u, result):
        scalar, u, result = (bytes.fromhex(one) for one in (scalar, u, result))
        assert peer_oracle.x25519(scalar, u) == result
        assert half(scalar).exchange(u).reveal() == result

    def test_rfc_7748_section_6_1(self):
        a = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        b = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        assert half(a).exchange(half(b).public_key).reveal().hex() == shared
        assert half(b).exchange(half(a).public_key).reveal().hex() == shared

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
    def test_the_second_implementation_agrees(self, one, other):
        theirs = peer_oracle.public(other)
        assert half(one).public_key == peer_oracle.public(one)
        assert half(one).exchange(theirs).reveal() == peer_oracle.x25519(one, theirs)

    @pytest.mark.parametrize("u", LOW_ORDER)
    def test_zero_is_refused(self, u):
        with pytest.raises(ContributionRefused) as caught:
            half(b"\x77" * 32).exchange(u.to_bytes(32, "little"))
        assert caught.value.fault is Fault.LOW_ORDER

    def test_zero_is_refused_wherever_it_comes_from(self):
        with pytest.raises(ContributionRefused, match="zero"):
            mixed(shared=bytes(32))


class TestPrivateHalf:
    PRIVATE = b"\xa5" * 32

    def test_does_not_show_itself(self):
        one = half(self.PRIVATE)
        for text in (repr(one), str(one), f"{one}", repr({"half": one})):
            assert "a5" not in text
            assert "32 bytes" in text
        assert not hasattr(one, "__dict__")

    def test_cannot_be_copied_out(self):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
            with pytest.raises(TypeError):
                attempt(half(self.PRIVATE))
        with pytest.raises(TypeError):
            pickle.dumps(mixed())

    def test_erase(self):
        one = half(self.PRIVATE)
        theirs = half(b"\x77" * 32).public_key
        one.exchange(theirs)
        one.erase()
        one.erase()
        assert one.is_erased
        assert "erased" in repr(one)
        with pytest.raises(DerivationError, match="erased"):
            one.exchange(theirs)

    @pytest.mark.parametrize("length", [0, 16, 31, 33])
    def test_length(self, length):
        with pytest.raises(DerivationError, match="32 bytes"):
            half(bytes(length))


class TestKnownAnswers:
    @pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda one: f"{one['sender']}-suite{one['suite']}")
    def test_key_and_proofs(self, vector):
        ends = {one["device"].rpartition("/")[2]: one for one in VECTORS["statements"]}
        sender, receiver = ends[vector["sender"]], ends[vector["receiver"]]
        context = Transcript(
            bytes.fromhex(sender["statement"]),
            bytes.fromhex(receiver["statement"]),
            vector["sender"],
            vector["receiver"],
            Purpose.TUNNEL,
            Suite(vector["suite"]),
            vector["spi"],
            vector["generation"],
        )
        assert context.encode().hex() == vector["transcript"]
        for mine, other in ((sender, receiver), (receiver, sender)):
            shared = half(bytes.fromhex(mine["private_key"])).exchange(bytes.fromhex(other["public_key"]))
            assert shared.reveal().hex() == VECTORS["shared"]
            found = Mixed(Secret(bytes.fromhex(vector["nva_key"])), shared, context)
            assert found.key.reveal().hex() == vector["key"]
            assert found.proof(End.SENDER).hex() == vector["sender_proof"]
            assert found.proof(End.RECEIVER).hex() == vector["receiver_proof"]

    @settings(deadline=None)
    @given(
        st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32).filter(any), st.integers(1, 2**32 - 1)
    )
    def test_the_second_implementation_agrees(self, nva_key, shared, spi):
        context = peer_oracle.transcript(b"what one says", b"what two says", "leaf1", "leaf2", "tunnel", 1, spi, 7)
        assert everything(mixed(nva_key, shared, spi=spi)) == peer_oracle.mix(nva_key, shared, context)


CONTEXTS = st.fixed_dictionaries(
    {
        "sender_statement": st.sampled_from([b"a", b"b", b"ab", b"what one says"]),
        "receiver_statement": st.sampled_from([b"c", b"d", b"bc", b"what two says"]),
        "sender": st.sampled_from(["leaf1", "leaf1x", "l"]),
        "receiver": st.sampled_from(["leaf2", "xleaf2", "eaf1leaf2"]),
        "suite": st.sampled_from(list(Suite)),
        "spi": st.integers(1, 2**32 - 1),
        "generation": st.integers(1, 2**32 - 1),
        "nva_key": st.sampled_from([b"\xaa" * 16, b"\xab" * 16]),
        "shared": st.sampled_from([b"\xba" * 32, b"\xbb" * 32]),
    }
)


CHANGES = {
    "sender_statement": b"what one said",
    "receiver_statement": b"what two said",
    "sender": "leaf3",
    "receiver": "leaf3",
    "suite": Suite.ASCON_AEAD128,
    "spi": 0x1235,
    "generation": 8,
}


class TestContext:
    @settings(deadline=None)
    @given(CONTEXTS, CONTEXTS)
    def test_contexts_that_differ_have_nothing_in_common(self, one, other):
        ours, theirs = everything(mixed(**one)), everything(mixed(**other))
        if one == other:
            assert ours == theirs
        else:
            assert not {*ours} & {*theirs}

    def test_every_field_is_in_the_table(self):
        assert {*CHANGES, "purpose"} == {field.name for field in dataclasses.fields(Transcript)}

    @pytest.mark.parametrize("field", sorted(CHANGES))
    def test_every_field_changes_everything(self, field):
        one, other = mixed(), mixed(**{field: CHANGES[field]})
        assert not {*everything(one)} & {*everything(other)}
        for end in End:
            assert not one.is_proof(end, other.proof(end))

    def test_purpose_is_in_the_transcript(self):
        assert b"\x00\x06tunnel" in transcript().encode()

    def test_directions(self):
        back = mixed(
            sender_statement=b"what two says", receiver_statement=b"what one says", sender="leaf2", receiver="leaf1"
        )
        assert not {*everything(mixed())} & {*everything(back)}

    @pytest.mark.parametrize(
        "changes",
        [
            {"purpose": Purpose.GROUP},
            {"purpose": Purpose.LINK},
            {"sender": ""},
            {"receiver": ""},
            {"sender": "leaf2"},
            {"sender_statement": b"what two says"},
            {"sender_statement": b""},
            {"receiver_statement": bytes(STATEMENT_BYTES + 1)},
            {"spi": 0},
            {"spi": 1 << 32},
            {"generation": 0},
            {"generation": 1 << 32},
        ],
        ids=str,
    )
    def test_what_cannot_be_a_context(self, changes):
        with pytest.raises(DerivationError):
            transcript(**changes)

    @pytest.mark.parametrize("length", [0, 15, 17, 32])
    def test_length_of_the_key_of_the_nva(self, length):
        with pytest.raises(DerivationError, match="16 bytes"):
            mixed(nva_key=bytes(length))


class TestProof:
    def test_of_each_end(self):
        one = mixed()
        for end in End:
            assert one.is_proof(end, one.proof(end))
            assert len(one.proof(end)) == 32

    def test_swapped_roles(self):
        one = mixed()
        for end in End:
            assert not one.is_proof(end, one.proof(end.other))

    def test_any_byte(self):
        one = mixed()
        whole = one.proof(End.RECEIVER)
        for position in range(len(whole)):
            altered = bytearray(whole)
            altered[position] ^= 1
            assert not one.is_proof(End.RECEIVER, bytes(altered))
        assert not one.is_proof(End.RECEIVER, whole[:-1])
        assert not one.is_proof(End.RECEIVER, b"")

    def test_compared_in_constant_time(self, monkeypatch):
        asked = []
        monkeypatch.setattr(hmac, "compare_digest", lambda a, b: asked.append((a, b)) or True)
        one = mixed()
        assert one.is_proof(End.SENDER, b"x" * 32)
        assert asked == [(one.proof(End.SENDER), b"x" * 32)]

    def test_the_key_of_the_data_makes_no_proof(self):
        """Nor does anything that can be made of it with the labels that there are."""
        one = mixed()
        context = transcript().encode()
        for label in (product.KEY_LABEL, product.CONFIRMING_LABEL, product.PROOF_LABEL):
            for end in End:
                role = peer_oracle.fields(end.value.encode())
                for message in (label + role + context, label + context, role + context):
                    assert not one.is_proof(end, peer_oracle.extract(one.key.reveal(), message))

    def test_nothing_shows_itself(self):
        one = mixed()
        for text in (repr(one), str(one)):
            assert one.key.reveal().hex() not in text
            assert text == "Mixed(...)"
