# SPDX-License-Identifier: Apache-2.0
"""The lab's authority: what it issues, what it refuses, what it leaves on disk, and its commands."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from identity_world import DOMAIN, FakeClock, World, make_key, san
from nvo3sec.cli.pki import app
from nvo3sec.errors import OperatorError
from nvo3sec.identity.anchors import chain_fault
from nvo3sec.identity.authority import ledger, requests
from nvo3sec.identity.authority.authority import LIST_LIFETIME, Authority
from nvo3sec.identity.authority.requests import DeviceKey, make_request
from nvo3sec.identity.certificate import Purpose, identity_of
from nvo3sec.identity.device import DeviceFiles, load_credentials
from nvo3sec.identity.errors import AuthorityError, PeerRefused, Reason
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import Revocations
from nvo3sec.identity.storage import StorageError, private_directory, write
from typer.testing import CliRunner


def leaf(number: int = 1) -> DeviceName:
    return DeviceName(DOMAIN, Role.NVE, f"leaf{number}")


def revocations(world: World) -> Revocations:
    anchors = (x509.load_pem_x509_certificate(world.authority.anchors_file.read_bytes()),)
    return Revocations.from_pem(world.authority.revocation_file.read_bytes(), anchors)


class TestIssue:
    @pytest.mark.parametrize(
        ("role", "serves"),
        [(Role.NVA, True), (Role.NVE, True), (Role.HYPERVISOR, False), (Role.OPERATOR, False)],
    )
    def test_what_stands_in_a_certificate(self, world: World, role: Role, serves: bool):
        path, issued = world.authority.issue(world.name(role, "one"))
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        assert identity_of(certificate, DOMAIN, Purpose.CLIENT).device == world.name(role, "one")
        if serves:
            assert identity_of(certificate, DOMAIN, Purpose.SERVER)
        else:
            with pytest.raises(PeerRefused):
                identity_of(certificate, DOMAIN, Purpose.SERVER)
        assert certificate.serial_number == issued.serial
        lifetime = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(hours=23) < lifetime <= timedelta(hours=24)

    def test_nothing_is_overwritten(self, world: World):
        path, _ = world.authority.issue(leaf())
        before = path.read_bytes()
        with pytest.raises(AuthorityError, match="exists"):
            world.authority.issue(leaf())
        with pytest.raises(AuthorityError, match="void all"):
            Authority.create(world.directory / "pki", DOMAIN)
        assert path.read_bytes() == before
        with pytest.raises(AuthorityError, match="does not exist"):
            world.authority.issue(leaf(2), renew=True)

    def test_a_renewal_has_a_new_key(self, world: World):
        path, _ = world.authority.issue(leaf())
        before = x509.load_pem_x509_certificate(path.read_bytes())
        world.authority.issue(leaf(), renew=True)
        after = x509.load_pem_x509_certificate(path.read_bytes())
        assert before.public_key() != after.public_key()

    @pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(days=91)])
    def test_lifetimes_have_limits(self, world: World, lifetime: timedelta):
        with pytest.raises(AuthorityError):
            world.authority.issue(leaf(), lifetime)
        assert not world.authority.device_file(leaf()).exists()

    def test_another_domain(self, world: World):
        with pytest.raises(AuthorityError):
            world.authority.issue(DeviceName("other.example", Role.NVE, "leaf1"))


class TestOnDisk:
    def test_modes(self, world: World, tmp_path: Path):
        old = os.umask(0)
        try:
            world.authority.issue(leaf())
            requests.begin(tmp_path / "device" / "leaf9.pem", leaf(9))
        finally:
            os.umask(old)
        public = {"anchors.pem", "revoked.pem"}
        for path in (*(tmp_path / "pki").rglob("*"), *(tmp_path / "device").rglob("*"), tmp_path / "pki"):
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_dir():
                assert mode == 0o700, path
            else:
                assert mode == (0o644 if path.name in public else 0o600), path

    def test_a_directory_that_others_can_enter_is_refused(self, tmp_path: Path):
        open_directory = tmp_path / "open"
        open_directory.mkdir(mode=0o755)
        with pytest.raises(StorageError, match="0700"):
            private_directory(open_directory)
        with pytest.raises(StorageError):
            Authority.create(open_directory, DOMAIN)

    def test_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = tmp_path / "file"
        write(path, b"before")

        def broken(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(StorageError):
            write(path, b"after", replace=True)
        assert path.read_bytes() == b"before"
        assert [one.name for one in tmp_path.iterdir()] == ["file"]

    def test_a_link_is_not_followed(self, tmp_path: Path):
        target = tmp_path / "target"
        target.write_bytes(b"precious")
        (tmp_path / "link").symlink_to(target)
        with pytest.raises(StorageError):
            write(tmp_path / "link", b"new")
        write(tmp_path / "link", b"new", replace=True)
        assert target.read_bytes() == b"precious"

    def test_the_ledger_keeps_no_token(self, world: World):
        token = world.authority.token(leaf())
        for path in (world.directory / "pki").rglob("*"):
            if path.is_file():
                assert token.encode() not in path.read_bytes()

    def test_commands_at_once_lose_nothing(self, world: World):
        def issue(number: int) -> int:
            return Authority(world.directory / "pki").issue(leaf(number))[1].serial

        with ThreadPoolExecutor(8) as pool:
            serials = set(pool.map(issue, range(24)))
        assert {one.serial for one in world.authority.issued()} == serials

    def test_a_damaged_ledger_stops_everything(self, world: World):
        path = world.directory / "pki" / "ledger.json"
        path.write_text("{}")
        with pytest.raises(AuthorityError, match="revocations are lost"):
            Authority(world.directory / "pki")


class TestRevoke:
    def test_all_of_a_device(self, world: World):
        first = world.authority.issue(leaf())[1]
        second = world.authority.issue(leaf(), renew=True)[1]
        other = world.authority.issue(leaf(2))[1]
        revoked = world.authority.revoke(leaf())
        assert {one.serial for one in revoked} == {first.serial, second.serial}
        (known,) = revocations(world).lists.values()
        assert known.serials == {first.serial, second.serial}
        assert other.serial not in known.serials

    def test_one_by_number(self, world: World):
        first = world.authority.issue(leaf())[1]
        world.authority.issue(leaf(), renew=True)
        world.authority.revoke(None, first.serial)
        (known,) = revocations(world).lists.values()
        assert known.serials == {first.serial}

    def test_nothing_to_revoke(self, world: World):
        with pytest.raises(AuthorityError, match="nothing to revoke"):
            world.authority.revoke(leaf())
        with pytest.raises(AuthorityError, match="serial number 2a"):
            world.authority.revoke(None, 42)

    def test_numbers_rise_and_lists_end(self, world: World):
        (before,) = revocations(world).lists.values()
        world.authority.publish()
        (after,) = revocations(world).lists.values()
        assert after.number == before.number + 1
        assert timedelta(0) <= after.next_update - after.this_update <= LIST_LIFETIME

    def test_a_token_goes_with_its_device(self, world: World):
        world.authority.issue(leaf())
        token = world.authority.token(leaf())
        world.authority.revoke(leaf())
        with pytest.raises(AuthorityError):
            world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)

    def test_what_ended_long_ago_is_forgotten(self, tmp_path: Path):
        clock = FakeClock()
        world = World(tmp_path, clock)
        old = world.authority.issue(leaf())[1]
        world.authority.revoke(leaf())
        clock.advance(days=2)
        world.authority.issue(leaf(2))
        assert old.serial in {one.serial for one in world.authority.issued()}
        clock.advance(days=7)
        world.authority.issue(leaf(3))
        assert old.serial not in {one.serial for one in world.authority.issued()}


class TestRequests:
    def test_the_key_never_leaves_the_device(self, world: World, tmp_path: Path):
        path = tmp_path / "device" / "leaf1.pem"
        request = requests.begin(path, leaf())
        assert b"PRIVATE" not in request
        assert not path.exists()
        chain, issued = world.authority.sign(request, leaf())
        requests.finish(path, chain)
        loaded = load_credentials(DeviceFiles(path, path, world.authority.anchors_file), DOMAIN, Purpose.SERVER)
        assert loaded.identity.serial == issued.serial
        assert [one.name for one in path.parent.iterdir()] == ["leaf1.pem"]

    def test_a_lost_answer_costs_nothing(self, world: World, tmp_path: Path):
        path = tmp_path / "device" / "leaf1.pem"
        world.authority.sign(requests.begin(path, leaf()), leaf())
        chain, _ = world.authority.sign(requests.begin(path, leaf()), leaf())
        requests.finish(path, chain)
        assert load_credentials(DeviceFiles(path, path, world.authority.anchors_file), DOMAIN, Purpose.CLIENT)

    def test_what_is_in_use_stays_until_the_new_one_is_there(self, world: World, tmp_path: Path):
        path = tmp_path / "device" / "leaf1.pem"
        requests.finish(path, world.authority.sign(requests.begin(path, leaf()), leaf())[0])
        before = path.read_bytes()
        requests.begin(path, leaf())
        assert path.read_bytes() == before
        foreign, _ = world.authority.sign(make_request(leaf(), DeviceKey.generate()), leaf())
        with pytest.raises(StorageError, match="not for the key"):
            requests.finish(path, foreign)
        assert path.read_bytes() == before

    def test_a_request_for_somebody_else(self, world: World):
        request = make_request(DeviceName(DOMAIN, Role.NVA, "nva1"), DeviceKey.generate())
        with pytest.raises(AuthorityError, match="names nva/nva1, not nve/leaf1"):
            world.authority.sign(request, leaf())

    def request(self, names: list[x509.GeneralName], *more: x509.ExtensionType, kind: str = "p256") -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "nva1.nva.lab.example")])
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for extension in more:
            builder = builder.add_extension(extension, critical=True)
        key = make_key(kind)
        digest = None if kind.startswith("ed") else hashes.SHA256()
        return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)

    @pytest.mark.parametrize(
        ("names", "kind"),
        [
            ([], "p256"),
            (san(leaf().uri), "p256"),
            (san(leaf().uri, leaf().dns, "nva1.nva.lab.example"), "p256"),
            (san(leaf().uri, "nvo3://lab.example/nva/nva1", leaf().dns), "p256"),
            (san(leaf().uri, leaf().dns), "ed25519"),
            (san(leaf().uri, leaf().dns), "rsa1024"),
            (san("nvo3://other.example/nve/leaf1", "leaf1.nve.other.example"), "p256"),
        ],
    )
    def test_irregular(self, world: World, names: list[x509.GeneralName], kind: str):
        with pytest.raises(AuthorityError):
            world.authority.sign(self.request(names, kind=kind), leaf())

    def test_only_key_and_name_are_taken_from_a_request(self, world: World):
        request = self.request(
            san(leaf().uri, leaf().dns),
            x509.BasicConstraints(ca=True, path_length=None),
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING]),
        )
        chain, _ = world.authority.sign(request, leaf())
        certificate = x509.load_pem_x509_certificate(chain)
        assert identity_of(certificate, DOMAIN, Purpose.CLIENT).device == leaf()
        assert "nva1" not in certificate.subject.rfc4514_string()

    def test_a_request_signed_with_another_key(self, world: World):
        request = make_request(leaf(), DeviceKey.generate())
        der = bytearray(x509.load_pem_x509_csr(request).public_bytes(serialization.Encoding.DER))
        der[-1] ^= 1
        broken = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
        with pytest.raises(AuthorityError):
            world.authority.sign(broken, leaf())

    @pytest.mark.parametrize("garbage", [b"", b"garbage", b"x" * 20_000])
    def test_no_request(self, world: World, garbage: bytes):
        with pytest.raises(AuthorityError):
            world.authority.sign(garbage, leaf())


class TestEnrolment:
    def test_after_expiry_without_the_old_certificate(self, tmp_path: Path):
        clock = FakeClock()
        world = World(tmp_path, clock)
        world.authority.issue(leaf())
        clock.advance(days=30)
        token = world.authority.token(leaf())
        chain, issued = world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)
        assert identity_of(x509.load_pem_x509_certificate(chain), DOMAIN, Purpose.CLIENT).device == leaf()
        assert issued.not_after > clock()

    def test_once(self, world: World):
        token = world.authority.token(leaf())
        world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)
        with pytest.raises(AuthorityError, match="not valid"):
            world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)

    def test_not_for_long(self, tmp_path: Path):
        clock = FakeClock()
        world = World(tmp_path, clock)
        token = world.authority.token(leaf())
        clock.advance(hours=1, seconds=1)
        with pytest.raises(AuthorityError, match="not valid"):
            world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)

    def test_not_for_another_device_and_then_still_good(self, world: World):
        token = world.authority.token(leaf())
        for other in (leaf(2), DeviceName(DOMAIN, Role.NVA, "leaf1")):
            with pytest.raises(AuthorityError, match="not valid"):
                world.authority.enroll(make_request(other, DeviceKey.generate()), token)
        assert world.authority.enroll(make_request(leaf(), DeviceKey.generate()), token)

    def test_a_new_one_voids_the_one_before(self, world: World):
        first, second = world.authority.token(leaf()), world.authority.token(leaf())
        with pytest.raises(AuthorityError):
            world.authority.enroll(make_request(leaf(), DeviceKey.generate()), first)
        assert world.authority.enroll(make_request(leaf(), DeviceKey.generate()), second)

    def test_used_up_by_one_of_many_at_once(self, world: World):
        token = world.authority.token(leaf())

        def enroll(_number: int) -> bool:
            try:
                Authority(world.directory / "pki").enroll(make_request(leaf(), DeviceKey.generate()), token)
            except AuthorityError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(enroll, range(16))) == 1

    @pytest.mark.parametrize("guess", ["", "x", "é", "0" * 1000])
    def test_a_guess(self, world: World, guess: str):
        world.authority.token(leaf())
        with pytest.raises(AuthorityError) as caught:
            world.authority.enroll(make_request(leaf(), DeviceKey.generate()), guess)
        assert not guess or guess not in str(caught.value) or guess == "x"

    def test_the_lifetime_has_a_limit(self, world: World):
        with pytest.raises(AuthorityError):
            world.authority.token(leaf(), timedelta(days=8))


class TestCommands:
    def invoke(
        self,
        directory: Path,
        *arguments: str,
        text: str | None = None,
        fails: type[BaseException] | None = None,
    ) -> str:
        result = CliRunner().invoke(
            app, [*arguments], input=text, env={"NVO3SEC_PKI_DIR": str(directory)}, catch_exceptions=True
        )
        if fails is not None:
            assert isinstance(result.exception, fails), result.output
            return ""
        assert result.exit_code == 0, (result.output, result.exception)
        assert "PRIVATE" not in result.output
        return result.stdout

    def test_the_life_of_a_certificate(self, tmp_path: Path):
        directory = tmp_path / "pki"
        self.invoke(directory, "init", DOMAIN)
        path = Path(self.invoke(directory, "issue", "nve", "leaf1", "--lifetime", "30m").strip())
        assert path.exists()
        self.invoke(directory, "issue", "nve", "leaf1", fails=AuthorityError)
        self.invoke(directory, "renew", "nve", "leaf1")
        rows = json.loads(self.invoke(directory, "list", "-o", "json"))
        assert [(row["role"], row["name"], row["state"]) for row in rows] == [("nve", "leaf1", "valid")] * 2
        assert "leaf1" in self.invoke(directory, "list")
        self.invoke(directory, "revoke", "--serial", rows[0]["serial"], "--yes")
        self.invoke(directory, "revoke", "nve", "leaf1", fails=OperatorError)  # nobody was asked
        self.invoke(directory, "revoke", "nve", "leaf1", "--yes")
        rows = json.loads(self.invoke(directory, "list", "-o", "json"))
        assert {row["state"] for row in rows} == {"revoked"}
        self.invoke(directory, "publish")

    def test_the_devices_side(self, tmp_path: Path):
        directory, device = tmp_path / "pki", tmp_path / "device" / "leaf1.pem"
        self.invoke(directory, "init", DOMAIN)
        request = self.invoke(directory, "request", DOMAIN, "nve", "leaf1", "--out", str(device))
        (tmp_path / "request.pem").write_text(request)
        chain = self.invoke(directory, "sign", "nve", "leaf1", "-", text=request)
        self.invoke(directory, "install", "-", "--out", str(device), text=chain)
        token = self.invoke(directory, "token", "nve", "leaf1").strip()
        assert len(token) >= 43
        self.invoke(directory, "request", DOMAIN, "nve", "leaf1", "--out", str(device))
        chain = self.invoke(directory, "enroll", str(tmp_path / "request.pem"), text=f"{token}\n")
        assert "BEGIN CERTIFICATE" in chain
        self.invoke(directory, "enroll", str(tmp_path / "request.pem"), text=f"{token}\n", fails=AuthorityError)

    def test_an_input_that_is_empty_is_said_to_be(self, tmp_path: Path):
        """As after `pki request ... > leaf1.csr` that was refused."""
        directory, request = tmp_path / "pki", tmp_path / "leaf1.csr"
        self.invoke(directory, "init", DOMAIN)
        request.write_text("\n")
        for words, said in (
            (("sign", "nve", "leaf1", str(request)), f"{request} is empty"),
            (("sign", "nve", "leaf1", "-"), "standard input is empty"),
            (("enroll", str(request)), f"{request} is empty"),
            (("install", str(request), "--out", str(tmp_path / "device.pem")), f"{request} is empty"),
        ):
            result = CliRunner().invoke(app, [*words], input="", env={"NVO3SEC_PKI_DIR": str(directory)})
            assert isinstance(result.exception, StorageError)
            assert str(result.exception) == said

    def test_irregular(self, tmp_path: Path):
        directory = tmp_path / "pki"
        self.invoke(directory, "issue", "nve", "leaf1", fails=AuthorityError)
        self.invoke(directory, "init", "Not A Domain", fails=SystemExit)
        self.invoke(directory, "init", DOMAIN)
        self.invoke(directory, "issue", "nve", "Leaf_1", fails=SystemExit)
        for arguments in (
            ("issue", "root", "leaf1"),
            ("issue", "nve", "leaf1", "--lifetime", "forever"),
            ("revoke",),
            ("revoke", "nve"),
            ("revoke", "--serial", "xyz"),
        ):
            self.invoke(directory, *arguments, fails=SystemExit)

    def test_the_reason_of_a_wrong_name_is_told(self):
        with pytest.raises(PeerRefused) as caught:
            DeviceName(DOMAIN, Role.NVE, "Leaf_1")
        assert caught.value.reason is Reason.NAME


def test_a_ledger_comes_back_as_it_was(tmp_path: Path):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    state = ledger.Ledger(
        DOMAIN,
        7,
        (ledger.Issued(5, leaf(), now, now), ledger.Issued(6, leaf(2), now)),
        (ledger.EnrolmentToken("00" * 32, leaf(), now),),
    )
    path = tmp_path / "ledger.json"
    ledger.save(path, state, fresh=True)
    assert ledger.load(path) == state
    with pytest.raises(StorageError):
        ledger.save(path, state, fresh=True)


def test_a_chain_whose_anchor_is_not_valid_says_when_it_is(tmp_path):
    """A clock that is behind and an anchor that has ended are told apart by the dates."""
    world = World(tmp_path)
    path, _ = world.authority.issue(world.name(Role.NVE, "leaf1"))
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    anchors = x509.load_pem_x509_certificates(world.authority.anchors_file.read_bytes())
    assert chain_fault(chain, anchors, datetime.now(UTC)) == ""
    begins = anchors[0].not_valid_before_utc
    fault = chain_fault(chain, anchors, begins - timedelta(hours=2))
    assert f"is valid from {begins:%Y-%m-%d %H:%M} to " in fault
