# SPDX-License-Identifier: Apache-2.0
"""The session between NVA and agent over real TLS, without switches."""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from nvo3sec.domain.messages.session import (
    KeyState,
    KeyUpdate,
    Lookup,
    LookupResult,
    MappingUpdate,
    NveView,
    QuestionKind,
    ReadBack,
    Registration,
    Report,
)
from nvo3sec.errors import AuthorizationError, NvaUnreachable, OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.nva.mappings.service import LOOKUP_RATE
from nvo3sec.transport import session_client as agent
from overlay_world import free_port, until
from session_world import INCARNATION, Service, fails, run, serving, session
from structlog.testing import capture_logs


class TestSession:
    def test_state_comes_down_and_reports_go_up(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                view = await leaf1.next_update()
                assert isinstance(view, NveView)
                assert view.name == "leaf1"
                while not isinstance(keys := await leaf1.next_update(), KeyState):
                    assert isinstance(keys, MappingUpdate), "up to where leaf1 knows its VNs"
                assert keys.incarnation == INCARNATION
                assert (await leaf1.renew_lease()).duration_s == identities.domain.lifetimes.lease_s
                await leaf1.report(Report("foreign-entry", "something"))
                await until(lambda: service.nva.state.reports)
                assert service.nva.state.reports[0].nve == "leaf1"
                async with session(service, "leaf2"):
                    state = await leaf1.next_update()
                    while not state.receive:
                        state = await leaf1.next_update()
                    sa = state.receive[0]
                    assert sa.peer == "leaf2"
                    assert sa.key is not None
                    await leaf1.read_back(ReadBack(INCARNATION, ((sa.peer, sa.suite, sa.spi),), ()))
                    tunnel = next(d for d in service.nva.administration.directions() if d.tunnel.receiver == "leaf1")
                    await until(
                        lambda: any(
                            sa.spi in (d.receiver.holds or ())
                            for d in service.nva.administration.directions()
                            if d.tunnel.receiver == "leaf1"
                        )
                    )
                    assert tunnel.tunnel.sender in ("leaf2", "leaf3")

        run(check())

    def test_keys_come_whole_and_then_as_what_changed(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1, session(service, "leaf2"):
                # Not fetched yet: it adds up to one.
                await until(lambda: leaf1._inbox.keys_version > 1 and leaf1._inbox.keys and leaf1._inbox.keys.receive)
                keys = await leaf1.next_update()
                while not isinstance(keys, KeyState):
                    keys = await leaf1.next_update()
                assert {sa.peer for sa in keys.receive} == {"leaf2"}
                async with session(service, "leaf3"):
                    update = await leaf1.next_update()
                    assert isinstance(update, KeyUpdate)
                    assert update.base >= keys.version
                    assert {peer for peer, _ in update.receives} == {"leaf3"}

        run(check())

    def test_a_change_of_keys_that_it_does_not_have_ends_it(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                await until(lambda: leaf1._inbox.keys_version)
                service.nva.sessions["leaf1"].keys_version -= 1
                async with session(service, "leaf2") as leaf2:
                    assert "changes keys of version" in str(await fails(leaf1.next_update))
                    assert (await leaf2.renew_lease()).duration_s

        run(check())

    def test_lookups_of_what_is_served(self, identities):
        async def check():
            domain = identities.domain
            system = next(s for s in domain.tenant_systems if s.nve == "leaf2")
            vni = domain.vn_by_name[system.vn].vni
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                by_mac = await leaf1.look_up(Lookup(vni, mac=system.mac))
                assert (by_mac.result, by_mac.nve, by_mac.ips) == (LookupResult.FOUND, "leaf2", system.ips)
                assert (await leaf1.look_up(Lookup(vni, ip=system.ips[0]))).mac == system.mac
                nobody = await leaf1.look_up(Lookup(vni, ip=ip_address("203.0.113.9")))
                assert nobody.result is LookupResult.UNKNOWN
                assert (await leaf1.look_up(Lookup(0xABCDEF, mac=1))).result is LookupResult.REFUSED
                assert service.server.gate.outcomes["/nvo3sec.v1.Nva/LookUp", "permission"] == 1
                assert (await leaf1.renew_lease()).duration_s, "the session goes on"

        run(check())

    def test_tenants_that_scan_do_not_hold_up_the_lease(self, identities):
        """More is asked than the NVA answers: the agent itself says no, and nothing of it is refused or slowed down."""

        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                vni = service.nva.state.membership.vns_of("leaf1")[0].vni
                asked = [asyncio.create_task(leaf1.look_up(Lookup(vni, mac=0x02FF00000000 + n))) for n in range(2000)]
                await asyncio.sleep(0)
                for _ in range(3):
                    assert (await leaf1.renew_lease()).duration_s
                    assert not all(task.done() for task in asked), "in front of the lookups"
                assert agent.LOOKUP_RATE.per_second < LOOKUP_RATE.per_second
                assert agent.LOOKUP_RATE.burst < LOOKUP_RATE.burst
                results = Counter(answer.result for answer in await asyncio.gather(*asked))
                assert results[LookupResult.BUSY] > 1000
                assert results[LookupResult.UNKNOWN] >= 800
                assert not any(name.endswith("LookUp") and how != "ok" for name, how in service.server.gate.outcomes)

        run(check())

    def test_a_newer_session_takes_over(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as first:
                await first.next_update()
                async with session(service, "leaf1") as second:
                    assert isinstance(await fails(first.next_update), AuthorizationError)
                    with pytest.raises(AuthorizationError):
                        await first.renew_lease()
                    with pytest.raises(AuthorizationError):
                        await first.report(Report("a", "b"))
                    assert (await second.renew_lease()).duration_s
                    assert service.nva.administration.registered == ("leaf1",)
                await until(lambda: service.nva.administration.registered == ())

        run(check())

    def test_questions_are_answered(self, identities):
        async def answer(kind: QuestionKind) -> Any:
            if kind is QuestionKind.COUNTERS:
                raise OperatorError("there are none")
            if kind is QuestionKind.PREVIEW:
                raise RuntimeError("a secret")
            return {"fault": "\x1b[2J", "unheard": kind.value}

        async def check():
            async with serving(identities) as service:
                with pytest.raises(OperatorError, match="leaf1 is not connected"):
                    await service.transport.ask("leaf1", QuestionKind.STATUS)
                async with session(service, "leaf1", answer=answer):
                    found = await service.transport.ask("leaf1", QuestionKind.STATUS)
                    assert found == {"fault": r"\x1b[2J"}
                    with pytest.raises(OperatorError, match="there are none"):
                        await service.transport.ask("leaf1", QuestionKind.COUNTERS)
                    with pytest.raises(OperatorError, match="internal error"):
                        await service.transport.ask("leaf1", QuestionKind.PREVIEW)

        run(check())

    def test_no_second_registration(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                await leaf1._write(Registration(INCARNATION))
                assert isinstance(await fails(leaf1.next_update), AuthorizationError)

        run(check())


class TestEnd:
    def test_of_the_identity(self, identities):
        async def check():
            async with serving(identities) as service:
                async with session(service, "leaf1") as leaf1, session(service, "leaf2") as leaf2:
                    identities.authority.revoke(identities.name(Role.NVE, "leaf1"))
                    error = await fails(leaf1.next_update)
                    assert "revoked" in str(error)
                    assert (await leaf2.renew_lease()).duration_s
                    await until(lambda: service.nva.administration.registered == ("leaf2",))
                with pytest.raises((NvaUnreachable, AuthorizationError)):
                    async with session(service, "leaf1"):
                        pass

        run(check())

    def test_of_the_nva(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                await service.server.stop(0)
                assert isinstance(await fails(leaf1.next_update), NvaUnreachable)
                with pytest.raises(NvaUnreachable):
                    await leaf1.renew_lease()
                with pytest.raises(NvaUnreachable):
                    await service.agent("leaf1").connect()

        run(check())

    def test_of_the_connection(self, identities):
        """What gRPC says of it is how it learned of the end; what is told is at which stage, and by whom."""

        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                for outer in list(service.server.front._inside.values()):
                    outer.abort()
                error = await fails(leaf1.next_update)
                assert isinstance(error, NvaUnreachable)
                assert str(error).startswith("nva/nva1: session: the peer ended the connection")

        run(check())

    def test_state_of_another_nve_is_not_taken(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1", name="leaf2") as confused:
                error = await fails(confused.next_update)
                assert "another NVE" in str(error)

        run(check())


class TestAttempts:
    """An NVA that is not there, as after any restart of it, fills no log."""

    def test_each_way_to_fail_is_told_once_until_there_is_a_connection(self, identities):
        async def check():
            absent = Service(identities)
            absent.port = free_port()
            remote = absent.agent("leaf1")

            async def fails_to_connect(lines: list[Any]) -> list[str]:
                begin = len(lines)
                for _ in range(3):
                    with pytest.raises(NvaUnreachable):
                        await remote.connect()
                return [line["reason"] for line in lines[begin:] if line["event"] == "no connection"]

            with capture_logs() as lines:
                assert await fails_to_connect(lines) == ["unreachable"]
                # Another way to fail is another line; the first one is known.
                async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", absent.port):
                    assert await fails_to_connect(lines) == ["unreachable"]
                assert await fails_to_connect(lines) == []
                port = await absent.server.start("127.0.0.1", absent.port)
                assert port == absent.port
                await (await remote.connect()).close()
                assert [line["failed"] for line in lines if line["event"] == "connected"] == [9]
                await absent.server.stop(0.1)
                assert await fails_to_connect(lines) == ["unreachable"], "what is over is news when it comes back"

        run(check())
