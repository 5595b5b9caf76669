"""What a run's results depend on as YAML that a config takes; the manifest keeps it under dotted keys."""

from collections.abc import Mapping
from typing import Any

import yaml

from weak2wise.ledger.manifest import DIGEST


def as_yaml(shape: Mapping[str, Any]) -> str:
    """The settings under a config's own keys; those that a config does not take follow as comments.

    What the manifest does not know is for the reader to add: where an endpoint is reached, the texts, the input.

    Args:
        shape: dotted keys and values (``result_shape``).
    """
    tree: dict[str, Any] = {"models": {}, "model_endpoints": {}, "params": {}, "dataset": {}}
    digests = []
    roles = (shape["models.mweak"], *shape["models.mstrong"], shape["models.judge"], shape["models.truncation"])
    endpoints = sorted(filter(None, roles), key=len, reverse=True)
    for key, value in shape.items():
        if isinstance(value, str) and value.startswith(DIGEST):
            digests.append(f"# {key}: {value}\n")
            continue
        if key == "params.scorer_version":  # not a config's key: the class says it
            digests.append(f"# {key}: {value}\n")
            continue
        *sections, last = _path(key, endpoints)
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        if sections[0] == "model_endpoints" and last == "model":
            kind = "openai" if f"{key.removesuffix('model')}max_tokens" in shape else "vllm"
            at |= {"type": kind, "model_id": value}
        else:
            at[last] = value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False) + "".join(digests)


def _path(key: str, endpoints: list[str]) -> list[str]:
    """A dotted key's parts; an endpoint's name may hold dots itself."""
    section, _, rest = key.partition(".")
    for name in endpoints if section == "model_endpoints" else ():
        if rest.startswith(f"{name}."):
            return [section, name, *rest[len(name) + 1 :].split(".")]
    return key.split(".")
