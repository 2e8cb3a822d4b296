# SPDX-License-Identifier: Apache-2.0
"""Agents and NVAs of the last two versions with each other, over real TLS.

The one before is played with the messages that it knew: what it is sent has to be among them.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
import session_world
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from nvo3sec.domain.messages.credential_terms import CredentialTerms, Term, TermKind
from nvo3sec.domain.messages.session import (
    Attachment,
    KeyState,
    NewIncarnation,
    QuestionKind,
    ReadBack,
    Registration,
    Sign,
)
from nvo3sec.domain.messages.versions import Speaks
from nvo3sec.errors import AuthorizationError, OperatorError, VersionMismatch
from nvo3sec.identity.gate.authorization import AccessTable
from nvo3sec.identity.names import Role
from nvo3sec.operator.calls import CALLS
from nvo3sec.operator.documents import Status, Switch
from nvo3sec.operator.status import with_versions
from nvo3sec.transport import operator_client as operators
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.methods import access_table
from nvo3sec.wire import checks, down, nva_pb2, up, versions
from overlay_world import until
from session_world import INCARNATION, fails, run, serving, session

BEFORE = Speaks()
HERE = versions.here()
LATER = {"AgentMessage": {"terms"}, "NvaMessage": {"new_incarnation"}, "AttachRequest": {"is_sign", "again"}}
"""What the version before did not know, and would have misunderstood."""
TERMS = CredentialTerms((Term(TermKind.CERTIFICATE, "nve/leaf1", 1.0, 2.0),))


def messages_before() -> Any:
    """Messages by name, as the version before knew them."""
    file = descriptor_pb2.FileDescriptorProto()
    nva_pb2.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        kept = [one for one in message.field if one.name not in LATER.get(message.name, ()) and one.name != "speaks"]
        del message.field[:]
        message.field.extend(kept)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nvo3sec.v1.{name}"))


KNOWN = messages_before()


@pytest.fixture
def old_nva(monkeypatch):
    """Whoever reads what goes up knows the messages of before only."""
    decode = up.decode_up

    def as_before(raw: bytes) -> up.Up:
        message = checks.parse(KNOWN("AgentMessage").FromString, raw, "message")
        checks.which(message, "message")
        return decode(raw)

    monkeypatch.setattr(up, "decode_up", as_before)


@pytest.fixture
def old_agent(monkeypatch):
    """Whoever reads what comes down knows the messages of before only."""
    decode = down.decode_down

    def as_before(raw: bytes) -> down.Down:
        message = checks.parse(KNOWN("NvaMessage").FromString, raw, "message")
        checks.which(message, "message")
        return decode(raw)

    monkeypatch.setattr(down, "decode_down", as_before)


async def serves(service: Any, leaf1: Any) -> None:
    """Keys and a lease, and a question with its answer after what an agent says by itself."""
    while not isinstance(await leaf1.next_update(), KeyState):
        pass
    assert (await leaf1.renew_lease()).duration_s
    assert await service.transport.ask("leaf1", QuestionKind.STATUS) == {}


async def refused_to_a_later_one(service: Any) -> None:
    """A session for an agent that this NVA is too old for."""
    remote = await service.agent("leaf1", speaks=replace(HERE, protocol=9, oldest=8)).connect()
    with pytest.raises(VersionMismatch, match="the NVA is to be upgraded"):
        await remote.register(Registration(INCARNATION))
    await remote.close()


class TestWithTheVersionBefore:
    def test_both_are_of_now(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1", terms=lambda: TERMS) as leaf1:
                await serves(service, leaf1)
                await until(lambda: service.transport.terms["leaf1"] == TERMS)
                assert service.transport.speaks == {"leaf1": HERE}

        run(check())

    def test_an_old_agent_is_served(self, identities, old_agent):
        async def check():
            async with serving(identities) as service, session(service, "leaf1", speaks=BEFORE) as leaf1:
                await serves(service, leaf1)
                assert service.transport.speaks == {"leaf1": BEFORE}
                report = Status("lab.example", True, (), switches=(Switch("leaf1"),))
                (warning,) = with_versions(report, service.transport.ours, service.transport.speaks).warnings
                assert warning.startswith("the agent of leaf1 is of an unknown version (protocol 0) and lacks ")

        run(check())

    def test_an_old_agent_that_needs_another_incarnation_is_told_why_it_gets_none(self, identities, old_agent):
        async def check():
            async with serving(identities) as service, session(service, "leaf1", speaks=BEFORE) as leaf1:
                await serves(service, leaf1)
                service.nva.administration.reset_marks("leaf1")
                error = await fails(leaf1.next_update)
                assert isinstance(error, VersionMismatch), error
                assert str(error).endswith("the agent of leaf1 is to be upgraded")
                await until(lambda: not service.nva.administration.registered)
                with pytest.raises(OperatorError, match=r"not connected .*another incarnation.* is to be upgraded"):
                    await service.transport.ask("leaf1", QuestionKind.STATUS)

        run(check())

    def test_one_of_now_takes_another(self, identities):
        async def check():
            async with serving(identities) as service, session(service, "leaf1") as leaf1:
                await serves(service, leaf1)
                service.nva.administration.reset_marks("leaf1")
                while not isinstance(update := await leaf1.next_update(), NewIncarnation):
                    pass
                assert update.instead_of == INCARNATION

        run(check())

    def test_an_old_nva_is_told_nothing_that_it_does_not_know(self, identities, old_nva):
        async def check():
            told = {"terms": lambda: TERMS}
            async with serving(identities, speaks=BEFORE) as service, session(service, "leaf1", **told) as leaf1:
                await serves(service, leaf1)
                sign = Sign(1, 0, 1, 2, ip_address("10.1.0.7"), "red")
                with pytest.raises(VersionMismatch, match="the NVA is to be upgraded"):
                    await leaf1.announce(sign)
                again = Attachment(1, 0, 1, 4, (), "", "red", again=True)
                with pytest.raises(VersionMismatch, match=r"announced-again.*the NVA is to be upgraded"):
                    await leaf1.announce(again)
                assert (await leaf1.renew_lease()).duration_s, "the session goes on"
                assert all(claim.key.mac != sign.mac for claim in service.nva.state.mappings.behind("leaf1"))

        run(check())


class TestTooFarApart:
    def test_the_agent_is_behind(self, identities):
        async def check():
            async with serving(identities, speaks=replace(HERE, protocol=9, oldest=8)) as service:
                remote = await service.agent("leaf1").connect()
                with pytest.raises(VersionMismatch, match="the agent of leaf1 is to be upgraded"):
                    await remote.register(Registration(INCARNATION))
                await remote.close()
                assert service.nva.administration.registered == ()
                assert service.server.gate.outcomes["/nvo3sec.v1.Nva/Connect", "version"] == 1
                with pytest.raises(OperatorError, match=r"not connected .*protocol 8 to 9.* is to be upgraded"):
                    await service.transport.ask("leaf1", QuestionKind.STATUS)

        run(check())

    def test_the_nva_is_behind(self, identities):
        async def check():
            async with serving(identities) as service:
                await refused_to_a_later_one(service)
                assert "the NVA is to be upgraded" in service.transport.refused["leaf1"]

        run(check())

    def test_what_ended_an_earlier_attempt_is_not_held_against_a_later_one(self, identities):
        async def check():
            async with serving(identities) as service:
                await refused_to_a_later_one(service)
                async with session(service, "leaf1"):
                    await until(lambda: service.nva.administration.registered == ("leaf1",))
                await until(lambda: service.nva.administration.registered == ())
                with pytest.raises(OperatorError) as caught:
                    await service.transport.ask("leaf1", QuestionKind.STATUS)
                assert str(caught.value) == "leaf1 is not connected to the NVA"

        run(check())

    def test_an_agent_finds_it_out_by_itself(self, identities, monkeypatch):
        """Also where the NVA lets it in."""

        async def check():
            async with serving(identities, speaks=replace(HERE, protocol=0, oldest=0)) as service:
                monkeypatch.setattr(service.transport, "_check_version", lambda nve, theirs: None)
                await refused_to_a_later_one(service)

        run(check())

    def test_as_soon_as_it_was_upgraded_nothing_is_held_against_it(self, identities):
        async def check():
            async with serving(identities) as service:
                await refused_to_a_later_one(service)
                async with session(service, "leaf1") as leaf1:
                    await serves(service, leaf1)
                    await leaf1.read_back(ReadBack(INCARNATION, (), ()))
                    await until(lambda: not service.transport.refused)

        run(check())


class TestOperators:
    def test_a_command_that_the_nva_does_not_know(self, identities, monkeypatch):
        table = access_table()
        known = AccessTable(
            methods=[one for one in table.methods if one.name != CALLS["reset_marks"].path],
            rules=[one for one in table.rules if one.method != CALLS["reset_marks"].path],
        )
        monkeypatch.setattr(session_world, "access_table", lambda: known)

        async def check():
            async with serving(identities) as service:
                address = NvaAddress(identities.name(Role.NVA, "nva1"), "127.0.0.1", service.port)
                asked = operators._ask(
                    address, identities.place(Role.OPERATOR, "op"), "reset_marks", 0.0, {"nve": "leaf1"}
                )
                with pytest.raises(AuthorizationError, match="does not know ResetMarks: it is to be upgraded"):
                    await asked

        run(check())
