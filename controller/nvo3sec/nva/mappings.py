# SPDX-License-Identifier: Apache-2.0
"""The mapping service: (VN, MAC or IP address) to the NVE behind which a tenant system stands (RFC 8014 4.3)."""

from __future__ import annotations

from nvo3sec.domain.membership import Membership
from nvo3sec.domain.messages import Lookup, LookupAnswer, LookupResult
from nvo3sec.domain.model import Domain, TenantSystem

POSITIVE_S = 300.0
NEGATIVE_S = 10.0
"""How long an answer may be remembered."""


class Mappings:
    """The mappings of a domain, indexed by VN and address."""

    def __init__(self, domain: Domain, membership: Membership) -> None:
        self._membership = membership
        vni = {vn.name: vn.vni for vn in domain.vns}
        self._vn_names = {vn.vni: vn.name for vn in domain.vns}
        self._by_mac = {(vni[system.vn], system.mac): system for system in domain.tenant_systems}
        self._by_ip = {(vni[system.vn], ip): system for system in domain.tenant_systems for ip in system.ips}

    def look_up(self, nve: str, query: Lookup) -> LookupAnswer:
        """The answer for `nve`, which must serve the VN that it asks about."""
        vn = self._vn_names.get(query.vni)
        if vn is None or not self._membership.serves(nve, vn):
            return LookupAnswer(LookupResult.REFUSED, NEGATIVE_S)
        system: TenantSystem | None = None
        if query.mac is not None:
            system = self._by_mac.get((query.vni, query.mac))
        elif query.ip is not None:
            system = self._by_ip.get((query.vni, query.ip))
        if system is None or not self._membership.serves(system.nve, vn):
            return LookupAnswer(LookupResult.UNKNOWN, NEGATIVE_S)
        return LookupAnswer(LookupResult.FOUND, POSITIVE_S, system.mac, system.nve, system.ips)
