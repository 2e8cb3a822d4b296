# SPDX-License-Identifier: Apache-2.0
"""From the counters of a switch to the floors of its peers, and to the names under which forged packets come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from nvo3sec.domain.messages.session import NveView, PeerView
from nvo3sec.domain.overlay.model import Rate, Suite
from nvo3sec.domain.switch.floors import VerifiedRate
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.errors import ReadRefused
from nvo3sec.nve.drops import DROPS_S, DropWatch
from nvo3sec.nve.reconcile import FLOOR_TABLES
from nvo3sec.nve.verified import ATTACKED_S, KeptRates, VerifiedWatch
from nvo3sec.p4runtime import Table
from nvo3sec.program.entry import CounterValue
from nvo3sec.program.generated import Counter, DropReason
from working_agent import working

CONFIGURED = Rate(100, 50)
SPI, OTHER_SPI = 0x80000001, 0x00000002


def address(number: int) -> IPv4Address:
    return IPv4Address(f"192.0.2.{number}")


VIEW = NveView(
    version=1,
    name="leaf1",
    address=address(1),
    mtu=1500,
    underlay_ports=((256, 1),),
    vns=(),
    vaps=(),
    peers=tuple(
        PeerView(f"leaf{number}", address(number), 256, 1, number, CONFIGURED, ((5001, Suite.CHASKEY12),))
        for number in (2, 3)
    ),
    tenant_systems=(),
    lease_s=300,
    lease_renew_s=30,
    verify_rate=10_000,
)
NUMBERS = Numbers(peers={address(2): 7, address(3): 8})


class Switch:
    """Counts what peers send. After `attack`, what is forged goes over the floor."""

    def __init__(self) -> None:
        self.came = {(number, spi): 1000 for number in (7, 8) for spi in (SPI, OTHER_SPI)}
        self.verified = dict.fromkeys((7, 8), 1000)
        self.dropped = 5
        self.replayed = 0
        self.refuses = False
        self.clock = 0.0
        self.read_s = 0.0
        self.reads = 0

    def send(self, number: int, packets: int, forged: int = 0) -> None:
        self.came[number, SPI] += packets
        self.came[number, OTHER_SPI] += forged
        self.verified[number] += packets
        self.dropped += forged

    async def drop_counters(self):
        cells = {DropReason.PEER_RATE: self.dropped, DropReason.REPLAY_GENERATION: self.replayed}
        ingress = {reason: CounterValue(count, 0) for reason, count in cells.items()}
        return {Counter.DROPS_INGRESS: ingress, Counter.DROPS_EGRESS: {}}

    async def direct_counters(self, table):
        if self.refuses:
            raise ReadRefused("not now")
        self.reads += 1
        self.clock += self.read_s
        if table == Table.SA_RX:
            return {(("peer", n), ("spi", spi)): CounterValue(c, 0) for (n, spi), c in self.came.items()}
        return {(("peer", n), ("vni", 5001)): CounterValue(c, 0) for n, c in self.verified.items()}


class Scene:
    def __init__(self, view: NveView = VIEW, numbers: Numbers = NUMBERS) -> None:
        self.switch, self.view, self.numbers = Switch(), view, numbers
        self.kept, self.written, self.now = KeptRates(), 0, 0.0
        self.begin()

    def begin(self) -> None:
        """A session."""
        watch = VerifiedWatch(
            self.switch, self.kept, lambda: (self.view, self.numbers), self.mark, lambda: self.switch.clock
        )
        self.watch, self.drops = watch, DropWatch(self.switch, watch)

    def mark(self) -> None:
        self.written += 1

    def look(self):
        reports = asyncio.run(self.drops.look(self.now))
        self.now += DROPS_S
        return reports

    def floors(self) -> list[int]:
        return [rate.per_second for rate in self.watch.floors(self.view).values()]


class TestFloors:
    def test_measured_and_written_when_it_changes(self):
        scene = Scene()
        scene.look()
        assert scene.floors() == [100, 100]
        scene.switch.send(7, 500)
        scene.look()
        assert scene.floors() == [2048, 100]
        assert scene.written == 1
        scene.switch.send(7, 490)
        scene.look()
        assert scene.written == 1, "not at each change of what is sent"

    def test_what_was_sent_before_the_first_look_is_nothing_new(self):
        scene = Scene()
        scene.look()
        scene.look()
        assert scene.floors() == [100, 100]

    def test_no_more_than_the_switch_can_verify(self):
        scene = Scene(replace(VIEW, verify_rate=1500))
        scene.look()
        scene.switch.send(7, 500)
        scene.look()
        assert scene.floors() == [1500, 100]

    def test_an_attack_lowers_no_floor_however_long_it_lasts(self):
        scene = Scene()
        scene.look()
        scene.switch.send(7, 500)
        scene.look()
        for _ in range(500):
            scene.switch.send(7, 5, forged=5000)
            scene.look()
        assert scene.floors() == [2048, 100]

    def test_peers_that_are_attacked_share_what_can_be_verified(self):
        scene = Scene(replace(VIEW, verify_rate=3000))
        scene.look()
        for number in (7, 8):
            scene.switch.send(number, 500)
        scene.look()
        assert scene.floors() == [2048, 2048]
        for number in (7, 8):
            scene.switch.send(number, 5, forged=5000)
        scene.look()
        assert scene.floors() == [1500, 1500]
        scene.now += ATTACKED_S
        scene.look()
        assert scene.floors() == [2048, 2048]

    def test_only_what_can_begin_a_penalty_takes_a_share(self):
        """Replays are charged to nobody: played in the name of idle peers, they leave the victim its floor."""
        scene = Scene(replace(VIEW, verify_rate=3000))
        scene.look()
        scene.switch.send(7, 500)
        scene.look()
        scene.switch.send(7, 5, forged=5000)
        scene.switch.came[8, SPI] += CONFIGURED.burst
        (report,) = scene.look()
        assert scene.floors() == [2048, 100]
        assert "leaf3" not in report.detail

    def test_who_keeps_a_bucket_empty_is_an_attack_however_slowly(self):
        """A little more than the meter lets fail, for ever: no look sees the burst, and the penalty never ends."""
        peers = tuple(replace(peer, meter=Rate(1000, 10_000)) for peer in VIEW.peers)
        scene = Scene(replace(VIEW, peers=peers))
        scene.look()
        scene.switch.send(7, 500)
        scene.look()
        elapsed, reports = scene.now, []
        while scene.now < elapsed + 2 * ATTACKED_S:
            began = scene.now
            scene.switch.send(7, 5, forged=7_500)
            reports += scene.look()
            assert 7_500 / (scene.now - began) > 1000, "or it is no attack"
        assert scene.kept.attacked == 1
        assert "leaf2" in reports[-1].detail

    def test_the_share_goes_by_powers_of_two(self):
        scene = Scene()
        for attacked, share in ((0, 8192), (1, 8192), (2, 4096), (3, 2048), (4, 2048), (5, 1024)):
            scene.kept.attacked = attacked
            scene.kept.rates[address(2)] = rate = VerifiedRate()
            rate.learn(1 << 20, 1.0, 0.0, attacked=False)
            scene.view = replace(VIEW, verify_rate=8192)
            assert scene.floors() == [share, 100]

    def test_a_read_that_is_refused_loses_no_report(self):
        """Of another cause, which had grown at that look."""
        scene = Scene()
        scene.look()
        scene.switch.replayed += 1
        scene.switch.refuses = True
        with pytest.raises(ReadRefused):
            scene.look()
        scene.switch.refuses = False
        assert [report.event for report in scene.look()] == ["replay-generation"]

    def test_known_beyond_a_session_and_forgotten_with_the_peer(self):
        scene = Scene()
        scene.look()
        scene.switch.send(7, 500)
        scene.look()
        scene.begin()
        assert scene.floors() == [2048, 100]
        scene.look()
        scene.view = replace(VIEW, peers=VIEW.peers[1:])
        scene.look()
        assert list(scene.kept.rates) == [address(3)]

    def test_a_counter_that_began_anew_and_a_number_of_another(self):
        scene = Scene()
        scene.look()
        scene.switch.verified[7] = 500  # not 500 less than before: 500 since
        scene.look()
        assert scene.floors() == [2048, 100]
        scene.switch.send(8, 50_000)
        scene.numbers = Numbers(peers={address(2): 8, address(3): 7})
        scene.look()
        assert scene.floors() == [2048, 100], "of which peer that was is not known"

    def test_reading_takes_a_twentieth_of_the_time_and_no_penalty_is_forgotten(self):
        """While what costs nothing is looked at as often as ever."""
        scene = Scene()
        scene.switch.read_s = 0.5
        scene.look()
        scene.switch.send(7, 500, forged=5000)
        assert len(scene.look()) == 1, "dropped, in whose name is not known yet"
        for _ in range(2):
            scene.look()
        assert scene.switch.reads == 2
        scene.look()
        assert scene.switch.reads == 4
        assert "leaf2 (5000" in scene.watch.refused
        assert scene.floors()[0] > 100

    def test_nothing_without_a_view(self):
        scene = Scene()
        watch = VerifiedWatch(scene.switch, scene.kept, lambda: None, scene.mark)
        asyncio.run(watch.look(0.0, penalties=False))
        assert scene.written == 0


class TestNames:
    def test_a_report_of_a_penalty_names_the_peer_and_the_spi(self):
        scene = Scene()
        scene.look()
        scene.switch.send(7, 500, forged=5000)
        scene.switch.send(8, 500)
        (report,) = scene.look()
        assert report.event == "peer-penalty"
        assert report.detail.endswith("; in the name of leaf2 (5000 that did not verify, most under SPI 00000002)")
        assert "leaf3" not in report.detail

    def test_of_several_the_worst_is_first(self):
        scene = Scene()
        scene.look()
        scene.switch.send(7, 0, forged=300)
        scene.switch.send(8, 0, forged=400)
        (report,) = scene.look()
        assert report.detail.index("leaf3 (400") < report.detail.index("leaf2 (300")

    def test_what_is_late_or_on_its_way_is_nobodys_attack(self):
        scene = Scene()
        scene.look()
        scene.switch.send(7, 500, forged=5000)
        scene.switch.came[8, SPI] += 16
        scene.switch.send(8, 1600)
        scene.switch.came[8, SPI] += 84
        (report,) = scene.look()
        assert "leaf3" not in report.detail

    def test_failures_alone_name_nobody(self):
        """Below the meter, none of them is in penalty."""
        scene = Scene()
        scene.look()
        scene.switch.came[7, SPI] += 5000
        assert scene.look() == ()
        assert scene.watch.refused == ""


def test_an_agent_writes_what_it_has_measured(start_switch, monkeypatch):
    """On a real switch, whose counters say what they are told here."""

    async def run():
        async with working(start_switch("leaf2", 2)) as one:
            await one.has_peers()
            serving = one.agent._serving
            client = serving.driver.client
            view, numbers = serving.context()
            peer = view.peers[0]
            number = numbers.peers[peer.address]
            verified = [0]

            async def told(table):
                key = (("peer", number), ("vni", 5001) if table == Table.VN_INGRESS_AUTHORIZATION else ("spi", 1))
                return {key: CounterValue(verified[0], 0)}

            async def floors() -> dict[int, int]:
                entries = (await client.read((Table.PEER_FLOOR,), groups=False)).entries.values()
                return {entry["peer"]: entry.meter.rate for entry in entries}

            assert set((await floors()).values()) == {peer.meter.per_second}
            monkeypatch.setattr(client, "direct_counters", told)
            # Of its own clock, beside the one that looks all the time.
            watch = VerifiedWatch(
                client, KeptRates(), serving.context, lambda: serving._dirty.mark(FLOOR_TABLES), lambda: 0.0
            )
            serving._verified = watch
            await watch.look(0.0, penalties=False)
            verified[0] = 8_000 * 5
            await watch.look(5.0, penalties=False)
            await one.until(one.is_ready)
            others = dict.fromkeys(set(numbers.peers.values()) - {number}, peer.meter.per_second)
            assert await floors() == {number: 131_072, **others}

    asyncio.run(run())
