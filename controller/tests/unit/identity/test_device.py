# SPDX-License-Identifier: Apache-2.0
"""A device's own credentials: whole or not at all, reloaded, private."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from identity_world import DOMAIN, FakeClock, ForeignAuthority, World, key_pem, make_key, pem
from nvo3sec.identity.authority import requests
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device, DeviceFiles, load_credentials
from nvo3sec.identity.errors import CredentialsError
from nvo3sec.identity.names import Role
from nvo3sec.identity.storage import put_public


class TestLoad:
    def test_fits_together(self, world: World):
        credentials = load_credentials(world.issue(Role.NVE, "leaf1"), DOMAIN, Purpose.CLIENT)
        assert str(credentials.identity) == "nve/leaf1"
        assert b"PRIVATE" not in credentials.chain_pem

    def test_key_and_certificate_in_two_files(self, world: World):
        path = world.issue(Role.NVE, "leaf1").certificate
        loaded = load_credentials(DeviceFiles(path, path, world.authority.anchors_file), DOMAIN, Purpose.CLIENT)
        certificate, key = world.directory / "c.pem", world.directory / "k.pem"
        certificate.write_bytes(loaded.chain_pem)
        key.write_bytes(loaded.key_pem.reveal())
        key.chmod(0o600)
        assert load_credentials(DeviceFiles(certificate, key, world.authority.anchors_file), DOMAIN, Purpose.CLIENT)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
    def test_a_key_that_others_can_read_is_refused(self, world: World, mode: int):
        files = world.issue(Role.NVE, "leaf1")
        files.key.chmod(mode)
        with pytest.raises(CredentialsError, match="open to other users"):
            load_credentials(files, DOMAIN, Purpose.CLIENT)

    def test_the_right_name_with_the_wrong_key(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        wrong = world.directory / "wrong.pem"
        wrong.write_bytes(key_pem(make_key()))
        wrong.chmod(0o600)
        with pytest.raises(CredentialsError, match="not the key"):
            load_credentials(replace(files, key=wrong), DOMAIN, Purpose.CLIENT)

    def test_a_chain_to_nobody(self, world: World):
        certificate, key = ForeignAuthority().device(world.name(Role.NVE, "leaf1"))
        with pytest.raises(CredentialsError, match="trust anchor"):
            load_credentials(world.store(certificate, key, "leaf1"), DOMAIN, Purpose.CLIENT)

    def test_for_the_wrong_side(self, world: World):
        files = world.issue(Role.OPERATOR, "alice")
        assert load_credentials(files, DOMAIN, Purpose.CLIENT)
        with pytest.raises(CredentialsError, match="extended-key-usage"):
            load_credentials(files, DOMAIN, Purpose.SERVER)

    def test_of_another_domain(self, world: World):
        with pytest.raises(CredentialsError, match="domain"):
            load_credentials(world.issue(Role.NVE, "leaf1"), "other.example", Purpose.CLIENT)

    @pytest.mark.parametrize(
        "damage", [b"", b"garbage", b"-----BEGIN %b-----\nAA==\n-----END %b-----" % (b"PRIVATE KEY", b"PRIVATE KEY")]
    )
    def test_damaged(self, world: World, damage: bytes):
        files = world.issue(Role.NVE, "leaf1")
        files.certificate.write_bytes(damage)
        with pytest.raises(CredentialsError):
            load_credentials(files, DOMAIN, Purpose.CLIENT)

    def test_missing(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        files.certificate.unlink()
        with pytest.raises(CredentialsError):
            load_credentials(files, DOMAIN, Purpose.CLIENT)


class TestOverTime:
    def test_a_renewal_is_taken(self, world: World):
        device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
        before = device.current()
        assert device.current() is before
        world.authority.issue(world.name(Role.NVE, "leaf1"), renew=True)
        after = device.current()
        assert after.identity.serial != before.identity.serial
        assert device.current() is after
        assert device.reloads == 1

    def test_what_does_not_fit_is_not_taken(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT)
        before = device.current()
        good = files.certificate.read_bytes()
        foreign, key = ForeignAuthority().device(world.name(Role.NVE, "leaf1"))
        bad = [
            good[:300],
            good.replace(b"BEGIN CERT", b"BEGIN XERT"),
            key_pem(key) + pem(foreign),
            world.issue(Role.NVE, "leaf2").certificate.read_bytes(),
        ]
        for number, data in enumerate(bad, 1):
            files.certificate.write_bytes(data)
            assert device.current() is before
            assert device.rejected == number
        files.certificate.write_bytes(good)
        assert device.current().identity.serial == before.identity.serial

    def test_expired_is_not_taken(self, world: World):
        clock = FakeClock()
        files = world.issue(Role.NVE, "leaf1")
        careless = world.signing()
        certificate, key = careless.device(
            world.name(Role.NVE, "leaf1"), ends=timedelta(minutes=-1), purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)
        )
        device = world.device(files, Purpose.CLIENT, clock=clock)
        files.certificate.write_bytes(key_pem(key) + pem(certificate))
        assert device.current().identity.serial != certificate.serial_number
        with pytest.raises(CredentialsError, match="expired"):
            Device(files, DOMAIN, Purpose.CLIENT, clock=clock)

    def test_one_that_is_not_valid_yet_is_taken_when_it_is(self, world: World):
        clock = FakeClock()
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT, clock=clock)
        purposes = (ExtendedKeyUsageOID.CLIENT_AUTH,)
        certificate, key = world.signing().device(
            world.name(Role.NVE, "leaf1"), begins=timedelta(minutes=30), ends=timedelta(hours=2), purposes=purposes
        )
        files.certificate.write_bytes(key_pem(key) + pem(certificate))
        assert device.current().identity.serial != certificate.serial_number
        assert "valid from" in device.faults[0]
        clock.advance(minutes=31)
        assert device.current().identity.serial == certificate.serial_number
        assert not device.faults

    @pytest.mark.parametrize("first", ["certificate", "key"])
    def test_key_and_certificate_in_two_files_one_after_the_other(self, world: World, first: str):
        bundle = world.issue(Role.NVE, "leaf1")
        paths = {"certificate": world.directory / "c.pem", "key": world.directory / "k.pem"}

        def write(name: str) -> None:
            new = load_credentials(bundle, DOMAIN, Purpose.CLIENT)
            paths[name].write_bytes(new.chain_pem if name == "certificate" else new.key_pem.reveal())
            paths[name].chmod(0o600)

        for name in paths:
            write(name)
        device = world.device(DeviceFiles(anchors=world.authority.anchors_file, **paths), Purpose.CLIENT)
        before = device.current()
        world.authority.issue(world.name(Role.NVE, "leaf1"), renew=True)
        write(first)
        assert device.current() is before
        assert "is not the key of" in device.faults[0]
        write("key" if first == "certificate" else "certificate")
        assert device.current().identity.serial != before.identity.serial
        assert not device.faults

    def test_a_file_that_is_opened_to_this_process_is_read_again(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT)
        world.authority.issue(world.name(Role.NVE, "leaf1"), renew=True)
        files.key.chmod(0o644)
        before = device.current()
        assert "open to other users" in device.faults[0]
        files.key.chmod(0o600)
        assert device.current().identity.serial != before.identity.serial


class TestAnchorsOverTime:
    """Whom a device trusts does not wait for its own certificate."""

    def test_an_anchor_that_is_taken_out_is_trusted_no_longer(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        device, new = world.device(files, Purpose.CLIENT), ForeignAuthority()
        before = device.current()
        files.anchors.write_bytes(pem(new.certificate))
        assert device.anchors() == (new.certificate,)
        assert device.current().identity == before.identity, "whether they still take it is for its peers to say"
        assert "does not lead to a trust anchor" in device.faults[0]
        certificate, key = new.device(world.name(Role.NVE, "leaf1"))
        files.certificate.write_bytes(key_pem(key) + pem(certificate))
        assert device.current().identity.serial == certificate.serial_number
        assert not device.faults

    def test_a_certificate_before_its_anchor_is_looked_at_again(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        device, new = world.device(files, Purpose.CLIENT), ForeignAuthority()
        before = device.current()
        certificate, key = new.device(world.name(Role.NVE, "leaf1"))
        files.certificate.write_bytes(key_pem(key) + pem(certificate))
        assert device.current() is before
        with files.anchors.open("ab") as file:
            file.write(pem(new.certificate))
        assert device.current().identity.serial == certificate.serial_number
        assert not device.faults

    @pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA"])
    def test_what_cannot_be_read_changes_nothing(self, world: World, damage: bytes):
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT)
        before = device.anchors()
        files.anchors.write_bytes(damage)
        assert device.anchors() == before
        assert str(files.anchors) in device.faults[0]


class TestPathLength:
    def test_a_chain_that_is_longer_than_its_anchor_allows(self, world: World):
        """The lab's authority allows no other below itself: no peer would take such a chain, so it is not loaded."""
        root, middle = world.signing(), ForeignAuthority(name="middle")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        between = root.sign(middle.name, middle.key, ca=True, purposes=(), names=(), usage=usage)
        certificate, key = middle.device(world.name(Role.NVE, "leaf1"))
        files = world.store(certificate, key, "leaf1")
        files.certificate.write_bytes(files.certificate.read_bytes() + pem(between))
        with pytest.raises(CredentialsError, match=r"longer than the trust anchor .* allows"):
            load_credentials(files, DOMAIN, Purpose.CLIENT)

    def test_a_device_between_is_no_authority(self, world: World):
        root, false = world.signing(), ForeignAuthority(name="false")
        between = root.sign(false.name, false.key, names=())
        certificate, key = false.device(world.name(Role.NVE, "leaf1"))
        files = world.store(certificate, key, "leaf1")
        files.certificate.write_bytes(files.certificate.read_bytes() + pem(between))
        with pytest.raises(CredentialsError, match="not that of an authority"):
            load_credentials(files, DOMAIN, Purpose.CLIENT)


class TestIssued:
    """The authority puts certificates into a directory; keys are where they were made, and nowhere else."""

    @pytest.fixture
    def files(self, world: World) -> DeviceFiles:
        """A device that made its own key, and has its first certificate."""
        path = world.directory / "leaf1" / "device.pem"
        request = requests.begin(path, world.name(Role.NVE, "leaf1"))
        chain, _ = world.authority.sign(request, world.name(Role.NVE, "leaf1"))
        issued = world.directory / "issued" / "nve" / "leaf1.pem"
        put_public(issued, chain)
        return DeviceFiles(path, path, world.authority.anchors_file, issued)

    def sign(self, world: World, files: DeviceFiles, request: bytes, name: str = "leaf1", **options: Any) -> int:
        """What the authority does; returns the serial number."""
        chain, issued = world.authority.sign(request, world.name(Role.NVE, name), **options)
        assert files.issued is not None
        put_public(files.issued, chain)
        return issued.serial

    def test_the_first_one(self, world: World, files: DeviceFiles):
        device = world.device(files, Purpose.CLIENT)
        assert str(device.identity) == "nve/leaf1"
        assert files.certificate.stat().st_mode & 0o777 == 0o600
        assert files.issued is not None
        assert b"PRIVATE" not in files.issued.read_bytes()
        assert not device.faults

    def test_with_a_new_key_and_with_the_same(self, world: World, files: DeviceFiles):
        device = world.device(files, Purpose.CLIENT)
        first = device.current()
        request = requests.begin(files.certificate, world.name(Role.NVE, "leaf1"))
        serial = self.sign(world, files, request, lifetime=timedelta(hours=25))
        assert device.current().identity.serial == serial
        second = device.current()
        assert second.key_pem != first.key_pem
        serial = self.sign(world, files, request, lifetime=timedelta(hours=26))
        assert device.current().identity.serial == serial
        assert device.current().key_pem == second.key_pem
        assert world.device(files, Purpose.CLIENT).identity.serial == serial, "a restart finds the same"
        assert not device.faults

    def test_one_that_ends_earlier_is_not_news(self, world: World, files: DeviceFiles):
        device = world.device(files, Purpose.CLIENT)
        before = device.current()
        request = requests.begin(files.certificate, world.name(Role.NVE, "leaf1"))
        self.sign(world, files, request, lifetime=timedelta(hours=1))
        assert device.current() is before
        assert not device.faults

    def test_one_of_another_device_is_said_whenever_it_ends(self, world: World, files: DeviceFiles):
        device = world.device(files, Purpose.CLIENT)
        before = device.current()
        other = requests.make_request(world.name(Role.NVE, "leaf2"), requests.DeviceKey.generate())
        self.sign(world, files, other, "leaf2", lifetime=timedelta(hours=1))
        assert device.current() is before
        assert "it names nve/leaf2, this is nve/leaf1" in device.faults[0]

    def test_what_does_not_fit_is_said_and_tried_again(self, world: World, files: DeviceFiles):
        device = world.device(files, Purpose.CLIENT)
        before, held = device.current(), files.certificate.read_bytes()
        assert files.issued is not None
        stranger = requests.make_request(world.name(Role.NVE, "leaf1"), requests.DeviceKey.generate())
        self.sign(world, files, stranger, lifetime=timedelta(hours=30))
        assert device.current() is before
        assert "neither the key of" in device.faults[0]
        other = requests.make_request(world.name(Role.NVE, "leaf2"), requests.DeviceKey.generate())
        self.sign(world, files, other, "leaf2", lifetime=timedelta(hours=30))
        assert device.current() is before
        assert "it names nve/leaf2, this is nve/leaf1" in device.faults[0]
        foreign, key = ForeignAuthority().device(world.name(Role.NVE, "leaf1"), ends=timedelta(hours=30))
        for content, fault in (
            (pem(foreign), "does not lead to a trust anchor"),
            (key_pem(key) + pem(foreign), "private key"),
            (b"garbage", "cannot be parsed"),
        ):
            put_public(files.issued, content)
            assert device.current() is before
            assert fault in device.faults[0]
        assert files.certificate.read_bytes() == held
        request = requests.begin(files.certificate, world.name(Role.NVE, "leaf1"))
        serial = self.sign(world, files, request, lifetime=timedelta(hours=30))
        assert device.current().identity.serial == serial
        assert not device.faults

    def test_one_that_is_not_valid_yet(self, world: World, files: DeviceFiles):
        clock = FakeClock()
        device = world.device(files, Purpose.CLIENT, clock=clock)
        requests.begin(files.certificate, world.name(Role.NVE, "leaf1"))
        waiting = serialization.load_pem_private_key(
            files.certificate.with_name("device.pem.next-key").read_bytes(), None
        )
        certificate, _ = world.signing().device(
            world.name(Role.NVE, "leaf1"), waiting, begins=timedelta(hours=1), ends=timedelta(hours=40)
        )
        assert files.issued is not None
        put_public(files.issued, pem(certificate))
        assert device.current().identity.serial != certificate.serial_number
        assert "valid from" in device.faults[0]
        clock.advance(minutes=61)
        assert device.current().identity.serial == certificate.serial_number
