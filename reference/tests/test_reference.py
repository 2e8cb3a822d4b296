# SPDX-License-Identifier: Apache-2.0
"""The nvo3ref itself, against published vectors and worked packets. No switch takes part."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from nvo3ref import chaskey
from nvo3ref.frames import checksum, ip4, mac
from nvo3ref.reasons import Reason
from nvo3ref.receiver import Receiver, RxSa, decapsulated_ecn
from nvo3ref.tunnel import TunnelPacket
from nvo3ref.window import WINDOW, Window

DATA = Path(__file__).parent / "data"
P4_SOURCES = Path(__file__).parents[2] / "p4src"
CHASKEY = json.loads((DATA / "chaskey12.json").read_text())
WORKED = json.loads((DATA / "worked_packets.json").read_text())["packets"]


@pytest.mark.parametrize("vector", CHASKEY["vectors"], ids=lambda v: f"{v['length']}-bytes")
def test_chaskey_known_answers(vector: dict[str, str]) -> None:
    assert chaskey.mac(bytes.fromhex(CHASKEY["key"]), bytes.fromhex(vector["message"])).hex() == vector["tag"]


def _worked(packet: dict[str, str | int]) -> TunnelPacket:
    return TunnelPacket(
        inner=bytes.fromhex(str(packet["inner"])),
        key=bytes.fromhex(str(packet["key"])),
        spi=int(packet["spi"]),
        sequence=int(packet["sequence"]),
        suite=int(packet["suite"]),
        vni=int(packet["vni"]),
        source=ip4("192.0.2.1"),
        destination=ip4("192.0.2.2"),
        eth_dst=mac(2),
        eth_src=mac(1),
    )


@pytest.mark.parametrize("packet", WORKED, ids=lambda p: f"suite-{p['suite']}-sequence-{p['sequence']}")
def test_worked_packets(packet: dict[str, str | int]) -> None:
    built = _worked(packet)
    assert (built.geneve_base() + built.option() + built.sealed()[0]).hex() == packet["geneve_to_end"]
    assert built.encode()[14:].hex() == packet["ipv4_udp_sport_49152"]


@pytest.mark.parametrize("packet", WORKED, ids=lambda p: f"suite-{p['suite']}-sequence-{p['sequence']}")
def test_receiver_accepts_worked_packets_once(packet: dict[str, str | int]) -> None:
    built = _worked(packet)
    pair = (built.source, built.destination)
    sa = RxSa(built.key, 7, Window(), built.suite, built.suite)
    receiver = Receiver(built.eth_dst, {pair}, {(*pair, built.spi): sa}, {(built.source, built.vni): built.suite})
    assert receiver.receive(built.encode()) == (None, built.vni, built.inner)
    assert receiver.receive(built.encode())[0] == Reason.REPLAYED
    assert receiver.receive(built.but(sequence=built.sequence + 1, icv=bytes(16)).encode())[0] == Reason.BAD_ICV


def test_reasons_are_those_of_the_program() -> None:
    source = (P4_SOURCES / "common" / "drop_reasons.p4").read_text()
    declared = {name: int(number) for name, number in re.findall(r"^\s+([A-Z0-9_]+) = (\d+)", source, re.MULTILINE)}
    assert declared.pop("NONE") == 0
    assert declared == {reason.name: reason.value for reason in Reason}


def test_window_edges() -> None:
    window = Window()
    assert window.judge(1, 0) == Reason.REPLAY_TOO_LATE
    window.commit(1, 20000)
    assert window.judge(1, 20000) == Reason.REPLAYED
    assert window.judge(1, 20000 - WINDOW) == Reason.REPLAY_TOO_LATE
    assert window.judge(1, 20001 - WINDOW) is None
    window.commit(2, 1)
    assert window.judge(1, 30000) == Reason.REPLAY_GENERATION
    assert window.judge(2, 20000) is None


def test_ecn_keeps_the_inner_checksum_right() -> None:
    chooser = random.Random(6040)
    for _ in range(2000):
        header = bytearray(b"\x45" + chooser.randbytes(19))
        header[1] = header[1] & 0xFC | chooser.choice((1, 2))
        header[10:12] = b"\0\0"
        header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
        marked = decapsulated_ecn(3, mac(1) + mac(2) + b"\x08\x00" + bytes(header))
        assert marked[15] & 3 == 3
        assert checksum(marked[14:34]) == 0
