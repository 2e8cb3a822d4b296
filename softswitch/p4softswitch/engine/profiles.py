# SPDX-License-Identifier: Apache-2.0
"""Action profiles of a compiled program: members and groups by handle."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from p4softswitch.bmv2json import Program
from p4softswitch.engine.codec import encode_params
from p4softswitch.engine_api import ActionCall, EngineError

MAX_HANDLES = 1 << 16
"""Members, and groups, of one profile: handles lie below."""


class ProfileCalls:
    """That part of the engine. `check` raises what a result of the runtime stands for."""

    def __init__(self, program: Program, library: ctypes.CDLL, handle: int, check: Callable[[int, str], None]) -> None:
        self._lib = library
        self._handle = handle
        self._check = check
        self._index = {p.name: p.index for p in program.profiles}
        self._actions = {p.name: program.profile_actions(p) for p in program.profiles}

    def _at(self, profile: str, handles: Sequence[int]) -> int:
        if profile not in self._index:
            raise EngineError(f"there is no action profile {profile}")
        if any(not 0 <= handle < MAX_HANDLES for handle in handles):
            raise EngineError(f"{profile}: handles are below {MAX_HANDLES}")
        return self._index[profile]

    def members_set(self, profile: str, handles: Sequence[int], action: ActionCall) -> None:
        """Create or replace members that all have this action, in one step."""
        index = self._at(profile, handles)
        for number, found in enumerate(self._actions[profile]):
            if found.name == action.name:
                data = encode_params(found, action)
                numbers = (ctypes.c_uint32 * len(handles))(*handles)
                words = len(data) // 8
                result = self._lib.p4_members_set(self._handle, index, numbers, len(handles), number, data, words)
                self._check(result, profile)
                return
        raise EngineError(f"{profile} has no action {action.name}")

    def member_delete(self, profile: str, handle: int) -> None:
        """Raises NoSuchEntry."""
        self._check(self._lib.p4_member_delete(self._handle, self._at(profile, [handle]), handle), profile)

    def group_set(self, profile: str, handle: int, members: Sequence[int]) -> None:
        """Create or replace a group; the hash of a packet chooses among the members in the order of their handles."""
        index = self._at(profile, [handle, *members])
        numbers = (ctypes.c_uint32 * len(members))(*sorted(set(members)))
        result = self._lib.p4_member_group(self._handle, index, handle, numbers, len(set(members)), 1)
        self._check(result, profile)

    def group_delete(self, profile: str, handle: int) -> None:
        """Raises NoSuchEntry."""
        result = self._lib.p4_member_group(self._handle, self._at(profile, [handle]), handle, None, 0, 0)
        self._check(result, profile)
