# SPDX-License-Identifier: Apache-2.0
"""The base of all packet tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from finsy.proto import p4r
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import SUITE_CHASKEY12
from ptf.base_tests import BaseTest

from harness.schema import Entry, Value, entry, multicast_group, update
from harness.session import SENTINEL_GROUP, Observed, current
from harness.world import World

IN_FLIGHT = 32  # BMv2 drops silently beyond 64 packets a port

Sends = Iterable[tuple[int, bytes]]
Drops = Reason | Iterable[Reason] | Mapping[Reason, int] | None


class NveTest(BaseTest):
    """A test finds the world of harness.world in the switch and takes away whatever it leaves there."""

    world_installed = True
    # Whether a recording of it can be replayed: not if it depends on the clock of the switch.
    recordable = True
    suite = SUITE_CHASKEY12  # of all SAs, unless a test says otherwise
    ipv6 = False  # whether the tunnels are over IPv6

    def setUp(self) -> None:
        super().setUp()
        self.session = current()
        self._present: dict[tuple[str, tuple[tuple[str, Value], ...]], Entry] = {}
        self._groups: set[int] = set()
        self._metered: set[tuple[str, tuple[tuple[str, Value], ...]]] = set()
        self.world = World(self.session, type(self).__name__, self.suite, ipv6=self.ipv6)
        self.addCleanup(self._take_away)
        self.session.set_incarnation(self.world.incarnation)
        self.session.set_lease()
        if self.world_installed:
            self.insert(*self.world.entries(), groups=self.world.replicas())

    # Programming

    def insert(self, *entries: Entry, groups: Mapping[int, list[tuple[int, int]]] | None = None) -> None:
        # Groups before what points to them.
        updates = [
            update("INSERT", packet_replication_engine_entry=multicast_group(group, replicas))
            for group, replicas in (groups or {}).items()
        ]
        updates += [update("INSERT", table_entry=self.session.schema.table_entry(one)) for one in entries]
        self.session.write(updates)
        self._present |= {(one.table, one.key): one for one in entries}
        self._groups |= set(groups or {})

    def delete(self, *entries: Entry) -> None:
        self.session.write(
            [update("DELETE", table_entry=self.session.schema.table_entry(one, with_action=False)) for one in entries]
        )
        for one in entries:
            del self._present[one.table, one.key]

    def modify(self, *entries: Entry) -> None:
        """Of the world; or of a keyless table, whose default returns after the test."""
        self.session.write([update("MODIFY", table_entry=self.session.schema.table_entry(one)) for one in entries])

    def set_group(self, group: int, replicas: list[tuple[int, int]]) -> None:
        self.session.write([update("MODIFY", packet_replication_engine_entry=multicast_group(group, replicas))])

    def set_meter(self, wanted: Entry, rate: int, burst: int) -> None:
        """Packets a second and packets; one rate for all colours, so that what is over it is red.

        A rate of 0 makes the burst all that there is, however slow the machine: no test depends on time.
        """
        direct = p4r.DirectMeterEntry(table_entry=self.session.schema.table_entry(wanted, with_action=False))
        direct.config.cir = direct.config.pir = rate
        direct.config.cburst = direct.config.pburst = burst
        self.session.write([update("MODIFY", direct_meter_entry=direct)])
        if (wanted.table, wanted.key) not in self._metered:
            self._metered.add((wanted.table, wanted.key))
            self.addCleanup(self._open_meter, wanted)

    def _open_meter(self, wanted: Entry) -> None:
        """BMv2 hands the rate of a deleted entry on to whichever entry comes next in its place."""
        if (wanted.table, wanted.key) in self._present:
            self.set_meter(wanted, rate=1_000_000, burst=1_000_000)

    def direct_counter(self, wanted: Entry) -> tuple[int, int]:
        """(packets, bytes) of an entry."""
        question = p4r.Entity()
        question.direct_counter_entry.table_entry.CopyFrom(self.session.schema.table_entry(wanted, with_action=False))
        answer = self.session.runtime.read([question])
        self.assertEqual(len(answer), 1)
        data = answer[0].direct_counter_entry.data
        return data.packet_count, data.byte_count

    def _take_away(self) -> None:
        """Everything that this test has put in, and proof that nothing else is left."""
        schema = self.session.schema
        updates = [
            update("DELETE", table_entry=schema.table_entry(one, with_action=False))
            for one in reversed(self._present.values())
        ]
        updates += [
            update("DELETE", packet_replication_engine_entry=multicast_group(group, []))
            for group in sorted(self._groups)
        ]
        self.session.recorder = None
        self.session.write(updates)
        self.session.set_default(entry("flow_entropy", {}, "not_keyed"))
        tables = [table for table in schema.tables() if not schema.is_keyless(table)]
        left = Counter(
            one.table_entry.table_id
            for one in self.session.runtime.read([schema.all_entries(table) for table in tables])
        )
        expected = Counter(
            {schema.all_entries(table).table_entry.table_id: count for table, count in self.session.own_entries.items()}
        )
        if left != expected:
            raise AssertionError(
                f"the test left entries behind, by table: {left - expected}, missing: {expected - left}"
            )

    def forget_entries(self) -> None:
        """After a pipeline push that took everything, the session's own entries included."""
        self._present.clear()
        self._groups.clear()

    # Packets

    def exchange(
        self,
        sends: Sends = (),
        outputs: Sends = (),
        drops: Drops = None,
        packet_ins: Iterable[tuple[Mapping[str, int], bytes]] = (),
        packet_outs: Iterable[tuple[dict[str, int], bytes]] = (),
        closed: Reason | None = None,
        message: str = "",
    ) -> Observed:
        """Sends, and demands that exactly this comes out: packets on ports, packet-ins, drops by reason, nothing else.

        Of a packet-in, the fields named are compared. closed: see Session.run.
        """
        sends, packet_outs = list(sends), list(packet_outs)
        assert len(sends) + len(packet_outs) <= IN_FLIGHT, "more packets at once than BMv2 queues"
        expected_drops = _counter(drops)
        observed = self.session.run(sends, packet_outs, expected_drops, closed)
        self.session.record(event="exchange", sends=sends, packet_outs=packet_outs, closed=closed, observed=observed)
        self._compare(Counter(outputs), Counter(observed.outputs), observed, message)
        self.assertEqual(_names(observed.drops), _names(expected_drops), message)
        wanted = list(packet_ins)
        self.assertEqual(len(observed.packet_ins), len(wanted), f"{message} packet-ins: {observed.packet_ins}")
        for (fields, payload), (seen_fields, seen_payload) in zip(wanted, observed.packet_ins, strict=True):
            self.assertEqual({name: seen_fields[name] for name in fields}, dict(fields), message)
            self.assertEqual(seen_payload.hex(), payload.hex(), message)
        return observed

    def _compare(
        self, wanted: Counter[tuple[int, bytes]], seen: Counter[tuple[int, bytes]], observed: Observed, message: str
    ) -> None:
        if wanted != seen:
            lines = [f"  missing on {port}: {frame.hex()}" for port, frame in sorted((wanted - seen).elements())]
            lines += [f"  too much on {port}: {frame.hex()}" for port, frame in sorted((seen - wanted).elements())]
            self.fail("\n".join([message, *lines[:8], f"  drops: {_names(observed.drops)}"]))

    def passes(self, port: int, frame: bytes, *outputs: tuple[int, bytes]) -> None:
        self.exchange([(port, frame)], outputs)

    def floods(self, port: int, frame: bytes, *outputs: tuple[int, bytes]) -> None:
        """Nothing goes back to where the frame came from, and nothing is counted for that: it is no fault."""
        self.exchange([(port, frame)], outputs)

    def dropped(self, port: int, frame: bytes, reason: Reason, closed: Reason | None = None) -> None:
        self.exchange([(port, frame)], drops=reason, closed=closed)

    def punted(self, port: int, frame: bytes, payload: bytes, **fields: int) -> None:
        self.exchange([(port, frame)], packet_ins=[(fields, payload)])


def varied(tests: Iterable[type[NveTest]], prefix: str, module: str, **attributes: object) -> dict[str, type[NveTest]]:
    """The same tests with other class attributes (`suite`, `ipv6`), by name, for the globals of `module`."""
    return {
        name: type(name, (test,), {"__module__": module, "__doc__": test.__doc__, **attributes})
        for test in tests
        for name in (f"{prefix}{test.__name__}",)
    }


def _counter(drops: Drops) -> Counter[Reason]:
    if drops is None:
        return Counter()
    return Counter([drops]) if isinstance(drops, Reason) else Counter(drops)


def _names(drops: Mapping[Reason, int]) -> dict[str, int]:
    return {reason.name: count for reason, count in sorted(drops.items())}


assert SENTINEL_GROUP >= 0x7F00, "groups of tests lie below those of the session"
