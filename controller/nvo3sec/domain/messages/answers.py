# SPDX-License-Identifier: Apache-2.0
"""What an agent may answer to an operator's question: the form of each answer, as strict as that of a request.

Whoever owns a switch can answer what he likes about it. He cannot speak for another NVE, make an answer that operators'
tools do not expect, or have anything but printable text shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvo3sec.domain.messages import fields as f
from nvo3sec.domain.messages.holdings import PEER, holdings_from_json
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.overlay.model import LAST_VNI

TEXT_LIMIT = 2000
"""Characters of one text."""
LINES_SHOWN = 64
"""Of a list of texts in a status; how many more there are is said."""

_word = f.matching("[a-z0-9][a-z0-9_.-]{0,63}", "a word in lower case")
_constant = f.matching("[A-Z0-9][A-Z0-9_]{0,63}", "a word in upper case")
_spi = f.matching("[0-9a-f]{8}", "eight hexadecimal digits")
_port_number = f.matching("0|[1-9][0-9]{0,8}", "a number")
_count = f.number()
_line = f.text(TEXT_LIMIT)


def _some_lines(value: Any, field: str) -> list[str]:
    lines: list[str] = f.listed(_line)(value, field)
    return lines if len(lines) <= LINES_SHOWN else [*lines[:LINES_SHOWN], f"and {len(lines) - LINES_SHOWN} more"]


STATUS: Mapping[str, f.Check] = {
    "connected": f.flag,
    "nva": f.flag,
    "adopted": f.flag,
    "incarnation": f.matching("([0-9a-f]{8})?", "eight hexadecimal digits"),
    "incarnation_agrees": f.flag,
    "lease_left_s": f.or_none(f.seconds),
    "in_sync": f.flag,
    "entries_expected": _count,
    "entries_actual": _count,
    "differences": _some_lines,
    "foreign": _some_lines,
    "learned": _count,
    "punts": f.table(_word, _count, 64),
    "packets_lost": _count,
    "fault": _line,
    "alarms": _some_lines,
    "standing": f.or_none(_some_lines),
    "limits_s": f.table(
        f.matching("(receive|send) [0-9a-z?][0-9a-z.:-]{0,63} [0-9a-f]{8}", "the name of an SA"), f.seconds
    ),
}
"""The fields of a status. Each may be missing."""

_AMOUNT = {"packets": _count, "bytes": _count}
_ROWS: dict[str, dict[str, f.Check]] = {
    "sa_rx": {"source": f.ip, "destination": f.ip, "spi": _spi},
    "sa_tx": {"interface": f.number(0xFFFF), "towards": f.text(64), "level": f.number(0xFF)},
    "vap": {"port": f.number(0x1FF), "vlan": f.number(0xFFF)},
    "vn": {"source": f.ip, "vni": f.number(LAST_VNI)},
}

_SENT = {"towards": PEER, "suite": _constant, "spi": _spi, "at_most": f.flag}


REASON_LENGTH = 256
"""Characters of the reason for the state of a port."""

_STATE = {"state": _word, "reason": f.text(REASON_LENGTH)}


def _port(value: Any, field: str) -> dict[str, Any]:
    # Agents from before ports had states do not say them.
    interface: dict[str, Any] = f.record({"interface": f.text(128)}, _STATE)(value, field)
    counts = {name: one for name, one in value.items() if name != "interface" and name not in _STATE}
    numbers: dict[str, Any] = f.table(_word, _count, 64)(counts, field)
    return interface | numbers


_SWITCH = f.record({"engine": f.table(_word, _count, 256), "ports": f.table(_port_number, _port, 1024)})


def _counters(nve: str) -> f.Check:
    rows = {name: f.listed(f.record(fields | _AMOUNT)) for name, fields in _ROWS.items()}
    drops = f.table(_word, f.table(_constant, f.record(_AMOUNT), 512), 16)
    last = f.table(PEER, _count)
    # Agents from before a switch told about itself do not say `switch`; nor those from before they did what SAs sent.
    more = {"switch": f.or_none(_SWITCH), "sa_sent": f.listed(f.record(_SENT | _AMOUNT))}
    return f.record({"nve": f.exactly(nve), "drops": drops, **rows, "last_sequence": last}, more)


def judged(nve: str, kind: QuestionKind, value: Any) -> Any:
    """The answer of `nve` to a question, a JSON value: what of it operators are told, which has the fields of this kind
    and no others. Raises ValueError: the field, and what must be there."""
    match kind:
        case QuestionKind.STATUS:
            return f.record({}, STATUS)(value, "")
        case QuestionKind.COUNTERS:
            found = _counters(nve)(value, "")
            return {"switch": None, "sa_sent": []} | found
        case QuestionKind.RECONCILE | QuestionKind.PREVIEW:
            return f.listed(_line)(value, "the answer")
        case QuestionKind.KEYS:
            return holdings_from_json(nve, value).to_json()
