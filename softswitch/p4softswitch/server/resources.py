# SPDX-License-Identifier: Apache-2.0
"""Counter values and meter rates between P4Runtime messages and the engine; indexed counters and meters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finsy.proto import p4r

from ..engine_api import CounterFields, CounterValue, Engine, MeterRates
from .hold import Hold
from .schema import Counter, CounterUnit, Meter, Prefix, Schema
from .status import Code, P4Error, invalid, unimplemented

_U64 = (1 << 64) - 1
_MAX_BURST = (1 << 32) - 1
_PAGE = 1024
"""Cells that are copied at one moment."""

_NOT_METERED = -1
"""BMv2 takes four of these for 'no configuration'; the standard way is to leave the configuration out."""


def _signed(value: int) -> int:
    """What an unsigned 64-bit count looks like in an int64 field."""
    value &= _U64
    return value - (1 << 64) if value >> 63 else value


def fields_of(unit: CounterUnit) -> CounterFields:
    """What a write to the counter sets; what it does not count keeps its value."""
    if unit is CounterUnit.PACKETS:
        return CounterFields.PACKETS
    return CounterFields.BYTES if unit is CounterUnit.BYTES else CounterFields.BOTH


def new_count(unit: CounterUnit, data: Any) -> CounterValue:
    """The value to write; 0 for what the counter does not count."""
    fields = fields_of(unit)
    return CounterValue(
        packets=data.packet_count & _U64 if CounterFields.PACKETS in fields else 0,
        bytes=data.byte_count & _U64 if CounterFields.BYTES in fields else 0,
    )


def write_count(value: CounterValue, data: Any) -> None:
    """Fill a p4.v1.CounterData. BMv2 counts, and reports, both packets and bytes whatever the unit."""
    data.packet_count = _signed(value.packets)
    data.byte_count = _signed(value.bytes)


def rates_of(config: Any) -> MeterRates | None:
    """The rates of a p4.v1.MeterConfig, or None for 'not metered'.

    Raises:
        P4Error: INVALID_ARGUMENT for negative numbers, UNIMPLEMENTED for bursts of more than 32 bits and excess bursts,
            UNKNOWN (what BMv2 answers) for a peak rate below the committed rate.
    """
    values = (config.cir, config.cburst, config.pir, config.pburst)
    if all(value == _NOT_METERED for value in values):
        return None
    # BMv2 admits -1 one by one and takes it for the largest number of the type, which overflows in its arithmetic.
    if min(values) < 0:
        raise invalid("meter configuration: a rate or burst is negative")
    if config.cburst > _MAX_BURST or config.pburst > _MAX_BURST:
        raise unimplemented("meter configuration: a burst does not fit in 32 bits")
    if config.eburst:
        raise unimplemented("meter configuration: excess bursts are not supported")
    if config.pir < config.cir:
        raise P4Error(Code.UNKNOWN, "meter configuration: the peak rate is below the committed rate")
    return MeterRates(cir=config.cir, cburst=config.cburst, pir=config.pir, pburst=config.pburst)


def write_rates(rates: MeterRates | None, entry: Any, field: str) -> None:
    """Set the p4.v1.MeterConfig `field` of an entry; leave it out if the meter is not configured."""
    if rates is None:
        return
    config = getattr(entry, field)
    config.SetInParent()
    config.cir, config.cburst, config.pir, config.pburst = rates.cir, rates.cburst, rates.pir, rates.pburst


def check_update(update: int, what: str, *, deletable: bool) -> None:
    """Counters and meters exist as long as the pipeline: they can be modified, counters also 'deleted', which zeroes
    them.

    Raises:
        P4Error: INVALID_ARGUMENT.
    """
    if update == p4r.Update.UNSPECIFIED:
        raise invalid("the update type is not set")
    if update == p4r.Update.MODIFY or (deletable and update == p4r.Update.DELETE):
        return
    raise invalid(f"{what} can be modified only")


class IndexedResources:
    """Indexed counters and meters of one pipeline."""

    def __init__(self, schema: Schema, engine: Engine) -> None:
        self._schema = schema
        self._engine = engine

    def _counter(self, counter_id: int) -> Counter:
        counter = self._schema.counters.get(counter_id)
        if counter is None:
            raise invalid(f"Invalid P4 id: there is no indexed counter {counter_id:#010x}")
        return counter

    def _meter(self, meter_id: int) -> Meter:
        meter = self._schema.meters.get(meter_id)
        if meter is None:
            kind = "direct meter" if meter_id >> 24 == Prefix.DIRECT_METER else "meter"
            raise invalid(f"Invalid P4 id: {kind} {meter_id:#010x} is no indexed meter of this program")
        return meter

    @staticmethod
    def _index(entry: Any, array: Counter | Meter) -> int:
        index = int(entry.index.index)
        if index < 0:
            raise invalid(f"{array.name}: the index is negative")
        if index >= array.size:
            raise P4Error(Code.UNKNOWN, f"{array.name} has {array.size} cells, there is no index {index}")
        return index

    def counter_write(self, update: int, entry: Any) -> None:
        """A p4.v1.CounterEntry of a Write."""
        counter = self._counter(entry.counter_id)
        if not entry.HasField("index"):
            raise unimplemented(f"{counter.name}: writing to all cells at once is not supported")
        if entry.index.index < 0:
            raise invalid(f"{counter.name}: the index is negative")
        check_update(update, "counters", deletable=True)
        index = self._index(entry, counter)
        if update == p4r.Update.MODIFY:
            self._engine.counter_write(
                counter.name, index, new_count(counter.unit, entry.data), fields_of(counter.unit)
            )
        else:
            self._engine.counter_write(counter.name, index, CounterValue(packets=0, bytes=0))

    def meter_write(self, update: int, entry: Any) -> None:
        """A p4.v1.MeterEntry of a Write."""
        meter = self._meter(entry.meter_id)
        if not entry.HasField("index"):
            raise unimplemented(f"{meter.name}: writing to all cells at once is not supported")
        if entry.index.index < 0:
            raise invalid(f"{meter.name}: the index is negative")
        check_update(update, "meters", deletable=False)
        rates = rates_of(entry.config) if entry.HasField("config") else None
        self._engine.meter_write(meter.name, self._index(entry, meter), rates)

    def _pages(self, entry: Any, array: Counter | Meter) -> Iterator[tuple[int, int]]:
        """First cell and number of cells of each page of what the entry selects."""
        if entry.HasField("index"):
            yield self._index(entry, array), 1
            return
        for start in range(0, array.size, _PAGE):
            yield start, min(_PAGE, array.size - start)

    def counter_read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.CounterEntry of a Read: id 0 is every counter, no index is every cell."""
        counters = [self._counter(entry.counter_id)] if entry.counter_id else list(self._schema.counters.values())
        for counter in counters:
            for start, count in self._pages(entry, counter):
                with hold():
                    values = self._engine.counter_values(counter.name, start, count)
                for index, value in enumerate(values, start):
                    found = p4r.CounterEntry(counter_id=counter.id)
                    found.index.index = index
                    write_count(value, found.data)
                    yield p4r.Entity(counter_entry=found)

    def meter_read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.MeterEntry of a Read: id 0 is every meter, no index is every cell."""
        meters = [self._meter(entry.meter_id)] if entry.meter_id else list(self._schema.meters.values())
        for meter in meters:
            for start, count in self._pages(entry, meter):
                with hold():
                    values = self._engine.meter_values(meter.name, start, count)
                for index, rates in enumerate(values, start):
                    found = p4r.MeterEntry(meter_id=meter.id)
                    found.index.index = index
                    write_rates(rates, found, "config")
                    yield p4r.Entity(meter_entry=found)
