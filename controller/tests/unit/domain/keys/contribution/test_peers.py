# SPDX-License-Identifier: Apache-2.0
"""Two NVEs and an NVA between them that does its duty, or does not."""

from __future__ import annotations

import dataclasses
import itertools
import os
from ipaddress import IPv4Address

import peer_oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.keys.contribution import (
    Contribution,
    ContributionRefused,
    End,
    Fault,
    KeyName,
    Own,
    Peer,
    PeerKeys,
    PeerSa,
    Statement,
)
from nvo3sec.domain.keys.contribution import peers as product
from nvo3sec.domain.keys.contribution.statement import LONGEST_LIFE_S
from nvo3sec.domain.keys.derivation import KeyContext, Purpose, derive_key, hkdf_info
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import DerivationError
from peer_world import ADDRESSES, DOMAIN, EPOCH, INCARNATIONS, SPI, Pair, PeerWorld, Role, peer

LATER = 1000.0
AFTER_ALL = LATER + product.HALF_GRACE_S


@pytest.fixture
def pair(world: PeerWorld) -> Pair:
    return Pair.of(world)


def fault(what, *arguments) -> Fault | None:
    try:
        what(*arguments)
    except ContributionRefused as error:
        return error.fault
    return None


class TestHonest:
    def test_both_have_the_same_key_and_each_believes_the_other(self, pair):
        sending, receiving = pair.sas()
        key = pair.one.key(sending, pair.nva_key)
        assert key is not None
        assert key == pair.two.key(receiving, pair.nva_key)
        assert len(key) == 16
        assert key != pair.nva_key
        assert not pair.one.is_confirmed(sending.name)
        assert pair.one.take_proof(sending.name, pair.two.proof(receiving.name))
        assert pair.two.take_proof(receiving.name, pair.one.proof(sending.name))
        assert pair.one.is_confirmed(sending.name)
        assert pair.two.is_confirmed(receiving.name)

    def test_nothing_before_the_peers_contribution(self, world):
        pair = Pair(world, world.keys("leaf1"), world.keys("leaf2"))
        sending, _ = pair.sas()
        assert pair.one.key(sending, pair.nva_key) is None
        assert pair.one.proof(sending.name) is None
        assert not pair.one.take_proof(sending.name, bytes(32))
        assert not pair.one.is_confirmed(sending.name)
        pair.exchange()
        assert pair.one.key(sending, pair.nva_key) is not None

    def test_two_of_anything_are_unrelated(self, pair):
        keys = set()
        for generation in (3, 4):
            pair.one.keep([], AFTER_ALL)
            for suite, spi in itertools.product(Suite, (1, 2)):
                sending, _ = pair.sas(spi, generation, suite)
                backwards = PeerSa(dataclasses.replace(sending.name, end=End.RECEIVER), generation, *_ends(sending))
                for sa in (sending, backwards):
                    keys.add(pair.one.key(sa, pair.nva_key))
                    keys.add(Secret(pair.one.proof(sa.name)))
        assert len(keys) == 2 * 2 * 8

    def test_the_same_contribution_again_is_no_news(self, pair):
        before = pair.two.contributions()[-1]
        assert not pair.one.take(peer("leaf2"), EPOCH, before)

    def test_answers_stay_the_same(self, pair):
        sending, _ = pair.sas()
        assert pair.one.key(sending, pair.nva_key) == pair.one.key(sending, pair.nva_key)

    def test_an_nva_that_restarted_and_knows_nothing_changes_nothing(self, pair):
        sending, receiving = pair.sas()
        key = pair.one.key(sending, pair.nva_key)
        pair.two.key(receiving, pair.nva_key)
        pair.one.take_proof(sending.name, pair.two.proof(receiving.name))
        nothing = dataclasses.replace(sending, ours=b"", theirs=b"")
        assert pair.one.key(nothing, pair.nva_key) == key
        assert pair.one.key(sending, None) == key
        assert pair.one.is_confirmed(sending.name)

    def test_without_a_key_of_the_nva_there_is_none(self, pair):
        assert pair.one.key(pair.sas()[0], None) is None


def _ends(sa: PeerSa) -> tuple[bytes, bytes]:
    return sa.ours, sa.theirs


class TestSwappedContributions:
    """The NVA puts another contribution under the peer's name."""

    def test_its_own(self, world, pair):
        false = world.contribution("leaf2", signed_by="nva1", role=Role.NVA)
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) in (Fault.CERTIFICATE, Fault.CERTIFICATE_ROLE)

    def test_its_own_under_the_peers_certificate(self, world, pair):
        genuine = pair.two.contributions()[-1]
        false = world.contribution("leaf2", signed_by="nva1", role=Role.NVA)
        false = dataclasses.replace(false, chain=genuine.chain)
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.SIGNATURE

    def test_its_own_key_under_the_peers_signature(self, world, pair):
        genuine = pair.two.contributions()[-1]
        false = dataclasses.replace(genuine, statement=world.statement().encode())
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.SIGNATURE

    def test_one_signed_by_an_nve_that_it_has_broken_into(self, world, pair):
        false = world.contribution("leaf2", signed_by="leaf3")
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.CERTIFICATE_NAME

    def test_that_of_another_nve(self, world, pair):
        other = world.keys("leaf3").contributions()[-1]
        assert fault(pair.one.take, peer("leaf2"), EPOCH, other) is Fault.DEVICE
        # ... and with all that it says of the peer changed to fit.
        other_as_peer = Peer("leaf2", (ADDRESSES["leaf3"],), INCARNATIONS["leaf3"])
        assert fault(pair.one.take, other_as_peer, EPOCH, other) is Fault.DEVICE

    def test_our_own(self, pair):
        ours = pair.one.contributions()[-1]
        assert fault(pair.one.take, peer("leaf1"), EPOCH, ours) is Fault.DEVICE
        assert fault(pair.one.take, peer("leaf2"), EPOCH, ours) is Fault.DEVICE

    def test_our_own_public_key_signed_by_the_peer(self, world, pair):
        ours = Statement.decode(pair.one.contributions()[-1].statement).public_key
        false = world.contribution("leaf2", public_key=ours)
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.OWN_KEY

    def test_one_of_an_earlier_incarnation(self, world, pair):
        old = world.keys("leaf2", incarnation=b"\x99" * 16).contributions()[-1]
        assert fault(pair.one.take, peer("leaf2"), EPOCH, old) is Fault.INCARNATION

    def test_one_of_an_earlier_epoch(self, pair):
        old = pair.two.contributions()[-1]
        for keys in (pair.one, pair.two):
            keys.begin(EPOCH + 1, LATER)
        assert fault(pair.one.take, peer("leaf2"), EPOCH + 1, old) is Fault.EPOCH

    def test_a_pair_of_two_epochs(self, pair):
        old = pair.two.contributions()[-1]
        pair.one.begin(EPOCH + 1, LATER)
        sending, _ = pair.sas()
        assert sending.theirs == old.name
        assert fault(pair.one.key, sending, pair.nva_key) is Fault.EPOCH

    def test_an_old_one_in_its_time(self, world, pair):
        """Whose private half is gone: the NVA can name it, and even so nobody can prove anything with it."""
        other = world.keys("leaf2")  # the agent of leaf2 began anew, in the same incarnation and epoch
        pair.two.begin(EPOCH + 1, LATER)
        sending, receiving = pair.sas()
        old = next(iter(pair.one._theirs["leaf2"]))
        pair.two = other
        sending = dataclasses.replace(sending, theirs=old)
        assert pair.one.key(sending, pair.nva_key) is not None
        receiving = dataclasses.replace(receiving, ours=old)
        pair.two.take(peer("leaf1"), EPOCH, pair.one.contributions()[-1])
        assert pair.two.key(receiving, pair.nva_key) is None
        assert pair.two.proof(receiving.name) is None

    def test_expired(self, world, pair):
        late = world.contribution("leaf2", expiry=int(world.now()) - 1)
        assert fault(pair.one.take, peer("leaf2"), EPOCH, late) is Fault.EXPIRED

    def test_low_order(self, world, pair):
        false = world.contribution("leaf2", public_key=bytes(32))
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.LOW_ORDER

    def test_what_was_refused_gives_no_key(self, world, pair):
        false = world.contribution("leaf2", signed_by="leaf3")
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false)
        sending, _ = pair.sas()
        sending = dataclasses.replace(sending, theirs=false.name)
        assert pair.one.key(sending, pair.nva_key) is None
        assert not pair.one.has("leaf2", false.name)

    def test_another_signature_of_the_same_statement_is_checked_too(self, pair):
        genuine = pair.two.contributions()[-1]
        false = dataclasses.replace(genuine, signature=b"false")
        assert fault(pair.one.take, peer("leaf2"), EPOCH, false) is Fault.SIGNATURE

    def test_one_pair_for_one_end_and_another_for_the_other(self, world, pair):
        """leaf2 has two contributions; leaf1 is told of the one, leaf2 of the other."""
        first = pair.two.contributions()[-1]
        world.wall.advance(seconds=product.LIFE_S / 2)
        try:
            pair.two.begin(EPOCH, LATER)
            pair.one.take(peer("leaf2"), EPOCH, pair.two.contributions()[-1])
            sending, receiving = pair.sas()
            sending = dataclasses.replace(sending, theirs=first.name)
            assert pair.one.key(sending, pair.nva_key) != pair.two.key(receiving, pair.nva_key)
            assert fault(pair.one.take_proof, sending.name, pair.two.proof(receiving.name)) is Fault.CONFIRMATION
        finally:
            world.wall.advance(seconds=-product.LIFE_S / 2)

    def test_a_peers_contribution_is_not_another_peers(self, world, pair):
        pair.one.take(peer("leaf3"), EPOCH, world.keys("leaf3").contributions()[-1])
        third = next(iter(pair.one._theirs["leaf3"]))
        sending, _ = pair.sas()
        assert pair.one.key(dataclasses.replace(sending, theirs=third), pair.nva_key) is None


class TestProofs:
    """The NVA carries proofs; it can lose, repeat, and change them."""

    @pytest.fixture
    def mixed(self, pair):
        sending, receiving = pair.sas()
        pair.one.key(sending, pair.nva_key)
        pair.two.key(receiving, pair.nva_key)
        return pair, sending.name, receiving.name

    def test_reflected(self, mixed):
        pair, sending, receiving = mixed
        assert fault(pair.one.take_proof, sending, pair.one.proof(sending)) is Fault.CONFIRMATION
        assert fault(pair.two.take_proof, receiving, pair.two.proof(receiving)) is Fault.CONFIRMATION
        assert not pair.one.is_confirmed(sending)

    def test_reflected_into_the_other_direction(self, mixed):
        pair, sending, receiving = mixed
        there = PeerSa(sending, 3, pair.sas()[0].ours, pair.sas()[0].theirs)
        back = dataclasses.replace(there, name=dataclasses.replace(sending, end=End.RECEIVER))
        pair.one.key(back, pair.nva_key)
        for proof in (pair.one.proof(sending), pair.two.proof(receiving)):
            assert fault(pair.one.take_proof, back.name, proof) is Fault.CONFIRMATION

    def test_replayed_for_another_spi(self, mixed):
        pair, _, receiving = mixed
        other, _ = pair.sas(spi=SPI + 1)
        pair.one.key(other, pair.nva_key)
        assert fault(pair.one.take_proof, other.name, pair.two.proof(receiving)) is Fault.CONFIRMATION
        assert not pair.one.is_confirmed(other.name)

    def test_replayed_after_a_new_contribution(self, world, mixed):
        """The agent of leaf1 restarts: a new private half, everything else as it was."""
        pair, sending, receiving = mixed
        recorded = pair.two.proof(receiving)
        pair.one.take_proof(sending, recorded)
        pair.one = world.keys("leaf1")
        pair.exchange()
        again, _ = pair.sas()
        assert pair.one.key(again, pair.nva_key) is not None
        assert fault(pair.one.take_proof, again.name, recorded) is Fault.CONFIRMATION

    def test_under_another_key_of_the_nva(self, pair):
        sending, receiving = pair.sas()
        pair.one.key(sending, pair.nva_key)
        pair.two.key(receiving, Secret(b"\xab" * 16))
        assert fault(pair.one.take_proof, sending.name, pair.two.proof(receiving.name)) is Fault.CONFIRMATION

    def test_every_byte_counts(self, mixed):
        pair, sending, receiving = mixed
        whole = pair.two.proof(receiving)
        for position in range(len(whole)):
            altered = whole[:position] + bytes([whole[position] ^ 0x80]) + whole[position + 1 :]
            assert fault(pair.one.take_proof, sending, altered) is Fault.CONFIRMATION
        assert not pair.one.is_confirmed(sending)

    @pytest.mark.parametrize("length", [0, 16, 31, 33, 1 << 20])
    def test_size(self, mixed, length):
        assert fault(mixed[0].one.take_proof, mixed[1], bytes(length)) is Fault.SIZE

    def test_a_false_one_does_not_undo_a_true_one(self, mixed):
        pair, sending, receiving = mixed
        pair.one.take_proof(sending, pair.two.proof(receiving))
        assert fault(pair.one.take_proof, sending, bytes(32)) is Fault.CONFIRMATION
        assert pair.one.is_confirmed(sending)

    def test_a_refusal_shows_neither_proof_nor_key(self, mixed):
        pair, sending, _ = mixed
        with pytest.raises(ContributionRefused) as caught:
            pair.one.take_proof(sending, b"\xa5" * 32)
        text = f"{caught.value}{caught.value!r}{caught.value.args}"
        assert "a5a5" not in text
        assert pair.one.proof(sending).hex()[:8] not in text
        assert f"{SPI:08x}" in text


class TestCompromisedNva:
    """It has the epoch's secret, every context, everything that it relayed, and a packet that somebody recorded."""

    SECRET = Secret(bytes(range(32)))

    def context(self) -> KeyContext:
        return KeyContext(
            Purpose.TUNNEL,
            Suite.CHASKEY12,
            "leaf1",
            "leaf2",
            ADDRESSES["leaf1"],
            ADDRESSES["leaf2"],
            INCARNATIONS["leaf1"],
            INCARNATIONS["leaf2"],
            SPI,
            3,
        )

    def test_what_it_can_derive_is_not_the_key(self, world, pair):
        nva_key = derive_key(self.SECRET, self.context())
        sending, receiving = pair.sas()
        key = pair.one.key(sending, nva_key).reveal()
        pair.two.key(receiving, nva_key)
        relayed = [pair.one.proof(sending.name), pair.two.proof(receiving.name)]
        statements = [keys.contributions()[-1].statement for keys in (pair.one, pair.two)]
        publics = [statement[-32:] for statement in statements]
        context = peer_oracle.transcript(*statements, "leaf1", "leaf2", "tunnel", 1, SPI, 3)
        # Whatever it puts in the place of the exchange: what is public, what is its own, its own ephemeral key.
        mine = os.urandom(32)
        guesses = [
            *publics,
            *relayed,
            *(peer_oracle.x25519(mine, public) for public in publics),
            peer_oracle.x25519(publics[0], publics[1]),
            bytes(32),
            b"",
            nva_key.reveal(),
            self.SECRET.reveal(),
            hkdf_info(self.context()),
        ]
        made = {key}
        for guess in guesses:
            for salt in (nva_key.reveal(), self.SECRET.reveal()):
                found = peer_oracle.mix(salt, guess, context)
                assert key not in found
                assert not {*relayed} & {*found}
                made.update(found)
        for purpose in Purpose:
            group = purpose in (Purpose.GROUP, Purpose.LINK_GROUP, Purpose.CONTROL_GROUP)
            changed = dataclasses.replace(
                self.context(), purpose=purpose, receiver_incarnation=b"" if group else INCARNATIONS["leaf2"]
            )
            assert derive_key(self.SECRET, changed).reveal() != key
        assert len(made) == 1 + 3 * 2 * len(guesses)

    def test_with_one_private_half_it_can(self, world):
        """The nvo3ref itself is able: what stops the NVA is what it lacks, not what the test does wrong."""
        private = os.urandom(32)
        own = Own(DOMAIN, "leaf1", (ADDRESSES["leaf1"],), INCARNATIONS["leaf1"])
        one = PeerKeys(
            own,
            signer=world.signer("leaf1"),
            verifier=world.verifier(),
            random_bytes=lambda _: private,
            wall_seconds=world.now,
        )
        one.begin(EPOCH, LATER)
        pair = Pair(world, one, world.keys("leaf2"))
        pair.exchange()
        sending, _ = pair.sas()
        key = pair.one.key(sending, pair.nva_key)
        statements = [keys.contributions()[-1].statement for keys in (pair.one, pair.two)]
        context = peer_oracle.transcript(*statements, "leaf1", "leaf2", "tunnel", 1, SPI, 3)
        shared = peer_oracle.x25519(private, statements[1][-32:])
        assert peer_oracle.mix(pair.nva_key.reveal(), shared, context)[0] == key.reveal()

    def test_in_the_middle_with_ephemeral_keys_of_its_own(self, world, pair):
        for victim, other in ((pair.one, "leaf2"), (pair.two, "leaf1")):
            for signed_by, role in (("nva1", Role.NVA), ("leaf3", Role.NVE)):
                false = world.contribution(other, signed_by=signed_by, role=role)
                assert fault(victim.take, peer(other), EPOCH, false) in (
                    Fault.CERTIFICATE_NAME,
                    Fault.CERTIFICATE_ROLE,
                    Fault.CERTIFICATE,
                )

    def test_the_same_spi_with_another_key(self, pair):
        sending, _ = pair.sas()
        pair.one.key(sending, pair.nva_key)
        for sa, key in (
            (sending, Secret(b"\xab" * 16)),
            (dataclasses.replace(sending, generation=4), pair.nva_key),
            (dataclasses.replace(sending, theirs=b"\1" * 32), pair.nva_key),
            (dataclasses.replace(sending, ours=b"\1" * 32), pair.nva_key),
        ):
            assert fault(pair.one.key, sa, key) is Fault.KEY_CHANGED


class TestErasing:
    def test_a_private_half_that_nothing_needs_is_erased(self, pair):
        sending, _ = pair.sas()
        key = pair.one.key(sending, pair.nva_key)
        private = next(iter(pair.one._halves.values())).private
        pair.one.begin(EPOCH + 1, LATER)
        assert pair.one.keep([sending], AFTER_ALL)
        assert private.is_erased
        assert len(pair.one.contributions()) == 1
        assert pair.one.key(sending, pair.nva_key) == key, "what was mixed stays"

    def test_not_before_what_was_planned_with_it_is_mixed(self, pair):
        first = pair.one.contributions()[-1].name
        sending, _ = pair.sas()
        pair.one.begin(EPOCH + 1, LATER)
        second = pair.one.contributions()[-1].name
        assert not pair.one.keep([sending], AFTER_ALL)
        assert [one.name for one in pair.one.contributions()] == [first, second]
        assert pair.one.key(sending, pair.nva_key) is not None
        assert pair.one.keep([sending], AFTER_ALL)
        assert [one.name for one in pair.one.contributions()] == [second]

    def test_not_at_once(self, pair):
        first = pair.one.contributions()[-1].name
        pair.one.begin(EPOCH + 1, LATER)
        assert not pair.one.keep([], AFTER_ALL - 0.1)
        assert first in [one.name for one in pair.one.contributions()]
        assert pair.one.keep([], AFTER_ALL)
        assert not pair.one.keep([], AFTER_ALL), "nothing is left to erase"

    def test_never_more_than_three(self, pair):
        for epoch in range(EPOCH + 1, EPOCH + 9):
            pair.one.begin(epoch, LATER)
        assert len(pair.one.contributions()) == product.HALVES_LIMIT

    def test_a_restarted_agent_cannot_mix_again(self, world, pair):
        sending, receiving = pair.sas()
        pair.one.key(sending, pair.nva_key)
        pair.two.key(receiving, pair.nva_key)
        again = world.keys("leaf1")
        again.take(peer("leaf2"), EPOCH, pair.two.contributions()[-1])
        assert again.key(sending, pair.nva_key) is None

    def test_end_of_the_incarnation(self, pair):
        sending, _ = pair.sas()
        pair.one.key(sending, pair.nva_key)
        private = next(iter(pair.one._halves.values())).private
        pair.one.erase()
        assert private.is_erased
        assert not pair.one.contributions()
        assert pair.one.key(sending, pair.nva_key) is None

    def test_keys_that_are_gone_are_forgotten(self, pair):
        sending, receiving = pair.sas()
        pair.one.key(sending, pair.nva_key)
        pair.two.key(receiving, pair.nva_key)
        pair.one.take_proof(sending.name, pair.two.proof(receiving.name))
        pair.one.keep([], AFTER_ALL)
        assert pair.one.proof(sending.name) is None
        assert not pair.one.is_confirmed(sending.name)

    def test_peers_that_are_gone_are_forgotten(self, pair):
        theirs = pair.two.contributions()[-1].name
        pair.one.forget_peers({"leaf2"})
        assert pair.one.has("leaf2", theirs)
        pair.one.forget_peers(set())
        assert not pair.one.has("leaf2", theirs)


class TestRenewal:
    def test_an_nva_that_counts_from_the_beginning_again(self, pair):
        first = pair.one.contributions()[-1]
        pair.one.begin(EPOCH + 1, LATER)
        assert pair.one.begin(EPOCH, LATER)
        assert pair.one.contributions()[-1].statement[-32:] != first.statement[-32:]

    def test_one_for_each_epoch(self, pair):
        assert not pair.one.begin(EPOCH, LATER)
        assert pair.one.begin(EPOCH + 1, LATER)
        publics = {one.statement[-32:] for one in pair.one.contributions()}
        assert len(publics) == 2

    def test_before_the_statement_expires(self, world):
        keys = world.keys("leaf1", life_s=1000)
        assert not keys.begin(EPOCH, LATER)
        world.wall.advance(seconds=501)
        try:
            assert keys.begin(EPOCH, LATER)
        finally:
            world.wall.advance(seconds=-501)

    def test_a_renewed_certificate_signs_the_same_statement(self, world):
        signer = world.signer("leaf1")
        keys = world.keys("leaf1", signer=signer)
        before = keys.contributions()
        world.authority.issue(world.name(Role.NVE, "leaf1"), renew=True)
        assert keys.begin(EPOCH, LATER)
        after = keys.contributions()
        assert [one.name for one in after] == [one.name for one in before]
        assert [one.chain for one in after] == [signer.chain()] != [one.chain for one in before]
        two = world.keys("leaf2")
        assert two.take(peer("leaf1"), EPOCH, before[0])
        assert not two.take(peer("leaf1"), EPOCH, after[0])
        assert not keys.begin(EPOCH, LATER)

    @pytest.mark.parametrize("life_s", [0, LONGEST_LIFE_S + 1])
    def test_life(self, world, life_s):
        with pytest.raises(DerivationError):
            world.keys("leaf1", life_s=life_s)


class Trusting:
    def check(self, device, purpose, message, signature, chain) -> None:
        pass

    def sign(self, purpose, message):
        return b"signature", (b"certificate",)

    def chain(self):
        return (b"certificate",)


class TestLimits:
    def test_contributions_of_a_peer(self, world, pair):
        two = pair.two.contributions()[-1]
        more = [world.contribution("leaf2", expiry=int(world.now()) + n) for n in range(1, 9)]
        for one in more:
            assert pair.one.take(peer("leaf2"), EPOCH, one)
        assert len(pair.one._theirs["leaf2"]) == product.CONTRIBUTIONS_PER_PEER
        assert not pair.one.has("leaf2", two.name)
        assert pair.one.has("leaf2", more[-1].name)

    def test_peers(self, world, monkeypatch):
        monkeypatch.setattr(product, "PEERS_LIMIT", 1)
        one = world.keys("leaf1")
        assert one.take(peer("leaf2"), EPOCH, world.contribution("leaf2"))
        assert fault(one.take, peer("leaf3"), EPOCH, world.contribution("leaf3")) is Fault.LIMIT
        assert one.take(peer("leaf2"), EPOCH, world.contribution("leaf2", expiry=int(world.now()) + 9))

    def test_keys(self, pair):
        for spi in range(1, product.SAS_PER_PEER + 1):
            assert pair.one.key(pair.sas(spi)[0], pair.nva_key) is not None
        assert fault(pair.one.key, pair.sas(spi + 1)[0], pair.nva_key) is Fault.LIMIT


class TestEverythingMatters:
    CONTEXT = st.fixed_dictionaries(
        {
            "incarnation": st.sampled_from([b"\x21" * 16, b"\x22" * 16]),
            "sender_address": st.sampled_from(["192.0.2.2", "192.0.2.9"]),
            "epoch": st.integers(1, 3),
            "suite": st.sampled_from(list(Suite)),
            "spi": st.integers(1, 2**32 - 1),
            "generation": st.integers(1, 2**32 - 1),
            "nva_key": st.sampled_from([b"\xaa" * 16, b"\xab" * 16]),
            "end": st.sampled_from(list(End)),
        }
    )

    def outcome(self, context) -> tuple[bytes, bytes, bytes]:
        """Of an NVE with the same random numbers each time."""
        trusting = Trusting()

        def keys(name: str, address: str, incarnation: bytes, seed: bytes) -> PeerKeys:
            own = Own(DOMAIN, name, (IPv4Address(address),), incarnation)
            made = PeerKeys(
                own, signer=trusting, verifier=trusting, random_bytes=lambda _: seed, wall_seconds=lambda: 1000.0
            )
            made.begin(context["epoch"], 0.0)
            return made

        one = keys("leaf1", "192.0.2.1", b"\x11" * 16, b"\1" * 32)
        two = keys("leaf2", context["sender_address"], context["incarnation"], b"\2" * 32)
        facts = Peer("leaf2", (IPv4Address(context["sender_address"]),), context["incarnation"])
        one.take(facts, context["epoch"], two.contributions()[-1])
        sa = PeerSa(
            KeyName("leaf2", context["suite"], context["spi"], context["end"]),
            context["generation"],
            one.contributions()[-1].name,
            two.contributions()[-1].name,
        )
        key = one.key(sa, Secret(context["nva_key"]))
        mixed = one._known[sa.name].mixed
        return key.reveal(), mixed.proof(End.SENDER), mixed.proof(End.RECEIVER)

    @settings(deadline=None, max_examples=60)
    @given(CONTEXT, CONTEXT)
    def test_contexts_that_differ_have_nothing_in_common(self, one, other):
        ours, theirs = self.outcome(one), self.outcome(other)
        if one == other:
            assert ours == theirs
        else:
            assert not {*ours} & {*theirs}


def test_nothing_shows_itself(pair):
    sending, _ = pair.sas()
    key = pair.one.key(sending, pair.nva_key)
    text = repr(vars(pair.one)) + repr(pair.one) + repr(Contribution(b"a", b"b", ()))
    assert key.reveal().hex() not in text
    assert repr(key.reveal())[2:-1] not in text
    assert "PrivateHalf(32 bytes)" in repr(vars(pair.one))
