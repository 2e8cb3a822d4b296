# SPDX-License-Identifier: Apache-2.0
"""Random and damaged packets through programs that are built with sanitizers; run by test_engine_sanitized.

usage: python engine_fuzz.py COUNT FLAG... -- PROGRAM.json...
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from engine_random import random_packets, random_program
from engine_scenarios import PROGRAMS, SCENARIOS, apply
from p4softswitch.engine.engine import CompiledEngine, EngineConfig, load


def damaged(rng: random.Random, packet: bytes) -> bytes:
    """Cut, lengthened, or with other bytes."""
    data = bytearray(packet)
    kind = rng.randrange(4)
    if kind == 0:
        del data[rng.randrange(len(data) + 1) :]
    elif kind == 1:
        data += rng.randbytes(rng.randrange(3000))
    else:
        for _ in range(rng.randrange(1, 8)):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(data)


def fuzz(engine: CompiledEngine, seeds: list[bytes], ports: list[int], count: int) -> int:
    """Run packets and change tables meanwhile; gives the number of frames that came out."""
    rng = random.Random(1)
    sent = 0
    for _ in range(count):
        packet = rng.choice(seeds) if seeds and rng.random() < 0.9 else rng.randbytes(rng.randrange(200))
        if rng.random() < 0.6:
            packet = damaged(rng, packet)
        sent += len(engine.process(rng.choice(ports), packet))
    return sent


def main() -> None:
    split = sys.argv.index("--")
    count, flags, extra = int(sys.argv[1]), tuple(sys.argv[2:split]), sys.argv[split + 1 :]
    with tempfile.TemporaryDirectory() as cache:
        config = EngineConfig(cache=Path(cache), extra_cflags=flags)
        for name, scenario in SCENARIOS.items():
            made = scenario(7, 300)
            engine = load((PROGRAMS / f"{name}.json").read_bytes(), config=config)
            apply(engine, made.setup)
            sent = fuzz(engine, [p for _, p in made.packets], [1, 2, 3, 511], count)
            sys.stdout.write(f"{name}: {sent} frames, {engine.statistics()}\n")
        for seed in range(3):
            program = random_program(seed)
            engine = load(program.json_bytes, config=config)
            for packet in random_packets(program, seed, 100):
                if engine.process(1, packet) != [(2, program.expected(packet))]:
                    sys.exit(f"random program {seed}: wrong result")
        for path in extra:
            engine = load(Path(path).read_bytes(), config=config)
            sent = fuzz(engine, [bytes(200)], list(range(0, 512, 37)), count)
            sys.stdout.write(f"{path}: {sent} frames, {engine.statistics()}\n")


if __name__ == "__main__":
    main()
