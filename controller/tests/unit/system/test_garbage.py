# SPDX-License-Identifier: Apache-2.0
"""The collector of cyclic garbage rests while a domain file is read, and works again afterwards, whatever happened."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
from nvo3sec.config import example_path, load, parse_domain
from nvo3sec.errors import ConfigError
from nvo3sec.system import garbage as collector


class TestPaused:
    def test_until_it_is_over(self):
        assert gc.isenabled()
        with collector.paused():
            assert not gc.isenabled()
        assert gc.isenabled()

    def test_also_after_an_error(self):
        with pytest.raises(KeyError), collector.paused():
            raise KeyError
        assert gc.isenabled()

    def test_the_last_of_several_ends_it(self):
        began, end = threading.Event(), threading.Event()

        def other() -> None:
            with collector.paused():
                began.set()
                end.wait(30)

        thread = threading.Thread(target=other)
        with collector.paused():
            thread.start()
            assert began.wait(30)
        assert not gc.isenabled()
        end.set()
        thread.join(30)
        assert gc.isenabled()

    def test_who_had_it_off_keeps_it_off(self):
        gc.disable()
        try:
            with collector.paused():
                pass
            assert not gc.isenabled()
        finally:
            gc.enable()

    def test_while_a_file_is_read(self, monkeypatch):
        seen = []

        def convert(*arguments):
            seen.append(gc.isenabled())
            return to_domain(*arguments)

        to_domain = load.to_domain
        monkeypatch.setattr(load, "to_domain", convert)
        text = example_path().read_text(encoding="utf-8")
        assert parse_domain(text, "test.yaml", Path("/srv"))
        assert (seen, gc.isenabled()) == ([False], True)
        with pytest.raises(ConfigError):
            parse_domain("domain: [", "test.yaml", Path("/srv"))
        assert gc.isenabled()
