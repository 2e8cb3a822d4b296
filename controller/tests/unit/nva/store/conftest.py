# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the store."""

from __future__ import annotations

import pytest
from store_scenarios import open_at


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
