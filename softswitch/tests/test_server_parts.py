# SPDX-License-Identifier: Apache-2.0
"""Parts of the server by themselves."""

from __future__ import annotations

import json
import random
import re
import threading
from pathlib import Path

import pytest
from engine_damage import damage
from finsy.proto import p4i, p4r
from hypothesis import given
from hypothesis import strategies as st
from p4softswitch.server import consistency
from p4softswitch.server.bytestring import all_ones, decode, encode
from p4softswitch.server.outbox import Outbox
from p4softswitch.server.packetio import PacketCodec
from p4softswitch.server.pauses import Pauses
from p4softswitch.server.schema import read_p4info
from p4softswitch.server.status import P4Error
from server_harness import Program
from server_program import compile as compile_program


class TestBytestrings:
    @given(
        st.integers(1, 200).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, 2**bits - 1))),
        st.integers(0, 4),
    )
    def test_round_trip(self, field: tuple[int, int], zeros: int) -> None:
        bits, value = field
        data = bytes(zeros) + value.to_bytes((bits + 7) // 8, "big")
        full = decode(data, bits, "field")
        assert (len(full), int.from_bytes(full, "big")) == ((bits + 7) // 8, value)
        assert decode(encode(full), bits, "field") == full
        assert encode(full)[0] or encode(full) == b"\0"

    @given(st.integers(1, 64))
    def test_one_bit_too_many(self, bits: int) -> None:
        assert int.from_bytes(all_ones(bits), "big") == 2**bits - 1
        with pytest.raises(P4Error):
            decode((2**bits).to_bytes(9, "big"), bits, "field")


class TestPacketCodec:
    @given(
        st.lists(
            st.integers(1, 40).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, 2**bits - 1))), max_size=6
        ),
        st.binary(max_size=4),
    )
    def test_round_trip(self, fields: list[tuple[int, int]], payload: bytes) -> None:
        """Headers of any number of bits; the reference is a string of binary digits, padded behind."""
        p4info = p4i.P4Info()
        for name in ("packet_in", "packet_out"):
            header = p4info.controller_packet_metadata.add()
            header.preamble.name = name
            for number, (bits, _) in enumerate(fields, 1):
                header.metadata.add(id=number, name="x", bitwidth=bits)
        codec = PacketCodec(read_p4info(p4info))
        packet = p4r.PacketOut(payload=payload)
        for number, (bits, value) in enumerate(fields, 1):
            packet.metadata.add(metadata_id=number, value=value.to_bytes((bits + 7) // 8, "big"))
        digits = "".join(f"{value:0{bits}b}" for bits, value in fields)
        digits += "0" * (-len(digits) % 8)
        wire = bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8)) + payload
        assert codec.packet_out(packet) == wire
        back = codec.packet_in(wire)
        assert back is not None
        assert back.payload == payload
        assert [int.from_bytes(m.value, "big") for m in back.metadata] == [value for _, value in fields]
        if len(wire) > len(payload):
            assert codec.packet_in(wire[: len(wire) - len(payload) - 1]) is None


class TestOutbox:
    def test_packets_are_bounded_and_control_is_not(self) -> None:
        outbox = Outbox("test", capacity=2)
        assert [outbox.put_packet(n) for n in range(4)] == [True, True, False, False]
        outbox.put_control("control")
        assert outbox.dropped == 2
        outbox.close()
        assert list(outbox) == [0, 1, "control"]
        assert not outbox.put_packet(9)

    def test_room_again_after_reading(self) -> None:
        outbox = Outbox("test", capacity=1)
        outbox.put_packet(1)
        messages = iter(outbox)
        assert next(messages) == 1
        assert outbox.put_packet(2)
        assert next(messages) == 2

    def test_client_that_never_reads_is_cut_off(self) -> None:
        outbox = Outbox("test")
        for number in range(5000):
            outbox.put_control(number)
        assert len(list(outbox)) == 4096

    def test_abandoned(self) -> None:
        outbox = Outbox("test")
        outbox.put_control(1)
        outbox.abandon()
        assert list(outbox) == []

    def test_consumer_waits(self) -> None:
        outbox = Outbox("test")
        found: list[int] = []
        reader = threading.Thread(target=lambda: found.extend(outbox))
        reader.start()
        for number in range(3):
            outbox.put_packet(number)
        outbox.close()
        reader.join(60)
        assert found == [0, 1, 2]

    def test_drops_are_logged_by_the_consumer(self, caplog: pytest.LogCaptureFixture) -> None:
        outbox = Outbox("packet-in", capacity=1)
        for number in range(3):
            outbox.put_packet(number)
        assert not caplog.records
        outbox.close()
        assert list(outbox) == [0]
        assert "2 packets dropped" in caplog.text


def test_damaged_programs_are_refused_in_words(program: Program) -> None:
    schema = read_p4info(program.p4info)
    whole = json.loads(program.device_config)
    consistency.check(schema, program.device_config)
    rng = random.Random(1)
    refusals: list[str] = []
    for _ in range(200):
        data = json.dumps(damage(whole, rng, 2)).encode()
        for damaged in (data, data[: len(data) // 2], bytes([*data[:9], 0xFF, *data[10:]])):
            try:
                consistency.check(schema, damaged)
            except P4Error as error:
                refusals.append(error.message.removeprefix("Error in first phase"))
    assert len(refusals) > 200
    assert [text for text in refusals if re.search("Error|Exception", text)] == []


def test_pauses_grow_to_an_end_until_it_is_calm() -> None:
    """5 ms, doubled each time, to 100 ms; calm is a second, of which the pause is a part."""
    now = 0.0
    pauses = Pauses(lambda: now)
    for _ in range(2):
        found = []
        for _ in range(8):
            assert pauses.is_longest == (len(found) > 5)
            found.append(pauses.done())
            now += 0.75
        assert found == [0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.1, 0.1]
        now += 0.25
        assert pauses.done() == 0.005
        assert not pauses.is_longest
        now += 1


@pytest.mark.parametrize("name", compile_program.VARIANTS)
def test_committed_program_is_what_p4c_makes(name: str, tmp_path: Path) -> None:
    """After a change: `python softswitch/tests/support/server_program/compile.py`."""
    import shutil

    if shutil.which("p4c-bm2-ss") is None:
        pytest.skip("p4c-bm2-ss is not on PATH")
    program, p4info = compile_program.compile_variant(name, tmp_path)
    assert (compile_program.HERE / f"{name}.json").read_text() == program
    assert (compile_program.HERE / f"{name}.p4info.txtpb").read_text() == p4info


@pytest.mark.parametrize(("table", "fits"), [("nothing_to_match", True), ("fixed", True), ("forward", False)])
def test_sizes_that_p4c_writes_apart(table: str, fits: bool) -> None:
    """Of a table without a key p4c writes the size of the source into the p4info alone; of a constant one likewise."""
    program = Program.load("with_arrays")
    p4info = p4i.P4Info()
    p4info.CopyFrom(program.p4info)
    (found,) = (one for one in p4info.tables if one.preamble.name.endswith(f".{table}"))
    found.size = 512
    if fits:
        consistency.check(read_p4info(p4info), program.device_config)
    else:
        with pytest.raises(P4Error, match=f"{table}: the sizes differ"):
            consistency.check(read_p4info(p4info), program.device_config)
