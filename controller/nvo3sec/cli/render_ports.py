# SPDX-License-Identifier: Apache-2.0
"""Ports of a switch for people: how they are, what passed, and what was lost there, by cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from nvo3sec.cli.tables import Listing
from nvo3sec.operator.documents import PortCounts, SwitchCounters, SwitchItself

PORT_LOSSES = {
    "receive_overrun": "before the switch read them: the receive queue was full",
    "receive_oversize": "on arrival: longer than the switch takes",
    "receive_failed": "on arrival: reading failed",
    "send_down": "the port was without its interface, or the link was down",
    "send_beyond_mtu": "longer than the MTU of the interface",
    "send_queue_full": "the queue of the interface or of the socket's reader was full",
    "send_no_peer": "nobody listens at the peer's socket",
    "send_oversize": "longer than the socket takes",
    "send_failed": "sending failed",
    "sink_overflow": "the reader was late",
    "no_port": "the switch has no such port",
}
"""Counts of a port that are frames lost there, and how."""

_SWITCH_LOSSES = {
    "packet_in_lost": "packet-ins: the agent was too slow",
    "digest_lost": "digests: the agent was too slow",
    "idle_notification_lost": "notifications of idle entries: the agent was too slow",
    "error_lost": "reports of refused packet-outs: the agent was too slow",
    "sink_overflow": "frames for the agent or another reader over gRPC: it was late",
    "input_overflow": "packets that were put in: the switch was too slow",
    "requeue_overflow": "packets that were to pass the pipeline again: their queue was full",
    "clone_overflow": "clones: their queue was full",
}
"""The same, of a switch."""


def to_do(nve: str, switch: SwitchItself) -> Iterator[Text]:
    """Ports that are not up, and what was lost, of one switch."""
    for number, port in switch.ports.items():
        if port.get("state", "up") != "up":
            reason = f": {port['reason']}" if port.get("reason") else ""
            yield Text(f"{nve}: {_where(number, port)}: {port['state']}{reason}", style="yellow")
        for name, how in PORT_LOSSES.items():
            if port.get(name):
                yield Text(f"{nve}: {_where(number, port)}: {port[name]} frames lost: {how} ({name})", style="yellow")
        if port.get("capture_lost"):
            text = f"{port['capture_lost']} frames are not in its capture, which has ended: the file took no more"
            yield Text(f"{nve}: {_where(number, port)}: {text} (capture_lost)", style="yellow")
    for name, what in _SWITCH_LOSSES.items():
        if switch.engine.get(name):
            yield Text(f"{nve}: lost {switch.engine[name]} {what} ({name})", style="yellow")


def ports(told: Sequence[SwitchCounters]) -> Iterator[Any]:
    """What left, beside what was protected: only a port knows it. Nothing of switches that do not tell."""
    numbers = ("frames in", "frames out", "lost")
    table = Listing(
        "\nPorts (since the switch was started)", ("NVE", "port", "interface", "state", *numbers), numbers, ()
    )
    rows = 0
    for one in told:
        for number, port in one.switch.ports.items() if one.switch else ():
            if "packets_out" not in port:
                continue
            lost = sum(int(port.get(name, 0)) for name in PORT_LOSSES)
            passed = (str(port.get("packets_in", "")), str(port["packets_out"]))
            table.add_row(one.nve, number, str(port["interface"]), str(port.get("state", "")), *passed, str(lost))
            rows += 1
    if rows:
        yield table


def _where(number: str, port: PortCounts) -> str:
    return f"port {number} ({port['interface']})" if port["interface"] else f"port {number}"
