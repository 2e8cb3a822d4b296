# SPDX-License-Identifier: Apache-2.0
"""Tenant systems: both stacks, two of them at the ends of one wire."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest
from nvo3lab.host.base import TenantHost
from nvo3lab.host.echo import EchoStream
from nvo3lab.host.ledger import Ledger
from nvo3lab.processes import preflight
from nvo3ref import tenant_frames as frames

from .conftest import HOSTS, host_pair


def encoded(*data: bytes) -> list[str]:
    return [base64.b64encode(frame).decode() for frame in data]


class TestStack:
    def test_ping_answers(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                result = await hosts["a"].call("ping", destination="10.0.0.2", count=10, interval=0.005, size=1000)
                assert result["sent"] == result["received"] == 10
                assert result["median_ms"] > 0

        asyncio.run(run())

    def test_ping_of_nobody_is_loss(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                result = await hosts["a"].call("ping", destination="10.0.0.99", count=2, interval=0.005)
                assert result["sent"] == 2
                assert result["received"] == 0
                assert result["median_ms"] is None

        asyncio.run(run())

    def test_ping_of_an_address_that_no_member_has(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        """Such as a virtual one: its answers are answers, and still nothing that the ledger can explain."""

        async def run() -> None:
            async with host_pair(short_directory, wiring, members=["a"]) as hosts:
                result = await hosts["a"].call("ping", destination="10.0.0.2", count=4, interval=0.005)
                assert result["sent"] == result["received"] == 4
                counts = (await hosts["a"].call("received"))["counts"]
                assert counts["explained"] == 0
                assert counts["other"] >= 4

        asyncio.run(run())

    def test_late_answers_are_waited_for_as_long_as_one_is_told(self) -> None:
        sent: list[bytes] = []
        stream = EchoStream("10.0.0.9", sent.append, 0.001, [56])

        async def received(patience: float) -> int:
            stream.begin()
            stream._request()
            asyncio.get_running_loop().call_later(0.02, stream.answered, sent[-1])
            return int((await stream.end(patience))["received"])

        async def run() -> None:
            assert await received(0) == 0
            assert await received(60) == 1

        asyncio.run(run())

    def test_only_who_was_asked_answers(self) -> None:
        sent: list[bytes] = []
        stream = EchoStream("10.0.0.9", sent.append, 0.001, [56])
        host = TenantHost.__new__(TenantHost)
        host._streams = {"ping": stream}

        async def run() -> None:
            burst = asyncio.create_task(stream.burst(2))
            while len(sent) < 2:
                await asyncio.sleep(0)
            for payload in sent:
                host._on_echo_reply("10.0.0.8", payload)
                host._on_echo_reply("10.0.0.9", payload[:30])
            host._on_echo_reply("10.0.0.9", sent[0])
            assert (await burst)["received"] == 1

        asyncio.run(run())

    def test_resolves(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                assert await hosts["a"].call("resolve", ip="10.0.0.2") == HOSTS["b"][0]
                assert await hosts["a"].call("resolve", ip="10.0.0.77") is None

        asyncio.run(run())

    @pytest.mark.parametrize("length", [0, 1, 1460, 500_000])
    def test_transfer_arrives_whole(self, short_directory: Path, wiring: preflight.Wiring, length: int) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                await hosts["a"].call("ping", destination="10.0.0.2", count=1)
                await hosts["b"].call("transfer_listen", port=50001)
                receiving = asyncio.create_task(hosts["b"].call("transfer_receive", port=50001, limit=20))
                sent = await hosts["a"].call(
                    "transfer_send", destination="10.0.0.2", port=50001, length=length, limit=20
                )
                received = await receiving
                assert received["bytes"] == sent["bytes"] == length
                assert received["sha256"] == sent["sha256"]

        asyncio.run(run())


class TestLedger:
    def test_own_traffic_is_explained(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                await hosts["a"].call("ping", destination="10.0.0.2", count=5, interval=0.005)
                for name in hosts:
                    counts = (await hosts[name].call("received"))["counts"]
                    assert counts["explained"] >= 5
                    assert counts["duplicate"] == counts["marked"] == counts["other"] == 0

        asyncio.run(run())

    def test_injected_frames_are_not(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        async def run() -> None:
            async with host_pair(short_directory, wiring) as hosts:
                marker = os.urandom(16)
                await hosts["b"].call("expect_marker", marker=marker.hex())
                frame = frames.ethernet(HOSTS["b"][0], HOSTS["a"][0], frames.ETHERTYPE_EXPERIMENTAL, marker + bytes(40))
                other = frames.ethernet(HOSTS["b"][0], HOSTS["a"][0], frames.ETHERTYPE_EXPERIMENTAL, bytes(50))
                sent = await hosts["a"].call("inject", frames=encoded(frame, other, frames.tagged(frame, 7)), repeat=20)
                assert sent == 60
                # What follows on the same wire arrives after it.
                await hosts["a"].call("ping", destination="10.0.0.2", count=1)
                counts = (await hosts["b"].call("received"))["counts"]
                assert counts["marked"] == 40
                assert counts["other"] == 20

        asyncio.run(run())

    def test_second_copy_of_an_echo_is_a_duplicate(self) -> None:
        ledger = Ledger(HOSTS["b"][0], "10.0.0.2", {ip: mac for mac, ip in HOSTS.values()})
        echo = frames.icmp_echo(frames.ICMP_ECHO_REQUEST, 1, 1, b"nvo3lab-echo----" + bytes(40))
        frame = frames.ethernet(
            HOSTS["b"][0],
            HOSTS["a"][0],
            frames.ETHERTYPE_IPV4,
            frames.ipv4("10.0.0.1", "10.0.0.2", frames.PROTOCOL_ICMP, echo),
        )
        ledger.record(frame)
        ledger.record(frame)
        assert ledger.counts == {"explained": 1, "bait": 0, "duplicate": 1, "marked": 0, "other": 0}

    @pytest.mark.parametrize("claim", [("10.0.0.1", "02:00:00:00:00:66"), ("10.0.0.9", HOSTS["a"][0])])
    def test_lying_arp_is_not_explained(self, claim: tuple[str, str]) -> None:
        ledger = Ledger(HOSTS["b"][0], "10.0.0.2", {ip: mac for mac, ip in HOSTS.values()})
        ip, mac = claim
        body = frames.arp(frames.ARP_REPLY, mac, ip, HOSTS["b"][0], "10.0.0.2")
        ledger.record(frames.ethernet(HOSTS["b"][0], mac, frames.ETHERTYPE_ARP, body))
        assert ledger.counts["other"] == 1
