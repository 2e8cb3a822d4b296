# SPDX-License-Identifier: Apache-2.0
"""The mapping service over a store: nothing is visible before it is durable; a restart finds everything."""

from __future__ import annotations

from ipaddress import ip_address as ip

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.mapping import Attach, Detach, LeaseRenewed, Status
from nvo3sec.domain.mapping.change_log import Increment, Position
from nvo3sec.domain.messages.session import Lookup, LookupResult
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva.mappings.service import MappingService
from nvo3sec.nva.store import MemoryStore, StoreUnavailable, open_store

DOMAIN = load_domain(example_path())
VN = next(vn for vn in DOMAIN.vns if sum(vn.name in nve.vn_names for nve in DOMAIN.nves) > 1)
HOME, AWAY = [nve for nve in DOMAIN.nves if VN.name in nve.vn_names][:2]
HOME_VAP = next(vap for vap in HOME.vaps if vap.vn == VN.name)
ANNOUNCED = Attach(HOME.name, HOME_VAP.port, HOME_VAP.vlan, VN.vni, 0x0200_0000_7777, (ip("10.77.0.1"),))
QUESTION = Lookup(VN.vni, ANNOUNCED.mac)


def started(store, now=0.0):
    service = MappingService(store, store.load(), now)
    service.configure(DOMAIN, now)
    service.handle([LeaseRenewed(nve.name, now + 30) for nve in DOMAIN.nves], now)
    return service


class TestAttachments:
    def test_static_mappings_of_the_domain_file(self):
        service = started(MemoryStore(b"h" * 16))
        for system in DOMAIN.tenant_systems:
            vni = DOMAIN.vn_by_name[system.vn].vni
            assert service.look_up(system.nve, Lookup(vni, system.mac), 0.0).nve == system.nve

    def test_before_it_is_configured_nobody_is_answered(self):
        store = MemoryStore(b"h" * 16)
        service = MappingService(store, store.load(), 0.0)
        assert service.look_up(HOME.name, QUESTION, 0.0).result is LookupResult.REFUSED
        assert service.handle([LeaseRenewed(HOME.name, 30)], 0.0).outcomes[0].status is Status.REFUSED

    def test_announced_and_followed(self):
        service = started(MemoryStore(b"h" * 16))
        have = service.position(VN.vni)
        handled = service.handle([ANNOUNCED], 1.0)
        assert handled.changed == {VN.vni}
        delta = service.increment(AWAY.name, VN.vni, have)
        assert isinstance(delta, Increment)
        assert [change.mapping.mac for change in delta.changes] == [ANNOUNCED.mac]

    def test_a_vn_that_is_not_served(self):
        service = started(MemoryStore(b"h" * 16))
        with pytest.raises(AuthorizationError):
            service.increment("nobody", VN.vni, service.position(VN.vni))

    def test_what_could_not_be_stored_has_not_happened(self):
        store = MemoryStore(b"h" * 16)
        service = started(store)
        have = service.position(VN.vni)
        store.close()
        with pytest.raises(StoreUnavailable):
            service.handle([ANNOUNCED], 1.0)
        assert service.look_up(AWAY.name, QUESTION, 0.0).result is LookupResult.UNKNOWN
        assert service.increment(AWAY.name, VN.vni, have).changes == ()

    def test_restart(self, tmp_path):
        def opened():
            return open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", DOMAIN.name)

        store = opened()
        service = started(store)
        service.handle([ANNOUNCED], 1.0)
        have = service.position(VN.vni)
        store.close()

        store = opened()
        service = started(store, now=5.0)
        assert service.look_up(AWAY.name, QUESTION, 0.0).nve == HOME.name
        assert service.position(VN.vni) == have
        assert service.increment(AWAY.name, VN.vni, have).changes == (), "an agent that was up to date still is"
        older = Position(have.history, have.version - 1)
        assert service.increment(AWAY.name, VN.vni, older) is None
        service.handle([Detach(HOME.name, HOME_VAP.port, HOME_VAP.vlan, ANNOUNCED.mac)], 6.0)
        assert service.position(VN.vni).version == have.version + 1
        store.close()

    def test_a_revoked_nve_serves_nothing(self):
        service = started(MemoryStore(b"h" * 16))
        service.handle([ANNOUNCED], 1.0)
        service.configure(DOMAIN, 2.0, revoked=[HOME.name])
        assert service.look_up(AWAY.name, QUESTION, 0.0).result is LookupResult.UNKNOWN
        assert service.look_up(HOME.name, QUESTION, 0.0).result is LookupResult.REFUSED
        assert service.handle([ANNOUNCED], 3.0).outcomes[0].status is Status.REFUSED
