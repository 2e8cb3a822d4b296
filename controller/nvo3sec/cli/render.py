# SPDX-License-Identifier: Apache-2.0
"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from rich.text import Text

from nvo3sec.cli import render_ports
from nvo3sec.cli.tables import Listing
from nvo3sec.operator.documents import (
    AttachmentLine,
    Counters,
    FileDifference,
    Mappings,
    NoCounters,
    NotDone,
    Reconciled,
    Status,
    SwitchCounters,
    SwitchItself,
    VnLine,
    VnShown,
)
from nvo3sec.operator.json_form import Unsaid

_SHOWN = 10
_NUMBERS = ("VNI", "MTU", "mappings", "frozen", "sequence")


def _yes(value: bool) -> Text:
    return Text("yes", style="green") if value else Text("no", style="bold red")


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return "-"
    if abs(value) < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"


def new_table(
    title: str, *columns: str, right: tuple[str, ...] = (), prose: tuple[str, ...] = (), none: str = ""
) -> Listing:
    """A table. right: the columns of numbers. prose: those that may be wrapped between words. none: without rows."""
    return Listing(title, columns, right, prose, none)


def status(result: Status) -> Iterator[Any]:
    """The status. Nothing is called none that is not known to whoever answers."""
    not_known = result.not_known or ()
    switches = new_table(
        f"Domain {result.domain}: switches",
        *(
            "NVE",
            "connected",
            "incarnation",
            "agrees",
            "lease left",
            "in sync",
            "expected",
            "actual",
            "learned",
            "fault",
        ),
        right=("lease left", "expected", "actual", "learned"),
        prose=("fault",),
        none="No switches",
    )
    for one in result.switches:
        # Without a session its agent has compared nothing, and without an agent nobody knows what is there.
        counts = (str(number) if one.nva else "-" for number in (one.entries_expected, one.entries_actual, one.learned))
        switches.add_row(
            one.nve,
            _yes(one.connected),
            one.incarnation or "-",
            _yes(one.incarnation_agrees) if one.nva else "-",
            seconds(one.lease_left_s),
            _yes(one.in_sync),
            *counts,
            one.excluded or one.disputed or one.fault,
        )
    if "switches" not in not_known:
        yield switches
    for one in result.switches:
        for difference in one.differences[:_SHOWN]:
            yield Text(f"{one.nve}: to do: {difference}", style="yellow")
        for foreign in one.foreign[:_SHOWN]:
            yield Text(f"{one.nve}: was not ours: {foreign}", style="bold red")
    keys = new_table(
        "\nKeys",
        *(
            "sender",
            "receiver",
            "suite",
            "level",
            "state",
            "SPI",
            "generation",
            "age",
            "to soft",
            "to hard",
            "receiver",
            "sender",
        ),
        right=("generation", "age", "to soft", "to hard"),
        none="No keys",
    )
    for key in result.keys:
        keys.add_row(
            key.sender,
            key.receiver,
            key.suite,
            key.level or "-",
            key.state + (" (inherited)" if key.inherited else ""),
            key.spi,
            str(key.generation),
            seconds(key.age_s),
            seconds(key.to_soft_s),
            seconds(key.to_hard_s),
            _yes(key.at_receiver),
            _yes(key.at_sender),
        )
    if "keys" not in not_known:
        yield keys
    if not_known:
        yield f"not known here: {', '.join(not_known)}"
    for report in result.reports[-_SHOWN:]:
        over = " (over)" if report.over else ""
        said = f"{seconds(report.age_s)} ago, {report.nve}: {report.event}{over}: {report.detail}"
        yield Text(said, style="dim" if over else "")
    for reason in result.not_ready:
        yield Text(f"not ready: {reason}", style="yellow")
    for warning in result.warnings or ():
        yield Text(f"warning: {warning}", style="bold yellow")


def counters(result: Counters) -> Iterator[Any]:
    """What there is to do something about first: whose are missing, ports that are not up, frames that were lost or
    came unfinished. Then the counters."""
    for one in result:
        if isinstance(one, NoCounters):
            yield _unavailable(one.nve, one.unavailable)
    told = [one for one in result if isinstance(one, SwitchCounters)]
    for switch in told:
        if switch.switch:
            yield from render_ports.to_do(switch.nve, switch.switch)
        yield from _unfinished(switch.nve, switch.switch)
    columns = ("NVE", "pipeline", "reason", "packets", "bytes")
    drops = new_table("Drops", *columns, right=("packets", "bytes"), none="No drops")
    for switch in told:
        for pipeline, reasons in switch.drops.items():
            for reason, value in reasons.items():
                drops.add_row(switch.nve, pipeline, reason, str(value.packets), str(value.bytes))
    yield drops
    titles = {
        "sa_sent": "Protected, by SA (frames as they came; what left is under Ports)",
        "sa_tx": "Protected, by entry (since it was made, whatever its SA)",
        "sa_rx": "Received, by SA (whole packets, before verification)",
        "vap": "From VAPs",
        "vn": "Into VNs",
    }
    for name, title in titles.items():
        rows = [(switch.nve, row) for switch in told for row in getattr(switch, name) or ()]
        if not rows:
            continue
        names = [one.name for one in fields(rows[0][1]) if one.name not in ("packets", "bytes", "at_most")]
        headings = (_HEADINGS.get(one, one) for one in names)
        table = new_table(f"\n{title}", "NVE", *headings, "packets", "bytes", right=("packets", "bytes"))
        for nve, row in rows:
            amounts = (f"{'≤ ' if getattr(row, 'at_most', False) else ''}{one}" for one in (row.packets, row.bytes))
            table.add_row(nve, *(str(getattr(row, one)) for one in names), *amounts)
        yield table
    yield from render_ports.ports(told)

    for switch in told:
        for peer, number in switch.last_sequence.items():
            yield f"{switch.nve}: last sequence number to {peer}: {number}, of all SAs of this incarnation"


_HEADINGS = {"spi": "SPI", "vni": "VNI", "vlan": "VLAN", "vn": "VN", "mac": "MAC"}
"""Of fields whose names are abbreviations."""

_UNFINISHED = {
    "checksum_unfinished": "with a checksum that could not be completed, and were dropped: its place is outside of the"
    " frame, as the sender has it",
    "segments_unfinished": "with several segments in one, and were dropped: segmentation offload was on at the sender,"
    " or receive merging at this port; if they become more, `ethtool -K DEV tso off gso off` there, `ethtool -K DEV gro"
    " off lro off` here",
    "beyond_mtu": "with more bytes than the MTU allows: the MTU of the other end is larger",
}
"""By the name of a count of a port."""


def _unfinished(nve: str, switch: SwitchItself | Unsaid | None) -> Iterator[Text]:
    for number, port in switch.ports.items() if switch else ():
        for name, what in _UNFINISHED.items():
            if port.get(name):
                where = f"port {number} ({port['interface']})"
                said = f"{nve}: {where}: {port[name]} frames since the switch opened it came {what}"
                yield Text(said, style="yellow")


def _unavailable(nve: str, why: str) -> Text:
    return Text(f"{nve}: not available: {why}", style="yellow")


_STATES = {"active": "active", "waiting": "waiting: {}", "not-served": "not served: {}"}
"""Of an attachment, with what it waits for, or what is missing."""


def attachments(result: Iterable[AttachmentLine]) -> Iterator[Any]:
    """Tenant systems behind one NVE."""
    table = new_table(
        "Tenant systems",
        *("VN", "port", "VLAN", "MAC", "IPs", "hypervisor", "state", "origin"),
        prose=("IPs", "state"),
        none="No tenant systems are attached",
    )
    for one in result:
        table.add_row(
            one.vn,
            str(one.port),
            str(one.vlan),
            one.mac,
            " ".join(one.ips),
            one.host,
            _STATES[one.state].format(one.why),
            "command" if one.announced else "domain file",
        )
    yield table


def updates(result: Reconciled, *, dry_run: bool) -> Iterator[Any]:
    """What was done, or would be; and where it was not."""
    for nve, done in result.items():
        if isinstance(done, NotDone):
            yield _unavailable(nve, done.unavailable)
            continue
        if not done:
            yield f"{nve}: nothing to do"
        for update in done:
            yield Text(f"{nve}: {'would ' if dry_run else ''}{update}")


_STYLES = {"+": "green", "-": "red", "~": "yellow"}


def difference(result: FileDifference) -> Iterator[Any]:
    """What differs between two domains."""
    for line in result.lines:
        is_note = line.lstrip().startswith("note: ")
        yield Text(line, style="" if is_note else _STYLES.get(line[:1], "bold red"))
    if not result.lines:
        yield "no difference" if result.same_text else "no difference in meaning; the texts differ"
    elif result.nves:
        yield f"touches {', '.join(result.nves)}"


def vns(result: Iterable[VnLine]) -> Iterator[Any]:
    """All VNs."""
    table = new_table(
        "Virtual networks",
        *("VN", "VNI", "level", "MTU", "members", "mappings", "frozen"),
        right=_NUMBERS,
        prose=("members",),
        none="No VNs",
    )
    for one in result:
        numbers = (str(one.mappings), str(one.frozen))
        table.add_row(one.vn, str(one.vni), one.level, str(one.mtu), _some(one.members), *numbers)
    yield table


def vn(result: VnShown) -> Iterator[Any]:
    """One VN."""
    yield from vns([result])
    members = new_table(
        "\nServed by", "NVE", "VAPs", "mappings", right=_NUMBERS, prose=("VAPs",), none="No NVE serves it"
    )
    for one in result.served_by:
        places = (f"port {vap.port}" + (f" VLAN {vap.vlan}" if vap.vlan else "") for vap in one.vaps)
        members.add_row(one.nve, ", ".join(places), str(one.mappings))
    yield members
    if result.tunnels:
        tunnels = new_table("\nLevels between members", "NVE", "NVE", "level")
        for pair in result.tunnels:
            tunnels.add_row(*pair.between, pair.level)
        yield tunnels
    for reserved in result.reserved:
        yield f"reserved: {reserved.address} for {', '.join(reserved.nves)}"


def claims(result: Mappings, which: str = "") -> Iterator[Any]:
    """Tenant systems of the whole domain, or those that were asked about: which, like ` of VN blue`."""
    columns = ("VN", "MAC", "place", "standing", "has", "asked for besides", "sequence", "in its way")
    wide = ("has", "asked for besides", "in its way")
    table = new_table("Tenant systems", *columns, right=_NUMBERS, prose=wide, none=f"No tenant systems{which}")
    for one in result.claims:
        place = f"{one.nve} port {one.port}" + (f" VLAN {one.vlan}" if one.vlan else "")
        besides = [ip for ip in one.asked if ip not in one.has]
        standing = Text(one.standing, style="green" if one.standing == "active" else "bold red")
        way = one.in_its_way or one.why
        table.add_row(one.vn, one.mac, place, standing, " ".join(one.has), " ".join(besides), str(one.sequence), way)
    yield table
    if result.total > len(result.claims):
        yield f"{len(result.claims)} of {result.total}; more with --limit"
    if result.absent:
        headings = ("VN", "address", "last owner", "kept from")
        absent = new_table("\nAddresses of who is absent", *headings, prose=("last owner", "kept from"))
        for gone in result.absent:
            absent.add_row(gone.vn, gone.address, gone.last_owner, ", ".join(gone.barred))
        yield absent


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
