# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: fail closed, never back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from identity_world import DOMAIN, FakeClock, ForeignAuthority, World, make_key
from nvo3sec.identity.anchors import Anchors, Issuer, load_anchors
from nvo3sec.identity.certificate import Identity, Purpose, identity_of
from nvo3sec.identity.errors import CredentialsError, PeerRefused, Reason, RevocationUnknown
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import AGAIN_S, ListWithoutAnchor, RevocationFile, Revocations, parse_lists
from nvo3sec.identity.storage import StorageError
from structlog.testing import capture_logs

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
        anchors = (authority.certificate, other.certificate)
        one = Revocations.from_pem(authority.revocations(), anchors)
        assert reason(one, who, FakeClock()) is Reason.REVOCATION_UNKNOWN
        assert reason(one, identity(authority), FakeClock()) is None
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

    def test_of_two_of_one_authority_the_newer_one_counts(self, authority: ForeignAuthority):
        """In whichever order: what it revoked last must not wait until somebody has tidied up."""
        who = identity(authority)
        both = authority.revocations(), authority.revocations([who.serial], number=2)
        for pem in (b"".join(both), b"".join(reversed(both))):
            lists, faults = parse_lists(pem, Anchors((authority.certificate,)))
            assert [one.number for one in lists.values()] == [2]
            assert "two lists" in faults[0]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    @pytest.mark.parametrize("cut", [40, 200, -30])
    def test_half_of_one_hides_no_other(self, authority: ForeignAuthority, cut: int, order: tuple[int, int]):
        other = ForeignAuthority(name="other")
        parts = (authority.revocations(), other.revocations()[:cut] + b"\n")
        pem = b"".join(parts[index] for index in order)
        lists, faults = parse_lists(pem, Anchors((authority.certificate, other.certificate)))
        assert list(lists) == [Issuer.of(authority.certificate)]
        assert faults


class TestIssuer:
    def test_by_key_and_not_by_name(self, authority: ForeignAuthority):
        """An authority renews its key under its name: each key has a list of its own, and one alone forgives nobody."""
        renewed = ForeignAuthority()
        anchors = (authority.certificate, renewed.certificate)
        bad, good, new = identity(authority), identity(authority), identity(renewed)
        clock = FakeClock()
        both = Revocations.from_pem(authority.revocations([bad.serial]) + renewed.revocations(), anchors)
        assert [reason(both, who, clock) for who in (bad, good, new)] == [Reason.REVOKED, None, None]
        alone = Revocations.from_pem(renewed.revocations(), anchors)
        unknown = Reason.REVOCATION_UNKNOWN
        assert [reason(alone, who, clock) for who in (bad, good, new)] == [unknown, unknown, None]

    def test_the_new_key_revokes_what_the_one_before_signed(self, authority: ForeignAuthority):
        """RFC 5280 has one list for a name; ours are of keys, and whichever says so, it is revoked."""
        renewed, who = ForeignAuthority(), identity(authority)
        pem = authority.revocations() + renewed.revocations([who.serial])
        lists = Revocations.from_pem(pem, (authority.certificate, renewed.certificate))
        assert reason(lists, who, FakeClock()) is Reason.REVOKED

    def test_an_anchor_that_was_renewed_with_its_key_is_the_same(self, authority: ForeignAuthority):
        who, before = identity(authority), authority.certificate
        authority.certificate = authority.sign(authority.name, authority.key, ca=True, purposes=(), names=())
        assert authority.certificate != before
        for anchors in ((before,), (authority.certificate,), (before, authority.certificate)):
            lists = Revocations.from_pem(authority.revocations(), anchors)
            assert reason(lists, who, FakeClock()) is None

    def test_an_anchor_that_has_ended(self, authority: ForeignAuthority):
        who, clock = identity(authority), FakeClock()
        lists = Revocations.from_pem(authority.revocations(ends=timedelta(days=9)), (authority.certificate,))
        clock.advance(minutes=59)
        assert reason(lists, who, clock) is None
        clock.advance(minutes=2)
        assert reason(lists, who, clock) is Reason.UNTRUSTED

    def test_one_that_may_not_sign_certificates_issues_none(self, authority: ForeignAuthority):
        usage = x509.KeyUsage(False, False, False, False, False, False, True, False, False)
        anchor = authority.sign(authority.name, authority.key, ca=True, purposes=(), names=(), usage=usage)
        lists = Revocations.from_pem(authority.revocations(), (anchor,))
        assert reason(lists, identity(authority), FakeClock()) is Reason.UNTRUSTED


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
        with capture_logs() as said:
            assert not file.refresh()
        assert [(one["event"], one["log_level"]) for one in said] == [("revocation list not taken", "error")]
        assert reason(file.current, who, FakeClock()) is Reason.REVOKED

    def test_a_list_before_its_anchor_is_looked_at_again(self, authority: ForeignAuthority, tmp_path: Path):
        path, new = tmp_path / "list", ForeignAuthority(name="new")
        who, anchors = identity(new), [authority.certificate]
        path.write_bytes(authority.revocations())
        file = RevocationFile(path, lambda: anchors)
        self.replace(path, authority.revocations() + new.revocations())
        with capture_logs() as said:
            assert not file.refresh()
        assert "no trust anchor signed" in file.faults[0]
        assert [(one["event"], one["log_level"]) for one in said] == [
            ("revocation list waits for its trust anchor", "info")
        ]
        assert file.rejected == 0
        assert reason(file.current, who, FakeClock()) is Reason.UNTRUSTED
        anchors.append(new.certificate)
        with capture_logs() as said:
            assert file.refresh()
        assert [one["event"] for one in said] == ["revocation lists complete", "revocation lists taken"]
        assert not file.faults
        assert reason(file.current, who, FakeClock()) is None

    def test_a_list_before_its_anchor_at_a_start(self, authority: ForeignAuthority, tmp_path: Path):
        path, new = tmp_path / "list", ForeignAuthority(name="new")
        path.write_bytes(new.revocations() + authority.revocations())
        file = RevocationFile(path, lambda: (authority.certificate,))
        assert reason(file.current, identity(authority), FakeClock()) is None
        assert [isinstance(one, ListWithoutAnchor) for one in file.faults] == [True]

    @pytest.mark.parametrize("identified", [True, False])
    def test_another_key_with_the_name_of_an_anchor(self, tmp_path: Path, identified: bool):
        """It waits if it says that it is of another key; else it is taken for one whose signature is wrong."""
        anchors, other = load_anchors(World(tmp_path).authority.anchors_file.read_bytes()), ForeignAuthority()
        other.name = anchors[0].subject
        key = x509.AuthorityKeyIdentifier.from_issuer_public_key(other.key.public_key())
        pem = other.revocations(extensions=[(key, False)] if identified else [])
        lists, faults = parse_lists(pem, Anchors(anchors))
        assert not lists
        assert isinstance(faults[0], ListWithoutAnchor) is identified

    def test_a_list_that_has_gone_hides_no_other(self, authority: ForeignAuthority, tmp_path: Path):
        """The retired authority's list leaves the file, and its anchor is still there: the living one goes on."""
        path, new = tmp_path / "list", ForeignAuthority(name="new")
        path.write_bytes(authority.revocations() + new.revocations())
        file = RevocationFile(path, lambda: (authority.certificate, new.certificate))
        late, old = identity(new), identity(authority)
        self.replace(path, new.revocations([late.serial], number=2))
        assert file.refresh()
        assert "there is no list of" in file.faults[0]
        assert reason(file.current, late, FakeClock()) is Reason.REVOKED
        assert reason(file.current, old, FakeClock()) is None, "its list has not ended"

    def test_each_authority_has_its_own_numbers(self, authority: ForeignAuthority, tmp_path: Path):
        path, new = tmp_path / "list", ForeignAuthority()
        bad, late = identity(authority), identity(new)
        path.write_bytes(authority.revocations([bad.serial], number=70) + new.revocations(number=3))
        file = RevocationFile(path, lambda: (authority.certificate, new.certificate))
        self.replace(path, authority.revocations(number=69) + new.revocations([late.serial], number=4))
        assert file.refresh()
        assert "list 69" in file.faults[0]
        assert reason(file.current, bad, FakeClock()) is Reason.REVOKED
        assert reason(file.current, late, FakeClock()) is Reason.REVOKED

    def test_who_was_away_comes_back_no_older(self, authority: ForeignAuthority, tmp_path: Path):
        """An anchor is taken out and put back, with a list from before the revocation."""
        path, new = tmp_path / "list", ForeignAuthority(name="new")
        bad, anchors = identity(authority), [authority.certificate, new.certificate]
        path.write_bytes(authority.revocations([bad.serial], number=2) + new.revocations())
        file = RevocationFile(path, lambda: anchors)
        anchors.remove(authority.certificate)
        self.replace(path, new.revocations())
        assert file.refresh()
        assert reason(file.current, bad, FakeClock()) is Reason.REVOKED
        self.replace(path, authority.revocations(number=1) + new.revocations())
        anchors.append(authority.certificate)
        assert file.refresh()
        assert "older" in file.faults[0]
        assert reason(file.current, bad, FakeClock()) is Reason.REVOKED

    def test_a_list_of_the_future_revokes_now_and_forgives_later(self, authority: ForeignAuthority, tmp_path: Path):
        """The authority's clock is ahead: nobody is shut out for that, and nobody is forgiven early."""
        path, clock = tmp_path / "list", FakeClock()
        good, first, second = (identity(authority) for _ in range(3))
        path.write_bytes(authority.revocations([first.serial]))
        file = RevocationFile(path, lambda: (authority.certificate,), clock=clock)
        later = authority.revocations(
            [second.serial], number=2, begins=timedelta(minutes=30), ends=timedelta(minutes=59)
        )
        self.replace(path, later)
        assert file.refresh()
        found = [reason(file.current, who, clock) for who in (good, first, second)]
        assert found == [None, Reason.REVOKED, Reason.REVOKED]
        clock.advance(minutes=26)
        assert file.refresh(), "the time has come, and the file is the same"
        assert [reason(file.current, who, clock) for who in (good, first, second)] == [None, None, Reason.REVOKED]

    def test_what_cannot_be_read_for_a_while(self, authority: ForeignAuthority, tmp_path: Path, monkeypatch):
        """A disk that fails changes no date of a file: it is read again by itself."""
        path, who, now = tmp_path / "list", identity(authority), [0.0]
        path.write_bytes(authority.revocations())
        file = RevocationFile(path, lambda: (authority.certificate,), monotonic=lambda: now[0])
        self.replace(path, authority.revocations([who.serial], number=2))

        def fails(_path: Path) -> bytes:
            raise StorageError("input/output error")

        with monkeypatch.context() as broken:
            broken.setattr("nvo3sec.identity.revocation_lists.read", fails)
            assert not file.refresh()
        assert not file.refresh()
        now[0] = AGAIN_S
        assert file.refresh()
        assert reason(file.current, who, FakeClock()) is Reason.REVOKED
        assert not file.faults


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
