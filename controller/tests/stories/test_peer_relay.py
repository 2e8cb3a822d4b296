# SPDX-License-Identifier: Apache-2.0
"""An NVA that relays, and agents that do what they do, without switches: NVA, `PeerContributions`, `SwitchKeys` as they
are."""

from __future__ import annotations

import asyncio
import dataclasses
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvo3sec.domain.keys.contribution import (
    Contribution,
    ContributionRefused,
    Fault,
    Statement,
)
from nvo3sec.domain.keys.contribution import peers as contribution_peers
from nvo3sec.domain.overlay.model import TunnelKeys
from nvo3sec.errors import OperatorError
from nvo3sec.processes.development import Controller
from peer_world import PeerWorld, public_of
from relayed_overlay import DOMAIN, LEAVES, Overlay


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> PeerWorld:
    return PeerWorld(tmp_path_factory.mktemp("relay"))


ALL = {(one, other) for one in LEAVES for other in LEAVES if one != other}


def scenario(lab, what, *names: str, **options) -> None:
    async def run() -> None:
        overlay = Overlay(lab, **options)
        await overlay.join(*(names or LEAVES))
        await what(overlay)

    asyncio.run(run())


def _is_planned(overlay: Overlay) -> bool:
    return any(one.planned for one in overlay.nva.administration.directions() if one.tunnel.receiver == "leaf2")


def sending(overlay: Overlay) -> dict[tuple[str, str], tuple[int, bytes]]:
    """SPI and key of each direction."""
    return {(name, sa.peer): (sa.spi, sa.key.reveal()) for name, agent in overlay.agents.items() for sa in agent.send}


class TestHonest:
    def test_every_tunnel_opens_with_keys_that_the_nva_has_not(self, lab):
        async def what(overlay):
            assert overlay.open_tunnels() == ALL
            keys = {key for _, key in sending(overlay).values()}
            assert len(keys) == 6
            for name in LEAVES:
                receive, send = overlay.nva.state.keys.for_nve(name, overlay.now)
                assert not keys & {sa.key.reveal() for sa in (*receive, *send)}
                assert overlay.agents[name].reports == []

        scenario(lab, what)

    def test_rotation_loses_nothing_and_uses_new_contributions(self, lab):
        async def what(overlay):
            before = sending(overlay)
            halves = {name: agent.peering._keys._halves for name, agent in overlay.agents.items()}
            first = {name: next(iter(known.values())).private for name, known in halves.items()}
            overlay.now += 2
            overlay.nva.administration.rotate()
            await overlay.settle()  # which looks after each step
            after = sending(overlay)
            assert overlay.open_tunnels() == ALL
            assert all(after[one][0] != before[one][0] for one in ALL)
            assert not {key for _, key in after.values()} & {key for _, key in before.values()}
            assert {len(known) for known in halves.values()} == {2}
            await overlay.after(contribution_peers.HALF_GRACE_S)
            overlay.nva.administration.rotate()
            await overlay.settle()
            assert all(private.is_erased for private in first.values())
            assert overlay.open_tunnels() == ALL
            assert not [report for agent in overlay.agents.values() for report in agent.reports]

        scenario(lab, what)

    def test_a_sender_never_leaves_its_old_key_before_the_new_one_is_proved(self, lab):
        async def what(overlay):
            withheld = []

            def withhold(_name, update):
                withheld.extend(update.proofs)
                return dataclasses.replace(update, proofs=())

            before = sending(overlay)
            overlay.tamper = withhold
            overlay.now += 2
            overlay.nva.administration.rotate()
            await overlay.settle()
            assert sending(overlay) == before
            assert withheld
            await overlay.after(DOMAIN.lifetimes.grace_s + 1)
            assert overlay.open_tunnels() == ALL
            overlay.tamper = lambda _name, update: update
            for name, agent in overlay.agents.items():
                overlay.nva.state.contributing.relay.joined(
                    name,
                    agent.incarnation,
                    overlay.nva.state.membership.peers_of(name),
                    overlay.nva.state.keys.tunnels_of(name),
                )
                agent.session.push_peers()
            await overlay.settle()
            assert overlay.open_tunnels() == ALL
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items())

        scenario(lab, what)


class TestRestarts:
    def test_an_agent(self, lab):
        async def what(overlay):
            before = sending(overlay)
            await overlay.restart("leaf2")
            await overlay.settle()
            assert sending(overlay) == before
            assert overlay.open_tunnels() == ALL
            overlay.now += 2
            overlay.nva.administration.rotate()
            await overlay.settle()
            assert overlay.open_tunnels() == ALL
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items())

        scenario(lab, what)

    def test_the_nva(self, lab):
        """It remembers nothing here: its epochs begin at 1 again."""

        async def what(overlay):
            for _ in range(3):
                overlay.nva.administration.rotate()
                await overlay.after(DOMAIN.lifetimes.grace_s + 2)
            before = sending(overlay)
            overlay.start_nva()
            for agent in overlay.agents.values():
                await agent.register()
            await overlay.settle()
            assert overlay.open_tunnels() == ALL
            await overlay.after(DOMAIN.lifetimes.grace_s + 2)
            overlay.nva.administration.rotate()
            await overlay.settle()
            await overlay.after(2)
            assert overlay.open_tunnels() == ALL
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items())

        scenario(lab, what)

    def test_a_switch(self, lab):
        async def what(overlay):
            agent = overlay.agents["leaf2"]
            await agent.session.close()
            agent.incarnation, agent.receive, agent.send = os.urandom(16), (), ()
            for other in overlay.agents.values():
                # Its peers go on sending until they hear of it, as they do without contributions.
                other.send = tuple(sa for sa in other.send if sa.peer != "leaf2")
                other.keyring.send = other.send
            agent.start()
            await agent.register()
            await overlay.settle()
            await overlay.after(2)
            assert overlay.open_tunnels() == ALL

        scenario(lab, what)

    @pytest.mark.parametrize("ends_at", [1, 2])
    def test_a_receiver_between_its_switch_and_its_word(self, lab, ends_at):
        """It has installed a key that it never proved, or proved it and did not say that the switch has it."""

        async def what(overlay):
            before = sending(overlay)
            overlay.now += 2
            overlay.nva.administration.rotate()
            while len(overlay.agents["leaf2"].receive) == 1:
                for name in ("leaf1", "leaf2"):
                    overlay.agents[name].ends_at = ends_at if name == "leaf2" and _is_planned(overlay) else 0
                    await overlay.step(name)
            overlay.agents["leaf2"].ends_at = 0
            await overlay.settle()
            await overlay.after(DOMAIN.lifetimes.grace_s + 1)
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items()), "nothing is stuck"
            assert overlay.open_tunnels() == {("leaf1", "leaf2"), ("leaf2", "leaf1")}

        scenario(lab, what, "leaf1", "leaf2")

    def test_a_sender_that_was_told_and_had_not_installed(self, lab):
        """It cannot mix that key any more. Its switch goes on with the one before until there is another."""

        async def what(overlay):
            before = sending(overlay)
            overlay.tamper = lambda _name, update: dataclasses.replace(update, proofs=())
            overlay.now += 2
            overlay.nva.administration.rotate()
            await overlay.settle()
            assert sending(overlay) == before
            overlay.tamper = lambda _name, update: update
            await overlay.restart("leaf1")
            for _ in range(50):
                for name in LEAVES:
                    await overlay.step(name)
                    assert len(overlay.agents[name].send) == 2, "no tunnel is ever without a key"
            await overlay.after(2)
            now = sending(overlay)
            assert now["leaf1", "leaf2"] != before["leaf1", "leaf2"]
            assert overlay.open_tunnels() == ALL

        scenario(lab, what)

    def test_a_receiver_whose_contribution_its_peer_had_not_fetched(self, lab):
        async def what(overlay):
            moves = ["rotate", "leaf1", "leaf2", "rotate", "leaf1", "end", "leaf1", "leaf1", "leaf1"]
            for move in moves:
                match move:
                    case "rotate":
                        overlay.now += 2
                        overlay.nva.administration.rotate()
                    case "end":
                        overlay.agents["leaf1"].ends_at = 2
                    case name:
                        await overlay.step(name)
            overlay.agents["leaf1"].ends_at = 0
            before = sending(overlay)
            await overlay.settle()
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items()), "nothing is stuck"

        scenario(lab, what, "leaf1", "leaf2")

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(LEAVES[:2]), st.sampled_from(["step", "step", "step", "end", "end", "rotate", "later"])
            ),
            min_size=5,
            max_size=60,
        ),
        st.data(),
    )
    def test_agents_at_any_moment(self, lab, moves, data):
        async def what(overlay):
            for name, move in moves:
                match move:
                    case "step":
                        await overlay.step(name)
                    case "end":
                        overlay.agents[name].ends_at = data.draw(st.sampled_from([1, 2]))
                    case "rotate":
                        overlay.now += 2
                        overlay.nva.administration.rotate()
                    case "later":
                        overlay.now += 7
                        overlay.nva.tick()
                overlay.assert_nothing_is_lost()
            for agent in overlay.agents.values():
                agent.ends_at = 0
            await overlay.settle()
            for _ in range(4):
                await overlay.after(DOMAIN.lifetimes.grace_s + 1)
            expected = {("leaf1", "leaf2"), ("leaf2", "leaf1")}
            assert overlay.open_tunnels() == expected
            before = sending(overlay)
            overlay.nva.administration.rotate()
            await overlay.settle()
            await overlay.after(2)
            assert overlay.open_tunnels() == expected
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items()), "nothing is stuck"

        scenario(lab, what, "leaf1", "leaf2")


class TestLyingNva:
    def test_a_swapped_contribution_leaves_the_tunnel_closed(self, lab):
        async def what(overlay):
            false = {}

            def swap(name, update):
                if name != "leaf1":
                    return update
                changed = []
                for one in update.contributions:
                    if one.peer == "leaf2":
                        # Its own ephemeral key in leaf2's name, signed with what it has broken into.
                        statement = dataclasses.replace(
                            Statement.decode(one.contribution.statement), public_key=public_of(b"\x42" * 32)
                        ).encode()
                        signed = lab.signer("leaf3").sign("contribution", statement)
                        false[one.contribution.name] = Contribution(statement, *signed)
                        one = dataclasses.replace(one, contribution=false[one.contribution.name])
                    changed.append(one)
                return dataclasses.replace(update, contributions=tuple(changed))

            overlay.tamper = swap
            await overlay.join(*LEAVES)
            assert false
            assert overlay.open_tunnels() == ALL - {("leaf1", "leaf2"), ("leaf2", "leaf1")}
            assert not [sa for sa in overlay.agents["leaf1"].send if sa.peer == "leaf2"]
            assert not [sa for sa in overlay.agents["leaf1"].receive if sa.peer == "leaf2"]
            (report,) = overlay.agents["leaf1"].reports
            assert report.startswith("peer-contribution-refused: certificate-name:")

        scenario(lab, what, "leaf3")

    def test_what_was_refused_for_a_while_is_taken_later(self, lab):
        """As when a revocation list was too old. Meanwhile the keys before go on."""

        async def what(overlay):
            before = sending(overlay)

            keys = overlay.agents["leaf1"].peering._keys
            take = keys.take
            keys.take = lambda *_: (_ for _ in ()).throw(ContributionRefused(Fault.REVOCATION_UNKNOWN, "too old"))
            overlay.now += 2
            overlay.nva.administration.rotate()
            await overlay.settle()
            for _ in range(3):
                await overlay.after(DOMAIN.lifetimes.confirm_s + 1)
                now = sending(overlay)
                assert now["leaf1", "leaf2"] == before["leaf1", "leaf2"]
                assert now["leaf2", "leaf1"] == before["leaf2", "leaf1"]
                assert overlay.open_tunnels() == ALL
            keys.take = take
            for _ in range(5):
                await overlay.after(DOMAIN.lifetimes.confirm_s + 1)
            assert overlay.open_tunnels() == ALL
            assert all(spi != before[one][0] for one, (spi, _) in sending(overlay).items())

        scenario(lab, what)

    def test_swapped_proofs(self, lab):
        async def what(overlay):
            def reflect(name, news):
                """Each gets back its own proofs as if they were its peer's."""
                if name != "leaf1":
                    return news
                proofs = tuple(
                    dataclasses.replace(one, name=dataclasses.replace(one.name, end=one.name.end.other))
                    for one in news.proofs
                )
                return dataclasses.replace(news, proofs=proofs)

            def as_if_from_peer(_name, update):
                proofs = tuple(dataclasses.replace(one, proof=bytes(32)) for one in update.proofs)
                return dataclasses.replace(update, proofs=proofs)

            overlay.tamper_up = reflect
            overlay.tamper = as_if_from_peer
            await overlay.join("leaf1", "leaf2")
            assert overlay.open_tunnels() == set()
            reports = overlay.agents["leaf1"].reports + overlay.agents["leaf2"].reports
            assert reports
            assert all(one.startswith("peer-proof-refused: confirmation:") for one in reports)

        scenario(lab, what, "leaf3")

    def test_an_nva_that_would_have_the_keys_alone(self, lab):
        async def what(overlay):
            overlay.domain = dataclasses.replace(DOMAIN, tunnel_keys=TunnelKeys.NVA)
            overlay.start_nva()
            await overlay.join(*LEAVES)
            assert overlay.open_tunnels() == set()
            assert all(not agent.receive and not agent.send for agent in overlay.agents.values())
            (report,) = overlay.agents["leaf1"].reports
            assert report.startswith("tunnel-keys-refused:")

        scenario(lab, what, "leaf3", required=True)


class TestAnotherDomainFile:
    def test_there_and_back_while_packets_flow(self, lab):
        async def what(overlay):
            def plain() -> set[bytes]:
                keys = [overlay.nva.state.keys.for_nve(name, overlay.now) for name in LEAVES]
                return {sa.key.reveal() for both in keys for some in both for sa in some if sa.key is not None}

            async def apply(tunnel_keys: TunnelKeys) -> None:
                overlay.now += 10
                overlay.nva.administration.configure(dataclasses.replace(DOMAIN, tunnel_keys=tunnel_keys))
                for _ in range(3):
                    await overlay.settle()  # which looks after each step whether something is lost
                    await overlay.after(DOMAIN.lifetimes.grace_s + 1)

            before = sending(overlay)
            assert not plain() & {key for _, key in before.values()}
            await apply(TunnelKeys.NVA)
            between = sending(overlay)
            assert overlay.open_tunnels() == ALL
            assert {key for _, key in between.values()} <= plain()
            await apply(TunnelKeys.NVA_AND_PEER)
            after = sending(overlay)
            assert overlay.open_tunnels() == ALL
            assert not plain() & {key for _, key in after.values()}
            assert len({*before.values(), *between.values(), *after.values()}) == 18
            for agent in overlay.agents.values():
                (report,) = agent.reports
                assert report.startswith("tunnel-keys-downgraded:")

        scenario(lab, what)

    def test_an_agent_that_insists_takes_no_key_of_the_nva_alone(self, lab):
        async def what(overlay):
            before = sending(overlay)
            overlay.now += 10
            overlay.nva.administration.configure(dataclasses.replace(DOMAIN, tunnel_keys=TunnelKeys.NVA))
            for _ in range(3):
                await overlay.settle()
                await overlay.after(DOMAIN.lifetimes.grace_s + 1)
            assert sending(overlay) == before, "what it has it keeps"
            assert all("tunnel-keys-refused" in agent.reports[0] for agent in overlay.agents.values())

        scenario(lab, what, required=True)


class TestWithoutPeers:
    def test_nothing_changes_for_an_nva_that_makes_keys_alone(self, lab):
        async def what(overlay):
            overlay.domain = dataclasses.replace(DOMAIN, tunnel_keys=TunnelKeys.NVA)
            overlay.start_nva()
            await overlay.join(*LEAVES)
            assert overlay.open_tunnels() == ALL
            assert not any(agent.peering.is_on for agent in overlay.agents.values())

        scenario(lab, what, "leaf3")


def test_who_shares_no_vn_hears_nothing_of_each_other(lab):
    alone = dataclasses.replace(DOMAIN.nve_by_name["leaf3"], vaps=())
    domain = dataclasses.replace(
        DOMAIN, nves=(*(nve for nve in DOMAIN.nves if nve.name != "leaf3"), alone), tenant_systems=()
    )

    async def what(overlay):
        heard = {}

        def listen(name, update):
            heard.setdefault(name, set()).update(one.peer for one in update.contributions)
            return update

        overlay.domain, overlay.tamper = domain, listen
        overlay.start_nva()
        await overlay.join(*LEAVES)
        assert heard["leaf1"] == {"leaf2"}
        assert heard["leaf2"] == {"leaf1"}
        assert heard["leaf3"] == set()

    scenario(lab, what, "leaf3")


def test_without_identities_nobody_contributes(tmp_path):
    with pytest.raises(OperatorError, match="identities"):
        Controller(DOMAIN, tmp_path)
