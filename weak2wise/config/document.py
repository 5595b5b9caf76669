"""A YAML parser for configs, stricter than PyYAML.

It rejects duplicate keys, of which PyYAML would silently keep the last; aliases that contain themselves or repeat so
much that a small file becomes a huge value; and text that no file name, header or JSON can hold. Whatever is wrong is a
``yaml.YAMLError``: PyYAML itself lets errors of ``int`` and ``datetime`` through.
"""

from collections.abc import Hashable
from typing import Any

import yaml

MOST_VALUES = 100_000
"""In one document, each counted as often as an alias repeats it."""
_INVALID_VALUE = (ValueError, TypeError, AttributeError, OverflowError)


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except _INVALID_VALUE:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"not a valid {kind}", node.start_mark) from None
        if isinstance(value, str) and not _can_be_kept(value):
            problem = "text with a NUL or half a surrogate pair"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in first:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is given twice, first in line {first[key.value]}", key.start_mark
                )
            first[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """Parse YAML text. Raises ``yaml.YAMLError``."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _can_be_kept(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """The values in a node, with what aliases repeat; ``counted``: 0 for a node whose count is going on."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if (known := counted.get(id(node))) is not None:
        if not known:
            raise yaml.constructor.ConstructorError(None, None, "an alias inside of what it names", node.start_mark)
        return known
    counted[id(node)] = 0
    inner = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1
    for part in inner:
        total += _count(part, counted)
        if total > MOST_VALUES:
            problem = f"more than {MOST_VALUES:,} values, counting what aliases repeat"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    counted[id(node)] = total
    return total
