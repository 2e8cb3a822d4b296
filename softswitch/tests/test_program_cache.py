# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled programs: what is loaded from it, and what is not."""

from __future__ import annotations

import ctypes
import logging
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_support import compiler_that
from p4softswitch.engine import binding, cache, safepath
from p4softswitch.engine.artifact import Artifact, Recipe
from p4softswitch.engine.cache import build, default_cache
from p4softswitch.engine.compiler import CompilerError
from p4softswitch.engine.safepath import UnsafePath
from p4softswitch.engine_api import EngineError

SOURCE = "int answer(void) { return 42; }\n"
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestUse:
    def test_is_closed_to_others_and_used(self, tmp_path: Path) -> None:
        made = build(SOURCE, cache=tmp_path / "above" / "cache")
        assert (mode(tmp_path / "above"), mode(tmp_path / "above" / "cache"), mode(made.path)) == (0o700, 0o700, 0o600)
        assert list((tmp_path / "above" / "cache").iterdir()) == [made.path]
        before = made.path.stat()
        assert build(SOURCE, cache=tmp_path / "above" / "cache") == made
        assert made.path.stat() == before or made.path.stat().st_mtime_ns == before.st_mtime_ns

    def test_key_covers_source_and_flags(self, tmp_path: Path) -> None:
        recipes = [Recipe.of(SOURCE), Recipe.of(SOURCE + "\n"), Recipe.of(SOURCE, ["-O1"])]
        sources = [SOURCE, SOURCE + "\n", SOURCE]
        (tmp_path / "cache").mkdir(mode=0o700)
        made = [build(*one, cache=tmp_path / "cache") for one in zip(sources, recipes, strict=True)]
        assert len({one.path for one in made}) == 3

    def test_what_a_killed_process_was_building_goes_with_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nothing of one that is at work."""
        directory = tmp_path / "cache"
        have = build(SOURCE, cache=directory)
        os.mkfifo(tmp_path / "hold")
        compiler_that(monkeypatch, tmp_path, f'echo "$TMPDIR" > {tmp_path}/begun; cat {tmp_path}/hold')
        words = "import sys; from pathlib import Path; from p4softswitch.engine.cache import build; "
        words += "build('int other;', cache=Path(sys.argv[1]))"
        # The compiler is at work once the other end of this is open, and ends with the block.
        with (
            subprocess.Popen([sys.executable, "-c", words, str(directory)]) as building,
            (tmp_path / "hold").open("wb"),
        ):
            monkeypatch.undo()
            (work,) = directory.glob("build-*")
            assert (tmp_path / "begun").read_text() == f"{work}\n", "its own temporary files are in there, too"
            assert build(SOURCE, cache=directory) == have
            assert work.is_dir()
            building.kill()
            building.wait()
            assert work.is_dir()
            assert build(SOURCE, cache=directory) == have
            assert list(directory.iterdir()) == [have.path]

    def test_what_is_loaded_is_what_was_checked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two programs one after the other, each other's file by the time that they are loaded."""
        monkeypatch.setattr(binding, "_SIGNATURES", {"p4_abi": (ctypes.c_uint32, [])})
        source = f"int value = %d; int p4_abi(void) {{ return {binding.NUMBERS['P4_ABI']}; }}\n".replace(
            "int ", '__attribute__((visibility("default"))) int '
        )
        made = [build(source % number, cache=tmp_path / "cache") for number in (1, 2)]
        for one, other in zip(made, reversed(made), strict=True):
            content = other.path.read_bytes()
            one.path.unlink()
            one.path.write_bytes(content)
        found = [binding.load_library(one.library, one.path) for one in made]
        assert [ctypes.c_int.in_dll(one, "value").value for one in found] == [1, 2]


class TestDirectory:
    """One that others can change is refused, with what to do, and stays as it is."""

    @pytest.mark.parametrize("found", [0o755, 0o750, 0o701, 0o777, 0o1777])
    def test_open_to_others(self, tmp_path: Path, found: int) -> None:
        directory = tmp_path / "cache"
        directory.mkdir()
        directory.chmod(found)
        with pytest.raises(
            UnsafePath, match=rf"is open to others \(mode {found:04o}\): name a directory of its"
        ) as said:
            build(SOURCE, cache=directory)
        assert (f"`chmod 700 {directory}`" in str(said.value)) == (found != 0o1777)  # such as /tmp is everybody's
        assert mode(directory) == found
        assert not list(directory.iterdir())

    def test_a_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(mode=0o700)
        (tmp_path / "cache").symlink_to("real")
        for named in (tmp_path / "cache", Path(f"{tmp_path}/cache/")):
            with pytest.raises(UnsafePath, match="is a symbolic link: name the directory itself"):
                build(SOURCE, cache=named)
        assert not list((tmp_path / "real").iterdir())

    def test_a_link_of_ours_on_the_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The way is that without links, also from where we are, and upwards."""
        (tmp_path / "real" / "deep").mkdir(mode=0o700, parents=True)
        (tmp_path / "way").symlink_to(tmp_path / "real" / "deep")
        (tmp_path / "relative").symlink_to("real/../way")
        monkeypatch.chdir(tmp_path)
        for named in (tmp_path / "way" / "cache", Path("relative/cache"), Path("way/../deep/./cache")):
            assert build(SOURCE, cache=named).path.parent == (tmp_path / "real" / "deep" / "cache").resolve()

    def test_links_in_a_ring(self, tmp_path: Path) -> None:
        (tmp_path / "ring").symlink_to("ring")
        with pytest.raises(UnsafePath, match="more than 40 symbolic links"):
            build(SOURCE, cache=tmp_path / "ring" / "cache")

    @needs_root
    def test_a_link_of_somebody_else_on_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(mode=0o700)
        (tmp_path / "way").symlink_to("real")
        os.lchown(tmp_path / "way", NOBODY, NOBODY)
        with pytest.raises(UnsafePath, match=f"way is a symbolic link of user {NOBODY}"):
            build(SOURCE, cache=tmp_path / "way" / "cache")

    @pytest.mark.parametrize("found", [0o777, 0o775, 0o757])
    def test_in_one_that_others_can_write(self, tmp_path: Path, found: int) -> None:
        """They could move it away, and put their own in its place: unless the sticky bit keeps them from that."""
        above = tmp_path / "above"
        (above / "between").mkdir(parents=True, mode=0o700)
        above.chmod(found)
        with pytest.raises(UnsafePath, match=rf"above can be written by others \(mode {found:04o}\)"):
            build(SOURCE, cache=above / "between" / "cache")
        assert not list((above / "between").iterdir())
        assert mode(above) == found
        above.chmod(found | stat.S_ISVTX)
        assert build(SOURCE, cache=above / "between" / "cache").path.is_file()

    @needs_root
    @pytest.mark.parametrize("whose", ["cache", ""])
    def test_of_somebody_else(self, tmp_path: Path, whose: str) -> None:
        (tmp_path / "above" / "cache").mkdir(parents=True, mode=0o700)
        os.chown(tmp_path / "above" / whose, NOBODY, NOBODY)
        with pytest.raises(UnsafePath, match=f"belongs to user {NOBODY}, not to user 0 or root"):
            build(SOURCE, cache=tmp_path / "above" / "cache")

    def test_what_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        os.mkfifo(tmp_path / "fifo")
        for named in ("file", "file/cache", "fifo", "fifo/cache"):
            with pytest.raises(UnsafePath, match=r"(file|fifo) is not a directory"):
                build(SOURCE, cache=tmp_path / named)

    def test_what_cannot_be_made(self) -> None:
        with pytest.raises(CompilerError, match=r"cannot be kept in /proc/self/cache: .*; name another place"):
            build(SOURCE, cache=Path("/proc/self/cache"))


@needs_root
class TestUserNamespace:
    """Where the machine's root has no user id: its directories on the way are those of whom `/` belongs to."""

    def result(self, owner: int, above: int) -> str:
        """What becomes of a cache of this owner, in a directory of that one, as a user who is root in a namespace."""
        words = (
            "import ctypes, os, sys; from pathlib import Path; from p4softswitch.engine import safepath\n"
            "if ctypes.CDLL(None).unshare(0x10000000): print('none'); raise SystemExit\n"
            "print('ready', flush=True); sys.stdin.readline(); os.setresuid(0, 0, 0)\n"
            "try:\n"
            "    with safepath.directory(Path(sys.argv[1]), private=True) as place: print('taken')\n"
            "except safepath.UnsafePath as error: print(error)\n"
        )
        with tempfile.TemporaryDirectory(dir="/tmp") as outside:
            directory = Path(outside, "above", "cache")
            directory.mkdir(parents=True)
            directory.chmod(0o700)
            os.chown(directory, owner, owner)
            os.chown(directory.parent, above, above)
            Path(outside).chmod(0o755)
            process = subprocess.Popen(
                [sys.executable, "-c", words, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            with process:
                assert process.stdin is not None
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    pytest.skip("user namespaces cannot be made here")
                Path(f"/proc/{process.pid}/uid_map").write_text("0 4321 1\n")
                return process.communicate("go\n")[0].strip()

    def test_on_the_way(self) -> None:
        assert self.result(owner=4321, above=0) == "taken"
        assert self.result(owner=4321, above=4321) == "taken"

    def test_itself(self) -> None:
        """Nobody there can tell who of the others it belongs to."""
        assert "cache belongs to user 65534, not to user 0 or root" in self.result(owner=0, above=0)


def _fifo(path: Path, _library: bytes) -> None:
    os.mkfifo(path)


def _link(path: Path, content: bytes) -> None:
    (path.parent / "planted").write_bytes(content)
    path.symlink_to("planted")


def _hard_link(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    os.link(path, path.parent / "second")


def _socket(path: Path, _content: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)
        server.bind(path.name)


def _writable(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o620)


def _foreign(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chown(path, NOBODY, NOBODY)


def _device(path: Path, _content: bytes) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 8))  # /dev/random


class TestPlanted:
    """What is under the name of a program and was not put there by a build is not loaded, and nothing waits for it."""

    @pytest.mark.parametrize(
        ("plant", "said"),
        [
            (_fifo, "is not a regular file"),
            (_link, "is not a regular file"),
            (lambda path, _content: path.mkdir(), "is not a regular file"),
            (_socket, "is not a regular file"),
            (_hard_link, "has 2 names"),
            (_writable, "can be written by others"),
            pytest.param(_foreign, f"belongs to user {NOBODY}", marks=needs_root),
            pytest.param(_device, "is not a regular file", marks=needs_root),
        ],
        ids=["fifo", "symlink", "directory", "socket", "hardlink", "writable", "foreign", "device"],
    )
    def test_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path, bytes], None], said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)  # undone at the end
        made = build(SOURCE, cache=tmp_path / "cache")
        content = made.path.read_bytes()
        made.path.unlink()
        plant(made.path, content)
        with pytest.raises(UnsafePath, match=f"{made.path.name} {said}"):
            build(SOURCE, cache=tmp_path / "cache")

    def test_a_place_to_build_in_that_is_none(self, tmp_path: Path) -> None:
        directory = tmp_path / "cache"
        directory.mkdir(mode=0o700)
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim" / "file").write_text("stays")
        (directory / "build-link").symlink_to(tmp_path / "victim")
        os.mkfifo(directory / "build-fifo")
        build(SOURCE, cache=directory)
        assert (tmp_path / "victim" / "file").read_text() == "stays"


class TestDamage:
    """What a crash, a full disk or a bad one left is made anew, and told."""

    def test_no_more_is_read_than_a_program_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a file that has grown: its digest does not fit then, and it is made anew like any other."""
        monkeypatch.setattr(safepath, "LARGEST", 10)
        (tmp_path / "grown").write_bytes(bytes(100))
        (tmp_path / "grown").chmod(0o600)
        tmp_path.chmod(0o700)
        with safepath.directory(tmp_path, private=True) as place:
            assert len(safepath.read_file(place, "grown")) == 10

    @pytest.mark.parametrize("damage", ["empty", "one byte", "half", "no end", "a bit", "another", "old"])
    def test_is_compiled_anew(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
        directory = tmp_path / "cache"
        made = build(SOURCE, cache=directory)
        good = made.path.read_bytes()
        middle = len(good) // 2
        made.path.write_bytes(
            {
                "empty": b"",
                "one byte": good[:1],
                "half": good[:middle],
                "no end": good[:-1],
                "a bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
                "another": build(SOURCE + "\n", cache=directory).path.read_bytes(),
                "old": made.library,
            }[damage]
        )
        with caplog.at_level(logging.WARNING):
            assert build(SOURCE, cache=directory).library == made.library
        assert made.path.read_bytes() == good
        (told,) = caplog.records
        assert told.getMessage().startswith(f"{made.path} is damaged (")

    def test_every_bit_of_the_end_counts(self, tmp_path: Path) -> None:
        """The end is what says where the rest is."""
        good = Artifact(Recipe.of(SOURCE), "cc", b"\x7fELF").pack()
        assert Artifact.unpack(good).pack() == good
        for at in range(len(good)):
            for bit in range(8):
                with pytest.raises(ValueError, match=r"end|digest"):
                    Artifact.unpack(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        for length in range(len(good)):
            with pytest.raises(ValueError, match=r"end|digest|bytes"):
                Artifact.unpack(good[:length])

    def test_what_the_system_does_not_load_is_forgotten(self, tmp_path: Path) -> None:
        made = cache.Built(tmp_path / "one.so", b"no library")
        made.path.write_bytes(b"")
        with pytest.raises(EngineError, match=r"cannot load the compiled program .*one\.so"):
            binding.load_library(made.library, made.path)
        cache.discard(made)
        assert not made.path.exists()


class TestRefusedSource:
    def test_is_kept_for_a_look(self, tmp_path: Path) -> None:
        directory = tmp_path / "cache"
        with pytest.raises(CompilerError, match=f"the C compiler refused {directory}/failed.c"):
            build("this is not C\n", cache=directory)
        assert (directory / "failed.c").read_text() == "this is not C\n"
        assert mode(directory / "failed.c") == 0o600
        assert [one.name for one in directory.iterdir()] == ["failed.c"]

    def test_follows_no_link(self, tmp_path: Path) -> None:
        directory = tmp_path / "cache"
        directory.mkdir(mode=0o700)
        (tmp_path / "victim").write_text("stays")
        (directory / "failed.c").symlink_to(tmp_path / "victim")
        with pytest.raises(CompilerError, match="refused"):
            build("this is not C\n", cache=directory)
        assert (tmp_path / "victim").read_text() == "stays"
        assert not (directory / "failed.c").is_symlink()

    @pytest.mark.parametrize("plant", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["directory", "fifo"])
    def test_is_told_also_where_it_cannot_be_kept(self, tmp_path: Path, plant: Callable[[Path], None]) -> None:
        directory = tmp_path / "cache"
        directory.mkdir(mode=0o700)
        plant(directory / "failed.c")
        with pytest.raises(CompilerError, match=r"(?s)the C compiler refused .*error"):
            build("this is not C\n", cache=directory)


class TestDefault:
    def test_where_the_specification_has_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_cache() == tmp_path / "p4softswitch"

    @pytest.mark.parametrize("relative", ["", "cache", "./cache", "~/.cache"])
    def test_a_relative_one_is_ignored(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, relative: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_cache() == tmp_path / ".cache" / "p4softswitch"

    @pytest.mark.parametrize("home", [None, "", "relative", "/no/such/home", pytest.param("other", marks=needs_root)])
    def test_a_home_that_is_none_of_ours(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
    ) -> None:
        """As sudo leaves it: somebody else's."""
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if home == "other":
            os.chown(tmp_path, NOBODY, NOBODY)
            home = str(tmp_path)
        if home is None:
            monkeypatch.delenv("HOME", raising=False)
        else:
            monkeypatch.setenv("HOME", home)
        assert default_cache() == Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache" / "p4softswitch"

    def test_a_user_without_any(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.delenv("HOME", raising=False)

        def unknown(_user: int) -> pwd.struct_passwd:
            raise KeyError

        monkeypatch.setattr(pwd, "getpwuid", unknown)
        with pytest.raises(CompilerError, match="no home for compiled programs: name a place with --cache-dir"):
            default_cache()
