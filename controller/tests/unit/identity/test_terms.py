# SPDX-License-Identifier: Apache-2.0
"""What ends is said in good time, once at each step."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from identity_world import DOMAIN, FakeClock, ForeignAuthority, World, pem
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.keys.sa import Direction, KeyLimits, Sa, SaState
from nvo3sec.domain.messages.credential_terms import SAID, CredentialTerms, Term, TermKind, Urgency, span
from nvo3sec.domain.messages.versions import Speaks
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.domain.switch.status import unknown_status
from nvo3sec.errors import WireError
from nvo3sec.identity.authority.authority import Authority, bundle
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device, DeviceFiles
from nvo3sec.identity.errors import AuthorityError
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.terms import TermLog, terms_of
from nvo3sec.operator.documents import Status, Switch
from nvo3sec.operator.ends import with_terms
from nvo3sec.operator.json_form import to_json
from nvo3sec.operator.status import status_report, with_versions
from nvo3sec.wire import nva_pb2 as pb
from nvo3sec.wire import up
from nvo3sec.wire.terms import FAULT_LIMIT, NAME_LIMIT

HOUR_S, DAY_S = 3600.0, 86400.0


class TestUrgency:
    @pytest.mark.parametrize(
        ("life_s", "left_s", "expected"),
        [
            (DAY_S, 9 * HOUR_S, Urgency.NONE),
            (DAY_S, 8 * HOUR_S, Urgency.WARNING),
            (DAY_S, 2.5 * HOUR_S, Urgency.WARNING),
            (DAY_S, 2.4 * HOUR_S, Urgency.URGENT),
            (DAY_S, 0.0, Urgency.ENDED),
            (7 * DAY_S, 2.4 * DAY_S, Urgency.NONE),
            (7 * DAY_S, 2.3 * DAY_S, Urgency.WARNING),
            (3650 * DAY_S, 91 * DAY_S, Urgency.NONE),
            (3650 * DAY_S, 90 * DAY_S, Urgency.WARNING),
            (3650 * DAY_S, 30 * DAY_S, Urgency.URGENT),
            (-5.0, 1.0, Urgency.NONE),
        ],
    )
    def test_steps(self, life_s: float, left_s: float, expected: Urgency):
        term = Term(TermKind.CERTIFICATE, "nve/leaf1", 1000.0 - life_s, 1000.0)
        assert term.urgency(1000.0 - left_s) is expected

    def test_words(self):
        assert [span(value) for value in (30.9, 250.0, 26400.0, 6.5 * DAY_S)] == ["30 s", "4 min", "7 h 20 min", "6 d"]
        term = Term(TermKind.REVOCATION_LIST, "CN=x", 0.0, 1000.0)
        assert term.describe(940.0) == "the revocation list of CN=x ends in 1 min"
        assert term.describe(1060.0) == "the revocation list of CN=x has ended 1 min ago"


class TestTermsOf:
    def test_everything_that_ends(self, world: World):
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT)
        live = LivePeers(RevocationFile(world.authority.revocation_file, device.anchors))
        found = terms_of(device, live)
        assert not found.faults
        assert {one.kind for one in found.terms} == set(TermKind)
        (signed_by,) = [one.name for one in live.revocations.anchors.by_issuer]
        (own,) = [one.name for one in found.terms if one.kind is TermKind.CERTIFICATE]
        assert own == f"nve/leaf1, signed by {signed_by}"
        now = datetime.now(UTC).timestamp()
        left = {one.kind: one.ends - now for one in found.terms}
        assert left[TermKind.CERTIFICATE] == pytest.approx(DAY_S, abs=60)
        assert left[TermKind.REVOCATION_LIST] == pytest.approx(7 * DAY_S, abs=60)

    def test_what_is_wrong_with_the_files(self, world: World):
        """Also that our own certificate is revoked, which others will tell us by their silence only."""
        files = world.issue(Role.NVE, "leaf1")
        device = world.device(files, Purpose.CLIENT)
        live = LivePeers(RevocationFile(world.authority.revocation_file, device.anchors))
        foreign = ForeignAuthority()
        with files.anchors.open("ab") as file:
            file.write(pem(foreign.certificate))
        live.sweep()
        assert any("there is no list of CN=foreign" in one for one in terms_of(device, live).faults)
        world.authority.revoke(world.name(Role.NVE, "leaf1"))
        assert any("was revoked" in one for one in terms_of(device, live).faults)

    def test_logged_once_at_each_step(self, world: World):
        clock = FakeClock()
        device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
        live = LivePeers(RevocationFile(world.authority.revocation_file, device.anchors))
        log = TermLog(lambda: terms_of(device, live), clock=clock)
        levels = []
        for _ in range(50):
            with structlog.testing.capture_logs() as events:
                log.look()
            levels += [one["log_level"] for one in events if "certificate of nve/leaf1" in one["what"]]
            clock.advance(minutes=30)
        assert levels == ["warning", "error", "error"]

    def test_a_renewal_begins_anew(self):
        clock = FakeClock()
        terms = [
            CredentialTerms(
                (
                    Term(
                        TermKind.CERTIFICATE,
                        "nve/leaf1",
                        clock.now.timestamp() - 10 * HOUR_S,
                        clock.now.timestamp() + HOUR_S,
                    ),
                )
            )
        ]
        log = TermLog(lambda: terms[0], clock=clock)
        with structlog.testing.capture_logs() as events:
            log.look()
            log.look()
            terms[0] = CredentialTerms(
                (Term(TermKind.CERTIFICATE, "nve/leaf1", clock.now.timestamp(), clock.now.timestamp() + DAY_S),)
            )
            log.look()
        assert len(events) == 1


EMPTY = Status("lab.example", True, ())


class TestStatus:
    def test_what_several_say_is_one_warning(self):
        of_list = Term(TermKind.REVOCATION_LIST, "CN=x", 0.0, 7 * DAY_S)
        said = {
            "nva/nva1": CredentialTerms((of_list,)),
            "nve/leaf1": CredentialTerms((of_list,), ("the file is half a file",)),
        }
        found = with_terms(replace(EMPTY, warnings=("before",)), said, 6 * DAY_S)
        assert found.warnings[0] == "before"
        assert set(found.warnings[1:]) == {
            "nva/nva1, nve/leaf1: the revocation list of CN=x ends in 24 h 0 min",
            "nve/leaf1: the file is half a file",
        }
        assert [one.urgency for one in found.ends] == ["warning", "warning"]


def talkative(number: int) -> CredentialTerms:
    """As much as one agent may say, and nothing of it like another's; no letter of it is shown as one byte."""
    name, fault = f"é{number} " * (NAME_LIMIT // 6), f"é{number} " * (FAULT_LIMIT // 6)
    terms = tuple(Term(TermKind.CERTIFICATE, f"{one}{name}"[:NAME_LIMIT], 0.0, DAY_S) for one in range(SAID))
    return CredentialTerms(terms, tuple(f"{one}{fault}"[:FAULT_LIMIT] for one in range(SAID)))


class TestRoom:
    ROOM = 100_000

    def test_who_says_much_hides_nobody_else(self):
        few = CredentialTerms((Term(TermKind.CERTIFICATE, "nve/leaf1", 0.0, DAY_S),), ("the file is half a file",))
        said = {"nva/nva1": few, **{f"nve/bad{number}": talkative(number) for number in range(40)}, "nve/leaf1": few}
        assert len(json.dumps(to_json(with_terms(EMPTY, said, DAY_S)))) > 4 << 20, "more than a client takes"
        found = with_terms(EMPTY, said, DAY_S, self.ROOM)
        assert len(json.dumps(to_json(found))) < 2 * self.ROOM
        assert {one.process for one in found.ends} >= {"nva/nva1", "nve/leaf1"}
        assert "nva/nva1, nve/leaf1: the file is half a file" in found.warnings
        assert any(one.startswith("nve/bad") and "has no room beside the others'" in one for one in found.warnings)
        for number in range(40):
            assert any(f"nve/bad{number}" in one for one in found.warnings)

    def test_where_there_is_room_nothing_is_left_out(self):
        said = {"nve/leaf1": talkative(1), "nve/leaf2": talkative(2)}
        assert with_terms(EMPTY, said, DAY_S, 2 << 20) == with_terms(EMPTY, said, DAY_S)

    def test_what_they_say_that_they_speak_has_room_too(self):
        names = [f"leaf{number}" for number in range(200)]
        wordy = {
            name: Speaks(1, 0, frozenset(f"x{number}-{'y' * 50}" for number in range(64)), "s" * 64)
            for name in names[1:]
        }
        speaks = {"leaf0": Speaks(1, 0, frozenset(), "short"), **wordy}
        report = replace(EMPTY, switches=tuple(Switch(name) for name in names))
        found = with_versions(report, Speaks(1), speaks, self.ROOM)
        assert len(json.dumps(to_json(found))) < 3 * self.ROOM
        assert found.switches[0].speaks.software == "short"
        assert sum(one.speaks is not None for one in found.switches) > 5
        assert any("what it speaks: its answer" in one for one in found.warnings)
        assert len(json.dumps(to_json(with_versions(report, Speaks(1), speaks)))) > 10 * self.ROOM


class TestKeys:
    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            (3000.0, []),
            (3059.0, []),
            (3061.0, ["leaf1 to leaf2: the key is 1 min past its soft limit, and ends in 8 min"]),
            (3599.0, ["leaf1 to leaf2: the key is 9 min past its soft limit, and ends in 1 s"]),
        ],
    )
    def test_one_without_a_successor(self, now: float, expected: list[str]):
        limits = KeyLimits(3000.0, 3600.0, 0.0, 30.0, 10.0, 20.0)
        key = Sa(1, 1, SaState.SENDING, 0.0, 3000.0, 3600.0, 1, 0.0)
        direction = Direction(Tunnel("leaf1", "leaf2", Suite.CHASKEY12), limits, sas=(key,))
        domain = load_domain(example_path())
        agents = {nve.name: unknown_status(nve.name, "") for nve in domain.nves}
        found = status_report(domain, agents, [direction], [], [], now)
        assert list(found.warnings) == expected


class TestWire:
    def test_survives(self):
        message = CredentialTerms((Term(TermKind.TRUST_ANCHOR, "CN=x", 1.5, 2e9),), ("a fault",))
        assert up.decode_up(up.encode_up(message)) == message

    def test_what_others_wrote_is_made_printable(self):
        message = CredentialTerms((Term(TermKind.TRUST_ANCHOR, "CN=\x1b[31m" + "x" * 900, 1.5, 2e9),), ("\x07" * 3,))
        found = up.decode_up(up.encode_up(message))
        assert isinstance(found, CredentialTerms)
        assert found.terms[0].name.isprintable()
        assert found.faults == ("???",)

    @pytest.mark.parametrize(
        "message",
        [
            pb.CredentialTerms(terms=[pb.Term(kind=1, name="x", begins=0, ends=float("nan"))]),
            pb.CredentialTerms(terms=[pb.Term(kind=1, name="x", begins=-1.0, ends=5)]),
            pb.CredentialTerms(terms=[pb.Term(kind=1, name="x", begins=0, ends=1e300)]),
            pb.CredentialTerms(terms=[pb.Term(kind=0, name="x", begins=0, ends=1)]),
            pb.CredentialTerms(terms=[pb.Term(kind=1, name="\x1b[2J", begins=0, ends=1)]),
            pb.CredentialTerms(faults=["x"] * 65),
            pb.CredentialTerms(terms=[pb.Term(kind=1, name="x", begins=0, ends=1)] * 65),
            pb.CredentialTerms(faults=["x" * 2001]),
        ],
    )
    def test_what_is_none(self, message: pb.CredentialTerms):
        with pytest.raises(WireError):
            up.decode_up(pb.AgentMessage(terms=message).SerializeToString())


def test_a_bundle_of_two_authorities(tmp_path: Path):
    """As the operator of a rollover makes it: everybody of both is let in, and revoked by either."""
    old, new = (Authority.create(tmp_path / name, DOMAIN) for name in ("old", "new"))
    anchors, lists = bundle([old, new], tmp_path / "out")
    path, _ = new.issue(DeviceName(DOMAIN, Role.NVE, "leaf1"))
    device = Device(DeviceFiles(path, path, anchors), DOMAIN, Purpose.CLIENT)
    live = LivePeers(RevocationFile(lists, device.anchors))
    live.check(device.identity)
    assert not terms_of(device, live).faults
    new.revoke(DeviceName(DOMAIN, Role.NVE, "leaf1"))
    bundle([new], tmp_path / "out")
    assert any("was revoked" in one for one in terms_of(device, live).faults)
    with pytest.raises(AuthorityError, match="must be of one domain"):
        bundle([old, Authority.create(tmp_path / "strange", "other.example")], tmp_path / "out")
