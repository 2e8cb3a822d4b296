# SPDX-License-Identifier: Apache-2.0
"""Two agents with the same credentials: a machine that was cloned, or a certificate that was stolen."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest
from nvo3sec.domain.messages.session import QuestionKind, Registration
from nvo3sec.errors import AuthorizationError, NvaUnreachable, OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.nva.sessions.takeovers import SEVERAL
from nvo3sec.transport import session_server as transport
from overlay_world import READY_S, command, overlay, until
from session_world import INCARNATION, Service, fails, run, serving, session
from tenant_traffic import Traffic

OTHER = bytes(range(17, 33))
CONNECT = "/nvo3sec.v1.Nva/Connect"


async def refuses(_kind: QuestionKind) -> Any:
    raise OperatorError("not now")


async def is_silent(_kind: QuestionKind) -> Any:
    await asyncio.Event().wait()


async def come(service: Service, incarnation: bytes = OTHER) -> None:
    """Somebody with the credentials of leaf1 registers, and goes. Raises what the NVA says."""
    newcomer = await service.agent("leaf1").connect()
    try:
        await newcomer.register(Registration(incarnation))
    finally:
        await newcomer.close()


class TestSession:
    @pytest.mark.parametrize("answer", [None, refuses])
    def test_one_that_answers_is_not_displaced(self, identities, answer):
        async def check():
            async with serving(identities) as service:
                async with session(service, "leaf1", answer=answer) as first:
                    for _ in range(2):
                        with pytest.raises(NvaUnreachable, match="another agent is connected as leaf1 from"):
                            await come(service)
                    assert service.server.gate.outcomes[CONNECT, "name-in-use"] == 2
                    assert (await first.renew_lease()).duration_s
                    assert service.nva.state.accounts.incarnations["leaf1"] == INCARNATION, (
                        "its keys stay what they are"
                    )
                await until(lambda: service.nva.administration.registered == ())
                await come(service)
                assert service.nva.state.accounts.incarnations["leaf1"] == OTHER

        run(check())

    def test_one_that_does_not_answer_is(self, identities, monkeypatch):
        monkeypatch.setattr(transport, "ALIVE_S", 0.1)

        async def check():
            async with serving(identities) as service, session(service, "leaf1", answer=is_silent) as first:
                await come(service)
                assert service.nva.state.accounts.incarnations["leaf1"] == OTHER
                assert isinstance(await fails(first.next_update), AuthorizationError)

        run(check())

    def test_one_that_goes_is_not_waited_for(self, identities, monkeypatch):
        monkeypatch.setattr(transport, "ALIVE_S", 1e6)

        async def check():
            asked = asyncio.Event()

            async def answer(_kind: QuestionKind) -> Any:
                asked.set()
                await asyncio.Event().wait()

            async with serving(identities) as service:
                async with session(service, "leaf1", answer=answer):
                    coming = asyncio.create_task(come(service))
                    await asked.wait()
                    assert not coming.done()
                await coming
                assert service.nva.state.accounts.incarnations["leaf1"] == OTHER

        run(check())

    def test_of_several_that_wait_one_gets_it(self, identities, monkeypatch):
        monkeypatch.setattr(transport, "ALIVE_S", 0.5)

        async def check():
            async with serving(identities) as service, session(service, "leaf1", answer=is_silent):
                newcomers = [await service.agent("leaf1").connect() for _ in range(2)]
                said = [Registration(OTHER), Registration(OTHER[::-1])]
                registering = [one.register(what) for one, what in zip(newcomers, said, strict=True)]
                outcomes = await asyncio.gather(*registering, return_exceptions=True)
                assert sorted(type(one) for one in outcomes if one is not None) == [NvaUnreachable]
                won = said[outcomes.index(None)].incarnation
                assert service.nva.state.accounts.incarnations["leaf1"] == won
                for one in newcomers:
                    await one.close()

        run(check())

    def test_a_certificate_that_is_revoked_while_it_waits(self, identities, monkeypatch):
        async def revoked_meanwhile(_link: Any) -> bool:
            identities.authority.revoke(identities.name(Role.NVE, "leaf1"))
            return False

        monkeypatch.setattr(transport._Link, "is_alive", revoked_meanwhile)

        async def check():
            async with serving(identities) as service, session(service, "leaf1"):
                with pytest.raises(AuthorizationError, match="revoked"):
                    await come(service)
                assert service.nva.state.accounts.incarnations["leaf1"] == INCARNATION

        run(check())

    def test_several_are_an_alarm_and_one_report(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1"):
                for _ in range(SEVERAL + 2):
                    assert not service.nva.state.reports or service.transport.takeovers.contested(["leaf1"])
                    with pytest.raises(NvaUnreachable):
                        await come(service)
                (report,) = service.nva.state.reports
                assert (report.nve, report.report.event) == ("leaf1", "two-agents")
                assert "two agents use nve/leaf1: all from 127.0.0.1" in report.report.detail
                assert set(service.transport.takeovers.contested(["leaf1", "leaf2"])) == {"leaf1"}

        run(check())

    def test_that_they_displace_each_other_is_one_as_well(self, identities):
        """Of the same switch at the same place: the newer is taken at once."""

        async def check():
            async with serving(identities) as service:
                agents = [await service.agent("leaf1").connect() for _ in range(SEVERAL + 1)]
                for one in agents:
                    await one.register(Registration(INCARNATION))
                assert "taken over" in service.transport.takeovers.contested(["leaf1"])["leaf1"]
                assert [one.report.event for one in service.nva.state.reports] == ["two-agents"]
                for one in agents:
                    await one.close()

        run(check())


def test_a_second_agent_of_one_name(identities, start_switch):
    """With a copy of the credentials, a switch of its own and no memory; the real one goes on as if it were alone."""

    async def run():
        async with overlay(identities, start_switch) as world:
            before = await world.ready()
            switch = start_switch("clone", 9)
            words = ["nve", "run", "--name", "leaf1", "--nva", world.nva, "--p4runtime", switch.target]
            words += ["--device-id", str(switch.device_id), "--run-dir", str(world.run_directory("clone"))]
            words += ["--credentials", str(identities.place(Role.NVE, "leaf1"))]
            with (world.directory / "clone.process").open("ab") as log:
                clone = subprocess.Popen(command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            world.processes["clone"] = clone
            async with Traffic(world), asyncio.timeout(READY_S):
                while not any("two agents use nve/leaf1" in why for why in world.status()["not_ready"]):
                    await asyncio.sleep(0.1)
            status = world.status()
            assert {"two-agents"} == {one["event"] for one in status["reports"] if not one["over"]}
            assert [one["incarnation"] for one in status["switches"]] == [
                one["incarnation"] for one in before["switches"]
            ]
            assert {one["spi"] for one in status["keys"]} == {one["spi"] for one in before["keys"]}, (
                "nothing keyed anew"
            )
            assert "another agent is connected as leaf1" in world.log("clone").replace("\n", " ")
            shown = await asyncio.to_thread(world.operate, "status")
            assert "not ready: two agents use nve/leaf1" in shown.stdout
            world.kill("clone")
            await world.ready()  # it is over by itself

    asyncio.run(run())
