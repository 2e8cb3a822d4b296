# SPDX-License-Identifier: Apache-2.0
"""Makes `key_world` importable, and a directory in memory for stores that are opened hundreds of times."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def memory_path(tmp_path):
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="nvo3sec-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)
