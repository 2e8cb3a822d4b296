# SPDX-License-Identifier: Apache-2.0
"""Everything that operators may ask of an NVA, asked in one story in which nothing is left to chance."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address
from ipaddress import ip_address as ip
from types import SimpleNamespace
from typing import Any

import pytest
from nva_agents import DOMAIN, Agents
from nvo3sec.config import example_path, read_domain
from nvo3sec.domain.keys.usage import Amount
from nvo3sec.domain.mapping import Admit, ClaimKey, Place
from nvo3sec.domain.messages.answers import judged
from nvo3sec.domain.messages.credential_terms import CredentialTerms, Term, TermKind
from nvo3sec.domain.messages.holdings import HeldSa, Holdings
from nvo3sec.domain.messages.session import Attachment, QuestionKind, Report
from nvo3sec.domain.messages.versions import Feature, Speaks
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.switch.status import AgentStatus, unknown_status
from nvo3sec.errors import OperatorError
from nvo3sec.nve.counters import CountersRead, counters_report
from nvo3sec.operator import keys
from nvo3sec.operator.access import probe
from nvo3sec.operator.domain_file import DomainFileOperations, compared
from nvo3sec.operator.ends import with_terms
from nvo3sec.operator.keys import KeyOperations
from nvo3sec.operator.mappings import Operations
from nvo3sec.operator.status import status_report, with_versions
from nvo3sec.p4runtime import Table
from nvo3sec.p4runtime.statistics import PortStatistics, SwitchStatistics
from nvo3sec.processes.nva_start import loading_status
from nvo3sec.program.entry import CounterValue
from nvo3sec.program.generated import Counter, DropReason
from nvo3sec.transport.methods import DomainMembership, access_table

DAY_S = 86400.0
MAC = 0x0200_0000_7777
HERE = Attachment(1, 0, 5001, MAC, (ip("10.1.0.77"), ip("2001:db8::77")), "hv1")
COUNTERS = CountersRead(
    "leaf1",
    {Counter.DROPS_INGRESS: {DropReason.REPLAY_GENERATION: CounterValue(3, 300)}, Counter.DROPS_EGRESS: {}},
    {
        Table.SA_RX: {(("peer", 7), ("spi", 3)): CounterValue(1, 2)},
        Table.SA_TX: {(("interface", 300), ("level", 1)): CounterValue(3, 4)},
        Table.VAP: {(("port", 1), ("link", 0), ("vlan", 0)): CounterValue(5, 6)},
        Table.VN_INGRESS_AUTHORIZATION: {(("peer", 7), ("vni", 5001)): CounterValue(7, 8)},
    },
    {300: "leaf2"},
    {"leaf2": 9},
    {7: IPv4Address("0.0.0.1")},
    (IPv4Address("0.0.0.2"),),
    {("leaf2", 1, 3): Amount(1, 2, at_most=True)},
    SwitchStatistics(
        {"packets": 1}, {1: PortStatistics("veth1", {"received": 2, "beyond_mtu": 1}, "down", "no carrier")}
    ),
)


def holdings(agents: Agents, nve: str) -> dict[str, Any]:
    """What the switch of `nve` says that it holds, which is what its agent was told."""
    told = agents.keys[nve]
    receive = tuple(HeldSa(s.peer, s.suite.name, s.spi, s.generation, 60.5, True, 7, 700) for s in told.receive)
    send = tuple(HeldSa(s.peer, s.suite.name, s.spi, 0, 60.5, True, 9, 900, 1.25, nve == "leaf1") for s in told.send)
    return Holdings(nve, told.incarnation[:4].hex(), True, 12.5, 30.0, receive, send).to_json()


async def documents(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is answered, by what was asked; as it is before it becomes JSON."""
    found: dict[str, Any] = {}
    agents = Agents()
    monkeypatch.setattr(keys, "uptime_s", lambda: agents.now + 1.5)
    nva = agents.nva.administration
    await agents.join("leaf1", "leaf2", "leaf3")
    await agents.sessions["leaf1"].announce(HERE)
    await agents.sessions["leaf2"].announce(HERE)
    await agents.sessions["leaf1"].report(Report("peer-refused", "\x1b[31m<b>"))
    await agents.settle()
    agents.now += 2.0

    async def ask(nve: str, kind: QuestionKind) -> Any:
        if nve == "leaf3":
            raise OperatorError("leaf3 is not connected to the NVA")
        return holdings(agents, nve)

    mappings, key_operations = Operations(nva), KeyOperations(nva, ask)
    found["vn_list"] = await mappings.vn_list()
    found["vn_show"] = await mappings.vn_show("blue")
    found["map_list"] = await mappings.map_list()
    found["map_list frozen"] = await mappings.map_list(frozen=True, limit=1)
    found["map_admit"] = await mappings.map_admit("02:00:00:00:77:77", "leaf2")
    assert nva.decide(Admit(ClaimKey(Place("leaf1", 1, 0), MAC)))
    found["map_evict"] = await mappings.map_evict("02:00:00:00:77:77", "leaf2", successor="leaf3")
    found["key_list"] = await key_operations.key_list()
    found["key_list red"] = await key_operations.key_list(["leaf1"], "red")
    monkeypatch.setattr(keys, "LOOKS", 1)
    found["key_audit"] = await key_operations.key_audit()
    found["rotate"] = await key_operations.rotate(["leaf1", "leaf2"])
    found["reset_marks"] = await key_operations.reset_marks("leaf2")

    said = AgentStatus(
        "leaf1", True, True, False, "aabbccdd", True, 12.25, True, 10, 11, ("add x",), ("y",), 2, {"unknown": 1}, 3
    )
    nves = tuple(dataclasses.replace(nve, p4runtime=f"unix:/run/{nve.name}.sock") for nve in DOMAIN.nves)
    status = status_report(
        dataclasses.replace(DOMAIN, nves=nves),
        {"leaf1": said, "leaf2": unknown_status("leaf2", "did not answer")},
        nva.directions(),
        list(agents.nva.state.reports),
        nva.registered,
        agents.now + 3.0,
        {"leaf3": "revoked"},
        {"leaf2": "remembers version 7 of term 1"},
        ["leaf1: an alarm"],
        {},
        {"leaf1": "two agents use nve/leaf1"},
    )
    found["status before"] = status
    status = with_versions(status, Speaks(1, 0, frozenset({Feature.NEW_INCARNATION}), "1.0"), {"leaf1": Speaks()})
    terms = CredentialTerms((Term(TermKind.CERTIFICATE, "nve/leaf1", 0.0, 10 * DAY_S),), ("cannot remember",))
    found["status"] = with_terms(status, {"nva/nva1": CredentialTerms(), "nve/leaf1": terms}, 9.5 * DAY_S)

    found["status while loading"] = loading_status(DOMAIN.name, SimpleNamespace(granted={"leaf1": 1.0}), 2, 3.25)

    found["counters of an agent"] = counters_report(COUNTERS)
    found["counters"] = judged("leaf1", QuestionKind.COUNTERS, found["counters of an agent"])

    file = read_domain(example_path())
    applying = DomainFileOperations(nva, dataclasses.replace(file, text="domain: lab.example  # <&>\n"))
    found["domain_show"] = await applying.domain_show()
    found["domain_diff"] = await applying.domain_diff(file.text.replace("mtu: 1400", "mtu: 1300"))
    found["domain_diff same"] = await applying.domain_diff(file.text)
    fewer = dataclasses.replace(DOMAIN, tenant_systems=DOMAIN.tenant_systems[1:], reservations=())
    found["difference less"] = compared(DOMAIN, fewer)
    found["difference more"] = compared(fewer, DOMAIN, same_text=False)

    current = Membership(DOMAIN)
    served = DomainMembership(DOMAIN.name, lambda: current)
    about = {"excluded": {}, "method": "LookUp"}
    found["authz_probe"] = probe(access_table(), served, DOMAIN, device="nve/leaf2", vn="red", **about)
    found["authz_probe without a vn"] = probe(access_table(), served, DOMAIN, device="operator/op", **about)
    return found
