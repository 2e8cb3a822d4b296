# SPDX-License-Identifier: Apache-2.0
"""What the tests of the lab judge by: it finds what is left, blames nobody else, and gives up on silence only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nvo3lab.processes import preflight

from .namespaces import held_by
from .processes import Running, finished, wait_gone

_IN_A_NAMESPACE = """
import sys
from nvo3lab.wires import linux
linux.become_root_of_user_namespace() if sys.argv[1] == "1" else linux.unshare(linux.CLONE_NEWNET)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def process_in_a_namespace(wiring: preflight.Wiring) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", _IN_A_NAMESPACE, "1" if wiring.user_namespace else "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        try:
            yield process
        finally:
            process.kill()


class TestNamespaces:
    @pytest.fixture
    def kernel(self) -> preflight.Wiring:
        chosen = preflight.choose_wiring("auto", "embedded")
        if not chosen.kernel or chosen.user_namespace:
            pytest.skip("needs namespaces, and to see those of others")
        return chosen

    def test_one_that_is_left_is_found_and_that_of_a_stranger_is_not(self, kernel: preflight.Wiring) -> None:
        with process_in_a_namespace(kernel) as ours, held_by([ours.pid, os.getpid()]) as held:
            assert len(held) == 1, "not the one of this test"
            with process_in_a_namespace(kernel):
                assert held.left() == [f"/proc/{ours.pid}/task/{ours.pid}/ns/net"]
                ours.kill()
                wait_gone([ours.pid])
                assert held.left() == []

    def test_one_that_is_held_open_is_found(self, kernel: preflight.Wiring) -> None:
        with process_in_a_namespace(kernel) as ours:
            descriptor = os.open(f"/proc/{ours.pid}/ns/net", os.O_RDONLY)
            try:
                with held_by([ours.pid]) as held:
                    ours.kill()
                    wait_gone([ours.pid])
                    assert held.left() == [f"/proc/{os.getpid()}/fd/{descriptor}"]
            finally:
                os.close(descriptor)

    def test_one_that_only_a_descriptor_keeps_is_among_those_of_its_holder(self, kernel: preflight.Wiring) -> None:
        with process_in_a_namespace(kernel) as ours:
            descriptor = os.open(f"/proc/{ours.pid}/ns/net", os.O_RDONLY)
            ours.kill()
            wait_gone([ours.pid])
            with held_by([os.getpid()]) as held:
                assert len(held) == 1
                os.close(descriptor)
                assert held.left() == []


class TestRunning:
    def test_all_that_it_said_and_how_it_ended(self) -> None:
        done = finished([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
        assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")

    def test_silence_ends_it_and_is_told_with_its_last_words(self) -> None:
        code = "import time; print('the last words', flush=True); time.sleep(600)"
        running = Running([sys.executable, "-c", code], silence=2.0)
        with pytest.raises(AssertionError, match=r"said nothing for 2 s; at last: (.|\n)*"):
            running.finish()
        assert running.returncode == -signal.SIGKILL

    def test_what_ends_while_something_is_awaited_is_told(self) -> None:
        running = Running([sys.executable, "-c", "print('no'); raise SystemExit(5)"])
        with pytest.raises(AssertionError, match="ended with 5: no"):
            running.until(lambda: None)
