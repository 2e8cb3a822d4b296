# SPDX-License-Identifier: Apache-2.0
"""YAML to plain values, remembering the line of every one. Duplicate keys are refused: YAML lets the last one win.

Anchors and aliases (YAML 1.1 section 3.2.2.2) are refused where they stand: no domain file needs them, a few lines of
aliases to aliases mean more than there is memory for, and what is meant twice is overlooked in one of its places.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from nvo3sec.errors import ConfigError, Finding

Path: TypeAlias = tuple[str | int, ...]

VALUES_LIMIT = 4_000_000
"""Of one document."""

DEPTH_LIMIT = 64
"""Lists and mappings within each other; a domain file has six."""

SCALAR_LIMIT = 100
"""Characters of what is not text. To read a number in base 60 (YAML 1.1) takes time by the square of its length."""

FINDINGS_LIMIT = 1000
"""After so many, what else is wrong does not help anybody."""

PROBLEM_SHOWN = 200
SHOWN = 40
"""Characters of a key that is none."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # has no types
    """The one in C is ten times faster, which an NVA that is given a file notices. It is not everywhere."""


_TEXT = "tag:yaml.org,2002:str"


@dataclass
class LinedDocument:
    """`value` as plain dicts, lists and scalars, and the line (from 1) of everything in it by its path."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """Line of `path`, or of the nearest thing around it that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def dotted(path: Path) -> str:
    """`nves[0].underlay.mtu` for ("nves", 0, "underlay", "mtu")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(the whole file)"


def first_text(text: str, key: str) -> str | None:
    """The text under `key`, if that is the first key of the document; what comes after it is not read."""
    try:
        loader = _Loader(text)
    except yaml.YAMLError:
        return None
    try:
        found = [loader.get_event() for _ in range(5)]
    except yaml.YAMLError:
        return None
    finally:
        loader.dispose()
    match found[2:]:
        case [yaml.MappingStartEvent(), yaml.ScalarEvent(value=name), yaml.ScalarEvent(value=value)] if name == key:
            return str(value)
    return None


def parse_yaml(text: str, source: str) -> LinedDocument:
    """Parse one YAML document. Raises ConfigError with the line of the fault."""
    no_text = Finding(0, "(YAML)", "holds characters that are not text")
    try:
        loader = _Loader(text)
    except yaml.YAMLError:
        raise ConfigError(source, [no_text]) from None
    try:
        reader = _Reader(loader)
        if not reader.read():
            raise ConfigError(source, [Finding(1, "(the whole file)", "is empty")])
    except _NotTaken as error:
        raise ConfigError(source, [error.finding]) from None
    except _EnoughFound:
        raise ConfigError(source, reader.findings) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigError(
            source, [Finding(line, "(YAML)", (error.problem or "cannot be parsed")[:PROBLEM_SHOWN])]
        ) from None
    except yaml.YAMLError:  # the loader in C notices only now
        raise ConfigError(source, [no_text]) from None
    finally:
        loader.dispose()
    if reader.findings:
        raise ConfigError(source, reader.findings)
    return reader.document


class _Parts:
    """A key that is a list or a mapping."""

    def __repr__(self) -> str:
        return "of several parts"


class _NotTaken(Exception):
    """What is not even looked at to its end."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class _EnoughFound(Exception):
    """There are as many findings as anybody reads."""


class _Reader:
    """Makes values of a document's events as they come: its nodes would take several times the memory."""

    def __init__(self, loader: Any) -> None:
        self.document = LinedDocument(None)
        self.findings: list[Finding] = []
        self._loader = loader
        self._lines = self.document.lines
        self._depth = 0

    def read(self) -> bool:
        """Read the only document; returns whether there is one. Raises YAMLError, _NotTaken, _EnoughFound."""
        loader = self._loader
        loader.get_event()  # the stream begins
        if loader.check_event(yaml.StreamEndEvent):
            return False
        loader.get_event()  # the document begins
        self.document.value = self._value(())
        loader.get_event()  # it ends
        if not loader.check_event(yaml.StreamEndEvent):
            mark = loader.get_event().start_mark
            raise ComposerError("expected a single document", None, "but found another document", mark)
        return True

    def _value(self, path: Path) -> Any:
        event = self._next()
        self._note(path, event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _next(self) -> Any:
        """The next event. Raises _NotTaken."""
        event = self._loader.get_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _NotTaken(Finding(line, "(YAML)", f"*{event.anchor[:SHOWN]} is an alias; write out what it means"))
        if getattr(event, "anchor", None) is not None:
            message = f"&{event.anchor[:SHOWN]} is an anchor, and aliases are not taken; leave it out"
            raise _NotTaken(Finding(line, "(YAML)", message))
        if isinstance(event, yaml.CollectionStartEvent):
            self._depth += 1
            if self._depth > DEPTH_LIMIT:
                raise _NotTaken(Finding(line, "(YAML)", f"is nested too deeply: {DEPTH_LIMIT} levels at most"))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._depth -= 1
        return event

    def _skip(self, event: Any) -> None:
        """Read to the end of what `event` begins."""
        above = self._depth - isinstance(event, yaml.CollectionStartEvent)
        while self._depth > above:
            self._next()

    def _note(self, path: Path, mark: yaml.Mark) -> None:
        if len(self._lines) > VALUES_LIMIT:
            raise _NotTaken(Finding(0, "(the whole file)", f"has more than {VALUES_LIMIT} values"))
        self._lines[path] = mark.line + 1

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _TEXT:
            return event.value
        if len(event.value) > SCALAR_LIMIT:
            kind = str(tag).rpartition(":")[2]
            message = f"this is not a valid {kind}: it has {len(event.value)} characters, {SCALAR_LIMIT} at most"
            raise _NotTaken(Finding(event.start_mark.line + 1, "(YAML)", message))
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, event.style)
        return self._constructed(node)

    def _constructed(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, KeyError, AttributeError):
            # The constructors of PyYAML expect that what has a tag also has its form: 2001-99-99, !!int abc.
            kind = str(node.tag).rpartition(":")[2]
            raise ConstructorError(None, None, f"this is not a valid {kind}", node.start_mark) from None

    def _sequence(self, path: Path) -> list[Any]:
        sequence: list[Any] = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            sequence.append(self._value((*path, len(sequence))))
        self._next()
        return sequence

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            event = self._next()
            mark = event.start_mark
            key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else _Parts()
            self._skip(event)
            name = self._name(mapping, key, path, mark)
            if name is None:
                self._skip(self._next())
                continue
            mapping[name] = self._value((*path, name))
            self._lines[*path, name] = mark.line + 1
        self._next()
        return mapping

    def _name(self, mapping: dict[str, Any], key: object, path: Path, mark: yaml.Mark) -> str | None:
        """The name of a field, if that is what the key is."""
        line = mark.line + 1
        if len(self.findings) >= FINDINGS_LIMIT:
            raise _EnoughFound
        if not isinstance(key, str):
            self.findings.append(Finding(line, dotted(path), f"key {repr(key)[:SHOWN]} is not a name"))
            return None
        if key in mapping:
            self.findings.append(Finding(line, dotted((*path, key)), "is given twice"))
        return sys.intern(key)
