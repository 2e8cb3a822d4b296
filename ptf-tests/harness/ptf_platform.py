# SPDX-License-Identifier: Apache-2.0
"""How a session becomes PTF's data plane: its ports in the configuration, our port class as their implementation."""

from __future__ import annotations

import atexit
from typing import Any

from harness.ports import DEVICE, DataPlane, GrpcPort
from harness.session import ALL_PORTS, Session, activate, pipeline_directory

QUEUE_LENGTH = 4096  # of one port: more than any exchange brings out


def configure(session: Session, config: dict[str, Any]) -> None:
    """What ptf.dataplane.DataPlane needs to know."""
    config["port_map"] = {(DEVICE, port): session.switch.dataplane_path for port in ALL_PORTS}
    config["dataplane"] = {"portclass": GrpcPort, "stream": session.stream}
    config["qlen"] = QUEUE_LENGTH


def open_dataplane(session: Session) -> DataPlane:
    """For whoever is not the ptf command, which does this itself."""
    config: dict[str, Any] = {"platform": "grpc", "log_dir": None, "log_file": None}
    configure(session, config)
    dataplane = DataPlane(config)
    for (device, port), path in config["port_map"].items():
        dataplane.port_add(path, device, port)
    return dataplane


def use(target: str, config: dict[str, Any]) -> None:
    """For the platform modules that ptf --platform loads."""
    session = Session(target, pipeline_directory())
    atexit.register(session.close)
    configure(session, config)
    activate(session)
