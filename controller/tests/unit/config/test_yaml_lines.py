# SPDX-License-Identifier: Apache-2.0
"""YAML with lines, in C and in Python, against the nodes of the whole document, which are slow and plain."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from nvo3sec.config import example_path, yaml_lines
from nvo3sec.config.yaml_lines import parse_yaml
from nvo3sec.errors import ConfigError

LOADERS = [yaml.SafeLoader, yaml_lines._Loader]

DOCUMENTS = {
    "the example": example_path().read_text(encoding="utf-8"),
    "scalars": "a: 1\nb: '1'\nc: 1.5\nd: true\ne: ~\nf:\ng: 2001-01-01\nh: 02:00\ni: !!str 7\nj: ! 7\n",
    "text of two lines": "a: |\n  two\n  lines\nb: >\n  one\n  line\n",
    "one scalar": "just text",
    "flow": "{a: [1, {b: [2,\n 3]}],\n c: {}, d: []}",
    "a tag of a collection": "a: !!set {x, y}\nb: !what [1]\n",
    "comments and documents' marks": "# nothing\n---\na: 1\n...\n",
}

FAULTS = {
    "given twice": "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n",
    "keys that are no names": "1: a\n~: b\n[x]: {c: 1}\nd: 1\n",
    "a field twice below a key that is no name": "1: {a: 1, a: 2}\n",
    "a merge key": "a: 1\nc:\n  <<: {b: 1}\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "not closed": "a: [1,\n2\n",
    "a tag that nobody knows": "a: 1\nb: !python/object:os.system x\n",
    "a key that is a collection of collections": "? {a: 1}\n: 2\n",
    "tabs": "a:\n\t- 1\n",
    "empty": "# nothing\n",
    "no text": "a: \x01\n",
}

ANCHORS = {
    "an anchor": ("a: 1\nb: &x {c: 1}\n", 2, "&x is an anchor, and aliases are not taken"),
    "of a scalar": ("a: 1\nb: &x 7\n", 2, "&x is an anchor, and aliases are not taken"),
    "of a key": ("&k a: 1\n", 1, "&k is an anchor, and aliases are not taken"),
    "of what is skipped": ("1: [a,\n &x b]\n", 2, "&x is an anchor, and aliases are not taken"),
    "an alias": ("a: 1\nb: *x\n", 2, "*x is an alias"),
    "as a key": ("a: 1\n*k : 1\n", 2, "*k is an alias"),
    "within a key": ("a: 1\n? [*k]\n: 1\n", 2, "*k is an alias"),
    "a merge of one": ("a: 1\nb:\n  c: *x\n", 3, "*x is an alias"),
    "contains itself": ("a: &x [*x]\n", 1, "&x is an anchor, and aliases are not taken"),
}


def by_nodes(text: str, loader: Any) -> tuple[Any, dict, list[tuple[int, str, str]]]:
    """Value, lines, findings."""
    lines: dict = {}
    findings: list[tuple[int, str, str]] = []
    reading = loader(text)

    def convert(node: yaml.Node, path: tuple) -> Any:
        lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return [convert(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return reading.construct_object(node, deep=True)
        found: dict = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                findings.append((line, yaml_lines.dotted(path), "key of several parts is not a name"))
                continue
            key = reading.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                findings.append((line, yaml_lines.dotted(path), f"key {key!r} is not a name"))
                continue
            if key in found:
                findings.append((line, yaml_lines.dotted((*path, key)), "is given twice"))
            found[key] = convert(value_node, (*path, key))
            lines[(*path, key)] = line
        return found

    value = convert(reading.get_single_node(), ())
    return value, lines, findings


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request, monkeypatch):
    monkeypatch.setattr(yaml_lines, "_Loader", request.param)
    return request.param


class TestRead:
    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_values_and_lines(self, loader, name):
        document = parse_yaml(DOCUMENTS[name], "test.yaml")
        value, lines, findings = by_nodes(DOCUMENTS[name], loader)
        assert (document.value, document.lines, findings) == (value, lines, [])

    @pytest.mark.parametrize("name", FAULTS)
    def test_faults(self, loader, name):
        with pytest.raises(ConfigError) as caught:
            parse_yaml(FAULTS[name], "test.yaml")
        found = [(one.line, one.field, one.message) for one in caught.value.findings]
        try:
            expected = by_nodes(FAULTS[name], loader)[2]
        except yaml.MarkedYAMLError as error:
            expected = [((error.problem_mark or error.context_mark).line + 1, "(YAML)", error.problem)]
        except yaml.YAMLError:
            expected = [(0, "(YAML)", "holds characters that are not text")]
        except AttributeError:
            expected = [(1, "(the whole file)", "is empty")]
        assert found == expected

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ("2001-99-99", "timestamp"),
            ("!!int abc", "int"),
            ("!!float x", "float"),
            ("!!bool x", "bool"),
            ("!!timestamp x", "timestamp"),
        ],
    )
    @pytest.mark.parametrize("text", ["a: 1\nb: {}\n", "a: 1\n{}: b\n"])
    def test_what_has_not_the_form_of_its_tag(self, loader, text, value, kind):
        with pytest.raises(ConfigError) as caught:
            parse_yaml(text.format(value), "test.yaml")
        assert [(one.line, one.message) for one in caught.value.findings] == [(2, f"this is not a valid {kind}")]

    @pytest.mark.parametrize("name", ANCHORS)
    def test_anchors_and_aliases_where_they_stand(self, loader, name):
        text, line, what = ANCHORS[name]
        with pytest.raises(ConfigError) as caught:
            parse_yaml(text, "test.yaml")
        (found,) = caught.value.findings
        assert (found.line, found.field, found.message.split(";")[0]) == (line, "(YAML)", what)

    def test_aliases_of_aliases_are_not_read_to_their_end(self, loader, monkeypatch):
        """A thousand million values in ten lines: it is over with the first of them."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        events = []
        read = loader.get_event
        monkeypatch.setattr(loader, "get_event", lambda self: events.append(1) or read(self))
        with pytest.raises(ConfigError, match="&a0 is an anchor"):
            parse_yaml("\n".join(lines), "test.yaml")
        assert len(events) < 10

    @pytest.mark.parametrize("text", ["a: {}\n", "? {}\n: 1\n", "1: {}\n"], ids=["a value", "a key", "skipped"])
    def test_depth(self, loader, text):
        def nested(levels: int) -> str:
            return text.format("[" * levels + "]" * levels)

        with pytest.raises(ConfigError, match="nested too deeply: 64 levels at most"):
            parse_yaml(nested(yaml_lines.DEPTH_LIMIT), "test.yaml")
        if text.startswith("a"):
            parse_yaml(nested(yaml_lines.DEPTH_LIMIT - 1), "test.yaml")

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ("1" + ":59" * 100_000, "int"),
            ("1" + ":59" * 100_000 + ".5", "float"),
            ("9" * 101, "int"),
            ("!!binary " + "QUJD" * 100, "binary"),
        ],
        ids=["base 60", "base 60 with a fraction", "long", "binary"],
    )
    @pytest.mark.parametrize("text", ["a: 1\nb: {}\n", "a: 1\n? {}\n: b\n"], ids=["a value", "a key"])
    def test_what_is_no_text_is_short(self, loader, text, value, kind):
        with pytest.raises(ConfigError, match=rf"this is not a valid {kind}: it has \d+ characters, 100 at most"):
            parse_yaml(text.format(value), "test.yaml")

    def test_many_values(self, loader, monkeypatch):
        monkeypatch.setattr(yaml_lines, "VALUES_LIMIT", 50)
        with pytest.raises(ConfigError, match="more than 50 values"):
            parse_yaml(f"a: [{', '.join('1' * 60)}]", "test.yaml")

    def test_many_findings(self, loader):
        with pytest.raises(ConfigError) as caught:
            parse_yaml("a: 1\n" * 5000, "test.yaml")
        assert len(caught.value.findings) == yaml_lines.FINDINGS_LIMIT
