# SPDX-License-Identifier: Apache-2.0
"""What operators may ask an NVA about VNs and mappings, and what they may decide: by name."""

from __future__ import annotations

from nvo3sec.domain.mapping import Admit, ClaimKey, Event, Evict, Status
from nvo3sec.domain.mapping.reasons import REASONS
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.nva.administration import Administration
from nvo3sec.operator import mapping_views
from nvo3sec.operator.calls import Method, answered_by
from nvo3sec.operator.documents import Decided, Mappings, VnLine, VnShown


class Operations:
    """Of one NVA. Every coroutine raises OperatorError for what does not exist."""

    def __init__(self, nva: Administration) -> None:
        self._nva = nva

    @property
    def methods(self) -> dict[str, Method]:
        """By name."""
        return answered_by(self)

    async def vn_list(self) -> tuple[VnLine, ...]:
        """Every VN."""
        return mapping_views.vn_list(self._nva.domain, self._nva.membership, self._nva.mappings)

    async def vn_show(self, vn: str) -> VnShown:
        """One VN."""
        return mapping_views.vn_show(self._nva.domain, self._nva.membership, self._nva.mappings, vn)

    async def map_list(
        self,
        vn: str | None = None,
        nve: str | None = None,
        frozen: bool = False,
        limit: int = mapping_views.CLAIMS_SHOWN,
    ) -> Mappings:
        """Tenant systems: of a VN, behind an NVE, or that wait for something."""
        return mapping_views.map_list(
            self._nva.domain, self._nva.mappings, vn=vn, nve=nve, frozen=frozen, limit=max(0, limit)
        )

    async def map_admit(
        self, mac: str, nve: str, vn: str | None = None, port: int | None = None, vlan: int | None = None
    ) -> Decided:
        """This tenant system is right: it gets its addresses, and whoever had them is frozen."""
        key = self._find(mac, nve, vn, port, vlan)
        self._nva.must_be_in([nve])
        return self._decided(key, Admit(key))

    async def map_evict(
        self,
        mac: str,
        nve: str,
        vn: str | None = None,
        port: int | None = None,
        vlan: int | None = None,
        successor: str | None = None,
    ) -> Decided:
        """This tenant system goes. successor: the NVE that alone can have its addresses for a while."""
        if successor is not None and successor not in self._nva.domain.nve_by_name:
            raise no_such("NVE", successor, self._nva.domain.nve_by_name)
        key = self._find(mac, nve, vn, port, vlan)
        self._nva.must_be_in([] if successor is None else [successor])
        return self._decided(key, Evict(key, successor))

    def _find(self, mac: str, nve: str, vn: str | None, port: int | None, vlan: int | None) -> ClaimKey:
        return mapping_views.find_claim(self._nva.domain, self._nva.mappings, mac, nve, vn=vn, port=port, vlan=vlan)

    def _decided(self, key: ClaimKey, event: Event) -> Decided:
        outcome = self._nva.decide(event)
        if outcome.status is Status.REFUSED:
            raise OperatorError(f"{key}: {REASONS[outcome.reason]}")
        return Decided(str(key), outcome.status.value)
