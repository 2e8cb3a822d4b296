# SPDX-License-Identifier: Apache-2.0
"""The same sources compiled for frames of 9,216 bytes: every block of them is under the ICV, however many there are."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.base import NveTest
from harness.batch import Batch
from harness.own_switch import own_switch
from harness.world import A, B, World
from nvo3ref.frames import pattern
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import INNER_AT

P4SRC = Path(__file__).resolve().parents[1] / "p4src"
COMPILER = "p4c-bm2-ss"
HEAD = 16
BLOCK = 16
BLOCKS = 575
LONGEST = HEAD + BLOCK * BLOCKS  # 9,216 bytes


class EveryBlockOfAJumboFrame(NveTest):
    """One bit of each block is flipped on the way: none of the frames passes. (A count of blocks in eight bits would
    wrap at 4,112 bytes, and both ends would agree on it.)"""

    world_installed = False
    recordable = False

    def setUp(self) -> None:
        if shutil.which(COMPILER) is None:
            self.skipTest(f"no {COMPILER} on PATH")
        super().setUp()

    def compiled(self, directory: Path) -> Path:
        done = subprocess.run(
            [
                *(COMPILER, "--std", "p4-16", f"-DFRAME_BLOCKS={BLOCKS}", "-I", "v1model"),
                *("--p4runtime-files", directory / "nve.p4info.txtpb", "-o", directory / "nve.json", "v1model/nve.p4"),
            ],
            cwd=P4SRC,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return directory

    def runTest(self) -> None:
        with (
            tempfile.TemporaryDirectory() as directory,
            own_switch(self, self.compiled(Path(directory))) as session,
        ):
            self.world = World(session, type(self).__name__)
            session.set_incarnation(self.world.incarnation)
            session.set_lease()
            self.insert(*self.world.entries(), groups=self.world.replicas())
            self.received()
            self.sent()

    def received(self) -> None:
        chooser, peer = random.Random(9216), self.world.peer1
        with Batch(self, "one bit of each block") as batch:
            for block in range(1 + BLOCKS):
                packet = bytearray(peer.packet(self.extended(self.world.far1.frame_to(B))).encode())
                packet[INNER_AT + BLOCK * block + chooser.randrange(BLOCK)] ^= 1 << chooser.randrange(8)
                batch.dropped(peer.port, bytes(packet), Reason.BAD_ICV)
        for length in (LONGEST, LONGEST - 1, 4112, 4111, 4113):
            inner = self.extended(self.world.far1.frame_to(B), length)
            self.passes(peer.port, peer.packet(inner).encode(), (B.port, B.on_wire(inner)))

    def sent(self) -> None:
        peer = self.world.peer1
        self.modify(peer.tunnel(underlay_mtu=LONGEST + 200))
        for length in (LONGEST, LONGEST - 1, 4112, 4111, 4113):
            frame = self.extended(A.frame_to(self.world.far1), length)
            self.passes(A.port, frame, (peer.port, peer.sent(frame)))

    @staticmethod
    def extended(frame: bytes, length: int = LONGEST) -> bytes:
        """What follows the headers differs from block to block."""
        return frame + pattern(length - len(frame))
