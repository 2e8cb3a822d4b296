# SPDX-License-Identifier: Apache-2.0
"""What may be asked of an agent about the tenant systems behind its NVE, by whoever may enter its run directory.

Values are JSON: VNs by name, addresses as text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from nvo3sec.domain.addresses import IpAddress, format_mac, parse_mac
from nvo3sec.domain.mapping.reasons import REASONS
from nvo3sec.domain.messages import Attachment, AttachmentAnswer, NveView, Release, Relocation, Sign, Standing
from nvo3sec.errors import OperatorError
from nvo3sec.nve.agent import NveAgent


def tenant_methods(agent: NveAgent) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """Methods for a console: attach, detach, move, attachments."""

    async def attach(
        vn: str, port: int, vlan: int, mac: str, ips: Sequence[str] = (), host: str = ""
    ) -> dict[str, str]:
        vni = _vni(agent.view(), vn)
        return _told(await agent.announce(Attachment(port, vlan, vni, _mac(mac), _ips(ips), host, vn)))

    async def detach(
        vn: str, port: int, vlan: int, mac: str, successor: str | None = None, host: str = ""
    ) -> dict[str, str]:
        view, address = agent.view(), _mac(mac)
        known = next((a for a in agent.attachments if (a.port, a.vlan, a.mac) == (port, vlan, address)), None)
        if known is not None and known.vni not in {one.vni for one in view.vns}:
            # Of a VN that is served no more: the NVA has nothing to release.
            agent.forget((port, vlan, address))
            return _told(AttachmentAnswer(Standing.DONE))
        return _told(await agent.announce(Release(port, vlan, _vni(view, vn), address, successor or "", host)))

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
        known = next((a for a in agent.attachments if (a.port, a.vlan, a.mac) == (port, vlan, address)), None)
        taken = known.ips if ips is None and known is not None else _ips(ips or ())
        there = Attachment(to_port, to_vlan, vni, address, taken, host, vn)
        return _told(await agent.announce(Relocation(port, vlan, there)))

    async def claim(vn: str, port: int, vlan: int, mac: str, ip: str) -> dict[str, str]:
        address = _ips([ip])[0]
        return _told(await agent.announce(Sign(port, vlan, _vni(agent.view(), vn), _mac(mac), address, vn)))

    async def attachments() -> list[dict[str, Any]]:
        view = agent.view()
        names = {vn.vni: vn.name for vn in view.vns}
        active = {(one.port, one.vlan, one.mac): one for one in view.tenant_systems}
        rows = [_row(one, names, active.pop((one.port, one.vlan, one.mac), None)) for one in agent.attachments]
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
            }
            for one in active.values()
        ]
        return rows + stated

    return {"attach": attach, "detach": detach, "move": move, "claim": claim, "attachments": attachments}


def _row(one: Attachment, names: Mapping[int, str], active: Any) -> dict[str, Any]:
    return {
        "vn": names.get(one.vni, str(one.vni)),
        "port": one.port,
        "vlan": one.vlan,
        "mac": format_mac(one.mac),
        "ips": [str(ip) for ip in one.ips],
        "host": one.host,
        "active": active is not None and set(one.ips) <= set(active.ips),
        "announced": True,
    }


def _told(answer: AttachmentAnswer) -> dict[str, str]:
    words = {reason.value: text for reason, text in REASONS.items()}
    return {"standing": answer.standing.value, "reason": answer.reason, "why": words.get(answer.reason, "")}


def _vni(view: NveView, name: str) -> int:
    for vn in view.vns:
        if vn.name == name:
            return vn.vni
    raise OperatorError(f"{view.name} does not serve VN {name}; it serves: {', '.join(vn.name for vn in view.vns)}")


def _mac(text: str) -> int:
    try:
        return parse_mac(text)
    except ValueError as error:
        raise OperatorError(f"MAC address {text!r}: {error}") from None


def _ips(texts: Sequence[str]) -> tuple[IpAddress, ...]:
    found = []
    for text in texts:
        try:
            found.append(ip_address(text))
        except ValueError:
            raise OperatorError(f"{text!r} is no IP address") from None
    return tuple(found)
