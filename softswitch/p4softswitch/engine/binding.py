# SPDX-License-Identifier: Apache-2.0
"""ctypes signatures of runtime/api.h. Calls leave Python's lock, so a call that waits stops nobody."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from pathlib import Path

from p4softswitch.engine_api import EngineError
from p4softswitch.runtime.names import NUMBERS

PORT_SINK, PORT_SOCKET, PORT_INTERFACE = (NUMBERS[f"PORT_{kind}"] for kind in ("SINK", "SOCKET", "INTERFACE"))
RECORD_PACKET, RECORD_DIGEST, RECORD_LOG, RECORD_PORT = (
    NUMBERS[f"RECORD_{kind}"] for kind in ("PACKET", "DIGEST", "LOG", "PORT")
)
NO_ACTION = NUMBERS["P4_NO_ACTION"]  # number of the action of a table for which the program has no default
FULL, EXISTS, NONE = (NUMBERS[f"T_{result}"] for result in ("FULL", "EXISTS", "NONE"))

_U32, _U64, _I32 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
_S, _P, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_KEY: list[object] = [_S, _U32, _P, _P, _U32, _I32]
_OUT = ctypes.POINTER(ctypes.c_void_p)

_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "p4_abi": (_U32, []),
    "p4_create": (_S, [_U32, _U64, _U64, _INT]),
    "p4_start": (_INT, [_S]),
    "p4_stop": (None, [_S]),
    "p4_destroy": (None, [_S]),
    "p4_table_insert": (_INT, [*_KEY, _U32, _P, _U32]),
    "p4_table_modify": (_INT, [*_KEY, _U32, _P, _U32]),
    "p4_table_delete": (_INT, _KEY),
    "p4_table_count": (_U32, [_S, _U32]),
    "p4_table_stride": (_U64, [_S, _U32]),
    "p4_table_dump": (_U32, [_S, _U32, _P, _U32]),
    "p4_table_default_get": (None, [_S, _U32, _P]),
    "p4_table_default_set": (None, [_S, _U32, _U32, _P, _U32]),
    "p4_members_set": (_INT, [_S, _U32, ctypes.POINTER(_U32), _U32, _U32, _P, _U32]),
    "p4_member_delete": (_INT, [_S, _U32, _U32]),
    "p4_member_group": (_INT, [_S, _U32, _U32, ctypes.POINTER(_U32), _U32, _INT]),
    "p4_entry_counter": (_INT, [*_KEY, _INT, ctypes.POINTER(_U64)]),
    "p4_entry_idle": (_INT, [*_KEY, ctypes.POINTER(_U64)]),
    "p4_entry_meter": (_INT, [*_KEY, _INT, ctypes.POINTER(_U64)]),
    "p4_meter": (_INT, [_S, _U32, _U64, _INT, ctypes.POINTER(_U64)]),
    "p4_counter": (_INT, [_S, _U32, _U64, _INT, ctypes.POINTER(_U64)]),
    "p4_register": (_INT, [_S, _U32, _U64, _INT, _P]),
    "p4_group": (_INT, [_S, _U32, _P, _U32, _INT]),
    "p4_session": (_INT, [_S, _U32, _P, _U32, _U32, _INT]),
    "p4_reset": (None, [_S, _INT]),
    "p4_statistics": (None, [_S, ctypes.POINTER(_U64), _U32]),
    "p4_port_statistics": (_INT, [_S, _U32, ctypes.POINTER(_U64), _U32]),
    "p4_now": (_U64, [_S]),
    "p4_clock": (None, [_S, _INT, _U64]),
    "p4_clock_start": (None, [_S, _U64]),
    "p4_inject": (_INT, [_S, _U32, _P, _U32]),
    "p4_process": (_U64, [_S, _U32, _P, _U32, _OUT]),
    "p4_bench": (_U64, [_S, _U32, ctypes.POINTER(_P), ctypes.POINTER(_U32), _U32, _U32, ctypes.POINTER(_U64)]),
    "p4_wait": (_U64, [_S, _U32, _OUT]),
    "p4_attach": (_INT, [_S, _U32, _INT, _P, _P, _P]),
    "p4_port_mark": (_INT, [_S, _U32, _U32]),
    "p4_detach": (_INT, [_S, _U32]),
}

_RECORD = struct.Struct("<IIII")
_ENTRY = struct.Struct("<QQQIIIi")  # struct entry of state.h, without its data
ENTRY_HEAD = _ENTRY.size


def load_library(path: Path) -> ctypes.CDLL:
    """The compiled program, with the signatures of its functions set."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(f"cannot load the compiled program: {error}") from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    if library.p4_abi() != NUMBERS["P4_ABI"]:
        raise EngineError(f"{path} was built for another version of the runtime")
    return library


def records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, port or list or message, bytes) of everything that packets left in an output buffer."""
    at = 0
    while at < len(data):
        kind, number, length, _ = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        yield kind, number, data[start : start + length]
        at += (_RECORD.size + length + 7) & ~7


def numbers(body: bytes) -> tuple[int, ...]:
    """The 64-bit numbers of a record, in the byte order of this machine."""
    return struct.unpack(f"={len(body) // 8}Q", body)


def read_entry(data: bytes, offset: int) -> tuple[int, int, int, int]:
    """(packets, bytes, action, priority) of an entry in a dump."""
    packets, size, _meter, _slot, action, _prefix, priority = _ENTRY.unpack_from(data, offset)
    return packets, size, action, priority
