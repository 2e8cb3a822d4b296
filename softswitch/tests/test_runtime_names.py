# SPDX-License-Identifier: Apache-2.0
"""What Python reads from the runtime's header, against what the C compiler makes of it."""

from __future__ import annotations

import subprocess

import pytest
from p4softswitch.engine.artifact import RUNTIME
from p4softswitch.engine.compiler import find_compiler
from p4softswitch.engine_api import CounterFields
from p4softswitch.runtime import names


class TestHeader:
    def test_the_compiler_counts_alike(self, tmp_path):
        asserted = [f'_Static_assert({name} == {value}, "{name}");' for name, value in names.NUMBERS.items()]
        for struct, members in (
            ("statistics", names.STATISTICS), ("port_statistics", names.PORT_STATISTICS),
            ("direct", names.DIRECT), ("meter_reading", names.METER_READING),
        ):  # fmt: skip
            asserted += [
                f'_Static_assert(offsetof(struct {struct}, {member}) == {8 * number}, "{member}");'
                for number, member in enumerate(members)
            ]
            asserted.append(f'_Static_assert(sizeof(struct {struct}) == {8 * len(members)}, "{struct}");')
        source = tmp_path / "names.c"
        source.write_text('#include <stddef.h>\n#include <stdint.h>\n#include "host.h"\n' + "\n".join(asserted) + "\n")
        compiler = find_compiler().command
        done = subprocess.run(
            [*compiler, "-std=c11", "-fsyntax-only", "-I", RUNTIME, source], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert len(asserted) > 30

    def test_fields_of_a_counter(self):
        assert names.NUMBERS["DIRECT_PACKETS"] == CounterFields.PACKETS
        assert names.NUMBERS["DIRECT_BYTES"] == CounterFields.BYTES

    def test_no_other_file_of_the_runtime_defines_them(self):
        """A second list would be one kept by hand."""
        for path in RUNTIME.glob("*.h"):
            text = path.read_text(encoding="utf-8")
            if path.name != "host.h":
                assert not set(names.numbers_in(text)) & set(names.NUMBERS), path.name
                assert "struct statistics {" not in text, path.name

    def test_forms(self):
        text = "/* enum lost { A } */ enum one { A, B = 7, C, D = -0x2 };\nenum two { E };"
        assert names.numbers_in(text) == {"A": 0, "B": 7, "C": 8, "D": -2, "E": 0}
        assert names.members_in("struct s { uint64_t a, b; uint64_t c; };") == {"s": ("a", "b", "c")}

    def test_what_cannot_be_read_is_named(self):
        with pytest.raises(ValueError, match="struct s has a member of type uint32_t"):
            names.members_in("struct s { uint64_t a; uint32_t b; };")
        with pytest.raises(ValueError, match="sizeof"):
            names.numbers_in("enum one { A = sizeof(int) };")
