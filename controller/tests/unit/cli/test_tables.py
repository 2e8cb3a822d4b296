# SPDX-License-Identifier: Apache-2.0
"""What people read fits their terminal, and no value is broken."""

from __future__ import annotations

import io
import itertools

import pytest
from filled import filled
from nvo3sec.cli import render, render_keys
from nvo3sec.cli.tables import Listing
from nvo3sec.operator import documents as d
from rich.console import Console

MAC, SPI, SERIAL = "02:aa:00:00:00:77", "120c3e07", "391cb988721169841aa8e23203688f4760908268"
V6 = "2001:db8:1234:5678:9abc:def0:1234:5678"
NVE = "leaf-of-a-long-name-in-row-7"

STATUS = {
    "domain": "lab.example",
    "ready": False,
    "not_ready": [f"{NVE}: switch and desired state differ, and that has a long reason which needs more than a line"],
    "switches": [
        {
            "nve": name,
            "connected": True,
            "incarnation": "bb588dfe",
            "incarnation_agrees": True,
            "lease_left_s": 18.0,
            "in_sync": True,
            "entries_expected": 40,
            "entries_actual": 40,
            "learned": 3,
            "fault": fault,
            "differences": [],
            "foreign": [],
        }
        for name, fault in (("leaf1", ""), ("leaf2", "the switch does not answer, and nobody knows why"))
    ],
    "keys": [
        {
            "sender": "leaf1",
            "receiver": "leaf2",
            "suite": "CHASKEY12",
            "state": "sending",
            "spi": SPI,
            "generation": 96011235,
            "inherited": True,
            "tunnel_keys": "nva+peer",
            "age_s": 17.3,
            "to_soft_s": 3240.0,
            "to_hard_s": 3960.0,
            "at_receiver": True,
            "at_sender": True,
            "receiver_should": True,
            "receiver_has": True,
            "sender_should": True,
            "sender_has": False,
            "sent_packets": 123456789,
            "sent_bytes": 12345678900,
            "sent_at_most": True,
            "idle_s": 3.0,
        }
    ],
    "reports": [
        {"nve": "leaf1", "age_s": 3.0, "event": "nve-suspended", "detail": "certificate", "over": True},
        {"nve": "leaf1", "age_s": 2.0, "event": "foreign-entry", "detail": "unknown", "over": False},
    ],
}
CLAIM = {
    "vn": "blue",
    "mac": MAC,
    "nve": NVE,
    "port": 2,
    "vlan": 4000,
    "standing": "frozen",
    "has": [V6],
    "asked": [V6, "10.1.0.77"],
    "sequence": 1099511627777,
    "in_its_way": f"{MAC} at {NVE} port 2",
    "why": "",
}
ATTACHMENT = {"vn": "blue", "port": 1, "vlan": 0, "mac": MAC, "ips": [V6, "10.1.0.7"], "host": "hypervisor1"}
STANDING = {"active": True, "state": "active", "why": ""}
VN = {
    "vn": "blue",
    "vni": 16777215,
    "level": "integrity",
    "mtu": 1500,
    "members": [f"leaf{number}" for number in range(9)],
    "mappings": 1000,
    "frozen": 2,
}
COUNTERS = {
    "nve": NVE,
    "drops": {"ingress": {"GENEVE_OPTIONS_LENGTH": {"packets": 12345678901, "bytes": 12345678901234}}},
    "sa_rx": [{"source": "192.0.2.100", "destination": "192.0.2.200", "spi": SPI, "packets": 10**11, "bytes": 10**14}],
    "sa_tx": [{"interface": 65535, "towards": "leaf2", "level": 1, "packets": 12345678902, "bytes": 1}],
    "vap": [],
    "vn": [],
    "last_sequence": {},
    "switch": {
        "engine": {"packet_in_lost": 4, "packets_in": 7},
        "ports": {
            "256": {
                "interface": "underlay0123456",
                "state": "down",
                "reason": "the link of underlay0123456 has no carrier",
                "packets_in": 12345678903,
                "packets_out": 12345678904,
                "send_down": 12345678905,
                "send_beyond_mtu": 2,
                "capture_lost": 6,
            },
            "1": {"interface": "access1", "state": "up", "reason": "", "packets_in": 8, "packets_out": 9},
            "9": {"interface": "", "no_port": 3},
        },
    },
}


def claims(value: dict, which: str = ""):
    return render.claims(filled(d.Mappings, value), which)


def attachments(*values: dict):
    return render.attachments([filled(d.AttachmentLine, one) for one in values])


def keys(values: list[dict]):
    return render_keys.keys(filled(tuple[d.KeyAtEnds, ...], values))


TABLES = {
    "status": (render.status(filled(d.Status, STATUS)), [SPI, "CHASKEY12", "96011235", "bb588dfe", "54 min", "17.3 s"]),
    "keys": (
        render_keys.keys(filled(tuple[d.KeyAtEnds, ...], STATUS["keys"])),
        [SPI, "CHASKEY12", "≤ 12345678900", "lacks it", "3.0 s ago"],
    ),
    "claims": (
        claims({"claims": [CLAIM], "absent": [], "total": 1}),
        [MAC, V6, "1099511627777", NVE],
    ),
    "attachments": (
        attachments(ATTACHMENT | STANDING | {"announced": True}),
        [MAC, V6, "hypervisor1"],
    ),
    "vns": (render.vns([filled(d.VnLine, VN)]), ["16777215", "integrity", "leaf8"]),
    "counters": (
        render.counters((filled(d.SwitchCounters, COUNTERS),)),
        [SPI, "GENEVE_OPTIONS_LENGTH", "12345678901234", "192.0.2.100", "12345678903", "12345678904", "12345678907"],
    ),
}
for name, (parts, values) in TABLES.items():
    TABLES[name] = list(parts), values


def printed(parts, width: int) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=True)
    return output.getvalue()


@pytest.mark.parametrize(("name", "width"), list(itertools.product(TABLES, (40, 80, 132, 10_000))))
def test_no_value_is_broken(name, width):
    parts, values = TABLES[name]
    text = printed(parts, width)
    for value in values:
        assert any(value in line for line in text.splitlines()), text


@pytest.mark.parametrize("name", TABLES)
def test_80_columns_are_enough(name):
    lines = printed([part for part in TABLES[name][0] if isinstance(part, Listing)], 80).splitlines()
    assert all(len(line) <= 80 for line in lines), lines


def test_what_ports_lost_stands_beside_what_was_protected():
    """Nothing is called sent that is not known to have left; causes, and ports that are not up, come first."""
    text = printed(TABLES["counters"][0], 10_000)
    port = f"{NVE}: port 256 (underlay0123456)"
    assert text.splitlines()[:6] == [
        f"{port}: down: the link of underlay0123456 has no carrier",
        f"{port}: 12345678905 frames lost: the port was without its interface, or the link was down (send_down)",
        f"{port}: 2 frames lost: longer than the MTU of the interface (send_beyond_mtu)",
        f"{port}: 6 frames are not in its capture, which has ended: the file took no more (capture_lost)",
        f"{NVE}: port 9: 3 frames lost: the switch has no such port (no_port)",
        f"{NVE}: lost 4 packet-ins: the agent was too slow (packet_in_lost)",
    ]
    lines = [line.split() for line in text.splitlines()]
    assert [NVE, "256", "underlay0123456", "down", "12345678903", "12345678904", "12345678907"] in lines
    assert [NVE, "1", "access1", "up", "8", "9", "0"] in lines
    assert "Sent" not in text
    assert text.index("Protected, by entry") < text.index("Ports (since")


def test_where_there_is_room_it_is_a_table():
    text = printed(TABLES["keys"][0], 10_000)
    assert len(text.splitlines()) == 3  # title, headings, one key


def test_prose_is_wrapped_between_words_and_headings_too():
    table = Listing("Title", ("a long heading", "words"), right=("a long heading",), prose=("words",))
    table.add_row("7", "one two three")
    assert printed([table], 16).splitlines() == [
        "Title",
        " a long  words",
        "heading",
        "      7  one two",
        "         three",
    ]


def test_where_there_is_none_it_is_paragraphs():
    table = Listing("Title", ("serial", "state"))
    table.add_row(SERIAL, "valid")
    table.add_row(SERIAL)
    assert printed([table], 46).splitlines() == ["Title", f"serial {SERIAL}", "  state valid", f"serial {SERIAL}"]


def ordinary_claim(name: str, **more) -> dict:
    claim = CLAIM | {"nve": "leaf2", "mac": MAC, "vlan": 20, "standing": "active", "has": ["10.1.0.1"], "sequence": 7}
    return claim | {"asked": ["10.1.0.1"], "in_its_way": None, "vn": name, **more}


def test_what_is_as_it_should_be_is_a_table_of_80_columns():
    """Without columns in which nothing stands, and without places in pieces."""
    both = [ordinary_claim("blue"), ordinary_claim("red", vlan=0, port=1)]
    assert printed(claims({"claims": both, "absent": [], "total": 2}), 80).splitlines() == [
        "Tenant systems",
        "VN    MAC                place                 standing  has       sequence",
        f"blue  {MAC}  leaf2 port 2 VLAN 20  active    10.1.0.1         7",
        f"red   {MAC}  leaf2 port 1          active    10.1.0.1         7",
    ]
    attached = ATTACHMENT | STANDING | {"ips": ["10.1.0.7"], "host": "", "announced": False}
    assert printed(attachments(attached), 80).splitlines() == [
        "Tenant systems",
        "VN    port  VLAN  MAC                IPs       state   origin",
        f"blue  1     0     {MAC}  10.1.0.7  active  domain file",
    ]
    gone = attached | {"state": "not-served", "why": "VN blue is not served here", "active": False, "announced": True}
    assert "not served: VN blue is not served here" in " ".join(printed(attachments(gone), 120).split())


def test_addresses_of_who_is_absent_are_shown():
    one = {"vn": "blue", "address": "10.1.0.77", "last_owner": f"{MAC} at leaf1 port 1", "barred": ["leaf2", "leaf3"]}
    assert printed(claims({"claims": [], "absent": [one], "total": 0}), 80).splitlines() == [
        "No tenant systems",
        "",
        "Addresses of who is absent",
        "VN    address    last owner                         kept from",
        f"blue  10.1.0.77  {MAC} at leaf1 port 1  leaf2, leaf3",
    ]


def test_what_does_not_fit_is_not_cut_into_columns_of_words():
    frozen = ordinary_claim("blue", standing="frozen", has=[], in_its_way=f"{MAC} at leaf1 port 2")
    assert printed(claims({"claims": [ordinary_claim("blue"), frozen], "absent": [], "total": 2}), 80).splitlines() == [
        "Tenant systems",
        f"VN blue  MAC {MAC}  place leaf2 port 2 VLAN 20  standing active",
        "  has 10.1.0.1  sequence 7",
        f"VN blue  MAC {MAC}  place leaf2 port 2 VLAN 20  standing frozen",
        "  asked for besides 10.1.0.1  sequence 7",
        f"  in its way {MAC} at leaf1 port 2",
    ]


@pytest.mark.parametrize(
    ("heading", "cell", "is_table"),
    [("two words", "a b c", True), ("abc def ghi", "word", False), ("word", "five six seven nine", False)],
)
def test_how_far_headings_and_prose_are_wrapped(heading, cell, is_table):
    table = Listing("Title", ("n", heading), prose=(heading,))
    table.add_row("value", cell)
    assert printed([table], 12).splitlines()[1].startswith("n  ") == is_table


def test_what_there_is_none_of():
    for parts, said in (
        (render_keys.keys([]), "No keys"),
        (render_keys.keys([], " of tunnels of leaf1"), "No keys of tunnels of leaf1"),
        (
            claims({"claims": [], "absent": [], "total": 0}, " of red"),
            "No tenant systems of red",
        ),
        (render.attachments([]), "No tenant systems are attached"),
        (render.counters(()), "No drops"),
        (render_keys.audit(d.KeyAudit(False, (), ())), "No switch answers"),
    ):
        assert printed(parts, 80) == said + "\n"


def test_abbreviations_are_written_as_such():
    text = printed(TABLES["counters"][0], 10_000)
    assert "source       destination  SPI " in text


def test_a_report_of_what_is_over_says_so():
    text = printed(TABLES["status"][0], 80)
    assert "3.0 s ago, leaf1: nve-suspended (over): certificate" in text
    assert "2.0 s ago, leaf1: foreign-entry: unknown" in text


def test_of_a_status_nothing_is_called_none_that_is_not_known():
    loading = filled(d.Status, {"domain": "lab.example", "ready": False, "not_known": ["switches", "keys", "reports"]})
    assert printed(render.status(loading), 80) == "not known here: switches, keys, reports\n"
    unknown = {"nve": "leaf1", "nva": False, "entries_expected": 0, "fault": "not connected"}
    status = filled(d.Status, STATUS | {"switches": [unknown], "reports": [], "not_ready": []})
    row = printed(render.status(status), 200).splitlines()[2]
    assert row.split() == ["leaf1", "no", "-", "-", "-", "no", "-", "-", "-", "not", "connected"]
