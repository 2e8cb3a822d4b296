# SPDX-License-Identifier: Apache-2.0
"""Names and addresses have one spelling: any two that mean the same have one owner, or are refused, at every edge."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nvo3sec.config import example_path, parse_domain
from nvo3sec.domain.mapping import (
    Attach,
    ClaimKey,
    Configured,
    LeaseRenewed,
    MappingState,
    Place,
    Reason,
    Status,
    scope_of,
    statics_of,
    step,
)
from nvo3sec.domain.messages.session import Attachment, AttachmentAnswer, Lookup, Standing
from nvo3sec.domain.overlay.addresses import (
    IpAddress,
    format_mac,
    mac_fault,
    own_addresses,
    parse_ip,
    parse_mac,
    parse_network,
    parse_unicast_mac,
    unicast_fault,
)
from nvo3sec.domain.overlay.names import dns_name_fault, is_dns_name, is_label, label_fault, parse_label
from nvo3sec.domain.switch.frames import ETHERTYPE_IPV6
from nvo3sec.errors import ConfigError, OperatorError, WireError
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.nve.attachments import tenant_methods
from nvo3sec.nve.punts import _wanted
from nvo3sec.p4runtime import PuntReason
from nvo3sec.wire import nva_pb2 as pb
from nvo3sec.wire import up

EXAMPLE = example_path().read_text()
DOCUMENT = yaml.safe_load(EXAMPLE)
WIDE = str.maketrans("0123456789abcdef:.", "０１２３４５６７８９ａｂｃｄｅｆ：．")  # noqa: RUF001  # that is the test
DECORATED = ["{}", " {}", "{}\n", "{}%eth0", "{}%1", "{}/32", "{}/128", "[{}]", "{}.", "\u200b{}", "0x{}"]


def spellings_of_ip(address: IpAddress) -> list[object]:
    """Ways in which an address could be written, right and wrong; all mean `address`, if they mean any."""
    v6 = IPv6Address(address.packed if isinstance(address, IPv6Address) else b"\0" * 10 + b"\xff\xff" + address.packed)
    low = IPv4Address(int(v6) & 0xFFFFFFFF)
    texts = [str(address), str(v6), v6.exploded, v6.exploded.upper()]
    texts += [":".join(f"{int(part, 16):x}" for part in v6.exploded.split(":")[:6]) + f":{low}"]
    texts.append(f"::ffff:{low}")
    if isinstance(address, IPv4Address):
        octets = str(address).split(".")
        texts += [".".join(one.zfill(3) for one in octets), ".".join(f"0{int(one):o}" for one in octets)]
        texts += [str(int(address)), hex(int(address)), f"{octets[0]}.{int(address) & 0xFFFFFF}"]
    else:
        texts.remove(f"::ffff:{low}")
    decorated = [form.format(text) for text in texts for form in DECORATED]
    return [*decorated, *(text.translate(WIDE) for text in texts), int(address), address.packed]


def spellings_of_mac(mac: int) -> list[object]:
    text = format_mac(mac)
    bare = text.replace(":", "")
    texts = [text, text.upper(), text.replace(":", "-"), bare, ".".join(bare[i : i + 4] for i in (0, 4, 8))]
    texts += [":".join(f"{int(one, 16):x}" for one in text.split(":")), text + ":00", f"0x{bare}"]
    return [*texts, *(f" {one}" for one in texts), *(one.translate(WIDE) for one in texts), mac]


def spellings_of_name(name: str) -> list[object]:
    return [name, name.upper(), name.title(), name + ".", name + ".lab.example", f" {name}", name.translate(WIDE)]


IPS = st.integers(0, (1 << 32) - 1).map(IPv4Address) | st.integers(0, (1 << 128) - 1).map(IPv6Address)
ODD_IPS = st.sampled_from(
    [
        *map(IPv4Address, ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1")),  # noqa: S104
        *map(IPv4Address, ("10.1.0.1", "169.254.0.1", "192.0.2.1")),
        *map(IPv6Address, ("::", "::1", "::10.1.0.1", "::ffff:10.1.0.1", "ff02::1", "fe80::1", "fd00:1::1")),
    ]
)
MACS = st.integers(0, (1 << 48) - 1)


def tried(parse: Any, spelling: object) -> Any:
    """What a spelling is taken for; None if it is refused."""
    with contextlib.suppress(ValueError):
        return parse(spelling)
    return None


class TestParsers:
    @settings(max_examples=300)
    @given(IPS | ODD_IPS)
    def test_ip(self, address):
        taken = {one for one in (tried(parse_ip, spelling) for spelling in spellings_of_ip(address)) if one is not None}
        assert taken <= {address}
        assert (address in taken) == (unicast_fault(address) is None)
        assert all(str(one) == str(address) and hash(one) == hash(address) for one in taken)

    @settings(max_examples=300)
    @given(MACS)
    def test_mac(self, mac):
        assert {tried(parse_mac, spelling) for spelling in spellings_of_mac(mac)} <= {mac, None}
        assert tried(parse_mac, format_mac(mac).upper()) == mac
        assert (tried(parse_unicast_mac, format_mac(mac)) is None) == (mac_fault(mac) is not None)

    @given(st.text(max_size=70))
    def test_names(self, text):
        assert (label_fault(text) is None) == is_label(text)
        assert (dns_name_fault(text) is None) == is_dns_name(text)
        assert (label_fault(text) or "x").isprintable()

    @given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
    def test_one_spelling_of_a_name(self, name):
        assert {tried(parse_label, spelling) for spelling in spellings_of_name(name)} <= {name, None}
        assert parse_label(name) == name

    @given(IPS, st.integers(0, 128))
    def test_subnets(self, address, prefix):
        assume(prefix <= address.max_prefixlen)
        network = tried(parse_network, f"{address}/{prefix}")
        if network is not None:
            assert str(network) == f"{address}/{prefix}"
            assert all(one in network for one in own_addresses(network))
            assert tried(parse_network, f"{address}/0{prefix}") is None


# --- edges: each is given a spelling, and says what it took it for, or None ------------------------------------------


def in_a_file(field: str, spelling: object) -> Any:
    """Of a tenant system in a domain file."""
    document = copy.deepcopy(DOCUMENT)
    document["reservations"] = []
    document["tenant_systems"] = [
        {"name": "one", "vn": "blue", "nve": "leaf1", "port": 1, "mac": "02:cc:00:00:00:01", "ips": []}
        | {field: [spelling] if field == "ips" else spelling}
    ]
    try:
        (system,) = parse_domain(yaml.safe_dump(document), "file", Path("/")).tenant_systems
    except ConfigError:
        return None
    return system.ips[0] if field == "ips" else getattr(system, field)


def in_a_reservation(field: str, spelling: object) -> Any:
    document = copy.deepcopy(DOCUMENT)
    document["reservations"] = [{"vn": "blue", field: spelling, "nves": ["leaf1", "leaf2", "leaf3"]}]
    try:
        return parse_domain(yaml.safe_dump(document), "file", Path("/")).reservations[0].address
    except ConfigError:
        return None


class Agent:
    """What the console of an agent speaks to."""

    def __init__(self) -> None:
        self.announced: list[Any] = []
        self.attachments: tuple[Attachment, ...] = ()

    def view(self) -> Any:
        return SimpleNamespace(name="leaf1", vns=[SimpleNamespace(name="blue", vni=5001)])

    async def announce(self, announcement: Any) -> AttachmentAnswer:
        self.announced.append(announcement)
        return AttachmentAnswer(Standing.ACTIVE)


def in_a_command(field: str, spelling: object) -> Any:
    """Of `nvo3sec nve attach`, or of whoever else asks an agent in its run directory."""
    agent: Any = Agent()
    words: dict[str, Any] = {"vn": "blue", "port": 1, "vlan": 0, "mac": "02:cc:00:00:00:01", "ips": []}
    words[field] = [spelling] if field == "ips" else spelling
    try:
        asyncio.run(tenant_methods(agent)["attach"](**words))
    except OperatorError:
        return None
    (one,) = agent.announced
    # What an honest agent sends is never what the NVA takes for malformed.
    assert up.decode_attach(up.encode_attach(bytes(16), one)).announcement.ips == one.ips
    return one.ips[0] if field == "ips" else getattr(one, field)


def in_memory(directory: Path, field: str, spelling: object) -> Any:
    """Of the file of an agent that is restarted."""
    path = directory / "agent.json"
    AgentMemory("leaf1", path).put(Attachment(1, 0, 5001, 0x02CC00000001))
    content = json.loads(path.read_text())
    content["attachments"][0][field] = [spelling] if field == "ips" else spelling
    try:
        path.write_text(json.dumps(content))
        (one,) = AgentMemory("leaf1", path).attachments.values()
    except (OperatorError, TypeError):  # TypeError: JSON has no bytes
        return None
    finally:
        path.unlink()
    return one.ips[0] if field == "ips" else getattr(one, field)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("memory")


EDGES = {
    "file": lambda _place, field, spelling: in_a_file(field, spelling),
    "reservation": lambda _place, field, spelling: in_a_reservation({"ips": "ip"}.get(field, field), spelling),
    "command": lambda _place, field, spelling: in_a_command(field, spelling),
    "memory": in_memory,
}


@pytest.mark.parametrize("edge", EDGES)
class TestEdges:
    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def test_ip(self, edge, place, data):
        address = data.draw(IPS | ODD_IPS)
        few = data.draw(st.lists(st.sampled_from(spellings_of_ip(address)), min_size=2, max_size=2))
        taken = {one for one in (EDGES[edge](place, "ips", spelling) for spelling in few) if one is not None}
        assert taken <= {address}
        assert not taken or unicast_fault(address) is None

    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def test_mac(self, edge, place, data):
        mac = data.draw(MACS)
        few = data.draw(st.lists(st.sampled_from(spellings_of_mac(mac)), min_size=2, max_size=2))
        taken = {EDGES[edge](place, "mac", spelling) for spelling in few}
        assert taken <= {mac, None}
        assert taken == {None} or mac_fault(mac) is None

    @pytest.mark.parametrize("spelling", ["fe80::1%eth0", "::ffff:10.1.0.9", "10.1.0.09", "255.255.255.255", 9])
    def test_odd_ones(self, edge, place, spelling):
        assert EDGES[edge](place, "ips", spelling) is None

    def test_what_is_right(self, edge, place):
        assert EDGES[edge](place, "ips", "FD00:1:0::77") == IPv6Address("fd00:1::77")
        assert EDGES[edge](place, "ips", "169.254.0.7") == IPv4Address("169.254.0.7")
        assert EDGES[edge](place, "mac", "02:CC:00:00:00:0A") == 0x02CC0000000A


class TestWords:
    """What else may be said in a run directory."""

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            ({"mac": "02-cc-00-00-00-01"}, "with colons: 02:cc:00:00:00:01"),
            ({"mac": "03:cc:00:00:00:01"}, "a group address"),
            ({"ips": ["fe80::1%eth0"]}, "has a zone"),
            ({"ips": "10.1.0.9"}, "must be a list"),
            ({"host": "HV1"}, "write hv1"),
            ({"host": "hv1.dc1.example.com"}, "without the domain: write hv1"),
            ({"port": 256}, "port 256: must be a number from 1 to 255"),
            ({"port": True}, "must be a number"),
            ({"vlan": 4095}, "from 0 to 4094"),
            ({"vn": "Blue"}, "does not serve VN Blue; it serves: blue"),
        ],
    )
    def test_refused_before_the_nva_hears_of_it(self, words, why):
        agent: Any = Agent()
        known = {"vn": "blue", "port": 1, "vlan": 0, "mac": "02:cc:00:00:00:01", "ips": []}
        with pytest.raises(OperatorError) as refused:
            asyncio.run(tenant_methods(agent)["attach"](**known | words))
        assert why in str(refused.value)
        assert not agent.announced

    def test_successors(self):
        agent: Any = Agent()
        with pytest.raises(OperatorError, match="write leaf2"):
            asyncio.run(tenant_methods(agent)["detach"]("blue", 1, 0, "02:cc:00:00:00:01", successor="Leaf2."))
        assert not agent.announced


class TestMessages:
    @given(IPS | ODD_IPS)
    def test_one_form(self, address):
        """By what an attachment says: 4 bytes or 16, and never one for the other."""
        as_ipv6 = address.packed if isinstance(address, IPv6Address) else b"\0" * 10 + b"\xff\xff" + address.packed
        attachments = [pb.Attachment(port=1, vni=5001, mac=1, ips=[raw]) for raw in (address.packed, as_ipv6)]
        short, long = (pb.AttachRequest(session=bytes(16), attachment=one).SerializeToString() for one in attachments)
        if isinstance(address, IPv4Address) or address.ipv4_mapped is not None:
            with pytest.raises(WireError, match="IPv4 address in the form of IPv6"):
                up.decode_attach(long)
        if not (isinstance(address, IPv6Address) and address.ipv4_mapped):
            assert up.decode_attach(short).announcement.ips == (address,)

    def test_lookups(self):
        raw = pb.LookUpRequest(session=bytes(16), vni=5001, ip=b"\0" * 10 + b"\xff\xff\x0a\x01\x00\x01")
        with pytest.raises(WireError, match="IPv4 address in the form of IPv6"):
            up.decode_look_up(raw.SerializeToString())
        assert up.decode_look_up(up.encode_look_up(bytes(16), Lookup(1, ip=IPv4Address("10.1.0.1")))).query.ip


class TestPunts:
    """A tenant asks for what nobody can have: its agent asks the NVA for nothing."""

    @staticmethod
    def arp(target: str) -> Any:
        sender = bytes.fromhex("02aa00000001")
        body = bytes.fromhex("0001080006040001") + sender + IPv4Address("10.1.0.1").packed + bytes(6)
        return TestPunts.packet(b"\xff" * 6 + sender + b"\x08\x06" + body + IPv4Address(target).packed)

    @staticmethod
    def packet(frame: bytes, reason: int = PuntReason.UNKNOWN_NEIGHBOR) -> Any:
        class Packet(dict[str, int]):
            pass

        found = Packet(vni=5001, reason=reason)
        found.frame = frame  # type: ignore[attr-defined]
        return found

    @staticmethod
    def solicitation(target: str) -> Any:
        sender, source = bytes.fromhex("02aa00000001"), IPv6Address("fd00:1::1").packed
        there = IPv6Address("ff02::1:ff00:1").packed
        message = IPv6Address(target).packed + b"\x01\x01" + sender
        data = source + there + (32).to_bytes(4, "big") + bytes([0, 0, 0, 58]) + b"\x87\0\0\0" + bytes(4) + message
        total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        icmp = b"\x87\0" + (~total & 0xFFFF).to_bytes(2, "big") + bytes(4) + message
        ip = b"\x60\0\0\0" + (32).to_bytes(2, "big") + bytes([58, 255]) + source + there
        return TestPunts.packet(b"\x33\x33\xff\0\0\1" + sender + ETHERTYPE_IPV6.to_bytes(2, "big") + ip + icmp)

    @pytest.mark.parametrize("target", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])  # noqa: S104
    def test_arp(self, target):
        assert _wanted(self.arp("10.1.0.2")).ip == IPv4Address("10.1.0.2")
        assert _wanted(self.arp(target)) is None

    @pytest.mark.parametrize("target", ["::", "::1", "::ffff:10.1.0.1", "ff02::1", "::10.1.0.1"])
    def test_solicitations(self, target):
        assert _wanted(self.solicitation("fe80::2")).ip == IPv6Address("fe80::2")
        assert _wanted(self.solicitation(target)) is None

    @pytest.mark.parametrize("target", ["ff" * 6, "00" * 6, "01005e000001"])
    def test_destinations(self, target):
        frame = bytes.fromhex(target) + bytes.fromhex("02aa00000001") + b"\x08\x00" + bytes(46)
        assert _wanted(self.packet(frame, PuntReason.UNKNOWN_DESTINATION)) is None


def domain_with(**vn: Any) -> Any:
    document = copy.deepcopy(DOCUMENT)
    document["vns"][0] |= vn
    return parse_domain(yaml.safe_dump(document), "file", Path("/"))


def state_of(domain: Any, state: MappingState | None = None) -> MappingState:
    scope = scope_of(domain)
    state = step(state or MappingState(), Configured(scope, statics_of(domain, scope)), 0.0).state
    for nve in domain.nves:
        state = step(state, LeaseRenewed(nve.name, 30.0), 0.0).state
    return state


class TestNobodys:
    """What no tenant system has is not had by announcing it either."""

    FREE = 0x02CC00000001

    @pytest.mark.parametrize(
        ("mac", "ips"),
        [
            (0x020000000100, ()),  # leaf1's own, on the underlay
            (0x020000000101, ()),
            (FREE | 1 << 40, ()),
            (0, ()),
            (FREE, ("10.1.0.255",)),
            (FREE, ("10.1.0.0", "10.1.0.77")),
            (FREE, ("fd00:1::",)),
            (FREE, ("255.255.255.255",)),
            (FREE, ("::ffff:10.1.0.77",)),
            (FREE, ("fe80::1%1",)),
        ],
    )
    def test_announced(self, mac, ips):
        state = state_of(domain_with(subnets=["10.1.0.0/24", "fd00:1::/64"]))
        addresses = tuple(IPv6Address(ip) if ":" in ip else IPv4Address(ip) for ip in ips)
        refused = step(state, Attach("leaf1", 1, 0, 5001, mac, addresses), 1.0)
        assert refused.outcome.status is Status.REFUSED
        assert refused.outcome.reason is Reason.BAD_ADDRESS
        good = step(state, Attach("leaf1", 1, 0, 5001, self.FREE, (IPv4Address("10.1.0.77"),)), 1.0)
        assert good.outcome.status is Status.ACTIVE

    def test_announced_before_it_was_said(self):
        """What a file makes nobody's is taken from whoever had it."""
        state = state_of(domain_with(subnets=[]))
        state = step(state, Attach("leaf1", 1, 0, 5001, self.FREE, (IPv4Address("10.1.0.255"),)), 1.0).state
        key = ClaimKey(Place("leaf1", 1, 0), self.FREE)
        assert state.claims[key].granted
        assert key not in state_of(domain_with(subnets=["10.1.0.0/24"]), state).claims
