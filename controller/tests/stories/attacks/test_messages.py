# SPDX-License-Identifier: Apache-2.0
"""Messages that are too long, too deep or no messages: of a device with a certificate, and of nobody, at every door."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import grpc
import http2
from attack_world import PATIENCE_S, Fleet, agent_status, fleet_of, run, served
from attackers import field, key_and_chain, registration
from nvo3sec.cli import render, render_keys
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.errors import OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.operator.console import ask, socket_path
from nvo3sec.operator.documents import Counters, KeyAudit, Reconciled, Status
from nvo3sec.operator.json_form import from_json
from nvo3sec.wire import nva_pb2 as pb
from overlay_world import command, until
from rich.console import Console

CONNECT = "/nvo3sec.v1.Nva/Connect"
DEEP = 200_000


class Thief:
    """leaf10's certificate, and a client of gRPC that sends whatever it is given."""

    def __init__(self, fleet: Fleet) -> None:
        anchors = fleet.identities.authority.anchors_file.read_bytes()
        stolen = key_and_chain(fleet.device_file(Role.NVE, "leaf10"))
        credentials = grpc.ssl_channel_credentials(anchors, *stolen)
        options = [("grpc.ssl_target_name_override", fleet.name.dns), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{fleet.port}", credentials, options)

    async def session(self, *bodies: bytes) -> tuple[str, str]:
        """Send messages in a new session; how it ended."""
        call = self.channel.stream_stream(CONNECT)(timeout=60)
        try:
            for body in bodies:
                await call.write(body)
            while await call.read() is not grpc.aio.EOF:
                pass
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        return (await call.code()).name, await call.details()

    async def answering(self, answers: list[bytes]) -> Any:
        """A session that answers each question with the next of `answers`; without one, not at all."""
        call = self.channel.stream_stream(CONNECT, response_deserializer=pb.NvaMessage.FromString)()
        await call.write(registration())
        waiting = list(answers)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while (message := await call.read()) is not grpc.aio.EOF:
                if message.HasField("question") and waiting:
                    number = field(1, message.question.number)
                    await call.write(field(4, number + waiting.pop(0)))
        return call


MALFORMED = {
    "groups in groups": b"\x0b" * DEEP,
    "groups that end": b"\x0b" * DEEP + b"\x0c" * DEEP,
    "a field number of zero": b"\x00\x01",
    "a varint without end": b"\xff" * 20,
    "a length beyond the end": field(3, b"")[:1] + b"\xff\xff\xff\xff\x0f",
    "text that is none": field(3, field(1, b"\xff\xfe") + field(2, b"x")),
    "nothing": b"",
    "noise": random.Random(1).randbytes(5000),
    "a million reports in one": field(3, b"") * 300_000,
    "many entries": field(2, field(1, os.urandom(16)) + field(2, field(1, b"leaf2")) * 70_000),
}


class TestProtobuf:
    def test_malformed(self, identities):
        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                thief = Thief(fleet)
                for what, body in MALFORMED.items():
                    code, details = await thief.session(registration(), body)
                    assert code in ("INVALID_ARGUMENT", "INTERNAL"), (what, code, details)
                    if code == "INTERNAL":
                        assert "RST_STREAM" in details, (what, details)
                calls = await fleet.calls(CONNECT)
                assert calls["malformed"] == len(MALFORMED), calls
                # Longer than any message may be, whatever it says.
                code, _ = await thief.session(registration(), bytes(3 << 20))
                assert code in ("RESOURCE_EXHAUSTED", "INTERNAL")
                await thief.channel.close()
                assert "reason=malformed" in fleet.log()
                await served(agents)

        run(go())


ANSWERS = {
    "nested": b"[" * DEEP,
    "nested and closed": b"[" * DEEP + b"]" * DEEP,
    "objects in objects": b'{"a":' * DEEP,
    "no JSON": b"{]",
    "a number of a million digits": b"1" * 900_000,
    "not a number": b"NaN",
    "null": b"null",
    "another kind": b"[1, 2, 3]",
    "fields of other kinds": b'{"connected": 1, "fault": ["x"], "limits_s": 7}',
    "numbers without end": b'{"connected": true, "lease_left_s": 1e999, "entries_expected": 1' + b"0" * 4000 + b"}",
    "text for a terminal": json.dumps({"connected": True, "fault": "\x1b[2J\x07" * 10}).encode(),
    "a large list": json.dumps({"connected": True, "differences": ["x"] * 100_000}).encode(),
}


LINK = "[link=https://mallory.example]all is well[/link][/"
_AMOUNT = {"packets": 1, "bytes": 1}
COUNTERS = {"drops": {}, "sa_rx": [], "sa_tx": [], "vap": [], "vn": [], "last_sequence": {}, "switch": None}


def honest(leaf: str) -> Any:
    """How an agent answers that has a switch."""

    async def answer(kind: QuestionKind) -> Any:
        match kind:
            case QuestionKind.STATUS:
                return await agent_status(kind)
            case QuestionKind.COUNTERS:
                return {"nve": leaf, **COUNTERS, "vap": [{"port": 1, "vlan": 0} | _AMOUNT]}
            case QuestionKind.KEYS:
                raise OperatorError("it has no switch")
            case _:
                return ["insert bridge[vni=5001]"]

    return answer


BLINDING: dict[str, Any] = {
    "links": {"fault": LINK, "differences": [LINK], "connected": LINK, "drops": {LINK: {LINK: LINK}}},
    "a list": [LINK, {"unavailable": 5}, None],
    "an object of objects": {"unavailable": {"a": LINK}, LINK: LINK},
    "rows without fields": {"nve": "leaf10"} | COUNTERS | {"vap": [{}], "sa_rx": [_AMOUNT]},
    "rows of another switch": {"nve": "leaf1"} | COUNTERS,
    "rows with links": {"nve": "leaf10"} | COUNTERS | {"sa_tx": [{"interface": 1, "towards": LINK, "level": 1}]},
    "not a number": {"lease_left_s": float("nan"), "entries_expected": float("inf")},
    "numbers that are none": {"lease_left_s": "1", "connected": 1} | {"nve": "leaf10"} | COUNTERS | {"vn": [1]},
    "a text": LINK,
    "a terminal's": {"fault": "\x1b]8;;https://mallory.example\x07", "differences": ["a\nb"], "incarnation": "\u202e"},
}
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("status", "status", {}),
    ("counters", "counters", {}),
    ("reconcile --dry-run", "reconcile", {"dry_run": True}),
    ("reconcile", "reconcile", {}),
    ("keys audit", "key_audit", {}),
]
SHOWN: dict[str, Any] = {
    "status": lambda result: render.status(from_json(Status, result)),
    "counters": lambda result: render.counters(from_json(Counters, result)),
    "reconcile --dry-run": lambda result: render.updates(from_json(Reconciled, result), dry_run=True),
    "reconcile": lambda result: render.updates(from_json(Reconciled, result), dry_run=False),
    "keys audit": lambda result: render_keys.audit(from_json(KeyAudit, result)),
}


def run_command(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--nva", f"{fleet.name.dns}=127.0.0.1:{fleet.port}")
    credentials = ("--credentials", str(fleet.identities.place(Role.OPERATOR, "op")))
    return subprocess.run(
        command(*words, *where, *credentials), capture_output=True, text=True, check=False, timeout=120
    )


class TestAnswers:
    def test_of_an_agent(self, identities):
        """Whatever an agent answers, operators are told about the others."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                for what, answer in ANSWERS.items():
                    thief = Thief(fleet)
                    task = asyncio.create_task(thief.answering([field(2, answer)] * 2))
                    await registered(fleet, "leaf10")
                    status = await fleet.ask("status")
                    text = json.dumps(status)
                    assert "\\u001b" not in text, what
                    found = {one["nve"]: one for one in status["switches"]}
                    assert all(found[agent.leaf]["connected"] for agent in agents), what
                    with contextlib.suppress(OperatorError):
                        assert "\\u001b" not in json.dumps(await fleet.ask("counters", nve="leaf10"))
                    task.cancel()
                    await thief.channel.close()
                    await asyncio.gather(task, return_exceptions=True)
                    await registered(fleet, "leaf10", False)
                assert (await fleet.calls(CONNECT))["malformed"] >= 4
                await served(agents)

        run(go())

    def test_blinds_nobody(self, identities):
        """Answers of one agent that operators' commands would fail at, or that would steer a terminal."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, contextlib.AsyncExitStack() as stack:
                agents = []
                for leaf in fleet.leaves[:3]:
                    agents += await stack.enter_async_context(fleet.agents([leaf], answer=honest(leaf)))
                for what, answer in BLINDING.items():
                    thief = Thief(fleet)
                    task = asyncio.create_task(thief.answering([field(2, json.dumps(answer).encode())] * 40))
                    await registered(fleet, "leaf10")
                    for words, method, parameters in ASKED:
                        said = await fleet.ask(method, **parameters)
                        text = json.dumps(said, allow_nan=False, ensure_ascii=False)
                        assert text.isprintable(), (what, method)
                        assert "mallory" not in text, (what, method)
                        out = io.StringIO()
                        for table in SHOWN[words](said):
                            Console(file=out, markup=False, width=500).print(table)
                        assert all(agent.leaf in out.getvalue() for agent in agents), (what, method)
                        assert "leaf10" in out.getvalue(), (what, method)
                    if what == "links":
                        done = await asyncio.to_thread(run_command, fleet, "counters", "-o", "json")
                        assert done.returncode == 1, done.stderr  # not all of it is there
                        found = {one["nve"]: one for one in json.loads(done.stdout)}
                        assert "answer refused: " in found["leaf10"]["unavailable"]
                        assert all("unavailable" not in found[agent.leaf] for agent in agents)
                        status = await asyncio.to_thread(run_command, fleet, "status")
                        assert "leaf10: answer-refused: status: connected" in status.stdout
                        assert status.stdout.replace("\n", "").isprintable()
                    task.cancel()
                    await thief.channel.close()
                    await asyncio.gather(task, return_exceptions=True)
                    await registered(fleet, "leaf10", False)
                counts = await fleet.ask("admission")
                assert set(counts["answers_refused"]) == {"leaf10"}
                assert counts["answers_refused"]["leaf10"] >= 2 * len(BLINDING)
                assert "what=answer-refused" in fleet.log()
                assert "mallory" not in fleet.log()
                await served(agents)

        run(go())

    def test_none_at_all(self, identities):
        """An agent that does not answer holds up an operator once, and then hardly."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
                thief = Thief(fleet)
                task = asyncio.create_task(thief.answering([]))
                await registered(fleet, "leaf10")
                first = await fleet.ask("status")
                assert "did not answer within 5 s" in json.dumps(first)
                again = await asyncio.gather(*(fleet.ask("status") for _ in range(5)))
                assert all("did not answer within 0.2 s" in json.dumps(one) for one in again)
                task.cancel()
                await thief.channel.close()
                await asyncio.gather(task, return_exceptions=True)
                await served(agents)

        run(go())


async def registered(fleet: Fleet, leaf: str, there: bool = True) -> None:
    """Until the NVA has a session of `leaf`, or none; without asking the agent, which might not answer."""

    said = re.compile(rf"(nve registered|nve disconnected).* nve={leaf}\b")

    def found() -> bool:
        events = said.findall(fleet.log())
        return bool(events) and (events[-1] == "nve registered") is there

    await until(found, timeout_s=PATIENCE_S)


REQUESTS = {
    "noise": random.Random(2).randbytes(20_000).replace(b"\n", b"x") + b"\n",
    "a line without end": b"x" * 1_000_000,
    "deep": b"[" * 60_000 + b"\n",
    "deep objects": b'{"method":' * 6_000 + b"\n",
    "a list": b"[1]\n",
    "nothing": b"\n",
    "text": b'"status"\n',
    "null": b"null\n",
    "no name": b"{}\n",
    "a name that is none": b'{"method": ["status"]}\n',
    "parameters that are none": b'{"method": "status", "params": [1, 2]}\n',
    "parameters of another kind": b'{"method": "status", "params": {"wait_s": "long"}}\n',
    "parameters that nobody has": b'{"method": "status", "params": {"self": 1}}\n',
    "digits": b'{"method": ' + b"1" * 50_000 + b"}\n",
    "no text": b"\xff\xfe\xfd\n",
}


class TestDoors:
    def test_garbage_at_every_socket(self, identities):
        """All that NVA and agent listen on, as the kernel tells it."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
                run_directory = fleet.directory / "run-leaf4"
                words = ["nve", "run", "--name", "leaf4", "--p4runtime", f"unix:{fleet.directory}/no.sock"]
                words += ["--nva", f"{fleet.name.dns}=127.0.0.1:{fleet.port}", "--run-dir", str(run_directory)]
                words += ["--credentials", str(fleet.identities.place(Role.NVE, "leaf4"))]
                with (fleet.directory / "leaf4.process").open("wb") as log:
                    agent = subprocess.Popen(command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                try:
                    await until(socket_path(run_directory).exists, timeout_s=PATIENCE_S)
                    doors = {fleet.pid: listening(fleet.pid), agent.pid: listening(agent.pid)}
                    kinds = sorted("tcp" if isinstance(door, int) else Path(door).name for door in doors[fleet.pid])
                    assert kinds == ["controller.sock", "grpc", "tcp"]
                    assert [Path(str(door)).name for door in doors[agent.pid]] == ["controller.sock"]
                    for door in {door for found in doors.values() for door in found}:
                        await asyncio.gather(*(asyncio.to_thread(throw, door, data) for data in REQUESTS.values()))
                    for directory in (fleet.run_directory, run_directory):
                        assert (await asyncio.to_thread(ask, directory, "status"))["domain"] == "lab.example"
                        for what, data in REQUESTS.items():
                            answer = await asyncio.to_thread(throw, str(socket_path(directory)), data)
                            refused = not answer or "error" in json.loads(answer.partition(b"\n")[0])
                            assert refused, what
                    assert agent.poll() is None
                    assert "Traceback" not in (fleet.directory / "leaf4.process").read_text()
                    await served(agents)
                finally:
                    agent.kill()
                    agent.wait()

        run(go())

    def test_garbage_within_tls(self, identities):
        """Of a device with a valid certificate, where HTTP/2 should begin."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
                anchors, device = str(fleet.identities.authority.anchors_file), fleet.device_file(Role.NVE, "leaf10")

                def throw_within(data: bytes) -> None:
                    connection = http2.Connection(fleet.port, fleet.name.dns, anchors, device, "127.0.0.77")
                    with contextlib.suppress(OSError):
                        connection.tls.sendall(data)
                    connection.until_closed()
                    connection.close()

                noise = random.Random(3).randbytes(10_000)
                huge = http2.PREFACE + http2.frame(http2.SETTINGS) + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + noise
                for data in (noise, b"GET / HTTP/1.1\r\n\r\n", http2.PREFACE + noise, huge):
                    await asyncio.to_thread(throw_within, data)
                await fleet.until_counted(lambda now: now["connections"]["open"] == 3)
                await served(agents)

        run(go())


def listening(pid: int) -> list[int | str]:
    """Ports and paths on which a process listens."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found: list[int | str] = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if len(words) == 8 and words[6] in inodes and int(words[3], 16) & 0x10000:
            found.append(words[7])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.append(int(words[1].rpartition(":")[2], 16))
    return found


def throw(door: int | str, data: bytes) -> bytes:
    """Send, and return what comes back until the other side ends it or a line is whole."""
    made = socket.socket(socket.AF_INET if isinstance(door, int) else socket.AF_UNIX)
    got = b""
    with made:
        made.settimeout(60)
        with contextlib.suppress(OSError):
            made.connect(("127.0.0.1", door) if isinstance(door, int) else door)
            made.sendall(data)
            made.shutdown(socket.SHUT_WR)
            while (more := made.recv(65536)) and b"\n" not in got:
                got += more
                if b"\n" in got:
                    break
    return got
