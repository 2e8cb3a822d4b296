# SPDX-License-Identifier: Apache-2.0
"""From a domain file to a `Domain`, or to a list of everything that is wrong with it. Nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nvo3sec.config.checks import cross_check, cross_check_names
from nvo3sec.config.convert import to_domain
from nvo3sec.config.fault import Fault
from nvo3sec.config.mtu import TunnelFit, tunnel_fits
from nvo3sec.config.schema import DomainFile
from nvo3sec.config.yaml_lines import FINDINGS_LIMIT, LinedDocument, dotted, first_text, parse_yaml
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import ConfigError, Finding
from nvo3sec.system import files as reading
from nvo3sec.system import garbage

FILE_BYTES = 16 << 20
"""Longest domain file that is read; an NVA takes no more than 2 MiB from an operator."""


def example_path() -> Path:
    """The complete example that comes with the package."""
    return Path(str(resources.files("nvo3sec.examples") / "three-leaves.yaml"))


@dataclass(frozen=True)
class DomainText:
    """A domain file as it was read. `source` names it in errors; relative socket paths start at `directory`."""

    text: str
    source: str
    directory: Path

    def first_name(self) -> str | None:
        """The name of the domain, if the file begins with it: without reading the rest."""
        return first_text(self.text, "domain")

    def parse(self) -> Domain:
        """Raises ConfigError with every finding."""
        return parse_domain(self.text, self.source, self.directory)


def load_domain(path: Path) -> Domain:
    """Read the domain file at `path`. Raises ConfigError with every finding."""
    return read_domain(path).parse()


def read_domain(path: Path) -> DomainText:
    """The domain file at `path`, as it is. Raises ConfigError if it cannot be read."""
    try:
        text = reading.read_file(path, FILE_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigError(str(path), [Finding(0, "(file)", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Finding(0, "(file)", "is not UTF-8 text")]) from None
    return DomainText(text, str(path), path.resolve().parent)


def parse_domain(text: str, source: str, directory: Path) -> Domain:
    """Parse the domain file `text`. `source` names it in errors; relative socket paths start at `directory`.

    Raises ConfigError with every finding.
    """
    with garbage.paused():
        return _parsed(text, source, directory)


def parse_tunnel_fits(text: str, source: str) -> tuple[TunnelFit, ...]:
    """What fits into the tunnels of the domain file `text`, which may be wrong about that, and about nothing else.

    Raises ConfigError with every other finding.
    """
    with garbage.paused():
        return tuple(tunnel_fits(_checked(text, source, cross_check_names)))


def _parsed(text: str, source: str, directory: Path) -> Domain:
    return to_domain(_checked(text, source, cross_check), directory)


def _checked(text: str, source: str, check: Callable[[DomainFile], Iterator[Fault]]) -> DomainFile:
    document = parse_yaml(text, source)
    if not isinstance(document.value, dict):
        raise ConfigError(source, [Finding(1, "(the whole file)", "must be a mapping, beginning with `domain:`")])
    try:
        parsed = DomainFile.model_validate(document.value)
    except ValidationError as error:
        raise ConfigError(source, _schema_findings(error, document)) from None
    findings = [
        Finding(document.line_of(fault.path), dotted(fault.path), fault.message)
        for fault in islice(check(parsed), FINDINGS_LIMIT)
    ]
    if findings:
        raise ConfigError(source, findings)
    return parsed


_WORDS = {
    "extra_forbidden": "is not a field here",
    "missing": "is missing",
    "model_type": "must be a mapping: names of fields, and their values",
    "tuple_type": "must be a list",
    "too_short": "must hold at least {min_length}, and holds {actual_length}",
    "too_long": "must hold at most {max_length}, and holds {actual_length}",
    "string_type": "must be text; quote it",
    "literal_error": "must be {expected}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number, and not one of thousands of digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
}
"""What a value must be, by the kinds of pydantic's findings. Its own words are about Python, not about the file."""


def in_words(fault: Mapping[str, Any]) -> str:
    """A finding of pydantic's, as it is said of a field of the file."""
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    # pydantic says 0.0 where the schema says 0.
    numbers = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in fault.get("ctx", {}).items()
    }
    return _WORDS.get(fault["type"], "has a value of the wrong kind").format(**numbers)


def _schema_findings(error: ValidationError, document: LinedDocument) -> list[Finding]:
    findings: dict[tuple[int, str], Finding] = {}
    for fault in error.errors(include_url=False):
        # pydantic adds the name of a union's branch to the path, which is nothing that the file has.
        path: tuple[str | int, ...] = ()
        value: Any = document.value
        for part in fault["loc"]:
            if isinstance(value, dict) and part not in value and fault["type"] != "missing":
                break
            path = (*path, part)
            if path not in document.lines:
                break
            value = value[part]
        if fault["type"] == "too_short" and value:
            continue  # counts only its right members, and the wrong ones have findings of their own
        finding = Finding(document.line_of(path), dotted(path), in_words(fault))
        findings.setdefault((finding.line, finding.field), finding)
        if len(findings) >= FINDINGS_LIMIT:
            break
    return list(findings.values())
