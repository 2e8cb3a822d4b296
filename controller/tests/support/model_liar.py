# SPDX-License-Identifier: Apache-2.0
"""An NVE that lies: whoever has its certificate says the largest, the smallest, the most, and what was never so."""

from __future__ import annotations

from ipaddress import IPv4Address

from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.spi import LAST_GENERATION
from nvo3sec.domain.messages.session import (
    Attachment,
    HeldReceive,
    HeldSend,
    KeyUse,
    Lookup,
    Position,
    ReadBack,
    Registration,
    Release,
    Relocation,
    Report,
    StoreMark,
    Use,
)
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import Nvo3secError
from nvo3sec.nva import Nva
from nvo3sec.nva.keys.generations import TRUSTED_LEAD

SUITE = Suite.CHASKEY12
LIMIT = 2**63 - 1
SECONDS = 3e8

KINDS = ("climbs", "ends", "for ever", "long ago", "positions", "attachments", "history", "nothing")


def registration(kind: str, incarnation: bytes, addresses: list[IPv4Address], generation: int) -> Registration:
    """What it registers with. generation: about where the NVA is."""
    held = {
        "climbs": [(n, generation + n * TRUSTED_LEAD, 60.0) for n in range(1, 60)],
        "ends": [(1, LAST_GENERATION, 60.0)],
        "for ever": [(n, generation, SECONDS) for n in range(200)],
        "long ago": [(n, 0, -SECONDS) for n in range(200)],
    }.get(kind, [])
    return Registration(
        incarnation,
        tuple(
            HeldReceive(address, SUITE, Held(spi % 2**32, number % 2**32, left))
            for address in addresses
            for spi, number, left in held
        ),
        tuple(HeldSend(address, SUITE, Held(spi, 0, left)) for address in addresses for spi, _, left in held[:1]),
        tuple(Attachment(1, vlan, vlan, n) for vlan in (1, 2, 9) for n in range(99)) if kind == "attachments" else (),
        tuple((vni, Position(bytes(16), LIMIT)) for vni in range(1, 99)) if kind == "positions" else (),
        (StoreMark(3, LIMIT, b"d" * 32),) if kind == "history" else (),
        LAST_GENERATION if kind == "ends" else 0,
    )


def lie(nva: Nva, name: str, kind: str, incarnation: bytes) -> None:
    """A session of `name`, in which everything that is said is wrong. Nothing but refusals may come of it."""
    peers = [nve for nve in nva.state.domain.nves if nve.name != name]
    generations = [sa.generation for one in nva.administration.directions() for sa in one.sas]
    wild = registration(kind, incarnation, [nve.address for nve in peers], max(generations, default=1))
    try:
        session = nva.agents.open_session(name)
    except Nvo3secError:
        return
    try:
        nva.agents.register(session, wild)
        everybody = [*(nve.name for nve in peers), name, "nobody"]
        spis = [0, 2**32 - 1, *(sa.spi for one in nva.administration.directions() for sa in one.sas)]
        named = tuple((peer, SUITE, spi) for peer in everybody for spi in spis)
        nva.agents.read_back(session, ReadBack(incarnation, named, named, LIMIT))
        nva.agents.used(session, Use(incarnation, tuple(KeyUse(*one, LIMIT, LIMIT) for one in named)))
        nva.agents.read_back(session, ReadBack(incarnation, (), ()))
        nva.agents.report(session, Report("all-is-well", "x" * 2000))
        for vni in (0, 1, 2, 0xFFFFFF):
            nva.agents.look_up(session, Lookup(vni, mac=0))
        there = Attachment(511, 4094, 0xFFFFFF, 2**48 - 1, (IPv4Address(0),), "nobody")
        for said in (there, Release(0, 0, 1, 0, "nobody"), Relocation(0, 0, there)):
            coroutine = nva.agents.announce(session, said)
            try:
                coroutine.send(None)  # nobody waits for the answer
            except (StopIteration, Nvo3secError):
                pass
            finally:
                coroutine.close()
        while session.update_now() is not None:
            pass
    except Nvo3secError:
        pass
    finally:
        nva.agents.closed(session)
