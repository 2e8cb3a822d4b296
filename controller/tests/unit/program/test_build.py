# SPDX-License-Identifier: Apache-2.0
"""The compiled data plane and the names generated from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from nvo3sec.errors import ArtifactError
from nvo3sec.p4runtime import DropReason, Entry, Meter
from nvo3sec.program import build as p4check
from nvo3sec.program import generate
from nvo3sec.program import generated as p4
from nvo3sec.program.artifacts import DEVICE_CONFIG, MANIFEST, P4INFO, artifact_directory


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the artifacts with their sources beside them."""
    source = Path(str(artifact_directory())).parent
    shutil.copytree(source, tmp_path / "p4src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "p4src" / "nvo3sec_p4"


class TestCheck:
    def test_everything_fits(self):
        assert p4check.check() == []

    def test_generated_names_are_those_of_the_program(self):
        for place, text in generate.current().items():
            assert place.read_text(encoding="utf-8") == text, "update with: python -m nvo3sec.program.generate"

    @pytest.mark.parametrize("name", [P4INFO, DEVICE_CONFIG])
    def test_altered_output(self, copy, name):
        with (copy / name).open("ab") as file:
            file.write(b"\n")
        assert p4check.check(copy) == [f"{name} is not the one in the manifest"]

    def test_altered_source(self, copy):
        with (copy.parent / "common" / "ids.p4").open("a") as file:
            file.write("\n")
        assert p4check.check(copy) == ["common/ids.p4 has changed since the program was compiled; run `make p4`"]

    def test_new_and_lost_source(self, copy):
        (copy.parent / "common" / "ids.p4").rename(copy.parent / "common" / "new.p4")
        faults = "\n".join(p4check.check(copy))
        assert "common/new.p4 has changed" in faults
        assert "common/ids.p4 is in the manifest and not in the sources" in faults

    def test_without_sources_only_the_outputs_count(self, copy):
        shutil.rmtree(copy.parent / "v1model")
        assert p4check.check(copy) == []

    def test_no_manifest(self, copy):
        (copy / MANIFEST).unlink()
        with pytest.raises(ArtifactError, match="manifest"):
            p4check.check(copy)


class TestCompile:
    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("p4c 1.2.5.16 (SHA: 6b7ec98e77 BUILD: Release)", (1, 2, 5, 16)),
            ("p4c 1.2.4\n", (1, 2, 4)),
            ("Version 1.3.0.1", (1, 3, 0, 1)),
        ],
    )
    def test_version(self, text, version):
        assert p4check.p4c_version(text) == version

    def test_no_p4c(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ArtifactError, match=r"no p4c on PATH; version 1\.2\.5\.16"):
            p4check.find_p4c()

    def test_old_p4c(self, monkeypatch, tmp_path):
        (tmp_path / "p4c").write_text("#!/bin/sh\necho 'p4c 1.2.5.9 (SHA: 0 BUILD: Release)'\n")
        (tmp_path / "p4c").chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        with pytest.raises(ArtifactError, match=r"p4c 1\.2\.5\.9 at .* is too old"):
            p4check.find_p4c()

    @pytest.mark.skipif(shutil.which("p4c") is None, reason="no p4c on PATH")
    def test_gives_what_is_checked_in(self, copy, monkeypatch, tmp_path):
        monkeypatch.setattr(generate, "TARGET", tmp_path / "generated.py")
        monkeypatch.setattr(generate, "CONSTANTS_TARGET", tmp_path / "constants.py")
        before = {name: (copy / name).read_bytes() for name in (P4INFO, DEVICE_CONFIG)}
        manifest = json.loads((copy / MANIFEST).read_text())
        version = p4check.compile_program(copy)
        if version == manifest["p4c"]:
            assert {name: (copy / name).read_bytes() for name in before} == before
            assert json.loads((copy / MANIFEST).read_text()) == manifest
        assert p4check.check(copy) == []

    @pytest.mark.skipif(shutil.which("p4c") is None, reason="no p4c on PATH")
    def test_an_error_changes_nothing(self, copy):
        before = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
        with (copy.parent / "v1model" / "nve.p4").open("a") as file:
            file.write("this is not P4\n")
        with pytest.raises(ArtifactError, match="p4c failed"):
            p4check.compile_program(copy)
        assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before


class TestConstants:
    """Of the P4 sources, in Python."""

    SOURCES = "\n".join(f"const bit<16> {name} = {number};" for number, name in enumerate(generate.CONSTANTS))

    def test_all_forms(self):
        number = {name: place for place, name in enumerate(generate.CONSTANTS)}
        sources = self.SOURCES.replace(
            f"const bit<16> PEER_COUNT = {number['PEER_COUNT']};", "#define PEER_COUNT 0x20 /* of them */"
        ).replace(f"FRAME_LIMIT = {number['FRAME_LIMIT']};", "FRAME_LIMIT = HEAD + 16 * (BLOCKS + 1);  /* first */")
        found = p4check.constants([sources, "const bit<16> HEAD = 16;\n#define BLOCKS 96\n"])
        assert (found["PEER_COUNT"], found["FRAME_LIMIT"], found["PORT_CPU"]) == (32, 1568, number["PORT_CPU"])
        assert found.keys() == generate.CONSTANTS.keys()

    @pytest.mark.parametrize(
        ("value", "said"),
        [("NOWHERE", "no constant NOWHERE"), ("7 << 2", "sum of products: 7 << 2"), ("4w3", "cannot be read: 4w3")],
    )
    def test_what_cannot_be_read_is_named(self, value, said):
        with pytest.raises(ArtifactError, match=said):
            p4check.constants([self.SOURCES.replace("PORT_CPU = 1;", f"PORT_CPU = {value};")])

    def test_a_constant_that_is_gone_is_named(self):
        with pytest.raises(ArtifactError, match="no constant PORT_CPU"):
            p4check.constants([self.SOURCES.replace("PORT_CPU", "CPU_PORT")])

    def test_manifest_of_other_constants(self, copy):
        manifest = json.loads((copy / MANIFEST).read_text())
        manifest["constants"]["PORT_CPU"] = 64
        (copy / MANIFEST).write_text(json.dumps(manifest))
        assert [fault.split(" ", 1)[0] for fault in p4check.check(copy)] == ["constants.py"]
        del manifest["constants"]["PORT_CPU"]
        (copy / MANIFEST).write_text(json.dumps(manifest))
        assert p4check.check(copy) == [f"{MANIFEST} says nothing of 'PORT_CPU'; run `make p4`"]


class TestNames:
    def test_values_must_fit(self):
        with pytest.raises(ValueError, match="port does not fit into 9 bits"):
            p4.port_role_access(port=512)
        with pytest.raises(ValueError, match="key does not fit into 128 bits") as caught:
            p4.flow_entropy_keyed(key=2**128 + 0xDEADBEEF)
        assert "deadbeef" not in str(caught.value).lower()

    def test_a_key_shows_neither_in_repr_nor_in_descriptions(self):
        entry = p4.flow_entropy_keyed(key=0xDEADBEEF)
        for text in (repr(entry), entry.describe(), entry.name(), str(entry)):
            assert str(0xDEADBEEF) not in text
        assert entry["key"] == 0xDEADBEEF

    def test_metered_tables_take_a_meter(self):
        assert p4.peer_meter_police(peer=2, meter=Meter(3, 4)).meter == Meter(3, 4)
        assert isinstance(p4.port_role_access(port=1), Entry)

    def test_drop_reasons(self):
        assert DropReason.BAD_ICV == 60
        source = (Path(str(artifact_directory())).parent / "common" / "drop_reasons.p4").read_text()
        assert p4check.drop_reasons(source) == {reason.name: reason.value for reason in DropReason}
