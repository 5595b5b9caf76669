"""What a run's results depend on as YAML that a config takes; the manifest keeps it as flat texts."""

import ast
import re
from collections.abc import Mapping
from typing import Any

import yaml

_DIGEST = re.compile(r"[0-9a-f]{16}")
_WORDS = {"null": None, "true": True, "false": False}


def as_yaml(shape: Mapping[str, str]) -> str:
    """The settings under a config's own keys; those kept as digests alone follow as comments.

    What the manifest does not know is for the reader to add: where an endpoint is reached, the texts, the input.

    Args:
        shape: dotted keys and values (``result_shape``).
    """
    tree: dict[str, Any] = {"models": {}, "model_endpoints": {}, "params": {}, "dataset": {}}
    digests = []
    endpoints = sorted(_endpoints(shape), key=len, reverse=True)
    for key, text in shape.items():
        if _DIGEST.fullmatch(text) and not key.startswith("params."):
            digests.append(f"# {key}: digest {text}\n")
            continue
        *sections, last = _path(key, endpoints)
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        if key == "models.mstrong":
            at[last] = text.split(", ")
        elif sections[0] == "model_endpoints" and last == "model":
            kind = "openai" if f"{key.removesuffix('model')}max_tokens" in shape else "vllm"
            at |= {"type": kind, "model_id": text}
        else:
            at[last] = None if text in {"None", "null"} else text if last == "revision" else _value(text)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False) + "".join(digests)


def _endpoints(shape: Mapping[str, str]) -> set[str]:
    names = {shape[f"models.{role}"] for role in ("mweak", "judge", "truncation")}
    return names | set(shape["models.mstrong"].split(", "))


def _path(key: str, endpoints: list[str]) -> list[str]:
    """A dotted key's parts; an endpoint's name may hold dots itself."""
    section, _, rest = key.partition(".")
    for name in endpoints if section == "model_endpoints" else ():
        if rest.startswith(f"{name}."):
            return [section, name, *rest[len(name) + 1 :].split(".")]
    return key.split(".")


def _value(text: str) -> Any:
    """A value that was written down as Python or JSON writes it; a text is one as it stands."""
    try:
        tree = ast.parse(text, mode="eval").body
        if isinstance(tree, ast.Call):  # Outcomes(length='accept', …)
            return {str(part.arg): ast.literal_eval(part.value) for part in tree.keywords}
        return ast.literal_eval(tree)
    except (ValueError, SyntaxError):
        return _WORDS.get(text, text)
