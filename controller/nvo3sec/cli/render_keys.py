# SPDX-License-Identifier: Apache-2.0
"""Tables of keys for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.text import Text

from nvo3sec.cli.render import new_table, seconds
from nvo3sec.operator.documents import KeyAtEnds, KeyAudit, SwitchUnread


def _end(should: bool, has: bool | None) -> Text:
    """Expected against actual, at one end."""
    if has is None:
        return Text("unknown", style="yellow")
    if should == has:
        return Text("holds it" if has else "-", style="green" if has else "")
    return Text("lacks it" if should else "still has it", style="bold red" if should else "yellow")


def _amount(value: int | None, *, at_most: bool) -> str:
    return "-" if value is None else f"{'≤ ' if at_most else ''}{value}"


def keys(result: Iterable[KeyAtEnds], which: str = "") -> Iterator[Any]:
    """Every SA, or those that were asked about: which, like ` of tunnels of leaf1`."""
    shown = new_table(
        "Keys",
        *("sender", "receiver", "suite", "level", "state", "made by", "SPI", "generation", "age", "to soft", "to hard"),
        *("at receiver", "at sender", "protected", "frame bytes", "last use"),
        right=("generation", "age", "to soft", "to hard", "protected", "frame bytes", "last use"),
        none=f"No keys{which}",
    )
    for one in result:
        shown.add_row(
            one.sender,
            one.receiver,
            one.suite,
            one.level or "-",
            one.state + (" (inherited)" if one.inherited else ""),
            one.tunnel_keys or "-",
            one.spi,
            str(one.generation),
            seconds(one.age_s),
            seconds(one.to_soft_s),
            seconds(one.to_hard_s),
            _end(one.receiver_should, one.receiver_has),
            _end(one.sender_should, one.sender_has),
            _amount(one.sent_packets, at_most=one.sent_at_most),
            _amount(one.sent_bytes, at_most=one.sent_at_most),
            "-" if one.idle_s is None else f"{seconds(one.idle_s)} ago",
        )
    yield shown


def audit(result: KeyAudit) -> Iterator[Any]:
    """Each switch, and what differs."""
    shown = new_table(
        "Switches, as they were read just now",
        *("NVE", "incarnation", "agrees", "clock", "lease left", "receives with", "sends with"),
        right=("clock", "lease left", "receives with", "sends with"),
        none="No switch answers",
    )
    for one in result.switches:
        if isinstance(one, SwitchUnread):
            continue
        shown.add_row(
            one.nve,
            one.incarnation or "-",
            Text("yes", style="green") if one.agrees else Text("no", style="bold red"),
            seconds(one.clock_s),
            seconds(one.lease_left_s),
            str(one.receive),
            str(one.send),
        )
    yield shown
    for one in result.switches:
        if isinstance(one, SwitchUnread):
            yield Text(f"{one.nve}: {one.fault}", style="yellow")
    for differs in result.differences:
        yield Text(f"{differs.nve}: {differs.what}", style="bold red")
    if result.held:
        yield Text("Every switch holds what it should.", style="green")
