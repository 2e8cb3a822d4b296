# SPDX-License-Identifier: Apache-2.0
"""Hashes and checksums → C: gather the input bits, run the algorithm."""

from __future__ import annotations

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.layout import Layout, c_bits
from p4softswitch.codegen.values import CValue, convert, masked
from p4softswitch.codegen.writer import DirectEnvironment, Writer

# Longest input in front of the payload, rounded up; one byte more than the program's own maximum is never written.
_SLACK = 16


def calculation_functions(program: ir.Program, layout: Layout) -> str:
    return "\n".join(_function(c, layout) for c in program.calculations)


def _function(calculation: ir.Calculation, layout: Layout) -> str:
    writer = Writer(layout, DirectEnvironment())
    total = 0
    with_payload = False
    run: list[x.FieldRef] = []
    for entry in [*calculation.inputs, None]:
        field = entry.field if entry is not None else None
        if run and (field is None or not _continues(run[-1], field)):
            total += _emit_run(writer, run)
            run = []
        if entry is None:
            break
        if field is not None:
            run.append(field)
        elif entry.header is not None:
            fields = [x.FieldRef(entry.header, f) for f in entry.header.type.fields]
            total += _emit_run(writer, fields)
        elif entry.constant is not None:
            value, width = entry.constant
            total += width
            for low in range(((width - 1) // 64) * 64, -1, -64):  # most significant part first
                part = min(64, width - low)
                writer.emit(f"n = bits_put(buf, n, {(value >> low) & ((1 << part) - 1):#x}ull, {part});")
        elif entry.payload:
            with_payload = True
    size = (total + 7) // 8 + _SLACK
    room = f"{size} + P4_MAX_FRAME" if with_payload else str(size)
    payload = ""
    if with_payload:
        # BMv2 appends at the next whole byte, and a truncation counts already.
        payload = (
            "{ uint64_t m = P->payload_len < P->truncated ? P->payload_len : P->truncated;\n"
            "size_t at = (n + 7) / 8; if (m > P4_MAX_FRAME) m = P4_MAX_FRAME;\n"
            "memcpy(buf + at, P->payload, m); n = 8 * (at + m); }\n"
        )
    storage = f'uint8_t *const buf = S->lane.scratch; _Static_assert({room} <= P4_SCRATCH, "scratch");'
    return (
        f"/* {calculation.name} */\n"
        f"static uint64_t calculation_{calculation.index}(struct sw *S, const struct pkt *P) {{\n"
        "const uint8_t *const H = P->phv.h; (void)H; size_t n = 0;\n"
        f"{storage}\n" + "\n".join(writer.lines) + "\n"
        f"{payload}return hash_{calculation.algorithm}(buf, (n + 7) / 8);\n}}\n"
    )


def _continues(last: x.FieldRef, following: x.FieldRef) -> bool:
    """Whether both lie side by side in one header, so that they are one copy."""
    if last.header is not following.header or last.header.metadata:
        return False
    return last.field.bit_offset + last.field.width == following.field.bit_offset


def _emit_run(writer: Writer, run: list[x.FieldRef]) -> int:
    header = run[0].header
    start = run[0].field.bit_offset
    width = run[-1].field.bit_offset + run[-1].field.width - start
    writer.emit(f"if ({writer.values.is_valid(header)}) {{")
    if header.metadata or start % 8 or width % 8:
        for ref in run:
            value = writer.values._load(ref, ref.field.width)
            _emit_value(writer, masked(value, ref.field.width), ref.field.width)
    else:
        where = writer.layout.offset[header] + start // 8
        writer.emit(f"n = bits_copy(buf, n, H + {where}, {width // 8});")
    writer.emit("}")
    return width


def _emit_value(writer: Writer, value: CValue, width: int) -> None:
    if width <= 64:
        writer.emit(f"n = bits_put(buf, n, {convert(value, 64).text}, {width});")
        return
    whole = writer.values.temporary(convert(value, 128)).text
    writer.emit(f"n = bits_put(buf, n, (uint64_t)({whole} >> 64), {width - 64});")
    writer.emit(f"n = bits_put(buf, n, (uint64_t){whole}, 64);")


def checksum_functions(program: ir.Program, layout: Layout) -> str:
    """`verify_checksums` gives 1 if one is wrong; `update_checksums` writes them."""
    verify, update = Writer(layout, DirectEnvironment()), Writer(layout, DirectEnvironment())
    for checksum in program.checksums:
        width = checksum.target.field.width
        for writer, wanted in ((verify, checksum.verify), (update, checksum.update)):
            if not wanted:
                continue
            writer.values.forget_elements()
            writer.lines.append(f"/* {checksum.name} */ {{")
            condition = "1" if checksum.condition is None else writer.values.boolean(checksum.condition)
            if writer is verify:
                condition = f"{writer.values.is_valid(checksum.target.header)} && {condition}"
            writer.emit(f"if ({condition}) {{")
            call = f"calculation_{checksum.calculation.index}(S, P)"
            if writer is verify:
                actual = convert(writer.values.low(checksum.target, min(width, 64)), 64).text
                writer.emit(f"if ({call} != {actual}) wrong = 1;")
            else:
                writer.store(checksum.target, convert(CValue(call, 64, 64), c_bits(width)))
            writer.lines.append("} }")
    return (
        "static uint32_t verify_checksums(struct sw *S, struct pkt *P) {\n"
        "const uint8_t *const H = P->phv.h; (void)H; (void)S; (void)P; uint32_t wrong = 0;\n"
        + "\n".join(verify.lines)
        + "\nreturn wrong;\n}\n"
        "static void update_checksums(struct sw *S, struct pkt *P) {\n"
        "uint8_t *const H = P->phv.h; (void)H; (void)S; (void)P;\n" + "\n".join(update.lines) + "\n}\n"
    )
