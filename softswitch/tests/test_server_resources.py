# SPDX-License-Identifier: Apache-2.0
"""Counters and meters, indexed and direct."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from server_harness import Controller, Insert, Modify, Program, Target, update
from server_harness import Delete as Remove

INVALID = rpc_code.INVALID_ARGUMENT
MAC = b"\x02\x00\x00\x00\x00\x01"
RATES = p4r.MeterConfig(cir=1000, cburst=10, pir=2000, pburst=20)


def counter(program: Program, name: str, index: int | None, **data: int) -> Any:
    where = None if index is None else p4r.Index(index=index)
    return p4r.CounterEntry(counter_id=program.id(name), index=where, data=p4r.CounterData(**data))


def meter(program: Program, index: int | None, config: Any = None) -> Any:
    where = None if index is None else p4r.Index(index=index)
    return p4r.MeterEntry(meter_id=program.id("port_meter"), index=where, config=config)


class TestIndexedCounter:
    def test_write_and_read(self, ctl: Controller, program: Program) -> None:
        entry = counter(program, "both_counter", 3, packet_count=5, byte_count=7)
        ctl.write(update(Modify, counter_entry=entry))
        assert [e.counter_entry for e in ctl.read(counter_entry=counter(program, "both_counter", 3))] == [entry]
        ctl.write(update(Remove, counter_entry=counter(program, "both_counter", 3)))
        found = ctl.read(counter_entry=counter(program, "both_counter", 3))[0].counter_entry
        assert (found.data.packet_count, found.data.byte_count) == (0, 0)

    @pytest.mark.parametrize(("name", "kept"), [("port_counter", "byte_count"), ("byte_counter", "packet_count")])
    def test_unit(self, ctl: Controller, program: Program, name: str, kept: str) -> None:
        """What a counter does not count cannot be written."""
        ctl.write(update(Modify, counter_entry=counter(program, name, 1, packet_count=5, byte_count=7)))
        found = ctl.read(counter_entry=counter(program, name, 1))[0].counter_entry
        wanted = {"packet_count": 5, "byte_count": 7} | {kept: 0}
        assert {field: getattr(found.data, field) for field in wanted} == wanted

    def test_all_cells(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Modify, counter_entry=counter(program, "port_counter", 2, packet_count=9)))
        found = [e.counter_entry for e in ctl.read(counter_entry=counter(program, "port_counter", None))]
        assert [(c.index.index, c.data.packet_count) for c in found] == [(i, 9 * (i == 2)) for i in range(8)]

    def test_all_counters(self, ctl: Controller, program: Program) -> None:
        found = [e.counter_entry for e in ctl.read(counter_entry=p4r.CounterEntry())]
        assert len(found) == 16
        assert {c.counter_id for c in found} == {program.id(f"{n}_counter") for n in ("port", "byte", "both")}

    def test_refused(self, ctl: Controller, program: Program) -> None:
        assert ctl.code(Insert, counter_entry=counter(program, "port_counter", 0)) == INVALID
        assert ctl.code(p4r.Update.UNSPECIFIED, counter_entry=counter(program, "port_counter", 0)) == INVALID
        assert ctl.code(Modify, counter_entry=counter(program, "port_counter", None)) == rpc_code.UNIMPLEMENTED
        assert ctl.code(Modify, counter_entry=counter(program, "port_counter", -1)) == INVALID
        assert ctl.code(Modify, counter_entry=counter(program, "port_counter", 8)) == rpc_code.UNKNOWN
        assert ctl.code(Modify, counter_entry=counter(program, "forward_counter", 0)) == INVALID
        assert ctl.code(Modify, counter_entry=p4r.CounterEntry(counter_id=1, index=p4r.Index())) == INVALID
        codes = grpc.StatusCode
        assert ctl.read_code(counter_entry=counter(program, "port_counter", 8)) is codes.UNKNOWN
        assert ctl.read_code(counter_entry=counter(program, "port_counter", -1)) is codes.INVALID_ARGUMENT
        assert ctl.read_code(counter_entry=counter(program, "forward_counter", 0)) is codes.INVALID_ARGUMENT

    def test_negative_value(self, ctl: Controller, program: Program) -> None:
        entry = counter(program, "both_counter", 0, packet_count=-1, byte_count=2**63 - 1)
        ctl.write(update(Modify, counter_entry=entry))
        assert ctl.read(counter_entry=counter(program, "both_counter", 0))[0].counter_entry == entry


class TestIndexedMeter:
    def test_write_read_reset(self, ctl: Controller, program: Program) -> None:
        assert [e.meter_entry for e in ctl.read(meter_entry=meter(program, 2))] == [meter(program, 2)]
        ctl.write(update(Modify, meter_entry=meter(program, 2, RATES)))
        assert [e.meter_entry for e in ctl.read(meter_entry=meter(program, 2))] == [meter(program, 2, RATES)]
        found = [e.meter_entry for e in ctl.read(meter_entry=meter(program, None))]
        assert found == [meter(program, i, RATES if i == 2 else None) for i in range(4)]
        assert [e.meter_entry for e in ctl.read(meter_entry=p4r.MeterEntry())] == found
        ctl.write(update(Modify, meter_entry=meter(program, 2)))
        assert [e.meter_entry for e in ctl.read(meter_entry=meter(program, 2))] == [meter(program, 2)]

    def test_four_times_minus_one_is_no_configuration(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Modify, meter_entry=meter(program, 1, RATES)))
        none = p4r.MeterConfig(cir=-1, cburst=-1, pir=-1, pburst=-1)
        ctl.write(update(Modify, meter_entry=meter(program, 1, none)))
        assert [e.meter_entry for e in ctl.read(meter_entry=meter(program, 1))] == [meter(program, 1)]

    def test_zero_rates(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Modify, meter_entry=meter(program, 1, p4r.MeterConfig())))
        found = ctl.read(meter_entry=meter(program, 1))[0].meter_entry
        assert found.HasField("config")

    def test_refused(self, ctl: Controller, program: Program) -> None:
        assert ctl.code(Insert, meter_entry=meter(program, 0, RATES)) == INVALID
        assert ctl.code(Remove, meter_entry=meter(program, 0)) == INVALID
        assert ctl.code(Modify, meter_entry=meter(program, None, RATES)) == rpc_code.UNIMPLEMENTED
        assert ctl.code(Modify, meter_entry=meter(program, -1, RATES)) == INVALID
        assert ctl.code(Modify, meter_entry=meter(program, 4, RATES)) == rpc_code.UNKNOWN
        assert ctl.code(Modify, meter_entry=p4r.MeterEntry(meter_id=program.id("port_counter"))) == INVALID
        assert ctl.code(Modify, meter_entry=meter(program, 0, p4r.MeterConfig(cir=-2))) == INVALID
        big = p4r.MeterConfig(cir=1, cburst=2**32, pir=2, pburst=1)
        assert ctl.code(Modify, meter_entry=meter(program, 0, big)) == rpc_code.UNIMPLEMENTED
        upside_down = p4r.MeterConfig(cir=2000, cburst=10, pir=1000, pburst=20)
        assert ctl.code(Modify, meter_entry=meter(program, 0, upside_down)) == rpc_code.UNKNOWN
        assert ctl.read_code(meter_entry=meter(program, 4)) is grpc.StatusCode.UNKNOWN
        assert [e.meter_entry for e in ctl.read(meter_entry=meter(program, 0))] == [meter(program, 0)]

    def test_single_minus_one(self, ctl: Controller, program: Program, target: Target) -> None:
        if target.name == "bmv2":
            pytest.skip("BMv2 takes it for the largest number and overflows")
        config = p4r.MeterConfig(cir=-1, cburst=10, pir=2000, pburst=20)
        assert ctl.code(Modify, meter_entry=meter(program, 0, config)) == INVALID


class TestDirectCounter:
    @pytest.fixture
    def entry(self, ctl: Controller, program: Program) -> Any:
        entry = program.forward(MAC, program.action("to_cpu"))
        ctl.write(update(Insert, table_entry=entry))
        return program.forward(MAC)

    def test_starts_at_zero(self, ctl: Controller, program: Program, entry: Any) -> None:
        found = ctl.read(direct_counter_entry=p4r.DirectCounterEntry(table_entry=entry))
        assert [e.direct_counter_entry for e in found] == [
            p4r.DirectCounterEntry(table_entry=entry, data=p4r.CounterData())
        ]
        assert found[0].direct_counter_entry.HasField("data")

    def test_write_read_zero(self, ctl: Controller, program: Program, entry: Any) -> None:
        value = p4r.DirectCounterEntry(table_entry=entry, data=p4r.CounterData(packet_count=3, byte_count=4))
        ctl.write(update(Modify, direct_counter_entry=value))
        read = p4r.DirectCounterEntry(table_entry=entry)
        assert [e.direct_counter_entry for e in ctl.read(direct_counter_entry=read)] == [value]
        whole = p4r.DirectCounterEntry(table_entry=p4r.TableEntry(table_id=entry.table_id))
        assert [e.direct_counter_entry for e in ctl.read(direct_counter_entry=whole)] == [value]
        ctl.write(update(Remove, direct_counter_entry=read))
        found = ctl.read(direct_counter_entry=read)[0].direct_counter_entry.data
        assert (found.packet_count, found.byte_count) == (0, 0)

    def test_with_the_entry(self, ctl: Controller, program: Program, entry: Any) -> None:
        entry.counter_data.packet_count = 8
        entry.action.CopyFrom(program.action("set_port", b"\x01"))
        ctl.write(update(Modify, table_entry=entry))
        plain, counted = p4r.TableEntry(table_id=entry.table_id), p4r.TableEntry(table_id=entry.table_id)
        counted.counter_data.SetInParent()
        assert not ctl.read(table_entry=plain)[0].table_entry.HasField("counter_data")
        assert ctl.read(table_entry=counted)[0].table_entry.counter_data.packet_count == 8
        # Modifying the action alone leaves the counter.
        entry.ClearField("counter_data")
        ctl.write(update(Modify, table_entry=entry))
        assert ctl.read(table_entry=counted)[0].table_entry.counter_data.packet_count == 8

    def test_new_entry_has_a_new_counter(self, ctl: Controller, program: Program, entry: Any) -> None:
        value = p4r.DirectCounterEntry(table_entry=entry, data=p4r.CounterData(packet_count=3))
        ctl.write(update(Modify, direct_counter_entry=value))
        ctl.write(update(Remove, table_entry=entry))
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        found = ctl.read(direct_counter_entry=p4r.DirectCounterEntry(table_entry=entry))
        assert found[0].direct_counter_entry.data.packet_count == 0

    def test_unit(self, ctl: Controller, program: Program) -> None:
        """A counter of packets that gets its value with the entry has its bytes set to zero, and counts them all the
        same."""
        entry = program.entry("acl", {}, program.action("drop"), priority=1)
        entry.counter_data.packet_count, entry.counter_data.byte_count = 5, 6
        ctl.write(update(Insert, table_entry=entry))
        read = p4r.DirectCounterEntry(table_entry=p4r.TableEntry(table_id=entry.table_id))
        found = ctl.read(direct_counter_entry=read)[0].direct_counter_entry.data
        assert (found.packet_count, found.byte_count) == (5, 0)

    def test_refused(self, ctl: Controller, program: Program, entry: Any) -> None:
        def code(kind: Any, table_entry: Any) -> int:
            return ctl.code(kind, direct_counter_entry=p4r.DirectCounterEntry(table_entry=table_entry))

        assert ctl.code(Modify, direct_counter_entry=p4r.DirectCounterEntry()) == INVALID
        assert code(Insert, entry) == INVALID
        assert code(Modify, program.forward(b"\x09")) == INVALID
        assert code(Modify, p4r.TableEntry(table_id=1)) == INVALID
        assert code(Modify, program.entry("nothing_to_match", {}, is_default_action=True)) == INVALID
        assert code(Modify, program.entry("forward", {}, is_default_action=True)) == rpc_code.UNKNOWN
        counted = program.entry("route", {2: {"exact": {"value": b"\1"}}}, program.action("NoAction"))
        counted.counter_data.SetInParent()
        assert ctl.code(Insert, table_entry=counted) == INVALID
        codes = grpc.StatusCode

        def read(table_entry: Any) -> grpc.StatusCode:
            return ctl.read_code(direct_counter_entry=p4r.DirectCounterEntry(table_entry=table_entry))

        assert ctl.read_code(direct_counter_entry=p4r.DirectCounterEntry()) is codes.INVALID_ARGUMENT
        assert read(p4r.TableEntry()) is codes.UNIMPLEMENTED
        assert read(p4r.TableEntry(table_id=program.id("route"))) is codes.INVALID_ARGUMENT
        assert read(program.forward(b"\x09")) is codes.INVALID_ARGUMENT
        assert read(program.entry("forward", {}, is_default_action=True)) is codes.UNKNOWN


class TestDirectMeter:
    def entry_with(self, program: Program, config: Any = None, action: bool = True) -> Any:
        return program.forward(MAC, program.action("to_cpu") if action else None, meter_config=config)

    def read(self, ctl: Controller, program: Program) -> Any:
        wanted = p4r.TableEntry(table_id=program.id("forward"))
        wanted.meter_config.SetInParent()
        found = ctl.read(table_entry=wanted)[0].table_entry
        direct = p4r.DirectMeterEntry(table_entry=self.entry_with(program, action=False))
        single = ctl.read(direct_meter_entry=direct)[0].direct_meter_entry
        assert single.HasField("config") == found.HasField("meter_config")
        assert single.config == found.meter_config
        return found.meter_config if found.HasField("meter_config") else None

    def test_with_the_entry(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Insert, table_entry=self.entry_with(program, RATES)))
        assert self.read(ctl, program) == RATES
        other = p4r.MeterConfig(cir=1, cburst=2, pir=3, pburst=4)
        ctl.write(update(Modify, table_entry=self.entry_with(program, other)))
        assert self.read(ctl, program) == other
        # Modifying the action alone leaves the meter, as on BMv2; the specification would reset it.
        ctl.write(update(Modify, table_entry=self.entry_with(program)))
        assert self.read(ctl, program) == other

    def test_alone(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Insert, table_entry=self.entry_with(program)))
        assert self.read(ctl, program) is None
        direct = p4r.DirectMeterEntry(table_entry=self.entry_with(program, action=False), config=RATES)
        ctl.write(update(Modify, direct_meter_entry=direct))
        assert self.read(ctl, program) == RATES
        whole = p4r.DirectMeterEntry(table_entry=p4r.TableEntry(table_id=program.id("forward")))
        assert [e.direct_meter_entry for e in ctl.read(direct_meter_entry=whole)] == [direct]
        direct.ClearField("config")
        ctl.write(update(Modify, direct_meter_entry=direct))
        assert self.read(ctl, program) is None

    def test_new_entry_has_a_new_meter(self, ctl: Controller, program: Program, target: Target) -> None:
        ctl.write(update(Insert, table_entry=self.entry_with(program, RATES)))
        ctl.write(update(Remove, table_entry=self.entry_with(program, action=False)))
        ctl.write(update(Insert, table_entry=self.entry_with(program)))
        # BMv2 gives the entry the meter of the one that had its place before, with its configuration.
        assert self.read(ctl, program) == (RATES if target.name == "bmv2" else None)

    def test_refused(self, ctl: Controller, program: Program) -> None:
        def code(kind: Any, table_entry: Any) -> int:
            return ctl.code(kind, direct_meter_entry=p4r.DirectMeterEntry(table_entry=table_entry, config=RATES))

        bad = self.entry_with(program, p4r.MeterConfig(cir=-2))
        assert ctl.code(Insert, table_entry=bad) == INVALID
        ctl.write(update(Insert, table_entry=self.entry_with(program)))
        entry = self.entry_with(program, action=False)
        assert ctl.code(Modify, direct_meter_entry=p4r.DirectMeterEntry()) == INVALID
        assert [code(kind, entry) for kind in (Insert, Remove)] == [INVALID, INVALID]
        assert code(Modify, program.forward(b"\x09")) == INVALID
        assert code(Modify, program.entry("forward", {}, is_default_action=True)) == rpc_code.UNKNOWN
        metered = program.entry("acl", {}, program.action("drop"), priority=1, meter_config=RATES)
        assert ctl.code(Insert, table_entry=metered) == INVALID
        assert self.read(ctl, program) is None

    def test_refused_with_the_entry_leaves_no_entry(self, ctl: Controller, program: Program, target: Target) -> None:
        upside_down = self.entry_with(program, p4r.MeterConfig(cir=2000, cburst=10, pir=1000, pburst=20))
        assert ctl.code(Insert, table_entry=upside_down) == rpc_code.UNKNOWN
        if target.name == "bmv2":
            return  # it has inserted the entry, and cannot read the table any more
        assert ctl.read(table_entry=p4r.TableEntry(table_id=program.id("forward"))) == []

    def test_default_entry_has_none(self, ctl: Controller, program: Program, target: Target) -> None:
        default = program.entry("acl", {}, program.action("only_default"), is_default_action=True)
        default.counter_data.packet_count = 1
        assert ctl.code(Modify, table_entry=default) == (rpc_code.OK if target.name == "bmv2" else rpc_code.UNKNOWN)
