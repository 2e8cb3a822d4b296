# SPDX-License-Identifier: Apache-2.0
"""What a Read takes while it copies something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Hold = Callable[[], AbstractContextManager[object]]
"""Makes a context in which nothing is written to the pipeline. To enter it raises P4Error if the pipeline that is read
is not the one any more that P4Runtime talks to."""
