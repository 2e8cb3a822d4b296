# SPDX-License-Identifier: Apache-2.0
"""The program in the embedded switch under the address and undefined-behaviour sanitizers.

Random worlds of the differential run with all their frames, the same frames damaged, and the recordings: nothing may be
read or written out of bounds, and no arithmetic is undefined. The switch ends at the first such thing, and its output
says where. More packets: `pytest ptf-tests/test_sanitized.py --sanitized-packets 100000`.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from differential.campaign import steps_of, world_seed
from differential.pair import Target
from differential.steps import Frames, Outcome, PacketOuts, Step, Write
from differential.worlds import World
from harness.schema import Schema, entry, update
from harness.session import SET_INCARNATION, Session, pipeline_directory
from harness.switches import CPU_PORT
from harness.trace import TRACES

SEED = 2026
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O0")
"""Without optimization: nothing is left out because its result is not needed, and compiling takes a third as long."""


def _libraries() -> str | None:
    """The sanitizers' run-time libraries, which have to be there before Python starts."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    found = []
    for name in ("libasan.so", "libubsan.so"):
        answer = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        if not Path(answer.stdout.strip()).is_absolute():
            return None
        found.append(answer.stdout.strip())
    return ":".join(found)


pytestmark = pytest.mark.skipif(_libraries() is None, reason="gcc's sanitizers are not installed")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The compiler of the switches that are started meanwhile: it builds with sanitizers."""
    directory = tmp_path_factory.mktemp("sanitized")
    compiler = directory / "cc"  # flags that come last win
    compiler.write_text(f'#!/bin/sh\nLD_PRELOAD= exec gcc "$@" {shlex.join(FLAGS)}\n')
    compiler.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P4SOFTSWITCH_CC", str(compiler))
        patch.setenv("XDG_CACHE_HOME", str(directory))
        patch.setenv("LD_PRELOAD", _libraries() or "")
        patch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # Python keeps what it has until it ends
        patch.setenv("UBSAN_OPTIONS", "print_stacktrace=1")
        yield compiler


@pytest.fixture(scope="module")
def target(sanitized: Path) -> Iterator[Target]:
    target = Target("embedded", pipeline_directory())
    target.reset()
    (built,) = (sanitized.parent / "p4softswitch").glob("*.so")
    assert b"__asan_report_load" in built.read_bytes()
    assert b"__ubsan_handle" in built.read_bytes()
    yield target
    target.close()


class Run:
    """Steps on the switch, with what they came to."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.packets = self.outputs = 0
        self.drops = Counter[str]()

    def world(self, name: str, steps: Iterable[Step]) -> None:
        """From a fresh start. Behind each step of frames go the same ones damaged."""
        chooser = random.Random(f"damage {SEED} {name}")
        self.target.reset()
        outcome = Outcome()
        for step in steps:
            for one in with_damage(chooser, step):
                self.target.begin(one)
                outcome = self.target.end(one)
                assert not outcome.failure, f"{name}: {outcome.failure}"
                if not isinstance(one, Write):
                    self.packets += len(one.parts())
                    self.outputs += sum(map(len, outcome.outputs.values()))
        self.drops.update({reason: count for reason, (count, _) in outcome.drops.items()})

    def close(self) -> None:
        assert self.target.switch.is_alive()
        output = self.target.switch.output()
        assert "Sanitizer" not in output
        assert "runtime error" not in output


def damaged(chooser: random.Random, frame: bytes) -> bytes:
    """Cut, lengthened, or with other bytes."""
    data = bytearray(frame)
    kind = chooser.randrange(4)
    if kind == 0:
        del data[chooser.randrange(len(data) + 1) :]
    elif kind == 1:
        data += chooser.randbytes(chooser.choice((1, 15, 16, 200, 3000, 9000, 65000)))
    else:
        for _ in range(chooser.randrange(1, 8) if data else 0):
            data[chooser.randrange(len(data))] = chooser.choice((0, 1, 0x7F, 0x80, 0xFF, chooser.randrange(256)))
    return bytes(data)


def with_damage(chooser: random.Random, step: Step) -> Iterator[Step]:
    """The step; behind one of frames, the same ones damaged, and some that are nothing, to any port."""
    yield step
    if isinstance(step, Frames):
        frames = [(port, damaged(chooser, frame)) for port, frame in step.frames]
        frames += [(chooser.randrange(CPU_PORT), chooser.randbytes(chooser.randrange(200))) for _ in range(4)]
        yield Frames(tuple(frames))


def test_random_worlds(target: Target, request: pytest.FixtureRequest) -> None:
    wanted = request.config.getoption("--sanitized-packets")
    run = Run(target)
    for number in itertools.count():
        seed = world_seed(SEED, number)
        run.world(seed, steps_of(World(random.Random(seed)), target.schema))
        if run.packets >= wanted:
            break
    run.close()
    # Where nothing comes far, nothing was looked at.
    assert run.outputs > run.packets // 40
    assert len(run.drops) > 40


def recorded_steps(path: Path, schema: Schema) -> Iterator[Step]:
    """What went into the switch, exchanges between two changes together."""
    roles = [update("INSERT", table_entry=schema.table_entry(role)) for role in Session.port_roles()]
    yield Write(tuple(role.SerializeToString() for role in roles))
    frames: list[tuple[int, bytes]] = []
    for line in [*path.read_text().splitlines()[1:], '{"event":"end"}']:
        event = json.loads(line)
        if event["event"] == "exchange":
            frames += [(port, bytes.fromhex(frame)) for port, frame in event["in"]]
            outs = [(tuple(fields.items()), bytes.fromhex(payload)) for fields, payload in event["packet_out"]]
            if outs:
                yield PacketOuts(tuple(outs))
            continue
        if frames:
            yield Frames(tuple(frames))
            frames = []
        if event["event"] == "write":
            yield Write(tuple(base64.b64decode(one) for one in event["updates"]))
        elif event["event"] == "incarnation":
            value = bytes.fromhex(event["value"])
            default = entry("incarnation", {}, "set_incarnation", incarnation=value)
            yield Write((update("MODIFY", table_entry=schema.table_entry(default)).SerializeToString(),))
            yield PacketOuts(((((("operation", SET_INCARNATION),)), value),))


def test_recordings(target: Target) -> None:
    run = Run(target)
    recordings = sorted(TRACES.glob("*.jsonl"))
    for path in recordings:
        run.world(path.stem, recorded_steps(path, target.schema))
    run.close()
    assert len(recordings) > 50
    assert run.outputs > run.packets // 10
    assert len(run.drops) > 60


def test_what_is_out_of_bounds_is_noticed(sanitized: Path, tmp_path: Path) -> None:
    """So that the tests above can fail."""
    source = "int beyond(char *p, int n) { return p[n]; } int shift(char *p, int n) { return *p + (n << 31); }"
    (tmp_path / "wrong.c").write_text(source)
    library = tmp_path / "wrong.so"
    subprocess.run([str(sanitized), "-shared", "-fPIC", "-o", str(library), str(tmp_path / "wrong.c")], check=True)
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])[sys.argv[2]](ctypes.create_string_buffer(200_000), 200_001)"
    for name, said in (("beyond", b"AddressSanitizer: "), ("shift", b"runtime error: left shift")):
        done = subprocess.run([sys.executable, "-c", code, str(library), name], capture_output=True, check=False)
        assert done.returncode != 0
        assert said in done.stderr
