# SPDX-License-Identifier: Apache-2.0
"""ctypes signatures of runtime/api.h. Calls leave Python's lock, so a call that waits stops nobody."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from p4softswitch.engine_api import EngineError
from p4softswitch.runtime.names import DIRECT, METER_READING, NUMBERS

PORT_SINK, PORT_SOCKET, PORT_INTERFACE = (NUMBERS[f"PORT_{kind}"] for kind in ("SINK", "SOCKET", "INTERFACE"))
RECORD_PACKET, RECORD_DIGEST, RECORD_LOG, RECORD_PORT, RECORD_MISSED = (
    NUMBERS[f"RECORD_{kind}"] for kind in ("PACKET", "DIGEST", "LOG", "PORT", "MISSED")
)
NO_ACTION = NUMBERS["P4_NO_ACTION"]  # number of the action of a table for which the program has no default
DIRECT_RATES, DIRECT_UNMETERED = (NUMBERS[f"DIRECT_{part}"] for part in ("RATES", "UNMETERED"))
FULL, EXISTS, NONE = (NUMBERS[f"T_{result}"] for result in ("FULL", "EXISTS", "NONE"))

_U32, _U64, _I32 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
_S, _P, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_KEY: list[object] = [_S, _U32, _P, _P, _U32, _I32]
_OUT = ctypes.POINTER(ctypes.c_void_p)


class Direct(ctypes.Structure):
    """struct direct of host.h."""

    _fields_ = tuple((name, _U64) for name in DIRECT)


class MeterReading(ctypes.Structure):
    """struct meter_reading of host.h."""

    _fields_ = tuple((name, _U64) for name in METER_READING)


_DIRECT = ctypes.POINTER(Direct)

_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "p4_abi": (_U32, []),
    "p4_create": (_S, [_U32, _U64, _U64, _INT]),
    "p4_start": (_INT, [_S]),
    "p4_stop": (None, [_S]),
    "p4_destroy": (None, [_S]),
    "p4_table_insert": (_INT, [*_KEY, _U32, _P, _U32, _DIRECT]),
    "p4_table_modify": (_INT, [*_KEY, _U32, _P, _U32, _DIRECT]),
    "p4_table_delete": (_INT, _KEY),
    "p4_table_initial": (_INT, [*_KEY, _U32, _P, _U32]),
    "p4_entry_set": (_INT, [*_KEY, _DIRECT]),
    "p4_table_record": (_U64, [_S, _U32]),
    "p4_table_entry": (_INT, [*_KEY, _P]),
    "p4_table_page": (_U32, [_S, _U32, _U32, _U32, _P, ctypes.POINTER(_U32)]),
    "p4_table_default_get": (None, [_S, _U32, _P]),
    "p4_table_default_set": (None, [_S, _U32, _U32, _P, _U32]),
    "p4_members_set": (_INT, [_S, _U32, ctypes.POINTER(_U32), _U32, _U32, _P, _U32]),
    "p4_member_delete": (_INT, [_S, _U32, _U32]),
    "p4_member_group": (_INT, [_S, _U32, _U32, ctypes.POINTER(_U32), _U32, _INT]),
    "p4_meter_set": (None, [_S, _U32, _U64, _DIRECT]),
    "p4_meter_get": (None, [_S, _U32, _U64, _U32, ctypes.POINTER(MeterReading)]),
    "p4_counter_set": (None, [_S, _U32, _U64, _DIRECT]),
    "p4_counter_get": (None, [_S, _U32, _U64, _U32, ctypes.POINTER(_U64)]),
    "p4_register": (_INT, [_S, _U32, _U64, _INT, _P]),
    "p4_group": (_INT, [_S, _U32, _P, _U32, _INT]),
    "p4_session": (_INT, [_S, _U32, _P, _U32, _U32, _INT]),
    "p4_reset": (_INT, [_S, _INT]),
    "p4_statistics": (None, [_S, ctypes.POINTER(_U64), _U32]),
    "p4_port_statistics": (_INT, [_S, _U32, ctypes.POINTER(_U64), _U32]),
    "p4_now": (_U64, [_S]),
    "p4_clock": (None, [_S, _INT, _U64]),
    "p4_clock_start": (None, [_S, _U64]),
    "p4_inject": (_INT, [_S, _U32, _P, _U32]),
    "p4_process": (_U64, [_S, _U32, _P, _U32, _OUT]),
    "p4_bench": (_U64, [_S, _U32, ctypes.POINTER(_P), ctypes.POINTER(_U32), _U32, _U32, ctypes.POINTER(_U64)]),
    "p4_wait": (_U64, [_S, _U32, _OUT]),
    "p4_attach": (_INT, [_S, _U32, _INT, _P, _P, _INT]),
    "p4_open": (_INT, [_S, _U32, _INT]),
    "p4_close": (_INT, [_S, _U32, _INT]),
    "p4_bound": (_INT, [_S, _U32]),
    "p4_port_mark": (_INT, [_S, _U32, _U32]),
    "p4_detach": (_INT, [_S, _U32, ctypes.POINTER(_U64), _U32]),
    "p4_missed": (_U32, [_S, ctypes.POINTER(_U32), ctypes.POINTER(_U64), _U32]),
}

_RECORD = struct.Struct("<IIII")
_ENTRY = struct.Struct("<QQQIIIi")  # struct entry of state.h, without its data
ENTRY_HEAD = _ENTRY.size


_LOADED: dict[bytes, tuple[ctypes.CDLL, int]] = {}
"""By digest: what is loaded stays so, and its descriptor open. The dynamic linker knows a library by the path that it
was loaded from, which has the number of the descriptor in it: another one of that number would be taken for it."""
_MFD_EXEC = 0x10  # linux/memfd.h; kernels before 6.3 do not know it, and need not be asked
_LOADING = threading.Lock()


def _in_memory(library: bytes) -> int:
    """A file in memory with this content, which nobody can change any more."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("p4softswitch", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.memfd_create("p4softswitch", flags)
    try:
        view = memoryview(library)
        while view:
            view = view[os.write(descriptor, view) :]
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def load_library(library: bytes, name: Path) -> ctypes.CDLL:
    """The compiled program, with the signatures of its functions set: these very bytes, whatever a file has by now.

    name: for errors. Raises EngineError.
    """
    digest = hashlib.sha256(library).digest()
    with _LOADING:
        if digest not in _LOADED:
            _LOADED[digest] = _load(library, name)
        return _LOADED[digest][0]


def _load(content: bytes, name: Path) -> tuple[ctypes.CDLL, int]:
    try:
        descriptor = _in_memory(content)
    except OSError as error:
        raise EngineError(f"cannot load the compiled program {name}: {error}") from error
    try:
        library = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        os.close(descriptor)
        raise EngineError(f"cannot load the compiled program {name}: {error}") from error
    # From here on the descriptor stays open also where the program is refused: the library is loaded.
    for function_name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, function_name)
        function.restype = result
        function.argtypes = arguments
    if library.p4_abi() != NUMBERS["P4_ABI"]:
        raise EngineError(f"{name} was built for another version of the runtime")
    return library, descriptor


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
    """(packets, bytes, action, priority) of the entry in a record."""
    packets, size, _meter, _slot, action, _prefix, priority = _ENTRY.unpack_from(data, offset)
    return packets, size, action, priority
