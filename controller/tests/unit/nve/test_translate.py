# SPDX-License-Identifier: Apache-2.0
"""What a source may be becomes the action that permits it."""

from __future__ import annotations

from typing import Any

import pytest
from nvo3sec.domain.switch.entries import IpKind, Service, SourceGuard, TargetGuard
from nvo3sec.nve.translate import to_entry

KEY: dict[str, Any] = {"interface": 5, "mac": 0x02AA_0000_0001, "ip_kind": IpKind.IPV6, "ip": 0xFD00 << 112 | 1}
ROUTER, DHCP_SERVER = Service.ROUTER, Service.DHCP_SERVER


@pytest.mark.parametrize(
    ("services", "is_announcer", "action", "params"),
    [
        (set(), False, "permit_source", {}),
        (set(), True, "permit_announcer", {}),
        ({ROUTER}, False, "permit_service", {"services": 2}),
        ({DHCP_SERVER}, False, "permit_service", {"services": 4}),
        ({ROUTER, DHCP_SERVER}, True, "permit_service", {"services": 7}),
    ],
)
def test_what_a_source_may_be(services, is_announcer, action, params):
    entry = to_entry(SourceGuard(**KEY, is_announcer=is_announcer, services=frozenset(services)))
    assert (entry.table, entry.action, dict(entry.params)) == ("source_guard", action, params)
    assert dict(entry.match) == KEY


def test_what_it_may_advertise():
    entry = to_entry(TargetGuard(5, KEY["mac"], KEY["ip"]))
    assert (entry.table, entry.action, dict(entry.params)) == ("target_guard", "permit_target", {})
    assert dict(entry.match) == {name: KEY[name] for name in ("interface", "mac", "ip")}
