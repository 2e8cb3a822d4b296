# SPDX-License-Identifier: Apache-2.0
"""One authority takes the place of another, by files that are replaced one at a time, in every order there is.

At each step, on either side: who was revoked is never accepted; who is good is, if its issuer is an anchor and has a
list; everybody else is not; what was open and is no longer good ends; what is wrong with the files is said.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from identity_world import (
    DOMAIN,
    ECHO,
    SESSION,
    ForeignAuthority,
    World,
    call,
    connected,
    grpc_channel,
    key_pem,
    method,
    pem,
    refusal,
    run,
    serving,
    until,
)
from nvo3sec.identity.certificate import Identity, Purpose, identity_of
from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.device import Device, DeviceFiles
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.storage import write

OLD, NEW = "old", "new"
SIDES = {
    "the NVA judges NVEs": (Purpose.SERVER, Role.NVA, Purpose.CLIENT, Role.NVE),
    "an agent judges NVAs": (Purpose.CLIENT, Role.NVE, Purpose.SERVER, Role.NVA),
}
AUTHORITIES: dict[str, Callable[[], tuple[ForeignAuthority, ForeignAuthority]]] = {
    "two names": lambda: (ForeignAuthority(name="first"), ForeignAuthority(name="second")),
    "one name, two keys": lambda: (ForeignAuthority(name="same"), ForeignAuthority(name="same")),
    "one name, two keys, identifiers": lambda: (
        ForeignAuthority(name="same", identifiers=True),
        ForeignAuthority(name="same", identifiers=True),
    ),
}


@dataclass
class Shop:
    """Everything that the operator has ready, made once: to make it is what takes long."""

    purpose: Purpose
    anchors: dict[str, bytes]
    lists: dict[tuple[str, int], bytes]
    own: dict[str, bytes]
    peers: dict[tuple[str, str], Identity]
    """(authority, good | bad | late) → a peer. Bad ones are in every list of theirs, late ones in list 2."""


def make_shop(side: str, names: str) -> Shop:
    purpose, role, peer_purpose, peer_role = SIDES[side]
    authorities = dict(zip((OLD, NEW), AUTHORITIES[names](), strict=True))
    shop = Shop(purpose, {}, {}, {}, {})
    for name, authority in authorities.items():
        for kind in ("good", "bad", "late"):
            certificate, _ = authority.device(DeviceName(DOMAIN, peer_role, f"{name}-{kind}"))
            shop.peers[name, kind] = identity_of(certificate, DOMAIN, peer_purpose)
        bad, late = shop.peers[name, "bad"].serial, shop.peers[name, "late"].serial
        shop.anchors[name] = pem(authority.certificate)
        shop.lists[name, 1] = authority.revocations([bad], number=1)
        shop.lists[name, 2] = authority.revocations([bad, late], number=2)
        certificate, key = authority.device(DeviceName(DOMAIN, role, "own"))
        shop.own[name] = key_pem(key) + pem(certificate)
    return shop


@dataclass
class Operator:
    """What is in the files, and what follows from it: the nvo3ref, which knows nothing of how the product does it."""

    anchors: set[str] = field(default_factory=lambda: {OLD})
    lists: set[str] = field(default_factory=lambda: {OLD})
    newest: dict[str, int] = field(default_factory=lambda: {OLD: 1, NEW: 1})
    own: str = OLD
    known: dict[str, int] = field(default_factory=dict)
    """The newest list of each that was in the file while it was trusted."""

    def settle(self) -> None:
        for name in self.anchors & self.lists:
            self.known[name] = max(self.known.get(name, 0), self.newest[name])

    def accepts(self, issuer: str, kind: str) -> bool:
        known = self.known.get(issuer, 0) if issuer in self.anchors else 0
        return {"good": known >= 1, "bad": False, "late": known == 1}[kind]

    def has_list_faults(self) -> bool:
        return self.anchors != self.lists

    def has_own_faults(self) -> bool:
        return self.own not in self.anchors


def both_anchors(files: Operator) -> None:
    files.anchors = {OLD, NEW}


def new_anchor(files: Operator) -> None:
    files.anchors = {NEW}


def both_lists(files: Operator) -> None:
    files.lists = {OLD, NEW}


def new_list(files: Operator) -> None:
    files.lists = {NEW}


def own_certificate(files: Operator) -> None:
    files.own = NEW


def revoke_one_more(files: Operator) -> None:
    files.newest[NEW] = 2


TRUST = (both_anchors, new_anchor, both_lists, new_list)
LAST = (own_certificate, revoke_one_more)
"""What a rollover does besides; these two touch nothing in common, so each is put everywhere by itself."""


class Watched:
    """A process's view of the files: its credentials, its lists, its open connections."""

    def __init__(self, place: Path, shop: Shop) -> None:
        place.mkdir(mode=0o700)
        self.shop = shop
        self.place = place
        self.files = Operator()
        self.write()
        device = place / "device.pem"
        self.device = Device(DeviceFiles(device, device, place / "anchors.pem"), DOMAIN, shop.purpose)
        self.file = RevocationFile(place / "revoked.pem", self.device.anchors)
        self.live = LivePeers(self.file)
        self.open: dict[tuple[str, str], int] = {}
        self.files.settle()

    def write(self) -> None:
        shop, files = self.shop, self.files
        contents = {
            "anchors.pem": b"".join(shop.anchors[name] for name in (OLD, NEW) if name in files.anchors),
            "revoked.pem": b"".join(shop.lists[name, files.newest[name]] for name in (OLD, NEW) if name in files.lists),
            "device.pem": shop.own[files.own],
        }
        for name, content in contents.items():
            path = self.place / name
            if not path.exists() or path.read_bytes() != content:
                draft = path.with_suffix(".new")
                draft.touch(0o600)
                draft.write_bytes(content)
                path.unlink(missing_ok=True)  # file systems take their time when a file replaces another
                draft.rename(path)

    def step(self, change: Callable[[Operator], None]) -> None:
        change(self.files)
        self.write()
        self.files.settle()

    def close(self, peer: tuple[str, str]) -> Callable[[PeerRefused], None]:
        return lambda _verdict: self.open.pop(peer, None) and None

    def accepts(self, identity: Identity) -> bool:
        try:
            self.live.check(identity)
        except PeerRefused:
            return False
        return True

    def check(self, when: str) -> None:
        self.live.sweep()
        for peer, identity in self.shop.peers.items():
            wanted = self.files.accepts(*peer)
            if peer in self.open:
                assert wanted, f"{when}: {peer} is still connected"
            assert self.accepts(identity) is wanted, f"{when}: {peer}"
            if wanted and peer not in self.open:
                self.open[peer] = self.live.add(identity, self.close(peer))
        assert bool(self.file.faults) == self.files.has_list_faults(), f"{when}: {self.file.faults}"
        assert bool(self.device.faults) == self.files.has_own_faults(), f"{when}: {self.device.faults}"


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize(("side", "names"), list(zip(SIDES, AUTHORITIES, strict=False)))
def test_every_order(tmp_path: Path, side: str, names: str, last: Callable[[Operator], None]):
    shop = make_shop(side, names)
    for number, order in enumerate(itertools.permutations((*TRUST, last))):
        watched = Watched(tmp_path / str(number), shop)
        watched.check("at the beginning")
        done = []
        for change in order:
            watched.step(change)
            done.append(change.__name__)
            watched.check(", ".join(done))


def test_every_order_over_one_that_is_half_written(tmp_path: Path):
    """Whoever copies instead of replacing: every file is seen half written first, and nobody is let in by that."""
    shop = make_shop("the NVA judges NVEs", "two names")
    for number, order in enumerate(itertools.permutations(TRUST)):
        watched = Watched(tmp_path / str(number), shop)
        watched.check("at the beginning")
        for change in order:
            before = {path: path.read_bytes() for path in watched.place.iterdir()}
            watched.step(change)
            for path, content in before.items():
                whole = path.read_bytes()
                if whole != content:
                    path.write_bytes(whole[: len(whole) // 3])
                    watched.live.sweep()
                    for peer, identity in shop.peers.items():
                        assert peer[1] != "bad" or not watched.accepts(identity)
                    assert (watched.file if path.name == "revoked.pem" else watched.device).faults
                    path.write_bytes(whole)
            watched.check(change.__name__)


# --- over TLS --------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """Two authorities, and the files of one NVA."""

    world: World
    old: ForeignAuthority
    new: ForeignAuthority
    place: Path

    def put(self, name: str, *parts: bytes) -> None:
        write(self.place / name, b"".join(parts), replace=True)

    def files(self, authority: ForeignAuthority, role: Role, name: str) -> tuple[DeviceFiles, int]:
        """Credentials of a device of one of them, which trusts both."""
        certificate, key = authority.device(self.world.name(role, name))
        both = pem(self.old.certificate) + pem(self.new.certificate)
        return self.world.store(certificate, key, f"{name}-{certificate.serial_number:x}", both), (
            certificate.serial_number
        )

    def nva(self) -> tuple[Device, LivePeers]:
        device = self.place / "device.pem"
        loaded = Device(DeviceFiles(device, device, self.place / "anchors.pem"), DOMAIN, Purpose.SERVER)
        return loaded, LivePeers(RevocationFile(self.place / "revoked.pem", loaded.anchors))


@pytest.fixture(params=["two names", "one name, two keys, identifiers"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    old, new = AUTHORITIES[request.param]()
    place = tmp_path / "nva"
    place.mkdir(mode=0o700)
    one = Site(World(tmp_path), old, new, place)
    certificate, key = old.device(one.world.name(Role.NVA, "nva1"))
    one.put("device.pem", key_pem(key), pem(certificate))
    one.put("anchors.pem", pem(old.certificate), pem(new.certificate))
    one.put("revoked.pem", old.revocations(), new.revocations())
    return one


class TestConnections:
    def test_an_authority_that_is_taken_out_loses_its_connections(self, site: Site):
        async def go() -> None:
            device, live = site.nva()
            first, _ = site.files(site.old, Role.NVE, "leaf1")
            second, _ = site.files(site.new, Role.NVE, "leaf2")
            async with (
                serving(site.world, device=device, live=live) as running,
                grpc_channel(running.port, first, running.name) as leaf1,
                grpc_channel(running.port, second, running.name) as leaf2,
            ):
                streams = [method(one, SESSION, "stream_stream")() for one in (leaf1, leaf2)]
                for stream in streams:
                    await stream.read()
                site.put("anchors.pem", pem(site.new.certificate))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await streams[0].read()
                assert (caught.value.details() or "").startswith("untrusted: ")
                await until(lambda: running.server.front.admission.open == 1)
                await streams[1].write({"vnis": [20]})
                assert await streams[1].read() == {"vnis": [20]}
                # Nor is anybody of it let in again: TLS itself knows no anchor for it.
                error = await refusal(leaf1, ECHO, {})
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                site.put("anchors.pem", pem(site.old.certificate), pem(site.new.certificate))
                await asyncio.wait_for(leaf1.channel_ready(), 30)
                await call(leaf1, ECHO, {})

        run(go())

    def test_after_the_old_list_has_gone_the_new_authority_revokes(self, site: Site):
        async def go() -> None:
            device, live = site.nva()
            files, serial = site.files(site.new, Role.NVE, "leaf1")
            async with (
                serving(site.world, device=device, live=live) as running,
                grpc_channel(running.port, files, running.name) as leaf1,
            ):
                stream = method(leaf1, SESSION, "stream_stream")()
                await stream.read()
                site.put("revoked.pem", site.new.revocations())
                await call(leaf1, ECHO, {})
                site.put("revoked.pem", site.new.revocations([serial], number=2))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
                assert (caught.value.details() or "").startswith("revoked: ")
                assert (await refusal(leaf1, ECHO, {})).code() is grpc.StatusCode.UNAUTHENTICATED

        run(go())

    def test_an_agent_leaves_an_nva_of_an_authority_that_is_taken_out(self, site: Site):
        async def go() -> None:
            device, live = site.nva()
            files, _ = site.files(site.new, Role.NVE, "leaf1")
            own = Device(files, DOMAIN, Purpose.CLIENT)
            lists = site.world.directory / "agent-revoked.pem"
            write(lists, site.old.revocations() + site.new.revocations())
            async with serving(site.world, device=device, live=live) as running:
                peers = LivePeers(RevocationFile(lists, own.anchors))
                peer = PeerChannel(own, peers, running.name, "127.0.0.1", running.port)
                channel = await peer.start()
                stream = method(channel, SESSION, "stream_stream")()
                await stream.read()
                write(files.anchors, pem(site.new.certificate), replace=True)
                with pytest.raises(grpc.aio.AioRpcError):
                    await stream.read()
                assert isinstance(peer.last_error, PeerRefused)
                assert peer.last_error.reason in (Reason.UNTRUSTED, Reason.HANDSHAKE)
                assert peers.closed == {Reason.UNTRUSTED: 1}
                # The NVA gets its certificate of the new authority, and is taken again.
                certificate, key = site.new.device(running.name)
                site.put("device.pem", key_pem(key), pem(certificate))
                await call(channel, ECHO, {}, 30)
                await peer.close()

        run(go())

    def test_a_whole_rollover_interrupts_nobody(self, site: Site):
        """In the order of the manual: both anchors and lists, certificates, then the old ones go."""

        async def go() -> None:
            site.put("anchors.pem", pem(site.old.certificate))
            site.put("revoked.pem", site.old.revocations())
            device, live = site.nva()
            files, _ = site.files(site.old, Role.NVE, "leaf1")
            async with serving(site.world, device=device, live=live) as running:
                async with connected(running, files) as before:
                    stream = method(before.channel, SESSION, "stream_stream")()
                    await stream.read()
                    for name, parts in (
                        ("anchors.pem", (pem(site.old.certificate), pem(site.new.certificate))),
                        ("revoked.pem", (site.old.revocations(), site.new.revocations())),
                    ):
                        site.put(name, *parts)
                        await stream.write({"vnis": [10]})
                        assert await stream.read() == {"vnis": [10]}
                    renewed, _ = site.files(site.new, Role.NVE, "leaf1")
                    write(files.certificate, renewed.certificate.read_bytes(), replace=True)
                    certificate, key = site.new.device(running.name)
                    site.put("device.pem", key_pem(key), pem(certificate))
                    await stream.write({"vnis": [10]})
                    assert await stream.read() == {"vnis": [10]}
                async with connected(running, files) as after:
                    stream = method(after.channel, SESSION, "stream_stream")()
                    await stream.read()
                    site.put("anchors.pem", pem(site.new.certificate))
                    site.put("revoked.pem", site.new.revocations())
                    live.sweep()
                    await stream.write({"vnis": [10]})
                    assert await stream.read() == {"vnis": [10]}
                    assert not live.closed

        run(go())
