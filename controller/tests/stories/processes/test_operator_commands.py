# SPDX-License-Identifier: Apache-2.0
"""What operators type, against an NVA that is a process: over mutual TLS, and through its run directory."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from nvo3sec.errors import OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.operator.console import ask
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.operator_client import ask_nva
from overlay_world import Identities, command, free_port

START_S = 180.0


class Authority:
    """One NVA with a database, and no agents: what operators ask needs none."""

    def __init__(self, identities: Identities) -> None:
        self.identities = identities
        self.run_dir = identities.directory / "run-nva"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        place = self.identities.directory
        words = ["nva", "run", "--domain", str(self.identities.domain_file), "--port", str(self.port), *more]
        words += ["--credentials", str(self.identities.place(Role.NVA, "nva1")), "--run-dir", str(self.run_dir)]
        words += ["--database", str(place / "db"), "--keys", str(place / "keys")]
        with (place / "nva.log").open("ab") as log:
            self.process = subprocess.Popen(command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OperatorError):
                ask(self.run_dir, "vn_list")
                return
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.identities.directory / "nva.log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(START_S) == 0
            self.process = None

    def over_tls(self, *words: str, role: Role = Role.OPERATOR, name: str = "op") -> subprocess.CompletedProcess[str]:
        nva = f"nva1.nva.{self.identities.domain.name}=127.0.0.1:{self.port}"
        where = ("--nva", nva, "--credentials", str(self.identities.place(role, name)))
        return run(*words, *where)

    def here(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run(*words, "--run-dir", str(self.run_dir))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=START_S
    )


@pytest.fixture
def nva(identities) -> Iterator[Authority]:
    made = Authority(identities)
    made.start()
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


def changed(identities: Identities, path: Path, **vns: int) -> Path:
    """The domain file with other MTUs for VNs."""
    document = yaml.safe_load(identities.domain_file.read_text())
    for vn in document["vns"]:
        vn["mtu"] = vns.get(vn["name"], vn.get("mtu", 1400))
    path.write_text(yaml.safe_dump(document))
    return path


class TestDomain:
    def test_from_one_file_to_the_next_and_over_a_restart(self, nva, identities, tmp_path):
        original = identities.domain_file.read_text()
        new = changed(identities, tmp_path / "new.yaml", red=1300)

        shown = nva.over_tls("domain", "diff", str(new))
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout == "~ vn red: mtu 1400 -> 1300\ntouches leaf1, leaf3\n"

        unasked = nva.over_tls("domain", "apply", str(new))
        assert unasked.returncode == 1
        assert "~ vn red: mtu 1400 -> 1300" in unasked.stderr
        assert "nothing was applied: there is nobody to ask; use --yes" in unasked.stderr
        assert json.loads(nva.here("vn", "show", "red", "-o", "json").stdout)["mtu"] == 1400

        applied = nva.over_tls("domain", "apply", str(new), "--yes", "-o", "json")
        assert applied.returncode == 0, applied.stderr
        assert json.loads(applied.stdout)["nves"] == ["leaf1", "leaf3"]
        assert json.loads(nva.here("vn", "show", "red", "-o", "json").stdout)["mtu"] == 1300
        again = nva.here("domain", "apply", str(new), "--yes")
        assert (again.returncode, again.stdout) == (0, "nothing to change\n")

        # The file that the NVA was started with is the operator's: it is as it was, and after a restart it is not
        # what runs.
        nva.stop()
        assert identities.domain_file.read_text() == original
        nva.start()
        assert "another domain file was applied, and that one runs" in nva.log()
        assert nva.over_tls("domain", "show").stdout == new.read_text()
        assert json.loads(nva.here("vn", "show", "red", "-o", "json").stdout)["mtu"] == 1300

        nva.stop()
        nva.start("--apply-domain")
        assert nva.here("domain", "show").stdout == original

    def test_errors_name_line_field_and_what_would_be_right(self, nva, identities, tmp_path):
        wrong = tmp_path / "wrong.yaml"
        text = identities.domain_file.read_text()
        wrong.write_text(
            text.replace("vn: red, ip", "vn: red, ip").replace("nve: leaf2, port: 1", "nve: leaf9, port: 1")
        )
        line = next(number for number, one in enumerate(wrong.read_text().splitlines(), 1) if "leaf9" in one)
        expected = f"{wrong}:{line}: tenant_systems[1].nve: there is no NVE leaf9; one of: leaf1, leaf2, leaf3\n"
        for words in (("check",), ("diff",), ("apply", "--yes")):
            where = () if words == ("check",) else ("--run-dir", str(nva.run_dir))
            refused = run("domain", *words, str(wrong), *where)
            assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", expected)

    def test_what_is_refused_while_the_domain_lives(self, nva, identities, tmp_path):
        document = yaml.safe_load(identities.domain_file.read_text())
        document["vns"][0]["vni"], document["vns"][1]["vni"] = 5002, 5001
        document["vns"][1]["mtu"] = 1300
        new = tmp_path / "new.yaml"
        new.write_text(yaml.safe_dump(document))
        refused = nva.over_tls("domain", "apply", str(new), "--yes")
        assert refused.returncode == 1
        assert "refused: VNI 5002 is red's; apply a file without that first, then one with this" in refused.stdout
        assert "nothing was applied" in refused.stderr
        what = "vn blue: VNI 5002 is red's", "vn red: VNI 5001 is blue's"
        why = "; ".join(f"{one}; apply a file without that first, then one with this" for one in what)
        for difference in (
            nva.over_tls("domain", "diff", str(new)),
            nva.here("domain", "diff", str(new), "-o", "json"),
            run("domain", "diff", str(new), "--from", str(identities.domain_file)),
        ):
            assert (difference.returncode, difference.stderr) == (1, f"nvo3sec: {new} would be refused: {why}\n")
            assert "~ vn red: mtu 1400 -" in difference.stdout, "what there is to see of it is seen"
        assert json.loads(nva.here("vn", "show", "red", "-o", "json").stdout)["mtu"] == 1400

    def test_a_file_that_is_right_here_and_not_for_the_nva(self, nva, identities):
        """That is of another version, and tells all that it finds in one line."""
        found = "the domain file: line 1: domain: is missing; the domain file: line 1: nves: is missing"
        address = NvaAddress(identities.name(Role.NVA, "nva1"), "127.0.0.1", nva.port)
        for told in (
            lambda: ask(nva.run_dir, "domain_diff", text="vns: []\n"),
            lambda: ask_nva(address, identities.place(Role.OPERATOR, "op"), "domain_diff", text="vns: []\n"),
        ):
            with pytest.raises(OperatorError) as caught:
                told()
            assert str(caught.value).startswith(found)
            assert str(caught.value).isprintable()

    def test_a_difference_that_no_nva_shows(self, nva, identities, tmp_path):
        """Whoever is no operator, and an NVA that is not there."""
        new = changed(identities, tmp_path / "new.yaml", red=1300)
        thief = nva.over_tls("domain", "diff", str(new), role=Role.NVE, name="leaf1")
        assert (thief.returncode, thief.stdout) == (1, "")
        assert "is the certificate of nve/leaf1, not of a device of role operator" in thief.stderr
        nva.stop()
        for ask_it, why in ((nva.over_tls, "nva/nva1: connecting: "), (nva.here, "no such run directory: ")):
            away = ask_it("domain", "diff", str(new))
            assert (away.returncode, away.stdout) == (1, "")
            assert away.stderr.startswith(f"nvo3sec: {why}")
            assert len(away.stderr.splitlines()) == 1

    @pytest.mark.parametrize(("answer", "mtu"), [("y\n", 1300), ("n\n", 1400)])
    def test_asks(self, nva, identities, tmp_path, answer, mtu):
        new = changed(identities, tmp_path / "new.yaml", red=1300)
        ours, theirs = pty.openpty()
        words = command("domain", "apply", str(new), "--run-dir", str(nva.run_dir))
        with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
            os.close(theirs)
            os.write(ours, answer.encode())
            stdout, stderr = asked.communicate(timeout=START_S)
        os.close(ours)
        assert "~ vn red: mtu 1400 -> 1300" in stderr
        assert "Apply?" in stderr
        assert (asked.returncode, "applied: 1 change;" in stdout) == ((0, True) if mtu == 1300 else (1, False))
        assert ask(nva.run_dir, "vn_show", vn="red")["mtu"] == mtu

    def test_two_files_without_an_nva(self, identities, tmp_path):
        new = changed(identities, tmp_path / "new.yaml", red=1300)
        shown = run("domain", "diff", str(new), "--from", str(identities.domain_file))
        assert (shown.returncode, shown.stdout) == (0, "~ vn red: mtu 1400 -> 1300\ntouches leaf1, leaf3\n")
        same = run("domain", "diff", str(identities.domain_file), "--from", str(identities.domain_file))
        assert same.stdout == "no difference\n"
        (tmp_path / "commented.yaml").write_text("# another text\n" + identities.domain_file.read_text())
        other = run("domain", "diff", str(tmp_path / "commented.yaml"), "--from", str(identities.domain_file))
        assert other.stdout == "no difference in meaning; the texts differ\n"


class TestOverlay:
    def test_vns(self, nva):
        listed = nva.over_tls("vn", "list")
        assert listed.returncode == 0, listed.stderr
        assert [line.split()[:4] for line in listed.stdout.splitlines()[2:]] == [
            ["blue", "5001", "integrity", "1400"],
            ["red", "5002", "integrity", "1400"],
        ]
        shown = nva.over_tls("vn", "show", "blue")
        for words in ("leaf1  port 1, port 2", "reserved: 10.1.0.254 for leaf1, leaf3"):
            assert words in shown.stdout
        missing = nva.here("vn", "show", "green")
        assert (missing.returncode, missing.stderr) == (1, "nvo3sec: no such VN: green; there are: blue, red\n")

    def test_mappings(self, nva):
        listed = json.loads(nva.over_tls("map", "list", "--vn", "red", "-o", "json").stdout)
        assert [one["nve"] for one in listed["claims"]] == ["leaf1", "leaf3"]
        assert nva.here("map", "list", "--frozen").stdout == "No tenant systems that lack something\n"
        few = nva.here("map", "list", "--limit", "2")
        assert "2 of 6; more with --limit" in few.stdout
        unknown = nva.over_tls("map", "list", "--nve", "leaf9")
        assert unknown.stderr == "nvo3sec: no such NVE: leaf9; there are: leaf1, leaf2, leaf3\n"

    @pytest.mark.parametrize("decision", ["admit", "evict"])
    def test_decisions(self, nva, decision):
        mac = "02:aa:00:00:00:02"
        for yes in (["--yes"], []):  # nobody is asked about what is not there
            missing = nva.over_tls("map", decision, mac, "--nve", "leaf1", *yes)
            there = "there are: 02:aa:00:00:00:01, 02:aa:00:00:00:04"
            assert missing.stderr == f"nvo3sec: no tenant system with {mac} is known behind leaf1; {there}\n"
            two = nva.here("map", decision, "02:aa:00:00:00:01", "--nve", "leaf1", *yes)
            where = "say where: --port 1 --vlan 0, --port 3 --vlan 100"
            assert two.stderr == f"nvo3sec: 02:aa:00:00:00:01 is behind leaf1 more than once; {where}\n"
        unasked = nva.here("map", decision, mac, "--nve", "leaf2")
        assert (unasked.returncode, "use --yes" in unasked.stderr) == (1, True)
        stated = nva.here("map", decision, mac, "--nve", "leaf2", "--yes")
        if decision == "admit":
            assert stated.stdout == f"{mac} at leaf2 port 1: active\n"
        else:
            assert (stated.returncode, "only the domain file changes it" in stated.stderr) == (1, True)

    def test_nobody_is_asked_about_what_is_not_there(self, nva):
        there = "there are: leaf1, leaf2, leaf3\n"
        for words in (
            ("map", "admit", "02:aa:00:00:00:02", "--nve", "leaf9"),
            ("map", "evict", "02:aa:00:00:00:02", "--nve", "leaf2", "--successor", "leaf9"),
            ("keys", "reset-marks", "leaf9"),
            ("keys", "revoke", "leaf9"),
        ):
            done = nva.here(*words)
            assert (done.returncode, done.stderr) == (1, f"nvo3sec: no such NVE: leaf9; {there}")
        assert "use --yes" in nva.here("keys", "reset-marks", "leaf1").stderr

    def test_who_may_do_what(self, nva):
        red = nva.over_tls("authz", "probe", "--as", "nve/leaf2", "LookUp", "--vn", "red")
        assert red.stdout == (
            "nve/leaf2 calls /nvo3sec.v1.Nva/LookUp about VN red: refused: the caller does not serve the VN 5002\n"
        )
        blue = json.loads(
            nva.here("authz", "probe", "--as", "nve/leaf2", "LookUp", "--vn", "blue", "-o", "json").stdout
        )
        assert (blue["allowed"], blue["scope"]) == (True, "served-vns")
        wrong = nva.here("authz", "probe", "--as", "leaf/leaf2", "LookUp")
        assert wrong.returncode == 2
        assert "'leaf/leaf2' is no device; write ROLE/NAME" in wrong.stderr
        assert "roles: nva, nve, hypervisor, operator" in wrong.stderr

    def test_nobody_but_operators(self, nva, identities):
        """The same commands with the credentials of an NVE."""
        for words in (("vn", "list"), ("domain", "show"), ("domain", "apply", str(identities.domain_file), "--yes")):
            refused = nva.over_tls(*words, role=Role.NVE, name="leaf1")
            assert (refused.returncode, refused.stdout) == (1, "")
