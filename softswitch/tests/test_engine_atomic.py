# SPDX-License-Identifier: Apache-2.0
"""What is one step with respect to packets: a packet comes in wherever the engine lets one."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from engine_scenarios import PROGRAMS, call, exact
from engine_support import load_program
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import CounterValue, DirectState, KeyPart, MeterRates
from p4softswitch.server.pipeline import Pipeline
from p4softswitch.server.replication import Limits
from p4softswitch.server.schema import read_p4info

PIPE = "IngressPipe."
METERED = PIPE + "by_exact"
KEY: tuple[KeyPart, ...] = (exact(7, 32), exact(0, 128), exact(0, 9), exact(0, 32))
PACKET = b"\x01" + (7).to_bytes(4, "big") + bytes(21)
ONE_PACKET = MeterRates(cir=0, cburst=1, pir=0, pburst=1)
GREEN, RED = 0, 2
PORT, OUT = 9, 1


class _Between:
    """A runtime that has something happen after each of its calls, as packets of the data-plane thread may."""

    def __init__(self, library: ctypes.CDLL, after: Callable[[], object]) -> None:
        self._library = library
        self._after = after
        self._inside = False

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)

        def run(*arguments: object) -> object:
            result = function(*arguments)
            if not self._inside:
                self._inside = True
                self._after()
                self._inside = False
            return result

        return run


def _with_packets(engine: CompiledEngine, packet: bytes, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What comes of a packet that runs after each call of the runtime, from now on."""
    seen: list[bytes] = []

    def run() -> None:
        seen.extend(frame for _, frame in engine.process(PORT, packet))

    monkeypatch.setattr(engine, "_lib", _Between(engine._lib, run))
    return seen


def _of_entry(frames: list[bytes]) -> list[int]:
    """Colours of those that the entry has matched."""
    return [frame[5] for frame in frames if frame[6] == 1]


class TestEntryWithItsMeter:
    @pytest.mark.parametrize("kind", [p4r.Update.INSERT, p4r.Update.MODIFY], ids=["insert", "modify"])
    def test_no_packet_passes_unmetered(self, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """As P4Runtime writes it: the burst of one packet passes, whatever the moment."""
        engine = load_program("matches")
        schema = read_p4info(text_format.Parse((PROGRAMS / "matches.p4info.txtpb").read_text(), p4i.P4Info()))
        table = next(t for t in schema.tables.values() if t.name == METERED)
        action = next(a for a in schema.actions.values() if a.name == PIPE + "set_metered")
        entry = p4r.TableEntry(table_id=table.id)
        for field, value in zip(table.fields, (b"\x07", b"\0", b"\0", b"\0"), strict=True):
            entry.match.add(field_id=field.id).exact.value = value
        entry.action.action.action_id = action.id
        entry.action.action.params.add(param_id=1, value=b"\x05")
        entry.meter_config.cburst = entry.meter_config.pburst = 1
        entry.counter_data.packet_count = 1000
        if kind == p4r.Update.MODIFY:
            engine.table_insert(METERED, KEY, 0, call(PIPE + "drop"))
        frames = _with_packets(engine, PACKET, monkeypatch)
        tables = Pipeline(schema, engine, Limits(), lambda message: None).tables
        tables.write(kind, entry)
        engine.now()  # once more
        colours = _of_entry(frames)
        assert colours.count(GREEN) == 1
        assert colours.count(RED) == len(colours) - 1 >= 1
        count = engine.table_entry(METERED, KEY, 0).count
        assert count is not None
        assert count.packets == 1000 + len(_of_entry(frames)) - 1  # the last one came after the reading

    def test_while_packets_pass(self) -> None:
        """With the thread of the data plane running, and packets coming all the time."""
        engine = load_program("matches")
        frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        engine.attach_sink(OUT)
        engine.set_packet_sink(OUT, frames.put)
        engine.start()
        done = threading.Event()

        def send() -> None:
            while not done.is_set():
                engine.inject(PORT, PACKET)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            frames.get(timeout=60)
            engine.table_insert(
                METERED, KEY, 0, call(PIPE + "set_metered", (5, 32)), DirectState(None, True, ONE_PACKET)
            )
            found: list[int] = []
            while RED not in found:
                found += _of_entry([frames.get(timeout=60)])
        finally:
            done.set()
            sender.join(60)
            engine.stop()
        while not frames.empty():
            found += _of_entry([frames.get()])
        assert found.count(GREEN) == 1

    def test_a_refused_state_leaves_nothing(self) -> None:
        """Rates that cannot be are found before there is an entry."""
        engine = load_program("matches")
        wrong = DirectState(CounterValue(0, 0), True, MeterRates(cir=2, cburst=1, pir=1, pburst=1))
        with pytest.raises(Exception, match="peak rate"):
            engine.table_insert(METERED, KEY, 0, call(PIPE + "drop"), wrong)
        assert engine.table_entries(METERED) == []


class TestReset:
    def test_entries_of_the_program_are_never_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A packet that one of them matches is matched before, in the middle of and after a push."""
        engine = load_program("matches")
        packet = b"\x06" + (10).to_bytes(4, "big") + (5).to_bytes(2, "big") + bytes(19)
        frames = _with_packets(engine, packet, monkeypatch)
        engine.reset_state(keep_entries=False)
        engine.now()
        assert len(frames) >= 2
        assert {int.from_bytes(frame[:4], "big") for frame in frames} == {1}
        assert len(engine.table_entries(PIPE + "constant")) == 4
