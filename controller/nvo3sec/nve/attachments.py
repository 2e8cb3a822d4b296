# SPDX-License-Identifier: Apache-2.0
"""What may be asked of an agent about the tenant systems behind its NVE, by whoever may enter its run directory.

Values are JSON: VNs by name, addresses as text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from nvo3sec.domain.mapping.model import vap_words
from nvo3sec.domain.messages.session import Attachment, AttachmentAnswer, NveView, Release, Relocation, Sign, Standing
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac, parse_ip, parse_unicast_mac
from nvo3sec.domain.overlay.model import LAST_ACCESS_PORT, LAST_VLAN
from nvo3sec.domain.overlay.names import parse_label
from nvo3sec.errors import OperatorError
from nvo3sec.nve import refusals
from nvo3sec.nve.agent import NveAgent
from nvo3sec.nve.announcer import ACTIVE, State
from nvo3sec.nve.refusals import Asked

T = TypeVar("T")


def tenant_methods(agent: NveAgent) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """Methods for a console: attach, detach, move, attachments."""

    async def attach(
        vn: str, port: int, vlan: int, mac: str, ips: Sequence[str] = (), host: str = ""
    ) -> dict[str, str]:
        vni = _vni(agent.view(), vn)
        there = Attachment(_port(port), _vlan(vlan), vni, _mac(mac), _ips(ips), _hypervisor(host), vn)
        return _told(await agent.announce(there), agent, there)

    async def detach(
        vn: str, port: int, vlan: int, mac: str, successor: str | None = None, host: str = ""
    ) -> dict[str, str]:
        view, address, host = agent.view(), _mac(mac), _hypervisor(host)
        port, vlan, to = _port(port), _vlan(vlan), _optional_name("NVE", successor or "")
        known = next((a for a in agent.attachments if (a.port, a.vlan, a.mac) == (port, vlan, address)), None)
        if known is not None and known.vn not in ("", vn):
            raise OperatorError(f"{mac} at {vap_words(port, vlan)} is attached to VN {known.vn}, not to {vn}")
        if known is not None and not _is_served(view, known):
            # Its VN or its VAP is gone: the NVA has nothing of it, and what is there now is another VN's.
            await agent.forget((port, vlan, address))
            return _told(AttachmentAnswer(Standing.DONE), agent)
        released = Release(port, vlan, _vni(view, vn), address, to, host)
        return _told(await agent.announce(released), agent, released)

    async def move(
        vn: str,
        port: int,
        vlan: int,
        mac: str,
        to_port: int,
        to_vlan: int,
        ips: Sequence[str] | None = None,
        host: str = "",
    ) -> dict[str, str]:
        vni, address = _vni(agent.view(), vn), _mac(mac)
        port, vlan = _port(port), _vlan(vlan)
        known = next((a for a in agent.attachments if (a.port, a.vlan, a.mac) == (port, vlan, address)), None)
        taken = known.ips if ips is None and known is not None else _ips(ips or ())
        there = Attachment(_port(to_port), _vlan(to_vlan), vni, address, taken, _hypervisor(host), vn)
        here = Release(port, vlan, vni, address)
        return _told(await agent.announce(Relocation(port, vlan, there)), agent, here, there)

    async def claim(vn: str, port: int, vlan: int, mac: str, ip: str) -> dict[str, str]:
        address = _ips([ip])[0]
        vni, place = _vni(agent.view(), vn), (_port(port), _vlan(vlan))
        sign = Sign(*place, vni, _mac(mac), address, vn)
        return _told(await agent.announce(sign), agent, sign)

    async def attachments() -> list[dict[str, Any]]:
        view = agent.view()
        names = {vn.vni: vn.name for vn in view.vns}
        there = {(one.port, one.vlan, one.mac): one for one in view.tenant_systems}
        rows = [_row(one, names, agent.state(one)) for one in agent.attachments]
        announced = {((one.port, one.vlan, one.mac), one.vn) for one in agent.attachments}
        stated = [
            {
                "vn": one.vn,
                "port": one.port,
                "vlan": one.vlan,
                "mac": format_mac(one.mac),
                "ips": [str(ip) for ip in one.ips],
                "host": "",
                "active": True,
                "announced": False,
                "state": ACTIVE,
                "why": "",
            }
            for place, one in there.items()
            if not announced & {(place, one.vn), (place, "")}
        ]
        return rows + stated

    return {"attach": attach, "detach": detach, "move": move, "claim": claim, "attachments": attachments}


def _is_served(view: NveView, known: Attachment) -> bool:
    """Whether the VAP of an attachment is one of its VN still."""
    if not known.vn:
        return known.vni in {one.vni for one in view.vns}
    return any(vap.place == (known.port, known.vlan) and vap.vn == known.vn for vap in view.vaps)


def _row(one: Attachment, names: Mapping[int, str], state: State) -> dict[str, Any]:
    return {
        "vn": one.vn or names.get(one.vni, str(one.vni)),
        "port": one.port,
        "vlan": one.vlan,
        "mac": format_mac(one.mac),
        "ips": [str(ip) for ip in one.ips],
        "host": one.host,
        "active": state.word == ACTIVE,
        "announced": True,
        "state": state.word,
        "why": state.why,
    }


def _told(answer: AttachmentAnswer, agent: NveAgent, *asked: Asked) -> dict[str, str]:
    """An answer with its reason in words. asked: what it is about, with the VAPs that were named."""
    why = refusals.why(answer.reason, agent.view(), agent.attachments, asked)
    return {"standing": answer.standing.value, "reason": answer.reason, "why": why}


def _vni(view: NveView, name: str) -> int:
    for vn in view.vns:
        if vn.name == name:
            return vn.vni
    raise OperatorError(
        f"{view.name} does not serve VN {name}; it serves: {', '.join(vn.name for vn in view.vns) or 'none'}"
    )


# --- what is said in another way is refused here: the NVA would take it for a malformed message of the agent ----------


def _mac(text: str) -> int:
    return _parsed("MAC address", parse_unicast_mac, text)


def _ips(texts: Sequence[str]) -> tuple[IpAddress, ...]:
    if isinstance(texts, str):
        raise OperatorError("IP addresses must be a list")
    return tuple(_parsed("IP address", parse_ip, text) for text in texts)


def _hypervisor(text: str) -> str:
    return _optional_name("hypervisor", text)


def _optional_name(what: str, text: str) -> str:
    return _parsed(what, parse_label, text) if text else ""


def _parsed(what: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise OperatorError(f"{what} {text!r}: {error}") from None


def _port(number: int) -> int:
    return _number("port", number, 1, LAST_ACCESS_PORT)


def _vlan(number: int) -> int:
    return _number("VLAN", number, 0, LAST_VLAN)


def _number(what: str, number: int, low: int, high: int) -> int:
    if type(number) is not int or not low <= number <= high:
        raise OperatorError(f"{what} {number!r}: must be a number from {low} to {high}")
    return number
