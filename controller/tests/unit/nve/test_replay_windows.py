# SPDX-License-Identifier: Apache-2.0
"""An NVA that would have the replay window of a key that it does not know opened anew: an agent, and what it installs.

Whatever it says of a key that two NVEs have mixed, the switch has it as it was mixed, or has it no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest
from nvo3sec.domain.keys.contribution import Pair, PeerContribution, PeerUpdate
from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, NveView, PeerView, ReceiveSa, SendSa
from nvo3sec.domain.overlay.model import Rate, Suite, TunnelKeys
from nvo3sec.domain.switch.desired import InstalledReceive, InstalledSend
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.contributions import PeerContributions
from nvo3sec.nve.switch_keys import SwitchKeys
from nvo3sec.p4runtime import SwitchState
from nvo3sec.program import generated as p4
from peer_world import ADDRESSES, EPOCH, INCARNATIONS, NVA_KEY, SPI, PeerWorld, peer

SUITE = Suite.CHASKEY12
GENERATION = 300
MAPPED = 0xFFFF << 32  # IPv4 addresses as IPv6 has them
OWN = int.from_bytes(INCARNATIONS["leaf1"], "big")
Said = tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]


def view(version: int, address: IPv4Address | None = ADDRESSES["leaf2"], own: str = "192.0.2.1") -> NveView:
    peers = () if address is None else (PeerView("leaf2", address, 256, 1, 2, Rate(1, 1), ()),)
    keys = TunnelKeys.NVA_AND_PEER
    return NveView(version, "leaf1", IPv4Address(own), 1600, (), (), (), peers, (), 30.0, 10.0, keys)


class Agent:
    """leaf1, as far as keys go: what the NVA says goes in, and `switch` is what it would have installed."""

    def __init__(self, world: PeerWorld) -> None:
        self.world = world
        self.two = world.keys("leaf2")
        self.version = 0
        self.peering = self._peering()
        self.keyring = SwitchKeys(None)
        self.view(view)
        self.peering.take(PeerUpdate(EPOCH, (self._theirs(),)), 0.0)
        assert self.peering.check(0.0) == (1, True)
        (self.ours,) = self.peering.news(frozenset()).contributions
        self.two.take(peer("leaf1"), EPOCH, self.ours)
        self.reports: list[str] = []

    def _peering(self) -> PeerContributions:
        return PeerContributions(
            "leaf1", INCARNATIONS["leaf1"], lambda name, _, inc: self.world.keys(name, incarnation=inc)
        )

    def _theirs(self) -> PeerContribution:
        return PeerContribution("leaf2", INCARNATIONS["leaf2"], EPOCH, self.two.contributions()[-1])

    @property
    def pair(self) -> Pair:
        return Pair(self.ours.name, self.two.contributions()[-1].name)

    def view(self, make: Callable[..., NveView], **options) -> None:
        self.version += 1
        self._view = make(self.version, **options)
        self.keyring.follow(self._view)
        self.peering.follow(self._view, 0.0)

    def say(self, receive: tuple[ReceiveSa, ...], send: tuple[SendSa, ...] = (), *, change: bool = False) -> None:
        """The NVA says which keys there are, in a state or as a change of what it said before."""
        base, self.version = self.version, self.version + 1
        if change:
            levels = (("leaf2", Suite.CHASKEY12), ("leaf2", Suite.ASCON_AEAD128))
            told = replace(self.keys, version=base)
            update = KeyUpdate(self.version, base, told.incarnation, levels, levels, receive, send)
            self.keys = key_changes.after(told, update, 0.0)
        else:
            self.keys = KeyState(self.version, INCARNATIONS["leaf1"], receive, send)
        installed, sending = self.peering.sort(self.keys, self._view, 0.0)
        keys = replace(self.keys, receive=installed, send=sending)
        self.peering.refused(self.keyring.take(keys, self._view, ClockReading(0, 0.0, 0.0), 0.0))
        self.reports += [one.event for one in self.peering.reports()]

    def restart(self) -> None:
        """The process ends and begins anew; the switch has what it had."""
        self.keyring = SwitchKeys(self.switch())
        self.peering = self._peering()
        self.version = 0
        self.view(view)

    def switch(self) -> SwitchState:
        here, there = int(ADDRESSES["leaf1"]), int(ADDRESSES["leaf2"])
        entries = [
            p4.tunnel_encapsulate(port=256, interface=0x8003, source=here, destination=there, underlay_mtu=1, hop=1),
            p4.authorized_nve_permit(source=MAPPED | there, destination=MAPPED | here, peer=9, tag=1, zero_checksum=0),
        ]
        for sa in self.keyring.receive:
            entries.append(
                p4.sa_rx_accept(
                    peer=9,
                    spi=sa.spi,
                    suite=sa.suite,
                    level=sa.suite,
                    kind=p4.SaKind.TUNNEL,
                    key=int.from_bytes(sa.key.reveal(), "big"),
                    min_coverage=sa.min_coverage,
                    pair=5,
                    tag=peer_tag(Purpose.TUNNEL, ADDRESSES["leaf2"], ADDRESSES["leaf1"]),
                    generation=sa.generation,
                    not_after=sa.not_after_us,
                    incarnation=OWN,
                    link=0,
                    vlan=0,
                )
            )
        for out in self.keyring.send:
            entries.append(
                p4.sa_tx_protect(
                    interface=0x8003,
                    level=1,
                    suite=out.suite,
                    to_level=out.suite,
                    key=int.from_bytes(out.key.reveal(), "big"),
                    spi=out.spi,
                    not_after=out.not_after_us,
                    incarnation=OWN,
                )
            )
        return SwitchState({entry.key: entry for entry in entries}, {}, {})


@dataclass
class Case:
    """An agent that has a mixed key to receive with, in its switch."""

    agent: Agent
    mixed: InstalledReceive
    honest: ReceiveSa


@pytest.fixture(params=["same process", "agent restarted"])
def case(world, request) -> Case:
    agent = Agent(world)
    honest = ReceiveSa("leaf2", SUITE, SPI, GENERATION, NVA_KEY, 60.0, pair=agent.pair)
    agent.say((honest,))
    (mixed,) = agent.keyring.receive
    assert mixed.key != NVA_KEY
    if request.param == "agent restarted":
        agent.restart()
    return Case(agent, mixed, honest)


FORGOTTEN = {"key": None, "pair": None}
"""What an NVA says that does not know the key any more."""

LIES = {
    "higher generation": {"generation": GENERATION + 1},
    "far higher generation": {"generation": 2**31},
    "lower generation": {"generation": GENERATION - 1},
    "no generation": {"generation": 0},
    "other suite": {"suite": Suite.ASCON_AEAD128},
    "less coverage": {"min_coverage": 64},
    "other suite and generation": {"suite": Suite.ASCON_AEAD128, "generation": GENERATION + 1},
}


class TestOtherwise:
    @pytest.mark.parametrize("change", [False, True], ids=["state", "update"])
    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
    def test_a_key_under_anything_else_is_refused_and_told(self, case, lie, change):
        agent = case.agent
        if change:
            agent.say((replace(case.honest, **FORGOTTEN),))
            assert agent.keyring.receive == (case.mixed,), "an NVA that has restarted changes nothing"
        agent.say((replace(case.honest, **FORGOTTEN, **lie),), change=change)
        assert agent.keyring.receive == ()
        assert "key-refused" in agent.reports
        # What has left the switch does not come back: its replay ring may be another's by then.
        agent.say((replace(case.honest, **FORGOTTEN),), change=change)
        agent.say((case.honest,), change=change)
        assert agent.keyring.receive == ()

    @pytest.mark.parametrize("first", [True, False])
    def test_named_twice(self, case, first):
        lie = replace(case.honest, **FORGOTTEN, generation=GENERATION + 1)
        honest = replace(case.honest, **FORGOTTEN)
        case.agent.say((lie, honest) if first else (honest, lie))
        assert case.agent.keyring.receive in ((), (case.mixed,))
        assert "key-refused" in case.agent.reports

    def test_with_its_pair_and_key_as_well(self, case):
        """Mixed with another generation it is another key: nothing that was recorded is taken under it."""
        case.agent.say((replace(case.honest, generation=GENERATION + 1),))
        assert case.mixed.key not in {sa.key for sa in case.agent.keyring.receive}

    def test_a_longer_life(self, case):
        case.agent.say((replace(case.honest, **FORGOTTEN, remaining_s=3600.0),))
        assert case.agent.keyring.receive == (case.mixed,)
        case.agent.say((replace(case.honest, **FORGOTTEN, remaining_s=5.0),))
        assert case.agent.keyring.receive == (replace(case.mixed, not_after_us=5_000_000),)


class TestNamedAgain:
    """A key that was gone, for however short: its number of a replay ring may have been another peer's meanwhile."""

    @pytest.mark.parametrize("again", [{}, FORGOTTEN], ids=["with everything", "with nothing"])
    def test_after_a_gap(self, case, again):
        case.agent.say(())
        case.agent.say((replace(case.honest, **again),))
        assert case.agent.keyring.receive == ()

    @pytest.mark.parametrize("again", [{}, FORGOTTEN], ids=["with everything", "with nothing"])
    @pytest.mark.parametrize(
        "meanwhile", [{"address": None}, {"address": IPv4Address("192.0.2.9")}], ids=["left", "moved"]
    )
    def test_after_its_peer_was_away(self, case, meanwhile, again):
        case.agent.view(view, **meanwhile)
        case.agent.view(view)
        case.agent.say((replace(case.honest, **again),))
        assert case.agent.keyring.receive == ()

    @pytest.mark.parametrize("again", [{}, FORGOTTEN], ids=["with everything", "with nothing"])
    def test_after_its_own_address_was_another(self, case, again):
        case.agent.view(view, own="192.0.2.9")
        case.agent.view(view)
        case.agent.say((replace(case.honest, **again),))
        assert case.agent.keyring.receive == ()

    def test_a_later_key_of_the_same_contributions_is_taken(self, world):
        agent = Agent(world)
        honest = ReceiveSa("leaf2", SUITE, SPI, GENERATION, NVA_KEY, 60.0, pair=agent.pair)
        agent.say((honest,))
        agent.view(view, address=None)
        agent.view(view)
        agent.peering.take(PeerUpdate(EPOCH, (agent._theirs(),)), 0.0)  # as the NVA tells who meets anew
        agent.peering.check(0.0)
        agent.say((replace(honest, spi=SPI + 1, generation=GENERATION + 1),))
        assert [sa.generation for sa in agent.keyring.receive] == [GENERATION + 1]
        assert agent.reports == []


class TestSender:
    @pytest.fixture(params=["same process", "agent restarted"])
    def sending(self, world, request) -> tuple[Agent, InstalledSend, SendSa]:
        agent = Agent(world)
        honest = SendSa("leaf2", SUITE, SPI, NVA_KEY, 60.0, GENERATION, agent.pair)
        agent.say((), (honest,))
        name = dataclasses.replace(agent.peering._sending[0])
        agent.peering._keys._known[name].confirmed = True
        agent.say((), (honest,))
        (mixed,) = agent.keyring.send
        if request.param == "agent restarted":
            agent.restart()
        return agent, mixed, honest

    def test_what_an_nva_that_restarted_says(self, sending):
        agent, mixed, honest = sending
        agent.say((), (replace(honest, **FORGOTTEN, generation=0),))
        assert agent.keyring.send == (mixed,)
        assert agent.reports == []

    def test_another_suite(self, sending):
        agent, mixed, honest = sending
        agent.say((), (replace(honest, **FORGOTTEN, suite=Suite.ASCON_AEAD128),))
        assert mixed.key not in {sa.key for sa in agent.keyring.send}
        assert agent.reports == ["key-refused"]

    def test_no_longer_life_after_a_gap(self, sending):
        agent, mixed, honest = sending
        agent.say((), ())
        agent.say((), (replace(honest, remaining_s=3600.0),))
        assert {sa.not_after_us for sa in agent.keyring.send} <= {mixed.not_after_us}

    def test_not_over_another_tunnel(self, sending):
        agent, _, honest = sending
        agent.view(view, address=IPv4Address("192.0.2.9"))
        agent.say((), (honest,))
        agent.say((), (replace(honest, **FORGOTTEN),))
        assert agent.keyring.send == ()


def test_a_stranger_in_the_switch_is_not_adopted(world):
    """An entry of another incarnation, or between other addresses, is none that this agent has made."""
    agent = Agent(world)
    honest = ReceiveSa("leaf2", SUITE, SPI, GENERATION, NVA_KEY, 60.0, pair=agent.pair)
    agent.say((honest,))
    entry = next(one for one in agent.switch().entries.values() if one.table == "sa_rx" or "sa_rx" in str(one.table))
    for name, value in (("incarnation", OWN ^ 1), ("destination", 1)):
        agent.restart()
        changed = dataclasses.replace(
            entry,
            match=tuple((key, value if key == name else old) for key, old in entry.match),
            params=tuple((key, value if key == name else old) for key, old in entry.params),
        )
        agent.keyring = SwitchKeys(SwitchState({changed.key: changed}, {}, {}))
        agent.keyring.follow(agent._view)
        agent.say((replace(honest, **FORGOTTEN),))
        assert agent.keyring.receive == ()
