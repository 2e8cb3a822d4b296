# SPDX-License-Identifier: Apache-2.0
"""Digests: configuration, lists, acknowledgements."""

from __future__ import annotations

import itertools
import random
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from p4softswitch.server.digests import Digests
from p4softswitch.server.schema import Digest
from server_harness import Controller, DataPort, Delete, Insert, Modify, Program, update

MAC = b"\x02\x00\x00\x00\x00\x01"
HOUR = 3600 * 10**9


def frame(source: int) -> bytes:
    return MAC + source.to_bytes(6, "big") + b"\x08\x00" + bytes(50)


def config(program: Program, **rest: int) -> Any:
    entry = p4r.DigestEntry(digest_id=program.p4info.digests[0].preamble.id)
    entry.config.CopyFrom(p4r.DigestEntry.Config(**rest))
    return entry


def samples(message: Any) -> list[tuple[bytes, ...]]:
    assert message.WhichOneof("update") == "digest", message
    return [tuple(member.bitstring for member in data.struct.members) for data in message.digest.data]


class TestConfiguration:
    def test_life(self, ctl: Controller, program: Program) -> None:
        entry = config(program, max_list_size=1)
        assert ctl.code(Modify, digest_entry=entry) == rpc_code.NOT_FOUND
        assert ctl.code(Delete, digest_entry=entry) == rpc_code.NOT_FOUND
        assert ctl.read_code(digest_entry=entry) is grpc.StatusCode.NOT_FOUND
        assert ctl.code(Insert, digest_entry=entry) == rpc_code.OK
        assert ctl.code(Insert, digest_entry=entry) == rpc_code.ALREADY_EXISTS
        assert [e.digest_entry for e in ctl.read(digest_entry=entry)] == [entry]
        other = config(program, max_list_size=2, ack_timeout_ns=7, max_timeout_ns=HOUR)
        assert ctl.code(Modify, digest_entry=other) == rpc_code.OK
        assert [e.digest_entry for e in ctl.read(digest_entry=entry)] == [other]
        assert ctl.code(p4r.Update.UNSPECIFIED, digest_entry=entry) == rpc_code.INVALID_ARGUMENT
        assert ctl.code(Delete, digest_entry=entry) == rpc_code.OK
        assert ctl.read_code(digest_entry=entry) is grpc.StatusCode.NOT_FOUND
        assert ctl.read_code(digest_entry=p4r.DigestEntry()) is grpc.StatusCode.UNIMPLEMENTED

    def test_push_forgets_it(self, ctl: Controller, program: Program) -> None:
        entry = config(program, max_list_size=1)
        ctl.write(update(Insert, digest_entry=entry))
        ctl.push(program)
        assert ctl.read_code(digest_entry=entry) is grpc.StatusCode.NOT_FOUND


class TestLists:
    @pytest.fixture(autouse=True)
    def learning(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Insert, table_entry=program.entry("acl", {}, program.action("learn"), priority=1)))

    def test_one_by_one(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, digest_entry=config(program, max_list_size=1)))
        for number, (source, port) in enumerate([(0x0102, 3), (0, 511 - 8), (0x0102, 3)], 1):
            data.send(port, frame(source))
            message = ctl.receive()
            canonical = source.to_bytes(2, "big").lstrip(b"\0") or b"\0"
            assert samples(message) == [(canonical, port.to_bytes(2, "big").lstrip(b"\0"))]
            assert message.digest.digest_id == program.p4info.digests[0].preamble.id
            assert message.digest.list_id == number
            assert message.digest.timestamp > 0

    def test_acknowledged_or_not(self, ctl: Controller, program: Program, data: DataPort) -> None:
        """A sample that waits for its acknowledgement is not sent again; after it, it is."""
        ctl.write(update(Insert, digest_entry=config(program, max_list_size=1, ack_timeout_ns=HOUR)))
        data.send(3, frame(1))
        first = ctl.receive()
        assert samples(first) == [(b"\x01", b"\x03")]
        data.send(3, frame(1))
        data.send(3, frame(2))
        assert samples(ctl.receive()) == [(b"\x02", b"\x03")]
        ctl.send(digest_ack=p4r.DigestListAck(digest_id=first.digest.digest_id, list_id=first.digest.list_id))
        # The acknowledgement and the packets travel on two streams: send until one gets through.
        for source in itertools.count(3):
            data.send(3, frame(1))
            data.send(3, frame(source))
            found = samples(ctl.receive())
            if found == [(b"\x01", b"\x03")]:
                break
            assert found == [(bytes([source]), b"\x03")]

    def test_list_of_two(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, digest_entry=config(program, max_list_size=2, ack_timeout_ns=HOUR)))
        for source in (1, 1, 2):
            data.send(3, frame(source))
        assert samples(ctl.receive()) == [(b"\x01", b"\x03"), (b"\x02", b"\x03")]

    def test_after_a_time(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, digest_entry=config(program, max_list_size=100, max_timeout_ns=10**8)))
        data.send(3, frame(7))
        assert samples(ctl.receive()) == [(b"\x07", b"\x03")]

    def test_not_configured(self, ctl: Controller, program: Program, data: DataPort) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        for source in (8, 9):
            data.send(3, frame(source))
            assert ctl.packet_in().payload == frame(source)


class TestShapes:
    @pytest.mark.parametrize("shape", ["struct", "tuple", "bitstring"])
    def test_data(self, shape: str) -> None:
        sent: list[Any] = []
        widths = (12,) if shape == "bitstring" else (12, 48)
        digests = Digests({1: Digest(1, "d", shape, widths)}, sent.append)
        digests.write(Insert, p4r.DigestEntry(digest_id=1, config=p4r.DigestEntry.Config(max_list_size=1)))
        digests.learn("other", bytes(8))
        digests.learn("d", b"\x0a\xbc" + (b"" if shape == "bitstring" else bytes(5) + b"\x01"))
        (data,) = sent[0].digest.data
        if shape == "bitstring":
            assert data.bitstring == b"\x0a\xbc"
        else:
            assert [m.bitstring for m in getattr(data, shape).members] == [b"\x0a\xbc", b"\x01"]
        digests.close()
        digests.learn("d", b"\x0a\xbd" + bytes(6))
        assert len(sent) == 1


class TestWaitingForAcknowledgement:
    """A sample is held back by the lists that wait, and by no other, whichever way they end."""

    def test_against_a_list_of_lists(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        rng, now, sent = random.Random(5), [1000.0], []
        monkeypatch.setattr("p4softswitch.server.digests.time.monotonic", lambda: now[0])
        digest = Digest(id=1, name="d", widths=(8,), shape="bitstring")
        digests = Digests({1: digest}, sent.append)
        entry = p4r.DigestEntry(digest_id=1)
        entry.config.max_list_size, entry.config.ack_timeout_ns = 2, 50 * 10**9
        digests.write(Insert, entry)
        waiting: dict[int, tuple[float, set[int]]] = {}
        open_list: list[int] = []
        for _ in range(5000):
            now[0] += rng.choice((0.0, 0.5, 3.0))
            waiting = {n: (at, those) for n, (at, those) in waiting.items() if at > now[0] - 50}
            if waiting and rng.random() < 0.2:
                number = rng.choice(list(waiting))
                digests.ack(p4r.DigestListAck(digest_id=1, list_id=number))
                del waiting[number]
            sample = rng.randrange(40)
            digests.learn("d", bytes([sample]))
            if sample not in open_list and not any(sample in those for _, those in waiting.values()):
                open_list.append(sample)
            if len(open_list) == 2:
                list_id = sent[-1].digest.list_id
                assert [data.bitstring[0] for data in sent[-1].digest.data] == open_list
                assert list_id not in waiting
                waiting[list_id] = (now[0], set(open_list))
                open_list = []
        assert len(sent) > 500
