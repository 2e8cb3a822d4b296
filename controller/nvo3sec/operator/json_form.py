# SPDX-License-Identifier: Apache-2.0
"""Documents as JSON values, and back: one conversion each way, by the types of their fields.

A document is a frozen dataclass; its fields are texts, numbers, truths, None, other documents, tuples and dictionaries
of such. What may be left out has `Unsaid` in its type: whoever wrote it may be older, or know less. On the way back
fields that are not known are left out, and everything else has to be what its type says.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, overload

from nvo3sec.errors import OperatorError

T = TypeVar("T")
Convert: TypeAlias = Callable[[Any, str], Any]
"""Of a JSON value and the name of its field. Raises ValueError: the name, and what must be there."""


class Unsaid(Enum):
    """Stands for a field that is not there. It is as untrue as None."""

    UNSAID = "unsaid"

    def __bool__(self) -> Literal[False]:
        return False


UNSAID = Unsaid.UNSAID


def to_json(value: Any) -> Any:
    """A document, or what has documents in it, as a JSON value. What is none is left as it is."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    if isinstance(value, Mapping):
        return {name: to_json(one) for name, one in value.items()}
    kind: Any = type(value)
    told = ((name, getattr(value, name)) for name in _order(kind))
    return {name: to_json(one) for name, one in told if one is not UNSAID}


@cache
def _order(kind: Any) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is no document")
    return getattr(kind, "ORDER", None) or tuple(one.name for one in fields(kind))


@overload
def from_json(kind: type[T], value: Any) -> T: ...
@overload
def from_json(kind: Any, value: Any) -> Any: ...
def from_json(kind: Any, value: Any) -> Any:
    """A document, or a tuple or a dictionary of them, that somebody else has made. Raises OperatorError."""
    try:
        return _converter(kind)(value, "")
    except ValueError as error:
        raise OperatorError(f"the answer is not understood: {error}") from None


@cache
def _converter(kind: Any) -> Convert:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of([_converter(one) for one in inner if one is not Unsaid])
    if origin is tuple:
        return _tuple(_converter(inner[0]))
    if origin is dict:
        return _dictionary(_converter(inner[1]))
    if is_dataclass(kind):
        return _document(kind)
    return _PLAIN[kind]


def _exact(kinds: tuple[type, ...], what: str) -> Convert:
    def convert(value: Any, field: str) -> Any:
        if type(value) not in kinds:  # Python takes a truth for a number
            raise ValueError(f"{field or 'it'}: must be {what}")
        return value

    return convert


_PLAIN: dict[Any, Convert] = {
    str: _exact((str,), "a text"),
    int: _exact((int,), "a whole number"),
    float: _exact((int, float), "a number"),
    bool: _exact((bool,), "true or false"),
    type(None): _exact((type(None),), "null"),
}


def _one_of(converters: list[Convert]) -> Convert:
    def convert(value: Any, field: str) -> Any:
        faults = []
        for one in converters:
            try:
                return one(value, field)
            except ValueError as error:
                faults.append(str(error))
        raise ValueError(faults[0])

    return convert


def _tuple(convert_one: Convert) -> Convert:
    def convert(value: Any, field: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{field or 'it'}: must be a list")
        return tuple(convert_one(one, f"{field}[{index}]") for index, one in enumerate(value))

    return convert


def _dictionary(convert_one: Convert) -> Convert:
    def convert(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{field or 'it'}: must be an object")
        where = f"{field}." if field else ""
        return {name: convert_one(one, f"{where}{name}") for name, one in value.items()}

    return convert


def _document(kind: Any) -> Convert:
    hints = typing.get_type_hints(kind)
    kinds = [(one.name, hints[one.name]) for one in fields(kind)]
    known = [(name, _converter(one), Unsaid in typing.get_args(one)) for name, one in kinds]

    def convert(value: Any, field: str) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{field or 'it'}: must be an object")
        where = f"{field}." if field else ""
        found = {}
        for name, convert_one, may_miss in known:
            if name in value:
                found[name] = convert_one(value[name], f"{where}{name}")
            elif may_miss:
                found[name] = UNSAID
            else:
                raise ValueError(f"{where}{name}: is missing")
        return kind(**found)

    return convert
