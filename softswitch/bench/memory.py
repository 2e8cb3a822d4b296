# SPDX-License-Identifier: Apache-2.0
"""Speed in memory: packets handed over in-process to the compiled pipeline, one thread, no input or output.

    python softswitch/bench/memory.py [C compiler flag...]

The floor is measured in the same run with the same compiler flags: the bare cipher over the same bytes, and bridging of
the same frame by the same engine. The mark is 1.3 times their sum. Every tag is checked against the bare cipher.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

from p4softswitch.engine.artifact import FLAGS
from p4softswitch.engine.compiler import find_compiler
from p4softswitch.engine.engine import CompiledEngine, EngineConfig, load
from p4softswitch.engine_api import ActionCall, KeyPart

HERE = Path(__file__).parent
KEY = bytes(range(16))
BRIDGED, PROTECTED = 1, 2
SIZES = (64, 128, 512, 1024, 1500)
MARK = 1.3
BATCH = 32
REPEATS = 40


def bare_cipher(directory: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    compiler = find_compiler()
    path = directory / "chaskey.so"
    command = [*compiler.command, *FLAGS, *compiler.extra, *flags, "-o", str(path), str(HERE / "chaskey.c")]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(path))
    library.chaskey12_bench.restype = ctypes.c_uint64
    return library


def frame(port: int, size: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, port]) + bytes(i * 7 & 0xFF for i in range(size - 6))


def pipeline_ns(engine: CompiledEngine, port: int, size: int) -> float:
    packets = [frame(port, size)] * BATCH
    rounds = max(1, 200_000 // (BATCH * size))
    best = min(engine.bench(9, packets, rounds)[0] for _ in range(REPEATS))
    return best / (BATCH * rounds)


def cipher_ns(library: ctypes.CDLL, size: int) -> float:
    tag = ctypes.create_string_buffer(16)
    rounds = max(20, 200_000 // size)
    return min(library.chaskey12_bench(frame(PROTECTED, size), size, rounds, tag) for _ in range(REPEATS)) / rounds


def check(engine: CompiledEngine, library: ctypes.CDLL) -> None:
    for size in range(16, 1552):
        packet = frame(PROTECTED, size)
        tag = ctypes.create_string_buffer(16)
        library.chaskey12(tag, packet, size, KEY)
        if engine.process(9, packet) != [(PROTECTED, tag.raw + packet)]:
            sys.exit(f"wrong output for {size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags = tuple(parser.parse_known_args()[1])
    with tempfile.TemporaryDirectory() as directory:
        library = bare_cipher(Path(directory), flags)
        config = EngineConfig(cache=Path(directory), extra_cflags=flags)
        engine = load((HERE / "mac.json").read_bytes(), config=config)
    for port in (BRIDGED, PROTECTED):
        key = (KeyPart(bytes([2, 0, 0, 0, 0, port])),)
        engine.table_insert("IngressPipe.bridge", key, 0, ActionCall("IngressPipe.forward", (port.to_bytes(2, "big"),)))
    protect = ActionCall("EgressPipe.protect", (KEY,))
    engine.table_insert("EgressPipe.links", (KeyPart(PROTECTED.to_bytes(2, "big")),), 0, protect)
    check(engine, library)
    sys.stdout.write(f"flags: {' '.join([*FLAGS, *flags])}\nns per packet, best of {REPEATS}; outputs checked\n")
    sys.stdout.write(f"{'bytes':>6} {'cipher':>8} {'bridge':>8} {'protect':>8} {'of floor':>9}\n")
    worst = 0.0
    for size in SIZES:
        cipher, bridge, protected = (
            cipher_ns(library, size), pipeline_ns(engine, BRIDGED, size), pipeline_ns(engine, PROTECTED, size)
        )  # fmt: skip
        ratio = protected / (cipher + bridge)
        worst = max(worst, ratio)
        sys.stdout.write(f"{size:>6} {cipher:>8.0f} {bridge:>8.0f} {protected:>8.0f} {ratio:>9.2f}\n")
    sys.stdout.write(f"worst {worst:.2f}, mark {MARK}\n")
    sys.exit(worst > MARK)


if __name__ == "__main__":
    main()
