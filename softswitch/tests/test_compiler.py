# SPDX-License-Identifier: Apache-2.0
"""Finding a compiler, and the cache of compiled programs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from p4softswitch.engine import compiler
from p4softswitch.engine.compiler import CompilerError, build, find_compiler

SOURCE = "int answer(void) { return 42; }\n"


class TestCompiler:
    def test_named_by_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # Not the system's: it need not have one.
        named = tmp_path / "named-cc"
        named.write_text("#!/bin/sh\necho one of the test\n")
        named.chmod(0o755)
        monkeypatch.setenv("P4SOFTSWITCH_CC", str(named))
        assert find_compiler().command == (str(named),)

    def test_one_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("P4SOFTSWITCH_CC", "no-such-compiler")
        with pytest.raises(CompilerError, match="no-such-compiler"):
            find_compiler()

    def test_without_any_the_message_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("P4SOFTSWITCH_CC", raising=False)
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(CompilerError, match="pip install ziglang"):
            find_compiler()

    @pytest.mark.parametrize("makes", ["", ': > "$out"'])
    def test_one_that_makes_nothing_and_says_that_all_is_well(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, makes: str
    ) -> None:
        named = _compiler(monkeypatch, tmp_path, makes)
        with pytest.raises(CompilerError, match=f"^{named} produced no output$"):
            build(SOURCE, cache=tmp_path / "cache")
        assert not list((tmp_path / "cache").iterdir())

    def test_one_that_cannot_be_run(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        named = tmp_path / "cc"
        named.write_text("#!/no/such/interpreter\n")
        named.chmod(0o755)
        monkeypatch.setenv("P4SOFTSWITCH_CC", str(named))
        with pytest.raises(CompilerError, match="cannot be run: No such file"):
            build(SOURCE, cache=tmp_path / "cache")


def _compiler(monkeypatch: pytest.MonkeyPatch, directory: Path, makes: str) -> Path:
    """A compiler that has its way with its output ($out), and always ends with 0."""
    named = directory / "cc"
    named.write_text(
        '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n[ "$out" ] || exit 0\n' + makes + "\n"
    )
    named.chmod(0o755)
    monkeypatch.setenv("P4SOFTSWITCH_CC", str(named))
    return named


class TestCache:
    def test_is_closed_to_others_and_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = tmp_path / "cache"
        path = build(SOURCE, cache=cache)
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert list(cache.iterdir()) == [path]
        before = path.stat().st_mtime_ns
        assert build(SOURCE, cache=cache) == path
        assert path.stat().st_mtime_ns == before

    def test_key_covers_source_and_flags(self, tmp_path: Path) -> None:
        paths = {build(SOURCE, cache=tmp_path), build(SOURCE + "\n", cache=tmp_path),
                 build(SOURCE, cache=tmp_path, extra_flags=["-O1"])}  # fmt: skip
        assert len(paths) == 3

    def test_an_open_directory_is_closed(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        cache.mkdir(mode=0o755)
        build(SOURCE, cache=cache)
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700

    def test_what_the_compiler_refuses(self, tmp_path: Path) -> None:
        with pytest.raises(CompilerError, match="refused"):
            build("this is not C\n", cache=tmp_path)
        assert not list(tmp_path.glob("*.so"))

    def test_what_a_killed_process_was_building_goes_with_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nothing of one that is at work."""
        cache = tmp_path / "cache"
        have = build(SOURCE, cache=cache)
        os.mkfifo(tmp_path / "hold")
        _compiler(monkeypatch, tmp_path, f'echo "$TMPDIR" > {tmp_path}/begun; cat {tmp_path}/hold')
        words = "import sys; from pathlib import Path; from p4softswitch.engine.compiler import build; "
        words += "build('int other;', cache=Path(sys.argv[1]))"
        # The compiler is at work once the other end of this is open, and ends with the block.
        with (
            subprocess.Popen([sys.executable, "-c", words, str(cache)]) as building,
            (tmp_path / "hold").open("wb"),
        ):
            monkeypatch.undo()
            (work,) = cache.glob("build-*")
            assert (tmp_path / "begun").read_text() == f"{work}\n", "its own temporary files are in there, too"
            assert build(SOURCE, cache=cache) == have
            assert work.is_dir()
            building.kill()
            building.wait()
            assert work.is_dir()
            assert build(SOURCE, cache=cache) == have
            assert list(cache.iterdir()) == [have]

    def test_default_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert compiler.default_cache() == tmp_path / "p4softswitch"
