# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the store."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from store_scenarios import open_at


@pytest.fixture
def memory_path(tmp_path):
    """A directory in memory where there is one: processes die there as they do elsewhere, hundreds of them faster."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="nvo3sec-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def reopen(tmp_path):
    """Opens the store of the test, and closes the one that was open before."""
    opened = []

    def open_it(**options):
        for store in opened:
            store.close()
        store = open_at(tmp_path, **options)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()
