# SPDX-License-Identifier: Apache-2.0
"""The exception trees that docstrings draw are those that there are."""

from __future__ import annotations

import importlib
import pkgutil
import re

import nvo3sec
import pytest
from nvo3sec import errors

TREES = ("nvo3sec.errors", "nvo3sec.identity.errors", "nvo3sec.nva.store.errors")


def drawn(module: str) -> dict[str, str]:
    """Name to name of the one above it, "" for the root."""
    above: list[str] = []
    found = {}
    for line in (importlib.import_module(module).__doc__ or "").splitlines():
        if node := re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)(\w+)(?:$| {2})", line):
            del above[len(node[1]) // 4 :]
            found[node[2]] = above[-1] if above else ""
            above.append(node[2])
    return found


def existing() -> dict[str, type[errors.Nvo3secError]]:
    for module in pkgutil.walk_packages(nvo3sec.__path__, "nvo3sec."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    classes: dict[str, type[errors.Nvo3secError]] = {}
    left = [errors.Nvo3secError]
    while left:
        one = left.pop()
        if one.__module__.startswith("nvo3sec.") and not one.__name__.startswith("_"):
            classes[one.__name__] = one
        left += one.__subclasses__()
    return classes


@pytest.mark.parametrize("module", TREES)
def test_what_is_drawn_is_so(module):
    classes = existing()
    for name, above in drawn(module).items():
        assert name in classes, f"{module} draws {name}"
        assert above in {"", *(base.__name__ for base in classes[name].__bases__)}, f"{name} is not beneath {above}"


def test_what_is_so_is_drawn():
    assert set(existing()) == {name for module in TREES for name in drawn(module)}
