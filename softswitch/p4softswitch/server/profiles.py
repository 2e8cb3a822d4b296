# SPDX-License-Identifier: Apache-2.0
"""Action profiles: Write and Read of their members and groups."""

from __future__ import annotations

from typing import Any

from .status import P4Error, invalid


class Profiles:
    """The action profiles of one pipeline."""

    @staticmethod
    def _of(entry: Any) -> P4Error:
        return invalid(f"Invalid P4 id: there is no action profile {entry.action_profile_id:#010x}")

    def write(self, update: int, entry: Any) -> None:
        """A p4.v1.ActionProfileMember or ActionProfileGroup of a Write.

        Raises:
            P4Error: INVALID_ARGUMENT: there is no such action profile.
        """
        raise self._of(entry)

    def read(self, entry: Any, response: Any) -> None:
        """The same of a Read: id 0 is every action profile, of which there is none.

        Raises:
            P4Error: INVALID_ARGUMENT: there is no such action profile.
        """
        if entry.action_profile_id:
            raise self._of(entry)
