# SPDX-License-Identifier: Apache-2.0
"""Finding a compiler, and running it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import threading
from pathlib import Path

import pytest
from engine_support import compiler_that, script
from p4softswitch.engine import command, compiler
from p4softswitch.engine.cache import build
from p4softswitch.engine.command import Interrupt
from p4softswitch.engine.compiler import CompilerError, find_compiler

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
        named = compiler_that(monkeypatch, tmp_path, makes)
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


class TestWords:
    """CC and P4SOFTSWITCH_CC as make and shells have them."""

    @pytest.mark.parametrize("variable", ["CC", "P4SOFTSWITCH_CC"])
    def test_a_command_with_flags(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
        monkeypatch.delenv("P4SOFTSWITCH_CC", raising=False)
        words = [*find_compiler().command, "-DHALF=21"]
        monkeypatch.setenv(variable, shlex.join(words))
        assert find_compiler().command == tuple(words)
        assert build("int answer(void) { return 2 * HALF; }\n", cache=tmp_path / "cache").library[:4] == b"\x7fELF"

    def test_a_wrapper_in_front(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        real = find_compiler().command
        wrapper = script(tmp_path / "cache of objects", f'echo called >> {tmp_path}/calls; exec "$@"')
        monkeypatch.setenv("CC", shlex.join([str(wrapper), *real]))
        monkeypatch.delenv("P4SOFTSWITCH_CC", raising=False)
        assert find_compiler().command == (str(wrapper), *real)
        build(SOURCE, cache=tmp_path / "cache")
        assert (tmp_path / "calls").read_text().count("called") == 3

    def test_a_path_with_a_space_needs_no_quotes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        named = script(tmp_path / "my cc", "echo mine")
        monkeypatch.setenv("P4SOFTSWITCH_CC", str(named))
        assert find_compiler().command == (str(named),)

    @pytest.mark.parametrize(
        ("named", "said"),
        [("gcc 'x", "\"gcc 'x\", which is no command: no closing quotation"), (" ", "' '"), ("''", "''"),
         ("no-such-compiler -O2", "'no-such-compiler'")],
    )  # fmt: skip
    def test_what_is_no_command(self, monkeypatch: pytest.MonkeyPatch, named: str, said: str) -> None:
        monkeypatch.delenv("P4SOFTSWITCH_CC", raising=False)
        monkeypatch.setenv("CC", named)
        with pytest.raises(CompilerError, match=r"^CC (is|names) .*which is no command") as caught:
            find_compiler()
        assert said in str(caught.value)


class TestRunning:
    def test_output_and_status(self) -> None:
        shell = shutil.which("sh") or ""
        done = command.run([shell, "-c", "echo out; echo err >&2; exit 3"], os.environ, timeout_s=60)
        assert done == command.Result(3, "out\n", "err\n")
        assert command.run([shell, "-c", "kill -9 $$"], os.environ, timeout_s=60).status == -signal.SIGKILL

    def test_no_signal_is_blocked_in_it(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        try:
            done = command.run([shutil.which("grep") or "", "SigBlk", "/proc/self/status"], os.environ, timeout_s=60)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert done.output.split() == ["SigBlk:", "0" * 16]

    @pytest.mark.parametrize("end", ["interrupt", "time"])
    def test_its_whole_group_ends_with_it(self, tmp_path: Path, end: str) -> None:
        """What it has started holds the pipe open as long as it lives."""
        interrupt = Interrupt()
        os.mkfifo(tmp_path / "alive")
        os.mkfifo(tmp_path / "never")
        named = script(tmp_path / "cc", f"exec 9> {tmp_path}/alive; cat {tmp_path}/never & cat {tmp_path}/never")
        raised: list[BaseException] = []

        def work() -> None:
            try:
                command.run([str(named)], os.environ, timeout_s=600 if end == "interrupt" else 1, interrupt=interrupt)
            except (command.Interrupted, TimeoutError) as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        with (tmp_path / "alive").open("rb") as alive:
            if end == "interrupt":
                interrupt.set()
            assert alive.read() == b""
        thread.join()
        assert [type(one) for one in raised] == [command.Interrupted if end == "interrupt" else TimeoutError]
        if end == "interrupt":
            with pytest.raises(command.Interrupted):
                command.run([str(named)], os.environ, timeout_s=600, interrupt=interrupt)
