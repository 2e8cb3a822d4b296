# SPDX-License-Identifier: Apache-2.0
"""A switch process for one test alone: what it does to the pipeline would be in the way of all others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ptf

from harness.base import NveTest
from harness.ports import DataPlane
from harness.ptf_platform import configure
from harness.session import Session, pipeline_directory


@contextmanager
def own_switch(test: NveTest) -> Iterator[Session]:
    """Inside, the test talks to a switch of its own, of the same target, on which nothing of its world is installed."""
    shared, shared_dataplane = test.session, ptf.dataplane_instance
    session = Session(shared.target, pipeline_directory())
    config: dict[str, Any] = {"platform": "grpc"}
    configure(session, config)
    dataplane = DataPlane(config)
    for (device, port), path in config["port_map"].items():
        dataplane.port_add(path, device, port)
    test.session, ptf.dataplane_instance = session, dataplane
    try:
        yield session
    finally:
        test.session, ptf.dataplane_instance = shared, shared_dataplane
        test.forget_entries()
        dataplane.kill()
        session.close()
