# SPDX-License-Identifier: Apache-2.0
"""What the schema of a single field cannot see: that the parts of a domain file fit each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from nvo3sec.config.convert import port_towards, underlay_macs
from nvo3sec.config.fault import Fault
from nvo3sec.config.mtu import Serving, check_mtu, who_serves
from nvo3sec.config.schema import DomainFile, NveSection, TenantSystemSection, hard_limit
from nvo3sec.config.yaml_lines import Path
from nvo3sec.domain.keys.suite_limits import SUITE_LIMITS
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac, own_addresses
from nvo3sec.domain.overlay.model import REPLICAS_PER_PORT_LIMIT, Level
from nvo3sec.domain.overlay.mtu import Family

SOCKET_PATH_LIMIT = 107
"""Bytes of a UNIX socket path that Linux takes (sun_path without its terminator)."""


def cross_check(parsed: DomainFile) -> Iterator[Fault]:
    """Every contradiction of a file whose single fields are well-formed."""
    yield from cross_check_names(parsed)
    yield from check_mtu(parsed)


def cross_check_names(parsed: DomainFile) -> Iterator[Fault]:
    """Every contradiction but MTUs that are too small."""
    yield from _unique(((("vns", i, "name"), vn.name) for i, vn in enumerate(parsed.vns)), "VN name")
    yield from _unique(((("vns", i, "vni"), vn.vni) for i, vn in enumerate(parsed.vns)), "VNI")
    yield from _unique(((("nves", i, "name"), nve.name) for i, nve in enumerate(parsed.nves)), "NVE name")
    yield from _unique(((("nves", i, "p4runtime"), n.p4runtime) for i, n in enumerate(parsed.nves)), "switch")
    yield from _unique(
        ((("nves", i, "underlay", "address"), one) for i, n in enumerate(parsed.nves) for one in n.underlay.address),
        "underlay address",
    )
    yield from _unique(
        ((("tenant_systems", i, "name"), system.name) for i, system in enumerate(parsed.tenant_systems)),
        "tenant system name",
    )
    nves, vns = {nve.name for nve in parsed.nves}, {vn.name for vn in parsed.vns}
    for index, nve in enumerate(parsed.nves):
        yield from _check_underlay(nves, index, nve)
        yield from _check_vaps(vns, index, nve)
    yield from _check_port_macs(parsed)
    serving = who_serves(parsed)
    yield from _check_families(parsed, serving)
    yield from _check_replicas(parsed, serving)
    yield from _check_tenant_systems(parsed)
    yield from _check_tunnels(parsed)
    yield from _check_reservations(parsed, serving)
    yield from _check_shared(parsed)
    yield from _check_sources(parsed)
    yield from _check_whose(parsed)
    yield from _check_key_limits(parsed)


def _check_key_limits(parsed: DomainFile) -> Iterator[Fault]:
    """That no key may process more than its suite allows; of the suites that the file demands."""
    life = parsed.lifetimes
    packets = hard_limit(life.key_soft_packets, life.key_hard_packets)
    octets = hard_limit(life.key_soft_bytes, life.key_hard_bytes)
    levels = {level.word: level for level in Level}
    demanded = {levels[one.level]: f"VN {one.name}" for one in reversed(parsed.vns)}
    demanded = {levels[one.level]: f"tunnel {' - '.join(one.between)}" for one in parsed.tunnels} | demanded
    for level, who in sorted(demanded.items()):
        limit = SUITE_LIMITS[level.suite]
        if (processed := limit.processed(packets, octets)) <= limit.most:
            continue
        # Whichever alone is too much; if it is only both together, the bytes.
        name = "key_hard_packets" if limit.processed(packets, 0) > limit.most else "key_hard_bytes"
        yield Fault(
            ("lifetimes", name),
            f"a key of {limit.name}, which {who} has for {level.word}, may process {limit.describe()}; with"
            f" key_hard_packets {packets} and key_hard_bytes {octets} it could process {processed}",
        )


def _check_whose(parsed: DomainFile) -> Iterator[Fault]:
    """That nothing is a tenant's which is not in its VN: MAC addresses of the underlay, and those of whole subnets."""
    underlay = underlay_macs(parsed)
    nobodys = {(vn.name, ip): subnet for vn in parsed.vns for subnet in vn.subnets for ip in own_addresses(subnet)}
    places: list[tuple[Path, str, int | IpAddress]] = []
    for index, system in enumerate(parsed.tenant_systems):
        path: Path = ("tenant_systems", index)
        places.append(((*path, "mac"), system.vn, system.mac))
        places += [((*path, "ips", position), system.vn, ip) for position, ip in enumerate(system.ips)]
    for index, one in enumerate(parsed.reservations):
        places.append((("reservations", index, "mac" if one.ip is None else "ip"), one.vn, one.address))
    for index, shared in enumerate(parsed.shared_addresses):
        path = ("shared_addresses", index)
        places += [((*path, "ips", position), shared.vn, ip) for position, ip in enumerate(shared.ips)]
        places += [((*path, "mac"), shared.vn, mac) for mac in (shared.mac,) if mac is not None]
        for number, member in enumerate(shared.members):
            where = (*path, "members", number)
            places += [((*where, "mac"), shared.vn, mac) for mac in (member.mac,) if mac is not None]
            places += [((*where, "sources", position), shared.vn, ip) for position, ip in enumerate(member.sources)]
    for path, vn, address in places:
        if isinstance(address, int):
            if address in underlay:
                yield Fault(path, f"{format_mac(address)} is on the underlay; no tenant system has it")
        elif (subnet := nobodys.get((vn, address))) is not None:
            yield Fault(path, f"{address} is the address of all or none in {subnet}; a unicast address is needed")


def _unique(items: Iterable[tuple[Path, object]], what: str) -> Iterator[Fault]:
    seen: dict[object, Path] = {}
    for path, value in items:
        if value in seen:
            yield Fault(path, f"{what} {value} is already used by {seen[value][0]}[{seen[value][1]}]")
        seen.setdefault(value, path)


def _choices(names: Iterable[str]) -> str:
    return "one of: " + ", ".join(sorted(names)) if names else "there is none"


def _check_underlay(nves: set[str], index: int, nve: NveSection) -> Iterator[Fault]:
    base: Path = ("nves", index, "underlay")
    seen: set[str] = set()
    for position, route in enumerate(nve.underlay.routes):
        path = (*base, "routes", position, "peer")
        if route.peer not in nves or route.peer == nve.name:
            yield Fault(path, f"{route.peer} is not another NVE of this file; {_choices(nves - {nve.name})}")
        elif route.peer in seen:
            yield Fault(path, f"{route.peer} has a route already")
        seen.add(route.peer)
        if route.port is not None and route.port != nve.underlay.port and route.mac is None:
            yield Fault((*path[:-1], "port"), "another port than underlay.port needs a mac of its own")
    if nve.underlay.zero_checksum and all(Family.of(address) is Family.IPV4 for address in nve.underlay.address):
        yield Fault((*base, "zero_checksum"), "is of tunnels over IPv6; this NVE has no address of that")
    if nve.p4runtime.removeprefix("unix:").encode()[SOCKET_PATH_LIMIT:]:
        yield Fault(("nves", index, "p4runtime"), f"a socket path has at most {SOCKET_PATH_LIMIT} bytes")


def _check_port_macs(parsed: DomainFile) -> Iterator[Fault]:
    """A port has one MAC address, and no address has two ports."""
    owners: dict[int, tuple[str, int]] = {}
    for index, nve in enumerate(parsed.nves):
        ports: dict[int, int] = {}
        sides: list[tuple[Path, int, int]] = [(("nves", index, "underlay", "mac"), nve.underlay.port, nve.underlay.mac)]
        for position, route in enumerate(nve.underlay.routes):
            port, mac = port_towards(nve, route.peer)
            sides.append((("nves", index, "underlay", "routes", position), port, mac))
        for path, port, mac in sides:
            if ports.setdefault(port, mac) != mac:
                yield Fault(path, f"port {port} has the MAC address {format_mac(ports[port])} already")
            elif owners.setdefault(mac, (nve.name, port)) != (nve.name, port):
                other, other_port = owners[mac]
                yield Fault(path, f"MAC address {format_mac(mac)} is already that of {other} port {other_port}")


def _check_vaps(vns: set[str], index: int, nve: NveSection) -> Iterator[Fault]:
    places: dict[tuple[int, int], int] = {}
    for position, vap in enumerate(nve.vaps):
        path: Path = ("nves", index, "vaps", position)
        if vap.vn not in vns:
            yield Fault((*path, "vn"), f"there is no VN {vap.vn}; {_choices(vns)}")
        if places.setdefault((vap.port, vap.vlan), position) != position:
            yield Fault(path, f"port {vap.port} VLAN {vap.vlan} is a VAP of {nve.name} already")


def _check_families(parsed: DomainFile, serving: Serving) -> Iterator[Fault]:
    """That a tunnel can lead from each member of a VN to each other one: nothing goes from IPv4 to IPv6."""
    for vn in parsed.vns:
        first = None
        for index, nve in serving.get(vn.name, []):
            if len(nve.underlay.address) > 1:
                continue  # reaches either family
            first = first or nve
            (own,), (other,) = nve.underlay.address, first.underlay.address
            if own.version != other.version:
                yield Fault(
                    ("nves", index, "underlay", "address"),
                    f"{own} is of IPv{own.version}, and {first.name}, which serves VN {vn.name} as well, has {other}"
                    f" of IPv{other.version}: no tunnel leads from one to the other",
                )


def _check_replicas(parsed: DomainFile, serving: Serving) -> Iterator[Fault]:
    places: dict[tuple[int, str], list[int]] = {}
    for index, nve in enumerate(parsed.nves):
        for vap in nve.vaps:
            places.setdefault((index, vap.vn), []).append(vap.port)
    for vn in parsed.vns:
        members = serving.get(vn.name, [])
        for index, nve in members:
            local = Counter(places[index, vn.name])
            if len(members) + local.total() <= REPLICAS_PER_PORT_LIMIT:
                continue  # also if all went to one port
            towards = Counter(port_towards(nve, peer.name)[0] for _, peer in members if peer.name != nve.name)
            for port, replicas in (towards + local).items():
                if replicas > REPLICAS_PER_PORT_LIMIT:
                    yield Fault(
                        ("nves", index),
                        f"a broadcast in VN {vn.name} makes {replicas} copies to port {port}; a port's queue takes"
                        f" {REPLICAS_PER_PORT_LIMIT} at once and loses the others without counting them",
                    )


def _check_tenant_systems(parsed: DomainFile) -> Iterator[Fault]:
    vns = {vn.name for vn in parsed.vns}
    nves = {nve.name: nve for nve in parsed.nves}
    # The first of two in the same place, which is a fault of its own.
    vaps = {(nve.name, vap.port, vap.vlan): vap for nve in nves.values() for vap in reversed(nve.vaps)}
    macs: dict[tuple[str, int], str] = {}
    ips: dict[tuple[str, object], str] = {}
    for index, system in enumerate(parsed.tenant_systems):
        path: Path = ("tenant_systems", index)
        if system.vn not in vns:
            yield Fault((*path, "vn"), f"there is no VN {system.vn}; {_choices(vns)}")
            continue
        owner = macs.setdefault((system.vn, system.mac), system.name)
        if owner != system.name:
            yield Fault((*path, "mac"), f"{format_mac(system.mac)} is {owner}'s in VN {system.vn}")
        for position, ip in enumerate(system.ips):
            holder = ips.setdefault((system.vn, ip), system.name)
            if holder != system.name:
                yield Fault((*path, "ips", position), f"{ip} is {holder}'s in VN {system.vn}")
        if len(set(system.ips)) != len(system.ips):
            yield Fault((*path, "ips"), "names an address twice")
        if system.nve not in nves:
            yield Fault((*path, "nve"), f"there is no NVE {system.nve}; {_choices(nves)}")
            continue
        vap = vaps.get((system.nve, system.port, system.vlan))
        if vap is None:
            yield Fault(path, f"{system.nve} has no VAP at port {system.port} VLAN {system.vlan}")
        elif vap.vn != system.vn:
            place = f"port {system.port} VLAN {system.vlan} of {system.nve}"
            yield Fault(path, f"the VAP at {place} belongs to VN {vap.vn}")


def _check_tunnels(parsed: DomainFile) -> Iterator[Fault]:
    nves = {nve.name for nve in parsed.nves}
    seen: dict[frozenset[str], int] = {}
    for index, tunnel in enumerate(parsed.tunnels):
        path: Path = ("tunnels", index, "between")
        for position, end in enumerate(tunnel.between):
            if end not in nves:
                yield Fault((*path, position), f"there is no NVE {end}; {_choices(nves)}")
        pair = frozenset(tunnel.between)
        if len(pair) != 2:
            yield Fault(path, "names one NVE twice; a tunnel has two ends")
        elif seen.setdefault(pair, index) != index:
            yield Fault(path, f"tunnels[{seen[pair]}] is already between {' and '.join(sorted(pair))}")


def _check_reservations(parsed: DomainFile, serving: Serving) -> Iterator[Fault]:
    vns = {vn.name for vn in parsed.vns}
    nves = {nve.name for nve in parsed.nves}
    reserved = {(one.vn, one.address) for one in parsed.reservations}
    # Integers are MAC addresses, so that the two kinds cannot be mistaken for each other.
    holders: dict[tuple[str, object], list[TenantSystemSection]] = {}
    for system in parsed.tenant_systems if reserved else ():
        for address in {system.mac, *system.ips}:
            if (system.vn, address) in reserved:
                holders.setdefault((system.vn, address), []).append(system)
    seen: dict[tuple[str, object], int] = {}
    for index, one in enumerate(parsed.reservations):
        path: Path = ("reservations", index)
        if one.vn not in vns:
            yield Fault((*path, "vn"), f"there is no VN {one.vn}; {_choices(vns)}")
            continue
        if seen.setdefault((one.vn, one.address), index) != index:
            first = f"reservations[{seen[one.vn, one.address]}]"
            yield Fault(path, f"{_shown(one.address)} in VN {one.vn} is already reserved by {first}")
        members = {nve.name for _, nve in serving.get(one.vn, [])}
        for position, name in enumerate(one.nves):
            place = (*path, "nves", position)
            if name not in nves:
                yield Fault(place, f"there is no NVE {name}; {_choices(nves)}")
            elif name not in members:
                yield Fault(place, f"{name} does not serve VN {one.vn}; {_choices(members)}")
            elif name in one.nves[:position]:
                yield Fault(place, f"{name} is named already")
        for system in holders.get((one.vn, one.address), []):
            if system.nve not in one.nves:
                yield Fault(path, f"{_shown(one.address)} is {system.name}'s, which stands behind {system.nve}")


def _check_shared(parsed: DomainFile) -> Iterator[Fault]:
    names = ((("shared_addresses", i, "name"), one.name) for i, one in enumerate(parsed.shared_addresses))
    yield from _unique(names, "name of shared addresses")
    vaps = {(nve.name, vap.port, vap.vlan): vap.vn for nve in parsed.nves for vap in nve.vaps}
    stated = {(one.nve, one.port, one.vlan, one.mac) for one in parsed.tenant_systems}
    taken: dict[tuple[str, object], str] = {}
    for system in parsed.tenant_systems:
        taken.update({(system.vn, address): system.name for address in (system.mac, *system.ips)})
    taken.update({(one.vn, one.address): "a reservation" for one in parsed.reservations})
    for index, one in enumerate(parsed.shared_addresses):
        path: Path = ("shared_addresses", index)
        for address in dict.fromkeys((*(() if one.mac is None else (one.mac,)), *one.ips)):
            owner = taken.setdefault((one.vn, address), one.name)
            if owner != one.name:
                yield Fault(path, f"{_shown(address)} is {owner}'s in VN {one.vn}")
        if len(set(one.ips)) != len(one.ips):
            yield Fault((*path, "ips"), "names an address twice")
        places = [(member.nve, member.port, member.vlan) for member in one.members]
        for position, member in enumerate(one.members):
            where: Path = (*path, "members", position)
            place = f"port {member.port} VLAN {member.vlan} of {member.nve}"
            if (vn := vaps.get(places[position])) is None:
                yield Fault(where, f"there is no VAP at {place}")
            elif vn != one.vn:
                yield Fault(where, f"the VAP at {place} belongs to VN {vn}")
            elif places[position] in places[:position]:
                yield Fault(where, f"{place} is a member already")
            elif one.mac is None and (*places[position], member.mac) not in stated:
                yield Fault(where, f"no tenant system with {_shown(member.mac)} is stated at {place}")


def _check_sources(parsed: DomainFile) -> Iterator[Fault]:
    """That the sources of members are nobody else's: they can be had behind the NVEs of these members only."""
    nves: dict[tuple[str, object], set[str]] = {}
    for one in parsed.shared_addresses:
        for member in one.members:
            for ip in member.sources:
                nves.setdefault((one.vn, ip), set()).add(member.nve)
    elsewhere: dict[tuple[str, object], str] = {}
    for system in parsed.tenant_systems:
        for ip in system.ips:
            if system.nve not in nves.get((system.vn, ip), {system.nve}):
                elsewhere[system.vn, ip] = f"is {system.name}'s, which stands behind {system.nve}"
    for reservation in parsed.reservations:
        place = (reservation.vn, reservation.address)
        if strange := sorted(set(reservation.nves) - nves.get(place, set(reservation.nves))):
            elsewhere[place] = f"is reserved for {', '.join(strange)}, too"
    for index, one in enumerate(parsed.shared_addresses):
        for number, member in enumerate(one.members):
            for position, ip in enumerate(member.sources):
                if (why := elsewhere.get((one.vn, ip))) is not None:
                    yield Fault(("shared_addresses", index, "members", number, "sources", position), f"{ip} {why}")


def _shown(address: object) -> str:
    return format_mac(address) if isinstance(address, int) else str(address)
