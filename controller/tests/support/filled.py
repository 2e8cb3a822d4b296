# SPDX-License-Identifier: Apache-2.0
"""Documents of which a test says only what it is about; the rest is blank."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from nvo3sec.operator.json_form import UNSAID, Unsaid

_BLANK = {str: "", int: 0, float: 0.0, bool: False, tuple: (), dict: {}}


def filled(kind: Any, value: Any) -> Any:
    """A document of this kind, of a JSON value in which fields may be missing."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return filled(_chosen(inner, value), value) if value is not None else None
    if typing.get_origin(kind) is tuple:
        return tuple(filled(inner[0], one) for one in value)
    if typing.get_origin(kind) is dict:
        return {name: filled(inner[1], one) for name, one in value.items()}
    if not is_dataclass(kind):
        return value
    hints = typing.get_type_hints(kind)
    names = [one.name for one in fields(kind)]
    return kind(**{name: filled(hints[name], value[name]) if name in value else _blank(hints[name]) for name in names})


def _chosen(kinds: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, dict):
        return next(one for one in kinds if is_dataclass(one) and set(value) <= {field.name for field in fields(one)})
    return next((one for one in kinds if typing.get_origin(one) is tuple and isinstance(value, list)), object)


def _blank(kind: Any) -> Any:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return UNSAID if Unsaid in inner else None if type(None) in inner else _blank(inner[0])
    return _BLANK[typing.get_origin(kind) or kind]
