# SPDX-License-Identifier: Apache-2.0
"""The whole controller on three switches with packets between their tenants, on each software switch."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from clocks import Clocks
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.switch.frames import Question, neighbor_reply, parse_question
from nvo3sec.nve import audit
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.operator.documents import Rotated
from nvo3sec.operator.json_form import to_json
from nvo3sec.p4runtime import Operation, SwitchClient, Table, Update, load_artifacts
from nvo3sec.processes.development import Controller
from nvo3sec.program import generated as p4
from nvo3sec.system import logs
from switches import EXECUTABLES, Ports, SwitchProcess, Underlay

NAMES = ("leaf1", "leaf2", "leaf3")
BLUE1, BLUE2, BLUE3, RED1, RED3 = 0x02AA00000001, 0x02AA00000002, 0x02AA00000003, 0x02AA00000001, 0x02AA00000003
BROADCAST = 2**48 - 1
READY_S = 180.0
GRACE_S = 2.0
"""Long enough for a packet that is on its way while a key is replaced, on a machine that is busy."""


def mac(value: int) -> bytes:
    return value.to_bytes(6, "big")


def ipv4_frame(
    source: int, destination: int, source_ip: str, destination_ip: str, payload: bytes, vlan: int = 0
) -> bytes:
    tag = b"\x81\x00" + vlan.to_bytes(2, "big") if vlan else b""
    length = (20 + len(payload)).to_bytes(2, "big")
    header = b"\x45\x00" + length + bytes(4) + b"\x40\xfd\x00\x00"
    packet = header + IPv4Address(source_ip).packed + IPv4Address(destination_ip).packed + payload
    return mac(destination) + mac(source) + tag + b"\x08\x00" + packet


def arp_request(source: int, source_ip: str, target_ip: str) -> bytes:
    body = bytes.fromhex("0001080006040001") + mac(source) + IPv4Address(source_ip).packed
    return mac(BROADCAST) + mac(source) + b"\x08\x06" + body + bytes(6) + IPv4Address(target_ip).packed


def blue(payload: bytes) -> bytes:
    return ipv4_frame(BLUE1, BLUE2, "10.1.0.1", "10.1.0.2", payload)


NEVER_S = 1e6


class Fabric:
    """Three switches, the wires between them, and a controller that can be stopped and started."""

    def __init__(self, directory: Path, start_switch: Callable[[str, int], SwitchProcess], **changes: Any) -> None:
        document = yaml.safe_load(example_path().read_text())
        document["lifetimes"] |= changes
        self.domain_file = directory / "domain.yaml"
        self.domain_file.write_text(yaml.safe_dump(document))
        self.domain = load_domain(self.domain_file)
        self.run_directory = directory / "run"
        self.switches = {name: start_switch(name, number) for number, name in enumerate(NAMES, 1)}
        self.ports = {name: Ports(switch) for name, switch in self.switches.items()}
        self.controller: Controller | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the ports. BMv2 has none before its pipeline is loaded."""
        for ports in self.ports.values():
            await ports.open()
        self.underlay = Underlay(self.domain.nves, self.ports)

    async def start(self) -> Controller:
        self.controller = Controller(self.domain, self.run_directory)
        self._task = asyncio.create_task(self.controller.run())
        waiting = asyncio.create_task(self.controller.wait(READY_S))
        await asyncio.wait([self._task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            await self._task
        await waiting
        return self.controller

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        await self.stop()
        for ports in self.ports.values():
            await ports.close()

    async def arrives(self, frame: bytes, at: tuple[str, int], sent: bytes | None = None, source=("leaf1", 1)) -> None:
        await self.ports[source[0]].send(source[1], sent or frame)
        assert await self.ports[at[0]].receive(at[1]) == frame

    async def drops(self, nve: str) -> dict[str, dict[str, int]]:
        (report,) = to_json(await self.controller.counters(nve))
        return {
            pipeline: {reason: value["packets"] for reason, value in reasons.items()}
            for pipeline, reasons in report["drops"].items()
        }

    async def client_of(self, nve: str) -> SwitchClient:
        switch = self.switches[nve]
        return await SwitchClient.connect(nve, switch.target, switch.device_id, load_artifacts())


@asynccontextmanager
async def running(directory: Path, start_switch, **changes: Any) -> AsyncIterator[Fabric]:
    fabric = Fabric(directory, start_switch, **changes)
    try:
        await fabric.start()
        await fabric.open()
        yield fabric
    finally:
        await fabric.close()


@pytest.fixture
def log() -> io.StringIO:
    """Everything that is logged, as JSON lines."""
    stream = io.StringIO()
    logs.configure(json_lines=True, level="debug")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    return stream


def spis(status: dict[str, Any], state: str) -> set[str]:
    return {key["spi"] for key in status["keys"] if key["state"] == state}


class TestBringUp:
    def test_everything_expected_is_there(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                status = to_json(await fabric.controller.status())
                assert status["ready"]
                assert len(spis(status, "sending")) == 6
                for switch in status["switches"]:
                    assert switch["incarnation_agrees"]
                    assert not switch["adopted"]
                    assert switch["entries_expected"] == switch["entries_actual"] > 20
                    assert 0 < switch["lease_left_s"] <= 30
                    assert all(3000 < left <= 3960 for left in switch["limits_s"].values())
                for updates in (await fabric.controller.reconcile(dry_run=True)).values():
                    assert not updates

        asyncio.run(run())


class TestClocks:
    """A switch whose machine was suspended, and had its wall clock set back, while the NVA counted on the end of its
    lease."""

    def test_limits_end_in_time(self, tmp_path, start_switch, log, monkeypatch):
        clocks = Clocks(tmp_path)
        asked: Counter[str] = Counter()
        ask_state = SwitchDriver.ask_state

        async def counted(driver, interface=0):
            answer = await ask_state(driver, interface)
            asked[driver.client.name] += 1
            return answer

        monkeypatch.setattr(SwitchDriver, "ask_state", counted)

        async def run():
            async with running(
                tmp_path, lambda name, number: start_switch(name, number, **clocks.environment)
            ) as fabric:
                await fabric.arrives(blue(b"before"), ("leaf2", 1))
                before = {one["nve"]: one for one in to_json(await fabric.controller.status())["switches"]}
                goes_back = fabric.switches["leaf1"].executable == EXECUTABLES["bmv2"]
                clocks.set_back(20)
                if not goes_back:
                    # With the second answer from now on it would have been noticed, with a third it has been.
                    asked.clear()
                    async with asyncio.timeout(READY_S):
                        while min(asked[name] for name in NAMES) < 3:
                            await asyncio.sleep(0.1)
                else:
                    # Nothing else can be done about a switch that does not know how late it is.
                    async with asyncio.timeout(READY_S):
                        while not await began_anew(fabric, before):
                            await asyncio.sleep(0.1)
                    assert "the switch's clock has gone on" in log.getvalue()
                status = to_json(await fabric.controller.wait(READY_S))
                for one in status["switches"]:
                    assert (one["incarnation"] != before[one["nve"]]["incarnation"]) == goes_back
                    assert one["lease_left_s"] <= 30
                await fabric.arrives(blue(b"after"), ("leaf2", 1))

        async def began_anew(fabric, before):
            return all(
                one["connected"] and one["incarnation"] != before[one["nve"]]["incarnation"]
                for one in to_json(await fabric.controller.status())["switches"]
            )

        asyncio.run(run())


class TestTraffic:
    def test_first_packet_is_looked_up_and_delivered(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                # Nobody has talked yet, so leaf1 does not know blue2: its question and this packet go up, and on.
                await fabric.arrives(blue(b"first packet"), ("leaf2", 1))
                await fabric.arrives(blue(b"second packet" * 50), ("leaf2", 1))
                answer = ipv4_frame(BLUE2, BLUE1, "10.1.0.2", "10.1.0.1", b"answer")
                await fabric.arrives(answer, ("leaf1", 1), source=("leaf2", 1))
                status = to_json(await fabric.controller.status())
                leaf1 = status["switches"][0]
                assert leaf1["punts"]["ask"] == 1
                assert leaf1["learned"] == 1
                assert leaf1["in_sync"]
                assert await fabric.drops("leaf1") == {"ingress": {}, "egress": {}}
                assert await fabric.drops("leaf2") == {"ingress": {}, "egress": {}}
                assert len(fabric.underlay.carried) == 3

        asyncio.run(run())

    def test_tagged_access(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                frame = ipv4_frame(RED1, RED3, "10.1.0.1", "10.1.0.3", b"red", vlan=100)
                for _ in range(2):  # through the agent, then through the tables
                    await fabric.arrives(frame, ("leaf3", 2), source=("leaf1", 3))

        asyncio.run(run())

    def test_neighbors_are_answered_without_a_broadcast(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                request = arp_request(BLUE1, "10.1.0.1", "10.1.0.2")
                question = Question(BLUE1, IPv4Address("10.1.0.1"), IPv4Address("10.1.0.2"))
                answer = neighbor_reply(question, BLUE2)
                for _ in range(2):
                    await fabric.arrives(answer, ("leaf1", 1), sent=request)
                assert to_json(await fabric.controller.status())["switches"][0]["punts"]["answered"] == 1
                assert fabric.underlay.carried == []

        asyncio.run(run())

    def test_broadcast_reaches_the_vn_and_nobody_else(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                frame = ipv4_frame(BLUE1, BROADCAST, "10.1.0.1", "255.255.255.255", b"to all")
                await fabric.ports["leaf1"].send(1, frame)
                for place in (("leaf1", 2), ("leaf2", 1), ("leaf3", 1)):
                    assert await fabric.ports[place[0]].receive(place[1]) == frame
                assert fabric.ports["leaf1"].waiting(1) == 0, "not back to where it came from"
                assert fabric.ports["leaf1"].waiting(3) == fabric.ports["leaf3"].waiting(2) == 0, "not into red"

        asyncio.run(run())

    def test_unknown_addresses_cost_one_question_each(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                for number in (1, 1, 1, 2):
                    frame = ipv4_frame(BLUE1, 0x02BB00000000 + number, "10.1.0.1", "10.1.0.200", b"?")
                    await fabric.ports["leaf1"].send(1, frame)
                # What is behind these in the same queue shows that they have been handled.
                await fabric.arrives(blue(b"known"), ("leaf2", 1))
                punts = to_json(await fabric.controller.status())["switches"][0]["punts"]
                assert punts["answer-unknown"] == 2
                assert punts.get("wait", 0) + punts.get("negative", 0) == 2
                assert len(fabric.underlay.carried) == 1, "an unknown destination is never flooded"

        asyncio.run(run())

    def test_spoofed_source_is_dropped_and_named(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                await fabric.ports["leaf1"].send(1, ipv4_frame(BLUE1, BLUE2, "10.1.0.99", "10.1.0.2", b"not me"))
                await fabric.arrives(blue(b"me"), ("leaf2", 1))
                assert (await fabric.drops("leaf1"))["ingress"] == {"SOURCE_GUARD": 1}

        asyncio.run(run())


class TestRotation:
    def test_no_packet_is_lost(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch, grace_s=GRACE_S) as fabric:
                await fabric.arrives(blue(b"learn"), ("leaf2", 1))
                before = spis(to_json(await fabric.controller.status()), "sending")
                assert await fabric.controller.keys.rotate() == Rotated(6)
                number = 0
                while True:
                    await fabric.arrives(blue(b"packet %6d" % number), ("leaf2", 1))
                    number += 1
                    status = to_json(await fabric.controller.status())
                    if not spis(status, "draining") and not before & spis(status, "sending"):
                        break
                assert len(spis(status, "sending")) == 6
                assert number > 5, "traffic during the rotation is the point"
                used = {frame[14 + 20 + 8 + 8 + 4 :][:4].hex() for frame in fabric.underlay.carried}
                assert len(used) == 2, "the old key, then the new one"
                for nve in NAMES:
                    assert await fabric.drops(nve) == {"ingress": {}, "egress": {}}
                # The old key opens nothing any more.
                await fabric.ports["leaf2"].send(256, fabric.underlay.carried[0])
                await fabric.arrives(blue(b"after"), ("leaf2", 1))
                assert (await fabric.drops("leaf2"))["ingress"] == {"NO_SA": 1}

        asyncio.run(run())

    def test_by_age(self, tmp_path, start_switch, log):
        async def run():
            lifetimes = {"key_soft_s": 1.5, "key_hard_s": 30, "key_jitter_s": 0.1, "grace_s": GRACE_S}
            async with running(tmp_path, start_switch, **lifetimes) as fabric:
                before = spis(to_json(await fabric.controller.status()), "sending")
                async with asyncio.timeout(READY_S):
                    while before & spis(to_json(await fabric.controller.status()), "sending"):
                        await fabric.arrives(blue(b"meanwhile"), ("leaf2", 1))
                assert await fabric.drops("leaf2") == {"ingress": {}, "egress": {}}

        asyncio.run(run())


class TestRestart:
    def test_controller_adopts_running_switches(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch, grace_s=GRACE_S) as fabric:
                await fabric.arrives(blue(b"before"), ("leaf2", 1))
                recorded = fabric.underlay.carried[-1]
                before = to_json(await fabric.controller.status())
                await fabric.stop()
                await fabric.arrives(blue(b"nobody is in control"), ("leaf2", 1))
                controller = await fabric.start()
                await fabric.ports["leaf2"].send(256, recorded)
                await fabric.arrives(blue(b"again"), ("leaf2", 1))
                assert await fabric.drops("leaf2") == {"ingress": {"REPLAYED": 1}, "egress": {}}
                status = to_json(await controller.status())
                assert all(switch["adopted"] for switch in status["switches"])
                assert status["switches"][0]["learned"] == 1
                old, new = ([s["incarnation"] for s in one["switches"]] for one in (before, status))
                assert old == new
                await controller.keys.rotate()
                while any(key["inherited"] for key in to_json(await controller.status())["keys"]):
                    await fabric.arrives(blue(b"until the new keys are in use"), ("leaf2", 1))
                await fabric.ports["leaf2"].send(256, recorded)
                await fabric.arrives(blue(b"after the rotation"), ("leaf2", 1))
                dropped = {nve: await fabric.drops(nve) for nve in NAMES}
                replays = dropped["leaf2"].pop("ingress")  # the second comes before the old key is removed, or after
                assert replays in ({"REPLAYED": 2}, {"REPLAYED": 1, "NO_SA": 1})
                assert not any(drops for pipelines in dropped.values() for drops in pipelines.values())

        asyncio.run(run())

    def test_a_switch_that_restarts_gets_a_new_incarnation(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                await fabric.arrives(blue(b"before"), ("leaf2", 1))
                recorded = fabric.underlay.carried[-1]
                before = to_json(await fabric.controller.status())
                await fabric.ports["leaf2"].close()
                fabric.switches["leaf2"].kill()
                fabric.switches["leaf2"].start()
                async with asyncio.timeout(READY_S):
                    while to_json(await fabric.controller.status())["switches"][1]["incarnation"] in (
                        "",
                        before["switches"][1]["incarnation"],
                    ):
                        await asyncio.sleep(0)
                await fabric.controller.wait(READY_S)
                await fabric.ports["leaf2"].open()
                status = to_json(await fabric.controller.status())
                concerned = [k["spi"] for k in before["keys"] if "leaf2" in (k["sender"], k["receiver"])]
                assert not set(concerned) & {key["spi"] for key in status["keys"]}
                kept = [k["spi"] for k in before["keys"] if "leaf2" not in (k["sender"], k["receiver"])]
                assert set(kept) <= {key["spi"] for key in status["keys"]}
                await fabric.ports["leaf2"].send(256, recorded)
                await fabric.arrives(blue(b"after"), ("leaf2", 1))
                assert (await fabric.drops("leaf2"))["ingress"] == {"NO_SA": 1}, "a recording opens nothing"

        asyncio.run(run())

    def test_a_pipeline_that_was_loaded_anew_is_not_adopted(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                before = to_json(await fabric.controller.status())
                await fabric.stop()
                client = await fabric.client_of("leaf1")
                entries = [entry for entry in (await client.read()).entries.values()]
                defaults = (await client.read((Table.INCARNATION,), groups=False)).defaults
                await client.push_pipeline()
                # Even with everything put back, the registers know.
                await client.write([Update(Operation.INSERT, entry) for entry in entries])
                await client.write([Update(Operation.MODIFY, defaults[Table.INCARNATION])])
                await client.close()
                status = to_json(await (await fabric.start()).status())
                assert [switch["adopted"] for switch in status["switches"]] == [False, True, True]
                assert status["switches"][0]["incarnation"] != before["switches"][0]["incarnation"]
                await fabric.arrives(blue(b"after"), ("leaf2", 1))

        asyncio.run(run())


class TestProcess:
    """As an operator starts it: processes, signals, exit statuses."""

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", "from nvo3sec.cli import main; main()", *arguments]

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=READY_S)

    def test_life(self, tmp_path, start_switch):
        for number, name in enumerate(NAMES, 1):
            start_switch(name, number)
        domain = tmp_path / "domain.yaml"
        domain.write_text(example_path().read_text())
        at = ("--run-dir", str(tmp_path / "run"))
        start = self.command("controller", "run", "--domain", str(domain), *at)
        with (tmp_path / "log").open("wb") as log_file:
            for adopted in (False, True):
                process = subprocess.Popen(start, stdout=log_file, stderr=log_file)
                try:
                    result = self.operate("status", "--wait", "60", "-o", "json", *at)
                    assert result.returncode == 0, result.stderr
                    status = json.loads(result.stdout)
                    assert status["ready"]
                    assert [switch["adopted"] for switch in status["switches"]] == [adopted] * 3
                    table = self.operate("status", *at).stdout
                    assert all(key["spi"] in table for key in status["keys"])
                    assert self.operate("keys", "rotate", "leaf1", *at).stdout == "new keys asked for in 4 directions\n"
                    assert json.loads(self.operate("counters", "-o", "json", *at).stdout)[0]["drops"]["ingress"] == {}
                    assert self.operate("counters", "leaf9", *at).returncode == 1
                    if adopted:
                        process.terminate()
                        assert process.wait(30) == 0
                finally:
                    process.kill()
                    process.wait()
        assert self.operate("status", *at).returncode == 1
        assert "Traceback" not in (tmp_path / "log").read_text()


class TestForeignEntries:
    def test_removed_reported_and_the_rest_untouched(self, tmp_path, start_switch, log, monkeypatch):
        monkeypatch.setattr(audit, "TURN_S", NEVER_S)  # the agent would be faster than the operator who asks here

        async def run():
            async with running(tmp_path, start_switch) as fabric:
                agent = fabric.controller._agents["leaf1"]
                client = agent._serving.driver.client
                vap = next(e for e in (await client.read((Table.VAP,))).of_table(Table.VAP) if e["port"] == 1)
                intruder = p4.authorized_nve_permit(
                    source=0x0A000001, destination=0xC0000201, peer=9, tag=1, zero_checksum=0
                )
                await client.write([Update(Operation.INSERT, intruder), Update(Operation.DELETE, vap)])
                preview = await fabric.controller.reconcile("leaf1", dry_run=True)
                assert len(preview["leaf1"]) == 2
                assert preview["leaf1"][0].startswith("delete authorized_nve"), "block before allow"
                assert preview == await fabric.controller.reconcile("leaf1", dry_run=True), "nothing was written"
                assert await fabric.controller.reconcile("leaf1") == preview
                assert await fabric.controller.reconcile("leaf1", dry_run=True) == {"leaf1": ()}
                status = to_json(await fabric.controller.status())
                assert any("authorized_nve" in report["detail"] for report in status["reports"])

        asyncio.run(run())


class TestLease:
    def test_without_a_controller_the_tunnels_close_by_themselves(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch, lease_s=5.0, lease_renew_s=0.5) as fabric:
                await fabric.arrives(blue(b"open"), ("leaf2", 1))
                await fabric.stop()
                client = await fabric.client_of("leaf1")
                async with asyncio.timeout(READY_S):
                    while not (drops := (await client.drop_counters())[p4.Counter.DROPS_EGRESS]):
                        await fabric.ports["leaf1"].send(1, blue(b"until it is closed"))
                assert {reason.name for reason in drops} == {"TX_LEASE_EXPIRED"}
                await client.close()

        asyncio.run(run())


class TestSecrets:
    def test_no_key_is_ever_shown(self, tmp_path, start_switch, log):
        async def run() -> tuple[set[int], str]:
            shown = []
            async with running(tmp_path, start_switch, grace_s=GRACE_S) as fabric:
                keys: set[int] = set()

                async def collect() -> None:
                    for agent in fabric.controller._agents.values():
                        state = await agent._serving.driver.client.read((Table.SA_RX, Table.SA_TX, Table.FLOW_ENTROPY))
                        entries = [*state.entries.values(), *state.defaults.values()]
                        keys.update(dict(entry.params)["key"] for entry in entries)
                        live = agent._serving
                        shown.extend(map(repr, (state, agent, live, live.told.keys, live.view, live.keyring.receive)))
                        shown.extend(entry.describe() for entry in entries)

                await fabric.arrives(blue(b"traffic"), ("leaf2", 1))
                await collect()
                shown.append(json.dumps(to_json(await fabric.controller.status())))
                await fabric.controller.keys.rotate()
                while len(spis(to_json(await fabric.controller.status()), "draining")) < 6:
                    await asyncio.sleep(0)
                await collect()
                client = fabric.controller._agents["leaf1"]._serving.driver.client
                for entry in (await client.read((Table.SA_RX,))).entries.values():
                    await client.write([Update(Operation.DELETE, entry)])
                shown.append(json.dumps(to_json(await fabric.controller.reconcile("leaf1", dry_run=True))))
                await fabric.controller.reconcile("leaf1")
                shown.append(json.dumps(to_json(await fabric.controller.status())))
                shown.append(json.dumps(to_json(await fabric.controller.counters())))
                shown.extend(map(repr, fabric.controller._nva.state.keys.directions.values()))
                epochs = fabric.controller._nva.state.keys._door._store.load().epochs
                keys.update(int.from_bytes(secret.reveal(), "big") for _, secret, _ in epochs)
            return keys, "\n".join(shown)

        keys, shown = asyncio.run(run())
        text = (shown + log.getvalue()).lower()
        assert len(keys) >= 6 * 2 + 3
        for key in keys:
            for length in (16, 32):
                with contextlib.suppress(OverflowError):
                    value = key.to_bytes(length, "big")
                    assert value.hex() not in text
                    assert repr(value)[2:-1].lower() not in text
            assert str(key) not in text


def solicitation(source: int, source_ip: str, target_ip: str) -> bytes:
    source_bytes, target = IPv6Address(source_ip).packed, IPv6Address(target_ip).packed
    group = IPv6Address("ff02::1:ff00:0").packed[:13] + target[13:]
    body = bytes(4) + target + b"\x01\x01" + mac(source)
    words = source_bytes + group + (32).to_bytes(4, "big") + bytes([0, 0, 0, 58]) + b"\x87\x00\x00\x00" + body
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    icmp = b"\x87\x00" + (~total & 0xFFFF).to_bytes(2, "big") + body
    header = b"\x60\x00\x00\x00" + len(icmp).to_bytes(2, "big") + bytes([58, 255])
    return b"\x33\x33" + group[12:] + mac(source) + b"\x86\xdd" + header + source_bytes + group + icmp


class TestNeighborDiscovery:
    def test_agent_and_pipeline_give_the_same_answer(self, tmp_path, start_switch, log):
        async def run():
            async with running(tmp_path, start_switch) as fabric:
                question = solicitation(BLUE1, "fd00:1::1", "fd00:1::2")
                parsed = Question(BLUE1, IPv6Address("fd00:1::1"), IPv6Address("fd00:1::2"))
                assert parse_question(question) == parsed
                for _ in range(2):  # the agent, then the pipeline
                    await fabric.arrives(neighbor_reply(parsed, BLUE2), ("leaf1", 1), sent=question)
                assert to_json(await fabric.controller.status())["switches"][0]["punts"]["answered"] == 1
                assert fabric.underlay.carried == []

        asyncio.run(run())
