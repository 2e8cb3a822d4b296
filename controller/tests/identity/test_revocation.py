# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: fail closed, never back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from identity_world import DOMAIN, FakeClock, ForeignAuthority, make_key
from nvo3sec.identity.certificate import Identity, Purpose, identity_of
from nvo3sec.identity.errors import CredentialsError, PeerRefused, Reason, RevocationUnknown
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation import RevocationFile, Revocations, load_anchors
from nvo3sec.identity.storage import StorageError

LEAF = DeviceName(DOMAIN, Role.NVE, "leaf1")


@pytest.fixture
def authority() -> ForeignAuthority:
    """An authority."""
    return ForeignAuthority()


def identity(authority: ForeignAuthority) -> Identity:
    return identity_of(authority.device(LEAF)[0], DOMAIN, Purpose.CLIENT)


def parse(authority: ForeignAuthority, pem: bytes) -> Revocations:
    return Revocations.from_pem(pem, (authority.certificate,))


def reason(revocations: Revocations, who: Identity, clock: FakeClock) -> Reason | None:
    try:
        revocations.check(who, clock())
    except PeerRefused as error:
        return error.reason
    return None


class TestCheck:
    def test_good_and_revoked(self, authority: ForeignAuthority):
        good, bad = identity(authority), identity(authority)
        revocations = parse(authority, authority.revocations([bad.serial]))
        assert reason(revocations, good, FakeClock()) is None
        assert reason(revocations, bad, FakeClock()) is Reason.REVOKED

    def test_a_stale_list_is_none(self, authority: ForeignAuthority):
        who, clock = identity(authority), FakeClock()
        revocations = parse(authority, authority.revocations(ends=timedelta(minutes=30)))
        assert reason(revocations, who, clock) is None
        clock.advance(minutes=31)
        assert reason(revocations, who, clock) is Reason.REVOCATION_UNKNOWN

    def test_a_stale_list_still_revokes(self, authority: ForeignAuthority):
        who, clock = identity(authority), FakeClock()
        revocations = parse(authority, authority.revocations([who.serial], ends=timedelta(minutes=30)))
        clock.advance(days=300)
        assert reason(revocations, who, clock) is Reason.REVOKED

    def test_a_list_of_the_future_is_none(self, authority: ForeignAuthority):
        who = identity(authority)
        pem = authority.revocations(begins=timedelta(hours=1), ends=timedelta(hours=2))
        assert reason(parse(authority, pem), who, FakeClock()) is Reason.REVOCATION_UNKNOWN

    def test_another_authority_has_its_own_list(self, authority: ForeignAuthority):
        other = ForeignAuthority(name="other")
        who = identity(other)
        assert reason(parse(authority, authority.revocations()), who, FakeClock()) is Reason.REVOCATION_UNKNOWN
        both = Revocations.from_pem(
            authority.revocations() + other.revocations([who.serial]), (authority.certificate, other.certificate)
        )
        assert reason(both, who, FakeClock()) is Reason.REVOKED
        assert reason(both, identity(authority), FakeClock()) is None


class TestRefusedLists:
    @pytest.mark.parametrize(
        "options",
        [
            {"key": make_key()},
            {"number": None},
            {"extensions": [(x509.DeltaCRLIndicator(1), True)]},
            {
                "extensions": [
                    (x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True),
                ]
            },
        ],
        ids=["signed by another key", "without a number", "a delta", "of authorities only"],
    )
    def test_not_taken(self, authority: ForeignAuthority, options: dict[str, Any]):
        with pytest.raises(RevocationUnknown):
            parse(authority, authority.revocations(**options))

    def test_of_an_authority_of_the_same_name(self, authority: ForeignAuthority):
        with pytest.raises(RevocationUnknown):
            parse(authority, ForeignAuthority().revocations())

    @pytest.mark.parametrize("pem", [b"", b"garbage", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
    def test_no_list(self, authority: ForeignAuthority, pem: bytes):
        with pytest.raises(RevocationUnknown):
            parse(authority, pem)

    def test_two_of_one_authority(self, authority: ForeignAuthority):
        with pytest.raises(RevocationUnknown):
            parse(authority, authority.revocations() + authority.revocations(number=2))


class TestFile:
    def replace(self, path: Path, pem: bytes) -> None:
        draft = path.with_suffix(".new")
        draft.write_bytes(pem)
        draft.replace(path)

    def test_a_new_list_is_seen(self, authority: ForeignAuthority, tmp_path: Path):
        path, who = tmp_path / "list", identity(authority)
        path.write_bytes(authority.revocations())
        file = RevocationFile(path, lambda: (authority.certificate,))
        assert not file.refresh()
        self.replace(path, authority.revocations([who.serial], number=2))
        assert file.refresh()
        assert reason(file.current, who, FakeClock()) is Reason.REVOKED

    def test_without_one_nothing_starts(self, authority: ForeignAuthority, tmp_path: Path):
        with pytest.raises(StorageError):
            RevocationFile(tmp_path / "list", lambda: (authority.certificate,))

    def test_an_older_list_is_not_taken(self, authority: ForeignAuthority, tmp_path: Path):
        path, who = tmp_path / "list", identity(authority)
        path.write_bytes(authority.revocations([who.serial], number=7))
        file = RevocationFile(path, lambda: (authority.certificate,))
        self.replace(path, authority.revocations(number=6))
        assert not file.refresh()
        assert file.rejected == 1
        assert reason(file.current, who, FakeClock()) is Reason.REVOKED

    def test_garbage_or_absence_changes_nothing_until_the_list_ends(self, authority: ForeignAuthority, tmp_path: Path):
        path, who, clock = tmp_path / "list", identity(authority), FakeClock()
        path.write_bytes(authority.revocations(ends=timedelta(minutes=30)))
        file = RevocationFile(path, lambda: (authority.certificate,))
        for step in (lambda: self.replace(path, b"garbage"), path.unlink):
            step()
            assert not file.refresh()
            assert reason(file.current, who, clock) is None
        assert file.rejected == 2
        clock.advance(minutes=31)
        assert reason(file.current, who, clock) is Reason.REVOCATION_UNKNOWN

    def test_a_list_of_an_attacker_is_not_taken(self, authority: ForeignAuthority, tmp_path: Path):
        path, who = tmp_path / "list", identity(authority)
        path.write_bytes(authority.revocations([who.serial]))
        file = RevocationFile(path, lambda: (authority.certificate,))
        self.replace(path, ForeignAuthority().revocations(number=99))
        assert not file.refresh()
        assert reason(file.current, who, FakeClock()) is Reason.REVOKED


class TestAnchors:
    def test_a_device_is_no_anchor(self, authority: ForeignAuthority):
        certificate, _ = authority.device(LEAF)
        from identity_world import pem

        with pytest.raises(CredentialsError):
            load_anchors(pem(certificate))
        assert load_anchors(pem(authority.certificate)) == (authority.certificate,)
        for nothing in (b"", b"garbage"):
            with pytest.raises(CredentialsError):
                load_anchors(nothing)
