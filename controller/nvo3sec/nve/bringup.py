# SPDX-License-Identifier: Apache-2.0
"""Adopt a running switch, or make a new incarnation of it.

Sequence numbers and replay windows live in registers that only a pipeline load resets, and keys are bound to the
incarnation that the registers belong to. So a switch is adopted only if entry and both registers agree; anything else
gets a new incarnation, in an order in which no old key can meet new registers: keys out, entry, registers, answer.

A switch whose replay rings are to begin anew gets its pipeline anew, for nothing else empties them: one for whose
incarnation the NVA has no keys any more; and one of which nobody knows how far the generations in its rings have come,
and that holds no key which would show it, so that there is nothing to interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from nvo3sec.domain.keys.derivation import INCARNATION_BYTES, KEY_BYTES
from nvo3sec.errors import IncarnationLost
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.translate import incarnation_of
from nvo3sec.p4runtime import Operation, SwitchState, Table, Update
from nvo3sec.program import generated as p4


@dataclass(frozen=True)
class BroughtUp:
    """A switch that is ready for entries. `adopted`: it was running with an incarnation that holds. `emptied`: its
    replay rings are known to have seen nothing."""

    incarnation: bytes
    adopted: bool
    emptied: bool = False


@dataclass(frozen=True)
class Retired:
    """An incarnation that no switch is to be adopted with any more."""

    incarnation: bytes
    why: str


async def bring_up(
    driver: SwitchDriver,
    random_bytes: Callable[[int], bytes],
    generation: Callable[[bytes], int | None] = lambda _: 0,
    retired: Retired | None = None,
    may_adopt: Callable[[bytes], bool] = lambda _: True,
) -> BroughtUp:
    """Adopt or initialize the switch. Raises SwitchError; after PipelineRefused it has to be restarted.

    generation: how far the replay rings of an incarnation have come, None if that is not known. retired: an incarnation
    that is to end, and why. may_adopt: whether the keys of an incarnation may stay.
    """
    client = driver.client
    log = structlog.get_logger("nve").bind(nve=client.name)
    if await client.has_pipeline():
        state = await client.read()
        incarnation = incarnation_of(state)
        answer = await driver.ask_state()
        emptied = False
        is_known = generation(incarnation) is not None or any(
            entry["incarnation"] == int.from_bytes(incarnation, "big") for entry in state.of_table(Table.SA_RX)
        )
        is_retired = retired is not None and incarnation == retired.incarnation
        if incarnation and answer.agrees and is_known and not is_retired and may_adopt(incarnation):
            await _set_entropy(driver, state, random_bytes)
            log.info("switch adopted", entries=len(state.entries), groups=len(state.groups))
            return BroughtUp(incarnation, adopted=True)
        if incarnation and answer.agrees:
            why = "nobody knows what its replay rings have seen"
            if retired is not None and is_retired:
                why = retired.why
            if not may_adopt(incarnation):
                why = "it may hold keys of the NVA's alone, and peer keys are required"
            log.warning("the switch begins anew, with its pipeline", why=why)
            await client.push_pipeline()
            emptied = True
        else:
            log.warning("incarnation of the switch does not hold; making a new one", entry=bool(incarnation))
    else:
        await client.push_pipeline()
        emptied = True
        log.info("pipeline loaded")
    return replace(await _new_incarnation(driver, random_bytes), emptied=emptied)


async def _new_incarnation(driver: SwitchDriver, random_bytes: Callable[[int], bytes]) -> BroughtUp:
    client = driver.client
    state = await client.read((Table.SA_RX, Table.SA_TX, Table.LEASE, Table.FLOW_ENTROPY), groups=False)
    await client.write([Update(Operation.MODIFY, p4.lease_no_lease())])
    await client.write([Update(Operation.DELETE, entry) for entry in state.entries.values()])
    incarnation = random_bytes(INCARNATION_BYTES)
    entry = p4.incarnation_set_incarnation(incarnation=int.from_bytes(incarnation, "big"))
    await client.write([Update(Operation.MODIFY, entry)])
    answer = await driver.set_incarnation(incarnation)
    if not answer.agrees:
        raise IncarnationLost(f"{client.name}: the registers did not take the new incarnation")
    await _set_entropy(driver, state, random_bytes)
    return BroughtUp(incarnation, adopted=False)


async def _set_entropy(driver: SwitchDriver, state: SwitchState, random_bytes: Callable[[int], bytes]) -> None:
    """Give the flow hash a key, if it has none. It is nobody else's, and protects only the shape of tenant flows."""
    entry = state.defaults.get(Table.FLOW_ENTROPY)
    if entry is None or entry.action != "keyed":
        keyed = p4.flow_entropy_keyed(key=int.from_bytes(random_bytes(KEY_BYTES), "big"))
        await driver.client.write([Update(Operation.MODIFY, keyed)])
