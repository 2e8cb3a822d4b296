# SPDX-License-Identifier: Apache-2.0
"""Writes between the batches: right ones, refused ones, malformed ones, so that status codes are compared as well."""

from __future__ import annotations

import random
from collections.abc import Callable

from finsy.proto import p4r
from harness.schema import Entry, Schema, entry, multicast_group, update
from harness.session import FOREVER

from differential.steps import Write
from differential.worlds import GROUPS, SA_KINDS, World

Key = tuple[str, tuple[tuple[str, int | bytes], ...]]
KINDS = ("INSERT", "MODIFY", "DELETE")

# How a parameter may change: other values of the same kind. Ports of tunnels and their interfaces stay as they are.
_VARIANTS: dict[str, tuple[int, ...]] = {
    "suite": (0, 1, 1, 1, 2, 2, 2, 255),
    "min_coverage": (0, 16, 64, 0xFFFF),
    "pair": (0, 1, 2, 4095, 0x3FFF),
    "kind": (1, 1, 1, *SA_KINDS),
    "tag": (0, 0, 1, 0xFFFFFFFF),
    "hop": (0, 1, 2, 3, 77),
    "generation": (0, 1, 1, 1, 2, 2, 3, 0x80000000),
    "not_after": (0, 1, FOREVER, FOREVER, FOREVER),
    "level": (0, 1, 1, 2),
    "zero_checksum": (0, 1),
    "link_level": (0, 0, 1),
    "vlan": (0, 1, 10, 4095),
    "underlay_mtu": (0, 130, 1500, 9000, 65535),
    "frame_limit": (0, 60, 1514, 0xFFFF, 0xFFFF),
}


class Updates:
    """Knows what the world's switch holds, and makes the next write."""

    def __init__(self, world: World, schema: Schema, chooser: random.Random) -> None:
        self._world = world
        self._schema = schema
        self._chooser = chooser
        self._present: dict[Key, Entry] = {}
        self._absent: dict[Key, Entry] = {}
        self._original = {(one.table, one.key): one for one in world.entries}

    def initial(self) -> Write:
        messages = [
            update("INSERT", packet_replication_engine_entry=multicast_group(group, replicas))
            for group, replicas in self._world.groups.items()
        ]
        messages += [update("INSERT", table_entry=self._schema.table_entry(one)) for one in self._world.entries]
        messages += [update("MODIFY", table_entry=self._schema.table_entry(one)) for one in self._world.defaults]
        self._present = dict(self._original)
        return _write(messages)

    def next(self) -> Write:
        ways: list[tuple[int, Callable[[], p4r.Update]]] = [
            (3, self._restore),
            (3, self._delete),
            (3, self._modify),
            (1, self._default),
            (2, self._group),
            (1, self._refused),
            (2, self._malformed),
            (1, self._counter),
        ]
        made = self._chooser.choices(
            [way for _, way in ways], [weight for weight, _ in ways], k=self._chooser.randint(1, 6)
        )
        return _write([way() for way in made])

    def healing(self) -> Write:
        """Everything as it was at the beginning, so that a world does not wear out."""
        messages = []
        for key, one in self._original.items():
            if self._present.get(key) != one:
                messages.append(self._table("MODIFY" if key in self._present else "INSERT", one))
                self._present[key] = one
        for one in self._world.defaults:
            messages.append(update("MODIFY", table_entry=self._schema.table_entry(one)))
        self._absent.clear()
        return _write(messages)

    # Right ones

    def _table(self, kind: str, one: Entry) -> p4r.Update:
        return update(kind, table_entry=self._schema.table_entry(one, with_action=kind != "DELETE"))

    def _some(self, entries: dict[Key, Entry]) -> Entry:
        return self._chooser.choice(list(entries.values()))

    def _restore(self) -> p4r.Update:
        if not self._absent:
            return self._delete()
        one = self._some(self._absent)
        del self._absent[one.table, one.key]
        self._present[one.table, one.key] = one
        return self._table("INSERT", one)

    def _delete(self) -> p4r.Update:
        # Without a floor it would show how long a penalty lasts, which is the clock's: see worlds.py.
        one = self._some({key: one for key, one in self._present.items() if one.table != "peer_floor"})
        del self._present[one.table, one.key]
        self._absent[one.table, one.key] = self._original.get((one.table, one.key), one)
        return self._table("DELETE", one)

    def _modify(self) -> p4r.Update:
        one = self._some(self._present)
        back = self._original[one.table, one.key]
        changed = self._varied(one) if one == back else back
        self._present[one.table, one.key] = changed
        return self._table("MODIFY", changed)

    def _varied(self, one: Entry) -> Entry:
        params = dict(one.params)
        open_to_change = [name for name in params if name in _VARIANTS or name in ("key", "incarnation", "mac")]
        if not open_to_change:
            return one
        name = self._chooser.choice(open_to_change)
        if name in _VARIANTS:
            params[name] = self._chooser.choice(_VARIANTS[name])
        else:
            value = params[name]
            params[name] = self._chooser.randbytes(len(value) if isinstance(value, bytes) else 6)
        return Entry(one.table, one.key, one.action, tuple(params.items()))

    def _default(self) -> p4r.Update:
        """The switch's own state: wrong for a while, as long as nothing better comes."""
        c = self._chooser
        bad = [
            entry("lease", {}, "no_lease"),
            entry("lease", {}, "grant", not_after=c.choice((0, 1))),
            entry("incarnation", {}, "no_incarnation"),
            entry("incarnation", {}, "set_incarnation", incarnation=c.choice((bytes(16), c.randbytes(16)))),
            entry("flow_entropy", {}, "not_keyed"),
            entry("flow_entropy", {}, "keyed", key=c.randbytes(16)),
        ]
        one = c.choice(bad) if c.random() < 0.2 else c.choice(self._world.defaults)
        return update("MODIFY", table_entry=self._schema.table_entry(one))

    def _group(self) -> p4r.Update:
        """Also those that exist already, or do not."""
        group = self._chooser.choice(GROUPS)
        return update(
            self._chooser.choice(KINDS),
            packet_replication_engine_entry=multicast_group(group, self._world.random_replicas()),
        )

    def _counter(self) -> p4r.Update:
        """Direct and indirect counters can be set."""
        c = self._chooser
        made = p4r.Update(type=p4r.Update.Type.Value(c.choice(("MODIFY", "MODIFY", "MODIFY", *KINDS))))
        if c.random() < 0.5:
            cell = made.entity.counter_entry
            cell.counter_id = self._schema.counter("drops_ingress").counter_entry.counter_id
            cell.index.index = c.choice((0, 1, 44, 255, 256, 1 << 20))
            data = cell.data
        else:
            counted = [one for one in self._present.values() if self._schema.has_direct_counter(one.table)]
            if not counted:
                return self._delete()
            one = c.choice(counted)
            made.entity.direct_counter_entry.table_entry.CopyFrom(self._schema.table_entry(one, with_action=False))
            data = made.entity.direct_counter_entry.data
        data.packet_count = c.choice((0, 5))
        data.byte_count = c.choice((0, 7))
        return made

    # Refused ones

    def _refused(self) -> p4r.Update:
        """Well-formed, but not now."""
        if self._chooser.random() < 0.5 or not self._absent:
            return self._table("INSERT", self._some(self._present))
        return self._table(self._chooser.choice(("MODIFY", "DELETE")), self._some(self._absent))

    def _malformed(self) -> p4r.Update:
        """One thing wrong in an update that would be right. Nothing of it may take effect."""
        c = self._chooser
        one = self._some(self._present)
        absent = bool(self._absent) and c.random() < 0.5
        if absent:
            one = self._some(self._absent)
        made = self._table("INSERT" if absent else "MODIFY", one)
        table_entry = made.entity.table_entry
        action = table_entry.action.action

        def wide(value: bytes) -> bytes:
            return b"\x01" + bytes(max(16, len(value)))

        def default_without_match() -> None:
            table_entry.ClearField("match")
            table_entry.is_default_action = True

        ways: list[Callable[[], object]] = [
            lambda: setattr(table_entry, "table_id", c.choice((0, 1, 0x02FFFFFF, action.action_id))),
            lambda: setattr(table_entry.match[0], "field_id", 99),
            lambda: table_entry.match.pop(),
            lambda: table_entry.match.append(table_entry.match[0]),
            lambda: setattr(table_entry.match[0].exact, "value", wide(table_entry.match[0].exact.value)),
            lambda: setattr(table_entry.match[0].ternary, "value", b"\x01"),
            lambda: setattr(action, "action_id", c.choice((0, 1, 0x01FFFFFF, table_entry.table_id))),
            lambda: setattr(action, "action_id", self._action_of_another_table(one)),
            lambda: action.params.add(param_id=50, value=b"\x01"),
            lambda: action.params.pop() if action.params else table_entry.ClearField("action"),
            lambda: (
                setattr(action.params[0], "value", wide(b"")) if action.params else table_entry.ClearField("action")
            ),
            lambda: table_entry.ClearField("action"),
            lambda: setattr(table_entry, "priority", 5),
            lambda: setattr(table_entry, "is_default_action", True),
            default_without_match,
            lambda: setattr(made, "type", 0),
            lambda: made.ClearField("entity"),
            lambda: made.entity.register_entry.SetInParent(),
            lambda: made.entity.CopyFrom(self._bad_group()),
        ]
        c.choice(ways)()
        return made

    def _action_of_another_table(self, one: Entry) -> int:
        other = next(entry for entry in self._world.entries if entry.table != one.table)
        return int(self._schema.table_entry(other).action.action.action_id)

    def _bad_group(self) -> p4r.Entity:
        c = self._chooser
        group = c.choice((0, 1, 3, 0x1FFFF))
        replicas = [(1, 1), c.choice(((1, 1), (2, 0x10000), (2, 2), (0, 3)))]
        return p4r.Entity(packet_replication_engine_entry=multicast_group(group, replicas))


def _write(messages: list[p4r.Update]) -> Write:
    return Write(tuple(one.SerializeToString(deterministic=True) for one in messages))
