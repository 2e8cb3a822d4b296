# SPDX-License-Identifier: Apache-2.0
"""What a switch holds for its tunnels, from what was just read: see `domain.messages.holdings`."""

from __future__ import annotations

from collections.abc import Mapping

from nvo3sec.domain.keys.usage import Amount
from nvo3sec.domain.messages.holdings import HeldSa, Holdings, suite_name
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.translate import SaName, ends_of, incarnation_of, peers_of
from nvo3sec.p4runtime import Entry, SwitchState, Table
from nvo3sec.program.entry import CounterValue, Pairs

TABLES = (Table.SA_RX, Table.SA_TX, Table.AUTHORIZED_NVE, Table.TUNNEL, Table.LEASE, Table.INCARNATION)
"""What has to be read for it."""


def holdings_of(
    nve: str,
    state: SwitchState,
    counters: Mapping[Table, Mapping[Pairs, CounterValue]],
    reading: ClockReading,
    *,
    agrees: bool,
    peers: Mapping[UnderlayAddress, str],
    use: Mapping[SaName, Amount],
    last_use: Mapping[SaName, float],
    now: float,
) -> Holdings:
    """state: at least `TABLES`. counters: direct ones of SA_RX and SA_TX. peers: names by address.

    use: what each key has protected, which is less than the counter of its entry says if that had other keys before.
    last_use: when a key was last seen to send. now: seconds, monotonic.
    """
    incarnation = incarnation_of(state)
    own = int.from_bytes(incarnation, "big")
    ends = ends_of(state)

    def counted(table: Table, entry: Entry, *, at_most: bool) -> Amount:
        value = counters[table].get(entry.match)
        return Amount() if value is None else Amount(value.packets, value.bytes, at_most)

    def held(
        entry: Entry, address: UnderlayAddress | None, used: Amount, generation: int = 0, idle_s: float | None = None
    ) -> HeldSa:
        return HeldSa(
            peer="?" if address is None else peers.get(address, str(address)),
            suite=suite_name(entry["suite"]),
            spi=entry["spi"],
            generation=generation,
            remaining_s=round(reading.remaining_s(entry["not_after"], now), 3),
            own=entry["incarnation"] == own,
            packets=used.packets,
            octets=used.octets,
            idle_s=idle_s,
            at_most=used.at_most,
        )

    idle = {(peer, suite.name, spi): now - at for (peer, suite, spi), at in last_use.items()}
    protected = {(peer, suite.name, spi): amount for (peer, suite, spi), amount in use.items()}
    send = []
    for entry in state.of_table(Table.SA_TX):
        address = ends.get(entry["interface"])
        name = "?" if address is None else peers.get(address, str(address))
        key = (name, suite_name(entry["suite"]), entry["spi"])
        used = protected.get(key) or counted(Table.SA_TX, entry, at_most=True)
        send.append(held(entry, address, used, idle_s=idle.get(key)))
    sources = peers_of(state)
    receive = [
        # An entry to receive with is of one key only: its SPI is what it is found by.
        held(e, sources.get(e["peer"]), counted(Table.SA_RX, e, at_most=False), e["generation"])
        for e in state.of_table(Table.SA_RX)
    ]
    lease = state.defaults.get(Table.LEASE)
    not_after = None if lease is None else dict(lease.params).get("not_after")
    return Holdings(
        nve,
        incarnation[:4].hex(),
        agrees,
        reading.switch_us / 1e6,
        None if not_after is None else round(reading.remaining_s(not_after, now), 3),
        tuple(sorted(receive, key=lambda sa: (sa.peer, sa.suite, sa.generation, sa.spi))),
        tuple(sorted(send, key=lambda sa: (sa.peer, sa.suite, sa.spi))),
    )
