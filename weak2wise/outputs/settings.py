"""The settings that a run's results depend on, as config YAML. The manifest has them under dotted keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from weak2wise.digests import DIGEST


def public_name(model: str) -> str:
    """A model's name to publish: for a local folder only its last part, without the path on this machine."""
    return Path(model).name if model.startswith(("/", "~", "./", "../")) else model


def as_yaml(shape: Mapping[str, Any]) -> str:
    """The settings as config YAML. Digests, and versions of classes loaded by import path, are comments at the end.

    The reader must add what the manifest does not hold: addresses of endpoints, prompt texts, the input.

    Args:
        shape: dotted keys and values (``result_shape``).
    """
    tree: dict[str, Any] = {"models": {}, "model_endpoints": {}, "params": {}, "dataset": {}}
    comments = []
    roles = (shape["models.mweak"], *shape["models.mstrong"], shape["models.judge"], shape["models.truncation"])
    endpoints = sorted(filter(None, roles), key=len, reverse=True)
    for key, value in shape.items():
        *sections, last = _path(key, endpoints)
        if isinstance(value, str) and (value.startswith(DIGEST) or last == "version"):
            comments.append(f"# {key}: {value}\n")
            continue
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        if sections[0] == "model_endpoints" and last == "model":
            of_endpoint = key.removesuffix("model")
            kind = "openai" if f"{of_endpoint}max_tokens" in shape else "vllm"
            at |= {"type": shape.get(f"{of_endpoint}type", kind), "model_id": value}
        else:
            at[last] = value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False) + "".join(comments)


def _path(key: str, endpoints: list[str]) -> list[str]:
    """The parts of a dotted key. An endpoint's name may contain dots."""
    section, _, rest = key.partition(".")
    for name in endpoints if section == "model_endpoints" else ():
        if rest.startswith(f"{name}."):
            return [section, name, *rest[len(name) + 1 :].split(".")]
    return key.split(".")
