# SPDX-License-Identifier: Apache-2.0
"""Program → C. One translation unit that includes the runtime, so that the compiler sees across the boundary."""

from __future__ import annotations

from p4softswitch.codegen.unit import Translation, translate

__all__ = ["Translation", "translate"]
