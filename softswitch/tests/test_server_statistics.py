# SPDX-License-Identifier: Apache-2.0
"""The service that tells what the switch counts besides what the program does."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_network import can_make_veth, ip, own_network, unfinished_sender, virtio_header
from p4softswitch.runtime.names import PORT_STATISTICS
from server_command import FRAME, MAC, end, running
from server_harness import DEVICE_ID, TIMEOUT, Controller, Insert, Program, engine_missing, update

pytestmark = pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))

NOTHING = dict.fromkeys(PORT_STATISTICS, 0)


def statistics(directory: Path) -> dict[str, Any]:
    with grpc.insecure_channel(f"unix:{directory / 'p4rt'}") as channel:
        answer: dict[str, Any] = json.loads(
            channel.unary_unary("/p4softswitch.v1.Statistics/Get")(b"", timeout=TIMEOUT)
        )
    return answer


def test_engine_and_ports(tmp_path: Path, program: Program) -> None:
    """Nothing without a program; then what came, and each port by its number."""
    local, peer = tmp_path / "port1", tmp_path / "peer1"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        running(tmp_path, ["--no-p4", "-i", f"1@unix:{local},{peer}"], ["--cpu-port", "510"]),
        Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
    ):
        sender.bind(str(peer))
        sender.settimeout(TIMEOUT)
        assert statistics(tmp_path) == {"device_id": DEVICE_ID, "engine": {}, "ports": {}, "states": {}}
        controller.arbitrate()
        controller.push(program)
        controller.write(update(Insert, table_entry=program.forward(MAC, program.action("set_port", b"\x01"))))
        sender.sendto(FRAME, str(local))
        assert sender.recv(2000) == FRAME
        found = statistics(tmp_path)
    assert (found["engine"]["packets_in"], found["engine"]["packets_out"]) == (1, 1)
    passed = {"packets_in": 1, "bytes_in": len(FRAME), "packets_out": 1, "bytes_out": len(FRAME)}
    assert found["ports"] == {"1": {"interface": str(local)} | NOTHING | passed}


@pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
def test_segments_in_one_frame_are_counted_and_logged(tmp_path: Path, program: Program) -> None:
    """By the command as users start it: its log is standard error unless told, and warnings are in it.

    A checksum that was completed is counted, and not in it.
    """
    with own_network():
        ip("link", "add", "inner", "type", "veth", "peer", "name", "outer")
        for name in ("inner", "outer"):
            ip("link", "set", name, "up", "addrgenmode", "none")
        with (
            unfinished_sender("outer") as sender,
            running(tmp_path, ["--no-p4", "-i", "7@inner"], ["--cpu-port", "510"]) as process,
        ):
            with Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
                controller.arbitrate()
                controller.push(program)
            sender.send(virtio_header(checksum=True) + FRAME)
            datagram = struct.pack(">BBHHHBBHII", 0x45, 0, 3028, 1, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
            datagram += struct.pack(">HHHH", 1000, 2000, 3008, 0) + bytes(3000)
            sender.send(virtio_header(checksum=True, segment=1000) + FRAME[:14] + datagram)
            deadline = time.monotonic() + TIMEOUT
            while not (found := statistics(tmp_path))["ports"]["7"]["segments_unfinished"]:
                assert time.monotonic() < deadline
            status, _output, log = end(process)
    came = {"packets_in": 1, "bytes_in": len(FRAME), "checksum_completed": 1, "segments_unfinished": 1}
    assert found["ports"] == {"7": {"interface": "inner"} | NOTHING | came}
    assert status == 0
    assert "[WARNING] p4softswitch.unfinished: port 7 (inner): a frame with several segments in one" in log
    assert len(log.splitlines()) == 1
