# SPDX-License-Identifier: Apache-2.0
"""YAML to plain values, remembering the line of every one. Duplicate keys are refused: YAML lets the last one win."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError

from nvo3sec.errors import ConfigError, Finding

Path: TypeAlias = tuple[str | int, ...]

VALUES_LIMIT = 4_000_000
"""Of one document, aliases expanded: a few lines of aliases to aliases would else need all memory there is."""


SHOWN = 40
"""Characters of a key that is none."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader), Composer):  # type: ignore[misc]  # has no types
    """The one in C is ten times faster, which an NVA that is given a file notices. It is not everywhere.

    Its own composer gives whole documents only.
    """


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
    except _TooMany:
        message = f"has more than {VALUES_LIMIT} values, those of aliases counted"
        raise ConfigError(source, [Finding(0, "(the whole file)", message)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigError(source, [Finding(line, "(YAML)", error.problem or "cannot be parsed")]) from None
    except yaml.YAMLError:  # the loader in C notices only now
        raise ConfigError(source, [no_text]) from None
    except RecursionError:
        raise ConfigError(source, [Finding(0, "(YAML)", "is nested too deeply")]) from None
    finally:
        loader.dispose()
    if reader.findings:
        raise ConfigError(source, reader.findings)
    return reader.document


class _Parts:
    """A key that is a list or a mapping."""

    def __repr__(self) -> str:
        return "of several parts"


class _TooMany(Exception):
    """More values than anybody means."""


class _Reader:
    """Makes values of a document's events as they come: its nodes would take several times the memory.

    Only what has an anchor, and could be meant again, is made of nodes.
    """

    def __init__(self, loader: Any) -> None:
        self.document = LinedDocument(None)
        self.findings: list[Finding] = []
        self._loader = loader
        self._lines = self.document.lines
        loader.anchors = {}

    def read(self) -> bool:
        """Read the only document; returns whether there is one. Raises YAMLError, RecursionError, _TooMany."""
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
        event = self._loader.peek_event()
        if event.anchor is not None:
            return self._converted(self._node(), path)
        self._loader.get_event()
        self._note(path, event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _node(self) -> yaml.Node:
        return self._loader.compose_node(None, None)

    def _note(self, path: Path, mark: yaml.Mark) -> None:
        if len(self._lines) > VALUES_LIMIT:
            raise _TooMany
        self._lines[path] = mark.line + 1

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _TEXT:
            return event.value
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, event.style)
        return self._constructed(node)

    def _constructed(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, KeyError, AttributeError):
            # The constructors of PyYAML expect that what has a tag also has its form: 2001-99-99, !!int abc.
            kind = str(node.tag).rpartition(":")[2]
            raise ConstructorError(None, None, f"this is not a valid {kind}", node.start_mark) from None

    def _key(self, node: yaml.Node) -> Any:
        """What is no scalar is no name, and is not even looked at: it could be aliases to aliases."""
        return self._constructed(node) if isinstance(node, yaml.ScalarNode) else _Parts()

    def _sequence(self, path: Path) -> list[Any]:
        sequence: list[Any] = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            sequence.append(self._value((*path, len(sequence))))
        self._loader.get_event()
        return sequence

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            event = self._loader.peek_event()
            if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
                key, mark = self._scalar(self._loader.get_event()), event.start_mark
            else:
                node = self._node()
                key, mark = self._key(node), node.start_mark
            name = self._name(mapping, key, path, mark)
            if name is None:
                self._node()
                continue
            mapping[name] = self._value((*path, name))
            self._lines[*path, name] = mark.line + 1
        self._loader.get_event()
        return mapping

    def _name(self, mapping: dict[str, Any], key: object, path: Path, mark: yaml.Mark) -> str | None:
        """The name of a field, if that is what the key is."""
        line = mark.line + 1
        if not isinstance(key, str):
            self.findings.append(Finding(line, dotted(path), f"key {repr(key)[:SHOWN]} is not a name"))
            return None
        if key in mapping:
            self.findings.append(Finding(line, dotted((*path, key)), "is given twice"))
        return sys.intern(key)

    def _converted(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node."""
        self._note(path, node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self._converted(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._constructed(node)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            name = self._name(mapping, key, path, key_node.start_mark)
            if name is not None:
                mapping[name] = self._converted(value_node, (*path, name))
                self._lines[*path, name] = key_node.start_mark.line + 1
        return mapping
