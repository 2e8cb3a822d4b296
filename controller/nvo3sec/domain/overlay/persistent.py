# SPDX-License-Identifier: Apache-2.0
"""A map that is never changed: `set` and `delete` return a new one, which shares almost everything with the old.

A state machine over 100,000 mappings can so be a plain function from state to state, and whoever holds a state (a
lookup, a snapshot, a decision that may yet be given up) keeps exactly that state, at a few microseconds a change.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_BITS = 5
_WIDTH = 1 << _BITS
_LEAF_ENTRIES = 16
_LAST_SHIFT = 30
"""Below this many bits of the hash a leaf grows instead of splitting: its keys have equal hashes, or nearly."""

_EMPTY: dict[Any, Any] = {}


@final
class PersistentMap(Generic[K, V]):
    """A radix tree over hashes: leaves are small dicts, branches tuples of 32. The order of iteration is not stable."""

    __slots__ = ("_count", "_root")

    _root: Any
    _count: int

    def __init__(self) -> None:
        self._root = _EMPTY
        self._count = 0

    @classmethod
    def of(cls, items: Iterable[tuple[K, V]]) -> PersistentMap[K, V]:
        """The map of all `items`, the last one where a key occurs twice: many times faster than one by one."""
        entries = dict(items)
        made: PersistentMap[K, V] = PersistentMap()
        made._root = _built([(hash(key), key, value) for key, value in entries.items()], 0)
        made._count = len(entries)
        return made

    def _with(self, root: Any, count: int) -> PersistentMap[K, V]:
        made: PersistentMap[K, V] = PersistentMap()
        made._root = root
        made._count = count
        return made

    def __len__(self) -> int:
        return self._count

    def _leaf(self, key: K) -> dict[K, V]:
        node, bits = self._root, hash(key)
        while type(node) is tuple:
            node = node[bits & (_WIDTH - 1)]
            bits >>= _BITS
        leaf: dict[K, V] = node
        return leaf

    def __contains__(self, key: K) -> bool:
        return key in self._leaf(key)

    def __getitem__(self, key: K) -> V:
        """Raises KeyError."""
        return self._leaf(key)[key]

    def get(self, key: K) -> V | None:
        """The value of `key`, or None."""
        return self._leaf(key).get(key)

    def set(self, key: K, value: V) -> PersistentMap[K, V]:
        """The map with `key` at `value`."""
        root, grown = _set(self._root, hash(key), 0, key, value)
        return self._with(root, self._count + grown)

    def delete(self, key: K) -> PersistentMap[K, V]:
        """The map without `key`; the same map if it is not there."""
        if key not in self:
            return self
        return self._with(_delete(self._root, hash(key), key), self._count - 1)

    def __iter__(self) -> Iterator[K]:
        for leaf in self._leaves():
            yield from leaf

    def items(self) -> Iterator[tuple[K, V]]:
        """Keys with their values."""
        for leaf in self._leaves():
            yield from leaf.items()

    def values(self) -> Iterator[V]:
        """The values."""
        for leaf in self._leaves():
            yield from leaf.values()

    def _leaves(self) -> Iterator[dict[K, V]]:
        stack = [self._root]
        while stack:
            node = stack.pop()
            if type(node) is tuple:
                stack.extend(node)
            else:
                yield node

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PersistentMap):
            return NotImplemented
        return len(self) == len(other) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # as for dict

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self.items())!r})"


def _set(node: Any, bits: int, shift: int, key: Any, value: Any) -> tuple[Any, int]:
    if type(node) is tuple:
        index = bits & (_WIDTH - 1)
        child, grown = _set(node[index], bits >> _BITS, shift + _BITS, key, value)
        return (*node[:index], child, *node[index + 1 :]), grown
    grown = int(key not in node)
    leaf = {**node, key: value}
    if len(leaf) <= _LEAF_ENTRIES or shift >= _LAST_SHIFT:
        return leaf, grown
    return _split(leaf, shift), grown


def _built(entries: list[tuple[int, Any, Any]], shift: int) -> Any:
    """The tree of (hash, key, value) whose hashes agree in the bits below `shift`."""
    if len(entries) <= _LEAF_ENTRIES or shift >= _LAST_SHIFT:
        return {key: value for _, key, value in entries} if entries else _EMPTY
    children: list[list[tuple[int, Any, Any]]] = [[] for _ in range(_WIDTH)]
    for entry in entries:
        children[(entry[0] >> shift) & (_WIDTH - 1)].append(entry)
    return tuple([_built(child, shift + _BITS) for child in children])


def _split(leaf: dict[Any, Any], shift: int) -> tuple[dict[Any, Any], ...]:
    children: list[dict[Any, Any]] = [_EMPTY] * _WIDTH
    for key, value in leaf.items():
        index = (hash(key) >> shift) & (_WIDTH - 1)
        if children[index] is _EMPTY:
            children[index] = {}
        children[index][key] = value
    return tuple(children)


def _delete(node: Any, bits: int, key: Any) -> Any:
    if type(node) is tuple:
        index = bits & (_WIDTH - 1)
        child = _delete(node[index], bits >> _BITS, key)
        branch = (*node[:index], child, *node[index + 1 :])
        if not child and not any(branch):
            return _EMPTY  # branches are tuples with something below them, so this frees what a burst has left
        return branch
    return {other: value for other, value in node.items() if other != key} or _EMPTY
