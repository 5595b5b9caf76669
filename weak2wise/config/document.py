"""A YAML parser that rejects duplicate keys. PyYAML itself would silently keep the last value."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
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
    """Parse YAML text. Raises ``yaml.YAMLError``, also for a duplicate key."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
