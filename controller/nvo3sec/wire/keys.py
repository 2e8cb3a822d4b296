# SPDX-License-Identifier: Apache-2.0
"""Keys on the wire, from the NVA to the one agent that they are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, ReceiveSa, SendSa
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.errors import WireError
from nvo3sec.wire import checks, peers
from nvo3sec.wire import nva_pb2 as pb


def state_out(state: KeyState) -> Any:
    """All keys of an NVE."""
    return pb.KeyState(
        version=state.version,
        incarnation=state.incarnation,
        receive=map(_receive_out, state.receive),
        send=map(_send_out, state.send),
    )


def state_in(state: Any) -> KeyState:
    """Raises WireError."""
    return KeyState(
        version=checks.number(state.version, "keys.version", 1, checks.VERSION_LIMIT),
        incarnation=checks.incarnation(state.incarnation, "keys.incarnation"),
        receive=checks.items(state.receive, "keys.receive", _receive_sa),
        send=checks.items(state.send, "keys.send", _send_sa),
    )


def update_out(update: KeyUpdate) -> Any:
    """Changes of the keys of an NVE."""
    return pb.KeyUpdate(
        version=update.version,
        base=update.base,
        incarnation=update.incarnation,
        receives=[pb.PeerLevel(peer=peer, suite=checks.SUITES[suite]) for peer, suite in update.receives],
        sends=[pb.PeerLevel(peer=peer, suite=checks.SUITES[suite]) for peer, suite in update.sends],
        receive=map(_receive_out, update.receive),
        send=map(_send_out, update.send),
    )


def update_in(update: Any) -> KeyUpdate:
    """Raises WireError, also for a key of a direction that the message does not say it is about."""
    version = checks.number(update.version, "key_changes.version", 1, checks.VERSION_LIMIT)
    receives = checks.items(update.receives, "key_changes.receives", _level)
    sends = checks.items(update.sends, "key_changes.sends", _level)
    receive = checks.items(update.receive, "key_changes.receive", _receive_sa)
    send = checks.items(update.send, "key_changes.send", _send_sa)
    _among("receive", receive, receives)
    _among("send", send, sends)
    return KeyUpdate(
        version=version,
        base=checks.number(update.base, "key_changes.base", 1, version - 1),
        incarnation=checks.incarnation(update.incarnation, "key_changes.incarnation"),
        receives=receives,
        sends=sends,
        receive=receive,
        send=send,
    )


def _among(field: str, sas: Sequence[ReceiveSa | SendSa], directions: Iterable[tuple[str, Suite]]) -> None:
    known = set(directions)
    for number, sa in enumerate(sas):
        if (sa.peer, sa.suite) not in known:
            raise WireError(f"key_changes.{field}[{number}].peer", f"must be one of key_changes.{field}s")


def _level(level: Any, field: str) -> tuple[str, Suite]:
    return checks.label(level.peer, f"{field}.peer"), checks.suite(level.suite, f"{field}.suite")


def _key(key: Secret | None) -> bytes | None:
    return None if key is None else key.reveal()


def _receive_out(sa: ReceiveSa) -> Any:
    return pb.ReceiveSa(
        peer=sa.peer,
        suite=checks.SUITES[sa.suite],
        spi=sa.spi,
        generation=sa.generation,
        key=_key(sa.key),
        remaining_s=sa.remaining_s,
        min_coverage=sa.min_coverage,
        pair=peers.pair_out(sa.pair),
    )


def _send_out(sa: SendSa) -> Any:
    return pb.SendSa(
        peer=sa.peer,
        suite=checks.SUITES[sa.suite],
        spi=sa.spi,
        key=_key(sa.key),
        remaining_s=sa.remaining_s,
        generation=sa.generation,
        pair=peers.pair_out(sa.pair),
    )


def _receive_sa(sa: Any, field: str) -> ReceiveSa:
    return ReceiveSa(
        peer=checks.label(sa.peer, f"{field}.peer"),
        suite=checks.suite(sa.suite, f"{field}.suite"),
        spi=checks.number(sa.spi, f"{field}.spi", 0, checks.UINT32),
        generation=checks.number(sa.generation, f"{field}.generation", 0, checks.UINT32),
        key=checks.key(sa, f"{field}.key"),
        remaining_s=checks.seconds(sa.remaining_s, f"{field}.remaining_s", -checks.SECONDS_LIMIT),
        min_coverage=checks.number(sa.min_coverage, f"{field}.min_coverage", 0, 0xFFFF),
        pair=peers.pair_in(sa, f"{field}.pair"),
    )


def _send_sa(sa: Any, field: str) -> SendSa:
    return SendSa(
        peer=checks.label(sa.peer, f"{field}.peer"),
        suite=checks.suite(sa.suite, f"{field}.suite"),
        spi=checks.number(sa.spi, f"{field}.spi", 0, checks.UINT32),
        key=checks.key(sa, f"{field}.key"),
        remaining_s=checks.seconds(sa.remaining_s, f"{field}.remaining_s", -checks.SECONDS_LIMIT),
        generation=checks.number(sa.generation, f"{field}.generation", 0, checks.UINT32),
        pair=peers.pair_in(sa, f"{field}.pair"),
    )
