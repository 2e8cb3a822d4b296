# SPDX-License-Identifier: Apache-2.0
"""Random frames of tenants: IPv4, IPv6, ARP and others, to hosts, groups and nobody, of all lengths."""

from __future__ import annotations

import random

from nvo3ref import frames as f
from nvo3ref.receiver import LONGEST_FRAME, SHORTEST_FRAME

from differential.worlds import Station, World

LARGEST = 1600
ALL_IPV6 = bytes.fromhex("333300000001")
ICMPV6, SOLICITATION, ADVERTISEMENT = 58, 135, 136
RESERVED = bytes.fromhex("0180c2000000")
LENGTHS_OF_INTEREST = (
    SHORTEST_FRAME,
    17,
    31,
    32,
    33,
    40,
    41,
    42,
    43,
    47,
    48,
    49,
    63,
    64,
    79,
    80,
    81,
    1500,
    1518,
    LONGEST_FRAME - 1,
    LONGEST_FRAME,
    LONGEST_FRAME + 1,
    LONGEST_FRAME + 4,
    LONGEST_FRAME + 5,
)


def length(chooser: random.Random) -> int:
    """Mostly short: a switch under test spends its time on blocks otherwise."""
    way = chooser.random()
    if way < 0.80:
        return chooser.randint(60, 100)
    if way < 0.92:
        return chooser.randint(16, 60)
    if way < 0.97:
        return chooser.choice(LENGTHS_OF_INTEREST)
    return chooser.randint(100, LARGEST)


def _icmpv6_checksum(source: bytes, destination: bytes, body: bytes) -> bytes:
    """Over pseudo-header and message, the checksum field being zero (RFC 8200 8.1)."""
    pseudo = source + destination + len(body).to_bytes(4, "big") + ICMPV6.to_bytes(4, "big")
    return f.checksum(pseudo + body).to_bytes(2, "big")


class Tenants:
    """The frames that the stations of one world send."""

    def __init__(self, world: World, chooser: random.Random) -> None:
        self._world = world
        self._chooser = chooser
        self.local = [one for one in world.stations if one.vap is not None]

    def frame(self, source: Station, vni: int) -> bytes:
        """Untagged, as it would travel in a tunnel."""
        c = self._chooser
        target = c.choice([one for one in self._world.stations if one.vni == vni] or self._world.stations)
        way = c.random()
        if way < 0.45:
            return self._ipv4(source, target)
        if way < 0.57:
            return self._ipv6(source, target)
        if way < 0.68:
            return self._neighbor_discovery(source, target)
        if way < 0.80:
            return self._arp(source, target)
        if way < 0.85:
            return self._vrrp(source)
        if way < 0.90:
            return self._service(source, target)
        if way < 0.92:
            return self._disguise(source, target)
        ether_type = c.choice(
            (
                f.ETHERTYPE_LOCAL,
                f.ETHERTYPE_LOCAL,
                0x8847,
                0x0000,
                0xFFFF,
                0x0026,
                f.ETHERTYPE_CTAG,
                f.ETHERTYPE_STAG,
                c.getrandbits(16),
            )
        )
        return f.ethernet(
            self._destination(target), self._source(source), ether_type, c.randbytes(max(2, length(c) - 14))
        )

    def _destination(self, target: Station) -> bytes:
        c = self._chooser
        way = c.random()
        if way < 0.70:
            return target.mac
        if way < 0.85:
            return c.choice((f.BROADCAST, ALL_IPV6, b"\x01" + c.randbytes(5)))
        if way < 0.92:
            return c.randbytes(6)
        return c.choice((RESERVED[:5] + bytes((c.randrange(18),)), bytes(6), target.mac))

    def _source(self, source: Station) -> bytes:
        c = self._chooser
        return source.mac if c.random() < 0.95 else c.choice((c.randbytes(6), f.BROADCAST, bytes(6), ALL_IPV6))

    def _ip(self, own: bytes) -> bytes:
        return own if self._chooser.random() < 0.95 else self._chooser.randbytes(len(own))

    def _ipv4(self, source: Station, target: Station) -> bytes:
        c = self._chooser
        protocol = c.choice((f.UDP, f.UDP, f.TCP, f.SCTP, f.ICMP, c.randrange(256)))
        fragment = 0x4000 if c.random() < 0.85 else c.choice((0, 0x2000, 1, 0x1FFF, 0x8000))
        options = b"" if c.random() < 0.9 else bytes(4 * c.randint(1, 10))
        payload = c.randbytes(max(0, length(c) - 34 - len(options)))
        packet = f.ipv4(
            self._ip(source.ip),
            target.ip,
            payload,
            protocol,
            c.choice((0, 1, 2, 3, c.randrange(256))),
            fragment,
            options,
        )
        if c.random() < 0.05:
            packet = packet[:10] + c.randbytes(2) + packet[12:]
        return f.ethernet(self._destination(target), self._source(source), f.ETHERTYPE_IPV4, packet)

    def _ipv6(self, source: Station, target: Station) -> bytes:
        c = self._chooser
        packet = f.ipv6(
            self._ip(source.ip6),
            target.ip6,
            c.randbytes(max(0, length(c) - 54)),
            c.choice((6, 17, 58)),
            c.choice((0, 1, 2, 3, c.randrange(256))),
            c.choice((0, c.randrange(1 << 20))),
        )
        return f.ethernet(self._destination(target), self._source(source), f.ETHERTYPE_IPV6, packet)

    def _arp(self, source: Station, target: Station) -> bytes:
        c = self._chooser
        mac = self._source(source)
        sender = mac if c.random() < 0.93 else c.randbytes(6)
        asked = c.choice((target.ip, target.ip, source.ip, source.ip, c.randbytes(4)))
        body = f.arp(c.choice((1, 1, 1, 2, 0, 3)), sender, self._ip(source.ip), bytes(6), asked)
        if c.random() < 0.1:
            at = c.randrange(len(body))
            body = body[:at] + c.randbytes(1) + body[at + 1 :]
        destination = c.choice((f.BROADCAST, f.BROADCAST, self._destination(target)))
        whole = f.ethernet(destination, mac, f.ETHERTYPE_ARP, body)
        way = c.random()
        if way < 0.4:
            return f.padded(whole)
        if way < 0.8:
            return whole + c.randbytes(c.choice((0, 0, 0, 1, 2, 4, 6, 8)))
        return whole[: c.randint(SHORTEST_FRAME, len(whole))]

    def _vrrp(self, source: Station) -> bytes:
        """An advertisement of VRRP, or something that is not quite one."""
        c = self._chooser
        is_ipv6 = c.random() < 0.5
        body = f.vrrp(c.choice((2, 3)), *(c.choice((source.ip6,) if is_ipv6 else (source.ip,)),) * c.randint(0, 5))
        ttl, protocol = c.choice((255, 255, 255, 254)), c.choice((f.VRRP, f.VRRP, f.VRRP, 113))
        group = f.VRRP_GROUP_IPV6 if is_ipv6 else f.VRRP_GROUP
        if c.random() < 0.2:
            at = c.randrange(len(group))
            group = group[:at] + c.randbytes(1) + group[at + 1 :]
        if is_ipv6:
            packet = f.ipv6(self._ip(source.ip6), group, body, protocol, hop_limit=ttl)
            whole = f.ethernet(f.VRRP_MAC_IPV6, self._source(source), f.ETHERTYPE_IPV6, packet)
        else:
            options = bytes(4) if c.random() < 0.1 else b""
            packet = f.ipv4(self._ip(source.ip), group, body, protocol, options=options, ttl=ttl)
            whole = f.ethernet(f.VRRP_MAC, self._source(source), f.ETHERTYPE_IPV4, packet)
        way = c.random()
        if way < 0.3:
            return f.padded(whole)
        return whole if way < 0.9 else whole[: c.randint(SHORTEST_FRAME, len(whole))]

    def _neighbor_discovery(self, source: Station, target: Station) -> bytes:
        """A solicitation, an advertisement or what only routers send; right, or with something about it that is not."""
        c = self._chooser
        mac = self._source(source)
        kind = c.choice((SOLICITATION, SOLICITATION, SOLICITATION, ADVERTISEMENT, ADVERTISEMENT, 133, 134, 137))
        sender = c.choice((source.ip6, source.ip6, source.ip6, bytes(16), c.randbytes(16)))
        asked = target.ip6 if kind != ADVERTISEMENT else c.choice((sender, sender, source.ip6, target.ip6))
        group = bytes.fromhex("ff0200000000000000000001ff") + asked[13:]
        body = bytes((kind, c.choice((0, 0, 0, 0, 0, 1)), 0, 0)) + bytes((c.choice((0, 0x60)), 0, 0, 0)) + asked
        if c.random() < 0.8:
            body += bytes((2 if kind == ADVERTISEMENT else 1, 1)) + (mac if c.random() < 0.9 else c.randbytes(6))
        elif c.random() < 0.3:
            body += c.randbytes(c.choice((4, 8, 16)))
        while c.random() < 0.3:
            body += self._option(kind, mac)
        receiver = group if c.random() < 0.7 else target.ip6
        body = body[:2] + _icmpv6_checksum(sender, receiver, body) + body[4:]
        next_header = ICMPV6
        if c.random() < 0.06:
            body = bytes((ICMPV6, 0)) + bytes(6) + body
            next_header = c.choice((0, 43, 44, 51, 60, 135))
        elif c.random() < 0.06:
            body, next_header = self._behind_headers(body, ICMPV6)
        packet = f.ipv6(sender, receiver, body, next_header)
        packet = packet[:7] + bytes((c.choice((255, 255, 255, 255, 255, 64)),)) + packet[8:]
        if c.random() < 0.06:
            at = c.randrange(len(packet))
            packet = packet[:at] + c.randbytes(1) + packet[at + 1 :]
        if c.random() < 0.06:
            packet = packet + c.randbytes(c.randint(1, 8)) if c.random() < 0.5 else packet[: -c.randint(1, 8)]
        destination = b"\x33\x33" + group[12:] if c.random() < 0.8 else self._destination(target)
        return f.ethernet(destination, mac, f.ETHERTYPE_IPV6, packet)

    def _option(self, kind: int, mac: bytes) -> bytes:
        """One that is not known, of any length; or that of the sender, of another, or of no length at all."""
        c = self._chooser
        way, own = c.random(), 2 if kind == ADVERTISEMENT else 1
        if way < 0.6:
            words = c.randint(1, 4)
            return bytes((c.randrange(3, 256), words)) + c.randbytes(8 * words - 2)
        return bytes((c.choice((own, own, 1, 2)), c.choice((1, 1, 1, 0, 2)))) + (mac if way < 0.9 else c.randbytes(6))

    def _behind_headers(self, body: bytes, upper: int) -> tuple[bytes, int]:
        """(payload, first next header): one to four extension headers in front; some cut, some of later fragments."""
        c = self._chooser
        for _ in range(c.randint(1, 4)):
            kind = c.choice((0, 43, 44, 44, 51, 60))
            words = 0 if kind == 44 else c.choice((0, 0, 1, 2, 5))
            field = words if kind != 51 else 2 * words + c.choice((0, 0, 0, 1))
            rest = (c.choice((b"\0\0", b"\0\1", b"\0\x09")) if kind == 44 else bytes(2)) + bytes(4 + 8 * words)
            body, upper = bytes((upper, field)) + rest + body, kind
        return (body if c.random() < 0.9 else body[: c.randrange(len(body))]), upper

    def _service(self, source: Station, target: Station) -> bytes:
        """What only some may send: DHCP of servers, redirects and advertisements of routers, with whatever in front."""
        c = self._chooser
        cast = c.choice((67, 68, 546, 547, 53)), c.choice((67, 68, 546, 547, 53))
        datagram = f.udp(*cast, c.randbytes(c.choice((0, 1, 8, 60))))
        redirect = bytes((c.choice((0, 5, 8, 9)), 0)) + c.randbytes(c.choice((2, 6, 30)))
        if c.random() < 0.5:
            body, protocol = c.choice(((datagram, f.UDP), (redirect, f.ICMP)))
            options = bytes(4 * c.choice((0, 0, 1, 2, 3, 4, 7, 10)))
            packet = f.ipv4(
                self._ip(source.ip), target.ip, body, protocol, fragment=c.choice((0x4000, 0x2000, 1)), options=options
            )
            return f.ethernet(self._destination(target), self._source(source), f.ETHERTYPE_IPV4, packet)
        body, upper = self._behind_headers(datagram, f.UDP) if c.random() < 0.7 else (datagram, f.UDP)
        packet = f.ipv6(self._ip(source.ip6), target.ip6, body, upper, label=c.choice((0, 0, 7)))
        return f.ethernet(self._destination(target), self._source(source), f.ETHERTYPE_IPV6, packet)

    def _disguise(self, source: Station, target: Station) -> bytes:
        """IEEE 802.2 in all lengths, SNAP among it."""
        c = self._chooser
        kinds = (0x0800, 0x0806, 0x86DD, 0x8035, 0x8100, 0x88A8, 0x80F3)
        body = bytes.fromhex(c.choice(("aaaa03", "abaa13", "aaaae3", "060603", "989803", "424203")))
        body += bytes.fromhex(c.choice(("000000", "0000f8", "00000c"))) + c.choice(kinds).to_bytes(2, "big")
        body += c.randbytes(c.choice((0, 28, 40)))
        if c.random() < 0.2:
            body = body[: c.randrange(2, len(body))]
        size = c.choice((len(body), len(body), 0, 0x05FF, 0x0600))
        return f.ethernet(self._destination(target), self._source(source), size, body)

    def on_access_link(self) -> tuple[int, bytes]:
        """(port, frame) as a station's link carries it; sometimes with another tag, or one too many."""
        c = self._chooser
        station = c.choice(self.local)
        assert station.vap is not None
        frame = self.frame(station, station.vni)
        way = c.random()
        port, vlan = station.vap.port, station.vap.vlan
        if way < 0.85:
            frame = f.tagged(frame, vlan, pcp=c.choice((0, 7))) if vlan or way < 0.05 else frame
        elif way < 0.90:
            frame = f.tagged(frame, c.choice((0, 1, 10, 20, 4094, 4095)))
        elif way < 0.95:
            frame = f.tagged(f.tagged(frame, c.randrange(4096), c.choice((f.ETHERTYPE_CTAG, f.ETHERTYPE_STAG))), vlan)
        else:
            frame = f.tagged(frame, vlan, f.ETHERTYPE_STAG)
        return port, frame
