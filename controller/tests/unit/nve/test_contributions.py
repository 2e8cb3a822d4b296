# SPDX-License-Identifier: Apache-2.0
"""The agent's part alone: what it says when, and what it installs."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from nvo3sec.domain.keys.contribution import End, KeyName, Pair, PeerContribution, PeerProof, PeerSa, PeerUpdate
from nvo3sec.domain.keys.contribution.peers import CONTRIBUTIONS_PER_PEER, SAS_PER_PEER
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import KeyState, NveView, PeerView, ReceiveSa, SendSa
from nvo3sec.domain.overlay.model import Rate, Suite, TunnelKeys
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.nve.contributions import PeerContributions
from nvo3sec.nve.relayed import LOOKED_AT_ONCE
from nvo3sec.system.repeats import AGAIN_S
from peer_world import ADDRESSES, EPOCH, INCARNATIONS, NVA_KEY, SPI, PeerWorld, peer

SUITE = Suite.CHASKEY12


def view(tunnel_keys: TunnelKeys = TunnelKeys.NVA_AND_PEER) -> NveView:
    leaf2 = PeerView("leaf2", ADDRESSES["leaf2"], 256, 1, 2, Rate(1, 1), ())
    return NveView(1, "leaf1", ADDRESSES["leaf1"], 1600, (), (), (), (leaf2,), (), 30.0, 10.0, tunnel_keys)


class Ends:
    """leaf1's `PeerContributions`, and leaf2's keys."""

    def __init__(self, world: PeerWorld, **options) -> None:
        self.world = world
        self.peering = PeerContributions("leaf1", INCARNATIONS["leaf1"], self._make, **options)
        self.two = world.keys("leaf2")
        self.peering.follow(view(), 0.0)
        self.peering.take(PeerUpdate(EPOCH, (self.theirs(),)), 0.0)
        assert self.peering.check(0.0) == (1, True)
        (self.ours,) = self.peering.news(frozenset()).contributions
        self.two.take(peer("leaf1"), EPOCH, self.ours)

    def _make(self, name, addresses, incarnation):
        keys = self.world.keys(name, incarnation=incarnation)
        assert addresses == (ADDRESSES[name],)
        return keys

    def theirs(self) -> PeerContribution:
        return PeerContribution("leaf2", INCARNATIONS["leaf2"], EPOCH, self.two.contributions()[-1])

    @property
    def pair(self) -> Pair:
        return Pair(self.ours.name, self.two.contributions()[-1].name)

    def receiving(self, pair: Pair | None = None, key: Secret | None = NVA_KEY) -> KeyState:
        sa = ReceiveSa("leaf2", SUITE, SPI, 3, key, 60.0, pair=pair or self.pair)
        return KeyState(3, INCARNATIONS["leaf1"], (sa,), ())

    def sending(self, pair: Pair | None = None, key: Secret | None = NVA_KEY) -> KeyState:
        return KeyState(3, INCARNATIONS["leaf1"], (), (SendSa("leaf2", SUITE, SPI, key, 60.0, 3, pair or self.pair),))


@pytest.fixture
def ends(world) -> Ends:
    return Ends(world)


class TestSaying:
    def test_a_receiver_proves_only_what_its_switch_has(self, ends):
        ((received,), _) = ends.peering.sort(ends.receiving(), view(), 0.0)
        assert received.key not in (None, NVA_KEY)
        assert ends.peering.news(frozenset()) is None
        assert ends.peering.news({("leaf2", SUITE, SPI + 1)}) is None
        news = ends.peering.news({("leaf2", SUITE, SPI)})
        assert [one.name for one in news.proofs] == [KeyName("leaf2", SUITE, SPI, End.RECEIVER)]
        assert ends.peering.news({("leaf2", SUITE, SPI)}) is None, "once in a session"

    def test_everything_again_in_a_new_session(self, ends):
        ends.peering.sort(ends.receiving(), view(), 0.0)
        first = ends.peering.news({("leaf2", SUITE, SPI)})
        ends.peering.begin_session()
        again = ends.peering.news({("leaf2", SUITE, SPI)})
        assert again.contributions == (ends.ours,)
        assert again.proofs == first.proofs

    def test_a_refusal_is_reported_once(self, ends):
        for _ in range(3):
            false = PeerProof(KeyName("leaf2", SUITE, SPI, End.SENDER), b"f" * 32)
            ends.peering.take(PeerUpdate(EPOCH, (), (false,)), 0.0)
            ends.peering.sort(ends.sending(), view(), 0.0)
        assert [one.event for one in ends.peering.reports()] == ["peer-proof-refused"]
        assert ends.peering.reports() == ()

    @pytest.mark.parametrize("part", ["signature", "certificate", "statement", "size"])
    def test_a_refusal_says_whose_it_was(self, world, part):
        ends = Ends(world)
        good = ends.theirs().contribution
        wrong = {
            "signature": {"signature": bytes(64)},
            "certificate": {"chain": (b"no certificate",)},
            "statement": {"statement": b"no statement"},
            "size": {"chain": ()},
        }
        one = replace(good, **wrong[part])
        ends.peering.take(PeerUpdate(EPOCH, (PeerContribution("leaf2", INCARNATIONS["leaf2"], EPOCH, one),), ()), 0.0)
        ends.peering.check(0.0)
        (report,) = ends.peering.reports()
        assert report.event == "peer-contribution-refused"
        assert re.match("[a-z-]+: leaf2: ", report.detail)

    def test_and_again_with_its_number_when_it_comes_back(self, world):
        now = 0.0
        ends = Ends(world, clock=lambda: now)

        def refused() -> list[str]:
            false = PeerProof(KeyName("leaf2", SUITE, SPI, End.SENDER), b"f" * 32)
            ends.peering.take(PeerUpdate(EPOCH, (), (false,)), 0.0)
            ends.peering.sort(ends.sending(), view(), 0.0)
            return [one.detail for one in ends.peering.reports()]

        (first,) = refused()
        for _ in range(3):  # as long as it goes on, it is known
            now += AGAIN_S - 1
            assert refused() == []
        now += AGAIN_S
        assert refused() == [f"{first} (again, 5 times in all)"]
        assert refused() == []

    def test_a_state_is_told_once_for_each_change(self, world, tmp_path):
        """However many views say the same, and however far apart they are."""
        now = 0.0
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        ends = Ends(world, memory=memory, clock=lambda: now)
        strict = Ends(world, required=True, clock=lambda: now)
        for _ in range(2):
            for tunnel_keys, downgraded, insisting in (
                (TunnelKeys.NVA, ["tunnel-keys-downgraded"], ["tunnel-keys-refused"]),
                (TunnelKeys.NVA, [], []),
                (TunnelKeys.NVA_AND_PEER, [], []),
                (TunnelKeys.NVA_AND_PEER, [], []),
            ):
                now += 2 * AGAIN_S
                for one, expected in ((ends, downgraded), (strict, insisting)):
                    one.peering.follow(view(tunnel_keys), 0.0)
                    assert [report.event for report in one.peering.reports()] == expected

    def test_without_credentials(self, world):
        peering = PeerContributions("leaf1", INCARNATIONS["leaf1"], None)
        peering.follow(view(), 0.0)
        assert peering.sort(Ends(world).receiving(), view(), 0.0) == ((), ())
        assert [one.event for one in peering.reports()] == ["peer-keys-impossible"]
        assert peering.news(frozenset()) is None


class TestInstalling:
    def test_a_sender_waits_for_the_proof(self, ends):
        sa = ends.sending()
        (_, (waiting,)) = ends.peering.sort(sa, view(), 0.0)
        assert waiting.key is None
        theirs = _mixed_by_two(ends)
        ends.peering.take(PeerUpdate(EPOCH, (), (PeerProof(KeyName("leaf2", SUITE, SPI, End.SENDER), theirs),)), 0.0)
        (_, (ready,)) = ends.peering.sort(sa, view(), 0.0)
        assert ready.key not in (None, NVA_KEY)

    def test_a_proof_may_come_before_its_key(self, ends):
        theirs = _mixed_by_two(ends)
        ends.peering.take(PeerUpdate(EPOCH, (), (PeerProof(KeyName("leaf2", SUITE, SPI, End.SENDER), theirs),)), 0.0)
        (_, (ready,)) = ends.peering.sort(ends.sending(), view(), 0.0)
        assert ready.key not in (None, NVA_KEY)

    @pytest.mark.parametrize("tunnel_keys", TunnelKeys)
    def test_a_key_that_is_to_be_mixed_is_never_taken_as_it_came(self, ends, tunnel_keys):
        """Not even when keys are no longer to be mixed: the peer may have mixed this one."""
        ends.peering.follow(view(tunnel_keys), 0.0)
        lost = Pair(b"\1" * 32, ends.pair.theirs)
        ((received,), _) = ends.peering.sort(ends.receiving(lost), view(tunnel_keys), 0.0)
        assert received.key is None
        (_, (sent,)) = ends.peering.sort(ends.sending(lost), view(tunnel_keys), 0.0)
        assert sent.key is None

    def test_a_key_of_the_nva_alone(self, ends):
        plain = KeyState(3, INCARNATIONS["leaf1"], (ReceiveSa("leaf2", SUITE, SPI, 3, NVA_KEY, 60.0),), ())
        ((received,), _) = ends.peering.sort(plain, view(), 0.0)
        assert received.key is None
        ends.peering.follow(view(TunnelKeys.NVA), 0.0)
        ((received,), _) = ends.peering.sort(plain, view(TunnelKeys.NVA), 0.0)
        assert received.key == NVA_KEY

    def test_a_key_that_was_mixed_stays_so(self, ends):
        ((mixed,), _) = ends.peering.sort(ends.receiving(), view(), 0.0)
        ends.peering.follow(view(TunnelKeys.NVA), 0.0)
        nothing = KeyState(3, INCARNATIONS["leaf1"], (ReceiveSa("leaf2", SUITE, SPI, 3, NVA_KEY, 60.0),), ())
        ((received,), _) = ends.peering.sort(nothing, view(TunnelKeys.NVA), 0.0)
        assert received.key == mixed.key

    def test_an_agent_that_insists(self, world):
        ends = Ends(world, required=True)
        plain = KeyState(3, INCARNATIONS["leaf1"], (ReceiveSa("leaf2", SUITE, SPI, 3, NVA_KEY, 60.0),), ())
        ends.peering.follow(view(TunnelKeys.NVA), 0.0)
        ((received,), _) = ends.peering.sort(plain, view(TunnelKeys.NVA), 0.0)
        assert received.key is None
        assert [one.event for one in ends.peering.reports()] == ["tunnel-keys-refused"]

    def test_a_downgrade_is_told_also_by_an_agent_that_was_restarted(self, world, tmp_path):
        def agent(**options) -> PeerContributions:
            memory = AgentMemory("leaf1", tmp_path / "agent.json")
            keys = lambda name, _, incarnation: world.keys(name, incarnation=incarnation)  # noqa: E731
            return PeerContributions("leaf1", INCARNATIONS["leaf1"], keys, memory=memory, **options)

        never = agent()
        never.follow(view(TunnelKeys.NVA), 0.0)
        assert never.reports() == ()
        agent().follow(view(), 0.0)
        for _ in range(2):
            after = agent()
            after.follow(view(TunnelKeys.NVA), 0.0)
            assert [one.event for one in after.reports()] == ["tunnel-keys-downgraded"]
        strict = agent(required=True)
        strict.follow(view(TunnelKeys.NVA), 0.0)
        assert [one.event for one in strict.reports()] == ["tunnel-keys-refused"]

    def test_whether_an_incarnation_had_mixed_keys_only_is_remembered(self, tmp_path):
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        assert not memory.is_mixed_only(b"")
        memory.mixed_only(INCARNATIONS["leaf1"])
        again = AgentMemory("leaf1", tmp_path / "agent.json")
        assert again.is_mixed_only(INCARNATIONS["leaf1"])
        assert not again.is_mixed_only(INCARNATIONS["leaf2"])
        again.mixed_only(b"")  # an agent without --require-peer-keys: there may be others from now on
        assert not AgentMemory("leaf1", tmp_path / "agent.json").is_mixed_only(INCARNATIONS["leaf1"])

    def test_a_contribution_that_comes_before_the_view_that_names_its_peer(self, world):
        peering = Ends(world).peering
        two = world.keys("leaf3")
        peering.take(
            PeerUpdate(EPOCH, (PeerContribution("leaf3", INCARNATIONS["leaf3"], EPOCH, two.contributions()[-1]),)),
            0.0,
        )
        peering.check(0.0)
        assert not peering._keys.has("leaf3", two.contributions()[-1].name)
        leaf3 = PeerView("leaf3", ADDRESSES["leaf3"], 256, 1, 2, Rate(1, 1), ())
        both = NveView(2, "leaf1", ADDRESSES["leaf1"], 1600, (), (), (), (*view().peers, leaf3), (), 30.0, 10.0)
        peering.follow(both, 0.0)
        peering.check(0.0)
        assert peering._keys.has("leaf3", two.contributions()[-1].name)

    def test_caps(self, ends):
        many = tuple(PeerProof(KeyName("leaf2", SUITE, spi, End.SENDER), os.urandom(32)) for spi in range(1, 70_000))
        ends.peering.take(PeerUpdate(EPOCH, (), many), 0.0)
        (kept,) = ends.peering._relayed._peers.values()
        assert list(kept.proofs) == [one.name for one in many[-SAS_PER_PEER:]]

    def test_a_peer_that_relays_thousands_is_looked_at_a_few_times(self, ends):
        """With a signature that is wrong, each; in all forms, old and current. Another waits for none of it."""
        genuine = ends.theirs()
        checks = []
        verifier = ends.peering._keys._verifier
        check = verifier.check
        verifier.check = lambda device, *rest: (checks.append(device), check(device, *rest))
        false = [
            replace(
                genuine,
                contribution=ends.world.contribution("leaf2", signed_by="leaf3", expiry=int(ends.world.now()) + n),
            )
            for n in range(1, 65)
        ]
        for second in range(10):
            for one in false * 20:
                ends.peering.take(PeerUpdate(EPOCH, (one,)), float(second))
            (kept,) = ends.peering._relayed._peers.values()
            assert len(kept.contributions) <= CONTRIBUTIONS_PER_PEER
            while ends.peering.check(float(second))[0]:
                pass
        assert len(checks) <= LOOKED_AT_ONCE + 10
        assert not kept.not_before, "what stays wrong is not looked at again"

    def test_others_do_not_wait(self, world):
        """Of three that have something, each is looked at in the first turn, however much the first has."""
        ends = Ends(world)
        peers = [PeerView(name, ADDRESSES[name], 256, 1, 2, Rate(1, 1), ()) for name in ("leaf2", "leaf3")]
        ends.peering.follow(replace(view(), version=2, peers=tuple(peers)), 0.0)
        false = [
            replace(
                ends.theirs(), contribution=world.contribution("leaf2", signed_by="leaf3", expiry=int(world.now()) + n)
            )
            for n in range(1, 5)
        ]
        three = world.keys("leaf3").contributions()[-1]
        ends.peering.take(PeerUpdate(EPOCH, tuple(false)), 0.0)
        ends.peering.take(PeerUpdate(EPOCH, (PeerContribution("leaf3", INCARNATIONS["leaf3"], EPOCH, three),)), 0.0)
        order = [ends.peering._relayed.next(("leaf2", "leaf3"), 0.0).peer for _ in range(5)]
        assert order == ["leaf2", "leaf3", "leaf2", "leaf2", "leaf2"]

    def test_the_current_epoch_stays(self, ends):
        """Whatever comes of another one."""
        current = ends.theirs()
        ends.peering.take(PeerUpdate(EPOCH, (current,)), 0.0)
        for n in range(1, 20):
            old = ends.world.contribution("leaf2", epoch=EPOCH + n)
            ends.peering.take(PeerUpdate(EPOCH, (replace(current, epoch=EPOCH + n, contribution=old),)), 0.0)
        assert ends.peering._relayed.next(("leaf2",), 0.0) == current


def _mixed_by_two(ends: Ends) -> bytes:
    name = KeyName("leaf1", SUITE, SPI, End.RECEIVER)
    assert ends.two.key(PeerSa(name, 3, ends.pair.theirs, ends.pair.ours), NVA_KEY) is not None
    return ends.two.proof(name)
