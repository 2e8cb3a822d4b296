# SPDX-License-Identifier: Apache-2.0
"""The far end of a trunk: what a hypervisor's virtual switch does with VLANs, and no more.

One port towards the NVE, one port for each tenant system. A frame of a tenant system goes to the NVE under its tag,
whatever it carries itself; a frame from the NVE goes to the tenant system whose tag it has, without it. Other frames
are counted: nothing but the VLANs of this trunk should arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

from nvo3ref.tenant_frames import ETHERTYPE_CTAG, tagged

from nvo3lab.rpc import serve
from nvo3lab.wires.wire import Port, open_port


class Trunk:
    """One trunk and its tenant systems, in the running event loop."""

    def __init__(self, configuration: dict[str, object]) -> None:
        captures = Path(str(configuration["captures"]))
        name = configuration["name"]
        self._by_vlan: dict[int, Port] = {}
        self.strays: list[str] = []
        self._uplink = open_port(_mapping(configuration["wire"]), self._from_nve, captures / f"{name}.pcap")
        for text, wire in _mapping(configuration["members"]).items():
            vlan = int(text)

            def from_member(frame: bytes, foreign: bool, vlan: int = vlan) -> None:
                if not foreign:
                    self._uplink.send(tagged(frame, vlan))

            self._by_vlan[vlan] = open_port(_mapping(wire), from_member)

    def _from_nve(self, frame: bytes, foreign: bool) -> None:
        if foreign:
            return
        vlan = int.from_bytes(frame[14:16]) & 0x0FFF
        member = self._by_vlan.get(vlan)
        if int.from_bytes(frame[12:14]) == ETHERTYPE_CTAG and member is not None:
            member.send(frame[:12] + frame[16:])
        else:
            self.strays.append(frame[:32].hex())

    def report(self) -> dict[str, object]:
        return {"strays": self.strays}


def _mapping(value: object) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return value


async def _run(configuration: dict[str, object]) -> None:
    trunk = Trunk(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await serve(Path(str(configuration["control"])), {"report": trunk.report})
    async with server:
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.wires.trunk")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


if __name__ == "__main__":
    main()
