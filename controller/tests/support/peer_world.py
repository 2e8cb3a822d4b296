# SPDX-License-Identifier: Apache-2.0
"""Two NVEs with certificates, and whatever an NVA that lies may put between them."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from identity_world import DOMAIN, FakeClock, World
from nvo3sec.domain.keys.contribution import (
    Contribution,
    End,
    KeyName,
    Own,
    Peer,
    PeerKeys,
    PeerSa,
    PrivateHalf,
    Statement,
    nve_uri,
)
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device
from nvo3sec.identity.names import Role
from nvo3sec.identity.signing import DeviceSigner, DeviceVerifier

ADDRESSES = {"leaf1": IPv4Address("192.0.2.1"), "leaf2": IPv4Address("192.0.2.2"), "leaf3": IPv4Address("192.0.2.3")}
INCARNATIONS = {"leaf1": b"\x11" * 16, "leaf2": b"\x22" * 16, "leaf3": b"\x33" * 16}
EPOCH = 7
SPI = 0x8000_1234
P = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]
"""The u-coordinates of order 1, 2, 4, 8 on the curve and its twist, and their other encodings below 2^255."""
NVA_KEY = Secret(b"\xaa" * 16)


class PeerWorld(World):
    """An authority; NVEs are made as they are asked for."""

    def __init__(self, directory: Path) -> None:
        self.wall = FakeClock(datetime.now(UTC))
        super().__init__(directory, clock=self.wall)
        self._devices: dict[tuple[Role, str], Device] = {}

    def device_of(self, name: str, role: Role = Role.NVE) -> Device:
        if (role, name) not in self._devices:
            purpose = Purpose.SERVER if role is Role.NVA else Purpose.CLIENT
            self._devices[role, name] = self.device(self.issue(role, name), purpose, clock=self.wall)
        return self._devices[role, name]

    def signer(self, name: str, role: Role = Role.NVE) -> DeviceSigner:
        return DeviceSigner(self.device_of(name, role))

    def verifier(self, clock: Any = None) -> DeviceVerifier:
        clock = clock or self.wall
        return DeviceVerifier(DOMAIN, self.live(clock=clock), self.device_of("leaf1").anchors, clock=clock)

    def now(self) -> float:
        return self.wall.now.timestamp()

    def statement(self, name: str = "leaf2", **changes: Any) -> Statement:
        base = Statement(
            domain=DOMAIN,
            device=nve_uri(DOMAIN, name),
            addresses=(ADDRESSES[name],),
            incarnation=INCARNATIONS[name],
            epoch=EPOCH,
            expiry=int(self.now()) + 3600,
            public_key=public_of(b"\x55" * 32),
        )
        return dataclasses.replace(base, **changes)

    def contribution(
        self, name: str = "leaf2", *, signed_by: str = "", role: Role = Role.NVE, **changes: Any
    ) -> Contribution:
        """A statement in the name of `name`, signed by whoever is told."""
        encoded = self.statement(name, **changes).encode()
        return Contribution(encoded, *self.signer(signed_by or name, role).sign("contribution", encoded))

    def keys(self, name: str, **options: Any) -> PeerKeys:
        """The keys of an NVE, which has begun the epoch."""
        own = Own(DOMAIN, name, (ADDRESSES[name],), options.pop("incarnation", INCARNATIONS[name]))
        options.setdefault("signer", self.signer(name))
        options.setdefault("verifier", self.verifier())
        keys = PeerKeys(own, random_bytes=os.urandom, wall_seconds=self.now, **options)
        keys.begin(EPOCH, 0.0)
        return keys


def public_of(private: bytes) -> bytes:
    return PrivateHalf(Secret(private)).public_key


def peer(name: str, incarnation: bytes | None = None) -> Peer:
    return Peer(name, (ADDRESSES[name],), incarnation or INCARNATIONS[name])


@dataclasses.dataclass
class Pair:
    """leaf1 sends to leaf2. Each has the other's contribution, if the NVA is honest."""

    world: PeerWorld
    one: PeerKeys
    two: PeerKeys
    nva_key: Secret = dataclasses.field(default_factory=lambda: Secret(b"\xaa" * 16))

    @classmethod
    def of(cls, world: PeerWorld) -> Pair:
        pair = cls(world, world.keys("leaf1"), world.keys("leaf2"))
        pair.exchange()
        return pair

    def exchange(self, epoch: int = EPOCH) -> None:
        self.one.take(peer("leaf2"), epoch, self.two.contributions()[-1])
        self.two.take(peer("leaf1"), epoch, self.one.contributions()[-1])

    def sas(self, spi: int = SPI, generation: int = 3, suite: Suite = Suite.CHASKEY12) -> tuple[PeerSa, PeerSa]:
        """The key of the direction from leaf1 to leaf2, as its sender and as its receiver call it."""
        one, two = self.one.contributions()[-1].name, self.two.contributions()[-1].name
        return (
            PeerSa(KeyName("leaf2", suite, spi, End.SENDER), generation, one, two),
            PeerSa(KeyName("leaf1", suite, spi, End.RECEIVER), generation, two, one),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PeerWorld:
    """An authority and two NVEs with certificates."""
    return PeerWorld(tmp_path_factory.mktemp("peers"))
