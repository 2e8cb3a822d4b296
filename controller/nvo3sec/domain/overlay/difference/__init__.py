# SPDX-License-Identifier: Apache-2.0
"""What differs between two domains, what it touches, and what of it cannot be done while the domain lives.

The order of a file's lists has no meaning, and makes no difference. Names are identities: a VN, NVE or tenant system
under another name is another one.
"""

from __future__ import annotations

from nvo3sec.domain.overlay.difference.compare import difference
from nvo3sec.domain.overlay.difference.model import Action, Change, Difference, Effect, Kind

__all__ = ["Action", "Change", "Difference", "Effect", "Kind", "difference"]
