# SPDX-License-Identifier: Apache-2.0
"""Keys as operators see them: what should be where, what the switches say is there, and where the two differ.

Nothing in here has ever seen a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nvo3sec.domain.keys.sa import Direction, Sa, receiver_sas, sender_sa
from nvo3sec.domain.messages.holdings import HeldSa, Holdings
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import TunnelKeys
from nvo3sec.operator.documents import KeyAtEnds

LATE_S = 2.0
"""A limit in a switch may be later than the NVA's by so much: clocks are read at different moments."""

Answers = Mapping[str, Holdings | str]
"""By NVE: what its switch holds, or why that is not known."""


def key_list(
    directions: Iterable[Direction], answers: Answers, now: float, is_mixed: Callable[[Tunnel, int], bool]
) -> tuple[KeyAtEnds, ...]:
    """Every SA of the directions: its life, its use, and at each end what is expected and what is there.

    is_mixed: whether the key of an SPI is mixed with what its two ends contribute.
    """
    return tuple(_row(one, sa, answers, now, is_mixed(one.tunnel, sa.spi)) for one in directions for sa in one.sas)


def _made_of(sa: Sa, *, mixed: bool) -> TunnelKeys | None:
    """None for a key from before a restart: only the switches know it."""
    if sa.inherited:
        return None
    return TunnelKeys.NVA_AND_PEER if mixed else TunnelKeys.NVA


def _row(direction: Direction, sa: Sa, answers: Answers, now: float, mixed: bool) -> KeyAtEnds:
    tunnel = direction.tunnel
    sending = sender_sa(direction)
    at_receiver, received = _there(answers.get(tunnel.receiver), "receive", tunnel.sender, tunnel.suite.name, sa.spi)
    at_sender, sent = _there(answers.get(tunnel.sender), "send", tunnel.receiver, tunnel.suite.name, sa.spi)
    return KeyAtEnds(
        sender=tunnel.sender,
        receiver=tunnel.receiver,
        suite=tunnel.suite.name,
        state=sa.state.value,
        spi=f"{sa.spi:08x}",
        generation=sa.generation,
        inherited=sa.inherited,
        tunnel_keys=_made_of(sa, mixed=mixed),
        age_s=round(now - sa.planned_at, 1),
        to_soft_s=round(sa.soft_at - now, 1),
        to_hard_s=round(sa.hard_at - now, 1),
        receiver_should=sa in receiver_sas(direction),
        receiver_has=at_receiver,
        sender_should=sending is not None and sending.spi == sa.spi,
        sender_has=at_sender,
        # Its sender alone knows, and only while it has the key.
        sent_packets=sum(one.packets for one in sent) if sent else None,
        sent_bytes=sum(one.octets for one in sent) if sent else None,
        sent_at_most=any(one.at_most for one in sent),
        received_packets=sum(one.packets for one in received),
        received_bytes=sum(one.octets for one in received),
        idle_s=_least(one.idle_s for one in sent),
        level=tunnel.suite.level.word,
    )


def _there(
    answer: Holdings | str | None, side: str, peer: str, suite: str, spi: int
) -> tuple[bool | None, list[HeldSa]]:
    """Whether a switch holds an SA; None where that is not known. And its entries."""
    if not isinstance(answer, Holdings):
        return None, []
    sas = answer.receive if side == "receive" else answer.send
    found = [one for one in sas if (one.peer, one.suite, one.spi) == (peer, suite, spi)]
    return bool(found), found


def _least(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return round(min(known), 1) if known else None


# --- audit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Expected:
    """An SA that the NVA wants in a switch. known: it was read back from there."""

    generation: int
    left_s: float
    known: bool


_Name = tuple[str, str, str, int]
"""(receive or send, peer, suite, SPI)."""


def _expected(nve: str, directions: Iterable[Direction], now: float) -> dict[_Name, _Expected]:
    found: dict[_Name, _Expected] = {}
    for one in directions:
        tunnel, suite = one.tunnel, one.tunnel.suite.name
        if tunnel.receiver == nve:
            for sa in receiver_sas(one):
                known = sa.spi in (one.receiver.holds or ())
                found["receive", tunnel.sender, suite, sa.spi] = _Expected(sa.generation, sa.hard_at - now, known)
        elif tunnel.sender == nve and (sending := sender_sa(one)) is not None:
            known = sending.spi in (one.sender.holds or ())
            found["send", tunnel.receiver, suite, sending.spi] = _Expected(0, sending.hard_at - now, known)
    return found


def differences(nve: str, directions: Iterable[Direction], answer: Holdings | str, now: float) -> list[str]:
    """In words, where a switch differs from what the NVA thinks. The words for one difference are always the same.

    now: when it was asked, or a little earlier (monotonic, as in the directions).
    """
    if isinstance(answer, str):
        return [f"is not known: {answer}"]
    chosen = [one for one in directions if nve in (one.tunnel.sender, one.tunnel.receiver)]
    found = []
    incarnations = {
        (one.receiver if one.tunnel.receiver == nve else one.sender).incarnation[:4].hex() for one in chosen
    }
    if chosen and incarnations != {answer.incarnation}:
        found.append(f"has incarnation {answer.incarnation or 'none'}, and the NVA knows another")
    if not answer.agrees:
        found.append("its registers and its incarnation entry disagree")
    if answer.lease_left_s is None or answer.lease_left_s <= 0:
        found.append("has no lease")
    wanted = _expected(nve, chosen, now)
    sides = (("receive", answer.receive), ("send", answer.send))
    there = {(side, one.peer, one.suite, one.spi): one for side, sas in sides for one in sas}
    for name in sorted(wanted.keys() - there.keys()):
        if wanted[name].known:
            found.append(f"lacks {_words(name)}")
    found += [f"holds {_words(name)}, which nobody wants" for name in sorted(there.keys() - wanted.keys())]
    for name in sorted(there.keys() & wanted.keys()):
        found += [f"{_words(name)}: {fault}" for fault in _faults(wanted[name], there[name])]
    return found


def _words(name: _Name) -> str:
    side, peer, suite, spi = name
    return f"the SA {spi:08x} {'from' if side == 'receive' else 'to'} {peer} ({suite})"


def _faults(wanted: _Expected, held: HeldSa) -> Iterable[str]:
    if not held.own:
        yield "it was made for another incarnation"
    if held.generation != wanted.generation:
        yield f"generation {held.generation} instead of {wanted.generation}"
    if held.remaining_s > wanted.left_s + LATE_S:
        yield "it ends later than the NVA wants"
