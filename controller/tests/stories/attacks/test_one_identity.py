# SPDX-License-Identifier: Apache-2.0
"""One NVE with a valid certificate that asks as fast as it can, while nine others are served."""

from __future__ import annotations

from ipaddress import ip_address

from attack_world import BLUE, Agent, Fleet, fleet_of, run, served
from nvo3sec.domain.messages.session import Attachment, Lookup, LookupResult, Report, Standing
from nvo3sec.identity.names import Role

CONNECT = "/nvo3sec.v1.Nva/Connect"
ATTACH = "/nvo3sec.v1.Nva/Attach"
LOOK_UP = "/nvo3sec.v1.Nva/LookUp"
RENEW = "/nvo3sec.v1.Nva/RenewLease"
ATTACKER = "nve/leaf10"
HONEST = 0x02EE00000001


async def flooded(fleet: Fleet, agents: list[Agent], what: str, method: str, **options: int) -> dict[str, int]:
    """What the attacker saw, and that it was counted; the others were served while it went on."""
    before = await fleet.ask("admission")
    device = fleet.device_file(Role.NVE, "leaf10")
    attacker = await fleet.attack("insider", device=device, what=what, **options)

    def caught(now: dict) -> bool:
        more = now["calls"].get(method, {}).get("rate", 0) > before["calls"].get(method, {}).get("rate", 0)
        return more and now["refused_by_identity"].get(ATTACKER, 0) > before["refused_by_identity"].get(ATTACKER, 0)

    await fleet.until_counted(caught)
    await served(agents)
    assert attacker.busy
    seen: dict[str, int] = (await attacker.stop())["ended"]
    assert set((await fleet.ask("admission"))["refused_by_identity"]) == {ATTACKER}
    return seen


class TestFlood:
    def test_of_calls(self, identities):
        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                for what, method in (("lookups", LOOK_UP), ("renewals", RENEW), ("streams", CONNECT)):
                    seen = await flooded(fleet, agents, what, method)
                    assert seen["RESOURCE_EXHAUSTED"] > 0, (what, seen)
                assert f"peer={ATTACKER}" in fleet.log()
                assert "reason=rate" in fleet.log()
                assert (await fleet.ask("admission"))["connections"]["held"] > 0

        run(go())

    def test_of_attachments(self, identities):
        """It fills no table but its own, and who is honest is announced beside it."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                seen = await flooded(fleet, agents, "attachments", ATTACH)
                assert seen["ok"] > 0
                assert seen["RESOURCE_EXHAUSTED"] > 0
                session = agents[0].session
                assert session is not None
                answer = await session.announce(Attachment(1, 0, BLUE, HONEST, (ip_address("10.1.7.7"),)))
                assert answer.standing is Standing.ACTIVE
                other = agents[1].session
                assert other is not None
                found = await other.look_up(Lookup(BLUE, mac=HONEST))
                assert (found.result, found.nve) == (LookupResult.FOUND, "leaf1")

        run(go())

    def test_of_messages(self, identities):
        """Reports that are too many, registrations that come twice, read-backs as long as a message may be."""

        async def go() -> None:
            async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                before = fleet.usage()["memory"]
                session = agents[0].session
                assert session is not None
                await session.report(Report("foreign-entry", "of an honest agent"))
                for what in ("reports", "registrations"):
                    await flooded(fleet, agents, what, CONNECT)
                device = fleet.device_file(Role.NVE, "leaf10")
                held = (await fleet.ask("admission"))["connections"]["held"]
                attacker = await fleet.attack("insider", device=device, what="read-backs", workers=2, entries=60_000)
                await fleet.until_counted(lambda now: now["connections"]["held"] > held)
                await served(agents)
                await attacker.stop()
                assert fleet.usage()["most_memory"] - before < 512 * 1024
                reports = (await fleet.ask("status"))["reports"]
                assert [one["nve"] for one in reports].count("leaf10") <= 100
                assert any("of an honest agent" in str(one) for one in reports)

        run(go())

    def test_from_many_connections(self, identities):
        """More connections are no more calls, and are themselves limited."""

        async def go() -> None:
            words = ("--limit", "per-identity=4", "--limit", "rate=1000/1000")
            async with fleet_of(identities, 10, *words) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
                seen = await flooded(fleet, agents, "renewals", RENEW, channels=12)
                assert seen["RESOURCE_EXHAUSTED"] > 0
                found = await fleet.until_counted(lambda now: now["connections"]["refused"].get("per-identity", 0) > 0)
                assert found["connections"]["open"] <= 9 + 4 + 1
                await served(agents)

        run(go())
