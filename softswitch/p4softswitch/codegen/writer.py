# SPDX-License-Identifier: Apache-2.0
"""C statements that store, set validity and compare: what actions, parser and traffic manager have in common."""

from __future__ import annotations

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json.program import LValue
from p4softswitch.codegen.layout import Layout, c_bits, c_type, metadata_member, storage_unit
from p4softswitch.codegen.liveness import Liveness
from p4softswitch.codegen.values import CValue, Values, convert, header_type_of, masked, number
from p4softswitch.engine_api import UnsupportedProgram


class DirectEnvironment:
    """Metadata where it lives, in the packet's own structure."""

    def metadata(self, ref: x.FieldRef) -> str:
        return f"P->phv.m.{metadata_member(ref)}"

    def cursor(self) -> str:
        return "d + pos"


class CachedEnvironment:
    """Metadata in local variables of the function, so that writes into header bytes do not force it back to memory."""

    def __init__(self, liveness: Liveness) -> None:
        self._liveness = liveness
        self.used: dict[str, int] = {}
        self.local: dict[str, int] = {}
        self.written: set[str] = set()

    def metadata(self, ref: x.FieldRef) -> str:
        member = metadata_member(ref)
        known = self.used if self._liveness.is_kept(ref) else self.local
        known[member] = c_bits(ref.field.width)
        return f"c_{member}"

    def cursor(self) -> str:
        raise AssertionError("lookahead outside of a parser")

    def prologue(self) -> list[str]:
        loads = [f"{c_type(bits)} c_{m} = P->phv.m.{m};" for m, bits in sorted(self.used.items())]
        # What is written and never read is set, and the C compiler sees that nobody looks.
        return loads + [f"{c_type(bits)} c_{m} = 0; (void)c_{m};" for m, bits in sorted(self.local.items())]

    def flush(self) -> list[str]:
        return [f"P->phv.m.{m} = c_{m};" for m in sorted(self.written & self.used.keys())]


class Writer:
    """Appends statements to `lines`."""

    def __init__(self, layout: Layout, environment: DirectEnvironment | CachedEnvironment) -> None:
        self.layout = layout
        self.environment = environment
        self.values = Values(layout, environment)
        self.lines: list[str] = []

    def emit(self, *lines: str) -> None:
        """Statements, behind the temporaries that their expressions asked for."""
        self.lines.extend(self.values.take_before())
        self.lines.extend(lines)

    def begin(self) -> None:
        """A scope of its own for the temporaries that follow."""
        self.values.forget_elements()
        self.lines.append("{")

    def end(self) -> None:
        self.values.forget_elements()
        self.lines.append("}")

    # Fields ----------------------------------------------------------------------------------------------------------

    def assign(self, target: LValue, value: x.Data) -> None:
        self.store(target, self.values.low(value, target.field.width))

    def store(self, target: LValue, value: CValue) -> None:
        """Cut the value to the field's width and write it."""
        width = target.field.width
        value = convert(masked(value, width), c_bits(width))
        if isinstance(target, x.FieldRef) and target.header.metadata:
            if isinstance(self.environment, DirectEnvironment) and not self.layout.liveness.is_kept(target):
                self.emit(f"(void)({value.text});")
                return
            name = self.environment.metadata(target)
            if isinstance(self.environment, CachedEnvironment):
                self.environment.written.add(metadata_member(target))
            self.emit(f"{name} = {value.text};")
            return
        pointer = self.values.address(target)
        unit = storage_unit(header_type_of(target), target.field)
        self.emit(*self.store_bytes(pointer, target.field.bit_offset, value, width, unit))

    def store_bytes(
        self, pointer: str, bit_offset: int, value: CValue, width: int, unit: tuple[int, int] | None = None
    ) -> list[str]:
        """Statements that put a clean value into header bytes."""
        first, covered = unit if unit is not None else (bit_offset // 8, (bit_offset % 8 + width + 7) // 8)
        skip = bit_offset - 8 * first
        if covered > 16:
            wide = self.values.temporary(convert(value, 128))
            high = CValue(f"(uint64_t)({wide.text} >> 64)", 64, width - 64)
            low = CValue(f"(uint64_t){wide.text}", 64, 64)
            return [
                *self.store_bytes(pointer, bit_offset, high, width - 64),
                *self.store_bytes(pointer, bit_offset + width - 64, low, 64),
            ]
        load = next(s for s in (1, 2, 4, 8, 16) if s >= covered)
        bits = max(32, 8 * load)
        where = f"{pointer} + {first}" if first else pointer
        up = 8 * load - skip - width
        text = convert(value, bits).text
        if up:
            text = f"({text} << {up})"
        if width < 8 * load:
            keep = ((1 << (8 * load)) - 1) ^ (((1 << width) - 1) << up)
            text = f"((LD{8 * load}({where}) & {number(keep, bits)}) | {text})"
        return [f"ST{8 * load}({where}, {text});"]

    # Validity --------------------------------------------------------------------------------------------------------

    def header_place(self, header: x.Header | x.StackElem, where: str) -> tuple[str, str, str, int]:
        """(pointer, condition that there is such a header, number of its validity bit, bytes)."""
        if isinstance(header, x.StackElem):
            element = self.values.element(header)
            first = self.layout.valid_bit[header.stack.headers[0]]
            in_range = f"{element} < {len(header.stack.headers)}u"
            pointer = self.values.element_address(header)
            return pointer, in_range, f"{first} + {element}", header.stack.type.bits // 8
        if header.metadata:
            raise UnsupportedProgram(f"{where}: validity of the metadata {header.name} is not implemented")
        return f"H + {self.layout.offset[header]}", "1", str(self.layout.valid_bit[header]), header.type.bits // 8

    def set_validity(self, header: x.Header | x.StackElem, valid: bool, where: str) -> None:
        pointer, in_range, bit, size = self.header_place(header, where)
        if valid:
            self.emit(
                f"if ({in_range} && !valid_get(&P->phv, {bit})) {{",
                f"  memset({pointer}, 0, {size}); valid_set(&P->phv, {bit}); P->packet_length += {size};",
                "}",
            )
        else:
            self.emit(
                f"if ({in_range} && valid_get(&P->phv, {bit})) {{",
                f"  valid_clear(&P->phv, {bit}); P->packet_length -= {size};",
                "}",
            )

    def assign_header(self, target: x.Header | x.StackElem, source: x.Header | x.StackElem, where: str) -> None:
        plain = [h for h in (target, source) if isinstance(h, x.Header) and h.metadata]
        if plain:
            self._assign_fields(target, source, where)
            return
        to, to_range, to_bit, size = self.header_place(target, where)
        frm, frm_range, frm_bit, _ = self.header_place(source, where)
        self.emit(
            f"if ({to_range}) {{",
            f"  if ({frm_range} && valid_get(&P->phv, {frm_bit})) {{",
            f"    memmove({to}, {frm}, {size}); valid_set(&P->phv, {to_bit});",
            f"  }} else valid_clear(&P->phv, {to_bit});",
            "}",
        )

    def _assign_fields(self, target: x.Header | x.StackElem, source: x.Header | x.StackElem, where: str) -> None:
        if isinstance(target, x.StackElem) or isinstance(source, x.StackElem):
            raise UnsupportedProgram(f"{where}: copying between metadata and a header chosen at run time")
        if not source.metadata:
            self.emit(f"if ({self.values.is_valid(source)}) {{")
        if not target.metadata:
            self.emit(f"valid_set(&P->phv, {self.layout.valid_bit[target]});")
        for field in target.type.fields:
            self.assign(x.FieldRef(target, field), x.FieldRef(source, field))
        if not source.metadata:
            clear = "" if target.metadata else f" else valid_clear(&P->phv, {self.layout.valid_bit[target]});"
            self.emit("}" + clear)
