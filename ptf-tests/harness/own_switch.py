# SPDX-License-Identifier: Apache-2.0
"""A switch process for one test alone: what it does to the pipeline would be in the way of all others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ptf

from harness.base import NveTest
from harness.ptf_platform import open_dataplane
from harness.session import Session, pipeline_directory


@contextmanager
def own_switch(test: NveTest, pipeline: Path | None = None) -> Iterator[Session]:
    """Inside, the test talks to a switch of its own, of the same target, on which nothing of its world is installed.

    pipeline: where another output of p4c is."""
    shared, shared_dataplane = test.session, ptf.dataplane_instance
    session = Session(shared.target, pipeline or pipeline_directory())
    test.session, ptf.dataplane_instance = session, open_dataplane(session)
    try:
        yield session
    finally:
        ptf.dataplane_instance.kill()
        test.session, ptf.dataplane_instance = shared, shared_dataplane
        test.forget_entries()
        session.close()
