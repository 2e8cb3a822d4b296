# SPDX-License-Identifier: Apache-2.0
"""What a field of a JSON value may hold that somebody else has made. Each check is called with the value and the name
of the field, and returns the value, or raises ValueError: the name, and what must be there. Never what was there: who
made it could have it printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any, str], Any]

COUNT_LIMIT = (1 << 64) - 1
"""The largest counter of a switch."""
SECONDS_LIMIT = 1e12
LIST_LIMIT = 65536
"""Entries: above the sizes of all tables of a switch."""

_NO_NAME = "has a name that is none"


def flag(value: Any, field: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{field}: must be true or false")
    return value


def number(high: int = COUNT_LIMIT) -> Check:
    """A whole number from 0 to `high`."""

    def check(value: Any, field: str) -> int:
        if type(value) is not int or not 0 <= value <= high:
            raise ValueError(f"{field}: must be a whole number from 0 to {high}")
        return value

    return check


def seconds(value: Any, field: str) -> float:
    """A finite time, before or after now."""
    if type(value) not in (int, float) or not -SECONDS_LIMIT < value < SECONDS_LIMIT:
        raise ValueError(f"{field}: must be a time in seconds")
    return float(value)


def text(limit: int) -> Check:
    """Printable text of at most `limit` characters."""

    def check(value: Any, field: str) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise ValueError(f"{field}: must be a text of at most {limit} characters")
        if not value.isprintable():
            raise ValueError(f"{field}: must be printable")
        return value

    return check


def matching(pattern: str, what: str) -> Check:
    """A text that is, as a whole, of the form `pattern`; `what` says it in words."""
    form = re.compile(pattern, re.ASCII)

    def check(value: Any, field: str) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{field}: must be {what}")
        return value

    return check


def ip(value: Any, field: str) -> str:
    """The text of an IPv4 or IPv6 address, without a zone."""
    try:
        if isinstance(value, str) and "%" not in value:
            return str(ip_address(value))
    except ValueError:
        pass
    raise ValueError(f"{field}: must be an IP address")


def or_none(check: Check) -> Check:
    """What `check` takes, or null."""
    return lambda value, field: None if value is None else check(value, field)


def exactly(known: Any) -> Check:
    """This value, which the reader knows and its maker has to know as well."""

    def check(value: Any, field: str) -> Any:
        if type(value) is not type(known) or value != known:
            raise ValueError(f"{field}: must be {known}")
        return known

    return check


def listed(check: Check, limit: int = LIST_LIMIT) -> Check:
    """A list of at most `limit` values that `check` takes."""

    def checked(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list | tuple) or len(value) > limit:
            raise ValueError(f"{field}: must be a list of at most {limit} entries")
        return [check(one, f"{field}[{index}]") for index, one in enumerate(value)]

    return checked


def table(name: Check, check: Check, limit: int = LIST_LIMIT) -> Check:
    """An object of at most `limit` fields, whose names `name` takes, and whose values `check`."""

    def checked(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > limit:
            raise ValueError(f"{field}: must be an object of at most {limit} fields")
        try:
            names = [name(one, field) for one in value]
        except ValueError:
            raise ValueError(f"{field}: {_NO_NAME}") from None
        return {one: check(value[one], f"{field}.{one}") for one in names}

    return checked


def record(needed: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields. Others are left out, as those of a message that its reader does not know."""
    more = optional or {}

    def checked(value: Any, field: str) -> dict[str, Any]:
        where = f"{field}." if field else ""
        if not isinstance(value, dict):
            raise ValueError(f"{field or 'the answer'}: must be an object")
        for name in needed:
            if name not in value:
                raise ValueError(f"{where}{name}: is missing")
        present = {**needed, **{name: check for name, check in more.items() if name in value}}
        return {name: check(value[name], f"{where}{name}") for name, check in present.items()}

    return checked
