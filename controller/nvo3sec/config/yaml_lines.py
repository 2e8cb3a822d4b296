# SPDX-License-Identifier: Apache-2.0
"""YAML to plain values, remembering the line of every one. Duplicate keys are refused: YAML lets the last one win."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from nvo3sec.errors import ConfigError, Finding

Path: TypeAlias = tuple[str | int, ...]

VALUES_LIMIT = 4_000_000
"""Of one document, aliases expanded: a few lines of aliases to aliases would else need all memory there is."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is ten times faster, which an NVA that is given a file notices. It is not everywhere."""


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


def parse_yaml(text: str, source: str) -> LinedDocument:
    """Parse one YAML document. Raises ConfigError with the line of the fault."""
    no_text = Finding(0, "(YAML)", "holds characters that are not text")
    try:
        loader = _Loader(text)
    except yaml.YAMLError:
        raise ConfigError(source, [no_text]) from None
    try:
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(source, [Finding(1, "(the whole file)", "is empty")])
        document = LinedDocument(None)
        findings: list[Finding] = []
        document.value = _convert(loader, root, (), document.lines, findings)
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
    if findings:
        raise ConfigError(source, findings)
    return document


class _TooMany(Exception):
    """More values than anybody means."""


def _convert(
    loader: yaml.SafeLoader, node: yaml.Node, path: Path, lines: dict[Path, int], findings: list[Finding]
) -> Any:
    if len(lines) > VALUES_LIMIT:
        raise _TooMany
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                findings.append(Finding(line, dotted(path), f"key {key!r} is not a name"))
                continue
            if key in mapping:
                findings.append(Finding(line, dotted((*path, key)), "is given twice"))
            mapping[key] = _convert(loader, value_node, (*path, key), lines, findings)
            lines[(*path, key)] = line
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_convert(loader, item, (*path, index), lines, findings) for index, item in enumerate(node.value)]
    return loader.construct_object(node, deep=True)
