# SPDX-License-Identifier: Apache-2.0
"""Names of NVEs, VNs, tenant systems, hypervisors and devices: DNS labels (RFC 1035 section 2.3.1, RFC 1123 section
2.1). Names of domains: DNS names.

DNS does not tell upper case from lower, and takes a dot at the end. Here a name has one spelling, so that two spellings
are never two owners: lower case, ASCII, no dot at the end. What is written otherwise is refused, with the spelling that
would be taken, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LABEL_BYTES = 63
DNS_NAME_BYTES = 253
"""Longest DNS name without the root's dot (RFC 1035 section 2.3.4)."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def is_label(text: str) -> bool:
    """Whether `text` is a DNS label in lower case."""
    return _LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether `text` is a DNS name in lower case, without a final dot."""
    return len(text) <= DNS_NAME_BYTES and all(is_label(label) for label in text.split("."))


def label_fault(text: str) -> str | None:
    """What is wrong with a name, in words that follow it, or None."""
    if is_label(text):
        return None
    if "." in text.strip(".") and (first := text.split(".")[0].lower()) and is_label(first):
        return f"has dots; names are one label here, without the domain: write {first}"
    return _fault(text, text.lower().strip("."), is_label) or f"is longer than {LABEL_BYTES} characters"


def dns_name_fault(text: str) -> str | None:
    """The same for the name of a domain."""
    if is_dns_name(text):
        return None
    labels = text.lower().removesuffix(".").split(".")
    if len(text) <= DNS_NAME_BYTES and any(labels) and not all(labels):
        return "has an empty label; between two dots must be a name"
    for label in labels:
        if len(label) > LABEL_BYTES and is_dns_name(label[:LABEL_BYTES].strip("-")):
            return f"has a label that is longer than {LABEL_BYTES} characters"
    fault = _fault(text, text.lower().removesuffix("."), is_dns_name)
    return fault or f"is longer than {DNS_NAME_BYTES} characters"


def _fault(text: str, better: str, is_right: Callable[[str], bool]) -> str | None:
    if not text.strip("."):
        return "is empty; a name has letters a to z, digits and hyphens"
    if not text.isascii():
        return "has letters that are not ASCII; a name has letters a to z, digits and hyphens (a domain: its xn-- form)"
    if is_right(better):
        return f"is written in lower case and without a dot at its end here: write {better}"
    if bad := sorted(set(re.findall("[^a-zA-Z0-9.-]", text))):
        return f"has {', '.join(map(ascii, bad[:5]))}; a name has letters a to z, digits and hyphens"
    if any(label.startswith("-") or label.endswith("-") for label in text.split(".")):
        return "begins or ends with a hyphen; a name begins and ends with a letter or a digit"
    return None


def parse_label(text: object) -> str:
    """A name. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError('not text; quote the name, like "leaf1"')  # in YAML 1.1, no and 1e3 are no texts
    if (fault := label_fault(text)) is not None:
        raise ValueError(f"{_shown(text)} {fault}")
    return text


def parse_dns_name(text: object) -> str:
    """The name of a domain. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError('not text; quote the name, like "lab.example"')
    if (fault := dns_name_fault(text)) is not None:
        raise ValueError(f"{_shown(text)} {fault}")
    return text


def _shown(text: str) -> str:
    return ascii(text if len(text) <= LABEL_BYTES else f"{text[:LABEL_BYTES]}...")
